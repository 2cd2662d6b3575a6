//! The same through the program: what it says, where files land, and that training finds them by name.

use std::{fs, path::Path};

use assert_cmd::Command;
use driftscope::models::{Device, Model};
use serde_json::Value;

use super::{
    content, from, holds,
    hub::{Behaviour, Hub, sha256},
};

/// A user with an empty home.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("driftscope").unwrap();
        command.args(args).env("HOME", self.0.path());
        for (name, folder) in [("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, self.0.path().join(folder));
        }
        // Where nobody listens: a server on this machine is never asked through a proxy.
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "http_proxy"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env_remove("DRIFTSCOPE_HUB");
        command
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args).arg("--json").assert().success();
        serde_json::from_slice(&output.get_output().stdout).unwrap()
    }

    /// What a failing command says; nothing is left under the name it failed to fetch.
    fn complaint(&self, args: &[&str]) -> String {
        let output = self.run(args).assert().failure().code(1);
        let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        let rows = self.json(&["weights", "list"]);
        assert!(
            rows.as_array()
                .unwrap()
                .iter()
                .all(|r| r["present"] == false)
        );
        said
    }
}

/// InceptionV3 as it is published, in fp16 so that it is quick to write.
fn inception(path: &Path) {
    let model = Model::new("inception_v3", 75, 1000, 1, Device::Cpu).unwrap();
    let half = |(name, tensor): (String, tch::Tensor)| {
        (name, tensor.to_kind(tch::Kind::Half).contiguous())
    };
    let tensors: Vec<_> = model.variables.variables().into_iter().map(half).collect();
    tch::Tensor::write_safetensors(&tensors, path).unwrap();
}

/// Two classes of flat images, ten each.
fn images(root: &Path) {
    for (class, gray) in [("dark", 40), ("light", 200)] {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..10 {
            let image = image::GrayImage::from_pixel(75, 75, image::Luma([gray + i]));
            image
                .save(root.join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
}

#[test]
fn fetched_weights_are_found_by_name_with_the_scale_they_want() {
    let user = User::new();
    let made = user.0.path().join("made.safetensors");
    inception(&made);
    let bytes = fs::read(&made).unwrap();
    let hub = Hub::serving(Behaviour {
        cuts: vec![bytes.len() / 2],
        ..Behaviour::of(&bytes)
    });

    let hub_url = hub.url();
    let fetch = ["weights", "fetch", "inception_v3", "--hub", &hub_url];
    let fetched = user.json(&fetch);
    assert_eq!(fetched["sha256"], sha256(&bytes));
    assert_eq!(fetched["bytes"], bytes.len());
    assert_eq!(fetched["revision"], "393d84c");
    assert_eq!(fetched["preprocessing"], "minus1_1");
    assert_eq!(fetched["check"]["unexpected"], serde_json::json!([]));
    let path = Path::new(fetched["path"].as_str().unwrap());
    assert!(path.starts_with(user.0.path()), "{}", path.display());
    holds(path, &bytes);
    assert_eq!(hub.ranges(), [None, from(bytes.len() / 2)]);
    assert!(
        hub.asked()[0]
            .path
            .starts_with("/timm/inception_v3.tv_in1k/resolve/main/")
    );

    let again = user.json(&fetch);
    assert_eq!(again["had"], again["bytes"]);
    assert_eq!(hub.ranges().len(), 2, "nothing was fetched again");

    let rows = user.json(&["weights", "list"]);
    let present = |row: &&Value| row["present"] == true;
    let here: Vec<&Value> = rows.as_array().unwrap().iter().filter(present).collect();
    assert!(
        here.len() == 1 && here[0]["name"] == "inception_v3",
        "{rows}"
    );

    let by_name = user.json(&["weights", "check", "inception_v3"]);
    let by_path = user.json(&["weights", "check", path.to_str().unwrap()]);
    assert_eq!(by_name, by_path);
    assert_eq!(by_name["wrong_shape"][0][0], "fc.weight");
    let other = [
        "weights",
        "check",
        path.to_str().unwrap(),
        "--model",
        "vit_s14",
    ];
    let refused = user.run(&other).assert().failure().code(1);
    let refused = String::from_utf8_lossy(&refused.get_output().stdout).into_owned();
    // All of what differs is listed, each name on a line of its own.
    let (vit, other_body) = (
        Model::new("vit_s14", 224, 6, 0, Device::Cpu).unwrap(),
        Model::new("inception_v3", 299, 6, 0, Device::Cpu).unwrap(),
    );
    for variable in vit.declared() {
        let of_head = variable.name.starts_with("head.");
        let listed = refused.contains(&format!("\n  {}\n", variable.name));
        assert_eq!(listed, !of_head, "{}", variable.name);
    }
    for variable in other_body.declared() {
        assert!(refused.contains(&format!("\n  {}\n", variable.name)));
    }
    let mut report = user.run(&[&other[..], &["--json"]].concat());
    let report = report.assert().failure().code(1);
    let report: Value = serde_json::from_slice(&report.get_output().stdout).unwrap();
    assert_eq!(
        (&report["fits"], &report["loaded"]),
        (&false.into(), &0.into())
    );
    let unexpected = report["unexpected"].as_array().unwrap();
    assert_eq!(unexpected.len(), other_body.declared().len());

    let data = user.0.path().join("images");
    images(&data);
    let run = user.0.path().join("run");
    let plan = user.0.path().join("plan.toml");
    let head =
        "model = \"inception_v3\"\nsize = 75\nepochs = 1\n[[phases]]\ntrainable = \"head\"\n";
    fs::write(&plan, head).unwrap();
    let text = |path: &'_ Path| path.to_str().unwrap().to_owned();
    let (data, plan, run_text) = (text(&data), text(&plan), text(&run));
    let train = [
        "train",
        &data,
        "--plan",
        &plan,
        "--weights",
        "inception_v3",
        "--out",
        &run_text,
    ];
    user.json(&train);
    let plan = fs::read_to_string(run.join("plan.toml")).unwrap();
    assert!(plan.contains("preprocessing = \"minus1_1\""), "{plan}");
    assert!(plan.contains(path.to_str().unwrap()), "{plan}");

    // A row of the study that was trained with them is known again.
    let study = [
        "study",
        &data,
        "--presets",
        "inception_feature",
        "--weights",
        path.parent().unwrap().to_str().unwrap(),
        "--size",
        "75",
        "--epochs",
        "1",
    ];
    let runs = Path::new(&data).join(".driftscope/runs");
    for _ in 0..2 {
        user.run(&study).assert().success();
        assert_eq!(fs::read_dir(&runs).unwrap().count(), 1);
    }
    // Nor does the folder have to be said.
    let [before, after] = [&study[..4], &study[6..]];
    user.run(&[before, after].concat()).assert().success();
    assert_eq!(fs::read_dir(&runs).unwrap().count(), 1);
}

#[test]
fn weights_that_are_not_here_yet_are_named_with_the_way_to_get_them() {
    let user = User::new();
    let data = user.0.path().join("images");
    images(&data);
    let data = data.to_str().unwrap();
    let said = user.complaint(&["train", data, "--model", "vit_s14", "--weights", "vit_s14"]);
    assert!(said.contains("driftscope weights fetch vit_s14"), "{said}");
    let said = user.complaint(&["weights", "check", "vit_s14"]);
    assert!(said.contains("driftscope weights fetch vit_s14"), "{said}");
    let said = user.complaint(&["weights", "fetch", "resnet"]);
    assert!(
        said.contains("inception_v3, efficientnet_v2_s, vit_s14"),
        "{said}"
    );
    let said = user.complaint(&["weights", "check", "some.safetensors"]);
    assert!(said.contains("--model"), "{said}");
}

#[test]
fn without_a_network_it_says_how_to_do_without() {
    let user = User::new();
    let hub = Hub::serving(Behaviour::default());
    let url = hub.url();
    drop(hub);
    let said = user.complaint(&["weights", "fetch", "vit_s14", "--hub", &url]);
    for part in [
        "cannot be reached",
        "no internet is needed",
        "vit_s14.safetensors",
        "--weights",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn pickles_are_refused_before_and_after_they_have_come() {
    let user = User::new();
    let zip = [b"PK\x03\x04".to_vec(), content(5_000, 1)].concat();
    let hub = Hub::serving(Behaviour::of(&zip));
    let named = format!(
        "{}/some/model/resolve/main/pytorch_model.bin?download=true",
        hub.url()
    );
    let said = user.complaint(&["weights", "fetch", "vit_s14", "--url", &named]);
    assert!(
        said.contains("pytorch_model.bin") && said.contains("save_file"),
        "{said}"
    );
    assert_eq!(hub.asked(), [], "nobody was asked for it");

    // Whatever it is called, what it holds decides.
    let url = hub.url();
    let said = user.complaint(&["weights", "fetch", "vit_s14", "--hub", &url]);
    assert!(
        said.contains("not kept") && said.contains("save_file"),
        "{said}"
    );
    let folder = user.0.path().join("data/driftscope/weights");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_mirror_is_taken_at_its_hash() {
    let user = User::new();
    let content = content(5_000, 2);
    let hub = Hub::serving(Behaviour {
        announced: None,
        ..Behaviour::of(&content)
    });
    let (url, file) = (hub.url(), hub.file());
    let said = user.complaint(&["weights", "fetch", "vit_s14", "--hub", &url]);
    assert!(said.contains("announces no SHA-256"), "{said}");
    // The right hash, but no weights: fetched, looked at, and not kept.
    let hash = sha256(&content);
    let fetch = [
        "weights", "fetch", "vit_s14", "--url", &file, "--sha256", &hash,
    ];
    let said = user.complaint(&fetch);
    assert!(said.contains("of no use to vit_s14"), "{said}");
    let fetch = [
        "weights", "fetch", "vit_s14", "--url", &file, "--sha256", "abc",
    ];
    user.run(&fetch).assert().failure().code(2);
}
