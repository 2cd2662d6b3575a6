//! Plans, the trainer and the events it sends. The trainer never draws; whoever watches reads events.

mod event;
mod plan;
mod trainer;

pub use event::{EpochMetrics, TrainEvent, ValidationPrediction};
pub use plan::{Balance, Monitor, Plan, PlanError, preset, preset_names};
pub use trainer::{Example, Fitted, PixelSource, TrainData, TrainError, fit};
