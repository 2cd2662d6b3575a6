//! What an image resembles.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::embedding::check_dim;
use super::linalg::{dot, normalise};
use super::{DriftError, EmbeddingView};

/// Distance to the k-th nearest regular training image, on L2-normalised features (Sun et al.,
/// "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022). Scores lie in `[0, 2]`;
/// higher is more anomalous.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestNeighbours {
    dim: usize,
    k: usize,
    bank: Vec<f32>,
}

impl NearestNeighbours {
    /// Remembers the projected `features` of regular training images. `k` counts from 1 and is reduced to
    /// the number of images. An image of the bank finds itself first: score it with `k` one higher.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
    pub fn fit(features: EmbeddingView<'_>, k: usize) -> Result<Self, DriftError> {
        features.check(1)?;
        Ok(Self {
            dim: features.dim(),
            k: k.clamp(1, features.len()),
            bank: normalised(features),
        })
    }

    /// Distance of one row.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn score(&self, features: &[f32]) -> Result<f64, DriftError> {
        check_dim(self.dim, features.len())?;
        let mut query = features.to_vec();
        normalise(&mut query);
        let mut similarities: Vec<f32> = self
            .bank
            .chunks_exact(self.dim)
            .map(|row| dot(row, &query))
            .collect();
        let (_, kth, _) = similarities.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        // Between rows of length 1, |a - b|² = 2 - 2 a·b.
        Ok((2.0 - 2.0 * f64::from(*kth)).clamp(0.0, 4.0).sqrt())
    }

    /// Distance of every row, in order.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn score_all(&self, features: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        features.check(1)?;
        features
            .data()
            .par_chunks_exact(features.dim())
            .map(|row| self.score(row))
            .collect()
    }
}

/// For every row, its largest cosine similarity to one of the rows `targets`, itself excepted: how much
/// it looks like drift already found (Coleman et al., "Similarity Search for Efficient Active Learning",
/// AAAI 2022). In `[-1, 1]`; -1 where there is no other target.
///
/// # Errors
/// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
///
/// # Panics
/// For a target that is no row.
pub fn similarity_to_nearest(
    features: EmbeddingView<'_>,
    targets: &[usize],
) -> Result<Vec<f32>, DriftError> {
    features.check(1)?;
    let dim = features.dim();
    let rows = normalised(features);
    Ok(rows
        .par_chunks_exact(dim)
        .enumerate()
        .map(|(at, row)| {
            targets
                .iter()
                .filter(|target| **target != at)
                .map(|target| dot(row, &rows[target * dim..][..dim]))
                .fold(-1.0, f32::max)
                .min(1.0)
        })
        .collect())
}

fn normalised(features: EmbeddingView<'_>) -> Vec<f32> {
    let mut rows = features.data().to_vec();
    rows.par_chunks_exact_mut(features.dim())
        .for_each(normalise);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [f32; 8] = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0, -1.0, 0.0];

    fn view() -> EmbeddingView<'static> {
        EmbeddingView::new(&ROWS, 2).expect("rows")
    }

    #[test]
    fn the_kth_distance_ignores_length() {
        let scores = |k| {
            let bank = NearestNeighbours::fit(view(), k).expect("rows");
            bank.score(&[7.0, 0.0]).expect("same width")
        };
        assert_eq!(scores(1), 0.0);
        assert!((scores(2) - (2.0 - 2.0_f64.sqrt()).sqrt()).abs() < 1e-6);
        assert!((scores(3) - 2.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!(scores(4), 2.0);
        assert_eq!(scores(400), 2.0);
    }

    #[test]
    fn similarity_looks_at_other_targets_only() {
        let s = similarity_to_nearest(view(), &[0, 2]).expect("rows");
        let half = 0.5_f32.sqrt();
        for (found, expected) in s.iter().zip([half, half, half, -half]) {
            assert!((found - expected).abs() < 1e-6, "{s:?}");
        }
        assert_eq!(similarity_to_nearest(view(), &[]).expect("rows"), [-1.0; 4]);
    }

    #[test]
    fn wrong_input_is_refused() {
        let bank = NearestNeighbours::fit(view(), 1).expect("rows");
        assert!(bank.score(&[1.0]).is_err());
        let none = EmbeddingView::new(&[], 2).expect("no rows");
        assert_eq!(
            NearestNeighbours::fit(none, 1),
            Err(DriftError::NoEmbeddings)
        );
    }
}
