//! The study's way to tell drift: a network that knows the regular classes is given a new last layer of two answers,
//! drift and regular, and trained on. Beside it stands the head, and both are measured on the same images.
//!
//! Nothing is measured on what was learned from: the labelled images are dealt into folds, a network for each fold
//! learns from the others, keeps its best epoch by a part of those, and answers for its own fold. An image without a
//! label gets the mean answer of all of these networks. The head is judged on the very same folds.

mod deal;
mod result;
mod unfinished;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::domain::ImageId;
use crate::drift::gate;
use crate::evaluation::{ConfusionMatrix, Interval, PairedReport, best_constant, pwa};
use crate::inference::{Evidence, answers};
use crate::jobs::{JobContext, ProgressCell};
use crate::models::{self, InferenceModel, ModelSpec, Precision, best_device, set_threads, stack};
use crate::project::Snapshot;
use crate::storage::{StorageError, atomic_write, hex, remove_half_written};
use crate::training::{
    self, Checkpoints, Disk, EpochMetrics, Monitor, PaceBook, Phase, Plan, Sampler, Source,
    SplitCounts, TrainData, TrainEvent, estimate, free_space, kept_bytes, kept_images,
};

use super::{
    DriftSession, ImageGroups, RunSummary, WorkflowError,
    cost::missing_pixels,
    drift::{candidates, drift_labels},
    lane,
    machine::machine,
    resume::{RunLock, checkpoint, name_of, refuse_changed},
    run::{METRICS, MODEL, PLAN, new_run_dir, no_run, paces, read_json_lines, resolve_run, runs},
    train::{CachedPixels, unused_dir},
    trial::trials,
};
use deal::{DRIFT_CLASS, Deal, Fold};

pub use deal::FINE_TUNE_LABELS;
pub(super) use unfinished::{STARTED, complete, is_started};

pub use result::{DriftRun, DriftRunRow, FineTunePwa, drift_runs, load_drift_run};
use unfinished::{Started, given_up};
pub use unfinished::{UnfinishedFineTune, unfinished_fine_tunes};

/// Epochs of each phase at most, unless the user says otherwise: with so few images more only learn them by heart.
const EPOCHS: usize = 12;
/// Images in one step, the study's number for its balanced sets: with more, an epoch has hardly a step.
const STEP: usize = 8;
/// Epochs without improvement before a phase ends.
const PATIENCE: usize = 4;
/// Rate of the new last layer, alone.
const HEAD_RATE: f64 = 1e-3;
/// Rate of the layers that have learned before.
const LOW_RATE: f64 = 1e-4;
/// Probability from which either judge answers "drift": both learn as if both kinds were as frequent.
const THRESHOLD: f64 = 0.5;
/// Images that go through a network together.
const BATCH: usize = 32;
/// Width of an interval of average precision from which the user is told to label more.
const WIDE: f64 = 0.2;

/// What to fine-tune and how.
#[derive(Clone, Debug)]
pub struct FineTuneRequest {
    /// Folder of the run whose network is trained on; the best one's by [`best_run`] when not given.
    pub run: Option<PathBuf>,
    /// Epochs of each phase at most.
    pub epochs: Option<usize>,
    /// Deals the folds, draws the last layers and the batches.
    pub seed: u64,
    /// Threads for libtorch; its own choice when not given.
    pub threads: Option<usize>,
}

impl Default for FineTuneRequest {
    /// From the best run, with seed 42.
    fn default() -> Self {
        Self {
            run: None,
            epochs: None,
            seed: 42,
            threads: None,
        }
    }
}

/// A run that a network is fine-tuned from.
#[derive(Clone, Debug)]
pub struct BaseRun {
    /// The run.
    pub run: RunSummary,
    /// Macro-F1 of its kept epoch on its validation images, where its log tells.
    pub validation_macro_f1: Option<f64>,
    /// Finished runs that it was chosen from; none where the user named it.
    pub chosen_from: Option<usize>,
}

impl BaseRun {
    fn of(run: RunSummary, chosen_from: Option<usize>) -> Self {
        let epochs: Vec<EpochMetrics> = read_json_lines(&run.dir.join(METRICS));
        let kept = epochs.iter().find(|epoch| epoch.epoch == run.best_epoch);
        Self {
            validation_macro_f1: kept.map(|epoch| epoch.val_macro_f1),
            run,
            chosen_from,
        }
    }

    /// `2026-03-04-cnn03, the best of 3 runs by macro-F1 on validation images (0.912)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let why = match (self.chosen_from, self.validation_macro_f1) {
            (None | Some(1), None) => return self.run.name.clone(),
            (None | Some(1), Some(f1)) => format!("macro-F1 {f1:.3} on validation images"),
            (Some(n), Some(f1)) => {
                format!("the best of {n} runs by macro-F1 on validation images ({f1:.3})")
            }
            (Some(n), None) => format!("the newest of {n} runs, none of which tells its macro-F1"),
        };
        format!("{}, {why}", self.run.name)
    }
}

/// What happens while a network is fine-tuned.
#[derive(Clone, Debug)]
pub enum FineTuneEvent {
    /// The labels are dealt and the first network begins.
    Started {
        /// What it starts from.
        base: Box<BaseRun>,
        /// Networks to train, one a fold.
        folds: usize,
        /// Candidates labelled drift and regular.
        labels: (usize, usize),
        /// Regular training images beside them.
        reference: usize,
    },
    /// The network of a fold begins.
    Fold {
        /// Counted from 1.
        fold: usize,
        /// In all.
        folds: usize,
    },
    /// The network of a fold was trained before the interruption.
    Over {
        /// Counted from 1.
        fold: usize,
        /// In all.
        folds: usize,
        /// Its epochs, without confusions and predictions.
        history: Vec<EpochMetrics>,
    },
    /// What its training tells.
    Train(TrainEvent),
}

/// What fine-tuning will take.
#[derive(Clone, Debug)]
pub struct FineTuneCost {
    /// What it starts from.
    pub base: BaseRun,
    /// Networks to train, one a fold.
    pub folds: usize,
    /// Candidates labelled drift and regular.
    pub labels: (usize, usize),
    /// Regular training images beside them.
    pub reference: usize,
    /// Seconds of everything, if no phase stops early.
    pub at_most_s: f64,
    /// How that is known.
    pub source: Source,
}

/// The finished run of the project with the highest macro-F1 on its validation images, the newest of equals. Runs
/// with other splits are compared as they are: it is a choice of where to start, not a result.
///
/// # Errors
/// [`WorkflowError::NoRun`] where nothing was trained.
pub fn best_run(snapshot: &Snapshot) -> Result<BaseRun, WorkflowError> {
    let runs = runs(snapshot);
    let n = runs.len();
    let mut best: Option<BaseRun> = None;
    for run in runs {
        let run = BaseRun::of(run, Some(n));
        let score = |base: &BaseRun| base.validation_macro_f1.unwrap_or(-1.0);
        if best.as_ref().is_none_or(|best| score(&run) > score(best)) {
            best = Some(run);
        }
    }
    best.ok_or_else(|| no_run(&snapshot.runs(), "nothing was trained yet".to_owned()))
}

fn base_run(snapshot: &Snapshot, named: Option<&Path>) -> Result<BaseRun, WorkflowError> {
    match named {
        Some(path) => Ok(BaseRun::of(resolve_run(path)?, None)),
        None => best_run(snapshot),
    }
}

/// How the network of `base` is trained on: first the new last layer, then its last layers, or all of a small one.
/// Batches show drift as often as regular images.
fn plan(base: &RunSummary, request: &FineTuneRequest) -> Result<Plan, WorkflowError> {
    let from = &base.plan;
    let spec = ModelSpec::find(&from.model)?;
    let phase = |trainable: &str, rate: f64| Phase {
        learning_rate: Some(rate),
        sampler: Some(Sampler::ClassBalanced),
        ..Phase::of(trainable)
    };
    let last = spec.phases.get(1).copied().unwrap_or("all");
    let plan = Plan {
        model: from.model.clone(),
        size: from.size,
        framing: from.framing,
        weights: Some(base.dir.join(MODEL).display().to_string()),
        epochs: request.epochs.unwrap_or(EPOCHS),
        batch: STEP,
        learning_rate: LOW_RATE,
        monitor: Monitor::ValLoss,
        patience: PATIENCE,
        group_by: from.group_by.clone(),
        seed: request.seed,
        precision: from.precision,
        cache_activations: from.cache_activations,
        cached_variants: from.cached_variants,
        augmentation: from.augmentation,
        phases: vec![
            Phase {
                // A run that told two classes apart has a last layer of the same shape, which knows other things.
                reset_head: true,
                ..phase("head", HEAD_RATE)
            },
            phase(last, LOW_RATE),
        ],
        ..Plan::default()
    };
    plan.check()?;
    Ok(plan)
}

/// What fine-tuning on the labels of now will take; what would keep it from starting is told now. `trials` are the
/// short trials of this machine, see [`trials_file`](super::trials_file).
///
/// # Errors
/// As [`fine_tune`], for everything that is wrong with the labels and the runs.
pub fn fine_tune_cost(
    snapshot: &Snapshot,
    request: &FineTuneRequest,
    trials_file: Option<&Path>,
) -> Result<FineTuneCost, WorkflowError> {
    let candidates = candidates(snapshot);
    // What is missing is told before what a run says.
    let labels = drift_labels(snapshot);
    deal::check_counts(&labels, &candidates)?;
    let base = base_run(snapshot, request.run.as_deref())?;
    let plan = plan(&base.run, request)?;
    let reference = deal::reference(snapshot, &base.run.plan, &candidates, plan.seed)?;
    // Near-duplicates are known once the images are embedded; they change sizes little.
    let alike = ImageGroups::default();
    let deal = Deal::new(snapshot, &candidates, &labels, reference, &plan, &alike)?;
    let machine = machine();
    let mut book = PaceBook::default();
    book.add(Source::Run, paces(snapshot, &machine));
    if let Some(file) = trials_file {
        book.add(Source::Trial, trials(file, &machine));
    }
    let fold = &deal.folds[0];
    let images = SplitCounts {
        train: fold.train.len(),
        validation: fold.validation.len(),
        // Its own fold, and what nobody labelled.
        test: fold.held_out.len() + deal.unlabelled.len(),
    };
    let disk = Disk {
        free: free_space(&snapshot.cache()),
        older: kept_bytes(&snapshot.cache()),
        pixels: missing_pixels(snapshot, &plan, images),
        kept: &kept_images(&plan, 2, &snapshot.cache())?,
    };
    let threads = request.threads.unwrap_or_else(models::threads);
    let cost = estimate(&plan, 2, images, disk, threads, &book)?;
    Ok(FineTuneCost {
        base,
        folds: deal.folds.len(),
        labels: deal.counts(),
        reference: deal.reference.len(),
        // What frozen layers say of an image is kept from the first fold on.
        at_most_s: (cost.at_most_s - cost.cache_s) * deal.folds.len() as f64 + cost.cache_s,
        source: cost.source,
    })
}

/// Fine-tunes a network for each fold of the labelled candidates of `session`, and measures them against its head.
/// Beside those labels, training images of the regular classes are regular examples; a candidate without a label
/// is never learned from. Everything is written into a new folder under the project's `runs/`; one that is stopped
/// leaves what it needs to be resumed there, or nothing where it had hardly begun.
///
/// # Errors
/// [`WorkflowError::TooFewToFineTune`], [`WorkflowError::TooFewGroups`], [`WorkflowError::NoRun`], and those of
/// [`train`](super::train).
pub fn fine_tune(
    snapshot: &Snapshot,
    session: &DriftSession,
    request: &FineTuneRequest,
    context: &JobContext,
    emit: &mut dyn FnMut(FineTuneEvent),
) -> Result<DriftRun, WorkflowError> {
    let labels = drift_labels(snapshot);
    deal::check_counts(&labels, &session.images)?;
    let base = base_run(snapshot, request.run.as_deref())?;
    let plan = plan(&base.run, request)?;
    if let Some(threads) = request.threads {
        set_threads(threads);
    }
    let mut images = session.images.clone();
    let reference = deal::reference(snapshot, &base.run.plan, &images, plan.seed)?;
    images.extend(&reference);
    let (pixels, unreadable) = CachedPixels::load(snapshot, &plan, &images, context)?;
    let readable = |ids: &[ImageId]| -> Vec<ImageId> {
        let there = |id: &&ImageId| pixels.find(**id).is_some();
        ids.iter().filter(there).copied().collect()
    };
    let (images, reference) = (readable(&session.images), readable(&reference));
    let alike = &session.groups;
    let deal = Deal::new(snapshot, &images, &labels, reference, &plan, alike)?;
    context.report(0, 0, "waiting for its turn");
    let _turn = lane::take(context)?;
    let created = jiff::Zoned::now();
    let dir = unused_dir(snapshot, &created, &format!("drift-{}", plan.model));
    new_run_dir(&dir)?;
    let _lock = RunLock::take(&dir)?;
    let left_out = unreadable.first().map(|(_, first)| {
        format!(
            "images that cannot be read were left out, {} in all; the first: {first}",
            unreadable.len()
        )
    });
    let mut started = Started::new(snapshot, &base, &deal, &pixels, &plan);
    started.created = created.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    started.threads = request.threads;
    started.left_out = left_out;
    let written = atomic_write(&dir.join(PLAN), plan.to_toml().as_bytes())
        .map_err(WorkflowError::from)
        .and_then(|()| started.write(&dir));
    if let Err(error) = written {
        return Err(given_up(&dir, error));
    }
    let work = Work {
        snapshot,
        session,
        base: &base,
        plan: &plan,
        deal: &deal,
        pixels: &pixels,
        started: &started,
        dir: &dir,
        context,
    };
    work.carry_out(emit)
}

/// Goes on with the fine-tuning in `dir`, which was stopped or whose process was killed: by its own plan, on the
/// images and labels that it was started on and in the folds they were dealt into, whatever was labelled since.
/// Networks that were over stay as they are. The head beside them is that of `session`, with those same labels.
///
/// # Errors
/// [`WorkflowError::FineTuningFinished`], [`WorkflowError::NothingToResume`], [`WorkflowError::RunInUse`],
/// [`WorkflowError::PlanChanged`], [`WorkflowError::DataChanged`], and those of [`fine_tune`].
pub fn resume_fine_tune(
    snapshot: &Snapshot,
    session: &DriftSession,
    dir: &Path,
    context: &JobContext,
    emit: &mut dyn FnMut(FineTuneEvent),
) -> Result<DriftRun, WorkflowError> {
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
    let base = BaseRun::of(resolve_run(&started.base)?, started.base_chosen_from);
    let deal = started.deal(snapshot, &plan, &run)?;
    let images = deal.images();
    let (pixels, _) = CachedPixels::load(snapshot, &plan, &images, context)?;
    started.check(snapshot, &run, &|image| pixels.content(image).copied())?;
    let gone: Vec<&str> = (deal.candidates())
        .filter(|image| session.prediction(*image).is_none())
        .map(|image| snapshot.manifest.get(image).key.as_str())
        .collect();
    refuse_changed(&run, &gone)?;
    context.report(0, 0, "waiting for its turn");
    let _turn = lane::take(context)?;
    let work = Work {
        snapshot,
        session,
        base: &base,
        plan: &plan,
        deal: &deal,
        pixels: &pixels,
        started: &started,
        dir,
        context,
    };
    work.carry_out(emit)
}

/// All that a fine-tuning works on.
struct Work<'a> {
    snapshot: &'a Snapshot,
    session: &'a DriftSession,
    base: &'a BaseRun,
    plan: &'a Plan,
    deal: &'a Deal,
    pixels: &'a CachedPixels,
    started: &'a Started,
    dir: &'a Path,
    context: &'a JobContext,
}

/// What the networks of all folds brought.
struct Trained {
    /// Probability of drift of each candidate that can be read.
    network: HashMap<ImageId, f64>,
    /// Fold by fold.
    folds: Vec<Learned>,
}

/// What the network of one fold brought, beside its weights. In its folder until the fine-tuning is over.
#[derive(Serialize, Deserialize)]
struct Learned {
    /// Wall-clock seconds of its training.
    seconds: f64,
    /// Digest of its weights.
    weights_digest: String,
    /// Probability of drift of the held-out images, then of those without a label.
    answers: Vec<f64>,
    history: Vec<EpochMetrics>,
}

/// A line of the log: an epoch and whose it is.
#[derive(Serialize)]
struct FoldEpoch<'a> {
    fold: usize,
    #[serde(flatten)]
    epoch: &'a EpochMetrics,
}

impl Work<'_> {
    /// Trains what is not trained yet, and completes the folder.
    fn carry_out(&self, emit: &mut dyn FnMut(FineTuneEvent)) -> Result<DriftRun, WorkflowError> {
        emit(FineTuneEvent::Started {
            base: Box::new(self.base.clone()),
            folds: self.deal.folds.len(),
            labels: self.deal.counts(),
            reference: self.deal.reference.len(),
        });
        self.train(emit)
            .and_then(|trained| self.write(&trained))
            .map_err(|error| given_up(self.dir, error))?;
        complete(self.dir);
        load_drift_run(self.snapshot, self.dir)
    }

    fn train(&self, emit: &mut dyn FnMut(FineTuneEvent)) -> Result<Trained, WorkflowError> {
        let folds = self.deal.folds.len();
        let mut trained = Trained {
            network: HashMap::new(),
            folds: Vec::new(),
        };
        let mut log = String::new();
        for (at, fold) in self.deal.folds.iter().enumerate() {
            let number = at + 1;
            let learned = match unfinished::learned(self.dir, number) {
                Some(learned) => {
                    emit(FineTuneEvent::Over {
                        fold: number,
                        folds,
                        history: learned.history.clone(),
                    });
                    self.report(number, 0.0);
                    learned
                }
                None => {
                    emit(FineTuneEvent::Fold {
                        fold: number,
                        folds,
                    });
                    self.learn(at, fold, emit)?
                }
            };
            let own = fold.held_out.iter().map(|e| e.image);
            let asked = own.chain(self.deal.unlabelled.iter().copied());
            for (image, p) in asked.zip(&learned.answers) {
                let asked_by = if self.deal.fold_of.contains_key(&image) {
                    1.0
                } else {
                    folds as f64
                };
                *trained.network.entry(image).or_insert(0.0) += p / asked_by;
            }
            for epoch in &learned.history {
                let line = FoldEpoch {
                    fold: number,
                    epoch,
                };
                log.push_str(&serde_json::to_string(&line).expect("metrics are numbers"));
                log.push('\n');
            }
            trained.folds.push(learned);
        }
        atomic_write(&self.dir.join(METRICS), log.as_bytes())?;
        Ok(trained)
    }

    /// Trains the network of a fold, or goes on with it, and asks it.
    fn learn(
        &self,
        at: usize,
        fold: &Fold,
        emit: &mut dyn FnMut(FineTuneEvent),
    ) -> Result<Learned, WorkflowError> {
        let fitted = self.fit(at, fold, emit)?;
        let weights_digest = hex(&fitted
            .model
            .save(&unfinished::weights_file(self.dir, at + 1))?);
        let evidence = Evidence::Answers(self.base.run.bf16_agreement);
        let fastest = Precision::fastest(best_device());
        let precision = evidence.run_in(self.snapshot.precision, fastest);
        let model = fitted.model.optimize_for_inference(precision);
        let own = fold.held_out.iter().map(|e| e.image);
        let asked: Vec<ImageId> = own.chain(self.deal.unlabelled.iter().copied()).collect();
        let learned = Learned {
            seconds: fitted.seconds,
            weights_digest,
            answers: self.answer(&model, at, &asked)?,
            history: fitted.history,
        };
        unfinished::keep(self.dir, at + 1, &learned)?;
        Ok(learned)
    }

    fn fit(
        &self,
        at: usize,
        fold: &Fold,
        emit: &mut dyn FnMut(FineTuneEvent),
    ) -> Result<training::Fitted, WorkflowError> {
        let folder = unfinished::fold_dir(self.dir, at + 1);
        let from = if folder.is_dir() {
            checkpoint(&folder, &mut |event| emit(FineTuneEvent::Train(event)))?
        } else {
            fs::create_dir(&folder).map_err(|e| StorageError::io("create", &folder, e))?;
            None
        };
        let data = TrainData {
            pixels: self.pixels,
            classes: vec!["regular".to_owned(), "drift".to_owned()],
            train: fold.train.clone(),
            validation: fold.validation.clone(),
            test: fold.held_out.clone(),
            cache: Some(self.snapshot.cache()),
            checkpoints: Some(Checkpoints::in_folder(&folder)),
        };
        // The trainer counts the progress of one network; ours is that of all.
        let progress = ProgressCell::default();
        let inside = JobContext {
            control: self.context.control.clone(),
            progress: progress.clone(),
            wake: Arc::clone(&self.context.wake),
        };
        let cost = &self.snapshot.cost;
        let mut told = |event: TrainEvent| {
            if matches!(event, TrainEvent::Step { .. } | TrainEvent::Epoch(_)) {
                self.report(at, f64::from(progress.get().fraction()));
            }
            emit(FineTuneEvent::Train(event));
        };
        let fitted = match from {
            None => training::fit(self.plan, &data, cost, &inside, &mut told),
            Some(from) => training::resume(self.plan, &data, cost, from, &inside, &mut told),
        };
        Ok(fitted?)
    }

    fn report(&self, fold: usize, fraction: f64) {
        /// Units of progress for each fold.
        const UNITS: f64 = 1000.0;
        let done = (fold as f64 + fraction) * UNITS;
        let total = self.deal.folds.len() as u64 * UNITS as u64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand at most"
        )]
        let done = done as u64;
        let doing = format!("fine-tuning {} for drift", self.plan.model);
        self.context.report(done, total, &doing);
    }

    /// Probability of drift of `images`, in order.
    fn answer(
        &self,
        model: &InferenceModel,
        fold: usize,
        images: &[ImageId],
    ) -> Result<Vec<f64>, WorkflowError> {
        let mut found = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            if self.context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            let pixels = batch.iter().map(|image| {
                let found = self.pixels.find(*image);
                found.expect("only images that can be read were dealt")
            });
            let input = stack(pixels, model.size, model.device);
            let logits = answers(&model.forward(&input));
            let (rows, _) = logits.as_chunks::<2>();
            let odds = rows
                .iter()
                .map(|row| f64::from(row[DRIFT_CLASS.index()]) - f64::from(row[0]));
            found.extend(odds.map(|z| 1.0 / (1.0 + (-z).exp())));
        }
        self.report(fold, 1.0);
        Ok(found)
    }

    fn write(&self, trained: &Trained) -> Result<(), WorkflowError> {
        let labels = self.deal.labels();
        let head = self.head(&labels)?;
        let of = |scores: &HashMap<ImageId, f64>| -> Vec<f64> {
            labels.iter().map(|(image, _)| scores[image]).collect()
        };
        let truth: Vec<bool> = labels.iter().map(|(_, drift)| *drift).collect();
        let comparison = PairedReport::new(
            &truth,
            &of(&head),
            &of(&trained.network),
            THRESHOLD,
            self.plan.seed,
        )?;
        let file = result::File {
            format_version: result::FORMAT_VERSION,
            target: super::run::DRIFT.to_owned(),
            created: self.started.created.clone(),
            base: self.base.run.name.clone(),
            base_chosen_from: self.base.chosen_from,
            base_validation_macro_f1: self.base.validation_macro_f1,
            model: self.plan.model.clone(),
            size: self.plan.size,
            head: self.session.source.clone(),
            folds: self.deal.folds.len(),
            reference: self.deal.reference.len(),
            epochs: trained.folds.iter().map(|f| f.history.len()).collect(),
            seconds: trained.folds.iter().map(|fold| fold.seconds).sum(),
            comparison,
            pwa: self.pwa(&labels, &head, &trained.network),
            seed: self.plan.seed,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            data_digest: self.started.data_digest.clone(),
            labels_digest: self.started.labels_digest.clone(),
            weights_digests: (trained.folds.iter())
                .map(|fold| fold.weights_digest.clone())
                .collect(),
            warnings: self.warnings(&comparison),
            machine: machine(),
        };
        let rows = self.session.images.iter().filter_map(|image| {
            let network = trained.network.get(image)?;
            Some(DriftRunRow {
                image: *image,
                label: labels.iter().find(|(id, _)| id == image).map(|(_, d)| *d),
                fold: self.deal.fold_of.get(image).copied(),
                network: *network as f32,
                head: head.get(image).map(|p| *p as f32),
            })
        });
        let rows: Vec<DriftRunRow> = rows.collect();
        result::write(self.snapshot, self.dir, &file, &rows)
    }

    /// What the head says of every candidate: of a labelled one without its fold's labels.
    fn head(&self, labels: &[(ImageId, bool)]) -> Result<HashMap<ImageId, f64>, WorkflowError> {
        let mut head = HashMap::new();
        for fold in &self.deal.folds {
            let images: Vec<ImageId> = fold.held_out.iter().map(|e| e.image).collect();
            head.extend(
                images
                    .iter()
                    .copied()
                    .zip(self.session.held_out(labels, &images)?),
            );
        }
        let open = &self.deal.unlabelled;
        head.extend(
            open.iter()
                .copied()
                .zip(self.session.held_out(labels, open)?),
        );
        Ok(head)
    }

    /// PWA of a gate at [`THRESHOLD`] on the labelled images by either judge, and of the best constant answer. Where
    /// a label leaves the class open, the run's answer is taken for it.
    fn pwa(
        &self,
        labels: &[(ImageId, bool)],
        head: &HashMap<ImageId, f64>,
        network: &HashMap<ImageId, f64>,
    ) -> Option<FineTunePwa> {
        let classes = &self.snapshot.manifest.classes;
        let named = self.started.classes(self.snapshot);
        let confusion = |scores: &HashMap<ImageId, f64>| {
            let pairs = labels.iter().filter_map(|(image, drift)| {
                let prediction = self.session.prediction(*image)?;
                let actual = if *drift {
                    classes.drift()
                } else {
                    let class = named.get(image).copied();
                    class.unwrap_or_else(|| prediction.class())
                };
                let given = gate(scores[image], THRESHOLD, &prediction.probabilities);
                Some((actual, given.answer()))
            });
            ConfusionMatrix::from_pairs(classes.len(), pairs)
        };
        let cost = &self.snapshot.cost;
        let (head, network) = (confusion(head), confusion(network));
        Some(FineTunePwa {
            head: pwa(&head, cost).ok()?,
            network: pwa(&network, cost).ok()?,
            constant: best_constant(&head, cost).ok()?.pwa,
        })
    }

    /// What the user should know before trusting the figures.
    fn warnings(&self, report: &PairedReport) -> Vec<String> {
        let mut warnings = vec![
            "labels on incoming images make both transductive: the figures hold for these images"
                .to_owned(),
        ];
        let width = |i: &Interval| i.hi - i.lo;
        let widest =
            width(&report.first.average_precision).max(width(&report.second.average_precision));
        if widest > WIDE {
            warnings.push(format!(
            "with {} drift and {} regular labels an average precision is known to within {widest:.2} only: label more before you trust a difference",
            report.n_drift, report.n_regular
        ));
        }
        if self.deal.reference.is_empty() {
            warnings.push(
            "no training images of the regular classes beside the candidates: the networks know no other regular images than the labelled ones"
                .to_owned(),
        );
        }
        warnings.extend(self.started.left_out.clone());
        warnings
    }
}

#[cfg(test)]
mod tests;
