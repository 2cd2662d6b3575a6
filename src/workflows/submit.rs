//! The combined answer of drift gate and network, as a submission in the challenge's format.

use std::path::{Path, PathBuf};

use crate::domain::{ClassId, ImageId, Label, Split};
use crate::drift::{cheapest, combine, gate, prior_shifted};
use crate::jobs::JobContext;
use crate::project::Snapshot;

use super::export::refuse_own_files;
use super::{
    WorkflowError,
    drift::{DriftSource, QUEUE_SEED, drift_labels, prepare_drift},
    embed::write_csv,
};

/// Repeats of the cross-validation that comes with a submission.
const CV_REPEATS: usize = 5;

/// How an image gets its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SubmitDecision {
    /// The answer that is expected to cost least by the project's cost matrix, drift as frequent among the
    /// incoming images as [`DriftSession::drift_rate`](super::DriftSession::drift_rate) takes it to be.
    Cheapest,
    /// Drift from this probability on, `0..=1`, else the likeliest regular class.
    Threshold(f64),
}

impl From<Option<f64>> for SubmitDecision {
    /// A threshold decides where somebody has settled on one.
    fn from(threshold: Option<f64>) -> Self {
        threshold.map_or(Self::Cheapest, Self::Threshold)
    }
}

/// What to submit and how.
#[derive(Clone, Debug)]
pub struct SubmitRequest {
    /// Folder of the run that answers.
    pub run: PathBuf,
    /// How an image gets its answer.
    pub decision: SubmitDecision,
    /// Whether a hand label that names a class is the answer for its image.
    pub use_hand_labels: bool,
    /// The file.
    pub out: PathBuf,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct SubmitSummary {
    /// The file.
    pub file: PathBuf,
    /// Rows, one for each incoming image.
    pub rows: usize,
    /// Answers of each class, in class order, drift last.
    pub counts: Vec<usize>,
    /// What the user should know before sending it.
    pub warnings: Vec<String>,
}

/// Answers every incoming image and writes `,filename,<columns>,Label` with class numbers.
///
/// # Errors
/// [`WorkflowError`].
pub fn submit(
    snapshot: &Snapshot,
    request: &SubmitRequest,
    context: &JobContext,
) -> Result<SubmitSummary, WorkflowError> {
    let manifest = &snapshot.manifest;
    refuse_own_files(manifest, &request.out)?;
    let incoming = snapshot.in_split(Split::Incoming);
    if incoming.is_empty() {
        return Err(WorkflowError::NothingToDo(
            "this data set has no incoming images, so there is nothing to submit".to_owned(),
        ));
    }
    let session = prepare_drift(snapshot, &DriftSource::of(snapshot, &request.run)?, context)?;
    let labels = drift_labels(snapshot);
    let result = session.refit(&labels, CV_REPEATS);
    let rate = session.drift_rate(&labels, QUEUE_SEED);
    let probability: std::collections::HashMap<_, _> = result
        .scores
        .iter()
        .map(|score| (score.image, score.probability.unwrap_or(0.0)))
        .collect();
    let mut warnings = Vec::new();
    if let Some(problem) = &result.head_problem {
        warnings.push(format!("nothing is answered as drift: {problem}"));
    } else {
        let n = result.n_drift + result.n_regular;
        let labels = if n == 1 { "label" } else { "labels" };
        warnings.push(format!(
            "the drift head was fitted on {n} {labels} of incoming images: its score on these very images is transductive"
        ));
        if request.decision == SubmitDecision::Cheapest {
            warnings.push(format!(
                "each answer is the one that costs least if {:.1} % of the incoming images are drift",
                100.0 * rate
            ));
        }
    }
    let mut counts = vec![0; manifest.classes.len()];
    let mut unread = 0;
    let mut answer = |id: ImageId| -> ClassId {
        let hand = snapshot.hand[id.index()];
        if request.use_hand_labels
            && let Some(Label::Class(class)) = hand
        {
            return class;
        }
        match session.prediction(id) {
            Some(prediction) => {
                let drift = f64::from(probability.get(&id).copied().unwrap_or(0.0));
                let regular = &prediction.probabilities;
                match request.decision {
                    SubmitDecision::Cheapest => {
                        let all = combine(prior_shifted(drift, rate), regular);
                        cheapest(&snapshot.cost, &all).answer()
                    }
                    SubmitDecision::Threshold(threshold) => {
                        gate(drift, threshold, regular).answer()
                    }
                }
            }
            None => {
                // An image that nobody can look at must not pass as good.
                unread += 1;
                manifest.classes.drift()
            }
        }
    };
    let mut header = vec![String::new(), "filename".to_owned()];
    header.extend(manifest.columns.iter().cloned());
    header.push("Label".to_owned());
    let mut rows = vec![header];
    for (index, id) in incoming.iter().enumerate() {
        let image = manifest.get(*id);
        let class = answer(*id);
        counts[class.index()] += 1;
        let mut row = vec![index.to_string(), file_name(&image.key)];
        row.extend(image.values.iter().cloned());
        row.push(class.0.to_string());
        rows.push(row);
    }
    if unread > 0 {
        warnings.push(match unread {
            1 => "1 image cannot be read and is answered as drift, so that somebody looks at it"
                .to_owned(),
            n => format!(
                "{n} images cannot be read and are answered as drift, so that somebody looks at them"
            ),
        });
    }
    if !manifest.classes.is_challenge() {
        let numbers = manifest.classes.iter();
        let numbers: Vec<String> = numbers
            .map(|(id, c)| format!("{} {}", id.0, c.label))
            .collect();
        warnings.push(format!("class numbers: {}", numbers.join(", ")));
    }
    write_csv(&request.out, rows.into_iter())?;
    Ok(SubmitSummary {
        file: request.out.clone(),
        rows: incoming.len(),
        counts,
        warnings,
    })
}

fn file_name(key: &str) -> String {
    let name = Path::new(key).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
