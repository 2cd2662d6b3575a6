//! How drift is decided: what the project is to remember, and a miss that is taught at once.

use super::super::App;
use super::super::command::View;
use super::super::labeller::Order;
use crate::domain::Label;
use crate::labels::Source;
use crate::project::DriftChoice;

impl App {
    /// Decides by `choice` from now on. The project remembers it, unless it may only be looked at.
    pub(super) fn choose(&mut self, choice: DriftChoice) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.session.snapshot.choose(choice);
        let sent =
            w.session.read_only.is_some() || w.labeller.send(Order::Choose(choice)).is_some();
        if !sent {
            self.lost_labeller();
        }
        // A threshold is compared with scores as they are; costs are reckoned anew.
        if !matches!(choice, DriftChoice::Threshold(_)) {
            self.refit(false);
        }
    }

    pub(super) fn keep_threshold(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let threshold = w.drift.settle().map(f64::from);
        self.choose(DriftChoice::Threshold(threshold));
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
