//! Plans, the trainer and its events.
