//! Weighted sums of the products of rows with themselves: what the curvature of a logistic regression is made of.

use pulp::{Simd, WithSimd};

use crate::arch;

/// Rows that are added up together: the sums are too many to stay where they are quickly read.
const AT_ONCE: usize = 8;

/// Adds `Σ weights[r] · rows[r] rows[r]ᵀ` to `out`: rows `[n, width]`, weights `[n]`, out `[width, width]`, row by row, of
/// which the lower triangle alone is touched. On this thread only.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn add_gram(rows: &[f64], weights: &[f64], width: usize, out: &mut [f64]) {
    assert!(width > 0, "rows hold something");
    assert_eq!(rows.len(), weights.len() * width, "a weight for each row");
    assert_eq!(out.len(), width * width, "a sum for each pair of columns");
    arch().dispatch(Gram {
        rows,
        weights,
        width,
        out,
    });
}

struct Gram<'a> {
    rows: &'a [f64],
    weights: &'a [f64],
    width: usize,
    out: &'a mut [f64],
}

impl WithSimd for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            rows,
            weights,
            width,
            out,
        } = self;
        let blocks = rows.chunks_exact(AT_ONCE * width);
        let weights_of = weights.chunks_exact(AT_ONCE);
        let (rest, rest_weights) = (blocks.remainder(), weights_of.remainder());
        for (block, weights) in blocks.zip(weights_of) {
            let rows: [&[f64]; AT_ONCE] = std::array::from_fn(|r| &block[r * width..][..width]);
            for (i, line) in out.chunks_exact_mut(width).enumerate() {
                let by: [f64; AT_ONCE] = std::array::from_fn(|r| weights[r] * rows[r][i]);
                let [a, b, c, d, e, f, g, h] = rows.map(|row| &row[..=i]);
                let line = &mut line[..=i];
                for j in 0..line.len() {
                    let first = by[0] * a[j] + by[1] * b[j] + (by[2] * c[j] + by[3] * d[j]);
                    let second = by[4] * e[j] + by[5] * f[j] + (by[6] * g[j] + by[7] * h[j]);
                    line[j] += first + second;
                }
            }
        }
        for (row, weight) in rest.chunks_exact(width).zip(rest_weights) {
            for (i, line) in out.chunks_exact_mut(width).enumerate() {
                let by = weight * row[i];
                for (sum, x) in line[..=i].iter_mut().zip(row) {
                    *sum += by * x;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise};

    #[test]
    fn sums_are_those_of_the_definition() {
        // Whole blocks and less, one column and many.
        for (n, width) in [(19, 7), (8, 1), (3, 5), (64, 33), (0, 4)] {
            let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
            let (rows, weights) = (wide(noise(n * width, 1)), wide(noise(n, 2)));
            everywhere(|| {
                let mut out = vec![0.5; width * width];
                add_gram(&rows, &weights, width, &mut out);
                for i in 0..width {
                    for j in 0..width {
                        let pairs = rows.chunks_exact(width).zip(&weights);
                        let sum: f64 = pairs.map(|(row, w)| w * row[i] * row[j]).sum();
                        // What is above the diagonal is left as it was.
                        let expected = if j > i { 0.5 } else { 0.5 + sum };
                        let found = out[i * width + j];
                        assert!((found - expected).abs() < 1e-12, "{n} {width} {i} {j}");
                    }
                }
            });
        }
    }
}
