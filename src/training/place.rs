//! Where a training is: plain numbers that its next step depends on, and the best it has found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Example, Monitor};
use crate::domain::{ClassId, Prediction};
use crate::evaluation::ConfusionMatrix;

/// A place between two steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// The phase, counted from 0.
    pub phase: usize,
    /// Epochs of the phase that are over.
    pub epoch: usize,
    /// Steps of the epoch that are over.
    pub step: usize,
    /// Epochs without improvement.
    pub waited: usize,
    /// Wall-clock seconds that the epoch has taken.
    pub seconds: f64,
    /// What the epoch has seen.
    pub seen: Seen,
}

impl Place {
    /// The beginning of a phase.
    pub fn start_of(phase: usize, classes: usize) -> Self {
        Self {
            phase,
            epoch: 0,
            step: 0,
            waited: 0,
            seconds: 0.0,
            seen: Seen::new(classes),
        }
    }

    /// The beginning of the next epoch, after one that was better than all before it or not.
    pub fn next_epoch(&self, improved: bool, classes: usize) -> Self {
        Self {
            epoch: self.epoch + 1,
            waited: if improved { 0 } else { self.waited + 1 },
            ..Self::start_of(self.phase, classes)
        }
    }
}

/// What an epoch has seen of the training images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Sum of the losses of its images.
    pub loss: f64,
    /// Number of its images.
    pub images: usize,
    /// The answers given while training on them.
    pub confusion: ConfusionMatrix,
}

impl Seen {
    pub fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            images: 0,
            confusion: ConfusionMatrix::new(classes),
        }
    }

    /// Takes in a batch by its mean loss and its logits `[batch, classes]`.
    pub fn add(&mut self, mean_loss: f64, logits: &Tensor, batch: &[Example]) {
        self.loss += mean_loss * batch.len() as f64;
        self.images += batch.len();
        let answers = Vec::<i64>::try_from(logits.argmax(1, false)).expect("one answer an image");
        for (example, answer) in batch.iter().zip(answers) {
            self.confusion
                .add(example.class, ClassId::from(answer as usize));
        }
    }

    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }
}

/// The best epoch so far.
pub(super) struct Best {
    /// Counted from 1, over all phases.
    pub epoch: usize,
    /// What the monitor said of it; higher is better.
    pub score: f64,
    pub monitor: Monitor,
    /// It is of an earlier phase and not to be beaten: it only stays for want of something newer.
    pub set_aside: bool,
    pub weights: BTreeMap<String, Tensor>,
    /// Its answers on the validation split.
    pub validation: Vec<Prediction>,
}
