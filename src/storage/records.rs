//! A cache file of equal records, found by the digest of what they were made from, read by mapping.
//!
//! Two files: `<name>.bin` holds the records one after another, `<name>.keys` a header and one 32-byte
//! digest for each. Records are appended and synced before their keys, so that a crash loses at most
//! the last batch and never makes a key point at rubbish. Safe to delete at any time.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use memmap2::Mmap;

use super::{Digest, StorageError};

/// Start of a keys file; the record length follows as a little-endian u64.
const MAGIC: &[u8; 8] = b"DSREC001";
const HEADER: usize = 16;
/// How often the lock of a file is tried before it counts as somebody else's, and how long between.
const LOCK_TRIES: u32 = 4;
const LOCK_WAIT: Duration = Duration::from_millis(5);
const KEY: usize = 32;

/// An append-only, memory-mapped file of fixed-length records keyed by digest.
///
/// One process writes it at a time. Where another one does, or the folder cannot be written, what is on
/// disk is read as it is and new records are kept in memory: [`RecordFile::is_durable`] tells.
#[derive(Debug)]
pub struct RecordFile {
    record_len: usize,
    rows: HashMap<Digest, usize>,
    map: Option<Mmap>,
    disk: Option<Disk>,
    memory: HashMap<Digest, Box<[u8]>>,
}

/// The files of the one process that writes them.
#[derive(Debug)]
struct Disk {
    data_path: PathBuf,
    data: File,
    keys: File,
}

impl RecordFile {
    /// Opens or creates `<folder>/<name>.bin` and `.keys` for records of `record_len` bytes. Files of
    /// another record length or a broken header are started afresh: it is a cache.
    ///
    /// # Errors
    /// [`StorageError`] when existing files cannot be read.
    ///
    /// # Panics
    /// When `record_len` is 0.
    pub fn open(folder: &Path, name: &str, record_len: usize) -> Result<Self, StorageError> {
        assert!(record_len > 0, "records have a length");
        let mut file = Self {
            record_len,
            rows: HashMap::new(),
            map: None,
            disk: None,
            memory: HashMap::new(),
        };
        let data_path = folder.join(format!("{name}.bin"));
        let keys_path = folder.join(format!("{name}.keys"));
        if let Some(disk) = Disk::for_writing(folder, data_path.clone(), &keys_path) {
            file.read_keys(&disk.data, &data_path, &keys_path)?;
            file.cut_to_whole_records(&disk)?;
            file.remap(&disk.data, &data_path)?;
            file.disk = Some(disk);
        } else if let Ok(data) = File::open(&data_path) {
            file.read_keys(&data, &data_path, &keys_path)?;
            file.remap(&data, &data_path)?;
        }
        Ok(file)
    }

    /// Number of records of `record_len` bytes in `<folder>/<name>`, which is not opened for writing; 0 where there is no
    /// such file or its records are of another length.
    #[must_use]
    pub fn count_on_disk(folder: &Path, name: &str, record_len: usize) -> usize {
        let count = || {
            let mut keys = File::open(folder.join(format!("{name}.keys")))?;
            let mut start = Vec::new();
            (&mut keys).take(HEADER as u64).read_to_end(&mut start)?;
            if record_len == 0 || start != header(record_len) {
                return Ok(0);
            }
            let keys = (keys.metadata()?.len() - HEADER as u64) / KEY as u64;
            let data = folder.join(format!("{name}.bin")).metadata()?.len();
            Ok::<_, std::io::Error>(keys.min(data / record_len as u64))
        };
        count().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The files in `folder` whose names begin with `prefix` and that no process writes, those that were opened for writing
    /// longest ago first.
    #[must_use]
    pub fn idle(folder: &Path, prefix: &str) -> Vec<IdleRecords> {
        let idle = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.strip_suffix(".keys")?;
            let name = name.starts_with(prefix).then(|| name.to_owned())?;
            let keys = File::open(&path).ok()?;
            // Shared, so that others may list too; whoever writes holds it alone.
            keys.try_lock_shared().ok()?;
            let opened = keys.metadata().ok()?.modified().ok()?;
            let data = folder.join(format!("{name}.bin"));
            let bytes = data.metadata().map_or(0, |data| data.len());
            Some(IdleRecords {
                name,
                bytes,
                opened,
                files: [path, data],
            })
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.filter_map(|entry| idle(entry.path())).collect();
        found.sort_by(|a, b| (a.opened, &a.name).cmp(&(b.opened, &b.name)));
        found
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.memory.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether new records will still be there when the program starts again.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.disk.is_some()
    }

    /// Whether a record made from `key` is there.
    #[must_use]
    pub fn contains(&self, key: &Digest) -> bool {
        self.rows.contains_key(key) || self.memory.contains_key(key)
    }

    /// The record made from `key`.
    #[must_use]
    pub fn get(&self, key: &Digest) -> Option<&[u8]> {
        match self.rows.get(key) {
            Some(row) => {
                let start = row * self.record_len;
                self.map.as_ref()?.get(start..start + self.record_len)
            }
            None => self.memory.get(key).map(|record| &**record),
        }
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
        let mut seen = HashSet::new();
        for (key, record) in records {
            assert_eq!(record.len(), self.record_len, "a record of this file");
            if self.contains(&key) || !seen.insert(key) {
                continue;
            }
            if self.disk.is_some() {
                bytes.extend_from_slice(record);
                new_keys.push(key);
            } else {
                self.memory.insert(key, record.into());
            }
        }
        let Some(disk) = self.disk.take() else {
            return Ok(());
        };
        let appended = self.append_to(&disk, &bytes, new_keys);
        self.disk = Some(disk);
        appended
    }

    fn append_to(
        &mut self,
        disk: &Disk,
        bytes: &[u8],
        new_keys: Vec<Digest>,
    ) -> Result<(), StorageError> {
        if new_keys.is_empty() {
            return Ok(());
        }
        let written = (&disk.data)
            .write_all(bytes)
            .and_then(|()| disk.data.sync_data())
            .and_then(|()| (&disk.keys).write_all(new_keys.as_flattened()));
        if let Err(source) = written {
            // Back to the last whole record, so that the next batch lines up; the first error is the
            // one to tell.
            drop(self.cut_to_whole_records(disk));
            return Err(StorageError::io("write", &disk.data_path, source));
        }
        for key in new_keys {
            self.rows.insert(key, self.rows.len());
        }
        self.remap(&disk.data, &disk.data_path)
    }

    fn read_keys(
        &mut self,
        data: &File,
        data_path: &Path,
        keys_path: &Path,
    ) -> Result<(), StorageError> {
        let bytes =
            fs::read(keys_path).map_err(|source| StorageError::io("read", keys_path, source))?;
        let data_len = data
            .metadata()
            .map_err(|source| StorageError::io("read", data_path, source))?
            .len();
        if bytes.starts_with(&header(self.record_len)) {
            let on_disk = usize::try_from(data_len).unwrap_or(usize::MAX) / self.record_len;
            let (keys, _) = bytes[HEADER..].as_chunks::<KEY>();
            for key in keys.iter().take(on_disk) {
                if self.rows.insert(*key, self.rows.len()).is_some() {
                    // Never written by us: start afresh rather than guess which record is meant.
                    self.rows.clear();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Cuts off what a crash or a full disk left behind the last whole pair of key and record.
    fn cut_to_whole_records(&self, disk: &Disk) -> Result<(), StorageError> {
        let count = self.rows.len();
        let cut = (|| {
            disk.data.set_len((count * self.record_len) as u64)?;
            if count == 0 {
                disk.keys.set_len(0)?;
                (&disk.keys).write_all(&header(self.record_len))
            } else {
                disk.keys.set_len((HEADER + count * KEY) as u64)
            }
        })();
        cut.map_err(|source| StorageError::io("write", &disk.data_path, source))
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe because others could shorten it; only the holder of the lock changes it, and it only appends"
    )]
    fn remap(&mut self, data: &File, data_path: &Path) -> Result<(), StorageError> {
        self.map = None;
        if !self.rows.is_empty() {
            // SAFETY: see the reason above.
            let map = unsafe { Mmap::map(data) }
                .map_err(|source| StorageError::io("read", data_path, source))?;
            self.map = Some(map);
        }
        Ok(())
    }
}

/// Records that no process writes.
#[derive(Debug)]
pub struct IdleRecords {
    /// Of the pair of files.
    pub name: String,
    /// Bytes of the records.
    pub bytes: u64,
    /// When they were last opened for writing.
    opened: SystemTime,
    files: [PathBuf; 2],
}

impl IdleRecords {
    /// Removes them, unless somebody has begun to write them meanwhile: says whether they are gone. The records go first:
    /// they are what takes room, and keys without records are found again.
    ///
    /// # Errors
    /// [`StorageError`] naming the file that stays.
    pub fn remove(self) -> Result<bool, StorageError> {
        let [keys, data] = &self.files;
        let Ok(lock) = File::open(keys) else {
            // Somebody else has removed them.
            return Ok(true);
        };
        if lock.try_lock().is_err() {
            return Ok(false);
        }
        for path in [data, keys] {
            match fs::remove_file(path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", path, source));
                }
                _ => {}
            }
        }
        Ok(true)
    }
}

fn header(record_len: usize) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend((record_len as u64).to_le_bytes());
    header
}

impl Disk {
    /// The files opened for appending, or `None` where that is not possible or another process does.
    fn for_writing(folder: &Path, data_path: PathBuf, keys_path: &Path) -> Option<Self> {
        super::create_dir(folder).ok()?;
        let open = |path: &Path| {
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(path)
                .ok()
        };
        let keys = open(keys_path)?;
        // Who lists the files holds the lock for a moment.
        let locked = (0..LOCK_TRIES).any(|attempt| {
            if attempt > 0 {
                thread::sleep(LOCK_WAIT);
            }
            keys.try_lock().is_ok()
        });
        if !locked {
            return None;
        }
        // Tells later which files have not been of use for long; where it cannot be set, they seem older than they are.
        drop(keys.set_modified(SystemTime::now()));
        let data = open(&data_path)?;
        Some(Self {
            data_path,
            data,
            keys,
        })
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
        // Counted without being opened, also while somebody else writes it.
        let count = |name, length| RecordFile::count_on_disk(folder.path(), name, length);
        assert_eq!(
            [count("t", 3), count("t", 4), count("t", 0), count("u", 3)],
            [2, 0, 0, 0]
        );
        assert!(!folder.path().join("u.keys").exists());
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

    #[test]
    fn a_second_opener_reads_what_is_there_and_keeps_its_own_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (digest(b"a"), digest(b"b"));
        let mut first = RecordFile::open(folder.path(), "t", 3).expect("opened");
        first.append([(a, &b"one"[..])]).expect("appended");
        let mut second = RecordFile::open(folder.path(), "t", 3).expect("opened");
        assert!(first.is_durable() && !second.is_durable());
        second.append([(b, &b"two"[..])]).expect("kept");
        assert_eq!(second.get(&a), Some(&b"one"[..]));
        assert_eq!(second.get(&b), Some(&b"two"[..]));
        assert!(!first.contains(&b));
        drop((first, second));
        let third = RecordFile::open(folder.path(), "t", 3).expect("opened");
        assert!(third.is_durable() && third.contains(&a) && !third.contains(&b));
    }

    #[test]
    fn files_that_nobody_writes_are_listed_by_their_last_use_and_can_be_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name| RecordFile::open(folder.path(), name, 3).expect("opened");
        for name in ["kept-1", "kept-2", "kept-3", "other"] {
            let mut file = open(name);
            file.append([(digest(b"a"), &b"one"[..])])
                .expect("appended");
        }
        // Used again, and in use.
        let at = |name: &str, second| {
            let keys = folder.path().join(format!("{name}.keys"));
            let keys = OpenOptions::new().append(true).open(keys).expect("there");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            keys.set_modified(time).expect("set");
        };
        at("kept-1", 2_000);
        at("kept-2", 1_000);
        let used = open("kept-3");
        let idle = || RecordFile::idle(folder.path(), "kept-");
        let names: Vec<(String, u64)> = idle().into_iter().map(|f| (f.name, f.bytes)).collect();
        assert_eq!(names, [("kept-2".to_owned(), 3), ("kept-1".to_owned(), 3)]);
        let [first, second] = <[IdleRecords; 2]>::try_from(idle()).expect("two");
        assert!(first.remove().expect("removed"));
        // Somebody has begun to write the other.
        let begun = open("kept-1");
        assert!(!second.remove().expect("left"));
        drop(begun);
        assert_eq!(idle().len(), 1);
        assert!(!folder.path().join("kept-2.bin").exists());
        drop(used);
        assert_eq!(idle().len(), 2);
        assert_eq!(open("kept-1").len(), 1);
        assert!(RecordFile::idle(&folder.path().join("nowhere"), "").is_empty());
    }
}
