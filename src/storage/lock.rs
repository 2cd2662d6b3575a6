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
            Err(TryLockError::WouldBlock) => return Ok(Err(owner_in(&mut file))),
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

    /// Who holds the lock file `path`, by what it wrote of itself; none where nobody does.
    #[must_use]
    pub fn holder(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(owner_in(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

/// What the owner of a lock file wrote of itself. Who holds it is a courtesy: that somebody does is certain.
fn owner_in(file: &mut File) -> String {
    let mut owner = String::new();
    if file.read_to_string(&mut owner).is_err() || owner.trim().is_empty() {
        return "another program".to_owned();
    }
    owner.trim().to_owned()
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
        let holder = FolderLock::holder(&path);
        assert!(holder.is_some_and(|owner| owner.contains("process")));
        drop(first);
        assert_eq!(FolderLock::holder(&path), None);
        assert!(FolderLock::take(&path).expect("no error").is_ok());
    }
}
