//! The store against a simple model of it, and against files it must refuse.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::domain::{ClassId, ClassSet, Label};

const GOOD: Label = Label::Class(ClassId(0));
const DRIFT: Label = Label::Class(ClassId(6));

fn change(image: &str, label: Option<Label>) -> Change {
    Change {
        image: image.to_owned(),
        label,
        source: Source::Key,
        model_run: None,
        prediction_visible: false,
    }
}

struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("labels.sqlite")
    }

    fn open_with(&self, classes: &ClassSet) -> Result<Store, LabelError> {
        Store::open(&self.path(), classes, "anna")
    }

    fn open(&self) -> Store {
        self.open_with(&ClassSet::challenge()).unwrap()
    }

    fn sql(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.path()).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    /// The error of opening; the file must come out of it unchanged.
    fn refusal(&self) -> LabelError {
        let before = fs::read(self.path()).unwrap();
        let error = self
            .open_with(&ClassSet::challenge())
            .err()
            .expect("opened");
        assert_eq!(fs::read(self.path()).unwrap(), before, "{error}");
        let text = error.to_string();
        assert!(text.contains("labels.sqlite"), "{text}");
        error
    }
}

#[test]
fn a_store_can_move_to_another_thread() {
    fn send<T: Send>() {}
    send::<Store>();
}

#[test]
fn labels_flags_and_their_circumstances_outlive_the_process() {
    let folder = Folder::new();
    let mut store = folder.open();
    assert_eq!(store.access(), &Access::ReadWrite);
    store.apply(change("a.png", Some(GOOD))).unwrap();
    let seen = Change {
        source: Source::Suggestion,
        model_run: Some("2026-03-01-cnn03".to_owned()),
        prediction_visible: true,
        ..change("a.png", Some(Label::Regular))
    };
    store.apply(seen).unwrap();
    store.set_flag("b.png", true).unwrap();
    drop(store);

    let store = folder.open();
    assert_eq!(store.label_of("a.png"), Some(Label::Regular));
    assert_eq!(store.label_of("b.png"), None);
    assert!(store.flagged("b.png") && !store.flagged("a.png"));
    assert_eq!(store.saved(), 3);
    let counts = store.counts();
    assert_eq!(
        (counts.labelled(), counts.regular, counts.flagged),
        (1, 1, 1)
    );
    let current = store.get("a.png").unwrap();
    assert_eq!(current.source, Source::Suggestion);
    assert!(current.prediction_visible && current.who == "anna");
    let history = store.history("a.png").unwrap();
    let words: Vec<_> = history
        .iter()
        .map(|e| (e.old.as_deref(), e.new.as_deref()))
        .collect();
    assert_eq!(
        words,
        [(None, Some("GOOD")), (Some("GOOD"), Some("regular"))]
    );
    assert_eq!(history[1].model_run.as_deref(), Some("2026-03-01-cnn03"));
    assert_eq!(store.recent(1).unwrap()[0].kind, Kind::Flag);
}

#[test]
fn a_group_is_one_step_and_a_new_label_forgets_what_was_undone() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(change("a.png", Some(GOOD))).unwrap();
    let group = ["a.png", "b.png", "a.png"].map(|image| change(image, Some(DRIFT)));
    store.apply_many(&group).unwrap();
    drop(store);

    let mut store = folder.open();
    let undone = store.undo().unwrap().unwrap();
    assert_eq!(undone.images, ["a.png", "b.png"]);
    assert_eq!(store.label_of("a.png"), Some(GOOD));
    assert_eq!(store.decision("b.png"), Decision::Cleared);
    assert_eq!(store.decision("c.png"), Decision::Untouched);
    drop(store);

    let mut store = folder.open();
    assert_eq!(store.redo().unwrap().unwrap().images.len(), 2);
    assert_eq!(store.label_of("b.png"), Some(DRIFT));
    store.undo().unwrap();
    store.apply(change("c.png", Some(GOOD))).unwrap();
    assert!(!store.can_redo());
    assert_eq!(store.redo().unwrap(), None);
    while store.undo().unwrap().is_some() {}
    assert_eq!(store.counts().labelled(), 0);
}

#[test]
fn importing_twice_changes_nothing_the_second_time() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(change("a.png", Some(GOOD))).unwrap();
    let read = [("a.png".to_owned(), GOOD), ("b.png".to_owned(), DRIFT)];
    let news = store.news(&read);
    assert_eq!((news.len(), news[0].source), (1, Source::Import));
    store.apply_many(&news).unwrap();
    assert_eq!(store.news(&read), []);
    let mut labels: Vec<_> = store.labels().collect();
    labels.sort_unstable_by_key(|(image, _)| *image);
    assert_eq!(labels, [("a.png", GOOD), ("b.png", DRIFT)]);
}

#[test]
fn labels_of_another_class_set_are_kept_and_reported() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(change("a.png", Some(GOOD))).unwrap();
    store.apply(change("b.png", Some(DRIFT))).unwrap();
    drop(store);

    let mut store = folder
        .open_with(&ClassSet::from_labels(["scratch"]))
        .unwrap();
    assert_eq!(store.label_of("a.png"), None);
    assert_eq!(store.decision("a.png"), Decision::Untouched);
    assert_eq!(store.unknown_labels().get("GOOD"), Some(&1));
    assert_eq!(store.label_of("b.png"), Some(Label::Class(ClassId(1))));
    let error = store.apply(change("c.png", Some(DRIFT))).unwrap_err();
    assert!(
        matches!(error, LabelError::NoSuchClass { class: 6, .. }),
        "{error}"
    );
    store
        .apply(change("a.png", Some(Label::Class(ClassId(0)))))
        .unwrap();
    store.undo().unwrap();
    drop(store);
    assert_eq!(folder.open().label_of("a.png"), Some(GOOD));
}

#[test]
fn a_second_store_reads_only_and_sees_what_the_first_writes() {
    let folder = Folder::new();
    let mut first = folder.open();
    first.apply(change("a.png", Some(GOOD))).unwrap();
    let mut second = folder.open();
    let Access::ReadOnly { reason } = second.access() else {
        panic!("two writers");
    };
    assert!(reason.contains("another window"), "{reason}");
    assert_eq!(second.label_of("a.png"), Some(GOOD));
    for refused in [
        second.apply(change("a.png", None)),
        second.set_flag("a.png", true),
        second.undo().map(|_| ()),
    ] {
        assert!(matches!(refused, Err(LabelError::ReadOnly { .. })));
    }
    assert!(!second.refresh().unwrap());
    first.apply(change("b.png", Some(DRIFT))).unwrap();
    assert!(second.refresh().unwrap());
    assert_eq!(second.label_of("b.png"), Some(DRIFT));
    drop(first);
    drop(second);
    assert_eq!(folder.open().access(), &Access::ReadWrite);
}

#[test]
fn a_store_locked_before_it_exists_reads_as_empty() {
    let folder = Folder::new();
    fs::create_dir(folder.dir.path().join("labels.lock")).unwrap();
    let store = folder.open();
    assert!(matches!(store.access(), Access::ReadOnly { .. }));
    assert_eq!(store.saved(), 0);
    assert!(!folder.path().exists());
}

#[test]
fn foreign_damaged_and_newer_files_are_refused_and_left_alone() {
    let folder = Folder::new();
    fs::write(folder.path(), "filename,label\na.png,GOOD\n".repeat(100)).unwrap();
    assert!(matches!(folder.refusal(), LabelError::NotALabelFile { .. }));

    fs::remove_file(folder.path()).unwrap();
    folder.sql("CREATE TABLE t (x)");
    assert!(matches!(folder.refusal(), LabelError::NotALabelFile { .. }));

    fs::remove_file(folder.path()).unwrap();
    drop(folder.open());
    folder.sql("PRAGMA user_version = 99");
    assert!(matches!(
        folder.refusal(),
        LabelError::NewerFormat { found: 99, .. }
    ));
}

#[test]
fn what_is_shown_again_tells_how_repeatable_labels_are() {
    let folder = Folder::new();
    let mut store = folder.open();
    let mut say = |image: &str, label, source| {
        let change = change(image, Some(label));
        store.apply(Change { source, ..change }).unwrap();
    };
    for (image, label) in [
        ("a", GOOD),
        ("b", DRIFT),
        ("c", GOOD),
        ("d", DRIFT),
        ("e", GOOD),
    ] {
        say(image, label, Source::Key);
    }
    // A change of mind that is no repeat, the same, the same by another word, and another.
    say("e", DRIFT, Source::Review);
    say("a", GOOD, Source::Repeat);
    say("c", Label::Regular, Source::Repeat);
    say("b", Label::Regular, Source::Repeat);
    let told = |store: &Store| {
        let repeats = store.repeats().unwrap();
        (repeats.answers, repeats.same)
    };
    assert_eq!(store.repeats().unwrap().images, ["a", "b", "c"]);
    assert_eq!(told(&store), (3, 2));
    // One that is taken back does not count.
    store
        .apply(Change {
            source: Source::Repeat,
            ..change("d", Some(GOOD))
        })
        .unwrap();
    assert_eq!(told(&store), (4, 2));
    store.undo().unwrap();
    assert_eq!(told(&store), (3, 2));
    drop(store);
    assert_eq!(told(&folder.open()), (3, 2));
}

#[test]
fn a_file_cut_short_or_scribbled_over_is_refused_and_left_alone() {
    let folder = Folder::new();
    let mut store = folder.open();
    let many: Vec<_> = (0..2000)
        .map(|i| change(&format!("{i}.png"), Some(GOOD)))
        .collect();
    store.apply_many(&many).unwrap();
    drop(store);
    let sound = fs::read(folder.path()).unwrap();

    fs::write(folder.path(), &sound[..sound.len() / 2]).unwrap();
    assert!(matches!(folder.refusal(), LabelError::Damaged { .. }));

    let mut scribbled = sound.clone();
    let middle = sound.len() / 2;
    scribbled[middle..middle + 8192].fill(0xA5);
    fs::write(folder.path(), scribbled).unwrap();
    assert!(matches!(folder.refusal(), LabelError::Damaged { .. }));

    fs::write(folder.path(), &sound).unwrap();
    assert_eq!(folder.open().saved(), 2000);
    folder.sql(
        "INSERT INTO label_event (id, at, who, image, kind, source, prediction_visible, batch)
         VALUES (2001, 'yesterday', 'ben', 'a.png', 'label', 'key', 0, 2001)",
    );
    assert!(matches!(folder.refusal(), LabelError::Damaged { .. }));
}

#[test]
fn an_empty_file_becomes_a_store_and_a_missing_folder_is_a_sentence() {
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    folder.open().apply(change("a.png", Some(GOOD))).unwrap();
    let lost = folder.dir.path().join("gone").join("labels.sqlite");
    let error = Store::open(&lost, &ClassSet::challenge(), "anna")
        .err()
        .unwrap();
    assert!(matches!(error, LabelError::NoFolder { .. }), "{error}");
}

#[test]
fn a_full_disk_loses_nothing_and_labelling_goes_on_afterwards() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(change("a.png", Some(GOOD))).unwrap();
    store.limit_pages(1);
    let many: Vec<_> = (0..2000)
        .map(|i| change(&format!("{i}.png"), Some(DRIFT)))
        .collect();
    let error = store.apply_many(&many).unwrap_err();
    assert!(matches!(error, LabelError::DiskFull { .. }), "{error}");
    assert_eq!((store.saved(), store.counts().labelled()), (1, 1));
    store.limit_pages(1_000_000);
    store.apply_many(&many).unwrap();
    drop(store);
    let store = folder.open();
    assert_eq!((store.saved(), store.label_of("a.png")), (2001, Some(GOOD)));
}

#[derive(Clone, Debug)]
enum Op {
    Label(usize, Option<Label>),
    Group(Vec<(usize, Option<Label>)>),
    Flag(usize, bool),
    Undo,
    Redo,
    Reopen,
}

fn label() -> impl Strategy<Value = Option<Label>> {
    prop_oneof![
        Just(None),
        Just(Some(Label::Regular)),
        (0..7_u8).prop_map(|class| Some(Label::Class(ClassId(class)))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..5_usize, label()).prop_map(|(image, label)| Op::Label(image, label)),
        1 => prop::collection::vec((0..5_usize, label()), 0..4).prop_map(Op::Group),
        1 => (0..5_usize, any::<bool>()).prop_map(|(image, flag)| Op::Flag(image, flag)),
        4 => Just(Op::Undo),
        3 => Just(Op::Redo),
        1 => Just(Op::Reopen),
    ]
}

fn name(image: usize) -> String {
    format!("{image}.png")
}

/// (label, flagged) of each of five images.
type Snapshot = [(Option<Label>, bool); 5];

fn snapshot(store: &Store) -> Snapshot {
    std::array::from_fn(|image| (store.label_of(&name(image)), store.flagged(&name(image))))
}

/// The same from the views of the file.
fn snapshot_of_file(folder: &Folder) -> Snapshot {
    let classes = ClassSet::challenge();
    let conn = rusqlite::Connection::open(folder.path()).unwrap();
    let mut labels = conn
        .prepare("SELECT image, label FROM label_current")
        .unwrap();
    let labels: HashMap<String, String> = labels
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut flags = conn.prepare("SELECT image FROM flag_current").unwrap();
    let flags: Vec<String> = flags
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    std::array::from_fn(|image| {
        let label = labels
            .get(&name(image))
            .map(|word| words::from_word(word, &classes).unwrap());
        (label, flags.contains(&name(image)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The model keeps whole snapshots: undo is going back one, redo going forward one.
    #[test]
    fn any_sequence_of_changes_equals_a_list_of_snapshots(ops in prop::collection::vec(op(), 1..40)) {
        let folder = Folder::new();
        let mut store = folder.open();
        let mut past: Vec<Snapshot> = vec![Snapshot::default()];
        let mut future: Vec<Snapshot> = Vec::new();
        for op in ops {
            let mut next = *past.last().unwrap();
            let mut changed = true;
            match op {
                Op::Label(image, label) => {
                    store.apply(change(&name(image), label)).unwrap();
                    next[image].0 = label;
                }
                Op::Group(group) => {
                    let changes: Vec<_> =
                        group.iter().map(|(image, label)| change(&name(*image), *label)).collect();
                    store.apply_many(&changes).unwrap();
                    changed = !group.is_empty();
                    for (image, label) in group {
                        next[image].0 = label;
                    }
                }
                Op::Flag(image, flag) => {
                    store.set_flag(&name(image), flag).unwrap();
                    next[image].1 = flag;
                }
                Op::Undo => {
                    changed = false;
                    prop_assert_eq!(store.undo().unwrap().is_some(), past.len() > 1);
                    if past.len() > 1 {
                        future.extend(past.pop());
                    }
                }
                Op::Redo => {
                    changed = false;
                    prop_assert_eq!(store.redo().unwrap().is_some(), !future.is_empty());
                    past.extend(future.pop());
                }
                Op::Reopen => {
                    changed = false;
                    drop(store);
                    store = folder.open();
                }
            }
            if changed {
                past.push(next);
                future.clear();
            }
            prop_assert_eq!(&snapshot(&store), past.last().unwrap());
        }
        prop_assert_eq!(snapshot_of_file(&folder), snapshot(&store));
        let before = store.into_state();
        let after = folder.open().into_state();
        prop_assert_eq!(before, after);
    }
}
