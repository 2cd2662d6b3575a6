//! The training that runs, or ran last.

use crate::domain::{ClassId, ImageId};
use crate::evaluation::{ConfusionMatrix, Report};
use crate::training::{EpochMetrics, PhaseStart, Plan, TrainEvent};

use super::words;

/// Epochs whose pace the remaining time is reckoned from.
const PACE_EPOCHS: usize = 3;
/// Below this, one mistake moves a class's F1 by more than 0.02, and the class is warned about.
const FEW_IMAGES: usize = 30;

/// Where the training is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrainPhase {
    /// Nothing has been started.
    #[default]
    Idle,
    /// Started, its data and model are being made ready.
    Preparing,
    /// Epochs are running.
    Running,
    /// Held between two steps.
    Paused,
    /// Asked to stop and keep the best; the test split is still to be read.
    Stopping,
    /// Over, with a report.
    Finished,
    /// Over without a report: why.
    Failed(String),
}

/// One validation image with the latest answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveImage {
    /// Which image.
    pub image: ImageId,
    /// Its label.
    pub actual: ClassId,
    /// The answer.
    pub predicted: ClassId,
    /// Probability of the answer, `0..=1`.
    pub confidence: f32,
}

impl LiveImage {
    /// Whether the answer is the label.
    #[must_use]
    pub fn right(&self) -> bool {
        self.actual == self.predicted
    }
}

/// One point of the curves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochPoint {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean validation cross-entropy.
    pub val_loss: f64,
    /// Macro-F1 of the answers given while training, `0..=1`.
    pub train_macro_f1: f64,
    /// Macro-F1 on the validation split, `0..=1`.
    pub val_macro_f1: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl EpochPoint {
    fn of(metrics: &EpochMetrics) -> Self {
        Self {
            epoch: metrics.epoch,
            train_loss: metrics.train_loss,
            val_loss: metrics.val_loss,
            train_macro_f1: metrics.train_macro_f1,
            val_macro_f1: metrics.val_macro_f1,
            seconds: metrics.seconds,
        }
    }
}

/// The training that runs, or ran last, and the plans waiting behind it.
#[derive(Clone, Debug, Default)]
pub struct TrainState {
    /// Where it is.
    pub phase: TrainPhase,
    /// What is being carried out.
    pub plan: Option<Plan>,
    /// Names of the regular classes, in order.
    pub classes: Vec<String>,
    /// Training images of each class, in class order.
    pub train_counts: Vec<usize>,
    /// Validation images of each class, in class order.
    pub validation_counts: Vec<usize>,
    /// The phase that runs, or ran last.
    pub part: Option<PhaseStart>,
    /// Epochs before which a phase began, the first one left out: where the curves have a line.
    pub phase_ends: Vec<usize>,
    /// What was made of the weights it started from, in words.
    pub weights: Option<String>,
    /// Steps in one epoch.
    pub steps_per_epoch: usize,
    /// The running epoch, counted from 1; 0 before the first step.
    pub epoch: usize,
    /// Steps taken in the running epoch.
    pub step: usize,
    /// Mean loss of the running epoch so far.
    pub loss: f64,
    /// Training images per second.
    pub images_per_s: f64,
    /// One entry per finished epoch.
    pub points: Vec<EpochPoint>,
    /// The best epoch so far, counted from 1.
    pub best_epoch: Option<usize>,
    /// Epochs without improvement that the phase allows.
    pub patience: usize,
    /// Of those, how many are left.
    pub patience_left: usize,
    /// F1 of each class on the validation split after the latest epoch, in class order.
    pub val_f1: Vec<f64>,
    /// Confusion of the validation split after the latest epoch.
    pub confusion: Option<ConfusionMatrix>,
    /// Validation images of the latest epoch: mistakes first, the most confident first, then the right
    /// answers, the least sure first.
    pub live: Vec<LiveImage>,
    /// On the test split, once it is over.
    pub report: Option<Report>,
    /// Why it ended.
    pub reason: String,
    /// Plans that start when this one is over, in order.
    pub queued: Vec<Plan>,
}

impl TrainState {
    /// A training has been started; everything of the last one goes, the queue stays.
    pub fn begin(&mut self, plan: Plan) {
        let patience = plan.resolved_phases().first().map_or(0, |p| p.patience);
        *self = Self {
            phase: TrainPhase::Preparing,
            patience,
            patience_left: patience,
            plan: Some(plan),
            queued: std::mem::take(&mut self.queued),
            ..Self::default()
        };
    }

    /// Takes in what the training says. Nothing said after a failure counts.
    pub fn apply(&mut self, event: &TrainEvent) {
        if matches!(self.phase, TrainPhase::Failed(_)) {
            return;
        }
        match event {
            TrainEvent::Started {
                plan,
                classes,
                train_counts,
                validation_counts,
                steps_per_epoch,
                weights,
            } => {
                self.begin(Plan::clone(plan));
                self.phase = TrainPhase::Running;
                self.classes.clone_from(classes);
                self.train_counts.clone_from(train_counts);
                self.validation_counts.clone_from(validation_counts);
                self.steps_per_epoch = *steps_per_epoch;
                self.weights.clone_from(weights);
            }
            TrainEvent::Phase(part) => {
                if part.phase > 1 {
                    self.phase_ends.push(part.epochs_before);
                }
                let phases = self.plan.as_ref().map(Plan::resolved_phases);
                let phase = phases.as_ref().and_then(|p| p.get(part.phase - 1));
                self.patience = phase.map_or(0, |p| p.patience);
                self.patience_left = self.patience;
                self.part = Some(part.clone());
            }
            TrainEvent::Step {
                epoch,
                step,
                loss,
                images_per_s,
            } => {
                (self.epoch, self.step) = (*epoch, *step);
                (self.loss, self.images_per_s) = (*loss, *images_per_s);
            }
            TrainEvent::Resumed {
                history,
                epoch,
                step,
                patience_left,
            } => {
                self.points = history.iter().map(EpochPoint::of).collect();
                let best = history.iter().rfind(|m| m.best);
                self.best_epoch = best.map(|m| m.epoch);
                if let Some(last) = history.last() {
                    self.val_f1.clone_from(&last.val_f1);
                }
                let phase = self.part.as_ref().map_or(1, |part| part.phase);
                let before = |phase| history.iter().filter(|m| m.phase < phase).count();
                self.phase_ends = (2..=phase).map(before).collect();
                (self.epoch, self.step) = (*epoch, *step);
                self.patience_left = *patience_left;
            }
            TrainEvent::Kept { .. } | TrainEvent::Note(_) => {}
            TrainEvent::Epoch(metrics) => self.end_epoch(metrics),
            TrainEvent::Finished {
                best_epoch,
                report,
                reason,
            } => {
                self.phase = TrainPhase::Finished;
                self.best_epoch = Some(*best_epoch);
                self.report = Some((**report).clone());
                self.reason.clone_from(reason);
            }
        }
    }

    fn end_epoch(&mut self, metrics: &EpochMetrics) {
        self.points.push(EpochPoint::of(metrics));
        if metrics.best {
            self.best_epoch = Some(metrics.epoch);
        }
        (self.epoch, self.step) = (metrics.epoch, self.steps_per_epoch);
        self.patience_left = metrics.patience_left;
        self.val_f1.clone_from(&metrics.val_f1);
        self.confusion = Some(metrics.confusion.clone());
        self.live = metrics
            .predictions
            .iter()
            .map(|p| {
                let (predicted, confidence) = p.prediction.top();
                LiveImage {
                    image: p.image,
                    actual: ClassId::from(p.actual),
                    predicted,
                    confidence,
                }
            })
            .collect();
        self.live.sort_by(|a, b| {
            let by_sureness = if a.right() {
                a.confidence.total_cmp(&b.confidence)
            } else {
                b.confidence.total_cmp(&a.confidence)
            };
            a.right().cmp(&b.right()).then(by_sureness)
        });
    }

    /// The user held it or let it go on.
    pub fn set_paused(&mut self, paused: bool) {
        match (&self.phase, paused) {
            (TrainPhase::Running | TrainPhase::Preparing, true) => self.phase = TrainPhase::Paused,
            (TrainPhase::Paused, false) => self.phase = TrainPhase::Running,
            _ => {}
        }
    }

    /// The user asked to stop and keep the best.
    pub fn stopping(&mut self) {
        if self.active() {
            self.phase = TrainPhase::Stopping;
        }
    }

    /// It ended without a report; `why` is a sentence for the user.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.phase = TrainPhase::Failed(why.into());
    }

    /// Whether a training holds the compute lane.
    #[must_use]
    pub fn active(&self) -> bool {
        matches!(
            self.phase,
            TrainPhase::Preparing | TrainPhase::Running | TrainPhase::Paused | TrainPhase::Stopping
        )
    }

    /// Number of validation images answered wrongly after the latest epoch.
    #[must_use]
    pub fn mistakes(&self) -> usize {
        self.live.iter().take_while(|i| !i.right()).count()
    }

    /// The best validation macro-F1 epoch kept so far.
    #[must_use]
    pub fn best(&self) -> Option<&EpochPoint> {
        let best = self.best_epoch?;
        self.points.iter().find(|p| p.epoch == best)
    }

    /// Share of the longest possible training that is done, `0.0..=1.0`.
    #[must_use]
    pub fn fraction(&self) -> f32 {
        let Some(plan) = &self.plan else { return 0.0 };
        if self.phase == TrainPhase::Finished {
            return 1.0;
        }
        // A phase that ended early counts as done whole.
        let phases = plan.resolved_phases();
        let (at, before) = self
            .part
            .as_ref()
            .map_or((0, 0), |p| (p.phase - 1, p.epochs_before));
        let earlier: usize = phases.iter().take(at).map(|p| p.epochs).sum();
        let done = earlier as f64 + self.epochs_done() - before as f64;
        (done / plan.most_epochs().max(1) as f64).clamp(0.0, 1.0) as f32
    }

    /// The epoch at which the phase that runs ends at the latest.
    #[must_use]
    pub fn last_epoch(&self) -> usize {
        let most = self.plan.as_ref().map_or(0, Plan::most_epochs);
        self.part
            .as_ref()
            .map_or(most, |p| p.epochs_before + p.epochs)
    }

    fn epochs_done(&self) -> f64 {
        let finished = self.points.len() as f64;
        let within = if self.epoch > self.points.len() && self.steps_per_epoch > 0 {
            (self.step as f64 / self.steps_per_epoch as f64).min(1.0)
        } else {
            0.0
        };
        finished + within
    }

    /// Seconds of one epoch: the mean of the latest, or, before the first has ended, what its pace
    /// promises without the validation.
    fn seconds_per_epoch(&self) -> Option<f64> {
        // Another phase has another pace.
        let before = self.part.as_ref().map_or(0, |p| p.epochs_before);
        let here = &self.points[before.min(self.points.len())..];
        let latest = &here[here.len().saturating_sub(PACE_EPOCHS)..];
        if !latest.is_empty() {
            return Some(latest.iter().map(|p| p.seconds).sum::<f64>() / latest.len() as f64);
        }
        let batch = self.plan.as_ref()?.batch;
        (self.images_per_s > 0.0).then(|| (self.steps_per_epoch * batch) as f64 / self.images_per_s)
    }

    /// Seconds until all epochs of the phase that runs are done; it may end sooner, when patience is used
    /// up. `None` before the first step and once it is over.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        if !self.active() {
            return None;
        }
        self.plan.as_ref()?;
        Some((self.last_epoch() as f64 - self.epochs_done()).max(0.0) * self.seconds_per_epoch()?)
    }

    /// Seconds until it ends if no epoch improves any more.
    #[must_use]
    pub fn seconds_left_without_improvement(&self) -> Option<f64> {
        let within = self.epochs_done() - self.points.len() as f64;
        let left = (self.patience_left as f64 - within).max(0.0) * self.seconds_per_epoch()?;
        Some(left.min(self.seconds_left()?))
    }
}

/// A sentence for each class whose validation figures hang on a handful of images.
#[must_use]
pub fn few_images(classes: &[String], validation_counts: &[usize]) -> Vec<String> {
    classes
        .iter()
        .zip(validation_counts)
        .filter(|(_, n)| **n < FEW_IMAGES)
        .map(|(class, n)| match *n {
            0 => format!("{class} has no validation image: nothing will say how well it is found."),
            n => {
                // From all right to one missed, F1 falls from 1 to 2(n-1) / (2n-1).
                let step = 1.0 / (2.0 * n as f64 - 1.0);
                let images = words::count(n as u64, "validation image");
                format!("{class} has {images}: one mistake moves its F1 by {step:.2}.")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CostMatrix, Prediction};
    use crate::training::{Phase, ValidationPrediction};

    fn started() -> TrainEvent {
        TrainEvent::Started {
            plan: Box::new(Plan {
                epochs: 10,
                patience: 4,
                batch: 10,
                ..Plan::default()
            }),
            classes: vec!["GOOD".into(), "Missing".into()],
            train_counts: vec![60, 40],
            validation_counts: vec![11, 40],
            steps_per_epoch: 10,
            weights: None,
        }
    }

    fn part(phase: usize, epochs: usize, epochs_before: usize) -> TrainEvent {
        TrainEvent::Phase(PhaseStart {
            phase,
            phases: 2,
            trainable: "head".into(),
            parameters: 12,
            epochs,
            epochs_before,
            learning_rate: 1e-3,
            cache: None,
        })
    }

    fn epoch(epoch: usize, best: bool, answers: &[(usize, f32)]) -> TrainEvent {
        let predictions: Vec<ValidationPrediction> = answers
            .iter()
            .enumerate()
            .map(|(i, (actual, p1))| ValidationPrediction {
                image: ImageId::from(i),
                actual: *actual,
                prediction: Prediction {
                    probabilities: vec![1.0 - p1, *p1],
                },
            })
            .collect();
        let pairs = predictions
            .iter()
            .map(|p| (ClassId::from(p.actual), p.prediction.class()));
        TrainEvent::Epoch(Box::new(EpochMetrics {
            epoch,
            phase: 1,
            learning_rate: 1e-3,
            train_loss: 0.5,
            train_accuracy: 0.8,
            train_macro_f1: 0.8,
            val_loss: 0.6,
            val_accuracy: 0.7,
            val_macro_f1: 0.7,
            val_f1: vec![0.7, 0.7],
            best,
            patience_left: if best { 4 } else { 3 },
            seconds: 20.0,
            train_seconds: 15.0,
            confusion: ConfusionMatrix::from_pairs(2, pairs),
            predictions,
        }))
    }

    #[test]
    fn mistakes_come_first_and_the_surest_of_them_before_all() {
        let mut state = TrainState::default();
        state.apply(&started());
        state.apply(&epoch(
            1,
            true,
            &[(0, 0.1), (0, 0.6), (1, 0.6), (1, 0.05), (1, 0.9)],
        ));
        let order: Vec<u32> = state.live.iter().map(|i| i.image.0).collect();
        assert_eq!(order, [3, 1, 2, 0, 4]);
        assert_eq!(state.mistakes(), 2);
        assert_eq!(state.best().map(|p| p.epoch), Some(1));
    }

    #[test]
    fn the_time_left_follows_the_pace() {
        let mut state = TrainState::default();
        assert_eq!(state.seconds_left(), None);
        state.apply(&started());
        assert_eq!(state.seconds_left(), None);
        let step = |epoch, step| TrainEvent::Step {
            epoch,
            step,
            loss: 1.0,
            images_per_s: 10.0,
        };
        // 100 images at 10 a second: 10 s an epoch, half of the first is done.
        state.apply(&step(1, 5));
        assert_eq!(state.seconds_left(), Some(95.0));
        state.apply(&epoch(1, true, &[(0, 0.1)]));
        assert_eq!(state.seconds_left(), Some(180.0));
        assert_eq!(state.seconds_left_without_improvement(), Some(80.0));
        state.apply(&step(2, 5));
        assert_eq!(state.seconds_left(), Some(170.0));
        assert_eq!(state.seconds_left_without_improvement(), Some(70.0));
        assert!((state.fraction() - 0.15).abs() < 1e-6);
    }

    #[test]
    fn a_phase_has_its_own_end_and_its_own_pace() {
        let TrainEvent::Started { mut plan, .. } = started() else {
            panic!("started")
        };
        plan.phases = vec![Phase::of("head"), Phase::of("all")];
        (plan.phases[0].epochs, plan.phases[1].patience) = (Some(5), Some(6));
        let mut state = TrainState::default();
        state.apply(&TrainEvent::Started {
            plan,
            classes: Vec::new(),
            train_counts: Vec::new(),
            validation_counts: Vec::new(),
            steps_per_epoch: 10,
            weights: None,
        });
        state.apply(&part(1, 5, 0));
        assert_eq!(state.last_epoch(), 5);
        state.apply(&epoch(1, true, &[(0, 0.1)]));
        state.apply(&epoch(2, false, &[(0, 0.1)]));
        assert_eq!(state.seconds_left(), Some(60.0));
        // The first phase gave up after 2 of its 5 epochs; 15 were planned in all.
        state.apply(&part(2, 10, 2));
        assert_eq!((state.last_epoch(), state.patience_left), (12, 6));
        assert_eq!(state.phase_ends, [2]);
        assert!((state.fraction() - 5.0 / 15.0).abs() < 1e-6);
        assert_eq!(state.seconds_left(), None);
        state.apply(&epoch(3, true, &[(0, 0.1)]));
        assert_eq!(state.seconds_left(), Some(180.0));
    }

    #[test]
    fn a_resumed_training_looks_as_if_it_had_never_been_interrupted() {
        let mut whole = TrainState::default();
        whole.apply(&started());
        whole.apply(&part(1, 5, 0));
        let epochs = [
            epoch(1, true, &[(0, 0.1)]),
            epoch(2, false, &[(0, 0.1)]),
            epoch(3, true, &[(0, 0.1)]),
        ];
        let mut history = Vec::new();
        for (at, event) in epochs.iter().enumerate() {
            if at == 2 {
                whole.apply(&part(2, 10, 2));
            }
            whole.apply(event);
            let TrainEvent::Epoch(metrics) = event else {
                panic!("an epoch")
            };
            let phase = if at == 2 { 2 } else { 1 };
            history.push(EpochMetrics {
                phase,
                ..EpochMetrics::clone(metrics)
            });
        }
        let mut resumed = TrainState::default();
        resumed.apply(&started());
        resumed.apply(&part(2, 10, 2));
        resumed.apply(&TrainEvent::Resumed {
            history,
            epoch: 4,
            step: 3,
            patience_left: 2,
        });
        assert_eq!(resumed.points, whole.points);
        assert_eq!(resumed.phase_ends, whole.phase_ends);
        assert_eq!(resumed.best_epoch, Some(3));
        assert_eq!(
            (resumed.epoch, resumed.step, resumed.patience_left),
            (4, 3, 2)
        );
        assert_eq!(resumed.last_epoch(), whole.last_epoch());
        assert_eq!(resumed.phase, TrainPhase::Running);
    }

    #[test]
    fn buttons_change_only_what_they_may() {
        let mut state = TrainState::default();
        state.set_paused(true);
        state.stopping();
        assert_eq!(state.phase, TrainPhase::Idle);
        state.apply(&started());
        state.set_paused(true);
        assert_eq!(state.phase, TrainPhase::Paused);
        assert!(state.active());
        state.set_paused(false);
        state.stopping();
        state.set_paused(true);
        assert_eq!(state.phase, TrainPhase::Stopping);
        let confusion = ConfusionMatrix::try_from(vec![vec![1, 0], vec![0, 1]]).expect("square");
        let names = vec!["GOOD".to_owned(), "Missing".to_owned()];
        let report = Report::new(names, confusion, &CostMatrix::challenge(), 1).expect("images");
        state.apply(&TrainEvent::Finished {
            best_epoch: 1,
            report: Box::new(report),
            reason: "stopped by the user".into(),
        });
        assert_eq!(state.phase, TrainPhase::Finished);
        assert_eq!(state.fraction(), 1.0);
        assert!(!state.active() && state.seconds_left().is_none());
    }

    #[test]
    fn the_queue_outlives_the_training_and_a_failure_is_final() {
        let mut state = TrainState::default();
        state.queued.push(Plan::default());
        state.apply(&started());
        state.fail("the disk is full");
        state.apply(&epoch(1, true, &[(0, 0.1)]));
        assert!(state.points.is_empty());
        state.begin(Plan::default());
        assert_eq!(state.queued.len(), 1);
        assert_eq!(state.phase, TrainPhase::Preparing);
    }

    #[test]
    fn a_class_with_few_images_is_warned_about() {
        let names = ["Flat loop", "Missing", "Black lift-off"].map(String::from);
        let warnings = few_images(&names, &[11, 400, 0]);
        assert_eq!(
            warnings[0],
            "Flat loop has 11 validation images: one mistake moves its F1 by 0.05."
        );
        assert!(warnings[1].starts_with("Black lift-off has no validation image"));
        assert_eq!(warnings.len(), 2);
    }
}
