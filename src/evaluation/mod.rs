//! How good the predictions are: pure numbers, no tensors. Names and values are scikit-learn's.

mod binary;
mod confusion;
mod cross_validation;
mod error;
mod interval;
mod operating;
mod paired;
mod probability;
mod pwa;
mod report;
mod temperature;

pub use binary::{BinaryCounts, BinaryScores, PrecisionRecallCurve};
pub use confusion::{ClassMetrics, ConfusionMatrix, NotSquare};
pub use cross_validation::{
    CrossValidationError, CvPlan, CvReport, cross_validate, cross_validate_grouped,
};
pub use error::EvaluationError;
pub use interval::{Interval, bootstrap_interval, wilson_interval};
pub use operating::{
    Aim, GateCosts, GateFigures, Gated, OperatingError, OperatingPoint, cheapest_constant, measure,
    operating_point,
};
pub use paired::{Better, Judged, PairedReport};
pub use probability::{
    ReliabilityBin, brier_score, expected_calibration_error, log_loss, reliability_bins,
};
pub use pwa::{ConstantAnswer, best_constant, pwa};
pub use report::{ClassReport, Report};
pub use temperature::Temperature;
