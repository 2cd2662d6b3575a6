//! What is known of each file, so that a second look needs only its size and time.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::{Facts, ImageError};
use crate::storage::{StorageError, atomic_write, create_dir};

const NAME: &str = "files.jsonl";

/// Length and time of a file: while they stand, so does its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Length in bytes.
    bytes: u64,
    /// Last change, nanoseconds since 1970.
    modified: i64,
}

impl Stamp {
    /// The stamp of the file `path` now; `None` where the file system keeps no times.
    ///
    /// # Errors
    /// [`ImageError::Missing`] or [`ImageError::Unreadable`].
    pub fn of(path: &Path) -> Result<Option<Self>, ImageError> {
        let facts = fs::metadata(path).map_err(|source| ImageError::io(path, source))?;
        let modified = facts.modified().ok().and_then(|time| {
            let nanos = time.duration_since(UNIX_EPOCH).ok()?.as_nanos();
            i64::try_from(nanos).ok()
        });
        let bytes = facts.len();
        Ok(modified.map(|modified| Self { bytes, modified }))
    }
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    #[serde(flatten)]
    stamp: Stamp,
    /// What the file holds, or the sentence why it cannot be opened.
    found: Result<Facts, String>,
}

/// What is known of each file: `files.jsonl` in the cache folder, one JSON object a line. Paths that
/// are not Unicode are not remembered.
pub struct FileIndex {
    file: PathBuf,
    entries: HashMap<String, Entry>,
    changed: bool,
}

impl FileIndex {
    /// Reads the index of the folder `cache`. Lines that make no sense are left out, and so is all of
    /// it when there is none: then everything is looked at again.
    #[must_use]
    pub fn load(cache: &Path) -> Self {
        let file = cache.join(NAME);
        let bytes = fs::read(&file).unwrap_or_default();
        let entries = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<Entry>(line).ok())
            .map(|entry| (entry.path.clone(), entry))
            .collect();
        Self {
            file,
            entries,
            changed: false,
        }
    }

    /// What was found in `path` when its stamp was `stamp`.
    #[must_use]
    pub fn get(&self, path: &Path, stamp: Stamp) -> Option<&Result<Facts, String>> {
        let entry = self.entries.get(path.to_str()?)?;
        (entry.stamp == stamp).then_some(&entry.found)
    }

    /// Notes what was found in `path`, whose stamp was taken before it was read.
    pub fn put(&mut self, path: &Path, stamp: Stamp, found: Result<Facts, String>) {
        if let Some(path) = path.to_str() {
            let entry = Entry {
                path: path.to_owned(),
                stamp,
                found,
            };
            self.entries.insert(path.to_owned(), entry);
            self.changed = true;
        }
    }

    /// Replaces the file by what is known now, if that has changed.
    ///
    /// # Errors
    /// [`StorageError`] naming the file; the old one is then still there.
    pub fn save(&mut self) -> Result<(), StorageError> {
        if !self.changed {
            return Ok(());
        }
        let mut lines = Vec::new();
        for entry in self.entries.values() {
            let line = serde_json::to_writer(&mut lines, entry).map_err(std::io::Error::other);
            line.and_then(|()| lines.write_all(b"\n"))
                .map_err(|source| StorageError::io("write", &self.file, source))?;
        }
        if let Some(folder) = self.file.parent() {
            create_dir(folder)?;
        }
        atomic_write(&self.file, &lines)?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest;

    #[test]
    fn what_is_saved_is_known_until_the_file_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("cache");
        let image = folder.path().join("Ä \"1\".png");
        fs::write(&image, b"abc").expect("written");
        let facts = Facts {
            width: 3,
            height: 2,
            bits: 16,
            colour: true,
            content: digest(b"abc"),
            bytes: 3,
        };
        let other = folder.path().join("other.png");
        let stamp = Stamp::of(&image).expect("there").expect("has a time");
        let mut index = FileIndex::load(&cache);
        assert_eq!(index.get(&image, stamp), None);
        index.put(&image, stamp, Ok(facts.clone()));
        index.put(&other, stamp, Err("it is empty".into()));
        index.save().expect("saved");

        let index = FileIndex::load(&cache);
        assert_eq!(index.get(&image, stamp), Some(&Ok(facts)));
        assert_eq!(index.get(&other, stamp), Some(&Err("it is empty".into())));
        let longer = Stamp { bytes: 4, ..stamp };
        assert_eq!(index.get(&image, longer), None);
        let later = Stamp {
            modified: stamp.modified + 1,
            ..stamp
        };
        assert_eq!(index.get(&image, later), None);
    }

    #[test]
    fn a_damaged_line_costs_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let stamp = Stamp {
            bytes: 1,
            modified: 2,
        };
        let mut index = FileIndex::load(folder.path());
        for name in ["a", "b", "c"] {
            index.put(Path::new(name), stamp, Err(name.into()));
        }
        index.save().expect("saved");
        let file = folder.path().join(NAME);
        let mut bytes = fs::read(&file).expect("read");
        bytes[3] = 0xFF;
        bytes.extend(b"{\"path\":\"half");
        fs::write(&file, bytes).expect("damaged");
        assert_eq!(FileIndex::load(folder.path()).entries.len(), 2);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Stamp::of(Path::new("no/such.png")).expect_err("not there");
        assert!(matches!(&error, ImageError::Missing { .. }));
        assert!(error.to_string().contains("such.png"), "{error}");
    }
}
