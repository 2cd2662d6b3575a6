//! Findings that need the contents of the files. Pure: the caller reads and hashes.

use std::collections::{BTreeSet, HashMap};

use super::manifest::Manifest;
use super::problem::{Problem, ProblemKind};
use super::text::{few, quoted};
use crate::domain::{ImageId, Split};

/// Each set of images whose contents are equal, in the order of their first image. `hashes` holds a digest
/// (BLAKE3, 32 bytes) of each file's bytes or pixels, in any order; images that could not be read are
/// simply not in it.
#[must_use]
pub fn equal_images(hashes: &[(ImageId, [u8; 32])]) -> Vec<Vec<ImageId>> {
    let mut by_hash: HashMap<&[u8; 32], BTreeSet<ImageId>> = HashMap::with_capacity(hashes.len());
    for (id, hash) in hashes {
        by_hash.entry(hash).or_default().insert(*id);
    }
    let mut groups: Vec<Vec<ImageId>> = by_hash
        .into_values()
        .filter(|ids| ids.len() > 1)
        .map(|ids| ids.into_iter().collect())
        .collect();
    groups.sort_unstable();
    groups
}

/// Those of train, validation and test that some of `ids` lie in, if those are several: what is measured
/// there was learned before. `splits` has one for each image.
#[must_use]
pub fn parts_shared(ids: &[ImageId], splits: &[Split]) -> Vec<&'static str> {
    let lies_in = |part: &Split| ids.iter().any(|id| splits[id.index()] == *part);
    let parts = [Split::Train, Split::Validation, Split::Test];
    let parts: Vec<_> = parts.into_iter().filter(lies_in).map(Split::name).collect();
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// One problem for each of the sets `equal` by [`equal_images`]. Where its images carry different file labels the
/// problem is a [`ProblemKind::ConflictingDuplicate`] and says which labels. Where they lie in several parts of the
/// split, it says which.
#[must_use]
pub fn content_duplicates(
    equal: &[Vec<ImageId>],
    manifest: &Manifest,
    splits: &[Split],
) -> Vec<Problem> {
    equal
        .iter()
        .map(|ids| duplicate(ids, manifest, splits))
        .collect()
}

fn duplicate(ids: &[ImageId], manifest: &Manifest, splits: &[Split]) -> Problem {
    let keys: Vec<&str> = ids
        .iter()
        .map(|id| manifest.get(*id).key.as_str())
        .collect();
    let labels: BTreeSet<_> = ids
        .iter()
        .filter_map(|id| manifest.get(*id).label)
        .collect();
    let mut sentence = format!(
        "{} has the same contents as {}",
        quoted(keys[0]),
        few(&keys[1..], 3)
    );
    let kind = if labels.len() > 1 {
        let names: Vec<&str> = labels.iter().map(|l| manifest.classes.name(*l)).collect();
        sentence += &format!(
            "; they are labelled {}, at most one of which can be right",
            few(&names, 7)
        );
        ProblemKind::ConflictingDuplicate
    } else {
        ProblemKind::Duplicate
    };
    let parts = parts_shared(ids, splits);
    if !parts.is_empty() {
        sentence += &format!(
            "; they lie in {}, so that one of them is measured after another was learned",
            parts.join(" and ")
        );
    }
    Problem::new(kind, keys[0], sentence)
}
