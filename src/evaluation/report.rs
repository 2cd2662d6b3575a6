//! The report of a run: what `report.json` holds and what the terminal prints.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{
    ClassMetrics, ConfusionMatrix, EvaluationError, best_constant, bootstrap_interval, pwa,
};
use crate::domain::{ClassId, CostMatrix};

/// Resamples behind [`Report::macro_f1_ci`]: its ends move by about a tenth of its width with the seed.
const RESAMPLES: usize = 1000;

/// One line of the classification report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Name on screen.
    pub name: String,
    /// Precision, recall, F1 and support.
    #[serde(flatten)]
    pub metrics: ClassMetrics,
}

/// Everything measured on one set of images. Ratios are in `[0, 1]`; a division by zero gives 0
/// (scikit-learn's `zero_division=0`); macro averages run over the classes that occur in the truth or
/// in the answers (scikit-learn's `labels=None`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Names on screen, in the order of the confusion matrix.
    pub classes: Vec<String>,
    /// Rows are true classes, columns predicted ones.
    pub confusion: ConfusionMatrix,
    /// Number of images.
    pub n: u64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean recall of the classes that occur.
    pub balanced_accuracy: f64,
    /// Macro-averaged precision.
    pub macro_precision: f64,
    /// Macro-averaged recall.
    pub macro_recall: f64,
    /// Macro-averaged F1.
    pub macro_f1: f64,
    /// 95 % percentile bootstrap interval of the macro-F1 over images (1,000 resamples, seeded). It says
    /// how much other images of the same kind would move the figure, not how much another training would.
    pub macro_f1_ci: [f64; 2],
    /// Precision weighted by support.
    pub weighted_precision: f64,
    /// Recall weighted by support: the accuracy again.
    pub weighted_recall: f64,
    /// F1 weighted by support.
    pub weighted_f1: f64,
    /// One entry per class, absent ones included.
    pub per_class: Vec<ClassReport>,
    /// Penalty-weighted accuracy.
    pub pwa: f64,
    /// Penalty-weighted accuracy of the best constant answer on the same images.
    pub pwa_constant: f64,
    /// That answer; past the end of [`classes`](Self::classes) where it is drift and the network knows none.
    pub pwa_constant_class: ClassId,
}

impl Report {
    /// Measures everything. `classes` are the names of the rows of `confusion`; `cost` may know more
    /// classes (drift); `seed` draws the bootstrap.
    ///
    /// # Errors
    /// [`EvaluationError::Empty`], [`EvaluationError::NamesMismatch`],
    /// [`EvaluationError::CostMatrixTooSmall`].
    pub fn new(
        classes: Vec<String>,
        confusion: ConfusionMatrix,
        cost: &CostMatrix,
        seed: u64,
    ) -> Result<Self, EvaluationError> {
        if classes.len() != confusion.classes() {
            return Err(EvaluationError::NamesMismatch {
                names: classes.len(),
                classes: confusion.classes(),
            });
        }
        let pwa = pwa(&confusion, cost)?;
        let constant = best_constant(&confusion, cost)?;
        let macro_f1_ci = macro_f1_interval(&confusion, seed).ok_or(EvaluationError::Empty)?;
        let (macro_average, weighted) = (confusion.macro_average(), confusion.weighted_average());
        let per_class = classes
            .iter()
            .cloned()
            .zip(confusion.per_class())
            .map(|(name, metrics)| ClassReport { name, metrics })
            .collect();
        Ok(Self {
            n: confusion.total(),
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            macro_precision: macro_average.precision,
            macro_recall: macro_average.recall,
            macro_f1: macro_average.f1,
            macro_f1_ci,
            weighted_precision: weighted.precision,
            weighted_recall: weighted.recall,
            weighted_f1: weighted.f1,
            per_class,
            pwa,
            pwa_constant: constant.pwa,
            pwa_constant_class: constant.class,
            classes,
            confusion,
        })
    }

    /// Reckons the penalty-weighted accuracies anew: mistakes cost this from now on.
    ///
    /// # Errors
    /// [`EvaluationError::CostMatrixTooSmall`]; nothing is changed then.
    pub fn set_cost(&mut self, cost: &CostMatrix) -> Result<(), EvaluationError> {
        let pwa = pwa(&self.confusion, cost)?;
        let constant = best_constant(&self.confusion, cost)?;
        (self.pwa, self.pwa_constant) = (pwa, constant.pwa);
        self.pwa_constant_class = constant.class;
        Ok(())
    }

    /// The text of `sklearn.metrics.classification_report(…, digits=digits, zero_division=0)`,
    /// character for character. Classes that neither occur nor are answered have no line, as there.
    #[must_use]
    pub fn to_text(&self, digits: usize) -> String {
        let present = self.confusion.present();
        let lines: Vec<&ClassReport> = self
            .per_class
            .iter()
            .zip(present)
            .filter_map(|(line, present)| present.then_some(line))
            .collect();
        let width = lines
            .iter()
            .map(|line| line.name.chars().count())
            .fold("weighted avg".len().max(digits), usize::max);
        let mut text = format!("{:>width$} ", "");
        for head in ["precision", "recall", "f1-score", "support"] {
            push(&mut text, format_args!(" {head:>9}"));
        }
        text.push_str("\n\n");
        for line in lines {
            push_row(&mut text, &line.name, line.metrics, width, digits);
        }
        push(
            &mut text,
            format_args!(
                "\n{:>width$}  {:>9} {:>9} {:>9.digits$} {:>9}\n",
                "accuracy", "", "", self.accuracy, self.n
            ),
        );
        let average = |precision, recall, f1| ClassMetrics {
            precision,
            recall,
            f1,
            support: self.n,
        };
        let macro_average = average(self.macro_precision, self.macro_recall, self.macro_f1);
        push_row(&mut text, "macro avg", macro_average, width, digits);
        let weighted = average(
            self.weighted_precision,
            self.weighted_recall,
            self.weighted_f1,
        );
        push_row(&mut text, "weighted avg", weighted, width, digits);
        text
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a String takes all text");
}

fn push_row(text: &mut String, name: &str, m: ClassMetrics, width: usize, digits: usize) {
    push(
        text,
        format_args!(
            "{name:>width$}  {:>9.digits$} {:>9.digits$} {:>9.digits$} {:>9}\n",
            m.precision, m.recall, m.f1, m.support
        ),
    );
}

fn macro_f1_interval(confusion: &ConfusionMatrix, seed: u64) -> Option<[f64; 2]> {
    let images: Vec<(ClassId, ClassId)> = confusion
        .rows()
        .enumerate()
        .flat_map(|(t, row)| row.iter().enumerate().map(move |(p, n)| (t, p, *n)))
        .flat_map(|(t, p, n)| (0..n).map(move |_| (ClassId::from(t), ClassId::from(p))))
        .collect();
    bootstrap_interval(images.len(), RESAMPLES, seed, |drawn| {
        ConfusionMatrix::from_pairs(confusion.classes(), drawn.iter().map(|i| images[*i]))
            .macro_f1()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    fn report() -> Report {
        let counts = [[8, 2, 0], [1, 4, 0], [0, 0, 0]];
        let rows = counts.iter().map(|row| row.to_vec()).collect::<Vec<_>>();
        let confusion = ConfusionMatrix::try_from(rows).expect("square");
        Report::new(names(3), confusion, &CostMatrix::challenge(), 1).expect("images")
    }

    #[test]
    fn the_json_has_the_documented_keys() {
        let json = serde_json::to_value(report()).expect("plain data");
        for key in [
            "classes",
            "confusion",
            "accuracy",
            "macro_f1",
            "weighted_f1",
            "per_class",
            "pwa",
            "pwa_constant",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        let mut line: Vec<&String> = json["per_class"][0]
            .as_object()
            .expect("map")
            .keys()
            .collect();
        line.sort();
        assert_eq!(line, ["f1", "name", "precision", "recall", "support"]);
        let back: Report = serde_json::from_value(json).expect("own format");
        assert_eq!(back, report());
    }

    #[test]
    fn other_costs_change_what_mistakes_cost_and_nothing_else() {
        let mut changed = report();
        let costs = vec![vec![0.0, 1.0, 1.0], vec![4.0, 0.0, 1.0], vec![1.0; 3]];
        let cost = CostMatrix::try_from(costs).expect("costs");
        changed.set_cost(&cost).expect("a cost for each class");
        // 2 mistakes of 1 and one of 4, of 15 images at 4 each; the first class always costs 5 times 4.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(changed.pwa, 1.0 - 6.0 / 60.0), "{}", changed.pwa);
        assert!(close(changed.pwa_constant, 1.0 - 10.0 / 60.0));
        assert_eq!(changed.pwa_constant_class, ClassId(1));
        let small = CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("costs");
        let before = changed.clone();
        assert!(changed.set_cost(&small).is_err() && changed == before);
        changed.set_cost(&CostMatrix::challenge()).expect("enough");
        assert_eq!(changed, report());
    }

    #[test]
    fn the_interval_is_seeded_and_holds_the_figure() {
        let r = report();
        assert!(r.macro_f1_ci[0] < r.macro_f1 && r.macro_f1 < r.macro_f1_ci[1]);
        assert_eq!(r.macro_f1_ci, report().macro_f1_ci);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let cost = CostMatrix::challenge();
        let empty = Report::new(names(3), ConfusionMatrix::new(3), &cost, 1);
        assert_eq!(empty, Err(EvaluationError::Empty));
        let misnamed = Report::new(names(2), ConfusionMatrix::new(3), &cost, 1);
        assert!(matches!(
            misnamed,
            Err(EvaluationError::NamesMismatch { .. })
        ));
    }
}
