//! How far an image lies from the regular classes, before anybody has labelled drift.

use serde::{Deserialize, Serialize};

use super::embedding::check_dim;
use super::linalg::{Cholesky, dot64};
use super::{DriftError, EmbeddingView};
use crate::domain::ClassId;

/// Mahalanobis distance to the nearest regular class, on L2-normalised features: "Mahalanobis++"
/// (Müller & Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization", ICML 2025).
///
/// A [`Projection`](super::Projection) supplies the normalised features. The classes share one
/// covariance, pooled within classes and shrunk towards a sphere as Ledoit & Wolf (2004) do, so that few
/// images suffice. Scores are squared distances: 0 or more, higher is more anomalous, without unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mahalanobis {
    dim: usize,
    within: Cholesky,
    /// Class means, whitened by `within`.
    whitened_means: Vec<Vec<f64>>,
    whole: Cholesky,
    mean: Vec<f64>,
}

impl Mahalanobis {
    /// Fits on the projected `features` of regular training images, at least 2, with the class of each.
    /// Where no class is known give every image the same one.
    ///
    /// # Errors
    /// [`DriftError::LengthMismatch`], [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`],
    /// [`DriftError::NonFinite`], [`DriftError::NoVariation`].
    pub fn fit(features: EmbeddingView<'_>, classes: &[ClassId]) -> Result<Self, DriftError> {
        if features.len() != classes.len() {
            return Err(DriftError::LengthMismatch {
                rows: features.len(),
                labels: classes.len(),
            });
        }
        features.check(2)?;
        let dim = features.dim();
        let slots = classes.iter().map(|c| c.index() + 1).max().unwrap_or(0);
        let class_means: Vec<Option<Vec<f64>>> = (0..slots)
            .map(|slot| {
                let of_class = features
                    .rows()
                    .zip(classes)
                    .filter(|(_, c)| c.index() == slot);
                mean(of_class.map(|(row, _)| row), dim)
            })
            .collect();
        let overall = mean(features.rows(), dim).ok_or(DriftError::NoEmbeddings)?;

        let centred = |mean_of: &dyn Fn(usize) -> Vec<f64>| -> Vec<f64> {
            features
                .rows()
                .enumerate()
                .flat_map(|(i, row)| minus(row, &mean_of(i)))
                .collect()
        };
        let factor = |rows: &[f64]| {
            Cholesky::new(ledoit_wolf(rows, dim), dim).ok_or(DriftError::NoVariation)
        };
        let whole = factor(&centred(&|_| overall.clone()))?;
        let within = factor(&centred(&|i| {
            class_means[classes[i].index()]
                .clone()
                .expect("the class of an image has that image")
        }))?;
        let whitened_means = class_means
            .into_iter()
            .flatten()
            .map(|mut mean| {
                within.solve_lower(&mut mean);
                mean
            })
            .collect();
        Ok(Self {
            dim,
            within,
            whitened_means,
            whole,
            mean: overall,
        })
    }

    /// Squared distance to the nearest class mean.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn score(&self, features: &[f32]) -> Result<f64, DriftError> {
        check_dim(self.dim, features.len())?;
        let mut whitened: Vec<f64> = features.iter().map(|v| f64::from(*v)).collect();
        self.within.solve_lower(&mut whitened);
        Ok(self
            .whitened_means
            .iter()
            .map(|mean| squared_distance(&whitened, mean))
            .fold(f64::INFINITY, f64::min))
    }

    /// [`score`](Self::score) minus the squared distance to all regular images taken as one class
    /// (Ren et al., "A Simple Fix to Mahalanobis Distance", 2021). Any sign; higher is more anomalous.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn relative_score(&self, features: &[f32]) -> Result<f64, DriftError> {
        let nearest = self.score(features)?;
        let mut centred = minus(features, &self.mean);
        self.whole.solve_lower(&mut centred);
        Ok(nearest - dot64(&centred, &centred))
    }

    /// [`score`](Self::score) of every row, in order.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn score_all(&self, features: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        features.check(1)?;
        features.rows().map(|row| self.score(row)).collect()
    }

    /// [`relative_score`](Self::relative_score) of every row, in order.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn relative_score_all(&self, features: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        features.check(1)?;
        features
            .rows()
            .map(|row| self.relative_score(row))
            .collect()
    }
}

fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, dim: usize) -> Option<Vec<f64>> {
    let mut sum = vec![0.0; dim];
    let mut n = 0_usize;
    for row in rows {
        n += 1;
        for (sum, v) in sum.iter_mut().zip(row) {
            *sum += f64::from(*v);
        }
    }
    for sum in &mut sum {
        *sum /= n as f64;
    }
    (n > 0).then_some(sum)
}

fn minus(row: &[f32], mean: &[f64]) -> Vec<f64> {
    row.iter()
        .zip(mean)
        .map(|(v, m)| f64::from(*v) - m)
        .collect()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

/// Covariance of centred rows, shrunk towards `tr(S)/p I` (`sklearn.covariance.ledoit_wolf` with
/// `assume_centered=True`).
fn ledoit_wolf(rows: &[f64], dim: usize) -> Vec<f64> {
    let (n, p) = ((rows.len() / dim) as f64, dim as f64);
    let mut covariance = vec![0.0; dim * dim];
    let mut fourth_powers = 0.0;
    for row in rows.chunks_exact(dim) {
        fourth_powers += dot64(row, row).powi(2);
        for (i, x) in row.iter().enumerate() {
            for (cell, y) in covariance[i * dim..][..dim].iter_mut().zip(row) {
                *cell += x * y;
            }
        }
    }
    for cell in &mut covariance {
        *cell /= n;
    }
    let trace: f64 = (0..dim).map(|i| covariance[i * dim + i]).sum();
    let sphere = trace / p;
    let squares = dot64(&covariance, &covariance);
    let distance = (squares - 2.0 * sphere * trace + p * sphere * sphere) / p;
    let noise = ((fourth_powers / n - squares) / (p * n)).min(distance);
    let shrinkage = if noise == 0.0 { 0.0 } else { noise / distance };
    for (at, cell) in covariance.iter_mut().enumerate() {
        *cell *= 1.0 - shrinkage;
        if at % (dim + 1) == 0 {
            *cell += shrinkage * sphere;
        }
    }
    covariance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_input_is_refused() {
        let data = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0_f32];
        let view = EmbeddingView::new(&data, 2).expect("rows");
        let classes = [ClassId(0); 3];
        assert_eq!(
            Mahalanobis::fit(view, &classes),
            Err(DriftError::NoVariation)
        );
        assert!(matches!(
            Mahalanobis::fit(view, &classes[1..]),
            Err(DriftError::LengthMismatch { .. })
        ));
        let one = EmbeddingView::new(&data[..2], 2).expect("row");
        assert!(matches!(
            Mahalanobis::fit(one, &classes[..1]),
            Err(DriftError::TooFewImages { .. })
        ));
    }

    proptest! {
        #[test]
        fn images_of_a_class_are_nearer_than_one_from_nowhere(
            rows in prop::collection::vec((prop::array::uniform4(-1.0_f32..1.0), 0_u8..3), 10..40),
        ) {
            let data: Vec<f32> = rows
                .iter()
                .flat_map(|(x, c)| x.map(|v| v + 5.0 * f32::from(*c)))
                .collect();
            let classes: Vec<ClassId> = rows.iter().map(|r| ClassId(r.1)).collect();
            let view = EmbeddingView::new(&data, 4).expect("rows");
            let fitted = Mahalanobis::fit(view, &classes).expect("varied");
            let scores = fitted.score_all(view).expect("same model");
            let far = fitted.score(&[-60.0, 60.0, -60.0, 60.0]).expect("same model");
            prop_assert!(scores.iter().all(|s| *s >= 0.0 && *s < far));
            let alone: Vec<f64> = view.rows().map(|r| fitted.score(r).expect("same model")).collect();
            prop_assert_eq!(scores, alone);
        }
    }
}
