//! The study's whole table: every preset trained on one project, with the same split.

use std::path::{Path, PathBuf};

use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::training::{Plan, TrainEvent, preset, preset_names};

use super::{RunSummary, TrainRequest, WorkflowError, train};

/// What to train of the table.
#[derive(Clone, Debug, Default)]
pub struct StudyRequest {
    /// Presets; all when empty.
    pub presets: Vec<String>,
    /// Folder with pretrained weights, `<model>.safetensors` each.
    pub weights: Option<PathBuf>,
    /// Side of the input in pixels, where not the preset's.
    pub size: Option<u32>,
    /// Epochs at most, of each phase, where not the preset's.
    pub epochs: Option<usize>,
    /// Seed of all, where not the preset's.
    pub seed: Option<u64>,
    /// Threads for libtorch.
    pub threads: Option<usize>,
}

/// The plans of the table in order, each with the name of its preset.
///
/// # Errors
/// [`WorkflowError::Plan`] for a preset that does not exist, or a plan that makes no sense.
pub fn study_plans(request: &StudyRequest) -> Result<Vec<(String, Plan)>, WorkflowError> {
    if let Some(folder) = request.weights.as_ref().filter(|f| !f.is_dir()) {
        return Err(WorkflowError::NothingToDo(format!(
            "{} is no folder; put pretrained weights there as <model>.safetensors, or leave --weights out",
            folder.display()
        )));
    }
    let names: Vec<String> = match request.presets.as_slice() {
        [] => preset_names().into_iter().map(str::to_owned).collect(),
        some => some.to_vec(),
    };
    let plan = |name: String| {
        let mut plan = preset(&name)?;
        plan.size = request.size.unwrap_or(plan.size);
        plan.epochs = request.epochs.unwrap_or(plan.epochs);
        plan.seed = request.seed.unwrap_or(plan.seed);
        for phase in &mut plan.phases {
            phase.epochs = request.epochs.or(phase.epochs);
        }
        plan.weights = request
            .weights
            .as_ref()
            .and_then(|folder| weights_in(folder, &plan.model));
        plan.check()?;
        Ok((name, plan))
    };
    names.into_iter().map(plan).collect()
}

fn weights_in(folder: &Path, model: &str) -> Option<String> {
    let file = folder.join(format!("{model}.safetensors"));
    file.is_file().then(|| file.display().to_string())
}

/// Trains the rows one after another. `row` gets each as it ends, with why where it brought no model; a
/// row that fails does not keep the others from being trained.
///
/// # Errors
/// [`WorkflowError::Cancelled`]; as [`study_plans`].
pub fn study(
    snapshot: &Snapshot,
    request: &StudyRequest,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
    row: &mut dyn FnMut(&str, Result<&RunSummary, &WorkflowError>),
) -> Result<Vec<(String, RunSummary)>, WorkflowError> {
    let mut runs = Vec::new();
    for (name, plan) in study_plans(request)? {
        let request = TrainRequest {
            plan,
            out: None,
            threads: request.threads,
        };
        match train(snapshot, &request, context, emit) {
            Ok(run) => {
                row(&name, Ok(&run));
                runs.push((name, run));
            }
            Err(WorkflowError::Cancelled) => return Err(WorkflowError::Cancelled),
            Err(error) => row(&name, Err(&error)),
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_every_preset_with_the_weights_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("vit_s14.safetensors"), b"").expect("written");
        let request = StudyRequest {
            weights: Some(folder.path().to_owned()),
            epochs: Some(2),
            seed: Some(7),
            ..StudyRequest::default()
        };
        let plans = study_plans(&request).expect("plans");
        let names: Vec<&str> = plans.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, preset_names());
        for (name, plan) in &plans {
            let pretrained = plan.weights.is_some();
            assert_eq!(pretrained, plan.model == "vit_s14", "{name}");
            assert!(
                plan.resolved_phases().iter().all(|p| p.epochs == 2),
                "{name}"
            );
            assert_eq!(plan.seed, 7);
        }
        let wrong = StudyRequest {
            presets: vec!["resnet".into()],
            ..StudyRequest::default()
        };
        assert!(study_plans(&wrong).is_err());
        let nowhere = StudyRequest {
            weights: Some(folder.path().join("none")),
            ..StudyRequest::default()
        };
        let error = study_plans(&nowhere).expect_err("no folder").to_string();
        assert!(error.contains("none is no folder"), "{error}");
    }
}
