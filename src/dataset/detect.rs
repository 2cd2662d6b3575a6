//! From a path to a manifest.

use std::fs;
use std::path::{Path, PathBuf};

use super::challenge;
use super::class_words::{ClassWords, is_unlabelled, labelled_entry, rare_labels};
use super::error::DatasetError;
use super::folders::{FolderLabels, Found, folder_labels, is_table_name, walk};
use super::manifest::{ImageEntry, Layout, Manifest};
use super::problem::{Problem, ProblemKind};
use super::table::{Listed, Table};
use super::text::{count, few, quoted, thousands};
use crate::domain::ClassSet;

/// What a user may say beside the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Folder that the names in a CSV are relative to, instead of the CSV's own.
    pub images: Option<PathBuf>,
    /// Column that holds the classes, instead of the one found by its name.
    pub label_column: Option<String>,
    /// Column that holds the file names, instead of the one found by its name.
    pub filename_column: Option<String>,
    /// Regular classes to label with, in order, for a data set whose files name none.
    pub classes: Vec<String>,
}

impl OpenOptions {
    /// Whether something is said that only makes sense for a CSV.
    #[must_use]
    pub fn asks_for_table(&self) -> bool {
        self.images.is_some() || self.label_column.is_some() || self.filename_column.is_some()
    }
}

/// Opens what lies at `path`: a folder in the challenge's layout, a CSV file or a folder with one,
/// class folders, or a plain folder of images; see `docs/formats/datasets.md`. Files are listed,
/// not opened, so a damaged image is found only when it is read.
///
/// # Errors
/// [`DatasetError`] where there is no data set to open. What is wrong with single files or rows goes
/// into [`Manifest::problems`] instead.
pub fn detect(path: &Path, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    let mut manifest = find(path, options)?;
    if !options.classes.is_empty() {
        name_classes(&mut manifest, &options.classes)?;
    }
    Ok(manifest)
}

/// Gives a data set whose files name no regular class those that the user names.
fn name_classes(manifest: &mut Manifest, names: &[String]) -> Result<(), DatasetError> {
    let chosen = ClassSet::from_labels(names.iter().map(|name| name.trim()));
    let few_enough = chosen.regular_len() < 254;
    let repeated = chosen.regular_len() < names.len();
    if repeated || names.is_empty() || !few_enough || names.iter().any(|n| is_unlabelled(n)) {
        return Err(DatasetError::ClassNames {
            names: names.to_vec(),
        });
    }
    let known = &manifest.classes;
    if known.regular_len() > 0 {
        if known.regular_names() == chosen.regular_names() {
            return Ok(());
        }
        return Err(DatasetError::ClassesNamed {
            path: manifest.root.clone(),
            known: known.regular_names(),
        });
    }
    for image in &mut manifest.images {
        image.label = image.label.map(|_| chosen.drift());
    }
    manifest.statement += &format!(
        " Classes to label with, as you named them: {}.",
        few(&chosen.regular_names(), 12)
    );
    manifest.classes = chosen;
    Ok(())
}

fn find(path: &Path, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    let metadata = fs::metadata(path).map_err(|e| DatasetError::from_io(path, e))?;
    if let Some(images) = options.images.as_ref().filter(|images| !images.is_dir()) {
        return Err(DatasetError::NoImageFolder {
            path: images.clone(),
            hint: "",
        });
    }
    if metadata.is_dir() {
        return open_folder(path, options);
    }
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase());
    if name.is_some_and(|name| is_table_name(&name) || name.ends_with(".txt")) {
        return open_csv(path, options);
    }
    Err(DatasetError::NotADataset {
        path: path.to_owned(),
    })
}

fn open_folder(root: &Path, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    if let Some(files) = challenge::find(root) {
        return challenge::open(files, options);
    }
    let mut found = walk(root)?;
    let labels = folder_labels(&found.images);
    match choose_table(root, &found, labels.is_some(), options)? {
        Chosen::Table(table) => return open_table(table, root, options),
        Chosen::None(problems) => found.problems.extend(problems),
    }
    if found.images.is_empty() {
        return Err(DatasetError::NoImages {
            path: root.to_owned(),
        });
    }
    match labels {
        Some(labels) => open_class_folders(root, found, labels),
        None => Ok(open_plain_folder(root, found)),
    }
}

enum Chosen {
    Table(Table),
    /// None that lists this folder's images; tables that could not be read.
    None(Vec<Problem>),
}

/// The one CSV file of a folder that lists images that exist.
fn choose_table(
    root: &Path,
    found: &Found,
    class_folders: bool,
    options: &OpenOptions,
) -> Result<Chosen, DatasetError> {
    let base = options.images.as_deref().unwrap_or(root);
    let mut suitable: Vec<(Table, bool)> = Vec::new();
    let mut unsuitable: Vec<Table> = Vec::new();
    let mut errors = Vec::new();
    for name in &found.tables {
        let read = Table::read(&root.join(name))
            .and_then(|table| table.columns(options).map(|columns| (table, columns)));
        match read {
            Ok((table, columns)) => {
                // A table whose first rows lead nowhere lists other images than these.
                let mut files = table.cells(columns.filename).take(50);
                let fits = files.any(|file| !file.is_empty() && base.join(file).is_file());
                drop(files);
                if fits {
                    suitable.push((table, columns.label.is_some()));
                } else {
                    unsuitable.push(table);
                }
            }
            Err(error) => errors.push((name, error)),
        }
    }
    if suitable.len() > 1 && suitable.iter().filter(|(_, labels)| *labels).count() == 1 {
        suitable.retain(|(_, labels)| *labels);
    }
    if suitable.len() > 1 && !class_folders {
        let names = suitable.iter().filter_map(|(t, _)| t.file.file_name());
        return Err(DatasetError::SeveralTables {
            folder: root.to_owned(),
            files: names.map(|n| n.to_string_lossy().into_owned()).collect(),
        });
    }
    if suitable.len() == 1 {
        return Ok(Chosen::Table(suitable.remove(0).0));
    }
    let asked = options.asks_for_table();
    if found.images.is_empty() || asked {
        // Better to say what is wrong with the only table than that there is nothing.
        if unsuitable.len() == 1 {
            return Ok(Chosen::Table(unsuitable.remove(0)));
        }
        if !errors.is_empty() {
            return Err(errors.remove(0).1);
        }
        if asked {
            return Err(DatasetError::OptionNeedsTable {
                path: root.to_owned(),
            });
        }
    }
    let ignored = |e: &DatasetError| {
        matches!(
            e,
            DatasetError::NoFilenameColumn { .. } | DatasetError::NoRows { .. }
        )
    };
    Ok(Chosen::None(
        errors
            .into_iter()
            .filter(|(_, error)| !ignored(error))
            .map(|(name, error)| {
                let sentence = format!("{error}. It is not used");
                Problem::new(ProblemKind::Unreadable, name, sentence)
            })
            .collect(),
    ))
}

fn open_csv(file: &Path, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    let root = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if challenge::is_train_labels(file)
        && let Some(files) = challenge::find(root)
    {
        return challenge::open(files, options);
    }
    open_table(Table::read(file)?, root, options)
}

fn open_table(table: Table, root: &Path, options: &OpenOptions) -> Result<Manifest, DatasetError> {
    let mut columns = table.columns(options)?;
    if table.len() == 0 {
        return Err(DatasetError::NoRows { file: table.file });
    }
    let template = challenge::is_template(&table.file);
    let mut base = options.images.clone().unwrap_or_else(|| root.to_owned());
    if template {
        columns.label = None;
        columns
            .others
            .retain(|c| !table.header[*c].eq_ignore_ascii_case("label"));
        let test = challenge::find(root).and_then(|files| files.test_images);
        if let (None, Some(test)) = (&options.images, test) {
            base = test;
        }
    }
    let (listed, mut problems) = table.images(&columns, &base);
    let words = if table.has_challenge_columns() {
        ClassWords::challenge()
    } else {
        // Every row counts, also one whose image is missing: the classes are not to change with it. Where
        // rows contradict each other without end, only those count that are kept.
        let words = columns.label.map(|label| table.cells(label));
        let kept = || ClassWords::from_words(listed.iter().map(|image| image.word.as_str()));
        let words = ClassWords::from_words(words.into_iter().flatten()).or_else(|_| kept());
        words.map_err(|classes| DatasetError::TooManyClasses {
            file: table.file.clone(),
            column: columns.label.map_or_else(String::new, |l| {
                format!("column {}", quoted(&table.header[l]))
            }),
            classes,
        })?
    };
    let images: Vec<ImageEntry> = listed
        .into_iter()
        .map(|image| labelled_entry(&words, image, &mut problems))
        .collect();
    if images.is_empty() {
        let first = problems.first().map(ToString::to_string);
        return Err(DatasetError::NoneFound {
            rows: table.len(),
            file: table.file,
            base,
            first: first.unwrap_or_default(),
        });
    }
    problems.extend(rare_labels(&words.classes, &images));
    let labels = match columns.label {
        Some(label) => format!("classes in column {}", quoted(&table.header[label])),
        None if template => "labels not used, being a template's random numbers".to_owned(),
        None => "no column of classes".to_owned(),
    };
    let statement = format!(
        "CSV file {}: file names in column {}, {labels}; {} of {} lead to an image. {}",
        table
            .file
            .strip_prefix(root)
            .unwrap_or(&table.file)
            .display(),
        quoted(&table.header[columns.filename]),
        thousands(images.len()),
        count(table.len(), "row"),
        label_counts(&words, &images),
    );
    let names = columns.others.iter().map(|c| table.header[*c].clone());
    Ok(Manifest::new(
        root.to_owned(),
        Layout::Csv {
            file: table.file.clone(),
        },
        words.classes,
        images,
        names.collect(),
        statement,
        problems,
    ))
}

fn open_class_folders(
    root: &Path,
    found: Found,
    labels: FolderLabels,
) -> Result<Manifest, DatasetError> {
    let words =
        ClassWords::from_words(labels.words.iter().map(String::as_str)).map_err(|classes| {
            DatasetError::TooManyClasses {
                file: root.to_owned(),
                column: "the name of a folder".to_owned(),
                classes,
            }
        })?;
    let mut problems = found.problems;
    let mut parts = labels.parts.clone().map(Vec::into_iter);
    let images: Vec<ImageEntry> = found
        .images
        .into_iter()
        .zip(labels.words)
        .map(|(key, word)| {
            let listed = Listed {
                path: root.join(&key),
                key,
                word,
                line: 0,
                values: parts
                    .as_mut()
                    .and_then(Iterator::next)
                    .into_iter()
                    .collect(),
            };
            labelled_entry(&words, listed, &mut problems)
        })
        .collect();
    problems.extend(rare_labels(&words.classes, &images));
    let mut statement = format!("Class folders. {}", label_counts(&words, &images));
    let mut columns = Vec::new();
    if let Some(parts) = labels.parts {
        let mut names: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        statement += &format!(
            " They lie in the folders {}, which are kept as the column \"folder\".",
            few(&names, 8)
        );
        columns.push("folder".to_owned());
    }
    Ok(Manifest::new(
        root.to_owned(),
        Layout::ClassFolders,
        words.classes,
        images,
        columns,
        statement,
        problems,
    ))
}

fn open_plain_folder(root: &Path, found: Found) -> Manifest {
    let images: Vec<ImageEntry> = found
        .images
        .into_iter()
        .map(|key| ImageEntry {
            path: root.join(&key),
            key,
            label: None,
            values: Vec::new(),
            incoming: true,
        })
        .collect();
    let statement = format!(
        "Plain folder: {}, none with a label (no CSV file lists them, and there are no two folders of images that could be classes).",
        count(images.len(), "image")
    );
    Manifest::new(
        root.to_owned(),
        Layout::PlainFolder,
        ClassSet::from_labels::<&str>([]),
        images,
        Vec::new(),
        statement,
        found.problems,
    )
}

/// `6 classes, 1,770 images with a label, 3 without, 2 of them drift.`
fn label_counts(words: &ClassWords, images: &[ImageEntry]) -> String {
    let drift = words.classes.drift();
    let labelled = images.iter().filter(|i| i.label.is_some()).count();
    let drifted = images.iter().filter(|i| i.label == Some(drift)).count();
    let mut text = format!(
        "{}; {} with a label",
        count(words.classes.regular_len(), "class"),
        count(labelled, "image")
    );
    if drifted > 0 {
        text += &format!(" ({} of them drift)", thousands(drifted));
    }
    if labelled < images.len() {
        text += &format!(", {} without", thousands(images.len() - labelled));
    }
    text.push('.');
    text
}
