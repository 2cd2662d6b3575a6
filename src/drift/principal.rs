//! The directions that rows vary in most.

use driftscope_kernels::products;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::EmbeddingView;
use super::linalg::{axpy, dot, orthonormalise, symmetric_eigen};

/// Directions iterated beyond those asked for, which makes the ones asked for converge faster.
const OVERSAMPLE: usize = 16;
/// Multiplications by the covariance: more than the 2 that Halko et al. call enough, as accuracy here is
/// paid for once per set of embeddings.
const POWER_ITERATIONS: usize = 4;
/// Rows whose products are summed before they meet those of other threads. Fixed, so that sums do not
/// depend on the number of threads.
const ROWS_PER_TASK: usize = 512;
/// Rows multiplied together: they stay in the second-level cache while a direction stays in the first.
const ROWS_PER_BLOCK: usize = 32;

/// Directions of length 1, at right angles to each other.
pub(super) struct PrincipalAxes {
    /// One row per direction; each points where its largest loading is positive.
    pub(super) axes: Vec<f32>,
    /// Sum of the squares along each, largest first.
    pub(super) scatter: Vec<f64>,
    /// Sum of all squares.
    pub(super) total: f64,
}

/// The `wanted` directions (no more than values) with the largest sums of squares of the rows that
/// `centred` makes of blocks of `rows`, by randomised subspace iteration (Halko, Martinsson & Tropp 2011).
pub(super) fn principal_axes(
    rows: EmbeddingView<'_>,
    centred: impl Fn(&[f32]) -> Vec<f32> + Sync,
    wanted: usize,
    seed: u64,
) -> PrincipalAxes {
    let dim = rows.dim();
    let wanted = wanted.min(dim);
    let iterated = (wanted + OVERSAMPLE).min(dim);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut basis: Vec<f32> = (0..iterated * dim)
        .map(|_| rng.random_range(-1.0_f32..1.0))
        .collect();
    orthonormalise(&mut basis, dim);
    for _ in 0..POWER_ITERATIONS {
        basis = times_scatter(rows, &centred, &basis).0;
        orthonormalise(&mut basis, dim);
    }
    let (image, total) = times_scatter(rows, &centred, &basis);

    // Rayleigh-Ritz: the exact principal axes within the subspace found.
    let mut gram = vec![0.0; iterated * iterated];
    for (i, b) in basis.chunks_exact(dim).enumerate() {
        for (j, w) in image.chunks_exact(dim).enumerate() {
            let product = f64::from(dot(b, w)) / 2.0;
            gram[i * iterated + j] += product;
            gram[j * iterated + i] += product;
        }
    }
    let (mut scatter, rotations) = symmetric_eigen(gram, iterated);
    scatter.truncate(wanted);
    let mut axes = Vec::with_capacity(wanted * dim);
    for rotation in &rotations[..wanted] {
        axes.extend(combination(rotation, &basis, dim));
    }
    PrincipalAxes {
        axes,
        scatter,
        total,
    }
}

/// The rows of `basis`, weighted and summed, the right way round.
fn combination(weights: &[f64], basis: &[f32], dim: usize) -> Vec<f32> {
    let mut direction = vec![0.0; dim];
    for (weight, b) in weights.iter().zip(basis.chunks_exact(dim)) {
        #[expect(clippy::cast_possible_truncation, reason = "directions are f32")]
        axpy(*weight as f32, b, &mut direction);
    }
    let largest = direction
        .iter()
        .fold(0.0_f32, |m, v| if v.abs() > m.abs() { *v } else { m });
    if largest < 0.0 {
        for v in &mut direction {
            *v = -*v;
        }
    }
    direction
}

/// The scatter matrix of the centred rows times each row of `basis`, and the trace of the former.
fn times_scatter(
    rows: EmbeddingView<'_>,
    centred: &(impl Fn(&[f32]) -> Vec<f32> + Sync),
    basis: &[f32],
) -> (Vec<f32>, f64) {
    let dim = rows.dim();
    let width = basis.len() / dim;
    let parts: Vec<(Vec<f32>, f64)> = rows
        .data()
        .par_chunks(ROWS_PER_TASK * dim)
        .map(|rows| {
            let mut sum = vec![0.0; basis.len()];
            let mut trace = 0.0;
            let mut weights = vec![0.0; ROWS_PER_BLOCK * width];
            for block in rows.chunks(ROWS_PER_BLOCK * dim) {
                let block = centred(block);
                let weights = &mut weights[..block.len() / dim * width];
                products(&block, basis, dim, weights);
                for (c, sum) in sum.chunks_exact_mut(dim).enumerate() {
                    for (r, row) in block.chunks_exact(dim).enumerate() {
                        axpy(weights[r * width + c], row, sum);
                    }
                }
                trace += block
                    .chunks_exact(dim)
                    .map(|row| f64::from(dot(row, row)))
                    .sum::<f64>();
            }
            (sum, trace)
        })
        .collect();
    let mut total = vec![0.0; basis.len()];
    let mut trace = 0.0;
    for (part, part_trace) in &parts {
        axpy(1.0, part, &mut total);
        trace += part_trace;
    }
    (total, trace)
}
