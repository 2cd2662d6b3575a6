//! Looking at every image once: facts, content, thumbnail.

use std::{collections::HashMap, path::PathBuf};

use crate::domain::ImageId;
use crate::imaging::{self, Facts, ScanSummary, Scanned, ThumbnailStore};
use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::storage::Digest;

use super::WorkflowError;

/// Images that cannot be read, each with the sentence why.
pub type Unreadable = Vec<(ImageId, String)>;

/// Opens the thumbnails of a project. Open them once and share them: files are locked by their writer.
#[must_use]
pub fn open_thumbnails(snapshot: &Snapshot) -> ThumbnailStore {
    ThumbnailStore::open(&snapshot.cache())
}

/// Looks at every image of the data set. Images seen before come at once.
///
/// # Errors
/// [`WorkflowError::Cancelled`], [`WorkflowError::Images`].
pub fn scan(
    snapshot: &Snapshot,
    thumbnails: &ThumbnailStore,
    context: &JobContext,
    emit: &mut dyn FnMut(Scanned),
) -> Result<ScanSummary, WorkflowError> {
    let images: Vec<ImageId> = snapshot.manifest.ids().collect();
    let images = paths(snapshot, &images);
    Ok(imaging::scan(
        &images,
        &snapshot.cache(),
        thumbnails,
        context,
        emit,
    )?)
}

/// Content digests of `images`, and the sentences for those that cannot be opened.
///
/// # Errors
/// As [`scan`].
pub fn contents(
    snapshot: &Snapshot,
    images: &[ImageId],
    context: &JobContext,
) -> Result<(HashMap<ImageId, Digest>, Unreadable), WorkflowError> {
    let (found, failed) = facts(snapshot, images, context)?;
    let contents = found.into_iter().map(|(id, facts)| (id, facts.content));
    Ok((contents.collect(), failed))
}

/// What the files of `images` hold, and the sentences for those that cannot be opened.
///
/// # Errors
/// As [`scan`].
pub(super) fn facts(
    snapshot: &Snapshot,
    images: &[ImageId],
    context: &JobContext,
) -> Result<(HashMap<ImageId, Facts>, Unreadable), WorkflowError> {
    let thumbnails = open_thumbnails(snapshot);
    let mut found = HashMap::with_capacity(images.len());
    let mut failed = Vec::new();
    let images = paths(snapshot, images);
    imaging::scan(
        &images,
        &snapshot.cache(),
        &thumbnails,
        context,
        &mut |batch| {
            for (id, result) in batch {
                match result {
                    Ok(facts) => {
                        found.insert(id, facts);
                    }
                    Err(sentence) => failed.push((id, sentence)),
                }
            }
        },
    )?;
    failed.sort_unstable();
    Ok((found, failed))
}

fn paths(snapshot: &Snapshot, images: &[ImageId]) -> Vec<(ImageId, PathBuf)> {
    let path = |id: &ImageId| (*id, snapshot.manifest.get(*id).path.clone());
    images.iter().map(path).collect()
}
