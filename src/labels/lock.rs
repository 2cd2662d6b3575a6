//! One writer per label file, across processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use jiff::Timestamp;

/// Whether this process is the one that may write.
pub(super) enum Lock {
    /// Yes, as long as the file stays open. The operating system lets go when the process ends,
    /// however it ends.
    Held(File),
    /// No; the sentence says why and what to do.
    Denied(String),
}

/// Takes the exclusive lock on `path` without waiting, and writes down who holds it. The file itself
/// stays when the lock goes: deleting it could take it from under another process.
pub(super) fn acquire(path: &Path, who: &str) -> Lock {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            return Lock::Denied(format!(
                "{} cannot be written ({error}): check the rights on the folder, or copy it to a \
                 place where you may write",
                path.display()
            ));
        }
    };
    match file.try_lock() {
        Ok(()) => match sign(&mut file, who) {
            Ok(()) => Lock::Held(file),
            Err(error) => Lock::Denied(format!(
                "{} cannot be written ({error}): free some space or check the drive",
                path.display()
            )),
        },
        Err(TryLockError::WouldBlock) => Lock::Denied(format!(
            "another window has it open ({}): close that one, then reopen the project here",
            holder(&mut file)
        )),
        Err(TryLockError::Error(error)) => Lock::Denied(format!(
            "the drive with {} cannot lock files ({error}): copy the folder to a local disk",
            path.display()
        )),
    }
}

fn sign(file: &mut File, who: &str) -> std::io::Result<()> {
    let process = std::process::id();
    let host = host();
    let now = Timestamp::now();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{who}, process {process} on {host}, since {now:.0}")?;
    file.flush()
}

/// What the holder wrote, cut to one harmless line: anybody may have edited it.
fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // Windows lets nobody read a locked file; then nothing is known of the holder.
    let _unreadable = file.take(400).read_to_end(&mut bytes).is_err();
    let text = String::from_utf8_lossy(&bytes);
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    if line.is_empty() {
        "by whom is not known".to_owned()
    } else {
        line
    }
}

fn host() -> String {
    ["HOSTNAME", "COMPUTERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "an unnamed computer".to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.lock");
        let first = acquire(&path, "anna");
        assert!(matches!(first, Lock::Held(_)));
        let Lock::Denied(reason) = acquire(&path, "ben") else {
            panic!("two holders");
        };
        assert!(reason.contains("anna, process "), "{reason}");
        drop(first);
        assert!(matches!(acquire(&path, "ben"), Lock::Held(_)));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let Lock::Denied(reason) = acquire(dir.path(), "anna") else {
            panic!("locked a folder");
        };
        assert!(reason.contains("cannot be written"), "{reason}");
    }
}
