//! All images at one working size, for training and inference.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    RESIZE_VERSION, WorkError, decode_gray,
    parallel::{cores, for_each},
    read_file, resize,
    thumbnails::not_written,
};
use crate::{
    domain::ImageId,
    jobs::JobContext,
    storage::{Digest, RecordFile, digest, digest_parts},
};

/// Images written and synced together.
const BATCH: usize = 64;
/// How often progress is told.
const REPORT_AFTER: Duration = Duration::from_millis(100);

/// Images as squares of `size_px` x `size_px` bytes, by the content of their file: the whole frame,
/// stretched ([`resize`]), as the study did. On disk and mapped; in memory where the folder cannot be
/// written.
pub struct PixelCache {
    size_px: u32,
    file: Option<RecordFile>,
    memory: HashMap<Digest, Box<[u8]>>,
    problem: Option<String>,
}

/// How filling went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FillSummary {
    /// Images that were read now; the others were there.
    pub made: usize,
    /// Images without pixels, each with the sentence why, in the order asked for.
    pub failed: Vec<(ImageId, String)>,
}

impl PixelCache {
    /// The cache for squares of `size_px` pixels in the folder `cache`. Where that cannot be written,
    /// one that lives in memory, with the reason in [`Self::problem`]. A folder must be open only once
    /// for each size.
    ///
    /// # Panics
    /// When `size_px` is 0.
    #[must_use]
    pub fn open(cache: &Path, size_px: u32) -> Self {
        let name = format!("pixels-{size_px}");
        let (file, problem) = match RecordFile::open(cache, &name, square(size_px)) {
            Ok(file) => {
                let problem = (!file.is_durable()).then(|| not_written(cache, "pixels"));
                (Some(file), problem)
            }
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            size_px,
            file,
            memory: HashMap::new(),
            problem,
        }
    }

    /// Side of the squares, in pixels.
    #[must_use]
    pub fn size_px(&self) -> u32 {
        self.size_px
    }

    /// Why pixels live in memory and will have to be made again, for people.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The `size_px * size_px` pixels of the image with this content, row by row; `None` until filled.
    #[must_use]
    pub fn get(&self, content: &Digest) -> Option<&[u8]> {
        let key = self.key(content);
        let on_disk = self.file.as_ref().and_then(|file| file.get(&key));
        on_disk.or_else(|| self.memory.get(&key).map(|pixels| &**pixels))
    }

    /// Makes the pixels of those images that have none yet, on all cores. Each comes with the hash of
    /// its file when it was scanned; a file that has changed since is a failure.
    ///
    /// # Errors
    /// [`WorkError`] when stopped or without threads; what was made before is kept.
    pub fn fill(
        &mut self,
        images: &[(ImageId, PathBuf, Digest)],
        ctx: &JobContext,
    ) -> Result<FillSummary, WorkError> {
        let todo: Vec<usize> = (0..images.len())
            .filter(|i| self.get(&images[*i].2).is_none())
            .collect();
        let total = todo.len() as u64;
        let doing = format!("pixels at {0} x {0}", self.size_px);
        ctx.report(0, total, &doing);
        let size_px = self.size_px;
        let mut failed = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut made = 0;
        let mut reported = Instant::now();
        let work = |i: &usize| make(&images[*i].1, &images[*i].2, size_px);
        let result = for_each("pixels", cores(), &todo, ctx, work, |&i, pixels| {
            match pixels {
                Ok(pixels) => {
                    made += 1;
                    batch.push((self.key(&images[i].2), pixels));
                }
                Err(text) => failed.push((i, text)),
            }
            if batch.len() >= BATCH {
                self.keep(&mut batch);
            }
            if reported.elapsed() >= REPORT_AFTER {
                ctx.report((made + failed.len()) as u64, total, &doing);
                reported = Instant::now();
            }
        });
        self.keep(&mut batch);
        ctx.report((made + failed.len()) as u64, total, &doing);
        result?;
        failed.sort_unstable();
        Ok(FillSummary {
            made,
            failed: (failed.into_iter())
                .map(|(i, text)| (images[i].0, text))
                .collect(),
        })
    }

    fn keep(&mut self, batch: &mut Vec<(Digest, Box<[u8]>)>) {
        if let Some(file) = self.file.as_mut().filter(|_| self.problem.is_none()) {
            match file.append(batch.iter().map(|(key, pixels)| (*key, &**pixels))) {
                Ok(()) => batch.clear(),
                Err(error) => self.problem = Some(error.to_string()),
            }
        }
        self.memory.extend(batch.drain(..));
    }

    fn key(&self, content: &Digest) -> Digest {
        let size = self.size_px.to_le_bytes();
        digest_parts([&content[..], b"pixels", &size, RESIZE_VERSION.as_bytes()])
    }
}

fn make(path: &Path, content: &Digest, size_px: u32) -> Result<Box<[u8]>, String> {
    let bytes = read_file(path).map_err(|error| error.to_string())?;
    if digest(&bytes) != *content {
        let path = path.display();
        return Err(format!(
            "{path} has changed since it was scanned; refresh the list"
        ));
    }
    let gray = decode_gray(path, &bytes).map_err(|error| error.to_string())?;
    Ok(resize(&gray, size_px, size_px).pixels.into())
}

fn square(size_px: u32) -> usize {
    size_px as usize * size_px as usize
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::imaging::{
        open_gray,
        testing::{png, ramp},
    };
    use crate::jobs::StopReason;

    type Images = Vec<(ImageId, PathBuf, Digest)>;

    fn images(folder: &Path, n: u32) -> Images {
        let image = |i| {
            let path = folder.join(format!("{i}.png"));
            let bytes = png(&ramp(i + 20, 30));
            fs::write(&path, &bytes).expect("written");
            (ImageId(i), path, digest(&bytes))
        };
        (0..n).map(image).collect()
    }

    fn check(cache: &PixelCache, images: &Images) {
        for (id, path, content) in images {
            let expected = resize(&open_gray(path).expect("opened"), 24, 24).pixels;
            assert_eq!(cache.get(content), Some(&expected[..]), "{id:?}");
        }
    }

    #[test]
    fn pixels_are_made_once_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images(folder.path(), 150);
        let cache_folder = folder.path().join("cache");
        let ctx = JobContext::detached();
        let mut cache = PixelCache::open(&cache_folder, 24);
        assert_eq!((cache.size_px(), cache.get(&images[0].2)), (24, None));
        let summary = cache.fill(&images[..50], &ctx).expect("filled");
        assert_eq!((summary.made, summary.failed), (50, Vec::new()));
        drop(cache);
        let mut cache = PixelCache::open(&cache_folder, 24);
        let summary = cache.fill(&images, &ctx).expect("filled");
        assert_eq!(summary.made, 100);
        assert_eq!(ctx.progress.get().fraction(), 1.0);
        check(&cache, &images);
        assert!(
            PixelCache::open(&cache_folder, 25)
                .get(&images[0].2)
                .is_none()
        );
    }

    #[test]
    fn failures_are_told_in_order_and_the_others_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut images = images(folder.path(), 5);
        fs::remove_file(&images[1].1).expect("removed");
        fs::write(&images[3].1, png(&ramp(1, 1))).expect("replaced");
        let bytes = b"BM, said the owl";
        fs::write(&images[4].1, bytes).expect("replaced");
        images[4].2 = digest(bytes);
        let mut cache = PixelCache::open(&folder.path().join("cache"), 24);
        let summary = cache
            .fill(&images, &JobContext::detached())
            .expect("filled");
        assert_eq!(summary.made, 2);
        let failed: Vec<u32> = summary.failed.iter().map(|(id, _)| id.0).collect();
        assert_eq!(failed, [1, 3, 4]);
        let words = [
            "1.png is not there",
            "3.png has changed",
            "4.png is damaged",
        ];
        for ((_, text), words) in summary.failed.iter().zip(words) {
            assert!(text.contains(words), "{text}");
        }
        check(&cache, &vec![images[0].clone(), images[2].clone()]);
    }

    #[test]
    fn without_a_folder_pixels_live_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images(folder.path(), 3);
        let mut cache = PixelCache::open(&images[0].1, 24);
        assert!(cache.problem().is_some_and(|text| text.contains("0.png")));
        let ctx = JobContext::detached();
        assert_eq!(cache.fill(&images, &ctx).expect("filled").made, 3);
        assert_eq!(cache.fill(&images, &ctx).expect("filled").made, 0);
        check(&cache, &images);
    }

    #[test]
    fn a_stopped_fill_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images(folder.path(), 3);
        let ctx = JobContext::detached();
        ctx.control.stop(StopReason::Cancelled);
        let mut cache = PixelCache::open(&folder.path().join("cache"), 24);
        let result = cache.fill(&images, &ctx);
        assert!(matches!(result, Err(WorkError::Stopped)));
    }
}
