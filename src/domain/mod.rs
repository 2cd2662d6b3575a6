//! Plain data that every layer speaks: classes, labels, splits, predictions, costs, precision. No I/O, no threads.

mod class;
mod cost;
mod precision;
mod prediction;

pub use class::{ClassId, ClassInfo, ClassSet, ImageId, Label, Split, UnknownClass};
pub use cost::{CostMatrix, CostMatrixError};
pub use precision::{Precision, UnknownPrecision};
pub use prediction::Prediction;
