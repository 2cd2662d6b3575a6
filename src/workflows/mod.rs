//! One function for each thing a user can do. The window and the command line call the same ones.
//!
//! The long ones take a [`Snapshot`] (plain data), a [`JobContext`](crate::jobs::JobContext) (to be watched and stopped) and a
//! closure for results as they come, so that they run the same in a job and in the foreground.

mod bench;
mod error;
mod export;
mod info;
mod scan;

#[cfg(feature = "torch")]
mod bench_networks;
#[cfg(feature = "torch")]
mod cost;
#[cfg(feature = "torch")]
mod decide;
#[cfg(feature = "torch")]
mod drift;
#[cfg(feature = "torch")]
mod embed;
#[cfg(feature = "torch")]
mod fine_tune;
#[cfg(feature = "torch")]
mod groups;
#[cfg(feature = "torch")]
mod lane;
#[cfg(feature = "torch")]
mod machine;
#[cfg(feature = "torch")]
mod noise;
#[cfg(feature = "torch")]
mod pictures;
#[cfg(feature = "torch")]
mod precision;
#[cfg(feature = "torch")]
mod refit;
#[cfg(feature = "torch")]
mod rehearse;
#[cfg(feature = "torch")]
mod resume;
#[cfg(feature = "torch")]
mod run;
#[cfg(feature = "torch")]
mod simulate;
#[cfg(feature = "torch")]
mod study;
#[cfg(feature = "torch")]
mod submit;
#[cfg(all(test, feature = "torch"))]
mod testing;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod trial;
#[cfg(feature = "torch")]
mod weights;

pub use bench::{Bench, Figure};
pub use error::WorkflowError;
pub use export::{ExportFormat, ExportSummary, ImportSummary, export_labels, import_labels};
pub use info::{Info, info};
pub use scan::{Unreadable, contents, open_thumbnails, scan};

#[cfg(feature = "torch")]
pub use cost::{Choice, CostRequest, PlanCost, training_cost};
#[cfg(feature = "torch")]
pub use decide::{Decided, DriftRate, FollowUp, Verdict};
#[cfg(feature = "gui")]
pub use drift::Places;
#[cfg(feature = "torch")]
pub use drift::{
    DriftResult, DriftScore, DriftSession, DriftSource, ImageScore, QUEUE_SEED, drift_labels,
    prepare_drift, save_ranking, share_in_words,
};
#[cfg(feature = "torch")]
pub use embed::{Body, embed, predict, write_predictions};
#[cfg(feature = "torch")]
pub use fine_tune::{
    BaseRun, DriftRun, DriftRunRow, FINE_TUNE_LABELS, FineTuneCost, FineTuneEvent, FineTunePwa,
    FineTuneRequest, UnfinishedFineTune, best_run, drift_runs, fine_tune, fine_tune_cost,
    load_drift_run, resume_fine_tune, unfinished_fine_tunes,
};
#[cfg(feature = "torch")]
pub use groups::ImageGroups;
#[cfg(feature = "torch")]
pub use machine::machine;
#[cfg(feature = "torch")]
pub use precision::{precision_fallback, precision_in_words};
#[cfg(feature = "torch")]
pub use refit::Refitted;
#[cfg(feature = "torch")]
pub use rehearse::{DriftKind, Rehearsal, RehearseRequest, ScoreSkill, rehearse};
#[cfg(feature = "torch")]
pub use resume::{UnfinishedRun, discard, project_of, resume, unfinished};
#[cfg(feature = "torch")]
pub use run::{
    Review, ReviewRow, RunSummary, find_run, load_run, model_infos, resolve_run, review, runs,
};
#[cfg(feature = "torch")]
pub use simulate::{
    CurvePoint, ScoreQuality, SimulateRequest, Simulation, SimulationParts, Strategy, simulate,
};
#[cfg(feature = "torch")]
pub use study::{StudyRequest, study, study_plans};
#[cfg(feature = "torch")]
pub use submit::{SubmitDecision, SubmitRequest, SubmitSummary, submit};
#[cfg(feature = "torch")]
pub use train::{TrainRequest, train};
#[cfg(feature = "torch")]
pub use trial::{measure_pace, trials_file};
#[cfg(feature = "torch")]
pub use weights::{
    FetchRequest, FetchSummary, HUB, WeightsCheck, WeightsRow, check_weights, fetch_weights,
    find_body, find_body_or_untrained, find_network, published_weights,
};

pub use crate::dataset::OpenOptions;
pub use crate::project::{DriftNetwork, Project, Snapshot};
#[cfg(feature = "torch")]
pub use crate::storage::download::is_sha256;

use std::path::{Path, PathBuf};

use crate::dataset::sample::{SampleSpec, SampleSummary};

/// What to open and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenRequest {
    /// A project folder, a data set folder, or a CSV.
    pub path: PathBuf,
    /// How to read a CSV.
    pub options: OpenOptions,
    /// Where to keep the project, if not in its usual place.
    pub project_dir: Option<PathBuf>,
}

impl From<PathBuf> for OpenRequest {
    /// Opens `path` in the usual way.
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }
}

/// Opens the project that `request` names.
///
/// # Errors
/// [`WorkflowError::Project`].
pub fn open(request: &OpenRequest) -> Result<Project, WorkflowError> {
    let project_dir = request.project_dir.as_deref();
    Ok(Project::open(&request.path, &request.options, project_dir)?)
}

/// Writes a made data set into `out`. `progress` gets images done and in all, and stops it with `false`.
///
/// # Errors
/// [`WorkflowError::Sample`].
pub fn sample(
    out: &Path,
    spec: &SampleSpec,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<SampleSummary, WorkflowError> {
    Ok(crate::dataset::sample::write(out, spec, progress)?)
}
