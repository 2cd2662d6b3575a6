//! `drift fine-tune`: a network of its own for drift, against the head.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::evaluation::{Better, Interval, Judged};
use crate::workflows::{
    self, DriftRun, DriftSource, FineTuneCost, FineTuneEvent, FineTuneRequest, Snapshot,
    UnfinishedFineTune,
};

use super::args::FineTuneArgs;
use super::cost::time;
use super::data::project_at;
use super::drift::choose_network;
use super::output::{Bar, Output, count};
use super::runs::{run_dir, tell};

pub fn fine_tune(args: &FineTuneArgs, output: &Output) -> Result<()> {
    let path = match (&args.path, &args.resume) {
        (None, Some(run)) => workflows::project_of(run)?,
        // clap lets it be left out with --resume alone.
        (path, _) => path.clone().unwrap_or_else(|| PathBuf::from(".")),
    };
    let mut project = project_at(&path, &args.how, output)?;
    choose_network(&mut project, &args.network, output)?;
    let snapshot = project.snapshot();
    let found = match &args.resume {
        Some(run) => resumed(&snapshot, &run_dir(&snapshot, run), output)?,
        None => match started(&snapshot, args, output)? {
            Some(found) => found,
            None => return Ok(()),
        },
    };
    say_comparison(&found, output);
    for warning in &found.warnings {
        output.warn(warning);
    }
    output.say(&format!("run {}", found.dir.display()));
    output.json(&comparison_json(&found))
}

/// Goes on with what was interrupted in `dir`.
fn resumed(snapshot: &Snapshot, dir: &Path, output: &Output) -> Result<DriftRun> {
    let run = UnfinishedFineTune::read(dir)?;
    output.say(&run.in_words());
    let source = DriftSource::of(snapshot, &run.base)?;
    let bar = Bar::new();
    let session = workflows::prepare_drift(snapshot, &source, &bar.context)?;
    let told = &mut |event| tell_of(&bar, event);
    Ok(workflows::resume_fine_tune(
        snapshot,
        &session,
        dir,
        &bar.context,
        told,
    )?)
}

/// None where only what it takes was asked for.
fn started(snapshot: &Snapshot, args: &FineTuneArgs, output: &Output) -> Result<Option<DriftRun>> {
    let mut request = FineTuneRequest {
        run: args.run.clone(),
        epochs: args.epochs,
        seed: args.seed,
        threads: args.threads,
    };
    // What is missing is told before anything is computed.
    let trials = workflows::trials_file();
    let cost = workflows::fine_tune_cost(snapshot, &request, trials.as_deref())?;
    say_cost(&cost, output);
    if args.dry_run {
        output.json(&json!({
            "base": cost.base.run.name, "folds": cost.folds, "n_drift": cost.labels.0,
            "n_regular": cost.labels.1, "reference": cost.reference, "at_most_s": cost.at_most_s,
        }))?;
        return Ok(None);
    }
    // The run whose answers the head is seen with is the one that is trained on.
    request.run = Some(cost.base.run.dir.clone());
    let source = DriftSource::of(snapshot, &cost.base.run.dir)?;
    let bar = Bar::new();
    let session = workflows::prepare_drift(snapshot, &source, &bar.context)?;
    let told = &mut |event| tell_of(&bar, event);
    let found = workflows::fine_tune(snapshot, &session, &request, &bar.context, told)?;
    Ok(Some(found))
}

fn tell_of(bar: &Bar, event: FineTuneEvent) {
    match event {
        FineTuneEvent::Started { .. } => {}
        FineTuneEvent::Fold { fold, folds } => bar.line(&format!("fold {fold} of {folds}")),
        FineTuneEvent::Over { fold, folds, .. } => {
            bar.line(&format!("fold {fold} of {folds} was trained before"));
        }
        FineTuneEvent::Train(event) => tell(bar, &event),
    }
}

fn say_cost(cost: &FineTuneCost, output: &Output) {
    output.say(&format!("starts from {}", cost.base.in_words()));
    output.say(&format!(
        "{} drift and {} regular labels, {} beside them as regular; {} networks, each measured on the third it has not seen; at most {}",
        cost.labels.0,
        cost.labels.1,
        count(cost.reference, "training image"),
        cost.folds,
        time(cost.at_most_s),
    ));
}

/// Both judges side by side.
fn say_comparison(run: &DriftRun, output: &Output) {
    let report = &run.comparison;
    output.say(&format!(
        "on the {} drift and {} regular labelled images, each held out; 95 % intervals; {:.0} s of training",
        report.n_drift, report.n_regular, run.seconds
    ));
    let head = format!("head on {}", run.head);
    let network = format!("fine-tuned {}", run.model);
    output.say(&format!("  {:20} {head:26} {network}", ""));
    let line = |name: &str, figure: fn(&Judged) -> Interval| {
        output.say(&format!(
            "  {name:20} {:26} {}",
            interval(&figure(&report.first)),
            interval(&figure(&report.second))
        ));
    };
    line("average precision", |j| j.average_precision);
    line(&format!("F1 at {}", report.threshold), |j| j.f1);
    line("precision", |j| j.precision);
    line("recall", |j| j.recall);
    line("ROC AUC", |j| j.roc_auc);
    if let Some(pwa) = &run.pwa {
        output.say(&format!(
            "  {:20} {:<26.5} {:.5}, constant answer {:.5}",
            "PWA", pwa.head, pwa.network, pwa.constant
        ));
    }
    let gain = &report.average_precision_gain;
    let told = match report.better() {
        Some(Better::Second) => "the fine-tuned network ranks better",
        Some(Better::First) => "the head ranks better",
        None => "these labels do not tell which ranks better",
    };
    output.say(&format!(
        "network less head: average precision {:+.3} ({:+.3} to {:+.3}): {told}",
        gain.mean, gain.lo, gain.hi
    ));
    let (head_only, network_only) = run.differ();
    output.say(&format!(
        "of all {} candidates the head alone calls {} drift, the network alone {}",
        run.rows.len(),
        head_only.len(),
        network_only.len()
    ));
}

fn interval(i: &Interval) -> String {
    format!("{:.3} ({:.3} to {:.3})", i.mean, i.lo, i.hi)
}

fn comparison_json(run: &DriftRun) -> Value {
    let report = &run.comparison;
    let of = |i: &Interval| json!({"mean": i.mean, "lo": i.lo, "hi": i.hi});
    let judged = |j: &Judged, pwa: Option<f64>| {
        json!({
            "average_precision": of(&j.average_precision), "f1": of(&j.f1),
            "precision": of(&j.precision), "recall": of(&j.recall), "roc_auc": of(&j.roc_auc),
            "pwa": pwa,
        })
    };
    let (head_only, network_only) = run.differ();
    json!({
        "run": run.dir, "base": run.base, "base_validation_macro_f1": run.base_validation_macro_f1,
        "n_drift": report.n_drift, "n_regular": report.n_regular, "folds": run.folds,
        "reference": run.reference, "threshold": report.threshold,
        "head": judged(&report.first, run.pwa.map(|p| p.head)),
        "network": judged(&report.second, run.pwa.map(|p| p.network)),
        "pwa_constant": run.pwa.map(|p| p.constant),
        "gain": {"average_precision": of(&report.average_precision_gain), "f1": of(&report.f1_gain)},
        "differ": {"head_only": head_only.len(), "network_only": network_only.len()},
        "seconds": run.seconds, "warnings": run.warnings,
    })
}
