//! Labels survive what happens to processes: killed in mid-labelling, opened twice, write-protected.
//!
//! The child processes are this test program itself, told by an environment variable what to play.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use driftscope::domain::{ClassId, ClassSet, Label};
use driftscope::labels::{Access, Change, Kind, LabelError, Source, Store};

const ROLE: &str = "LABEL_TEST_ROLE";
const FILE: &str = "LABEL_TEST_FILE";
const ROUNDS: u64 = 25;
const GROUP: usize = 3;

fn open(path: &Path) -> Store {
    Store::open(path, &ClassSet::challenge(), "anna").unwrap()
}

fn change(image: u64, class: u64, source: Source) -> Change {
    Change {
        image: format!("{}.png", image % 40),
        label: Some(Label::Class(ClassId(u8::try_from(class % 7).unwrap()))),
        source,
        model_run: None,
        prediction_visible: false,
    }
}

/// What the child processes do; as a test of its own it does nothing.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    match role.as_str() {
        "label" => label_forever(&path),
        "visit" => visit(&path),
        other => panic!("no role {other}"),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Labels, groups, undoes and redoes, and says each time what has been acknowledged.
fn label_forever(path: &Path) {
    let mut store = open(path);
    assert_eq!(store.access(), &Access::ReadWrite);
    for turn in store.saved().. {
        match turn % 11 {
            3 => {
                let group: Vec<_> = (0..GROUP as u64)
                    .map(|i| change(turn + i, turn, Source::Group))
                    .collect();
                store.apply_many(&group).unwrap();
                say(&format!("done {} group", store.saved()));
            }
            5 | 6 => {
                if store.undo().unwrap().is_some() {
                    say(&format!("done {} undo", store.saved()));
                }
            }
            7 => {
                if store.redo().unwrap().is_some() {
                    say(&format!("done {} redo", store.saved()));
                }
            }
            _ => {
                let change = change(turn * 7, turn, Source::Key);
                let image = change.image.clone();
                store.apply(change).unwrap();
                say(&format!("done {} key {image} {}", store.saved(), turn % 7));
            }
        }
    }
}

fn visit(path: &Path) {
    let mut store = match Store::open(path, &ClassSet::challenge(), "ben") {
        Ok(store) => store,
        Err(error) => return say(&format!("error {error}")),
    };
    let reason = match store.access() {
        Access::ReadWrite => "none".to_owned(),
        Access::ReadOnly { reason } => reason.clone(),
    };
    say(&format!("saw {} labels", store.counts().labelled()));
    say(&format!("reason {reason}"));
    match store.apply(change(1, 1, Source::Key)) {
        Err(LabelError::ReadOnly { .. }) => say("refused"),
        other => say(&format!("{other:?}")),
    }
}

fn command(role: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The next thing the child acknowledged; `None` at its end. Whole lines only: the kill may have cut
/// the last one.
fn next_said(out: &mut impl BufRead) -> Option<String> {
    loop {
        let mut line = String::new();
        let read = out.read_line(&mut line).unwrap();
        if read == 0 || !line.ends_with('\n') {
            return None;
        }
        // The harness writes before the first line of the child without ending its own.
        if let Some(at) = line.find("done ") {
            return Some(line[at..].trim_end().to_owned());
        }
    }
}

#[test]
fn every_acknowledged_label_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.sqlite");
    let mut acknowledged = 0_usize;
    for round in 0..ROUNDS {
        let mut child = command("label", &path).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let first = next_said(&mut out).expect("the child labels");
        // Spread over the life of a transaction and of a WAL checkpoint.
        thread::sleep(Duration::from_micros(round * round * 317 % 120_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = std::iter::from_fn(|| next_said(&mut out));
        let said: Vec<String> = std::iter::once(first).chain(rest).collect();
        acknowledged += said.len();
        check(&path, &said);
    }
    assert!(
        acknowledged > ROUNDS as usize,
        "hardly anything was labelled"
    );
}

fn check(path: &Path, said: &[String]) {
    let mut store = open(path);
    assert_eq!(
        store.access(),
        &Access::ReadWrite,
        "the lock died with its owner"
    );
    let mut events = store.recent(u32::MAX).unwrap();
    events.reverse();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.id, i64::try_from(index).unwrap() + 1, "no gaps");
    }
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        let id: usize = words[1].parse().unwrap();
        let event = events.get(id - 1).unwrap_or_else(|| panic!("lost: {line}"));
        match words[2] {
            "key" => {
                let class: u8 = words[4].parse().unwrap();
                let classes = ClassSet::challenge();
                assert_eq!(event.image, words[3], "{line}");
                assert_eq!(event.new.as_deref(), Some(classes.label(ClassId(class))));
            }
            "group" => assert_eq!(event.source, Source::Group, "{line}"),
            "undo" => assert!(event.undo_of.is_some(), "{line}"),
            "redo" => assert!(event.redo_of.is_some(), "{line}"),
            other => panic!("{other}"),
        }
    }
    for event in events.iter().filter(|e| e.source == Source::Group) {
        let size = events.iter().filter(|e| e.batch == event.batch).count();
        assert_eq!(size, GROUP, "a group is saved whole or not at all");
    }
    for image in (0..40).map(|i| format!("{i}.png")) {
        let last = events
            .iter()
            .rev()
            .find(|e| e.image == image && e.kind == Kind::Label);
        let word = store.get(&image).and_then(|c| c.word.as_deref());
        assert_eq!(word, last.and_then(|e| e.new.as_deref()), "{image}");
    }
    // The child may have undone all it did; then there is at least this.
    store.apply(change(0, 0, Source::Key)).unwrap();
    let labels = |store: &Store| -> Vec<_> {
        let images = 0..40;
        images
            .map(|i| store.label_of(&format!("{i}.png")))
            .collect()
    };
    let before = labels(&store);
    let mut steps = 0;
    while steps < 20 && store.undo().unwrap().is_some() {
        steps += 1;
    }
    for _ in 0..steps {
        assert!(store.redo().unwrap().is_some());
    }
    assert!(steps > 0, "nothing to undo");
    assert_eq!(before, labels(&store));
    drop(store);
    integrity(path);
}

fn integrity(path: &Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let verdict: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

fn heard(output: std::process::Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn a_second_process_reads_only_says_so_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.sqlite");
    let mut store = open(&path);
    store.apply(change(1, 0, Source::Key)).unwrap();
    for round in 0..3 {
        let child = command("visit", &path).spawn().unwrap();
        for turn in 0..30 {
            store.apply(change(1, round + turn, Source::Key)).unwrap();
        }
        let text = heard(child.wait_with_output().unwrap());
        assert!(text.contains("saw 1 labels"), "{text}");
        assert!(
            text.contains("another window has it open (anna, process"),
            "{text}"
        );
        assert!(text.contains("refused"), "{text}");
    }
    assert_eq!(store.saved(), 91);
    drop(store);
    integrity(&path);
    assert_eq!(open(&path).saved(), 91);
}

/// What a visitor says while the folder and the files in it have these access rights. `None` where
/// that cannot be tried.
#[cfg(unix)]
fn visit_protected(path: &Path, folder: u32, files: u32) -> Option<String> {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let dir = path.parent().unwrap();
    let protect = |folder: u32, files: u32| {
        for entry in fs::read_dir(dir).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(files)).unwrap();
        }
        fs::set_permissions(dir, Permissions::from_mode(folder)).unwrap();
    };
    protect(folder, files);
    let root = fs::OpenOptions::new().write(true).open(path).is_ok();
    let mut command = command("visit", path);
    if root {
        // Nothing is write-protected for root, so the child is nobody.
        command.uid(65534).gid(65534);
    }
    let result = command.spawn().and_then(Child::wait_with_output);
    protect(0o755, 0o644);
    match result {
        // The loader gives up with 127 where nobody may not read the libraries in root's home.
        Ok(output) if root && output.status.code() == Some(127) => None,
        Ok(output) => Some(heard(output)),
        Err(error) => {
            // Nobody may not run a program that lies in root's home.
            assert!(root, "{error}");
            None
        }
    }
}

#[cfg(unix)]
#[test]
fn write_protected_places_open_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.sqlite");
    open(&path).apply(change(1, 0, Source::Key)).unwrap();
    if let Some(text) = visit_protected(&path, 0o555, 0o444) {
        assert!(text.contains("saw 1 labels"), "{text}");
        assert!(text.contains("labels.lock cannot be written"), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
    std::fs::remove_file(dir.path().join("labels.lock")).unwrap();
    if let Some(text) = visit_protected(&path, 0o777, 0o444) {
        assert!(text.contains("saw 1 labels"), "{text}");
        assert!(text.contains("the file is write-protected"), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
    drop(std::fs::remove_file(dir.path().join("labels.lock")));
    assert_eq!(open(&path).access(), &Access::ReadWrite);
}

#[cfg(unix)]
#[test]
fn labels_still_in_the_log_of_a_write_protected_folder_are_not_overlooked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.sqlite");
    let mut store = open(&path);
    store.apply(change(1, 0, Source::Key)).unwrap();
    // As a crash, or a copy made while labelling, leaves it.
    let copy = tempfile::tempdir().unwrap();
    for name in ["labels.sqlite", "labels.sqlite-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("labels.sqlite");
    if let Some(text) = visit_protected(&path, 0o555, 0o444) {
        assert!(
            text.contains("error") && text.contains("ending in -wal"),
            "{text}"
        );
    }
    assert_eq!(open(&path).counts().labelled(), 1);
}
