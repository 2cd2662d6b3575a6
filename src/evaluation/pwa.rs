//! The challenge's metric: penalty-weighted accuracy.

use serde::{Deserialize, Serialize};

use super::{ConfusionMatrix, EvaluationError};
use crate::domain::{ClassId, CostMatrix};

/// The best score that one and the same answer for every image would reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConstantAnswer {
    /// The answer; the first of equals.
    pub class: ClassId,
    /// Its penalty-weighted accuracy, in `[0, 1]`.
    pub pwa: f64,
}

fn check(confusion: &ConfusionMatrix, cost: &CostMatrix) -> Result<(), EvaluationError> {
    if confusion.classes() > cost.len() {
        return Err(EvaluationError::CostMatrixTooSmall {
            cost_classes: cost.len(),
            classes: confusion.classes(),
        });
    }
    if confusion.total() == 0 {
        return Err(EvaluationError::Empty);
    }
    Ok(())
}

/// `1 - total / (n * largest cell)`; 1 where no mistake costs anything.
fn accuracy(total: f64, n: u64, cost: &CostMatrix) -> f64 {
    if cost.max() > 0.0 {
        1.0 - total / (n as f64 * cost.max())
    } else {
        1.0
    }
}

/// Penalty-weighted accuracy of Challenge Data #157, in `[0, 1]`:
/// `1 - (sum of C[true, predicted]) / (n * max C)`. The confusion matrix may leave out the last
/// classes of the cost matrix, as a network that knows no drift does.
///
/// # Errors
/// [`EvaluationError::Empty`] and [`EvaluationError::CostMatrixTooSmall`].
pub fn pwa(confusion: &ConfusionMatrix, cost: &CostMatrix) -> Result<f64, EvaluationError> {
    check(confusion, cost)?;
    let total: f64 = confusion
        .rows()
        .enumerate()
        .flat_map(|(t, row)| row.iter().enumerate().map(move |(p, n)| (t, p, *n)))
        .map(|(t, p, n)| n as f64 * cost.cost(ClassId::from(t), ClassId::from(p)))
        .sum();
    Ok(accuracy(total, confusion.total(), cost))
}

/// What the best constant answer scores on the same truth: penalty-weighted accuracy is only worth
/// what it adds to this, and must be shown beside it. Every class of the cost matrix may be the answer.
///
/// # Errors
/// [`EvaluationError::Empty`] and [`EvaluationError::CostMatrixTooSmall`].
pub fn best_constant(
    confusion: &ConfusionMatrix,
    cost: &CostMatrix,
) -> Result<ConstantAnswer, EvaluationError> {
    check(confusion, cost)?;
    let support = confusion.support();
    let mut best = ConstantAnswer {
        class: ClassId(0),
        pwa: f64::NEG_INFINITY,
    };
    for class in (0..cost.len()).map(ClassId::from) {
        let total: f64 = support
            .iter()
            .enumerate()
            .map(|(t, n)| *n as f64 * cost.cost(ClassId::from(t), class))
            .sum();
        let pwa = accuracy(total, confusion.total(), cost);
        if pwa > best.pwa {
            best = ConstantAnswer { class, pwa };
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The study's test split: always "Missing" scores 0.99856 there.
    #[test]
    fn the_studys_constant() {
        let support = [238, 15, 57, 13, 1316, 17];
        let missing = ClassId(4);
        let confusion = ConfusionMatrix::from_pairs(
            6,
            support
                .iter()
                .enumerate()
                .flat_map(|(class, n)| std::iter::repeat_n((ClassId::from(class), missing), *n)),
        );
        let cost = CostMatrix::challenge();
        let constant = best_constant(&confusion, &cost).expect("images");
        assert_eq!(constant.class, missing);
        assert!((constant.pwa - 0.99856).abs() < 5e-6, "{}", constant.pwa);
        assert_eq!(pwa(&confusion, &cost), Ok(constant.pwa));
    }

    #[test]
    fn nothing_and_too_little_are_refused() {
        let cost = CostMatrix::challenge();
        let empty = ConfusionMatrix::new(7);
        assert_eq!(pwa(&empty, &cost), Err(EvaluationError::Empty));
        assert_eq!(best_constant(&empty, &cost), Err(EvaluationError::Empty));
        let wide = ConfusionMatrix::from_pairs(8, [(ClassId(7), ClassId(0))]);
        assert!(matches!(
            pwa(&wide, &cost),
            Err(EvaluationError::CostMatrixTooSmall { .. })
        ));
        let free = CostMatrix::try_from(vec![vec![0.0; 2]; 2]).expect("zeros are costs");
        let wrong = ConfusionMatrix::from_pairs(2, [(ClassId(0), ClassId(1))]);
        assert_eq!(pwa(&wrong, &free), Ok(1.0));
    }
}
