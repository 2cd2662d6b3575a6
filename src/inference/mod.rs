//! Running a trained network: predictions and embeddings.
