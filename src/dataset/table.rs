//! CSV files with named columns, and the images that their rows name.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::class_words::{fold, is_unlabelled};
use super::detect::OpenOptions;
use super::error::DatasetError;
use super::folders::is_image_name;
use super::problem::{Problem, ProblemKind};
use super::text::{count, quoted};

/// Far above any list of images; a larger file was opened by mistake.
const LARGEST: u64 = 512 << 20;

/// Folded column names that mean the image file, most telling first.
const FILENAME_COLUMNS: [&str; 16] = [
    "filename",
    "filepath",
    "file",
    "path",
    "imagepath",
    "imagefilename",
    "imagefile",
    "imagename",
    "image",
    "imgpath",
    "imgfile",
    "imgname",
    "img",
    "relativepath",
    "images",
    "files",
];

/// Folded column names that mean the class, most telling first. `Manual_Label` comes before the
/// `Label` beside it, which in the study's file is a model's answer.
const LABEL_COLUMNS: [&str; 12] = [
    "manuallabel",
    "label",
    "labels",
    "class",
    "classname",
    "classlabel",
    "target",
    "category",
    "groundtruth",
    "defect",
    "labelname",
    "y",
];

/// A CSV file in memory.
pub(super) struct Table {
    pub(super) file: PathBuf,
    /// The first line, trimmed.
    pub(super) header: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    line: u64,
    cells: csv::StringRecord,
}

/// Which column of a [`Table`] means what.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) filename: usize,
    pub(super) label: Option<usize>,
    /// What remains, without row numbers.
    pub(super) others: Vec<usize>,
}

/// A row that names an image.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// The label's cell; empty for none.
    pub(super) word: String,
    pub(super) line: u64,
    /// One per [`Columns::others`].
    pub(super) values: Vec<String>,
}

impl Table {
    /// Reads a file whose cells are separated by `,`, `;` or tabs, whichever its first line has most
    /// of. A byte order mark and any line ending are fine.
    pub(super) fn read(file: &Path) -> Result<Self, DatasetError> {
        let io_error = |e| DatasetError::from_io(file, e);
        let bytes = fs::metadata(file).map_err(io_error)?.len();
        if bytes > LARGEST {
            return Err(DatasetError::TableTooLarge {
                file: file.to_owned(),
                bytes,
                limit: LARGEST,
            });
        }
        let text = String::from_utf8(fs::read(file).map_err(io_error)?).map_err(|e| {
            let byte = e.utf8_error().valid_up_to();
            let before = &e.as_bytes()[..byte];
            DatasetError::NotUtf8 {
                file: file.to_owned(),
                line: 1 + before.iter().filter(|b| **b == b'\n').count(),
                byte,
            }
        })?;
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, DatasetError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(text))
            .flexible(true)
            .has_headers(false)
            .from_reader(text.as_bytes());
        let mut rows = Vec::new();
        for record in reader.records() {
            let cells = record.map_err(|e| DatasetError::from_io(file, io::Error::other(e)))?;
            let line = cells.position().map_or(0, csv::Position::line);
            if !cells.iter().all(|cell| cell.trim().is_empty()) {
                rows.push(Row { line, cells });
            }
        }
        if rows.is_empty() {
            return Err(DatasetError::NoRows {
                file: file.to_owned(),
            });
        }
        let header = rows.remove(0);
        let header = header.cells.iter().map(|c| c.trim().to_owned()).collect();
        Ok(Self {
            file: file.to_owned(),
            header,
            rows,
        })
    }

    /// Number of rows below the column names.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Position of a column by its exact name, else regardless of case, spaces, `_` and `-`.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        let exact = self.header.iter().position(|h| h == name.trim());
        exact.or_else(|| {
            let name = fold_column(name);
            self.header.iter().position(|h| fold_column(h) == name)
        })
    }

    /// Whether it has the four columns of the challenge's files, in which classes are integers.
    pub(super) fn has_challenge_columns(&self) -> bool {
        ["filename", "window", "lib", "label"]
            .iter()
            .all(|name| self.column(name).is_some())
    }

    /// Finds the columns by their names, or takes those that the user names.
    pub(super) fn columns(&self, options: &OpenOptions) -> Result<Columns, DatasetError> {
        let find = |wanted: &Option<String>, known: &[&str]| match wanted {
            Some(name) => self
                .column(name)
                .map(Some)
                .ok_or_else(|| DatasetError::NoSuchColumn {
                    file: self.file.clone(),
                    wanted: name.clone(),
                    columns: self.named_columns(),
                }),
            None => Ok(known.iter().find_map(|name| self.column(name))),
        };
        let filename = find(&options.filename_column, &FILENAME_COLUMNS)?.ok_or_else(|| {
            DatasetError::NoFilenameColumn {
                file: self.file.clone(),
                columns: self.named_columns(),
            }
        })?;
        let label = find(&options.label_column, &LABEL_COLUMNS)?.filter(|l| *l != filename);
        let others = (0..self.header.len())
            .filter(|c| *c != filename && Some(*c) != label && !is_row_number(&self.header[*c]))
            .collect();
        Ok(Columns {
            filename,
            label,
            others,
        })
    }

    /// The header without nameless columns.
    fn named_columns(&self) -> Vec<String> {
        let named = self.header.iter().filter(|name| !name.is_empty());
        named.cloned().collect()
    }

    /// The cells of one column as they stand, trimmed.
    pub(super) fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        let rows = self.rows.iter();
        rows.map(move |row| row.cells.get(column).unwrap_or_default().trim())
    }

    /// The images that the rows name, in their order, relative to `base`.
    pub(super) fn images(&self, columns: &Columns, base: &Path) -> (Vec<Listed>, Vec<Problem>) {
        let absolute = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        let table = self
            .file
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut folders = Folders::default();
        let mut listed: Vec<Listed> = Vec::with_capacity(self.rows.len());
        let mut conflicts = HashSet::new();
        let mut by_key: HashMap<String, usize> = HashMap::with_capacity(self.rows.len());
        let mut problems = Vec::new();
        for row in &self.rows {
            let cell = |c: usize| row.cells.get(c).unwrap_or_default().trim();
            let name = cell(columns.filename);
            let place = format!("{table}, line {}", row.line);
            let mut report = |kind, file: &str, what: String| {
                let sentence = format!("{} ({place}) {what}", quoted(file));
                problems.push(Problem::new(kind, file, sentence).at_line(row.line));
            };
            let needed = columns.filename.max(columns.label.unwrap_or(0));
            let surplus = row.cells.iter().skip(self.header.len());
            if row.cells.len() <= needed || surplus.into_iter().any(|c| !c.trim().is_empty()) {
                let what = format!(
                    "has {} instead of {}; the row is left out",
                    count(row.cells.len(), "cell"),
                    self.header.len()
                );
                report(ProblemKind::BadRow, name, what);
                continue;
            }
            let key = match normalize(name, &absolute) {
                Ok(key) => key,
                Err(BadName::Empty) => {
                    report(
                        ProblemKind::EmptyName,
                        name,
                        "names no file; the row is left out".to_owned(),
                    );
                    continue;
                }
                Err(BadName::Outside) => {
                    let what = format!("leads outside {}; the row is left out", base.display());
                    report(ProblemKind::OutsidePath, name, what);
                    continue;
                }
            };
            let word = columns.label.map_or("", cell);
            if let Some(first) = by_key.get(&key) {
                let first = &mut listed[*first];
                let agree = fold(&first.word) == fold(word);
                if is_unlabelled(word) || agree || is_unlabelled(&first.word) {
                    if is_unlabelled(&first.word) && !conflicts.contains(&key) {
                        word.clone_into(&mut first.word);
                    }
                    let what = format!("is listed already in line {}", first.line);
                    report(ProblemKind::RepeatedRow, &key, what);
                } else {
                    let what = format!(
                        "is labelled {} here and {} in line {}; it is kept without a label",
                        quoted(word),
                        quoted(&first.word),
                        first.line
                    );
                    conflicts.insert(key.clone());
                    report(ProblemKind::ConflictingRow, &key, what);
                }
                continue;
            }
            if !is_image_name(&key) {
                let what =
                    "is no image file (.png, .jpg, .jpeg, .bmp, .tif, .tiff); the row is left out";
                report(ProblemKind::NotAnImage, &key, what.to_owned());
                continue;
            }
            let path = base.join(&key);
            match folders.look_up(&path) {
                Ok(true) => {}
                Ok(false) => {
                    let what = format!("does not exist in {}; the row is left out", base.display());
                    report(ProblemKind::MissingFile, &key, what);
                    continue;
                }
                Err(error) => {
                    let what = format!(
                        "cannot be read in {}: {error}; the row is left out",
                        base.display()
                    );
                    report(ProblemKind::Unreadable, &key, what);
                    continue;
                }
            }
            by_key.insert(key.clone(), listed.len());
            listed.push(Listed {
                key,
                path,
                word: word.to_owned(),
                line: row.line,
                values: columns.others.iter().map(|c| cell(*c).to_owned()).collect(),
            });
        }
        for image in &mut listed {
            if conflicts.contains(&image.key) {
                image.word.clear();
            }
        }
        (listed, problems)
    }
}

fn is_row_number(column: &str) -> bool {
    column.is_empty() || column.to_ascii_lowercase().starts_with("unnamed:")
}

fn fold_column(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, ' ' | '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The most frequent of `,`, `;` and tab in the first line that has any text, quotes aside.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut in_quotes = false;
    for byte in first.bytes() {
        in_quotes ^= byte == b'"';
        if let Some((_, n)) = counts.iter_mut().find(|(d, _)| *d == byte && !in_quotes) {
            *n += 1;
        }
    }
    let most = counts.iter().map(|(_, n)| *n).max().unwrap_or(0);
    counts
        .iter()
        .find(|(_, n)| *n == most)
        .map_or(b',', |(d, _)| *d)
}

#[derive(Debug, PartialEq, Eq)]
enum BadName {
    Empty,
    Outside,
}

/// A file name as a key: relative to `base` (an absolute path), `/` between parts, no `.` and no `..`.
fn normalize(name: &str, base: &Path) -> Result<String, BadName> {
    let within = Path::new(name).strip_prefix(base).ok();
    let name = within.and_then(Path::to_str).unwrap_or(name);
    let name = name.replace('\\', "/");
    if name.starts_with('/') {
        return Err(BadName::Outside);
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(BadName::Outside);
    }
    let Some(first) = parts.first() else {
        return Err(BadName::Empty);
    };
    // A drive letter, wherever it hid before the empty parts were dropped.
    let mut letters = first.bytes();
    if letters.next().is_some_and(|b| b.is_ascii_alphabetic()) && letters.next() == Some(b':') {
        return Err(BadName::Outside);
    }
    Ok(parts.join("/"))
}

/// Whether files exist, by one listing per folder.
#[derive(Default)]
struct Folders {
    listings: HashMap<PathBuf, HashSet<OsString>>,
}

impl Folders {
    /// Whether there is a file at `path`.
    fn look_up(&mut self, path: &Path) -> io::Result<bool> {
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
            if !self.listings.contains_key(folder) {
                self.listings.insert(folder.to_owned(), files_in(folder));
            }
            if self.listings.get(folder).is_some_and(|l| l.contains(name)) {
                return Ok(true);
            }
        }
        // Not listed: the folder may be unreadable, the file a link, or the file system one that
        // does not tell `A.png` from `a.png`.
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            Err(_) => Ok(false),
        }
    }
}

fn files_in(folder: &Path) -> HashSet<OsString> {
    let Ok(entries) = fs::read_dir(folder) else {
        return HashSet::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name())
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn table(text: &str) -> Table {
        Table::parse(Path::new("t.csv"), text).unwrap()
    }

    #[test]
    fn separators_marks_and_line_ends_do_not_matter() {
        for text in [
            "filename,Label\na.png,x\nb.png,\"y, z\"\n",
            "\u{feff}filename;Label\r\na.png;x\r\nb.png;y, z\r\n",
            "\n\nfilename\tLabel\n\na.png\tx\n\t\nb.png\ty, z",
        ] {
            let table = table(text);
            let columns = table.columns(&OpenOptions::default()).unwrap();
            let label = columns.label.unwrap();
            let cells: Vec<_> = table
                .cells(columns.filename)
                .zip(table.cells(label))
                .collect();
            assert_eq!(cells, [("a.png", "x"), ("b.png", "y, z")], "{text:?}");
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        for (header, filename, label, others) in [
            (",filename,window,lib,Label", 1, Some(4), vec![2, 3]),
            (
                "Unnamed: 0,filename,Label,Manual_Label",
                1,
                Some(3),
                vec![2],
            ),
            ("y,Image Path", 1, Some(0), vec![]),
            ("IMG", 0, None, vec![]),
        ] {
            let table = table(&format!("{header}\n"));
            let columns = table.columns(&OpenOptions::default()).unwrap();
            assert_eq!(columns.filename, filename, "{header}");
            assert_eq!(columns.label, label, "{header}");
            assert_eq!(columns.others, others, "{header}");
        }
    }

    #[test]
    fn a_missing_column_is_told_with_those_that_exist() {
        let table = table(",photo,kind\n0,a.png,x\n");
        let error = table.columns(&OpenOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("\"photo\" and \"kind\""),
            "{error}"
        );
        let options = OpenOptions {
            filename_column: Some("photo".to_owned()),
            label_column: Some("klass".to_owned()),
            ..OpenOptions::default()
        };
        let error = table.columns(&options).unwrap_err();
        assert!(error.to_string().contains("\"klass\""), "{error}");
    }

    #[test]
    fn names_become_keys() {
        let base = Path::new("/data/set");
        for (name, key) in [
            ("a.png", "a.png"),
            ("./b//a.png", "b/a.png"),
            (r"b\a.png", "b/a.png"),
            ("/data/set/b/a.png", "b/a.png"),
        ] {
            assert_eq!(normalize(name, base).as_deref(), Ok(key), "{name}");
        }
        for name in [
            "../a.png",
            "b/../../a.png",
            "/etc/a.png",
            r"C:\a.png",
            r"..\a.png",
            r".\a:",
        ] {
            assert_eq!(normalize(name, base), Err(BadName::Outside), "{name}");
        }
        for name in ["", ".", "/data/set"] {
            assert_eq!(normalize(name, base), Err(BadName::Empty), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_key_leads_outside(name in "[a./\\\\: ]{0,12}") {
            if let Ok(key) = normalize(&name, Path::new("/data")) {
                prop_assert!(key.split('/').all(|part| !part.is_empty() && part != ".."));
                prop_assert!(Path::new(&key).is_relative());
                prop_assert_eq!(normalize(&key, Path::new("/data")), Ok(key));
            }
        }

        #[test]
        fn no_text_is_too_odd_to_read(text in "[a,;\"\\t\\r\\n\u{feff}é]{0,40}") {
            if let Ok(table) = Table::parse(Path::new("t.csv"), &text) {
                let columns = Columns { filename: 0, label: Some(1), others: vec![2] };
                let (listed, problems) = table.images(&columns, Path::new("/nowhere"));
                prop_assert!(listed.is_empty());
                prop_assert_eq!(problems.len(), table.len());
            }
        }
    }
}
