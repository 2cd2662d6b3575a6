//! How drift is decided: what the project is to remember, and a miss that is taught at once.

use std::path::PathBuf;

use super::super::App;
use super::super::background::{End, Slot};
use super::super::command::View;
use super::super::labeller::Order;
use super::super::state::words::sentence;
use super::super::toasts::Level;
use crate::domain::Label;
use crate::jobs::StopReason;
use crate::labels::Source;
use crate::project::DriftChoice;
use crate::workflows;

impl App {
    /// Decides by `choice` from now on. The project remembers it, unless it may only be looked at.
    pub(super) fn choose(&mut self, choice: &DriftChoice) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.session.snapshot.choose(choice.clone());
        if matches!(choice, DriftChoice::Cost(_)) {
            let cost = &w.session.snapshot.cost;
            w.review.set_cost(cost.clone());
            w.runs.set_cost(w.session.classes(), cost.clone());
            if let Some(report) = &mut w.train.report {
                // It was measured by costs of these classes before.
                report.set_cost(cost).unwrap_or_default();
            }
        }
        let order = Order::Choose(choice.clone());
        let sent = w.session.read_only.is_some() || w.labeller.send(order).is_some();
        let looked = w.drift_session.is_some() || w.drift_job.is_running();
        if !sent {
            self.lost_labeller();
        }
        match *choice {
            // It is compared with scores as they are.
            DriftChoice::Threshold(_) => {}
            // The decision is reckoned anew.
            DriftChoice::Rate(_) | DriftChoice::LookCost(_) | DriftChoice::Cost(_) => {
                self.refit(false);
            }
            DriftChoice::Network(_)
            | DriftChoice::SyntheticOutliers(_)
            | DriftChoice::StripTiles(_) => self.look_anew(),
            DriftChoice::Precision(precision) => {
                if let Some(text) = workflows::precision_fallback(precision) {
                    self.toasts.add(Level::Warning, sentence(&text));
                }
                self.answer_anew();
                if looked {
                    self.look_anew();
                }
            }
        }
    }

    /// Finds out in the background which network a file of pretrained weights is for; that looks for drift then.
    pub(super) fn try_drift_weights(&mut self, file: PathBuf) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let outcome = w.weights_job.start(
            &mut self.numbers,
            "reading the weights",
            true,
            &self.wake,
            move |_, _| workflows::find_network(&file),
        );
        self.started(outcome);
    }

    pub(super) fn drain_drift_weights(&mut self) {
        let end = self
            .workspace
            .as_mut()
            .and_then(|w| w.weights_job.try_end());
        match end {
            Some(End::Done(network)) => self.choose(&DriftChoice::Network(Some(network))),
            Some(End::Failed(sentence)) => self.toasts.add(Level::Error, sentence),
            Some(End::Cancelled) | None => {}
        }
    }

    /// Looks for drift with other features: those of another network, or in another precision.
    fn look_anew(&mut self) {
        if let Some(w) = &mut self.workspace {
            w.drift_job.stop(StopReason::Cancelled);
            w.drift_job = Slot::default();
            w.forget_drift();
        }
        self.retrain_drift();
    }

    pub(super) fn keep_threshold(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let threshold = w.drift.settle().map(f64::from);
        self.choose(&DriftChoice::Threshold(threshold));
    }

    /// Labels what the keys act on as drift, fits anew at once, and follows what becomes of the first of them and
    /// of what looks like it.
    pub(super) fn teach_miss(&mut self) {
        let images = self.targets();
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(first) = images.first().copied() else {
            return;
        };
        let drift = Label::Class(w.session.classes().drift());
        w.drift.follow(first);
        let known = images
            .iter()
            .all(|image| w.session.hand_label(*image) == Some(drift));
        if !known {
            // The fit follows once the label is on disk.
            self.label_targets(Some(drift), Source::Key);
        }
        self.show(View::Drift);
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.inspected = Some(first);
        if w.drift_session.is_none() {
            self.retrain_drift();
        } else if known {
            self.refit(false);
        }
    }
}
