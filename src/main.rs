//! The `driftscope` program: the command line, and the window it can open.

use std::process::ExitCode;

use driftscope::cli::{self, OpenRequest};

fn main() -> ExitCode {
    cli::main(open_window)
}

#[cfg(feature = "gui")]
fn open_window(request: OpenRequest) -> anyhow::Result<()> {
    Ok(driftscope::app::run(request.path.as_deref())?)
}

#[cfg(not(feature = "gui"))]
fn open_window(_: OpenRequest) -> anyhow::Result<()> {
    anyhow::bail!(
        "this is the headless program, without a window; see `driftscope --help` for its commands"
    )
}
