//! Tiles of the strip of ribbons, as a network sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::ImageId;
use crate::drift::{LocalShape, LocalSource};
use crate::imaging::Framing;
use crate::inference::EmbeddingMemory;
use crate::jobs::JobContext;
use crate::models::ModelSpec;
use crate::project::Snapshot;
use crate::storage::Digest;

use super::super::{
    RunSummary, Unreadable, WorkflowError,
    embed::{Body, Eyes, die_of},
};
use super::DriftSource;

/// Width of the strip in pixels: a network that works at any size sees a tile as large as it is.
const WIDTH: u32 = 160;

/// What a network makes of the tiles of some images.
pub(in super::super) struct Tiles {
    memory: EmbeddingMemory,
    /// One for each tile, from above.
    seen_as: HashMap<ImageId, Vec<Digest>>,
}

impl Tiles {
    /// That the die of each of these images is known: without it nothing tells where the strip lies.
    pub fn check(snapshot: &Snapshot, images: &[ImageId]) -> Result<(), WorkflowError> {
        let manifest = &snapshot.manifest;
        let images: BTreeSet<&ImageId> = images.iter().collect();
        let mut unknown = images.iter().filter(|id| die_of(manifest, ***id).is_none());
        match unknown.next() {
            None => Ok(()),
            Some(first) => Err(WorkflowError::NoDie {
                count: 1 + unknown.count(),
                images: images.len(),
                first: manifest.get(**first).key.clone(),
            }),
        }
    }

    /// Lets the network that looks for drift look at the tiles of `images`, or takes what is remembered. Also returns
    /// those that cannot be read. No other [`Eyes`] of these weights may be open.
    pub fn look(
        snapshot: &Snapshot,
        source: &DriftSource,
        run: &RunSummary,
        images: &[ImageId],
        context: &JobContext,
    ) -> Result<(Self, Unreadable), WorkflowError> {
        let mut eyes = match &source.body {
            Some(body) => Eyes::of_body(snapshot, &for_tiles(body)?)?,
            None => Eyes::of_run(snapshot, run)?,
        };
        let mut seen_as: HashMap<ImageId, Vec<Digest>> = HashMap::with_capacity(images.len());
        let mut failed = BTreeMap::new();
        for tile in 0..Framing::STRIP_TILES {
            eyes.framing = Framing::StripTile(tile);
            let (gone, seen) = eyes.look(snapshot, images, context, &mut |_| {})?;
            failed.extend(gone);
            for (id, seen) in seen {
                seen_as.entry(id).or_default().push(seen);
            }
        }
        seen_as.retain(|id, _| !failed.contains_key(id));
        let tiles = Self {
            memory: eyes.embedder.into_memory(),
            seen_as,
        };
        Ok((tiles, failed.into_iter().collect()))
    }

    pub fn contains(&self, image: ImageId) -> bool {
        self.seen_as.contains_key(&image)
    }

    /// Those of `images`. Only images that were looked at may be asked for.
    pub fn of(&self, images: &[ImageId]) -> TilesOf<'_> {
        let seen_as = |id| self.seen_as.get(id).map(Vec::as_slice);
        TilesOf {
            memory: &self.memory,
            seen_as: images.iter().map(seen_as).collect(),
        }
    }
}

/// The pretrained network, at the size of a tile where it can work at that.
fn for_tiles(body: &Body) -> Result<Body, WorkflowError> {
    let spec = ModelSpec::find(&body.model)?;
    let size = (WIDTH / spec.multiple_px * spec.multiple_px).max(spec.smallest_px);
    Ok(Body {
        size: Some(size.min(body.size.unwrap_or(spec.study_px))),
        ..body.clone()
    })
}

/// The tiles of the images of one set.
pub(in super::super) struct TilesOf<'a> {
    memory: &'a EmbeddingMemory,
    seen_as: Vec<Option<&'a [Digest]>>,
}

impl LocalSource for TilesOf<'_> {
    fn shape(&self) -> LocalShape {
        LocalShape {
            positions: usize::from(Framing::STRIP_TILES),
            channels: self.memory.dim,
        }
    }

    fn image(&self, row: usize) -> Vec<f32> {
        let tiles = self.seen_as[row].iter().copied().flatten();
        let tiles = tiles.map(|seen| self.memory.get(seen));
        let tiles: Option<Vec<_>> = tiles.collect();
        let tiles = tiles.expect("what was looked at is remembered");
        tiles.concat()
    }
}
