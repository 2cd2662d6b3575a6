//! The views of the window. Each has its own small state and sends commands for everything else.

pub mod drift;
pub mod panel;
pub mod review;
pub mod train;
