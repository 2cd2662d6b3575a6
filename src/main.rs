//! The `driftscope` program: arguments in, exit code out. Everything else lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    driftscope::cli::main()
}
