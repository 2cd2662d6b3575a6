//! The sample generator: a made data set in the layout of the challenge, drawn from a seed.
//!
//! It stands in for the challenge's files, which may not be passed on: the same folders and tables, the
//! same imbalance, dies, windows and frame sizes, pictures drawn after published figures, mistaken
//! labels among the lift-offs, and drift in the test set alone. Defects show in local texture (streaks,
//! blotches, speckle) more than in brightness at a fixed place, so that a linear model on pixels does not
//! solve it. The same [`SampleSpec`] gives the same bytes on every machine. Beside the challenge's files lie `truth.csv`, the hidden truth of the test
//! set, and `prepared_labels.csv`, hand labels for a part of it.

mod canvas;
mod dice;
mod drift;
mod layout;
mod noise;
mod plan;
mod ribbon;
mod scene;
mod substrate;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use crate::domain::{ClassId, ClassSet};
use dice::Dice;
use plan::Planned;

/// The training images' folder, below the data set's.
pub const TRAIN_DIR: &str = "input_train/input_train";
/// The test images' folder.
pub const TEST_DIR: &str = "input_test_1a4aqAg/input_test";
/// The training labels.
pub const TRAIN_TABLE: &str = "Y_train_eVW9jym.csv";
/// The submission template: random integers, not truth.
pub const TEMPLATE_TABLE: &str = "Y_random_nKwalR1.csv";
/// Window and die of the test images.
pub const TEST_TABLE: &str = "Supp_files/win_and_lib.csv";
/// The truth of the test images, which no user of the real files has.
pub const TRUTH_TABLE: &str = "truth.csv";
/// Hand labels for 40 % of the test images.
pub const PREPARED_TABLE: &str = "prepared_labels.csv";

/// Images rendered between two reports of progress.
const BATCH: usize = 32;

/// What data set to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSpec {
    /// Number of training images. At least ten (a tenth of small sets, a fiftieth of larger ones up to
    /// forty) show each class.
    pub train: usize,
    /// Number of test images, about 11 % of them drift; at least 12 (a third of small sets).
    pub test: usize,
    /// Seed of all chance.
    pub seed: u64,
}

impl Default for SampleSpec {
    /// The challenge's own size: 8,278 training and 1,055 test images.
    fn default() -> Self {
        Self {
            train: 8278,
            test: 1055,
            seed: 0,
        }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleSummary {
    /// Training images by true class, in the order of the challenge's integers: word in the files, count.
    pub train: Vec<(String, usize)>,
    /// Training images whose label in the table is a mistake.
    pub mislabelled: usize,
    /// Test images.
    pub test: usize,
    /// Test images that are drift.
    pub drift: usize,
    /// Test images with a prepared hand label.
    pub prepared: usize,
}

/// Why a data set was not made.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The folder holds files already, which are left alone.
    #[error(
        "the folder {} is not empty; choose a new folder, or empty this one first",
        path.display()
    )]
    NotEmpty {
        /// The folder asked for.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("{} is a file, not a folder; choose another name for the data set", path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// Nothing was asked for.
    #[error("a data set of no images was asked for; ask for at least one training or test image")]
    NoImages,
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}; check the free space and your rights there", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller asked to stop; nothing is left behind.
    #[error("stopped after {done} of {total} images; nothing was kept")]
    Stopped {
        /// Images finished by then.
        done: usize,
        /// Images asked for.
        total: usize,
    },
}

/// Makes a data set in the folder `out`, which must be new or empty. `progress` hears of images done
/// and in all, and stops the work by answering `false`. The folder appears only when it is complete:
/// until then the work lies beside it under `<out>.partial`, removed when the work fails or stops.
///
/// # Errors
/// [`SampleError`], with nothing left at `out`.
pub fn write(
    out: &Path,
    spec: &SampleSpec,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<SampleSummary, SampleError> {
    if spec.train + spec.test == 0 {
        return Err(SampleError::NoImages);
    }
    refuse_occupied(out)?;
    let partial = partial_path(out);
    let made = fill(&partial, spec, progress).and_then(|summary| {
        // An empty folder in the way would stop a rename on some systems.
        if out.exists() {
            fs::remove_dir(out).map_err(|source| failed(out, source))?;
        }
        fs::rename(&partial, out).map_err(|source| failed(out, source))?;
        Ok(summary)
    });
    if made.is_err() && partial.exists() {
        fs::remove_dir_all(&partial).map_err(|source| failed(&partial, source))?;
    }
    made
}

fn refuse_occupied(out: &Path) -> Result<(), SampleError> {
    let path = out.to_owned();
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(SampleError::NotEmpty { path }),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) if out.is_file() => Err(SampleError::NotAFolder { path }),
        Err(source) => Err(SampleError::Write { path, source }),
    }
}

/// A sibling of `out` that is not there yet.
fn partial_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or("sample".as_ref()).to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    out.with_file_name(name)
}

fn fill(
    root: &Path,
    spec: &SampleSpec,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<SampleSummary, SampleError> {
    let train = plan::train(spec.train, spec.seed);
    let test = plan::test(spec.test, spec.seed);
    for folder in [TRAIN_DIR, TEST_DIR, "Supp_files"] {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(|source| failed(&path, source))?;
    }
    let summary = write_tables(root, spec.seed, &train, &test)?;
    let total = train.len() + test.len();
    let mut done = 0;
    for (folder, images) in [(TRAIN_DIR, &train), (TEST_DIR, &test)] {
        let folder = root.join(folder);
        for batch in images.chunks(BATCH) {
            batch
                .par_iter()
                .try_for_each(|image| write_image(&folder, image, spec.seed))?;
            done += batch.len();
            if !progress(done, total) {
                return Err(SampleError::Stopped { done, total });
            }
        }
    }
    Ok(summary)
}

fn write_image(folder: &Path, image: &Planned, seed: u64) -> Result<(), SampleError> {
    let path = folder.join(&image.filename);
    let canvas = scene::draw(&image.subject, &mut Dice::new(seed, image.stream));
    let (width, height) = image.subject.size;
    let mut bytes = Vec::with_capacity(canvas.pixels.len() / 4);
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Level(3), FilterType::NoFilter)
        .write_image(&canvas.pixels, width, height, ExtendedColorType::L8)
        .map_err(|error| failed(&path, io::Error::other(error)))?;
    fs::write(&path, bytes).map_err(|source| failed(&path, source))
}

fn write_tables(
    root: &Path,
    seed: u64,
    train: &[Planned],
    test: &[Planned],
) -> Result<SampleSummary, SampleError> {
    let classes = ClassSet::challenge();
    let mut dice = Dice::new(seed, u64::MAX);
    let place = |i: &Planned| [i.subject.window.name(), i.subject.die.name()];

    let labelled = train.iter().enumerate().map(|(index, image)| {
        let [window, lib] = place(image);
        let label = classes.label(image.label).to_owned();
        [
            index.to_string(),
            image.filename.clone(),
            window.into(),
            lib.into(),
            label,
        ]
    });
    let header = ["", "filename", "window", "lib", "Label"];
    write_table(&root.join(TRAIN_TABLE), header, labelled)?;

    let template: Vec<_> = test
        .iter()
        .enumerate()
        .map(|(index, image)| {
            let [window, lib] = place(image);
            let label = dice.index(classes.len()).to_string();
            [
                index.to_string(),
                image.filename.clone(),
                window.into(),
                lib.into(),
                label,
            ]
        })
        .collect();
    write_table(&root.join(TEMPLATE_TABLE), header, template)?;

    let places = test.iter().map(|image| {
        let [window, lib] = place(image);
        [image.filename.clone(), window.into(), lib.into()]
    });
    write_table(
        &root.join(TEST_TABLE),
        ["filename", "window", "lib"],
        places,
    )?;

    let truth = test.iter().map(|image| {
        let kind = image.subject.drift.map_or("", |kind| kind.name());
        [
            image.filename.clone(),
            classes.label(image.truth).to_owned(),
            kind.to_owned(),
        ]
    });
    write_table(
        &root.join(TRUTH_TABLE),
        ["filename", "label", "drift_kind"],
        truth,
    )?;

    let prepared = prepared(test, &mut dice);
    let rows = prepared.iter().map(|image| {
        [
            image.filename.clone(),
            classes.label(image.truth).to_owned(),
        ]
    });
    write_table(&root.join(PREPARED_TABLE), ["filename", "label"], rows)?;

    Ok(SampleSummary {
        train: (0..classes.regular_len())
            .map(ClassId::from)
            .map(|class| {
                let count = train.iter().filter(|i| i.truth == class).count();
                (classes.label(class).to_owned(), count)
            })
            .collect(),
        mislabelled: train.iter().filter(|i| i.label != i.truth).count(),
        test: test.len(),
        drift: test.iter().filter(|i| i.subject.drift.is_some()).count(),
        prepared: prepared.len(),
    })
}

/// 40 % of the drift and 40 % of the regular test images, in the order of the test set.
fn prepared<'a>(test: &'a [Planned], dice: &mut Dice) -> Vec<&'a Planned> {
    let mut chosen = vec![false; test.len()];
    for drift in [true, false] {
        let mut group: Vec<usize> = (0..test.len())
            .filter(|&i| test[i].subject.drift.is_some() == drift)
            .collect();
        dice.shuffle(&mut group);
        for &index in group.iter().take((2 * group.len()).div_ceil(5)) {
            chosen[index] = true;
        }
    }
    test.iter()
        .zip(chosen)
        .filter(|(_, c)| *c)
        .map(|(i, _)| i)
        .collect()
}

fn write_table<const N: usize>(
    path: &Path,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), SampleError> {
    let mut bytes = Vec::new();
    {
        let mut table = csv::Writer::from_writer(&mut bytes);
        table
            .write_record(header)
            .and_then(|()| {
                rows.into_iter()
                    .try_for_each(|row| table.write_record(&row))
            })
            .map_err(|error| failed(path, io::Error::other(error)))?;
        table.flush().map_err(|source| failed(path, source))?;
    }
    fs::write(path, bytes).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> SampleError {
    SampleError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const SPEC: SampleSpec = SampleSpec {
        train: 14,
        test: 12,
        seed: 5,
    };

    fn make(out: &Path, spec: &SampleSpec) -> SampleSummary {
        write(out, spec, &mut |_, _| true).expect("the sample is written")
    }

    fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = fs::read(&path).expect("a file");
                    found.insert(path.strip_prefix(root).expect("below").to_owned(), bytes);
                }
            }
        }
        found
    }

    fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(path).expect("a table");
        let rows = reader.deserialize::<BTreeMap<String, String>>();
        rows.map(|row| row.expect("a row")).collect()
    }

    #[test]
    fn the_same_spec_gives_the_same_bytes_and_another_seed_other_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        assert_eq!(make(&a, &SPEC), make(&b, &SPEC));
        make(&c, &SampleSpec { seed: 6, ..SPEC });
        let (a, b, c) = (files(&a), files(&b), files(&c));
        assert!(a == b, "two runs differ");
        assert!(a.iter().all(|(path, bytes)| c.get(path) != Some(bytes)));
    }

    #[test]
    fn the_layout_is_the_challenges() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("sample");
        let summary = make(&root, &SPEC);
        assert_eq!(summary.train.iter().map(|c| c.1).sum::<usize>(), 14);
        assert_eq!((summary.test, summary.drift), (12, 4));

        let classes = ClassSet::challenge();
        let train = table(&root.join(TRAIN_TABLE));
        assert_eq!(train.len(), 14);
        for (index, row) in train.iter().enumerate() {
            assert_eq!(row[""], index.to_string());
            let label = classes.parse(&row["Label"]).expect("a known label");
            assert!(
                label.index() < classes.regular_len(),
                "drift in the training set"
            );
            assert!(["2003", "2005"].contains(&row["window"].as_str()));
            let (width, height) =
                image::image_dimensions(root.join(TRAIN_DIR).join(&row["filename"]))
                    .expect("a picture");
            let double = ["Die02", "Die03"].contains(&row["lib"].as_str());
            assert!(width >= if double { 720 } else { 540 });
            assert_eq!(width * 7, height * 6);
        }

        let template = table(&root.join(TEMPLATE_TABLE));
        let (truth, places) = (
            table(&root.join(TRUTH_TABLE)),
            table(&root.join(TEST_TABLE)),
        );
        assert_eq!((template.len(), truth.len(), places.len()), (12, 12, 12));
        for ((row, truth), place) in template.iter().zip(&truth).zip(&places) {
            assert!(row["Label"].parse::<u8>().is_ok_and(|label| label < 7));
            assert_eq!(row["filename"], truth["filename"]);
            assert_eq!(
                (&row["filename"], &row["lib"]),
                (&place["filename"], &place["lib"])
            );
            assert!(root.join(TEST_DIR).join(&row["filename"]).is_file());
            assert_eq!(
                truth["label"] == ClassSet::DRIFT,
                !truth["drift_kind"].is_empty()
            );
        }
        let prepared = table(&root.join(PREPARED_TABLE));
        assert_eq!(prepared.len(), summary.prepared);
        assert!(prepared.iter().any(|row| row["label"] == ClassSet::DRIFT));
        assert!(prepared.iter().any(|row| row["label"] != ClassSet::DRIFT));

        let names: BTreeSet<&String> = train.iter().chain(&truth).map(|r| &r["filename"]).collect();
        assert_eq!(names.len(), 26);
        for name in names {
            let stem = name.strip_suffix(".png").expect("a PNG");
            assert_eq!(stem.len(), 64);
            assert!(stem.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn a_folder_with_files_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("mine.txt"), "mine").expect("a file");
        let error = write(folder.path(), &SPEC, &mut |_, _| true).expect_err("occupied");
        assert!(matches!(error, SampleError::NotEmpty { .. }), "{error}");
        let error =
            write(&folder.path().join("mine.txt"), &SPEC, &mut |_, _| true).expect_err("a file");
        assert!(matches!(error, SampleError::NotAFolder { .. }), "{error}");
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn an_empty_folder_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("empty");
        fs::create_dir(&root).expect("a folder");
        make(
            &root,
            &SampleSpec {
                train: 1,
                test: 0,
                seed: 0,
            },
        );
        assert_eq!(files(&root).len(), 1 + 5);
    }

    #[test]
    fn a_stopped_run_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write(&folder.path().join("sample"), &SPEC, &mut |done, total| {
            assert_eq!((done, total), (14, 26));
            false
        })
        .expect_err("stopped");
        assert!(matches!(
            error,
            SampleError::Stopped {
                done: 14,
                total: 26
            }
        ));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn no_images_are_refused() {
        let spec = SampleSpec {
            train: 0,
            test: 0,
            seed: 0,
        };
        let error = write(Path::new("nowhere"), &spec, &mut |_, _| true).expect_err("nothing");
        assert!(matches!(error, SampleError::NoImages));
    }
}
