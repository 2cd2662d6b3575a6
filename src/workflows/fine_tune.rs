//! The study's way to tell drift: a network that knows the regular classes is given a new last layer of two answers,
//! drift and regular, and trained on. Beside it stands the head, and both are measured on the same images.
//!
//! Nothing is measured on what was learned from: the labelled images are dealt into folds, a network for each fold
//! learns from the others, keeps its best epoch by a part of those, and answers for its own fold. An image without a
//! label gets the mean answer of all of these networks. The head is judged on the very same folds.

mod deal;
mod result;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use crate::domain::{ClassId, ImageId};
use crate::drift::gate;
use crate::evaluation::{ConfusionMatrix, Interval, PairedReport, best_constant, pwa};
use crate::inference::{Evidence, answers};
use crate::jobs::{JobContext, ProgressCell};
use crate::models::{self, InferenceModel, ModelSpec, Precision, best_device, set_threads, stack};
use crate::project::Snapshot;
use crate::storage::hex;
use crate::training::{
    self, Disk, EpochMetrics, Monitor, PaceBook, Phase, Plan, Sampler, Source, SplitCounts,
    TrainData, TrainEvent, estimate, free_space,
};

use super::{
    DriftSession, RunSummary, WorkflowError,
    cost::missing_pixels,
    drift::{candidates, drift_labels},
    lane,
    machine::machine,
    resume::{LOCK, RunLock, labels_digest},
    run::{METRICS, MODEL, PLAN, new_run_dir, no_run, paces, read_json_lines, resolve_run, runs},
    train::{CachedPixels, unused_dir},
    trial::trials,
};
use deal::{DRIFT_CLASS, Deal, Fold};

pub use deal::FINE_TUNE_LABELS;
pub use result::{DriftRun, DriftRunRow, FineTunePwa, drift_runs, load_drift_run};

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
    let deal = Deal::new(snapshot, &candidates, &labels, reference, &plan)?;
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
        pixels: missing_pixels(snapshot, &plan, images),
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
/// is never learned from. Everything is written into a new folder under the project's `runs/`; whoever stops it
/// finds nothing there.
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
    let deal = Deal::new(snapshot, &images, &labels, reference, &plan)?;
    context.report(0, 0, "waiting for its turn");
    let _turn = lane::take(context)?;
    emit(FineTuneEvent::Started {
        base: Box::new(base.clone()),
        folds: deal.folds.len(),
        labels: deal.counts(),
        reference: deal.reference.len(),
    });
    sweep(snapshot);
    let created = jiff::Zoned::now();
    let dir = unused_dir(snapshot, &created, &format!("drift-{}", plan.model));
    new_run_dir(&dir)?;
    let work = Work {
        snapshot,
        session,
        base: &base,
        plan: &plan,
        deal: &deal,
        pixels: &pixels,
        dir: &dir,
        context,
    };
    let done = RunLock::take(&dir).and_then(|_lock| {
        let trained = work.train(emit)?;
        work.write(&labels, trained, &unreadable, &created)
    });
    if let Err(error) = done {
        // A leftover would only take room.
        drop(fs::remove_dir_all(&dir));
        return Err(error);
    }
    load_drift_run(snapshot, &dir)
}

/// Removes what fine-tunings left that were killed: folders that hold weights of folds and nothing else.
fn sweep(snapshot: &Snapshot) {
    let entries = fs::read_dir(snapshot.runs())
        .into_iter()
        .flatten()
        .flatten();
    for dir in entries.map(|entry| entry.path()) {
        let named = dir
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("-drift-"));
        let Ok(files) = fs::read_dir(&dir) else {
            continue;
        };
        let names: Vec<String> = files
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        let left = |name: &String| name.starts_with("fold-") || name == LOCK;
        // Whoever still trains there holds the lock.
        if named && names.iter().all(left) && RunLock::take(&dir).is_ok() {
            drop(fs::remove_dir_all(&dir));
        }
    }
}

/// All that a fine-tuning works on.
struct Work<'a> {
    snapshot: &'a Snapshot,
    session: &'a DriftSession,
    base: &'a BaseRun,
    plan: &'a Plan,
    deal: &'a Deal,
    pixels: &'a CachedPixels,
    dir: &'a Path,
    context: &'a JobContext,
}

/// What the networks of all folds brought.
struct Trained {
    /// Probability of drift of each candidate that can be read.
    network: HashMap<ImageId, f64>,
    /// Digests of the weights, fold by fold.
    weights: Vec<String>,
    /// Epochs trained, fold by fold.
    epochs: Vec<usize>,
    seconds: f64,
}

/// A line of the log: an epoch and whose it is.
#[derive(Serialize)]
struct FoldEpoch<'a> {
    fold: usize,
    #[serde(flatten)]
    epoch: &'a EpochMetrics,
}

impl Work<'_> {
    fn train(&self, emit: &mut dyn FnMut(FineTuneEvent)) -> Result<Trained, WorkflowError> {
        let folds = self.deal.folds.len();
        let mut trained = Trained {
            network: HashMap::new(),
            weights: Vec::new(),
            epochs: Vec::new(),
            seconds: 0.0,
        };
        let mut log = String::new();
        for (at, fold) in self.deal.folds.iter().enumerate() {
            emit(FineTuneEvent::Fold {
                fold: at + 1,
                folds,
            });
            let fitted = self.fit(at, fold, &mut log, emit)?;
            let file = self.dir.join(format!("fold-{}.safetensors", at + 1));
            trained.weights.push(hex(&fitted.model.save(&file)?));
            trained.epochs.push(fitted.history.len());
            trained.seconds += fitted.seconds;
            let evidence = Evidence::Answers(self.base.run.bf16_agreement);
            let fastest = Precision::fastest(best_device());
            let precision = evidence.run_in(self.snapshot.precision, fastest);
            let model = fitted.model.optimize_for_inference(precision);
            let own: Vec<ImageId> = fold.held_out.iter().map(|e| e.image).collect();
            for (image, p) in own.iter().zip(self.answer(&model, at, &own)?) {
                trained.network.insert(*image, p);
            }
            let open = &self.deal.unlabelled;
            for (image, p) in open.iter().zip(self.answer(&model, at, open)?) {
                *trained.network.entry(*image).or_insert(0.0) += p / folds as f64;
            }
        }
        crate::storage::atomic_write(&self.dir.join(METRICS), log.as_bytes())?;
        Ok(trained)
    }

    fn fit(
        &self,
        at: usize,
        fold: &Fold,
        log: &mut String,
        emit: &mut dyn FnMut(FineTuneEvent),
    ) -> Result<training::Fitted, WorkflowError> {
        let data = TrainData {
            pixels: self.pixels,
            classes: vec!["regular".to_owned(), "drift".to_owned()],
            train: fold.train.clone(),
            validation: fold.validation.clone(),
            test: fold.held_out.clone(),
            cache: Some(self.snapshot.cache()),
            checkpoints: None,
        };
        // The trainer counts the progress of one network; ours is that of all.
        let progress = ProgressCell::default();
        let inside = JobContext {
            control: self.context.control.clone(),
            progress: progress.clone(),
            wake: Arc::clone(&self.context.wake),
        };
        let cost = &self.snapshot.cost;
        let fitted = training::fit(self.plan, &data, cost, &inside, &mut |event| {
            if matches!(event, TrainEvent::Step { .. } | TrainEvent::Epoch(_)) {
                self.report(at, f64::from(progress.get().fraction()));
            }
            if let TrainEvent::Epoch(epoch) = &event {
                let line = FoldEpoch {
                    fold: at + 1,
                    epoch,
                };
                log.push_str(&serde_json::to_string(&line).expect("metrics are numbers"));
                log.push('\n');
            }
            emit(FineTuneEvent::Train(event));
        });
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

    fn write(
        &self,
        labels: &[(ImageId, bool)],
        trained: Trained,
        unreadable: &super::Unreadable,
        created: &jiff::Zoned,
    ) -> Result<(), WorkflowError> {
        let labels: Vec<(ImageId, bool)> = labels
            .iter()
            .filter(|(image, _)| self.deal.fold_of.contains_key(image))
            .copied()
            .collect();
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
            created: created.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            base: self.base.run.name.clone(),
            base_chosen_from: self.base.chosen_from,
            base_validation_macro_f1: self.base.validation_macro_f1,
            model: self.plan.model.clone(),
            size: self.plan.size,
            head: self.session.source.clone(),
            folds: self.deal.folds.len(),
            reference: self.deal.reference.len(),
            epochs: trained.epochs,
            seconds: trained.seconds,
            comparison,
            pwa: self.pwa(&labels, &head, &trained.network),
            seed: self.plan.seed,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            data_digest: self.snapshot.manifest.digest(),
            labels_digest: labels_digest(self.snapshot),
            weights_digests: trained.weights,
            warnings: warnings(&comparison, self.deal, unreadable),
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
        crate::storage::atomic_write(&self.dir.join(PLAN), self.plan.to_toml().as_bytes())?;
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
        let confusion = |scores: &HashMap<ImageId, f64>| {
            let pairs = labels.iter().filter_map(|(image, drift)| {
                let prediction = self.session.prediction(*image)?;
                let actual = if *drift {
                    classes.drift()
                } else {
                    let class: Option<ClassId> = self.snapshot.regular_class(*image);
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
}

/// What the user should know before trusting the figures.
fn warnings(report: &PairedReport, deal: &Deal, unreadable: &super::Unreadable) -> Vec<String> {
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
    if deal.reference.is_empty() {
        warnings.push(
            "no training images of the regular classes beside the candidates: the networks know no other regular images than the labelled ones"
                .to_owned(),
        );
    }
    if let Some((_, first)) = unreadable.first() {
        warnings.push(format!(
            "images that cannot be read were left out, {} in all; the first: {first}",
            unreadable.len()
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
