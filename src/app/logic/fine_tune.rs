//! Fine-tuning a network for drift: its job, what it will take, and what was fine-tuned before.

use std::path::Path;

use super::super::App;
use super::super::background::End;
use super::super::toasts::Level;
use super::models::compute_threads;
use crate::jobs::{JobContext, StopReason};
use crate::project::Snapshot;
use crate::workflows::{
    self, DriftRun, DriftSession, FineTuneEvent, FineTuneRequest, WorkflowError,
};

fn request() -> FineTuneRequest {
    FineTuneRequest {
        threads: Some(compute_threads()),
        ..FineTuneRequest::default()
    }
}

impl App {
    pub(super) fn drain_fine_tune(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.fine_tune_cost_job.try_end() {
            Some(End::Done((labels, cost))) => w.fine_tune.set_cost(labels, cost),
            Some(End::Failed(sentence)) => self.toasts.add(Level::Warning, sentence),
            Some(End::Cancelled) | None => {}
        }
        if let Some(End::Done((latest, unfinished))) = w.drift_runs_job.try_end() {
            w.fine_tune.found(latest, unfinished);
            if w.fine_tune.running.is_none()
                && let Some(run) = w.fine_tune.unfinished.first()
            {
                let text = format!(
                    "The fine-tuning {} was interrupted; Drift can resume it.",
                    run.name
                );
                self.toasts.add(Level::Info, text);
            }
        }
        while let Some(event) = w.fine_tune_job.try_event() {
            w.fine_tune.apply(&event);
        }
        let Some(end) = w.fine_tune_job.try_end() else {
            return;
        };
        match end {
            End::Done(run) => {
                let report = &run.comparison;
                let text = format!(
                    "{} is fine-tuned for drift: average precision {:.2}, the head's is {:.2}, on the same {} images. \
                     Drift shows both; the ranking stays the head's until you choose.",
                    run.model,
                    report.second.average_precision.mean,
                    report.first.average_precision.mean,
                    report.n_drift + report.n_regular,
                );
                self.toasts.add(Level::Good, text);
                w.fine_tune.end(Ok(run));
                // The ranking by an older network goes on with the new one.
                if w.drift.ranks_by_network() {
                    let latest = w.fine_tune.latest.as_ref();
                    w.drift.rank_by(latest.map(|l| l.probabilities()));
                }
            }
            End::Cancelled => {
                w.fine_tune.end(Err("It was stopped.".to_owned()));
                self.find_drift_runs();
            }
            End::Failed(sentence) => {
                self.toasts.add(Level::Error, sentence.clone());
                w.fine_tune.end(Err(sentence));
                self.find_drift_runs();
            }
        }
    }

    /// Looks for what was fine-tuned before.
    pub(super) fn find_drift_runs(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let snapshot = w.snapshot();
        let outcome = w.drift_runs_job.start(
            &mut self.numbers,
            "reading fine-tuned networks",
            false,
            &self.wake,
            move |_, _| {
                let latest = workflows::drift_runs(&snapshot).into_iter().next();
                Ok((latest, workflows::unfinished_fine_tunes(&snapshot)))
            },
        );
        if let Err(sentence) = outcome {
            self.toasts.add(Level::Error, sentence);
        }
    }

    /// Reckons what fine-tuning on the labels of now takes, unless that is known.
    pub(super) fn reckon_fine_tune(&mut self) {
        let trials = self.trials_file.clone();
        let Some(w) = &mut self.workspace else {
            return;
        };
        let (drift, regular) = w.drift.label_counts();
        let labels = drift + regular;
        if w.fine_tune_cost_job.is_running() || !w.fine_tune.wants_cost(labels) {
            return;
        }
        let snapshot = w.snapshot();
        let outcome = w.fine_tune_cost_job.start(
            &mut self.numbers,
            "reckoning what fine-tuning takes",
            false,
            &self.wake,
            move |_, _| {
                let cost = workflows::fine_tune_cost(&snapshot, &request(), trials.as_deref());
                Ok((labels, cost.map_err(|error| error.to_string())))
            },
        );
        if let Err(sentence) = outcome {
            self.toasts.add(Level::Warning, sentence);
        }
    }

    /// Fine-tunes a network on the labels of now, beside whatever else is done.
    pub(super) fn start_fine_tune(&mut self) {
        self.run_fine_tune(|snapshot, session, ctx, emit| {
            workflows::fine_tune(snapshot, session, &request(), ctx, emit)
        });
    }

    /// Goes on with an interrupted fine-tuning.
    pub(super) fn resume_fine_tune(&mut self, dir: &Path) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.fine_tune_job.is_running() || w.drift_session.is_none() {
            return;
        }
        w.fine_tune.unfinished.retain(|run| run.dir != dir);
        let dir = dir.to_owned();
        self.run_fine_tune(move |snapshot, session, ctx, emit| {
            workflows::resume_fine_tune(snapshot, session, &dir, ctx, emit)
        });
    }

    fn run_fine_tune(
        &mut self,
        work: impl FnOnce(
            &Snapshot,
            &DriftSession,
            &JobContext,
            &mut dyn FnMut(FineTuneEvent),
        ) -> Result<DriftRun, WorkflowError>
        + Send
        + 'static,
    ) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(session) = w.drift_session.clone() else {
            return;
        };
        // What is being timed now would be timed beside a training.
        w.trial_job.stop(StopReason::Cancelled);
        let snapshot = w.snapshot();
        let outcome = w.fine_tune_job.start(
            &mut self.numbers,
            "fine-tuning for drift",
            true,
            &self.wake,
            move |ctx, events| {
                work(&snapshot, &session, ctx, &mut |event| {
                    events.send(event);
                })
            },
        );
        w.fine_tune
            .begin(w.fine_tune_job.status().map(|job| job.id));
        if let Err(sentence) = outcome {
            w.fine_tune.end(Err(sentence.clone()));
            self.toasts.add(Level::Error, sentence);
        }
    }

    /// Lets the job of that number wait, or go on.
    pub(super) fn pause_job(&mut self, id: u64) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.train_job.status().is_some_and(|job| job.id == id) {
            return self.pause_training();
        }
        if w.fine_tune_job.status().is_some_and(|job| job.id == id) {
            let paused = !w.fine_tune_job.is_paused();
            w.fine_tune_job.set_paused(paused);
            if let Some(running) = &mut w.fine_tune.running {
                running.paused = paused;
            }
        }
    }

    /// Ranks the images by the fine-tuned network, or by the head.
    pub(super) fn rank_by_network(&mut self, network: bool) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let latest = w.fine_tune.latest.as_ref().filter(|_| network);
        w.drift.rank_by(latest.map(|latest| latest.probabilities()));
    }
}
