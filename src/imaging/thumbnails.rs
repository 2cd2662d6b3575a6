//! Small versions of all images, on disk, found by content.

use std::{collections::HashMap, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{Gray, fit_box, resize};
use crate::storage::{Digest, RecordFile, digest_parts};

/// Longer side of a thumbnail, in pixels.
pub const THUMBNAIL_PX: u32 = 160;

/// Width and height as little-endian u16, then the pixels, then zeros.
const HEADER: usize = 4;
const RECORD: usize = HEADER + (THUMBNAIL_PX * THUMBNAIL_PX) as usize;
/// Thumbnails gathered before they are written and synced together.
const BATCH: usize = 64;

/// `image` as a thumbnail: its longer side is [`THUMBNAIL_PX`].
#[must_use]
pub fn thumbnail(image: &Gray) -> Gray {
    let (width, height) = fit_box(image.width, image.height, THUMBNAIL_PX);
    resize(image, width, height)
}

/// Thumbnails by the content of their image's file. Shared by the scan that makes them and the loader
/// that shows them: a folder must be open only once. What is put is there at once, and on disk after
/// some more, a [`Self::flush`], or when the store is dropped.
pub struct ThumbnailStore {
    file: RwLock<Option<RecordFile>>,
    waiting: Mutex<HashMap<Digest, Arc<[u8]>>>,
    problem: Mutex<Option<String>>,
}

impl ThumbnailStore {
    /// The store in the folder `cache`. Where that cannot be written, or another process writes it, a
    /// store that keeps nothing new, with the reason in [`Self::problem`].
    #[must_use]
    pub fn open(cache: &Path) -> Self {
        match RecordFile::open(cache, &format!("thumbnails-{THUMBNAIL_PX}"), RECORD) {
            Ok(file) => {
                let problem = (!file.is_durable()).then(|| not_written(cache, "thumbnails"));
                Self::over(Some(file), problem)
            }
            Err(error) => Self::over(None, Some(error.to_string())),
        }
    }

    /// A store that keeps nothing: for a project somebody else has open.
    #[must_use]
    pub fn without_file() -> Self {
        Self::over(None, None)
    }

    fn over(file: Option<RecordFile>, problem: Option<String>) -> Self {
        Self {
            file: RwLock::new(file),
            waiting: Mutex::default(),
            problem: Mutex::new(problem),
        }
    }

    /// Whether new thumbnails are kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.problem.lock().is_none() && self.file.read().is_some()
    }

    /// Why new thumbnails are not kept, for people.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Whether there is a thumbnail of the image with this content.
    #[must_use]
    pub fn contains(&self, content: &Digest) -> bool {
        let key = key(content);
        self.waiting.lock().contains_key(&key)
            || (self.file.read().as_ref()).is_some_and(|file| file.contains(&key))
    }

    /// The thumbnail of the image with this content. May wait while a batch is written, so not for the
    /// thread that paints.
    #[must_use]
    pub fn get(&self, content: &Digest) -> Option<Gray> {
        let key = key(content);
        let waiting = self.waiting.lock().get(&key).cloned();
        match waiting {
            Some(record) => unpack(&record),
            None => unpack(self.file.read().as_ref()?.get(&key)?),
        }
    }

    /// Keeps `small`, made by [`thumbnail`]. Ignored when it is larger than one.
    pub fn put(&self, content: &Digest, small: &Gray) {
        let Some(record) = pack(small).filter(|_| self.keeps()) else {
            return;
        };
        let full = {
            let mut waiting = self.waiting.lock();
            waiting.insert(key(content), record);
            waiting.len() >= BATCH
        };
        if full {
            self.flush();
        }
    }

    /// Writes what waits. A failure ends keeping, with the reason in [`Self::problem`]: what is on disk
    /// stays readable, and thumbnails can be made again.
    pub fn flush(&self) {
        let mut slot = self.file.write();
        let batch: Vec<(Digest, Arc<[u8]>)> = {
            let waiting = self.waiting.lock();
            waiting.iter().map(|(k, r)| (*k, r.clone())).collect()
        };
        let Some(file) = slot.as_mut().filter(|_| !batch.is_empty()) else {
            return;
        };
        // They leave the waiting room only when the file has them, so that a reader always finds them.
        let written = file.append(batch.iter().map(|(key, record)| (*key, &**record)));
        let mut waiting = self.waiting.lock();
        match written {
            Ok(()) => {
                for (key, _) in &batch {
                    waiting.remove(key);
                }
            }
            Err(error) => {
                waiting.clear();
                *self.problem.lock() = Some(error.to_string());
            }
        }
    }
}

impl Drop for ThumbnailStore {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Why `what` is not kept in the folder `cache`, for people.
pub(super) fn not_written(cache: &Path, what: &str) -> String {
    format!(
        "{} cannot be written, or another program is writing it: {what} will be made again the next time",
        cache.display()
    )
}

fn key(content: &Digest) -> Digest {
    digest_parts([&content[..], format!("thumb-{THUMBNAIL_PX}").as_bytes()])
}

fn pack(small: &Gray) -> Option<Arc<[u8]>> {
    if small.width.max(small.height) > THUMBNAIL_PX {
        return None;
    }
    let mut record = vec![0; RECORD];
    record[..2].copy_from_slice(&(small.width as u16).to_le_bytes());
    record[2..HEADER].copy_from_slice(&(small.height as u16).to_le_bytes());
    record[HEADER..][..small.pixels.len()].copy_from_slice(&small.pixels);
    Some(record.into())
}

fn unpack(record: &[u8]) -> Option<Gray> {
    let width = u16::from_le_bytes([*record.first()?, *record.get(1)?]);
    let height = u16::from_le_bytes([*record.get(2)?, *record.get(3)?]);
    let pixels = record[HEADER..].get(..usize::from(width) * usize::from(height))?;
    (!pixels.is_empty()).then(|| Gray {
        width: width.into(),
        height: height.into(),
        pixels: pixels.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest;

    fn ramp(width: u32, height: u32) -> Gray {
        Gray {
            width,
            height,
            pixels: (0..width * height).map(|i| i as u8).collect(),
        }
    }

    #[test]
    fn what_is_put_is_found_at_once_and_after_reopening() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ThumbnailStore::open(folder.path());
        let images: Vec<Gray> = (1..=150).map(|i| ramp(i, 160)).collect();
        for image in &images {
            let content = digest(&image.pixels);
            assert!(!store.contains(&content));
            store.put(&content, image);
            assert_eq!(store.get(&content).as_ref(), Some(image));
        }
        drop(store);
        let store = ThumbnailStore::open(folder.path());
        for image in &images {
            assert_eq!(store.get(&digest(&image.pixels)).as_ref(), Some(image));
        }
        assert_eq!(store.problem(), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_and_keeps_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("not-a-folder");
        std::fs::write(&file, b"x").expect("written");
        let store = ThumbnailStore::open(&file);
        assert!(
            store
                .problem()
                .is_some_and(|text| text.contains("not-a-folder"))
        );
        store.put(&digest(b"a"), &ramp(3, 3));
        assert!(!store.keeps() && !store.contains(&digest(b"a")));
    }

    #[test]
    fn a_thumbnail_keeps_its_aspect() {
        let small = thumbnail(&ramp(540, 630));
        assert_eq!((small.width, small.height), (137, 160));
        assert_eq!(small.pixels.len(), 137 * 160);
    }
}
