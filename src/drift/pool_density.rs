//! Crowds of incoming images where regular ones are rare.

use driftscope_kernels::products;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::linalg::dot;
use super::{DriftError, EmbeddingView, Scorer};

/// Rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

/// How much more often an image has incoming images than regular training images for neighbours: the
/// logarithm of the ratio of the two shares among its k nearest, `log ((p + ½) / (r + ½)) - log (n_p / n_r)`
/// (after Schilling, "Multivariate Two-Sample Tests Based on Nearest Neighbors", 1986). 0 where both are as
/// frequent as their numbers say; higher is more like drift.
///
/// Distances to the regular images say that an image lies far out; this says that a crowd of images is new,
/// *wherever* it lies, even in their very middle. It needs a crowd: a single odd image has no such
/// neighbours. And it is relative to the incoming images it was fitted on, so it serves to choose what to
/// look at, not to judge images that come later. The work grows with the square of the images: 10,000 among
/// 5,000 take about a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolDensity {
    dim: usize,
    k: usize,
    /// Regular images first.
    rows: Vec<f32>,
    squares: Vec<f32>,
    regular: usize,
}

impl PoolDensity {
    /// Remembers the projected features of regular training images and of incoming ones, the pool. `k`
    /// counts from 1; some 10 tell a crowd of that size.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`], [`DriftError::DimensionMismatch`],
    /// [`DriftError::NoSuchNeighbour`] when an image has fewer than `k` others.
    pub fn fit(
        regular: EmbeddingView<'_>,
        pool: EmbeddingView<'_>,
        k: usize,
    ) -> Result<Self, DriftError> {
        regular.check(1)?;
        pool.check(1)?;
        pool.check_dim(regular.dim())?;
        let others = regular.len() + pool.len() - 1;
        if !(1..=others).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: others });
        }
        let rows = [regular.data(), pool.data()].concat();
        let dim = regular.dim();
        Ok(Self {
            dim,
            k,
            squares: rows.chunks_exact(dim).map(|row| dot(row, row)).collect(),
            rows,
            regular: regular.len(),
        })
    }

    /// The score of every image of the pool, in order; none counts as its own neighbour.
    #[must_use]
    pub fn pool_scores(&self) -> Vec<f64> {
        let pool = &self.rows[self.regular * self.dim..];
        let mut scores = vec![0.0; pool.len() / self.dim];
        scores
            .par_chunks_mut(ROWS_AT_ONCE)
            .zip(pool.par_chunks(ROWS_AT_ONCE * self.dim))
            .enumerate()
            .for_each(|(block, (scores, rows))| {
                let first = self.regular + block * ROWS_AT_ONCE;
                self.score_block(rows, Some(first), scores);
            });
        scores
    }

    /// Scores `rows`, which stand in `self.rows` from `first` on if they do.
    fn score_block(&self, rows: &[f32], first: Option<usize>, scores: &mut [f64]) {
        let n = self.squares.len();
        let mut similar = vec![0.0_f32; scores.len() * n];
        products(rows, &self.rows, self.dim, &mut similar);
        let mut others: Vec<(f32, usize)> = Vec::with_capacity(n);
        for (at, (score, similar)) in scores.iter_mut().zip(similar.chunks_exact(n)).enumerate() {
            let itself = first.map(|first| first + at);
            others.clear();
            for (other, (square, similar)) in self.squares.iter().zip(similar).enumerate() {
                if Some(other) != itself {
                    // The squared distance but for the row's own length.
                    others.push((square - 2.0 * similar, other));
                }
            }
            others
                .select_nth_unstable_by(self.k - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let nearest = &others[..self.k];
            let regular = nearest
                .iter()
                .filter(|(_, row)| *row < self.regular)
                .count();
            let shares = (self.k - regular) as f64 + 0.5;
            let numbers = (n - self.regular) as f64 / self.regular as f64;
            *score = (shares / (regular as f64 + 0.5)).ln() - numbers.ln();
        }
    }
}

impl Scorer for PoolDensity {
    fn dim(&self) -> usize {
        self.dim
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        self.score_block(rows, None, scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ClassId;
    use crate::drift::Mahalanobis;
    use crate::drift::scorer::testing::{check_scorer, noise};

    const DIM: usize = 8;

    fn view(data: &[f32]) -> EmbeddingView<'_> {
        EmbeddingView::new(data, DIM).expect("rows")
    }

    /// Twelve images crowded in the very middle of the regular ones come after 80 regular ones.
    fn pool() -> Vec<f32> {
        let mut pool = noise(80, DIM, 2);
        pool.extend(noise(12, DIM, 3).iter().map(|v| 1.0 + (v - 1.0) * 0.05));
        pool
    }

    #[test]
    fn a_crowd_is_found_that_looks_more_regular_than_the_regular() {
        let (regular, pool) = (noise(200, DIM, 1), pool());
        let fitted = PoolDensity::fit(view(&regular), view(&pool), 8).expect("rows");
        let scores = fitted.pool_scores();
        let lowest = scores[80..].iter().copied().fold(f64::INFINITY, f64::min);
        let above = scores[..80].iter().filter(|s| **s >= lowest).count();
        assert!(above < 5, "{above}");
        // To a distance they are the least suspicious of all.
        let far = Mahalanobis::fit(view(&regular), &[ClassId(0); 200]).expect("varied");
        let far = far.score_all(view(&pool)).expect("same width");
        let highest = far[80..].iter().copied().fold(0.0, f64::max);
        assert!(far[..80].iter().all(|s| *s > highest));
        check_scorer(&fitted, &pool, 4);
    }

    #[test]
    fn without_drift_it_is_zero_on_average() {
        let (regular, pool) = (noise(300, DIM, 1), noise(150, DIM, 2));
        let fitted = PoolDensity::fit(view(&regular), view(&pool), 30).expect("rows");
        let scores = fitted.pool_scores();
        let mean = scores.iter().sum::<f64>() / 150.0;
        assert!(mean.abs() < 0.15, "{mean}");
    }

    #[test]
    fn wrong_input_is_refused() {
        let data = noise(3, DIM, 1);
        for k in [0, 6] {
            let refused = PoolDensity::fit(view(&data), view(&data), k);
            assert_eq!(refused, Err(DriftError::NoSuchNeighbour { k, rows: 5 }));
        }
        let none = PoolDensity::fit(view(&data), view(&[]), 1);
        assert_eq!(none, Err(DriftError::NoEmbeddings));
        let narrow = EmbeddingView::new(&data, 4).expect("rows");
        assert!(PoolDensity::fit(view(&data), narrow, 1).is_err());
    }
}
