//! The views of the window. Each owns how it looks and nothing else.

pub mod browse;
pub mod drift;
pub mod label;
pub mod panel;
pub mod review;
pub mod stage;
pub mod train;
