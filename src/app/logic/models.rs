//! Training, predictions, review and the drift model: starting their jobs and taking in what they say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::App;
use super::super::background::{End, Slot};
use super::super::command::{ReviewCommand, View};
use super::super::predictions::DriftOpinion;
use super::super::start;
use super::super::state::words::{count, sentence};
use super::super::state::{DriftEvent, runs::goes_on};
use super::super::toasts::Level;
use super::super::workspace::Workspace;
use crate::domain::{ImageId, Split};
use crate::jobs::{JobContext, StopReason};
use crate::project::Snapshot;
use crate::queue::Strategy;
use crate::training::{Plan, TrainEvent};
use crate::workflows::{
    self, DriftResult, Review, RunSummary, SubmitRequest, TrainRequest, WorkflowError,
};

/// Neighbours looked up for the inspector, the image itself included.
const NEIGHBOURS: usize = 9;

/// Threads for libtorch: painting keeps a core.
pub(super) fn compute_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

impl App {
    pub(super) fn drain_models(&mut self) {
        self.drain_training();
        self.drain_runs();
        self.drain_predictions();
        self.drain_drift();
        self.drain_drift_weights();
    }

    /// Shows a sentence when a job could not be started.
    pub(super) fn started(&mut self, outcome: Result<(), String>) {
        if let Err(sentence) = outcome {
            self.toasts.add(Level::Error, sentence);
        }
    }

    // ---- training ----

    pub(super) fn start_training(&mut self, plan: Plan) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.train_job.is_running() {
            w.train.queued.push(plan);
            let text = "A training runs; this one is queued and starts when it is over.";
            self.toasts.add(Level::Info, text);
            return;
        }
        let request = TrainRequest {
            plan: plan.clone(),
            out: None,
            threads: Some(compute_threads()),
        };
        self.run_training(plan, move |snapshot, ctx, emit| {
            workflows::train(snapshot, &request, ctx, emit)
        });
    }

    /// Goes on with an interrupted training.
    pub(super) fn resume_run(&mut self, dir: &Path) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.train_job.is_running() {
            let text = "A training runs; the interrupted one can be resumed when it is over.";
            self.toasts.add(Level::Info, text);
            return;
        }
        let unfinished = &mut w.runs.unfinished;
        let Some(at) = unfinished.iter().position(|run| run.dir == dir) else {
            return;
        };
        let run = unfinished.remove(at);
        self.run_training(run.plan, move |snapshot, ctx, emit| {
            workflows::resume(snapshot, &run.dir, ctx, emit)
        });
    }

    fn run_training(
        &mut self,
        plan: Plan,
        work: impl FnOnce(
            &Snapshot,
            &JobContext,
            &mut dyn FnMut(TrainEvent),
        ) -> Result<RunSummary, WorkflowError>
        + Send
        + 'static,
    ) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let title = format!("training {}", plan.model);
        // What is being timed now would be timed beside a training.
        w.trial_job.stop(StopReason::Cancelled);
        w.train.begin(plan);
        let snapshot = w.snapshot();
        let outcome = w.train_job.start(
            &mut self.numbers,
            &title,
            true,
            &self.wake,
            move |ctx, events| work(&snapshot, ctx, &mut |event| events.send(event)),
        );
        if let Err(sentence) = &outcome {
            w.train.fail(sentence.clone());
        }
        self.started(outcome);
    }

    /// Removes an interrupted training.
    pub(super) fn discard_run(&mut self, dir: &Path) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.runs.unfinished.retain(|run| run.dir != dir);
        w.fine_tune.unfinished.retain(|run| run.dir != dir);
        let dir = dir.to_owned();
        let outcome = w.discard_job.start(
            &mut self.numbers,
            "removing an interrupted training",
            false,
            &self.wake,
            move |_, _| workflows::discard(&dir),
        );
        self.started(outcome);
    }

    pub(super) fn pause_training(&mut self) {
        if let Some(w) = &mut self.workspace {
            let paused = !w.train_job.is_paused();
            w.train_job.set_paused(paused);
            w.train.set_paused(paused);
        }
    }

    pub(super) fn stop_training(&mut self) {
        if let Some(w) = &mut self.workspace {
            w.train_job.stop(StopReason::KeepBest);
            w.train.stopping();
        }
    }

    fn drain_training(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        while let Some(event) = w.train_job.try_event() {
            if let TrainEvent::Note(sentence) = &event {
                self.toasts.add(Level::Warning, sentence.clone());
            }
            w.train.apply(&event);
        }
        let Some(end) = w.train_job.try_end() else {
            return;
        };
        match end {
            End::Done(run) => {
                let text = format!(
                    "{} is trained; the test split was read once. It is the model in use now.",
                    run.name
                );
                self.toasts.add(Level::Good, text);
                for warning in &run.warnings {
                    self.toasts.add(Level::Warning, warning.clone());
                }
                let dir = run.dir.clone();
                w.runs.add(run);
                // It has shown how long such a training takes.
                w.cost.forget();
                self.open_run(dir);
            }
            End::Cancelled => {
                w.train.fail("Cancelled.");
                self.refresh_runs();
            }
            End::Failed(sentence) => {
                w.train.fail(sentence.clone());
                // Where the page of the training is open, it says so itself.
                if self.view != View::Train || w.train_view.is_planning(&w.train) {
                    self.toasts.add(Level::Error, sentence);
                }
                self.refresh_runs();
            }
        }
        if self.closing {
            return;
        }
        let queued = self.workspace.as_mut().map(|w| &mut w.train.queued);
        if let Some(plan) = queued.and_then(|q| (!q.is_empty()).then(|| q.remove(0))) {
            self.start_training(plan);
        }
    }

    // ---- runs and reviews ----

    pub(super) fn refresh_runs(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.runs.loading = true;
        let snapshot = w.snapshot();
        let outcome = w.runs_job.start(
            &mut self.numbers,
            "reading runs",
            false,
            &self.wake,
            move |_, _| Ok((workflows::runs(&snapshot), workflows::unfinished(&snapshot))),
        );
        self.started(outcome);
    }

    /// Makes a run the model in use.
    pub(super) fn open_run(&mut self, dir: PathBuf) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.review.loading = true;
        let snapshot = w.snapshot();
        let outcome = w.review_job.start(
            &mut self.numbers,
            "reading the run",
            false,
            &self.wake,
            move |_, _| workflows::review(&snapshot, &dir),
        );
        self.started(outcome);
    }

    pub(super) fn review_command(&mut self, command: ReviewCommand) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match command {
            ReviewCommand::Split(split) => w.review.set_split(split),
            ReviewCommand::Truth(truth) => w.review.set_truth(truth),
            ReviewCommand::Cell(cell) => w.review.set_cell(cell),
            ReviewCommand::Against(None) => w.review.set_against(None),
            ReviewCommand::Against(Some(dir)) => {
                let snapshot = w.snapshot();
                let outcome = w.against_job.start(
                    &mut self.numbers,
                    "reading the run",
                    false,
                    &self.wake,
                    move |_, _| workflows::review(&snapshot, &dir),
                );
                self.started(outcome);
            }
        }
    }

    fn drain_runs(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.runs_job.try_end() {
            Some(End::Done((runs, unfinished))) => {
                w.runs.set(runs);
                w.runs.unfinished = unfinished;
                if !w.train.active()
                    && let Some(run) = w.runs.unfinished.first()
                {
                    let text = format!(
                        "The training {} was interrupted; Train can resume it {}.",
                        run.name,
                        goes_on(run)
                    );
                    self.toasts.add(Level::Info, text);
                }
                // The latest run is the model in use until another is picked.
                if w.predictions.run.is_none()
                    && let Some(latest) = w.runs.all().first()
                {
                    let dir = latest.dir.clone();
                    self.open_run(dir);
                }
            }
            Some(End::Failed(sentence)) => {
                w.runs.loading = false;
                self.toasts.add(Level::Error, sentence);
            }
            Some(End::Cancelled) | None => {}
        }
        let Some(w) = &mut self.workspace else {
            return;
        };
        if let Some(End::Failed(sentence)) = w.discard_job.try_end() {
            self.toasts.add(Level::Error, sentence);
            self.refresh_runs();
            self.find_drift_runs();
        }
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.against_job.try_end() {
            Some(End::Done(review)) => w.review.set_against(Some(Arc::new(review))),
            Some(End::Failed(sentence)) => self.toasts.add(Level::Error, sentence),
            Some(End::Cancelled) | None => {}
        }
        match w.review_job.try_end() {
            Some(End::Done(review)) => self.use_run(review),
            Some(End::Failed(sentence)) => {
                w.review.loading = false;
                self.toasts.add(Level::Error, sentence);
            }
            Some(End::Cancelled) | None => {}
        }
    }

    fn use_run(&mut self, review: Review) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let (dir, name) = (review.run.dir.clone(), review.run.name.clone());
        if w.predictions.run.as_ref() != Some(&dir) {
            w.forget_drift();
        }
        let session = &w.session;
        w.review.open(Arc::new(review), |image| {
            session.label(image).and_then(crate::domain::Label::class)
        });
        self.answer(dir, name);
    }

    /// Shows what the run in `dir` says: the answers it came with, where it is the one under review, and for all
    /// other images those that its network gives now.
    fn answer(&mut self, dir: PathBuf, name: String) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        // What is still computed is of another run, or in other numbers.
        w.predict_job.stop(StopReason::Cancelled);
        w.predict_job = Slot::default();
        w.predictions.restart(w.session.len(), dir.clone(), name);
        let review = w.review.review().filter(|review| review.run.dir == dir);
        let rows = review.into_iter().flat_map(|review| &review.rows);
        w.predictions
            .add(rows.map(|row| (row.image, row.prediction.clone())));
        let open: Vec<ImageId> = w
            .session
            .manifest()
            .ids()
            .filter(|image| w.predictions.get(*image).is_none())
            .collect();
        if !open.is_empty() {
            self.predict(dir, open);
        }
    }

    // ---- predictions ----

    /// The network in use runs in other numbers from now on: what it computes is computed again.
    pub(super) fn answer_anew(&mut self) {
        let Some(w) = &self.workspace else {
            return;
        };
        if let Some(run) = w.predictions.run.clone() {
            let name = w.predictions.name.clone();
            self.answer(run, name);
        }
    }

    pub(super) fn predict_split(&mut self, run: PathBuf, split: Option<Split>) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.predictions.run.as_ref() != Some(&run) {
            w.forget_drift();
            let name = start::short(&run);
            w.predictions.restart(w.session.len(), run.clone(), name);
        }
        let session = &w.session;
        let wanted = |image: &ImageId| split.is_none_or(|split| session.split(*image) == split);
        let images = session.manifest().ids().filter(wanted).collect();
        self.predict(run, images);
    }

    fn predict(&mut self, run: PathBuf, images: Vec<ImageId>) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let snapshot = w.snapshot();
        let outcome = w.predict_job.start(
            &mut self.numbers,
            "predicting",
            true,
            &self.wake,
            move |ctx, events| {
                workflows::predict(&snapshot, &run, &images, ctx, &mut |batch| {
                    events.send(batch);
                })
                .map(drop)
            },
        );
        self.started(outcome);
    }

    fn drain_predictions(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        while let Some(batch) = w.predict_job.try_event() {
            w.predictions.add(batch);
        }
        if let Some(End::Failed(sentence)) = w.predict_job.try_end() {
            self.toasts.add(Level::Error, sentence);
        }
    }

    // ---- drift ----

    /// Fits the drift model to the labels of now; the first time the features are prepared before.
    pub(super) fn retrain_drift(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.drift_session.is_some() {
            self.refit(true);
            return;
        }
        let Some(run) = w.predictions.run.clone() else {
            return;
        };
        if w.drift_job.is_running() {
            return;
        }
        w.drift.apply(DriftEvent::Preparing(run.clone()));
        let snapshot = w.snapshot();
        let outcome = w.drift_job.start(
            &mut self.numbers,
            "preparing the drift model",
            true,
            &self.wake,
            move |ctx, _| {
                let source = workflows::DriftSource::of(&snapshot, &run)?;
                workflows::prepare_drift(&snapshot, &source, ctx)
            },
        );
        self.started(outcome);
    }

    /// Fits anew on a thread. While a fit runs, the next one waits, and takes in all labels since.
    pub(super) fn refit(&mut self, rerank: bool) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(session) = w.drift_session.clone() else {
            return;
        };
        w.refit_reranks |= rerank;
        if w.refit_job.is_running() {
            w.refit_again = true;
            return;
        }
        w.drift.apply(DriftEvent::Fitting);
        let labels = drift_labels(w);
        // Those of this sitting, answered or not, and those of all before it.
        let mut repeated = w.walk.repeated();
        repeated.extend(&w.session.repeated);
        repeated.sort_unstable();
        repeated.dedup();
        let snapshot = w.snapshot();
        let followed = w.drift.following();
        let outcome = w.refit_job.start(
            &mut self.numbers,
            "fitting the drift model",
            false,
            &self.wake,
            move |_, _| Ok(session.after_label(&snapshot, &labels, &repeated, followed)),
        );
        self.started(outcome);
    }

    fn drain_drift(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.drift_job.try_end() {
            Some(End::Done(session)) => {
                w.drift.left_out = session.left_out().as_deref().map(sentence);
                if let Some(text) = &w.drift.left_out {
                    self.toasts.add(Level::Warning, text.clone());
                }
                w.groups = Arc::clone(&session.groups);
                let places = session
                    .principal_map()
                    .map_err(|e| sentence(&e.to_string()));
                w.drift.map.set(session.images.clone(), places);
                w.drift_session = Some(Arc::new(session));
                w.neighbours_of = None;
                self.refit(true);
            }
            Some(End::Failed(sentence)) => {
                w.drift.apply(DriftEvent::Failed(sentence.clone()));
                // The Label view may wait for its queue.
                self.toasts.add(Level::Error, sentence);
            }
            Some(End::Cancelled) => {
                let text = "Cancelled before the features were ready; press Retrain to go on.";
                w.drift.apply(DriftEvent::Failed(text.to_owned()));
            }
            None => {}
        }
        let Some(w) = &mut self.workspace else {
            return;
        };
        let mut again = false;
        match w.refit_job.try_end() {
            Some(End::Done(refitted)) => {
                w.near_drift = refitted.near;
                match refitted.queue {
                    Ok(queue) => {
                        w.walk.deal(&queue, &w.groups);
                        w.next_to_label = queue;
                    }
                    Err(why) => self.toasts.add(Level::Error, sentence(&why)),
                }
                if w.walk.strategy == Some(Strategy::FindDrift) && w.inspected.is_none() {
                    w.inspected = w.walk.current();
                }
                take_fit(w, refitted.result);
                let (decided, drift) = (refitted.decided, w.session.classes().drift());
                w.predictions
                    .set_cheapest(decided.verdicts.iter().map(|verdict| {
                        let (decision, regret) = verdict.decide(None, decided.look, drift);
                        (verdict.image, decision, regret)
                    }));
                w.drift.apply(DriftEvent::Decided(Arc::new(decided)));
                if let Some(followed) = refitted.followed {
                    w.drift.apply(DriftEvent::Followed(followed));
                }
                again = std::mem::take(&mut w.refit_again);
            }
            Some(End::Failed(sentence)) => {
                w.drift.apply(DriftEvent::Failed(sentence.clone()));
                self.toasts.add(Level::Error, sentence);
                // A label that came meanwhile may be what was missing.
                again = std::mem::take(&mut w.refit_again);
            }
            Some(End::Cancelled) | None => {}
        }
        if again {
            self.refit(false);
        }
        let Some(w) = &mut self.workspace else {
            return;
        };
        if let Some(End::Done((image, found))) = w.neighbours_job.try_end() {
            w.neighbours = found;
            w.neighbours_of = Some(image);
        }
    }

    /// Looks up what is most like the inspected image.
    pub(super) fn ask_neighbours(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let (Some(image), Some(session)) = (w.inspected, w.drift_session.clone()) else {
            return;
        };
        if w.neighbours_of == Some(image) || w.neighbours_job.is_running() {
            return;
        }
        let outcome = w.neighbours_job.start(
            &mut self.numbers,
            "looking up neighbours",
            false,
            &self.wake,
            move |_, _| {
                let mut found = session.neighbours(image, NEIGHBOURS);
                found.retain(|(other, _)| *other != image);
                Ok((image, found))
            },
        );
        self.started(outcome);
    }

    // ---- submission ----

    pub(super) fn submit(&mut self, out: PathBuf) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(run) = w.predictions.run.clone() else {
            return;
        };
        let chosen = w
            .drift
            .threshold()
            .filter(|_| w.drift.threshold_is_chosen());
        let decision = chosen.map(f64::from).into();
        let snapshot = w.snapshot();
        let outcome = w.submit_job.start(
            &mut self.numbers,
            "writing the submission",
            true,
            &self.wake,
            move |ctx, _| {
                let request = SubmitRequest {
                    run,
                    decision,
                    use_hand_labels: false,
                    out,
                };
                workflows::submit(&snapshot, &request, ctx)
            },
        );
        self.started(outcome);
    }

    pub(super) fn drain_submit(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.submit_job.try_end() {
            Some(End::Done(summary)) => {
                let rows = count(summary.rows as u64, "row");
                let text = format!("Wrote {rows} to {}.", summary.file.display());
                self.toasts.add(Level::Good, text);
                for warning in summary.warnings {
                    self.toasts.add(Level::Warning, warning);
                }
            }
            Some(End::Failed(sentence)) => self.toasts.add(Level::Error, sentence),
            Some(End::Cancelled) | None => {}
        }
    }
}

/// All labels by hand, as drift or not.
fn drift_labels(w: &Workspace) -> Vec<(ImageId, bool)> {
    let classes = w.session.classes();
    let hand = |image: ImageId| Some((image, w.session.hand_label(image)?.is_drift(classes)));
    w.session.manifest().ids().filter_map(hand).collect()
}

fn take_fit(w: &mut Workspace, result: DriftResult) {
    let opinions = result.scores.iter().map(|score| {
        let opinion = DriftOpinion {
            probability: score.probability,
            anomaly: score.anomaly,
        };
        (score.image, opinion)
    });
    w.predictions.set_drift(opinions);
    w.drift.apply(DriftEvent::Fitted {
        result: Arc::new(result),
        rerank: std::mem::take(&mut w.refit_reranks),
    });
}
