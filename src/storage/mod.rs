//! Durable files: atomic writes, a lock between program instances, content hashes, mapped arrays, downloads.

mod atomic;
#[cfg(feature = "torch")]
pub mod download;
mod lock;
mod records;

pub use atomic::{atomic_write, atomic_write_with, create_dir, remove_half_written};
pub use lock::FolderLock;
pub use records::{IdleRecords, RecordFile};

use std::path::{Path, PathBuf};

/// BLAKE3 digest of some content.
pub type Digest = [u8; 32];

/// Content hash (BLAKE3, 32 bytes).
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// Hash of several parts; their borders count, so `["ab", "c"]` and `["a", "bc"]` differ.
#[must_use]
pub fn digest_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Lower-case hexadecimal of a digest.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// What can go wrong with a file of ours.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk is full.
    #[error(
        "the disk is full: {path} could not be written, what was there before is unchanged; free some space and try again"
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// No permission to write there.
    #[error("no permission to write {path}; choose another folder or change its permissions")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Anything else the operating system says.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of ours that does not hold what it should.
    #[error("{path} is damaged ({what}); {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl StorageError {
    /// Sorts an operating system error by what the user can do about it.
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path }
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                if action != "read" =>
            {
                Self::ReadOnly { path }
            }
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}
