//! Class means and covariances that few images suffice for.

use rayon::prelude::*;

use super::linalg::{Cholesky, dot64};
use super::{DriftError, EmbeddingView};
use crate::domain::ClassId;

/// Rows that meet the covariance at a time: at 2,048 values they take half a second-level cache.
const ROWS_PER_BLOCK: usize = 32;
/// Least share of the sphere in a shrunk covariance, so that it can be inverted whatever the rows are.
const LEAST_SHRINKAGE: f64 = 1e-6;
/// Variance below this share of the mean square is the rounding of single precision.
const NOISE: f64 = 1e-13;

/// Rows with a class each, and the mean of every class that has a row.
pub(super) struct ClassMeans {
    /// By class; empty where a class has no row.
    means: Vec<Vec<f64>>,
    /// Rows by class.
    counts: Vec<usize>,
}

impl ClassMeans {
    /// Averages the rows of each class.
    pub(super) fn new(
        features: EmbeddingView<'_>,
        classes: &[ClassId],
    ) -> Result<Self, DriftError> {
        if features.len() != classes.len() {
            return Err(DriftError::LengthMismatch {
                rows: features.len(),
                labels: classes.len(),
            });
        }
        let slots = classes.iter().map(|c| c.index() + 1).max().unwrap_or(0);
        let mut means = vec![Vec::new(); slots];
        let mut counts = vec![0; slots];
        for (row, class) in features.rows().zip(classes) {
            let mean = &mut means[class.index()];
            mean.resize(features.dim(), 0.0);
            counts[class.index()] += 1;
            add(mean, row);
        }
        for (mean, count) in means.iter_mut().zip(&counts) {
            divide(mean, *count);
        }
        Ok(Self { means, counts })
    }

    /// (rows, mean) of each class that has a row, in the order of their ids.
    pub(super) fn present(&self) -> impl Iterator<Item = (usize, &[f64])> {
        let all = self.counts.iter().zip(&self.means);
        all.filter(|(count, _)| **count > 0)
            .map(|(count, mean)| (*count, mean.as_slice()))
    }

    /// The covariance within classes, pooled and shrunk, as its factor.
    pub(super) fn within(
        &self,
        features: EmbeddingView<'_>,
        classes: &[ClassId],
    ) -> Result<Cholesky, DriftError> {
        let centre = |row: usize| self.means[classes[row].index()].as_slice();
        factor(features, centre).ok_or_else(|| match self.present().count() {
            1 => DriftError::NoVariation,
            classes => DriftError::NoSpreadWithinClasses { classes },
        })
    }
}

/// The mean of all rows, and their covariance round it, shrunk, as its factor.
pub(super) fn whole(features: EmbeddingView<'_>) -> Result<(Vec<f64>, Cholesky), DriftError> {
    let mut mean = vec![0.0; features.dim()];
    for row in features.rows() {
        add(&mut mean, row);
    }
    divide(&mut mean, features.len());
    let factor = factor(features, |_| &mean).ok_or(DriftError::NoVariation)?;
    Ok((mean, factor))
}

fn add(sum: &mut [f64], row: &[f32]) {
    for (sum, v) in sum.iter_mut().zip(row) {
        *sum += f64::from(*v);
    }
}

fn divide(sum: &mut [f64], by: usize) {
    for sum in sum {
        *sum /= by as f64;
    }
}

/// The factor of the shrunk covariance of the rows, each minus its centre; none where nothing varies.
fn factor<'a>(
    features: EmbeddingView<'_>,
    centre: impl Fn(usize) -> &'a [f64],
) -> Option<Cholesky> {
    let dim = features.dim();
    let mut centred = Vec::with_capacity(features.data().len());
    let mut squares = 0.0;
    for (at, row) in features.rows().enumerate() {
        for (v, c) in row.iter().zip(centre(at)) {
            let v = f64::from(*v);
            squares += v * v;
            centred.push(v - c);
        }
    }
    if dot64(&centred, &centred) <= NOISE * squares {
        return None;
    }
    Cholesky::new(ledoit_wolf(&centred, dim), dim)
}

/// Covariance of centred rows, shrunk towards `tr(S)/p I` (Ledoit & Wolf 2004, as
/// `sklearn.covariance.ledoit_wolf` with `assume_centered=True`), with a trace of the sphere at least.
fn ledoit_wolf(rows: &[f64], dim: usize) -> Vec<f64> {
    let (n, p) = ((rows.len() / dim) as f64, dim as f64);
    let mut covariance = scatter(rows, dim);
    for cell in &mut covariance {
        *cell /= n;
    }
    let fourth_powers: f64 = rows.chunks_exact(dim).map(|r| dot64(r, r).powi(2)).sum();
    let trace: f64 = (0..dim).map(|i| covariance[i * dim + i]).sum();
    let sphere = trace / p;
    let squares = dot64(&covariance, &covariance);
    let distance = (squares - 2.0 * sphere * trace + p * sphere * sphere) / p;
    let noise = ((fourth_powers / n - squares) / (p * n)).min(distance);
    let shrinkage = if noise > 0.0 { noise / distance } else { 0.0 };
    let shrinkage = shrinkage.max(LEAST_SHRINKAGE);
    for (at, cell) in covariance.iter_mut().enumerate() {
        *cell *= 1.0 - shrinkage;
        if at % (dim + 1) == 0 {
            *cell += shrinkage * sphere;
        }
    }
    covariance
}

/// `Σ x xᵀ` over all rows: symmetric, `dim` x `dim`.
fn scatter(rows: &[f64], dim: usize) -> Vec<f64> {
    let mut scatter = vec![0.0; dim * dim];
    for block in rows.chunks(ROWS_PER_BLOCK * dim) {
        let cells = scatter.par_chunks_exact_mut(dim).enumerate();
        cells.for_each(|(i, cells)| add_products(block, dim, i, &mut cells[..=i]));
    }
    for i in 0..dim {
        for j in 0..i {
            scatter[j * dim + i] = scatter[i * dim + j];
        }
    }
    scatter
}

/// Adds `x[i] x` of each row `x` of `block`, in their order.
fn add_products(block: &[f64], dim: usize, i: usize, cells: &mut [f64]) {
    let width = cells.len();
    let (fours, rest) = block.split_at(block.len() / (4 * dim) * (4 * dim));
    for four in fours.chunks_exact(4 * dim) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|r| &four[r * dim..][..width]);
        let [wa, wb, wc, wd] = [0, 1, 2, 3].map(|r| four[r * dim + i]);
        for ((((cell, a), b), c), d) in cells.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *cell = *cell + wa * a + wb * b + wc * c + wd * d;
        }
    }
    for row in rest.chunks_exact(dim) {
        for (cell, x) in cells.iter_mut().zip(row) {
            *cell += row[i] * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_is_that_of_the_definition() {
        // More rows than a block, and no whole number of fours.
        let (n, dim) = (ROWS_PER_BLOCK + 7, 5);
        let rows: Vec<f64> = (0..n * dim).map(|i| ((i * 37) % 11) as f64).collect();
        let found = scatter(&rows, dim);
        for i in 0..dim {
            for j in 0..dim {
                let expected: f64 = rows.chunks_exact(dim).map(|r| r[i] * r[j]).sum();
                assert_eq!(found[i * dim + j], expected, "{i} {j}");
            }
        }
    }

    #[test]
    fn rows_on_a_line_have_a_covariance_that_can_be_inverted() {
        let data = [1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0_f32];
        let view = EmbeddingView::new(&data, 2).expect("rows");
        let (mean, factor) = whole(view).expect("they vary");
        assert_eq!(mean, [0.0, 0.0]);
        let mut across = [1.0, -1.0];
        factor.solve_lower(&mut across);
        assert!(across.iter().all(|v| v.is_finite()));
        assert!(dot64(&across, &across) > 1e5, "{across:?}");
    }
}
