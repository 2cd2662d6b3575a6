//! The metrics agree with scikit-learn and SciPy: `tests/golden/make_metrics.py` wrote the numbers, and
//! `make_operating.py` those of the operating points.

use approx::assert_abs_diff_eq;
use driftscope::domain::{ClassId, CostMatrix};
use driftscope::evaluation::{
    Aim, BinaryScores, ConfusionMatrix, GateCosts, Gated, Interval, Report, Temperature,
    brier_score, expected_calibration_error, log_loss, operating_point, wilson_interval,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    classification: Vec<Classification>,
    binary: Vec<Binary>,
    probabilities: Vec<Probabilities>,
    temperature: Vec<TemperatureCase>,
    wilson: Vec<Wilson>,
}

#[derive(Deserialize)]
struct Classification {
    names: Vec<String>,
    y_true: Vec<u8>,
    y_pred: Vec<u8>,
    confusion: Vec<Vec<u64>>,
    accuracy: f64,
    balanced_accuracy: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    #[serde(rename = "macro")]
    macro_average: [f64; 3],
    weighted: [f64; 3],
    text: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Binary {
    scores: Vec<f64>,
    labels: Vec<bool>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    thresholds: Vec<f64>,
    average_precision: f64,
    f1_at_half: f64,
    roc_auc: Option<f64>,
    best_f1: Option<f64>,
}

#[derive(Deserialize)]
struct Probabilities {
    p: Vec<f64>,
    y: Vec<bool>,
    brier: f64,
    log_loss: f64,
    ece_10: f64,
    ece_15: f64,
}

#[derive(Deserialize)]
struct TemperatureCase {
    classes: usize,
    logits: Vec<f32>,
    truth: Vec<u8>,
    temperature: f64,
    nll_at_1: f64,
    nll_best: f64,
}

#[derive(Deserialize)]
struct Wilson {
    successes: u64,
    trials: u64,
    interval: [f64; 2],
}

#[derive(Deserialize)]
struct Operating {
    cases: Vec<Gate>,
}

/// Labelled images, the answers of a network to them, and the operating points on their scores.
#[derive(Deserialize)]
struct Gate {
    rate: f64,
    actual: Vec<u8>,
    network: Vec<u8>,
    scores: Vec<f64>,
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    aim: String,
    threshold: f64,
    caught: u64,
    false_alarms: u64,
    f1: f64,
    /// The value and its interval.
    recall: [f64; 3],
    precision: [f64; 3],
    cost: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/metrics.json")).expect("written by make_metrics.py")
}

fn assert_all_close(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert_abs_diff_eq!(a, b, epsilon = 1e-12);
    }
}

#[test]
fn the_classification_report_is_scikit_learns() {
    for case in golden().classification {
        let pairs = case.y_true.iter().zip(&case.y_pred);
        let confusion = ConfusionMatrix::from_pairs(
            case.names.len(),
            pairs.map(|(t, p)| (ClassId(*t), ClassId(*p))),
        );
        assert_eq!(Vec::from(confusion.clone()), case.confusion);
        let report = Report::new(case.names, confusion, &CostMatrix::challenge(), 1)
            .expect("images and costs");
        assert_abs_diff_eq!(report.accuracy, case.accuracy, epsilon = 1e-12);
        assert_abs_diff_eq!(
            report.balanced_accuracy,
            case.balanced_accuracy,
            epsilon = 1e-12
        );
        let column = |value: fn(&driftscope::evaluation::ClassReport) -> f64| {
            report.per_class.iter().map(value).collect::<Vec<f64>>()
        };
        assert_all_close(&column(|c| c.metrics.precision), &case.precision);
        assert_all_close(&column(|c| c.metrics.recall), &case.recall);
        assert_all_close(&column(|c| c.metrics.f1), &case.f1);
        let support: Vec<u64> = report.per_class.iter().map(|c| c.metrics.support).collect();
        assert_eq!(support, case.support);
        assert_all_close(
            &[report.macro_precision, report.macro_recall, report.macro_f1],
            &case.macro_average,
        );
        assert_all_close(
            &[
                report.weighted_precision,
                report.weighted_recall,
                report.weighted_f1,
            ],
            &case.weighted,
        );
        for (digits, text) in &case.text {
            let digits = digits.parse().expect("a number of digits");
            assert_eq!(&report.to_text(digits), text);
        }
    }
}

#[test]
fn the_curves_are_scikit_learns() {
    for case in golden().binary {
        let scores = BinaryScores::new(&case.scores, &case.labels).expect("finite");
        let curve = scores.precision_recall_curve().expect("positives");
        assert_eq!(curve.thresholds, case.thresholds);
        assert_all_close(&curve.precision, &case.precision);
        assert_all_close(&curve.recall, &case.recall);
        let ap = scores.average_precision().expect("positives");
        assert_abs_diff_eq!(ap, case.average_precision, epsilon = 1e-12);
        assert_abs_diff_eq!(scores.at(0.5).f1, case.f1_at_half, epsilon = 1e-12);
        assert_eq!(scores.roc_auc().is_ok(), case.roc_auc.is_some());
        if let (Some(auc), Some(f1)) = (case.roc_auc, case.best_f1) {
            let (ours, best) = (scores.roc_auc(), scores.best_f1());
            assert_abs_diff_eq!(ours.expect("both kinds"), auc, epsilon = 1e-12);
            assert_abs_diff_eq!(best.expect("both kinds").f1, f1, epsilon = 1e-12);
        }
    }
}

#[test]
fn the_calibration_figures_are_scikit_learns() {
    for case in golden().probabilities {
        let ours = [
            brier_score(&case.p, &case.y),
            log_loss(&case.p, &case.y),
            expected_calibration_error(&case.p, &case.y, 10),
            expected_calibration_error(&case.p, &case.y, 15),
        ]
        .map(|v| v.expect("finite"));
        assert_all_close(
            &ours,
            &[case.brier, case.log_loss, case.ece_10, case.ece_15],
        );
    }
}

#[test]
fn the_temperature_is_where_scipy_finds_the_minimum() {
    for case in golden().temperature {
        let truth: Vec<ClassId> = case.truth.iter().map(|c| ClassId(*c)).collect();
        let ours = Temperature::fit(&case.logits, case.classes, &truth).expect("finite");
        // SciPy compares values only, which are flat to 1e-8 around the minimum.
        assert_abs_diff_eq!(ours.0 / case.temperature, 1.0, epsilon = 1e-6);
        let nll = |t: Temperature| {
            t.negative_log_likelihood(&case.logits, case.classes, &truth)
                .expect("finite")
        };
        assert_all_close(
            &[nll(Temperature(1.0)), nll(ours)],
            &[case.nll_at_1, case.nll_best],
        );
    }
}

#[test]
fn the_wilson_interval_is_scipys() {
    for case in golden().wilson {
        assert_all_close(
            &wilson_interval(case.successes, case.trials),
            &case.interval,
        );
    }
}

#[test]
fn the_operating_points_are_where_scikit_learn_finds_them() {
    let golden: Operating = serde_json::from_str(include_str!("golden/operating.json"))
        .expect("written by make_operating.py");
    let cost = CostMatrix::challenge();
    let drift = ClassId::from(cost.len() - 1);
    for case in golden.cases {
        let answers = case.actual.iter().zip(&case.network);
        let images: Vec<Gated> = (answers.zip(&case.scores))
            .map(|((actual, answer), score)| {
                let (actual, answer) = (ClassId(*actual), ClassId(*answer));
                let is_drift = actual == drift;
                Gated {
                    score: *score,
                    drift: is_drift,
                    costs: Some(GateCosts::new(&cost, is_drift, Some(actual), answer)),
                }
            })
            .collect();
        for point in case.points {
            let aim = match point.aim.as_str() {
                "cheapest" => Aim::Cheapest,
                "f1" => Aim::F1,
                "catch" => Aim::Catch,
                other => panic!("{other} is no aim"),
            };
            let ours = operating_point(&images, &[], aim, case.rate).expect("both kinds");
            let figures = ours.figures;
            assert_eq!(
                (figures.caught, figures.false_alarms),
                (point.caught, point.false_alarms),
                "{} of {} images",
                point.aim,
                images.len()
            );
            assert_all_close(
                &[ours.threshold, figures.f1.mean],
                &[point.threshold, point.f1],
            );
            let with_ends = |i: Interval| [i.mean, i.lo, i.hi];
            assert_all_close(&with_ends(figures.recall), &point.recall);
            assert_all_close(&with_ends(figures.precision), &point.precision);
            let paid = figures.cost.expect("costs").mean;
            assert_abs_diff_eq!(paid, point.cost, epsilon = 1e-9 * point.cost);
        }
    }
}
