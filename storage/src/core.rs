//! The store without threads: opening, committing and writing down as plain calls, one after the other.
//!
//! [`crate::Storage`] is this with a thread for the commit log and one for the way down; a simulation drives it step by step.

use crate::{
    Batch, OpenError, Options, Position, Reader,
    clock::Clock,
    commit_log::{AppendError, CommitLog, LogError, Poisoned},
    disk::Disk,
    error::ReplayError,
    kv::{Chunk, FORMAT_VERSION, KeyValue},
    overlay::layers::Stack,
};
use bytes::Bytes;
use std::{fmt::Display, sync::Arc};

/// A store whose owner does all the work on its own thread.
pub struct Core {
    pub(crate) log: CommitLog,
    pub(crate) stack: Arc<Stack>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    /// When the active layer got its first change, in Unix milliseconds.
    touched_ms: Option<u64>,
    failed: Option<Poisoned>,
}

impl Core {
    /// Opens the store: the key-value store as it is, then what the log has behind it. Nothing is scanned.
    pub fn open(
        disk: Arc<dyn Disk>,
        kv: Arc<dyn KeyValue>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Core, OpenError> {
        match kv.format_version() {
            Some(found) if found > FORMAT_VERSION => {
                return Err(OpenError::NewerFormat { found, known: FORMAT_VERSION });
            }
            Some(_) => {}
            None => {
                kv.write(&Chunk::default(), Position::default())?;
                kv.flush()?;
            }
        }
        let stack = Stack::new(kv);
        let from = stack.durable();
        let log = CommitLog::open(disk, options.log(), from, |position, payload: Bytes| {
            if stack.is_filled(options.overlay_bytes) {
                stack.seal();
                stack.write_down()?;
            }
            stack.apply(position, &[payload])?;
            Ok::<_, ReplayError>(())
        })?;
        let touched_ms = stack.is_touched().then(|| clock.now_ms());
        let mut core = Core { log, stack: Arc::new(stack), clock, options, touched_ms, failed: None };
        core.release();
        Ok(core)
    }

    /// Commits batches with one write and one flush, and applies them; answers the end of the last. If both layers of the
    /// overlay are full, one is written down first.
    ///
    /// After an error other than [`AppendError::TooLarge`] every later commit answers [`AppendError::Poisoned`].
    pub fn commit(&mut self, batches: Vec<Batch>) -> Result<Position, AppendError> {
        if let Some(poisoned) = &self.failed {
            return Err(poisoned.clone().into());
        }
        let payloads = batches.into_iter().map(Batch::into_payload).filter(|payload| !payload.is_empty());
        let payloads: Vec<Bytes> = payloads.collect();
        let end = self.log.append(&payloads)?;
        if payloads.is_empty() {
            return Ok(end);
        }
        if self.stack.is_filled(self.options.overlay_bytes) && !self.stack.seal() {
            self.write_sealed()?;
            self.stack.seal();
            self.touched_ms = None;
        }
        self.stack.apply(end, &payloads).map_err(|error| self.fail(&error))?;
        let now_ms = self.clock.now_ms();
        self.touched_ms.get_or_insert(now_ms);
        if self.stack.is_filled(self.options.overlay_bytes) && self.stack.seal() {
            self.touched_ms = None;
        }
        Ok(end)
    }

    /// Writes down what is full or old enough, if anything is; answers whether something was.
    pub fn tick(&mut self) -> Result<bool, Poisoned> {
        let now_ms = self.clock.now_ms();
        let age_ms = self.options.overlay_age.as_millis();
        if self.touched_ms.is_some_and(|touched| u128::from(now_ms.saturating_sub(touched)) >= age_ms)
            && self.stack.seal()
        {
            self.touched_ms = None;
        }
        self.log.prepare();
        self.write_sealed()
    }

    /// Seals the active layer, so that the next [`Core::tick`] writes it down. Does nothing while another is sealed.
    pub fn seal(&mut self) -> bool {
        let sealed = self.stack.seal();
        if sealed {
            self.touched_ms = None;
        }
        sealed
    }

    /// Writes everything down and releases the segments of the log that are no longer needed; answers the position the
    /// key-value store then stands for.
    pub fn write_down(&mut self) -> Result<Position, Poisoned> {
        self.write_sealed()?;
        if self.seal() {
            self.write_sealed()?;
        }
        Ok(self.stack.durable())
    }

    /// Reads what was committed.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.stack))
    }

    /// The end of the last committed batch.
    pub fn applied(&self) -> Position {
        self.stack.applied()
    }

    /// The position up to which the key-value store holds everything durably.
    pub fn durable(&self) -> Position {
        self.stack.durable()
    }

    /// The failure after which nothing is committed any more.
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.failed.as_ref().or_else(|| self.log.poisoned())
    }

    fn write_sealed(&mut self) -> Result<bool, Poisoned> {
        if let Some(poisoned) = &self.failed {
            return Err(poisoned.clone());
        }
        match self.stack.write_down() {
            Ok(None) => Ok(false),
            Ok(Some(_)) => {
                self.release();
                Ok(true)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn release(&mut self) {
        let upto = self.stack.durable();
        if let Err(source) = self.log.release(upto) {
            let error = LogError::Disk { what: "release segments below", file: upto.to_string(), source };
            tracing::warn!(%error, "trying again later");
        }
    }

    fn fail(&mut self, error: &dyn Display) -> Poisoned {
        let poisoned = Poisoned::new(error);
        tracing::error!(error = %poisoned, "the store takes no more writes");
        self.failed.get_or_insert(poisoned).clone()
    }
}
