//! Data sets and labels.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::dataset::sample::SampleSpec;
use crate::workflows::{self, Bench, ExportFormat, Figure, OpenRequest, Project};

use super::args::{BenchArgs, DataArgs, HowArgs, LabelCommand, SampleArgs};
use super::output::{Bar, Output, count};

/// Problems printed before the rest is only counted.
const PROBLEMS_SHOWN: usize = 20;

/// Opens a project and says what was detected.
pub fn project(args: &DataArgs, output: &Output) -> Result<Project> {
    project_at(&args.path, &args.how, output)
}

/// Opens the project of `path` and says what was detected.
pub fn project_at(path: &Path, how: &HowArgs, output: &Output) -> Result<Project> {
    let project = workflows::open(&OpenRequest {
        path: path.to_owned(),
        options: how.options(),
        project_dir: how.project.clone(),
    })?;
    output.say(&project.manifest.statement);
    if let Some(reason) = project.read_only() {
        output.warn(reason);
    }
    if let Some(problem) = &project.split_problem {
        output.warn(problem);
    }
    for problem in (project.cost_problem().into_iter()).chain(project.labels_without_image()) {
        output.warn(&problem);
    }
    Ok(project)
}

pub fn sample(args: &SampleArgs, output: &Output) -> Result<()> {
    let spec = SampleSpec {
        train: args.train,
        test: args.test,
        seed: args.seed,
    };
    let bar = Bar::new();
    let summary = workflows::sample(&args.out, &spec, &mut |done, total| {
        bar.context
            .report(done as u64, total as u64, "drawing images");
        true
    })?;
    drop(bar);
    let classes: Vec<String> = summary
        .train
        .iter()
        .map(|(c, n)| format!("{c} {n}"))
        .collect();
    output.say(&format!(
        "wrote {} training images ({}; {} of them mislabelled on purpose) and {} test images ({} drift) to {}",
        args.train,
        classes.join(", "),
        summary.mislabelled,
        summary.test,
        summary.drift,
        args.out.display()
    ));
    output.say("the truth of the test images is in truth.csv; the program never reads it");
    output.json(&json!({
        "out": args.out, "train": args.train, "test": summary.test, "drift": summary.drift,
        "mislabelled": summary.mislabelled, "prepared_labels": summary.prepared,
        "classes": summary.train.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

pub fn info(args: &DataArgs, output: &Output) -> Result<()> {
    let project = project(args, output)?;
    let bar = Bar::new();
    let info = workflows::info(&project, &bar.context)?;
    drop(bar);
    output.say(&format!(
        "classes   {}",
        list(info.classes.iter().map(|(name, n)| (name, *n)))
    ));
    let splits = info.splits.iter().map(|(name, n)| (name, *n));
    output.say(&format!("splits    {}", list(splits)));
    for (name, counts) in [
        ("libs", &info.libs),
        ("windows", &info.windows),
        ("sizes", &info.sizes),
    ] {
        if !counts.is_empty() {
            output.say(&format!(
                "{name:9} {}",
                list(counts.iter().map(|(name, n)| (name, *n)))
            ));
        }
    }
    output.say(&format!("labelled by hand {}", info.hand_labels));
    if info.repeats > 0 {
        let [low, high] = info.repeats_interval;
        output.say(&format!(
            "shown again blind {}, {} with the same answer (95 % interval {low:.2} to {high:.2})",
            info.repeats, info.repeats_same
        ));
    }
    if info.problems.is_empty() {
        output.say("no problems found");
    }
    for summary in &info.problem_summary {
        output.say(&format!("{} {}", summary.count, summary.title));
    }
    if info.equal_across_parts > 0 {
        let sets = count(info.equal_across_parts, "set");
        output.say(&format!(
            "{sets} of equal images across train, validation and test: what is measured there was learned before"
        ));
    }
    for problem in info.problems.iter().take(PROBLEMS_SHOWN) {
        output.say(&format!("  {problem}"));
    }
    if info.problems.len() > PROBLEMS_SHOWN {
        output.say(&format!(
            "  and {} more",
            info.problems.len() - PROBLEMS_SHOWN
        ));
    }
    output.json(&info)
}

pub fn label(command: LabelCommand, output: &Output) -> Result<()> {
    match command {
        LabelCommand::Import { data, from } => import(&data, &from, output),
        LabelCommand::Export {
            data,
            out,
            study,
            template,
        } => {
            let project = project(&data, output)?;
            let format = match (template, study) {
                (Some(template), _) => ExportFormat::StudyFrom(template),
                (None, true) => ExportFormat::Study,
                (None, false) => ExportFormat::Plain,
            };
            let summary = workflows::export_labels(&project, &out, &format, &|_| None)?;
            for left_out in &summary.left_out {
                output.warn(&left_out.to_string());
            }
            let labels = count(summary.labels, "label");
            output.say(&format!("wrote {labels} to {}", out.display()));
            output.json(&json!({
                "file": out, "labels": summary.labels, "left_out": summary.left_out.len(),
            }))
        }
    }
}

fn import(data: &DataArgs, from: &Path, output: &Output) -> Result<()> {
    let mut project = project(data, output)?;
    let summary = workflows::import_labels(&mut project, from)?;
    for problem in summary.problems.iter().take(PROBLEMS_SHOWN) {
        output.warn(&problem.to_string());
    }
    output.say(&format!(
        "read {} from {}: {} changed something; {} without a label, {} left out",
        count(summary.read, "label"),
        from.display(),
        summary.changed,
        count(summary.skipped_no_label, "row"),
        count(summary.problems.len(), "row")
    ));
    if summary.read == 0 && !summary.problems.is_empty() {
        bail!("no row of {} could be used", from.display());
    }
    output.json(&json!({
        "read": summary.read, "changed": summary.changed,
        "skipped_no_label": summary.skipped_no_label,
        "problems": summary.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

pub fn bench(
    args: &BenchArgs,
    output: &Output,
    measure_window: fn(&OpenRequest) -> Result<Vec<Figure>>,
) -> Result<()> {
    let bar = Bar::new();
    let bench = Bench::new(args.data.as_deref(), &bar.context)?;
    let mut figures = bench.run(&args.what, &bar.context)?;
    drop(bar);
    if args.what == "startup" || args.what == "all" {
        match measure_window(&bench.warm_project()?) {
            Ok(measured) => figures.extend(measured),
            Err(error) if args.what == "all" => {
                output.warn(&format!("startup was left out: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    for figure in &figures {
        if output.is_json() {
            output.json(figure)?;
        } else {
            output.say(&figure.to_string());
        }
    }
    Ok(())
}

/// `GOOD 12 · Missing 60`
fn list<N: std::fmt::Display>(counts: impl Iterator<Item = (N, usize)>) -> String {
    let pairs: Vec<String> = counts.map(|(name, n)| format!("{name} {n}")).collect();
    pairs.join(" · ")
}
