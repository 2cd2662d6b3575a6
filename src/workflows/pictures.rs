//! The pictures behind embeddings, for what is to be seen without a network.

use std::collections::HashMap;

use crate::domain::ImageId;
use crate::drift::PictureSource;
use crate::imaging::{Framing, Gates, Gray, PixelCache};
use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::storage::Digest;

use super::{WorkflowError, embed::wanted, scan::facts};

/// Side that pictures are compared at, roughly: a whole part of what the network sees.
const SIDE: u32 = 150;

/// The pictures that a network has seen, from the pixel cache.
pub(super) struct Pictures {
    cache: PixelCache,
    /// Pixels of the cache in one that is compared.
    part: usize,
    /// Width and height of each image's file.
    sizes: HashMap<ImageId, (u32, u32)>,
}

impl Pictures {
    /// Those of `images`, which the network has seen, at `size` pixels; made anew where the cache has lost them. None
    /// where one of them cannot be read any more: images are compared by the same numbers, or not by them at all.
    pub fn open(
        snapshot: &Snapshot,
        images: &[ImageId],
        size: u32,
        framing: Framing,
        context: &JobContext,
    ) -> Result<Option<Self>, WorkflowError> {
        let (found, gone) = facts(snapshot, images, context)?;
        let content = found.iter().map(|(id, facts)| (*id, facts.content));
        let content = content.collect();
        let sizes = found
            .into_iter()
            .map(|(id, facts)| (id, (facts.width, facts.height)));
        let mut cache = PixelCache::open(&snapshot.cache(), size, framing);
        let filled = cache.fill(&wanted(snapshot, images, &content), context)?;
        let all = gone.is_empty() && filled.failed.is_empty();
        Ok(all.then(|| Self {
            cache,
            part: part_of(size),
            sizes: sizes.collect(),
        }))
    }

    /// Those seen as `seen_as`; none where one of them is missing.
    pub fn of(&self, images: &[ImageId], seen_as: &HashMap<ImageId, Digest>) -> Option<Shown<'_>> {
        let rows = images
            .iter()
            .map(|id| self.cache.get_seen(seen_as.get(id)?));
        Some(Shown {
            side: self.cache.size_px() as usize,
            part: self.part,
            rows: rows.collect::<Option<_>>()?,
            sizes: images
                .iter()
                .map(|id| self.sizes.get(id).copied())
                .collect(),
        })
    }
}

/// The pictures of some images, row after row.
pub(super) struct Shown<'a> {
    side: usize,
    part: usize,
    rows: Vec<&'a [u8]>,
    /// One for each, where it comes from a file.
    sizes: Vec<Option<(u32, u32)>>,
}

impl<'a> Shown<'a> {
    /// Pictures of `side * side` pixels that no file holds.
    pub fn made(side: u32, rows: Vec<&'a [u8]>) -> Self {
        Self {
            side: side as usize,
            part: part_of(side),
            sizes: vec![None; rows.len()],
            rows,
        }
    }
}

/// Pixels in one that is compared.
fn part_of(side: u32) -> usize {
    ((side + SIDE / 2) / SIDE).max(1) as usize
}

impl PictureSource for Shown<'_> {
    fn side(&self) -> usize {
        self.side / self.part
    }

    fn picture(&self, row: usize) -> Vec<u8> {
        let (side, part) = (self.side(), self.part);
        let mut sums = vec![0_usize; side * side];
        let lines = self.rows[row].chunks_exact(self.side).take(side * part);
        for (y, line) in lines.enumerate() {
            let sums = &mut sums[y / part * side..][..side];
            for (sum, pixels) in sums.iter_mut().zip(line.chunks_exact(part)) {
                *sum += pixels.iter().map(|v| usize::from(*v)).sum::<usize>();
            }
        }
        sums.iter().map(|sum| (sum / (part * part)) as u8).collect()
    }

    fn numbers(&self, row: usize) -> Vec<f64> {
        let side = self.side as u32;
        Gates::of(&Gray {
            width: side,
            height: side,
            pixels: self.rows[row].to_vec(),
        })
        .numbers()
    }

    fn gates(&self, numbers: &[f64]) -> Vec<(&'static str, f64)> {
        Gates::by_name(numbers).to_vec()
    }

    fn size(&self, row: usize) -> Option<(u32, u32)> {
        self.sizes[row]
    }
}
