//! Published weights.

use anyhow::{Result, bail};

use crate::workflows::{self, FetchRequest, FetchSummary, WeightsCheck};

use super::args::{FetchArgs, WeightsCommand};
use super::output::{Bar, Output};

pub fn weights(command: WeightsCommand, output: &Output) -> Result<()> {
    match command {
        WeightsCommand::Fetch(args) => fetch(args, output),
        WeightsCommand::List => list(output),
        WeightsCommand::Check { file, model } => {
            let check = workflows::check_weights(&file, model.as_deref())?;
            say_check(&check, output);
            output.json(&check)?;
            if !check.fits {
                bail!(check.statement);
            }
            Ok(())
        }
    }
}

fn fetch(args: FetchArgs, output: &Output) -> Result<()> {
    let request = FetchRequest {
        name: args.name,
        hub: args.hub,
        url: args.url,
        sha256: args.sha256,
    };
    let bar = Bar::of_bytes();
    let fetched = workflows::fetch_weights(&request, &bar.context)?;
    drop(bar);
    say_fetched(&fetched, output);
    output.json(&fetched)
}

fn say_fetched(fetched: &FetchSummary, output: &Output) {
    let row = &fetched.row;
    let came = match fetched.had {
        had if had == fetched.bytes => "all of it was here already".to_owned(),
        0 => format!("from {}", fetched.url),
        had => format!(
            "from {}, {:.1} MB of it earlier",
            fetched.url,
            had as f64 / 1e6
        ),
    };
    output.say(&format!(
        "{}: {:.1} MB, {came}; SHA-256 {} as it has to be; licence {}",
        row.path.display(),
        fetched.bytes as f64 / 1e6,
        fetched.sha256,
        row.licence
    ));
    say_check(&fetched.check, output);
    output.say(&format!(
        "to start from it: driftscope train PATH --model {0} --weights {0}",
        row.name
    ));
    output.say(&format!(
        "its weights want pixels as {word}; that name sees to it, a copy of the file elsewhere needs preprocessing = \"{word}\" in the plan",
        word = row.preprocessing.name()
    ));
}

fn list(output: &Output) -> Result<()> {
    let rows = workflows::published_weights()?;
    for row in &rows {
        let here = if row.present {
            row.path.display().to_string()
        } else {
            "not fetched".to_owned()
        };
        output.say(&format!(
            "{:18} {:>3} MB  {:11} {:9} {:42} {here}",
            row.name,
            row.megabytes,
            row.licence,
            row.preprocessing.name(),
            row.repository
        ));
    }
    output.json(&rows)
}

fn say_check(check: &WeightsCheck, output: &Output) {
    let (model, file) = (check.model, check.file.display());
    if check.fits {
        output.say(&format!("{model} takes {file}: {}", check.statement));
        return;
    }
    output.say(&format!(
        "{model} does not take {file}: {} of its tensors fit",
        check.loaded
    ));
    let shapes = check.wrong_shape.iter();
    let shapes = shapes.map(|(name, found, wanted)| format!("{name} is {found:?}, not {wanted:?}"));
    for (what, names) in [
        ("missing", &check.missing),
        ("unknown to the network", &check.unexpected),
        ("of another shape", &shapes.collect()),
    ] {
        if !names.is_empty() {
            output.say(&format!("{} {what}:", names.len()));
        }
        for name in names {
            output.say(&format!("  {name}"));
        }
    }
}
