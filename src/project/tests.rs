#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use super::*;
use crate::domain::{ClassId, Precision};
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

#[test]
fn a_cost_matrix_that_is_none_is_told_by_file_and_cell_and_nothing_is_lost() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    let key = project.manifest.images[0].key.clone();
    project.labels.apply(label(&key, 1)).unwrap();
    let file = project.dir.join(Settings::FILE);
    drop(project);
    let good = fs::read_to_string(&file).unwrap();
    for (rows, words) in [
        (
            "[[0, 1, 1], [1, 0, -3], [10, 10, 0]]",
            "row 2, column 3 of the cost matrix is -3",
        ),
        (
            "[[0, 1, 1], [1, 0, 1], [10, nan, 0]]",
            "row 3, column 2 of the cost matrix is NaN",
        ),
        (
            "[[0, inf, 1], [1, 0, 1], [10, 10, 0]]",
            "row 1, column 2 of the cost matrix is inf",
        ),
        (
            "[[0, 1, 1], [1, 0], [10, 10, 0]]",
            "row 2 of the cost matrix has 2 cells instead of 3: column 3 is missing",
        ),
        (
            "[[0, \"\", 1], [1, 0, 1], [10, 10, 0]]",
            "row 1, column 2 of the cost matrix is empty",
        ),
        (
            "[[0, 1, \"ten\"], [1, 0, 1], [10, 10, 0]]",
            "row 1, column 3 of the cost matrix is \"ten\"",
        ),
        (
            "[[0, 1, 1], [1, 0, 1]]",
            "the cost matrix has 2 rows of 3 cells",
        ),
        ("[]", "the cost matrix is empty"),
    ] {
        // Keys of the file itself stand before its tables.
        let bad = format!("cost = {rows}\n{good}");
        fs::write(&file, &bad).unwrap();
        let refused = Project::open(folder.path(), &OpenOptions::default(), None).err();
        let refused = refused.unwrap().to_string();
        assert!(refused.contains(words), "{refused}");
        assert!(refused.contains(&file.display().to_string()), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad, "left alone");
    }
    fs::write(&file, &good).unwrap();
    let again = open(folder.path());
    assert_eq!(again.hand_label(ImageId(0)), Some(Label::Class(ClassId(1))));
}

#[test]
fn a_label_whose_image_went_is_kept_and_told() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    assert_eq!(project.labels_without_image(), None);
    let key = project.manifest.images[0].key.clone();
    project.labels.apply(label(&key, 1)).unwrap();
    assert_eq!(project.labels_without_image(), None);
    drop(project);
    let (file, aside) = (folder.path().join(&key), folder.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    let project = open(folder.path());
    let told = project.labels_without_image().unwrap();
    assert!(
        told.starts_with("1 labelled image is not there") && told.contains(&key),
        "{told}"
    );
    drop(project);
    fs::rename(&aside, &file).unwrap();
    let project = open(folder.path());
    assert_eq!(project.labels_without_image(), None);
    assert_eq!(
        project.hand_label(ImageId(0)),
        Some(Label::Class(ClassId(1)))
    );
}

#[test]
fn costs_of_other_classes_are_kept_but_not_used() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    assert_eq!(project.cost_problem(), None);
    let rows = vec![vec![0.0, 7.0], vec![7.0, 0.0]];
    project.settings.cost = Some(CostMatrix::try_from(rows).unwrap());
    project.settings.save_if_changed(&project.dir).unwrap();
    drop(project);
    let mut project = open(folder.path());
    let problem = project.cost_problem().unwrap();
    assert!(problem.contains("2 rows and columns, but there are 3 classes"));
    assert_eq!(project.cost().max(), 10.0);
    project.choose(DriftChoice::Rate(Some(0.05))).unwrap();
    drop(project);
    let project = open(folder.path());
    assert_eq!(
        project.settings.cost.as_ref().map(CostMatrix::max),
        Some(7.0)
    );
    assert_eq!(project.snapshot().drift_rate, Some(0.05));
}

#[test]
fn choices_that_make_no_sense_change_nothing() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    project.choose(DriftChoice::Threshold(Some(0.4))).unwrap();
    project.choose(DriftChoice::LookCost(Some(2.5))).unwrap();
    let file = project.dir.join(Settings::FILE);
    let before = fs::read_to_string(&file).unwrap();
    for (choice, words) in [
        (DriftChoice::Threshold(Some(1.5)), "drift_threshold is 1.5"),
        (
            DriftChoice::Threshold(Some(f64::NAN)),
            "drift_threshold is NaN",
        ),
        (DriftChoice::Rate(Some(0.0)), "drift_rate is 0"),
        (DriftChoice::Rate(Some(1.0)), "drift_rate is 1"),
        (DriftChoice::LookCost(Some(-1.0)), "look_cost is -1"),
    ] {
        let refused = project.choose(choice).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
    let snapshot = project.snapshot();
    assert_eq!(
        (snapshot.drift_threshold, snapshot.look()),
        (Some(0.4), 2.5)
    );
    let network = DriftNetwork {
        model: "inception_v3".into(),
        weights: "ours.safetensors".into(),
        preprocessing: Some("imagenet".to_owned()),
    };
    let rows = vec![
        vec![0.0, 3.0, 1.0],
        vec![1.0, 0.0, 1.0],
        vec![50.0, 9.5, 0.0],
    ];
    let cost = CostMatrix::try_from(rows).unwrap();
    let usual = project.cost();
    project
        .choose(DriftChoice::Cost(Some(cost.clone())))
        .unwrap();
    assert_eq!(
        Settings::load(&project.dir).unwrap().cost,
        Some(cost.clone())
    );
    let mut snapshot = project.snapshot();
    assert_eq!(snapshot.cost, cost);
    snapshot.choose(DriftChoice::Cost(None));
    assert_eq!(snapshot.cost, usual);
    project.choose(DriftChoice::Cost(None)).unwrap();
    assert_eq!(project.cost(), usual);
    project
        .choose(DriftChoice::Network(Some(network.clone())))
        .unwrap();
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("ours.safetensors")
    );
    assert_eq!(project.snapshot().drift_network, Some(network));
    project.choose(DriftChoice::Network(None)).unwrap();
    project.choose(DriftChoice::LookCost(None)).unwrap();
    assert_eq!(project.snapshot().look(), 0.1, "a hundredth of the dearest");
    drop(project);
    fs::write(&file, before.replace("0.4", "4.0")).unwrap();
    let refused = Project::open(folder.path(), &OpenOptions::default(), None).err();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("drift_threshold is 4"), "{refused}");
}

#[test]
fn what_is_on_is_kept_and_off_goes_without_saying() {
    type Switch = (&'static str, fn(bool) -> DriftChoice, fn(&Snapshot) -> bool);
    let switches: [Switch; 2] = [
        ("synthetic_outliers", DriftChoice::SyntheticOutliers, |s| {
            s.synthetic_outliers
        }),
        ("strip_tiles", DriftChoice::StripTiles, |s| s.strip_tiles),
    ];
    for (name, choice, is_on) in switches {
        let folder = class_folders(&["a", "b"], 10);
        let mut project = open(folder.path());
        let file = project.dir.join(Settings::FILE);
        let said = || fs::read_to_string(&file).unwrap().contains(name);
        assert!(!is_on(&project.snapshot()) && !said());
        project.choose(choice(true)).unwrap();
        assert!(said());
        drop(project);
        let mut project = open(folder.path());
        assert!(is_on(&project.snapshot()));
        project.choose(choice(false)).unwrap();
        assert!(!said());
    }
}

#[test]
fn a_precision_is_kept_and_an_unknown_one_is_told() {
    let folder = class_folders(&["a", "b"], 10);
    let mut project = open(folder.path());
    let file = project.dir.join(Settings::FILE);
    let text = || fs::read_to_string(&file).unwrap();
    assert_eq!(project.snapshot().precision, Precision::Auto);
    assert!(!text().contains("precision"), "auto goes without saying");
    for precision in [Precision::Bf16, Precision::Fp32] {
        project.choose(DriftChoice::Precision(precision)).unwrap();
        drop(project);
        project = open(folder.path());
        assert_eq!(project.snapshot().precision, precision);
    }
    let good = text();
    project
        .choose(DriftChoice::Precision(Precision::Auto))
        .unwrap();
    assert!(!text().contains("precision"));
    drop(project);
    fs::write(&file, good.replace("fp32", "half")).unwrap();
    let refused = Project::open(folder.path(), &OpenOptions::default(), None).err();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains(&file.display().to_string()), "{refused}");
    let words = "the precision is \"half\"; it is one of auto, fp32 and bf16";
    assert!(refused.contains(words), "{refused}");
}
