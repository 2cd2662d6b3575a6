//! Every feature on the same scale.

use serde::{Deserialize, Serialize};

use super::embedding::check_dim;
use super::{DriftError, EmbeddingView};

/// Subtracts the mean and divides by the standard deviation of each column (`ddof=0`; a constant column
/// is only centred): scikit-learn's `StandardScaler`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standardizer {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Standardizer {
    /// Fits on every row of `features`.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
    pub fn fit(features: EmbeddingView<'_>) -> Result<Self, DriftError> {
        features.check(1)?;
        let n = features.len() as f64;
        let mut mean = vec![0.0; features.dim()];
        for row in features.rows() {
            for (m, v) in mean.iter_mut().zip(row) {
                *m += f64::from(*v);
            }
        }
        for m in &mut mean {
            *m /= n;
        }
        let mut deviation = vec![0.0; features.dim()];
        for row in features.rows() {
            for ((d, v), m) in deviation.iter_mut().zip(row).zip(&mean) {
                *d += (f64::from(*v) - m).powi(2);
            }
        }
        for (d, m) in deviation.iter_mut().zip(&mean) {
            *d = (*d / n).sqrt();
            // The mean of equal values is off by rounding, and so is their deviation then.
            if *d <= 10.0 * f64::EPSILON * m.abs() {
                *d = 1.0;
            }
        }
        Ok(Self { mean, deviation })
    }

    /// Values of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Standardises one row.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn transform(&self, row: &[f32]) -> Result<Vec<f64>, DriftError> {
        check_dim(self.dim(), row.len())?;
        Ok(row
            .iter()
            .zip(&self.mean)
            .zip(&self.deviation)
            .map(|((v, m), d)| (f64::from(*v) - m) / d)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_column_becomes_zero() {
        let data = [0.1, 1.0, 0.1, 3.0, 0.1, 5.0_f32];
        let view = EmbeddingView::new(&data, 2).expect("rows");
        let s = Standardizer::fit(view).expect("rows");
        let row = s.transform(view.row(2)).expect("same width");
        assert!(row[0].abs() < 1e-15);
        assert!((row[1] - 1.5_f64.sqrt()).abs() < 1e-12);
        assert!(s.transform(&[1.0]).is_err());
    }
}
