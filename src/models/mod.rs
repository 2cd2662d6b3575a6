//! The architectures, their registry and their weights.
