//! How far an image lies from the regular classes, before anybody has labelled drift.

use serde::{Deserialize, Serialize};

use super::covariance::{ClassMeans, whole};
use super::linalg::{Cholesky, normalised};
use super::{DriftError, EmbeddingView, Scorer};
use crate::domain::ClassId;

/// Squared Mahalanobis distance to the nearest regular class,
/// `min_c (z - μ_c)ᵀ Σ⁻¹ (z - μ_c)` (Lee et al., "A Simple Unified Framework for Detecting
/// Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018, equation 2).
///
/// With L2-normalised `z` it is "Mahalanobis++" (Müller & Hein, "Mahalanobis++: Improving OOD Detection via
/// Feature Normalization", ICML 2025): [`fit_normalised`](Self::fit_normalised) does that to embeddings,
/// while a [`Projection`](super::Projection) has done it already. The classes share one covariance, pooled
/// within classes and shrunk towards a sphere as Ledoit & Wolf (2004) do, so that few images suffice, even
/// fewer than there are values. Scores are 0 or more, higher is more anomalous, without unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mahalanobis {
    dim: usize,
    normalise: bool,
    within: Cholesky,
    /// Class means, whitened by `within`, one after the other.
    whitened_means: Vec<f64>,
}

impl Mahalanobis {
    /// Fits on the `features` of regular training images as they are, at least 2, with the class of each.
    /// Where no class is known give every image the same one. A class with a single image has a mean, and
    /// adds nothing to the covariance.
    ///
    /// # Errors
    /// [`DriftError::LengthMismatch`], [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`],
    /// [`DriftError::NonFinite`], [`DriftError::NoVariation`], [`DriftError::NoSpreadWithinClasses`].
    pub fn fit(features: EmbeddingView<'_>, classes: &[ClassId]) -> Result<Self, DriftError> {
        features.check(2)?;
        let means = ClassMeans::new(features, classes)?;
        let within = means.within(features, classes)?;
        let present = means.present().flat_map(|(_, mean)| mean);
        let mut whitened_means: Vec<f64> = present.copied().collect();
        within.solve_lower(&mut whitened_means);
        Ok(Self {
            dim: features.dim(),
            normalise: false,
            within,
            whitened_means,
        })
    }

    /// Mahalanobis++: fits on L2-normalised `embeddings`, and normalises what it scores.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_normalised(
        embeddings: EmbeddingView<'_>,
        classes: &[ClassId],
    ) -> Result<Self, DriftError> {
        embeddings.check(2)?;
        let (rows, dim) = (
            normalised(embeddings.data(), embeddings.dim()),
            embeddings.dim(),
        );
        let fitted = Self::fit(EmbeddingView::new(&rows, dim)?, classes)?;
        Ok(Self {
            normalise: true,
            ..fitted
        })
    }

    /// What distances are measured between.
    fn prepared(&self, rows: &[f32]) -> Vec<f64> {
        let double = |rows: &[f32]| rows.iter().map(|v| f64::from(*v)).collect();
        if self.normalise {
            double(&normalised(rows, self.dim))
        } else {
            double(rows)
        }
    }

    /// The scores of rows that are [`prepared`](Self::prepared).
    fn nearest(&self, mut rows: Vec<f64>, scores: &mut [f64]) {
        self.within.solve_lower(&mut rows);
        for (row, score) in rows.chunks_exact(self.dim).zip(scores) {
            let means = self.whitened_means.chunks_exact(self.dim);
            *score = means
                .map(|mean| squared_distance(row, mean))
                .fold(f64::INFINITY, f64::min);
        }
    }
}

impl Scorer for Mahalanobis {
    fn dim(&self) -> usize {
        self.dim
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        self.nearest(self.prepared(rows), scores);
    }
}

/// [`Mahalanobis`] minus the squared distance to all regular images taken as one class,
/// `min_c MD_c(z) - MD_0(z)` (Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
/// Detection", 2021, equation 3): what all images have in common no longer counts. Any sign; higher is more
/// anomalous. On L2-normalised features, relative Mahalanobis++.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelativeMahalanobis {
    nearest: Mahalanobis,
    mean: Vec<f64>,
    whole: Cholesky,
}

impl RelativeMahalanobis {
    /// Fits on `features` as they are; see [`Mahalanobis::fit`]. With one class only, every score is 0 but
    /// for rounding.
    ///
    /// # Errors
    /// As [`Mahalanobis::fit`].
    pub fn fit(features: EmbeddingView<'_>, classes: &[ClassId]) -> Result<Self, DriftError> {
        let nearest = Mahalanobis::fit(features, classes)?;
        let (mean, whole) = whole(features)?;
        Ok(Self {
            nearest,
            mean,
            whole,
        })
    }

    /// Relative Mahalanobis++: fits on L2-normalised `embeddings`, and normalises what it scores.
    ///
    /// # Errors
    /// As [`Mahalanobis::fit`].
    pub fn fit_normalised(
        embeddings: EmbeddingView<'_>,
        classes: &[ClassId],
    ) -> Result<Self, DriftError> {
        embeddings.check(2)?;
        let (rows, dim) = (
            normalised(embeddings.data(), embeddings.dim()),
            embeddings.dim(),
        );
        let mut fitted = Self::fit(EmbeddingView::new(&rows, dim)?, classes)?;
        fitted.nearest.normalise = true;
        Ok(fitted)
    }

    /// The distance to the nearest class, which is part of this score.
    #[must_use]
    pub fn nearest(&self) -> &Mahalanobis {
        &self.nearest
    }
}

impl Scorer for RelativeMahalanobis {
    fn dim(&self) -> usize {
        self.nearest.dim
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        let prepared = self.nearest.prepared(rows);
        let mut centred = prepared.clone();
        for row in centred.chunks_exact_mut(self.mean.len()) {
            for (v, m) in row.iter_mut().zip(&self.mean) {
                *v -= m;
            }
        }
        self.whole.solve_lower(&mut centred);
        self.nearest.nearest(prepared, scores);
        for (score, row) in scores.iter_mut().zip(centred.chunks_exact(self.mean.len())) {
            *score -= row.iter().map(|v| v * v).sum::<f64>();
        }
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    fn view(data: &[f32], dim: usize) -> EmbeddingView<'_> {
        EmbeddingView::new(data, dim).expect("rows")
    }

    #[test]
    fn wrong_input_is_refused() {
        let data = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0_f32];
        let classes = [ClassId(0); 3];
        let same = view(&data, 2);
        assert_eq!(
            Mahalanobis::fit(same, &classes),
            Err(DriftError::NoVariation)
        );
        assert!(matches!(
            Mahalanobis::fit(same, &classes[1..]),
            Err(DriftError::LengthMismatch { .. })
        ));
        assert!(matches!(
            Mahalanobis::fit(view(&data[..2], 2), &classes[..1]),
            Err(DriftError::TooFewImages { .. })
        ));
        let broken = [1.0, 2.0, f32::INFINITY, 2.0];
        assert_eq!(
            RelativeMahalanobis::fit_normalised(view(&broken, 2), &classes[..2]),
            Err(DriftError::NonFinite { row: 1 })
        );
    }

    #[test]
    fn length_does_not_make_a_direction_vary() {
        let data = [0.3, 0.7, 0.6, 1.4, 30.0, 70.0_f32];
        let fitted = Mahalanobis::fit_normalised(view(&data, 2), &[ClassId(0); 3]);
        assert_eq!(fitted, Err(DriftError::NoVariation));
    }

    #[test]
    fn a_class_may_have_one_image_but_not_every_class() {
        let data = noise(5, 3, 1);
        let classes = [0, 0, 0, 1, 2].map(ClassId);
        let fitted = Mahalanobis::fit(view(&data, 3), &classes).expect("one class varies");
        assert!(fitted.score(&data[12..]).expect("same width") < 1e-9);
        let classes = [0, 1, 2, 3, 4].map(ClassId);
        assert_eq!(
            Mahalanobis::fit(view(&data, 3), &classes),
            Err(DriftError::NoSpreadWithinClasses { classes: 5 })
        );
    }

    #[test]
    fn more_values_than_images_and_repeated_images_can_be_fitted() {
        let mut data = noise(6, 40, 2);
        data.extend_from_within(..80);
        let classes: Vec<ClassId> = (0..8).map(|i| ClassId(i % 2)).collect();
        let fitted = RelativeMahalanobis::fit_normalised(view(&data, 40), &classes).expect("vary");
        check_scorer(&fitted, &noise(70, 40, 3), 4);
        check_scorer(fitted.nearest(), &noise(70, 40, 3), 4);
    }

    #[test]
    fn normalised_scores_ignore_length() {
        let data = noise(30, 6, 5);
        let classes = [ClassId(0); 30];
        let fitted = Mahalanobis::fit_normalised(view(&data, 6), &classes).expect("vary");
        let longer: Vec<f32> = data[..6].iter().map(|v| v * 4.0).collect();
        assert_eq!(fitted.score(&longer), fitted.score(&data[..6]));
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
            let fitted = RelativeMahalanobis::fit(view(&data, 4), &classes).expect("varied");
            check_scorer(&fitted, &data, 7);
            let scores = fitted.nearest().score_all(view(&data, 4)).expect("same model");
            let nowhere = [-60.0, 60.0, -60.0, 60.0];
            let far = fitted.nearest().score(&nowhere).expect("same model");
            prop_assert!(scores.iter().all(|s| *s >= 0.0 && *s < far));
        }
    }
}
