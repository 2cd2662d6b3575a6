//! What the plan in the fields will take: reckoned whenever it changes, and timed where nobody knows.

use std::time::Duration;

use super::super::App;
use super::super::background::End;
use super::super::command::View;
use super::super::toasts::Level;
use super::models::compute_threads;
use crate::training::Plan;
use crate::workflows::{self, CostRequest};

impl App {
    /// Takes in what was reckoned and timed, and asks for what is not known of the plan in the fields.
    pub(super) fn watch_cost(&mut self, ctx: &egui::Context) {
        self.drain_cost();
        let trials = self.trials_file.is_some();
        let Some(w) = &mut self.workspace else {
            return;
        };
        let job = w.trial_job.status();
        w.cost.trial = job.map(|job| (job.id, job.progress.fraction()));
        let form = w.train_view.form();
        if self.view != View::Train
            || !w.train_view.is_planning(&w.train)
            || form.problem().is_some()
            || w.cost_job.is_running()
        {
            // While one plan is reckoned the next one waits, and may change on.
            return;
        }
        let plan = form.plan.clone();
        let now = ctx.input(|i| i.time);
        if w.cost.ask(&plan, w.session.labelled(), now) {
            self.reckon(plan);
            return;
        }
        // Beside other work a trial would measure that as well.
        if !trials || !w.jobs().is_empty() {
            return;
        }
        match w.cost.trial_in(&plan, now) {
            Some(0.0) => self.measure_pace(),
            Some(wait) => ctx.request_repaint_after(Duration::from_secs_f64(wait)),
            None => {}
        }
    }

    fn drain_cost(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.cost_job.try_end() {
            Some(End::Done(cost)) => w.cost.set(Ok(cost)),
            Some(End::Failed(sentence)) => w.cost.set(Err(sentence)),
            Some(End::Cancelled) | None => {}
        }
        match w.trial_job.try_end() {
            Some(End::Done(())) => w.cost.forget(),
            Some(End::Failed(sentence)) => self.toasts.add(Level::Warning, sentence),
            Some(End::Cancelled) | None => {}
        }
    }

    fn reckon(&mut self, plan: Plan) {
        let request = CostRequest {
            plan,
            threads: Some(compute_threads()),
            trials: self.trials_file.clone(),
        };
        let Some(w) = &mut self.workspace else {
            return;
        };
        let snapshot = w.snapshot();
        let outcome = w.cost_job.start(
            &mut self.numbers,
            "reckoning what a training takes",
            false,
            &self.wake,
            move |_, _| workflows::training_cost(&snapshot, &request),
        );
        if let Err(sentence) = outcome {
            self.toasts.add(Level::Warning, sentence);
        }
    }

    /// Times a few steps of the plan in the fields.
    pub(super) fn measure_pace(&mut self) {
        let trials = self.trials_file.clone();
        let Some(w) = &mut self.workspace else {
            return;
        };
        if w.train_job.is_running() || w.trial_job.is_running() || trials.is_none() {
            return;
        }
        let plan = w.train_view.form().plan.clone();
        w.cost.trying(&plan);
        let request = CostRequest {
            plan,
            threads: Some(compute_threads()),
            trials,
        };
        let outcome = w.trial_job.start(
            &mut self.numbers,
            "timing a few steps",
            true,
            &self.wake,
            move |ctx, _| workflows::measure_pace(&request, ctx),
        );
        if let Err(sentence) = outcome {
            self.toasts.add(Level::Warning, sentence);
        }
    }
}
