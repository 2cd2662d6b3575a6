//! Local features: what a network sees at each place of an image.

use serde::{Deserialize, Serialize};

use super::DriftError;
use super::embedding::check_dim;

/// How the local features of one image are laid out: position after position (rows of the feature map from
/// the top), each with all its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalShape {
    /// Places in an image.
    pub positions: usize,
    /// Values at each.
    pub channels: usize,
}

impl LocalShape {
    /// Values of one image.
    #[must_use]
    pub fn values(self) -> usize {
        self.positions * self.channels
    }

    /// Refuses a shape that holds nothing.
    pub(super) fn check_not_empty(self) -> Result<(), DriftError> {
        if self.values() == 0 {
            return Err(DriftError::NoEmbeddings);
        }
        Ok(())
    }

    /// Refuses an image, number `row`, that does not fit or holds values that are no numbers.
    pub(super) fn check(self, image: &[f32], row: usize) -> Result<(), DriftError> {
        check_dim(self.values(), image.len())?;
        if image.iter().all(|v| v.is_finite()) {
            Ok(())
        } else {
            Err(DriftError::NonFinite { row })
        }
    }
}
