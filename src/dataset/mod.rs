//! Data sets: what images there are and what is known of them from their files.
pub mod sample;
