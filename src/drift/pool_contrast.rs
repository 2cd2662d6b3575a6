//! The direction in which incoming images differ from regular ones.

use serde::{Deserialize, Serialize};

use super::folds::{Folds, out_of_fold};
use super::linalg::dot64;
use super::{DriftError, EmbeddingView, LogisticOptions, LogisticRegression, Scorer, Standardizer};

/// Folds behind [`PoolContrast::pool_scores`].
const FOLDS: usize = 5;

/// Log-odds of being an incoming image rather than a regular training image, by a strongly penalised
/// logistic regression (the classifier two-sample test of Lopez-Paz & Oquab, "Revisiting Classifier
/// Two-Sample Tests", ICLR 2017). Most incoming images are regular, so the classifier can only learn from
/// those that are not. Any sign; higher is more like drift.
///
/// Like [`PoolDensity`](super::PoolDensity) it finds what is new wherever it lies, and is relative to the
/// incoming images it was fitted on: it serves to choose what to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolContrast {
    standardizer: Standardizer,
    logistic: LogisticRegression,
}

impl PoolContrast {
    /// The usual inverse strength of the penalty: weak evidence of a few images among many counts little.
    pub const C: f64 = 0.01;

    /// Fits on the projected features of regular training images and of incoming ones, the pool; `c` as in
    /// [`LogisticOptions`].
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`], [`DriftError::DimensionMismatch`],
    /// [`DriftError::BadRegularisation`].
    pub fn fit(
        regular: EmbeddingView<'_>,
        pool: EmbeddingView<'_>,
        c: f64,
    ) -> Result<Self, DriftError> {
        regular.check(1)?;
        pool.check(1)?;
        pool.check_dim(regular.dim())?;
        let dim = regular.dim();
        let both = [regular.data(), pool.data()].concat();
        let both = EmbeddingView::new(&both, dim)?;
        let standardizer = Standardizer::fit(both)?;
        let mut rows = Vec::with_capacity(both.data().len());
        for row in both.rows() {
            rows.extend(standardizer.transform(row)?);
        }
        let incoming: Vec<bool> = (0..both.len()).map(|row| row >= regular.len()).collect();
        let options = LogisticOptions { c, balanced: true };
        Ok(Self {
            logistic: LogisticRegression::fit(&rows, dim, &incoming, &options)?,
            standardizer,
        })
    }

    /// The score of every image of the pool, in order, each from a fit that has not seen it: on its own
    /// images a fit would find differences that are chance.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and [`DriftError::TooFewImages`] for a pool of one.
    pub fn pool_scores(
        regular: EmbeddingView<'_>,
        pool: EmbeddingView<'_>,
        c: f64,
        seed: u64,
    ) -> Result<Vec<f64>, DriftError> {
        pool.check(2)?;
        let folds = Folds::of_images(pool.len(), FOLDS, seed)?;
        let some = |rows: &[usize]| pool.gather(rows);
        out_of_fold(
            &folds,
            |rows| Self::fit(regular, EmbeddingView::new(&some(rows), pool.dim())?, c),
            |fitted, rows| fitted.score_all(EmbeddingView::new(&some(rows), pool.dim())?),
        )
    }
}

impl Scorer for PoolContrast {
    fn dim(&self) -> usize {
        self.standardizer.dim()
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        for (row, score) in rows.chunks_exact(self.dim()).zip(scores) {
            // The width has been checked.
            let row = self.standardizer.transform(row).unwrap_or_default();
            *score = dot64(&row, &self.logistic.coefficients) + self.logistic.intercept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::{check_scorer, noise};

    const DIM: usize = 8;

    fn view(data: &[f32]) -> EmbeddingView<'_> {
        EmbeddingView::new(data, DIM).expect("rows")
    }

    #[test]
    fn what_is_new_is_found_without_labels() {
        let regular = noise(300, DIM, 1);
        let mut pool = noise(200, DIM, 2);
        // Every tenth is drift: a little more of the last value than is usual.
        for row in pool.chunks_exact_mut(DIM).step_by(10) {
            row[DIM - 1] += 0.3;
        }
        let scores = PoolContrast::pool_scores(view(&regular), view(&pool), PoolContrast::C, 1)
            .expect("rows");
        let mut order: Vec<usize> = (0..200).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let found = order[..20].iter().filter(|row| **row % 10 == 0).count();
        assert!(found >= 16, "{found}");
        let fitted = PoolContrast::fit(view(&regular), view(&pool), PoolContrast::C).expect("rows");
        check_scorer(&fitted, &pool, 3);
    }

    #[test]
    fn wrong_input_is_refused() {
        let data = noise(3, DIM, 1);
        let some = view(&data);
        let none = view(&[]);
        assert_eq!(
            PoolContrast::fit(some, none, 1.0),
            Err(DriftError::NoEmbeddings)
        );
        assert!(matches!(
            PoolContrast::fit(some, some, 0.0),
            Err(DriftError::BadRegularisation { .. })
        ));
        let one = view(&data[..DIM]);
        assert!(matches!(
            PoolContrast::pool_scores(some, one, 1.0, 1),
            Err(DriftError::TooFewImages { .. })
        ));
    }
}
