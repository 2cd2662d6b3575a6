//! The command line: arguments -> workflows -> progress bars.
use std::process::ExitCode;

/// Runs the program on the process's own arguments and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
