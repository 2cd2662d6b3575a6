//! The thread that owns the open project and writes its labels. The window sends orders and gets
//! answers: an answer that says "saved" comes after the label is on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel as channel;

use super::state::words::count;
use crate::dataset::Manifest;
use crate::domain::{ClassId, ImageId, Label};
use crate::jobs::{Job, Outcome, Wake};
use crate::labels::{Change, Current, Event, LabelError, Repeats, Source, Undone};
use crate::project::{DriftChoice, Project};
use crate::workflows::{self, ExportFormat};

/// Orders that may wait: far more than fingers can type.
const ORDERS: usize = 1024;

/// What the window asks for.
pub enum Order {
    /// Label these images alike, as one step of undo.
    Label {
        /// Which.
        images: Vec<ImageId>,
        /// What they show; `None` takes the label away.
        label: Option<Label>,
        /// How it came about.
        source: Source,
        /// The run whose prediction was at hand.
        model_run: Option<String>,
        /// Whether the labeller saw it.
        prediction_visible: bool,
    },
    /// Flag the image, or take its flag away.
    Flag(ImageId, bool),
    /// Take the latest change back.
    Undo,
    /// Do it again.
    Redo,
    /// Remember a choice about how drift is decided.
    Choose(DriftChoice),
    /// Read all decisions about an image.
    History(ImageId),
    /// Take in labels from a CSV.
    Import(PathBuf),
    /// Write labels to a CSV: in the study's layout where its name begins with `manual_label`, else
    /// plain `filename,label`.
    Export {
        /// The file, which is replaced.
        file: PathBuf,
        /// What the model in use says of each image; the study's layout has a column for it.
        predicted: HashMap<ImageId, ClassId>,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// A label was given or taken away.
    Labelled,
    /// A flag was set or taken away.
    Flagged,
    /// The latest change of these images was taken back, or done again.
    Reverted(Vec<ImageId>),
    /// There was nothing to take back or to do again.
    Nothing,
    /// A choice is remembered.
    Chosen,
    /// Labels came from a file; the sentence says how many.
    Imported(String),
    /// Labels went to a file; the sentence says how many.
    Exported(String),
}

/// What the thread answers.
pub enum Answer {
    /// An order was carried out and is on disk.
    Done {
        /// What it was.
        did: Did,
        /// The images that changed, as they are now.
        changed: Vec<(ImageId, Current)>,
        /// Events on disk.
        saved: u64,
        /// Whether something can be undone.
        can_undo: bool,
        /// Whether something can be done again.
        can_redo: bool,
        /// How often the same answer came to images shown again, where that has changed.
        repeats: Option<Repeats>,
    },
    /// An order was not carried out and nothing changed; the sentence says why.
    Failed(String),
    /// The decisions about an image, oldest first.
    History(ImageId, Vec<Event>),
}

/// Number of an order; answers carry it back.
pub type Ticket = u64;

/// The handle on the thread.
pub struct Labeller {
    orders: Option<channel::Sender<(Ticket, Order)>>,
    sent: Ticket,
    answered: Ticket,
    job: Job<(Ticket, Answer), (), LabelError>,
}

impl Labeller {
    /// Hands the project over to a thread of its own.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn(project: Project, wake: Wake) -> std::io::Result<Self> {
        let (orders, waiting) = channel::bounded(ORDERS);
        let job = Job::spawn("labels", wake, move |_, answers| {
            let mut desk = Desk {
                manifest: project.manifest.clone(),
                project,
            };
            for (ticket, order) in &waiting {
                let answer = desk.carry_out(order);
                let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
                answers.send((ticket, answer));
            }
            Ok(())
        })?;
        Ok(Self {
            orders: Some(orders),
            sent: 0,
            answered: 0,
            job,
        })
    }

    /// Sends an order; `None` if it cannot be taken: the thread has ended, or is hopelessly behind.
    #[must_use]
    pub fn send(&mut self, order: Order) -> Option<Ticket> {
        let ticket = self.sent + 1;
        self.orders.as_ref()?.try_send((ticket, order)).ok()?;
        self.sent = ticket;
        Some(ticket)
    }

    /// The next answer that has arrived. Every order has exactly one, in the order they were sent.
    #[must_use]
    pub fn try_answer(&mut self) -> Option<(Ticket, Answer)> {
        let (ticket, answer) = self.job.try_event()?;
        self.answered = ticket;
        Some((ticket, answer))
    }

    /// Whether every order has been answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sent == self.answered
    }

    /// Takes no more orders; what was sent is still carried out.
    pub fn close(&mut self) {
        self.orders = None;
    }

    /// Waits until what was sent is on disk and the store is closed. Only for when nothing is painted
    /// any more.
    pub fn join(mut self) {
        self.close();
        drop(self.job.join());
    }

    /// Whether the thread has ended, and if that was not on request, a sentence.
    #[must_use]
    pub fn try_end(&self) -> Option<Result<(), String>> {
        Some(match self.job.try_outcome()? {
            Outcome::Done(()) | Outcome::Cancelled => Ok(()),
            Outcome::Failed(error) => Err(error.to_string()),
            Outcome::Panicked(text) => Err(format!(
                "Labels cannot be saved any more, because of a fault in the program ({text}). \
                 What was saved before is safe; please restart."
            )),
        })
    }
}

struct Desk {
    manifest: Arc<Manifest>,
    project: Project,
}

impl Desk {
    fn carry_out(&mut self, order: Order) -> Result<Answer, LabelError> {
        match order {
            Order::Label {
                images,
                label,
                source,
                model_run,
                prediction_visible,
            } => {
                let changes: Vec<Change> = images
                    .iter()
                    .map(|image| Change {
                        image: self.manifest.get(*image).key.clone(),
                        label,
                        source,
                        model_run: model_run.clone(),
                        prediction_visible,
                    })
                    .collect();
                self.project
                    .labels
                    .apply_many(&changes)
                    .map(|()| match source {
                        Source::Repeat => self.done_again(Did::Labelled, &images),
                        _ => self.done(Did::Labelled, &images),
                    })
            }
            Order::Flag(image, flagged) => {
                let key = &self.manifest.get(image).key;
                self.project
                    .labels
                    .set_flag(key, flagged)
                    .map(|()| self.done(Did::Flagged, &[image]))
            }
            Order::Undo => self
                .project
                .labels
                .undo()
                .map(|undone| self.reverted(undone)),
            Order::Redo => self
                .project
                .labels
                .redo()
                .map(|undone| self.reverted(undone)),
            Order::History(image) => self
                .project
                .labels
                .history(&self.manifest.get(image).key)
                .map(|events| Answer::History(image, events)),
            Order::Choose(choice) => Ok(match self.project.choose(choice.clone()) {
                Ok(()) => self.done(Did::Chosen, &[]),
                Err(error) => Answer::Failed(error.to_string()),
            }),
            Order::Import(path) => Ok(self.import(&path)),
            Order::Export { file, predicted } => Ok(self.export(&file, &predicted)),
        }
    }

    fn import(&mut self, path: &Path) -> Answer {
        let summary = match workflows::import_labels(&mut self.project, path) {
            Ok(summary) => summary,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let mut text = format!(
            "Read {}, {} of them new, from {}.",
            count(summary.read as u64, "label"),
            summary.changed,
            path.display()
        );
        if let Some(first) = summary.problems.first() {
            let rows = summary.problems.len();
            let were = if rows == 1 { "was" } else { "were" };
            let rows = count(rows as u64, "row");
            text.push_str(&format!(" {rows} {were} left out; the first: {first}"));
        }
        let all: Vec<ImageId> = self.manifest.ids().collect();
        self.done(Did::Imported(text), &all)
    }

    fn export(&self, file: &Path, predicted: &HashMap<ImageId, ClassId>) -> Answer {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let format = if name.starts_with("manual_label") {
            ExportFormat::Study
        } else {
            ExportFormat::Plain
        };
        let predicted = |image: ImageId| predicted.get(&image).copied();
        match workflows::export_labels(&self.project, file, &format, &predicted) {
            Ok(summary) => {
                let labels = count(summary.labels as u64, "label");
                let mut text = format!("Wrote {labels} to {}.", file.display());
                if !summary.left_out.is_empty() {
                    let n = summary.left_out.len();
                    let have = if n == 1 { "has" } else { "have" };
                    let n = count(n as u64, "label");
                    text.push_str(&format!(" {n} {have} no place in this layout."));
                }
                self.done(Did::Exported(text), &[])
            }
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    fn reverted(&self, undone: Option<Undone>) -> Answer {
        let Some(undone) = undone else {
            return self.done(Did::Nothing, &[]);
        };
        let images: Vec<ImageId> = undone
            .images
            .iter()
            .filter_map(|key| self.manifest.by_key(key))
            .collect();
        self.done_again(Did::Reverted(images.clone()), &images)
    }

    /// As [`done`](Self::done), where an answer to an image shown again may have come or gone.
    fn done_again(&self, did: Did, images: &[ImageId]) -> Answer {
        let mut answer = self.done(did, images);
        if let Answer::Done { repeats, .. } = &mut answer {
            // The label is on disk; what cannot be counted now is counted when the project is opened.
            *repeats = self.project.labels.repeats().ok();
        }
        answer
    }

    fn done(&self, did: Did, images: &[ImageId]) -> Answer {
        let labels = &self.project.labels;
        let changed = images
            .iter()
            .filter_map(|image| {
                let current = labels.get(&self.manifest.get(*image).key)?;
                Some((*image, current.clone()))
            })
            .collect();
        Answer::Done {
            did,
            changed,
            saved: labels.saved(),
            can_undo: labels.can_undo(),
            can_redo: labels.can_redo(),
            repeats: None,
        }
    }
}
