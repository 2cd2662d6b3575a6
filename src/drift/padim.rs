//! What a regular image shows at each place: the organisers' score, to compare with.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::local::LocalShape;
use super::{DriftError, EmbeddingView, Scorer};

/// How to fit a [`Padim`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PadimOptions {
    /// Channels drawn at random. The memory is positions x dims² x 2 bytes, and twice that to fit: the
    /// organisers' 550 at 32 x 32 positions take 620 MB.
    pub dims: usize,
    /// Added to each variance, above 0; the paper's is 0.01.
    pub epsilon: f64,
    /// Seeds the draw.
    pub seed: u64,
}

impl Default for PadimOptions {
    /// The paper's 100 channels for a ResNet18.
    fn default() -> Self {
        Self {
            dims: 100,
            epsilon: 0.01,
            seed: 42,
        }
    }
}

/// Mahalanobis distance at each place of an image to a Gaussian of what regular images show there, over
/// random channels (Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and
/// Localization", 2021, equations 1 and 2). The score of an image is the largest of its map. The paper
/// enlarges and blurs the map before, which moves that largest value little and is left out. Scores are 0 or
/// more; higher is more anomalous. A row holds the local features of one image, see [`LocalShape`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Padim {
    shape: LocalShape,
    /// The channels drawn, in order.
    channels: Vec<usize>,
    places: Vec<Gaussian>,
}

/// What regular images show at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gaussian {
    mean: Vec<f64>,
    /// The factor of the covariance: rows of its lower triangle, one after the other. In single precision,
    /// as there are many of them.
    lower: Vec<f32>,
}

impl Padim {
    /// Fits on all `images` at once; see [`PadimBuilder`] for images that come one by one.
    ///
    /// # Errors
    /// As [`PadimBuilder::new`], [`PadimBuilder::add`] and [`PadimBuilder::finish`].
    pub fn fit(
        images: EmbeddingView<'_>,
        shape: LocalShape,
        options: PadimOptions,
    ) -> Result<Self, DriftError> {
        let mut builder = PadimBuilder::new(shape, options)?;
        for image in images.rows() {
            builder.add(image)?;
        }
        builder.finish()
    }

    /// The channels that were drawn, in order.
    #[must_use]
    pub fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// The distance at every position of an image.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`].
    pub fn map(&self, image: &[f32]) -> Result<Vec<f64>, DriftError> {
        self.shape.check(image, 0)?;
        Ok(self.distances(image))
    }

    fn distances(&self, image: &[f32]) -> Vec<f64> {
        let places = image.chunks_exact(self.shape.channels).zip(&self.places);
        places
            .map(|(patch, place)| place.distance(&self.channels, patch))
            .collect()
    }
}

impl Scorer for Padim {
    fn dim(&self) -> usize {
        self.shape.values()
    }

    fn rows_at_once(&self) -> usize {
        1
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (image, score) in rows.chunks_exact(self.dim()).zip(scores) {
            *score = self.distances(image).into_iter().fold(0.0, f64::max);
        }
    }
}

impl Gaussian {
    /// From the sum of `n` rows and the lower triangle of the sum of their products.
    fn new(sum: &[f64], products: &[f64], n: f64, epsilon: f64) -> Self {
        let mean: Vec<f64> = sum.iter().map(|s| s / n).collect();
        let mut lower: Vec<f64> = Vec::with_capacity(products.len());
        let mut starts = Vec::with_capacity(mean.len());
        let mut at = 0;
        for i in 0..mean.len() {
            starts.push(at);
            for j in 0..=i {
                let covariance = (products[at + j] - n * mean[i] * mean[j]) / (n - 1.0);
                // Cholesky's algorithm, row by row, in place.
                let (row, other) = (&lower[at..], &lower[starts[j]..]);
                let known: f64 = row.iter().zip(other).take(j).map(|(a, b)| a * b).sum();
                let entry = if i == j {
                    // Not below epsilon but for rounding.
                    (covariance + epsilon - known).max(epsilon / 2.0).sqrt()
                } else {
                    (covariance - known) / other[j]
                };
                lower.push(entry);
            }
            at += i + 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "kept in single precision")]
        let lower = lower.into_iter().map(|v| v as f32).collect();
        Self { mean, lower }
    }

    /// Distance of the drawn `channels` of a patch.
    fn distance(&self, channels: &[usize], patch: &[f32]) -> f64 {
        let mut solved: Vec<f64> = Vec::with_capacity(channels.len());
        let mut rest = self.lower.as_slice();
        for (i, channel) in channels.iter().enumerate() {
            let (row, below) = rest.split_at(i + 1);
            rest = below;
            let known: f64 = row
                .iter()
                .zip(&solved)
                .map(|(l, s)| f64::from(*l) * s)
                .sum();
            solved.push((f64::from(patch[*channel]) - self.mean[i] - known) / f64::from(row[i]));
        }
        solved.iter().map(|v| v * v).sum::<f64>().sqrt()
    }
}

/// Collects regular images one at a time: only sums are kept.
#[derive(Clone, Debug)]
pub struct PadimBuilder {
    shape: LocalShape,
    epsilon: f64,
    channels: Vec<usize>,
    images: usize,
    /// The first image, which all are taken relative to, so that sums of squares lose nothing.
    first: Vec<f32>,
    /// For each position the sum of the drawn channels, then the lower triangle of that of their products.
    sums: Vec<Vec<f64>>,
}

impl PadimBuilder {
    /// Nothing collected yet.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for an empty shape, [`DriftError::BadOption`] for more channels than
    /// there are, [`DriftError::BadEpsilon`].
    pub fn new(shape: LocalShape, options: PadimOptions) -> Result<Self, DriftError> {
        shape.check_not_empty()?;
        let PadimOptions {
            dims,
            epsilon,
            seed,
        } = options;
        if !(1..=shape.channels).contains(&dims) {
            return Err(DriftError::BadOption {
                what: "the number of channels that PaDiM draws",
                given: dims,
                least: 1,
                most: shape.channels,
            });
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(DriftError::BadEpsilon { epsilon });
        }
        let mut channels: Vec<usize> = (0..shape.channels).collect();
        channels.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        channels.truncate(dims);
        channels.sort_unstable();
        Ok(Self {
            shape,
            epsilon,
            channels,
            images: 0,
            first: Vec::new(),
            sums: vec![vec![0.0; dims + dims * (dims + 1) / 2]; shape.positions],
        })
    }

    /// Takes the local features of one more regular image.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`].
    pub fn add(&mut self, image: &[f32]) -> Result<(), DriftError> {
        self.shape.check(image, self.images)?;
        if self.images == 0 {
            self.first = image.to_vec();
        }
        self.images += 1;
        let width = self.shape.channels;
        let patches = image.par_chunks_exact(width);
        let places = patches.zip(self.first.par_chunks_exact(width));
        places
            .zip(&mut self.sums)
            .for_each(|((patch, first), sums)| {
                let drawn: Vec<f64> = (self.channels.iter())
                    .map(|c| f64::from(patch[*c]) - f64::from(first[*c]))
                    .collect();
                let (sum, mut products) = sums.split_at_mut(drawn.len());
                for (i, (sum, x)) in sum.iter_mut().zip(&drawn).enumerate() {
                    *sum += x;
                    let (row, below) = products.split_at_mut(i + 1);
                    products = below;
                    for (cell, y) in row.iter_mut().zip(&drawn) {
                        *cell += x * y;
                    }
                }
            });
        Ok(())
    }

    /// Fits a Gaussian at each position.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`] for fewer than 2.
    pub fn finish(self) -> Result<Padim, DriftError> {
        match self.images {
            0 => return Err(DriftError::NoEmbeddings),
            1 => return Err(DriftError::TooFewImages { rows: 1, needed: 2 }),
            _ => {}
        }
        let places = self
            .sums
            .into_par_iter()
            .zip(self.first.par_chunks_exact(self.shape.channels))
            .map(|(sums, first)| {
                let (sum, products) = sums.split_at(self.channels.len());
                let mut place = Gaussian::new(sum, products, self.images as f64, self.epsilon);
                for (mean, channel) in place.mean.iter_mut().zip(&self.channels) {
                    *mean += f64::from(first[*channel]);
                }
                place
            })
            .collect();
        Ok(Padim {
            shape: self.shape,
            channels: self.channels,
            places,
        })
    }
}

/// What the organisers make of the maps of a batch of images, each of `positions` values: scaled so that the
/// lowest place of the batch is 0 and the highest 1, and of each image the highest place.
///
/// Only to compare with them: the score of an image depends on the batch it comes in, and a single image
/// always scores 1. 0 where all places are equal.
#[must_use]
pub fn organisers_batch_min_max(maps: &[f64], positions: usize) -> Vec<f64> {
    let lowest = maps.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = maps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = (highest - lowest).max(f64::MIN_POSITIVE);
    maps.chunks(positions.max(1))
        .map(|map| (map.iter().copied().fold(lowest, f64::max) - lowest) / range)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    const SHAPE: LocalShape = LocalShape {
        positions: 4,
        channels: 9,
    };

    fn options(dims: usize) -> PadimOptions {
        PadimOptions {
            dims,
            ..PadimOptions::default()
        }
    }

    fn fit(data: &[f32], options: PadimOptions) -> Result<Padim, DriftError> {
        let view = EmbeddingView::new(data, SHAPE.values()).expect("whole images");
        Padim::fit(view, SHAPE, options)
    }

    #[test]
    fn a_score_does_not_depend_on_company_and_says_where() {
        let data = noise(40, SHAPE.values(), 1);
        let fitted = fit(&data, options(5)).expect("images");
        check_scorer(&fitted, &data, 2);
        assert_eq!(fitted, fit(&data, options(5)).expect("images"));
        let mut image = data[..SHAPE.values()].to_vec();
        for v in &mut image[2 * SHAPE.channels..3 * SHAPE.channels] {
            *v += 1.0;
        }
        let (before, after) = (fitted.map(&data[..SHAPE.values()]), fitted.map(&image));
        let (before, after) = (before.expect("finite"), after.expect("finite"));
        assert!(after[2] > before[2] + 1.0);
        assert_eq!(after[3], before[3]);
        assert_eq!(fitted.score(&image), Ok(after[2]));
    }

    #[test]
    fn constant_features_and_fewer_images_than_channels_can_be_fitted() {
        let same = vec![1000.5; 3 * SHAPE.values()];
        let fitted = fit(&same, options(9)).expect("images");
        assert_eq!(fitted.score(&same[..SHAPE.values()]), Ok(0.0));
        let mut image = same[..SHAPE.values()].to_vec();
        image[4] += 0.3;
        // The variance is epsilon, 0.1 squared.
        assert!((fitted.score(&image).expect("finite") - 3.0).abs() < 1e-3);
    }

    #[test]
    fn wrong_input_is_refused() {
        let data = noise(3, SHAPE.values(), 1);
        for dims in [0, 10] {
            let text = fit(&data, options(dims)).expect_err("refused").to_string();
            assert!(text.contains("between 1 and 9"), "{text}");
        }
        let flat = PadimOptions {
            epsilon: 0.0,
            ..options(3)
        };
        assert_eq!(
            fit(&data, flat),
            Err(DriftError::BadEpsilon { epsilon: 0.0 })
        );
        assert!(matches!(
            fit(&data[..SHAPE.values()], options(3)),
            Err(DriftError::TooFewImages { .. })
        ));
        assert_eq!(fit(&[], options(3)), Err(DriftError::NoEmbeddings));
        let mut broken = data.clone();
        broken[SHAPE.values()] = f32::NAN;
        assert_eq!(
            fit(&broken, options(3)),
            Err(DriftError::NonFinite { row: 1 })
        );
    }

    #[test]
    fn the_organisers_scaling_depends_on_the_batch() {
        let maps = [1.0, 3.0, 2.0, 5.0];
        assert_eq!(organisers_batch_min_max(&maps, 2), [0.5, 1.0]);
        assert_eq!(organisers_batch_min_max(&maps[..2], 2), [1.0]);
        assert_eq!(organisers_batch_min_max(&[2.0; 4], 2), [0.0, 0.0]);
    }
}
