//! Cancel and pause.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Why a job is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user pressed Stop, and wants what there is so far.
    KeepBest,
    /// The user pressed Cancel, or a newer request replaced this one.
    Cancelled,
    /// The program is closing.
    Closing,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    stop: Option<StopReason>,
}

/// Shared flags between a job and whoever started it. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Control {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Control {
    /// Asks the job to stop at its next convenient point; the first reason given stands.
    pub fn stop(&self, reason: StopReason) {
        let (state, changed) = &*self.shared;
        state.lock().stop.get_or_insert(reason);
        changed.notify_all();
    }

    /// Why to stop, or `None` to go on.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.shared.0.lock().stop
    }

    /// Asks the job to wait, or to go on.
    pub fn set_paused(&self, paused: bool) {
        let (state, changed) = &*self.shared;
        state.lock().paused = paused;
        changed.notify_all();
    }

    /// Whether the job is asked to wait.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.0.lock().paused
    }

    /// Returns at once unless paused; then sleeps until resumed or stopped.
    pub fn wait_while_paused(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock();
        while state.paused && state.stop.is_none() {
            changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands() {
        let control = Control::default();
        assert_eq!(control.stop_reason(), None);
        control.stop(StopReason::KeepBest);
        control.stop(StopReason::Cancelled);
        assert_eq!(control.stop_reason(), Some(StopReason::KeepBest));
    }

    #[test]
    fn a_paused_job_goes_on_when_stopped() {
        let control = Control::default();
        control.set_paused(true);
        let other = control.clone();
        let thread = std::thread::Builder::new()
            .name("paused".into())
            .spawn(move || other.wait_while_paused())
            .expect("a thread starts");
        control.stop(StopReason::Cancelled);
        thread.join().expect("the paused thread ends");
    }
}
