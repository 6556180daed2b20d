//! The next segment, before it is one: a file made ready ahead of need, so that a rollover costs no more than a header
//! and two flushes.

use super::LogError;
use super::segment::{self, HEADER};
use crate::disk::{Disk, DiskFile};

/// The name under which it waits. Whatever has it when a log is opened is removed.
pub(crate) const NAME: &str = "spare";
/// The name of the one that takes its place when it is used. The same holds for it.
pub(crate) const RESERVE: &str = "spare-2";

/// Bytes zeroed and flushed at a time: a fraction of a millisecond.
const STEP: u64 = 256 << 10;

#[derive(Default)]
pub(crate) enum Spare {
    #[default]
    None,
    /// Space is reserved, and zeroed up to `zeroed`.
    Filling { file: Box<dyn DiskFile>, len: u64, zeroed: u64 },
    /// A released segment, under its new name durably, old content and all.
    Recycled,
    /// Preparing failed; the rollover will try again and say why.
    GivenUp,
}

impl Spare {
    /// Brings a spare of `len` bytes on until `zeroed` of them are. Errors end the attempt, not the log: nothing rests
    /// on the spare yet.
    pub(crate) fn prepare(&mut self, disk: &dyn Disk, len: u64, zeroed: u64) {
        let outcome = match self {
            Self::Recycled | Self::GivenUp => Ok(()),
            Self::None => Self::begin(disk, len).map(|spare| *self = spare).and_then(|()| self.fill(zeroed)),
            Self::Filling { .. } => self.fill(zeroed),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the next segment of the commit log could not be prepared ahead of need");
            self.discard(disk);
            *self = Self::GivenUp;
        }
    }

    /// Makes the spare, whatever its state, the segment with this header. When this returns, header and name are
    /// durable. `len` is the length of a spare that has yet to be made.
    pub(crate) fn become_segment(
        &mut self,
        disk: &dyn Disk,
        len: u64,
        header: segment::Header,
    ) -> Result<(Box<dyn DiskFile>, u64), LogError> {
        if matches!(self, Self::None | Self::GivenUp) {
            // What a failed attempt left behind is in the way.
            self.discard(disk);
            *self = Self::begin(disk, len)?;
        }
        self.fill(u64::MAX)?;
        let mut file = match std::mem::take(self) {
            Self::Filling { file, .. } => file,
            Self::None | Self::Recycled | Self::GivenUp => {
                disk.open(NAME).map_err(LogError::disk("open", NAME))?
            }
        };
        let len = file.len().map_err(LogError::disk("read the length of", NAME))?;
        file.write_at(0, &header.encode()).map_err(LogError::disk("write to", NAME))?;
        file.sync_data().map_err(LogError::disk("flush", NAME))?;
        let name = segment::name(header.start);
        disk.rename(NAME, &name).map_err(LogError::disk("rename the spare file to", &name))?;
        disk.sync_dir().map_err(LogError::disk("flush", "its folder"))?;
        Ok((file, len))
    }

    /// Whether a segment that is released would be ready sooner.
    pub(crate) fn is_unfinished(&self) -> bool {
        match self {
            Self::None => true,
            Self::Filling { len, zeroed, .. } => zeroed < len,
            Self::Recycled | Self::GivenUp => false,
        }
    }

    fn begin(disk: &dyn Disk, len: u64) -> Result<Self, LogError> {
        let file = disk.create(NAME, len).map_err(LogError::disk("make", NAME))?;
        Ok(Self::Filling { file, len, zeroed: HEADER })
    }

    fn fill(&mut self, up_to: u64) -> Result<(), LogError> {
        let Self::Filling { file, len, zeroed } = self else { return Ok(()) };
        let up_to = up_to.min(*len);
        if *zeroed >= up_to {
            return Ok(());
        }
        let zeros = vec![0; STEP.min(*len) as usize];
        while *zeroed < up_to {
            let n = (*len - *zeroed).min(STEP);
            file.write_at(*zeroed, &zeros[..n as usize]).map_err(LogError::disk("write to", NAME))?;
            file.sync_data().map_err(LogError::disk("flush", NAME))?;
            *zeroed += n;
        }
        Ok(())
    }

    /// Best effort: a file that stays is removed at the next start, or reported when the name is needed.
    fn discard(&mut self, disk: &dyn Disk) {
        *self = Self::None;
        let _ = disk.remove(NAME);
    }
}
