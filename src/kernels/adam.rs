//! Adam (Kingma & Ba 2015), as libtorch computes it.

use pulp::{Simd, WithSimd};

use crate::{arch, threads::share};

/// Values in one part: 256 KiB of each of the four arrays.
const PART: usize = 1 << 16;

/// One update: the settings and how far the bias corrections have come.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate over 1 - beta1^t.
    pub rate: f32,
    /// Share of the old mean in the new one.
    pub beta1: f32,
    /// Share of the gradient in it. Not taken from `beta1`: what rounding took from 0.999 shows in 0.001.
    pub rest1: f32,
    /// The same two for the mean of squares.
    pub beta2: f32,
    /// See `rest1`.
    pub rest2: f32,
    /// 1 over the square root of 1 - beta2^t.
    pub correction: f32,
    /// Keeps the denominator from zero.
    pub epsilon: f32,
}

impl Adam {
    /// Update number `step`, counted from 1, at `learning_rate`, with beta1 0.9, beta2 0.999 and
    /// epsilon 1e-8.
    #[must_use]
    pub fn new(learning_rate: f64, step: i32) -> Self {
        let (beta1, beta2) = (0.9_f64, 0.999_f64);
        Self {
            rate: (learning_rate / (1.0 - beta1.powi(step))) as f32,
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            correction: (1.0 / (1.0 - beta2.powi(step)).sqrt()) as f32,
            epsilon: 1e-8,
        }
    }

    // No closure: it would not be compiled for the processor at hand.
    #[inline(always)]
    fn update<S: Simd>(
        &self,
        simd: S,
        g: S::f32s,
        w: S::f32s,
        m: S::f32s,
        v: S::f32s,
    ) -> (S::f32s, S::f32s, S::f32s) {
        let rest1 = simd.splat_f32s(self.rest1);
        let rest2 = simd.splat_f32s(self.rest2);
        let m = simd.mul_f32s(simd.splat_f32s(self.beta1), m);
        let m = simd.mul_add_e_f32s(rest1, g, m);
        let v = simd.mul_f32s(simd.splat_f32s(self.beta2), v);
        let v = simd.mul_add_e_f32s(simd.mul_f32s(rest2, g), g, v);
        let below = simd.mul_add_e_f32s(
            simd.sqrt_f32s(v),
            simd.splat_f32s(self.correction),
            simd.splat_f32s(self.epsilon),
        );
        let w = simd.mul_add_e_f32s(simd.splat_f32s(-self.rate), simd.div_f32s(m, below), w);
        (w, m, v)
    }

    /// Updates a stretch of `weights` and their moments in place:
    /// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
    /// w -= rate m / (sqrt(v) correction + epsilon).
    #[inline(always)]
    pub(crate) fn stretch<S: Simd>(
        &self,
        simd: S,
        gradient: &[f32],
        weights: &mut [f32],
        mean: &mut [f32],
        variance: &mut [f32],
    ) {
        let n = gradient.len();
        let (weights, mean, variance) = (&mut weights[..n], &mut mean[..n], &mut variance[..n]);
        let (g, g_rest) = S::as_simd_f32s(gradient);
        let (w, w_rest) = S::as_mut_simd_f32s(weights);
        let (m, m_rest) = S::as_mut_simd_f32s(mean);
        let (v, v_rest) = S::as_mut_simd_f32s(variance);
        for (((g, w), m), v) in g.iter().zip(w).zip(m).zip(v) {
            (*w, *m, *v) = self.update(simd, *g, *w, *m, *v);
        }
        if !g_rest.is_empty() {
            let (w, m, v) = self.update(
                simd,
                simd.partial_load_f32s(g_rest),
                simd.partial_load_f32s(w_rest),
                simd.partial_load_f32s(m_rest),
                simd.partial_load_f32s(v_rest),
            );
            simd.partial_store_f32s(w_rest, w);
            simd.partial_store_f32s(m_rest, m);
            simd.partial_store_f32s(v_rest, v);
        }
    }
}

struct Stretch<'a> {
    adam: &'a Adam,
    gradient: &'a [f32],
    weights: &'a mut [f32],
    mean: &'a mut [f32],
    variance: &'a mut [f32],
}

impl WithSimd for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.adam
            .stretch(simd, self.gradient, self.weights, self.mean, self.variance);
    }
}

/// Updates `weights` and their moments in place.
///
/// # Panics
/// When the slices differ in length.
pub fn adam(
    step: &Adam,
    gradient: &[f32],
    weights: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
    threads: usize,
) {
    let n = gradient.len();
    assert!(
        [weights.len(), mean.len(), variance.len()] == [n; 3],
        "a gradient and two moments for each weight"
    );
    let arch = arch();
    let parts = gradient
        .chunks(PART)
        .zip(weights.chunks_mut(PART))
        .zip(mean.chunks_mut(PART).zip(variance.chunks_mut(PART)));
    share(threads.min(n.div_ceil(PART)), parts, || {
        |((gradient, weights), (mean, variance))| {
            arch.dispatch(Stretch {
                adam: step,
                gradient,
                weights,
                mean,
                variance,
            });
        }
    });
}
