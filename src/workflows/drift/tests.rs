use std::fs;

use image::{GrayImage, Luma};
use rand::RngExt;
use tempfile::TempDir;

use super::*;
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
