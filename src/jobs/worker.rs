//! A job on its own named thread.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use crossbeam_channel as channel;

use super::{Control, JobContext, ProgressCell, StopReason, Wake};

/// Events a job may have in flight before it waits for the reader.
const EVENTS_IN_FLIGHT: usize = 256;

/// How a job ended.
#[derive(Debug)]
pub enum Outcome<T, E> {
    /// It returned this.
    Done(T),
    /// It stopped because it was asked to.
    Cancelled,
    /// It failed, with its own error.
    Failed(E),
    /// It panicked; the message is for a bug report.
    Panicked(String),
}

/// The sending half of a job's events.
pub struct Sender<M> {
    events: channel::Sender<M>,
    wake: Wake,
}

impl<M> Sender<M> {
    /// Hands over one event: sends, then wakes. Waits while the reader is far behind. An event that
    /// nobody will read any more (the [`Job`] is gone) is dropped.
    pub fn send(&self, event: M) {
        if self.events.send(event).is_ok() {
            (self.wake)();
        }
    }
}

/// A running job: its events of type `M`, then one outcome.
///
/// Dropping it asks the job to stop and lets the thread end by itself; [`Job::join`] waits.
pub struct Job<M, T, E> {
    name: String,
    context: JobContext,
    events: channel::Receiver<M>,
    outcome: channel::Receiver<Outcome<T, E>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<M: Send + 'static, T: Send + 'static, E: Send + 'static> Job<M, T, E> {
    /// Starts `work` on a thread called `name`. A panic inside becomes [`Outcome::Panicked`]. An error
    /// returned after the job was asked to stop becomes [`Outcome::Cancelled`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn(
        name: &str,
        wake: Wake,
        work: impl FnOnce(&JobContext, &Sender<M>) -> Result<T, E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let context = JobContext::new(wake.clone());
        let (events_in, events) = channel::bounded(EVENTS_IN_FLIGHT);
        let (outcome_in, outcome) = channel::bounded(1);
        let inside = context.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let sender = Sender {
                    events: events_in,
                    wake: wake.clone(),
                };
                let result = catch_unwind(AssertUnwindSafe(|| work(&inside, &sender)));
                let end = match result {
                    Ok(Ok(value)) => Outcome::Done(value),
                    Ok(Err(_)) if inside.control.stop_reason().is_some() => Outcome::Cancelled,
                    Ok(Err(error)) => Outcome::Failed(error),
                    Err(panic) => Outcome::Panicked(panic_text(&*panic)),
                };
                // The events' sender goes first, so that whoever sees the outcome finds the channel closed.
                drop(sender);
                if outcome_in.send(end).is_ok() {
                    wake();
                }
            })?;
        Ok(Self {
            name: name.to_owned(),
            context,
            events,
            outcome,
            thread: Some(thread),
        })
    }

    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Cancel and pause.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.context.control
    }

    /// Latest progress.
    #[must_use]
    pub fn progress(&self) -> &ProgressCell {
        &self.context.progress
    }

    /// The next event that has arrived, without waiting.
    #[must_use]
    pub fn try_event(&self) -> Option<M> {
        self.events.try_recv().ok()
    }

    /// The next event, waiting for it; `None` once the job has ended and all events are read.
    #[must_use]
    pub fn wait_event(&self) -> Option<M> {
        self.events.recv().ok()
    }

    /// The outcome, once the job has ended and every event has been read; `None` before.
    #[must_use]
    pub fn try_outcome(&self) -> Option<Outcome<T, E>> {
        if self.events.is_empty() {
            self.outcome.try_recv().ok()
        } else {
            None
        }
    }

    /// Waits for the end. Events not yet read are lost: read them first with [`Job::wait_event`].
    #[must_use]
    pub fn join(mut self) -> Outcome<T, E> {
        while self.events.recv().is_ok() {}
        let outcome = self
            .outcome
            .recv()
            .unwrap_or_else(|_| Outcome::Panicked("the thread ended without a word".into()));
        if let Some(thread) = self.thread.take() {
            // Its panics were caught inside.
            drop(thread.join());
        }
        outcome
    }
}

impl<M, T, E> Drop for Job<M, T, E> {
    fn drop(&mut self) {
        self.context.control.stop(StopReason::Closing);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn quiet() -> Wake {
        Arc::new(|| {})
    }

    #[test]
    fn events_arrive_in_order_and_before_the_outcome() {
        let job: Job<usize, &str, ()> = Job::spawn("count", quiet(), |_, events| {
            for i in 0..1000 {
                events.send(i);
            }
            Ok("end")
        })
        .expect("a thread starts");
        let mut seen = Vec::new();
        while let Some(event) = job.wait_event() {
            seen.push(event);
        }
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert!(matches!(job.join(), Outcome::Done("end")));
    }

    #[test]
    fn a_panic_and_a_failure_are_told_apart() {
        let panicked: Job<(), (), ()> =
            Job::spawn("panics", quiet(), |_, _| panic!("tensor of wrong shape"))
                .expect("a thread starts");
        assert!(matches!(panicked.join(), Outcome::Panicked(text) if text.contains("shape")));
        let failed: Job<(), (), &str> =
            Job::spawn("fails", quiet(), |_, _| Err("no such file")).expect("a thread starts");
        assert!(matches!(failed.join(), Outcome::Failed("no such file")));
    }

    #[test]
    fn a_stopped_job_reads_as_cancelled() {
        let job: Job<(), (), ()> = Job::spawn("waits", quiet(), |context, _| {
            while !context.should_stop() {
                thread::yield_now();
            }
            Err(())
        })
        .expect("a thread starts");
        job.control().stop(StopReason::Cancelled);
        assert!(matches!(job.join(), Outcome::Cancelled));
    }

    #[test]
    fn the_watcher_is_woken_after_each_event_and_the_outcome() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let wake: Wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let job: Job<u8, (), ()> = Job::spawn("wakes", wake, |_, events| {
            events.send(1);
            events.send(2);
            Ok(())
        })
        .expect("a thread starts");
        drop(job.join());
        assert_eq!(wakes.load(Ordering::SeqCst), 3);
    }
}
