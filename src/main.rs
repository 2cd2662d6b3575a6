//! The `driftscope` program: the command line, and the window it can open.

use std::process::ExitCode;

use driftscope::cli;
use driftscope::workflows::{Figure, OpenRequest};

fn main() -> ExitCode {
    cli::main(&cli::Window {
        open: open_window,
        measure: measure_window,
    })
}

#[cfg(feature = "gui")]
fn open_window(request: Option<&OpenRequest>) -> anyhow::Result<()> {
    Ok(driftscope::app::run(request)?)
}

#[cfg(feature = "gui")]
fn measure_window(request: &OpenRequest) -> anyhow::Result<Vec<Figure>> {
    Ok(driftscope::app::measure(request)?)
}

#[cfg(not(feature = "gui"))]
fn open_window(_: Option<&OpenRequest>) -> anyhow::Result<()> {
    no_window()
}

#[cfg(not(feature = "gui"))]
fn measure_window(_: &OpenRequest) -> anyhow::Result<Vec<Figure>> {
    no_window()
}

#[cfg(not(feature = "gui"))]
fn no_window<T>() -> anyhow::Result<T> {
    anyhow::bail!(
        "this is the headless program, without a window; see `driftscope --help` for its commands"
    )
}
