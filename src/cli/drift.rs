//! Drift ranking, drift head, submission.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::domain::ImageId;
use crate::evaluation::Interval;
use crate::project::DriftChoice;
use crate::workflows::{
    self, DriftNetwork, DriftResult, DriftSession, DriftSource, Project, RehearseRequest,
    ScoreSkill, SimulateRequest, Snapshot, Strategy, SubmitRequest, SubmitSummary,
};

use super::args::{
    DriftCommand, GroupsArgs, NetworkArgs, PrecisionArgs, QueueOrder, RankArgs, RehearseArgs,
    SimulateArgs, SubmitArgs,
};
use super::data::project;
use super::output::{Bar, Output, count};

/// Repeats of the cross-validation behind the printed figures.
const CV_REPEATS: usize = 10;

pub fn drift(command: DriftCommand, output: &Output) -> Result<()> {
    match command {
        DriftCommand::Rank(args) => rank(&args, false, output),
        DriftCommand::Train(args) => rank(&args, true, output),
        DriftCommand::Groups(args) => groups(&args, output),
        DriftCommand::FineTune(args) => super::fine_tune::fine_tune(&args, output),
        DriftCommand::Simulate(args) => simulate(args, output),
        DriftCommand::Rehearse(args) => rehearse(args, output),
    }
}

fn rehearse(args: RehearseArgs, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_network(&mut project, &args.network, output)?;
    let snapshot = project.snapshot();
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let request = RehearseRequest {
        source: DriftSource::of(&snapshot, &run.dir)?,
        truth: args.truth,
        labels: args.labels,
        seed: args.seed,
    };
    let bar = Bar::new();
    let r = workflows::rehearse(&snapshot, &request, &bar.context)?;
    drop(bar);
    output.say(&format!(
        "{} labels of {} incoming images: {} of {} drift found ({:.0} %)",
        r.labels,
        r.images,
        r.found,
        r.drift,
        100.0 * r.found as f64 / r.drift.max(1) as f64
    ));
    for (reason, (shown, drift)) in &r.by_reason {
        output.say(&format!("  {reason:20} {shown:4} shown, {drift:3} drift"));
    }
    let caught = format!("{:.0} % of all drift found or caught", 100.0 * r.caught);
    output.say(&match (r.drift, r.rest_drift) {
        (0, _) => "the truth names no drift among the incoming images: nothing is measured of finding it".to_owned(),
        (_, 0) => format!("no drift is left among the {} without a label to measure on; {caught}", r.rest),
        _ => format!(
            "on the {} left unlabelled ({} drift): F1 {:.3} at 0.5, average precision {:.3}; {caught}",
            r.rest, r.rest_drift, r.rest_f1, r.rest_ap
        ),
    });
    if !r.kinds.is_empty() {
        output.say("by kind of drift, images, labelled, called drift at 0.5 of the rest:");
    }
    for (kind, of) in &r.kinds {
        output.say(&format!(
            "  {kind:20} {:4}  {:4} found  {:4} caught  {:4} missed",
            of.images,
            of.found,
            of.caught,
            of.images - of.found - of.caught
        ));
    }
    say_skills(&r.scores, output);
    output.say(&format!(
        "PWA on all incoming images: cheapest answers {:.5}, with hand labels {:.5}, gate at 0.5 {:.5}; constant answer {:.5}; PaDiM above 0.5 {}",
        r.pwa, r.pwa_with_hand_labels, r.pwa_gate, r.pwa_constant,
        r.pwa_padim.map_or("not computed".to_owned(), |p| format!("{p:.5}"))
    ));
    output.json(&r)
}

/// Each score by itself, and what it tells of each kind of drift.
fn say_skills(scores: &BTreeMap<String, ScoreSkill>, output: &Output) {
    let Some(first) = scores.values().next() else {
        return;
    };
    output.say("before anything is labelled, each score alone (ROC AUC of a kind: against regular images):");
    let kinds: Vec<&String> = first.auroc_by_kind.keys().collect();
    let wide = |kind: &str| kind.len().max("0.000".len());
    let header = kinds.iter().map(|kind| format!("  {kind:>0$}", wide(kind)));
    let header: String = header.collect();
    output.say(&format!("  {:42} {:>5}  {:>5}{header}", "", "AP", "AUC"));
    for (name, skill) in scores {
        let cell = |kind: &&String| format!("  {:>1$.3}", skill.auroc_by_kind[*kind], wide(kind));
        let cells: String = kinds.iter().map(cell).collect();
        output.say(&format!(
            "  {name:42} {:.3}  {:.3}{cells}",
            skill.all.ap, skill.all.auroc
        ));
    }
}

fn simulate(args: SimulateArgs, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_precision(&mut project, &args.precision, output);
    let body = workflows::find_body_or_untrained(
        &args.model,
        args.weights.as_deref(),
        args.size,
        args.preprocessing.as_deref(),
    )?;
    if body.weights.is_none() {
        let published = workflows::published_weights()?;
        let fetch = match published.iter().any(|row| row.name == body.model) {
            true => format!(
                "`driftscope weights fetch {}`, or --weights FILE",
                body.model
            ),
            false => "--weights FILE".to_owned(),
        };
        output.warn(&format!(
            "no weights are given or fetched: the features are those of {} before any training, and find less than \
             those of pretrained weights ({fetch})",
            body.model
        ));
    }
    let request = SimulateRequest {
        drift_class: args.drift_class,
        body,
        group_by: args.group_by,
        labels: args.labels,
        strategy: match args.strategy {
            QueueOrder::Mixed => Strategy::Mixed,
            QueueOrder::Random => Strategy::Random,
            QueueOrder::Top => Strategy::Top,
        },
        drift_rate: args.drift_rate,
        repeats: args.repeats,
        seed: args.seed,
    };
    let bar = Bar::new();
    let result = workflows::simulate(&project.snapshot(), &request, &bar.context)?;
    drop(bar);
    let parts = result.images;
    output.say(&format!(
        "{} as drift: {} regular images known, {} in the pool ({} drift), {} measured ({} drift), {} repeats",
        result.drift_class, parts.train, parts.pool, parts.pool_drift, parts.measured,
        parts.measured_drift, request.repeats
    ));
    if result.duplicate_groups > 0 {
        output.say(&format!(
            "{} of near-duplicates, each kept together in one part",
            count(result.duplicate_groups, "group")
        ));
    }
    output.say("labels   AP (sd)          F1 at 0.5 (sd)   ROC AUC   drift found");
    for point in &result.curve {
        output.say(&format!(
            "{:6}   {:.3} ({:.3})    {:.3} ({:.3})    {:.3}     {:.1}",
            point.labels,
            point.ap_mean,
            point.ap_sd,
            point.f1_mean,
            point.f1_sd,
            point.auroc_mean,
            point.found_mean
        ));
    }
    let last = result.curve.last();
    if let Some(point) = last.filter(|point| point.labels_given_mean < point.labels as f64) {
        output.say(&format!(
            "the pool was used up after {:.0} labels: what stands at {} is measured with those",
            point.labels_given_mean, point.labels
        ));
    }
    output.say("without labels, on the images measured:");
    for (name, quality) in &result.scores {
        output.say(&format!(
            "  {name:24} AP {:.3}   ROC AUC {:.3}",
            quality.ap, quality.auroc
        ));
    }
    output.json(&result)
}

fn rank(args: &RankArgs, must_fit: bool, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_network(&mut project, &args.network, output)?;
    let snapshot = project.snapshot();
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let session = prepare(&snapshot, &run.dir, output)?;
    let result = session.refit(&workflows::drift_labels(&snapshot), CV_REPEATS);
    if must_fit && let Some(problem) = &result.head_problem {
        anyhow::bail!("{problem}");
    }
    say_quality(&result, output);
    say_top(&snapshot, &session, &result, args.top, output);
    if let Some(out) = &args.out {
        workflows::save_ranking(&snapshot, &session, &result, out)?;
        output.say(&format!("wrote the ranking to {}", out.display()));
    }
    output.json(&result_json(&snapshot, &session, &result, args.top))
}

/// The near-duplicates that the window labels with one key.
fn groups(args: &GroupsArgs, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_network(&mut project, &args.network, output)?;
    let snapshot = project.snapshot();
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let session = prepare(&snapshot, &run.dir, output)?;
    let groups = session.groups.all();
    output.say(&format!(
        "{} of near-duplicates, {} of {} images, by {}",
        count(groups.len(), "group"),
        groups.iter().map(Vec::len).sum::<usize>(),
        session.grouped(),
        session.source
    ));
    let classes = &snapshot.manifest.classes;
    let label = |image: ImageId| snapshot.label(image).map(|label| label.name(classes));
    let key = |image: ImageId| &snapshot.manifest.get(image).key;
    let from = |image: ImageId| match snapshot.manifest.get(image).incoming {
        true => "incoming",
        false => "labelled part",
    };
    let mut listed = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for image in group {
            let label = label(*image).unwrap_or_default();
            output.say(&format!(
                "{:>5}  {:13}  {label:16}  {}",
                at + 1,
                from(*image),
                key(*image)
            ));
        }
        let images = group.iter();
        let images = images.map(
            |image| json!({"filename": key(*image), "label": label(*image), "from": from(*image)}),
        );
        listed.push(images.collect::<Vec<_>>());
    }
    output.json(&json!({
        "network": session.source, "images": session.images.len(),
        "regular": session.grouped() - session.images.len(), "groups": listed,
    }))
}

/// Remembers in the project with which network drift is to be looked for, if one is given, and runs networks as
/// is said here.
pub fn choose_network(project: &mut Project, args: &NetworkArgs, output: &Output) -> Result<()> {
    if let Some(weights) = &args.weights {
        remember_network(project, args, weights, output)?;
    }
    choose_precision(project, &args.precision, output);
    if let Some(on) = args.synthetic_outliers {
        project.settings.synthetic_outliers = on;
    }
    if let Some(on) = args.strip_tiles {
        project.settings.strip_tiles = on;
    }
    Ok(())
}

/// Runs networks in the precision given, this time, or else in the project's.
pub fn choose_precision(project: &mut Project, args: &PrecisionArgs, output: &Output) {
    if let Some(precision) = args.precision {
        project.settings.precision = precision;
    }
    if let Some(sentence) = workflows::precision_fallback(project.settings.precision) {
        output.warn(&sentence);
    }
}

fn remember_network(
    project: &mut Project,
    args: &NetworkArgs,
    weights: &String,
    output: &Output,
) -> Result<()> {
    let path = Path::new(weights);
    let weights = if path.exists() {
        std::fs::canonicalize(path)?.display().to_string()
    } else {
        weights.clone()
    };
    let scale = args.preprocessing.as_deref();
    workflows::find_body(&args.model, Some(Path::new(&weights)), None, scale)?;
    project.settings.drift_network = Some(DriftNetwork {
        model: args.model.clone(),
        weights,
        preprocessing: args.preprocessing.clone(),
    });
    if let Err(error) = project.settings.save_if_changed(&project.dir) {
        output.warn(&format!("used this time only: {error}"));
    }
    Ok(())
}

/// Embeds, then fits on the hand labels of the project.
pub fn refit(snapshot: &Snapshot, run: &Path, output: &Output) -> Result<DriftResult> {
    let session = prepare(snapshot, run, output)?;
    Ok(session.refit(&workflows::drift_labels(snapshot), CV_REPEATS))
}

fn prepare(snapshot: &Snapshot, run: &Path, output: &Output) -> Result<DriftSession> {
    let bar = Bar::new();
    let source = DriftSource::of(snapshot, run)?;
    let session = workflows::prepare_drift(snapshot, &source, &bar.context)?;
    if let Some(text) = session.left_out() {
        output.warn(&text);
    }
    Ok(session)
}

/// Quality with intervals, or why there is none.
pub fn say_quality(result: &DriftResult, output: &Output) {
    let refitted = match &result.head_problem {
        None => format!(
            "; refitted in {:.0} ms, cross-validation included",
            result.milliseconds
        ),
        Some(_) => String::new(),
    };
    output.say(&format!(
        "{} drift and {} regular images are labelled{refitted}",
        result.n_drift, result.n_regular
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

fn say_top(
    snapshot: &Snapshot,
    session: &DriftSession,
    result: &DriftResult,
    top: usize,
    output: &Output,
) {
    output.say(
        "probability  anomaly  label      furthest out by (regular images that lie nearer)    file",
    );
    for score in result.scores.iter().take(top) {
        let label = snapshot.hand[score.image.index()];
        output.say(&format!(
            "{:>11}  {:>7.4}  {:9}  {:50}  {}",
            score
                .probability
                .map_or("-".to_owned(), |p| format!("{p:.4}")),
            score.anomaly,
            label.map_or("", |l| l.name(&snapshot.manifest.classes)),
            furthest(session, score.image),
            snapshot.manifest.get(score.image).key
        ));
    }
}

/// The score by which an image lies furthest out, with the share of regular images that score lower.
fn furthest(session: &DriftSession, image: ImageId) -> String {
    let scores = session.scores_of(image).into_iter();
    let furthest = scores.max_by(|a, b| a.place.total_cmp(&b.place));
    furthest.map_or_else(String::new, |score| {
        format!("{} {}", score.name, score.share())
    })
}

fn result_json(
    snapshot: &Snapshot,
    session: &DriftSession,
    result: &DriftResult,
    top: usize,
) -> Value {
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
            "scores": session.scores_of(score.image),
        })
    });
    json!({
        "n_drift": result.n_drift, "n_regular": result.n_regular,
        "milliseconds": result.milliseconds, "quality": quality,
        "head_problem": result.head_problem, "ranking": ranking.collect::<Vec<_>>(),
    })
}

pub fn submit(args: &SubmitArgs, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_network(&mut project, &args.network, output)?;
    let mut snapshot = project.snapshot();
    if args.drift_rate.is_some() {
        snapshot.choose(DriftChoice::Rate(args.drift_rate));
    }
    let run = workflows::find_run(&snapshot, args.run.as_deref())?;
    let threshold = args.threshold.or(snapshot.drift_threshold);
    let request = SubmitRequest {
        run: run.dir,
        decision: threshold.into(),
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
        "threshold": threshold, "drift_rate": summary.rate.assumed, "needs_review": summary.needs_review, "review": summary.review,
        "warnings": summary.warnings,
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
    output.say(&format!(
        "{} of them should be looked at: {}",
        summary.needs_review,
        summary.review.display()
    ));
    for warning in &summary.warnings {
        output.warn(warning);
    }
}
