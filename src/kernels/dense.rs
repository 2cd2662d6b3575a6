//! A dense layer with a huge input. Its cost is memory traffic: the backward pass goes through the weights
//! once, block by block, and while a block is in the cache takes its gradient, the gradient of its inputs
//! and its Adam update. The gradient of the weights never goes to memory.

use pulp::{Simd, WithSimd};

use crate::{adam::Adam, arch, threads::share};

/// Inputs in one part, the unit of work of a thread and of the order of summation.
const PART: usize = 8192;
/// Inputs in one block of the forward pass: with 32 images, their values fill two thirds of a 48 KiB L1 cache.
const FORWARD_BLOCK: usize = 256;
/// Weights in one block of the backward pass: 128 KiB, beside as much for their gradient, in the L2 cache.
const BACKWARD_BLOCK: usize = 1 << 15;
/// Side of the tile of dot products, and rows in a tile of the backward pass, kept in registers.
const TILE: usize = 4;

/// Shape of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Inputs; a multiple of 16.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
}

impl Dense {
    /// `x w^T + b`: x `[n, inputs]`, w `[outputs, inputs]`, result `[n, outputs]`.
    ///
    /// # Panics
    /// When a slice does not fit the shape.
    #[must_use]
    pub fn forward(&self, weights: &[f32], bias: &[f32], x: &[f32], threads: usize) -> Vec<f32> {
        let n = self.check(weights, x);
        assert_eq!(bias.len(), self.outputs, "a bias for each output");
        let arch = arch();
        let count = self.inputs.div_ceil(PART);
        let mut sums = vec![0.0; count * n * self.outputs];
        let parts = sums.chunks_exact_mut(n * self.outputs).enumerate();
        share(threads, parts, || {
            let mut scratch = Scratch::default();
            move |(part, sums)| {
                arch.dispatch(ForwardPart {
                    layer: *self,
                    n,
                    from: part * PART,
                    weights,
                    x,
                    sums,
                    scratch: &mut scratch,
                });
            }
        });
        let mut y = bias.repeat(n);
        for sums in sums.chunks_exact(n * self.outputs) {
            for (y, sum) in y.iter_mut().zip(sums) {
                *y += sum;
            }
        }
        y
    }

    /// Takes the gradient of the outputs `[n, outputs]`, puts that of the inputs in place of `x`, and
    /// updates the weights and their moments. The bias is the caller's: its gradient is the sum over n.
    ///
    /// # Panics
    /// When a slice does not fit the shape.
    #[expect(
        clippy::too_many_arguments,
        reason = "what one update reads and writes"
    )]
    pub fn backward(
        &self,
        step: &Adam,
        gradient: &[f32],
        weights: &mut [f32],
        mean: &mut [f32],
        variance: &mut [f32],
        x: &mut [f32],
        threads: usize,
    ) {
        let n = self.check(weights, x);
        assert_eq!(
            gradient.len(),
            n * self.outputs,
            "a gradient for each output"
        );
        assert!(
            mean.len() == weights.len() && variance.len() == weights.len(),
            "two moments for each weight"
        );
        let mut parts: Vec<[Vec<&mut [f32]>; 4]> = Vec::new();
        parts.resize_with(self.inputs.div_ceil(PART), Default::default);
        for (which, array) in [x, weights, mean, variance].into_iter().enumerate() {
            for row in array.chunks_exact_mut(self.inputs) {
                for (part, piece) in parts.iter_mut().zip(row.chunks_mut(PART)) {
                    part[which].push(piece);
                }
            }
        }
        let arch = arch();
        // The two small factors, packed for tiles of rows: [row / 4][column][row % 4].
        let by_image = pack_tiles(n, self.outputs, |i, o| gradient[i * self.outputs + o]);
        let by_output = pack_tiles(self.outputs, n, |o, i| gradient[i * self.outputs + o]);
        share(threads, parts.into_iter(), || {
            let mut scratch = Scratch::default();
            let (by_image, by_output) = (&by_image, &by_output);
            move |[x, weights, mean, variance]| {
                arch.dispatch(BackwardPart {
                    step,
                    by_image,
                    by_output,
                    x,
                    weights,
                    mean,
                    variance,
                    scratch: &mut scratch,
                });
            }
        });
    }

    fn check(&self, weights: &[f32], x: &[f32]) -> usize {
        assert!(
            self.inputs > 0 && self.inputs.is_multiple_of(16),
            "inputs come in sixteens"
        );
        assert_eq!(
            weights.len(),
            self.inputs * self.outputs,
            "a weight for each pair"
        );
        assert!(x.len().is_multiple_of(self.inputs), "whole rows of inputs");
        x.len() / self.inputs
    }
}

#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    weights: Vec<f32>,
    product: Vec<f32>,
}

/// A matrix in tiles of four rows, the missing ones zero.
fn pack_tiles(rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; rows.next_multiple_of(TILE) * columns];
    for row in 0..rows {
        for column in 0..columns {
            packed[(row / TILE * columns + column) * TILE + row % TILE] = at(row, column);
        }
    }
    packed
}

struct ForwardPart<'a> {
    layer: Dense,
    n: usize,
    from: usize,
    weights: &'a [f32],
    x: &'a [f32],
    sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl WithSimd for ForwardPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Dense { inputs, outputs } = self.layer;
        let to = inputs.min(self.from + PART);
        let images = self.n.next_multiple_of(TILE);
        // One vector of partial sums for each pair of image and output, in tiles.
        let lanes = S::F32_LANES;
        let pairs = images * outputs.next_multiple_of(TILE);
        let sums = &mut self.scratch.product;
        sums.clear();
        sums.resize(pairs * lanes, 0.0);
        let (sums, _) = S::as_mut_simd_f32s(sums);
        for from in (self.from..to).step_by(FORWARD_BLOCK) {
            let width = FORWARD_BLOCK.min(to - from);
            // Rows of the input lie a multiple of a page apart: side by side they share no cache sets.
            let x = &mut self.scratch.x;
            x.clear();
            for row in self.x.chunks_exact(inputs) {
                x.extend_from_slice(&row[from..][..width]);
            }
            x.resize(images * width, 0.0);
            for (o, sums) in sums.chunks_exact_mut(images * TILE).enumerate() {
                // Outputs beyond the last repeat it; nobody reads them.
                let row = |t: usize| {
                    let o = (o * TILE + t).min(outputs - 1);
                    S::as_simd_f32s(&self.weights[o * inputs + from..][..width]).0
                };
                let w: [&[S::f32s]; TILE] = std::array::from_fn(row);
                for (x, sums) in x
                    .chunks_exact(TILE * width)
                    .zip(sums.as_chunks_mut::<{ TILE * TILE }>().0)
                {
                    let x: [&[S::f32s]; TILE] =
                        std::array::from_fn(|t| S::as_simd_f32s(&x[t * width..][..width]).0);
                    dot_tile(simd, x, w, sums);
                }
            }
        }
        for (o, tile) in sums.chunks_exact(images * TILE).enumerate() {
            for (i, tile) in tile.chunks_exact(TILE * TILE).enumerate() {
                for (t, sum) in tile.iter().enumerate() {
                    let (i, o) = (i * TILE + t / TILE, o * TILE + t % TILE);
                    if i < self.n && o < outputs {
                        self.sums[i * outputs + o] = simd.reduce_sum_f32s(*sum);
                    }
                }
            }
        }
    }
}

/// Adds the products of four rows of `x` and four of `w`, lane by lane, to `sums[x][w]`.
#[inline(always)]
fn dot_tile<S: Simd>(
    simd: S,
    x: [&[S::f32s]; TILE],
    w: [&[S::f32s]; TILE],
    sums: &mut [S::f32s; TILE * TILE],
) {
    let n = x[0].len();
    let (x, w) = (x.map(|r| &r[..n]), w.map(|r| &r[..n]));
    let mut acc = *sums;
    for at in 0..n {
        let w: [S::f32s; TILE] = std::array::from_fn(|t| w[t][at]);
        for i in 0..TILE {
            let x = x[i][at];
            for o in 0..TILE {
                acc[i * TILE + o] = simd.mul_add_e_f32s(x, w[o], acc[i * TILE + o]);
            }
        }
    }
    *sums = acc;
}

struct BackwardPart<'a> {
    step: &'a Adam,
    by_image: &'a [f32],
    by_output: &'a [f32],
    x: Vec<&'a mut [f32]>,
    weights: Vec<&'a mut [f32]>,
    mean: Vec<&'a mut [f32]>,
    variance: Vec<&'a mut [f32]>,
    scratch: &'a mut Scratch,
}

impl WithSimd for BackwardPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Scratch {
            x,
            weights,
            product,
        } = self.scratch;
        let (n, outputs) = (self.x.len(), self.weights.len());
        let part = self.weights[0].len();
        let block = (BACKWARD_BLOCK / outputs).next_multiple_of(TILE * S::F32_LANES);
        for from in (0..part).step_by(block) {
            let width = block.min(part - from);
            // Zeros up to whole tiles.
            let padded = width.next_multiple_of(TILE * S::F32_LANES);
            copy_block(&self.x, from, width, padded, x);
            copy_block(&self.weights, from, width, padded, weights);
            product.resize(n.max(outputs).next_multiple_of(TILE) * padded, 0.0);

            multiply(simd, self.by_output, x, n, padded, product);
            for (o, gradient) in product.chunks_exact(padded).take(outputs).enumerate() {
                self.step.stretch(
                    simd,
                    &gradient[..width],
                    &mut self.weights[o][from..][..width],
                    &mut self.mean[o][from..][..width],
                    &mut self.variance[o][from..][..width],
                );
            }
            multiply(simd, self.by_image, weights, outputs, padded, product);
            for (row, gradient) in self.x.iter_mut().zip(product.chunks_exact(padded)) {
                row[from..][..width].copy_from_slice(&gradient[..width]);
            }
        }
    }
}

fn copy_block(rows: &[&mut [f32]], from: usize, width: usize, padded: usize, into: &mut Vec<f32>) {
    into.clear();
    for row in rows {
        into.extend_from_slice(&row[from..][..width]);
        into.resize(into.len() + padded - width, 0.0);
    }
}

/// `left * right` into the leading rows of `product`: left in tiles of four rows by `depth`, right
/// `[depth, width]`.
#[inline(always)]
fn multiply<S: Simd>(
    simd: S,
    left: &[f32],
    right: &[f32],
    depth: usize,
    width: usize,
    product: &mut [f32],
) {
    let vectors = width / S::F32_LANES;
    let (right, _) = S::as_simd_f32s(&right[..depth * width]);
    for (left, product) in left
        .chunks_exact(depth * TILE)
        .zip(product.chunks_exact_mut(TILE * width))
    {
        let (product, _) = S::as_mut_simd_f32s(product);
        let (left, _) = left.as_chunks::<TILE>();
        for at in (0..vectors).step_by(TILE) {
            let mut acc = [[simd.splat_f32s(0.0); TILE]; TILE];
            for (left, right) in left.iter().zip(right.chunks_exact(vectors)) {
                let right: &[S::f32s; TILE] = right[at..].first_chunk().expect("whole tiles");
                for row in 0..TILE {
                    let left = simd.splat_f32s(left[row]);
                    for t in 0..TILE {
                        acc[row][t] = simd.mul_add_e_f32s(left, right[t], acc[row][t]);
                    }
                }
            }
            for (row, acc) in acc.iter().enumerate() {
                product[row * vectors + at..][..TILE].copy_from_slice(acc);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise, wrong};

    #[test]
    fn both_directions_are_those_of_the_definition() {
        // More than one part, and no whole number of blocks; more and fewer rows than tiles hold.
        for (n, inputs, outputs) in [(5, PART + 176, 12), (4, 64, 6), (1, 16, 1)] {
            let layer = Dense { inputs, outputs };
            let weights = noise(inputs * outputs, 1);
            let bias = noise(outputs, 2);
            let x = noise(n * inputs, 3);
            let upstream = noise(n * outputs, 4);
            let mut y: Vec<f64> = bias.repeat(n).into_iter().map(f64::from).collect();
            let mut by_weight = vec![0.0; weights.len()];
            let mut by_input = vec![0.0; x.len()];
            for i in 0..n {
                for o in 0..outputs {
                    for k in 0..inputs {
                        let (w, x) = (weights[o * inputs + k], x[i * inputs + k]);
                        y[i * outputs + o] += f64::from(w) * f64::from(x);
                        let upstream = f64::from(upstream[i * outputs + o]);
                        by_weight[o * inputs + k] += upstream * f64::from(x);
                        by_input[i * inputs + k] += upstream * f64::from(w);
                    }
                }
            }
            everywhere(|| {
                let found = layer.forward(&weights, &bias, &x, 2);
                assert!(wrong(&found, &y) < 1e-5);
                assert_eq!(layer.forward(&weights, &bias, &x, 3), found);
                let (mut w, mut gradient) = (weights.clone(), x.clone());
                let (mut mean, mut variance) = (vec![0.0; w.len()], vec![0.0; w.len()]);
                layer.backward(
                    &Adam::new(1e-3, 1),
                    &upstream,
                    &mut w,
                    &mut mean,
                    &mut variance,
                    &mut gradient,
                    2,
                );
                assert!(wrong(&gradient, &by_input) < 1e-5);
                let tenth: Vec<f64> = by_weight.iter().map(|g| g / 10.0).collect();
                assert!(wrong(&mean, &tenth) < 1e-5);
                // The first step goes the learning rate down, whatever the gradient.
                let moved = w.iter().zip(&weights).zip(&mean);
                for ((new, old), mean) in moved.filter(|(_, mean)| mean.abs() > 1e-4) {
                    assert!((old - new - 1e-3 * mean.signum()).abs() < 1e-6);
                }
            });
        }
    }
}
