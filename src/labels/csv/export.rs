use std::collections::HashSet;
use std::path::Path;

use super::error::CsvError;
use super::images::ImageKeys;
use super::import::{Columns, ImportProblem, Layout};
use super::table::Table;
use super::{FILENAME, MANUAL, NOT_LABELLED, STUDY};
use crate::domain::{ClassId, ClassSet, Label};
use crate::labels::{Decision, words};

/// The study's file with the hand labels of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyExport {
    /// The whole file, to be written under a name of the user's choice.
    pub bytes: Vec<u8>,
    /// Rows whose hand label is not what it was in the file before.
    pub changed: usize,
    /// Labels that the file cannot hold, and why.
    pub left_out: Vec<LeftOut>,
}

/// A label that did not go into the study's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// The file has no row for the image.
    #[error(
        "{image}: the file has no row for it; export as plain filename,label to have all labels"
    )]
    NoRow {
        /// The image's key.
        image: String,
    },
    /// The label is regular with its class left open, for which the study has no number.
    #[error(
        "{image}: it is labelled regular, for which the study has no number; give it a class, or export as plain filename,label"
    )]
    NoNumber {
        /// The image's key.
        image: String,
    },
    /// A row that could not be understood, and stays as it was.
    #[error("{0}; the row stays as it was")]
    Row(ImportProblem),
}

/// One row of a study file to be written from nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyRow {
    /// The image's key.
    pub filename: String,
    /// The image's `window`.
    pub window: String,
    /// The image's `lib`.
    pub lib: String,
    /// What a model says.
    pub predicted: Option<ClassId>,
}

/// The study's file with labels brought up to date: only `Manual_Label` cells whose label differs
/// from `decision` are rewritten, every other byte stays. Images on which there is no decision keep
/// what the file says; labels taken back become `n.a.`.
///
/// # Errors
/// [`CsvError`] where `template` cannot be read as such a file; `path` only serves messages.
pub fn update_study(
    path: &Path,
    template: &[u8],
    images: &ImageKeys,
    classes: &ClassSet,
    decision: impl Fn(&str) -> Decision,
) -> Result<StudyExport, CsvError> {
    let table = Table::read(path, template)?;
    let columns = Columns::of(&table, path)?;
    if columns.layout != Layout::Study {
        return Err(CsvError::MissingColumns {
            path: path.to_owned(),
            missing: MANUAL.to_owned(),
            found: table.header.join(", "),
        });
    }
    let mut export = StudyExport {
        bytes: Vec::with_capacity(template.len()),
        changed: 0,
        left_out: Vec::new(),
    };
    let mut copied = 0;
    let mut found = HashSet::new();
    for row in &table.rows {
        let (image, before) = match columns.read(&table, row, images, classes) {
            Ok((image, label)) => (image, Some(label)),
            Err(problem) => match overwritable(&problem, images) {
                Some(image) => (image, None),
                None => {
                    export.left_out.push(LeftOut::Row(problem));
                    continue;
                }
            },
        };
        let first = found.insert(image);
        let cell = match decision(image) {
            Decision::Untouched => continue,
            Decision::Cleared if before == Some(None) => continue,
            Decision::Cleared => NOT_LABELLED.to_owned(),
            Decision::Is(label) if before == Some(Some(label)) => continue,
            Decision::Is(Label::Class(class)) => class.0.to_string(),
            Decision::Is(Label::Regular) => {
                if first {
                    export.left_out.push(LeftOut::NoNumber {
                        image: image.to_owned(),
                    });
                }
                // A regular class in the file agrees with the label; drift contradicts it.
                match before {
                    Some(Some(label)) if label.is_drift(classes) => NOT_LABELLED.to_owned(),
                    _ => continue,
                }
            }
        };
        let place = &row.cells[columns.label];
        export.bytes.extend(&template[copied..place.start]);
        let quote = if table.raw(place).starts_with('"') {
            "\""
        } else {
            ""
        };
        export.bytes.extend(format!("{quote}{cell}{quote}").bytes());
        copied = place.end;
        export.changed += 1;
    }
    export.bytes.extend(&template[copied..]);
    for image in images.iter().filter(|image| !found.contains(image)) {
        if matches!(decision(image), Decision::Is(_)) {
            export.left_out.push(LeftOut::NoRow {
                image: image.to_owned(),
            });
        }
    }
    Ok(export)
}

/// A cell that cannot be read may still be replaced where the image is certain.
fn overwritable<'a>(problem: &ImportProblem, images: &'a ImageKeys) -> Option<&'a str> {
    match problem {
        ImportProblem::UnknownLabel { file, .. } => match images.find(file) {
            super::Found::Key(image) => Some(image),
            _ => None,
        },
        _ => None,
    }
}

/// A study file from nothing. `Label` and `LabelStr`, which in the study's own file repeat the random
/// template, hold the prediction, like `Predicted_Label`; all three are empty without one.
#[must_use]
pub fn export_study(
    rows: &[StudyRow],
    classes: &ClassSet,
    decision: impl Fn(&str) -> Decision,
) -> StudyExport {
    let mut left_out = Vec::new();
    let mut changed = 0;
    let mut records = vec![STUDY.map(str::to_owned)];
    for (index, row) in rows.iter().enumerate() {
        let number = row.predicted.map(|class| class.0.to_string());
        let number = number.unwrap_or_default();
        let words = row
            .predicted
            .map(|class| format!("{}_{}", class.0, classes.name(class)));
        let manual = match decision(&row.filename) {
            Decision::Is(Label::Class(class)) => {
                changed += 1;
                class.0.to_string()
            }
            Decision::Is(Label::Regular) => {
                left_out.push(LeftOut::NoNumber {
                    image: row.filename.clone(),
                });
                NOT_LABELLED.to_owned()
            }
            Decision::Untouched | Decision::Cleared => NOT_LABELLED.to_owned(),
        };
        records.push([
            index.to_string(),
            row.filename.clone(),
            row.window.clone(),
            row.lib.clone(),
            number.clone(),
            words.unwrap_or_default(),
            number,
            manual,
        ]);
    }
    StudyExport {
        bytes: csv_of(records),
        changed,
        left_out,
    }
}

/// All labels as `filename,label` in the words of the class set, sorted by name.
#[must_use]
pub fn export_plain<'a>(
    labels: impl IntoIterator<Item = (&'a str, Label)>,
    classes: &ClassSet,
) -> Vec<u8> {
    let mut labels: Vec<_> = labels.into_iter().collect();
    labels.sort_unstable_by_key(|(image, _)| *image);
    let header = [FILENAME, super::LABEL];
    let rows = labels
        .into_iter()
        .map(|(image, label)| [image, words::word(label, classes)]);
    csv_of(std::iter::once(header).chain(rows))
}

fn csv_of<R, C>(records: impl IntoIterator<Item = R>) -> Vec<u8>
where
    R: IntoIterator<Item = C>,
    C: AsRef<[u8]>,
{
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer
            .write_record(record)
            .expect("rows of one length, written to memory");
    }
    writer.into_inner().expect("memory needs no flushing")
}
