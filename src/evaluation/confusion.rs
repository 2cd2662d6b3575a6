//! The confusion matrix and what is counted from it alone.

use serde::{Deserialize, Serialize};

use crate::domain::ClassId;

/// How often each true class was answered with each class: rows are true classes, columns predicted
/// ones, as in scikit-learn. Stored as a list of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// A stored confusion matrix whose rows have different lengths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the confusion matrix has {found} cells instead of {expected}")]
pub struct NotSquare {
    /// Counted from 1.
    pub row: usize,
    /// Cells in that row.
    pub found: usize,
    /// Cells it should have: the number of rows.
    pub expected: usize,
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = NotSquare;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, NotSquare> {
        let expected = rows.len();
        for (index, row) in rows.iter().enumerate() {
            if row.len() != expected {
                return Err(NotSquare {
                    row: index + 1,
                    found: row.len(),
                    expected,
                });
            }
        }
        Ok(Self {
            classes: expected,
            counts: rows.concat(),
        })
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows().map(<[u64]>::to_vec).collect()
    }
}

/// Precision, recall and F1, each in `[0, 1]`; 0 where a denominator is 0 (scikit-learn's
/// `zero_division=0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Share of the answers that were right.
    pub precision: f64,
    /// Share of the true images that were found.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of true images.
    pub support: u64,
}

/// `numerator / denominator`, 0 where the denominator is 0.
pub(super) fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 {
        0.0
    } else {
        numerator as f64 / denominator as f64
    }
}

impl ConfusionMatrix {
    /// An empty matrix over `classes` classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts (true, predicted) pairs.
    ///
    /// # Panics
    /// For a class outside `0..classes`.
    #[must_use]
    pub fn from_pairs(classes: usize, pairs: impl IntoIterator<Item = (ClassId, ClassId)>) -> Self {
        let mut matrix = Self::new(classes);
        for (actual, predicted) in pairs {
            matrix.add(actual, predicted);
        }
        matrix
    }

    fn cell(&self, actual: ClassId, predicted: ClassId) -> usize {
        assert!(
            actual.index() < self.classes && predicted.index() < self.classes,
            "class {} answered {} in a matrix of {} classes",
            actual.0,
            predicted.0,
            self.classes
        );
        actual.index() * self.classes + predicted.index()
    }

    /// Counts one image.
    ///
    /// # Panics
    /// For a class outside `0..classes()`.
    pub fn add(&mut self, actual: ClassId, predicted: ClassId) {
        let cell = self.cell(actual, predicted);
        self.counts[cell] += 1;
    }

    /// Adds the counts of `other`.
    ///
    /// # Panics
    /// For a matrix of another size.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "matrices of different sizes");
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Number of images that are `actual` and were answered `predicted`.
    ///
    /// # Panics
    /// For a class outside `0..classes()`.
    #[must_use]
    pub fn count(&self, actual: ClassId, predicted: ClassId) -> u64 {
        self.counts[self.cell(actual, predicted)]
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Rows in the order of the classes.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        // A matrix of no classes has no rows, and no row length either.
        self.counts.chunks_exact(self.classes.max(1))
    }

    /// Number of images counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Number of images of each true class.
    #[must_use]
    pub fn support(&self) -> Vec<u64> {
        self.rows().map(|row| row.iter().sum()).collect()
    }

    /// Number of times each class was answered.
    #[must_use]
    pub fn predicted(&self) -> Vec<u64> {
        (0..self.classes)
            .map(|column| self.rows().map(|row| row[column]).sum())
            .collect()
    }

    fn right(&self) -> u64 {
        (0..self.classes)
            .map(|class| self.counts[class * self.classes + class])
            .sum()
    }

    /// Share of right answers; 0 for no images.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.right(), self.total())
    }

    /// Mean recall of the classes that occur (`sklearn.metrics.balanced_accuracy_score`); 0 for no
    /// images.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        mean(
            self.per_class()
                .iter()
                .filter(|m| m.support > 0)
                .map(|m| m.recall),
        )
    }

    /// Precision, recall, F1 and support of every class, absent ones included.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        let (support, predicted) = (self.support(), self.predicted());
        (0..self.classes)
            .map(|class| {
                let hits = self.counts[class * self.classes + class];
                ClassMetrics {
                    precision: ratio(hits, predicted[class]),
                    recall: ratio(hits, support[class]),
                    f1: ratio(2 * hits, predicted[class] + support[class]),
                    support: support[class],
                }
            })
            .collect()
    }

    /// For every class, whether any image is of it or was answered with it. As in scikit-learn
    /// (`labels=None`), only these enter a macro average.
    #[must_use]
    pub fn present(&self) -> Vec<bool> {
        self.support()
            .iter()
            .zip(self.predicted())
            .map(|(support, predicted)| support + predicted > 0)
            .collect()
    }

    /// Unweighted mean over the [`present`](Self::present) classes; its support is the total.
    #[must_use]
    pub fn macro_average(&self) -> ClassMetrics {
        let present = self.present();
        let rows: Vec<ClassMetrics> = self
            .per_class()
            .into_iter()
            .zip(present)
            .filter_map(|(metrics, present)| present.then_some(metrics))
            .collect();
        ClassMetrics {
            precision: mean(rows.iter().map(|m| m.precision)),
            recall: mean(rows.iter().map(|m| m.recall)),
            f1: mean(rows.iter().map(|m| m.f1)),
            support: self.total(),
        }
    }

    /// Mean over the classes, each weighted by its support; its support is the total.
    #[must_use]
    pub fn weighted_average(&self) -> ClassMetrics {
        let rows = self.per_class();
        let total = self.total();
        let weighted = |value: fn(&ClassMetrics) -> f64| {
            if total == 0 {
                return 0.0;
            }
            let sum: f64 = rows.iter().map(|m| value(m) * m.support as f64).sum();
            sum / total as f64
        };
        ClassMetrics {
            precision: weighted(|m| m.precision),
            recall: weighted(|m| m.recall),
            f1: weighted(|m| m.f1),
            support: total,
        }
    }

    /// F1 of the [macro average](Self::macro_average).
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        self.macro_average().f1
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0_u64), |(sum, n), v| (sum + v, n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(list: &[(u8, u8)]) -> impl Iterator<Item = (ClassId, ClassId)> {
        list.iter().map(|(t, p)| (ClassId(*t), ClassId(*p)))
    }

    #[test]
    fn rows_are_true_classes() {
        let m = ConfusionMatrix::from_pairs(3, pairs(&[(0, 1), (0, 1), (2, 2)]));
        assert_eq!(m.count(ClassId(0), ClassId(1)), 2);
        assert_eq!(m.count(ClassId(1), ClassId(0)), 0);
        assert_eq!(m.support(), [2, 0, 1]);
        assert_eq!(m.predicted(), [0, 2, 1]);
        let json = serde_json::to_string(&m).expect("plain numbers");
        assert_eq!(json, "[[0,2,0],[0,0,0],[0,0,1]]");
        assert_eq!(
            serde_json::from_str::<ConfusionMatrix>(&json).expect("own format"),
            m
        );
        assert!(serde_json::from_str::<ConfusionMatrix>("[[1,2],[3]]").is_err());
    }

    #[test]
    fn nothing_counted_is_zero_everywhere() {
        for classes in [0, 3] {
            let m = ConfusionMatrix::new(classes);
            assert_eq!(m.total(), 0);
            assert_eq!(
                (m.accuracy(), m.balanced_accuracy(), m.macro_f1()),
                (0.0, 0.0, 0.0)
            );
            assert_eq!(m.weighted_average(), ClassMetrics::default());
        }
    }

    #[test]
    fn a_class_that_is_answered_but_never_true_counts_in_the_macro_average() {
        let m = ConfusionMatrix::from_pairs(4, pairs(&[(0, 0), (0, 0), (0, 1)]));
        assert_eq!(m.present(), [true, true, false, false]);
        // F1 of class 0 is 0.8, of class 1 it is 0; classes 2 and 3 do not occur.
        assert!((m.macro_f1() - 0.4).abs() < 1e-15);
        assert!((m.balanced_accuracy() - 2.0 / 3.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn merging_parts_equals_counting_at_once(
            list in prop::collection::vec((0_u8..5, 0_u8..5), 0..200), cut in 0_usize..200,
        ) {
            let cut = cut.min(list.len());
            let whole = ConfusionMatrix::from_pairs(5, pairs(&list));
            let mut parts = ConfusionMatrix::from_pairs(5, pairs(&list[..cut]));
            parts.merge(&ConfusionMatrix::from_pairs(5, pairs(&list[cut..])));
            prop_assert_eq!(&parts, &whole);
            prop_assert_eq!(whole.total(), list.len() as u64);
        }

        #[test]
        fn renaming_the_classes_changes_no_average(
            list in prop::collection::vec((0_u8..4, 0_u8..4), 1..100),
        ) {
            let renamed: Vec<(u8, u8)> = list.iter().map(|(t, p)| (3 - t, 3 - p)).collect();
            let a = ConfusionMatrix::from_pairs(4, pairs(&list));
            let b = ConfusionMatrix::from_pairs(4, pairs(&renamed));
            prop_assert!((a.macro_f1() - b.macro_f1()).abs() < 1e-12);
            prop_assert!((a.weighted_average().f1 - b.weighted_average().f1).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&a.macro_f1()));
        }
    }
}
