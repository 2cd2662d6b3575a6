//! What the store remembers: one record per decision.

use std::str::FromStr;

use jiff::{Timestamp, Unit};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::domain::Label;

/// How a decision came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A class key on one image.
    Key,
    /// The model's suggestion, accepted.
    Suggestion,
    /// One key for several images at once.
    Group,
    /// A CSV file.
    Import,
    /// A correction while looking at a model's mistakes.
    Review,
    /// A second look at an image, to measure the labeller.
    Repeat,
    /// Taken back.
    Undo,
    /// Taken back, then done again after all.
    Redo,
    /// Anything else, such as what a later version writes.
    Other,
}

impl Source {
    const WORDS: [(Self, &'static str); 9] = [
        (Self::Key, "key"),
        (Self::Suggestion, "suggestion"),
        (Self::Group, "group"),
        (Self::Import, "import"),
        (Self::Review, "review"),
        (Self::Repeat, "repeat"),
        (Self::Undo, "undo"),
        (Self::Redo, "redo"),
        (Self::Other, "other"),
    ];

    /// The word in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(source, _)| *source == self)
            .map_or("other", |(_, word)| word)
    }

    fn from_word(text: &str) -> Self {
        Self::WORDS
            .iter()
            .find(|(_, word)| *word == text)
            .map_or(Self::Other, |(source, _)| *source)
    }
}

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The image's label.
    Label,
    /// The image's flag.
    Flag,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Flag => "flag",
        }
    }
}

/// A label to give, or to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The image's key: its file name as in the manifest.
    pub image: String,
    /// The new label; `None` takes the label away.
    pub label: Option<Label>,
    /// How it came about.
    pub source: Source,
    /// The run whose prediction was at hand, if any.
    pub model_run: Option<String>,
    /// Whether the labeller saw that prediction: a label given blind measures the model, one given
    /// beside its suggestion does not.
    pub prediction_visible: bool,
}

/// One record of the log. Labels are words as in the user's files, since class sets change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3 …, without gaps.
    pub id: i64,
    /// When, to the millisecond.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// The image's key.
    pub image: String,
    /// Label or flag.
    pub kind: Kind,
    /// The word before; `None` for no label or no flag.
    pub old: Option<String>,
    /// The word afterwards.
    pub new: Option<String>,
    /// How it came about.
    pub source: Source,
    /// The run whose prediction was at hand.
    pub model_run: Option<String>,
    /// Whether the labeller saw that prediction.
    pub prediction_visible: bool,
    /// The events that were saved, and are undone, together: the id of the first of them.
    pub batch: i64,
    /// The batch that this event takes back.
    pub undo_of: Option<i64>,
    /// The batch that this event does again.
    pub redo_of: Option<i64>,
}

impl Event {
    /// The columns that [`Self::read`] expects, in its order.
    pub(super) const COLUMNS: &str = "id, at, who, image, kind, old, new, source, model_run, \
        prediction_visible, batch, undo_of, redo_of";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let at: String = row.get(1)?;
        let at = Timestamp::from_str(&at).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error))
        })?;
        let kind = match row.get_ref(4)?.as_str()? {
            "flag" => Kind::Flag,
            _ => Kind::Label,
        };
        Ok(Self {
            id: row.get(0)?,
            at,
            who: row.get(2)?,
            image: row.get(3)?,
            kind,
            old: row.get(5)?,
            new: row.get(6)?,
            source: Source::from_word(row.get_ref(7)?.as_str()?),
            model_run: row.get(8)?,
            prediction_visible: row.get(9)?,
            batch: row.get(10)?,
            undo_of: row.get(11)?,
            redo_of: row.get(12)?,
        })
    }
}

/// Now, as precise as the file keeps it.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
