//! Scores, heads, thresholds and decisions over embeddings: pure numbers.
//!
//! An embedding is L2-normalised and projected once ([`Projection`]); before any label a
//! [`Mahalanobis`] or [`NearestNeighbours`] score ranks the images, afterwards a [`DriftHead`] refits
//! on the projected features within milliseconds. How well the head does is measured by
//! `evaluation::cross_validate` with [`held_out_scorer`].

mod decision;
mod embedding;
mod error;
mod head;
mod histogram;
mod linalg;
mod logistic;
mod mahalanobis;
mod neighbours;
mod projection;
mod standardizer;

pub use decision::{Decision, cheapest, combine, gate};
pub use embedding::EmbeddingView;
pub use error::DriftError;
pub use head::{DriftDetector, DriftHead, HeadOptions, held_out_scorer};
pub use histogram::{HistogramBin, score_histogram};
pub use logistic::{LogisticOptions, LogisticRegression};
pub use mahalanobis::Mahalanobis;
pub use neighbours::{NearestNeighbours, similarity_to_nearest};
pub use projection::Projection;
pub use standardizer::Standardizer;
