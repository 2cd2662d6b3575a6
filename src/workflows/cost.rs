//! What a training will take, told before it starts.

use std::path::PathBuf;

use serde::Serialize;

use crate::imaging::PixelCache;
use crate::models;
use crate::project::Snapshot;
use crate::training::{
    Disk, PaceBook, Plan, Source, SplitCounts, TrainError, TrainingCost, estimate, free_space,
    kept_bytes, kept_images, other_choices,
};

use super::{
    WorkflowError,
    machine::machine,
    run::paces,
    train::{Parts, check_plan},
    trial::{trial_seconds, trials},
    weights::with_fetched_weights,
};

/// The training that is asked about.
#[derive(Clone, Debug, Default)]
pub struct CostRequest {
    /// How.
    pub plan: Plan,
    /// Threads for libtorch; its own choice when not given.
    pub threads: Option<usize>,
    /// Where short trials are kept ([`trials_file`](super::trials_file)); without it there are none.
    pub trials: Option<PathBuf>,
}

impl CostRequest {
    /// Threads that the training will compute with.
    pub(super) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(models::threads)
    }
}

/// What a training will take, and what it would if one thing were chosen otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanCost {
    /// By the plan.
    #[serde(flatten)]
    pub cost: TrainingCost,
    /// What it will run on.
    pub machine: String,
    /// With one thing chosen otherwise, each.
    pub choices: Vec<Choice>,
    /// What the user should know of the plan before it starts.
    pub warnings: Vec<String>,
    /// About how long it takes to measure what is only estimated ([`measure_pace`](super::measure_pace)),
    /// seconds.
    pub trial_s: f64,
}

/// What a training would take with one thing chosen otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The other choice: `at 299 px`.
    pub name: String,
    /// Seconds of everything, if no phase stops early.
    pub at_most_s: f64,
    /// Bytes that it leaves on the disk.
    pub disk: u64,
    /// How the figures are known.
    pub source: Source,
}

/// What `request.plan` will take on the labelled images of the project, from runs of the project and trials on
/// this machine where there are any. Nothing is computed and nothing written; what would keep the training
/// from starting is told now.
///
/// # Errors
/// As [`train`](super::train), for everything that is wrong with the plan, its files and the labels.
pub fn training_cost(
    snapshot: &Snapshot,
    request: &CostRequest,
) -> Result<PlanCost, WorkflowError> {
    check_plan(&request.plan)?;
    let plan = &with_fetched_weights(&request.plan)?;
    let images = counts(snapshot, plan)?;
    let machine = machine();
    let mut book = PaceBook::default();
    book.add(Source::Run, paces(snapshot, &machine));
    if let Some(file) = &request.trials {
        book.add(Source::Trial, trials(file, &machine));
    }
    let classes = snapshot.manifest.classes.regular_len();
    let (free, older) = (free_space(&snapshot.cache()), kept_bytes(&snapshot.cache()));
    let cost = |plan: &Plan, images: SplitCounts| {
        let disk = Disk {
            free,
            older,
            pixels: missing_pixels(snapshot, plan, images),
            kept: &kept_images(plan, classes, &snapshot.cache())?,
        };
        estimate(plan, classes, images, disk, request.threads(), &book)
    };
    let choices = other_choices(plan).into_iter().filter_map(|(name, other)| {
        let images = if other.balance == plan.balance {
            images
        } else {
            counts(snapshot, &other).ok()?
        };
        let cost = cost(&other, images).ok()?;
        Some(Choice {
            name,
            at_most_s: cost.at_most_s,
            disk: cost.disk.total(),
            source: cost.source,
        })
    });
    Ok(PlanCost {
        choices: choices.collect(),
        cost: cost(plan, images)?,
        warnings: plan
            .frozen_at_random()
            .map(str::to_owned)
            .into_iter()
            .collect(),
        trial_s: trial_seconds(plan, request.threads())?,
        machine,
    })
}

fn counts(snapshot: &Snapshot, plan: &Plan) -> Result<SplitCounts, WorkflowError> {
    let parts = Parts::of(snapshot, plan)?;
    let counts = SplitCounts {
        train: parts.train.len(),
        validation: parts.validation.len(),
        test: parts.test.len(),
    };
    for (split, images) in [
        ("train", counts.train),
        ("validation", counts.validation),
        ("test", counts.test),
    ] {
        if images == 0 {
            return Err(TrainError::EmptySplit { split }.into());
        }
    }
    Ok(counts)
}

/// Bytes of pixels at the plan's size that are not kept yet.
pub(super) fn missing_pixels(snapshot: &Snapshot, plan: &Plan, images: SplitCounts) -> u64 {
    let all = (images.train + images.validation + images.test) as u64;
    let wanted = all * u64::from(plan.size) * u64::from(plan.size);
    let there = PixelCache::bytes_on_disk(&snapshot.cache(), plan.size, plan.framing);
    wanted.saturating_sub(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows::testing::project;

    #[test]
    fn a_training_is_counted_without_being_run() {
        let (folder, project) = project(30);
        let snapshot = project.snapshot();
        let request = CostRequest {
            threads: Some(1),
            ..CostRequest::default()
        };
        let asked = training_cost(&snapshot, &request).expect("an estimate");
        let images = asked.cost.images;
        assert_eq!((images.train, images.validation, images.test), (38, 10, 12));
        assert_eq!(asked.cost.source, Source::Estimated);
        assert_eq!(asked.cost.disk.pixels, 60 * 128 * 128);
        assert!(asked.cost.at_most_s > 0.0 && asked.cost.disk.free > 0);
        let names: Vec<&str> = asked.choices.iter().map(|c| c.name.as_str()).collect();
        assert!(names.contains(&"at 299 px"), "{names:?}");
        // Nothing was written.
        assert!(!snapshot.cache().join("pixels-128.bin").exists());
        assert!(!snapshot.runs().exists());
        drop(folder);
    }

    #[test]
    fn what_would_fail_later_is_told_now() {
        let (_folder, project) = project(2);
        let snapshot = project.snapshot();
        let few = training_cost(&snapshot, &CostRequest::default()).expect_err("too few");
        assert!(few.to_string().contains("needs 3"), "{few}");
        let plan = Plan {
            weights: Some("/nowhere/weights.safetensors".to_owned()),
            ..Plan::default()
        };
        let request = CostRequest {
            plan,
            ..CostRequest::default()
        };
        let missing = training_cost(&snapshot, &request).expect_err("no such file");
        assert!(missing.to_string().contains("/nowhere/"), "{missing}");
    }
}
