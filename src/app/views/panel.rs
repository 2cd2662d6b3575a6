//! What the Train, Review and Drift views are given.

use jiff::Zoned;

use crate::app::command::{Action, Availability, Command, CommandSender};
use crate::app::keymap::Keymap;
use crate::app::theme::Palette;
use crate::app::widgets::thumb_grid::Thumbs;
use crate::domain::{ClassSet, CostMatrix, ImageId, Label};
use crate::labels::Source;

/// What every panel may look at; all of it plain data.
#[derive(Clone, Copy)]
pub struct PanelContext<'a> {
    /// The theme's colours.
    pub palette: &'a Palette,
    /// Where commands go.
    pub commands: &'a CommandSender,
    /// Which key does what, for buttons.
    pub keys: &'a Keymap,
    /// What can be done now.
    pub available: &'a Availability,
    /// The classes of the data set.
    pub classes: &'a ClassSet,
    /// What mistakes cost.
    pub cost: &'a CostMatrix,
    /// Small pictures.
    pub thumbs: &'a dyn Thumbs,
    /// The time on the wall.
    pub now: &'a Zoned,
    /// The image that the inspector shows.
    pub inspected: Option<ImageId>,
}

impl PanelContext<'_> {
    /// Asks for something to be done.
    pub fn send(&self, command: impl Into<Command>) {
        self.commands.send(command);
    }

    /// Why an action cannot be done now.
    #[must_use]
    pub fn why_not(&self, action: Action) -> Option<String> {
        action.check(self.available).err()
    }

    /// `text` on a button that does what `action` does, its key before it where it has one.
    #[must_use]
    pub fn with_key(&self, action: Action, text: &str) -> String {
        match self.keys.text(action) {
            Some(key) => format!("{key}  {text}"),
            None => text.to_owned(),
        }
    }

    /// Gives images a label.
    pub fn label(&self, images: Vec<ImageId>, label: Label, source: Source) {
        self.send(Command::GiveLabel {
            images,
            label: Some(label),
            source,
        });
    }
}
