//! The images of an open data set.

use std::collections::HashMap;
use std::path::PathBuf;

use super::problem::Problem;
use crate::domain::{ClassId, ClassSet, ImageId};

/// How a data set is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The files of Challenge Data #157 under their own names.
    Challenge,
    /// A CSV file with named columns.
    Csv {
        /// That file.
        file: PathBuf,
    },
    /// One folder per class.
    ClassFolders,
    /// Images without labels.
    PlainFolder,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// The file name as the data set writes it, parts separated by `/`, unique in the manifest.
    /// Labels are stored under it.
    pub key: String,
    /// Where the file is.
    pub path: PathBuf,
    /// The class that the data set's own files give it.
    pub label: Option<ClassId>,
    /// One per [`Manifest::columns`]; empty where the data set has no value.
    pub values: Vec<String>,
    /// Whether it is an image to use trained models on: one without a label, or labelled drift.
    pub incoming: bool,
}

/// What a data set's files say: its images in their natural order, its classes, and what is wrong.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The folder that was opened, or that holds the CSV that was opened.
    pub root: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// Its classes, drift last.
    pub classes: ClassSet,
    /// Its images; an [`ImageId`] is a position in here.
    pub images: Vec<ImageEntry>,
    /// Names of the further columns, e.g. `window` and `lib`.
    pub columns: Vec<String>,
    /// What was detected and why, with counts, in words.
    pub statement: String,
    /// What is wrong with single files and rows.
    pub problems: Vec<Problem>,
    by_key: HashMap<String, ImageId>,
}

impl Manifest {
    /// A manifest of `images`, whose keys are unique (of equal keys, [`Self::by_key`] finds the first).
    #[must_use]
    pub fn new(
        root: PathBuf,
        layout: Layout,
        classes: ClassSet,
        images: Vec<ImageEntry>,
        columns: Vec<String>,
        statement: String,
        problems: Vec<Problem>,
    ) -> Self {
        let mut by_key = HashMap::with_capacity(images.len());
        for (index, image) in images.iter().enumerate().rev() {
            by_key.insert(image.key.clone(), ImageId::from(index));
        }
        Self {
            root,
            layout,
            classes,
            images,
            columns,
            statement,
            problems,
            by_key,
        }
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is no image; never so for a manifest from [`super::detect`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The image at a position.
    ///
    /// # Panics
    /// For an id of another manifest that is out of range here.
    #[must_use]
    pub fn get(&self, id: ImageId) -> &ImageEntry {
        &self.images[id.index()]
    }

    /// All positions in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ImageId> + use<> {
        (0..self.images.len()).map(ImageId::from)
    }

    /// The image of that name.
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<ImageId> {
        self.by_key.get(key).copied()
    }

    /// Position of a further column in [`Self::columns`]; case does not matter.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        let exact = self.columns.iter().position(|c| c == name);
        exact.or_else(|| {
            let name = name.trim().to_lowercase();
            self.columns.iter().position(|c| c.to_lowercase() == name)
        })
    }

    /// Images per class by file label, indexed by [`ClassId`], drift included.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for class in self.images.iter().filter_map(|image| image.label) {
            counts[class.index()] += 1;
        }
        counts
    }

    /// BLAKE3, in hex, of all keys with their file labels, whatever the order of the images.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut lines: Vec<(&str, Option<&str>)> = self
            .images
            .iter()
            .map(|image| {
                let label = image.label.map(|class| self.classes.label(class));
                (image.key.as_str(), label)
            })
            .collect();
        lines.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for (key, label) in lines {
            for part in [Some(key), label] {
                // The length before each part keeps ("ab", "c") apart from ("a", "bc").
                let length = part.map_or(u64::MAX, |p| p.len() as u64);
                hasher.update(&length.to_le_bytes());
                hasher.update(part.unwrap_or_default().as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}
