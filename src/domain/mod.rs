//! Plain data that every layer speaks: classes, labels, splits, predictions, costs. No I/O, no threads.

mod class;
mod cost;
mod prediction;

pub use class::{ClassId, ClassInfo, ClassSet, ImageId, Label, Split, UnknownClass};
pub use cost::{CostMatrix, CostMatrixError};
pub use prediction::Prediction;
