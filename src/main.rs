//! The `driftscope` program: the command line, and the window it can open.

use std::process::ExitCode;

use driftscope::{cli, workflows::OpenRequest};

fn main() -> ExitCode {
    cli::main(open_window)
}

#[cfg(feature = "gui")]
fn open_window(request: Option<OpenRequest>) -> anyhow::Result<()> {
    Ok(driftscope::app::run(request)?)
}

#[cfg(not(feature = "gui"))]
fn open_window(_: Option<OpenRequest>) -> anyhow::Result<()> {
    anyhow::bail!(
        "this is the headless program, without a window; see `driftscope --help` for its commands"
    )
}
