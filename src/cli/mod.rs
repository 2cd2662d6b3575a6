//! The command line: arguments -> workflows -> progress bars. The only part that prints.

mod args;
#[cfg(feature = "torch")]
mod cost;
mod data;
#[cfg(feature = "torch")]
mod demo;
#[cfg(feature = "torch")]
mod drift;
#[cfg(feature = "torch")]
mod fine_tune;
mod output;
#[cfg(feature = "torch")]
mod runs;
#[cfg(feature = "torch")]
mod weights;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use output::Output;

use crate::workflows::{Figure, OpenRequest};

/// What the command line asks of the window, which it may not know.
pub struct Window {
    /// Shows the workbench until the user closes it.
    pub open: fn(Option<&OpenRequest>) -> anyhow::Result<()>,
    /// Opens the workbench, times it and closes it.
    pub measure: fn(&OpenRequest) -> anyhow::Result<Vec<Figure>>,
}

/// Runs the program on the process's own arguments and returns its exit code: 0 done, 1 failed, 2 bad
/// usage.
#[must_use]
pub fn main(window: &Window) -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("DRIFTSCOPE_LOG"))
        .init();
    let output = Output::new(args.json);
    let command = args.command.unwrap_or(Command::Open(args.open));
    match dispatch(command, &output, window) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, output: &Output, window: &Window) -> anyhow::Result<()> {
    match command {
        Command::Open(args) => {
            // Told here rather than in a window that has nothing to show.
            if let Some(path) = args.path.as_ref().filter(|path| !path.exists()) {
                anyhow::bail!("{} does not exist; check the spelling", path.display());
            }
            let request = args.path.map(|path| OpenRequest {
                path,
                options: args.how.options(),
                project_dir: args.how.project,
            });
            (window.open)(request.as_ref())
        }
        Command::Sample(args) => data::sample(&args, output),
        Command::Info(args) => data::info(&args, output),
        Command::Label(args) => data::label(args, output),
        #[cfg(feature = "torch")]
        Command::Models(args) => runs::models(&args, output),
        #[cfg(feature = "torch")]
        Command::Weights(command) => weights::weights(command, output),
        #[cfg(feature = "torch")]
        Command::Train(args) => runs::train(&args, output),
        #[cfg(feature = "torch")]
        Command::Study(args) => runs::study(&args, output),
        #[cfg(feature = "torch")]
        Command::Predict(args) => runs::predict(&args, output),
        #[cfg(feature = "torch")]
        Command::Evaluate(args) => runs::evaluate(&args, output),
        #[cfg(feature = "torch")]
        Command::Drift(args) => drift::drift(args, output),
        #[cfg(feature = "torch")]
        Command::Submit(args) => drift::submit(&args, output),
        #[cfg(feature = "torch")]
        Command::Demo(args) => demo::demo(&args, output),
        Command::Bench(args) => data::bench(&args, output, window.measure),
    }
}
