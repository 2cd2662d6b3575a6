//! What is not where it is in similar images.

use driftscope_kernels::{nearby, products};
use serde::{Deserialize, Serialize};

use super::linalg::normalised;
use super::{DriftError, LocalShape};

/// Memory for the local features of regular images, bytes.
const MEMORY: usize = 400_000_000;
/// Steps on each side of 0 that a value is kept in.
const STEPS: f32 = 127.0;
/// One place in so many counts as the oddest spot.
const SPOT_SHARE: usize = 30;

/// Compares each place of an image with the same place, and those next to it, of the regular images that the
/// whole resembles most (SPADE: Cohen & Hoshen, "Sub-Image Anomaly Detection with Deep Pyramid
/// Correspondences", 2020, <https://arxiv.org/abs/2005.02357>). Where pictures are taken of the same scene again
/// and again, it sees what no bank of patches sees: something usual in an unusual place.
///
/// Two departures from the paper: images resemble each other by the mean of their local features; and a place
/// is compared with its surroundings alone instead of the whole image, so that a part that moved is odd.
/// Distances are 1 - cosine, in `[0, 2]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spade {
    shape: LocalShape,
    side: usize,
    k: usize,
    /// Unit vectors, image after image, a byte for each value: eight thousand images fit into the memory of a
    /// desktop, and the more scenes are remembered the less of what is regular looks odd.
    places: Vec<i8>,
    /// What a step of each place is worth.
    steps: Vec<f32>,
    /// Unit mean of each image.
    wholes: Vec<f32>,
}

/// What [`Spade`] says of an image. Higher is more like drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpadeScore {
    /// Mean distance over all places.
    pub mean: f64,
    /// Mean over the oddest thirtieth of them.
    pub spot: f64,
}

impl Spade {
    /// Places up, down, left and right that a place is compared with too.
    pub const REACH: usize = 1;

    /// How many regular images it remembers, at most, where local features have this shape: 400 MB of them.
    #[must_use]
    pub fn capacity(shape: LocalShape) -> usize {
        MEMORY / (shape.values() + 4 * shape.positions).max(1)
    }

    /// Remembers the local features of regular images. `k` is the number of images that one is compared with.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NotSquare`], [`DriftError::NoSuchNeighbour`] where there are
    /// not more than `k` images (each has to have `k` others), [`DriftError::DimensionMismatch`],
    /// [`DriftError::NonFinite`].
    pub fn fit(
        shape: LocalShape,
        k: usize,
        images: impl ExactSizeIterator<Item = Vec<f32>>,
    ) -> Result<Self, DriftError> {
        shape.check_not_empty()?;
        let side = shape.positions.isqrt();
        if side * side != shape.positions {
            return Err(DriftError::NotSquare {
                positions: shape.positions,
            });
        }
        let n = images.len();
        if !(1..n).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: n });
        }
        let mut places = Vec::with_capacity(n * shape.values());
        let mut steps = Vec::with_capacity(n * shape.positions);
        let mut wholes = Vec::with_capacity(n * shape.channels);
        for (row, image) in images.enumerate() {
            shape.check(&image, row)?;
            let image = normalised(&image, shape.channels);
            wholes.extend(whole(&image, shape.channels));
            for place in image.chunks_exact(shape.channels) {
                let most = place
                    .iter()
                    .fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
                let rounded = place.iter().map(|v| (v / most * STEPS).round());
                // So that what is recalled has length 1 again.
                let length: f32 = rounded.clone().map(|v| v * v).sum::<f32>().sqrt();
                steps.push(if length > 0.0 { 1.0 / length } else { 0.0 });
                #[expect(clippy::cast_possible_truncation, reason = "within -127..=127")]
                places.extend(rounded.map(|v| v as i8));
            }
        }
        Ok(Self {
            shape,
            side,
            k,
            places,
            steps,
            wholes,
        })
    }

    /// The score of one image; `without` leaves out remembered ones by their place: the image itself, say.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`].
    pub fn score(
        &self,
        image: &[f32],
        without: impl Fn(usize) -> bool,
    ) -> Result<SpadeScore, DriftError> {
        let distances = self.map(image, without)?;
        let spot = (self.shape.positions / SPOT_SHARE).max(1);
        let mut sorted = distances;
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mean = |values: &[f32]| {
            let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
            sum / values.len() as f64
        };
        Ok(SpadeScore {
            mean: mean(&sorted),
            spot: mean(&sorted[..spot]),
        })
    }

    /// The distance of each place, rows from the top.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn map(
        &self,
        image: &[f32],
        without: impl Fn(usize) -> bool,
    ) -> Result<Vec<f32>, DriftError> {
        self.shape.check(image, 0)?;
        let channels = self.shape.channels;
        let image = normalised(image, channels);
        let n = self.wholes.len() / channels;
        let mut similar = vec![0.0; n];
        products(
            &whole(&image, channels),
            &self.wholes,
            channels,
            &mut similar,
        );
        let mut order: Vec<usize> = (0..n).filter(|at| !without(*at)).collect();
        let liker = |a: &usize, b: &usize| similar[*b].total_cmp(&similar[*a]).then(a.cmp(b));
        let k = self.k.min(order.len());
        if k < order.len() {
            order.select_nth_unstable_by(k, liker);
        }
        let mut best = vec![-1.0; self.shape.positions];
        let mut reference = vec![0.0; self.shape.values()];
        for row in &order[..k] {
            self.recall(*row, &mut reference);
            nearby(
                &image,
                &reference,
                self.side,
                channels,
                Self::REACH,
                &mut best,
            );
        }
        Ok(best.iter().map(|b| (1.0 - b).max(0.0)).collect())
    }
}

impl Spade {
    /// The places of a remembered image.
    fn recall(&self, row: usize, into: &mut [f32]) {
        let places = self.places.chunks_exact(self.shape.channels);
        let kept = places.zip(&self.steps).skip(row * self.shape.positions);
        for ((place, step), into) in kept.zip(into.chunks_exact_mut(self.shape.channels)) {
            for (into, v) in into.iter_mut().zip(place) {
                *into = f32::from(*v) * step;
            }
        }
    }
}

/// The mean of all places, as a unit vector.
fn whole(image: &[f32], channels: usize) -> Vec<f32> {
    let mut sum = vec![0.0; channels];
    for place in image.chunks_exact(channels) {
        for (sum, v) in sum.iter_mut().zip(place) {
            *sum += v;
        }
    }
    normalised(&sum, channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::noise;

    const SHAPE: LocalShape = LocalShape {
        positions: 36,
        channels: 5,
    };

    /// Scenes of distinct places, each seen with a little noise.
    fn scene(seed: u64) -> Vec<f32> {
        let place = noise(SHAPE.positions, SHAPE.channels, 1);
        let grain = noise(SHAPE.positions, SHAPE.channels, seed + 10);
        place
            .iter()
            .zip(&grain)
            .map(|(p, g)| p + 0.02 * g)
            .collect()
    }

    fn fitted(k: usize) -> Spade {
        Spade::fit(SHAPE, k, (0..8_u32).map(|i| scene(u64::from(i)))).expect("fitted")
    }

    #[test]
    fn something_usual_in_an_unusual_place_is_found_there() {
        let spade = fitted(3);
        let usual = spade.score(&scene(100), |_| false).expect("scored");
        let mut moved = scene(100);
        // What stands in the first corner stands in the last one too.
        let corner = moved[..SHAPE.channels].to_vec();
        moved[35 * SHAPE.channels..].copy_from_slice(&corner);
        let found = spade.score(&moved, |_| false).expect("scored");
        assert!(found.spot > 3.0 * usual.spot, "{found:?} {usual:?}");
        assert!(found.mean > usual.mean);
        let map = spade.map(&moved, |_| false).expect("a map");
        let oddest = (0..36).max_by(|a, b| map[*a].total_cmp(&map[*b]));
        assert_eq!(oddest, Some(35));
    }

    #[test]
    fn a_part_that_moved_by_one_place_is_no_drift_but_by_two_is() {
        let spade = fitted(3);
        let shifted = |by: usize| {
            let image = scene(100);
            let mut shifted = image.clone();
            for y in 0..6 {
                for x in 0..6 - by {
                    let (to, from) = ((y * 6 + x) * 5, (y * 6 + x + by) * 5);
                    shifted[to..to + 5].copy_from_slice(&image[from..from + 5]);
                }
            }
            spade.map(&shifted, |_| false).expect("a map")[2 * 6 + 1]
        };
        assert!(shifted(1) < 0.01, "{}", shifted(1));
        assert!(shifted(2) > 3.0 * shifted(1));
    }

    #[test]
    fn an_image_is_not_compared_with_itself() {
        let spade = fitted(2);
        let own = scene(4);
        let with = spade.score(&own, |_| false).expect("scored").mean;
        // But for what a byte rounds away.
        assert!(with.abs() < 2e-5, "{with}");
        let without = spade.score(&own, |at| at == 4).expect("scored").mean;
        assert!(without > 1e-5, "{without}");
        // Nor does it matter then whether it is remembered.
        let others: Vec<Vec<f32>> = (0..8_u64).filter(|i| *i != 4).map(scene).collect();
        let others = Spade::fit(SHAPE, 2, others.into_iter()).expect("fitted");
        assert_eq!(others.score(&own, |_| false).expect("scored").mean, without);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let oblong = LocalShape {
            positions: 35,
            channels: 5,
        };
        let images = |n: u64| (0..n).map(scene).collect::<Vec<_>>().into_iter();
        assert_eq!(
            Spade::fit(oblong, 1, images(3)),
            Err(DriftError::NotSquare { positions: 35 })
        );
        let few = Spade::fit(SHAPE, 3, images(3));
        assert_eq!(few, Err(DriftError::NoSuchNeighbour { k: 3, rows: 3 }));
        let spade = fitted(2);
        let mut broken = scene(1);
        broken[7] = f32::NAN;
        assert_eq!(
            spade.score(&broken, |_| false),
            Err(DriftError::NonFinite { row: 0 })
        );
        assert!(matches!(
            spade.score(&[1.0; 7], |_| false),
            Err(DriftError::DimensionMismatch { .. })
        ));
    }
}
