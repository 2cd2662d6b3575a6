//! The files of Challenge Data #157 under their own names.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::class_words::{ClassWords, labelled_entry, rare_labels};
use super::detect::OpenOptions;
use super::error::DatasetError;
use super::folders::walk;
use super::manifest::{ImageEntry, Layout, Manifest};
use super::problem::{Problem, ProblemKind};
use super::table::{Columns, Listed, Table};
use super::text::{count, quoted};

/// The files found.
pub(super) struct ChallengeFiles {
    root: PathBuf,
    /// `Y_train_eVW9jym.csv`.
    labels: PathBuf,
    train_images: Option<PathBuf>,
    pub(super) test_images: Option<PathBuf>,
    /// The submission template, then the list of windows and dies: the first one sets the order.
    test_tables: Vec<PathBuf>,
}

/// Looks for the challenge's `Y_train_….csv`, image folders and lists in `root`; `None` without the
/// first. The letters after `Y_train_`, `Y_random_` and `input_test_` do not matter.
pub(super) fn find(root: &Path) -> Option<ChallengeFiles> {
    let mut names: Vec<String> = fs::read_dir(root)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let named = |exact: &str, start: &str, end: &str| {
        let fits = |name: &&String| {
            let name = name.to_lowercase();
            name.starts_with(start) && name.ends_with(end)
        };
        let found = names.iter().find(|name| *name == exact);
        found
            .or_else(|| names.iter().find(fits))
            .map(|n| root.join(n))
    };
    let folder = |start: &str| {
        let outer = named(start, start, "").filter(|path| path.is_dir())?;
        let inner = outer.join(start);
        Some(if inner.is_dir() { inner } else { outer })
    };
    let supplement = ["Supp_files/win_and_lib.csv", "win_and_lib.csv"]
        .map(|name| root.join(name))
        .into_iter()
        .find(|path| path.is_file());
    Some(ChallengeFiles {
        root: root.to_owned(),
        labels: named("Y_train_eVW9jym.csv", "y_train", ".csv")?,
        train_images: folder("input_train"),
        test_images: folder("input_test"),
        test_tables: named("Y_random_nKwalR1.csv", "y_random", ".csv")
            .into_iter()
            .chain(supplement)
            .collect(),
    })
}

/// Whether a file is the submission template, whose labels are random numbers.
pub(super) fn is_template(file: &Path) -> bool {
    starts_with(file, "y_random")
}

/// Whether a file is the list of training labels.
pub(super) fn is_train_labels(file: &Path) -> bool {
    starts_with(file, "y_train")
}

fn starts_with(file: &Path, start: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.to_lowercase().starts_with(start))
}

/// Reads the files into a manifest: labelled training images, then incoming test images. The labels
/// of the submission template are random and never read.
pub(super) fn open(files: ChallengeFiles, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    let base = options.images.as_ref().or(files.train_images.as_ref());
    let base = base.ok_or_else(|| DatasetError::NoImageFolder {
        path: files.root.join("input_train"),
        hint: "; put the training images there, or name their folder with --images",
    })?;
    let table = Table::read(&files.labels)?;
    let columns = table.columns(options)?;
    if table.len() == 0 {
        return Err(DatasetError::NoRows { file: table.file });
    }
    let words = ClassWords::challenge();
    let (listed, mut problems) = table.images(&columns, base);
    let mut images: Vec<ImageEntry> = listed
        .into_iter()
        .map(|image| labelled_entry(&words, image, &mut problems))
        .collect();
    problems.extend(rare_labels(&words.classes, &images));
    let train = images.len();
    let names: Vec<String> = columns
        .others
        .iter()
        .map(|c| table.header[*c].clone())
        .collect();
    let mut statement = format!(
        "Files of Challenge Data #157: {} names {} in {}",
        shown(&files.root, &files.labels),
        count(train, "image"),
        shown(&files.root, base),
    );
    match &files.test_images {
        Some(folder) => {
            let test = test_images(folder, &files.test_tables, &names, &mut problems)?;
            add_test_images(test, &mut images, &mut problems);
            statement += &format!(
                ", and there are {} without labels in {}",
                count(images.len() - train, "test image"),
                shown(&files.root, folder)
            );
            if files.test_tables.iter().any(|file| is_template(file)) {
                statement += " (the labels of the submission template are random and not used)";
            }
            statement.push('.');
        }
        None => statement += ". There is no folder of test images.",
    }
    if images.is_empty() {
        let first = problems.first().map(ToString::to_string);
        return Err(DatasetError::NoneFound {
            rows: table.len(),
            file: table.file,
            base: base.clone(),
            first: first.unwrap_or_default(),
        });
    }
    Ok(Manifest::new(
        files.root,
        Layout::Challenge,
        words.classes,
        images,
        names,
        statement,
        problems,
    ))
}

/// The test images in the order of the first table, then those that no table lists.
fn test_images(
    folder: &Path,
    tables: &[PathBuf],
    names: &[String],
    problems: &mut Vec<Problem>,
) -> Result<Vec<ImageEntry>, DatasetError> {
    let mut images: Vec<ImageEntry> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    for (nth, file) in tables.iter().enumerate() {
        let rows = match test_rows(file, folder, names) {
            Ok(rows) => rows,
            Err(error) => {
                let name = file.display().to_string();
                problems.push(Problem::new(
                    ProblemKind::Unreadable,
                    name,
                    format!("{error}. The test images are used without it"),
                ));
                continue;
            }
        };
        // What the first table misses, the second misses too.
        if nth == 0 {
            problems.extend(rows.problems);
        }
        for row in rows.listed {
            let at = *by_key.entry(row.key.clone()).or_insert_with(|| {
                images.push(incoming(row.key, row.path, names.len()));
                images.len() - 1
            });
            for (column, value) in rows.picked.iter().zip(row.values) {
                let known = &mut images[at].values[*column];
                if known.is_empty() {
                    *known = value;
                }
            }
        }
    }
    let found = walk(folder)?;
    problems.extend(found.problems);
    for key in found.images {
        if !by_key.contains_key(&key) {
            let path = folder.join(&key);
            images.push(incoming(key, path, names.len()));
        }
    }
    Ok(images)
}

/// What one list of test images says.
struct TestRows {
    listed: Vec<Listed>,
    /// The manifest column of each of their values.
    picked: Vec<usize>,
    problems: Vec<Problem>,
}

fn test_rows(file: &Path, folder: &Path, names: &[String]) -> Result<TestRows, DatasetError> {
    let table = Table::read(file)?;
    let filename = table.columns(&OpenOptions::default())?.filename;
    let (picked, others) = names
        .iter()
        .enumerate()
        .filter_map(|(i, name)| Some((i, table.column(name)?)))
        .unzip();
    let columns = Columns {
        filename,
        label: None,
        others,
    };
    let (listed, problems) = table.images(&columns, folder);
    Ok(TestRows {
        listed,
        picked,
        problems,
    })
}

fn incoming(key: String, path: PathBuf, columns: usize) -> ImageEntry {
    ImageEntry {
        key,
        path,
        label: None,
        values: vec![String::new(); columns],
        incoming: true,
    }
}

fn add_test_images(
    test: Vec<ImageEntry>,
    images: &mut Vec<ImageEntry>,
    problems: &mut Vec<Problem>,
) {
    let train: HashSet<String> = images.iter().map(|i| i.key.clone()).collect();
    for image in test {
        if train.contains(&image.key) {
            let sentence = format!(
                "{} is both a training and a test image; it is kept as a training image",
                quoted(&image.key)
            );
            problems.push(Problem::new(ProblemKind::RepeatedRow, image.key, sentence));
        } else {
            images.push(image);
        }
    }
}

/// A path as the data set's folder shows it.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
