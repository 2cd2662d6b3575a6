//! One writer at a time in a project folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use super::StorageError;

/// Held while this process may write in a folder. The operating system releases it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock file `path`. `Ok(Err(owner))` when another process holds it; `owner` is what that
    /// process wrote of itself.
    ///
    /// # Errors
    /// [`StorageError`] when the file cannot be created, e.g. in a read-only folder.
    pub fn take(path: &Path) -> Result<Result<Self, String>, StorageError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|source| StorageError::io("lock", path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who holds it is a courtesy: that somebody does is certain.
                if file.read_to_string(&mut owner).is_err() || owner.trim().is_empty() {
                    "another program".clone_into(&mut owner);
                }
                return Ok(Err(owner.trim().to_owned()));
            }
            Err(TryLockError::Error(source)) => {
                return Err(StorageError::io("lock", path, source));
            }
        }
        let owner = format!("process {}", std::process::id());
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(owner.as_bytes()));
        noted.map_err(|source| StorageError::io("lock", path, source))?;
        Ok(Ok(Self { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_learns_who_is_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = FolderLock::take(&path).expect("no error").expect("free");
        let second = FolderLock::take(&path).expect("no error");
        assert!(second.is_err_and(|owner| owner.contains("process")));
        drop(first);
        assert!(FolderLock::take(&path).expect("no error").is_ok());
    }
}
