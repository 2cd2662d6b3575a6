//! What one key does for the near-duplicates of an image.

use super::inspector::middle;
use super::session::Session;
use super::state::words::count;
use crate::domain::{ImageId, Label};
use crate::workflows::ImageGroups;

/// The near-duplicates of a labelled image that have no label yet: the same key labels them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The labelled image.
    pub from: ImageId,
    /// Its label.
    pub label: Label,
    /// Its near-duplicates without a label.
    pub images: Vec<ImageId>,
    /// How many near-duplicates have another label, which they keep.
    pub kept: usize,
}

impl Offer {
    /// What can be done for the near-duplicates of `from`; none where it has no label, or they all have one.
    #[must_use]
    pub fn of(from: ImageId, session: &Session, groups: &ImageGroups) -> Option<Self> {
        let label = session.label(from)?;
        let (open, labelled): (Vec<ImageId>, Vec<ImageId>) = groups
            .others(from)
            .partition(|image| session.label(*image).is_none());
        let classes = session.classes();
        // A regular image of the data set's files has a class; to be called regular is no other label.
        let differs = |image: &&ImageId| {
            session.label(**image).is_some_and(|other| match label {
                Label::Regular => other.is_drift(classes),
                label => other != label,
            })
        };
        (!open.is_empty()).then(|| Self {
            from,
            label,
            images: open,
            kept: labelled.iter().filter(differs).count(),
        })
    }

    /// `Drift for 3 near-duplicates of 0012.png too; 1 keeps another label`.
    #[must_use]
    pub fn sentence(&self, session: &Session) -> String {
        let label = self.label.name(session.classes());
        let many = count(self.images.len() as u64, "near-duplicate");
        let key = &session.entry(self.from).key;
        let file = middle(key.rsplit('/').next().unwrap_or(key), 18);
        let kept = match self.kept {
            0 => String::new(),
            1 => "; 1 keeps another label".to_owned(),
            n => format!("; {n} keep other labels"),
        };
        format!("{label} for {many} of {file} too{kept}")
    }
}
