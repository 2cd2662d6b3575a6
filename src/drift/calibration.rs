//! What a raw score means: how regular images score that the fit has not seen.

use serde::{Deserialize, Serialize};

use super::DriftError;

/// Makes the median absolute deviation of a normal distribution its standard deviation.
const NORMAL: f64 = 1.482_602_218_505_602;

/// The scores of regular images, each from a fit that has not seen it; maps raw scores to scales that all
/// scores share. It never looks at the images being judged, so the same image always gets the same number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// In order.
    regular: Vec<f64>,
    median: f64,
    spread: f64,
}

impl Calibration {
    /// From the out-of-fold scores of at least 2 regular images; see [`out_of_fold`](super::out_of_fold).
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`], [`DriftError::NonFinite`],
    /// [`DriftError::ConstantScore`].
    pub fn new(mut regular: Vec<f64>) -> Result<Self, DriftError> {
        match regular.len() {
            0 => return Err(DriftError::NoEmbeddings),
            1 => return Err(DriftError::TooFewImages { rows: 1, needed: 2 }),
            _ => {}
        }
        if let Some(row) = regular.iter().position(|s| !s.is_finite()) {
            return Err(DriftError::NonFinite { row });
        }
        regular.sort_by(f64::total_cmp);
        let median = median(&regular);
        let mut deviations: Vec<f64> = regular.iter().map(|s| (s - median).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        let absolute = self::median(&deviations);
        let spread = if absolute > 0.0 {
            NORMAL * absolute
        } else {
            // More than half of the scores are equal.
            let squares: f64 = deviations.iter().map(|d| d * d).sum();
            (squares / deviations.len() as f64).sqrt()
        };
        if spread == 0.0 {
            return Err(DriftError::ConstantScore {
                rows: regular.len(),
                score: median,
            });
        }
        Ok(Self {
            regular,
            median,
            spread,
        })
    }

    /// As [`new`](Self::new), but none where all scores are the same: such a score says nothing and is left out.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for [`DriftError::ConstantScore`].
    pub fn unless_constant(regular: Vec<f64>) -> Result<Option<Self>, DriftError> {
        match Self::new(regular) {
            Ok(calibration) => Ok(Some(calibration)),
            Err(DriftError::ConstantScore { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Number of regular images behind it.
    #[must_use]
    pub fn images(&self) -> usize {
        self.regular.len()
    }

    /// The middle of the scores of regular images.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.median
    }

    /// The place of a score among those of the `n` regular images, strictly between 0 and 1: the i-th
    /// smallest is at `i / (n + 1)` (Weibull's plotting positions), equals share the middle of their places,
    /// and between two the line is straight. Beyond the outermost, what is left shrinks with the distance:
    /// never falling as the score rises, and never all the way to 0 or 1 within what numbers can tell.
    #[must_use]
    pub fn quantile(&self, score: f64) -> f64 {
        let below = self.regular.partition_point(|r| *r < score);
        let up_to = self.regular.partition_point(|r| *r <= score);
        let n = self.regular.len();
        let place = if below < up_to {
            (below + 1 + up_to) as f64 / 2.0
        } else if below == 0 {
            1.0 / (1.0 + (self.regular[0] - score) / self.spread)
        } else if below == n {
            n as f64 + 1.0 - 1.0 / (1.0 + (score - self.regular[n - 1]) / self.spread)
        } else {
            let (lower, upper) = (self.regular[below - 1], self.regular[below]);
            below as f64 + (score - lower) / (upper - lower)
        };
        place / (n as f64 + 1.0)
    }

    /// How many spreads a score lies above the median of the regular images: `(s - median) / (1.4826 MAD)`
    /// (Rousseeuw & Croux, "Alternatives to the Median Absolute Deviation", 1993, equation 1.2). Where more
    /// than half of them are equal, their root mean square distance from the median stands in for the
    /// spread.
    #[must_use]
    pub fn robust_z(&self, score: f64) -> f64 {
        (score - self.median) / self.spread
    }

    /// How far out a score is to either side, in `[0, 1)`: 0 at the middle of the regular images, near 1
    /// where it is higher or *lower* than nearly all of them. Drift that looks more regular than regular
    /// images is found by this end only.
    #[must_use]
    pub fn two_sided(&self, score: f64) -> f64 {
        (2.0 * self.quantile(score) - 1.0).abs()
    }
}

/// The median of sorted values, of which there are some.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_weibulls() {
        let c = Calibration::new(vec![3.0, 1.0, 2.0, 2.0]).expect("varied");
        let close = |score: f64, expected: f64| {
            let found = c.quantile(score);
            assert!((found - expected).abs() < 1e-12, "{score}: {found}");
        };
        close(1.0, 0.2);
        close(1.5, 0.3);
        close(2.0, 0.5);
        close(2.5, 0.7);
        close(3.0, 0.8);
        // One spread beyond the last, half of what is left.
        close(3.0 + c.spread, 0.9);
        close(1.0 - c.spread, 0.1);
        assert_eq!(c.images(), 4);
        assert!(c.two_sided(-1e3) > 0.99 && c.two_sided(1e3) > 0.99);
        assert!(c.two_sided(2.0).abs() < 1e-12);
    }

    #[test]
    fn half_of_them_equal_is_no_obstacle_but_all_are() {
        let c = Calibration::new(vec![1.0, 1.0, 1.0, 3.0]).expect("varied");
        assert!((c.robust_z(2.0) - 1.0).abs() < 1e-12);
        let constant = Calibration::new(vec![0.5; 7]).expect_err("constant");
        assert!(
            constant
                .to_string()
                .starts_with("all 7 regular images have the same score, 0.5")
        );
        assert!(Calibration::new(vec![1.0]).is_err() && Calibration::new(Vec::new()).is_err());
        assert_eq!(
            Calibration::new(vec![1.0, f64::NAN]),
            Err(DriftError::NonFinite { row: 1 })
        );
    }

    proptest! {
        #[test]
        fn quantiles_never_fall(
            // Tenths, so that there are equals.
            regular in prop::collection::vec((-50_i32..50).prop_map(|v| f64::from(v) / 10.0), 2..40),
            mut scores in prop::collection::vec((-90_i32..90).prop_map(|v| f64::from(v) / 10.0), 2..40),
            extra in prop::collection::vec(-1e6..1e6_f64, 4),
        ) {
            let Ok(calibration) = Calibration::new(regular) else { return Ok(()) };
            scores.extend(extra);
            scores.sort_by(f64::total_cmp);
            let quantiles: Vec<f64> = scores.iter().map(|s| calibration.quantile(*s)).collect();
            prop_assert!(quantiles.is_sorted(), "{scores:?} {quantiles:?}");
            prop_assert!(quantiles.iter().all(|q| *q > 0.0 && *q < 1.0));
            let z: Vec<f64> = scores.iter().map(|s| calibration.robust_z(*s)).collect();
            prop_assert!(z.is_sorted());
        }
    }
}
