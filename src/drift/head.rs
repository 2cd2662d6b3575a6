//! The part that learns from labels.

use serde::{Deserialize, Serialize};

use super::{DriftError, EmbeddingView, LogisticOptions, LogisticRegression, Standardizer};

/// How to fit a head.
pub type HeadOptions = LogisticOptions;

/// Drift or regular, from projected features: standardisation followed by logistic regression. Fitting
/// takes milliseconds, so it is done anew after every label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftHead {
    standardizer: Standardizer,
    logistic: LogisticRegression,
    /// Drift images it was fitted on.
    pub n_drift: usize,
    /// Regular images it was fitted on.
    pub n_regular: usize,
}

impl DriftHead {
    /// Fits on projected `features` (one row per image). `labels` has one entry per row: `Some(true)` for
    /// drift, `Some(false)` for regular, `None` where nobody has looked. Unlabelled rows still set the
    /// scale of the features, so it does not jump while the first labels come in.
    ///
    /// # Errors
    /// [`DriftError::LengthMismatch`], [`DriftError::NoLabels`], [`DriftError::NoDriftLabelled`],
    /// [`DriftError::NoRegularLabelled`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`],
    /// [`DriftError::BadRegularisation`].
    pub fn fit_projected(
        features: EmbeddingView<'_>,
        labels: &[Option<bool>],
        options: &HeadOptions,
    ) -> Result<Self, DriftError> {
        if labels.len() != features.len() {
            return Err(DriftError::LengthMismatch {
                rows: features.len(),
                labels: labels.len(),
            });
        }
        let standardizer = Standardizer::fit(features)?;
        let mut rows = Vec::new();
        let mut positive = Vec::new();
        for (row, label) in features.rows().zip(labels) {
            if let Some(drift) = label {
                rows.extend(standardizer.transform(row)?);
                positive.push(*drift);
            }
        }
        let logistic = LogisticRegression::fit(&rows, features.dim(), &positive, options)?;
        let n_drift = positive.iter().filter(|p| **p).count();
        Ok(Self {
            standardizer,
            logistic,
            n_drift,
            n_regular: positive.len() - n_drift,
        })
    }

    /// Values of a projected row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.standardizer.dim()
    }

    /// Probability of drift of one projected row, in `[0, 1]`.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn predict_proba(&self, features: &[f32]) -> Result<f64, DriftError> {
        self.logistic
            .predict_proba(&self.standardizer.transform(features)?)
    }

    /// Probability of drift of every projected row, in order. A row does not depend on the others.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn predict_proba_all(&self, features: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        features.check_dim(self.dim())?;
        features.check(1)?;
        features.rows().map(|row| self.predict_proba(row)).collect()
    }
}

/// Scores rows by a head fitted without their labels: what `evaluation::cross_validate` asks for.
///
/// `labels` may hold more than is cross-validated, such as images known to be regular from elsewhere:
/// these are fitted on every time. The projection and the scale of the features have seen the held-out
/// rows, but not their labels.
pub fn held_out_scorer<'a>(
    features: EmbeddingView<'a>,
    labels: &'a [Option<bool>],
    options: &'a HeadOptions,
) -> impl Fn(&[usize]) -> Result<Vec<f64>, DriftError> + Sync + 'a {
    move |held_out| {
        let mut labels = labels.to_vec();
        for row in held_out {
            labels[*row] = None;
        }
        let head = DriftHead::fit_projected(features, &labels, options)?;
        held_out
            .iter()
            .map(|row| head.predict_proba(features.row(*row)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DIM: usize = 24;

    /// Every fifth row is drift: shifted along one direction.
    fn images(n: usize) -> (Vec<f32>, Vec<Option<bool>>) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut data = Vec::new();
        let mut labels = Vec::new();
        for i in 0..n {
            let drift = i % 5 == 0;
            data.extend((0..DIM).map(|j| {
                let shift = if drift && j == 3 { 2.0 } else { 0.0 };
                1.0 + shift + rng.random_range(-1.0_f32..1.0)
            }));
            labels.push((i % 3 == 0).then_some(drift));
        }
        (data, labels)
    }

    #[test]
    fn unlabelled_drift_is_found_and_the_head_survives_saving() {
        let (data, labels) = images(300);
        let view = EmbeddingView::new(&data, DIM).expect("rows");
        let head = DriftHead::fit_projected(view, &labels, &HeadOptions::default()).expect("both");
        assert_eq!((head.n_drift, head.n_regular), (20, 80));
        let p = head.predict_proba_all(view).expect("same model");
        let right = (0..300).filter(|i| (p[*i] >= 0.5) == (i % 5 == 0)).count();
        assert!(right > 270, "{right}");
        let json = serde_json::to_string(&head).expect("plain numbers");
        let back: DriftHead = serde_json::from_str(&json).expect("own format");
        for (again, p) in back.predict_proba_all(view).expect("same").iter().zip(&p) {
            assert!((again - p).abs() < 1e-12);
        }
    }

    #[test]
    fn a_score_does_not_depend_on_the_other_rows() {
        let (data, labels) = images(60);
        let view = EmbeddingView::new(&data, DIM).expect("rows");
        let head = DriftHead::fit_projected(view, &labels, &HeadOptions::default()).expect("both");
        let all = head.predict_proba_all(view).expect("same model");
        let reversed: Vec<f32> = view.rows().rev().flatten().copied().collect();
        let reversed = EmbeddingView::new(&reversed, DIM).expect("rows");
        let mut backwards = head.predict_proba_all(reversed).expect("same model");
        backwards.reverse();
        assert_eq!(all, backwards);
        assert!(all.iter().all(|p| (0.0..=1.0).contains(p)));
    }

    #[test]
    fn a_held_out_label_has_no_influence() {
        let (data, mut labels) = images(60);
        let view = EmbeddingView::new(&data, DIM).expect("rows");
        let options = HeadOptions::default();
        let before = held_out_scorer(view, &labels, &options)(&[0, 3]).expect("both kinds");
        labels[0] = Some(false);
        labels[3] = Some(true);
        let after = held_out_scorer(view, &labels, &options)(&[0, 3]).expect("both kinds");
        assert_eq!(before, after);
    }

    #[test]
    fn wrong_input_is_refused() {
        let (data, labels) = images(10);
        let view = EmbeddingView::new(&data, DIM).expect("rows");
        let options = HeadOptions::default();
        let fit = |labels: &[Option<bool>]| DriftHead::fit_projected(view, labels, &options);
        assert!(matches!(
            fit(&labels[1..]),
            Err(DriftError::LengthMismatch { .. })
        ));
        assert_eq!(fit(&[None; 10]), Err(DriftError::NoLabels));
        let head = fit(&labels).expect("both kinds");
        assert!(
            head.predict_proba(&[0.0; 3])
                .is_err_and(|e| e.to_string().contains("another model"))
        );
    }
}
