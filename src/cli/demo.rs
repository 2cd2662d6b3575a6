//! The whole loop in the terminal, for a first look without a display.

use anyhow::{Result, bail};
use serde_json::json;

use crate::training::Plan;
use crate::workflows::{self, OpenRequest, SubmitRequest, TrainRequest};

use super::args::DemoArgs;
use super::drift::{refit, say_quality, say_submission};
use super::output::{Bar, Output, count};
use super::runs::{report_json, say_report, train_with_bar};

pub fn demo(args: &DemoArgs, output: &Output) -> Result<()> {
    let prepared = args.path.join(crate::dataset::sample::PREPARED_TABLE);
    if !prepared.is_file() {
        bail!(
            "{} has no {} to label from; the demo plays on a data set made by `driftscope sample`",
            args.path.display(),
            crate::dataset::sample::PREPARED_TABLE
        );
    }
    let step = |n: usize, what: &str| output.say(&format!("\n{n}  {what}"));

    step(1, "Open the data set");
    let mut project = workflows::open(&OpenRequest {
        path: args.path.clone(),
        project_dir: args.project.clone(),
        ..OpenRequest::default()
    })?;
    output.say(&project.manifest.statement);
    if let Some(reason) = project.read_only() {
        bail!("the demo has to label images, and {reason}");
    }

    step(2, "Train a small network on the labelled images");
    let request = TrainRequest {
        plan: Plan {
            epochs: 15,
            ..Plan::default()
        },
        out: None,
        threads: None,
    };
    output.say(&request.plan.in_words());
    let run = train_with_bar(&project.snapshot(), &request, output)?;

    step(3, "The report");
    say_report(&run.report, 2, output);
    for warning in &run.warnings {
        output.warn(warning);
    }

    step(4, "Look for drift before anybody labelled any");
    say_quality(&refit(&project.snapshot(), &run.dir, output)?, output);

    step(5, "Label incoming images from a prepared CSV");
    let imported = workflows::import_labels(&mut project, &prepared)?;
    output.say(&format!(
        "{} read, {} new; each is on disk, and one undo takes the import back",
        count(imported.read, "label"),
        imported.changed
    ));

    step(6, "Retrain drift");
    let snapshot = project.snapshot();
    let result = refit(&snapshot, &run.dir, output)?;
    say_quality(&result, output);

    step(7, "Write the submission");
    let request = SubmitRequest {
        run: run.dir.clone(),
        decision: snapshot.drift_threshold.into(),
        use_hand_labels: false,
        out: project.dir.join("submission.csv"),
    };
    let bar = Bar::new();
    let summary = workflows::submit(&snapshot, &request, &bar.context)?;
    drop(bar);
    say_submission(&snapshot, &summary, output);
    output.say(&format!(
        "\nThat was the loop. The same in a window: driftscope open {}",
        args.path.display()
    ));
    output.json(&json!({
        "report": report_json(&run)?, "labels": imported.read,
        "drift": {"n_drift": result.n_drift, "n_regular": result.n_regular,
                  "average_precision": result.quality.as_ref().ok().map(|q| q.average_precision.mean)},
        "submission": summary.file,
    }))
}
