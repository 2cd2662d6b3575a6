//! Trainings that were interrupted: what their folder says of them, going on with one, discarding one.
//!
//! A run's folder holds `started.json` from the first moment until the run is complete. It names every image
//! with its label and content, so that labelling may go on meanwhile and the run still goes on with what it was
//! started on.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::{ClassId, ImageId, Split};
use crate::jobs::JobContext;
use crate::models::set_threads;
use crate::project::{Settings, Snapshot};
use crate::storage::{Digest, FolderLock, atomic_write, digest, hex, remove_half_written};
use crate::training::{Checkpoint, Example, Plan, Progress, TrainError, TrainEvent};

use super::{
    RunSummary, TrainRequest, WorkflowError, fine_tune, lane,
    run::{DRIFT, METRICS, PLAN, RUN, Target, read_json, read_plan},
    train::{Material, Parts, Start, carry_out, metrics_line},
};

const STARTED: &str = "started.json";
/// Held by the process that trains.
pub(super) const LOCK: &str = "training.lock";
const FORMAT_VERSION: u32 = 1;

/// The contents of `started.json`: all that a run depends on beside its plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Started {
    format_version: u32,
    pub created: String,
    pub program_version: String,
    /// The project folder.
    project: PathBuf,
    pub threads: Option<usize>,
    /// Of the plan as TOML.
    plan_digest: String,
    pub data_digest: String,
    pub labels_digest: String,
    /// Words of the regular classes, in order.
    pub labels: Vec<String>,
    pub warnings: Vec<String>,
    images: Vec<StartedImage>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StartedImage {
    file: String,
    /// Its place in the data set, which the random changes of training images follow from.
    number: u32,
    split: Split,
    label: String,
    content: String,
}

impl Started {
    /// What a run by `request` on `material` is started on.
    pub fn new(
        snapshot: &Snapshot,
        request: &TrainRequest,
        material: &Material,
        created: &jiff::Zoned,
    ) -> Self {
        let manifest = &snapshot.manifest;
        let label = |class| manifest.classes.label(class).to_owned();
        let parts = [
            (Split::Train, &material.parts.train),
            (Split::Validation, &material.parts.validation),
            (Split::Test, &material.parts.test),
        ];
        let images = parts.into_iter().flat_map(|(split, examples)| {
            examples.iter().map(move |example| StartedImage {
                file: manifest.get(example.image).key.clone(),
                number: example.image.0,
                split,
                label: label(example.class),
                content: material
                    .content(example.image)
                    .map_or_else(String::new, hex),
            })
        });
        Self {
            format_version: FORMAT_VERSION,
            created: created.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            project: std::path::absolute(&snapshot.dir).unwrap_or_else(|_| snapshot.dir.clone()),
            threads: request.threads,
            plan_digest: plan_digest(&request.plan),
            data_digest: manifest.digest(),
            labels_digest: labels_digest(snapshot),
            labels: labels_of(snapshot),
            warnings: material.warnings.clone(),
            images: images.collect(),
        }
    }

    pub fn write(&self, dir: &Path) -> Result<(), WorkflowError> {
        let text = serde_json::to_string(self).expect("plain data serialises");
        atomic_write(&dir.join(STARTED), text.as_bytes())?;
        Ok(())
    }

    fn read(dir: &Path) -> Result<Self, WorkflowError> {
        read_started(dir, STARTED)
    }

    /// The plan of the run, if it is still the one it was started with.
    fn plan(&self, dir: &Path) -> Result<Plan, WorkflowError> {
        same_plan(dir, &self.plan_digest)
    }

    /// Which image plays which part, as when the run was started.
    fn parts(&self, snapshot: &Snapshot, plan: &Plan, run: &str) -> Result<Parts, WorkflowError> {
        let now = labels_of(snapshot);
        if now != self.labels {
            return Err(WorkflowError::OtherClasses {
                run: run.to_owned(),
                run_classes: self.labels.join(", "),
                classes: now.join(", "),
            });
        }
        let classes: HashMap<&String, ClassId> = (self.labels.iter().enumerate())
            .map(|(index, label)| (label, ClassId::from(index)))
            .collect();
        let mut parts = Parts::default();
        let mut gone = Vec::new();
        for image in &self.images {
            let found = snapshot.manifest.by_key(&image.file);
            let found = found.filter(|id| plan.augmentation.is_none() || id.0 == image.number);
            let (Some(found), Some(class)) = (found, classes.get(&image.label)) else {
                gone.push(image.file.as_str());
                continue;
            };
            let part = match image.split {
                Split::Train => &mut parts.train,
                Split::Validation => &mut parts.validation,
                _ => &mut parts.test,
            };
            part.push(Example {
                image: found,
                class: *class,
            });
        }
        refuse_changed(run, &gone)?;
        Ok(parts)
    }

    /// Whether every image holds what it held when the run was started.
    fn check(
        &self,
        snapshot: &Snapshot,
        run: &str,
        content: &dyn Fn(ImageId) -> Option<Digest>,
    ) -> Result<(), WorkflowError> {
        let changed = |image: &&StartedImage| {
            let id = snapshot.manifest.by_key(&image.file);
            id.and_then(content).map(|now| hex(&now)) != Some(image.content.clone())
        };
        let changed = self.images.iter().filter(changed);
        let changed: Vec<&str> = changed.map(|image| image.file.as_str()).collect();
        refuse_changed(run, &changed)
    }
}

/// What the file `name` says of a training that was started in `dir` and is not over.
pub(super) fn read_started<T: DeserializeOwned>(
    dir: &Path,
    name: &str,
) -> Result<T, WorkflowError> {
    if dir.join(RUN).is_file() {
        tidy(dir);
        let path = dir.to_owned();
        let target = read_json::<Target>(dir, RUN)?.target;
        return Err(match target.as_deref() {
            Some(DRIFT) => WorkflowError::FineTuningFinished { path },
            _ => WorkflowError::RunFinished { path },
        });
    }
    let nothing = |error: WorkflowError| match error {
        WorkflowError::NoRun { path, what } => WorkflowError::NothingToResume { path, what },
        error => error,
    };
    /// What every version writes.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let version: Version = read_json(dir, name).map_err(nothing)?;
    if version.format_version > FORMAT_VERSION {
        return Err(WorkflowError::NothingToResume {
            path: dir.to_owned(),
            what: "it was started by a later version of Driftscope; update the program".to_owned(),
        });
    }
    read_json(dir, name).map_err(nothing)
}

/// The project that a training in `dir` was started in; of the classes, or fine-tuned for drift.
fn started_in(dir: &Path) -> Result<PathBuf, WorkflowError> {
    #[derive(Deserialize)]
    struct Whose {
        project: PathBuf,
    }
    let file = if fine_tune::is_started(dir) {
        fine_tune::STARTED
    } else {
        STARTED
    };
    Ok(read_started::<Whose>(dir, file)?.project)
}

/// The plan in `dir`, if it is still the one of that digest.
pub(super) fn same_plan(dir: &Path, digest: &str) -> Result<Plan, WorkflowError> {
    let plan = read_plan(dir)?;
    if plan_digest(&plan) == digest {
        return Ok(plan);
    }
    Err(WorkflowError::PlanChanged {
        path: dir.join(PLAN),
    })
}

/// Whether none of the images that `run` was started on has changed or gone.
pub(super) fn refuse_changed(run: &str, changed: &[&str]) -> Result<(), WorkflowError> {
    match changed.first() {
        None => Ok(()),
        Some(first) => Err(WorkflowError::DataChanged {
            run: run.to_owned(),
            count: changed.len(),
            first: (*first).to_owned(),
        }),
    }
}

pub(super) fn plan_digest(plan: &Plan) -> String {
    hex(&digest(plan.to_toml().as_bytes()))
}

/// Tells whether labels were given by hand since.
pub(super) fn labels_digest(snapshot: &Snapshot) -> String {
    let hand: Vec<String> = (snapshot.hand.iter())
        .map(|label| format!("{label:?}"))
        .collect();
    hex(&digest(hand.join("\n").as_bytes()))
}

/// Words of the regular classes, in order.
fn labels_of(snapshot: &Snapshot) -> Vec<String> {
    let classes = &snapshot.manifest.classes;
    (0..classes.regular_len())
        .map(|c| classes.label(ClassId::from(c)).to_owned())
        .collect()
}

pub(super) fn name_of(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A run's folder while this process trains in it. No other does, and the lock goes with it. Where the drive has no
/// locks, that is left to the user.
pub(super) struct RunLock {
    path: PathBuf,
    _lock: Option<FolderLock>,
}

impl RunLock {
    pub fn take(dir: &Path) -> Result<Self, WorkflowError> {
        let path = dir.join(LOCK);
        match FolderLock::take(&path) {
            Ok(Ok(lock)) => Ok(Self {
                path,
                _lock: Some(lock),
            }),
            Ok(Err(owner)) => Err(WorkflowError::RunInUse {
                path: dir.to_owned(),
                owner,
            }),
            Err(_) => Ok(Self { path, _lock: None }),
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // An empty file that stays behind locks nothing.
        drop(fs::remove_file(&self.path));
    }
}

/// Removes what only an unfinished run has.
pub(super) fn complete(dir: &Path) {
    // The run is there; what stays of its training only takes room.
    drop(Checkpoint::remove(dir));
    drop(fs::remove_file(dir.join(STARTED)));
}

/// Does in the folder of a finished run what its process left undone if it was ended at the very last.
fn tidy(dir: &Path) {
    if FolderLock::holder(&dir.join(LOCK)).is_some() {
        return;
    }
    if dir.join(STARTED).is_file() {
        complete(dir);
    }
    if fine_tune::is_started(dir) {
        fine_tune::complete(dir);
    }
}

/// What becomes of a run's folder whose training ended without a model, and how the user is told: what was written
/// down of the training stays, be it its state or, where the loss was lost, its best weights alone; a folder without
/// anything goes.
pub(super) fn given_up(dir: &Path, error: WorkflowError) -> WorkflowError {
    let best = Checkpoint::best_weights(dir);
    let exploded = matches!(error, WorkflowError::Train(TrainError::NotFinite { .. }));
    let of_use = Checkpoint::is_in(dir) || exploded && best.is_some();
    if !of_use {
        // A leftover would only look like a run.
        drop(fs::remove_dir_all(dir));
        return error;
    }
    let kept = match &error {
        WorkflowError::Train(TrainError::Cancelled) | WorkflowError::Cancelled => return error,
        _ if exploded => best.map_or_else(
                || {
                    let dir = dir.display();
                    format!("the last state before that is kept in {dir}")
                },
                |path| {
                    let path = path.display();
                    format!("the best weights before that are kept: start from them with --weights {path}, or with `weights` in the plan")
                },
            ),
        _ => {
            let dir = dir.display();
            format!("its state is kept: `driftscope train --resume {dir}` goes on from there")
        }
    };
    WorkflowError::Unfinished {
        error: Box::new(error),
        kept,
    }
}

/// Goes on with the training in `dir`, which was stopped or whose process was killed: by its own plan and on the
/// images, labels and split that it was started on, whatever was labelled since. Where nothing was written down
/// of it yet, or what was is damaged, it begins anew, and says so.
///
/// # Errors
/// [`WorkflowError::RunFinished`], [`WorkflowError::NothingToResume`], [`WorkflowError::RunInUse`],
/// [`WorkflowError::PlanChanged`], [`WorkflowError::DataChanged`], and those of [`train`](super::train).
pub fn resume(
    snapshot: &Snapshot,
    dir: &Path,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<RunSummary, WorkflowError> {
    let run = name_of(dir);
    let started = Started::read(dir)?;
    let _lock = RunLock::take(dir)?;
    // The process that held it may have ended the run just now.
    Started::read(dir)?;
    remove_half_written(dir);
    let plan = started.plan(dir)?;
    if let Some(threads) = started.threads {
        set_threads(threads);
    }
    let parts = started.parts(snapshot, &plan, &run)?;
    let material = Material::load(snapshot, &plan, parts, context)?;
    started.check(snapshot, &run, &|image| material.content(image).copied())?;
    let _turn = lane::take(context)?;
    let from = checkpoint(dir, emit)?;
    write_metrics(dir, from.as_ref())?;
    let start = Start {
        dir,
        plan: &plan,
        started: &started,
        material: &material,
    };
    carry_out(&start, from, snapshot, context, emit)
}

/// What the training in `dir` wrote down; none, and a note why, where it has to begin anew.
pub(super) fn checkpoint(
    dir: &Path,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<Option<Checkpoint>, WorkflowError> {
    let why = match Checkpoint::read(dir) {
        Ok(Some(checkpoint)) => return Ok(Some(checkpoint)),
        Ok(None) => "it was interrupted before its state was written down".to_owned(),
        Err(error) if error.is_damage() => error.to_string(),
        Err(error) => return Err(TrainError::Checkpoint(error).into()),
    };
    Checkpoint::remove(dir)?;
    emit(TrainEvent::Note(format!(
        "the training begins again at its first epoch: {why}"
    )));
    Ok(None)
}

/// Cuts the log of epochs to those that are not trained again.
fn write_metrics(dir: &Path, from: Option<&Checkpoint>) -> Result<(), WorkflowError> {
    let history = from.map_or(&[][..], Checkpoint::history);
    let text: String = history.iter().map(metrics_line).collect();
    atomic_write(&dir.join(METRICS), text.as_bytes())?;
    Ok(())
}

/// A training that was interrupted and can be resumed.
#[derive(Clone, Debug)]
pub struct UnfinishedRun {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What was asked for.
    pub plan: Plan,
    /// When it was started.
    pub created: String,
    /// How far it had come when its state was last written down; none where it begins anew.
    pub progress: Option<Progress>,
}

/// The interrupted trainings of the project, newest first. Those that run just now, here or in another program, are
/// none of them.
#[must_use]
pub fn unfinished(snapshot: &Snapshot) -> Vec<UnfinishedRun> {
    let entries = fs::read_dir(snapshot.runs())
        .into_iter()
        .flatten()
        .flatten();
    let mut runs: Vec<UnfinishedRun> = entries
        .filter_map(|entry| {
            let dir = entry.path();
            if FolderLock::holder(&dir.join(LOCK)).is_some() {
                return None;
            }
            let started = Started::read(&dir).ok()?;
            Some(UnfinishedRun {
                name: name_of(&dir),
                plan: started.plan(&dir).ok()?,
                created: started.created,
                progress: Checkpoint::progress(&dir),
                dir,
            })
        })
        .collect();
    runs.sort_by(|a, b| (&b.created, &b.name).cmp(&(&a.created, &a.name)));
    runs
}

/// Removes an interrupted training, of the classes or for drift, with all that was trained.
///
/// # Errors
/// [`WorkflowError::RunFinished`], [`WorkflowError::NothingToResume`], [`WorkflowError::RunInUse`];
/// [`WorkflowError::Storage`] naming the folder.
pub fn discard(dir: &Path) -> Result<(), WorkflowError> {
    started_in(dir)?;
    let _lock = RunLock::take(dir)?;
    fs::remove_dir_all(dir).map_err(|e| crate::storage::StorageError::io("remove", dir, e).into())
}

/// The project that the training in `dir` belongs to: the one in whose `runs/` it lies, or else the one it was started
/// in.
///
/// # Errors
/// [`WorkflowError::RunFinished`], [`WorkflowError::NothingToResume`].
pub fn project_of(dir: &Path) -> Result<PathBuf, WorkflowError> {
    let started = started_in(dir)?;
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let around = dir.ancestors().nth(2).map(Path::to_owned);
    let known = around.into_iter().chain([started.clone()]);
    let mut known = known.filter(|project| project.join(Settings::FILE).is_file());
    known.next().ok_or_else(|| WorkflowError::NothingToResume {
        what: format!(
            "its project {} is not there; name the data set before --resume",
            started.display()
        ),
        path: dir,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_that_lost_its_numbers_names_the_step_and_the_weights_it_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let ruined = || {
            WorkflowError::Train(TrainError::NotFinite {
                epoch: 4,
                step: 7,
                learning_rate: 0.5,
            })
        };
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "state").expect("written");
            path
        };
        let state = write("checkpoint.safetensors");
        let said = given_up(folder.path(), ruined()).to_string();
        for part in ["epoch 4, step 7", "now 0.5", "the last state before that"] {
            assert!(said.contains(part), "{said}");
        }
        let (older, best) = (write("best-2.safetensors"), write("best-3.safetensors"));
        let said = given_up(folder.path(), ruined()).to_string();
        let way = format!("--weights {}", best.display());
        assert!(
            said.contains("epoch 4, step 7") && said.contains(&way),
            "{said}"
        );
        assert!(state.is_file() && older.is_file() && best.is_file());
        // The state could not be written down, the best weights could.
        fs::remove_file(&state).expect("removed");
        let said = given_up(folder.path(), ruined()).to_string();
        assert!(said.contains(&way) && best.is_file(), "{said}");
        // Nothing was written down yet: the folder would only look like a run.
        for path in [older, best] {
            fs::remove_file(path).expect("removed");
        }
        let said = given_up(folder.path(), ruined()).to_string();
        assert!(
            said.contains("start again") && !said.contains("kept"),
            "{said}"
        );
        assert!(!folder.path().exists());
    }
}
