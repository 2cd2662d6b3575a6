//! The first look at all images: facts and thumbnails.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Facts, FileIndex, Gray, ImageError, ThumbnailStore, WorkError, decode,
    files::Stamp,
    parallel::{cores, for_each},
    read_file, thumbnail,
};
use crate::{domain::ImageId, jobs::JobContext};

/// What was found in some images: facts, or the sentence why one cannot be opened.
pub type Scanned = Vec<(ImageId, Result<Facts, String>)>;

/// Files asked for their size and time between two looks at the stop flag, and emitted together.
const STAT_BATCH: usize = 1024;
/// Freshly read images emitted together, at most, and how long one waits for the others.
const EMIT_BATCH: usize = 64;
const EMIT_AFTER: Duration = Duration::from_millis(100);
/// How often what is known is saved, in case the program does not end well.
const SAVE_AFTER: Duration = Duration::from_secs(10);

/// How a scan went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Images asked for.
    pub images: usize,
    /// Of these, known from an earlier scan and not read again.
    pub known: usize,
    /// Of these, not to be opened.
    pub failed: usize,
    /// Why facts or thumbnails were not kept for the next time, for people; `None` if they were.
    pub cache_problem: Option<String>,
}

/// Looks at every image once: those unchanged since an earlier scan into the folder `cache` are emitted
/// at once, in big batches; the others are read, hashed, decoded and made into thumbnails, on all cores
/// but one, and emitted as they come. Each image is emitted exactly once, unless the scan is stopped.
///
/// # Errors
/// [`WorkError`] when it is stopped or there are no threads. What was found before is kept, so that the
/// next scan goes on from there. An image that cannot be opened is no error but an emitted sentence.
pub fn scan(
    images: &[(ImageId, PathBuf)],
    cache: &Path,
    thumbnails: &ThumbnailStore,
    ctx: &JobContext,
    emit: &mut dyn FnMut(Scanned),
) -> Result<ScanSummary, WorkError> {
    let mut index = FileIndex::load(cache);
    let mut summary = ScanSummary {
        images: images.len(),
        ..ScanSummary::default()
    };
    let todo = emit_known(images, &index, thumbnails, ctx, &mut summary, emit)?;

    let total = todo.len() as u64;
    let mut done = 0;
    let mut batch = Scanned::new();
    let mut index_problem = None;
    let (mut emitted, mut saved) = (Instant::now(), Instant::now());
    let threads = cores().saturating_sub(1);
    let result = for_each("scan", threads, &todo, ctx, look, |item, found| {
        if let Ok((facts, small)) = &found {
            thumbnails.put(&facts.content, small);
        }
        let lasting = found.as_ref().map_or_else(ImageError::is_lasting, |_| true);
        let found = found.map(|(facts, _)| facts).map_err(|e| e.to_string());
        if let Some(stamp) = item.stamp.filter(|_| lasting) {
            index.put(item.path, stamp, found.clone());
        }
        summary.failed += usize::from(found.is_err());
        batch.push((item.id, found));
        done += 1;
        if batch.len() >= EMIT_BATCH || emitted.elapsed() >= EMIT_AFTER {
            emit(std::mem::take(&mut batch));
            ctx.report(done, total, "reading images");
            emitted = Instant::now();
        }
        if index_problem.is_none() && saved.elapsed() >= SAVE_AFTER {
            index_problem = index.save().err();
            saved = Instant::now();
        }
    });
    if !batch.is_empty() {
        emit(batch);
    }
    ctx.report(done, total, "reading images");
    thumbnails.flush();
    let index_problem = index_problem.or_else(|| index.save().err());
    result?;
    summary.cache_problem = index_problem
        .map(|error| error.to_string())
        .or_else(|| thumbnails.problem());
    Ok(summary)
}

/// An image to be read.
struct Item<'a> {
    id: ImageId,
    path: &'a Path,
    /// From before it is read: a file that changes meanwhile is read again the next time.
    stamp: Option<Stamp>,
}

fn look(item: &Item) -> Result<(Facts, Gray), ImageError> {
    let decoded = decode(item.path, &read_file(item.path)?)?;
    Ok((decoded.facts, thumbnail(&decoded.gray)))
}

/// Emits what needs no reading, and returns the rest.
fn emit_known<'a>(
    images: &'a [(ImageId, PathBuf)],
    index: &FileIndex,
    thumbnails: &ThumbnailStore,
    ctx: &JobContext,
    summary: &mut ScanSummary,
    emit: &mut dyn FnMut(Scanned),
) -> Result<Vec<Item<'a>>, WorkError> {
    let mut todo = Vec::new();
    for (part, images_of_part) in images.chunks(STAT_BATCH).enumerate() {
        if ctx.should_stop() {
            return Err(WorkError::Stopped);
        }
        let mut batch = Scanned::new();
        for (id, path) in images_of_part {
            match Stamp::of(path) {
                Err(error) => {
                    summary.failed += 1;
                    batch.push((*id, Err(error.to_string())));
                }
                Ok(stamp) => match stamp.and_then(|stamp| index.get(path, stamp)) {
                    Some(found) if !wants_thumbnail(found, thumbnails) => {
                        summary.known += 1;
                        summary.failed += usize::from(found.is_err());
                        batch.push((*id, found.clone()));
                    }
                    _ => todo.push(Item {
                        id: *id,
                        path,
                        stamp,
                    }),
                },
            }
        }
        if !batch.is_empty() {
            emit(batch);
        }
        let done = (part * STAT_BATCH + images_of_part.len()) as u64;
        ctx.report(done, images.len() as u64, "looking at files");
    }
    Ok(todo)
}

/// Whether the image is known but its thumbnail was lost, so that reading it again pays.
fn wants_thumbnail(found: &Result<Facts, String>, thumbnails: &ThumbnailStore) -> bool {
    found
        .as_ref()
        .is_ok_and(|facts| thumbnails.keeps() && !thumbnails.contains(&facts.content))
}
