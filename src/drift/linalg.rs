//! The few dense routines that the scores need, on row-major slices.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows that a thread takes at a time where one is little work.
const ROWS_AT_ONCE: usize = 64;
/// Independent sums of a dot product: enough for the compiler to keep vector registers busy.
const LANES: usize = 16;

/// Dot product in single precision.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// Dot product in double precision.
pub(super) fn dot64(a: &[f64], b: &[f64]) -> f64 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// `y += a * x`.
pub(super) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Squared distance, summed in double precision: exact to rounding where the rows nearly meet, unlike one
/// from dot products.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let square = |x: &f32, y: &f32| (f64::from(*x) - f64::from(*y)).powi(2);
    let mut sums = [0.0_f64; LANES];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += square(x, y);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| square(x, y)).sum();
    sums.iter().sum::<f64>() + rest
}

/// Scales `row` to length 1; a row of zeros stays as it is.
pub(super) fn normalise(row: &mut [f32]) {
    // Divided by the largest value first, so that squares neither overflow nor vanish.
    let largest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return;
    }
    for v in row.iter_mut() {
        *v /= largest;
    }
    let length = dot(row, row).sqrt();
    for v in row.iter_mut() {
        *v /= length;
    }
}

/// A copy of `rows`, each scaled to length 1.
pub(super) fn normalised(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut rows = rows.to_vec();
    rows.par_chunks_mut(ROWS_AT_ONCE * dim)
        .for_each(|rows| rows.chunks_exact_mut(dim).for_each(normalise));
    rows
}

/// Makes the rows of `basis` orthonormal (Gram-Schmidt, each row cleaned twice); rows that depend on
/// earlier ones become zero.
pub(super) fn orthonormalise(basis: &mut [f32], dim: usize) {
    for row in 0..basis.len() / dim {
        let (done, rest) = basis.split_at_mut(row * dim);
        let current = &mut rest[..dim];
        normalise(current);
        for _ in 0..2 {
            for earlier in done.chunks_exact(dim) {
                axpy(-dot(earlier, current), earlier, current);
            }
        }
        if dot(current, current) < 1e-8 {
            current.fill(0.0);
        }
        normalise(current);
    }
}

/// Eigenvalues, largest first, and eigenvectors (as rows) of a symmetric `n` x `n` matrix, by Jacobi
/// rotations (Golub & Van Loan, section 8.5): exact to rounding, meant for `n` up to about 100.
pub(super) fn symmetric_eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let scale = dot64(&a, &a).sqrt();
    for _sweep in 0..50 {
        let off: f64 = (0..n)
            .flat_map(|p| (p + 1..n).map(move |q| (p, q)))
            .map(|(p, q)| a[p * n + q].powi(2))
            .sum();
        if off.sqrt() <= 1e-14 * scale {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (kp, kq) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * kp - s * kq;
                    a[k * n + q] = s * kp + c * kq;
                }
                for k in 0..n {
                    let (pk, qk) = (a[p * n + k], a[q * n + k]);
                    a[p * n + k] = c * pk - s * qk;
                    a[q * n + k] = s * pk + c * qk;
                    let (pk, qk) = (v[p * n + k], v[q * n + k]);
                    v[p * n + k] = c * pk - s * qk;
                    v[q * n + k] = s * pk + c * qk;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[j * n + j].total_cmp(&a[i * n + i]));
    (
        order.iter().map(|i| a[i * n + i]).collect(),
        order.iter().map(|i| v[i * n..][..n].to_vec()).collect(),
    )
}

/// Lower triangle `L` with `L Lᵀ` equal to a symmetric positive definite matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Reads the lower triangle of `matrix`; `None` where it is not positive definite.
    pub(super) fn new(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        for i in 0..n {
            let (above, rest) = matrix.split_at_mut(i * n);
            let row = &mut rest[..n];
            for j in 0..i {
                let other = &above[j * n..][..n];
                row[j] = (row[j] - dot64(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot64(&row[..i], &row[..i]);
            // Not `pivot <= 0`: NaN must fail too.
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[i] = pivot.sqrt();
            row[i + 1..].fill(0.0);
        }
        Some(Self { n, lower: matrix })
    }

    /// Overwrites each `n` values of `b` with the solution `x` of `L x = b`. Several at once read `L` once;
    /// a solution does not depend on the others.
    pub(super) fn solve_lower(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.lower[i * self.n..][..=i];
            for b in b.chunks_exact_mut(self.n) {
                b[i] = (b[i] - dot64(&row[..i], &b[..i])) / row[i];
            }
        }
    }

    /// Overwrites the `n` values of `b` with the solution of `L Lᵀ x = b`.
    pub(super) fn solve(&self, b: &mut [f64]) {
        self.solve_lower(b);
        for i in (0..self.n).rev() {
            b[i] /= self.lower[i * self.n + i];
            let x = b[i];
            for (b, l) in b[..i].iter_mut().zip(&self.lower[i * self.n..]) {
                *b -= l * x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const N: usize = 6;

    /// `B Bᵀ`, symmetric and, but for bad luck, positive definite.
    fn symmetric() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1.0..1.0_f64, N * N).prop_map(|b| {
            let rows: Vec<&[f64]> = b.chunks_exact(N).collect();
            rows.iter()
                .flat_map(|x| rows.iter().map(|y| dot64(x, y)))
                .collect()
        })
    }

    fn times(a: &[f64], x: &[f64]) -> Vec<f64> {
        a.chunks_exact(N).map(|row| dot64(row, x)).collect()
    }

    proptest! {
        #[test]
        fn eigenvectors_are_scaled_by_their_eigenvalues(a in symmetric()) {
            let (values, vectors) = symmetric_eigen(a.clone(), N);
            prop_assert!(values.is_sorted_by(|x, y| x >= y));
            for (value, vector) in values.iter().zip(&vectors) {
                prop_assert!((dot64(vector, vector) - 1.0).abs() < 1e-12);
                for (ax, x) in times(&a, vector).iter().zip(vector) {
                    prop_assert!((ax - value * x).abs() < 1e-11);
                }
            }
        }

        #[test]
        fn solutions_solve(mut a in symmetric(), x in prop::collection::vec(-9.0..9.0_f64, N)) {
            for i in 0..N {
                a[i * N + i] += 0.1;
            }
            let mut b = times(&a, &x);
            Cholesky::new(a, N).expect("positive definite").solve(&mut b);
            for (found, x) in b.iter().zip(&x) {
                prop_assert!((found - x).abs() < 1e-8);
            }
        }

        #[test]
        fn bases_become_orthonormal(mut basis in prop::collection::vec(-1.0..1.0_f32, 4 * 9)) {
            basis.extend_from_within(9..18);
            orthonormalise(&mut basis, 9);
            let rows: Vec<&[f32]> = basis.chunks_exact(9).collect();
            for (i, a) in rows.iter().enumerate() {
                for (j, b) in rows.iter().enumerate() {
                    // The last row repeats the second, so nothing is left of it.
                    let expected = if i == j && i < 4 { 1.0 } else { 0.0 };
                    prop_assert!((dot(a, b) - expected).abs() < 1e-4, "{i} {j}");
                }
            }
        }
    }

    #[test]
    fn extreme_rows_are_normalised() {
        for value in [1e-38_f32, 1.0, 3e38] {
            let mut row = [value; 4];
            normalise(&mut row);
            assert_eq!(row, [0.5; 4]);
        }
        let mut zero = [0.0_f32; 3];
        normalise(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        assert_eq!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2), None);
        assert_eq!(Cholesky::new(vec![f64::NAN], 1), None);
    }
}
