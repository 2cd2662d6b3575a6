//! The training loop: phases, steps, validation after every epoch, early stopping, best weights restored.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Reduction, Tensor};

use super::{
    Checkpoint, CheckpointError, Checkpoints, EpochMetrics, Example, Monitor, PhaseStart,
    PixelSource, Plan, Precision, ResolvedPhase, TrainEvent, ValidationPrediction,
    checkpoint::{Keeper, Moment},
    ema::Ema,
    feed::{Batch, Feed, mix, order, targets},
    log_prior,
    objective::Objective,
    place::{Best, Place},
    schedule::rate,
    unadjusted,
};
use crate::domain::{ClassId, CostMatrix, Prediction};
use crate::evaluation::{ConfusionMatrix, EvaluationError, Report, Temperature};
use crate::jobs::{JobContext, StopReason};
use crate::models::{self, Adam, Model, ModelError, ModelSpec, best_device, weights};
use crate::storage::StorageError;

/// Images read at once where no gradient is needed.
const EVALUATION_BATCH: usize = 64;
/// Images read at the end of a run between two looks at whether to stop: whole batches.
const EVALUATION_PART: usize = 4 * EVALUATION_BATCH;
/// Shortest time between two [`TrainEvent::Step`]s.
const STEP_EVENT_EVERY: Duration = Duration::from_millis(200);

/// The images of a run. Training images are the only ones that are balanced or limited.
pub struct TrainData<'a> {
    /// Their pixels.
    pub pixels: &'a dyn PixelSource,
    /// Names of the regular classes, in order.
    pub classes: Vec<String>,
    /// Gradients come from these.
    pub train: Vec<Example>,
    /// The epoch is chosen on these.
    pub validation: Vec<Example>,
    /// Read once, at the end.
    pub test: Vec<Example>,
    /// Folder where the activations of frozen layers may be kept, if any.
    pub cache: Option<PathBuf>,
    /// Where and how often the state of the training is written down, if at all.
    pub checkpoints: Option<Checkpoints>,
}

/// A trained network and how it came about.
pub struct Fitted {
    /// With the weights of the best epoch.
    pub model: Model,
    /// Counted from 1.
    pub best_epoch: usize,
    /// All epochs, in order.
    pub history: Vec<EpochMetrics>,
    /// Why it ended, in words.
    pub reason: String,
    /// On the test split.
    pub report: Report,
    /// Answers on the test split, in the order of [`TrainData::test`].
    pub test: Vec<Prediction>,
    /// Answers of the best epoch on the validation split, in the order of [`TrainData::validation`].
    pub validation: Vec<Prediction>,
    /// Answers of the best epoch on the images it was trained on, in the order of [`TrainData::train`]: for
    /// finding wrong labels, never for figures.
    pub train: Vec<Prediction>,
    /// What was made of the weights it started from, in words; none where they were drawn.
    pub weights: Option<String>,
    /// Temperature that makes the probabilities honest, fitted on the validation split (Guo et al. 2017);
    /// none where it cannot be fitted.
    pub temperature: Option<f64>,
    /// Log share of each class among the training images, where the plan adjusted logits by it: to be added
    /// to the logits again before costs are weighed.
    pub log_prior: Option<Vec<f64>>,
    /// Wall-clock seconds in all.
    pub seconds: f64,
}

/// Why a training ended without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The user, or the closing program, stopped it. Its state was written down, where that was asked for.
    #[error("training was cancelled")]
    Cancelled,
    /// Stopped before the first epoch ended: there is nothing to keep.
    #[error("training was stopped before its first epoch ended, so there is no model to keep")]
    NothingToKeep,
    /// A split without images.
    #[error("the {split} split has no images; label more images or change the shares in the plan")]
    EmptySplit {
        /// `train`, `validation` or `test`.
        split: &'static str,
    },
    /// No epoch ended with a network that answers the validation images with numbers.
    #[error(
        "the validation loss was no number after any of the epochs ({epochs}), so there is no model to keep; lower the learning rate (now {learning_rate}) and start again"
    )]
    NeverFinite {
        /// Epochs trained.
        epochs: usize,
        /// The rate of the last one.
        learning_rate: f64,
    },
    /// The loss is no number any more.
    #[error(
        "the loss stopped being a number in epoch {epoch}, step {step}; lower the learning rate (now {learning_rate}) and start again"
    )]
    NotFinite {
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1.
        step: usize,
        /// As in the plan.
        learning_rate: f64,
    },
    /// The model does not exist or does not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The activations of frozen layers cannot be read or kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state it is to go on from cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The report could not be made.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

/// Trains `plan` on `data`, telling every step to `emit`. Stops early when validation has not improved
/// for `plan.patience` epochs or when [`StopReason::KeepBest`] is asked for, restores the best weights,
/// then reads the test split once. The same seed, data and thread count give the same weights.
///
/// # Errors
/// [`TrainError`]; a NaN loss ends the run with the step at which it happened.
pub fn fit(
    plan: &Plan,
    data: &TrainData<'_>,
    cost: &CostMatrix,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<Fitted, TrainError> {
    check_splits(data)?;
    let (model, weights) = start(plan, data.classes.len())?;
    Training::new(plan, data, context, model, weights).run(None, cost, emit)
}

/// Goes on from where a training of the same plan on the same data wrote down its state. On the CPU, with as many
/// threads, everything that follows is what would have followed there, to the last bit.
///
/// # Errors
/// As [`fit`]; [`TrainError::Checkpoint`] for the state of another training.
pub fn resume(
    plan: &Plan,
    data: &TrainData<'_>,
    cost: &CostMatrix,
    from: Checkpoint,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<Fitted, TrainError> {
    check_splits(data)?;
    from.check(plan)?;
    let (classes, state) = (data.classes.len(), &from.state);
    let mut model = Model::new(&plan.model, plan.size, classes, plan.seed, best_device())?;
    from.fill(&mut model)?;
    let best = from.best(&model, data.validation.len())?;
    let training = Training {
        best,
        history: state.history.to_vec(),
        started: began(state.seconds),
        ..Training::new(plan, data, context, model, state.weights.clone())
    };
    training.run(Some(from), cost, emit)
}

fn check_splits(data: &TrainData<'_>) -> Result<(), TrainError> {
    for (split, examples) in [
        ("train", &data.train),
        ("validation", &data.validation),
        ("test", &data.test),
    ] {
        if examples.is_empty() {
            return Err(TrainError::EmptySplit { split });
        }
    }
    Ok(())
}

/// When something began that has run for so many seconds.
fn began(seconds: f64) -> Instant {
    let now = Instant::now();
    let before = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    now.checked_sub(before).unwrap_or(now)
}

/// The model as training finds it, and what was made of the weights it starts from.
fn start(plan: &Plan, classes: usize) -> Result<(Model, Option<String>), TrainError> {
    let mut model = Model::new(&plan.model, plan.size, classes, plan.seed, best_device())?;
    let mut report = None;
    if let Some(file) = &plan.weights {
        let loaded = model.load_pretrained(Path::new(file), plan.preprocessing)?;
        report = Some(format!("{file}: {loaded}"));
    }
    Ok((model, report))
}

/// Whether the layers of `spec` compute in bf16 while they learn.
pub(super) fn learns_in_bf16(precision: Precision, spec: &ModelSpec, device: Device) -> bool {
    match precision {
        Precision::Bf16 => true,
        Precision::Auto => {
            let fastest = models::Precision::fastest(device);
            spec.learns_in_bf16 && fastest == models::Precision::BFloat16
        }
        Precision::Fp32 => false,
    }
}

/// What the layers compute in while they learn.
fn kind(plan: &Plan, model: &Model) -> Kind {
    if learns_in_bf16(plan.precision, model.spec, model.variables.device()) {
        Kind::BFloat16
    } else {
        Kind::Float
    }
}

/// Draws the last layer anew.
fn reset_head(model: &Model, seed: u64) -> Result<(), TrainError> {
    let device = model.variables.device();
    let fresh = Model::new(model.spec.name, model.size, model.classes, seed, device)?;
    let fresh = fresh.variables.variables();
    tch::no_grad(|| {
        for (name, mut variable) in model.variables.variables() {
            if name.rsplit_once('.').map(|(layer, _)| layer) == Some(model.spec.head) {
                variable.copy_(&fresh[&name]);
            }
        }
    });
    Ok(())
}

/// A training under way.
struct Training<'a> {
    plan: &'a Plan,
    data: &'a TrainData<'a>,
    context: &'a JobContext,
    phases: Vec<ResolvedPhase>,
    /// Images of each class in training.
    train_counts: Vec<usize>,
    objective: Objective,
    model: Model,
    /// What was made of the weights it started from, in words.
    weights: Option<String>,
    history: Vec<EpochMetrics>,
    best: Option<Best>,
    /// That of the last phase.
    feed: Option<Feed<'a>>,
    reason: &'static str,
    keeper: Option<Keeper>,
    /// When it began, less the time for which it was interrupted.
    started: Instant,
}

/// The phase under way: what its steps depend on beside the weights.
struct Course<'a> {
    feed: Feed<'a>,
    adam: Adam,
    ema: Option<Ema>,
    kind: Kind,
    place: Place,
}

impl<'a> Training<'a> {
    fn new(
        plan: &'a Plan,
        data: &'a TrainData<'a>,
        context: &'a JobContext,
        model: Model,
        weights: Option<String>,
    ) -> Self {
        let train_counts = counts(&data.train, data.classes.len());
        Self {
            plan,
            data,
            context,
            phases: plan.resolved_phases(),
            objective: Objective::new(plan, &train_counts, model.variables.device()),
            train_counts,
            model,
            weights,
            history: Vec::new(),
            best: None,
            feed: None,
            reason: "all epochs done",
            keeper: data.checkpoints.as_ref().map(Keeper::new),
            started: Instant::now(),
        }
    }

    /// All phases, or those that are left.
    fn run(
        mut self,
        mut from: Option<Checkpoint>,
        cost: &CostMatrix,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<Fitted, TrainError> {
        let (plan, data) = (self.plan, self.data);
        emit(TrainEvent::Started {
            plan: Box::new(plan.clone()),
            classes: data.classes.clone(),
            validation_counts: counts(&data.validation, data.classes.len()),
            train_counts: self.train_counts.clone(),
            steps_per_epoch: self.steps(),
            weights: self.weights.clone(),
        });
        let first = from.as_ref().map_or(0, |from| from.state.place.phase);
        for at in first..self.phases.len() {
            self.phase(at, from.take(), emit)?;
            if self.context.control.stop_reason() == Some(StopReason::KeepBest) {
                break;
            }
        }
        self.finish(cost, emit)
    }

    /// Steps of one epoch.
    fn steps(&self) -> usize {
        self.data.train.len().div_ceil(self.plan.batch)
    }

    /// Trains one part of the network, from the best weights so far or from where it stopped, until its patience
    /// is used up. At the end the best weights are back.
    fn phase(
        &mut self,
        at: usize,
        from: Option<Checkpoint>,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<(), TrainError> {
        let (plan, data) = (self.plan, self.data);
        let phase = self.phases[at].clone();
        let set = self.model.spec.trainable_set(&phase.trainable)?;
        self.model.set_trainable(set);
        if from.is_none() {
            self.begin(at, &phase)?;
        }
        // What it holds would only be in the way of the next.
        self.feed = None;
        let as_before = from.as_ref().map(|from| from.state.kept);
        let (feed, cache) = Feed::for_phase(&self.model, set, plan, data, as_before, self.context)?;
        emit(TrainEvent::Phase(PhaseStart {
            phase: at + 1,
            phases: self.phases.len(),
            trainable: phase.trainable.clone(),
            parameters: self.model.trainable_parameters(),
            epochs: phase.epochs,
            // Those of the phases before, which are counted from 1 here.
            epochs_before: self.history.iter().filter(|m| m.phase <= at).count(),
            learning_rate: phase.learning_rate,
            cache,
        }));
        let mut course = self.course(at, &phase, feed);
        if let Some(from) = from {
            self.go_on(&mut course, &from, emit)?;
        }
        self.reason = "all epochs done";
        while course.place.epoch < phase.epochs && course.place.waited < phase.patience {
            if !self.epoch(&mut course, &phase, emit)? {
                self.reason = "stopped by the user";
                self.feed = Some(course.feed);
                return self.settle();
            }
        }
        if course.place.waited >= phase.patience {
            self.reason = "validation stopped improving";
        }
        // What follows takes long, or changes the weights.
        self.keep(&course, emit);
        self.feed = Some(course.feed);
        self.settle()
    }

    /// What a phase does before its first step.
    fn begin(&mut self, at: usize, phase: &ResolvedPhase) -> Result<(), TrainError> {
        if phase.reset_head {
            reset_head(&self.model, self.plan.seed.wrapping_add(at as u64))?;
        }
        // What was best before is to be beaten by the same measure; by another, or with another head, it
        // only stays for want of something newer.
        if let Some(best) = &mut self.best {
            best.set_aside = phase.reset_head || best.monitor != phase.monitor;
        }
        Ok(())
    }

    /// A phase at its beginning.
    fn course(&mut self, at: usize, phase: &ResolvedPhase, feed: Feed<'a>) -> Course<'a> {
        let plan = self.plan;
        let variables = self.model.variables.trainable_variables();
        let mut adam = Adam::new(variables, phase.learning_rate);
        if plan.gradient_clip > 0.0 {
            self.model.keep_gradients();
            adam.limit_norm(plan.gradient_clip);
        }
        let ema = (plan.ema_decay > 0.0).then(|| Ema::new(&self.model.variables, plan.ema_decay));
        Course {
            feed,
            adam,
            ema,
            kind: kind(plan, &self.model),
            place: Place::start_of(at, self.data.classes.len()),
        }
    }

    /// Puts a phase where it stopped.
    fn go_on(
        &self,
        course: &mut Course<'_>,
        from: &Checkpoint,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<(), TrainError> {
        from.recall(&self.model, &mut course.adam, course.ema.as_mut())?;
        course.place = from.state.place.clone();
        course.kind = if from.state.bf16 {
            Kind::BFloat16
        } else {
            Kind::Float
        };
        emit(TrainEvent::Resumed {
            history: self.history.clone(),
            epoch: self.history.len() + 1,
            step: course.place.step,
            patience_left: self.phases[course.place.phase]
                .patience
                .saturating_sub(course.place.waited),
        });
        Ok(())
    }

    /// One epoch, or what is left of it, and its validation. False where the user wants what there is.
    fn epoch(
        &mut self,
        course: &mut Course<'_>,
        phase: &ResolvedPhase,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<bool, TrainError> {
        let plan = self.plan;
        let epoch = self.history.len() + 1;
        let started = began(course.place.seconds);
        let order = order(&self.data.train, phase.sampler, plan.seed, epoch);
        let most: usize = self.phases.iter().map(|p| p.epochs).sum();
        let (earlier, _) = self.phases.split_at(course.place.phase);
        let earlier = earlier.iter().map(|p| p.epochs).sum::<usize>() + course.place.epoch;
        let steps = self.steps();
        let mut last_event = Instant::now();
        let learned = thread::scope(|scope| {
            let first = course.place.step;
            let mut batches = (course.feed).batches(scope, &order, plan.batch, first, epoch);
            while let Some(batch) = batches.next() {
                let step = batch.step;
                course.place.step = step;
                course.place.seconds = started.elapsed().as_secs_f64();
                if !self.may_go_on(course, emit)? {
                    return Ok(false);
                }
                batches.make_next();
                self.step(course, phase, epoch, &batch)?;
                self.context.progress.set(
                    (earlier * steps + step + 1) as u64,
                    (most * steps) as u64,
                    &format!("training {}", plan.model),
                );
                if last_event.elapsed() >= STEP_EVENT_EVERY || step + 1 == steps {
                    last_event = Instant::now();
                    let seen = &course.place.seen;
                    emit(TrainEvent::Step {
                        epoch,
                        step: step + 1,
                        loss: seen.mean_loss(),
                        images_per_s: seen.images as f64 / started.elapsed().as_secs_f64(),
                    });
                }
            }
            Ok::<_, TrainError>(true)
        })?;
        if !learned {
            return Ok(false);
        }
        let improved = self.validate(course, phase, started, emit);
        course.place = course.place.next_epoch(improved, self.data.classes.len());
        if self.keeper.as_ref().is_some_and(|k| k.is_due(true)) {
            self.keep(course, emit);
        }
        Ok(true)
    }

    /// Whether to take the next step. Waits while paused. What was trained is written down before a wait and
    /// before an end that is to be gone on from.
    fn may_go_on(
        &mut self,
        course: &Course<'_>,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<bool, TrainError> {
        let control = self.context.control.clone();
        if control.is_paused() || self.keeper.as_ref().is_some_and(|k| k.is_due(false)) {
            self.keep(course, emit);
        }
        if !self.context.should_stop() {
            return Ok(true);
        }
        let reason = control.stop_reason();
        if reason == Some(StopReason::KeepBest) {
            return Ok(false);
        }
        // Who cancels in the first epoch wants nothing of it.
        if reason == Some(StopReason::Closing) || !self.history.is_empty() {
            self.keep(course, emit);
        }
        Err(TrainError::Cancelled)
    }

    /// The rate of the step that the course is at.
    fn rate(&self, course: &Course<'_>, phase: &ResolvedPhase) -> f64 {
        let (plan, steps) = (self.plan, self.steps());
        rate(
            phase.learning_rate,
            plan.schedule,
            (plan.warmup_epochs * steps as f64).round() as usize,
            course.place.epoch * steps + course.place.step,
            phase.epochs * steps,
        )
    }

    /// Learns from one batch.
    fn step(
        &mut self,
        course: &mut Course<'_>,
        phase: &ResolvedPhase,
        epoch: usize,
        batch: &Batch<'_>,
    ) -> Result<(), TrainError> {
        let learning_rate = self.rate(course, phase);
        let step = course.place.step;
        course.adam.set_learning_rate(learning_rate);
        // Dropout masks follow from seed, epoch and step alone.
        tch::manual_seed(mix(self.plan.seed, epoch, step).cast_signed());
        let input = course.feed.input(&batch.pixels);
        let stages = course.feed.stage()..self.model.stages();
        let embeddings = self.model.run(&input.to_kind(course.kind), stages, true);
        let embeddings = embeddings.to_kind(Kind::Float);
        let logits = self.model.head(&embeddings, true);
        let targets = targets(batch.examples).to_device(logits.device());
        let loss = self.objective.loss(&logits, &targets);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            if let (Some(keeper), Some(best)) = (&mut self.keeper, &self.best) {
                // Without them the error is the same, and what is on disk is of an earlier epoch.
                drop(keeper.write_best(best, self.model.preprocessing));
            }
            return Err(TrainError::NotFinite {
                epoch,
                step: step + 1,
                learning_rate,
            });
        }
        self.model.learn(&loss, &mut course.adam);
        if let Some(ema) = &mut course.ema {
            ema.update();
        }
        course.place.seen.add(value, &logits, batch.examples);
        if let Some(keeper) = &mut self.keeper {
            keeper.unsaved = true;
        }
        Ok(())
    }

    /// The end of an epoch: measures it, and remembers it if it is the best. Says whether it is.
    fn validate(
        &mut self,
        course: &mut Course<'_>,
        phase: &ResolvedPhase,
        started: Instant,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> bool {
        let data = self.data;
        let train_seconds = started.elapsed().as_secs_f64();
        if let Some(ema) = &mut course.ema {
            ema.swap();
        }
        let (predictions, val_loss) = evaluate(&self.model, &course.feed, &data.validation);
        let confusion = confusion(data.classes.len(), &data.validation, &predictions);
        let score = match phase.monitor {
            Monitor::ValLoss => -val_loss,
            Monitor::ValMacroF1 => confusion.macro_f1(),
        };
        let beaten = |best: &Best| best.set_aside || score > best.score;
        // A network whose loss is no number is never the best, whatever its guesses happen to hit.
        let improved = val_loss.is_finite() && self.best.as_ref().is_none_or(beaten);
        let (place, seen) = (&course.place, &course.place.seen);
        let waited = if improved { 0 } else { place.waited + 1 };
        let epoch = self.history.len() + 1;
        let metrics = EpochMetrics {
            epoch,
            phase: place.phase + 1,
            learning_rate: self.rate(course, phase),
            train_loss: seen.mean_loss(),
            train_accuracy: seen.confusion.accuracy(),
            train_macro_f1: seen.confusion.macro_f1(),
            val_loss,
            val_accuracy: confusion.accuracy(),
            val_macro_f1: confusion.macro_f1(),
            val_f1: confusion.per_class().iter().map(|m| m.f1).collect(),
            best: improved,
            patience_left: phase.patience - waited,
            seconds: started.elapsed().as_secs_f64(),
            train_seconds,
            confusion,
            predictions: validation_predictions(&data.validation, &predictions),
        };
        self.history.push(metrics.clone());
        emit(TrainEvent::Epoch(Box::new(metrics)));
        if improved {
            self.best = Some(Best {
                epoch,
                score,
                monitor: phase.monitor,
                set_aside: false,
                weights: weights::snapshot(&self.model.variables),
                validation: predictions,
            });
        }
        if let Some(ema) = &mut course.ema {
            ema.swap();
        }
        improved
    }

    /// Writes down where the training is, if something was trained since it last did. A training that cannot be
    /// written down goes on all the same.
    fn keep(&mut self, course: &Course<'_>, emit: &mut dyn FnMut(TrainEvent)) {
        let Some(keeper) = self.keeper.as_mut().filter(|k| k.unsaved) else {
            return;
        };
        let written = keeper.write(&Moment {
            plan: self.plan,
            model: &self.model,
            adam: &course.adam,
            ema: course.ema.as_ref(),
            best: self.best.as_ref(),
            place: &course.place,
            history: &self.history,
            weights: self.weights.as_ref(),
            seconds: self.started.elapsed().as_secs_f64(),
            kept: course.feed.is_kept(),
            bf16: course.kind == Kind::BFloat16,
        });
        match written {
            Ok(Some((bytes, seconds))) => emit(TrainEvent::Kept { bytes, seconds }),
            Ok(None) => {}
            Err(error) => emit(TrainEvent::Note(format!(
                "the training goes on, but could not be resumed from here: {error}"
            ))),
        }
    }

    /// Puts the best weights back; those from before the phase where it brought none.
    fn settle(&self) -> Result<(), TrainError> {
        let Some(best) = &self.best else {
            return Err(match self.history.last() {
                None => TrainError::NothingToKeep,
                Some(last) => TrainError::NeverFinite {
                    epochs: self.history.len(),
                    learning_rate: last.learning_rate,
                },
            });
        };
        weights::restore(&self.model.variables, &best.weights);
        Ok(())
    }

    /// Answers for `examples` at the end, unless the run is not wanted any more.
    fn answers(
        &self,
        feed: &Feed<'_>,
        examples: &[Example],
    ) -> Result<Vec<Prediction>, TrainError> {
        let mut answers = Vec::with_capacity(examples.len());
        for part in examples.chunks(EVALUATION_PART) {
            if let Some(StopReason::Cancelled | StopReason::Closing) =
                self.context.control.stop_reason()
            {
                return Err(TrainError::Cancelled);
            }
            answers.extend(evaluate(&self.model, feed, part).0);
        }
        Ok(answers)
    }

    fn finish(
        self,
        cost: &CostMatrix,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<Fitted, TrainError> {
        let (plan, data) = (self.plan, self.data);
        let k = data.classes.len();
        let whole = Feed::of_pixels(data.pixels, &self.model);
        let test = self.answers(&whole, &data.test)?;
        let report = Report::new(
            data.classes.clone(),
            confusion(k, &data.test, &test),
            cost,
            plan.seed,
        )?;
        // The frozen layers of the last phase are those of the best weights, whichever phase brought them: what
        // they made of these images need not be made again.
        let kept = self.feed.as_ref().filter(|feed| feed.keeps(&data.train));
        let train = self.answers(kept.unwrap_or(&whole), &data.train)?;
        let best = self.best.ok_or(TrainError::NothingToKeep)?;
        let log_prior = (plan.logit_adjustment > 0.0).then(|| log_prior(&self.train_counts));
        let adjustment = log_prior
            .as_deref()
            .map(|log_prior| scaled(log_prior, plan));
        emit(TrainEvent::Finished {
            best_epoch: best.epoch,
            report: Box::new(report.clone()),
            reason: self.reason.to_owned(),
        });
        Ok(Fitted {
            model: self.model,
            best_epoch: best.epoch,
            history: self.history,
            reason: self.reason.to_owned(),
            report,
            test,
            temperature: temperature(k, &data.validation, &best.validation, adjustment.as_deref()),
            log_prior,
            validation: best.validation,
            train,
            weights: self.weights,
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }
}

fn scaled(log_prior: &[f64], plan: &Plan) -> Vec<f64> {
    log_prior
        .iter()
        .map(|l| plan.logit_adjustment * l)
        .collect()
}

/// The temperature of the answers once the adjustment of their logits is undone.
fn temperature(
    classes: usize,
    examples: &[Example],
    answers: &[Prediction],
    adjustment: Option<&[f64]>,
) -> Option<f64> {
    let logits: Vec<f32> = answers
        .iter()
        .flat_map(|p| unadjusted(&p.probabilities, adjustment))
        .collect();
    let truth: Vec<ClassId> = examples.iter().map(|e| e.class).collect();
    Temperature::fit(&logits, classes, &truth).ok().map(|t| t.0)
}

/// Number of examples of each class.
fn counts(examples: &[Example], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for example in examples {
        counts[example.class.index()] += 1;
    }
    counts
}

/// Answers for `examples` and their mean unweighted cross-entropy.
fn evaluate(model: &Model, feed: &Feed<'_>, examples: &[Example]) -> (Vec<Prediction>, f64) {
    let mut predictions = Vec::with_capacity(examples.len());
    let mut loss = 0.0;
    tch::no_grad(|| {
        for batch in examples.chunks(EVALUATION_BATCH) {
            let input = feed.plain(batch);
            let embeddings = model.run(&input, feed.stage()..model.stages(), false);
            let logits = model.head(&embeddings, false).to_kind(Kind::Float);
            let targets = targets(batch).to_device(logits.device());
            loss += logits
                .cross_entropy_loss::<Tensor>(&targets, None, Reduction::Sum, -100, 0.0)
                .double_value(&[]);
            let probabilities = logits.softmax(1, Kind::Float).to_device(Device::Cpu);
            let values =
                Vec::<f32>::try_from(probabilities.contiguous().view([-1])).expect("fp32 values");
            predictions.extend(values.chunks(model.classes).map(|row| Prediction {
                probabilities: row.to_vec(),
            }));
        }
    });
    (predictions, loss / examples.len() as f64)
}

fn confusion(classes: usize, examples: &[Example], predictions: &[Prediction]) -> ConfusionMatrix {
    let pairs = examples.iter().zip(predictions);
    ConfusionMatrix::from_pairs(classes, pairs.map(|(e, p)| (e.class, p.class())))
}

fn validation_predictions(
    examples: &[Example],
    predictions: &[Prediction],
) -> Vec<ValidationPrediction> {
    let pairs = examples.iter().zip(predictions);
    pairs
        .map(|(example, prediction)| ValidationPrediction {
            image: example.image,
            actual: example.class.index(),
            prediction: prediction.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
