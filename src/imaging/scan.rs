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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::{
        imaging::testing::{png, ramp},
        jobs::StopReason,
        storage::digest,
    };

    type Found = BTreeMap<u32, Result<Facts, String>>;

    struct Folder {
        folder: tempfile::TempDir,
        images: Vec<(ImageId, PathBuf)>,
    }

    /// A folder of these files; the last is listed and not there.
    fn folder(files: &[&[u8]]) -> Folder {
        let folder = tempfile::tempdir().expect("a folder");
        let mut images = Vec::new();
        for (i, bytes) in files.iter().enumerate() {
            let path = folder.path().join(format!("{i}.png"));
            fs::write(&path, bytes).expect("written");
            images.push((ImageId::from(i), path));
        }
        images.push((ImageId::from(files.len()), folder.path().join("gone.png")));
        Folder { folder, images }
    }

    impl Folder {
        fn cache(&self) -> PathBuf {
            self.folder.path().join("cache")
        }

        fn scan_into(&self, cache: &Path) -> (Found, ScanSummary) {
            let thumbnails = ThumbnailStore::open(cache);
            let mut found = Found::new();
            let mut emit = |batch: Scanned| {
                for (id, result) in batch {
                    assert!(found.insert(id.0, result).is_none(), "{id:?} came twice");
                }
            };
            let ctx = JobContext::detached();
            let summary = scan(&self.images, cache, &thumbnails, &ctx, &mut emit);
            (found, summary.expect("not stopped"))
        }
    }

    #[test]
    fn good_and_bad_images_are_found_once_each_and_known_the_next_time() {
        let good = png(&ramp(300, 200));
        let there = folder(&[
            &good,
            &good[..good.len() / 2],
            b"",
            b"hello",
            &png(&ramp(5, 5)),
        ]);
        let (found, summary) = there.scan_into(&there.cache());
        let expected = ScanSummary {
            images: 6,
            known: 0,
            failed: 4,
            cache_problem: None,
        };
        assert_eq!(summary, expected);
        let facts = found[&0].as_ref().expect("good");
        assert_eq!(
            (facts.width, facts.height, facts.content),
            (300, 200, digest(&good))
        );
        for (i, words) in [
            (1, "cut short"),
            (2, "0 bytes"),
            (3, "not an image"),
            (5, "not there"),
        ] {
            let text = found[&i].as_ref().expect_err("bad");
            assert!(text.contains(words), "{text}");
            assert!(
                text.contains(&*there.images[i as usize].1.to_string_lossy()),
                "{text}"
            );
        }
        let thumbnails = ThumbnailStore::open(&there.cache());
        let small = thumbnails.get(&digest(&good)).expect("made");
        assert_eq!((small.width, small.height), (160, 107));
        drop(thumbnails);

        let (again, summary) = there.scan_into(&there.cache());
        assert_eq!(again, found);
        assert_eq!(
            summary,
            ScanSummary {
                known: 5,
                ..expected
            }
        );
    }

    #[test]
    fn only_what_changed_or_lost_its_thumbnail_is_read_again() {
        let there = folder(&[&png(&ramp(30, 20)), &png(&ramp(40, 20))]);
        there.scan_into(&there.cache());
        fs::write(&there.images[1].1, png(&ramp(50, 20))).expect("replaced");
        let (found, summary) = there.scan_into(&there.cache());
        assert_eq!(summary.known, 1);
        assert_eq!(found[&1].as_ref().expect("good").width, 50);

        for file in fs::read_dir(there.cache()).expect("listed") {
            let path = file.expect("listed").path();
            if path.to_string_lossy().contains("thumbnails") {
                fs::remove_file(path).expect("removed");
            }
        }
        assert_eq!(there.scan_into(&there.cache()).1.known, 0);
        assert_eq!(there.scan_into(&there.cache()).1.known, 2);
    }

    #[test]
    fn without_a_cache_it_goes_on_and_says_so() {
        let there = folder(&[&png(&ramp(30, 20))]);
        let no_folder = there.images[0].1.join("cache");
        for _ in 0..2 {
            let (found, summary) = there.scan_into(&no_folder);
            assert!(found[&0].is_ok());
            assert_eq!(summary.known, 0);
            let problem = summary.cache_problem.expect("said");
            assert!(problem.contains("0.png"), "{problem}");
        }
    }

    #[test]
    fn a_stopped_scan_keeps_what_it_has() {
        let files: Vec<Vec<u8>> = (1..400).map(|i| png(&ramp(i, 3))).collect();
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let there = folder(&files);
        let ctx = JobContext::detached();
        let mut emitted = 0;
        let result = scan(
            &there.images,
            &there.cache(),
            &ThumbnailStore::open(&there.cache()),
            &ctx,
            &mut |batch| {
                emitted += batch.iter().filter(|(_, found)| found.is_ok()).count();
                if emitted > 0 {
                    ctx.control.stop(StopReason::Closing);
                }
            },
        );
        assert!(matches!(result, Err(WorkError::Stopped)));
        assert!((1..files.len()).contains(&emitted), "{emitted}");
        let (found, summary) = there.scan_into(&there.cache());
        assert_eq!(found.len(), there.images.len());
        assert_eq!(summary.known, emitted);
    }

    #[test]
    fn an_empty_list_is_scanned() {
        let none = Folder {
            images: Vec::new(),
            ..folder(&[])
        };
        assert_eq!(none.scan_into(&none.cache()), Default::default());
    }
}
