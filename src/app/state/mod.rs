//! What the panels show, as plain data: changed by events, read by the views, free of painting.

pub mod cost;
pub mod drift;
pub mod fine_tune;
pub mod map;
pub mod plan_form;
pub mod review;
pub mod runs;
pub mod train;
pub mod words;

pub use cost::CostState;
pub use drift::{DriftEvent, DriftImage, DriftPhase, DriftState};
pub use fine_tune::{Compared, FineTuneState, FineTuning, FoldPoint};
pub use map::{MapLayout, MapState, NeighbourMap};
pub use plan_form::PlanForm;
pub use review::{Flip, ReviewImage, ReviewState, Truth};
pub use runs::RunsState;
pub use train::{LiveImage, TrainPhase, TrainState};
