//! What a training will take, as text.

use anyhow::Result;

use crate::training::{PhaseCost, Source};
use crate::workflows::{self, CostRequest, PlanCost, Snapshot, TrainRequest};

use super::output::{Bar, Output, count};

/// What `request` will take. With `measure`, what is not known of this machine is timed first.
pub fn cost(snapshot: &Snapshot, request: &TrainRequest, measure: bool) -> Result<PlanCost> {
    let request = CostRequest {
        plan: request.plan.clone(),
        threads: request.threads,
        trials: workflows::trials_file(),
    };
    let cost = workflows::training_cost(snapshot, &request)?;
    if !measure || cost.cost.source != Source::Estimated {
        return Ok(cost);
    }
    let bar = Bar::new();
    workflows::measure_pace(&request, &bar.context)?;
    drop(bar);
    Ok(workflows::training_cost(snapshot, &request)?)
}

/// One line: `at most 12.4 min (measured on this machine)`.
pub fn headline(cost: &PlanCost) -> String {
    let cost = &cost.cost;
    format!("at most {} ({})", time(cost.at_most_s), cost.source.words())
}

/// The whole estimate, a line for every phase.
pub fn say_cost(cost: &PlanCost, output: &Output) {
    let row = |cells: [&str; 6]| {
        let [phase, learns, frozen, epochs, epoch, all] = cells;
        output.say(&format!(
            "{phase:24}{learns:>14}{frozen:>10}{epochs:>9}{epoch:>12}{all:>12}"
        ));
    };
    let PlanCost {
        cost,
        choices,
        warnings,
        ..
    } = cost;
    for warning in warnings {
        output.warn(warning);
    }
    row([
        "phase",
        "parameters",
        "cached",
        "epochs",
        "an epoch",
        "at most",
    ]);
    for phase in &cost.phases {
        row([
            &phase.trainable,
            &phase.parameters.to_string(),
            &cached(phase),
            &phase.epochs.to_string(),
            &time(phase.epoch_s),
            &time(phase.at_most_s),
        ]);
    }
    if cost.phases.iter().any(|phase| phase.kept) {
        row(["frozen layers, once", "", "", "", "", &time(cost.cache_s)]);
    }
    row(["answers at the end", "", "", "", "", &time(cost.answers_s)]);
    row(["in all", "", "", "", "", &time(cost.at_most_s)]);
    let images = &cost.images;
    output.say(&format!(
        "{}; {} to learn from, {} to choose the epoch on, {} to test on. Early stopping may end it sooner",
        cost.source.words(),
        count(images.train, "image"),
        images.validation,
        images.test
    ));
    let disk = &cost.disk;
    output.say(&format!(
        "on disk at most {}: frozen layers {} (of {} that may be used), pixels {}, model {}; {} free",
        size(disk.total()),
        size(disk.activations),
        size(disk.budget),
        size(disk.pixels),
        size(disk.model),
        size(disk.free)
    ));
    for phase in &cost.phases {
        if let Some(sentence) = no_room(phase) {
            output.warn(&sentence);
        }
    }
    if !choices.is_empty() {
        output.say("with one thing chosen otherwise, at most:");
    }
    for choice in choices {
        output.say(&format!(
            "  {:30}{:>10}   {}",
            choice.name,
            time(choice.at_most_s),
            choice.source.words()
        ));
    }
}

/// The share of the network that runs once for each image.
fn cached(phase: &PhaseCost) -> String {
    let share = if phase.kept { phase.frozen_share } else { 0.0 };
    format!("{:.0} %", share * 100.0)
}

/// Why the frozen layers of a phase run in every epoch, where that is for want of room.
fn no_room(phase: &PhaseCost) -> Option<String> {
    let cache = phase.cache.filter(|_| !phase.kept)?;
    Some(format!(
        "the frozen layers of the phase {} run in every epoch: what they say takes {}{}, and half of the {} free may be used",
        phase.trainable,
        size(cache.missing()),
        if cache.kept > 0 { " more" } else { "" },
        size(cache.free)
    ))
}

/// `42.0 s`, `12.4 min`, `3.1 h`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.1} s"),
        s if s < 5400.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `81 MB`, `1.9 GB`.
fn size(bytes: u64) -> String {
    match bytes as f64 / 1e9 {
        gb if gb < 0.1 => format!("{:.0} MB", gb * 1000.0),
        gb => format!("{gb:.1} GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(time(0.0), "0.0 s");
        assert_eq!(time(744.0), "12.4 min");
        assert_eq!(time(11_160.0), "3.1 h");
        assert_eq!(size(80_700_000), "81 MB");
        assert_eq!(size(1_900_000_000), "1.9 GB");
    }
}
