//! The label store: every decision durable before it counts.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, MAIN_DB, TransactionBehavior, params};

use super::error::LabelError;
use super::event::{self, Change, Event, Kind, Source};
use super::lock::{self, Lock};
use super::schema;
use super::state::{Current, FLAG, State};
use super::words;
use crate::domain::{ClassId, ClassSet, Label};

/// Whether labels can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    ReadWrite,
    /// No, only looked at.
    ReadOnly {
        /// Why, and what to do.
        reason: String,
    },
}

/// What [`Store::undo`] or [`Store::redo`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The images concerned, in the order in which they were labelled, each once.
    pub images: Vec<String>,
    /// Label or flag.
    pub kind: Kind,
    /// Who had made the decision.
    pub who: String,
    /// When it was made.
    pub at: Timestamp,
}

/// How many images carry which label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// One number per class of the class set, in its order.
    pub per_class: Vec<usize>,
    /// Images labelled as regular, class left open.
    pub regular: usize,
    /// Images whose label the class set does not know; see [`Store::unknown_labels`].
    pub unknown: usize,
    /// Flagged images, labelled or not.
    pub flagged: usize,
}

impl Counts {
    /// Images with a label, unknown ones included.
    #[must_use]
    pub fn labelled(&self) -> usize {
        self.per_class.iter().sum::<usize>() + self.regular + self.unknown
    }
}

/// How often the same answer came when an image was shown again, blind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Answers to images shown again; those taken back do not count.
    pub answers: u64,
    /// Of these, how many said the same as before. *Regular* and any class but drift say the same.
    pub same: u64,
    /// Keys of the images that they were given for, in order, each once.
    pub images: Vec<String>,
}

/// What the store can say of an image to a file that also has an opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: never labelled here, or with a word that the class set does not know.
    Untouched,
    /// Labelled once, and taken back.
    Cleared,
    /// This.
    Is(Label),
}

/// The labels of a data set: an append-only log in SQLite, and what follows from it in memory. What is
/// in memory is on disk, always; a change that fails changes neither.
pub struct Store {
    // Closed before the lock goes: fields drop in this order.
    conn: Connection,
    path: PathBuf,
    classes: ClassSet,
    who: String,
    access: Access,
    state: State,
    _lock: Option<File>,
}

impl Store {
    /// Opens `path`, normally `labels.sqlite` in the project folder, and creates it where it is
    /// missing. `who` signs the labels given from now on.
    ///
    /// Where another process has the store open, the place is write-protected, or the disk is full, it
    /// opens read-only;
    /// [`Self::access`] says so.
    ///
    /// # Errors
    /// A missing folder, a file that is something else, damaged, or of a newer format. Such a file is
    /// left as it is.
    pub fn open(path: &Path, classes: &ClassSet, who: &str) -> Result<Self, LabelError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(LabelError::NoFolder {
                path: folder.to_owned(),
            });
        }
        let (conn, access, lock) = match lock::acquire(&path.with_extension("lock"), who) {
            Lock::Held(file) => Self::open_held(path, file)?,
            Lock::Denied(reason) => {
                let conn = schema::open_readable(path)?;
                (conn, Access::ReadOnly { reason }, None)
            }
        };
        let mut store = Self {
            conn,
            path: path.to_owned(),
            classes: classes.clone(),
            who: who.to_owned(),
            access,
            state: State::default(),
            _lock: lock,
        };
        store.refresh()?;
        Ok(store)
    }

    /// Opens the file whose lock is `held`; for reading only where it is write-protected, or where there
    /// are labels and no room for another.
    fn open_held(
        path: &Path,
        held: File,
    ) -> Result<(Connection, Access, Option<File>), LabelError> {
        let reason = match schema::open_writable(path) {
            Ok(conn) => {
                let protected = conn
                    .is_readonly(MAIN_DB)
                    .map_err(|error| LabelError::of(path, error))?;
                if !protected {
                    return Ok((conn, Access::ReadWrite, Some(held)));
                }
                "the file is write-protected: check the rights on it"
            }
            Err(LabelError::DiskFull { .. }) if path.is_file() => {
                "the disk is full: free some space, then reopen the project"
            }
            Err(error) => return Err(error),
        };
        let reason = reason.to_owned();
        Ok((
            schema::open_readable(path)?,
            Access::ReadOnly { reason },
            None,
        ))
    }

    /// Whether labels can be given, and if not, why.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes in what another process has written since; true if that was anything. Only a read-only
    /// store ever has something to take in.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refresh(&mut self) -> Result<bool, LabelError> {
        let last = self.state.last;
        let sql = format!(
            "SELECT {} FROM label_event WHERE id > ?1 ORDER BY id",
            Event::COLUMNS
        );
        let events = query(&self.conn, &sql, [last]).map_err(|error| self.error(error))?;
        let any = !events.is_empty();
        for event in events {
            self.state.replay(event, &self.classes);
        }
        Ok(any)
    }

    /// The image's label; `None` for none, or one that the class set does not know.
    #[must_use]
    pub fn label_of(&self, image: &str) -> Option<Label> {
        self.get(image)?.label
    }

    /// Whether the image is flagged.
    #[must_use]
    pub fn flagged(&self, image: &str) -> bool {
        self.get(image).is_some_and(|current| current.flagged)
    }

    /// All that is known of an image; `None` if it was never labelled or flagged.
    #[must_use]
    pub fn get(&self, image: &str) -> Option<&Current> {
        self.state.current.get(image)
    }

    /// What to tell a file that has labels of its own.
    #[must_use]
    pub fn decision(&self, image: &str) -> Decision {
        match self.get(image) {
            Some(Current {
                label: Some(label), ..
            }) => Decision::Is(*label),
            Some(Current {
                decided: true,
                word: None,
                ..
            }) => Decision::Cleared,
            _ => Decision::Untouched,
        }
    }

    /// Every image with a label that the class set knows, in no particular order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, Label)> {
        self.state
            .current
            .iter()
            .filter_map(|(image, current)| Some((image.as_str(), current.label?)))
    }

    /// How many images carry which label. Walks over all images ever labelled.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            per_class: vec![0; self.classes.len()],
            ..Counts::default()
        };
        for current in self.state.current.values() {
            counts.flagged += usize::from(current.flagged);
            match current.label {
                Some(Label::Class(class)) => counts.per_class[class.index()] += 1,
                Some(Label::Regular) => counts.regular += 1,
                None => counts.unknown += usize::from(current.word.is_some()),
            }
        }
        counts
    }

    /// Labels in use that the class set does not know, with the number of images that carry them:
    /// the class set was changed. Nothing is lost; with the old class set they are back.
    #[must_use]
    pub fn unknown_labels(&self) -> BTreeMap<String, usize> {
        let mut words = BTreeMap::new();
        for current in self.state.current.values() {
            if let (None, Some(word)) = (current.label, &current.word) {
                *words.entry(word.clone()).or_default() += 1;
            }
        }
        words
    }

    /// How repeatable the labels are, by the images that were shown again blind.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn repeats(&self) -> Result<Repeats, LabelError> {
        let sql = format!(
            "SELECT {} FROM label_event AS shown WHERE source = ?1 AND kind = ?2 AND old IS NOT NULL \
             AND new IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM label_event AS taken WHERE taken.undo_of = shown.batch)",
            Event::COLUMNS
        );
        let words = [Source::Repeat.word(), Kind::Label.word()];
        let found = query(&self.conn, &sql, words).map_err(|error| self.error(error))?;
        let label = |word: &Option<String>| words::from_word(word.as_deref()?, &self.classes);
        let is_same = |event: &&Event| match (label(&event.old), label(&event.new)) {
            (Some(Label::Regular), Some(other)) | (Some(other), Some(Label::Regular)) => {
                !other.is_drift(&self.classes)
            }
            _ => event.old == event.new,
        };
        let mut images: Vec<String> = found.iter().map(|event| event.image.clone()).collect();
        images.sort_unstable();
        images.dedup();
        Ok(Repeats {
            answers: found.len() as u64,
            same: found.iter().filter(is_same).count() as u64,
            images,
        })
    }

    /// How many events are safely on disk: labels, flags, undos and redos.
    #[must_use]
    pub fn saved(&self) -> u64 {
        u64::try_from(self.state.last).unwrap_or(0)
    }

    /// All that ever happened to an image, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(&self, image: &str) -> Result<Vec<Event>, LabelError> {
        let sql = format!(
            "SELECT {} FROM label_event WHERE image = ?1 ORDER BY id",
            Event::COLUMNS
        );
        query(&self.conn, &sql, [image]).map_err(|error| self.error(error))
    }

    /// The last `limit` events, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recent(&self, limit: u32) -> Result<Vec<Event>, LabelError> {
        let sql = format!(
            "SELECT {} FROM label_event ORDER BY id DESC LIMIT ?1",
            Event::COLUMNS
        );
        query(&self.conn, &sql, [limit]).map_err(|error| self.error(error))
    }

    /// Gives, changes or takes away one label. On disk when this returns. Recorded even where the
    /// label stays the same: a repeated answer is an answer.
    ///
    /// # Errors
    /// The label was not saved; the error says why. Nothing has changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), LabelError> {
        let draft = self.draft(change)?;
        self.append(vec![draft])
    }

    /// Several changes in one go: all saved or none, and undone together.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn apply_many(&mut self, changes: &[Change]) -> Result<(), LabelError> {
        let drafts = changes
            .iter()
            .map(|change| self.draft(change.clone()))
            .collect::<Result<_, _>>()?;
        self.append(drafts)
    }

    /// Of labels read from a file, those that are news here, as changes for [`Self::apply_many`]:
    /// importing a file twice changes nothing the second time.
    #[must_use]
    pub fn news(&self, labels: &[(String, Label)]) -> Vec<Change> {
        labels
            .iter()
            .filter(|(image, label)| self.label_of(image) != Some(*label))
            .map(|(image, label)| Change {
                image: image.clone(),
                label: Some(*label),
                source: Source::Import,
                model_run: None,
                prediction_visible: false,
            })
            .collect()
    }

    /// Flags an image, or takes the flag away.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn set_flag(&mut self, image: &str, flagged: bool) -> Result<(), LabelError> {
        self.append(vec![Draft {
            image: image.to_owned(),
            kind: Kind::Flag,
            new: flagged.then(|| FLAG.to_owned()),
            source: Source::Key,
            model_run: None,
            prediction_visible: false,
            undo_of: None,
            redo_of: None,
        }])
    }

    /// Whether there is anything to undo.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        !self.state.undo.is_empty()
    }

    /// Whether there is anything to redo.
    #[must_use]
    pub fn can_redo(&self) -> bool {
        !self.state.redo.is_empty()
    }

    /// Takes back the latest change that still stands, back to the very first one ever saved. Returns
    /// `None` if there is none.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn undo(&mut self) -> Result<Option<Undone>, LabelError> {
        let Some(&batch) = self.state.undo.last() else {
            return Ok(None);
        };
        let events = self.batch(batch)?;
        let drafts = events
            .iter()
            .rev()
            .map(|event| Draft {
                image: event.image.clone(),
                kind: event.kind,
                new: event.old.clone(),
                source: Source::Undo,
                model_run: None,
                prediction_visible: false,
                undo_of: Some(batch),
                redo_of: None,
            })
            .collect();
        self.append(drafts)?;
        Ok(Undone::of(events))
    }

    /// Does again what [`Self::undo`] took back last. A new label in between forgets what was taken
    /// back. Returns `None` if there is nothing.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn redo(&mut self) -> Result<Option<Undone>, LabelError> {
        let Some(&batch) = self.state.redo.last() else {
            return Ok(None);
        };
        let events = self.batch(batch)?;
        let drafts = events
            .iter()
            .map(|event| Draft {
                image: event.image.clone(),
                kind: event.kind,
                new: event.new.clone(),
                source: Source::Redo,
                model_run: event.model_run.clone(),
                prediction_visible: event.prediction_visible,
                undo_of: None,
                redo_of: Some(batch),
            })
            .collect();
        self.append(drafts)?;
        Ok(Undone::of(events))
    }

    fn batch(&self, batch: i64) -> Result<Vec<Event>, LabelError> {
        // The events of a batch follow each other, so the primary key finds them all.
        let sql = format!(
            "SELECT {} FROM label_event WHERE id >= ?1
             AND id < coalesce((SELECT min(id) FROM label_event WHERE id > ?1 AND batch > ?1),
                               9223372036854775807)
             ORDER BY id",
            Event::COLUMNS
        );
        query(&self.conn, &sql, [batch]).map_err(|error| self.error(error))
    }

    fn draft(&self, change: Change) -> Result<Draft, LabelError> {
        if let Some(Label::Class(class)) = change.label {
            self.check(class, &change.image)?;
        }
        let new = change
            .label
            .map(|label| words::word(label, &self.classes).to_owned());
        Ok(Draft {
            image: change.image,
            kind: Kind::Label,
            new,
            source: change.source,
            model_run: change.model_run,
            prediction_visible: change.prediction_visible,
            undo_of: None,
            redo_of: None,
        })
    }

    fn check(&self, class: ClassId, image: &str) -> Result<(), LabelError> {
        let classes = self.classes.len();
        if class.index() < classes {
            return Ok(());
        }
        Err(LabelError::NoSuchClass {
            image: image.to_owned(),
            class: class.index(),
            classes,
        })
    }

    /// Saves the drafts as one batch, then takes them into memory: in this order, so that what is
    /// shown is what is saved.
    fn append(&mut self, drafts: Vec<Draft>) -> Result<(), LabelError> {
        if let Access::ReadOnly { reason } = &self.access {
            return Err(LabelError::ReadOnly {
                path: self.path.clone(),
                reason: reason.clone(),
            });
        }
        let events = self.number(drafts);
        if events.is_empty() {
            return Ok(());
        }
        write(&mut self.conn, &events).map_err(|error| LabelError::of(&self.path, error))?;
        for event in events {
            self.state.replay(event, &self.classes);
        }
        Ok(())
    }

    fn number(&self, drafts: Vec<Draft>) -> Vec<Event> {
        let at = event::now();
        let batch = self.state.last + 1;
        // A batch may name an image twice.
        let mut within: HashMap<(String, Kind), Option<String>> = HashMap::new();
        (batch..)
            .zip(drafts)
            .map(|(id, draft)| {
                let old = within
                    .insert((draft.image.clone(), draft.kind), draft.new.clone())
                    .unwrap_or_else(|| {
                        self.state.word(&draft.image, draft.kind).map(str::to_owned)
                    });
                Event {
                    id,
                    at,
                    who: self.who.clone(),
                    image: draft.image,
                    kind: draft.kind,
                    old,
                    new: draft.new,
                    source: draft.source,
                    model_run: draft.model_run,
                    prediction_visible: draft.prediction_visible,
                    batch,
                    undo_of: draft.undo_of,
                    redo_of: draft.redo_of,
                }
            })
            .collect()
    }

    /// Stops the file from growing beyond `pages`, as a full disk does.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.conn
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .expect("a pragma without conditions");
    }

    #[cfg(test)]
    pub(super) fn into_state(self) -> State {
        self.state
    }

    fn error(&self, error: rusqlite::Error) -> LabelError {
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..) => LabelError::Damaged {
                path: self.path.clone(),
                detail: error.to_string(),
            },
            error => LabelError::of(&self.path, error),
        }
    }
}

/// An event before it has a number.
struct Draft {
    image: String,
    kind: Kind,
    new: Option<String>,
    source: Source,
    model_run: Option<String>,
    prediction_visible: bool,
    undo_of: Option<i64>,
    redo_of: Option<i64>,
}

impl Undone {
    fn of(events: Vec<Event>) -> Option<Self> {
        let first = events.first()?;
        let (kind, who, at) = (first.kind, first.who.clone(), first.at);
        let mut seen = std::collections::HashSet::new();
        let images = events
            .into_iter()
            .map(|event| event.image)
            .filter(|image| seen.insert(image.clone()))
            .collect();
        Some(Self {
            images,
            kind,
            who,
            at,
        })
    }
}

fn query(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Event>> {
    conn.prepare_cached(sql)?
        .query_map(params, Event::read)?
        .collect()
}

fn write(conn: &mut Connection, events: &[Event]) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let sql = format!(
            "INSERT INTO label_event ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            Event::COLUMNS
        );
        let mut insert = transaction.prepare_cached(&sql)?;
        for event in events {
            insert.execute(params![
                event.id,
                event.at.to_string(),
                event.who,
                event.image,
                event.kind.word(),
                event.old,
                event.new,
                event.source.word(),
                event.model_run,
                event.prediction_visible,
                event.batch,
                event.undo_of,
                event.redo_of,
            ])?;
        }
    }
    transaction.commit()
}
