//! What an embedding holds beside the directions that regular images vary in.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::classifier::LinearClassifier;
use super::embedding::check_dim;
use super::energy::log_sum_exp;
use super::linalg::{axpy, dot, dot64, symmetric_eigen};
use super::principal::principal_axes;
use super::{DriftError, EmbeddingView, Scorer};

/// Directions of the classifier below this share of the largest singular value count as none.
const RANK: f64 = 1e-7;

/// Virtual-logit matching (Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022,
/// equation 8 before its softmax, as in the authors' code):
/// `α |x^P⊥| - log Σ exp(logit_c)`, where `x^P⊥` is the rest of the embedding outside the principal
/// directions round the origin `o = -W⁺ b`, and `α` brings that rest to the scale of the largest logits.
/// Any sign; higher is more anomalous. A row is an embedding as the classifier wants it, not normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vim {
    classifier: LinearClassifier,
    origin: Vec<f32>,
    /// One row per direction.
    axes: Vec<f32>,
    alpha: f64,
}

impl Vim {
    /// Fits on `embeddings` of regular training images, at least 2, without the part along `principal`
    /// directions; see [`usual_principal`](Self::usual_principal).
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`],
    /// [`DriftError::NonFinite`], [`DriftError::BadOption`], [`DriftError::NoResidual`],
    /// [`DriftError::LogitsNotPositive`].
    pub fn fit(
        embeddings: EmbeddingView<'_>,
        classifier: LinearClassifier,
        principal: usize,
        seed: u64,
    ) -> Result<Self, DriftError> {
        check_dim(classifier.dim(), embeddings.dim())?;
        embeddings.check(2)?;
        let most = embeddings.dim() - 1;
        if !(1..=most).contains(&principal) {
            return Err(DriftError::BadOption {
                what: "the number of principal directions of ViM",
                given: principal,
                least: 1,
                most,
            });
        }
        let origin = origin(&classifier);
        let centred = |block: &[f32]| centred(block, &origin);
        let found = principal_axes(embeddings, centred, principal, seed);
        let mut fitted = Self {
            classifier,
            origin,
            axes: found.axes,
            alpha: 0.0,
        };
        let n = embeddings.len() as f64;
        // Collected before they are added, so that the sums do not depend on the threads.
        let of_rows: Vec<(f64, f64)> = embeddings
            .data()
            .par_chunks_exact(embeddings.dim())
            .map(|row| {
                let logits = fitted.classifier.apply(row).into_iter();
                (fitted.rest(row), logits.fold(f64::NEG_INFINITY, f64::max))
            })
            .collect();
        let rests: f64 = of_rows.iter().map(|(rest, _)| rest).sum();
        let logits: f64 = of_rows.iter().map(|(_, logit)| logit).sum();
        // Below this it is the rounding of single precision.
        if rests / n <= 1e-5 * (found.total / n).sqrt() {
            return Err(DriftError::NoResidual { principal });
        }
        if logits <= 0.0 {
            return Err(DriftError::LogitsNotPositive { mean: logits / n });
        }
        fitted.alpha = logits / rests;
        Ok(fitted)
    }

    /// Directions to leave out for embeddings of `dim` values of `images` images: half of the smaller
    /// number, at most 128. The paper's 1,000 of 2,048 need far more images than an inspection has.
    #[must_use]
    pub fn usual_principal(dim: usize, images: usize) -> usize {
        (dim.min(images) / 2).clamp(1, 128)
    }

    /// Length of the part of an embedding outside the principal directions.
    fn rest(&self, embedding: &[f32]) -> f64 {
        let mut rest = centred(embedding, &self.origin);
        for axis in self.axes.chunks_exact(self.origin.len()) {
            axpy(-dot(axis, &rest), axis, &mut rest);
        }
        let squares: f64 = rest.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        squares.sqrt()
    }
}

impl Scorer for Vim {
    fn dim(&self) -> usize {
        self.origin.len()
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (row, score) in rows.chunks_exact(self.dim()).zip(scores) {
            let evidence = log_sum_exp(&self.classifier.apply(row));
            *score = self.alpha * self.rest(row) - evidence;
        }
    }
}

/// The rows of `block` minus `origin`.
fn centred(block: &[f32], origin: &[f32]) -> Vec<f32> {
    let mut block = block.to_vec();
    for row in block.chunks_exact_mut(origin.len()) {
        for (v, o) in row.iter_mut().zip(origin) {
            *v -= o;
        }
    }
    block
}

/// `-W⁺ b`: the shortest embedding at which every logit is as near 0 as can be.
fn origin(classifier: &LinearClassifier) -> Vec<f32> {
    let (dim, classes) = (classifier.dim(), classifier.classes());
    let rows: Vec<&[f64]> = classifier.weights().chunks_exact(dim).collect();
    // W⁺ = Wᵀ (W Wᵀ)⁺, and W Wᵀ is small.
    let gram: Vec<f64> = rows
        .iter()
        .flat_map(|a| rows.iter().map(|b| dot64(a, b)))
        .collect();
    let (values, vectors) = symmetric_eigen(gram, classes);
    let mut origin = vec![0.0; dim];
    for (value, vector) in values.iter().zip(&vectors) {
        if *value <= RANK * RANK * values[0] {
            continue;
        }
        let along = dot64(vector, classifier.bias()) / value;
        for (weight, row) in vector.iter().zip(&rows) {
            for (o, w) in origin.iter_mut().zip(*row) {
                *o -= along * weight * w;
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "subtracted from f32")]
    origin.into_iter().map(|o| o as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    const DIM: usize = 12;

    fn classifier() -> LinearClassifier {
        LinearClassifier::new(&noise(3, DIM, 9), &[0.5, 0.1, -0.2], DIM).expect("fits")
    }

    fn fit(data: &[f32], principal: usize) -> Result<Vim, DriftError> {
        let view = EmbeddingView::new(data, DIM).expect("rows");
        Vim::fit(view, classifier(), principal, 1)
    }

    #[test]
    fn a_score_does_not_depend_on_company() {
        let fitted = fit(&noise(60, DIM, 1), 4).expect("a rest");
        check_scorer(&fitted, &noise(70, DIM, 2), 3);
    }

    #[test]
    fn at_the_origin_every_logit_is_zero() {
        let origin = origin(&classifier());
        let logits = classifier().logits(&origin).expect("same width");
        assert!(logits.iter().all(|l| l.abs() < 1e-5), "{logits:?}");
    }

    #[test]
    fn what_leaves_the_principal_directions_counts() {
        // Everything varies along the first four values only, but for a little noise.
        let mut data = noise(80, DIM, 4);
        for row in data.chunks_exact_mut(DIM) {
            row[4..]
                .iter_mut()
                .for_each(|v| *v = 1.0 + (*v - 1.0) * 1e-2);
        }
        let fitted = fit(&data, 5).expect("a rest");
        let usual = fitted.rest(&data[..DIM]);
        let mut odd = data[..DIM].to_vec();
        odd[10] += 1.0;
        assert!(fitted.rest(&odd) > 5.0 * usual);
    }

    #[test]
    fn wrong_input_is_refused() {
        let data = noise(5, DIM, 1);
        assert_eq!(fit(&data, 8), Err(DriftError::NoResidual { principal: 8 }));
        for principal in [0, DIM] {
            let refused = fit(&data, principal).expect_err("out of range").to_string();
            assert!(refused.contains("principal directions of ViM"), "{refused}");
        }
        let negative = LinearClassifier::new(&[-1.0; DIM], &[0.0], DIM).expect("fits");
        let view = EmbeddingView::new(&data, DIM).expect("rows");
        assert!(matches!(
            Vim::fit(view, negative, 2, 1),
            Err(DriftError::LogitsNotPositive { mean }) if mean < 0.0
        ));
        let narrow = LinearClassifier::new(&[1.0; 3], &[0.0], 3).expect("fits");
        assert!(matches!(
            Vim::fit(view, narrow, 2, 1),
            Err(DriftError::DimensionMismatch { .. })
        ));
        assert_eq!(Vim::usual_principal(2048, 300), 128);
        assert_eq!(Vim::usual_principal(10, 1), 1);
    }
}
