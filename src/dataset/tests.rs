//! Whole data sets on disk, good and bad.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::domain::{ClassSet, ImageId, Split};

/// A folder with these files; what is no text is left empty, as nothing here opens an image.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text.as_bytes());
    }
    dir
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn open(path: impl AsRef<Path>) -> Manifest {
    detect(path.as_ref(), &OpenOptions::default()).unwrap()
}

fn refused(path: impl AsRef<Path>) -> String {
    let error = detect(path.as_ref(), &OpenOptions::default()).unwrap_err();
    error.to_string()
}

fn keys(manifest: &Manifest) -> Vec<&str> {
    manifest.images.iter().map(|i| i.key.as_str()).collect()
}

/// Key, label and whether it is incoming, of each image.
fn labels(manifest: &Manifest) -> Vec<(&str, Option<&str>, bool)> {
    let label = |i: &ImageEntry| i.label.map(|class| manifest.classes.label(class));
    let images = manifest.images.iter();
    images
        .map(|i| (i.key.as_str(), label(i), i.incoming))
        .collect()
}

fn kinds(manifest: &Manifest) -> Vec<(ProblemKind, Option<u64>)> {
    manifest.problems.iter().map(|p| (p.kind, p.line)).collect()
}

const Y_TRAIN: &str = ",filename,window,lib,Label\n\
    0,b.png,2003,Die01,GOOD\n1,a.png,2005,Die02,Missing\n2,c.png,2003,Die03,Lift-off noir\n\
    3,d.png,2003,Die03,4.0\n";

fn challenge() -> TempDir {
    folder(&[
        ("Y_train_eVW9jym.csv", Y_TRAIN),
        ("input_train/input_train/a.png", ""),
        ("input_train/input_train/b.png", ""),
        ("input_train/input_train/c.png", ""),
        ("input_train/input_train/d.png", ""),
        ("input_test_1a4aqAg/input_test/x.png", ""),
        ("input_test_1a4aqAg/input_test/y.png", ""),
        ("input_test_1a4aqAg/input_test/z.png", ""),
        (
            "Y_random_nKwalR1.csv",
            ",filename,window,lib,Label\n0,y.png,2005,Die04,3\n1,x.png,2003,Die01,6\n2,gone.png,2003,Die01,6\n",
        ),
        (
            "Supp_files/win_and_lib.csv",
            ",filename,window,lib\n0,x.png,1,1\n1,z.png,2005,Die02\n",
        ),
        ("truth.csv", "filename,Label\nx.png,Drift\n"),
    ])
}

#[test]
fn the_challenge_is_read_without_its_random_labels() {
    let dir = challenge();
    for path in [
        dir.path().to_owned(),
        dir.path().join("Y_train_eVW9jym.csv"),
    ] {
        let manifest = open(path);
        assert_eq!(manifest.layout, Layout::Challenge);
        assert!(manifest.classes.is_challenge());
        assert_eq!(manifest.columns, ["window", "lib"]);
        assert_eq!(
            labels(&manifest),
            [
                ("b.png", Some("GOOD"), false),
                ("a.png", Some("Missing"), false),
                ("c.png", Some("Lift-off noir"), false),
                ("d.png", Some("Missing"), false),
                ("y.png", None, true),
                ("x.png", None, true),
                ("z.png", None, true),
            ]
        );
        assert_eq!(manifest.images[4].values, ["2005", "Die04"]);
        assert_eq!(manifest.images[6].values, ["2005", "Die02"]);
        assert!(manifest.images.iter().all(|i| i.path.is_file()));
        assert_eq!(manifest.class_counts(), [1, 0, 0, 1, 2, 0, 0]);
        assert_eq!(kinds(&manifest)[0].0, ProblemKind::RareLabel);
        let missing = manifest.problems.last().unwrap();
        assert_eq!(missing.kind, ProblemKind::MissingFile);
        assert!(
            missing
                .sentence
                .contains("\"gone.png\" (Y_random_nKwalR1.csv, line 4)")
        );
        assert!(
            manifest.statement.contains("names 4 images"),
            "{}",
            manifest.statement
        );
        assert!(
            manifest.statement.contains("3 test images"),
            "{}",
            manifest.statement
        );
        assert!(
            manifest.statement.contains("random"),
            "{}",
            manifest.statement
        );
    }
}

#[test]
fn the_challenge_may_lack_its_test_part_and_inner_folders() {
    let dir = folder(&[
        ("y_train.csv", "filename,Label\na.png,Bogus\nb.png,GOOD\n"),
        ("input_train/a.png", ""),
        ("input_train/b.png", ""),
    ]);
    let manifest = open(dir.path());
    assert_eq!(
        labels(&manifest),
        [("a.png", None, true), ("b.png", Some("GOOD"), false)]
    );
    assert!(kinds(&manifest).contains(&(ProblemKind::UnknownLabel, Some(2))));
    let unknown = &manifest.problems[0].sentence;
    assert!(
        unknown.contains("a.png") && unknown.contains("Bogus") && unknown.contains("Boucle plate")
    );
    assert!(manifest.statement.contains("no folder of test images"));

    fs::remove_dir_all(dir.path().join("input_train")).unwrap();
    assert!(refused(dir.path()).contains("input_train does not exist"));
}

#[test]
fn a_template_opened_by_name_gives_no_labels() {
    let dir = challenge();
    let manifest = open(dir.path().join("Y_random_nKwalR1.csv"));
    assert_eq!(
        labels(&manifest),
        [("y.png", None, true), ("x.png", None, true)]
    );
    assert_eq!(manifest.columns, ["window", "lib"]);
    assert!(
        manifest.statement.contains("template"),
        "{}",
        manifest.statement
    );
}

#[test]
fn a_csv_keeps_its_order_columns_and_labels() {
    let text = "\u{feff}Image;Line;Label\r\nsub/b.PNG;3;scratch\r\na.jpg;4;ok\r\n\
        c.bmp;4;n.a.\r\nd.tif;4;drift\r\n";
    let dir = folder(&[
        ("list.csv", text),
        ("sub/b.PNG", ""),
        ("a.jpg", ""),
        ("c.bmp", ""),
        ("d.tif", ""),
        ("notes.csv", "colour,weight\nred,3\n"),
    ]);
    for path in [dir.path().to_owned(), dir.path().join("list.csv")] {
        let manifest = open(path);
        assert_eq!(
            manifest.layout,
            Layout::Csv {
                file: dir.path().join("list.csv")
            }
        );
        assert_eq!(manifest.classes.names(), ["ok", "scratch", "Drift"]);
        assert_eq!(
            labels(&manifest),
            [
                ("sub/b.PNG", Some("scratch"), false),
                ("a.jpg", Some("ok"), false),
                ("c.bmp", None, true),
                ("d.tif", Some("drift"), true),
            ]
        );
        assert_eq!(manifest.columns, ["Line"]);
        assert_eq!(manifest.column("line"), Some(0));
        assert_eq!(manifest.images[0].values, ["3"]);
        assert_eq!(manifest.by_key("a.jpg"), Some(ImageId(1)));
        assert_eq!(manifest.by_key("A.jpg"), None);
        assert!(
            manifest.statement.contains("list.csv"),
            "{}",
            manifest.statement
        );
    }
}

#[test]
fn numbers_are_the_challenges_only_in_its_own_columns() {
    let dir = folder(&[
        ("ours.csv", "filename,class\na.png,10\nb.png,2.0\n"),
        (
            "theirs.csv",
            "filename,window,lib,Label\na.png,2003,Die01,4\nb.png,2003,Die01,0.0\n",
        ),
        ("a.png", ""),
        ("b.png", ""),
    ]);
    let ours = open(dir.path().join("ours.csv"));
    assert_eq!(ours.classes.names(), ["2", "10", "Drift"]);
    let theirs = open(dir.path().join("theirs.csv"));
    assert_eq!(theirs.class_counts(), [1, 0, 0, 0, 1, 0, 0]);
    assert!(refused(dir.path()).contains("\"ours.csv\" and \"theirs.csv\""));
}

#[test]
fn images_may_lie_elsewhere_and_columns_be_named() {
    let csv = folder(&[("t.csv", "photo,kind,filename\na.png,x,9\n")]);
    let images = folder(&[("a.png", "")]);
    let options = OpenOptions {
        images: Some(images.path().to_owned()),
        label_column: Some("KIND".to_owned()),
        filename_column: Some("photo".to_owned()),
        ..OpenOptions::default()
    };
    for path in [csv.path().to_owned(), csv.path().join("t.csv")] {
        let manifest = detect(&path, &options).unwrap();
        assert_eq!(labels(&manifest), [("a.png", Some("x"), false)]);
        assert_eq!(manifest.images[0].path, images.path().join("a.png"));
        assert_eq!(manifest.columns, ["filename"]);
    }
    let nowhere = OpenOptions {
        images: Some(PathBuf::from("/no/such/folder")),
        ..OpenOptions::default()
    };
    let error = detect(csv.path(), &nowhere).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder does not exist"), "{error}");
    let error = detect(images.path(), &options).unwrap_err().to_string();
    assert!(error.contains("no CSV file"), "{error}");
}

#[test]
fn class_folders_make_classes() {
    let dir = folder(&[
        ("0_GOOD/img_10.png", ""),
        ("0_GOOD/img_9.png", ""),
        ("1_Flat loop/deep/er/a.png", ""),
        ("6_Drift/d.png", ""),
        ("stray.png", ""),
        (".driftscope/cache/t.png", ""),
        ("0_GOOD/.hidden.png", ""),
        ("empty/readme.txt", ""),
    ]);
    let manifest = open(dir.path());
    assert_eq!(manifest.layout, Layout::ClassFolders);
    assert!(manifest.classes.is_challenge());
    assert_eq!(
        labels(&manifest),
        [
            ("0_GOOD/img_9.png", Some("GOOD"), false),
            ("0_GOOD/img_10.png", Some("GOOD"), false),
            ("1_Flat loop/deep/er/a.png", Some("Boucle plate"), false),
            ("6_Drift/d.png", Some("Drift"), true),
            ("stray.png", None, true),
        ]
    );
    let own = folder(&[("ok/a.png", ""), ("DRIFT/b.png", ""), ("bad/c.png", "")]);
    let own = open(own.path());
    assert_eq!(own.classes.names(), ["bad", "ok", "Drift"]);
    assert_eq!(own.images[0].label, Some(own.classes.drift()));
    assert!(
        own.statement
            .contains("2 classes; 3 images with a label (1 of them drift)")
    );
}

#[test]
fn train_and_test_folders_become_a_column() {
    let dir = folder(&[
        ("train/ok/1.png", ""),
        ("train/bad/1.png", ""),
        ("val/ok/1.png", ""),
    ]);
    let manifest = open(dir.path());
    assert_eq!(manifest.columns, ["folder"]);
    assert_eq!(
        labels(&manifest),
        [
            ("train/bad/1.png", Some("bad"), false),
            ("train/ok/1.png", Some("ok"), false),
            ("val/ok/1.png", Some("ok"), false),
        ]
    );
    assert_eq!(manifest.images[2].values, ["val"]);
}

#[test]
fn a_plain_folder_has_no_labels() {
    let dir = folder(&[
        ("a2.png", ""),
        ("a10.png", ""),
        ("more/b.JPEG", ""),
        ("c.gif", ""),
    ]);
    let manifest = open(dir.path());
    assert_eq!(manifest.layout, Layout::PlainFolder);
    assert_eq!(keys(&manifest), ["a2.png", "a10.png", "more/b.JPEG"]);
    assert!(
        manifest
            .images
            .iter()
            .all(|i| i.incoming && i.label.is_none())
    );
    assert_eq!(manifest.classes, ClassSet::from_labels::<&str>([]));
    assert_eq!(manifest.problems, []);
}

#[test]
fn every_bad_row_is_reported_by_line() {
    let text = "filename,label\n\
        a.png,x\n\
        gone.png,x\n\
        a.png,x\n\
        b.png,x\n\
        b.png,y\n\
        ../a.png,x\n\
        /etc/passwd.png,x\n\
        ,x\n\
        c.png\n\
        c.png,y,z\n\
        notes.txt,x\n\
        c.png,y\n\
        dir.png,y\n";
    let dir = folder(&[
        ("list.csv", text),
        ("a.png", ""),
        ("b.png", ""),
        ("c.png", ""),
        ("notes.txt", ""),
        ("dir.png/inner.txt", ""),
    ]);
    let manifest = open(dir.path());
    assert_eq!(
        labels(&manifest),
        [
            ("a.png", Some("x"), false),
            ("b.png", None, true),
            ("c.png", Some("y"), false)
        ]
    );
    use ProblemKind::*;
    assert_eq!(
        kinds(&manifest),
        [
            (MissingFile, Some(3)),
            (RepeatedRow, Some(4)),
            (ConflictingRow, Some(6)),
            (OutsidePath, Some(7)),
            (OutsidePath, Some(8)),
            (EmptyName, Some(9)),
            (BadRow, Some(10)),
            (BadRow, Some(11)),
            (NotAnImage, Some(12)),
            (MissingFile, Some(14)),
            (RareLabel, None),
            (RareLabel, None),
        ]
    );
    let named = manifest.problems.iter().filter(|p| p.kind != EmptyName);
    for problem in named {
        let file = problem.file.rsplit('/').next().unwrap();
        assert!(problem.sentence.contains(file), "{problem}");
    }
    assert!(
        manifest.statement.contains("3 of 13 rows"),
        "{}",
        manifest.statement
    );
}

#[test]
fn whole_data_sets_are_refused_with_a_sentence() {
    let dir = folder(&[
        ("empty/readme.txt", ""),
        ("photo.png", ""),
        ("only_header/t.csv", "filename,label\n"),
        ("blank.csv", "\n\n"),
        ("no_name.csv", "kind,weight\nx,1\n"),
        ("nowhere.csv", "filename,label\nq/1.png,x\nq/2.png,y\n"),
    ]);
    write(
        dir.path(),
        "latin.csv",
        b"filename,label\na.png,ok\nb.png,Boucl\xe9\n",
    );
    write(dir.path(), "wide.csv", b"\xff\xfef\0i\0l\0e\0");
    let at = |name: &str| refused(dir.path().join(name));
    for (name, parts) in [
        ("absent", vec!["absent does not exist"]),
        ("empty", vec!["no images found in", "empty", ".png, .jpg"]),
        ("photo.png", vec!["photo.png is neither a folder nor a CSV"]),
        ("only_header/t.csv", vec!["t.csv has no rows"]),
        ("only_header", vec!["t.csv has no rows"]),
        ("blank.csv", vec!["blank.csv has no rows"]),
        (
            "no_name.csv",
            vec!["no column of file names", "\"kind\" and \"weight\""],
        ),
        (
            "nowhere.csv",
            vec!["none of the 2 rows", "q/1.png", "--images"],
        ),
        (
            "latin.csv",
            vec!["latin.csv is not UTF-8", "line 3, byte 35"],
        ),
        ("wide.csv", vec!["wide.csv is not UTF-8", "line 1, byte 0"]),
    ] {
        let sentence = at(name);
        for part in parts {
            assert!(sentence.contains(part), "{name}: {sentence}");
        }
    }
    let classes: String = (0..300).map(|i| format!("photo.png,c{i}\n")).collect();
    let rows: String = (0..300).map(|i| format!("{i}.png,c{i}\n")).collect();
    for i in 0..300 {
        write(dir.path(), &format!("many/{i}.png"), b"");
    }
    write(
        dir.path(),
        "many/t.csv",
        format!("filename,y\n{rows}").as_bytes(),
    );
    assert!(
        at("many").contains("300 different classes"),
        "{}",
        at("many")
    );
    write(
        dir.path(),
        "same.csv",
        format!("filename,y\n{classes}").as_bytes(),
    );
    assert_eq!(open(dir.path().join("same.csv")).len(), 1);
}

#[test]
fn an_unreadable_table_beside_images_is_told() {
    let dir = folder(&[("a.png", ""), ("b.png", "")]);
    write(
        dir.path(),
        "labels.csv",
        b"filename,label\na.png,Boucl\xe9\n",
    );
    let manifest = open(dir.path());
    assert_eq!(manifest.layout, Layout::PlainFolder);
    assert_eq!(kinds(&manifest), [(ProblemKind::Unreadable, None)]);
    assert!(
        manifest.problems[0]
            .sentence
            .contains("labels.csv is not UTF-8")
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let outside = folder(&[("pictures/o.png", "")]);
    let dir = folder(&[("a/1.png", ""), ("b/2.png", "")]);
    let root = dir.path();
    symlink(root, root.join("a/loop")).unwrap();
    symlink(root.parent().unwrap(), root.join("b/up")).unwrap();
    symlink(root.join("b"), root.join("a/again")).unwrap();
    symlink(root.join("nothing"), root.join("a/dead.png")).unwrap();
    symlink(root.join("a/1.png"), root.join("a/3.png")).unwrap();
    symlink(outside.path(), root.join("c")).unwrap();
    symlink(root, outside.path().join("pictures/back")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"\xff.png");
    let odd_written = fs::write(root.join(odd), b"").is_ok();
    let manifest = open(root);
    assert_eq!(
        keys(&manifest),
        ["a/1.png", "a/3.png", "b/2.png", "c/pictures/o.png"]
    );
    let unreadable = manifest
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Unreadable);
    assert_eq!(unreadable.count(), usize::from(odd_written));
}

#[test]
fn the_digest_follows_keys_and_labels_only() {
    let digest = |text: &str| {
        let dir = folder(&[("t.csv", text), ("a.png", ""), ("b.png", "")]);
        open(dir.path()).digest()
    };
    let one = digest("filename,label,line\na.png,x,1\nb.png,y,2\n");
    assert_eq!(one.len(), 64);
    assert_eq!(one, digest("file;class\nb.png;y\na.png;x\n"));
    assert_ne!(one, digest("filename,label\na.png,y\nb.png,x\n"));
    assert_ne!(one, digest("filename,label\na.png,x\nb.png,\n"));
    assert_ne!(one, digest("filename,label\na.png,x\n"));
}

#[test]
fn equal_contents_are_found_and_differing_labels_told() {
    let dir = folder(&[
        ("x/1.png", ""),
        ("x/2.png", ""),
        ("y/3.png", ""),
        ("y/4.png", ""),
        ("y/5.png", ""),
    ]);
    let manifest = open(dir.path());
    let mut hashes: Vec<_> = manifest
        .ids()
        .zip([[7; 32], [8; 32], [7; 32], [9; 32], [9; 32]])
        .collect();
    hashes.reverse();
    let equal = integrity::equal_images(&hashes);
    // An incoming image is measured by nobody.
    let splits = [
        Split::Train,
        Split::Train,
        Split::Test,
        Split::Incoming,
        Split::Validation,
    ];
    let found = integrity::content_duplicates(&equal, &manifest, &splits);
    let kinds: Vec<_> = found.iter().map(|p| (p.kind, p.file.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (ProblemKind::ConflictingDuplicate, "x/1.png"),
            (ProblemKind::Duplicate, "y/4.png")
        ]
    );
    assert!(
        found[0]
            .sentence
            .contains("\"y/3.png\"; they are labelled \"x\" and \"y\"")
    );
    assert!(found[0].sentence.ends_with(
        "they lie in train and test, so that one of them is measured after another was learned"
    ));
    assert!(!found[1].sentence.contains("they lie in"));
    assert!(integrity::equal_images(&[]).is_empty());
}

#[test]
fn real_photographs_in_class_folders() {
    let shared = std::env::var_os("DRIFTSCOPE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let neu = shared.join("data/neu");
    if !neu.is_dir() {
        tracing::warn!("skipped: {} is absent", neu.display());
        return;
    }
    let manifest = open(&neu);
    assert_eq!(manifest.layout, Layout::ClassFolders);
    assert_eq!(manifest.len(), 1_770);
    assert_eq!(manifest.classes.regular_len(), 6);
    assert_eq!(manifest.class_counts().iter().sum::<usize>(), 1_770);
    assert_eq!(manifest.problems, []);
    let splits = splits::split(&manifest, &splits::SplitSpec::default()).unwrap();
    let tested = splits
        .iter()
        .filter(|s| **s == crate::domain::Split::Test)
        .count();
    assert_eq!(tested, 354);
}
