//! The real binary, as a user calls it: exit codes, what goes to standard output, what is said of bad input.
#![cfg(feature = "torch")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use image::{GrayImage, Luma};
use serde_json::Value;

fn driftscope(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("driftscope").unwrap();
    command.args(args);
    command
}

fn json(args: &[&str]) -> Value {
    let output = driftscope(args).arg("--json").assert().success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

/// What a failing command says; it must exit with 1 and print nothing on standard output.
fn complaint(args: &[&str]) -> String {
    let output = driftscope(args).assert().failure().code(1);
    let output = output.get_output();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file of that name somewhere under `root`.
fn find(root: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(root).unwrap();
    entries.find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, name)
        } else {
            path.ends_with(name).then_some(path)
        }
    })
}

/// Three classes of patterns that a small network tells apart, `n` images each, in class folders.
fn patterns(root: &Path, n: u32) {
    for (c, class) in ["bars", "dots", "plain"].iter().enumerate() {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..n {
            let image = GrayImage::from_fn(48, 48, |x, y| {
                let noise = ((x * 7 + y * 13 + i * 29) % 31) as u8;
                let ink = match c {
                    0 => (x / 6) % 2 == i % 2,
                    1 => (x / 8) % 2 == 0 && (y / 8) % 2 == i % 2,
                    _ => false,
                };
                Luma([if ink { 40 + noise } else { 180 + noise }])
            });
            image
                .save(root.join(class).join(format!("{class}_{i}.png")))
                .unwrap();
        }
    }
}

#[test]
fn models_have_the_parameters_of_the_study() {
    let models = json(&["models"]);
    let row = |m: &Value| {
        let figure = |key: &str| m[key].as_u64().unwrap();
        (m["name"].clone(), figure("input_px"), figure("parameters"))
    };
    let rows: Vec<_> = models.as_array().unwrap().iter().map(row).collect();
    assert_eq!(
        rows,
        [
            ("cnn01".into(), 299, 89_719_878),
            ("cnn02".into(), 299, 43_674_886),
            ("cnn03".into(), 299, 20_171_846),
            ("inception_v3".into(), 299, 21_815_078),
            ("efficientnet_v2_s".into(), 299, 20_339_046),
            ("vit_s14".into(), 224, 22_058_502),
        ]
    );
    assert_eq!(
        models[3]["trainable_by_phase"],
        serde_json::json!([12_294, 5_168_326, 13_636_358])
    );
}

#[test]
fn bad_usage_exits_with_2() {
    for args in [
        &["train"][..],
        &["sample"],
        &["train", ".", "--balance", "smote"],
        &["train", ".", "--measure"],
        &["submit", ".", "--out", "x.csv", "--drift-rate", "0"],
        &["submit", ".", "--out", "x.csv", "--drift-rate", "1"],
        &["submit", ".", "--out", "x.csv", "--drift-rate", "nan"],
        &["submit", ".", "--out", "x.csv", "--drift-rate", "6%"],
        &[
            "drift",
            "simulate",
            ".",
            "--drift-class",
            "a",
            "--drift-rate",
            "1",
        ],
        &[
            "drift",
            "simulate",
            ".",
            "--drift-class",
            "a",
            "--drift-rate",
            "nan",
        ],
        &[
            "drift",
            "simulate",
            ".",
            "--drift-class",
            "a",
            "--repeats",
            "0",
        ],
    ] {
        driftscope(args).assert().failure().code(2);
    }
}

#[test]
fn train_predict_evaluate_and_label_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 20);
    let data = text(&root);
    let run = folder.path().join("run");
    let report = json(&[
        "train",
        data,
        "--model",
        "cnn03",
        "--size",
        "32",
        "--epochs",
        "12",
        "--threads",
        "1",
        "--out",
        text(&run),
    ]);
    assert_eq!(
        report["classes"],
        serde_json::json!(["bars", "dots", "plain"])
    );
    assert!(report["macro_f1"].as_f64().unwrap() > 0.8, "{report}");
    assert_eq!(report["split"], "test");
    for key in [
        "confusion",
        "accuracy",
        "weighted_f1",
        "per_class",
        "pwa",
        "pwa_constant",
    ] {
        assert!(!report[key].is_null(), "{key}");
    }
    for file in [
        "plan.toml",
        "metrics.jsonl",
        "model.safetensors",
        "predictions.csv",
        "report.json",
        "run.json",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    // The report can be read again, and a second training does not overwrite it.
    assert_eq!(
        json(&["evaluate", text(&run)])["macro_f1"],
        report["macro_f1"]
    );
    assert!(complaint(&["train", data, "--out", text(&run)]).contains("not empty"));

    let out = folder.path().join("predictions.csv");
    let done = json(&["predict", text(&run), data, "--out", text(&out)]);
    assert_eq!(done["images"], 60);
    let rows = fs::read_to_string(&out).unwrap();
    assert!(
        rows.starts_with("filename,predicted,p_0,p_1,p_2\n"),
        "{rows}"
    );
    assert_eq!(rows.lines().count(), 61);

    // Labels in, labels out.
    let labels = folder.path().join("labels.csv");
    fs::write(
        &labels,
        "label,filename\nDrift,bars_1.png\nregular,dots_2.png\nwhat,plain_1.png\n",
    )
    .unwrap();
    let imported = json(&["label", "import", data, "--from", text(&labels)]);
    assert_eq!(
        (&imported["read"], &imported["changed"]),
        (&2.into(), &2.into())
    );
    assert_eq!(imported["problems"].as_array().unwrap().len(), 1);
    let exported = folder.path().join("exported.csv");
    json(&["label", "export", data, "--out", text(&exported)]);
    let exported = fs::read_to_string(exported).unwrap();
    assert!(exported.contains("bars_1.png,Drift"), "{exported}");

    // One drift label is too few to measure by, and it is said.
    let ranked = json(&["drift", "rank", data, "--run", text(&run), "--top", "5"]);
    assert_eq!(ranked["ranking"].as_array().unwrap().len(), 5);
    assert!(
        ranked["quality"]["refused"]
            .as_str()
            .unwrap()
            .contains("at least 2"),
        "{ranked}"
    );

    // Images that have gone, or turned to rubbish, since they were looked at are left out, and it is said.
    let gone = find(folder.path(), "dots_3.png").unwrap();
    fs::remove_file(&gone).unwrap();
    let rubbish = find(folder.path(), "plain_4.png").unwrap();
    fs::write(&rubbish, "no picture").unwrap();
    let output = driftscope(&["drift", "rank", data, "--run", text(&run)]).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let words = "1 of 59 images cannot be read and are left out of the ranking";
    assert!(
        said.contains(words) && said.contains("plain_4.png"),
        "{said}"
    );
}

#[test]
fn the_loop_on_a_made_data_set_ends_in_a_submission_and_repeats_by_seed() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for out in [&a, &b] {
        let made = json(&[
            "sample",
            "--out",
            text(out),
            "--train",
            "150",
            "--test",
            "40",
            "--seed",
            "7",
        ]);
        assert!(made["drift"].as_u64().unwrap() >= 2);
    }
    for file in ["Y_train_eVW9jym.csv", "truth.csv", "prepared_labels.csv"] {
        assert_eq!(
            fs::read(a.join(file)).unwrap(),
            fs::read(b.join(file)).unwrap(),
            "{file}"
        );
    }
    assert!(complaint(&["sample", "--out", text(&a), "--train", "5"]).contains("not empty"));

    let info = json(&["info", text(&a)]);
    assert_eq!(
        (&info["images"], &info["incoming"]),
        (&190.into(), &40.into())
    );
    assert_eq!(info["layout"], "challenge");

    let run = folder.path().join("run");
    let args = ["--size", "64", "--epochs", "2", "--threads", "1"];
    json(&[&["train", text(&a), "--out", text(&run)], &args[..]].concat());
    // Without labels: a ranking by distance, no head, and it says so.
    let refused = complaint(&["drift", "train", text(&a), "--run", text(&run)]);
    assert!(refused.contains("label"), "{refused}");
    let prepared = a.join("prepared_labels.csv");
    json(&["label", "import", text(&a), "--from", text(&prepared)]);
    let drift = json(&["drift", "train", text(&a), "--run", text(&run)]);
    assert!(drift["n_drift"].as_u64().unwrap() >= 1, "{drift}");
    // One image becomes a copy of another.
    let table = fs::read_to_string(a.join("truth.csv")).unwrap();
    let mut files = table
        .lines()
        .skip(1)
        .filter_map(|row| row.split(',').next());
    let pair = [files.next().unwrap(), files.next().unwrap()];
    let grouped = || {
        let found = json(&["drift", "groups", text(&a), "--run", text(&run)]);
        assert_eq!(found["images"], 40);
        let mut groups = found["groups"].as_array().unwrap().iter();
        groups.any(|group| {
            let images = group.as_array().unwrap().iter();
            let names: Vec<&str> = images.map(|i| i["filename"].as_str().unwrap()).collect();
            pair.iter().all(|name| names.contains(name))
        })
    };
    assert!(!grouped());
    let [from, to] = pair.map(|name| find(&a, name).unwrap());
    fs::copy(from, to).unwrap();
    assert!(grouped());

    let out = folder.path().join("submission.csv");
    let submitted = json(&["submit", text(&a), "--run", text(&run), "--out", text(&out)]);
    assert_eq!(submitted["rows"], 40);
    let rows = fs::read_to_string(out).unwrap();
    assert!(rows.starts_with(",filename,window,lib,Label\n0,"), "{rows}");
    // How frequent drift is taken to be is a guess until somebody says it.
    assert_eq!(submitted["drift_rate"], 0.1);
    let again = folder.path().join("again.csv");
    let answered = |rate: &str| -> (Value, String) {
        let args = [
            "submit",
            text(&a),
            "--run",
            text(&run),
            "--out",
            text(&again),
        ];
        let mut command = driftscope(&[&args[..], &["--drift-rate", rate, "--json"]].concat());
        let output = command.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    };
    let (rare, said) = answered("0.0001");
    assert!(
        said.contains("if 0.0 % of the incoming images are drift, as is said"),
        "{said}"
    );
    let (common, said) = answered("0.6");
    assert!(said.contains("if 60.0 % of"), "{said}");
    assert_eq!(common["drift_rate"], 0.6);
    let drift = |submission: &Value| submission["counts"]["Drift"].as_u64().unwrap();
    assert!(drift(&rare) < drift(&common), "{rare} {common}");
    let info = fs::read_to_string(a.join(".driftscope/project.toml")).unwrap();
    assert!(!info.contains("drift_rate"), "for this submission only");
    // What needs a person stands beside it; the submission names a class for every image all the same.
    let review = submitted["review"].as_str().unwrap();
    let listed = fs::read_to_string(review).unwrap();
    let mut lines = listed.lines();
    assert_eq!(lines.next(), Some("filename,answer,drift,expected_cost"));
    assert_eq!(submitted["needs_review"], lines.count());
}

#[test]
fn a_dry_run_tells_what_a_training_will_take_and_trains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 20);
    let data = text(&root);
    let ask = |more: &[&str]| -> Value {
        let args = [
            "train", data, "--size", "32", "--batch", "8", "--epochs", "2",
        ];
        let mut command = driftscope(&[&args[..], &["--threads", "1", "--json"], more].concat());
        // What is timed here stays here.
        command.env("XDG_CACHE_HOME", folder.path().join("cache"));
        let output = command.assert().success();
        serde_json::from_slice(&output.get_output().stdout).unwrap()
    };
    let cost = ask(&["--dry-run"]);
    let of = |keys: &[&str]| keys.iter().fold(&cost, |v, key| &v[*key]).as_f64().unwrap();
    assert_eq!(
        cost["images"],
        serde_json::json!({"train": 38, "validation": 10, "test": 12})
    );
    assert_eq!(cost["phases"][0]["epochs"], 2);
    assert_eq!(cost["source"], "estimated");
    let phase = cost["phases"][0]["at_most_s"].as_f64().unwrap();
    let all = of(&["cache_s"]) + phase + of(&["answers_s"]);
    assert!((of(&["at_most_s"]) - all).abs() < 1e-9, "{cost}");
    assert_eq!(of(&["disk", "pixels"]), 60.0 * 32.0 * 32.0);
    assert!(!cost["choices"].as_array().unwrap().is_empty());
    let project = root.join(".driftscope");
    assert!(!project.join("runs").exists() && !project.join("cache/pixels-32.bin").exists());

    // In words, with what it rests on.
    let said = driftscope(&[
        "train",
        data,
        "--preset",
        "inception_three_phase",
        "--dry-run",
    ])
    .env("XDG_CACHE_HOME", folder.path().join("cache"))
    .assert()
    .success();
    let said = String::from_utf8(said.get_output().stdout.clone()).unwrap();
    for word in [
        "6147",
        "last_100",
        "in all",
        "frozen layers",
        "free",
        "at 128 px",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(
        said.contains("estimated, not measured on this machine yet"),
        "{said}"
    );

    if cfg!(target_os = "linux") {
        assert_eq!(ask(&["--dry-run", "--measure"])["source"], "trial");
        assert_eq!(ask(&["--dry-run"])["source"], "trial");
    }
    // A run is known best of all.
    ask(&[]);
    let after = ask(&["--dry-run"]);
    assert_eq!(after["source"], "run");
    assert_eq!(after["disk"]["pixels"], 0);
}

#[test]
fn what_is_missing_is_told_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 2);
    let said = |args: &[&str]| {
        let output = driftscope(args).assert().failure().code(1);
        let output = output.get_output().clone();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let nowhere = folder.path().join("nowhere.safetensors");
    let (out, error) = said(&["train", text(&root), "--weights", text(&nowhere)]);
    assert!(error.contains("nowhere.safetensors"), "{error}");
    assert_eq!(out, "");
    // Too few labels: before the plan is said.
    let (out, error) = said(&["train", text(&root), "--dry-run"]);
    assert!(error.contains("needs 3"), "{error}");
    assert!(!out.contains("It trains"), "{out}");
}

#[test]
fn every_bad_input_is_a_sentence_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    assert!(complaint(&["info", text(&at("missing"))]).contains("missing"));
    fs::create_dir(at("empty")).unwrap();
    assert!(complaint(&["info", text(&at("empty"))]).contains("empty"));
    fs::write(at("columns.csv"), "a,b\n1,2\n").unwrap();
    let columns = complaint(&["info", text(&at("columns.csv"))]);
    assert!(
        columns.contains("columns.csv") && columns.contains('a'),
        "{columns}"
    );
    fs::write(at("latin.csv"), b"filename,label\nf\xfcr.png,GOOD\n").unwrap();
    assert!(complaint(&["info", text(&at("latin.csv"))]).contains("latin.csv"));
    assert!(complaint(&["evaluate", text(&at("empty"))]).contains("no finished training run"));
    assert!(complaint(&["train", text(&at("missing")), "--preset", "x"]).contains("cnn03"));
    fs::write(at("plan.toml"), "modle = 1").unwrap();
    let plan = complaint(&["train", ".", "--plan", text(&at("plan.toml"))]);
    assert!(
        plan.contains("plan.toml") && plan.contains("modle"),
        "{plan}"
    );
    // Frozen as a whole, it could learn nothing.
    fs::write(at("plan.toml"), "[[phases]]\ntrainable = \"none\"").unwrap();
    let plan = complaint(&["train", ".", "--plan", text(&at("plan.toml"))]);
    assert!(
        plan.contains("plan.toml") && plan.contains("there are head, all"),
        "{plan}"
    );
    // A class with one image cannot be in all three splits.
    patterns(&at("few"), 4);
    fs::create_dir(at("few").join("rare")).unwrap();
    let (from, to) = (at("few/bars/bars_0.png"), at("few/rare/rare_0.png"));
    fs::rename(from, to).unwrap();
    let rare = complaint(&["train", text(&at("few")), "--epochs", "1"]);
    assert!(rare.contains("rare") && rare.contains("needs 3"), "{rare}");
}

#[test]
fn weights_that_do_not_serve_are_a_sentence_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 6);
    let at = |name: &str| folder.path().join(name);
    let file = at("weights.safetensors");
    let refused = |model: &str| {
        let said = complaint(&[
            "train",
            text(&root),
            "--model",
            model,
            "--size",
            "32",
            "--weights",
            text(&file),
        ]);
        assert!(said.contains(text(&file)), "{said}");
        said
    };
    // A network of three classes, as a start for one of three classes.
    let first = json(&[
        "train",
        text(&root),
        "--model",
        "cnn03",
        "--size",
        "32",
        "--epochs",
        "1",
        "--out",
        text(&at("first")),
    ]);
    assert_eq!(first["classes"].as_array().unwrap().len(), 3);
    let whole = fs::read(at("first").join("model.safetensors")).unwrap();
    fs::write(&file, &whole).unwrap();
    let other = refused("cnn02");
    assert!(
        other.contains("weights of another network (") && other.contains("name the network"),
        "{other}"
    );
    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let cut = refused("cnn03");
    assert!(
        cut.contains("is not a whole safetensors file (it has "),
        "{cut}"
    );
    fs::write(&file, [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    let bomb = refused("cnn03");
    assert!(
        bomb.contains("announce a header of 18446744073709551615 bytes"),
        "{bomb}"
    );
    let mut broken = whole.clone();
    let last = broken.len() - 4;
    broken[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, &broken).unwrap();
    let nan = refused("cnn03");
    assert!(nan.contains("not finite (NaN or infinite) in "), "{nan}");
    assert!(
        nan.contains("or take another file") && !nan.contains("train the run"),
        "{nan}"
    );

    // Of another number of classes: the last layer starts anew, which is said.
    fs::remove_dir_all(root.join("dots")).unwrap();
    fs::write(&file, &whole).unwrap();
    let output = driftscope(&[
        "train",
        text(&root),
        "--model",
        "cnn03",
        "--size",
        "32",
        "--epochs",
        "1",
        "--weights",
        text(&file),
    ]);
    let output = { output }.assert().success();
    let said = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let told = String::from_utf8(output.get_output().stderr.clone()).unwrap() + &said;
    assert!(
        told.contains("out.weight left out: it is [3, 64], but [2, 64] is needed"),
        "{told}"
    );
    // And a run of three classes does not answer for two.
    let predictions = at("p.csv");
    let error = complaint(&[
        "predict",
        text(&at("first")),
        text(&root),
        "--out",
        text(&predictions),
    ]);
    assert!(
        error.contains("tells apart") && error.contains("this data set has"),
        "{error}"
    );
}

#[test]
fn damaged_images_are_named_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 8);
    let whole = fs::read(root.join("bars/bars_0.png")).unwrap();
    fs::write(root.join("bars/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(root.join("dots/nothing.png"), b"").unwrap();
    fs::write(root.join("dots/letter.png"), "dear colleague").unwrap();
    image::ImageBuffer::<Luma<u16>, _>::from_pixel(8, 8, Luma([40_000]))
        .save(root.join("plain/deep.png"))
        .unwrap();
    image::RgbImage::new(8, 8)
        .save(root.join("plain/colour.png"))
        .unwrap();
    let info = json(&["info", text(&root)]);
    let problems: Vec<&str> = info["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["sentence"].as_str().unwrap())
        .collect();
    for file in [
        "cut.png",
        "nothing.png",
        "letter.png",
        "deep.png",
        "colour.png",
    ] {
        assert!(
            problems.iter().any(|p| p.contains(file)),
            "{file}: {problems:?}"
        );
    }
    // Nothing is ever written over the user's own files.
    let own = root.join("bars/bars_0.png");
    let refused = complaint(&["label", "export", text(&root), "--out", text(&own)]);
    assert!(refused.contains("never overwritten"), "{refused}");
    assert_eq!(fs::read(&own).unwrap(), whole);
    let run = folder.path().join("run");
    let report = json(&[
        "train",
        text(&root),
        "--size",
        "32",
        "--epochs",
        "1",
        "--out",
        text(&run),
    ]);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("3 images were left out"), "{warnings}");
}

#[test]
fn a_network_is_fine_tuned_for_drift_and_held_against_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let data = [text(&sample), "--project", text(&project)];
    let fine_tune = [&["drift", "fine-tune"], &data[..]].concat();
    let none = complaint(&fine_tune);
    assert!(none.contains("there are 0 and 0"), "{none}");
    let quick = ["--epochs", "1", "--threads", "1", "--seed", "3"];
    json(&[&["train"], &data[..], &["--size", "32"], &quick].concat());
    let truth = sample.join("truth.csv");
    json(&[&["label", "import"], &data[..], &["--from", text(&truth)]].concat());

    let cost = json(&[&fine_tune[..], &["--dry-run"], &quick].concat());
    assert_eq!(
        (&cost["n_drift"], &cost["n_regular"]),
        (&12.into(), &32.into())
    );
    assert!(cost["at_most_s"].as_f64().unwrap() > 0.0, "{cost}");
    let runs = || fs::read_dir(project.join("runs")).unwrap().count();
    assert_eq!(runs(), 1, "nothing is trained yet");

    let found = json(&[&fine_tune[..], &quick].concat());
    assert_eq!(
        (&found["n_drift"], &found["n_regular"]),
        (&12.into(), &32.into())
    );
    assert_eq!(found["folds"], cost["folds"]);
    assert!(found["base"].is_string(), "{found}");
    for judge in ["head", "network"] {
        let ap = &found[judge]["average_precision"];
        let [lo, mean, hi] = ["lo", "mean", "hi"].map(|key| ap[key].as_f64().unwrap());
        assert!(
            0.0 <= lo && lo <= mean && mean <= hi && hi <= 1.0,
            "{found}"
        );
        let pwa = found[judge]["pwa"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&pwa), "{found}");
    }
    let gain = found["gain"]["average_precision"]["mean"].as_f64().unwrap();
    let ap = |judge: &str| found[judge]["average_precision"]["mean"].as_f64().unwrap();
    assert!(
        (gain - (ap("network") - ap("head"))).abs() < 1e-9,
        "{found}"
    );
    assert!(Path::new(found["run"].as_str().unwrap()).is_dir());
    assert_eq!(runs(), 2);
    // By the same seed the same network.
    let again = json(&[&fine_tune[..], &quick].concat());
    assert_eq!(again["network"], found["network"]);
}

#[test]
fn a_study_with_a_row_without_result_and_a_threshold_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let data = [text(&sample), "--project", text(&project)];
    let weights = folder.path().join("inception_v3.safetensors");
    fs::write(&weights, [255; 64]).unwrap();
    let rows = [
        "--presets",
        "inception_feature",
        "--size",
        "75",
        "--weights",
    ];
    let study = [&["study"], &data[..], &rows, &[text(folder.path())]].concat();
    let said = complaint(&study);
    assert!(said.contains("1 of 1 rows have no result"), "{said}");
    let out = folder.path().join("out.csv");
    for threshold in ["2", "-0.1", "nan"] {
        let threshold = format!("--threshold={threshold}");
        let asked = [&["submit"], &data[..], &[&threshold, "--out", text(&out)]].concat();
        let run = Command::cargo_bin("driftscope")
            .unwrap()
            .args(asked)
            .assert();
        let said = run.failure().code(2);
        let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
        assert!(said.contains("between 0 and 1"), "{said}");
    }
    assert!(!out.exists());
}

#[test]
fn a_session_is_rehearsed_against_a_table_of_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let data = [text(&sample), "--project", text(&project)];
    let quick = ["--size", "32", "--epochs", "1", "--threads", "1"];
    json(&[&["train"], &data[..], &quick, &["--seed", "3"]].concat());
    let truth = sample.join("truth.csv");
    let rehearse = |labels: &str| {
        let asked = ["--truth", text(&truth), "--labels", labels];
        json(&[&["drift", "rehearse"], &data[..], &asked].concat())
    };
    let found = rehearse("15");
    let n = |key: &str| found[key].as_u64().unwrap();
    assert_eq!((n("images"), n("labels"), n("drift")), (44, 15, 12));
    assert_eq!((n("rest"), n("found") + n("rest_drift")), (29, 12));
    let reasons = found["by_reason"].as_object().unwrap();
    let sum = |at: usize| {
        reasons
            .values()
            .map(|r| r[at].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((sum(0), sum(1)), (15, n("found")), "{found}");
    for key in [
        "rest_f1",
        "rest_ap",
        "caught",
        "pwa",
        "pwa_with_hand_labels",
        "pwa_gate",
        "pwa_constant",
    ] {
        let figure = found[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&figure), "{key}: {found}");
    }
    let pwa = |key: &str| found[key].as_f64().unwrap();
    assert!(pwa("pwa_with_hand_labels") >= pwa("pwa"), "{found}");
    // What was neither labelled nor is called drift, by name.
    let missed = found["missed"].as_array().unwrap();
    let rows = fs::read_to_string(&truth).unwrap();
    for file in missed {
        let row = format!("{},Drift", file.as_str().unwrap());
        assert!(rows.contains(&row), "{row}");
    }
    let caught = n("drift") - missed.len() as u64;
    assert!(
        (pwa("caught") - caught as f64 / 12.0).abs() < 1e-9,
        "{found}"
    );
    let kinds = found["kinds"].as_object().unwrap().values();
    let images = kinds.map(|kind| kind["images"].as_u64().unwrap());
    assert_eq!(images.sum::<u64>(), 12, "{found}");
    // A network of one stage has no local features for PaDiM; the key says so.
    assert_eq!(found.get("pwa_padim"), Some(&Value::Null));
    assert_eq!(rehearse("15"), found, "by the same seed");
    // More labels than there are images: nothing is left to measure.
    let all = rehearse("500");
    assert_eq!(
        ["labels", "found", "rest", "caught"].map(|key| all[key].as_f64()),
        [44.0, 12.0, 0.0, 1.0].map(Some)
    );
    // Nothing of this is written into the labels of the project.
    let ranked = json(&[&["drift", "rank"], &data[..]].concat());
    assert_eq!(
        (&ranked["n_drift"], &ranked["n_regular"]),
        (&0.into(), &0.into())
    );

    let other = folder.path().join("other.csv");
    let asked = ["--truth", text(&other), "--labels", "5"];
    let asked = [&["drift", "rehearse"], &data[..], &asked].concat();
    let missing = complaint(&asked);
    assert!(missing.contains("other.csv"), "{missing}");
    let refused = |rows: &str| {
        fs::write(&other, rows).unwrap();
        let said = complaint(&asked);
        assert!(said.contains("other.csv does not tell the truth"), "{said}");
        said
    };
    let (without, last) = rows.trim_end().rsplit_once('\n').unwrap();
    let (lacking, _) = last.split_once(',').unwrap();
    let said = refused(without);
    assert!(said.contains(&format!("does not name {lacking}")), "{said}");
    let said = refused(&rows.replacen(",Missing,", ",Scratched,", 1));
    assert!(
        said.contains("\"Scratched\"") && said.contains("Boucle plate"),
        "{said}"
    );
    let said = refused("filename\nx.png\n");
    assert!(said.contains("fewer than two columns"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_printing_and_not_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let closed = |args: &[&str]| {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_driftscope"))
            .args(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Before the program has come so far as to print.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    };
    closed(&[
        "sample",
        "--out",
        text(&made),
        "--train",
        "12",
        "--test",
        "4",
    ]);
    assert!(made.join("truth.csv").is_file());
    closed(&["info", text(&made)]);
    closed(&["info", text(&made), "--json"]);
    closed(&["models"]);
}

#[test]
fn a_labelling_is_simulated_in_every_order_and_says_what_it_gave() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    patterns(&root, 24);
    let project = folder.path().join("project");
    let of = |order: &str| {
        json(&[
            "drift",
            "simulate",
            text(&root),
            "--project",
            text(&project),
            "--drift-class",
            "dots",
            "--model",
            "cnn01",
            "--size",
            "64",
            "--labels",
            "0,5,500",
            "--repeats",
            "2",
            "--drift-rate",
            "0.2",
            "--strategy",
            order,
        ])
    };
    for order in ["mixed", "random", "top"] {
        let found = of(order);
        assert_eq!(found["strategy"], order);
        let pool = found["images"]["pool"].as_f64().unwrap();
        let curve = found["curve"].as_array().unwrap();
        assert_eq!(curve.len(), 3);
        for (point, labels) in curve.iter().zip([0.0, 5.0, 500.0]) {
            assert_eq!(point["labels"].as_f64(), Some(labels));
            // Splits may differ by an image or two.
            let given = point["labels_given_mean"].as_f64().unwrap();
            assert!((given - labels.min(pool)).abs() <= 2.0, "{given} of {pool}");
            for key in [
                "ap_mean",
                "ap_sd",
                "f1_mean",
                "f1_sd",
                "found_mean",
                "auroc_mean",
            ] {
                assert!(point[key].as_f64().is_some(), "no {key} in {point}");
            }
        }
        let drift = found["images"]["pool_drift"].as_f64().unwrap();
        let all_found = curve[2]["found_mean"].as_f64().unwrap();
        assert!(
            (all_found - drift).abs() <= 1.0,
            "a used up pool holds no drift that is not found"
        );
    }
}
