//! Regular images spoiled on purpose, as a network sees them.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::imaging::{Outlier, PixelCache};
use crate::inference::LocalMemory;
use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::storage::{Digest, digest_parts};

use super::super::{WorkflowError, embed::Eyes, pictures::Shown};
use super::{Remembered, Seen};

/// How many are made.
const COUNT: usize = 80;
/// Images that go through the network together.
const BATCH: usize = 16;
/// Counted up when an outlier is made otherwise: what was remembered of it is then not taken.
const VERSION: u8 = 1;

/// Spoiled images with what the network makes of them.
pub(in super::super) struct Outliers {
    side: u32,
    pixels: Vec<Vec<u8>>,
    embeddings: Vec<f32>,
    seen_as: Vec<Digest>,
}

impl Outliers {
    /// Spoils some of the images that are seen as `from`, each kind in turn, and lets the network look at them; what it
    /// has seen before comes from the cache. Those that give no numbers are dropped; none where nothing is left.
    pub fn make(
        snapshot: &Snapshot,
        eyes: &mut Eyes,
        from: &[Digest],
        context: &JobContext,
    ) -> Result<Option<Self>, WorkflowError> {
        let side = eyes.embedder.size();
        let cache = PixelCache::open(&snapshot.cache(), side, eyes.framing);
        let mut made = Self {
            side,
            pixels: Vec::new(),
            embeddings: Vec::new(),
            seen_as: Vec::new(),
        };
        let every = from.len().div_ceil(COUNT).max(1);
        let kinds = Outlier::ALL.iter().cycle();
        let spoiled: Vec<(Digest, Vec<u8>)> = from
            .iter()
            .step_by(every)
            .zip(kinds)
            .filter_map(|(image, kind)| {
                let name = format!("outlier {VERSION} {kind:?}");
                let seen = digest_parts([&image[..], name.as_bytes()]);
                let rng = &mut ChaCha8Rng::from_seed(seen);
                Some((seen, kind.make(cache.get_seen(image)?, side as usize, rng)))
            })
            .collect();
        let total = spoiled.len() as u64;
        for (at, batch) in spoiled.chunks(BATCH).enumerate() {
            if context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            context.report((at * BATCH) as u64, total, "spoiling regular images");
            let known = batch.iter().map(|(seen, _)| eyes.embedder.cached(seen));
            let rows = match known.collect::<Option<Vec<_>>>() {
                Some(rows) => rows,
                None => {
                    let input: Vec<(Digest, &[u8])> = batch
                        .iter()
                        .map(|(seen, pixels)| (*seen, &pixels[..]))
                        .collect();
                    eyes.embedder.run(&input)?
                }
            };
            for ((seen, pixels), row) in batch.iter().zip(rows) {
                if row.is_finite() {
                    made.embeddings.extend(row.embedding);
                    made.seen_as.push(*seen);
                    made.pixels.push(pixels.clone());
                }
            }
        }
        Ok((!made.seen_as.is_empty()).then_some(made))
    }

    /// As the images of a set, with their pictures where those of the others are at hand.
    pub fn seen<'a>(&'a self, memory: Option<&'a LocalMemory>, pictures: bool) -> Seen<'a> {
        Seen {
            embeddings: self.embeddings.clone(),
            dim: self.embeddings.len() / self.seen_as.len(),
            local: memory.map(|memory| Remembered {
                memory,
                seen_as: self.seen_as.clone(),
            }),
            pictures: pictures
                .then(|| Shown::made(self.side, self.pixels.iter().map(Vec::as_slice).collect())),
            tiles: None,
            dies: None,
        }
    }
}
