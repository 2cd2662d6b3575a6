//! The label store: append-only events, undo, CSV in and out.

pub mod csv;

mod error;
mod event;
mod lock;
mod schema;
mod state;
mod store;
#[cfg(test)]
mod store_tests;
mod words;

pub use error::LabelError;
pub use event::{Change, Event, Kind, Source};
pub use state::Current;
pub use store::{Access, Counts, Decision, Repeats, Store, Undone};
