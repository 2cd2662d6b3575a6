//! Logits of embeddings.

use serde::{Deserialize, Serialize};

use super::covariance::ClassMeans;
use super::embedding::check_dim;
use super::linalg::dot64;
use super::{DriftError, EmbeddingView, Scorer};
use crate::domain::ClassId;

/// A linear classifier over embeddings `x`: the logits `W x + b`. Either the last layer of a network, or the
/// linear discriminant of embeddings that come without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearClassifier {
    dim: usize,
    /// One row per class.
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl LinearClassifier {
    /// The last layer of a network over embeddings of `dim` values: `weights` `[classes, dim]`, one `bias`
    /// per class.
    ///
    /// # Errors
    /// [`DriftError::BadClassifier`], [`DriftError::BrokenClassifier`].
    pub fn new(weights: &[f32], bias: &[f32], dim: usize) -> Result<Self, DriftError> {
        if dim == 0 || bias.is_empty() || weights.len() != bias.len() * dim {
            return Err(DriftError::BadClassifier {
                classes: bias.len(),
                dim,
                weights: weights.len(),
            });
        }
        if weights.iter().chain(bias).any(|w| !w.is_finite()) {
            return Err(DriftError::BrokenClassifier);
        }
        Ok(Self {
            dim,
            weights: weights.iter().map(|w| f64::from(*w)).collect(),
            bias: bias.iter().map(|b| f64::from(*b)).collect(),
        })
    }

    /// The linear discriminant of the classes (Hastie, Tibshirani & Friedman, "The Elements of Statistical
    /// Learning", equation 4.10) under the shrunk covariance of [`Mahalanobis`](super::Mahalanobis):
    /// `w_c = Σ⁻¹ μ_c`, `b_c = -μ_cᵀ Σ⁻¹ μ_c / 2 + log π_c`. Classes without image get no logit.
    ///
    /// # Errors
    /// As [`Mahalanobis::fit`](super::Mahalanobis::fit).
    pub fn discriminant(
        embeddings: EmbeddingView<'_>,
        classes: &[ClassId],
    ) -> Result<Self, DriftError> {
        embeddings.check(2)?;
        let means = ClassMeans::new(embeddings, classes)?;
        let within = means.within(embeddings, classes)?;
        let mut weights = Vec::new();
        let mut bias = Vec::new();
        for (count, mean) in means.present() {
            let mut row = mean.to_vec();
            within.solve(&mut row);
            let prior = count as f64 / embeddings.len() as f64;
            bias.push(prior.ln() - dot64(&row, mean) / 2.0);
            weights.extend(row);
        }
        Ok(Self {
            dim: embeddings.dim(),
            weights,
            bias,
        })
    }

    /// The classifier with the same probabilities whose logits have mean 0 for every embedding.
    #[must_use]
    pub fn centred(mut self) -> Self {
        let n = self.classes() as f64;
        for value in 0..self.dim {
            let column = || (value..).step_by(self.dim).take(self.bias.len());
            let mean = column().map(|at| self.weights[at]).sum::<f64>() / n;
            for at in column() {
                self.weights[at] -= mean;
            }
        }
        let mean = self.bias.iter().sum::<f64>() / n;
        self.bias.iter_mut().for_each(|bias| *bias -= mean);
        self
    }

    /// Values of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// The logits of one embedding.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn logits(&self, embedding: &[f32]) -> Result<Vec<f64>, DriftError> {
        check_dim(self.dim, embedding.len())?;
        Ok(self.apply(embedding))
    }

    /// The logits of an embedding of the right width.
    pub(super) fn apply(&self, embedding: &[f32]) -> Vec<f64> {
        let row: Vec<f64> = embedding.iter().map(|v| f64::from(*v)).collect();
        self.weights
            .chunks_exact(self.dim)
            .zip(&self.bias)
            .map(|(w, b)| dot64(w, &row) + b)
            .collect()
    }

    /// One row of weights per class.
    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// One bias per class.
    pub(super) fn bias(&self) -> &[f64] {
        &self.bias
    }
}

/// A score of logits, such as [`Energy`](super::Energy), over embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnLogits<S> {
    classifier: LinearClassifier,
    scorer: S,
}

impl<S: Scorer> OnLogits<S> {
    /// Scores the logits of `classifier` by `scorer`.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`] when `scorer` wants another number of classes.
    pub fn new(classifier: LinearClassifier, scorer: S) -> Result<Self, DriftError> {
        check_dim(scorer.dim(), classifier.classes())?;
        Ok(Self { classifier, scorer })
    }
}

impl<S: Scorer> Scorer for OnLogits<S> {
    fn dim(&self) -> usize {
        self.classifier.dim
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        let logits: Vec<f32> = rows
            .chunks_exact(self.classifier.dim)
            .flat_map(|row| self.classifier.apply(row))
            .map(|logit| logit as f32)
            .collect();
        self.scorer.score_rows(&logits, scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};
    use crate::drift::{Energy, MaxSoftmax};

    #[test]
    fn a_layer_that_does_not_fit_is_refused() {
        for (weights, bias, dim) in [(5, 2, 3), (0, 0, 3), (0, 2, 0)] {
            let refused = LinearClassifier::new(&vec![1.0; weights], &vec![0.0; bias], dim);
            assert!(matches!(refused, Err(DriftError::BadClassifier { .. })));
        }
        let broken = LinearClassifier::new(&[1.0, f32::NAN], &[0.0], 2);
        assert_eq!(broken, Err(DriftError::BrokenClassifier));
        let layer = LinearClassifier::new(&[1.0, 2.0, 0.0, 1.0], &[0.5, -1.0], 2).expect("fits");
        assert_eq!(layer.logits(&[3.0, 4.0]), Ok(vec![11.5, 3.0]));
        assert!(layer.logits(&[1.0]).is_err());
        assert!(OnLogits::new(layer, MaxSoftmax::new(3).expect("classes")).is_err());
    }

    #[test]
    fn centred_logits_have_mean_0_and_the_same_differences() {
        let layer = LinearClassifier::new(&[1.0, 2.0, 0.0, 1.0, 5.0, 3.0], &[0.5, -1.0, 2.0], 2);
        let layer = layer.expect("fits");
        let row = [3.0, -4.0];
        let plain = layer.logits(&row).expect("two values");
        let centred = layer.centred().logits(&row).expect("two values");
        assert!(centred.iter().sum::<f64>().abs() < 1e-12);
        let by: Vec<f64> = plain.iter().zip(&centred).map(|(a, b)| a - b).collect();
        assert!(by.iter().all(|d| (d - by[0]).abs() < 1e-12), "{by:?}");
    }

    #[test]
    fn the_discriminant_tells_classes_apart_and_skips_empty_ones() {
        let mut data = noise(40, 5, 1);
        for row in data.chunks_exact_mut(5).skip(20) {
            row[0] += 3.0;
        }
        let classes: Vec<ClassId> = (0..40)
            .map(|i| ClassId(if i < 20 { 1 } else { 4 }))
            .collect();
        let view = EmbeddingView::new(&data, 5).expect("rows");
        let fitted = LinearClassifier::discriminant(view, &classes).expect("varied");
        assert_eq!((fitted.classes(), fitted.dim()), (2, 5));
        for (at, row) in view.rows().enumerate() {
            let logits = fitted.logits(row).expect("same width");
            assert_eq!(logits[1] > logits[0], at >= 20);
        }
        let energy = Energy::new(2, 1.0).expect("positive");
        let scorer = OnLogits::new(fitted, energy).expect("two classes");
        check_scorer(&scorer, &data, 3);
    }
}
