//! What to train and how: a readable TOML, one row of the study's table or the user's own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Precision;
use crate::imaging::{Augmentation, Framing};
use crate::models::Preprocessing;

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

/// What training lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy.
    CrossEntropy,
    /// Focal loss: cross-entropy that fades for images already answered well (Lin et al. 2017, eq. 4).
    Focal,
}

/// How the learning rate moves within a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine down to 0 at the phase's last step (Loshchilov & Hutter 2017, eq. 5).
    Cosine,
}

/// In what numbers the images of the training split are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Each once an epoch, in a new order.
    Uniform,
    /// First a class, each alike, then one of its images: as many draws an epoch as there are images.
    ClassBalanced,
}

/// A stretch of the training in which one part of the network learns. What it leaves out it takes from
/// the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name of the part that learns: `head`, `last_30`, `last_100`, `all`.
    pub trainable: String,
    /// Adam's learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Epochs at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Epochs without improvement before the phase ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// What early stopping watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
    /// In what numbers images are drawn; uniform if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// Whether the last layer is drawn anew first. With `trainable = "head"` and the class-balanced
    /// sampler this is classifier re-training, cRT (Kang et al. 2020).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset_head: bool,
}

impl Phase {
    /// A phase that trains the part `trainable` as the plan says.
    #[must_use]
    pub fn of(trainable: &str) -> Self {
        Self {
            trainable: trainable.to_owned(),
            learning_rate: None,
            epochs: None,
            patience: None,
            monitor: None,
            sampler: None,
            reset_head: false,
        }
    }
}

/// A [`Phase`] with nothing left out.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedPhase {
    /// Name of the part that learns.
    pub trainable: String,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without improvement before the phase ends.
    pub patience: usize,
    /// What early stopping watches.
    pub monitor: Monitor,
    /// In what numbers images are drawn.
    pub sampler: Sampler,
    /// Whether the last layer is drawn anew first.
    pub reset_head: bool,
}

/// Everything that decides what a training run does, apart from the images and their labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Name in the model registry.
    pub model: String,
    /// Side of the square input in pixels.
    pub size: u32,
    /// Which part of an image is seen.
    pub framing: Framing,
    /// Weights to start from: a safetensors file with published names, or the name of fetched ones. Drawn from
    /// the seed when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// What those weights expect of the pixels, where the file does not say: `scale01`, `minus1_1`, `imagenet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
    /// Epochs at most, of each phase.
    pub epochs: usize,
    /// Images in one step.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// How it moves within a phase.
    pub schedule: Schedule,
    /// Epochs at the start of each phase in which the rate rises linearly from 0.
    pub warmup_epochs: f64,
    /// Largest norm of all gradients together; longer ones are scaled down. 0: no limit.
    pub gradient_clip: f64,
    /// Weight of the past in the exponential moving average of the weights, which is then what is measured
    /// and kept (Polyak & Juditsky 1992). 0: none.
    pub ema_decay: f64,
    /// How the imbalance is met.
    pub balance: Balance,
    /// What training lowers.
    pub loss: Loss,
    /// Exponent of the focal loss; the paper's choice is 2.
    pub focal_gamma: f64,
    /// Share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
    pub label_smoothing: f64,
    /// Times the log prior of each class that is added to its logit while training, which lifts rare
    /// classes (Menon et al. 2021, eq. 10). 0: none; 1 is also known as balanced softmax.
    pub logit_adjustment: f64,
    /// What early stopping watches.
    pub monitor: Monitor,
    /// Epochs without improvement before training stops.
    pub patience: usize,
    /// Share of the labelled images in the test split.
    pub test_share: f64,
    /// Share of the labelled images in the validation split.
    pub validation_share: f64,
    /// Column whose groups are never split, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Training images of each class at most; the rest of the training split is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_per_class: Option<usize>,
    /// Seeds split, weights and batches.
    pub seed: u64,
    /// In what numbers the layers compute while they learn; bf16 is taken even where it is emulated. Weights,
    /// losses and what is remembered of gradients are fp32 always.
    pub precision: Precision,
    /// Whether what enters the first layer that learns is computed once and kept, where there is room.
    pub cache_activations: bool,
    /// How many changed variants of a training image are kept that way, where images are augmented; the
    /// epochs take turns with them.
    pub cached_variants: u32,
    /// Random changes of the images that are learned from; never of any other.
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augmentation: Augmentation,
    /// Phases one after another; without any, the whole network is trained.
    pub phases: Vec<Phase>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            model: "cnn03".to_owned(),
            size: 128,
            framing: Framing::Whole,
            weights: None,
            preprocessing: None,
            epochs: 100,
            batch: 32,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            warmup_epochs: 0.0,
            gradient_clip: 0.0,
            ema_decay: 0.0,
            balance: Balance::None,
            loss: Loss::CrossEntropy,
            focal_gamma: 2.0,
            label_smoothing: 0.0,
            logit_adjustment: 0.0,
            monitor: Monitor::ValMacroF1,
            patience: 7,
            test_share: 0.2,
            validation_share: 0.16,
            group_by: None,
            train_per_class: None,
            seed: 42,
            precision: Precision::Auto,
            cache_activations: true,
            cached_variants: 4,
            augmentation: Augmentation::default(),
            phases: Vec::new(),
        }
    }
}

/// Why a plan cannot be carried out as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or a key nobody knows.
    #[error("the plan is not understood: {0}")]
    Syntax(String),
    /// A model that does not exist, or that cannot work as the plan wants it.
    #[error("{0}")]
    Model(String),
    /// No preset of that name.
    #[error("there is no preset {name:?}; there are {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A value outside what makes sense.
    #[error("the plan says {key} = {value}{}, which must be {expected}", in_phase(*.phase))]
    Value {
        /// The phase that says it, counted from 1; none where it stands before the phases.
        phase: Option<usize>,
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
}

/// The preset to begin with, which is none of the study's rows.
const QUICK: &str = "quick";

/// Name and TOML of each preset, the recommended one first; then the study's rows, by the study's names.
const PRESETS: [(&str, &str); 9] = [
    (QUICK, include_str!("presets/quick.toml")),
    ("cnn03", include_str!("presets/cnn03.toml")),
    ("cnn02", include_str!("presets/cnn02.toml")),
    ("cnn01", include_str!("presets/cnn01.toml")),
    ("baseline", include_str!("presets/baseline.toml")),
    (
        "inception_feature",
        include_str!("presets/inception_feature.toml"),
    ),
    (
        "inception_three_phase",
        include_str!("presets/inception_three_phase.toml"),
    ),
    (
        "efficientnet_multi",
        include_str!("presets/efficientnet_multi.toml"),
    ),
    ("vit_head", include_str!("presets/vit_head.toml")),
];

/// Names of the presets, the recommended one first.
#[must_use]
pub fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

/// Names of the presets that are the rows of the study's table.
#[must_use]
pub fn study_names() -> Vec<&'static str> {
    let mut names = preset_names();
    names.retain(|name| *name != QUICK);
    names
}

/// The preset of that name.
///
/// # Errors
/// [`PlanError::UnknownPreset`] with the names there are.
pub fn preset(name: &str) -> Result<Plan, PlanError> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| PlanError::UnknownPreset {
        name: name.to_owned(),
        known: preset_names().join(", "),
    })?;
    Plan::from_toml(text)
}

/// A plan for a model that was asked for without a preset. With pretrained weights, the model's last preset,
/// the most thorough; without, the whole network is trained at the preset's size, because frozen layers of
/// random weights teach nothing.
#[must_use]
pub fn preset_for(model: &str, pretrained: bool) -> Plan {
    let presets = PRESETS.iter().filter_map(|(name, _)| preset(name).ok());
    let mut found = presets.filter(|plan| plan.model == model && plan.balance == Balance::None);
    match found.next_back() {
        Some(plan) if pretrained => plan,
        Some(plan) => Plan {
            phases: Vec::new(),
            ..plan
        },
        None => Plan {
            model: model.to_owned(),
            ..Plan::default()
        },
    }
}

impl Plan {
    /// Reads a plan; keys left out keep their defaults.
    ///
    /// # Errors
    /// [`PlanError`] for what is not TOML, not a key, or not a sensible value.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|e| {
            let before = e
                .span()
                .map_or("", |span| &text[..span.start.min(text.len())]);
            let line = before.matches('\n').count() + 1;
            let mut what = e.message().trim().to_owned();
            // The keys there are would fill a screen.
            if let Some((unknown, _)) = what.split_once(", expected one of")
                && unknown.starts_with("unknown field")
            {
                what = format!("{unknown}; docs/formats/plan.md lists the keys");
            }
            PlanError::Syntax(format!("line {line}: {what}"))
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as TOML, every key written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is a table of numbers, words and phases")
    }

    /// The phases in order, nothing left out; one that trains everything where the plan has none.
    #[must_use]
    pub fn resolved_phases(&self) -> Vec<ResolvedPhase> {
        let whole = [Phase::of("all")];
        let phases = if self.phases.is_empty() {
            &whole[..]
        } else {
            &self.phases
        };
        let resolve = |phase: &Phase| ResolvedPhase {
            trainable: phase.trainable.clone(),
            learning_rate: phase.learning_rate.unwrap_or(self.learning_rate),
            epochs: phase.epochs.unwrap_or(self.epochs),
            patience: phase.patience.unwrap_or(self.patience),
            monitor: phase.monitor.unwrap_or(self.monitor),
            sampler: phase.sampler.unwrap_or(Sampler::Uniform),
            reset_head: phase.reset_head,
        };
        phases.iter().map(resolve).collect()
    }

    /// Epochs at most, all phases together.
    #[must_use]
    pub fn most_epochs(&self) -> usize {
        self.resolved_phases().iter().map(|p| p.epochs).sum()
    }

    /// Whether every value makes sense on its own.
    ///
    /// # Errors
    /// [`PlanError::Value`] for the first that does not.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(32..=1024).contains(&self.size) {
            return bad("size", &self.size, "between 32 and 1024 pixels");
        }
        let model = |e: crate::models::ModelError| PlanError::Model(e.to_string());
        let spec = crate::models::ModelSpec::find(&self.model).map_err(model)?;
        spec.check_size(self.size).map_err(model)?;
        for phase in &self.phases {
            spec.trainable_set(&phase.trainable).map_err(model)?;
        }
        if self.batch == 0 || self.batch > 4096 {
            return bad("batch", &self.batch, "between 1 and 4096 images");
        }
        // A phase may say all of these otherwise, and the plan's own values still have to make sense.
        let own = ResolvedPhase {
            trainable: "all".to_owned(),
            learning_rate: self.learning_rate,
            epochs: self.epochs,
            patience: self.patience,
            monitor: self.monitor,
            sampler: Sampler::Uniform,
            reset_head: false,
        };
        own.check()?;
        for (at, resolved) in self.resolved_phases().iter().enumerate() {
            resolved.check().map_err(|error| match error {
                PlanError::Value {
                    key,
                    value,
                    expected,
                    ..
                } => PlanError::Value {
                    phase: (!self.phases.is_empty()).then_some(at + 1),
                    key,
                    value,
                    expected,
                },
                other => other,
            })?;
        }
        let shares = [
            ("ema_decay", self.ema_decay),
            ("label_smoothing", self.label_smoothing),
        ];
        for (key, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return bad(key, &value, "0 or more and below 1");
            }
        }
        let amounts = [
            ("warmup_epochs", self.warmup_epochs),
            ("gradient_clip", self.gradient_clip),
            ("focal_gamma", self.focal_gamma),
            ("logit_adjustment", self.logit_adjustment),
        ];
        for (key, value) in amounts {
            if !(0.0..=1000.0).contains(&value) {
                return bad(key, &value, "between 0 and 1000");
            }
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
        if !(1..=64).contains(&self.cached_variants) {
            return bad("cached_variants", &self.cached_variants, "between 1 and 64");
        }
        if let Err(error) = self.augmentation.check() {
            return bad(error.key, &error.value, error.expected);
        }
        if self.train_per_class == Some(0) {
            return bad("train_per_class", &0, "1 image or more");
        }
        Ok(())
    }

    /// That layers stay as they were drawn, which no training makes up for; none where weights are given or every
    /// layer learns at some time.
    #[must_use]
    pub fn frozen_at_random(&self) -> Option<&'static str> {
        let whole = self.resolved_phases().iter().any(|p| p.trainable == "all");
        (self.weights.is_none() && !whole).then_some(
            "the layers that never learn hold random numbers: start from pretrained weights",
        )
    }

    /// The plan in words, for people who are about to start it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let balance = match self.balance {
            Balance::None => "all training images, unweighted",
            Balance::Undersample => "every class cut to the size of the smallest",
            Balance::Weights => "rare classes weighted up in the loss",
        };
        let start = self
            .weights
            .as_ref()
            .map_or(String::new(), |file| format!(", starting from {file}"));
        let phases = self.resolved_phases();
        let many = phases.len() > 1;
        let phases: Vec<String> = phases
            .iter()
            .enumerate()
            .map(|(at, phase)| {
                let words = phase.in_words();
                if many {
                    format!("Phase {}: {words}", at + 1)
                } else {
                    format!("It trains {words}")
                }
            })
            .collect();
        let group = self.group_by.as_ref().map_or(String::new(), |column| {
            format!(" Images of one {column} stay together in one split.")
        });
        format!(
            "{} on {} at {} px with {balance}{start}, {} images a step{}. {} \
             Split {:.0} / {:.0} / {:.0} by seed {}.{group} The test split is read once, at the end.",
            self.model,
            match self.framing {
                Framing::Whole => "whole frames",
                Framing::DieCrop => "die crops",
                Framing::StripTile(_) => "tiles of the strip",
            },
            self.size,
            self.batch,
            self.methods_in_words(),
            phases.join(" "),
            (1.0 - self.test_share - self.validation_share) * 100.0,
            self.validation_share * 100.0,
            self.test_share * 100.0,
            self.seed,
        )
    }

    /// What is out of the ordinary, each with a comma before it.
    fn methods_in_words(&self) -> String {
        let mut words = String::new();
        let changes = &self.augmentation;
        if !changes.is_none() {
            let parts = [
                (
                    changes.rotation_deg,
                    "rotation",
                    degrees(changes.rotation_deg),
                ),
                (changes.shear_deg, "shear", degrees(changes.shear_deg)),
                (changes.zoom * 100.0, "zoom", " %"),
                (changes.shift * 100.0, "shift", " %"),
                (changes.brightness * 100.0, "brightness", " %"),
            ];
            let mut parts: Vec<String> = (parts.iter().filter(|(value, ..)| *value > 0.0))
                .map(|(value, name, unit)| format!("{name} {value:.0}{unit}"))
                .collect();
            let flips = [
                (changes.flip_horizontal, "flips left to right"),
                (changes.flip_vertical, "flips top to bottom"),
            ];
            parts.extend(flips.iter().filter(|f| f.0).map(|f| f.1.to_owned()));
            words += &format!(", training images changed at random ({})", parts.join(", "));
        }
        if self.loss == Loss::Focal {
            words += &format!(", focal loss with gamma {}", self.focal_gamma);
        }
        if self.label_smoothing > 0.0 {
            words += &format!(", labels smoothed by {}", self.label_smoothing);
        }
        if self.logit_adjustment > 0.0 {
            words += &format!(", logits adjusted by {} x log prior", self.logit_adjustment);
        }
        if self.schedule == Schedule::Cosine {
            words += ", the rate falling along a cosine";
        }
        if self.warmup_epochs > 0.0 {
            let plural = if self.warmup_epochs == 1.0 { "" } else { "s" };
            words += &format!(" after {} epoch{plural} of warm-up", self.warmup_epochs);
        }
        if self.gradient_clip > 0.0 {
            words += &format!(", gradients clipped at norm {}", self.gradient_clip);
        }
        if self.ema_decay > 0.0 {
            words += &format!(", weights averaged with decay {}", self.ema_decay);
        }
        words
    }
}

impl ResolvedPhase {
    fn check(&self) -> Result<(), PlanError> {
        if self.epochs == 0 || self.epochs > 10_000 {
            return bad("epochs", &self.epochs, "between 1 and 10000");
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
        Ok(())
    }

    /// What it does, as a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let part = match self.trainable.as_str() {
            "all" => "the whole network".to_owned(),
            "head" => "only the last layer".to_owned(),
            name => match name.split_once('_') {
                Some(("last", layers)) => format!("the last {layers} layers"),
                _ => name.to_owned(),
            },
        };
        let fresh = if self.reset_head { " drawn anew" } else { "" };
        let drawn = match self.sampler {
            Sampler::Uniform => "",
            Sampler::ClassBalanced => ", every class drawn alike",
        };
        let monitor = match self.monitor {
            Monitor::ValLoss => "validation loss",
            Monitor::ValMacroF1 => "validation macro-F1",
        };
        format!(
            "{part}{fresh} with Adam at {}{drawn}, at most {}, until {monitor} has not improved for {}; the best is kept.",
            self.learning_rate,
            epochs(self.epochs),
            epochs(self.patience)
        )
    }
}

/// `1 epoch`, `30 epochs`.
fn epochs(n: usize) -> String {
    format!("{n} epoch{}", if n == 1 { "" } else { "s" })
}

fn degrees(angle: f32) -> &'static str {
    if angle.round() == 1.0 {
        " degree"
    } else {
        " degrees"
    }
}

fn in_phase(phase: Option<usize>) -> String {
    phase.map_or_else(String::new, |phase| format!(" in phase {phase}"))
}

fn bad(
    key: &'static str,
    value: &dyn fmt::Display,
    expected: &'static str,
) -> Result<(), PlanError> {
    Err(PlanError::Value {
        phase: None,
        key,
        value: value.to_string(),
        expected,
    })
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
    fn a_plan_says_before_it_starts_that_layers_would_stay_random() {
        let warned = |name| preset(name).expect("a preset").frozen_at_random().is_some();
        let names: Vec<&str> = preset_names().into_iter().filter(|n| warned(n)).collect();
        let frozen = [
            "inception_feature",
            "inception_three_phase",
            "efficientnet_multi",
            "vit_head",
        ];
        assert_eq!(names, frozen);
        let pretrained = Plan {
            weights: Some("inception_v3".to_owned()),
            ..preset("inception_feature").expect("a preset")
        };
        assert_eq!(pretrained.frozen_at_random(), None);
        let last = Plan {
            phases: vec![Phase::of("head"), Phase::of("all")],
            ..preset("inception_feature").expect("a preset")
        };
        assert_eq!(last.frozen_at_random(), None);
    }

    #[test]
    fn the_studys_rows_have_the_studys_networks() {
        assert_eq!(preset_names()[0], "quick");
        let rows = study_names();
        assert_eq!(rows.len(), preset_names().len() - 1);
        for (name, parameters) in [
            ("cnn01", 89_719_878),
            ("cnn02", 43_674_886),
            ("cnn03", 20_171_846),
        ] {
            assert!(rows.contains(&name));
            let plan = preset(name).expect("a preset");
            let spec = crate::models::ModelSpec::find(&plan.model).expect("a model");
            assert_eq!(spec.parameters(plan.size, 6).expect("read"), parameters);
        }
    }

    #[test]
    fn every_preset_names_parts_that_its_model_has() {
        for name in preset_names() {
            let plan = preset(name).expect("a preset");
            let spec = crate::models::ModelSpec::find(&plan.model).expect("a model");
            spec.check_size(plan.size).expect("a size it can read");
            for phase in plan.resolved_phases() {
                spec.trainable_set(&phase.trainable).expect("a part");
            }
        }
    }

    #[test]
    fn a_phase_takes_from_the_plan_what_it_leaves_out() {
        let plan = Plan::from_toml(
            "epochs = 9\nlearning_rate = 0.5\n[[phases]]\ntrainable = \"head\"\nepochs = 2\n[[phases]]\ntrainable = \"all\"\nreset_head = true",
        )
        .expect("a plan");
        let phases = plan.resolved_phases();
        assert_eq!((phases[0].epochs, phases[0].learning_rate), (2, 0.5));
        assert_eq!((phases[1].epochs, phases[1].reset_head), (9, true));
        assert_eq!(plan.most_epochs(), 11);
        let words = plan.in_words();
        assert!(words.contains("Phase 1: only the last layer"), "{words}");
        assert!(words.contains("at most 2 epochs"), "{words}");
        let short = Plan {
            epochs: 1,
            patience: 1,
            ..Plan::default()
        };
        let words = short.in_words();
        assert!(words.contains("at most 1 epoch, until"), "{words}");
        assert!(words.contains("improved for 1 epoch;"), "{words}");
        let whole = Plan::default().resolved_phases();
        assert_eq!((whole.len(), whole[0].trainable.as_str()), (1, "all"));
    }

    #[test]
    fn changes_of_training_images_survive_a_round_trip_and_are_said() {
        let plan = Plan {
            augmentation: Augmentation::study(),
            framing: Framing::DieCrop,
            phases: vec![Phase::of("head")],
            ..Plan::default()
        };
        assert_eq!(Plan::from_toml(&plan.to_toml()), Ok(plan.clone()));
        let words = plan.in_words();
        assert!(words.contains("die crops"), "{words}");
        assert!(
            words.contains("rotation 15 degrees, shear 1 degree, zoom 7 %"),
            "{words}"
        );
    }

    /// The keys that `table` may have, from the complaint about one that it may not.
    fn keys<T: serde::de::DeserializeOwned>(table: &str) -> Vec<String> {
        let unknown = toml::from_str::<T>(table).err().expect("no such key");
        let (_, keys) = (unknown.message())
            .split_once("expected one of ")
            .expect("the keys there are");
        let quoted = keys.split(", ").map(|key| key.trim_matches('`').to_owned());
        quoted.collect()
    }

    #[test]
    fn the_documentation_has_every_key_with_its_default_and_every_preset() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats/plan.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let (plan, rest) = page.split_once("\n## A phase").expect("three parts");
        let (phase, rest) = rest.split_once("\n## Random changes").expect("three parts");
        let (changes, presets) = rest.split_once("\n## Presets").expect("presets");
        // The cells of the row that begins with this word.
        let row = |part: &str, word: &str| -> Vec<String> {
            let start = format!("| `{word}` |");
            let row = part.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("{word} is not in docs/formats/plan.md"));
            row.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let defaults: toml::Table = toml::from_str(&Plan::default().to_toml()).expect("a table");
        let all = keys::<Plan>("nonsense = 1");
        assert!(all.len() > 20, "{all:?}");
        for key in all {
            let said = row(plan, &key)[3].replace('`', "");
            let default = match (key.as_str(), defaults.get(&key)) {
                ("augmentation", None) => "none".to_owned(),
                (_, None) => "left out".to_owned(),
                (_, Some(value)) => value.to_string(),
            };
            assert_eq!(said, default, "{key}");
        }
        for key in keys::<Phase>("nonsense = 1") {
            row(phase, &key);
        }
        for key in keys::<Augmentation>("nonsense = 1") {
            row(changes, &key);
        }
        for name in preset_names() {
            let plan = preset(name).expect("a preset");
            let cells = row(presets, name);
            let network = format!("`{}`, {} px", plan.model, plan.size);
            assert!(cells[2].starts_with(&network), "{name}: {cells:?}");
            for phase in &plan.phases {
                assert!(
                    cells[3].contains(&format!("`{}`", phase.trainable)),
                    "{name}"
                );
            }
        }
        let example: Vec<&str> = (plan.lines())
            .filter_map(|line| line.strip_prefix("    "))
            .collect();
        let example = Plan::from_toml(&example.join("\n")).expect("a plan");
        assert_eq!((example.phases.len(), example.size), (2, 299));
    }

    #[test]
    fn mistakes_in_a_plan_are_named() {
        for (text, word) in [
            ("modle = \"cnn01\"", "modle"),
            ("modle = \"cnn01\"", "docs/formats/plan.md"),
            ("epochs = 0", "epochs"),
            ("learning_rate = -1.0", "learning_rate"),
            ("learning_rate = nan", "learning_rate"),
            (
                "test_share = 0.9\nvalidation_share = 0.2",
                "validation_share",
            ),
            ("balance = \"smote\"", "smote"),
            ("balance = \"smote\"", "undersample"),
            ("size = ", "line 1"),
            ("model = \"cnn3\"", "cnn03"),
            (
                "[[phases]]\ntrainable = \"last_30\"",
                "cnn03 has no trainable part",
            ),
            ("model = \"vit_s14\"\nsize = 100", "100 px"),
            ("label_smoothing = 1.0", "label_smoothing"),
            ("[augmentation]\nzoom = 1.5", "zoom"),
            ("[augmentation]\nflip = true", "flip"),
            ("framing = \"middle\"", "middle"),
            ("gradient_clip = -1.0", "gradient_clip"),
            ("[[phases]]\ntrainable = \"head\"\nepochs = 0", "epochs"),
            ("[[phases]]\nepochs = 3", "trainable"),
        ] {
            let error = Plan::from_toml(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
