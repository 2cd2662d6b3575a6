//! The real binary on a full disk and in a folder that cannot be written: a sentence that names the file,
//! exit code 1, and what was there before untouched.
//!
//! Each case mounts a small file system of its own in a private mount namespace, which needs no rights
//! where the system allows user namespaces; elsewhere the tests say so and pass.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `script` by sh with `$D` a freshly mounted tmpfs of `size`, `$BIN` the binary and `$IN` the folder
/// `outside`. `None` where mounting is not allowed.
fn on_a_disk_of(size: &str, outside: &Path, script: &str) -> Option<Output> {
    let mount = tempfile::tempdir().unwrap();
    let head = format!("mount -t tmpfs -o size={size} none \"$D\" || exit 77\n");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c"])
        .arg(head + script)
        .env("D", mount.path())
        .env("IN", outside)
        .env("BIN", env!("CARGO_BIN_EXE_driftscope"))
        .output()
        .ok()?;
    let refused = String::from_utf8_lossy(&output.stderr).contains("unshare");
    if refused || output.status.code() == Some(77) {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    Some(output)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A plain folder of `n` pictures, and labels for all of them.
fn pictures(root: &Path, n: u32) {
    let images = root.join("parts");
    fs::create_dir(&images).unwrap();
    let mut table = "filename,label\n".to_owned();
    for i in 0..n {
        let picture = image::GrayImage::from_fn(40, 40, |x, y| image::Luma([(x * y + i) as u8]));
        picture.save(images.join(format!("{i}.png"))).unwrap();
        table += &format!("{i}.png,Drift\n");
    }
    fs::write(root.join("labels.csv"), table).unwrap();
}

#[test]
fn a_full_disk_keeps_what_was_there_and_says_so() {
    let outside = tempfile::tempdir().unwrap();
    pictures(outside.path(), 30);
    fs::write(
        outside.path().join("one.csv"),
        "filename,label\n0.png,Drift\n",
    )
    .unwrap();
    let script = r#"
        label() { "$BIN" label "$@" --project "$D/p" >"$IN/out.txt"; echo "$1 $?"; }
        label import "$IN/parts" --from "$IN/one.csv"
        label export "$IN/parts" --out "$D/labels.csv"
        dd if=/dev/zero of="$D/filler" bs=1k 2>/dev/null
        label import "$IN/parts" --from "$IN/labels.csv"
        label export "$IN/parts" --out "$D/labels.csv"
        label export "$IN/parts" --out "$IN/elsewhere.csv"
        cat "$D/labels.csv"
        rm "$D/filler"
        label import "$IN/parts" --from "$IN/labels.csv"
        label export "$IN/parts" --out "$D/labels.csv"
        cat "$D/labels.csv" >"$IN/all.csv"
    "#;
    let Some(output) = on_a_disk_of("600k", outside.path(), script) else {
        return;
    };
    let text = said(&output);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let one = "filename,label\n0.png,Drift\n";
    let expected =
        format!("import 0\nexport 0\nimport 1\nexport 1\nexport 0\n{one}import 0\nexport 0\n");
    assert_eq!(told.replace('\r', ""), expected, "{text}");
    assert!(text.contains("labels.sqlite"), "{text}");
    assert!(text.contains("the disk is full"), "{text}");
    assert!(text.contains("labels.csv could not be written"), "{text}");
    let read = |name| {
        fs::read_to_string(outside.path().join(name))
            .unwrap()
            .replace('\r', "")
    };
    assert_eq!(read("elsewhere.csv"), one);
    assert_eq!(read("all.csv").lines().count(), 31);
}

#[test]
fn a_folder_that_cannot_be_written_is_read_and_named() {
    let outside = tempfile::tempdir().unwrap();
    pictures(outside.path(), 30);
    let script = r#"
        label() { "$BIN" label "$@" --project "$D/p" >"$IN/out.txt"; echo "$1 $?"; }
        label import "$IN/parts" --from "$IN/labels.csv"
        mount -o remount,ro "$D"
        label import "$IN/parts" --from "$IN/labels.csv"
        label export "$IN/parts" --out "$D/labels.csv"
        label export "$IN/parts" --out "$IN/all.csv"
        "$BIN" info "$IN/parts" --project "$D/other" >"$IN/out.txt"; echo "info $?"
    "#;
    let Some(output) = on_a_disk_of("4m", outside.path(), script) else {
        return;
    };
    let text = said(&output);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        told, "import 0\nimport 1\nexport 1\nexport 0\ninfo 1\n",
        "{text}"
    );
    for part in ["labels.lock cannot be written", "labels.csv", "other"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let all = fs::read_to_string(outside.path().join("all.csv")).unwrap();
    assert_eq!(all.lines().count(), 31);
}

/// What is kept in a data set's own folder goes to the user's data folder where the data set lies on a
/// medium that cannot be written.
#[test]
fn a_data_set_on_a_medium_that_cannot_be_written_opens() {
    let outside = tempfile::tempdir().unwrap();
    pictures(outside.path(), 4);
    let script = r#"
        cp -r "$IN/parts" "$D/parts"
        mount -o remount,ro "$D"
        XDG_DATA_HOME="$IN/home" "$BIN" label import "$D/parts" --from "$IN/labels.csv" >"$IN/out.txt"
        echo "import $?"
    "#;
    let Some(output) = on_a_disk_of("4m", outside.path(), script) else {
        return;
    };
    let text = said(&output);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, "import 0\n", "{text}");
    assert!(outside.path().join("home").is_dir(), "{text}");
}
