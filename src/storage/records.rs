//! A cache file of equal records, found by the digest of what they were made from, read by mapping.
//!
//! Two files: `<name>.bin` holds the records one after another, `<name>.keys` a header and one 32-byte
//! digest for each. Records are appended and synced before their keys, so that a crash loses at most
//! the last batch and never makes a key point at rubbish. Safe to delete at any time.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use super::{Digest, StorageError};

/// Start of a keys file; the record length follows as a little-endian u64.
const MAGIC: &[u8; 8] = b"DSREC001";
const HEADER: usize = 16;
const KEY: usize = 32;

/// An append-only, memory-mapped file of fixed-length records keyed by digest.
#[derive(Debug)]
pub struct RecordFile {
    data_path: PathBuf,
    data: File,
    keys: File,
    record_len: usize,
    rows: HashMap<Digest, usize>,
    count: usize,
    map: Option<Mmap>,
}

impl RecordFile {
    /// Opens or creates `<folder>/<name>.bin` and `.keys` for records of `record_len` bytes. Files of
    /// another record length or a broken header are started afresh: it is a cache.
    ///
    /// # Errors
    /// [`StorageError`] when the folder cannot be written.
    ///
    /// # Panics
    /// When `record_len` is 0.
    pub fn open(folder: &Path, name: &str, record_len: usize) -> Result<Self, StorageError> {
        assert!(record_len > 0, "records have a length");
        super::create_dir(folder)?;
        let data_path = folder.join(format!("{name}.bin"));
        let keys_path = folder.join(format!("{name}.keys"));
        let open = |path: &Path| {
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(path)
                .map_err(|source| StorageError::io("open", path, source))
        };
        let data = open(&data_path)?;
        let mut keys = open(&keys_path)?;

        let mut header = MAGIC.to_vec();
        header.extend((record_len as u64).to_le_bytes());
        let bytes = std::fs::read(&keys_path)
            .map_err(|source| StorageError::io("read", &keys_path, source))?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StorageError::io("write", &path, source)
        };
        let mut rows = HashMap::new();
        let mut count = 0;
        if bytes.len() >= HEADER && bytes[..HEADER] == header[..] {
            let on_disk = data
                .metadata()
                .map_err(|source| StorageError::io("read", &data_path, source))?
                .len() as usize
                / record_len;
            for key in bytes[HEADER..].chunks_exact(KEY).take(on_disk) {
                let mut digest = [0; KEY];
                digest.copy_from_slice(key);
                rows.insert(digest, count);
                count += 1;
            }
            // What a crash left behind the last whole pair is cut off.
            data.set_len((count * record_len) as u64)
                .map_err(io(&data_path))?;
            keys.set_len((HEADER + count * KEY) as u64)
                .map_err(io(&keys_path))?;
        } else {
            data.set_len(0).map_err(io(&data_path))?;
            keys.set_len(0).map_err(io(&keys_path))?;
            keys.write_all(&header).map_err(io(&keys_path))?;
        }
        let mut file = Self {
            data_path,
            data,
            keys,
            record_len,
            rows,
            count,
            map: None,
        };
        file.remap()?;
        Ok(file)
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a record made from `key` is there.
    #[must_use]
    pub fn contains(&self, key: &Digest) -> bool {
        self.rows.contains_key(key)
    }

    /// The record made from `key`.
    #[must_use]
    pub fn get(&self, key: &Digest) -> Option<&[u8]> {
        let start = self.rows.get(key)? * self.record_len;
        self.map.as_ref()?.get(start..start + self.record_len)
    }

    /// Adds records, synced to disk before their keys are. A key that is already there is skipped.
    ///
    /// # Errors
    /// [`StorageError`]; the records that were there stay readable.
    ///
    /// # Panics
    /// When a record is not of this file's length.
    pub fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = (Digest, &'a [u8])>,
    ) -> Result<(), StorageError> {
        let mut bytes = Vec::new();
        let mut new_keys = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (key, record) in records {
            assert_eq!(record.len(), self.record_len, "a record of this file");
            if !self.rows.contains_key(&key) && seen.insert(key) {
                bytes.extend_from_slice(record);
                new_keys.push(key);
            }
        }
        if new_keys.is_empty() {
            return Ok(());
        }
        let written = self
            .data
            .write_all(&bytes)
            .and_then(|()| self.data.sync_data())
            .and_then(|()| self.keys.write_all(new_keys.as_flattened()));
        if let Err(source) = written {
            // Back to the last whole record, so that the next batch lines up.
            let back = self
                .data
                .set_len((self.count * self.record_len) as u64)
                .and_then(|()| self.keys.set_len((HEADER + self.count * KEY) as u64));
            drop(back);
            return Err(StorageError::io("write", &self.data_path, source));
        }
        for key in new_keys {
            self.rows.insert(key, self.count);
            self.count += 1;
        }
        self.remap()
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe because others could shorten it; only this program writes its cache, under the project lock, and it only appends"
    )]
    fn remap(&mut self) -> Result<(), StorageError> {
        self.map = None;
        if self.count > 0 {
            // SAFETY: see the reason above.
            let map = unsafe { Mmap::map(&self.data) }
                .map_err(|source| StorageError::io("read", &self.data_path, source))?;
            self.map = Some(map);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest;

    #[test]
    fn records_are_found_again_after_reopening() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (digest(b"a"), digest(b"b"));
        let mut file = RecordFile::open(folder.path(), "t", 3).expect("opened");
        assert!(file.get(&a).is_none());
        file.append([(a, &b"one"[..]), (a, b"ONE"), (b, b"two")])
            .expect("appended");
        assert_eq!((file.len(), file.get(&a)), (2, Some(&b"one"[..])));
        drop(file);
        let file = RecordFile::open(folder.path(), "t", 3).expect("reopened");
        assert_eq!(file.get(&b), Some(&b"two"[..]));
    }

    #[test]
    fn a_torn_tail_is_cut_and_another_record_length_starts_afresh() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (digest(b"a"), digest(b"b"));
        let mut file = RecordFile::open(folder.path(), "t", 3).expect("opened");
        file.append([(a, &b"one"[..])]).expect("appended");
        drop(file);
        let tear = |name: &str, bytes: &[u8]| {
            let mut f = OpenOptions::new()
                .append(true)
                .open(folder.path().join(name))
                .expect("there");
            f.write_all(bytes).expect("torn");
        };
        tear("t.bin", b"tw");
        tear("t.keys", &[7; 11]);
        let mut file = RecordFile::open(folder.path(), "t", 3).expect("reopened");
        assert_eq!(file.get(&a), Some(&b"one"[..]));
        file.append([(b, &b"two"[..])]).expect("appended");
        assert_eq!(file.get(&b), Some(&b"two"[..]));
        drop(file);
        let file = RecordFile::open(folder.path(), "t", 4).expect("reopened");
        assert!(file.is_empty());
    }
}
