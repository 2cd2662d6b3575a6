//! Everything that belongs to the open data set and goes with it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::background::{JobStatus, Slot};
use super::command::View;
use super::costs::CostsEditor;
use super::duplicates::Offer;
use super::labeller::Labeller;
use super::predictions::Predictions;
use super::session::Session;
use super::state::{
    CostState, DriftEvent, DriftState, FineTuneState, ReviewState, RunsState, TrainState,
};
use super::textures::{Textures, Wanted};
use super::views::browse::BrowseView;
use super::views::drift::DriftView;
use super::views::label::LabelView;
use super::views::review::ReviewView;
use super::views::train::TrainView;
use super::walk::Walk;
use crate::domain::{ImageId, Label, Prediction};
use crate::imaging::{Facts, Kind, Loader, Request, ScanSummary};
use crate::jobs::StopReason;
use crate::labels::Current;
use crate::project::{DriftNetwork, Snapshot};
use crate::queue::Reason;
use crate::training::TrainEvent;
use crate::workflows::{
    DriftRun, DriftSession, FineTuneCost, FineTuneEvent, ImageGroups, Places, PlanCost, Refitted,
    Review, RunSummary, SubmitSummary, UnfinishedFineTune, UnfinishedRun,
};

/// What a scan hands over at a time.
pub type FactsBatch = Vec<(ImageId, Result<Facts, String>)>;

/// The open data set: its mirror, its threads, its views.
pub struct Workspace {
    /// What was opened.
    pub path: PathBuf,
    /// The mirror that views see.
    pub session: Session,
    /// Writes labels.
    pub labeller: Labeller,
    /// Decodes images.
    pub loader: Loader,
    /// Images on the graphics card.
    pub textures: Textures,
    /// What the model in use says.
    pub predictions: Predictions,
    /// The queue of the Label view.
    pub walk: Walk,
    /// The gallery.
    pub browse: BrowseView,
    /// The Label view.
    pub label: LabelView,
    /// What the inspector shows.
    pub inspected: Option<ImageId>,
    /// The image whose history was asked for, and the session's generation then.
    pub history_asked: Option<(ImageId, u64)>,
    /// The images most like [`Self::neighbours_of`].
    pub neighbours: Vec<(ImageId, f32)>,
    /// Whose neighbours those are.
    pub neighbours_of: Option<ImageId>,
    /// Images like those labelled as drift, with their similarity.
    pub near_drift: HashMap<ImageId, f32>,
    /// What the queue that finds drift goes on with.
    pub next_to_label: Vec<(ImageId, Reason)>,
    /// The training that runs, or ran last.
    pub train: TrainState,
    /// What the plan in the fields will take.
    pub cost: CostState,
    /// All runs.
    pub runs: RunsState,
    /// The run under review.
    pub review: ReviewState,
    /// The drift model.
    pub drift: DriftState,
    /// Near-duplicates, once the drift model has looked at the images.
    pub groups: Arc<ImageGroups>,
    /// The open editor of the cost matrix.
    pub costs: Option<CostsEditor>,
    /// The image that was labelled last.
    pub labelled_last: Option<ImageId>,
    /// The fine-tuned network.
    pub fine_tune: FineTuneState,
    /// Its features, once prepared.
    pub drift_session: Option<Arc<DriftSession>>,
    /// Labels were given while a fit ran.
    pub refit_again: bool,
    /// The next fit may change the order of the ranking.
    pub refit_reranks: bool,
    /// The Train view.
    pub train_view: TrainView,
    /// The Review view.
    pub review_view: ReviewView,
    /// The Drift view.
    pub drift_view: DriftView,
    /// Reads every file once.
    pub scan: Slot<FactsBatch, ScanSummary>,
    /// Trains a network.
    pub train_job: Slot<TrainEvent, RunSummary>,
    /// Reckons what a training will take.
    pub cost_job: Slot<(), PlanCost>,
    /// Times a few steps.
    pub trial_job: Slot<(), ()>,
    /// Reads the runs folder.
    pub runs_job: Slot<(), (Vec<RunSummary>, Vec<UnfinishedRun>)>,
    /// Removes an interrupted training.
    pub discard_job: Slot<(), ()>,
    /// Reads the run to be used.
    pub review_job: Slot<(), Review>,
    /// Reads the run to compare with.
    pub against_job: Slot<(), Review>,
    /// Runs a network over images.
    pub predict_job: Slot<Vec<(ImageId, Prediction)>, ()>,
    /// Prepares the features of the drift model.
    pub drift_job: Slot<(), DriftSession>,
    /// Fits the drift model.
    pub refit_job: Slot<(), Refitted>,
    /// Lays out the neighbour map.
    pub map_job: Slot<(), Places>,
    /// Fine-tunes a network for drift.
    pub fine_tune_job: Slot<FineTuneEvent, DriftRun>,
    /// Reckons what that will take, by the number of labels.
    pub fine_tune_cost_job: Slot<(), (usize, Result<FineTuneCost, String>)>,
    /// Reads what was fine-tuned before.
    pub drift_runs_job: Slot<(), (Option<DriftRun>, Vec<UnfinishedFineTune>)>,
    /// Looks up neighbours.
    pub neighbours_job: Slot<(), (ImageId, Vec<(ImageId, f32)>)>,
    /// Writes the submission.
    pub submit_job: Slot<(), SubmitSummary>,
    /// Finds out which network a file of weights is for.
    pub weights_job: Slot<(), DriftNetwork>,
}

impl Workspace {
    /// A freshly opened data set, nothing running yet.
    #[must_use]
    pub fn new(
        path: PathBuf,
        session: Session,
        labeller: Labeller,
        loader: Loader,
        textures: Textures,
        tile: f32,
    ) -> Self {
        let review = ReviewState::new(session.classes().clone(), session.snapshot.cost.clone());
        let mut runs = RunsState::default();
        runs.set_cost(session.classes(), session.snapshot.cost.clone());
        let settled = session.snapshot.drift_threshold;
        let mut drift = DriftState::with_threshold(settled.map(|threshold| threshold as f32));
        let classes = session.classes();
        let hand = |image| Some((image, Some(session.hand_label(image)?.is_drift(classes))));
        drift.apply(DriftEvent::Labelled(
            session.manifest().ids().filter_map(hand).collect(),
        ));
        Self {
            path,
            predictions: Predictions::default(),
            labeller,
            loader,
            textures,
            walk: Walk::default(),
            browse: BrowseView::new(tile),
            label: LabelView::default(),
            inspected: None,
            history_asked: None,
            neighbours: Vec::new(),
            neighbours_of: None,
            near_drift: HashMap::new(),
            next_to_label: Vec::new(),
            train: TrainState::default(),
            cost: CostState::default(),
            runs,
            review,
            drift,
            groups: Arc::default(),
            costs: None,
            labelled_last: None,
            fine_tune: FineTuneState::default(),
            drift_session: None,
            refit_again: false,
            refit_reranks: false,
            train_view: TrainView::default(),
            review_view: ReviewView::default(),
            drift_view: DriftView::default(),
            scan: Slot::default(),
            train_job: Slot::default(),
            cost_job: Slot::default(),
            trial_job: Slot::default(),
            runs_job: Slot::default(),
            discard_job: Slot::default(),
            review_job: Slot::default(),
            against_job: Slot::default(),
            predict_job: Slot::default(),
            drift_job: Slot::default(),
            refit_job: Slot::default(),
            map_job: Slot::default(),
            fine_tune_job: Slot::default(),
            fine_tune_cost_job: Slot::default(),
            drift_runs_job: Slot::default(),
            neighbours_job: Slot::default(),
            submit_job: Slot::default(),
            weights_job: Slot::default(),
            session,
        }
    }

    /// Labels changed on disk: everything that shows them is told.
    pub fn labels_changed(&mut self, changed: Vec<(ImageId, Current)>) {
        let classes = self.session.classes().clone();
        let mut drift = Vec::new();
        for (image, current) in &changed {
            let label = current.label;
            self.review.relabel(*image, label.and_then(Label::class));
            drift.push((*image, label.map(|label| label.is_drift(&classes))));
        }
        self.session.set_current(changed);
        self.drift.apply(DriftEvent::Labelled(drift));
    }

    /// What one key can do for near-duplicates: those of the image shown, if it is labelled, else those of the image
    /// labelled last, which the Label view has gone on from.
    #[must_use]
    pub fn offer(&self, view: View) -> Option<Offer> {
        let (shown, before) = match view {
            View::Train => (None, None),
            // Its label is hidden.
            View::Label if self.walk.is_blind() => (None, self.labelled_last),
            View::Label => (self.walk.current(), self.labelled_last),
            View::Browse | View::Review | View::Drift => (self.inspected, None),
        };
        let of = |image| Offer::of(image, &self.session, &self.groups);
        let mut offer = shown.and_then(of).or_else(|| before.and_then(of))?;
        // The walk goes on from the image shown where that is one of them.
        offer.images.sort_by_key(|image| Some(*image) != shown);
        Some(offer)
    }

    /// Another run is used: its features are other ones.
    pub fn forget_drift(&mut self) {
        self.drift_session = None;
        self.groups = Arc::default();
        // What it would still bring is of the other features.
        self.map_job = Slot::default();
        self.drift.map.forget();
        self.near_drift.clear();
        self.next_to_label.clear();
        self.neighbours.clear();
        self.neighbours_of = None;
    }

    /// Jobs for the status bar, the most important first.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobStatus> {
        [
            self.train_job.status(),
            self.fine_tune_job.status(),
            self.drift_job.status(),
            self.predict_job.status(),
            self.submit_job.status(),
            self.weights_job.status(),
            self.map_job.status(),
            self.review_job.status(),
            self.scan.status(),
            self.trial_job.status(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Asks a job to stop: the one with that number, or for `None` the first in the status bar.
    pub fn cancel(&self, id: Option<u64>) {
        let first = || self.jobs().iter().find(|j| j.can_cancel).map(|j| j.id);
        let Some(id) = id.or_else(first) else {
            return;
        };
        self.scan.cancel(id);
        self.train_job.cancel(id);
        self.fine_tune_job.cancel(id);
        self.trial_job.cancel(id);
        self.predict_job.cancel(id);
        self.drift_job.cancel(id);
        self.submit_job.cancel(id);
        self.weights_job.cancel(id);
        self.map_job.cancel(id);
    }

    /// Asks every job to stop; labels already sent are still written.
    pub fn close(&mut self) {
        let closing = StopReason::Closing;
        self.scan.stop(closing);
        self.train_job.stop(closing);
        self.fine_tune_job.stop(closing);
        self.trial_job.stop(closing);
        self.predict_job.stop(closing);
        self.drift_job.stop(closing);
        self.submit_job.stop(closing);
        self.weights_job.stop(closing);
        self.map_job.stop(closing);
        self.labeller.close();
    }

    /// Manifest, splits and labels of now, for a job.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.session.snapshot.clone()
    }

    /// Takes in what the loader has finished.
    pub fn drain_loader(&mut self) {
        while let Some(loaded) = self.loader.poll() {
            match (loaded.image, loaded.kind) {
                (Ok(pixels), Kind::Thumbnail) => {
                    self.textures.add_thumbnail(loaded.id, &pixels);
                }
                (Ok(pixels), Kind::Full) => self.textures.add_large(loaded.id, pixels),
                (Err(sentence), _) => self.textures.add_failure(loaded.id, sentence),
            }
        }
        self.textures.upload();
    }

    /// Asks the loader for all that was to be painted and was not here, and for nothing else.
    pub fn ask_loader(&mut self) {
        let wanted = self.textures.take_wanted();
        let set: HashSet<Wanted> = wanted.iter().copied().collect();
        self.loader.retain(|request| {
            set.contains(&match request.kind {
                Kind::Thumbnail => Wanted::Thumbnail(request.id),
                Kind::Full => Wanted::Large(request.id),
            })
        });
        // The loader serves the latest request first.
        for wanted in wanted.into_iter().rev() {
            let (id, kind) = match wanted {
                Wanted::Thumbnail(id) => (id, Kind::Thumbnail),
                Wanted::Large(id) => (id, Kind::Full),
            };
            let content = match self.session.facts(id) {
                Some(Ok(facts)) => Some(facts.content),
                _ => None,
            };
            self.loader.request(Request {
                id,
                path: self.session.entry(id).path.clone(),
                content,
                kind,
            });
        }
    }
}
