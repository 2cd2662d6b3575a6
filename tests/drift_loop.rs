//! The labelling loop for drift, played on small pictures: simulated on a labelled set, and rehearsed on
//! incoming images. The network has random weights, so nothing is said about how well it finds drift.
#![cfg(feature = "torch")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use driftscope::jobs::JobContext;
use driftscope::models::{Device, Model};
use driftscope::training::Plan;
use driftscope::workflows::{
    self, Body, DriftKind, DriftSource, OpenRequest, Project, RehearseRequest, SimulateRequest,
    Strategy, TrainRequest,
};
use image::{GrayImage, Luma};

const CLASSES: [&str; 3] = ["bars", "dots", "plain"];

fn picture(class: usize, i: u32) -> GrayImage {
    GrayImage::from_fn(32, 32, |x, y| {
        let noise = ((x * 7 + y * 13 + i * i * 29 + i * x) % 31) as u8;
        let ink = match class {
            0 => (x / 4 + i).is_multiple_of(2),
            1 => (x / 8).is_multiple_of(2) && (y / 8 + i).is_multiple_of(2),
            _ => false,
        };
        Luma([if ink { 40 + noise } else { 180 + noise }])
    })
}

/// `n` pictures of each class in class folders.
fn labelled(root: &Path, n: u32) {
    for (c, class) in CLASSES.iter().enumerate() {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..n {
            picture(c, i)
                .save(root.join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
}

fn open(root: &Path) -> Project {
    let request = OpenRequest::from(root.to_owned());
    workflows::open(&request).unwrap()
}

/// A small vision transformer with random weights.
fn body(folder: &Path) -> Body {
    let weights = folder.join("body.safetensors");
    let model = Model::new("vit_s14", 56, 2, 5, Device::Cpu).unwrap();
    model.save(&weights).unwrap();
    Body {
        model: "vit_s14".to_owned(),
        weights: Some(weights),
        size: Some(56),
        preprocessing: None,
    }
}

fn request(body: Body) -> SimulateRequest {
    SimulateRequest {
        drift_class: "dots".to_owned(),
        body,
        group_by: None,
        labels: vec![0, 3, 8],
        strategy: Strategy::Mixed,
        drift_rate: 0.2,
        repeats: 2,
        seed: 1,
    }
}

#[test]
fn a_hidden_class_is_labelled_and_measured_apart() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("parts");
    labelled(&root, 40);
    let snapshot = open(&root).snapshot();
    let context = JobContext::detached();
    let request = request(body(folder.path()));
    let result = workflows::simulate(&snapshot, &request, &context).unwrap();

    let parts = result.images;
    // About half, a quarter and a quarter of 80 regular images, as the near-duplicates among them stay together, and a
    // fifth of drift in the last two.
    assert!(result.duplicate_groups > 0);
    let pool = parts.pool - parts.pool_drift;
    assert!(
        parts.train.abs_diff(40) <= 4 && pool.abs_diff(20) <= 4,
        "{parts:?}"
    );
    assert_eq!((parts.pool_drift, parts.measured_drift), (5, 5));
    let numbers: Vec<usize> = result.curve.iter().map(|p| p.labels).collect();
    assert_eq!(numbers, [0, 3, 8]);
    assert_eq!(result.curve[0].found_mean, 0.0);
    for pair in result.curve.windows(2) {
        assert!(pair[0].found_mean <= pair[1].found_mean);
    }
    for point in &result.curve {
        assert!((0.0..=1.0).contains(&point.ap_mean) && point.found_mean <= 5.0);
    }
    for name in [
        "knn",
        "mahalanobis++",
        "pool density",
        "patchcore",
        "padim",
        "max softmax",
        "energy",
        "vim",
    ] {
        assert!(result.scores.contains_key(name), "{name}");
    }
    // Class folders tell no dies.
    assert!(!result.scores.contains_key("knn, same die"));

    let again = workflows::simulate(&snapshot, &request, &context).unwrap();
    assert_eq!(again.curve, result.curve);
    let random = SimulateRequest {
        strategy: Strategy::Random,
        ..request.clone()
    };
    let random = workflows::simulate(&snapshot, &random, &context).unwrap();
    // Dots are unlike bars and plain surfaces: whoever has seen a few knows the others.
    let after = result.curve.last().unwrap();
    assert!(after.ap_mean > 0.9 && after.f1_mean > 0.8, "{after:?}");
    // The strategy changes nothing of what is known before the first label.
    assert_eq!(random.curve[0], result.curve[0]);

    let unknown = SimulateRequest {
        drift_class: "scratches".to_owned(),
        ..request.clone()
    };
    let error = workflows::simulate(&snapshot, &unknown, &context).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no class \"scratches\"; the classes are bars, dots, plain"
    );
    let ungrouped = SimulateRequest {
        group_by: Some("wafer".to_owned()),
        ..request
    };
    let error = workflows::simulate(&snapshot, &ungrouped, &context).unwrap_err();
    assert!(error.to_string().contains("wafer"), "{error}");
}

#[test]
fn dies_are_told_apart_and_no_weights_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("parts");
    fs::create_dir_all(&root).unwrap();
    let mut table = "filename,label,lib\n".to_owned();
    for i in 0..120_u32 {
        // What die 1 has as a rule is in no regular image of die 2: that is drift there.
        let (class, picture_of, die) = match i % 4 {
            0 => ("bars", 0, 1),
            1 => ("plain", 2, 1),
            2 => ("plain", 2, 2),
            _ => ("dots", 0, 2),
        };
        let name = format!("{i}.png");
        picture(picture_of, i).save(root.join(&name)).unwrap();
        table += &format!("{name},{class},Die0{die}\n");
    }
    fs::write(root.join("table.csv"), table).unwrap();
    let snapshot = open(&root.join("table.csv")).snapshot();
    let untrained = workflows::find_body_or_untrained("cnn03", None, Some(32), None).unwrap();
    assert_eq!(untrained.weights, None);
    let request = request(untrained);
    let context = JobContext::detached();
    let result = workflows::simulate(&snapshot, &request, &context).unwrap();
    let (all, own) = (&result.scores["knn"], &result.scores["knn, same die"]);
    assert!(
        own.auroc > 0.95 && own.auroc > all.auroc + 0.2,
        "{own:?} {all:?}"
    );
    let again = workflows::simulate(&snapshot, &request, &context).unwrap();
    assert_eq!(again.curve, result.curve);
}

/// A table of labelled pictures and of incoming ones without a label, and a truth of the latter.
fn with_incoming(root: &Path) -> (PathBuf, PathBuf) {
    fs::create_dir_all(root).unwrap();
    let mut table = "filename,label\n".to_owned();
    let mut truth = table.clone();
    for i in 0..60_u32 {
        let name = format!("known_{i}.png");
        picture(i as usize % 2 * 2, i)
            .save(root.join(&name))
            .unwrap();
        table += &format!("{name},{}\n", CLASSES[i as usize % 2 * 2]);
    }
    for i in 0..40_u32 {
        let name = format!("new_{i}.png");
        let class = if i % 5 == 0 { 1 } else { 2 };
        picture(class, 100 + i).save(root.join(&name)).unwrap();
        table += &format!("{name},\n");
        truth += &format!("{name},{}\n", if class == 1 { "Drift" } else { "plain" });
    }
    let paths = (root.join("table.csv"), root.join("truth.csv"));
    fs::write(&paths.0, table).unwrap();
    fs::write(&paths.1, truth).unwrap();
    paths
}

#[test]
fn a_rehearsed_session_counts_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let (table, truth) = with_incoming(&folder.path().join("parts"));
    let project = open(&table);
    let snapshot = project.snapshot();
    let context = JobContext::detached();
    let plan = Plan {
        model: "cnn03".to_owned(),
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = TrainRequest {
        plan,
        out: None,
        threads: None,
    };
    let run = workflows::train(&snapshot, &train, &context, &mut |_| {}).unwrap();
    let request = RehearseRequest {
        source: DriftSource {
            run: run.dir.clone(),
            body: Some(body(folder.path())),
        },
        truth: truth.clone(),
        labels: 12,
        seed: 3,
    };
    let played = workflows::rehearse(&snapshot, &request, &context).unwrap();
    assert_eq!((played.images, played.labels, played.drift), (40, 12, 8));
    assert_eq!(played.rest, 28);
    assert_eq!(played.found + played.rest_drift, 8);
    let (shown, found) = played
        .by_reason
        .values()
        .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    assert_eq!((shown, found), (12, played.found));
    assert!(played.pwa_padim.is_some());
    assert!(played.pwa_with_hand_labels <= 1.0);
    assert!(played.kinds.is_empty());
    for (name, skill) in &played.scores {
        assert!((0.0..=1.0).contains(&skill.all.auroc), "{name}");
        assert!(skill.auroc_by_kind.is_empty(), "{name}");
    }
    assert!(played.scores.contains_key("patchcore"));
    // Nothing of it is a label of the project's.
    assert!(open(&table).snapshot().hand.iter().all(Option::is_none));

    // The run's own network has one stage and no local features, and is used all the same.
    let own = RehearseRequest {
        source: DriftSource {
            run: run.dir,
            body: None,
        },
        ..request.clone()
    };
    let played = workflows::rehearse(&snapshot, &own, &context).unwrap();
    assert_eq!(played.pwa_padim, None);

    // The same with a word for what each drift image is.
    let rows = fs::read_to_string(&truth).unwrap();
    let named = rows.lines().enumerate().map(|(at, row)| match row {
        "filename,label" => "filename,label,drift_kind\n".to_owned(),
        row if row.ends_with("Drift") && at % 2 == 0 => format!("{row},even\n"),
        row => format!("{row},odd\n"),
    });
    fs::write(&truth, named.collect::<String>()).unwrap();
    let by_kind = workflows::rehearse(&snapshot, &own, &context).unwrap();
    assert_eq!(
        (by_kind.found, by_kind.rest_f1),
        (played.found, played.rest_f1)
    );
    let kinds: Vec<&String> = by_kind.kinds.keys().collect();
    // A word beside an image that is no drift is none of drift's.
    assert_eq!(kinds, ["even", "odd"]);
    let sum = |of: fn(&DriftKind) -> usize| by_kind.kinds.values().map(of).sum::<usize>();
    assert_eq!(sum(|k| k.images), 8);
    assert_eq!(sum(|k| k.found), by_kind.found);
    assert_eq!(sum(|k| k.images - k.found - k.caught), by_kind.missed.len());
    for (name, skill) in &by_kind.scores {
        // Each kind against the same regular images: all drift is their mean, weighted.
        let sum = |(kind, auroc): (&String, &f64)| by_kind.kinds[kind].images as f64 * auroc;
        let mean = skill.auroc_by_kind.iter().map(sum).sum::<f64>() / 8.0;
        assert!((mean - skill.all.auroc).abs() < 1e-9, "{name}");
    }

    fs::write(&truth, "filename,label\nnew_0.png,Drift\n").unwrap();
    let error = workflows::rehearse(&snapshot, &request, &context).unwrap_err();
    assert!(
        error.to_string().contains("it does not name new_1.png"),
        "{error}"
    );
}
