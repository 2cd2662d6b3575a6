//! What to train and how: a readable TOML, one row of the study's table or the user's own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the imbalance of the classes is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Not at all.
    None,
    /// Every class is cut to the size of the smallest.
    Undersample,
    /// The loss weighs class c by n / (k * n_c), scikit-learn's `balanced`.
    Weights,
}

/// What early stopping watches on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Cross-entropy, lower is better.
    ValLoss,
    /// Macro-F1, higher is better.
    ValMacroF1,
}

/// Everything that decides what a training run does, apart from the images and their labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Name in the model registry.
    pub model: String,
    /// Side of the square input in pixels.
    pub size: u32,
    /// Epochs at most.
    pub epochs: usize,
    /// Images in one step.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// How the imbalance is met.
    pub balance: Balance,
    /// What early stopping watches.
    pub monitor: Monitor,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// Share of the labelled images in the test split.
    pub test_share: f64,
    /// Share of the labelled images in the validation split.
    pub validation_share: f64,
    /// Column whose groups are never split, if any.
    pub group_by: Option<String>,
    /// Training images of each class at most; the rest of the training split is left out.
    pub train_per_class: Option<usize>,
    /// Seeds split, weights and batches.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            model: "cnn03".to_owned(),
            size: 128,
            epochs: 100,
            batch: 32,
            learning_rate: 1e-3,
            balance: Balance::None,
            monitor: Monitor::ValMacroF1,
            patience: 7,
            test_share: 0.2,
            validation_share: 0.16,
            group_by: None,
            train_per_class: None,
            seed: 42,
        }
    }
}

/// Why a plan cannot be carried out as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or a key nobody knows.
    #[error("the plan is not understood: {0}")]
    Syntax(String),
    /// No preset of that name.
    #[error("there is no preset {name:?}; there are {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A value outside what makes sense.
    #[error("the plan says {key} = {value}, which must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
}

/// (name, what it is for, plan).
fn presets() -> Vec<(&'static str, Plan)> {
    let cnn = |model: &str, size| Plan {
        model: model.to_owned(),
        size,
        ..Plan::default()
    };
    vec![
        ("cnn03", cnn("cnn03", 128)),
        ("cnn02", cnn("cnn02", 128)),
        ("cnn01", cnn("cnn01", 128)),
        (
            "baseline",
            Plan {
                balance: Balance::Undersample,
                batch: 8,
                monitor: Monitor::ValLoss,
                ..cnn("cnn01", 128)
            },
        ),
    ]
}

/// Names of the presets, the recommended one first.
#[must_use]
pub fn preset_names() -> Vec<&'static str> {
    presets().into_iter().map(|(name, _)| name).collect()
}

/// The preset of that name.
///
/// # Errors
/// [`PlanError::UnknownPreset`] with the names there are.
pub fn preset(name: &str) -> Result<Plan, PlanError> {
    presets()
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, plan)| plan)
        .ok_or_else(|| PlanError::UnknownPreset {
            name: name.to_owned(),
            known: preset_names().join(", "),
        })
}

impl Plan {
    /// Reads a plan; keys left out keep their defaults.
    ///
    /// # Errors
    /// [`PlanError`] for what is not TOML, not a key, or not a sensible value.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let plan: Self =
            toml::from_str(text).map_err(|e| PlanError::Syntax(e.to_string().trim().to_owned()))?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as TOML, every key written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is a flat table of numbers and words")
    }

    /// Whether every value makes sense on its own.
    ///
    /// # Errors
    /// [`PlanError::Value`] for the first that does not.
    pub fn check(&self) -> Result<(), PlanError> {
        let bad = |key, value: &dyn fmt::Display, expected| {
            Err(PlanError::Value {
                key,
                value: value.to_string(),
                expected,
            })
        };
        if !(32..=1024).contains(&self.size) {
            return bad("size", &self.size, "between 32 and 1024 pixels");
        }
        if self.epochs == 0 || self.epochs > 10_000 {
            return bad("epochs", &self.epochs, "between 1 and 10000");
        }
        if self.batch == 0 || self.batch > 4096 {
            return bad("batch", &self.batch, "between 1 and 4096 images");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return bad(
                "learning_rate",
                &self.learning_rate,
                "above 0 and at most 1",
            );
        }
        if self.patience == 0 {
            return bad("patience", &self.patience, "1 epoch or more");
        }
        if !(self.test_share > 0.0 && self.test_share < 1.0) {
            return bad("test_share", &self.test_share, "between 0 and 1");
        }
        if !(self.validation_share > 0.0 && self.validation_share + self.test_share < 1.0) {
            return bad(
                "validation_share",
                &self.validation_share,
                "above 0, and below 1 together with test_share",
            );
        }
        if self.train_per_class == Some(0) {
            return bad("train_per_class", &0, "1 image or more");
        }
        Ok(())
    }

    /// The plan in words, for people who are about to start it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let balance = match self.balance {
            Balance::None => "all training images, unweighted",
            Balance::Undersample => "every class cut to the size of the smallest",
            Balance::Weights => "rare classes weighted up in the loss",
        };
        let monitor = match self.monitor {
            Monitor::ValLoss => "validation loss",
            Monitor::ValMacroF1 => "validation macro-F1",
        };
        let group = self.group_by.as_ref().map_or(String::new(), |column| {
            format!(" Images of one {column} stay together in one split.")
        });
        format!(
            "Train {} on whole frames at {} px with {balance}: Adam at {}, {} images a step, at most {} epochs. \
             Stop when {monitor} has not improved for {} epochs and keep the best. \
             Split {:.0} / {:.0} / {:.0} by seed {}.{group} The test split is read once, at the end.",
            self.model,
            self.size,
            self.learning_rate,
            self.batch,
            self.epochs,
            self.patience,
            (1.0 - self.test_share - self.validation_share) * 100.0,
            self.validation_share * 100.0,
            self.test_share * 100.0,
            self.seed,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_survives_a_round_trip() {
        for name in preset_names() {
            let plan = preset(name).expect("a preset");
            assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan), "{name}");
        }
        let error = preset("resnet").expect_err("unknown").to_string();
        assert!(error.contains("cnn03"), "{error}");
    }

    #[test]
    fn mistakes_in_a_plan_are_named() {
        for (text, word) in [
            ("modle = \"cnn01\"", "modle"),
            ("epochs = 0", "epochs"),
            ("learning_rate = -1.0", "learning_rate"),
            ("learning_rate = nan", "learning_rate"),
            (
                "test_share = 0.9\nvalidation_share = 0.2",
                "validation_share",
            ),
            ("balance = \"smote\"", "smote"),
            ("size = ", "size"),
        ] {
            let error = Plan::from_toml(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
