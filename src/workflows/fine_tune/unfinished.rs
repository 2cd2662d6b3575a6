//! Fine-tunings that were interrupted: what their folder says of them.
//!
//! A folder holds `fine-tuning.json` from the first moment until the fine-tuning is complete. It names every image
//! with its content, its label and its part in every fold, so that labelling may go on meanwhile. Beside it stands a
//! folder for each network that was begun, with the state of its training or with what it brought.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::domain::{ClassId, ImageId};
use crate::project::Snapshot;
use crate::storage::{Digest, FolderLock, atomic_write, hex};
use crate::training::{Checkpoint, Example, Plan, Progress, TrainError};

use super::super::{
    WorkflowError,
    resume::{LOCK, labels_digest, name_of, plan_digest, read_started, refuse_changed, same_plan},
    train::CachedPixels,
};
use super::deal::{DRIFT_CLASS, Deal, Fold, REGULAR_CLASS};
use super::{BaseRun, Learned};

pub(in super::super) const STARTED: &str = "fine-tuning.json";
/// What a network brought. TOML, as it gives every number back as it was.
const LEARNED: &str = "learned.toml";
const FORMAT_VERSION: u32 = 1;

/// The contents of `fine-tuning.json`: all that a fine-tuning depends on beside its plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Started {
    format_version: u32,
    pub created: String,
    program_version: String,
    /// The project folder.
    project: PathBuf,
    pub threads: Option<usize>,
    /// Of the plan as TOML.
    plan_digest: String,
    /// Folder of the run whose network is trained on.
    pub base: PathBuf,
    pub base_chosen_from: Option<usize>,
    pub data_digest: String,
    pub labels_digest: String,
    /// A sentence on the images that could not be read, where there were some.
    pub left_out: Option<String>,
    images: Vec<StartedImage>,
    folds: Vec<StartedFold>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StartedImage {
    file: String,
    /// Its place in the data set, which the random changes of training images follow from.
    number: u32,
    content: String,
    part: Part,
    /// The regular class that its label names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// A candidate labelled drift.
    Drift,
    /// A candidate labelled regular.
    Regular,
    /// A regular image beside the labels.
    Reference,
    /// A candidate without a label.
    Unlabelled,
}

/// Places in the list of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StartedFold {
    train: Vec<usize>,
    validation: Vec<usize>,
    held_out: Vec<usize>,
}

impl Started {
    /// What a fine-tuning by `plan` is started on; when and how is to be filled in.
    pub fn new(
        snapshot: &Snapshot,
        base: &BaseRun,
        deal: &Deal,
        pixels: &CachedPixels,
        plan: &Plan,
    ) -> Self {
        let classes = &snapshot.manifest.classes;
        let drift: HashMap<ImageId, bool> = deal.labels().into_iter().collect();
        let reference: std::collections::HashSet<&ImageId> = deal.reference.iter().collect();
        let ids = deal.images();
        let at: HashMap<ImageId, usize> =
            ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let images = ids.iter().map(|id| StartedImage {
            file: snapshot.manifest.get(*id).key.clone(),
            number: id.0,
            content: pixels.content(*id).map_or_else(String::new, hex),
            part: match drift.get(id) {
                Some(true) => Part::Drift,
                Some(false) => Part::Regular,
                None if reference.contains(id) => Part::Reference,
                None => Part::Unlabelled,
            },
            class: snapshot
                .regular_class(*id)
                .map(|class| classes.label(class).to_owned()),
        });
        let places = |part: &[Example]| part.iter().map(|e| at[&e.image]).collect();
        let folds = deal.folds.iter().map(|fold| StartedFold {
            train: places(&fold.train),
            validation: places(&fold.validation),
            held_out: places(&fold.held_out),
        });
        Self {
            format_version: FORMAT_VERSION,
            created: String::new(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            project: std::path::absolute(&snapshot.dir).unwrap_or_else(|_| snapshot.dir.clone()),
            threads: None,
            plan_digest: plan_digest(plan),
            base: base.run.dir.clone(),
            base_chosen_from: base.chosen_from,
            data_digest: snapshot.manifest.digest(),
            labels_digest: labels_digest(snapshot),
            left_out: None,
            images: images.collect(),
            folds: folds.collect(),
        }
    }

    pub fn write(&self, dir: &Path) -> Result<(), WorkflowError> {
        let text = serde_json::to_string(self).expect("plain data serialises");
        atomic_write(&dir.join(STARTED), text.as_bytes())?;
        Ok(())
    }

    pub fn read(dir: &Path) -> Result<Self, WorkflowError> {
        read_started(dir, STARTED)
    }

    /// The plan, if it is still the one it was started with.
    pub fn plan(&self, dir: &Path) -> Result<Plan, WorkflowError> {
        same_plan(dir, &self.plan_digest)
    }

    /// Which image plays which part, as when `run` was started.
    pub fn deal(&self, snapshot: &Snapshot, plan: &Plan, run: &str) -> Result<Deal, WorkflowError> {
        let mut examples = Vec::with_capacity(self.images.len());
        let mut gone = Vec::new();
        for image in &self.images {
            let found = snapshot.manifest.by_key(&image.file);
            match found.filter(|id| plan.augmentation.is_none() || id.0 == image.number) {
                Some(found) => examples.push(Example {
                    image: found,
                    class: match image.part {
                        Part::Drift => DRIFT_CLASS,
                        _ => REGULAR_CLASS,
                    },
                }),
                None => gone.push(image.file.as_str()),
            }
        }
        refuse_changed(run, &gone)?;
        let places = |part: &[usize]| -> Option<Vec<Example>> {
            part.iter().map(|at| examples.get(*at).copied()).collect()
        };
        let folds = self.folds.iter().map(|fold| {
            Some(Fold {
                train: places(&fold.train)?,
                validation: places(&fold.validation)?,
                held_out: places(&fold.held_out)?,
            })
        });
        let folds: Option<Vec<Fold>> = folds.collect();
        let folds = folds.ok_or_else(|| WorkflowError::NothingToResume {
            path: snapshot.runs().join(run),
            what: format!("{STARTED} is damaged: a fold names an image that is not listed"),
        })?;
        let of = |part: Part| -> Vec<ImageId> {
            let both = self.images.iter().zip(&examples);
            both.filter(|(image, _)| image.part == part)
                .map(|(_, example)| example.image)
                .collect()
        };
        Ok(Deal::of(folds, of(Part::Reference), of(Part::Unlabelled)))
    }

    /// Whether every image holds what it held when `run` was started.
    pub fn check(
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

    /// The regular classes that the labels of the start name.
    pub fn classes(&self, snapshot: &Snapshot) -> HashMap<ImageId, ClassId> {
        let classes = &snapshot.manifest.classes;
        let of_word: HashMap<&str, ClassId> = (0..classes.regular_len())
            .map(ClassId::from)
            .map(|class| (classes.label(class), class))
            .collect();
        let named = self.images.iter().filter_map(|image| {
            let class = *of_word.get(image.class.as_deref()?)?;
            Some((snapshot.manifest.by_key(&image.file)?, class))
        });
        named.collect()
    }

    fn count(&self, part: Part) -> usize {
        self.images.iter().filter(|i| i.part == part).count()
    }
}

/// The folder of a network, counted from 1, until the fine-tuning is over.
pub(super) fn fold_dir(dir: &Path, fold: usize) -> PathBuf {
    dir.join(format!("fold-{fold}"))
}

/// The weights of a network, counted from 1.
pub(super) fn weights_file(dir: &Path, fold: usize) -> PathBuf {
    dir.join(format!("fold-{fold}.safetensors"))
}

/// Writes down what the network of a fold brought: from now on it is over.
pub(super) fn keep(dir: &Path, fold: usize, learned: &Learned) -> Result<(), WorkflowError> {
    let folder = fold_dir(dir, fold);
    let text = toml::to_string(learned).expect("plain data serialises");
    atomic_write(&folder.join(LEARNED), text.as_bytes())?;
    // It only takes room.
    drop(Checkpoint::remove(&folder));
    Ok(())
}

/// What the network of a fold brought; none where it is not over.
pub(super) fn learned(dir: &Path, fold: usize) -> Option<Learned> {
    if !weights_file(dir, fold).is_file() {
        return None;
    }
    let text = fs::read_to_string(fold_dir(dir, fold).join(LEARNED)).ok()?;
    toml::from_str(&text).ok()
}

/// Whether a fine-tuning was started in `dir` and is not over, or left something behind.
pub(in super::super) fn is_started(dir: &Path) -> bool {
    dir.join(STARTED).is_file()
}

/// Removes what only an unfinished fine-tuning has.
pub(in super::super) fn complete(dir: &Path) {
    let folders = (1..).map(|fold| fold_dir(dir, fold));
    for folder in folders.take_while(|folder| folder.is_dir()) {
        // The run is there; this only takes room.
        drop(fs::remove_dir_all(folder));
    }
    drop(fs::remove_file(dir.join(STARTED)));
}

/// What becomes of a folder whose fine-tuning ended before its end, and how the user is told: what was trained stays,
/// a folder without anything goes.
pub(super) fn given_up(dir: &Path, error: WorkflowError) -> WorkflowError {
    let trained = (1..)
        .map(|fold| fold_dir(dir, fold))
        .take_while(|folder| folder.is_dir())
        .any(|folder| Checkpoint::is_in(&folder) || folder.join(LEARNED).is_file());
    // Whoever goes on from there comes to the same loss.
    let exploded = matches!(error, WorkflowError::Train(TrainError::NotFinite { .. }));
    if !trained || exploded {
        drop(fs::remove_dir_all(dir));
        return error;
    }
    if matches!(
        error,
        WorkflowError::Train(TrainError::Cancelled) | WorkflowError::Cancelled
    ) {
        return error;
    }
    WorkflowError::Unfinished {
        error: Box::new(error),
        kept: format!(
            "its state is kept: `driftscope drift fine-tune --resume {}` goes on from there",
            dir.display()
        ),
    }
}

/// A fine-tuning that was interrupted and can be resumed.
#[derive(Clone, Debug)]
pub struct UnfinishedFineTune {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// When it was started.
    pub created: String,
    /// The architecture.
    pub model: String,
    /// Folder of the run it starts from.
    pub base: PathBuf,
    /// Candidates labelled drift and regular when it was started.
    pub labels: (usize, usize),
    /// Networks to train, one a fold.
    pub folds: usize,
    /// Networks that are over.
    pub over: usize,
    /// How far the next one had come when its state was last written down; none where it begins anew.
    pub progress: Option<Progress>,
}

impl UnfinishedFineTune {
    /// The fine-tuning in `dir`.
    ///
    /// # Errors
    /// [`WorkflowError::FineTuningFinished`], [`WorkflowError::NothingToResume`], [`WorkflowError::PlanChanged`].
    pub fn read(dir: &Path) -> Result<Self, WorkflowError> {
        let started = Started::read(dir)?;
        let folds = started.folds.len();
        let over = (1..=folds)
            .take_while(|fold| learned(dir, *fold).is_some())
            .count();
        Ok(Self {
            name: name_of(dir),
            dir: dir.to_owned(),
            model: started.plan(dir)?.model,
            labels: (started.count(Part::Drift), started.count(Part::Regular)),
            folds,
            over,
            progress: Checkpoint::progress(&fold_dir(dir, over + 1)),
            created: started.created,
            base: started.base,
        })
    }

    /// Where it goes on and with which labels, as a user is told.
    #[must_use]
    pub fn in_words(&self) -> String {
        let at = match self.progress {
            _ if self.over == self.folds => "where all networks are trained".to_owned(),
            None => format!("with network {} of {}", self.over + 1, self.folds),
            Some(at) => format!(
                "in epoch {} of network {} of {}",
                at.epochs + 1,
                self.over + 1,
                self.folds
            ),
        };
        let (drift, regular) = self.labels;
        format!(
            "It goes on {at}, with the {drift} drift and {regular} regular labels it was started with; labels given \
             since change nothing in it."
        )
    }
}

/// The interrupted fine-tunings of the project, newest first. Those that run just now, here or in another program, are
/// none of them.
#[must_use]
pub fn unfinished_fine_tunes(snapshot: &Snapshot) -> Vec<UnfinishedFineTune> {
    let entries = fs::read_dir(snapshot.runs())
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<UnfinishedFineTune> = entries
        .map(|entry| entry.path())
        .filter(|dir| is_started(dir) && FolderLock::holder(&dir.join(LOCK)).is_none())
        .filter_map(|dir| UnfinishedFineTune::read(&dir).ok())
        .collect();
    found.sort_by(|a, b| (&b.created, &b.name).cmp(&(&a.created, &a.name)));
    found
}
