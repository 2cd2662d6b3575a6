//! The jobs behind the window: at most one of each kind.

use std::sync::Arc;

use crate::jobs::{Job, JobContext, Outcome, Progress, Sender, StopReason, Wake, give_way};
use crate::workflows::WorkflowError;

/// What the status bar shows of a job.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Its number, for cancelling.
    pub id: u64,
    /// What it does, for people.
    pub title: String,
    /// How far it is.
    pub progress: Progress,
    /// Whether the user may cancel it.
    pub can_cancel: bool,
    /// Whether it waits.
    pub paused: bool,
}

/// A job of one kind, with events of type `M` and a result of type `T`.
pub struct Slot<M, T> {
    running: Option<Running<M, T>>,
}

struct Running<M, T> {
    id: u64,
    title: String,
    can_cancel: bool,
    job: Job<M, T, WorkflowError>,
}

impl<M, T> Default for Slot<M, T> {
    fn default() -> Self {
        Self { running: None }
    }
}

/// Gives out job numbers.
#[derive(Default)]
pub struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// How a job ended, for the window.
pub enum End<T> {
    /// With this.
    Done(T),
    /// The user, or a newer request, stopped it.
    Cancelled,
    /// It failed: a sentence.
    Failed(String),
}

impl<M: Send + 'static, T: Send + 'static> Slot<M, T> {
    /// Starts a job; one of the same kind that still runs is cancelled.
    ///
    /// # Errors
    /// A sentence, when the operating system gives no thread.
    pub fn start(
        &mut self,
        numbers: &mut Numbers,
        title: &str,
        can_cancel: bool,
        wake: &Wake,
        work: impl FnOnce(&JobContext, &Sender<M>) -> Result<T, WorkflowError> + Send + 'static,
    ) -> Result<(), String> {
        self.stop(StopReason::Cancelled);
        let work = |context: &JobContext, events: &Sender<M>| {
            give_way();
            work(context, events)
        };
        let job = Job::spawn(title, Arc::clone(wake), work).map_err(|error| {
            format!("The system gives no thread for {title} ({error}); close other programs.")
        })?;
        self.running = Some(Running {
            id: numbers.next(),
            title: title.to_owned(),
            can_cancel,
            job,
        });
        Ok(())
    }

    /// Whether a job runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Asks the job to stop; its end still arrives.
    pub fn stop(&self, reason: StopReason) {
        if let Some(running) = &self.running {
            running.job.control().stop(reason);
        }
    }

    /// Asks the job with that number to stop, if it is this one.
    pub fn cancel(&self, id: u64) {
        if self.running.as_ref().is_some_and(|r| r.id == id) {
            self.stop(StopReason::Cancelled);
        }
    }

    /// Whether the job waits, if there is one.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|r| r.job.control().is_paused())
    }

    /// Lets the job wait or go on.
    pub fn set_paused(&self, paused: bool) {
        if let Some(running) = &self.running {
            running.job.control().set_paused(paused);
        }
    }

    /// The next event that has arrived.
    #[must_use]
    pub fn try_event(&self) -> Option<M> {
        self.running.as_ref()?.job.try_event()
    }

    /// The end, once all events were read; the slot is free then.
    #[must_use]
    pub fn try_end(&mut self) -> Option<End<T>> {
        let running = self.running.as_ref()?;
        let end = match running.job.try_outcome()? {
            Outcome::Done(value) => End::Done(value),
            Outcome::Cancelled => End::Cancelled,
            Outcome::Failed(error) => End::Failed(error.to_string()),
            Outcome::Panicked(text) => End::Failed(format!(
                "{} ended because of a fault in the program: {text}. Nothing that was saved is lost.",
                running.title
            )),
        };
        self.running = None;
        Some(end)
    }

    /// For the status bar.
    #[must_use]
    pub fn status(&self) -> Option<JobStatus> {
        let running = self.running.as_ref()?;
        Some(JobStatus {
            id: running.id,
            title: running.title.clone(),
            progress: running.job.progress().get(),
            can_cancel: running.can_cancel,
            paused: running.job.control().is_paused(),
        })
    }
}
