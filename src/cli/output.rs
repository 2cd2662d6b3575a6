//! Progress bars on standard error, results on standard output. A reader that has seen enough, such as `head`, ends
//! the printing and not the work: a training goes on to its report.

use std::{
    io::{self, ErrorKind, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::jobs::{Control, JobContext, ProgressCell};

/// Where results go.
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Text for people; nothing in JSON mode.
    pub fn say(&self, text: &str) {
        if !self.json {
            let printed = print(io::stdout(), text);
            if let Err(error) = printed {
                self.warn(&format!("standard output cannot be written: {error}"));
            }
        }
    }

    /// The result of the command for programs; nothing in text mode.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            print(io::stdout(), &serde_json::to_string(value)?)
                .context("standard output cannot be written")?;
        }
        Ok(())
    }

    /// Something the user should know, on standard error.
    pub fn warn(&self, text: &str) {
        complain(&format!("note: {text}"));
    }

    pub fn error(&self, error: &anyhow::Error) {
        // A cause that the sentence before it has quoted already is not told twice.
        let mut told = String::new();
        for cause in error.chain().map(ToString::to_string) {
            if told.is_empty() {
                told = cause;
            } else if !told.contains(&cause) {
                told = format!("{told}: {cause}");
            }
        }
        complain(&format!("error: {told}"));
    }
}

/// Prints a line. It is no error that nobody reads it any more.
fn print(mut to: impl Write, text: &str) -> io::Result<()> {
    match writeln!(to, "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a line on standard error; where that cannot be written, there is nobody to tell.
fn complain(text: &str) {
    drop(print(io::stderr(), text));
}

/// `1 label`, `3 labels`.
pub fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// A progress bar fed by a [`JobContext`]. It disappears when dropped.
pub struct Bar {
    bar: ProgressBar,
    pub context: JobContext,
}

impl Bar {
    /// Counts things.
    pub fn new() -> Self {
        Self::drawn("{msg:28} {wide_bar} {pos}/{len} {eta:>5}")
    }

    /// Counts bytes.
    #[cfg(feature = "torch")]
    pub fn of_bytes() -> Self {
        Self::drawn("{msg:28} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta:>5}")
    }

    fn drawn(template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.expect("a template of known keys"));
        bar.enable_steady_tick(Duration::from_millis(250));
        let progress = ProgressCell::default();
        let (shown, cell) = (bar.clone(), progress.clone());
        let context = JobContext {
            control: Control::default(),
            progress,
            wake: Arc::new(move || show(&shown, &cell)),
        };
        Self { bar, context }
    }

    /// Draws the latest progress.
    #[cfg(feature = "torch")]
    pub fn refresh(&self) {
        show(&self.bar, &self.context.progress);
    }

    /// Prints a line above the bar.
    #[cfg(feature = "torch")]
    pub fn line(&self, text: &str) {
        self.bar.suspend(|| complain(text));
    }
}

fn show(bar: &ProgressBar, cell: &ProgressCell) {
    let progress = cell.get();
    bar.set_length(progress.total);
    bar.set_position(progress.done);
    bar.set_message(progress.doing);
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
