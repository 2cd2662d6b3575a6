//! The map of the drift candidates: laid out once somebody looks at it.

use std::sync::Arc;

use super::super::App;
use super::super::background::End;
use super::super::command::View;
use super::super::state::map::NeighbourMap;
use super::super::state::words::sentence;

impl App {
    /// Takes in what was laid out, and begins with what is looked at and is not there yet.
    pub(super) fn watch_map(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.map_job.try_end() {
            Some(End::Done(places)) => {
                w.drift.map.neighbours = NeighbourMap::Ready(Arc::new(places));
            }
            Some(End::Failed(why)) => w.drift.map.neighbours = NeighbourMap::Failed(sentence(&why)),
            Some(End::Cancelled) => {
                let why = "Cancelled before the images were laid out.";
                w.drift.map.neighbours = NeighbourMap::Failed(why.to_owned());
            }
            None => {}
        }
        if let Some(job) = w.map_job.status() {
            w.drift.map.neighbours = NeighbourMap::Running {
                done: job.progress.fraction(),
                left_s: job.progress.eta_secs(),
                doing: job.progress.doing,
            };
            return;
        }
        let Some(session) = w.drift_session.clone() else {
            return;
        };
        if self.view != View::Drift || !w.drift_view.shows_map() || !w.drift.map.is_open() {
            return;
        }
        let started = w.map_job.start(
            &mut self.numbers,
            "laying out the neighbour map",
            true,
            &self.wake,
            move |ctx, _| session.neighbour_map(ctx),
        );
        if let Err(why) = started {
            w.drift.map.neighbours = NeighbourMap::Failed(why);
        }
    }
}
