//! The state of a project at one moment, as plain data that background work can own.

use std::{path::PathBuf, sync::Arc};

use crate::dataset::Manifest;
use crate::domain::{ClassId, CostMatrix, ImageId, Label, Precision, Split};

use super::{DriftChoice, DriftNetwork};

/// What a job needs to know. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The images.
    pub manifest: Arc<Manifest>,
    /// One per image.
    pub splits: Arc<Vec<Split>>,
    /// What people said, one per image.
    pub hand: Arc<Vec<Option<Label>>>,
    /// The project folder.
    pub dir: PathBuf,
    /// What mistakes cost.
    pub cost: CostMatrix,
    /// Probability from which an image is answered as drift, where the project has settled on one.
    pub drift_threshold: Option<f64>,
    /// Share of drift among incoming images that the project reckons with, where it says so itself.
    pub drift_rate: Option<f64>,
    /// What a look by a person costs, where the project says so itself.
    pub look_cost: Option<f64>,
    /// A pretrained network to look for drift with, if one was chosen.
    pub drift_network: Option<DriftNetwork>,
    /// In what numbers finished networks compute.
    pub precision: Precision,
    /// Whether regular images spoiled on purpose stand beside the drift that is labelled.
    pub synthetic_outliers: bool,
    /// Whether drift is looked for in tiles of the strip of ribbons too.
    pub strip_tiles: bool,
}

impl Snapshot {
    /// Takes in a choice.
    pub fn choose(&mut self, choice: DriftChoice) {
        match choice {
            DriftChoice::Threshold(threshold) => self.drift_threshold = threshold,
            DriftChoice::Rate(rate) => self.drift_rate = rate,
            DriftChoice::LookCost(cost) => self.look_cost = cost,
            DriftChoice::Cost(cost) => {
                self.cost = cost.unwrap_or_else(|| CostMatrix::default_for(&self.manifest.classes));
            }
            DriftChoice::Network(network) => self.drift_network = network,
            DriftChoice::Precision(precision) => self.precision = precision,
            DriftChoice::SyntheticOutliers(on) => self.synthetic_outliers = on,
            DriftChoice::StripTiles(on) => self.strip_tiles = on,
        }
    }

    /// What a look by a person costs, in the units of the cost matrix: as the project says, else a hundredth of
    /// the dearest mistake.
    #[must_use]
    pub fn look(&self) -> f64 {
        self.look_cost.unwrap_or_else(|| self.cost.max() / 100.0)
    }

    /// Folder of the caches; safe to delete.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Folder of the training runs.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.dir.join("runs")
    }

    /// What is known of an image: the hand label, else the file's.
    #[must_use]
    pub fn label(&self, id: ImageId) -> Option<Label> {
        self.hand[id.index()].or_else(|| self.manifest.get(id).label.map(Label::Class))
    }

    /// The regular class of an image, where one is known.
    #[must_use]
    pub fn regular_class(&self, id: ImageId) -> Option<ClassId> {
        let class = self.label(id)?.class()?;
        (class != self.manifest.classes.drift()).then_some(class)
    }

    /// Images of a split, in order.
    #[must_use]
    pub fn in_split(&self, split: Split) -> Vec<ImageId> {
        self.manifest
            .ids()
            .filter(|id| self.splits[id.index()] == split)
            .collect()
    }
}
