//! The queues of the Label view.

use super::super::App;
use super::super::command::View;
use super::super::walk::Walk;
use super::super::workspace::Workspace;
use crate::domain::ImageId;
use crate::queue::{Candidate, Strategy, build};

impl App {
    pub(super) fn walk_given(&mut self, title: String, images: Vec<ImageId>, start: usize) {
        if let Some(w) = &mut self.workspace {
            w.walk = Walk::new(title, images, start);
            w.inspected = w.walk.current();
            self.view = View::Label;
        }
    }

    /// Makes a queue. In order, it is what the gallery lists, from the image one is at.
    pub(super) fn set_queue(&mut self, strategy: Strategy) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        if strategy == Strategy::FindDrift {
            w.walk = Walk::find_drift();
            w.walk.deal(&w.next_to_label, &w.groups);
            w.inspected = w.walk.current();
            let unprepared = w.drift_session.is_none();
            self.view = View::Label;
            if unprepared {
                self.retrain_drift();
            }
            return;
        }
        let here = match self.view {
            View::Browse => w.browse.current().or(w.inspected),
            _ => w.inspected,
        };
        let candidates = candidates(w, strategy);
        // Another draw after each label, the same one until then.
        w.walk = Walk::of(&build(strategy, &candidates, w.session.saved));
        if let Some(here) = here.filter(|_| strategy == Strategy::InOrder) {
            w.walk.go_to(here);
        }
        w.inspected = w.walk.current();
        self.view = View::Label;
    }
}

fn candidates(w: &Workspace, strategy: Strategy) -> Vec<Candidate> {
    let listed = w.browse.list();
    let images: Vec<ImageId> = if strategy == Strategy::InOrder && !listed.is_empty() {
        listed.to_vec()
    } else {
        w.session.manifest().ids().collect()
    };
    let classes = w.session.classes();
    images
        .into_iter()
        .map(|image| {
            let by_hand = w.session.hand_label(image);
            let label = match strategy {
                Strategy::BlindRepeats => by_hand,
                _ => w.session.label(image),
            };
            let prediction = w.predictions.get(image);
            let drift = w.predictions.drift(image);
            let all = w.predictions.combined(image, classes.len());
            let disagreement = label
                .and_then(crate::domain::Label::class)
                .and_then(|class| Some(1.0 - all.as_ref()?.get(class.index())?));
            Candidate {
                labelled: label,
                anomaly: drift.map(|d| d.anomaly),
                drift_probability: drift.and_then(|d| d.probability),
                margin: prediction.map(crate::domain::Prediction::margin),
                disagreement,
                neighbour_similarity: w.near_drift.get(&image).copied(),
                ..Candidate::new(image)
            }
        })
        .collect()
}
