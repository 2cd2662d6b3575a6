//! How good the predictions are: pure numbers, no tensors.
