//! What a training writes down of itself, so that it can go on after its process has ended, in whatever way,
//! as if nothing had happened. `docs/formats/run.md` describes the files.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{
    EpochMetrics, Monitor, Plan,
    activations::free_space,
    ema::Ema,
    place::{Best, Place},
};
use crate::domain::Prediction;
use crate::models::{
    Adam, Model, Preprocessing, TensorFile,
    weights::{self, WeightsError},
};
use crate::storage::{StorageError, hex};

const FILE: &str = "checkpoint.safetensors";
/// Key of the [`State`] in its header.
const STATE: &str = "state";
const FORMAT_VERSION: u32 = 1;
/// Within an epoch the state is written no more often than this: the end of one is the better place.
const WITHIN_EPOCH: Duration = Duration::from_secs(30);
/// The share of the free disk that may be taken; the old files stay until the new ones are whole.
const SHARE_OF_FREE: f64 = 0.5;

/// Where and how often a training writes down its state: at the end of each phase and before it stops or pauses;
/// and at the end of each epoch, and every half minute within one, where enough time has passed.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// The folder of the run.
    pub folder: PathBuf,
    /// Largest share of the time that may be spent on it within a phase, above 0, `..=1`.
    pub share: f64,
}

impl Checkpoints {
    /// In `folder`, for a twentieth of the time at most.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            share: 0.05,
        }
    }
}

/// Why a training's state cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be written or read, or is no whole file of tensors.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Its header is not understood.
    #[error("{path} is damaged: its header says {what}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        what: String,
    },
    /// The best weights that it speaks of are others, or not there.
    #[error("{path} is damaged or missing, so the state of the training beside it is of no use")]
    Best {
        /// The file of the best weights.
        path: PathBuf,
    },
    /// It was written by a later version of the program.
    #[error("{path} was written by a later version of Driftscope; update the program to go on")]
    TooNew {
        /// The file.
        path: PathBuf,
    },
    /// It is of a training by another plan.
    #[error("{path} is the state of a training by another plan; start a new run with this one")]
    OtherPlan {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no room for it.
    #[error(
        "{path} needs {needed} MB and no more than half of the {free} MB that are free may be taken; free some space"
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Its size, 10^6 bytes.
        needed: u64,
        /// What is free there, 10^6 bytes.
        free: u64,
    },
}

impl CheckpointError {
    /// Whether the files themselves are of no use, so that beginning anew is all that is left.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Header { .. } | Self::Best { .. } => true,
            Self::Weights(error) => matches!(
                error,
                WeightsError::Format { .. }
                    | WeightsError::Header { .. }
                    | WeightsError::Pickle { .. }
            ),
            Self::TooNew { .. } | Self::OtherPlan { .. } | Self::NoRoom { .. } => false,
        }
    }
}

/// All that the next step depends on but tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State<'a> {
    pub format_version: u32,
    /// The plan, as TOML.
    pub plan: String,
    pub preprocessing: String,
    /// What was made of the weights it started from, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Wall-clock seconds so far.
    pub seconds: f64,
    /// Whether what the frozen layers say was kept: what is read from the cache is not quite what they say.
    pub kept: bool,
    /// Whether the layers learn in bf16.
    pub bf16: bool,
    /// Updates of each trainable variable.
    pub adam_steps: Vec<i32>,
    /// Updates of the averaged weights, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_steps: Option<u64>,
    pub place: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestState>,
    pub history: Cow<'a, [EpochMetrics]>,
}

/// What is known of the best epoch but its weights, which are a file of their own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BestState {
    pub epoch: usize,
    pub score: f64,
    pub monitor: Monitor,
    pub set_aside: bool,
    /// Of the file of its weights.
    pub digest: String,
}

/// A training as it is now, to be written down.
pub(super) struct Moment<'a> {
    pub plan: &'a Plan,
    pub model: &'a Model,
    pub adam: &'a Adam,
    pub ema: Option<&'a Ema>,
    pub best: Option<&'a Best>,
    pub place: &'a Place,
    pub history: &'a [EpochMetrics],
    pub weights: Option<&'a String>,
    pub seconds: f64,
    pub kept: bool,
    pub bf16: bool,
}

impl Moment<'_> {
    /// Every tensor that the next step depends on, under a name that says whose it is.
    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let mut tensors = BTreeMap::new();
        for (name, variable) in self.model.variables.variables() {
            tensors.insert(weight(&name), variable);
        }
        let names = self.model.trainable_names();
        for (name, (mean, variance, _)) in names.iter().zip(self.adam.memory()) {
            tensors.insert(adam_mean(name), mean.shallow_clone());
            tensors.insert(adam_variance(name), variance.shallow_clone());
        }
        for (name, average) in names.iter().zip(self.ema.iter().flat_map(|e| e.averages())) {
            tensors.insert(ema(name), average.shallow_clone());
        }
        if let Some(best) = self.best {
            let rows = best.validation.iter().map(|p| &p.probabilities[..]);
            let values: Vec<f32> = rows.flatten().copied().collect();
            let shape = [best.validation.len() as i64, self.model.classes as i64];
            tensors.insert(ANSWERS.to_owned(), Tensor::from_slice(&values).view(shape));
        }
        tensors
    }

    fn state(&self, best: Option<BestState>) -> State<'_> {
        State {
            format_version: FORMAT_VERSION,
            plan: self.plan.to_toml(),
            preprocessing: self.model.preprocessing.name().to_owned(),
            weights: self.weights.cloned(),
            seconds: self.seconds,
            kept: self.kept,
            bf16: self.bf16,
            adam_steps: self.adam.memory().map(|(_, _, steps)| steps).collect(),
            ema_steps: self.ema.map(|e| e.steps),
            place: self.place.clone(),
            best,
            history: Cow::Borrowed(self.history),
        }
    }

    /// Whether every weight is a number, and so is the loss of the validation just done. After a step that ruined
    /// the weights the loss of the next one tells; what is written down is to be from before it.
    fn is_sound(&self) -> bool {
        let last = self.history.last().filter(|_| self.place.step == 0);
        if last.is_some_and(|epoch| !epoch.val_loss.is_finite()) {
            return false;
        }
        let variables = self.model.variables.variables();
        let finite = |t: &Tensor| {
            let (least, most) = t.detach().aminmax(None, false);
            least.double_value(&[]).is_finite() && most.double_value(&[]).is_finite()
        };
        variables.values().all(finite)
    }
}

const ANSWERS: &str = "best.validation";

fn weight(name: &str) -> String {
    format!("weights/{name}")
}
fn adam_mean(name: &str) -> String {
    format!("adam.mean/{name}")
}
fn adam_variance(name: &str) -> String {
    format!("adam.variance/{name}")
}
fn ema(name: &str) -> String {
    format!("ema/{name}")
}

/// Writes down the state of one training.
pub(super) struct Keeper {
    checkpoints: Checkpoints,
    /// When it last ended writing, or began to watch.
    since: Instant,
    /// How long that took.
    took: Duration,
    /// Epoch and digest of the best weights on disk.
    best: Option<(usize, String)>,
    /// Something was trained since.
    pub unsaved: bool,
}

impl Keeper {
    pub fn new(checkpoints: &Checkpoints) -> Self {
        Self {
            checkpoints: checkpoints.clone(),
            since: Instant::now(),
            took: Duration::ZERO,
            best: None,
            unsaved: false,
        }
    }

    /// Whether it is time to write, at the end of an epoch or within one.
    pub fn is_due(&self, end_of_epoch: bool) -> bool {
        let rest = self
            .took
            .mul_f64((1.0 / self.checkpoints.share - 1.0).max(0.0));
        let waited = self.since.elapsed();
        waited >= rest && (end_of_epoch || waited >= WITHIN_EPOCH)
    }

    /// Writes `now` down, unless its weights are ruined; returns the bytes written and the seconds it took.
    pub fn write(&mut self, now: &Moment<'_>) -> Result<Option<(u64, f64)>, CheckpointError> {
        let started = Instant::now();
        let written = self.write_files(now);
        // What failed is not tried again at once.
        self.since = Instant::now();
        self.took = started.elapsed();
        let bytes = written?;
        self.unsaved &= bytes.is_none();
        Ok(bytes.map(|bytes| (bytes, self.took.as_secs_f64())))
    }

    /// Writes the best weights alone, where those on disk are older: when the loss is no number any more there is no
    /// sound state to write. What the state on disk speaks of stays beside it.
    pub fn write_best(
        &mut self,
        best: &Best,
        preprocessing: Preprocessing,
    ) -> Result<(), CheckpointError> {
        if self
            .best
            .as_ref()
            .is_none_or(|(epoch, _)| *epoch != best.epoch)
        {
            let path = best_path(&self.checkpoints.folder, best.epoch);
            weights::save(&path, &best.weights, preprocessing)?;
        }
        Ok(())
    }

    fn write_files(&mut self, now: &Moment<'_>) -> Result<Option<u64>, CheckpointError> {
        if !now.is_sound() {
            return Ok(None);
        }
        let folder = &self.checkpoints.folder;
        let path = folder.join(FILE);
        let tensors = now.tensors();
        let mut bytes = size(tensors.values());
        let new = now
            .best
            .filter(|best| self.best.as_ref().is_none_or(|(e, _)| *e != best.epoch));
        bytes += new.map_or(0, |best| size(best.weights.values()));
        let free = free_space(folder);
        if bytes as f64 > free as f64 * SHARE_OF_FREE {
            return Err(CheckpointError::NoRoom {
                path,
                needed: bytes / 1_000_000,
                free: free / 1_000_000,
            });
        }
        // First what the state speaks of, then the state. Until that is whole the old ones are there, both.
        if let Some(best) = new {
            let path = best_path(folder, best.epoch);
            let digest = weights::save(&path, &best.weights, now.model.preprocessing)?;
            self.best = Some((best.epoch, hex(&digest)));
        }
        let best = now.best.zip(self.best.as_ref());
        let state = now.state(best.map(|(best, (_, digest))| BestState {
            epoch: best.epoch,
            score: best.score,
            monitor: best.monitor,
            set_aside: best.set_aside,
            digest: digest.clone(),
        }));
        let state = toml::to_string(&state).map_err(|e| CheckpointError::Header {
            path: path.clone(),
            what: e.to_string(),
        })?;
        let words = HashMap::from([(STATE.to_owned(), state)]);
        TensorFile::write(&path, &tensors, words)?;
        for (epoch, path) in best_files(folder) {
            if now.best.is_none_or(|best| best.epoch != epoch) {
                // It only takes room.
                drop(fs::remove_file(path));
            }
        }
        Ok(Some(bytes))
    }
}

fn size<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    tensors.map(|t| t.numel() as u64 * 4).sum()
}

/// How the name of a file of best weights begins and ends; between them is the epoch.
const BEST: (&str, &str) = ("best-", ".safetensors");

fn best_path(folder: &Path, epoch: usize) -> PathBuf {
    folder.join(format!("{}{epoch}{}", BEST.0, BEST.1))
}

/// The files of best weights in `folder`, each with its epoch.
fn best_files(folder: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let epoch = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let epoch = name.strip_prefix(BEST.0)?.strip_suffix(BEST.1)?;
        Some((epoch.parse().ok()?, path))
    };
    entries.filter_map(|entry| epoch(entry.path())).collect()
}

/// How far a training had come when it last wrote down its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Epochs that were over.
    pub epochs: usize,
    /// Steps of the next one that were over.
    pub steps: usize,
}

/// The state of a training that was interrupted.
pub struct Checkpoint {
    pub(super) state: State<'static>,
    path: PathBuf,
    file: TensorFile,
    best: Option<TensorFile>,
}

impl Checkpoint {
    /// Reads what a training wrote down in `folder`; none where it had not come to it.
    ///
    /// # Errors
    /// [`CheckpointError`]; [`CheckpointError::is_damage`] tells whether trying again may help.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        if !Self::is_in(folder) {
            return Ok(None);
        }
        let path = folder.join(FILE);
        let file = TensorFile::read(&path)?;
        let state = parse(&path, file.word(STATE))?;
        let best = match &state.best {
            None => None,
            Some(best) => {
                let path = best_path(folder, best.epoch);
                let whole = |file: &TensorFile| hex(&file.digest()) == best.digest;
                let file = TensorFile::read(&path).ok().filter(whole);
                Some(file.ok_or(CheckpointError::Best { path })?)
            }
        };
        Ok(Some(Self {
            state,
            path,
            file,
            best,
        }))
    }

    /// Whether a training wrote down its state in `folder`.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }

    /// How far the training in `folder` had come; none where it wrote nothing down, or it cannot be read.
    #[must_use]
    pub fn progress(folder: &Path) -> Option<Progress> {
        let path = folder.join(FILE);
        let word = TensorFile::read_word(&path, STATE).ok()?;
        let state = parse(&path, word.as_deref()).ok()?;
        Some(Progress {
            epochs: state.history.len(),
            steps: state.place.step,
        })
    }

    /// The best weights that the training in `folder` wrote down: a weights file like any other.
    #[must_use]
    pub fn best_weights(folder: &Path) -> Option<PathBuf> {
        best_files(folder).into_iter().max().map(|(_, path)| path)
    }

    /// Removes what a training wrote down in `folder`.
    ///
    /// # Errors
    /// [`StorageError`] naming the file that stays.
    pub fn remove(folder: &Path) -> Result<(), StorageError> {
        let best = best_files(folder).into_iter().map(|(_, path)| path);
        for path in std::iter::once(folder.join(FILE)).chain(best) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StorageError::io("remove", &path, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The epochs that were over, without confusions and predictions.
    #[must_use]
    pub fn history(&self) -> &[EpochMetrics] {
        &self.state.history
    }

    /// Whether it is of a training by `plan`.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), CheckpointError> {
        if self.state.plan == plan.to_toml() {
            return Ok(());
        }
        Err(CheckpointError::OtherPlan {
            path: self.path.clone(),
        })
    }

    /// Fills the variables of `model`.
    pub(super) fn fill(&self, model: &mut Model) -> Result<(), CheckpointError> {
        let word = &self.state.preprocessing;
        let unknown = || CheckpointError::Header {
            path: self.path.clone(),
            what: format!("preprocessing = {word:?}"),
        };
        model.preprocessing = Preprocessing::find(word).ok_or_else(unknown)?;
        for (name, mut variable) in model.variables.variables() {
            self.file.copy_into(&weight(&name), &mut variable)?;
        }
        Ok(())
    }

    /// The best epoch, measured on `validation` images.
    pub(super) fn best(
        &self,
        model: &Model,
        validation: usize,
    ) -> Result<Option<Best>, CheckpointError> {
        let (Some(best), Some(file)) = (&self.state.best, &self.best) else {
            return Ok(None);
        };
        let mut weights = BTreeMap::new();
        for (name, variable) in model.variables.variables() {
            let tensor = file.tensor(&name, &variable.size())?;
            weights.insert(name, tensor.to_device(variable.device()));
        }
        let shape = [validation as i64, model.classes as i64];
        let answers = self.file.tensor(ANSWERS, &shape)?;
        let values = Vec::<f32>::try_from(answers.to_kind(Kind::Float).view([-1]));
        let rows = values.expect("fp32 values");
        Ok(Some(Best {
            epoch: best.epoch,
            score: best.score,
            monitor: best.monitor,
            set_aside: best.set_aside,
            weights,
            validation: rows
                .chunks(model.classes)
                .map(|row| Prediction {
                    probabilities: row.to_vec(),
                })
                .collect(),
        }))
    }

    /// Lets the optimizer and the averages of `model` go on where they stopped.
    pub(super) fn recall(
        &self,
        model: &Model,
        adam: &mut Adam,
        averages: Option<&mut Ema>,
    ) -> Result<(), CheckpointError> {
        let names = model.trainable_names();
        if names.len() != self.state.adam_steps.len() {
            return Err(CheckpointError::Header {
                path: self.path.clone(),
                what: format!(
                    "adam_steps of {} variables, but {} are trained",
                    self.state.adam_steps.len(),
                    names.len()
                ),
            });
        }
        let memory = adam.memory_mut().zip(&self.state.adam_steps);
        for (name, ((mean, variance, steps), done)) in names.iter().zip(memory) {
            self.file.copy_into(&adam_mean(name), mean)?;
            self.file.copy_into(&adam_variance(name), variance)?;
            *steps = *done;
        }
        if let Some(averages) = averages {
            averages.steps = self.state.ema_steps.unwrap_or(0);
            for (name, average) in names.iter().zip(averages.averages_mut()) {
                self.file.copy_into(&ema(name), average)?;
            }
        }
        Ok(())
    }
}

fn parse(path: &Path, text: Option<&str>) -> Result<State<'static>, CheckpointError> {
    let damaged = |what: String| CheckpointError::Header {
        path: path.to_owned(),
        what,
    };
    let text = text.ok_or_else(|| damaged("nothing of a training".to_owned()))?;
    /// What every version writes.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let not_toml = |e: toml::de::Error| damaged(e.message().to_owned());
    let version: Version = toml::from_str(text).map_err(not_toml)?;
    if version.format_version > FORMAT_VERSION {
        return Err(CheckpointError::TooNew {
            path: path.to_owned(),
        });
    }
    toml::from_str(text).map_err(not_toml)
}
