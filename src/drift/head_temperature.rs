//! How far the confidence of a drift head can be believed.

use serde::{Deserialize, Serialize};

/// The number that a head's log-odds of drift are divided by, so that its probabilities are as frequent as they say
/// (temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", 2017). Above 1 the head was too
/// sure. The order of images never changes, and one half stays one half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadTemperature(f64);

/// Labels of either kind that a temperature is fitted to, at least.
const LEAST: usize = 10;
/// Bounds of the inverse temperature: a few dozen labels tell no more.
const INVERSE: [f64; 2] = [0.2, 5.0];

impl Default for HeadTemperature {
    /// 1: the head as it is.
    fn default() -> Self {
        Self(1.0)
    }
}

impl HeadTemperature {
    /// The temperature in `[0.2, 5]` with the smallest mean negative log-likelihood over (probability, whether it
    /// is drift), each probability by a head that had not seen that label. Both kinds weigh the same, as they did
    /// when the head was fitted. None below ten of a kind, which say too little.
    ///
    /// The targets are Platt's ("Probabilistic outputs for support vector machines", 1999): `(n + 1) / (n + 2)` for
    /// n drift images and `1 / (n + 2)` for n regular ones, so that a handful without a mistake does not ask for
    /// certainty.
    #[must_use]
    pub fn fit(out_of_fold: &[(f64, bool)]) -> Option<Self> {
        let drift = out_of_fold.iter().filter(|(_, drift)| *drift).count();
        let regular = out_of_fold.len() - drift;
        if drift.min(regular) < LEAST {
            return None;
        }
        let of = |drift_image: bool| {
            if drift_image {
                (
                    (drift as f64 + 1.0) / (drift as f64 + 2.0),
                    1.0 / drift as f64,
                )
            } else {
                (1.0 / (regular as f64 + 2.0), 1.0 / regular as f64)
            }
        };
        // The likelihood is concave in the inverse temperature, so its slope has one root at most.
        let slope = |inverse: f64| -> f64 {
            let parts = out_of_fold.iter().map(|(p, drift)| {
                let (target, weight) = of(*drift);
                let odds = log_odds(p.clamp(1e-9, 1.0 - 1e-9));
                weight * odds * (sigmoid(inverse * odds) - target)
            });
            parts.sum()
        };
        let [mut lo, mut hi] = INVERSE;
        for _ in 0..60 {
            let middle = f64::midpoint(lo, hi);
            if slope(middle) > 0.0 {
                hi = middle;
            } else {
                lo = middle;
            }
        }
        let flat = slope(lo) == 0.0 && slope(INVERSE[0]) == 0.0;
        Some(if flat {
            Self::default()
        } else {
            Self(1.0 / f64::midpoint(lo, hi))
        })
    }

    /// The temperature.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }

    /// The probability of drift at this temperature.
    #[must_use]
    pub fn apply(self, p: f64) -> f64 {
        sigmoid(log_odds(p.clamp(0.0, 1.0)) / self.0)
    }
}

fn log_odds(p: f64) -> f64 {
    p.ln() - (1.0 - p).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Images whose probability is right, stated by a head that is `factor` times too sure.
    fn stated(factor: f64, n: usize) -> Vec<(f64, bool)> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        (0..n)
            .map(|_| {
                let odds: f64 = rng.random_range(-3.0..3.0);
                (sigmoid(factor * odds), rng.random_bool(sigmoid(odds)))
            })
            .collect()
    }

    fn loss(images: &[(f64, bool)], t: f64) -> f64 {
        let n = |kind: bool| images.iter().filter(|(_, d)| *d == kind).count() as f64;
        let (n_drift, n_regular) = (n(true), n(false));
        let parts = images.iter().map(|(p, drift)| {
            let q = HeadTemperature(t).apply(*p);
            let (target, weight) = if *drift {
                ((n_drift + 1.0) / (n_drift + 2.0), 1.0 / n_drift)
            } else {
                (1.0 / (n_regular + 2.0), 1.0 / n_regular)
            };
            -weight * (target * q.ln() + (1.0 - target) * (1.0 - q).ln())
        });
        parts.sum()
    }

    #[test]
    fn a_head_that_is_too_sure_is_cooled_down() {
        for factor in [0.5, 1.0, 3.0] {
            let t = HeadTemperature::fit(&stated(factor, 4000)).expect("enough");
            assert!((t.value() / factor - 1.0).abs() < 0.12, "{factor}: {t:?}");
        }
    }

    #[test]
    fn too_few_labels_and_no_mistakes_ask_for_no_certainty() {
        let few: Vec<(f64, bool)> = (0..100).map(|i| (0.3, i < 9)).collect();
        assert_eq!(HeadTemperature::fit(&few), None);
        let parted: Vec<(f64, bool)> = (0..40)
            .map(|i| (if i < 12 { 0.8 } else { 0.2 }, i < 12))
            .collect();
        let t = HeadTemperature::fit(&parted).expect("enough");
        // All are told apart, yet 12 of a kind prove no more than 13 in 14.
        assert!(t.apply(0.8) < 0.96, "{t:?} {}", t.apply(0.8));
        let none = vec![(0.5, true); 12];
        let all: Vec<(f64, bool)> = none.into_iter().chain(vec![(0.5, false); 12]).collect();
        assert_eq!(HeadTemperature::fit(&all), Some(HeadTemperature::default()));
    }

    proptest! {
        #[test]
        fn no_temperature_is_likelier(factor in 0.4..3.0_f64, t in 0.2..5.0_f64) {
            let images = stated(factor, 60);
            let fitted = HeadTemperature::fit(&images).expect("enough");
            prop_assert!(loss(&images, fitted.value()) <= loss(&images, t) + 1e-9);
        }

        #[test]
        fn the_order_stays(t in 0.2..5.0_f64, a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
            let t = HeadTemperature(t);
            prop_assert_eq!(t.apply(0.5), 0.5);
            prop_assert!(a > b || t.apply(a) <= t.apply(b));
            prop_assert!((0.0..=1.0).contains(&t.apply(a)));
        }
    }
}
