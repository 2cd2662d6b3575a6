use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use image::{GrayImage, Luma};
use rand::RngExt;
use tempfile::TempDir;

use super::*;
use crate::evaluation::BinaryScores;
use crate::project::DriftChoice;
use crate::training::Plan;
use crate::workflows::{OpenRequest, TrainRequest, find_run, open, train};

const TRAINING: usize = 40;
const INCOMING: usize = 24;
/// The incoming image that is a copy of a training image, and which.
const COPY: (usize, usize) = (TRAINING + 5, 8);

fn picture(bars: bool, seed: u32) -> GrayImage {
    GrayImage::from_fn(32, 32, |x, y| {
        let noise = ((x * 7 + y * 13 + seed * seed * 29 + seed * x) % 31) as u8;
        let bar = bars && (x / 4 + seed).is_multiple_of(2);
        Luma([if bar { 60 } else { 190 } + noise])
    })
}

/// A project of two classes with a trained run, and images without a label of which one is in the training set too.
fn project() -> (TempDir, Snapshot) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut table = "filename,label\n".to_owned();
    for i in 0..TRAINING + INCOMING {
        let bars = i.is_multiple_of(2);
        let name = format!("{i:03}.png");
        let seed = if i == COPY.0 { COPY.1 } else { i };
        let drawn = picture(seed.is_multiple_of(2), seed as u32);
        drawn.save(folder.path().join(&name)).expect("written");
        let label = match (i < TRAINING, bars) {
            (false, _) => "",
            (true, true) => "bars",
            (true, false) => "plain",
        };
        table += &format!("{name},{label}\n");
    }
    let csv = folder.path().join("images.csv");
    fs::write(&csv, table).expect("written");
    let snapshot = open(&OpenRequest::from(csv)).expect("a project").snapshot();
    let request = TrainRequest {
        plan: Plan {
            size: 32,
            epochs: 1,
            ..Plan::default()
        },
        out: None,
        threads: Some(1),
    };
    train(&snapshot, &request, &JobContext::detached(), &mut |_| {}).expect("a run");
    (folder, snapshot)
}

fn prepared(snapshot: &Snapshot) -> Result<DriftSession, WorkflowError> {
    let run = find_run(snapshot, None)?;
    let source = DriftSource::of(snapshot, &run.dir)?;
    prepare_drift(snapshot, &source, &JobContext::detached())
}

/// Incoming images labelled one after the other, every third drift.
fn labels(n: usize) -> Vec<(ImageId, bool)> {
    (0..n)
        .map(|i| (ImageId::from(TRAINING + i), i.is_multiple_of(3)))
        .collect()
}

#[test]
fn a_group_holds_an_incoming_and_a_regular_image() {
    let (_folder, snapshot) = project();
    let session = prepared(&snapshot).expect("a session");
    let (copy, original) = (ImageId::from(COPY.0), ImageId::from(COPY.1));
    assert!(session.groups.together(copy, original));
    assert_eq!(session.grouped(), TRAINING + INCOMING);
    for group in session.groups.all() {
        assert!(group[0].index() >= TRAINING, "one that is looked at");
    }
    // The queue and the cross-validation go on over the candidates alone.
    assert_eq!(session.candidate_groups().len(), INCOMING);
    let result = session.refit(&labels(18), 2);
    assert!(result.quality.is_ok(), "{:?}", result.quality);
    session
        .queue(&labels(18), &[], 5, QUEUE_SEED)
        .expect("a queue");
}

#[test]
fn no_share_of_regular_images_is_all_of_them() {
    let of = |place| ImageScore {
        name: "knn",
        value: 1.0,
        place,
    };
    let told = [0.973, 0.9994, 0.999_99].map(|place| of(place).share());
    assert_eq!(told, ["97.3 %", "99.9 %", "> 99.9 %"]);
}

#[test]
fn a_regular_twin_is_held_out_with_the_image_that_is_judged() {
    const IMAGES: usize = 30;
    const DRIFT: usize = 3;
    let mut session = made_session(IMAGES).expect("made");
    let dim = session.space.dim();
    let rows = session.features.len() / dim;
    let twin = IMAGES + 5;
    // The twin of a drift image among the regular ones, in features and in what near-duplicates are found by.
    let drift = session.features[DRIFT * dim..][..dim].to_vec();
    session.features[twin * dim..][..dim].copy_from_slice(&drift);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut seen: Vec<f32> = (0..rows * 24)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    seen.copy_within(DRIFT * 24..(DRIFT + 1) * 24, twin * 24);
    let view = EmbeddingView::new(&seen, 24).expect("whole rows");
    session.duplicates = DuplicateGroups::find(view).expect("numbers");
    assert_eq!(session.duplicates.ids()[twin], DRIFT);

    let labelled: Vec<(ImageId, bool)> = (0..IMAGES).map(|i| (ImageId::from(i), i < 6)).collect();
    let image = [ImageId::from(DRIFT)];
    let held_out = session.held_out(&labelled, &image).expect("a head");
    let mut known = session.labelled(&labelled);
    known[DRIFT] = None;
    let told = session.judge(&known, &[DRIFT], &[]).expect("a head");
    assert!(
        held_out[0] > told[0],
        "its twin calls it regular: {held_out:?} {told:?}"
    );
    // It is as if the twin were not there.
    let other = session
        .judge(&known, &[DRIFT], &[DRIFT + 1])
        .expect("a head");
    assert_eq!(other, told, "another image's fold keeps it");
    session.features.drain(twin * dim..(twin + 1) * dim);
    seen.drain(twin * 24..(twin + 1) * 24);
    let view = EmbeddingView::new(&seen, 24).expect("whole rows");
    session.duplicates = DuplicateGroups::find(view).expect("numbers");
    let without = session.judge(&known, &[DRIFT], &[]).expect("a head");
    assert_eq!(held_out, without);
}

/// Changes every remembered embedding, given its place in the file and its numbers.
fn tamper(snapshot: &Snapshot, mut change: impl FnMut(usize, &mut [f32])) {
    let entries = fs::read_dir(snapshot.cache()).expect("a cache").flatten();
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("embeddings-") && name.ends_with(".bin")
    };
    for path in entries.map(|entry| entry.path()).filter(named) {
        let keys = fs::read(path.with_extension("keys")).expect("keys");
        let len = u64::from_le_bytes(keys[8..16].try_into().expect("a length"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("records");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("records");
        for (at, record) in bytes.chunks_exact_mut(len as usize).enumerate() {
            let (floats, _) = record.as_chunks::<4>();
            let mut values: Vec<f32> = floats.iter().map(|b| f32::from_le_bytes(*b)).collect();
            change(at, &mut values);
            for (place, value) in record.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *place = value.to_le_bytes();
            }
        }
        file.seek(SeekFrom::Start(0)).expect("the start");
        file.write_all(&bytes).expect("written");
    }
}

#[test]
fn remembered_embeddings_that_are_no_numbers_are_made_again() {
    let (_folder, snapshot) = project();
    let whole = prepared(&snapshot).expect("a session");
    let mut changed = 0;
    tamper(&snapshot, |at, values| {
        let last = values.len() - 1;
        match at % 8 {
            1 => values[3] = f32::NAN,
            4 => values[0] = f32::INFINITY,
            6 => values[last] = f32::NEG_INFINITY,
            _ => return,
        }
        changed += 1;
    });
    assert!(changed > 20, "{changed}");
    let mended = prepared(&snapshot).expect("a session");
    assert!(mended.failed.is_empty(), "{:?}", mended.failed);
    assert_eq!(mended.images, whole.images);
    for image in &whole.images {
        let [a, b] = [&whole, &mended].map(|s| s.prediction(*image).expect("an answer"));
        for (a, b) in a.probabilities.iter().zip(&b.probabilities) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
    let result = mended.refit(&labels(18), 2);
    assert!(result.quality.is_ok(), "{:?}", result.quality);
    let finite = |score: &DriftScore| score.probability.is_some_and(f32::is_finite);
    assert!(result.scores.iter().all(finite));
}

#[test]
fn a_network_whose_answers_are_no_numbers_is_refused_by_name() {
    let (_folder, snapshot) = project();
    let run = find_run(&snapshot, None).expect("a run");
    let file = run.dir.join("model.safetensors");
    let mut bytes = fs::read(&file).expect("weights");
    let (length, _) = bytes.split_first_chunk::<8>().expect("a header");
    let values = 8 + u64::from_le_bytes(*length) as usize;
    // All finite, but layer after layer they lead out of what a number can hold.
    for value in bytes[values..].as_chunks_mut::<4>().0 {
        *value = (f32::from_le_bytes(*value) * 1e20).to_le_bytes();
    }
    fs::write(&file, bytes).expect("written");
    let refused = prepared(&snapshot).err().expect("no numbers").to_string();
    assert!(refused.contains("of the 24 images can be used; the first says: cnn03 makes of 040.png what is no finite number"), "{refused}");
}

#[test]
fn embeddings_that_tell_nothing_are_a_sentence_and_constant_numbers_no_matter() {
    let (_folder, snapshot) = project();
    prepared(&snapshot).expect("a session");
    // Some numbers say the same of every image.
    tamper(&snapshot, |_, values| values[..4].fill(0.5));
    let session = prepared(&snapshot).expect("a session");
    let result = session.refit(&labels(18), 2);
    assert!(result.quality.is_ok(), "{:?}", result.quality);
    // All of them.
    tamper(&snapshot, |_, values| values.fill(0.5));
    let refused = prepared(&snapshot).err().expect("nothing to tell apart");
    assert!(
        refused
            .to_string()
            .contains("embeddings of all images are the same"),
        "{refused}"
    );
    // Whoever deletes the cache, as is always allowed, is where he was.
    fs::remove_dir_all(snapshot.cache()).expect("removed");
    assert_eq!(
        prepared(&snapshot).expect("a session").images.len(),
        INCOMING
    );
}

#[test]
fn labels_that_teach_nothing_leave_the_ranking_and_say_what_is_missing() {
    let (_folder, snapshot) = project();
    let session = prepared(&snapshot).expect("a session");
    assert!(
        session.space.dim() > 0 && session.grouped() < 128,
        "fewer images than numbers of an embedding"
    );
    let image = |i: usize| ImageId::from(TRAINING + i);
    let cases = [
        vec![(image(0), true)],
        vec![(image(0), false)],
        (0..9).map(|i| (image(i), true)).collect(),
        (0..9).map(|i| (image(i), false)).collect(),
        // Those that are no candidates are passed over.
        vec![(ImageId::from(0), true), (ImageId::from(1), false)],
    ];
    for labels in cases {
        let result = session.refit(&labels, 2);
        let why = result.head_problem.expect("a sentence");
        assert!(why.contains("label"), "{why}");
        let unproven = result.quality.expect_err("nothing to measure");
        assert!(unproven.contains("label"), "{unproven}");
        assert_eq!(result.scores.len(), INCOMING);
        assert!(result.scores.iter().all(|s| s.anomaly.is_finite()));
        let queue = session.queue(&labels, &[], 5, QUEUE_SEED);
        assert_eq!(queue.expect("a queue").len(), 5);
    }
}

#[test]
fn images_that_went_after_they_were_embedded_are_named_and_left_out() {
    let (folder, snapshot) = project();
    prepared(&snapshot).expect("a session");
    let gone = TRAINING + 2;
    for image in [gone, 3] {
        fs::remove_file(folder.path().join(format!("{image:03}.png"))).expect("removed");
    }
    let session = prepared(&snapshot).expect("the rest");
    assert_eq!(session.images.len(), INCOMING - 1);
    let why = session.left_out().expect("a sentence");
    assert!(why.contains("042.png"), "{why}");
    let result = session.refit(&labels(18), 2);
    assert_eq!((result.n_drift, result.n_regular), (6, 11));
    assert!(
        result
            .scores
            .iter()
            .all(|score| score.image.index() != gone)
    );
    // All that it is compared with.
    for image in (0..TRAINING).filter(|image| *image != 3) {
        fs::remove_file(folder.path().join(format!("{image:03}.png"))).expect("removed");
    }
    let refused = prepared(&snapshot).err().expect("nothing to compare with");
    assert!(refused.to_string().contains(".png"), "{refused}");
}

#[test]
fn spoiled_regular_images_teach_what_nobody_has_labelled() {
    let (folder, _) = project();
    let covered = TRAINING + 10;
    let mut spoiled = picture(true, covered as u32);
    for at in 0..100 {
        spoiled.put_pixel(12 + at % 10, 8 + at / 10, Luma([0]));
    }
    let file = folder.path().join(format!("{covered:03}.png"));
    spoiled.save(file).expect("written");
    let csv = folder.path().join("images.csv");
    let mut snapshot = open(&OpenRequest::from(csv)).expect("again").snapshot();
    let without = prepared(&snapshot).expect("a session");
    assert!(without.outliers.is_empty());
    snapshot.choose(DriftChoice::SyntheticOutliers(true));
    let with = prepared(&snapshot).expect("a session");
    assert_eq!(with.outliers.len(), TRAINING * with.space.dim());
    let remembered = prepared(&snapshot).expect("a session");
    assert_eq!(remembered.outliers, with.outliers);
    // They change the head and nothing else.
    assert_eq!(with.features, without.features);
    let labels = labels(9);
    let probability = |session: &DriftSession| {
        let image = ImageId::from(covered);
        session.probability(&labels, image).expect("a head")
    };
    assert!(
        probability(&with) > probability(&without),
        "{} {}",
        probability(&with),
        probability(&without)
    );
    let none = with.refit(&[], 1);
    assert!(none.head_problem.is_some(), "they are no labels");
    assert!(with.refit(&labels, 1).quality.is_ok());
}

#[test]
fn tiles_of_the_strip_are_one_more_score_where_every_die_is_known() {
    let (folder, _) = project();
    let csv = folder.path().join("images.csv");
    let text = fs::read_to_string(&csv).expect("there");
    let with_dies = |known: usize| {
        let rows = text.lines().skip(1).enumerate();
        let rows = rows.map(|(i, row)| format!("{row},{}\n", if i < known { "Die04" } else { "" }));
        let table = "filename,label,lib\n".to_owned() + &rows.collect::<String>();
        fs::write(&csv, table).expect("written");
        let mut snapshot = open(&OpenRequest::from(csv.clone()))
            .expect("again")
            .snapshot();
        snapshot.choose(DriftChoice::StripTiles(true));
        snapshot
    };
    let mut snapshot = with_dies(TRAINING + INCOMING);
    let with = prepared(&snapshot).expect("a session");
    let tile = |session: &DriftSession| {
        let scores = session.pool.scores.iter().find(|s| s.name == "oddest tile");
        scores.map(|s| s.values.clone())
    };
    let values = tile(&with).expect("scored");
    assert!(values.iter().any(|v| *v != values[0]), "{values:?}");
    // The same again, and beside spoiled images, whose strip is not looked at.
    snapshot.choose(DriftChoice::SyntheticOutliers(true));
    let again = prepared(&snapshot).expect("a session");
    assert_eq!(tile(&again), Some(values));
    assert!(!again.outliers.is_empty());
    snapshot.choose(DriftChoice::StripTiles(false));
    let without = prepared(&snapshot).expect("a session");
    assert_eq!(tile(&without), None);
    assert_eq!(without.space.dim() + 1, with.space.dim());
    let refused = prepared(&with_dies(TRAINING)).err().expect("no die");
    let text = refused.to_string();
    assert!(
        text.contains("24 of 64") && text.contains("040.png"),
        "{text}"
    );
}

#[test]
fn the_queue_tells_the_share_of_regular_images_that_lie_less_far_out() {
    let (_folder, snapshot) = project();
    let session = prepared(&snapshot).expect("a session");
    let queue = session.queue(&[], &[], INCOMING, 1).expect("a queue");
    let mut told = 0;
    for (image, reason) in queue {
        if let Reason::Anomalous { place, .. } = reason {
            let row = session.rows[&image];
            let places = session.pool.scores.iter().map(|s| s.places[row]);
            assert!(places.into_iter().any(|p| p == place), "{place}");
            told += 1;
        }
    }
    assert!(told > 0);
}

#[test]
fn what_a_gate_calls_spoiled_is_shown_until_there_is_a_head() {
    let (folder, _) = project();
    let white = TRAINING + 7;
    let file = folder.path().join(format!("{white:03}.png"));
    let blank = GrayImage::from_pixel(32, 32, Luma([255]));
    blank.save(file).expect("written");
    let table = folder.path().join("images.csv");
    let snapshot = open(&OpenRequest::from(table))
        .expect("a project")
        .snapshot();
    let session = prepared(&snapshot).expect("a session");
    let labels = vec![None; session.images.len()];
    let state = |heads| QueueState {
        space: &session.space,
        pool: &session.pool,
        labels: &labels,
        repeated: &[],
        groups: &[],
        heads,
    };
    let spoiled = |heads| -> Vec<(ImageId, &str)> {
        let state: QueueState<'_> = state(heads);
        let told = state.gates().map(|(gate, values)| {
            let rows = (0..values.len()).filter(|row| values[*row].is_finite());
            let found: Vec<_> = rows.map(|row| (session.images[row], gate.name)).collect();
            found
        });
        told.flatten().collect()
    };
    let white = ImageId::from(white);
    let told = spoiled(&[]);
    let saturated = told.iter().filter(|(_, gate)| *gate == "saturation");
    // No other picture has a pixel of that brightness; others may be softer than the regular ones, as it is.
    assert_eq!(saturated.collect::<Vec<_>>(), [&(white, "saturation")]);
    assert!(told.contains(&(white, "blur")), "{told:?}");
    assert!(told.len() < 4, "{told:?}");
    assert_eq!(spoiled(&[&[0.5; INCOMING]]), []);
    let first = session.queue(&[], &[], 8, 1).expect("a queue");
    assert!(first.iter().any(|(image, _)| *image == white));
}

#[test]
fn the_queue_hears_two_heads() {
    let (_folder, snapshot) = project();
    let session = prepared(&snapshot).expect("a session");
    let labels = labels(6);
    let opinions = session.opinions(&session.labelled(&labels)).expect("heads");
    assert_eq!(opinions.len(), 2);
    assert_ne!(opinions[0], opinions[1]);
    let queue = session.queue(&labels, &[], INCOMING, 1).expect("a queue");
    let disagree = queue.iter().find_map(|(image, reason)| match reason {
        Reason::HeadsDisagree { first, second } => Some((session.rows[image], *first, *second)),
        _ => None,
    });
    let (row, first, second) = disagree.expect("some image is shown for it");
    assert_eq!((opinions[0][row], opinions[1][row]), (first, second));
}

#[test]
fn without_incoming_images_the_regular_ones_are_not_their_own_neighbours() {
    let (folder, _) = project();
    let table = folder.path().join("images.csv");
    let text = fs::read_to_string(&table).expect("there");
    let labelled: Vec<&str> = text.lines().take(1 + TRAINING).collect();
    fs::write(&table, labelled.join("\n")).expect("written");
    let snapshot = open(&OpenRequest::from(table))
        .expect("a project")
        .snapshot();
    let session = prepared(&snapshot).expect("a session");
    assert_eq!(session.images.len(), TRAINING);
    let nearest = session.pool.scores.iter().find(|s| s.name == "knn");
    let mut places = nearest.expect("scored").places.clone();
    places.sort_by(f64::total_cmp);
    // They lie among each other as they are, not all at the low end.
    assert!(places[TRAINING / 2] > 0.2, "{places:?}");
    assert!(
        session
            .pool
            .listed
            .iter()
            .all(|s| s.name != DriftSpace::DENSITY)
    );
}

/// Labels of the first `n` images of a made session, the share `rate` of them drift whatever they look like.
fn meaningless(n: usize, rate: f64, seed: u64) -> Vec<(ImageId, bool)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let label = |i| (ImageId::from(i), rng.random_bool(rate));
    (0..n).map(label).collect()
}

#[test]
fn labels_that_mean_nothing_are_as_good_as_chance_out_of_fold() {
    let session = made_session(200).expect("made");
    let mut aucs = Vec::new();
    for seed in 0..4 {
        let labels = meaningless(120, 0.4, seed);
        let result = session.refit(&labels, 1);
        let quality = result.quality.expect("both kinds");
        aucs.push(quality.roc_auc.mean);
        // The head itself has learned them by heart, so that one that judged its own examples would shine.
        let labelled = session.labelled(&labels);
        let own = session.fit_head(&labelled).expect("fitted");
        let drift: Vec<bool> = labels.iter().map(|(_, drift)| *drift).collect();
        let own = BinaryScores::new(&own[..120], &drift).expect("both kinds");
        let own = own.roc_auc().expect("both kinds");
        assert!(own > 0.7, "{own}");
        // And what is shown of labelled images is what those say that have not seen their label.
        let shown = |image: ImageId| result.scores.iter().find(|s| s.image == image);
        for (image, _) in &labels {
            let shown = shown(*image).and_then(|s| s.probability);
            assert_eq!(shown, quality.out_of_fold[image.index()], "{image:?}");
        }
    }
    let mean = aucs.iter().sum::<f64>() / aucs.len() as f64;
    assert!((0.35..0.65).contains(&mean), "a label leaked: {aucs:?}");
}

#[test]
fn labels_that_mean_something_are_learned_out_of_fold() {
    let mut session = made_session(200).expect("made");
    let dim = session.space.dim();
    // Each sixth image lies elsewhere along one of the components.
    let drift = |i: usize| i.is_multiple_of(6);
    for row in (0..200).filter(|row| drift(*row)) {
        session.features[row * dim + dim - 1] += 4.0;
    }
    let labels: Vec<_> = (0..120).map(|i| (ImageId::from(i), drift(i))).collect();
    let result = session.refit(&labels, 2);
    let quality = result.quality.expect("both kinds");
    assert_eq!((quality.n_drift, quality.n_regular), (20, 100));
    assert!(quality.roc_auc.lo > 0.8, "{:?}", quality.roc_auc);
    assert_eq!(quality.out_of_fold[150], None);
    // It holds for images that nobody has labelled, too.
    let found = |s: &&DriftScore| s.image.index() >= 120 && s.probability > Some(0.5);
    let right = result
        .scores
        .iter()
        .filter(found)
        .filter(|s| drift(s.image.index()));
    assert!(right.count() >= 10);
}
