//! The present, derived from the log: who has which label, and what can be undone.

use std::collections::HashMap;

use jiff::Timestamp;

use super::event::{Event, Kind, Source};
use super::words;
use crate::domain::{ClassSet, Label};

/// What is known of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The label; `None` for no label, or one that the class set does not know.
    pub label: Option<Label>,
    /// The label's word as stored.
    pub word: Option<String>,
    /// Whether anybody ever labelled the image, even if the label was taken away since.
    pub decided: bool,
    /// Whether the image is flagged.
    pub flagged: bool,
    /// Who last changed the label, or the flag of an image never labelled.
    pub who: String,
    /// When that was.
    pub at: Timestamp,
    /// How it came about.
    pub source: Source,
    /// The run whose prediction was at hand then.
    pub model_run: Option<String>,
    /// Whether the labeller saw that prediction.
    pub prediction_visible: bool,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct State {
    pub current: HashMap<String, Current>,
    /// Batches that can be undone, the latest last.
    pub undo: Vec<i64>,
    /// Batches that can be redone, the latest last.
    pub redo: Vec<i64>,
    /// The id of the last event.
    pub last: i64,
}

impl State {
    /// Takes in the next event of the log.
    pub fn replay(&mut self, event: Event, classes: &ClassSet) {
        self.last = event.id;
        if event.id == event.batch {
            self.step(&event);
        }
        let decided = event.kind == Kind::Label;
        let current = self
            .current
            .entry(event.image)
            .or_insert_with(|| Current::untouched(event.at));
        if decided {
            current.label = event
                .new
                .as_deref()
                .and_then(|word| words::from_word(word, classes));
            current.word = event.new;
            current.decided = true;
        } else {
            current.flagged = event.new.is_some();
        }
        if decided || !current.decided {
            current.who = event.who;
            current.at = event.at;
            current.source = event.source;
            current.model_run = event.model_run;
            current.prediction_visible = event.prediction_visible;
        }
    }

    /// Moves whole batches between undo and redo.
    fn step(&mut self, event: &Event) {
        let batch = event.undo_of.or(event.redo_of).unwrap_or(event.batch);
        if event.undo_of.is_some() {
            self.undo.retain(|b| *b != batch);
            self.redo.push(batch);
        } else {
            if event.redo_of.is_some() {
                self.redo.retain(|b| *b != batch);
            } else {
                self.redo.clear();
            }
            self.undo.push(batch);
        }
    }

    /// The word now stored for the image.
    pub fn word(&self, image: &str, kind: Kind) -> Option<&str> {
        let current = self.current.get(image)?;
        match kind {
            Kind::Label => current.word.as_deref(),
            Kind::Flag => current.flagged.then_some(FLAG),
        }
    }
}

/// What a flag event has in `new` where the image is flagged afterwards.
pub(super) const FLAG: &str = "flag";

impl Current {
    fn untouched(at: Timestamp) -> Self {
        Self {
            label: None,
            word: None,
            decided: false,
            flagged: false,
            who: String::new(),
            at,
            source: Source::Other,
            model_run: None,
            prediction_visible: false,
        }
    }
}
