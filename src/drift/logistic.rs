//! Binary logistic regression.

use driftscope_kernels::add_gram;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::DriftError;
use super::embedding::check_dim;
use super::linalg::{Cholesky, dot64};

/// Newton steps at most; a dozen is usual.
const STEPS: usize = 100;
/// Rows that one thread takes at a time.
const PART: usize = 256;
/// The Newton decrement, relative to the objective, from which one more full step lands on the minimum:
/// convergence is quadratic, and the objective itself can no longer tell better from worse.
const CONVERGED: f64 = 1e-12;

/// How to fit, in scikit-learn's terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticOptions {
    /// Inverse strength of the L2 penalty, above 0.
    pub c: f64,
    /// Whether each kind weighs the same in sum (`class_weight="balanced"`).
    pub balanced: bool,
}

impl Default for LogisticOptions {
    /// scikit-learn's strength, both kinds balanced: drift is rare.
    fn default() -> Self {
        Self {
            c: 1.0,
            balanced: true,
        }
    }
}

/// L2-penalised logistic regression; the intercept is not penalised. The minimum of
/// `|w|²/2 + C Σ sᵢ log(1 + exp(-yᵢ (w·xᵢ + b)))`, found by Newton's method with a line search
/// (iteratively reweighted least squares): scikit-learn's `LogisticRegression`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticRegression {
    /// One weight per feature.
    pub coefficients: Vec<f64>,
    /// Log-odds at the origin.
    pub intercept: f64,
}

/// The weighted images, one row of features each with a 1 appended for the intercept.
struct Problem<'a> {
    rows: &'a [f64],
    width: usize,
    positive: &'a [bool],
    /// Penalty-free weight of each image: `C s`.
    weights: &'a [f64],
}

impl LogisticRegression {
    /// Fits to rows of `dim` features; `positive` has one entry per row.
    ///
    /// # Errors
    /// [`DriftError::NoLabels`], [`DriftError::NoDriftLabelled`], [`DriftError::NoRegularLabelled`],
    /// [`DriftError::LengthMismatch`], [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`],
    /// [`DriftError::BadRegularisation`].
    pub fn fit(
        features: &[f64],
        dim: usize,
        positive: &[bool],
        options: &LogisticOptions,
    ) -> Result<Self, DriftError> {
        let weights = vec![1.0; positive.len()];
        Self::fit_weighted(features, dim, positive, &weights, options)
    }

    /// As [`fit`](Self::fit), with the weight of each row, above 0: a row of weight 2 counts as that row twice. Where the
    /// kinds are balanced, it is the sums of their weights that are.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`DriftError::LengthMismatch`] for another number of weights, [`DriftError::NonFinite`]
    /// for a weight that is none.
    pub fn fit_weighted(
        features: &[f64],
        dim: usize,
        positive: &[bool],
        weights: &[f64],
        options: &LogisticOptions,
    ) -> Result<Self, DriftError> {
        if dim == 0 {
            return Err(DriftError::NoEmbeddings);
        }
        if features.len() != dim * positive.len() {
            return Err(DriftError::LengthMismatch {
                rows: features.len() / dim,
                labels: positive.len(),
            });
        }
        let drift = positive.iter().filter(|p| **p).count();
        let regular = positive.len() - drift;
        match (drift, regular) {
            (0, 0) => return Err(DriftError::NoLabels),
            (0, _) => return Err(DriftError::NoDriftLabelled { regular }),
            (_, 0) => return Err(DriftError::NoRegularLabelled { drift }),
            _ => {}
        }
        if let Some(at) = features.iter().position(|v| !v.is_finite()) {
            return Err(DriftError::NonFinite { row: at / dim });
        }
        let c = options.c;
        if !(c > 0.0 && c.is_finite()) {
            return Err(DriftError::BadRegularisation { c });
        }
        if weights.len() != positive.len() {
            return Err(DriftError::LengthMismatch {
                rows: weights.len(),
                labels: positive.len(),
            });
        }
        if let Some(row) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            return Err(DriftError::NonFinite { row });
        }
        let sum_of = |kind: bool| -> f64 {
            let of_kind = weights.iter().zip(positive).filter(|(_, p)| **p == kind);
            of_kind.map(|(weight, _)| weight).sum()
        };
        let all: f64 = weights.iter().sum();
        let weight = |sum: f64| {
            if options.balanced {
                c * all / (2.0 * sum)
            } else {
                c
            }
        };
        let of_kind = [weight(sum_of(false)), weight(sum_of(true))];
        let weights = weights.iter().zip(positive);
        let weights: Vec<f64> = weights
            .map(|(weight, positive)| weight * of_kind[usize::from(*positive)])
            .collect();
        let mut rows = Vec::with_capacity(features.len() + positive.len());
        for row in features.chunks_exact(dim) {
            rows.extend_from_slice(row);
            rows.push(1.0);
        }
        let mut solution = Problem {
            rows: &rows,
            width: dim + 1,
            positive,
            weights: &weights,
        }
        .solve();
        let intercept = solution.pop().expect("one weight more than features");
        Ok(Self {
            coefficients: solution,
            intercept,
        })
    }

    /// Log-odds of drift.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn decision(&self, row: &[f64]) -> Result<f64, DriftError> {
        check_dim(self.coefficients.len(), row.len())?;
        Ok(dot64(&self.coefficients, row) + self.intercept)
    }

    /// Probability of drift, in `[0, 1]`.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn predict_proba(&self, row: &[f64]) -> Result<f64, DriftError> {
        Ok(sigmoid(self.decision(row)?))
    }
}

fn add(sum: &mut [f64], part: &[f64]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

/// `1 / (1 + exp(-z))` without overflow.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        z.exp() / (1.0 + z.exp())
    }
}

/// `log(1 + exp(z))` without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Where every image is answered with certainty the intercept has no curvature of its own, so the
/// diagonal is raised until a factor exists; `None` where the curvature overflowed.
fn factorise(mut curvature: Vec<f64>, width: usize) -> Option<Cholesky> {
    if curvature.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mut ridge = 1e-12;
    loop {
        if let Some(factor) = Cholesky::new(curvature.clone(), width) {
            return Some(factor);
        }
        for i in 0..width {
            curvature[i * width + i] += ridge;
        }
        ridge *= 10.0;
        if !f64::is_finite(ridge) {
            return None;
        }
    }
}

impl Problem<'_> {
    fn images(&self) -> impl Iterator<Item = (&[f64], bool, f64)> {
        self.rows
            .chunks_exact(self.width)
            .zip(self.positive)
            .zip(self.weights)
            .map(|((row, positive), weight)| (row, *positive, *weight))
    }

    fn penalty(&self, w: &[f64]) -> f64 {
        let free = &w[..self.width - 1];
        dot64(free, free) / 2.0
    }

    fn objective(&self, w: &[f64]) -> f64 {
        self.penalty(w)
            + self
                .images()
                .map(|(row, positive, weight)| {
                    let z = dot64(row, w);
                    weight * softplus(if positive { -z } else { z })
                })
                .sum::<f64>()
    }

    /// Slope and the lower triangle of the curvature.
    fn derivatives(&self, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let width = self.width;
        let mut slope = w.to_vec();
        slope[width - 1] = 0.0;
        let mut curvature = vec![0.0; width * width];
        for i in 0..width - 1 {
            curvature[i * width + i] = 1.0;
        }
        let rows = self.rows.par_chunks(PART * width);
        let labels = self.positive.par_chunks(PART);
        let parts = rows.zip(labels).zip(self.weights.par_chunks(PART));
        let parts = parts.map(|((rows, positive), weights)| {
            Problem {
                rows,
                width,
                positive,
                weights,
            }
            .part(w)
        });
        // Collected before they are added, so that the sums do not depend on the threads.
        for (part_slope, part_curvature) in parts.collect::<Vec<_>>() {
            add(&mut slope, &part_slope);
            add(&mut curvature, &part_curvature);
        }
        (slope, curvature)
    }

    /// What the rows add to slope and curvature.
    fn part(&self, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let width = self.width;
        let mut slope = vec![0.0; width];
        let mut curvature = vec![0.0; width * width];
        let bends = self.images().map(|(row, positive, weight)| {
            let p = sigmoid(dot64(row, w));
            let residual = weight * (p - f64::from(u8::from(positive)));
            for (slope, x) in slope.iter_mut().zip(row) {
                *slope += residual * x;
            }
            weight * p * (1.0 - p)
        });
        let bends: Vec<f64> = bends.collect();
        add_gram(self.rows, &bends, width, &mut curvature);
        (slope, curvature)
    }

    fn solve(&self) -> Vec<f64> {
        let width = self.width;
        let mut w = vec![0.0; width];
        let mut value = self.objective(&w);
        for _ in 0..STEPS {
            let (slope, curvature) = self.derivatives(&w);
            let Some(factor) = factorise(curvature, width) else {
                break;
            };
            let mut step = slope.clone();
            factor.solve(&mut step);
            let decrement = dot64(&slope, &step);
            let moved_by =
                |t: f64| -> Vec<f64> { w.iter().zip(&step).map(|(w, s)| w - t * s).collect() };
            if decrement <= CONVERGED * value {
                return moved_by(1.0);
            }
            let improved = std::iter::successors(Some(1.0_f64), |t| Some(t / 2.0))
                .take(40)
                .map(|t| {
                    let moved = moved_by(t);
                    let reached = self.objective(&moved);
                    (t, moved, reached)
                })
                .find(|(t, _, reached)| *reached <= value - 1e-4 * t * decrement);
            let Some((_, moved, reached)) = improved else {
                break;
            };
            w = moved;
            value = reached;
        }
        w
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(x: &[f64], dim: usize, y: &[bool]) -> Result<LogisticRegression, DriftError> {
        LogisticRegression::fit(x, dim, y, &LogisticOptions::default())
    }

    #[test]
    fn missing_labels_are_named() {
        let says = |y: &[bool], text: &str| {
            let x = vec![0.0; y.len()];
            let e = fit(&x, 1, y).expect_err("one kind at most").to_string();
            assert!(e.contains(text), "{e}");
        };
        says(&[], "no image is labelled yet");
        says(
            &[false, false],
            "no drift image is labelled yet (2 regular are)",
        );
        says(&[true], "no regular image is labelled yet (1 drift are)");
    }

    #[test]
    fn wrong_input_is_refused() {
        let y = [true, false];
        assert!(matches!(
            fit(&[1.0], 1, &y),
            Err(DriftError::LengthMismatch { .. })
        ));
        assert_eq!(
            fit(&[1.0, f64::NAN], 1, &y),
            Err(DriftError::NonFinite { row: 1 })
        );
        let options = LogisticOptions {
            c: 0.0,
            balanced: false,
        };
        let refused = LogisticRegression::fit(&[1.0, 2.0], 1, &y, &options);
        assert_eq!(refused, Err(DriftError::BadRegularisation { c: 0.0 }));
    }

    #[test]
    fn hostile_scales_end_in_finite_weights() {
        let y = [true, true, false, false, false];
        for scale in [1e-12, 1e6, 1e12, 1e200] {
            for c in [1e-6, 1.0, 1e9] {
                let x: Vec<f64> = [3.0, 2.0, -1.0, 0.5, -2.0].map(|v| v * scale).to_vec();
                let options = LogisticOptions { c, balanced: true };
                let m = LogisticRegression::fit(&x, 1, &y, &options).expect("both kinds");
                assert!(
                    m.coefficients[0] >= 0.0 && m.intercept.is_finite(),
                    "{scale} {c} {m:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_weight_counts_as_so_many_rows(
            rows in prop::collection::vec((prop::array::uniform2(-3.0..3.0_f64), any::<bool>(), 1..4_usize), 2..12),
            balanced: bool,
        ) {
            let mut rows = rows;
            rows[0].1 = true;
            rows[1].1 = false;
            let options = LogisticOptions { c: 0.7, balanced };
            let x: Vec<f64> = rows.iter().flat_map(|r| r.0).collect();
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let w: Vec<f64> = rows.iter().map(|r| r.2 as f64).collect();
            let weighted = LogisticRegression::fit_weighted(&x, 2, &y, &w, &options).expect("both kinds");
            let many: Vec<_> = rows.iter().flat_map(|r| std::iter::repeat_n(r, r.2)).collect();
            let x: Vec<f64> = many.iter().flat_map(|r| r.0).collect();
            let y: Vec<bool> = many.iter().map(|r| r.1).collect();
            let repeated = LogisticRegression::fit(&x, 2, &y, &options).expect("both kinds");
            for (a, b) in weighted.coefficients.iter().zip(&repeated.coefficients) {
                prop_assert!((a - b).abs() < 1e-7 * (1.0 + b.abs()), "{a} {b}");
            }
        }

        #[test]
        fn the_slope_vanishes_at_the_solution(
            rows in prop::collection::vec((prop::array::uniform3(-3.0..3.0_f64), any::<bool>()), 2..30),
            c in 0.01..100.0_f64, balanced: bool,
        ) {
            let x: Vec<f64> = rows.iter().flat_map(|r| r.0).collect();
            let mut y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            y[0] = true;
            y[1] = false;
            let options = LogisticOptions { c, balanced };
            let m = LogisticRegression::fit(&x, 3, &y, &options).expect("both kinds");
            let drift = y.iter().filter(|y| **y).count() as f64;
            let n = y.len() as f64;
            let mut slope = m.coefficients.clone();
            slope.push(0.0);
            for (row, y) in x.chunks_exact(3).zip(&y) {
                let p = m.predict_proba(row).expect("same width");
                prop_assert!((0.0..=1.0).contains(&p));
                let s = match (balanced, y) {
                    (false, _) => 1.0,
                    (true, true) => n / (2.0 * drift),
                    (true, false) => n / (2.0 * (n - drift)),
                };
                let residual = c * s * (p - f64::from(u8::from(*y)));
                for (slope, x) in slope.iter_mut().zip(row.iter().chain([&1.0])) {
                    *slope += residual * x;
                }
            }
            prop_assert!(slope.iter().all(|s| s.abs() < 1e-6 * (1.0 + c * n)), "{slope:?}");
        }
    }
}
