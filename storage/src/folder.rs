//! The data folder: who may use it.

use crate::{OpenError, disk::make_durably};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// A lock on a data folder, held while this lives and gone with the process, however that ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder if it is not there, and locks it for this process alone.
    pub(crate) fn take(dir: &Path) -> Result<Lock, OpenError> {
        // Durably: else a power cut may take the folder, and all that was flushed in it.
        make_durably(dir).map_err(error(dir, "made"))?;
        let path = dir.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(error(dir, "written to"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(error(dir, "locked")(source)),
        }
    }
}

/// The error for a folder that cannot be `what`.
pub(crate) fn error(dir: &Path, what: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let dir = dir.display().to_string();
    move |source| OpenError::Folder { dir, what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        let lock = Lock::take(&inner).unwrap();
        let error = Lock::take(&inner).map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the data folder {} is in use by another process; stop it first, or use another folder",
                inner.display()
            )
        );
        drop(lock);
        Lock::take(&inner).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("data")).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("file/data cannot be made"), "{error}");
    }
}
