//! Drift ranking, drift head, submission.

use anyhow::Result;
use serde_json::{Value, json};

use crate::evaluation::Interval;
use crate::workflows::{self, DriftResult, Snapshot, SubmitRequest, SubmitSummary};

use super::args::{DriftCommand, RankArgs, SubmitArgs};
use super::data::project;
use super::output::{Bar, Output};

/// Repeats of the cross-validation behind the printed figures.
const CV_REPEATS: usize = 10;

pub fn drift(command: DriftCommand, output: &Output) -> Result<()> {
    match command {
        DriftCommand::Rank(args) => rank(&args, false, output),
        DriftCommand::Train(args) => rank(&args, true, output),
    }
}

fn rank(args: &RankArgs, must_fit: bool, output: &Output) -> Result<()> {
    let project = project(&args.data, output)?;
    let snapshot = project.snapshot();
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let result = refit(&snapshot, &run.dir)?;
    if must_fit && let Some(problem) = &result.head_problem {
        anyhow::bail!("{problem}");
    }
    say_quality(&result, output);
    say_top(&snapshot, &result, args.top, output);
    if let Some(out) = &args.out {
        workflows::save_ranking(&snapshot, &result, out)?;
        output.say(&format!("wrote the ranking to {}", out.display()));
    }
    output.json(&result_json(&snapshot, &result, args.top))
}

/// Embeds, then fits on the hand labels of the project.
pub fn refit(snapshot: &Snapshot, run: &std::path::Path) -> Result<DriftResult> {
    let bar = Bar::new();
    let session = workflows::prepare_drift(snapshot, run, &bar.context)?;
    drop(bar);
    Ok(session.refit(&workflows::drift_labels(snapshot), CV_REPEATS))
}

/// Quality with intervals, or why there is none.
pub fn say_quality(result: &DriftResult, output: &Output) {
    output.say(&format!(
        "{} drift and {} regular images are labelled; refitted in {:.0} ms, cross-validation included",
        result.n_drift, result.n_regular, result.milliseconds
    ));
    if let Some(problem) = &result.head_problem {
        output.say(&format!(
            "ranked by distance from the regular images: {problem}"
        ));
    }
    match &result.quality {
        Ok(quality) => {
            let figure = |name: &str, i: &Interval| {
                output.say(&format!(
                    "  {name:18} {:.3}  ({:.3} to {:.3})",
                    i.mean, i.lo, i.hi
                ));
            };
            output.say(&format!(
                "out of fold on the labelled images, {} x {} folds, 95 % intervals:",
                quality.repeats, quality.folds
            ));
            figure("average precision", &quality.average_precision);
            figure(&format!("F1 at {}", quality.threshold), &quality.f1);
            figure("precision", &quality.precision);
            figure("recall", &quality.recall);
            figure("ROC AUC", &quality.roc_auc);
        }
        Err(why) => output.say(&format!("not measured: {why}")),
    }
}

fn say_top(snapshot: &Snapshot, result: &DriftResult, top: usize, output: &Output) {
    output.say("probability  anomaly  label      file");
    for score in result.scores.iter().take(top) {
        let label = snapshot.hand[score.image.index()];
        output.say(&format!(
            "{:>11}  {:>7.4}  {:9}  {}",
            score
                .probability
                .map_or("-".to_owned(), |p| format!("{p:.4}")),
            score.anomaly,
            label.map_or("", |l| l.name(&snapshot.manifest.classes)),
            snapshot.manifest.get(score.image).key
        ));
    }
}

fn result_json(snapshot: &Snapshot, result: &DriftResult, top: usize) -> Value {
    let interval = |i: &Interval| json!({"mean": i.mean, "lo": i.lo, "hi": i.hi});
    let quality = match &result.quality {
        Ok(q) => json!({
            "folds": q.folds, "repeats": q.repeats, "threshold": q.threshold,
            "f1": interval(&q.f1), "average_precision": interval(&q.average_precision),
            "precision": interval(&q.precision), "recall": interval(&q.recall),
            "roc_auc": interval(&q.roc_auc),
        }),
        Err(why) => json!({ "refused": why }),
    };
    let ranking = result.scores.iter().take(top).map(|score| {
        json!({
            "filename": snapshot.manifest.get(score.image).key,
            "probability": score.probability, "anomaly": score.anomaly,
        })
    });
    json!({
        "n_drift": result.n_drift, "n_regular": result.n_regular,
        "milliseconds": result.milliseconds, "quality": quality,
        "head_problem": result.head_problem, "ranking": ranking.collect::<Vec<_>>(),
    })
}

pub fn submit(args: &SubmitArgs, output: &Output) -> Result<()> {
    let project = project(&args.data, output)?;
    let snapshot = project.snapshot();
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let request = SubmitRequest {
        run: run.dir,
        threshold: args.threshold.unwrap_or(snapshot.drift_threshold),
        use_hand_labels: args.use_hand_labels,
        out: args.out.clone(),
    };
    let bar = Bar::new();
    let summary = workflows::submit(&snapshot, &request, &bar.context)?;
    drop(bar);
    say_submission(&snapshot, &summary, output);
    let names = snapshot.manifest.classes.names();
    let counts: std::collections::BTreeMap<_, _> = names.iter().zip(&summary.counts).collect();
    output.json(&json!({
        "file": summary.file, "rows": summary.rows, "counts": counts, "run": run.name,
        "threshold": request.threshold, "warnings": summary.warnings,
    }))
}

pub fn say_submission(snapshot: &Snapshot, summary: &SubmitSummary, output: &Output) {
    let names = snapshot.manifest.classes.names();
    let counts = names.iter().zip(&summary.counts);
    let counts: Vec<String> = counts.map(|(name, n)| format!("{name} {n}")).collect();
    output.say(&format!(
        "wrote {} answers to {}: {}",
        summary.rows,
        summary.file.display(),
        counts.join(", ")
    ));
    for warning in &summary.warnings {
        output.warn(warning);
    }
}
