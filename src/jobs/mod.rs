//! The mechanism of background work: a named thread that can be cancelled, paused and watched.
//!
//! A job knows nothing of the domain, of the window or of tensors. It is a closure that gets a
//! [`JobContext`] and a [`Sender`] of events: results travel on a bounded channel and are never
//! dropped, progress overwrites itself, so a slow screen never slows the work. Send first, then wake.

mod control;
mod priority;
mod progress;
mod worker;

pub use control::{Control, StopReason};
pub use priority::{background_computations, give_way};
pub use progress::{Progress, ProgressCell};
pub use worker::{Job, Outcome, Sender};

use std::sync::Arc;

/// Called after something new can be read, e.g. to repaint a window. Must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a piece of long work is given: the means to be stopped and to be watched.
#[derive(Clone)]
pub struct JobContext {
    /// Cancel and pause flags.
    pub control: Control,
    /// Latest progress.
    pub progress: ProgressCell,
    /// Called after progress or events.
    pub wake: Wake,
}

impl JobContext {
    /// A context whose progress and events call `wake`.
    #[must_use]
    pub fn new(wake: Wake) -> Self {
        Self {
            control: Control::default(),
            progress: ProgressCell::default(),
            wake,
        }
    }

    /// A context that nobody watches and nobody cancels: for tests and short foreground work.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(Arc::new(|| {}))
    }

    /// Publishes progress and wakes the watcher.
    pub fn report(&self, done: u64, total: u64, doing: &str) {
        self.progress.set(done, total, doing);
        (self.wake)();
    }

    /// Whether to stop now. Waits here while the job is paused.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.control.wait_while_paused();
        self.control.stop_reason().is_some()
    }
}
