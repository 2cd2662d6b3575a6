//! Plans, the trainer and the events it sends. The trainer never draws; whoever watches reads events.
//!
//! A training is a sequence of phases, each with a part of the network that learns. What the frozen part
//! makes of an image is computed once ([`Activations`]) and read from disk ever after. What was trained is
//! written down as it goes ([`Checkpoints`]), so that it can be resumed.

mod activations;
mod checkpoint;
mod cost;
mod ema;
mod event;
mod feed;
mod objective;
mod pace;
mod place;
mod plan;
mod schedule;
mod trainer;

pub use activations::{Activations, CacheEstimate, Variant, free_space, kept_bytes, kept_images};
pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints, Progress};
pub use cost::{Disk, DiskCost, PhaseCost, SplitCounts, TrainingCost, estimate, other_choices};
pub use event::{CacheUse, EpochMetrics, PhaseStart, TrainEvent, ValidationPrediction};
pub use feed::{Example, PixelSource};
pub use objective::{log_prior, unadjusted};
pub use pace::{Pace, PaceBook, PaceRecorder, Setting, Source, Task, Workload, guess};
pub use plan::{
    Balance, Loss, Monitor, Phase, Plan, PlanError, ResolvedPhase, Sampler, Schedule, preset,
    preset_for, preset_names, study_names,
};
pub use trainer::{Fitted, TrainData, TrainError, fit, resume};

// What a plan is made of.
pub use crate::domain::Precision;
pub use crate::imaging::Augmentation;
