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
    /// Too few labels of a kind to fine-tune a network on.
    #[error(
        "fine-tuning needs {needed} images labelled drift and {needed} labelled regular, and there are {drift} and {regular}: label {}",
        missing(*drift, *regular, *needed)
    )]
    TooFewToFineTune {
        /// Candidates labelled drift that can be read.
        drift: usize,
        /// Candidates labelled regular that can be read.
        regular: usize,
        /// How many of each it takes.
        needed: usize,
    },
    /// Labels that cannot be dealt into parts without splitting a group.
    #[error(
        "the images labelled {kind} make too few groups to be held out in turn, for near-duplicates stay together{}: label other images",
        column.as_ref().map(|column| format!(", and images of one {column}")).unwrap_or_default()
    )]
    TooFewGroups {
        /// `drift` or `regular`.
        kind: &'static str,
        /// The column that groups images too, if any.
        column: Option<String>,
    },
    /// A class that is not there.
    #[error("there is no class {name:?}; the classes are {}", known.join(", "))]
    NoClass {
        /// The class asked for.
        name: String,
        /// The regular classes there are, in the words of the files.
        known: Vec<String>,
    },
    /// A scale of pixels that is not known.
    #[error("there is no scale of pixels {name:?}; the scales are scale01, minus1_1 and imagenet")]
    NoScale {
        /// The name given.
        name: String,
    },
    /// A table of the truth that does not serve.
    #[error("{path} does not tell the truth of the incoming images: {what}")]
    Truth {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The queue.
    #[error("{0}")]
    Queue(String),
    /// A column that is not there.
    #[error("there is no column {name:?} to group by; this data set has {known}")]
    NoColumn {
        /// The column asked for.
        name: String,
        /// The columns there are.
        known: String,
    },
    /// A run folder that exists and holds something.
    #[error(
        "{path} exists and is not empty; name another folder for the run, or go on with an interrupted one by --resume"
    )]
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
    /// Asked to resume a run that is finished.
    #[error(
        "{path} holds a finished run: nothing is left to resume; `driftscope evaluate` prints its report"
    )]
    RunFinished {
        /// The folder.
        path: PathBuf,
    },
    /// Asked to resume a fine-tuning that is finished.
    #[error(
        "{path} holds a finished fine-tuning: nothing is left to resume; its figures are in the run.json in there, and in the window under Drift, \"Show them against each other\""
    )]
    FineTuningFinished {
        /// The folder.
        path: PathBuf,
    },
    /// Asked to resume what is no interrupted run.
    #[error("{path} holds no training that could be resumed ({what})")]
    NothingToResume {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// A run that is being trained just now.
    #[error("{path} is being trained by {owner}; wait for it, or stop that first")]
    RunInUse {
        /// The folder.
        path: PathBuf,
        /// Who trains it.
        owner: String,
    },
    /// The plan of an interrupted run is not the one it was started with.
    #[error(
        "{path} is not the plan that this training was started with; put that back, or start a new run with `driftscope train --plan`"
    )]
    PlanChanged {
        /// The plan.
        path: PathBuf,
    },
    /// The images of an interrupted run are not those it was started on.
    #[error(
        "{count} of the images that the run {run} was started on are gone, have changed or have moved within the data set, {first} first of all; put back what was, or start a new run"
    )]
    DataChanged {
        /// Name of the run.
        run: String,
        /// How many.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A training that ended without a model, with what is kept of it.
    #[error("{error}; {kept}")]
    Unfinished {
        /// Why it ended.
        error: Box<Self>,
        /// What is kept and what it is good for.
        kept: String,
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
    /// Fetching a file.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Download(#[from] crate::storage::download::DownloadError),
    /// Weights are to be fetched, and their server cannot be reached.
    #[cfg(feature = "torch")]
    #[error(
        "{url} cannot be reached ({what}); no internet is needed: fetch that file on another machine and copy it to {target}, or give its path as --weights FILE"
    )]
    Offline {
        /// The address.
        url: String,
        /// What the system said.
        what: String,
        /// Where fetched weights of that name lie.
        target: PathBuf,
    },
    /// No such name in the table of published weights.
    #[cfg(feature = "torch")]
    #[error("there are no weights to fetch by the name {name:?}; there are {known}")]
    UnknownWeights {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Weights named that have not been fetched.
    #[cfg(feature = "torch")]
    #[error(
        "the weights {name} are not here yet: `driftscope weights fetch {name}` fetches them, or copy their file to {file}, or give another file"
    )]
    NotFetched {
        /// Their name.
        name: &'static str,
        /// Where they would lie.
        file: PathBuf,
    },
    /// Weights that came whole, but that their network does not take.
    #[cfg(feature = "torch")]
    #[error("what came from {url} is of no use to {model} and was not kept: {source}")]
    UselessWeights {
        /// The address.
        url: String,
        /// The network.
        model: &'static str,
        /// Why.
        source: Box<WorkflowError>,
    },
    /// A weights file to be tried on nobody knows what.
    #[cfg(feature = "torch")]
    #[error("{file} is not called after a model; say with --model on which to try it")]
    WhichModel {
        /// The file.
        file: PathBuf,
    },
    /// A weights file that fits no network.
    #[cfg(feature = "torch")]
    #[error(
        "{file} holds the weights of none of {known}; `driftscope weights check FILE --model NAME` says what does not fit"
    )]
    NoNetwork {
        /// The file.
        file: PathBuf,
        /// The networks tried.
        known: String,
    },
    /// The system names no folder for the user's data.
    #[cfg(feature = "torch")]
    #[error("this system names no folder for data of yours; set HOME, or give weights as a file")]
    NoDataFolder,
    /// Tiles of images whose strip nobody knows.
    #[cfg(feature = "torch")]
    #[error(
        "tiles of the strip cannot be looked at: the die of {count} of {images} images is not known, the first {first}; \
         write Die01, Die02, Die03 or Die04 into the column lib of the data set's CSV, or turn the strip tiles off"
    )]
    NoDie {
        /// Images without a known die.
        count: usize,
        /// Images that were to be looked at.
        images: usize,
        /// The first without.
        first: String,
    },
    /// Nothing to work on.
    #[error("{0}")]
    NothingToDo(String),
    /// Too many images cannot be read.
    #[error("none of the {count} images can be used; the first says: {first}")]
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

/// What still has to be labelled before there are `needed` of both kinds.
fn missing(drift: usize, regular: usize, needed: usize) -> String {
    let more = |kind: &str, there: usize| {
        let missing = needed.saturating_sub(there);
        (missing > 0).then(|| format!("{missing} more {kind}"))
    };
    let parts = [more("drift", drift), more("regular", regular)];
    parts
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}
