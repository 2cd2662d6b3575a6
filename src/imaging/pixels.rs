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
            Ok(file) => (Some(file), None),
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
