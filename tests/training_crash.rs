//! Trainings survive what happens to processes: the real binary, killed in the midst of an epoch and told to go on,
//! ends with the files of one that was never killed.
#![cfg(feature = "torch")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use image::{GrayImage, Luma};
use tempfile::TempDir;

const EPOCHS: usize = 14;

/// Three classes of patterns, `n` images each, in class folders, none too easy to tell apart.
fn patterns(root: &Path, n: u32) {
    for (c, class) in ["bars", "dots", "plain"].iter().enumerate() {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..n {
            let image = GrayImage::from_fn(48, 48, |x, y| {
                let noise = ((x * 7 + y * 13 + i * 29) % 131) as u8;
                let ink = match c {
                    0 => (x / 6) % 2 == i % 2,
                    1 => (x / 8) % 2 == 0 && (y / 8) % 2 == i % 2,
                    _ => false,
                };
                Luma([if ink { 40 + noise } else { 100 + noise }])
            });
            let file = root.join(class).join(format!("{class}_{i}.png"));
            image.save(file).unwrap();
        }
    }
}

/// A data set, a plan, and a run on it that nobody interrupted.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        patterns(&world.at("data"), 60);
        let plan = format!(
            "model = \"cnn03\"\nsize = 32\nbatch = 8\nepochs = {EPOCHS}\npatience = 100\nema_decay = 0.9\n\
             warmup_epochs = 1.0\nschedule = \"cosine\"\n[augmentation]\nrotation_deg = 10.0\nzoom = 0.1\n"
        );
        fs::write(world.at("plan.toml"), plan).unwrap();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `driftscope train` into `run`, with one thread.
    fn train(&self, run: &Path) -> Command {
        let mut command = driftscope();
        command.arg("train").arg(self.at("data"));
        command.arg("--plan").arg(self.at("plan.toml"));
        command.args(["--threads", "1", "--out"]).arg(run);
        command
    }

    fn whole(&self) -> PathBuf {
        let run = self.at("whole");
        heard(self.train(&run), true);
        run
    }
}

fn driftscope() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftscope"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `driftscope train --resume`, which finds its project by itself.
fn resume(run: &Path) -> Command {
    let mut command = driftscope();
    command.args(["train", "--resume"]).arg(run);
    command
}

/// What a command says on standard error; it must succeed, or fail with a sentence.
fn heard(mut command: Command, succeeds: bool) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert_eq!(code, Some(i32::from(!succeeds)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Starts a command and kills it so long after it has said `epochs` more lines of epochs. Returns what it said; a
/// whole training if it was quicker than that.
fn killed(mut command: Command, epochs: usize, after: Duration) -> String {
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut said, mut seen) = (String::new(), 0);
    while seen < epochs && lines.read_line(&mut said).unwrap() > 0 {
        let last = said.lines().next_back().unwrap_or_default();
        seen += usize::from(last.starts_with("epoch"));
    }
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.read_to_string(&mut said).unwrap();
    said
}

/// A run's files but for what hangs on the clock.
fn files(run: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let read = |name| (name, fs::read(run.join(name)).unwrap());
    let mut files: Vec<_> = [
        "model.safetensors",
        "report.json",
        "predictions.csv",
        "plan.toml",
    ]
    .map(read)
    .to_vec();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut epoch: serde_json::Value = serde_json::from_str(line).unwrap();
        epoch["seconds"] = 0.into();
        epoch["train_seconds"] = 0.into();
        epoch.to_string()
    };
    let metrics: Vec<String> = metrics.lines().map(timeless).collect();
    files.push(("metrics.jsonl", metrics.join("\n").into_bytes()));
    let text = fs::read_to_string(run.join("run.json")).unwrap();
    let mut summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["seconds", "created", "pace"] {
        summary[key] = 0.into();
    }
    files.push(("run.json", summary.to_string().into_bytes()));
    files
}

fn assert_same(run: &Path, whole: &Path, when: &str) {
    for ((name, ours), (_, theirs)) in files(run).iter().zip(files(whole)) {
        assert!(*ours == theirs, "{name} differs: {when}");
    }
    let mut names: Vec<String> = fs::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "metrics.jsonl",
            "model.safetensors",
            "plan.toml",
            "predictions.csv",
            "report.json",
            "run.json"
        ],
        "nothing of the interruption is left: {when}"
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_killed_training_goes_on_to_the_same_files() {
    let world = World::new();
    let whole = world.whole();
    let mut resumed = 0;
    for round in 0..6_u64 {
        let run = world.at(&format!("killed-{round}"));
        // From before the first epoch to shortly before the last, anywhere within a step or a write.
        let epochs = [0, 1, 2, 4, 7, 11][round as usize];
        let after = Duration::from_micros(700 + round * round * 9_301 % 67_000);
        let said = killed(world.train(&run), epochs, after);
        if epochs == 0 {
            // It may not even have come to its folder; later rounds are sure to have.
            if !run.join("started.json").exists() {
                continue;
            }
        }
        assert!(!run.join("run.json").exists(), "too late: {said}");
        // And killed again as it goes on, in every second round.
        if round % 2 == 0 {
            killed(resume(&run), 1, after / 2);
        }
        let went_on = run.join("checkpoint.safetensors").exists();
        let said = heard(resume(&run), true);
        let (word, other) = if went_on {
            ("goes on in epoch", "begins again")
        } else {
            ("begins again", "goes on in epoch")
        };
        assert!(said.contains(word) && !said.contains(other), "{said}");
        resumed += usize::from(went_on);
        assert_same(&run, &whole, &format!("round {round}"));
    }
    assert!(
        resumed >= 4,
        "only {resumed} rounds had a state to go on from"
    );
}

#[test]
fn what_cannot_be_resumed_is_said_and_what_is_damaged_begins_anew() {
    let world = World::new();
    let whole = world.whole();
    // As if its process had ended between the last two files.
    fs::write(whole.join("started.json"), "{}").unwrap();
    fs::write(whole.join("checkpoint.safetensors"), "large").unwrap();
    let finished = heard(resume(&whole), false);
    assert!(finished.contains("finished run"), "{finished}");
    assert_same(&whole, &whole, "tidied");
    let nothing = heard(resume(&world.at("data")), false);
    assert!(
        nothing.contains("no training that could be resumed"),
        "{nothing}"
    );

    let run = world.at("killed");
    killed(world.train(&run), 3, Duration::from_millis(5));
    let variant = |name: &str| {
        let to = world.at(name);
        copy(&run, &to);
        to
    };

    // Another process trains it just now.
    let busy = variant("busy");
    let mut child = resume(&busy).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("goes on") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let refused = heard(resume(&busy), false);
    let owner = format!("is being trained by process {}", child.id());
    assert!(refused.contains(&owner), "{refused}");
    child.kill().unwrap();
    child.wait().unwrap();

    // Another plan.
    let replanned = variant("replanned");
    let plan = fs::read_to_string(replanned.join("plan.toml")).unwrap();
    fs::write(
        replanned.join("plan.toml"),
        plan.replace("batch = 8", "batch = 16"),
    )
    .unwrap();
    let refused = heard(resume(&replanned), false);
    assert!(refused.contains("not the plan"), "{refused}");

    // A state that is cut short, or gone, or without the best weights it speaks of.
    for (name, damage) in [("cut", 0), ("gone", 1), ("half", 2)] {
        let run = variant(name);
        let state = run.join("checkpoint.safetensors");
        match damage {
            0 => {
                let bytes = fs::read(&state).unwrap();
                fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
            }
            1 => fs::remove_file(&state).unwrap(),
            _ => {
                let entries = fs::read_dir(&run).unwrap().map(|e| e.unwrap().path());
                let best = |p: &PathBuf| {
                    p.file_name()
                        .unwrap()
                        .to_string_lossy()
                        .starts_with("best-")
                };
                // Two, where the kill came before the older one was taken away.
                let best: Vec<PathBuf> = entries.filter(best).collect();
                assert!(!best.is_empty(), "no file of best weights");
                for file in best {
                    fs::remove_file(file).unwrap();
                }
            }
        }
        let said = heard(resume(&run), true);
        assert!(
            said.contains("note: the training begins again at its first epoch"),
            "{said}"
        );
        assert_same(&run, &whole, name);
    }

    // Labels given since change nothing: the run goes on with those it was started on.
    let labels = world.at("labels.csv");
    fs::write(&labels, "filename,label\nbars/bars_1.png,dots\n").unwrap();
    let mut import = driftscope();
    import.args(["label", "import", "--json"]);
    import.arg(world.at("data")).arg("--from").arg(&labels);
    let imported = import.output().unwrap().stdout;
    let imported: serde_json::Value = serde_json::from_slice(&imported).unwrap();
    assert_eq!(imported["changed"], 1);
    let relabelled = variant("relabelled");
    heard(resume(&relabelled), true);
    assert_same(&relabelled, &whole, "relabelled");

    // A picture that is another one now, and then none at all.
    let picture = world.at("data").join("dots/dots_7.png");
    fs::copy(world.at("data").join("dots/dots_8.png"), &picture).unwrap();
    let refused = heard(resume(&variant("changed")), false);
    assert!(
        refused.contains("1 of the images") && refused.contains("dots_7.png"),
        "{refused}"
    );
    fs::remove_file(&picture).unwrap();
    let refused = heard(resume(&run), false);
    assert!(refused.contains("of the images"), "{refused}");
    assert!(
        run.join("checkpoint.safetensors").exists(),
        "refusing harms nothing"
    );
}

#[test]
fn a_resumed_run_takes_no_other_settings() {
    for args in [
        &["train"][..],
        &["train", "--resume", "run", "--epochs", "3"],
        &["train", "data", "--resume", "run", "--out", "other"],
    ] {
        let mut command = driftscope();
        let output = command.args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
