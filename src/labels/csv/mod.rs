//! Labels in CSV files: the study's `manual_label_df_submission.csv` and plain `filename,label`.
//! Both are described in `docs/formats/labels.md`.

mod error;
mod export;
mod images;
mod import;
mod table;
#[cfg(test)]
mod tests;

pub use error::CsvError;
pub use export::{LeftOut, StudyExport, StudyRow, export_plain, export_study, update_study};
pub use images::{Found, ImageKeys};
pub use import::{Import, ImportProblem, Layout, import, import_bytes};

/// The columns of the study's file, in its order.
const STUDY: [&str; 8] = [
    "Unnamed: 0",
    "filename",
    "window",
    "lib",
    "Label",
    "LabelStr",
    "Predicted_Label",
    MANUAL,
];
/// The column with the image's name, in both layouts.
const FILENAME: &str = "filename";
/// The column with the hand label in the study's file.
const MANUAL: &str = "Manual_Label";
/// The column with the label in the plain layout.
const LABEL: &str = "label";
/// The study's word for "no hand label".
const NOT_LABELLED: &str = "n.a.";
