use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi::SQLITE_IOERR_SHMSIZE};

/// Why labels could not be read or saved. A label that was acknowledged before is safe in every case.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The store was opened for reading only; see [`super::Access`].
    #[error("labels in {} cannot be changed: {reason}", path.display())]
    ReadOnly {
        /// The label file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// No room for the change.
    #[error(
        "the disk with {} is full: the last change was not saved, all earlier ones are; \
         free some space, then try again",
        path.display()
    )]
    DiskFull {
        /// The label file.
        path: PathBuf,
    },
    /// The disk or the network drive failed.
    #[error(
        "the disk with {} reported an error ({source}): the last change was not saved, all earlier \
         ones are; check the drive or the network connection, then reopen the project",
        path.display()
    )]
    Disk {
        /// The label file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another program holds the file for longer than we wait.
    #[error("another program is writing to {}: close it, then try again", path.display())]
    Busy {
        /// The label file.
        path: PathBuf,
    },
    /// The folder that is to hold the labels is not there.
    #[error("the folder {} does not exist: create it or choose another project folder", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file exists but cannot be opened.
    #[error("{} cannot be opened ({source}): check that it is a file that you may read", path.display())]
    CannotOpen {
        /// The label file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Some other file lies where the labels belong.
    #[error(
        "{} is not a label file of this program ({found}); it was left as it is: \
         move it away or choose another project folder",
        path.display()
    )]
    NotALabelFile {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// The file is a label store, but broken.
    #[error(
        "{} is damaged ({detail}); it was left as it is: keep a copy, then restore the newest backup \
         of it, or rescue what is readable with `sqlite3 FILE .recover`",
        path.display()
    )]
    Damaged {
        /// The label file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A later version of the program wrote the file.
    #[error(
        "{} was written by a newer version of this program (format {found}, this one knows {known}); \
         it was left as it is: open it with the newer version",
        path.display()
    )]
    NewerFormat {
        /// The label file.
        path: PathBuf,
        /// Its format version.
        found: i32,
        /// The newest format version understood here.
        known: i32,
    },
    /// A read-only folder holds labels that SQLite has not merged into the main file yet.
    #[error(
        "{} has recent labels in a file beside it (ending in -wal) that cannot be read in a \
         write-protected folder: copy the whole folder to a place where you may write, and open it there",
        path.display()
    )]
    UnmergedLog {
        /// The label file.
        path: PathBuf,
    },
    /// The class is none of the class set that the store was opened with.
    #[error("class {class} of image {image} does not exist: there are {classes} classes")]
    NoSuchClass {
        /// The image's key.
        image: String,
        /// The class number asked for.
        class: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Anything else that SQLite reports.
    #[error("the label file {} could not be used: {source}", path.display())]
    Database {
        /// The label file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl LabelError {
    /// Sorts an error of SQLite by what the user can do about it.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // The log's shared memory could not grow: what a full disk looks like on opening.
            Some(ErrorCode::SystemIoFailure)
                if source.sqlite_error().map(|e| e.extended_code) == Some(SQLITE_IOERR_SHMSIZE) =>
            {
                Self::DiskFull { path }
            }
            Some(ErrorCode::SystemIoFailure) => Self::Disk { path, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::NotADatabase) => Self::NotALabelFile {
                path,
                found: "it is no SQLite file".to_owned(),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::CannotOpen { path, source }
            }
            Some(ErrorCode::ReadOnly) => Self::ReadOnly {
                path,
                reason: format!("{source}; check the rights on the file and its folder"),
            },
            _ => Self::Database { path, source },
        }
    }
}
