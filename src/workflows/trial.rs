//! Short trials: a few steps of the real training on noise, to know how long one will take on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::jobs::{JobContext, ProgressCell};
use crate::models::set_threads;
use crate::storage::{StorageError, atomic_write, create_dir};
use crate::training::{
    Balance, Pace, PaceRecorder, Phase, Plan, ResolvedPhase, Setting, Task, TrainData, TrainEvent,
    Workload, fit, guess,
};

use super::{
    CostRequest, WorkflowError, lane,
    machine::machine,
    noise::{CLASSES, Noise, classes, cost, example},
};

/// Epochs of each phase: one that is not counted and two that are.
const EPOCHS: usize = 3;
/// About how long one of them should last.
const EPOCH_S: f64 = 0.4;
/// Steps of one of them at most.
const MOST_STEPS: usize = 16;
/// Images measured on after each of them at most.
const MEASURED: usize = 32;
/// So slow that nothing is unlearned, and no loss stops being a number.
const LEARNING_RATE: f64 = 1e-6;
/// Trials that are remembered.
const REMEMBERED: usize = 200;

/// One trial as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trial {
    machine: String,
    program_version: String,
    pace: Pace,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Trials {
    format_version: u32,
    trials: Vec<Trial>,
}

/// Where trials are kept: `speed.json` in the user's cache folder; safe to delete. `None` where the system
/// names no such folder.
#[must_use]
pub fn trials_file() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "driftscope")
        .map(|dirs| dirs.cache_dir().join("speed.json"))
}

/// What trials of this version of the program took on `machine`, the newest first. A file that is missing or
/// not understood holds none.
pub(super) fn trials(file: &Path, machine: &str) -> Vec<Pace> {
    let own = |trial: &Trial| trial.machine == machine && is_this_version(trial);
    let all = read(file).trials.into_iter().filter(own);
    all.map(|trial| trial.pace).collect()
}

fn is_this_version(trial: &Trial) -> bool {
    trial.program_version == env!("CARGO_PKG_VERSION")
}

fn read(file: &Path) -> Trials {
    fs::read_to_string(file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// Measures how long images take by `request.plan`: every phase for a few steps, on noise, by the very code
/// that trains, and without the plan's weights. What it took is kept in `request.trials`. Minutes are
/// seldom needed; a plan of few steps a second is measured by one step an epoch.
///
/// # Errors
/// [`WorkflowError::Cancelled`] when stopped, with nothing kept.
pub fn measure_pace(request: &CostRequest, context: &JobContext) -> Result<(), WorkflowError> {
    let Some(file) = &request.trials else {
        return Ok(());
    };
    let plan = &request.plan;
    plan.check()?;
    let _turn = lane::take(context)?;
    let threads = request.threads();
    set_threads(threads);
    let folder = Scratch::beside(file)?;
    let trial = trial_plan(plan);
    let steps = steps(plan, threads)?;
    let pixels = Noise::new(plan.size);
    let learned = steps * plan.batch;
    let measured = plan.batch.min(MEASURED);
    let part = |from: usize, n: usize| (from..from + n).map(example).collect();
    let data = TrainData {
        pixels: &pixels,
        classes: classes(),
        train: part(0, learned),
        validation: part(learned, measured),
        test: part(learned + measured, 1),
        cache: plan.cache_activations.then(|| folder.0.clone()),
        checkpoints: None,
    };
    let epochs = (trial.resolved_phases().len() * EPOCHS) as u64;
    let title = format!("timing a few steps of {}", plan.model);
    let mut recorder = PaceRecorder::new(&trial, threads);
    let mut done = 0;
    context.report(done, epochs, &title);
    // What is reported is the trial, not the training.
    let quiet = JobContext {
        progress: ProgressCell::default(),
        ..context.clone()
    };
    fit(&trial, &data, &cost(), &quiet, &mut |event| {
        recorder.watch(&event);
        if let TrainEvent::Epoch(_) = event {
            done += 1;
            context.report(done, epochs, &title);
        }
    })?;
    if context.should_stop() {
        return Err(WorkflowError::Cancelled);
    }
    keep(file, recorder.paces())
}

/// The plan with everything left out that costs no time, and a few epochs.
fn trial_plan(plan: &Plan) -> Plan {
    let phase = |phase: ResolvedPhase| Phase {
        learning_rate: Some(LEARNING_RATE),
        epochs: Some(EPOCHS),
        patience: Some(EPOCHS),
        ..Phase::of(&phase.trainable)
    };
    Plan {
        weights: None,
        balance: Balance::None,
        logit_adjustment: 0.0,
        train_per_class: None,
        group_by: None,
        learning_rate: LEARNING_RATE,
        epochs: EPOCHS,
        patience: EPOCHS,
        phases: plan.resolved_phases().into_iter().map(phase).collect(),
        ..plan.clone()
    }
}

/// Steps of one epoch: about [`EPOCH_S`] of the slowest phase.
fn steps(plan: &Plan, threads: usize) -> Result<usize, WorkflowError> {
    let mut slowest: f64 = 0.0;
    for phase in plan.resolved_phases() {
        let setting = Setting::of(plan, &phase, true, threads)?;
        let work = Workload::new(&plan.model, plan.size, CLASSES, &phase.trainable)?;
        let step = guess(Task::Learn, &setting, &work) * plan.batch as f64;
        slowest = slowest.max(step);
    }
    let steps = (1..MOST_STEPS).take_while(|steps| *steps as f64 * slowest < EPOCH_S);
    Ok(steps.count() + 1)
}

/// About how long a trial of `plan` lasts, seconds.
///
/// # Errors
/// [`WorkflowError::Model`] for a plan that names what does not exist.
pub(super) fn trial_seconds(plan: &Plan, threads: usize) -> Result<f64, WorkflowError> {
    let learned = (steps(plan, threads)? * plan.batch) as f64;
    let measured = plan.batch.min(MEASURED) as f64;
    let mut seconds = 0.0;
    for (at, phase) in plan.resolved_phases().iter().enumerate() {
        let work = Workload::new(&plan.model, plan.size, CLASSES, &phase.trainable)?;
        let kept = plan.cache_activations && work.boundary > 0;
        let setting = Setting::of(plan, phase, kept, threads)?;
        let of = |task| guess(task, &setting, &work);
        let epoch = of(Task::Learn) * learned + of(Task::Measure) * measured;
        let body = if kept { of(Task::Body) } else { 0.0 };
        seconds += epoch * EPOCHS as f64 + body * (learned + measured);
        if at == 0 {
            seconds += of(Task::Answer) * learned;
        }
    }
    Ok(seconds)
}

/// Puts new trials in front; those of other versions of the program go.
fn keep(file: &Path, paces: Vec<Pace>) -> Result<(), WorkflowError> {
    let machine = machine();
    let before = read(file).trials;
    let is_new = |trial: &Trial| {
        let replaced = |pace: &Pace| trial.machine == machine && pace.setting == trial.pace.setting;
        is_this_version(trial) && !paces.iter().any(replaced)
    };
    let kept: Vec<Trial> = before.into_iter().filter(is_new).collect();
    let new = paces.into_iter().map(|pace| Trial {
        machine: machine.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        pace,
    });
    let trials = Trials {
        format_version: 1,
        trials: new.chain(kept).take(REMEMBERED).collect(),
    };
    let text = serde_json::to_string_pretty(&trials).expect("plain data serialises");
    atomic_write(file, text.as_bytes())?;
    Ok(())
}

/// A folder for what a trial keeps of frozen layers; it goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(file: &Path) -> Result<Self, StorageError> {
        let name = format!("trial-{}", std::process::id());
        let folder = file.with_file_name(name);
        create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the user's cache folder, where it may be removed at any time.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::StopReason;
    use crate::training::Source;
    use crate::workflows::{testing::project, training_cost};

    fn request(folder: &Path) -> CostRequest {
        CostRequest {
            plan: Plan {
                size: 32,
                batch: 8,
                gradient_clip: 1.0,
                ..Plan::default()
            },
            threads: Some(1),
            trials: Some(folder.join("deep").join("speed.json")),
        }
    }

    #[test]
    fn a_trial_makes_an_estimate_a_measurement() {
        let (folder, project) = project(30);
        let snapshot = project.snapshot();
        let request = request(folder.path());
        let source = |request: &CostRequest| {
            let asked = training_cost(&snapshot, request).expect("an estimate");
            asked.cost.source
        };
        assert_eq!(source(&request), Source::Estimated);
        measure_pace(&request, &JobContext::detached()).expect("measured");
        assert_eq!(source(&request), Source::Trial);
        // Other threads, another batch: not what was measured.
        let mut other = request.clone();
        other.threads = Some(2);
        assert_eq!(source(&other), Source::Estimated);
        other.threads = Some(1);
        other.plan.batch = 16;
        assert_eq!(source(&other), Source::Estimated);
        // What does not change the pace changes nothing.
        other.plan.batch = 8;
        other.plan.epochs = 3;
        other.plan.seed = 9;
        assert_eq!(source(&other), Source::Trial);
        let file = request.trials.as_ref().expect("a file");
        let beside = fs::read_dir(file.parent().expect("a folder")).expect("listed");
        assert_eq!(beside.count(), 1, "nothing is left but the file");
        // Of another version, or damaged: as if nothing had been measured.
        let text = fs::read_to_string(file).expect("text");
        let old = text.replace(env!("CARGO_PKG_VERSION"), "0.0.1");
        for text in [old.as_str(), "{"] {
            fs::write(file, text).expect("written");
            assert_eq!(source(&request), Source::Estimated);
        }
    }

    #[test]
    fn a_stopped_trial_keeps_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let request = request(folder.path());
        let context = JobContext::detached();
        context.control.stop(StopReason::Cancelled);
        assert!(measure_pace(&request, &context).is_err());
        assert!(request.trials.is_some_and(|file| !file.exists()));
    }

    #[test]
    fn frozen_layers_are_timed_phase_by_phase() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Plan {
            model: "inception_v3".into(),
            size: 76,
            batch: 4,
            phases: vec![Phase::of("head"), Phase::of("last_30")],
            ..Plan::default()
        };
        let request = CostRequest {
            plan,
            ..request(folder.path())
        };
        measure_pace(&request, &JobContext::detached()).expect("measured");
        let file = request.trials.expect("a file");
        let paces = trials(&file, &machine());
        let parts: Vec<&str> = paces.iter().map(|p| p.setting.trainable.as_str()).collect();
        assert_eq!(parts, ["head", "last_30"]);
        for pace in &paces {
            assert!(pace.setting.kept && pace.body_s.is_some_and(|s| s > 0.0));
            assert!(pace.answer_s.is_some_and(|s| s > 0.0));
        }
        assert!(paces[1].learn_s > paces[0].learn_s);
        assert!(trials(&file, "another machine").is_empty());
    }
}
