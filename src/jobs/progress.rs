//! The latest progress of a job: a cell that overwrites.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

/// How far a job is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Units finished, of [`Self::total`].
    pub done: u64,
    /// Units in all; 0 while it is not known.
    pub total: u64,
    /// What is being done, for people: `thumbnails`, `epoch 3 of 30`.
    pub doing: String,
    /// When the job began.
    pub started: Instant,
}

impl Progress {
    /// Finished share, `0.0..=1.0`; 0 while the total is not known.
    #[must_use]
    pub fn fraction(&self) -> f32 {
        if self.total == 0 {
            0.0
        } else {
            (self.done as f64 / self.total as f64).min(1.0) as f32
        }
    }

    /// Seconds left at the pace so far; `None` before anything is done.
    #[must_use]
    pub fn eta_secs(&self) -> Option<f64> {
        (self.done > 0 && self.total > 0).then(|| {
            let pace = self.started.elapsed().as_secs_f64() / self.done as f64;
            pace * self.total.saturating_sub(self.done) as f64
        })
    }
}

/// Holds the latest [`Progress`]. Cloning shares the cell.
#[derive(Clone, Debug)]
pub struct ProgressCell(Arc<Mutex<Progress>>);

impl Default for ProgressCell {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Progress {
            done: 0,
            total: 0,
            doing: String::new(),
            started: Instant::now(),
        })))
    }
}

impl ProgressCell {
    /// Overwrites what was there; the clock of the ETA restarts when `doing` changes.
    pub fn set(&self, done: u64, total: u64, doing: &str) {
        let mut progress = self.0.lock();
        progress.done = done;
        progress.total = total;
        if progress.doing != doing {
            doing.clone_into(&mut progress.doing);
            progress.started = Instant::now();
        }
    }

    /// The latest value.
    #[must_use]
    pub fn get(&self) -> Progress {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_wins_and_an_unknown_total_is_no_progress() {
        let cell = ProgressCell::default();
        assert_eq!(cell.get().fraction(), 0.0);
        assert_eq!(cell.get().eta_secs(), None);
        cell.set(1, 4, "reading");
        cell.set(3, 4, "reading");
        assert_eq!(cell.get().fraction(), 0.75);
        assert!(cell.get().eta_secs().is_some_and(|s| s >= 0.0));
    }
}
