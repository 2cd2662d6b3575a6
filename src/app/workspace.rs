//! Everything that belongs to the open data set and goes with it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::background::Slot;
use super::labeller::Labeller;
use super::predictions::Predictions;
use super::session::Session;
use super::textures::{Textures, Wanted};
use super::views::browse::BrowseView;
use super::views::label::LabelView;
use super::walk::Walk;
use crate::domain::{ImageId, Prediction};
use crate::imaging::{Facts, Kind, Loader, Request, ScanSummary};

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
    /// Reads every file once.
    pub scan: Slot<FactsBatch, ScanSummary>,
    /// Runs a network over images.
    pub predict: Slot<Vec<(ImageId, Prediction)>, ()>,
}

impl Workspace {
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

    /// Facts, so that jobs can take them along.
    #[must_use]
    pub fn snapshot(&self) -> crate::project::Snapshot {
        self.session.snapshot.clone()
    }

    /// Images of the data set, all of them.
    #[must_use]
    pub fn all_images(&self) -> Arc<[ImageId]> {
        self.session.manifest().ids().collect()
    }
}
