//! What the model in use says of each image, as it streams in.

use std::path::PathBuf;

use crate::domain::{ImageId, Prediction};

/// The latest prediction of each image, all of one run.
#[derive(Debug, Default)]
pub struct Predictions {
    /// The run's folder, if a model is in use.
    pub run: Option<PathBuf>,
    /// The run's name on screen.
    pub name: String,
    by_image: Vec<Option<Prediction>>,
    generation: u64,
}

impl Predictions {
    /// Nothing yet, for `images` images and a run.
    #[must_use]
    pub fn new(images: usize, run: PathBuf, name: String) -> Self {
        Self {
            run: Some(run),
            name,
            by_image: vec![None; images],
            generation: 0,
        }
    }

    /// Of one image; `None` while there is none.
    #[must_use]
    pub fn get(&self, image: ImageId) -> Option<&Prediction> {
        self.by_image.get(image.index())?.as_ref()
    }

    /// Takes in what arrived. Images of another data set are ignored.
    pub fn add(&mut self, batch: impl IntoIterator<Item = (ImageId, Prediction)>) {
        for (image, prediction) in batch {
            if let Some(place) = self.by_image.get_mut(image.index()) {
                *place = Some(prediction);
            }
        }
        self.generation += 1;
    }

    /// How many images have one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_image.iter().flatten().count()
    }

    /// Changes whenever something arrived.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
