use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::error::CsvError;
use super::images::{Found, ImageKeys};
use super::table::{Row, Table};
use super::{FILENAME, LABEL, MANUAL};
use crate::domain::{ClassId, ClassSet, Label, UnknownClass};
use crate::labels::words;

/// Which of the two layouts a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The study's `manual_label_df_submission.csv`: hand labels as class numbers in `Manual_Label`.
    Study,
    /// `filename,label`, with labels as words or class numbers.
    Plain,
}

/// What a CSV file says, and what of it could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The layout found.
    pub layout: Layout,
    /// Image key and label, in the order of the file, each image once.
    pub changes: Vec<(String, Label)>,
    /// Rows that name an image and say that it has no label.
    pub skipped_no_label: usize,
    /// Rows left out, and why.
    pub problems: Vec<ImportProblem>,
}

/// A row left out. Lines count from 1, the header's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportProblem {
    /// No image of that name.
    #[error(
        "line {line}: {file} is not in this data set: check the spelling, or open the data set that has it"
    )]
    UnknownFile {
        /// The line.
        line: u64,
        /// The name in the file.
        file: String,
    },
    /// Several images of that name.
    #[error("line {line}: several images are called {file}: write the name with its folder")]
    AmbiguousFile {
        /// The line.
        line: u64,
        /// The name in the file.
        file: String,
    },
    /// A label that is no class.
    #[error("line {line}: {file}: {unknown}: correct the label or leave it empty")]
    UnknownLabel {
        /// The line.
        line: u64,
        /// The name in the file.
        file: String,
        /// The label, and those that would have been understood.
        unknown: UnknownClass,
    },
    /// One image, two labels.
    #[error(
        "line {line}: {file} is {label} here but {earlier} on line {earlier_line}: correct one of them; neither was taken"
    )]
    Conflict {
        /// The line.
        line: u64,
        /// The name in the file.
        file: String,
        /// The label on this line.
        label: String,
        /// The label found earlier.
        earlier: String,
        /// Where.
        earlier_line: u64,
    },
    /// More or fewer cells than the header has.
    #[error(
        "line {line}: {file}: the row does not have the {expected} cells of the first line but {found}: correct the row, or quote a cell that contains the separator"
    )]
    RowLength {
        /// The line.
        line: u64,
        /// The name in the file, as far as it can be told.
        file: String,
        /// Cells in this row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
}

impl ImportProblem {
    /// The line it stands on, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        match self {
            Self::UnknownFile { line, .. }
            | Self::AmbiguousFile { line, .. }
            | Self::UnknownLabel { line, .. }
            | Self::Conflict { line, .. }
            | Self::RowLength { line, .. } => *line,
        }
    }
}

/// Reads hand labels from a CSV file of either layout. The file is not changed.
///
/// # Errors
/// [`CsvError`] where the file as a whole cannot be used. Single bad rows are reported in
/// [`Import::problems`], and the others are still read.
pub fn import(path: &Path, images: &ImageKeys, classes: &ClassSet) -> Result<Import, CsvError> {
    let bytes = std::fs::read(path).map_err(|source| CsvError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    import_bytes(path, &bytes, images, classes)
}

/// [`import`] of a file already read; `path` only serves messages.
///
/// # Errors
/// As for [`import`].
pub fn import_bytes(
    path: &Path,
    bytes: &[u8],
    images: &ImageKeys,
    classes: &ClassSet,
) -> Result<Import, CsvError> {
    let table = Table::read(path, bytes)?;
    let columns = Columns::of(&table, path)?;
    let mut import = Import {
        layout: columns.layout,
        changes: Vec::new(),
        skipped_no_label: 0,
        problems: Vec::new(),
    };
    // Where each image was labelled first.
    let mut seen: HashMap<String, (u64, Label)> = HashMap::new();
    let mut conflicts = HashSet::new();
    for row in &table.rows {
        match columns.read(&table, row, images, classes) {
            Err(problem) => import.problems.push(problem),
            Ok((_, None)) => import.skipped_no_label += 1,
            Ok((image, Some(label))) => match seen.get(image) {
                None => {
                    seen.insert(image.to_owned(), (row.line, label));
                    import.changes.push((image.to_owned(), label));
                }
                Some((_, earlier)) if *earlier == label => {}
                Some((earlier_line, earlier)) => {
                    conflicts.insert(image);
                    import.problems.push(ImportProblem::Conflict {
                        line: row.line,
                        file: image.to_owned(),
                        label: words::word(label, classes).to_owned(),
                        earlier: words::word(*earlier, classes).to_owned(),
                        earlier_line: *earlier_line,
                    });
                }
            },
        }
    }
    import
        .changes
        .retain(|(image, _)| !conflicts.contains(image.as_str()));
    Ok(import)
}

/// Where the two columns that matter stand.
pub(super) struct Columns {
    pub layout: Layout,
    pub filename: usize,
    pub label: usize,
}

impl Columns {
    pub fn of(table: &Table<'_>, path: &Path) -> Result<Self, CsvError> {
        let filename = table.column(FILENAME);
        let (layout, label) = match table.column(MANUAL) {
            Some(column) => (Layout::Study, Some(column)),
            None => (Layout::Plain, table.column(LABEL)),
        };
        let (Some(filename), Some(label)) = (filename, label) else {
            let missing = [(FILENAME, filename), (LABEL, label)];
            let missing: Vec<_> = missing
                .iter()
                .filter(|(_, column)| column.is_none())
                .map(|(name, _)| *name)
                .collect();
            return Err(CsvError::MissingColumns {
                path: path.to_owned(),
                missing: missing.join(", "),
                found: table.header.join(", "),
            });
        };
        let columns = Self {
            layout,
            filename,
            label,
        };
        if layout == Layout::Plain && columns.is_submission(table) {
            return Err(CsvError::Submission {
                path: path.to_owned(),
            });
        }
        Ok(columns)
    }

    /// The challenge's columns with numbers only. Its training labels, which are true, are words.
    fn is_submission(&self, table: &Table<'_>) -> bool {
        let challenge = ["window", "lib"].iter().all(|c| table.column(c).is_some());
        let number = |row| {
            let value = table.value(row, self.label).unwrap_or_default();
            value.trim().parse::<f64>().is_ok()
        };
        challenge && !table.rows.is_empty() && table.rows.iter().all(number)
    }

    /// The image that a row is about, and its label, if any.
    pub fn read<'a>(
        &self,
        table: &Table<'_>,
        row: &Row,
        images: &'a ImageKeys,
        classes: &ClassSet,
    ) -> Result<(&'a str, Option<Label>), ImportProblem> {
        let line = row.line;
        let file = table
            .value(row, self.filename)
            .unwrap_or_default()
            .into_owned();
        if row.cells.len() != table.header.len() {
            return Err(ImportProblem::RowLength {
                line,
                file,
                found: row.cells.len(),
                expected: table.header.len(),
            });
        }
        let image = match images.find(&file) {
            Found::Key(image) => image,
            Found::Ambiguous => return Err(ImportProblem::AmbiguousFile { line, file }),
            Found::Unknown => return Err(ImportProblem::UnknownFile { line, file }),
        };
        let text = table.value(row, self.label).unwrap_or_default();
        match self.layout.parse(&text, classes) {
            Ok(label) => Ok((image, label)),
            Err(unknown) => Err(ImportProblem::UnknownLabel {
                line,
                file,
                unknown,
            }),
        }
    }
}

impl Layout {
    fn parse(self, text: &str, classes: &ClassSet) -> Result<Option<Label>, UnknownClass> {
        if self == Self::Study
            && let Some(class) = class_number(text, classes)
        {
            return Ok(Some(Label::Class(class)));
        }
        words::parse(text, classes)
    }
}

/// `4` and `4.0` are class 4, even in a class set with a class called `4`.
fn class_number(text: &str, classes: &ClassSet) -> Option<ClassId> {
    let text = text.trim();
    let digits = text.strip_suffix(".0").unwrap_or(text);
    let number: usize = digits.parse().ok()?;
    (number < classes.len()).then(|| ClassId::from(number))
}
