//! The file that a download grows in.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::DownloadError;
use crate::storage::{
    StorageError,
    atomic::{folder_of, replace},
    hex,
};

/// Digits of the hash in the name of a part: enough to tell versions of one file apart.
const DIGITS: usize = 16;
const EXTENSION: &str = ".part";

/// What has come of a file. The lock on it is given back when it is dropped, or the process ends.
#[derive(Debug)]
pub struct Part {
    file: File,
    path: PathBuf,
    len: u64,
    had: u64,
}

impl Part {
    /// The part of the file `target` that has this hash, as an earlier try left it.
    pub fn open(target: &Path, sha256: &str) -> Result<Self, DownloadError> {
        let start = sha256.get(..DIGITS).unwrap_or(sha256);
        let path = beside(target, &format!("{start}{EXTENSION}"));
        let open = |error| StorageError::io("open", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(open)?;
        // Where a drive has no locks two programs could spoil the part, which its hash would show.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(DownloadError::Busy { part: path });
        }
        let len = file.seek(SeekFrom::End(0)).map_err(open)?;
        Ok(Self {
            file,
            path,
            len,
            had: len,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that have come.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of them that were there when it was opened.
    pub fn had(&self) -> u64 {
        self.had
    }

    /// Forgets what has come.
    pub fn restart(&mut self) -> Result<(), StorageError> {
        (self.len, self.had) = (0, 0);
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| StorageError::io("write", &self.path, error))
    }

    /// Adds what came next.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| StorageError::io("write", &self.path, error))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of what lies on the disk.
    pub fn sha256(&mut self) -> Result<String, StorageError> {
        let hash = self
            .file
            .rewind()
            .and_then(|()| sha256_of(&mut self.file))
            .and_then(|hash| self.file.seek(SeekFrom::End(0)).map(|_| hash));
        hash.map_err(|error| StorageError::io("read", &self.path, error))
    }

    /// Puts it in the place of `target`, durably.
    pub fn publish(self, target: &Path) -> Result<(), StorageError> {
        let placed = self
            .file
            .sync_all()
            .and_then(|()| replace(&self.path, target));
        placed.map_err(|error| StorageError::io("write", target, error))?;
        remove_parts(target);
        Ok(())
    }

    /// Removes it.
    pub fn discard(self) -> Result<(), StorageError> {
        fs::remove_file(&self.path).map_err(|error| StorageError::io("remove", &self.path, error))
    }
}

/// Lower-case hexadecimal SHA-256 of the rest of a file.
pub fn sha256_of(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finalize().into()))
}

fn beside(target: &Path, extension: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}

/// Removes the parts of other versions of `target`, as far as that goes: they only take room.
fn remove_parts(target: &Path) {
    let Ok(entries) = fs::read_dir(folder_of(target)) else {
        return;
    };
    let name = beside(target, "");
    let name = name.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.as_encoded_bytes();
        if found.starts_with(name) && found.ends_with(EXTENSION.as_bytes()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}
