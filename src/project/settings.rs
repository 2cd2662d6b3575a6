//! `project.toml`: what the user chose for one project. See `docs/formats/project.md`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::ProjectError;
use crate::dataset::{Manifest, OpenOptions, splits::SplitSpec};
use crate::domain::{CostMatrix, Precision};
use crate::storage::{StorageError, atomic_write};

/// Newest format this program reads and the one it writes.
const FORMAT_VERSION: u32 = 1;

/// The contents of `project.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Version of this file's format.
    pub format_version: u32,
    /// Probability from which an image is answered as drift, `0..=1`; where not given, the answer that costs
    /// least is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_threshold: Option<f64>,
    /// Share of drift among incoming images that decisions reckon with, above 0 and below 1; where not given,
    /// that of the control sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_rate: Option<f64>,
    /// What it costs to have a person look at an image, in the units of the cost matrix, 0 or more; a hundredth
    /// of the dearest mistake where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_cost: Option<f64>,
    /// Share of the labelled images in the test split.
    pub test_share: f64,
    /// Share of the labelled images in the validation split.
    pub validation_share: f64,
    /// Seeds the split.
    pub split_seed: u64,
    /// Column whose groups are never split.
    pub group_by: Option<String>,
    /// In what numbers finished networks compute.
    #[serde(skip_serializing_if = "is_auto")]
    pub precision: Precision,
    /// What each kind of mistake costs, rows true, columns answered, drift last; what is usual for the
    /// classes when not given.
    pub cost: Option<CostMatrix>,
    /// Whether regular images spoiled on purpose stand beside the drift that is labelled, as weak examples of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub synthetic_outliers: bool,
    /// Whether drift is looked for in tiles of the strip of ribbons too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strip_tiles: bool,
    /// A pretrained network to look for drift with, instead of the run that answers.
    pub drift_network: Option<DriftNetwork>,
    /// Where the images are.
    pub source: Source,
}

/// One choice about how images are looked at and drift is decided; none goes back to what is reckoned.
#[derive(Clone, Debug, PartialEq)]
pub enum DriftChoice {
    /// Probability from which an image is drift, `0..=1`.
    Threshold(Option<f64>),
    /// Share of drift among incoming images, above 0 and below 1.
    Rate(Option<f64>),
    /// What a look by a person costs, 0 or more.
    LookCost(Option<f64>),
    /// What each kind of mistake costs, a row and a column for each class; none for what is usual for the classes.
    Cost(Option<CostMatrix>),
    /// The pretrained network that looks for drift instead of the run.
    Network(Option<DriftNetwork>),
    /// In what numbers finished networks compute.
    Precision(Precision),
    /// Whether regular images spoiled on purpose stand beside the drift that is labelled.
    SyntheticOutliers(bool),
    /// Whether drift is looked for in tiles of the strip of ribbons too.
    StripTiles(bool),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_auto(precision: &Precision) -> bool {
    *precision == Precision::Auto
}

/// A network by name and file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftNetwork {
    /// The architecture.
    pub model: String,
    /// Its pretrained weights: a file, or the name of fetched ones.
    pub weights: String,
    /// What the weights expect of the pixels (`scale01`, `minus1_1`, `imagenet`), where their file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<String>,
}

/// Where the data set of a project is and how to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The data set's folder or CSV: relative to the project folder when it lies above it.
    pub path: PathBuf,
    /// Folder of the images of a CSV, if not the CSV's own.
    pub images: Option<PathBuf>,
    /// Column of the labels, if not found by name.
    pub label_column: Option<String>,
    /// Column of the file names, if not found by name.
    pub filename_column: Option<String>,
    /// Classes named by the user, where the files name none.
    pub classes: Vec<String>,
}

impl Source {
    /// Describes `dataset` as seen from the project folder `dir`.
    #[must_use]
    pub fn new(dataset: &Path, options: &OpenOptions, dir: &Path) -> Self {
        let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let path = match dir.parent() {
            Some(parent) if parent == dataset => PathBuf::from(".."),
            Some(parent) => match dataset.strip_prefix(parent) {
                Ok(rest) => Path::new("..").join(rest),
                Err(_) => dataset.to_owned(),
            },
            None => dataset.to_owned(),
        };
        Self {
            path,
            images: options.images.clone(),
            label_column: options.label_column.clone(),
            filename_column: options.filename_column.clone(),
            classes: options.classes.clone(),
        }
    }

    /// The options to open it with.
    #[must_use]
    pub fn options(&self, dir: &Path) -> OpenOptions {
        OpenOptions {
            images: self.images.as_ref().map(|images| dir.join(images)),
            label_column: self.label_column.clone(),
            filename_column: self.filename_column.clone(),
            classes: self.classes.clone(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let split = SplitSpec::default();
        Self {
            format_version: FORMAT_VERSION,
            drift_threshold: None,
            drift_rate: None,
            look_cost: None,
            test_share: split.test,
            validation_share: split.validation,
            split_seed: split.seed,
            group_by: None,
            precision: Precision::Auto,
            cost: None,
            synthetic_outliers: false,
            strip_tiles: false,
            drift_network: None,
            source: Source::default(),
        }
    }
}

impl Settings {
    /// Name of the file in the project folder.
    pub const FILE: &'static str = "project.toml";

    /// Reads the settings of the project in `dir`.
    ///
    /// # Errors
    /// [`ProjectError::Settings`], [`ProjectError::TooNew`], [`ProjectError::Storage`].
    pub fn load(dir: &Path) -> Result<Self, ProjectError> {
        let path = dir.join(Self::FILE);
        let text = fs::read_to_string(&path).map_err(|e| StorageError::io("read", &path, e))?;
        let not_understood = |what: String| ProjectError::Settings {
            path: path.clone(),
            what,
        };
        // The version first: a later format may not parse at all.
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| not_understood(e.message().to_owned()))?;
        let found = table
            .get("format_version")
            .and_then(toml::Value::as_integer);
        let found = found.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        if found > FORMAT_VERSION {
            return Err(ProjectError::TooNew {
                path,
                found,
                known: FORMAT_VERSION,
            });
        }
        let settings: Self =
            toml::from_str(&text).map_err(|e| not_understood(e.message().to_owned()))?;
        settings.check().map_err(not_understood)?;
        Ok(settings)
    }

    /// With one choice made otherwise.
    ///
    /// # Errors
    /// A sentence where it makes no sense.
    pub(super) fn with(&self, choice: DriftChoice) -> Result<Self, String> {
        let mut settings = self.clone();
        match choice {
            DriftChoice::Threshold(threshold) => settings.drift_threshold = threshold,
            DriftChoice::Rate(rate) => settings.drift_rate = rate,
            DriftChoice::LookCost(cost) => settings.look_cost = cost,
            DriftChoice::Cost(cost) => settings.cost = cost,
            DriftChoice::Network(network) => settings.drift_network = network,
            DriftChoice::Precision(precision) => settings.precision = precision,
            DriftChoice::SyntheticOutliers(on) => settings.synthetic_outliers = on,
            DriftChoice::StripTiles(on) => settings.strip_tiles = on,
        }
        settings.check().map(|()| settings)
    }

    /// Whether every number lies where it makes sense.
    fn check(&self) -> Result<(), String> {
        let within =
            |name: &str, value: Option<f64>, good: fn(f64) -> bool, which: &str| match value {
                Some(value) if !good(value) => Err(format!("{name} is {value}; {which}")),
                _ => Ok(()),
            };
        within(
            "drift_threshold",
            self.drift_threshold,
            |t| (0.0..=1.0).contains(&t),
            "a threshold lies between 0 and 1",
        )?;
        within(
            "drift_rate",
            self.drift_rate,
            |r| r > 0.0 && r < 1.0,
            "a share of drift lies above 0 and below 1",
        )?;
        within(
            "look_cost",
            self.look_cost,
            |c| c.is_finite() && c >= 0.0,
            "a cost is zero or more",
        )
    }

    /// Writes the settings into `dir` unless the same are there already.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn save_if_changed(&self, dir: &Path) -> Result<(), StorageError> {
        let text = toml::to_string(self).expect("settings are tables of numbers and words");
        let path = dir.join(Self::FILE);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        atomic_write(&path, text.as_bytes())
    }

    /// How to split the labelled images of `manifest`.
    #[must_use]
    pub fn split_spec(&self, manifest: &Manifest) -> SplitSpec {
        SplitSpec {
            test: self.test_share,
            validation: self.validation_share,
            seed: self.split_seed,
            group_column: self
                .group_by
                .as_ref()
                .and_then(|name| manifest.column(name)),
        }
    }
}
