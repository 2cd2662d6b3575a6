//! Models, training, prediction, reports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::domain::Split;
use crate::evaluation::Report;
use crate::jobs::JobContext;
use crate::training::{
    Augmentation, Balance, Loss, Monitor, PhaseStart, Plan, TrainEvent, preset, preset_for,
};
use crate::workflows::{self, RunSummary, StudyRequest, TrainRequest, WorkflowError};

use super::args::{EvaluateArgs, ModelsArgs, PredictArgs, StudyArgs, TrainArgs};
use super::cost::{cost, headline, say_cost};
use super::data::{project, project_at};
use super::drift::choose_precision;
use super::output::{Bar, Output};

pub fn models(args: &ModelsArgs, output: &Output) -> Result<()> {
    let models = workflows::model_infos(args.size, args.classes)?;
    for model in &models {
        output.say(&format!(
            "{:18} {:>4} px {:>12} parameters   {}",
            model.name, model.input_px, model.parameters, model.summary
        ));
    }
    output.json(&models)
}

fn plan(args: &TrainArgs) -> Result<Plan> {
    let mut plan = match (&args.plan, &args.preset) {
        (Some(file), _) => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("the plan {} cannot be read", file.display()))?;
            Plan::from_toml(&text).with_context(|| file.display().to_string())?
        }
        (None, Some(name)) => preset(name)?,
        (None, None) => match &args.model {
            Some(model) => preset_for(model, args.weights.is_some()),
            None => Plan::default(),
        },
    };
    if let Some(model) = &args.model {
        plan.model.clone_from(model);
    }
    if let Some(weights) = &args.weights {
        plan.weights = Some(weights.display().to_string());
    }
    let monitor = args.monitor.as_deref().map(|monitor| match monitor {
        "val_loss" => Monitor::ValLoss,
        _ => Monitor::ValMacroF1,
    });
    // What is said here holds for every phase.
    for phase in &mut plan.phases {
        phase.epochs = args.epochs.or(phase.epochs);
        phase.learning_rate = args.learning_rate.or(phase.learning_rate);
        phase.patience = args.patience.or(phase.patience);
        phase.monitor = monitor.or(phase.monitor);
    }
    plan.loss = match args.loss.as_deref() {
        Some("focal") => Loss::Focal,
        Some(_) => Loss::CrossEntropy,
        None => plan.loss,
    };
    plan.size = args.size.unwrap_or(plan.size);
    plan.epochs = args.epochs.unwrap_or(plan.epochs);
    plan.batch = args.batch.unwrap_or(plan.batch);
    plan.learning_rate = args.learning_rate.unwrap_or(plan.learning_rate);
    plan.patience = args.patience.unwrap_or(plan.patience);
    plan.seed = args.seed.unwrap_or(plan.seed);
    plan.group_by = args.group_by.clone().or(plan.group_by);
    plan.train_per_class = args.train_per_class.or(plan.train_per_class);
    plan.balance = balance(args.balance.as_deref()).unwrap_or(plan.balance);
    plan.augmentation = augmentation(args.augmentation.as_deref()).unwrap_or(plan.augmentation);
    plan.monitor = monitor.unwrap_or(plan.monitor);
    plan.check()?;
    Ok(plan)
}

fn balance(word: Option<&str>) -> Option<Balance> {
    word.map(|word| match word {
        "undersample" => Balance::Undersample,
        "weights" => Balance::Weights,
        _ => Balance::None,
    })
}

fn augmentation(word: Option<&str>) -> Option<Augmentation> {
    word.map(|word| match word {
        "study" => Augmentation::study(),
        _ => Augmentation::default(),
    })
}

pub fn train(args: &TrainArgs, output: &Output) -> Result<()> {
    let run = match &args.resume {
        Some(run) => resume(args, run, output)?,
        None => {
            let request = TrainRequest {
                plan: plan(args)?,
                out: args.out.clone(),
                threads: args.threads,
            };
            // What is missing is told before anything else is.
            request.check()?;
            // clap lets it be left out with --resume alone.
            let path = args.path.as_deref().unwrap_or(Path::new("."));
            let project = project_at(path, &args.how, output)?;
            let snapshot = project.snapshot();
            let cost = cost(&snapshot, &request, args.measure)?;
            output.say(&request.plan.in_words());
            if args.dry_run {
                say_cost(&cost, output);
                return output.json(&cost);
            }
            output.say(&headline(&cost));
            train_with_bar(&snapshot, &request, output)?
        }
    };
    say_report(&run.report, 4, output);
    for warning in &run.warnings {
        output.warn(warning);
    }
    output.say(&format!("run {}", run.dir.display()));
    output.json(&report_json(&run)?)
}

/// Goes on with an interrupted run.
fn resume(args: &TrainArgs, run: &Path, output: &Output) -> Result<RunSummary> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => workflows::project_of(run)?,
    };
    let snapshot = project_at(&path, &args.how, output)?.snapshot();
    let dir = run_dir(&snapshot, run);
    with_bar(output, |context, told| {
        workflows::resume(&snapshot, &dir, context, told)
    })
}

/// The folder that a user means by `run`: that of a path, or of a name under the project's `runs/`.
pub fn run_dir(snapshot: &workflows::Snapshot, run: &Path) -> PathBuf {
    let named = snapshot.runs().join(run);
    if !run.exists() && named.is_dir() {
        named
    } else {
        run.to_owned()
    }
}

/// Trains with a line for every epoch.
pub fn train_with_bar(
    snapshot: &workflows::Snapshot,
    request: &TrainRequest,
    output: &Output,
) -> Result<RunSummary> {
    with_bar(output, |context, told| {
        workflows::train(snapshot, request, context, told)
    })
}

fn with_bar(
    output: &Output,
    work: impl FnOnce(&JobContext, &mut dyn FnMut(TrainEvent)) -> Result<RunSummary, WorkflowError>,
) -> Result<RunSummary> {
    let bar = Bar::new();
    let run = work(&bar.context, &mut |event| tell(&bar, &event))?;
    drop(bar);
    output.say(&format!(
        "kept epoch {} of {}, {:.0} s in all",
        run.best_epoch, run.epochs, run.seconds
    ));
    Ok(run)
}

/// A line for every phase and every epoch.
pub fn tell(bar: &Bar, event: &TrainEvent) {
    bar.refresh();
    match event {
        TrainEvent::Started { weights, .. } => {
            if let Some(weights) = weights {
                bar.line(weights);
            }
        }
        TrainEvent::Phase(part) => {
            if part.phases > 1 || part.cache.is_some() {
                bar.line(&phase_line(part));
            }
        }
        TrainEvent::Epoch(epoch) => bar.line(&format!(
            "epoch {:>3}  loss {:.4}  validation loss {:.4}  macro-F1 {:.4}  {:.1} s{}",
            epoch.epoch,
            epoch.train_loss,
            epoch.val_loss,
            epoch.val_macro_f1,
            epoch.seconds,
            if epoch.best { "  best so far" } else { "" }
        )),
        TrainEvent::Resumed { epoch, step, .. } => bar.line(&format!(
            "goes on in epoch {epoch}, {}",
            match step {
                0 => "at its beginning".to_owned(),
                step => format!("after step {step}"),
            }
        )),
        TrainEvent::Note(sentence) => bar.line(&format!("note: {sentence}")),
        TrainEvent::Step { .. } | TrainEvent::Kept { .. } | TrainEvent::Finished { .. } => {}
    }
}

/// Trains every row of the study's table.
pub fn study(args: &StudyArgs, output: &Output) -> Result<()> {
    let request = StudyRequest {
        presets: args.presets.clone(),
        weights: args.weights.clone(),
        size: args.size,
        epochs: args.epochs,
        balance: balance(args.balance.as_deref()),
        augmentation: augmentation(args.augmentation.as_deref()),
        seed: args.seed,
        threads: args.threads,
    };
    let project = project(&args.data, output)?;
    for (name, plan) in workflows::study_plans(&request)? {
        output.say(&format!("{name}: {}", plan.in_words()));
    }
    let bar = Bar::new();
    let mut failed = Vec::new();
    let runs = workflows::study(
        &project.snapshot(),
        &request,
        &bar.context,
        &mut |event| {
            tell(&bar, &event);
        },
        &mut |name, result| match result {
            Ok(run) => {
                for warning in &run.warnings {
                    bar.line(&format!("note: {warning}"));
                }
                bar.line(&study_row(name, run));
            }
            Err(error) => {
                bar.line(&format!("{name}: no result: {error}"));
                failed.push((name.to_owned(), error.to_string()));
            }
        },
    )?;
    drop(bar);
    output.say("");
    output.say("test split, macro-F1 with its 95 % interval over images");
    for (name, run) in &runs {
        output.say(&study_row(name, run));
    }
    for (name, error) in &failed {
        output.say(&format!("{name:22} no result: {error}"));
    }
    let rows: Vec<Value> = runs
        .iter()
        .map(|(name, run)| {
            let mut row = report_json(run)?;
            row["preset"] = json!(name);
            row["pretrained"] = json!(run.plan.weights);
            row["seconds"] = json!(run.seconds);
            Ok(row)
        })
        .collect::<Result<_>>()?;
    let without: Vec<Value> = failed
        .iter()
        .map(|(name, error)| json!({"preset": name, "error": error}))
        .collect();
    output.json(&json!({"rows": rows, "failed": without}))?;
    if let Some((first, _)) = failed.first() {
        bail!(
            "{} of {} rows have no result, {first} for one: mend what the table says of each, and the same command goes on with those",
            failed.len(),
            failed.len() + runs.len()
        );
    }
    Ok(())
}

fn study_row(name: &str, run: &RunSummary) -> String {
    let report = &run.report;
    let [low, high] = report.macro_f1_ci;
    let start = match (&run.plan.weights, run.plan.frozen_at_random()) {
        (Some(_), _) => "pretrained",
        (None, None) => "from scratch",
        // What never learns stays as it was drawn.
        (None, Some(_)) => "random body",
    };
    format!(
        "{name:22} {start:12} n {:>5}  macro-F1 {:.3} ({low:.3} to {high:.3})  weighted F1 {:.3}  PWA {:.5} (constant {:.5})  {:>5.1} min",
        report.n,
        report.macro_f1,
        report.weighted_f1,
        report.pwa,
        report.pwa_constant,
        run.seconds / 60.0
    )
}

fn phase_line(part: &PhaseStart) -> String {
    let mut line = format!(
        "phase {} of {}: {}, {} parameters learn",
        part.phase, part.phases, part.trainable, part.parameters
    );
    if let Some(cache) = &part.cache {
        let [takes, missing, free] = [
            cache.estimate.bytes,
            cache.estimate.missing(),
            cache.estimate.free,
        ]
        .map(|bytes| bytes as f64 / 1e9);
        line += &if cache.used {
            format!(
                "; frozen layers kept ({takes:.2} GB, {} of {} images computed in {:.0} s{})",
                cache.computed,
                cache.estimate.images,
                cache.seconds,
                match cache.removed {
                    0 => String::new(),
                    removed => format!(
                        ", {:.2} GB of other trainings removed",
                        removed as f64 / 1e9
                    ),
                }
            )
        } else {
            format!(
                "; frozen layers run every epoch: keeping them takes {missing:.2} GB of {free:.2} free"
            )
        };
    }
    line
}

/// The report as text, its figures with split, n and interval.
pub fn say_report(report: &Report, digits: usize, output: &Output) {
    output.say(&format!("test split, n = {}", report.n));
    output.say(&report.to_text(digits));
    let [low, high] = report.macro_f1_ci;
    output.say(&format!(
        "macro-F1 {:.4} (95 % interval {low:.4} to {high:.4})   weighted F1 {:.4}   accuracy {:.4}",
        report.macro_f1, report.weighted_f1, report.accuracy
    ));
    let constant = report.classes.get(report.pwa_constant_class.index());
    output.say(&format!(
        "PWA {:.5}   always answering {:?} {:.5}",
        report.pwa,
        constant.map_or("Drift", String::as_str),
        report.pwa_constant
    ));
}

/// The report with the run's name beside it.
pub fn report_json(run: &RunSummary) -> Result<Value> {
    let mut report = serde_json::to_value(&run.report)?;
    report["split"] = json!("test");
    report["run"] = json!(run.dir);
    report["model"] = json!(run.plan.model);
    report["size"] = json!(run.plan.size);
    report["best_epoch"] = json!(run.best_epoch);
    report["epochs"] = json!(run.epochs);
    report["seconds"] = json!(run.seconds);
    report["warnings"] = json!(run.warnings);
    Ok(report)
}

pub fn evaluate(args: &EvaluateArgs, output: &Output) -> Result<()> {
    let run = workflows::resolve_run(&args.run)?;
    output.say(&format!("{}  {}", run.name, run.plan.in_words()));
    say_report(&run.report, args.digits, output);
    output.json(&report_json(&run)?)
}

pub fn predict(args: &PredictArgs, output: &Output) -> Result<()> {
    let mut project = project(&args.data, output)?;
    choose_precision(&mut project, &args.precision, output);
    let snapshot = project.snapshot();
    // The data set itself named as the run means its project's newest, wherever the project is kept.
    let run = if args.run == args.data.path {
        workflows::find_run(&snapshot, None)?
    } else {
        workflows::resolve_run(&args.run)?
    };
    output.say(&format!("with the run {}", run.name));
    let split = args.split.as_deref();
    let split = split.and_then(|name| Split::ALL.into_iter().find(|s| s.name() == name));
    let images = match split {
        Some(split) => snapshot.in_split(split),
        None => snapshot.manifest.ids().collect(),
    };
    let bar = Bar::new();
    let mut predictions = Vec::with_capacity(images.len());
    let failed = workflows::predict(&snapshot, &run.dir, &images, &bar.context, &mut |batch| {
        predictions.extend(batch);
    })?;
    drop(bar);
    for (_, sentence) in &failed {
        output.warn(sentence);
    }
    workflows::write_predictions(&snapshot, &predictions, &args.out)?;
    output.say(&format!(
        "wrote {} predictions to {}",
        predictions.len(),
        args.out.display()
    ));
    output.json(&json!({
        "file": args.out, "images": predictions.len(), "failed": failed.len(), "run": run.name,
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Args, Command};

    /// The plan of `driftscope train . --plan FILE` with `more` behind it.
    fn plan_of(file: &Path, more: &[&str]) -> Plan {
        let file = file.to_str().expect("a name in Unicode");
        let words = ["driftscope", "train", ".", "--plan", file];
        let args = Args::try_parse_from(words.iter().chain(more)).expect("understood");
        match args.command {
            Some(Command::Train(args)) => plan(&args).expect("a plan"),
            _ => unreachable!("train was said"),
        }
    }

    #[test]
    fn what_is_said_holds_for_every_phase_whatever_the_phase_says_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plan.toml");
        let text = "model = \"inception_v3\"\n\
            [[phases]]\ntrainable = \"head\"\nmonitor = \"val_loss\"\npatience = 2\n\
            [[phases]]\ntrainable = \"all\"\nepochs = 3\n";
        fs::write(&file, text).expect("written");
        let monitors = |plan: &Plan| -> Vec<Monitor> {
            let phases = plan.resolved_phases();
            phases.iter().map(|phase| phase.monitor).collect()
        };
        let own = plan_of(&file, &[]);
        assert_eq!(monitors(&own), [Monitor::ValLoss, Monitor::ValMacroF1]);
        let said = plan_of(&file, &["--monitor", "val_macro_f1"]);
        assert_eq!(monitors(&said), [Monitor::ValMacroF1; 2]);
        let said = plan_of(&file, &["--monitor", "val_loss"]);
        assert_eq!(monitors(&said), [Monitor::ValLoss; 2]);

        let said = plan_of(
            &file,
            &[
                "--epochs",
                "7",
                "--patience",
                "5",
                "--learning-rate",
                "0.25",
            ],
        );
        for phase in said.resolved_phases() {
            let said = (phase.epochs, phase.patience, phase.learning_rate);
            assert_eq!(said, (7, 5, 0.25));
        }
        assert_eq!(monitors(&said), [Monitor::ValLoss, Monitor::ValMacroF1]);
    }
}
