//! Scores, heads, thresholds and decisions over embeddings: pure numbers.
