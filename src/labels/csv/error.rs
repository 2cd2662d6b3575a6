use std::path::PathBuf;

/// Why a whole CSV file could not be used. What is wrong with single rows is an
/// [`super::ImportProblem`].
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The file cannot be read.
    #[error("{} cannot be read ({source}): check that it exists and that you may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("{} is empty: expected a first line such as `filename,label`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file of another kind under the name of a CSV.
    #[error("{} is {found}, not a CSV file: save it as \"CSV UTF-8\" and import that", path.display())]
    NotCsv {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// Bytes that are no UTF-8: mostly an accent in an older encoding.
    #[error(
        "{}, line {line}: a character is not UTF-8, so the file was probably saved as Latin-1 or \
         Windows-1252: save it as \"CSV UTF-8\" and import that",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first such line, from 1.
        line: u64,
    },
    /// A quote that is never closed swallows the rest of the file.
    #[error("{}, line {line}: a quote (\") is opened and never closed: close or remove it", path.display())]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// Where it opens, from 1.
        line: u64,
    },
    /// The first line does not name the columns that are needed.
    #[error(
        "{}: no column {missing} in the first line, which has: {found}. Name the columns in the first \
         line: filename and label, or filename and Manual_Label as in the study",
        path.display()
    )]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// The columns missing, comma separated.
        missing: String,
        /// The columns there, comma separated.
        found: String,
    },
    /// A submission or its template, whose labels come from a model or a random generator.
    #[error(
        "{} has the layout of a submission (filename, window, lib and numbers under Label): such \
         labels are random or a model's, not a person's. If a person did give them, keep only the \
         columns filename and label",
        path.display()
    )]
    Submission {
        /// The file.
        path: PathBuf,
    },
}
