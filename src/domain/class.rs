//! Images, classes, labels and splits.

use serde::{Deserialize, Serialize};

/// Position of an image in the open manifest: `0..manifest.len()`. Valid while that manifest is open;
/// what is stored on disk is the image's file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub u32);

impl ImageId {
    /// The position as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<usize> for ImageId {
    /// # Panics
    /// Above 2^32 images, far beyond what a manifest accepts.
    fn from(index: usize) -> Self {
        Self(u32::try_from(index).expect("a manifest holds fewer than 2^32 images"))
    }
}

/// Position of a class in its [`ClassSet`]: `0..class_set.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId(pub u8);

impl ClassId {
    /// The position as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl From<usize> for ClassId {
    /// # Panics
    /// Above 255 classes, which [`ClassSet::from_labels`] never makes.
    fn from(index: usize) -> Self {
        Self(u8::try_from(index).expect("a class set holds at most 255 classes"))
    }
}

/// One class: how files spell it and how the screen does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassInfo {
    /// The word in the user's files, e.g. `Boucle plate`.
    pub label: String,
    /// The word on screen, e.g. `Flat loop`.
    pub name: String,
}

/// The classes of a data set: the regular ones that a network is trained on, then drift, always last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSet {
    classes: Vec<ClassInfo>,
}

/// A word that names no class of the set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown label {label:?}; this data set knows {known}")]
pub struct UnknownClass {
    /// The word found.
    pub label: String,
    /// The words that would have been understood, comma separated.
    pub known: String,
}

/// (label in the challenge's files, name on screen), in the order of their integers.
const CHALLENGE: [(&str, &str); 7] = [
    ("GOOD", "GOOD"),
    ("Boucle plate", "Flat loop"),
    ("Lift-off blanc", "White lift-off"),
    ("Lift-off noir", "Black lift-off"),
    ("Missing", "Missing"),
    ("Short circuit MOS", "Short circuit"),
    ("Drift", "Drift"),
];

impl ClassSet {
    /// The word under which drift is shown and stored where a data set does not name it itself.
    pub const DRIFT: &'static str = "Drift";

    /// The seven classes of Challenge Data #157 in the order of their integers: GOOD 0 … Drift 6.
    #[must_use]
    pub fn challenge() -> Self {
        let classes = CHALLENGE
            .iter()
            .map(|(label, name)| ClassInfo {
                label: (*label).to_owned(),
                name: (*name).to_owned(),
            })
            .collect();
        Self { classes }
    }

    /// A set of regular classes from the words that name them in the files (order kept, repeats
    /// dropped), with drift appended. A word that already means drift (`drift`, `6_Drift`, any case)
    /// becomes the drift class and keeps its spelling. At most 254 regular classes are kept.
    #[must_use]
    pub fn from_labels<S: AsRef<str>>(labels: impl IntoIterator<Item = S>) -> Self {
        let mut classes: Vec<ClassInfo> = Vec::new();
        let mut drift = Self::DRIFT.to_owned();
        for label in labels {
            let label = label.as_ref();
            if strip_number(label).eq_ignore_ascii_case(Self::DRIFT) {
                label.clone_into(&mut drift);
            } else if classes.len() < 254 && !classes.iter().any(|c| c.label == label) {
                let name = strip_number(label).replace('_', " ");
                classes.push(ClassInfo {
                    label: label.to_owned(),
                    name,
                });
            }
        }
        classes.push(ClassInfo {
            label: drift,
            name: Self::DRIFT.to_owned(),
        });
        Self { classes }
    }

    /// Whether these are the challenge's classes, for which its cost matrix and submission exist.
    #[must_use]
    pub fn is_challenge(&self) -> bool {
        *self == Self::challenge()
    }

    /// Number of classes, drift included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Never true: drift is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Number of regular classes: what a network is trained on.
    #[must_use]
    pub fn regular_len(&self) -> usize {
        self.classes.len() - 1
    }

    /// The drift class: the last one.
    #[must_use]
    pub fn drift(&self) -> ClassId {
        ClassId::from(self.regular_len())
    }

    /// All classes in order, drift last.
    pub fn iter(&self) -> impl Iterator<Item = (ClassId, &ClassInfo)> {
        self.classes
            .iter()
            .enumerate()
            .map(|(index, info)| (ClassId::from(index), info))
    }

    /// The name on screen; `?` for an id of another set.
    #[must_use]
    pub fn name(&self, class: ClassId) -> &str {
        self.classes
            .get(class.index())
            .map_or("?", |info| info.name.as_str())
    }

    /// The word in files; `?` for an id of another set.
    #[must_use]
    pub fn label(&self, class: ClassId) -> &str {
        self.classes
            .get(class.index())
            .map_or("?", |info| info.label.as_str())
    }

    /// Names on screen in order, drift last.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.name.clone()).collect()
    }

    /// Names on screen of the regular classes, in order.
    #[must_use]
    pub fn regular_names(&self) -> Vec<String> {
        let mut names = self.names();
        names.pop();
        names
    }

    /// Reads a label as people write it: the file's word, the name on screen, the challenge's English
    /// folder names (`5_Short circuit MOS`), or a class number (`4`, `4.0`); case and outer space do
    /// not matter.
    ///
    /// # Errors
    /// [`UnknownClass`] with the words that would have been understood.
    pub fn parse(&self, text: &str) -> Result<ClassId, UnknownClass> {
        let word = text.trim();
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        let found = self
            .iter()
            .find(|(_, c)| same(&c.label, word) || same(&c.name, word))
            .or_else(|| {
                let bare = strip_number(word);
                self.iter()
                    .find(|(_, c)| same(&c.label, bare) || same(&c.name, bare))
            })
            .map(|(id, _)| id);
        if let Some(id) = found {
            return Ok(id);
        }
        if let Ok(number) = word.parse::<f64>() {
            let whole = number.fract() == 0.0 && number >= 0.0;
            if whole && number < self.len() as f64 {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked to be a whole number below the number of classes"
                )]
                return Ok(ClassId::from(number as usize));
            }
        }
        let known = self
            .classes
            .iter()
            .map(|c| c.label.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        Err(UnknownClass {
            label: word.to_owned(),
            known,
        })
    }
}

/// `5_Short circuit MOS` -> `Short circuit MOS`; a name without a leading number is left alone.
fn strip_number(label: &str) -> &str {
    match label.split_once('_') {
        Some((number, rest))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => label,
    }
}

/// What a person, or a file, says an image shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Label {
    /// Exactly this class; the drift class included.
    Class(ClassId),
    /// Not drift, its class left open: what the drift mode's `0` / `P` says.
    Regular,
}

impl Label {
    /// The class, where the label names one.
    #[must_use]
    pub fn class(self) -> Option<ClassId> {
        match self {
            Self::Class(class) => Some(class),
            Self::Regular => None,
        }
    }

    /// Whether the label says drift.
    #[must_use]
    pub fn is_drift(self, classes: &ClassSet) -> bool {
        self == Self::Class(classes.drift())
    }

    /// The name on screen.
    #[must_use]
    pub fn name(self, classes: &ClassSet) -> &str {
        match self {
            Self::Class(class) => classes.name(class),
            Self::Regular => "Regular",
        }
    }
}

/// The part an image plays. Images whose file label names a regular class are split three ways;
/// the rest, on which the trained models are used, are [`Split::Incoming`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Gradients come from here.
    Train,
    /// Epochs, thresholds and temperatures are chosen here.
    Validation,
    /// Read once, for the report.
    Test,
    /// Images that came without labels: the challenge's test set, or a plain folder.
    Incoming,
}

impl Split {
    /// All four, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Test, Self::Incoming];

    /// The word on screen and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Incoming => "incoming",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_labels_are_read_in_every_spelling() {
        let set = ClassSet::challenge();
        for (text, id) in [
            ("GOOD", 0),
            (" good ", 0),
            ("Boucle plate", 1),
            ("Flat loop", 1),
            ("1_Flat loop", 1),
            ("Lift-off NOIR", 3),
            ("4", 4),
            ("4.0", 4),
            ("5_Short circuit MOS", 5),
            ("6_Drift", 6),
            ("drift", 6),
        ] {
            assert_eq!(set.parse(text), Ok(ClassId(id)), "{text}");
        }
        for text in ["", "n.a.", "7", "-1", "4.5", "nan", "Bouclé"] {
            assert!(set.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn drift_is_always_last_and_keeps_its_spelling() {
        let set = ClassSet::from_labels(["0_GOOD", "6_drift", "1_Flat loop"]);
        assert_eq!(set.names(), ["GOOD", "Flat loop", "Drift"]);
        assert_eq!(set.label(set.drift()), "6_drift");
        assert_eq!(set.regular_len(), 2);
        let plain = ClassSet::from_labels(["rolled-in_scale"]);
        assert_eq!(plain.names(), ["rolled-in scale", "Drift"]);
    }

    #[test]
    fn regular_is_not_drift() {
        let set = ClassSet::challenge();
        assert!(Label::Class(ClassId(6)).is_drift(&set));
        assert!(!Label::Regular.is_drift(&set));
        assert_eq!(Label::Regular.class(), None);
    }
}
