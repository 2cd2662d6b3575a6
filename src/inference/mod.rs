//! Running a trained network: predictions and embeddings, cached for each (weights, image, size).

mod agreement;
mod embedder;
mod local;
mod numbers;

pub use agreement::Agreement;
pub use embedder::{EmbeddedImage, Embedder, EmbeddingMemory, LocalMemory, answers};
pub use numbers::{Evidence, fallback};
