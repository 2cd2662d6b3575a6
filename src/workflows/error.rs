//! What can go wrong in a workflow: each part's own error, told as it is.

use std::path::PathBuf;

use crate::{
    dataset::{DatasetError, sample::SampleError, splits::SplitError},
    drift::DriftError,
    evaluation::EvaluationError,
    imaging::WorkError,
    labels::{LabelError, csv::CsvError},
    project::ProjectError,
    storage::StorageError,
};

/// Why a workflow ended without a result. Every message names the file or the number it is about.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// It was asked to stop.
    #[error("stopped")]
    Cancelled,
    /// Opening.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The sample generator.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The split.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The label store.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// A CSV of labels.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A file of ours.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Reading many images.
    #[error(transparent)]
    Images(WorkError),
    /// Figures.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The drift head.
    #[error(transparent)]
    Drift(#[from] DriftError),
    /// The plan.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Plan(#[from] crate::training::PlanError),
    /// The training.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Train(#[from] crate::training::TrainError),
    /// The model.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Model(#[from] crate::models::ModelError),
    /// Fewer than two classes to tell apart.
    #[error(
        "there is nothing to tell apart: {found} of the regular classes has labelled images; label images of at least two classes"
    )]
    OneClass {
        /// How many have.
        found: usize,
    },
    /// A column that is not there.
    #[error("there is no column {name:?} to group by; this data set has {known}")]
    NoColumn {
        /// The column asked for.
        name: String,
        /// The columns there are.
        known: String,
    },
    /// A run folder that exists and holds something.
    #[error("{path} exists and is not empty; name another folder for the run")]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// A run folder without a finished run.
    #[error(
        "{path} holds no finished training run ({what}); train one first, or name its folder under the project's runs/"
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// A run whose classes are not the data set's.
    #[error(
        "the run {run} tells apart {run_classes}, but this data set has {classes}; train a model on this data set"
    )]
    OtherClasses {
        /// Name of the run.
        run: String,
        /// Its classes.
        run_classes: String,
        /// The data set's.
        classes: String,
    },
    /// An output that would overwrite what the data set is read from.
    #[error("{path} belongs to the data set and is never overwritten; name another file")]
    OwnFile {
        /// The file.
        path: PathBuf,
    },
    /// Nothing to work on.
    #[error("{0}")]
    NothingToDo(String),
    /// Too many images cannot be read.
    #[error("none of the {count} images can be read; the first says: {first}")]
    Unreadable {
        /// How many.
        count: usize,
        /// The first sentence.
        first: String,
    },
}

impl From<WorkError> for WorkflowError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Stopped => Self::Cancelled,
            error @ WorkError::Threads { .. } => Self::Images(error),
        }
    }
}
