//! What is open: the data set, its splits, the labels, the settings, and where all of it is kept.

mod location;
mod settings;
mod snapshot;

pub use location::{MARKER, locate};
pub use settings::{DriftChoice, DriftNetwork, Settings, Source};
pub use snapshot::Snapshot;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::dataset::{DatasetError, Manifest, OpenOptions, detect, splits};
use crate::domain::{CostMatrix, ImageId, Label, Split};
use crate::labels::{Access, LabelError, Store};
use crate::storage::StorageError;

/// Why a project could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The images or their CSV.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The label store.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// The project folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// `project.toml` is not understood.
    #[error(
        "{path} is not understood ({what}); correct it, or move it away to start with fresh settings (labels are kept beside it)"
    )]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        what: String,
    },
    /// `project.toml` is of a later version of the program.
    #[error(
        "{path} was written by a later version of Driftscope (format {found}, this one knows {known}); update the program"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest this program reads.
        known: u32,
    },
    /// Classes named anew that leave out one that labels may use.
    #[error(
        "the project {dir} has labels, and its class {missing:?} is not among the classes named now; name all of {had} and add what is new, or export the labels first"
    )]
    ClassesInUse {
        /// The project folder.
        dir: PathBuf,
        /// The class left out.
        missing: String,
        /// The classes it had.
        had: String,
    },
    /// Neither the data set's folder nor the user's data folder can be written.
    #[error(
        "no project folder can be written: neither {tried}, nor a folder for application data is there; start with --project DIR"
    )]
    NoPlace {
        /// The folder tried first.
        tried: PathBuf,
    },
}

/// An open project. Owns the label store; everything else is plain data behind [`Arc`].
pub struct Project {
    /// The project folder.
    pub dir: PathBuf,
    /// The images.
    pub manifest: Arc<Manifest>,
    /// One per image, by the settings' shares and seed.
    pub splits: Arc<Vec<Split>>,
    /// Why the labelled images could not be split, if so; they are then all in training.
    pub split_problem: Option<String>,
    /// What people said of the images.
    pub labels: Store,
    /// What the user chose.
    pub settings: Settings,
}

impl Project {
    /// Opens the project that `path` is, belongs to, or becomes: a project folder, a data set folder, or
    /// a manifest CSV. `project_dir` overrides where the project is kept. The user's files are read only.
    ///
    /// # Errors
    /// [`ProjectError`], worded for the user.
    pub fn open(
        path: &Path,
        options: &OpenOptions,
        project_dir: Option<&Path>,
    ) -> Result<Self, ProjectError> {
        let place = locate(path, options, project_dir)?;
        let manifest = detect(&place.dataset, &place.options)?;
        let settings = place.settings;
        let had = Settings::load(&place.dir).map_or_else(|_| Vec::new(), |s| s.source.classes);
        let labels = Store::open(
            &place.dir.join("labels.sqlite"),
            &manifest.classes,
            &user_name(),
        )?;
        let missing = had.iter().find(|c| !settings.source.classes.contains(c));
        if let Some(missing) = missing.filter(|_| labels.labels().next().is_some()) {
            return Err(ProjectError::ClassesInUse {
                dir: place.dir,
                missing: missing.clone(),
                had: had.join(", "),
            });
        }
        if matches!(labels.access(), Access::ReadWrite) {
            settings.save_if_changed(&place.dir)?;
        }
        let mut project = Self {
            dir: place.dir,
            manifest: Arc::new(manifest),
            splits: Arc::new(Vec::new()),
            split_problem: None,
            labels,
            settings,
        };
        project.split();
        Ok(project)
    }

    /// Why labels cannot be changed here; `None` where they can.
    #[must_use]
    pub fn read_only(&self) -> Option<&str> {
        match self.labels.access() {
            Access::ReadWrite => None,
            Access::ReadOnly { reason } => Some(reason),
        }
    }

    /// Remembers a choice in `project.toml`. Where it cannot be written, or makes no
    /// sense, everything stays as it was.
    ///
    /// # Errors
    /// [`ProjectError::Settings`], [`ProjectError::Storage`].
    pub fn choose(&mut self, choice: DriftChoice) -> Result<(), ProjectError> {
        let settings = self
            .settings
            .with(choice)
            .map_err(|what| ProjectError::Settings {
                path: self.dir.join(Settings::FILE),
                what,
            })?;
        settings.save_if_changed(&self.dir)?;
        self.settings = settings;
        Ok(())
    }

    /// The hand label of an image.
    #[must_use]
    pub fn hand_label(&self, id: ImageId) -> Option<Label> {
        self.labels.label_of(&self.manifest.get(id).key)
    }

    /// The state of now as plain data, for background work.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let hand = self.manifest.images.iter();
        Snapshot {
            manifest: self.manifest.clone(),
            splits: self.splits.clone(),
            hand: Arc::new(hand.map(|image| self.labels.label_of(&image.key)).collect()),
            dir: self.dir.clone(),
            cost: self.cost(),
            drift_threshold: self.settings.drift_threshold,
            drift_rate: self.settings.drift_rate,
            look_cost: self.settings.look_cost,
            drift_network: self.settings.drift_network.clone(),
            synthetic_outliers: self.settings.synthetic_outliers,
            strip_tiles: self.settings.strip_tiles,
            precision: self.settings.precision,
        }
    }

    /// What mistakes cost here: as the settings say, if they say it for as many classes as there are.
    #[must_use]
    pub fn cost(&self) -> CostMatrix {
        let classes = &self.manifest.classes;
        let chosen = self.settings.cost.clone();
        chosen
            .filter(|cost| cost.len() == classes.len())
            .unwrap_or_else(|| CostMatrix::default_for(classes))
    }

    /// Why the cost matrix of the settings is not used, if so: it was made for other classes. It stays in the
    /// settings.
    #[must_use]
    pub fn cost_problem(&self) -> Option<String> {
        let (rows, classes) = (
            self.settings.cost.as_ref()?.len(),
            self.manifest.classes.len(),
        );
        let path = self.dir.join(Settings::FILE);
        (rows != classes).then(|| {
            format!(
                "the cost matrix in {} has {rows} rows and columns, but there are {classes} classes with drift; the usual costs are used until it has one row and one column for each",
                path.display()
            )
        })
    }

    /// A sentence on labels whose image is not there any more, if there are any. They stay, and count again once it is
    /// back.
    #[must_use]
    pub fn labels_without_image(&self) -> Option<String> {
        let labels = self.labels.labels().map(|(key, _)| key);
        let gone: Vec<&str> = labels
            .filter(|key| self.manifest.by_key(key).is_none())
            .collect();
        let first = gone.iter().min()?;
        Some(format!(
            "{} not there any more, such as {first}: what was labelled is kept, and counts again once the file is back",
            match gone.len() {
                1 => "1 labelled image is".to_owned(),
                n => format!("{n} labelled images are"),
            }
        ))
    }

    /// Splits the labelled images anew by the settings.
    fn split(&mut self) {
        let spec = self.settings.split_spec(&self.manifest);
        match splits::split(&self.manifest, &spec) {
            Ok(splits) => {
                self.splits = Arc::new(splits);
                self.split_problem = None;
            }
            Err(error) => {
                let part = |incoming: bool| {
                    if incoming {
                        Split::Incoming
                    } else {
                        Split::Train
                    }
                };
                let images = self.manifest.images.iter();
                self.splits = Arc::new(images.map(|image| part(image.incoming)).collect());
                let labelled = self.manifest.images.iter().any(|image| !image.incoming);
                self.split_problem = labelled.then(|| error.to_string());
            }
        }
    }
}

/// Who labels: the name the operating system knows the user by.
fn user_name() -> String {
    ["USER", "USERNAME", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests;
