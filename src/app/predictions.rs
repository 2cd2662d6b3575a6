//! What the model in use says of each image, as it streams in.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::domain::{ClassId, ImageId, Prediction};
use crate::drift::Decision;

/// The latest prediction of each image, all of one run.
#[derive(Debug, Default)]
pub struct Predictions {
    /// The run's folder, if a model is in use.
    pub run: Option<PathBuf>,
    /// The run's name on screen.
    pub name: String,
    by_image: Vec<Option<Prediction>>,
    drift: Vec<Option<DriftOpinion>>,
    cheapest: HashMap<ImageId, (Decision, f64)>,
    generation: u64,
}

/// What the drift model says of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftOpinion {
    /// Probability of drift, `0..=1`; `None` before both kinds were labelled.
    pub probability: Option<f32>,
    /// Percentile against regular images, `0..=1`.
    pub anomaly: f32,
}

impl DriftOpinion {
    /// What images are ranked by: the probability, or the percentile while there is none.
    #[must_use]
    pub fn rank(self) -> f32 {
        self.probability.unwrap_or(self.anomaly)
    }
}

impl Predictions {
    /// Nothing yet, for `images` images and a run.
    #[must_use]
    pub fn new(images: usize, run: PathBuf, name: String) -> Self {
        Self {
            run: Some(run),
            name,
            by_image: vec![None; images],
            drift: vec![None; images],
            cheapest: HashMap::new(),
            generation: 0,
        }
    }

    /// Begins anew: nothing yet of this run, perhaps the same one in other numbers.
    pub fn restart(&mut self, images: usize, run: PathBuf, name: String) {
        // What was derived from the earlier ones is known by its generation.
        let generation = self.generation + 1;
        *self = Self {
            generation,
            ..Self::new(images, run, name)
        };
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

    /// The predicted class of every image that has one.
    #[must_use]
    pub fn classes(&self) -> HashMap<ImageId, ClassId> {
        let predictions = self.by_image.iter().enumerate();
        predictions
            .filter_map(|(index, p)| Some((ImageId::from(index), p.as_ref()?.class())))
            .collect()
    }

    /// How many images have one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_image.iter().flatten().count()
    }

    /// What the drift model says of one image; `None` while there is no drift model.
    #[must_use]
    pub fn drift(&self, image: ImageId) -> Option<DriftOpinion> {
        self.drift.get(image.index()).copied().flatten()
    }

    /// Takes in a fit of the drift model.
    pub fn set_drift(&mut self, opinions: impl IntoIterator<Item = (ImageId, DriftOpinion)>) {
        for (image, opinion) in opinions {
            if let Some(place) = self.drift.get_mut(image.index()) {
                *place = Some(opinion);
            }
        }
        self.generation += 1;
    }

    /// Takes in the cheapest answers after a fit of the drift model, each with what it is expected to cost more
    /// than the truth.
    pub fn set_cheapest(&mut self, answers: impl IntoIterator<Item = (ImageId, Decision, f64)>) {
        let answers = answers.into_iter();
        self.cheapest = answers
            .map(|(image, decision, regret)| (image, (decision, regret)))
            .collect();
    }

    /// The cheapest answer to an image and its expected cost, reckoned with calibrated probabilities and the
    /// assumed share of drift; `None` while there is no drift model, or for an image that it does not judge.
    #[must_use]
    pub fn cheapest(&self, image: ImageId) -> Option<(Decision, f64)> {
        self.cheapest.get(&image).copied()
    }

    /// Probabilities over all classes, drift last: the network's, scaled by what the drift model leaves
    /// of them. `None` without a prediction.
    #[must_use]
    pub fn combined(&self, image: ImageId, classes: usize) -> Option<Vec<f32>> {
        let prediction = self.get(image)?;
        let drift = self.drift(image).and_then(|d| d.probability);
        let drift = drift.unwrap_or(0.0).clamp(0.0, 1.0);
        let regular = classes.saturating_sub(1);
        let mut all: Vec<f32> = (0..regular)
            .map(|c| prediction.of(c.into()) * (1.0 - drift))
            .collect();
        all.push(drift);
        Some(all)
    }

    /// Changes whenever something arrived.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
