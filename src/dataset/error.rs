//! Why a path is no data set that can be opened.

use std::io;
use std::path::{Path, PathBuf};

use super::text::{count, few, thousands};

/// Why a data set could not be opened at all. What is wrong with single files or rows is a
/// [`super::Problem`] instead and does not stop the rest from opening.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Nothing at that path.
    #[error("{} does not exist", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("no permission to read {}; ask for read access to it, or copy the data set", .path.display())]
    NoPermission {
        /// What may not be read.
        path: PathBuf,
    },
    /// Reading failed in some other way.
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that is no table.
    #[error("{} is neither a folder nor a CSV file; open the folder that holds the images, or the CSV that lists them", .path.display())]
    NotADataset {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder without a single image.
    #[error("no images found in {} (looked for .png, .jpg, .jpeg, .bmp, .tif, .tiff, also in its folders)", .path.display())]
    NoImages {
        /// The folder searched.
        path: PathBuf,
    },
    /// The image folder that should be there is not.
    #[error("the image folder {} does not exist{hint}", .path.display())]
    NoImageFolder {
        /// Where it was looked for.
        path: PathBuf,
        /// What to do, starting with a separator; may be empty.
        hint: &'static str,
    },
    /// No column that names files.
    #[error(
        "{} has no column of file names; its columns are {}. Name that column \"filename\", or say which one it is with --filename-column",
        .file.display(), columns_found(.columns)
    )]
    NoFilenameColumn {
        /// The CSV file.
        file: PathBuf,
        /// The names in its first line.
        columns: Vec<String>,
    },
    /// A column that was asked for by name does not exist.
    #[error("{} has no column {wanted:?}; its columns are {}", .file.display(), columns_found(.columns))]
    NoSuchColumn {
        /// The CSV file.
        file: PathBuf,
        /// The name asked for.
        wanted: String,
        /// The names in its first line.
        columns: Vec<String>,
    },
    /// Bytes that are no UTF-8 text.
    #[error("{} is not UTF-8 text (line {line}, byte {byte} of the file); save it as \"CSV UTF-8\"", .file.display())]
    NotUtf8 {
        /// The CSV file.
        file: PathBuf,
        /// Line of the first bad byte, from 1.
        line: usize,
        /// Offset of the first bad byte in the file, from 0.
        byte: usize,
    },
    /// Nothing but blanks, or only the line of column names.
    #[error("{} has no rows; it needs a line of column names and one line per image", .file.display())]
    NoRows {
        /// The CSV file.
        file: PathBuf,
    },
    /// Too large to be a manifest.
    #[error("{} is {} MB; a CSV that lists images is smaller than {} MB", .file.display(), .bytes / 1_000_000, .limit / 1_000_000)]
    TableTooLarge {
        /// The CSV file.
        file: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size read, in bytes.
        limit: u64,
    },
    /// Rows, but not one usable image.
    #[error(
        "none of the {} of {} leads to an image under {}: {first}{}",
        count(*.rows, "row"), .file.display(), .base.display(),
        "; if the images lie elsewhere, name their folder with --images"
    )]
    NoneFound {
        /// The CSV file.
        file: PathBuf,
        /// Rows read.
        rows: usize,
        /// Folder that the names are relative to.
        base: PathBuf,
        /// What is wrong with the first row.
        first: String,
    },
    /// Several CSV files could be meant.
    #[error("{} holds several CSV files that list its images ({}); open the one that is meant", .folder.display(), few(.files, 6))]
    SeveralTables {
        /// The folder.
        folder: PathBuf,
        /// Names of the CSV files.
        files: Vec<String>,
    },
    /// More words than a class set can hold: surely not the label column.
    #[error(
        "{} names {} different classes, more than the 254 that a data set may have; is {column} really what holds the classes?",
        .file.display(), thousands(*.classes)
    )]
    TooManyClasses {
        /// The CSV file, or the folder.
        file: PathBuf,
        /// The column, or "the folder level", in words.
        column: String,
        /// How many different words there are.
        classes: usize,
    },
    /// An option that only makes sense for a CSV.
    #[error("{} has no CSV file that lists its images, so an image folder or a column cannot be chosen; open the CSV file itself", .path.display())]
    OptionNeedsTable {
        /// The folder.
        path: PathBuf,
    },
    /// Names that cannot be classes.
    #[error("{} cannot be the names of classes; give 1 to 253 different names, none of them empty, and leave out drift, which is always there", few(.names, 6))]
    ClassNames {
        /// What was given.
        names: Vec<String>,
    },
    /// Class names were given, and the files have others.
    #[error("the files of {} name the classes themselves ({}); open it without naming classes", .path.display(), few(.known, 8))]
    ClassesNamed {
        /// The data set.
        path: PathBuf,
        /// The classes in its files.
        known: Vec<String>,
    },
}

impl DatasetError {
    /// The variant that fits what the operating system said of `path`.
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied => Self::NoPermission { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

fn columns_found(columns: &[String]) -> String {
    few(columns, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_put_in_words() {
        let told = |kind: io::ErrorKind| {
            DatasetError::from_io(Path::new("a/b.csv"), io::Error::from(kind)).to_string()
        };
        assert_eq!(told(io::ErrorKind::NotFound), "a/b.csv does not exist");
        let refused = told(io::ErrorKind::PermissionDenied);
        assert!(
            refused.starts_with("no permission to read a/b.csv"),
            "{refused}"
        );
        assert!(told(io::ErrorKind::Other).starts_with("a/b.csv cannot be read: "));
    }
}
