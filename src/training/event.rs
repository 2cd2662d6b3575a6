//! What a training tells whoever watches: plain data, in order.

use serde::{Deserialize, Serialize};

use crate::domain::{ImageId, Prediction};
use crate::evaluation::{ConfusionMatrix, Report};

use super::{CacheEstimate, Plan};

/// One thing that happened in a training run.
#[derive(Clone, Debug)]
pub enum TrainEvent {
    /// The data is ready, the model is built, the first epoch begins.
    Started {
        /// The plan as it will be carried out.
        plan: Box<Plan>,
        /// Names of the regular classes, in order.
        classes: Vec<String>,
        /// Images of each class in training (after balancing), in class order.
        train_counts: Vec<usize>,
        /// Images of each class in validation, in class order.
        validation_counts: Vec<usize>,
        /// Steps in one epoch.
        steps_per_epoch: usize,
        /// What was made of the weights it starts from, in words; none where they are drawn.
        weights: Option<String>,
    },
    /// A phase of the plan begins.
    Phase(PhaseStart),
    /// The training goes on from where it was interrupted. Follows the start of the phase it was in.
    Resumed {
        /// The epochs that were over, in order, without confusions and predictions.
        history: Vec<EpochMetrics>,
        /// The epoch it goes on in, counted from 1.
        epoch: usize,
        /// Steps of it that were taken.
        step: usize,
        /// Epochs without improvement still allowed.
        patience_left: usize,
    },
    /// A training step was taken. Sent a few times a second at most.
    Step {
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1.
        step: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Training images per second of this epoch.
        images_per_s: f64,
    },
    /// An epoch ended and the validation images were read.
    Epoch(Box<EpochMetrics>),
    /// The state of the training was written down: from here it can go on whatever happens.
    Kept {
        /// Bytes written.
        bytes: u64,
        /// Wall-clock seconds that took.
        seconds: f64,
    },
    /// Something the user should know now; the training goes on.
    Note(String),
    /// Training is over, the best weights are restored, the test split was read once.
    Finished {
        /// The epoch whose weights were kept, counted from 1.
        best_epoch: usize,
        /// On the test split.
        report: Box<Report>,
        /// Why it ended: `patience used up`, `all epochs done`, `stopped by the user`.
        reason: String,
    },
}

/// What a phase of a training is going to do.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseStart {
    /// Counted from 1.
    pub phase: usize,
    /// Phases in all.
    pub phases: usize,
    /// Name of the part that learns.
    pub trainable: String,
    /// Parameters that learn.
    pub parameters: u64,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs of the run before it.
    pub epochs_before: usize,
    /// Learning rate at its height.
    pub learning_rate: f64,
    /// What was kept of the frozen layers, where something was.
    pub cache: Option<CacheUse>,
}

/// What was kept of the frozen layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CacheUse {
    /// Size on disk and the room for it.
    pub estimate: CacheEstimate,
    /// Whether it was used; without room the frozen layers run every epoch.
    pub used: bool,
    /// Images that had to be computed now.
    pub computed: usize,
    /// Wall-clock seconds that took.
    pub seconds: f64,
    /// Bytes kept for other trainings that were removed to make room.
    pub removed: u64,
}

/// The figures of one epoch. One line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1, over all phases.
    pub epoch: usize,
    /// The phase it belongs to, counted from 1.
    #[serde(default = "first")]
    pub phase: usize,
    /// Learning rate of its last step.
    #[serde(default)]
    pub learning_rate: f64,
    /// Mean training loss, class weights included.
    pub train_loss: f64,
    /// Share of training images answered rightly while training on them, `0..=1`.
    pub train_accuracy: f64,
    /// Macro-F1 of the answers given while training on them, `0..=1`.
    pub train_macro_f1: f64,
    /// Mean cross-entropy on the validation split, unweighted.
    pub val_loss: f64,
    /// Share of validation images answered rightly, `0..=1`.
    pub val_accuracy: f64,
    /// Macro-F1 on the validation split, `0..=1`.
    pub val_macro_f1: f64,
    /// F1 of each class on the validation split, in class order.
    pub val_f1: Vec<f64>,
    /// Whether this is the best epoch so far by the plan's monitor.
    pub best: bool,
    /// Epochs without improvement still allowed.
    pub patience_left: usize,
    /// Wall-clock seconds of this epoch, validation included.
    pub seconds: f64,
    /// Those of its training steps alone; 0 in runs of before this was kept.
    #[serde(default)]
    pub train_seconds: f64,
    /// Confusion of the validation split: rows true, columns predicted.
    #[serde(skip, default = "empty_confusion")]
    pub confusion: ConfusionMatrix,
    /// Every validation image with the answer of this epoch.
    #[serde(skip)]
    pub predictions: Vec<ValidationPrediction>,
}

#[cfg(test)]
impl EpochMetrics {
    /// One in which nothing happened.
    pub(super) fn empty() -> Self {
        Self {
            epoch: 1,
            phase: 1,
            learning_rate: 0.0,
            train_loss: 0.0,
            train_accuracy: 0.0,
            train_macro_f1: 0.0,
            val_loss: 0.0,
            val_accuracy: 0.0,
            val_macro_f1: 0.0,
            val_f1: Vec::new(),
            best: false,
            patience_left: 0,
            seconds: 0.0,
            train_seconds: 0.0,
            confusion: empty_confusion(),
            predictions: Vec::new(),
        }
    }
}

fn first() -> usize {
    1
}

fn empty_confusion() -> ConfusionMatrix {
    ConfusionMatrix::new(0)
}

/// The answer for one validation image.
#[derive(Clone, Debug)]
pub struct ValidationPrediction {
    /// Which image.
    pub image: ImageId,
    /// Its label's index.
    pub actual: usize,
    /// Probabilities over the regular classes.
    pub prediction: Prediction,
}
