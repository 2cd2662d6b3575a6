//! The training loop: steps, validation after every epoch, early stopping, best weights restored.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use super::{Balance, EpochMetrics, Monitor, Plan, TrainEvent, ValidationPrediction};
use crate::domain::{ClassId, CostMatrix, ImageId, Prediction};
use crate::evaluation::{ConfusionMatrix, EvaluationError, Report};
use crate::jobs::{JobContext, StopReason};
use crate::models::{Adam, Model, ModelError, best_device, stack, weights};

/// Images read at once where no gradient is needed.
const EVALUATION_BATCH: usize = 64;
/// Shortest time between two [`TrainEvent::Step`]s.
const STEP_EVENT_EVERY: Duration = Duration::from_millis(200);

/// Where the pixels of an image come from, at the plan's size.
pub trait PixelSource {
    /// `size * size` bytes, row by row.
    fn pixels(&self, image: ImageId) -> &[u8];
}

/// An image and the class it is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Which image.
    pub image: ImageId,
    /// One of the regular classes.
    pub class: ClassId,
}

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
    let device = best_device();
    let k = data.classes.len();
    let model = Model::new(&plan.model, plan.size, k, plan.seed, device)?;
    let train_counts = counts(&data.train, k);
    let mut adam = Adam::new(model.variables.trainable_variables(), plan.learning_rate);
    let class_weights = (plan.balance == Balance::Weights)
        .then(|| Tensor::from_slice(&balanced_weights(&train_counts)).to_device(device));
    emit(TrainEvent::Started {
        plan: plan.clone(),
        classes: data.classes.clone(),
        validation_counts: counts(&data.validation, k),
        train_counts,
        parameters: model.trainable_parameters(),
        steps_per_epoch: data.train.len().div_ceil(plan.batch),
    });

    let mut best: Option<Best> = None;
    let mut history: Vec<EpochMetrics> = Vec::new();
    let mut waited = 0;
    let mut reason = "all epochs done";
    'epochs: for epoch in 1..=plan.epochs {
        let epoch_started = Instant::now();
        let mut order = data.train.clone();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(epoch as u64);
        order.shuffle(&mut rng);
        let steps = order.len().div_ceil(plan.batch);
        let mut seen = Seen::new(k);
        let mut last_event = Instant::now();
        for (step, batch) in order.chunks(plan.batch).enumerate() {
            if context.should_stop() {
                if context.control.stop_reason() == Some(StopReason::KeepBest) {
                    reason = "stopped by the user";
                    break 'epochs;
                }
                return Err(TrainError::Cancelled);
            }
            let images = stack(
                batch.iter().map(|e| data.pixels.pixels(e.image)),
                plan.size,
                device,
            );
            let targets = targets(batch).to_device(device);
            let logits = model.forward(&images, true);
            let loss = logits.cross_entropy_loss(
                &targets,
                class_weights.as_ref(),
                Reduction::Mean,
                -100,
                0.0,
            );
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(TrainError::NotFinite {
                    epoch,
                    step: step + 1,
                    learning_rate: plan.learning_rate,
                });
            }
            model.learn(&loss, &mut adam);
            seen.add(value, &logits, batch);
            let done = ((epoch - 1) * steps + step + 1) as u64;
            context.progress.set(
                done,
                (plan.epochs * steps) as u64,
                &format!("training {}", plan.model),
            );
            if last_event.elapsed() >= STEP_EVENT_EVERY || step + 1 == steps {
                last_event = Instant::now();
                emit(TrainEvent::Step {
                    epoch,
                    step: step + 1,
                    loss: seen.mean_loss(),
                    images_per_s: seen.images as f64 / epoch_started.elapsed().as_secs_f64(),
                });
            }
        }

        let (predictions, val_loss) = evaluate(&model, plan.size, data.pixels, &data.validation);
        let confusion = confusion(k, &data.validation, &predictions);
        let score = match plan.monitor {
            Monitor::ValLoss => -val_loss,
            Monitor::ValMacroF1 => confusion.macro_f1(),
        };
        let improved = best.as_ref().is_none_or(|best| score > best.score);
        waited = if improved { 0 } else { waited + 1 };
        let metrics = EpochMetrics {
            epoch,
            train_loss: seen.mean_loss(),
            train_accuracy: seen.confusion.accuracy(),
            train_macro_f1: seen.confusion.macro_f1(),
            val_loss,
            val_accuracy: confusion.accuracy(),
            val_macro_f1: confusion.macro_f1(),
            val_f1: confusion.per_class().iter().map(|m| m.f1).collect(),
            best: improved,
            patience_left: plan.patience - waited,
            seconds: epoch_started.elapsed().as_secs_f64(),
            confusion,
            predictions: validation_predictions(&data.validation, &predictions),
        };
        history.push(metrics.clone());
        emit(TrainEvent::Epoch(Box::new(metrics)));
        if improved {
            best = Some(Best {
                epoch,
                score,
                weights: weights::snapshot(&model.variables),
                validation: predictions,
            });
        }
        if waited >= plan.patience {
            reason = "validation stopped improving";
            break;
        }
    }

    let best = best.ok_or(TrainError::NothingToKeep)?;
    weights::restore(&model.variables, &best.weights);
    let (test, _) = evaluate(&model, plan.size, data.pixels, &data.test);
    let (train, _) = evaluate(&model, plan.size, data.pixels, &data.train);
    let report = Report::new(
        data.classes.clone(),
        confusion(k, &data.test, &test),
        cost,
        plan.seed,
    )?;
    emit(TrainEvent::Finished {
        best_epoch: best.epoch,
        report: Box::new(report.clone()),
        reason: reason.to_owned(),
    });
    Ok(Fitted {
        model,
        best_epoch: best.epoch,
        history,
        reason: reason.to_owned(),
        report,
        test,
        validation: best.validation,
        train,
        seconds: started.elapsed().as_secs_f64(),
    })
}

struct Best {
    epoch: usize,
    score: f64,
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

/// n / (k * n_c), scikit-learn's `class_weight="balanced"`, k counting the classes that occur; a class
/// without images gets 0, which no loss ever reads.
fn balanced_weights(counts: &[usize]) -> Vec<f32> {
    let n: usize = counts.iter().sum();
    let k = counts.iter().filter(|c| **c > 0).count();
    let weight = |c: &usize| match *c {
        0 => 0.0,
        c => (n as f64 / (k * c) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

fn targets(examples: &[Example]) -> Tensor {
    let classes: Vec<i64> = examples.iter().map(|e| e.class.index() as i64).collect();
    Tensor::from_slice(&classes)
}

/// Answers for `examples` and their mean unweighted cross-entropy.
fn evaluate(
    model: &Model,
    size: u32,
    pixels: &dyn PixelSource,
    examples: &[Example],
) -> (Vec<Prediction>, f64) {
    let device = model.variables.device();
    let mut predictions = Vec::with_capacity(examples.len());
    let mut loss = 0.0;
    tch::no_grad(|| {
        for batch in examples.chunks(EVALUATION_BATCH) {
            let images = stack(batch.iter().map(|e| pixels.pixels(e.image)), size, device);
            let logits = model.forward(&images, false);
            loss += logits
                .cross_entropy_loss::<Tensor>(
                    &targets(batch).to_device(device),
                    None,
                    Reduction::Sum,
                    -100,
                    0.0,
                )
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
        let (_, loss) = evaluate(&fitted.model, SIZE, &pixels, &data.validation);
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

    #[test]
    fn class_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*8 + [1]*2 + [2]*2)
        assert_eq!(balanced_weights(&[8, 2, 2]), [0.5, 2.0, 2.0]);
        let absent = balanced_weights(&[3, 0, 1]);
        assert!((absent[0] - 4.0 / 6.0).abs() < 1e-6 && (absent[2] - 2.0).abs() < 1e-6);
        assert_eq!(
            (absent[1], balanced_weights(&[0, 0])),
            (0.0, vec![0.0, 0.0])
        );
    }
}
