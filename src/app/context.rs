//! What every view is given: shared references to look at, and a sender of commands.

use super::command::{Availability, CommandSender};
use super::duplicates::Offer;
use super::keymap::Keymap;
use super::predictions::Predictions;
use super::session::Session;
use super::textures::Textures;
use super::theme::Palette;
use crate::domain::ImageId;
use crate::workflows::{ImageGroups, ImageScore};

/// Everything a view may look at. A view changes nothing but its own state; what is to be done, it
/// sends as a [`Command`](super::command::Command).
#[derive(Clone, Copy)]
pub struct ViewContext<'a> {
    /// The theme's colours.
    pub palette: &'a Palette,
    /// Where commands go.
    pub commands: &'a CommandSender,
    /// Which key does what, for hints.
    pub keys: &'a Keymap,
    /// What can be done now.
    pub now: &'a Availability,
    /// The open data set with its labels. Views other than the start screen are only shown with one.
    pub session: &'a Session,
    /// What the model in use says of each image.
    pub predictions: &'a Predictions,
    /// Thumbnails and large images on the graphics card.
    pub textures: &'a Textures,
    /// The image that the inspector shows.
    pub inspected: Option<ImageId>,
    /// The images most like it with their distance, the nearest first; none without a drift model.
    pub neighbours: &'a [(ImageId, f32)],
    /// What each score of drift says of it; none without a drift model.
    pub scores: &'a [ImageScore],
    /// Near-duplicates; none without a drift model.
    pub groups: &'a ImageGroups,
    /// What one key can do for them.
    pub offer: Option<&'a Offer>,
    /// Whether the model's suggestion is shown while labelling.
    pub suggestion: bool,
    /// Labels already given are hidden while labelling: blind repeats.
    pub blind: bool,
}
