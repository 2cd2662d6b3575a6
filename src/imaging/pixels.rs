//! All images at one working size, for training and inference.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Die, Framing, RESIZE_VERSION, WorkError, decode_gray, die_crop,
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

/// Images as squares of `size_px` x `size_px` bytes, by the content of their file: the whole frame or
/// the strip of ribbons, as the [`Framing`] says, stretched ([`resize`]). On disk and mapped; in memory
/// where the folder cannot be written.
pub struct PixelCache {
    size_px: u32,
    framing: Framing,
    file: Option<RecordFile>,
    memory: HashMap<Digest, Box<[u8]>>,
    problem: Option<String>,
}

/// An image whose pixels are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which image.
    pub id: ImageId,
    /// Its file.
    pub path: PathBuf,
    /// Hash of its file when it was scanned.
    pub content: Digest,
    /// What it was taken of, where that is known; [`Framing::Whole`] does not ask.
    pub die: Option<Die>,
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
    /// The cache for squares of `size_px` pixels of what `framing` shows, in the folder `cache`. Where
    /// that cannot be written, one that lives in memory, with the reason in [`Self::problem`]. A folder
    /// must be open only once for each size and framing.
    ///
    /// # Panics
    /// When `size_px` is 0.
    #[must_use]
    pub fn open(cache: &Path, size_px: u32, framing: Framing) -> Self {
        let name = file_name(size_px, framing);
        let (file, problem) = match RecordFile::open(cache, &name, square(size_px)) {
            Ok(file) => {
                let problem = (!file.is_durable()).then(|| not_written(cache, "pixels"));
                (Some(file), problem)
            }
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            size_px,
            framing,
            file,
            memory: HashMap::new(),
            problem,
        }
    }

    /// One that lives in memory only, for pixels that are looked at once.
    #[must_use]
    pub fn passing(size_px: u32, framing: Framing) -> Self {
        Self {
            size_px,
            framing,
            file: None,
            memory: HashMap::new(),
            problem: None,
        }
    }

    /// Bytes that such a cache takes in the folder `cache` now.
    #[must_use]
    pub fn bytes_on_disk(cache: &Path, size_px: u32, framing: Framing) -> u64 {
        let file = cache.join(format!("{}.bin", file_name(size_px, framing)));
        file.metadata().map_or(0, |facts| facts.len())
    }

    /// Side of the squares, in pixels.
    #[must_use]
    pub fn size_px(&self) -> u32 {
        self.size_px
    }

    /// Which part of each image they show.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Why pixels live in memory and will have to be made again, for people.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The `size_px * size_px` pixels of the image of `die` with this content, row by row; `None` until
    /// filled. For whole frames the die does not matter.
    #[must_use]
    pub fn get(&self, content: &Digest, die: Option<Die>) -> Option<&[u8]> {
        self.get_seen(&self.framing.identity(content, die))
    }

    /// As [`get`](Self::get), for what the framing shows of an image ([`Framing::identity`]).
    #[must_use]
    pub fn get_seen(&self, seen: &Digest) -> Option<&[u8]> {
        let key = self.key(seen);
        let on_disk = self.file.as_ref().and_then(|file| file.get(&key));
        on_disk.or_else(|| self.memory.get(&key).map(|pixels| &**pixels))
    }

    /// Makes the pixels of those images that have none yet, on all cores. A file that has changed since
    /// it was scanned is a failure, and so is an image of no known die where the framing needs it.
    ///
    /// # Errors
    /// [`WorkError`] when stopped or without threads; what was made before is kept.
    pub fn fill(&mut self, images: &[Wanted], ctx: &JobContext) -> Result<FillSummary, WorkError> {
        let todo: Vec<usize> = (0..images.len())
            .filter(|i| self.get(&images[*i].content, images[*i].die).is_none())
            .collect();
        let total = todo.len() as u64;
        let doing = format!("pixels at {0} x {0}", self.size_px);
        ctx.report(0, total, &doing);
        let (size_px, framing) = (self.size_px, self.framing);
        let mut failed = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut made = 0;
        let mut reported = Instant::now();
        let work = |i: &usize| make(&images[*i], size_px, framing);
        let result = for_each("pixels", cores(), &todo, ctx, work, |&i, pixels| {
            match pixels {
                Ok(pixels) => {
                    made += 1;
                    let Wanted { content, die, .. } = &images[i];
                    let seen = self.framing.identity(content, *die);
                    batch.push((self.key(&seen), pixels));
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
                .map(|(i, text)| (images[i].id, text))
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

    fn key(&self, seen: &Digest) -> Digest {
        let size = self.size_px.to_le_bytes();
        digest_parts([&seen[..], b"pixels", &size, RESIZE_VERSION.as_bytes()])
    }
}

fn make(image: &Wanted, size_px: u32, framing: Framing) -> Result<Box<[u8]>, String> {
    let path = &image.path;
    let crop = framing.crop(path, image.die)?;
    let bytes = read_file(path).map_err(|error| error.to_string())?;
    if digest(&bytes) != image.content {
        let path = path.display();
        return Err(format!(
            "{path} has changed since it was scanned; refresh the list"
        ));
    }
    let mut gray = decode_gray(path, &bytes).map_err(|error| error.to_string())?;
    if let Some(die) = crop {
        gray = framing.cut(die_crop(&gray, die));
    }
    Ok(resize(&gray, size_px, size_px).pixels.into())
}

fn file_name(size_px: u32, framing: Framing) -> String {
    match framing {
        Framing::Whole => format!("pixels-{size_px}"),
        Framing::DieCrop => format!("pixels-{size_px}-{}", framing.name()),
        Framing::StripTile(tile) => format!("pixels-{size_px}-{}-{tile}", framing.name()),
    }
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

    fn images(folder: &Path, n: u32) -> Vec<Wanted> {
        let image = |i| {
            let path = folder.join(format!("{i}.png"));
            let bytes = png(&ramp(i + 20, 30));
            fs::write(&path, &bytes).expect("written");
            Wanted {
                id: ImageId(i),
                path,
                content: digest(&bytes),
                die: None,
            }
        };
        (0..n).map(image).collect()
    }

    fn check(cache: &PixelCache, images: &[Wanted]) {
        for image in images {
            let expected = resize(&open_gray(&image.path).expect("opened"), 24, 24).pixels;
            let pixels = cache.get(&image.content, image.die);
            assert_eq!(pixels, Some(&expected[..]), "{:?}", image.id);
        }
    }

    #[test]
    fn pixels_are_made_once_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images(folder.path(), 150);
        let cache_folder = folder.path().join("cache");
        let ctx = JobContext::detached();
        let mut cache = PixelCache::open(&cache_folder, 24, Framing::Whole);
        assert_eq!(
            (cache.size_px(), cache.get(&images[0].content, None)),
            (24, None)
        );
        let summary = cache.fill(&images[..50], &ctx).expect("filled");
        assert_eq!((summary.made, summary.failed), (50, Vec::new()));
        drop(cache);
        let mut cache = PixelCache::open(&cache_folder, 24, Framing::Whole);
        let summary = cache.fill(&images, &ctx).expect("filled");
        assert_eq!(summary.made, 100);
        assert_eq!(ctx.progress.get().fraction(), 1.0);
        check(&cache, &images);
        assert!(
            PixelCache::open(&cache_folder, 25, Framing::Whole)
                .get(&images[0].content, None)
                .is_none()
        );
    }

    #[test]
    fn failures_are_told_in_order_and_the_others_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut images = images(folder.path(), 5);
        fs::remove_file(&images[1].path).expect("removed");
        fs::write(&images[3].path, png(&ramp(1, 1))).expect("replaced");
        let bytes = b"BM, said the owl";
        fs::write(&images[4].path, bytes).expect("replaced");
        images[4].content = digest(bytes);
        let mut cache = PixelCache::open(&folder.path().join("cache"), 24, Framing::Whole);
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
        check(&cache, &[images[0].clone(), images[2].clone()]);
    }

    #[test]
    fn without_a_folder_pixels_live_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images(folder.path(), 3);
        let mut cache = PixelCache::open(&images[0].path, 24, Framing::Whole);
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
        let mut cache = PixelCache::open(&folder.path().join("cache"), 24, Framing::Whole);
        let result = cache.fill(&images, &ctx);
        assert!(matches!(result, Err(WorkError::Stopped)));
    }

    #[test]
    fn another_framing_or_die_has_other_pixels() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut images = images(folder.path(), 3);
        images[0].die = Some(Die::Die02);
        images[1].die = Some(Die::Die04);
        let cache_folder = folder.path().join("cache");
        let ctx = JobContext::detached();
        let mut whole = PixelCache::open(&cache_folder, 24, Framing::Whole);
        let mut crop = PixelCache::open(&cache_folder, 24, Framing::DieCrop);
        assert!(whole.problem().is_none() && crop.problem().is_none());
        assert_eq!(whole.fill(&images, &ctx).expect("filled").made, 3);
        check(&whole, &images);
        let summary = crop.fill(&images, &ctx).expect("filled");
        assert_eq!(summary.made, 2);
        let (id, text) = &summary.failed[0];
        assert_eq!(*id, ImageId(2));
        assert!(text.contains("2.png cannot be cropped"), "{text}");
        for image in &images[..2] {
            let gray = open_gray(&image.path).expect("opened");
            let strip = die_crop(&gray, image.die.expect("known"));
            let expected = resize(&strip, 24, 24).pixels;
            assert_eq!(crop.get(&image.content, image.die), Some(&expected[..]));
            for other in [None, Some(Die::Die01)] {
                assert_eq!(crop.get(&image.content, other), None);
            }
        }
        // The die was corrected in the CSV.
        images[0].die = Some(Die::Die03);
        assert_eq!(crop.fill(&images[..2], &ctx).expect("filled").made, 1);
    }
}
