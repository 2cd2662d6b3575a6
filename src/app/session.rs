//! The open data set as the views see it: a mirror, kept up to date by the threads that own the files.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dataset::{ImageEntry, Manifest, Severity};
use crate::domain::{ClassSet, ImageId, Label, Split};
use crate::imaging::Facts;
use crate::labels::{Current, Event, Repeats};
use crate::project::Snapshot;

/// The open data set.
pub struct Session {
    /// Manifest, splits and labels, as jobs get them.
    pub snapshot: Snapshot,
    /// Why labels cannot be changed, if so.
    pub read_only: Option<String>,
    /// Events safely on disk.
    pub saved: u64,
    /// Whether something can be undone.
    pub can_undo: bool,
    /// Whether something can be done again.
    pub can_redo: bool,
    /// How often the same answer came to images shown again.
    pub repeats: Repeats,
    /// The images that were shown again.
    pub repeated: Vec<ImageId>,
    /// Changes with every label, flag and fact: what was derived from them is to be derived anew.
    pub generation: u64,
    current: HashMap<ImageId, Current>,
    facts: Vec<Option<Result<Facts, String>>>,
    scanned: usize,
    history: Option<(ImageId, Vec<Event>)>,
    /// Labelled images of each regular class, in class order.
    labelled: Vec<usize>,
    /// Images named by the manifest's problems, sorted.
    problems: Vec<ImageId>,
}

impl Session {
    /// A freshly opened data set, not yet scanned.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        read_only: Option<String>,
        current: HashMap<ImageId, Current>,
    ) -> Self {
        let manifest = &snapshot.manifest;
        let images = manifest.len();
        let mut problems: Vec<ImageId> = manifest
            .problems
            .iter()
            .filter(|problem| problem.severity() != Severity::Info)
            .filter_map(|problem| manifest.by_key(&problem.file))
            .collect();
        problems.sort_unstable();
        problems.dedup();
        let mut session = Self {
            labelled: Vec::new(),
            snapshot,
            read_only,
            saved: 0,
            can_undo: false,
            can_redo: false,
            repeats: Repeats::default(),
            repeated: Vec::new(),
            generation: 0,
            current,
            facts: vec![None; images],
            scanned: 0,
            history: None,
            problems,
        };
        session.count_labelled();
        session
    }

    fn count_labelled(&mut self) {
        let mut counts = vec![0; self.classes().regular_len()];
        for image in self.manifest().ids() {
            let class = self.label(image).and_then(Label::class);
            if let Some(count) = class.and_then(|class| counts.get_mut(class.index())) {
                *count += 1;
            }
        }
        self.labelled = counts;
    }

    /// Labelled images of each regular class, in class order.
    #[must_use]
    pub fn labelled(&self) -> &[usize] {
        &self.labelled
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.snapshot.manifest
    }

    /// The class set.
    #[must_use]
    pub fn classes(&self) -> &ClassSet {
        &self.snapshot.manifest.classes
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot.manifest.len()
    }

    /// Never true for a data set that could be opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The manifest's entry of an image.
    #[must_use]
    pub fn entry(&self, image: ImageId) -> &ImageEntry {
        self.snapshot.manifest.get(image)
    }

    /// The part an image plays.
    #[must_use]
    pub fn split(&self, image: ImageId) -> Split {
        self.snapshot
            .splits
            .get(image.index())
            .copied()
            .unwrap_or(Split::Incoming)
    }

    /// Hand label, else the file's.
    #[must_use]
    pub fn label(&self, image: ImageId) -> Option<Label> {
        self.snapshot.label(image)
    }

    /// The label given by hand, if any.
    #[must_use]
    pub fn hand_label(&self, image: ImageId) -> Option<Label> {
        self.snapshot.hand.get(image.index()).copied().flatten()
    }

    /// Who decided last, when and how; `None` where nobody did.
    #[must_use]
    pub fn current(&self, image: ImageId) -> Option<&Current> {
        self.current.get(&image)
    }

    /// Whether the image is flagged.
    #[must_use]
    pub fn flagged(&self, image: ImageId) -> bool {
        self.current.get(&image).is_some_and(|c| c.flagged)
    }

    /// What the file holds, or why it cannot be read; `None` until it was looked at.
    #[must_use]
    pub fn facts(&self, image: ImageId) -> Option<&Result<Facts, String>> {
        self.facts.get(image.index())?.as_ref()
    }

    /// Whether something is the matter with the file: it cannot be read, or the data set's own check
    /// found fault with it.
    #[must_use]
    pub fn has_problem(&self, image: ImageId) -> bool {
        matches!(self.facts(image), Some(Err(_))) || self.problems.binary_search(&image).is_ok()
    }

    /// How many files were looked at.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.scanned
    }

    /// Takes in what a scan found.
    pub fn add_facts(&mut self, batch: Vec<(ImageId, Result<Facts, String>)>) {
        for (image, facts) in batch {
            if let Some(place) = self.facts.get_mut(image.index()) {
                self.scanned += usize::from(place.is_none());
                *place = Some(facts);
            }
        }
        self.generation += 1;
    }

    /// Takes in what is on disk now for some images.
    pub fn set_current(&mut self, changed: Vec<(ImageId, Current)>) {
        let hand = Arc::make_mut(&mut self.snapshot.hand);
        for (image, current) in changed {
            if let Some(place) = hand.get_mut(image.index()) {
                *place = current.label;
            }
            self.current.insert(image, current);
        }
        self.history = None;
        self.count_labelled();
        self.generation += 1;
    }

    /// The decisions about an image, oldest first, if they were read already.
    #[must_use]
    pub fn history(&self, image: ImageId) -> Option<&[Event]> {
        self.history
            .as_ref()
            .filter(|(of, _)| *of == image)
            .map(|(_, events)| events.as_slice())
    }

    /// Takes in how often the same answer came to images shown again.
    pub fn set_repeats(&mut self, repeats: Repeats) {
        let keys = repeats.images.iter();
        self.repeated = keys.filter_map(|key| self.manifest().by_key(key)).collect();
        self.repeats = repeats;
    }

    /// Takes in the decisions about an image.
    pub fn set_history(&mut self, image: ImageId, events: Vec<Event>) {
        self.history = Some((image, events));
    }

    /// Images labelled by hand.
    #[must_use]
    pub fn labelled_by_hand(&self) -> usize {
        self.snapshot.hand.iter().flatten().count()
    }
}
