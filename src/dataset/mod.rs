//! Data sets: what images there are and what is known of them from their files.
//!
//! [`detect`] reads a path into a [`Manifest`]; `docs/formats/datasets.md` says which layouts it
//! understands. [`splits`] divides the labelled images, [`integrity`] finds equal contents.
//! Nothing here writes to the user's files or opens an image.

mod challenge;
mod class_words;
mod detect;
mod error;
mod folders;
pub mod integrity;
mod manifest;
mod problem;
pub mod sample;
pub mod splits;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use detect::{OpenOptions, detect};
pub use error::DatasetError;
pub use manifest::{ImageEntry, Layout, Manifest};
pub use problem::{Problem, ProblemKind, ProblemSummary, Severity, summarize};
