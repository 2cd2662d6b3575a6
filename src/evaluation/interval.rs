//! How far a figure can be trusted: intervals.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure itself.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub lo: f64,
    /// Upper end of the 95 % interval.
    pub hi: f64,
    /// Standard deviation between repeats (`ddof=1`); 0 for a single repeat.
    pub sd: f64,
}

/// Quantile `q` in `[0, 1]` of sorted values, linear between neighbours (NumPy's default).
///
/// # Panics
/// For no values.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted
        .len()
        .checked_sub(1)
        .expect("a quantile needs values");
    let position = q * last as f64;
    let below = position.floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position within the slice"
    )]
    let index = below as usize;
    let next = (index + 1).min(last);
    sorted[index] + (position - below) * (sorted[next] - sorted[index])
}

/// The 2.5 % and 97.5 % quantiles of `values`, in any order.
///
/// # Panics
/// For no values.
pub(super) fn central_95(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [quantile(&values, 0.025), quantile(&values, 0.975)]
}

/// What a figure of drift against regular images rests on.
#[derive(Clone, Copy, Debug)]
pub(super) enum OfFigure {
    /// F1: the true alarms among all that are drift or alarms.
    F1,
    /// The drift images, as recall and precision do.
    Drift,
    /// The order of both kinds: average precision, ROC AUC.
    Ranking,
}

/// [`central_95`] of resampled `values`. Where all of them are the same, as with a handful of labels and no mistake, or
/// nothing else, the bootstrap would say that there is no doubt: then Wilson's interval, the figure taken for a
/// proportion of the `units` (drift, regular) that it rests on, of the rarer kind for a ranking; F1 by way of the
/// proportion that it stands for, as for [`GateFigures`](super::GateFigures).
///
/// # Panics
/// For no values.
pub(super) fn central_95_or_wilson(values: Vec<f64>, of: OfFigure, units: [usize; 2]) -> [f64; 2] {
    let [lo, hi] = central_95(values);
    if lo < hi {
        return [lo, hi];
    }
    let n = match of {
        OfFigure::F1 | OfFigure::Drift => units[0],
        OfFigure::Ranking => units[0].min(units[1]),
    };
    let is_f1 = matches!(of, OfFigure::F1);
    let share = if is_f1 { lo / (2.0 - lo) } else { lo };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of n"
    )]
    let ends = wilson_interval((share * n as f64).round() as u64, n as u64);
    let ends = ends.map(|end| if is_f1 { 2.0 * end / (1.0 + end) } else { end });
    // The figure itself is in it, to the last digit.
    [ends[0].min(lo), ends[1].max(hi)]
}

/// 95 % percentile bootstrap interval of a statistic over `n` images (Efron 1979): `statistic` is
/// called `resamples` times with `n` positions drawn with replacement from `0..n`. The same seed gives
/// the same interval on every machine.
///
/// `None` where `n` or `resamples` is 0.
pub fn bootstrap_interval(
    n: usize,
    resamples: usize,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Option<[f64; 2]> {
    if n == 0 || resamples == 0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = vec![0; n];
    let values = (0..resamples)
        .map(|_| {
            drawn.fill_with(|| rng.random_range(0..n));
            statistic(&drawn)
        })
        .collect();
    Some(central_95(values))
}

/// 95 % score interval of a proportion (Wilson 1927): it stays inside `[0, 1]` and is sensible for
/// the handful of images that a rare class has. `[0, 1]` for no trials.
#[must_use]
pub fn wilson_interval(successes: u64, trials: u64) -> [f64; 2] {
    /// The 97.5 % quantile of the standard normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return [0.0, 1.0];
    }
    let n = trials as f64;
    let p = successes.min(trials) as f64 / n;
    let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bootstrap_repeats_itself_and_covers_the_mean() {
        let values: Vec<f64> = (0..200).map(f64::from).collect();
        let mean = |drawn: &[usize]| drawn.iter().map(|i| values[*i]).sum::<f64>() / 200.0;
        let a = bootstrap_interval(200, 2000, 7, mean).expect("values");
        assert_eq!(a, bootstrap_interval(200, 2000, 7, mean).expect("values"));
        assert_ne!(a, bootstrap_interval(200, 2000, 8, mean).expect("values"));
        // sd of the mean is 57.7 / sqrt(200) = 4.08, so the interval is 99.5 +- 8.
        assert!(
            (a[0] - 91.5).abs() < 1.0 && (a[1] - 107.5).abs() < 1.0,
            "{a:?}"
        );
        assert_eq!(bootstrap_interval(0, 10, 1, mean), None);
    }

    proptest! {
        #[test]
        fn wilson_covers_the_proportion(trials in 1_u64..1000, share in 0.0..1.0_f64) {
            let successes = (share * trials as f64) as u64;
            let [lo, hi] = wilson_interval(successes, trials);
            let p = successes as f64 / trials as f64;
            prop_assert!(0.0 <= lo && lo <= p + 1e-12 && p <= hi + 1e-12 && hi <= 1.0);
        }
    }
}
