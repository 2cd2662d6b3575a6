//! The training loop: phases, steps, validation after every epoch, early stopping, best weights restored.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tch::{Device, Kind, Reduction, Tensor};

use super::{
    EpochMetrics, Example, Monitor, PhaseStart, PixelSource, Plan, Precision, ResolvedPhase,
    TrainEvent, ValidationPrediction, ema::Ema, feed::Feed, feed::mix, feed::order, feed::targets,
    log_prior, objective::Objective, schedule::rate,
};
use crate::domain::{ClassId, CostMatrix, Prediction};
use crate::evaluation::{ConfusionMatrix, EvaluationError, Report, Temperature};
use crate::jobs::{JobContext, StopReason};
use crate::models::{self, Adam, Model, ModelError, ModelSpec, best_device, weights};
use crate::storage::StorageError;

/// Images read at once where no gradient is needed.
const EVALUATION_BATCH: usize = 64;
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
    /// The user, or the closing program, stopped it.
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
    for (split, examples) in [
        ("train", &data.train),
        ("validation", &data.validation),
        ("test", &data.test),
    ] {
        if examples.is_empty() {
            return Err(TrainError::EmptySplit { split });
        }
    }
    let started = Instant::now();
    let (model, weights) = start(plan, data.classes.len())?;
    let train_counts = counts(&data.train, data.classes.len());
    emit(TrainEvent::Started {
        plan: Box::new(plan.clone()),
        classes: data.classes.clone(),
        validation_counts: counts(&data.validation, data.classes.len()),
        train_counts: train_counts.clone(),
        steps_per_epoch: data.train.len().div_ceil(plan.batch),
        weights: weights.clone(),
    });
    let mut training = Training {
        plan,
        data,
        context,
        objective: Objective::new(plan, &train_counts, model.variables.device()),
        model,
        history: Vec::new(),
        best: None,
        reason: "all epochs done",
    };
    let phases = plan.resolved_phases();
    for at in 0..phases.len() {
        training.phase(at, &phases, emit)?;
        if context.control.stop_reason().is_some() {
            break;
        }
    }
    let mut fitted = training.finish(cost, &train_counts, started, emit)?;
    fitted.weights = weights;
    Ok(fitted)
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
    objective: Objective,
    model: Model,
    history: Vec<EpochMetrics>,
    best: Option<Best>,
    reason: &'static str,
}

impl<'a> Training<'a> {
    /// Trains one part of the network, from the best weights so far, until its patience is used up. At the
    /// end the best weights are back.
    fn phase(
        &mut self,
        at: usize,
        phases: &[ResolvedPhase],
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<(), TrainError> {
        let (plan, data) = (self.plan, self.data);
        let phase = &phases[at];
        let set = self.model.spec.trainable_set(&phase.trainable)?;
        self.model.set_trainable(set);
        if phase.reset_head {
            reset_head(&self.model, plan.seed.wrapping_add(at as u64))?;
        }
        let (feed, cache) = Feed::for_phase(&self.model, set, plan, data, self.context)?;
        emit(TrainEvent::Phase(PhaseStart {
            phase: at + 1,
            phases: phases.len(),
            trainable: phase.trainable.clone(),
            parameters: self.model.trainable_parameters(),
            epochs: phase.epochs,
            epochs_before: self.history.len(),
            learning_rate: phase.learning_rate,
            cache,
        }));
        // What was best before is to be beaten by the same measure; by another, or with another head, it
        // only stays for want of something newer.
        let mut before = None;
        if phase.reset_head
            || self
                .best
                .as_ref()
                .is_some_and(|b| b.monitor != phase.monitor)
        {
            before = self.best.take();
        }

        let variables = self.model.variables.trainable_variables();
        let mut adam = Adam::new(variables, phase.learning_rate);
        if plan.gradient_clip > 0.0 {
            self.model.keep_gradients();
            adam.limit_norm(plan.gradient_clip);
        }
        let mut ema =
            (plan.ema_decay > 0.0).then(|| Ema::new(&self.model.variables, plan.ema_decay));
        let steps = data.train.len().div_ceil(plan.batch);
        let warmup = (plan.warmup_epochs * steps as f64).round() as usize;
        let most: usize = phases.iter().map(|p| p.epochs).sum();
        let earlier: usize = phases[..at].iter().map(|p| p.epochs).sum();
        let kind = kind(plan, &self.model);
        let mut waited = 0;
        self.reason = "all epochs done";
        for epoch_here in 0..phase.epochs {
            let epoch = self.history.len() + 1;
            let started = Instant::now();
            let order = order(&data.train, phase.sampler, plan.seed, epoch);
            let mut seen = Seen::new(data.classes.len());
            let mut last_event = Instant::now();
            let mut learning_rate = phase.learning_rate;
            for (step, batch) in order.chunks(plan.batch).enumerate() {
                if self.context.should_stop() {
                    if self.context.control.stop_reason() != Some(StopReason::KeepBest) {
                        return Err(TrainError::Cancelled);
                    }
                    self.reason = "stopped by the user";
                    return self.settle(before);
                }
                let taken = epoch_here * steps + step;
                learning_rate = rate(
                    phase.learning_rate,
                    plan.schedule,
                    warmup,
                    taken,
                    phase.epochs * steps,
                );
                adam.set_learning_rate(learning_rate);
                // Dropout masks follow from seed, epoch and step alone.
                tch::manual_seed(mix(plan.seed, epoch, step).cast_signed());
                let input = feed.training(batch, epoch);
                let stages = feed.stage()..self.model.stages();
                let embeddings = self.model.run(&input.to_kind(kind), stages, true);
                let embeddings = embeddings.to_kind(Kind::Float);
                let logits = self.model.head(&embeddings, true);
                let targets = targets(batch).to_device(logits.device());
                let loss = self.objective.loss(&logits, &targets);
                let value = loss.double_value(&[]);
                if !value.is_finite() {
                    return Err(TrainError::NotFinite {
                        epoch,
                        step: step + 1,
                        learning_rate,
                    });
                }
                self.model.learn(&loss, &mut adam);
                if let Some(ema) = &mut ema {
                    ema.update();
                }
                seen.add(value, &logits, batch);
                self.context.progress.set(
                    (earlier * steps + taken + 1) as u64,
                    (most * steps) as u64,
                    &format!("training {}", plan.model),
                );
                if last_event.elapsed() >= STEP_EVENT_EVERY || step + 1 == steps {
                    last_event = Instant::now();
                    emit(TrainEvent::Step {
                        epoch,
                        step: step + 1,
                        loss: seen.mean_loss(),
                        images_per_s: seen.images as f64 / started.elapsed().as_secs_f64(),
                    });
                }
            }

            let train_seconds = started.elapsed().as_secs_f64();
            if let Some(ema) = &mut ema {
                ema.swap();
            }
            let (predictions, val_loss) = evaluate(&self.model, &feed, &data.validation);
            let confusion = confusion(data.classes.len(), &data.validation, &predictions);
            let score = match phase.monitor {
                Monitor::ValLoss => -val_loss,
                Monitor::ValMacroF1 => confusion.macro_f1(),
            };
            let improved = self.best.as_ref().is_none_or(|best| score > best.score);
            waited = if improved { 0 } else { waited + 1 };
            let metrics = EpochMetrics {
                epoch,
                phase: at + 1,
                learning_rate,
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
                    weights: weights::snapshot(&self.model.variables),
                    validation: predictions,
                });
            }
            if let Some(ema) = &mut ema {
                ema.swap();
            }
            if waited >= phase.patience {
                self.reason = "validation stopped improving";
                break;
            }
        }
        self.settle(before)
    }

    /// Puts the best weights back; those from before the phase where it brought none.
    fn settle(&mut self, before: Option<Best>) -> Result<(), TrainError> {
        let best = self
            .best
            .take()
            .or(before)
            .ok_or(TrainError::NothingToKeep)?;
        weights::restore(&self.model.variables, &best.weights);
        self.best = Some(best);
        Ok(())
    }

    fn finish(
        self,
        cost: &CostMatrix,
        train_counts: &[usize],
        started: Instant,
        emit: &mut dyn FnMut(TrainEvent),
    ) -> Result<Fitted, TrainError> {
        let (plan, data) = (self.plan, self.data);
        let k = data.classes.len();
        let best = self.best.ok_or(TrainError::NothingToKeep)?;
        let feed = Feed::of_pixels(data.pixels, &self.model);
        let (test, _) = evaluate(&self.model, &feed, &data.test);
        let report = Report::new(
            data.classes.clone(),
            confusion(k, &data.test, &test),
            cost,
            plan.seed,
        )?;
        let (train, _) = evaluate(&self.model, &feed, &data.train);
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
            temperature: temperature(k, &data.validation, &best.validation),
            log_prior: (plan.logit_adjustment > 0.0).then(|| log_prior(train_counts)),
            validation: best.validation,
            train,
            weights: None,
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

/// The temperature of the answers, whose log probabilities are logits up to a constant.
fn temperature(classes: usize, examples: &[Example], answers: &[Prediction]) -> Option<f64> {
    let log = |p: &f32| p.max(f32::MIN_POSITIVE).ln();
    let logits: Vec<f32> = answers
        .iter()
        .flat_map(|p| p.probabilities.iter().map(log))
        .collect();
    let truth: Vec<ClassId> = examples.iter().map(|e| e.class).collect();
    Temperature::fit(&logits, classes, &truth).ok().map(|t| t.0)
}

struct Best {
    epoch: usize,
    score: f64,
    monitor: Monitor,
    weights: BTreeMap<String, Tensor>,
    validation: Vec<Prediction>,
}

/// What an epoch has seen of the training images.
struct Seen {
    loss: f64,
    images: usize,
    confusion: ConfusionMatrix,
}

impl Seen {
    fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            images: 0,
            confusion: ConfusionMatrix::new(classes),
        }
    }

    fn add(&mut self, mean_loss: f64, logits: &Tensor, batch: &[Example]) {
        self.loss += mean_loss * batch.len() as f64;
        self.images += batch.len();
        let answers = Vec::<i64>::try_from(logits.argmax(1, false)).expect("one answer an image");
        for (example, answer) in batch.iter().zip(answers) {
            self.confusion
                .add(example.class, ClassId::from(answer as usize));
        }
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }
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
mod tests {
    use super::*;
    use crate::domain::ImageId;
    use crate::training::{Loss, Phase, Sampler, Schedule};

    const SIZE: u32 = 32;

    /// Images of stripes: class 0 upright, class 1 level, with noise from the image's number.
    struct Stripes(Vec<Vec<u8>>);

    impl PixelSource for Stripes {
        fn pixels(&self, image: ImageId) -> &[u8] {
            &self.0[image.index()]
        }
    }

    fn stripes(n: usize) -> (Stripes, Vec<Example>) {
        let image = |i: usize| {
            let side = SIZE as usize;
            let value = |p: usize| {
                let (x, y) = (p % side, p / side);
                let along = if i.is_multiple_of(2) { x } else { y };
                let noise = (p * 31 + i * 17) % 23;
                (if (along / 4).is_multiple_of(2) {
                    180
                } else {
                    60
                }) + noise as u8
            };
            (0..side * side).map(value).collect()
        };
        let examples = (0..n).map(|i| Example {
            image: ImageId::from(i),
            class: ClassId::from(i % 2),
        });
        (Stripes((0..n).map(image).collect()), examples.collect())
    }

    fn data<'a>(pixels: &'a Stripes, examples: &[Example]) -> TrainData<'a> {
        let part = |from: usize, to: usize| examples[from..to].to_vec();
        TrainData {
            pixels,
            classes: vec!["upright".into(), "level".into()],
            train: part(0, 32),
            validation: part(32, 48),
            test: part(48, 64),
            cache: None,
        }
    }

    fn plan() -> Plan {
        Plan {
            size: SIZE,
            epochs: 6,
            batch: 8,
            patience: 6,
            monitor: Monitor::ValLoss,
            ..Plan::default()
        }
    }

    fn cost() -> CostMatrix {
        CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square")
    }

    #[test]
    fn a_network_learns_and_the_best_weights_are_the_ones_kept() {
        let (pixels, examples) = stripes(64);
        let data = data(&pixels, &examples);
        let mut epochs = Vec::new();
        let fitted = fit(&plan(), &data, &cost(), &JobContext::detached(), &mut |e| {
            if let TrainEvent::Epoch(m) = e {
                epochs.push(m);
            }
        })
        .expect("trained");
        assert_eq!(fitted.report.macro_f1, 1.0);
        let best = &epochs[fitted.best_epoch - 1];
        assert!(epochs.iter().all(|e| e.val_loss >= best.val_loss));
        // Re-evaluating the restored weights gives the loss of the best epoch.
        let (_, loss) = evaluate(
            &fitted.model,
            &Feed::of_pixels(&pixels, &fitted.model),
            &data.validation,
        );
        assert!((loss - best.val_loss).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let (pixels, examples) = stripes(64);
        let data = data(&pixels, &examples);
        let run = |seed| {
            let plan = Plan {
                seed,
                epochs: 2,
                ..plan()
            };
            let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |_| {});
            let fitted = fitted.expect("trained");
            (fitted.history[1].train_loss, fitted.history[1].val_loss)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn stopping_keeps_the_best_so_far_and_cancelling_keeps_nothing() {
        let (pixels, examples) = stripes(64);
        let data = data(&pixels, &examples);
        let stop_after_first_epoch = |reason| {
            let context = JobContext::detached();
            let control = context.control.clone();
            fit(&plan(), &data, &cost(), &context, &mut |e| {
                if matches!(e, TrainEvent::Epoch(_)) {
                    control.stop(reason);
                }
            })
        };
        let kept = stop_after_first_epoch(StopReason::KeepBest).expect("kept");
        assert_eq!((kept.history.len(), kept.best_epoch), (1, 1));
        assert_eq!(kept.reason, "stopped by the user");
        let cancelled = stop_after_first_epoch(StopReason::Cancelled);
        assert!(matches!(cancelled, Err(TrainError::Cancelled)));
        let context = JobContext::detached();
        context.control.stop(StopReason::KeepBest);
        let nothing = fit(&plan(), &data, &cost(), &context, &mut |_| {});
        assert!(matches!(nothing, Err(TrainError::NothingToKeep)));
    }

    #[test]
    fn an_exploding_loss_names_its_step() {
        let (pixels, examples) = stripes(64);
        let data = data(&pixels, &examples);
        // No plan may say so; it makes the second step overflow whatever the data.
        let plan = Plan {
            learning_rate: 1e30,
            ..plan()
        };
        let mut epochs = 0;
        let exploded = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
            epochs += usize::from(matches!(e, TrainEvent::Epoch(_)));
        });
        let error = exploded
            .err()
            .expect("no result from a loss that is no number");
        assert!(
            matches!(
                error,
                TrainError::NotFinite {
                    epoch: 1,
                    step: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error.to_string().contains("learning rate") && epochs == 0,
            "{error}"
        );
    }

    /// A plan for a small InceptionV3 whose head is trained.
    fn frozen(phases: &[&str]) -> Plan {
        Plan {
            model: "inception_v3".into(),
            size: FROZEN_SIZE,
            epochs: 2,
            batch: 8,
            phases: phases.iter().map(|p| Phase::of(p)).collect(),
            ..Plan::default()
        }
    }

    const FROZEN_SIZE: u32 = 76;

    /// Images with noise enough to tell apart after a body of random weights.
    fn noise(n: usize) -> (Stripes, Vec<Example>) {
        let side = FROZEN_SIZE as usize;
        let image = |i: usize| {
            let value = |p: usize| {
                let wave = if i.is_multiple_of(2) { p % 7 } else { p % 13 };
                ((p * 37 + i * 91) % 101 + wave * 11) as u8
            };
            (0..side * side).map(value).collect()
        };
        let examples = (0..n).map(|i| Example {
            image: ImageId::from(i),
            class: ClassId::from(i % 2),
        });
        (Stripes((0..n).map(image).collect()), examples.collect())
    }

    #[test]
    fn only_the_part_that_learns_changes_and_a_later_phase_begins_at_the_best() {
        let (pixels, examples) = noise(28);
        let data = TrainData {
            train: examples[..16].to_vec(),
            validation: examples[16..22].to_vec(),
            test: examples[22..].to_vec(),
            ..data(&pixels, &noise(64).1)
        };
        let plan = frozen(&["head"]);
        let before = start(&plan, 2).expect("built").0.variables.variables();
        let mut parts = Vec::new();
        let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
            if let TrainEvent::Phase(part) = e {
                parts.push((part.trainable, part.parameters));
            }
        });
        let model = fitted.expect("trained").model;
        assert_eq!(parts, [("head".to_owned(), 2 * 2048 + 2)]);
        for (name, after) in model.variables.variables() {
            let same = (&before[&name] - &after).abs().max().double_value(&[]) == 0.0;
            assert_eq!(same, !name.starts_with(model.spec.head), "{name}");
        }
    }

    #[test]
    fn every_method_trains_and_says_what_it_needs_later() {
        let (pixels, examples) = stripes(64);
        let data = data(&pixels, &examples);
        let long = || Plan {
            epochs: 12,
            patience: 12,
            ..plan()
        };
        let plans = [
            Plan {
                loss: Loss::Focal,
                gradient_clip: 1.0,
                ..long()
            },
            Plan {
                ema_decay: 0.9,
                label_smoothing: 0.1,
                ..long()
            },
            Plan {
                schedule: Schedule::Cosine,
                warmup_epochs: 1.0,
                logit_adjustment: 1.0,
                ..long()
            },
            Plan {
                phases: vec![
                    Phase::of("all"),
                    Phase {
                        sampler: Some(Sampler::ClassBalanced),
                        reset_head: true,
                        learning_rate: Some(0.05),
                        ..Phase::of("head")
                    },
                ],
                ..long()
            },
        ];
        for plan in plans {
            let mut epochs = Vec::new();
            let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
                if let TrainEvent::Epoch(m) = e {
                    epochs.push(m);
                }
            })
            .expect("trained");
            assert!(
                fitted.report.macro_f1 > 0.9,
                "{plan:?}: {}",
                fitted.report.macro_f1
            );
            assert_eq!(fitted.log_prior.is_some(), plan.logit_adjustment > 0.0);
            assert!(fitted.temperature.is_some_and(|t| t > 0.0));
            // What is kept is what was measured, averaged weights and all.
            let best = &epochs[fitted.best_epoch - 1];
            let feed = Feed::of_pixels(&pixels, &fitted.model);
            let (_, loss) = evaluate(&fitted.model, &feed, &data.validation);
            assert!((loss - best.val_loss).abs() < 1e-6, "{plan:?}: {loss}");
        }
    }
}
