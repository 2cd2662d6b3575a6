//! Labels from and to CSV.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::{Layout, Manifest};
use crate::domain::{ClassId, ImageId};
use crate::labels::csv::{self, ImageKeys, ImportProblem, LeftOut, StudyRow};
use crate::project::Project;
use crate::storage::atomic_write;

use super::WorkflowError;

/// What an import did.
#[derive(Clone, Debug)]
pub struct ImportSummary {
    /// The file.
    pub file: PathBuf,
    /// Labels in the file that name an image of the data set.
    pub read: usize,
    /// Of these, labels that changed something. They undo as one step.
    pub changed: usize,
    /// Rows that say the image has no label.
    pub skipped_no_label: usize,
    /// Rows left out, each with its line and why.
    pub problems: Vec<ImportProblem>,
}

/// Reads labels from a CSV, in the study's layout or plain `filename,label`, into the store as one batch.
///
/// # Errors
/// [`WorkflowError::Csv`] for a file that is no such CSV, [`WorkflowError::Labels`] when they cannot be
/// stored; nothing is changed then.
pub fn import_labels(project: &mut Project, file: &Path) -> Result<ImportSummary, WorkflowError> {
    let keys = image_keys(project);
    let import = csv::import(file, &keys, &project.manifest.classes)?;
    let changes = project.labels.news(&import.changes);
    project.labels.apply_many(&changes)?;
    Ok(ImportSummary {
        file: file.to_owned(),
        read: import.changes.len(),
        changed: changes.len(),
        skipped_no_label: import.skipped_no_label,
        problems: import.problems,
    })
}

/// How to write labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// `filename,label`, labelled images only.
    Plain,
    /// The study's `manual_label_df_submission.csv`, one row for each incoming image.
    Study,
    /// The study's layout with a file of theirs as template: only cells whose label differs change.
    StudyFrom(PathBuf),
}

/// What an export wrote.
#[derive(Clone, Debug)]
pub struct ExportSummary {
    /// The file.
    pub file: PathBuf,
    /// Labels written, or for a template, cells that changed.
    pub labels: usize,
    /// Labels that the format cannot hold, and why.
    pub left_out: Vec<LeftOut>,
}

/// Writes the hand labels to `file`, replacing it as a whole. `predicted` gives a model's answer for the
/// study's layout, where there is one.
///
/// # Errors
/// [`WorkflowError::Csv`] for a template that is none, [`WorkflowError::Storage`].
pub fn export_labels(
    project: &Project,
    file: &Path,
    format: &ExportFormat,
    predicted: &dyn Fn(ImageId) -> Option<ClassId>,
) -> Result<ExportSummary, WorkflowError> {
    let manifest = &project.manifest;
    refuse_own_files(manifest, file)?;
    let classes = &manifest.classes;
    let decision = |key: &str| project.labels.decision(key);
    let (bytes, labels, left_out) = match format {
        ExportFormat::Plain => {
            let bytes = csv::export_plain(project.labels.labels(), classes);
            (bytes, project.labels.labels().count(), Vec::new())
        }
        ExportFormat::Study => {
            let value = |id: ImageId, name| {
                let column = manifest.column(name);
                column.map_or(String::new(), |c| manifest.get(id).values[c].clone())
            };
            let rows: Vec<StudyRow> = manifest
                .ids()
                .filter(|id| manifest.get(*id).incoming)
                .map(|id| StudyRow {
                    filename: manifest.get(id).key.clone(),
                    window: value(id, "window"),
                    lib: value(id, "lib"),
                    predicted: predicted(id),
                })
                .collect();
            let export = csv::export_study(&rows, classes, decision);
            (export.bytes, export.changed, export.left_out)
        }
        ExportFormat::StudyFrom(template) => {
            let bytes = std::fs::read(template).map_err(|source| csv::CsvError::Unreadable {
                path: template.clone(),
                source,
            })?;
            let export =
                csv::update_study(template, &bytes, &image_keys(project), classes, decision)?;
            (export.bytes, export.changed, export.left_out)
        }
    };
    atomic_write(file, &bytes)?;
    Ok(ExportSummary {
        file: file.to_owned(),
        labels,
        left_out,
    })
}

fn image_keys(project: &Project) -> ImageKeys {
    ImageKeys::new(
        project
            .manifest
            .images
            .iter()
            .map(|image| image.key.as_str()),
    )
}
/// Refuses to write over what the data set is read from: its images, its CSV, the challenge's tables.
pub(super) fn refuse_own_files(manifest: &Manifest, out: &Path) -> Result<(), WorkflowError> {
    // What does not exist yet overwrites nothing.
    let Ok(real) = fs::canonicalize(out) else {
        return Ok(());
    };
    let same = |path: &Path| fs::canonicalize(path).is_ok_and(|path| path == real);
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let of_challenge = name.starts_with("Y_") || name == "win_and_lib.csv" || name == "truth.csv";
    let inside = fs::canonicalize(&manifest.root).is_ok_and(|root| real.starts_with(root));
    let table = match &manifest.layout {
        Layout::Csv { file } => same(file),
        _ => false,
    };
    let image = || manifest.images.iter().any(|image| same(&image.path));
    if table || inside && (of_challenge || image()) {
        return Err(WorkflowError::OwnFile {
            path: out.to_owned(),
        });
    }
    Ok(())
}
