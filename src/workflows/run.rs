//! Training runs on disk. See `docs/formats/run.md`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::{ClassId, ImageId, Prediction, Split};
use crate::evaluation::{Report, Temperature};
use crate::inference::{Agreement, Embedder, Evidence};
use crate::models::{Model, ModelError, ModelInfo, Precision, REGISTRY, best_device};
use crate::project::{MARKER, Snapshot};
use crate::storage::StorageError;
use crate::training::{Pace, Plan, unadjusted};

use super::{WorkflowError, resume::labels_digest};

pub(super) const PLAN: &str = "plan.toml";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const MODEL: &str = "model.safetensors";
pub(super) const PREDICTIONS: &str = "predictions.csv";
pub(super) const REPORT: &str = "report.json";
/// Written last: a folder without it holds no finished run.
pub(super) const RUN: &str = "run.json";

/// A finished run: what its folder says of it.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What was asked for.
    pub plan: Plan,
    /// When, by whom, from what.
    pub created: String,
    /// Epoch whose weights were kept, counted from 1.
    pub best_epoch: usize,
    /// Epochs trained.
    pub epochs: usize,
    /// Wall-clock seconds of the training.
    pub seconds: f64,
    /// On the test split.
    pub report: Report,
    /// What the user should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Words of the regular classes in the files, in order.
    pub labels: Vec<String>,
    /// How often bf16 gave fp32's answer on validation images, where that was measured.
    pub bf16_agreement: Option<Agreement>,
}

/// The contents of `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunFile {
    pub format_version: u32,
    pub created: String,
    pub model: String,
    pub size: u32,
    pub labels: Vec<String>,
    pub parameters: u64,
    pub best_epoch: usize,
    pub epochs: usize,
    pub seconds: f64,
    pub reason: String,
    #[serde(default)]
    pub weights: Option<String>,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default)]
    pub log_prior: Option<Vec<f64>>,
    #[serde(default)]
    pub bf16_agreement: Option<Agreement>,
    pub seed: u64,
    pub threads: Option<usize>,
    pub train_images: usize,
    pub validation_images: usize,
    pub test_images: usize,
    pub program_version: String,
    pub data_digest: String,
    pub labels_digest: String,
    pub weights_digest: String,
    pub warnings: Vec<String>,
    /// What it ran on; runs of before this was kept do not say.
    #[serde(default)]
    pub machine: Option<String>,
    #[serde(default)]
    pub pace: Vec<Pace>,
}

/// What a run learned to tell, as `run.json` has it under `target`: nothing there for the regular classes.
#[derive(Deserialize)]
pub(super) struct Target {
    #[serde(default)]
    pub target: Option<String>,
}

/// The target of a run that tells drift from regular images.
pub(super) const DRIFT: &str = "drift";

/// Parameter counts of every model, at `size` pixels or at the study's.
///
/// # Errors
/// [`WorkflowError::Model`] for a size too small.
pub fn model_infos(size: Option<u32>, classes: usize) -> Result<Vec<ModelInfo>, WorkflowError> {
    let info = |spec: &crate::models::ModelSpec| spec.info(size.unwrap_or(spec.study_px), classes);
    Ok(REGISTRY
        .iter()
        .map(info)
        .collect::<Result<_, ModelError>>()?)
}

/// Reads the finished run in `dir`.
///
/// # Errors
/// [`WorkflowError::NoRun`] saying what is missing.
pub fn load_run(dir: &Path) -> Result<RunSummary, WorkflowError> {
    if read_json::<Target>(dir, RUN)?.target.as_deref() == Some(DRIFT) {
        let what = "its networks were fine-tuned to tell drift, and know no classes".to_owned();
        return Err(no_run(dir, what));
    }
    let file: RunFile = read_json(dir, RUN)?;
    let report = read_json(dir, REPORT)?;
    let plan = read_plan(dir)?;
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    Ok(RunSummary {
        name: name.to_string_lossy().into_owned(),
        dir: dir.to_owned(),
        plan,
        created: file.created,
        best_epoch: file.best_epoch,
        epochs: file.epochs,
        seconds: file.seconds,
        report,
        warnings: file.warnings,
        labels: file.labels,
        bf16_agreement: file.bf16_agreement,
    })
}

/// What turns the answers of a run into probabilities that costs can be weighed with.
#[derive(Clone, Debug, Default)]
pub(super) struct RunCalibration {
    /// Above 0; 1 where none was fitted.
    pub temperature: Option<f64>,
    /// `[classes]`: what training added to the logits, where it did.
    pub adjustment: Option<Vec<f64>>,
}

impl RunCalibration {
    /// Of the finished run in `dir`. Numbers in its files that make no sense are passed over.
    ///
    /// # Errors
    /// As [`load_run`].
    pub fn of(dir: &Path) -> Result<Self, WorkflowError> {
        let file: RunFile = read_json(dir, RUN)?;
        let tau = read_plan(dir)?.logit_adjustment;
        let adjustment: Option<Vec<f64>> = file
            .log_prior
            .filter(|log_prior| log_prior.len() == file.labels.len())
            .map(|log_prior| log_prior.iter().map(|l| tau * l).collect());
        Ok(Self {
            temperature: file.temperature.filter(|t| t.is_finite() && *t > 0.0),
            adjustment: adjustment.filter(|a| a.iter().all(|v| v.is_finite())),
        })
    }

    /// The class probabilities of an answer, `[classes]`, summing to 1.
    pub fn probabilities(&self, stated: &[f32]) -> Vec<f32> {
        if self.temperature.is_none() && self.adjustment.is_none() {
            return stated.to_vec();
        }
        let logits = unadjusted(stated, self.adjustment.as_deref());
        let temperature = self.temperature.map(Temperature).unwrap_or_default();
        let probabilities = temperature.probabilities(&logits).into_iter();
        probabilities.map(|p| p as f32).collect()
    }
}

/// All finished runs of the project, newest first. Folders that hold none are passed over.
#[must_use]
pub fn runs(snapshot: &Snapshot) -> Vec<RunSummary> {
    let Ok(entries) = fs::read_dir(snapshot.runs()) else {
        return Vec::new();
    };
    let mut runs: Vec<RunSummary> = entries
        .filter_map(|entry| load_run(&entry.ok()?.path()).ok())
        .collect();
    runs.sort_by(|a, b| (&b.created, &b.name).cmp(&(&a.created, &a.name)));
    runs
}

/// The newest finished run of this plan on the images and labels there are now, by this version of the program:
/// training again would give it again.
pub(super) fn trained_already(snapshot: &Snapshot, plan: &Plan) -> Option<RunSummary> {
    let data = snapshot.manifest.digest();
    let labels = labels_digest(snapshot);
    runs(snapshot).into_iter().find(|run| {
        run.plan == *plan
            && read_json::<RunFile>(&run.dir, RUN).is_ok_and(|file| {
                file.data_digest == data
                    && file.labels_digest == labels
                    && file.program_version == env!("CARGO_PKG_VERSION")
            })
    })
}

/// How long images took in finished runs of the project that ran on `machine`, the newest run first.
pub(super) fn paces(snapshot: &Snapshot, machine: &str) -> Vec<Pace> {
    let entries = fs::read_dir(snapshot.runs());
    let mut files: Vec<RunFile> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| read_json::<RunFile>(&entry.ok()?.path(), RUN).ok())
        .filter(|file| file.machine.as_deref() == Some(machine))
        .collect();
    files.sort_by(|a, b| b.created.cmp(&a.created));
    files.into_iter().flat_map(|file| file.pace).collect()
}

/// The run that `path` names: its folder, or a project or data set folder, whose newest run it is then.
///
/// # Errors
/// [`WorkflowError::NoRun`].
pub fn resolve_run(path: &Path) -> Result<RunSummary, WorkflowError> {
    if path.join(RUN).is_file() {
        return load_run(path);
    }
    for project in [path.to_owned(), path.join(MARKER)] {
        let mut newest: Option<RunSummary> = None;
        for entry in fs::read_dir(project.join("runs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(run) = load_run(&entry.path())
                && newest.as_ref().is_none_or(|n| run.created > n.created)
            {
                newest = Some(run);
            }
        }
        if let Some(run) = newest {
            return Ok(run);
        }
    }
    let what = if path.exists() {
        format!("no {RUN} in it")
    } else {
        "it does not exist".to_owned()
    };
    Err(no_run(path, what))
}

/// The run to use for a project: the one named, or else the newest.
///
/// # Errors
/// [`WorkflowError::NoRun`].
pub fn find_run(snapshot: &Snapshot, named: Option<&Path>) -> Result<RunSummary, WorkflowError> {
    match named {
        Some(path) => resolve_run(path),
        None => runs(snapshot)
            .into_iter()
            .next()
            .ok_or_else(|| no_run(&snapshot.runs(), "nothing was trained yet".to_owned())),
    }
}

/// The network of a run, with its cache of embeddings, checked against the classes of the data set.
pub(super) fn open_embedder(
    snapshot: &Snapshot,
    run: &RunSummary,
) -> Result<Embedder, WorkflowError> {
    let classes = &snapshot.manifest.classes;
    let now: Vec<&str> = (0..classes.regular_len())
        .map(|c| classes.label(ClassId::from(c)))
        .collect();
    if now != run.labels {
        return Err(WorkflowError::OtherClasses {
            run: run.name.clone(),
            run_classes: run.labels.join(", "),
            classes: now.join(", "),
        });
    }
    let device = best_device();
    let file = run.dir.join(MODEL);
    let (model, weights) = Model::load(
        &run.plan.model,
        run.plan.size,
        run.labels.len(),
        &file,
        device,
    )?;
    let evidence = Evidence::Answers(run.bf16_agreement);
    let precision = evidence.run_in(snapshot.precision, Precision::fastest(device));
    Ok(Embedder::new(
        &model,
        weights,
        precision,
        &snapshot.cache(),
    )?)
}

/// A run's answers on the images it was trained, validated and tested on.
#[derive(Clone, Debug)]
pub struct Review {
    /// The run.
    pub run: RunSummary,
    /// Names of the regular classes, in order.
    pub classes: Vec<String>,
    /// Its images that are still in the data set, in the run's order.
    pub rows: Vec<ReviewRow>,
    /// Images of the run that the data set does not have any more.
    pub gone: usize,
}

/// One image of a [`Review`].
#[derive(Clone, Debug)]
pub struct ReviewRow {
    /// Which image.
    pub image: ImageId,
    /// The part it played in the run.
    pub split: Split,
    /// Its label when the run was trained.
    pub label: ClassId,
    /// The run's answer.
    pub prediction: Prediction,
}

/// Reads the run in `dir` with its predictions.
///
/// # Errors
/// [`WorkflowError::NoRun`].
pub fn review(snapshot: &Snapshot, dir: &Path) -> Result<Review, WorkflowError> {
    let run = load_run(dir)?;
    let path = dir.join(PREDICTIONS);
    let bad = |what: String| no_run(dir, format!("{PREDICTIONS}: {what}"));
    let mut reader = csv::Reader::from_path(&path).map_err(|e| bad(e.to_string()))?;
    let classes: BTreeMap<&String, ClassId> = run
        .labels
        .iter()
        .enumerate()
        .map(|(index, label)| (label, ClassId::from(index)))
        .collect();
    let mut rows = Vec::new();
    let mut gone = 0;
    for record in reader.records() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let cell = |index: usize| record.get(index).unwrap_or_default();
        let Some(image) = snapshot.manifest.by_key(cell(0)) else {
            gone += 1;
            continue;
        };
        let split = Split::ALL.into_iter().find(|split| split.name() == cell(1));
        let label = classes.get(&cell(2).to_owned()).copied();
        let probabilities: Result<Vec<f32>, _> =
            record.iter().skip(4).map(str::parse::<f32>).collect();
        let (Some(split), Some(label), Ok(probabilities)) = (split, label, probabilities) else {
            return Err(bad(format!("the row of {} is damaged", cell(0))));
        };
        rows.push(ReviewRow {
            image,
            split,
            label,
            prediction: Prediction { probabilities },
        });
    }
    Ok(Review {
        classes: run.report.classes.clone(),
        run,
        rows,
        gone,
    })
}

pub(super) fn no_run(dir: &Path, what: String) -> WorkflowError {
    WorkflowError::NoRun {
        path: dir.to_owned(),
        what,
    }
}

fn read_text(dir: &Path, name: &str) -> Result<String, WorkflowError> {
    fs::read_to_string(dir.join(name)).map_err(|e| no_run(dir, format!("{name}: {e}")))
}

/// The plan of the run in `dir`.
pub(super) fn read_plan(dir: &Path) -> Result<Plan, WorkflowError> {
    Plan::from_toml(&read_text(dir, PLAN)?).map_err(|e| no_run(dir, e.to_string()))
}

pub(super) fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T, WorkflowError> {
    serde_json::from_str(&read_text(dir, name)?).map_err(|e| no_run(dir, format!("{name}: {e}")))
}

/// The lines of a log of JSON objects that are understood; none where there is no log.
pub(super) fn read_json_lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Whether a new run may be written to `dir`.
pub(super) fn check_unused(dir: &Path) -> Result<(), WorkflowError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(WorkflowError::RunExists {
            path: dir.to_owned(),
        });
    }
    Ok(())
}

/// Creates `dir` for a new run.
pub(super) fn new_run_dir(dir: &Path) -> Result<(), WorkflowError> {
    check_unused(dir)?;
    fs::create_dir_all(dir).map_err(|e| StorageError::io("create", dir, e))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobContext;
    use crate::workflows::{TrainRequest, testing, train};

    #[test]
    fn what_training_added_to_the_logits_is_taken_off_the_answers_again() {
        let (_folder, project) = testing::project(30);
        let snapshot = project.snapshot();
        let run = |logit_adjustment: f64| {
            let request = TrainRequest {
                plan: Plan {
                    size: 32,
                    epochs: 1,
                    logit_adjustment,
                    ..Plan::default()
                },
                out: None,
                threads: Some(1),
            };
            let context = JobContext::detached();
            let run = train(&snapshot, &request, &context, &mut |_| {}).expect("a run");
            RunCalibration::of(&run.dir).expect("its files")
        };
        let plain = run(0.0);
        assert!(plain.adjustment.is_none() && plain.temperature.is_some());
        let adjusted = run(0.5);
        let adjustment = adjusted.adjustment.clone().expect("half the log prior");
        assert_eq!(adjustment.len(), snapshot.manifest.classes.regular_len());
        // Half of the logs of shares that sum to 1.
        let sum: f64 = adjustment.iter().map(|a| (2.0 * a).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{adjustment:?}");
        let even = vec![1.0 / adjustment.len() as f32; adjustment.len()];
        let p = adjusted.probabilities(&even);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for (a, b) in [(0, 1), (1, 0)] {
            let t = adjusted.temperature.expect("fitted");
            let expected = (adjustment[a] - adjustment[b]) / t;
            assert!((f64::from(p[a] / p[b]).ln() - expected).abs() < 1e-4);
        }
    }
}
