#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use super::*;
use crate::domain::ClassId;
use crate::labels::{Change, Source as LabelSource};

/// A folder of `classes` with `n` images each.
fn class_folders(classes: &[&str], n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (c, class) in classes.iter().enumerate() {
        fs::create_dir(folder.path().join(class)).unwrap();
        for i in 0..n {
            let image = image::GrayImage::from_pixel(4, 4, image::Luma([(c * 50 + i) as u8]));
            image
                .save(folder.path().join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
    folder
}

fn label(image: &str, class: u8) -> Change {
    Change {
        image: image.to_owned(),
        label: Some(Label::Class(ClassId(class))),
        source: LabelSource::Key,
        model_run: None,
        prediction_visible: false,
    }
}

fn open(path: &Path) -> Project {
    Project::open(path, &OpenOptions::default(), None).unwrap()
}

#[test]
fn a_data_set_becomes_a_project_and_is_found_again_by_either_path() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    let key = project.manifest.images[0].key.clone();
    project.labels.apply(label(&key, 1)).unwrap();
    let counts = Split::ALL.map(|s| project.splits.iter().filter(|x| **x == s).count());
    assert_eq!(counts.iter().sum::<usize>(), 20);
    assert_eq!(counts[3], 0);
    let dir = project.dir.clone();
    drop(project);

    let again = open(&dir);
    assert_eq!(again.hand_label(ImageId(0)), Some(Label::Class(ClassId(1))));
    assert_eq!(again.manifest.len(), 20);
    drop(again);
    // Moved as a whole, it still finds its images.
    let moved = folder.path().with_extension("moved");
    fs::rename(folder.path(), &moved).unwrap();
    let project = open(&moved.join(MARKER));
    assert_eq!(
        project.snapshot().label(ImageId(0)),
        Some(Label::Class(ClassId(1)))
    );
    drop(project);
    fs::rename(&moved, folder.path()).unwrap();
}

#[test]
fn a_second_opener_may_only_look() {
    let folder = class_folders(&["a", "b"], 4);
    let first = open(folder.path());
    let second = open(folder.path());
    assert_eq!(first.read_only(), None);
    assert!(second.read_only().is_some());
}

#[test]
fn settings_of_a_later_version_and_broken_ones_are_refused_and_left_alone() {
    let folder = class_folders(&["a", "b"], 4);
    let dir = open(folder.path()).dir;
    let path = dir.join(Settings::FILE);
    for (text, word) in [
        ("format_version = 99\nnew = true", "later"),
        ("cost = [", "project.toml"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Project::open(folder.path(), &OpenOptions::default(), None)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn other_classes_do_not_get_the_costs_of_the_challenge() {
    // Six classes and drift, as many as the challenge has.
    let folder = class_folders(&["a", "b", "c", "d", "e", "f"], 1);
    let project = open(folder.path());
    assert_eq!(
        project.manifest.classes.len(),
        CostMatrix::challenge().len()
    );
    assert_eq!(project.snapshot().cost.max(), 10.0);
    drop(project);
    assert_eq!(open(folder.path()).cost().max(), 10.0);
}

#[test]
fn a_path_that_is_not_there_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert!(Project::open(&missing, &OpenOptions::default(), None).is_err());
    assert!(!missing.exists());
}

#[test]
fn a_class_too_small_to_split_is_told_and_the_project_still_opens() {
    let folder = class_folders(&["a", "b"], 4);
    fs::create_dir(folder.path().join("rare")).unwrap();
    image::GrayImage::new(4, 4)
        .save(folder.path().join("rare/0.png"))
        .unwrap();
    let project = open(folder.path());
    assert!(
        project
            .split_problem
            .as_ref()
            .is_some_and(|p| p.contains("rare"))
    );
    assert!(project.splits.iter().all(|s| *s == Split::Train));
}

#[test]
fn a_plain_folder_keeps_the_classes_it_is_given_and_the_labels_from_before() {
    let folder = class_folders(&["pictures"], 6);
    let with = |names: &[&str]| OpenOptions {
        classes: names.iter().map(|n| (*n).to_owned()).collect(),
        ..OpenOptions::default()
    };
    let mut project = open(folder.path());
    assert_eq!(project.manifest.classes.regular_len(), 0);
    let key = project.manifest.images[0].key.clone();
    project.labels.apply(label(&key, 0)).unwrap();
    let dir = project.dir.clone();
    drop(project);

    let mut named = Project::open(&dir, &with(&["good", "bent"]), None).unwrap();
    assert_eq!(named.manifest.classes.regular_names(), ["good", "bent"]);
    // What was drift is drift still, now behind the new classes.
    assert_eq!(named.hand_label(ImageId(0)), Some(Label::Class(ClassId(2))));
    let key = named.manifest.images[1].key.clone();
    named.labels.apply(label(&key, 1)).unwrap();
    drop(named);
    let again = open(folder.path());
    assert_eq!(again.manifest.classes.regular_names(), ["good", "bent"]);
    assert_eq!(again.hand_label(ImageId(1)), Some(Label::Class(ClassId(1))));
    drop(again);

    // A class that labels may use is not left out in passing; a new one may come.
    let error = Project::open(folder.path(), &with(&["good"]), None).err();
    assert!(error.unwrap().to_string().contains("\"bent\""));
    let more = Project::open(folder.path(), &with(&["good", "bent", "dent"]), None).unwrap();
    assert_eq!(more.hand_label(ImageId(1)), Some(Label::Class(ClassId(1))));
    drop(more);

    for names in [&["drift"][..], &["good", " "]] {
        let error = Project::open(folder.path(), &with(names), None).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("cannot be the names of classes"), "{error}");
    }
    let other = class_folders(&["a", "b"], 3);
    let error = Project::open(other.path(), &with(&["good"]), None).err();
    assert!(
        error
            .unwrap()
            .to_string()
            .contains("name the classes themselves (\"a\" and \"b\")")
    );
}
