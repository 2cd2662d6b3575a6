//! How odd an image is beside what is usual for images like it.

use driftscope_kernels::products;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::linalg::dot;
use super::{DriftError, EmbeddingView};

/// How much more a score is than its mean over the k regular images that are most alike: what is usual in a class that
/// varies much, or has few images to compare with, is odd in one that hardly does. The local outlier factor (Breunig et
/// al., "LOF: Identifying Density-Based Local Outliers", 2000) with a score in the place of its density, and with a
/// difference in that of its ratio, as scores are logarithms here. In the units of the score; higher is more anomalous.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalContrast {
    dim: usize,
    k: usize,
    rows: Vec<f32>,
    squares: Vec<f32>,
    scores: Vec<f64>,
}

impl LocalContrast {
    /// Remembers the features of regular images, by which images are alike (Euclidean), with the score of each. `k` counts
    /// from 1, and each image has to have `k` others.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`], [`DriftError::LengthMismatch`],
    /// [`DriftError::NoSuchNeighbour`].
    pub fn fit(
        features: EmbeddingView<'_>,
        scores: Vec<f64>,
        k: usize,
    ) -> Result<Self, DriftError> {
        features.check(1)?;
        check_scores(features, &scores)?;
        let n = features.len();
        if !(1..n).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: n });
        }
        Ok(Self {
            dim: features.dim(),
            k,
            rows: features.data().to_vec(),
            squares: features.rows().map(|row| dot(row, row)).collect(),
            scores,
        })
    }

    /// The contrast of other images, with the score of each; `without` says of an image whether a remembered one is left
    /// out, as an image is not to be usual for being like itself. 0 where none is left.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and [`DriftError::DimensionMismatch`].
    pub fn contrast(
        &self,
        features: EmbeddingView<'_>,
        scores: &[f64],
        without: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Vec<f64>, DriftError> {
        features.check_dim(self.dim)?;
        features.check(1)?;
        check_scores(features, scores)?;
        let usual = |(at, row): (usize, &[f32])| {
            let n = self.scores.len();
            let mut near = vec![0.0; n];
            products(row, &self.rows, self.dim, &mut near);
            // |a - b|² but for |a|², which is the same for all.
            for (near, square) in near.iter_mut().zip(&self.squares) {
                *near = square - 2.0 * *near;
            }
            let mut order: Vec<usize> = (0..n).filter(|other| !without(at, *other)).collect();
            let k = self.k.min(order.len());
            if k < order.len() {
                order
                    .select_nth_unstable_by(k, |a, b| near[*a].total_cmp(&near[*b]).then(a.cmp(b)));
            }
            let nearest = &order[..k];
            let sum: f64 = nearest.iter().map(|at| self.scores[*at]).sum();
            (k > 0).then_some(sum / k as f64)
        };
        Ok(features
            .data()
            .par_chunks_exact(self.dim)
            .enumerate()
            .map(usual)
            .zip(scores)
            .map(|(usual, score)| usual.map_or(0.0, |usual| score - usual))
            .collect())
    }
}

fn check_scores(features: EmbeddingView<'_>, scores: &[f64]) -> Result<(), DriftError> {
    if scores.len() != features.len() {
        return Err(DriftError::LengthMismatch {
            rows: features.len(),
            labels: scores.len(),
        });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(row) => Err(DriftError::NonFinite { row }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quiet crowd around 0 with scores of about 1, and a lively one around 10 with scores of about 5.
    fn crowds() -> (Vec<f32>, Vec<f64>) {
        let quiet = (0..6).map(|i| (i as f32 * 0.1, 1.0 + 0.01 * f64::from(i)));
        let lively = (0..6).map(|i| (10.0 + i as f32 * 0.1, 5.0 + 0.01 * f64::from(i)));
        quiet.chain(lively).unzip()
    }

    fn view(rows: &[f32]) -> EmbeddingView<'_> {
        EmbeddingView::new(rows, 1).expect("rows")
    }

    #[test]
    fn what_is_usual_in_one_crowd_is_odd_in_another() {
        let (rows, scores) = crowds();
        let fitted = LocalContrast::fit(view(&rows), scores, 3).expect("fitted");
        let found = fitted
            .contrast(view(&[0.25, 10.25]), &[5.0, 5.0], |_, _| false)
            .expect("scored");
        assert!(found[0] > 3.9 && found[1].abs() < 0.1, "{found:?}");
        let alone = fitted.contrast(view(&[10.25]), &[5.0], |_, _| false);
        assert_eq!(alone.expect("scored")[0], found[1]);
    }

    #[test]
    fn an_image_is_not_its_own_neighbour() {
        let rows = [0.0, 1.0, 2.0];
        let fitted = LocalContrast::fit(view(&rows), vec![9.0, 1.0, 2.0], 1).expect("fitted");
        let with = |own| {
            fitted
                .contrast(view(&[0.0]), &[9.0], |_, at| own == Some(at))
                .expect("scored")[0]
        };
        assert_eq!((with(None), with(Some(0))), (0.0, 8.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rows = [0.0, 1.0];
        let fit = |scores: &[f64], k| LocalContrast::fit(view(&rows), scores.to_vec(), k);
        assert_eq!(
            fit(&[1.0], 1),
            Err(DriftError::LengthMismatch { rows: 2, labels: 1 })
        );
        assert_eq!(
            fit(&[1.0, 2.0], 2),
            Err(DriftError::NoSuchNeighbour { k: 2, rows: 2 })
        );
        assert_eq!(
            fit(&[1.0, f64::NAN], 1),
            Err(DriftError::NonFinite { row: 1 })
        );
    }
}
