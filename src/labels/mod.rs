//! The label store: append-only events, undo, CSV in and out.
