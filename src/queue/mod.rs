//! What to label next: an order of images with a reason for each, frozen while it is walked.

mod frozen;
mod strategy;

pub use frozen::{Queue, QueueItem};
pub use strategy::{Candidate, Strategy, build};
