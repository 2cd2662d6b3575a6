//! The system's file dialogs. They never block: a thread waits for the answer and sends it as a command.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake as TaskWake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::command::{Command, CommandSender, Pick};
use crate::jobs::Wake;

/// Sooner than anyone can read a dialog and close it.
const AT_ONCE: Duration = Duration::from_millis(250);

type Answer = Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>>;

/// Opens the dialog for `pick`, starting in `folder`. A dialog that is closed without an answer sends
/// nothing; where the system has none, [`Command::NoDialog`] says so.
///
/// # Errors
/// When the operating system gives no thread.
pub fn ask(
    pick: Pick,
    folder: Option<&Path>,
    commands: &CommandSender,
    wake: Wake,
) -> std::io::Result<()> {
    let mut dialog = rfd::AsyncFileDialog::new();
    if let Some(folder) = folder {
        dialog = dialog.set_directory(folder);
    }
    // Made here, on the thread of the window, as macOS wants it; awaited elsewhere.
    let table = ["csv", "tsv", "txt"];
    let answer: Answer = match pick {
        Pick::Folder => Box::pin(dialog.set_title("Open a folder of images").pick_folder()),
        Pick::Csv => {
            let dialog = dialog.set_title("Open a table of images");
            Box::pin(dialog.add_filter("Table", &table).pick_file())
        }
        Pick::ImportLabels => {
            let dialog = dialog.set_title("Import labels");
            Box::pin(dialog.add_filter("Labels", &table).pick_file())
        }
        Pick::ExportLabels => {
            let dialog = dialog.set_title("Export labels");
            Box::pin(dialog.set_file_name("labels.csv").save_file())
        }
        Pick::DriftWeights => {
            let dialog = dialog.set_title("Pretrained weights to look for drift with");
            Box::pin(dialog.add_filter("Weights", &["safetensors"]).pick_file())
        }
        Pick::ExportSubmission => {
            let dialog = dialog.set_title("Export the submission");
            Box::pin(dialog.set_file_name("submission.csv").save_file())
        }
    };
    let commands = commands.clone();
    thread::Builder::new()
        .name("file dialog".to_owned())
        .spawn(move || {
            let asked = Instant::now();
            match block_on(answer) {
                Some(file) => commands.send(Command::Picked(pick, file.path().to_owned())),
                // The library tells a dialog that never came and one that was closed apart by nothing else.
                None if asked.elapsed() < AT_ONCE => commands.send(Command::NoDialog),
                None => return,
            }
            wake();
        })?;
    Ok(())
}

struct Unpark(Thread);

impl TaskWake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, which sleeps meanwhile.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
