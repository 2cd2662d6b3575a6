//! What to label next: an order of images with a reason for each, frozen while it is walked.

mod control;
mod frozen;
mod mixed;
mod strategy;

pub use control::{ControlSample, control_order, control_sample};
pub use frozen::{Queue, QueueItem};
pub use mixed::{Known, Outlying, QueueError, Reason, mixed};
pub use strategy::{Candidate, Strategy, build};
