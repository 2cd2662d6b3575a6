//! The combined answer of drift gate and network, as a submission in the challenge's format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::domain::{ClassId, ImageId, Label, Split};
use crate::drift::Decision;
use crate::jobs::JobContext;
use crate::project::Snapshot;

use super::export::refuse_own_files;
use super::{
    DriftRate, Verdict, WorkflowError,
    drift::{DriftSource, QUEUE_SEED, drift_labels, prepare_drift},
    embed::write_csv,
};

/// Repeats of the cross-validation that comes with a submission.
const CV_REPEATS: usize = 5;

/// How an image gets its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SubmitDecision {
    /// The answer that is expected to cost least by the project's cost matrix, drift as frequent among the
    /// incoming images as [`DriftRate`](super::DriftRate) takes it to be.
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
    /// Images that a person should look at, dearest first, beside the file.
    pub review: PathBuf,
    /// How many those are.
    pub needs_review: usize,
    /// How frequent drift was taken to be.
    pub rate: DriftRate,
    /// What the user should know before sending it.
    pub warnings: Vec<String>,
}

/// Answers every incoming image and writes `,filename,<columns>,Label` with class numbers; and beside it, in
/// `<name>_review.csv`, `filename,answer,drift,expected_cost`: the images that nobody has labelled and that a person
/// should look at, the dearest first, with the answer they got all the same, their probability of drift, and what
/// that answer is expected to cost more than the truth (nothing for an image that cannot be read).
///
/// # Errors
/// [`WorkflowError`].
pub fn submit(
    snapshot: &Snapshot,
    request: &SubmitRequest,
    context: &JobContext,
) -> Result<SubmitSummary, WorkflowError> {
    let manifest = &snapshot.manifest;
    let review = review_file(&request.out);
    refuse_own_files(manifest, &request.out)?;
    refuse_own_files(manifest, &review)?;
    let incoming = snapshot.in_split(Split::Incoming);
    if incoming.is_empty() {
        return Err(WorkflowError::NothingToDo(
            "this data set has no incoming images, so there is nothing to submit".to_owned(),
        ));
    }
    let session = prepare_drift(snapshot, &DriftSource::of(snapshot, &request.run)?, context)?;
    let labels = drift_labels(snapshot);
    let result = session.refit(&labels, CV_REPEATS);
    let decided = session.decide(snapshot, &labels, &result, QUEUE_SEED);
    let verdicts: HashMap<ImageId, &Verdict> =
        decided.verdicts.iter().map(|v| (v.image, v)).collect();
    let threshold = match request.decision {
        SubmitDecision::Cheapest => None,
        SubmitDecision::Threshold(threshold) => Some(threshold),
    };
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
                "each answer is the one that costs least if {:.1} % of the incoming images are drift, {}",
                100.0 * decided.rate.assumed,
                source_of(&decided.rate)
            ));
        }
    }
    let mut counts = vec![0; manifest.classes.len()];
    let (mut unread, mut to_review) = (0, Vec::new());
    let mut answer = |id: ImageId| -> ClassId {
        let hand = snapshot.hand[id.index()];
        if request.use_hand_labels
            && let Some(Label::Class(class)) = hand
        {
            return class;
        }
        let drift = manifest.classes.drift();
        let Some(verdict) = verdicts.get(&id) else {
            // An image that nobody can look at must not pass as good.
            unread += 1;
            to_review.push((id, drift, None));
            return drift;
        };
        let (decision, regret) = verdict.decide(threshold, decided.look, drift);
        if matches!(decision, Decision::NeedsReview(_)) && hand.is_none() {
            to_review.push((id, decision.answer(), Some((verdict.drift, regret))));
        }
        decision.answer()
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
    to_review.sort_by(|a, b| {
        let regret = |known: Option<(f64, f64)>| known.map_or(f64::INFINITY, |(_, regret)| regret);
        regret(b.2).total_cmp(&regret(a.2))
    });
    let header = ["filename", "answer", "drift", "expected_cost"].map(str::to_owned);
    let list = to_review.iter().map(|(id, answer, known)| {
        let number = |value: fn((f64, f64)) -> f64, digits: usize| {
            known.map_or(String::new(), |k| format!("{:.digits$}", value(k)))
        };
        vec![
            manifest.get(*id).key.clone(),
            manifest.classes.label(*answer).to_owned(),
            number(|k| k.0, 6),
            number(|k| k.1, 3),
        ]
    });
    write_csv(&review, std::iter::once(header.to_vec()).chain(list))?;
    Ok(SubmitSummary {
        file: request.out.clone(),
        review,
        needs_review: to_review.len(),
        rows: incoming.len(),
        counts,
        rate: decided.rate,
        warnings,
    })
}

/// `submission_review.csv` beside `submission.csv`.
fn review_file(out: &Path) -> PathBuf {
    let name = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{name}_review.csv"))
}

/// Where an assumed share of drift comes from, in words.
fn source_of(rate: &DriftRate) -> String {
    if rate.given {
        return "as is said".to_owned();
    }
    if rate.is_guess() {
        return "which is a guess: fewer than 10 images of the random sample are labelled"
            .to_owned();
    }
    let [lo, hi] = rate.interval().map(|share| 100.0 * share);
    format!(
        "as {} of {} randomly drawn images were ({lo:.1} to {hi:.1} %)",
        rate.drift, rate.images
    )
}

fn file_name(key: &str) -> String {
    let name = Path::new(key).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
