//! The fine-tuned drift network: its training while it runs, and what it came to against the head.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::ImageId;
use crate::training::{EpochMetrics, TrainEvent};
use crate::workflows::{DriftRun, DriftRunRow, FineTuneCost, FineTuneEvent, UnfinishedFineTune};

/// One epoch of one network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldPoint {
    /// Which network, counted from 1.
    pub fold: usize,
    /// Counted from 1 over the phases of this network.
    pub epoch: usize,
    /// Mean training loss.
    pub train_loss: f64,
    /// Cross-entropy on its validation images.
    pub val_loss: f64,
}

/// A fine-tuning under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FineTuning {
    /// The job's number, for pausing and stopping.
    pub job: Option<u64>,
    /// What it starts from, in words; empty until that is known.
    pub base: String,
    /// The network that is trained, counted from 1; 0 before the first.
    pub fold: usize,
    /// Networks in all.
    pub folds: usize,
    /// Every epoch so far.
    pub points: Vec<FoldPoint>,
    /// Whether it waits.
    pub paused: bool,
}

impl FineTuning {
    /// Epochs of the network that is trained.
    fn add(&mut self, epochs: &[EpochMetrics]) {
        let fold = self.fold;
        self.points.extend(epochs.iter().map(|epoch| FoldPoint {
            fold,
            epoch: epoch.epoch,
            train_loss: epoch.train_loss,
            val_loss: epoch.val_loss,
        }));
    }
}

/// A finished fine-tuning and where it disagrees with the head, as of when it was trained: the lists stay as they
/// are while the user labels from them.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What was trained.
    pub run: Arc<DriftRun>,
    /// Candidates that the head alone calls drift, the largest difference first.
    pub head_only: Vec<DriftRunRow>,
    /// Candidates that the network alone calls drift.
    pub network_only: Vec<DriftRunRow>,
}

impl Compared {
    fn new(run: DriftRun) -> Self {
        let (head_only, network_only) = run.differ();
        Self {
            run: Arc::new(run),
            head_only,
            network_only,
        }
    }

    /// What the network says of each candidate.
    #[must_use]
    pub fn probabilities(&self) -> HashMap<ImageId, f32> {
        let rows = self.run.rows.iter();
        rows.map(|row| (row.image, row.network)).collect()
    }
}

/// What is known of fine-tuning.
#[derive(Clone, Debug, Default)]
pub struct FineTuneState {
    /// The one that runs.
    pub running: Option<FineTuning>,
    /// Why the last one ended without a network.
    pub failed: Option<String>,
    /// The latest finished one.
    pub latest: Option<Compared>,
    /// Those that were interrupted, the newest first.
    pub unfinished: Vec<UnfinishedFineTune>,
    cost: Option<(usize, Result<FineTuneCost, String>)>,
}

impl FineTuneState {
    /// A fine-tuning has been started as the job of that number.
    pub fn begin(&mut self, job: Option<u64>) {
        self.failed = None;
        self.running = Some(FineTuning {
            job,
            ..FineTuning::default()
        });
    }

    /// Takes in what the running one tells.
    pub fn apply(&mut self, event: &FineTuneEvent) {
        let Some(running) = &mut self.running else {
            return;
        };
        match event {
            FineTuneEvent::Started { base, folds, .. } => {
                running.base = base.in_words();
                running.folds = *folds;
            }
            FineTuneEvent::Fold { fold, folds } => {
                running.fold = *fold;
                running.folds = *folds;
            }
            FineTuneEvent::Over {
                fold,
                folds,
                history,
            } => {
                running.fold = *fold;
                running.folds = *folds;
                running.add(history);
            }
            FineTuneEvent::Train(TrainEvent::Resumed { history, .. }) => running.add(history),
            FineTuneEvent::Train(TrainEvent::Epoch(epoch)) => {
                running.add(std::slice::from_ref(&**epoch));
            }
            FineTuneEvent::Train(_) => {}
        }
    }

    /// It came to an end: with networks, or with a sentence why not.
    pub fn end(&mut self, outcome: Result<DriftRun, String>) {
        self.running = None;
        match outcome {
            Ok(run) => self.latest = Some(Compared::new(run)),
            Err(why) => self.failed = Some(why),
        }
    }

    /// The runs folder was read; `latest` is the newest fine-tuning in it, `unfinished` were interrupted.
    pub fn found(&mut self, latest: Option<DriftRun>, unfinished: Vec<UnfinishedFineTune>) {
        self.unfinished = unfinished;
        if self.latest.is_none() {
            self.latest = latest.map(Compared::new);
        }
    }

    /// Whether what it takes is to be reckoned for so many labels.
    #[must_use]
    pub fn wants_cost(&self, labels: usize) -> bool {
        self.cost.as_ref().is_none_or(|(of, _)| *of != labels)
    }

    /// What it takes was reckoned, or what keeps it from starting, for so many labels.
    pub fn set_cost(&mut self, labels: usize, cost: Result<FineTuneCost, String>) {
        self.cost = Some((labels, cost));
    }

    /// What it takes, or what keeps it from starting; none before that is reckoned.
    #[must_use]
    pub fn cost(&self) -> Option<Result<&FineTuneCost, &str>> {
        let (_, cost) = self.cost.as_ref()?;
        Some(cost.as_ref().map_err(String::as_str))
    }
}
