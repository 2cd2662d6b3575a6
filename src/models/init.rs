//! Starting weights, reproducible by seed whatever the version of libtorch.

use std::sync::LazyLock;

use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// Standard deviation of a standard normal cut off at two standard deviations.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// How a variable starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// Every value the same.
    Constant(f32),
    /// U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 16).
    Glorot,
    /// Normal with this standard deviation (after cutting), cut off at two of its own.
    TruncatedNormal(f64),
}

impl Start {
    /// Normal with variance 2 / fan_out, as He et al. (2015) and EfficientNet have it for convolutions,
    /// `fan_out` being output channels times the area of the kernel.
    pub(super) fn he_fan_out(channels: i64, area: i64) -> Self {
        Self::TruncatedNormal((2.0 / (channels * area) as f64).sqrt())
    }

    /// fp32 values on the CPU. `shape` is `[out, in]` or `[out, in, height, width]` for
    /// [`Start::Glorot`], anything for the others.
    pub(super) fn draw(self, shape: &[i64], rng: &mut ChaCha8Rng) -> Tensor {
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = match self {
            Self::Constant(value) => vec![value; count as usize],
            Self::Glorot => {
                let field: i64 = shape[2..].iter().product();
                let limit = (6.0 / ((shape[0] + shape[1]) * field) as f64).sqrt() as f32;
                (0..count)
                    .map(|_| rng.random_range(-limit..limit))
                    .collect()
            }
            Self::TruncatedNormal(std) => {
                let scale = (std / TRUNCATED_STD) as f32;
                let mut two = || {
                    let bits = rng.next_u32();
                    [bits & 0xffff, bits >> 16].map(|i| QUANTILES[i as usize] * scale)
                };
                let pairs = (0..count.div_euclid(2) + count % 2).flat_map(|_| two());
                pairs.take(count as usize).collect()
            }
        };
        Tensor::from_slice(&values).view(shape)
    }
}

/// Quantiles of the standard normal cut off at -2 and 2, in the middle of 65,536 slices of equal
/// probability: a draw is a look-up.
static QUANTILES: LazyLock<Vec<f32>> = LazyLock::new(|| {
    const SLICES: usize = 1 << 16;
    const STEPS: usize = SLICES * 4;
    let at = |step: usize| -2.0 + 4.0 * step as f64 / STEPS as f64;
    let density = |x: f64| (-x * x / 2.0).exp();
    let area = |step: usize| (density(at(step)) + density(at(step + 1))) / 2.0;
    let total: f64 = (0..STEPS).map(area).sum();
    let mut quantiles = Vec::with_capacity(SLICES);
    let mut below = 0.0;
    for step in 0..STEPS {
        let here = area(step) / total;
        loop {
            let wanted = (quantiles.len() as f64 + 0.5) / SLICES as f64;
            if quantiles.len() == SLICES || wanted > below + here {
                break;
            }
            quantiles.push((at(step) + 4.0 / STEPS as f64 * (wanted - below) / here) as f32);
        }
        below += here;
    }
    quantiles.resize(SLICES, 2.0);
    quantiles
});

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use tch::Kind;

    use super::*;

    #[test]
    fn draws_have_the_spread_that_is_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let normal = Start::TruncatedNormal(0.3).draw(&[401, 501], &mut rng);
        let std = normal.std(true).double_value(&[]);
        assert!((std - 0.3).abs() < 0.002, "{std}");
        assert!(normal.mean(Kind::Float).double_value(&[]).abs() < 0.003);
        let farthest = normal.abs().max().double_value(&[]);
        assert!(
            (farthest - 2.0 * 0.3 / TRUNCATED_STD).abs() < 0.001,
            "{farthest}"
        );
        // A fifth of a normal cut off at two lies beyond one and a quarter: (0.1056 - 0.0228) * 2 / 0.9545.
        let beyond = normal.abs().gt(1.25 * 0.3 / TRUNCATED_STD);
        let share = beyond.to_kind(Kind::Float).mean(Kind::Float);
        assert!((share.double_value(&[]) - 0.1736).abs() < 0.003);

        let glorot = Start::Glorot.draw(&[40, 20, 3, 3], &mut rng);
        let limit = (6.0_f64 / (60.0 * 9.0)).sqrt();
        let farthest = glorot.abs().max().double_value(&[]);
        assert!(
            farthest <= limit && farthest > 0.99 * limit,
            "{farthest} {limit}"
        );
    }
}
