//! Starting weights, reproducible by seed whatever the version of libtorch.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Tensor, nn};

use super::cnn::Layer;

/// Draws starting weights one layer after another.
pub struct Initializer {
    rng: ChaCha8Rng,
}

impl Initializer {
    /// The same seed gives the same weights.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Registers `weight` and `bias` under `path`: the weight Glorot uniform, U(-a, a) with
    /// a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 16), the bias 0.
    /// `shape` is `[out, in]` or `[out, in, height, width]`.
    pub(super) fn layer(&mut self, path: &nn::Path<'_>, shape: &[i64]) -> Layer {
        let field: i64 = shape[2..].iter().product();
        let limit = (6.0 / ((shape[0] + shape[1]) * field) as f64).sqrt() as f32;
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-limit..limit))
            .collect();
        Layer {
            weight: path.var_copy("weight", &Tensor::from_slice(&values).view(shape)),
            bias: path.zeros("bias", &shape[..1]),
        }
    }
}
