//! Findings that need the contents of the files. Pure: the caller reads and hashes.

use std::collections::{BTreeSet, HashMap};

use super::manifest::Manifest;
use super::problem::{Problem, ProblemKind};
use super::text::{few, quoted};
use crate::domain::ImageId;

/// One problem for each set of images whose contents are equal, in the order of their first image.
/// `hashes` holds a digest (BLAKE3, 32 bytes) of each file's bytes or pixels, in any order; images
/// that could not be read are simply not in it. Where equal images carry different file labels the
/// problem is a [`ProblemKind::ConflictingDuplicate`] and says which labels.
#[must_use]
pub fn content_duplicates(hashes: &[(ImageId, [u8; 32])], manifest: &Manifest) -> Vec<Problem> {
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
    groups.iter().map(|ids| duplicate(ids, manifest)).collect()
}

fn duplicate(ids: &[ImageId], manifest: &Manifest) -> Problem {
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
    Problem::new(kind, keys[0], sentence)
}
