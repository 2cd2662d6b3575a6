//! Odd spots: local features unlike all of those that regular images show anywhere.

use driftscope_kernels::products;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::coreset::k_center;
use super::energy::log_sum_exp;
use super::linalg::{dot, squared_distance};
use super::local::LocalShape;
use super::{DriftError, EmbeddingView, Scorer};

/// Rows of the bank compared at a time: at 128 values they take an eighth of a second-level cache.
const BANK_BLOCK: usize = 256;
/// Positions that the descriptor of an image is averaged over.
const ODDEST: usize = 10;
/// More patches than this could not be searched while images stream in.
const MOST_PATCHES: usize = 1_000_000;
/// More neighbours than this are no neighbourhood.
const MOST_NEIGHBOURS: usize = 1_000;
/// Patches with larger values have squares that single precision cannot add.
const LARGEST: f32 = 1e15;

/// How to fit a [`PatchCore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchCoreOptions {
    /// Values that a patch is projected to, at most its channels; `None` keeps them as they are. Distances
    /// stay the same but for a few percent.
    pub dims: Option<usize>,
    /// Patches in the bank at most: its memory is as many times the values of a patch, 4 bytes each.
    pub bank: usize,
    /// Patches that the bank is chosen among, drawn evenly from all of them: what fitting needs of memory.
    pub candidates: usize,
    /// From the patches of an image to its score.
    pub pool: PatchPool,
    /// Seeds the projection and the draw.
    pub seed: u64,
}

impl Default for PatchCoreOptions {
    /// A bank of 4 MB, chosen from 25 MB.
    fn default() -> Self {
        Self {
            dims: Some(128),
            bank: 8_000,
            candidates: 50_000,
            pool: PatchPool::MeanOfTop(10),
            seed: 42,
        }
    }
}

/// From the distances of patches to the score of their image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatchPool {
    /// The largest distance, lowered where the bank is thin around the nearest patch: equation 7 of the
    /// paper, over this many neighbours (at least 2).
    MaxReweighted(usize),
    /// The mean of so many largest distances: steadier than the largest alone.
    MeanOfTop(usize),
}

/// What the patches of one image say.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchReport {
    /// The score of the image.
    pub score: f64,
    /// For each position, the distance to the nearest patch of the bank: a map of where the image is odd.
    pub distances: Vec<f64>,
    /// The most anomalous positions (at most ten), the oddest first.
    pub oddest: Vec<usize>,
    /// The mean of the projected patches at these positions: what the odd spot looks like.
    pub descriptor: Vec<f32>,
}

/// Distance of local features to a bank of those of regular images (Roth et al., "Towards Total Recall in
/// Industrial Anomaly Detection", CVPR 2022). The bank is a greedy coreset (algorithm 1) of patches that
/// went through a random projection. Here the bank itself holds projected patches, which makes it smaller
/// and faster; the paper projects for the choice only. Scores are 0 or more; higher is more anomalous. A row
/// holds the local features of one image, see [`LocalShape`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchCore {
    shape: LocalShape,
    pool: PatchPool,
    projection: Option<SignProjection>,
    /// Subtracted from patches: distances between small numbers are rounded less.
    centre: Vec<f32>,
    /// Projected patches, one after the other.
    bank: Vec<f32>,
    /// Squared length of each.
    squares: Vec<f32>,
}

impl PatchCore {
    /// Fits on all `images` at once; see [`PatchCoreBuilder`] for images that come one by one.
    ///
    /// # Errors
    /// As [`PatchCoreBuilder::new`], [`PatchCoreBuilder::add`] and [`PatchCoreBuilder::finish`].
    pub fn fit(
        images: EmbeddingView<'_>,
        shape: LocalShape,
        options: PatchCoreOptions,
    ) -> Result<Self, DriftError> {
        let mut builder = PatchCoreBuilder::new(shape, options)?;
        for image in images.rows() {
            builder.add(image)?;
        }
        builder.finish()
    }

    /// Patches in the bank.
    #[must_use]
    pub fn bank_len(&self) -> usize {
        self.squares.len()
    }

    /// Values of a projected patch, and of [`PatchReport::descriptor`].
    #[must_use]
    pub fn patch_dim(&self) -> usize {
        self.centre.len()
    }

    /// The score of an image and what it is made of.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::TooLarge`].
    pub fn inspect(&self, image: &[f32]) -> Result<PatchReport, DriftError> {
        self.shape.check(image, 0)?;
        let report = self.report(image);
        if report.score.is_finite() {
            Ok(report)
        } else {
            Err(DriftError::TooLarge { row: 0 })
        }
    }

    fn report(&self, image: &[f32]) -> PatchReport {
        let dim = self.patch_dim();
        let mut patches = project(self.projection.as_ref(), image);
        let descriptors = patches.clone();
        shift(&mut patches, &self.centre);
        let nearest = self.nearest(&patches);
        let distances: Vec<f64> = patches
            .chunks_exact(dim)
            .zip(&nearest)
            .map(|(patch, at)| squared_distance(patch, self.patch(*at)).sqrt())
            .collect();
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by(|a, b| distances[*b].total_cmp(&distances[*a]));
        let score = match self.pool {
            PatchPool::MeanOfTop(count) => {
                let top = order.iter().take(count).map(|at| distances[*at]);
                top.sum::<f64>() / count as f64
            }
            PatchPool::MaxReweighted(neighbours) => {
                let odd = order[0];
                let patch = &patches[odd * dim..][..dim];
                self.weight(patch, nearest[odd], distances[odd], neighbours) * distances[odd]
            }
        };
        order.truncate(ODDEST);
        let mut descriptor = vec![0.0; dim];
        for at in &order {
            for (mean, v) in descriptor.iter_mut().zip(&descriptors[at * dim..]) {
                *mean += v / order.len() as f32;
            }
        }
        PatchReport {
            score,
            distances,
            oddest: order,
            descriptor,
        }
    }

    /// The place in the bank of the patch nearest to each of `patches`.
    fn nearest(&self, patches: &[f32]) -> Vec<usize> {
        let dim = self.patch_dim();
        let mut best = vec![(0, f32::INFINITY); patches.len() / dim];
        let mut similar = Vec::new();
        for (block, bank) in self.bank.chunks(BANK_BLOCK * dim).enumerate() {
            let squares = &self.squares[block * BANK_BLOCK..][..bank.len() / dim];
            similar.resize(best.len() * squares.len(), 0.0);
            products(patches, bank, dim, &mut similar);
            for (best, similar) in best.iter_mut().zip(similar.chunks_exact(squares.len())) {
                for (at, (square, similar)) in squares.iter().zip(similar).enumerate() {
                    // The squared distance but for the patch's own length.
                    let distance = square - 2.0 * similar;
                    if distance < best.1 {
                        *best = (block * BANK_BLOCK + at, distance);
                    }
                }
            }
        }
        best.into_iter().map(|(at, _)| at).collect()
    }

    /// Equation 7: one minus the share that the nearest patch `m*`, at `distance`, has in
    /// `Σ exp |patch - m|` over the patches `m` nearest to `m*`, itself included. A bank of one patch knows
    /// no neighbours: 1.
    fn weight(&self, patch: &[f32], nearest: usize, distance: f64, neighbours: usize) -> f64 {
        if self.bank_len() < 2 {
            return 1.0;
        }
        let centre = self.patch(nearest);
        let mut around: Vec<(f64, usize)> = (0..self.bank_len())
            .map(|at| (squared_distance(centre, self.patch(at)), at))
            .collect();
        let last = neighbours.min(around.len()) - 1;
        around.select_nth_unstable_by(last, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // In the order of the bank, so that their sum is always the same.
        around[..=last].sort_by_key(|(_, at)| *at);
        let distances: Vec<f64> = around[..=last]
            .iter()
            .map(|(_, at)| squared_distance(patch, self.patch(*at)).sqrt())
            .collect();
        1.0 - (distance - log_sum_exp(&distances)).exp()
    }

    fn patch(&self, at: usize) -> &[f32] {
        let dim = self.patch_dim();
        &self.bank[at * dim..][..dim]
    }
}

impl Scorer for PatchCore {
    fn dim(&self) -> usize {
        self.shape.values()
    }

    fn rows_at_once(&self) -> usize {
        1
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (image, score) in rows.chunks_exact(self.dim()).zip(scores) {
            *score = self.report(image).score;
        }
    }
}

/// Collects patches of regular images one image at a time: all of them together would not fit in memory.
#[derive(Clone, Debug)]
pub struct PatchCoreBuilder {
    shape: LocalShape,
    options: PatchCoreOptions,
    projection: Option<SignProjection>,
    rng: ChaCha8Rng,
    images: usize,
    patches: usize,
    /// Projected patches, an even draw of all that came (reservoir sampling, Vitter 1985, algorithm R).
    candidates: Vec<f32>,
}

impl PatchCoreBuilder {
    /// Nothing collected yet.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for an empty shape, [`DriftError::BadOption`].
    pub fn new(shape: LocalShape, options: PatchCoreOptions) -> Result<Self, DriftError> {
        shape.check_not_empty()?;
        let dims = options.dims.unwrap_or(shape.channels);
        let (pool, given, least, most) = match options.pool {
            PatchPool::MeanOfTop(count) => {
                ("the number of patches averaged", count, 1, shape.positions)
            }
            // The nearest patch counts as its own neighbour.
            PatchPool::MaxReweighted(neighbours) => (
                "the number of neighbours of a patch",
                neighbours,
                2,
                MOST_NEIGHBOURS,
            ),
        };
        for (what, given, least, most) in [
            ("the width of projected patches", dims, 1, shape.channels),
            ("the size of the patch bank", options.bank, 1, MOST_PATCHES),
            (pool, given, least, most),
        ] {
            if !(least..=most).contains(&given) {
                return Err(DriftError::BadOption {
                    what,
                    given,
                    least,
                    most,
                });
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let project = |to| SignProjection::new(shape.channels, to, &mut rng);
        Ok(Self {
            shape,
            options,
            projection: options.dims.map(project),
            rng,
            images: 0,
            patches: 0,
            candidates: Vec::new(),
        })
    }

    /// Takes the local features of one more regular image. The draw depends on the order of the images.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::TooLarge`].
    pub fn add(&mut self, image: &[f32]) -> Result<(), DriftError> {
        self.shape.check(image, self.images)?;
        self.images += 1;
        let most = self.options.candidates.max(self.options.bank);
        let mut places = Vec::new();
        let mut drawn = Vec::new();
        for patch in image.chunks_exact(self.shape.channels) {
            let place = if self.patches < most {
                self.patches
            } else {
                self.rng.random_range(0..=self.patches)
            };
            self.patches += 1;
            if place < most {
                places.push(place);
                drawn.extend_from_slice(patch);
            }
        }
        let drawn = project(self.projection.as_ref(), &drawn);
        if drawn.iter().any(|v| v.abs() > LARGEST) {
            return Err(DriftError::TooLarge {
                row: self.images - 1,
            });
        }
        let dim = self.options.dims.unwrap_or(self.shape.channels);
        self.candidates.resize(self.patches.min(most) * dim, 0.0);
        for (place, patch) in places.iter().zip(drawn.chunks_exact(dim)) {
            self.candidates[place * dim..][..dim].copy_from_slice(patch);
        }
        Ok(())
    }

    /// Chooses the bank.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] when no image was added.
    pub fn finish(self) -> Result<PatchCore, DriftError> {
        let dim = self.options.dims.unwrap_or(self.shape.channels);
        let mut candidates = self.candidates;
        let n = candidates.len() / dim;
        let mut centre = vec![0.0_f32; dim];
        for patch in candidates.chunks_exact(dim) {
            for (mean, v) in centre.iter_mut().zip(patch) {
                *mean += v / n as f32;
            }
        }
        shift(&mut candidates, &centre);
        let view = EmbeddingView::new(&candidates, dim)?;
        let bank = view.gather(&k_center(view, &[], self.options.bank)?);
        Ok(PatchCore {
            shape: self.shape,
            pool: self.options.pool,
            projection: self.projection,
            centre,
            squares: bank
                .chunks_exact(dim)
                .map(|patch| dot(patch, patch))
                .collect(),
            bank,
        })
    }
}

/// A projection that keeps distances: entries of either sign at random (Achlioptas, "Database-friendly
/// random projections", 2003, equation 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SignProjection {
    from: usize,
    /// One row per projected value.
    rows: Vec<f32>,
}

impl SignProjection {
    fn new(from: usize, to: usize, rng: &mut ChaCha8Rng) -> Self {
        let entry = 1.0 / (to as f32).sqrt();
        let rows = (0..from * to).map(|_| if rng.random() { entry } else { -entry });
        Self {
            from,
            rows: rows.collect(),
        }
    }
}

/// The patches as they are compared.
fn project(projection: Option<&SignProjection>, patches: &[f32]) -> Vec<f32> {
    let Some(SignProjection { from, rows }) = projection else {
        return patches.to_vec();
    };
    let mut projected = vec![0.0; patches.len() / from * (rows.len() / from)];
    products(patches, rows, *from, &mut projected);
    projected
}

fn shift(patches: &mut [f32], centre: &[f32]) {
    for patch in patches.chunks_exact_mut(centre.len()) {
        for (v, c) in patch.iter_mut().zip(centre) {
            *v -= c;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    const SHAPE: LocalShape = LocalShape {
        positions: 6,
        channels: 20,
    };

    fn options(pool: PatchPool) -> PatchCoreOptions {
        PatchCoreOptions {
            dims: Some(8),
            bank: 40,
            candidates: 100,
            pool,
            seed: 5,
        }
    }

    fn images(n: usize, seed: u64) -> Vec<f32> {
        noise(n * SHAPE.positions, SHAPE.channels, seed)
    }

    fn fit(data: &[f32], options: PatchCoreOptions) -> Result<PatchCore, DriftError> {
        let view = EmbeddingView::new(data, SHAPE.values()).expect("whole images");
        PatchCore::fit(view, SHAPE, options)
    }

    #[test]
    fn an_odd_spot_is_found_where_it_is() {
        for pool in [PatchPool::MeanOfTop(2), PatchPool::MaxReweighted(4)] {
            let fitted = fit(&images(30, 1), options(pool)).expect("images");
            let mut image = images(1, 2);
            let before = fitted.inspect(&image).expect("finite");
            for v in &mut image[3 * SHAPE.channels..4 * SHAPE.channels] {
                *v += 2.0;
            }
            let after = fitted.inspect(&image).expect("finite");
            assert_eq!(after.oddest[0], 3);
            assert!(after.score > 1.5 * before.score, "{pool:?}");
            assert_eq!(after.distances[0], before.distances[0]);
            assert_eq!(after.oddest.len(), SHAPE.positions);
            assert_eq!(after.descriptor.len(), fitted.patch_dim());
            assert_eq!(fitted.score(&image), Ok(after.score));
        }
    }

    #[test]
    fn a_patch_of_the_bank_has_no_distance() {
        let all = PatchCoreOptions {
            bank: 1000,
            ..options(PatchPool::MeanOfTop(6))
        };
        let data = images(9, 1);
        let fitted = fit(&data, all).expect("images");
        assert_eq!(fitted.bank_len(), 54);
        assert_eq!(fitted.score(&data[..SHAPE.values()]), Ok(0.0));
    }

    #[test]
    fn a_bank_of_one_patch_works() {
        let one = PatchCoreOptions {
            bank: 1,
            dims: None,
            ..options(PatchPool::MaxReweighted(9))
        };
        let same = vec![1.5; 4 * SHAPE.values()];
        let fitted = fit(&same, one).expect("images");
        assert_eq!((fitted.bank_len(), fitted.patch_dim()), (1, SHAPE.channels));
        let mut image = vec![1.5; SHAPE.values()];
        image[0] += 2.0;
        assert_eq!(fitted.score(&image), Ok(2.0));
    }

    #[test]
    fn wrong_input_is_refused() {
        let refused = |change: PatchCoreOptions| fit(&images(2, 1), change).expect_err("refused");
        let usual = options(PatchPool::MeanOfTop(2));
        for (bad, words) in [
            (
                PatchCoreOptions {
                    dims: Some(21),
                    ..usual
                },
                "between 1 and 20",
            ),
            (PatchCoreOptions { bank: 0, ..usual }, "patch bank is 0"),
            (options(PatchPool::MeanOfTop(7)), "between 1 and 6"),
            (options(PatchPool::MaxReweighted(1)), "between 2 and"),
        ] {
            let text = refused(bad).to_string();
            assert!(text.contains(words), "{text}");
        }
        let mut broken = images(3, 1);
        broken[2 * SHAPE.values() + 7] = f32::INFINITY;
        let refused = fit(&broken, usual);
        assert_eq!(refused, Err(DriftError::NonFinite { row: 2 }));
        broken[2 * SHAPE.values() + 7] = 1e38;
        let refused = fit(&broken, usual);
        assert_eq!(refused, Err(DriftError::TooLarge { row: 2 }));
        assert_eq!(fit(&[], usual), Err(DriftError::NoEmbeddings));
        let fitted = fit(&images(3, 1), usual).expect("images");
        assert!(fitted.inspect(&[1.0; 3]).is_err());
        let huge = vec![3e38; SHAPE.values()];
        assert_eq!(fitted.inspect(&huge), Err(DriftError::TooLarge { row: 0 }));
    }

    proptest! {
        #[test]
        fn the_bank_obeys_its_cap_and_the_seed(
            n in 1_usize..40, bank in 1_usize..60, candidates in 1_usize..200, seed in 0_u64..9,
        ) {
            let options = PatchCoreOptions {
                bank,
                candidates,
                seed,
                ..options(PatchPool::MaxReweighted(3))
            };
            let data = images(n, 1);
            let fitted = fit(&data, options).expect("images");
            let most = candidates.max(bank).min(n * SHAPE.positions);
            prop_assert_eq!(fitted.bank_len(), bank.min(most));
            prop_assert_eq!(&fitted, &fit(&data, options).expect("images"));
            check_scorer(&fitted, &images(5, 2), seed);
        }
    }
}
