//! What the tests share: both kinds of disk, a log with small segments, and a disk as an image that can be changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chasqui_storage::commit_log::{CommitLog, LogError, LogOptions, OpenError, Position};
use chasqui_storage::disk::{Dir, Disk, RamDisk};

pub(crate) const KEY: [u8; 16] = *b"a key for tests!";
pub(crate) const SEGMENT_HEADER: usize = 512;
pub(crate) const RECORD_HEADER: usize = 16;

/// Makes an empty disk each time it is called.
pub(crate) type NewDisk<'a> = &'a dyn Fn() -> Arc<dyn Disk>;

/// Runs a test over both kinds of disk.
pub(crate) fn on_both(test: impl Fn(NewDisk<'_>)) {
    test(&|| Arc::new(RamDisk::new()));
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    test(&|| {
        count.set(count.get() + 1);
        Arc::new(Dir::open(folder.path().join(count.get().to_string())).unwrap())
    });
}

pub(crate) fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, key: Some(KEY) }
}

pub(crate) type Replayed = Vec<(Position, Bytes)>;

pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    segment_bytes: u64,
    from: Position,
) -> Result<(CommitLog, Replayed), LogError> {
    let mut replayed = Vec::new();
    let log = CommitLog::open(disk.clone(), options(segment_bytes), from, |position, payload| {
        replayed.push((position, payload));
        Ok::<_, Infallible>(())
    });
    match log {
        Ok(log) => Ok((log, replayed)),
        Err(OpenError::Log(error)) => Err(error),
        Err(OpenError::Replay { error, .. }) => match error {},
    }
}

/// The payloads of a replay, without the positions.
pub(crate) fn payloads(replayed: &Replayed) -> Vec<Bytes> {
    replayed.iter().map(|(_, payload)| payload.clone()).collect()
}

/// A payload without a zero byte, so that each of its bytes can be told from an empty disk.
pub(crate) fn payload(n: usize, len: usize) -> Bytes {
    (0..len).map(|i| ((n * 31 + i * 7) % 255 + 1) as u8).collect()
}

/// All files with their content.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

pub(crate) fn image(disk: &dyn Disk) -> Image {
    let read = |name: &String| {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    };
    disk.list().unwrap().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Puts an image on an empty disk, durably.
pub(crate) fn restore(disk: &dyn Disk, image: &Image) {
    for (name, bytes) in image {
        let mut file = disk.create(name, bytes.len() as u64).unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir().unwrap();
}
