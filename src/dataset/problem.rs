//! What is wrong with single files or rows of a data set.

use serde::{Deserialize, Serialize};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An image, or its label, cannot be used.
    Error,
    /// Used as it is, but worth a look.
    Warning,
    /// Handled; nothing to do.
    Info,
}

/// What is wrong. The order is the one in which problems are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A row names a file that does not exist. Left out.
    MissingFile,
    /// A file, folder or table that the operating system does not let us read. Left out.
    Unreadable,
    /// A file without a single byte.
    ZeroBytes,
    /// A file that is no image, whatever its name says.
    NotAnImage,
    /// An image file that is damaged.
    Undecodable,
    /// A path with `..`, or an absolute one outside the data set's folder. Left out.
    OutsidePath,
    /// A row without a file name. Left out.
    EmptyName,
    /// A row with too few or too many cells. Left out.
    BadRow,
    /// A label that names no class of the data set. The image is kept, without a label.
    UnknownLabel,
    /// A file listed again with another label. The image is kept, without a label.
    ConflictingRow,
    /// The same contents under several names with different labels.
    ConflictingDuplicate,
    /// A file listed again, with the same label or none. The first row counts.
    RepeatedRow,
    /// The same contents under several names.
    Duplicate,
    /// A label so rare that it may be misspelled, and too rare to be split.
    RareLabel,
    /// A 16-bit or colour image, used as 8-bit grayscale.
    Converted,
}

impl ProblemKind {
    /// How much it matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::MissingFile
            | Self::Unreadable
            | Self::ZeroBytes
            | Self::NotAnImage
            | Self::Undecodable
            | Self::OutsidePath
            | Self::EmptyName
            | Self::BadRow
            | Self::UnknownLabel
            | Self::ConflictingRow => Severity::Error,
            Self::ConflictingDuplicate | Self::RepeatedRow | Self::Duplicate | Self::RareLabel => {
                Severity::Warning
            }
            Self::Converted => Severity::Info,
        }
    }

    /// A heading for all problems of this kind.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::MissingFile => "Missing files",
            Self::Unreadable => "Files that cannot be read",
            Self::ZeroBytes => "Empty files",
            Self::NotAnImage => "Files that are no images",
            Self::Undecodable => "Damaged images",
            Self::OutsidePath => "Paths leading outside the folder",
            Self::EmptyName => "Rows without a file name",
            Self::BadRow => "Rows with too few or too many cells",
            Self::UnknownLabel => "Unknown labels",
            Self::ConflictingRow => "Files listed twice with different labels",
            Self::ConflictingDuplicate => "Equal images with different labels",
            Self::RepeatedRow => "Files listed twice",
            Self::Duplicate => "Equal images",
            Self::RareLabel => "Labels seen only once or twice",
            Self::Converted => "Images read as 8-bit grayscale",
        }
    }
}

/// One thing wrong with one file or row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// The image's key where it has one, else the file or cell as the data set writes it.
    pub file: String,
    /// Line in the CSV, from 1, where a row is to blame.
    pub line: Option<u64>,
    /// What happened and what becomes of it, in one sentence that names the file.
    pub sentence: String,
}

impl Problem {
    /// A problem of a file.
    #[must_use]
    pub fn new(kind: ProblemKind, file: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            file: file.into(),
            line: None,
            sentence: sentence.into(),
        }
    }

    /// The same problem, blamed on a line of the CSV.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// All problems of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemSummary {
    /// The kind.
    pub kind: ProblemKind,
    /// How much it matters.
    pub severity: Severity,
    /// The heading.
    pub title: String,
    /// How many there are; at least 1.
    pub count: usize,
    /// Sentences of the first few, at most [`ProblemSummary::EXAMPLES`].
    pub examples: Vec<String>,
}

impl ProblemSummary {
    /// How many sentences a summary quotes.
    pub const EXAMPLES: usize = 3;
}

/// Problems by kind, the gravest kind first.
#[must_use]
pub fn summarize(problems: &[Problem]) -> Vec<ProblemSummary> {
    let mut kinds: Vec<ProblemKind> = problems.iter().map(|p| p.kind).collect();
    kinds.sort_by_key(|kind| (kind.severity(), *kind));
    kinds.dedup();
    kinds
        .into_iter()
        .map(|kind| {
            let of_kind = || problems.iter().filter(|p| p.kind == kind);
            ProblemSummary {
                kind,
                severity: kind.severity(),
                title: kind.title().to_owned(),
                count: of_kind().count(),
                examples: of_kind()
                    .take(ProblemSummary::EXAMPLES)
                    .map(|p| p.sentence.clone())
                    .collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_by_kind_gravest_first() {
        let mut problems = vec![
            Problem::new(ProblemKind::Converted, "a.png", "a.png is RGB"),
            Problem::new(ProblemKind::RepeatedRow, "b.png", "b.png is listed twice").at_line(3),
        ];
        problems.extend((0..5).map(|i| {
            Problem::new(
                ProblemKind::MissingFile,
                format!("{i}.png"),
                format!("{i}.png is missing"),
            )
        }));
        let summary = summarize(&problems);
        let titles: Vec<&str> = summary.iter().map(|s| s.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Missing files",
                "Files listed twice",
                "Images read as 8-bit grayscale"
            ]
        );
        assert_eq!(summary[0].count, 5);
        assert_eq!(
            summary[0].examples,
            ["0.png is missing", "1.png is missing", "2.png is missing"]
        );
        assert_eq!(summarize(&[]), []);
    }
}
