//! One function per thing a user can do.

use std::path::PathBuf;

use crate::domain::{ClassId, ImageId, Prediction, Split};
use crate::evaluation::{CvReport, Report};
use crate::training::Plan;

/// A finished training, as its run folder tells it.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What was trained and how.
    pub plan: Plan,
    /// When it began, ISO 8601.
    pub created: String,
    /// The epoch whose weights were kept, counted from 1.
    pub best_epoch: usize,
    /// Epochs run.
    pub epochs: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// On the test split.
    pub report: Report,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
    /// Words of the regular classes in the files, in order.
    pub labels: Vec<String>,
}

/// A run with its answer for every labelled image.
#[derive(Clone, Debug)]
pub struct Review {
    /// The run.
    pub run: RunSummary,
    /// Names of the regular classes, in order.
    pub classes: Vec<String>,
    /// One per labelled image.
    pub rows: Vec<ReviewRow>,
    /// Images of the run that the data set does not have any more.
    pub gone: usize,
}

/// The answer for one image.
#[derive(Clone, Debug)]
pub struct ReviewRow {
    /// Which image.
    pub image: ImageId,
    /// The part it played.
    pub split: Split,
    /// Its label when the run was trained.
    pub label: ClassId,
    /// What the run says.
    pub prediction: Prediction,
}

/// What the drift head says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftScore {
    /// Which image.
    pub image: ImageId,
    /// Probability of drift; none before there is a head.
    pub probability: Option<f32>,
    /// Share of the regular images that look less odd, `0..=1`.
    pub anomaly: f32,
}

/// One fit of the drift head.
#[derive(Clone, Debug)]
pub struct DriftResult {
    /// One per image.
    pub scores: Vec<DriftScore>,
    /// How well drift is told from regular images, or a sentence why nobody can say.
    pub quality: Result<CvReport, String>,
    /// Why the ranking is by distance only, if it is.
    pub head_problem: Option<String>,
    /// Drift labels it was fitted on.
    pub n_drift: usize,
    /// Regular labels it was fitted on.
    pub n_regular: usize,
    /// How long the fit took.
    pub milliseconds: f64,
}
