//! What to label next.
