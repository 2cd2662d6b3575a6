//! The views of the window. Each owns how it looks and nothing else.

pub mod browse;
pub mod label;
pub mod stage;
