//! Running a trained network: predictions and embeddings, cached for each (weights, image, size).

mod embedder;

pub use embedder::{EmbeddedImage, Embedder, answers};
