//! The study's whole table: every preset trained on one project, with the same split. It takes hours, so that it
//! goes on where it was stopped: rows that are there are not trained again.

use std::path::{Path, PathBuf};

use crate::jobs::JobContext;
use crate::models::ModelSpec;
use crate::project::Snapshot;
use crate::training::{Augmentation, Balance, Plan, PlanError, TrainEvent, preset, study_names};

use super::{
    RunSummary, TrainRequest, WorkflowError, resume::resume, resume::unfinished,
    run::trained_already, train, weights::fetched, weights::with_fetched_weights,
};

/// What to train of the table.
#[derive(Clone, Debug, Default)]
pub struct StudyRequest {
    /// Presets; all when empty.
    pub presets: Vec<String>,
    /// Folder with pretrained weights, `<model>.safetensors` each; those that were fetched when not given.
    pub weights: Option<PathBuf>,
    /// Side of the input in pixels, where not the preset's. A network that cannot read that size keeps its preset's.
    pub size: Option<u32>,
    /// Epochs at most, of each phase, where not the preset's.
    pub epochs: Option<usize>,
    /// How the imbalance of the classes is met, where not as the preset does.
    pub balance: Option<Balance>,
    /// How training images are changed at random, where not as the preset does.
    pub augmentation: Option<Augmentation>,
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
        [] => study_names().into_iter().map(str::to_owned).collect(),
        some => some.to_vec(),
    };
    let plan = |name: String| {
        let mut plan = preset(&name)?;
        let spec = ModelSpec::find(&plan.model).map_err(|e| PlanError::Model(e.to_string()))?;
        let readable = request.size.filter(|size| spec.check_size(*size).is_ok());
        plan.size = readable.unwrap_or(plan.size);
        plan.epochs = request.epochs.unwrap_or(plan.epochs);
        plan.balance = request.balance.unwrap_or(plan.balance);
        plan.augmentation = request.augmentation.unwrap_or(plan.augmentation);
        plan.seed = request.seed.unwrap_or(plan.seed);
        for phase in &mut plan.phases {
            phase.epochs = request.epochs.or(phase.epochs);
        }
        plan.weights = match &request.weights {
            Some(folder) => weights_in(folder, &plan.model),
            None => fetched(&plan.model),
        };
        plan.check()?;
        Ok((name, plan))
    };
    names.into_iter().map(plan).collect()
}

fn weights_in(folder: &Path, model: &str) -> Option<String> {
    let file = folder.join(format!("{model}.safetensors"));
    file.is_file().then(|| file.display().to_string())
}

/// Trains the rows one after another; a row that was trained already is taken as it is, one whose training was
/// interrupted goes on. `row` gets each as it ends, with why where it brought no model; a
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
        if let Some(size) = request.size.filter(|size| *size != plan.size) {
            emit(TrainEvent::Note(format!(
                "{name} is trained at {} px: {} cannot read images of {size} px",
                plan.size, plan.model
            )));
        }
        match one(snapshot, &plan, request.threads, context, emit) {
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

fn one(
    snapshot: &Snapshot,
    plan: &Plan,
    threads: Option<usize>,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<RunSummary, WorkflowError> {
    // As a run has it in its folder.
    let plan = with_fetched_weights(plan)?;
    if let Some(run) = trained_already(snapshot, &plan) {
        emit(TrainEvent::Note(format!(
            "trained already: {}",
            run.dir.display()
        )));
        return Ok(run);
    }
    let mut interrupted = unfinished(snapshot).into_iter();
    if let Some(run) = interrupted.find(|run| run.plan == plan) {
        emit(TrainEvent::Note(format!(
            "going on with {}",
            run.dir.display()
        )));
        match resume(snapshot, &run.dir, context, emit) {
            // Images or classes are others now: it has to begin anew.
            Err(WorkflowError::DataChanged { .. } | WorkflowError::OtherClasses { .. }) => {}
            result => return result,
        }
    }
    let request = TrainRequest {
        plan,
        out: None,
        threads,
    };
    train(snapshot, &request, context, emit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClassId, Label};
    use crate::workflows::testing;

    #[test]
    fn a_row_that_is_there_is_not_trained_again_until_the_labels_change() {
        let (_folder, project) = testing::project(30);
        let request = StudyRequest {
            presets: vec!["cnn03".into()],
            size: Some(32),
            epochs: Some(1),
            threads: Some(1),
            ..StudyRequest::default()
        };
        let play = |snapshot: &Snapshot| {
            let mut epochs = 0;
            let context = JobContext::detached();
            let mut count =
                |event| epochs += usize::from(matches!(event, TrainEvent::Epoch { .. }));
            let rows = study(snapshot, &request, &context, &mut count, &mut |_, row| {
                assert!(row.is_ok(), "{row:?}");
            });
            (rows.expect("a table")[0].1.name.clone(), epochs)
        };
        let mut snapshot = project.snapshot();
        let (first, trained) = play(&snapshot);
        assert_eq!(trained, 1);
        assert_eq!(play(&snapshot), (first.clone(), 0));
        std::sync::Arc::make_mut(&mut snapshot.hand)[0] = Some(Label::Class(ClassId::from(1)));
        let (other, trained) = play(&snapshot);
        assert_eq!(trained, 1);
        assert_ne!(other, first);
    }

    #[test]
    fn the_table_is_every_preset_with_the_weights_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("vit_s14.safetensors"), b"").expect("written");
        let request = StudyRequest {
            weights: Some(folder.path().to_owned()),
            epochs: Some(2),
            balance: Some(Balance::Weights),
            augmentation: Some(Augmentation::study()),
            seed: Some(7),
            ..StudyRequest::default()
        };
        let plans = study_plans(&request).expect("plans");
        let names: Vec<&str> = plans.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, study_names());
        for (name, plan) in &plans {
            let pretrained = plan.weights.is_some();
            assert_eq!(pretrained, plan.model == "vit_s14", "{name}");
            assert!(
                plan.resolved_phases().iter().all(|p| p.epochs == 2),
                "{name}"
            );
            assert_eq!(plan.seed, 7);
            assert_eq!(plan.balance, Balance::Weights);
            assert_eq!(plan.augmentation, Augmentation::study());
        }
        let small = StudyRequest {
            size: Some(100),
            ..StudyRequest::default()
        };
        for (name, plan) in study_plans(&small).expect("plans") {
            // As the preset has it where nothing is said.
            assert_eq!(plan.balance == Balance::Undersample, name == "baseline");
            assert!(plan.augmentation.is_none(), "{name}");
            let size = if name == "vit_head" { 224 } else { 100 };
            assert_eq!(plan.size, size, "{name}");
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
