//! The queues of the Label view.

use std::collections::HashMap;

use super::super::App;
use super::super::command::View;
use super::super::walk::{QueueKind, Walk};
use super::super::workspace::Workspace;
use crate::domain::ImageId;

impl App {
    pub(super) fn walk_given(&mut self, title: String, images: Vec<ImageId>, start: usize) {
        if let Some(w) = &mut self.workspace {
            w.walk = Walk::new(QueueKind::Given, title, images, start);
            w.inspected = w.walk.current();
            self.view = View::Label;
        }
    }

    pub(super) fn set_queue(&mut self, kind: QueueKind) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let (images, why) = queue(w, kind);
        let here = w.inspected.or_else(|| w.browse.current());
        let start = here
            .filter(|_| kind == QueueKind::InOrder)
            .and_then(|image| images.iter().position(|i| *i == image))
            .unwrap_or(0);
        w.walk = Walk::new(kind, kind.name().to_owned(), images, start).with_reasons(why);
        w.inspected = w.walk.current();
        self.view = View::Label;
    }
}

fn queue(w: &Workspace, kind: QueueKind) -> (Vec<ImageId>, HashMap<ImageId, String>) {
    let session = &w.session;
    let predictions = &w.predictions;
    let open = |image: &ImageId| session.label(*image).is_none();
    let mut why = HashMap::new();
    let ids = || session.manifest().ids();
    let images: Vec<ImageId> = match kind {
        QueueKind::InOrder => {
            let listed = w.browse.list();
            if listed.is_empty() {
                ids().collect()
            } else {
                listed.to_vec()
            }
        }
        _ => {
            let _ = (predictions, open, &mut why);
            Vec::new()
        }
    };
    (images, why)
}
