//! A training that is interrupted and resumed is the training that was never interrupted, to the last bit. A process
//! of its own, one test at a time: dropout draws from libtorch's one generator.
#![cfg(feature = "torch")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use driftscope::domain::{ClassId, CostMatrix, ImageId};
use driftscope::imaging::Augmentation;
use driftscope::jobs::{Control, JobContext, StopReason};
use driftscope::models::{Device, Model, set_threads};
use driftscope::training::{
    Checkpoint, Checkpoints, EpochMetrics, Example, Fitted, Monitor, Phase, PixelSource, Plan,
    Sampler, Schedule, TrainData, TrainError, TrainEvent, fit, free_space, resume,
};

/// One test at a time, and one thread within it.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(1);
    guard
}

/// Images that are learned from; those after them are only answered.
const LEARNED: usize = 32;

/// Something to be done once so many images were learned from or answered.
struct Then {
    images: usize,
    batch: usize,
    what: Box<dyn FnOnce() + Send>,
}

/// Stripes, upright in every second image and level in the others, with noise. What `at` says is done when
/// it is time.
struct Pictures {
    images: Vec<Vec<u8>>,
    /// Since `at` was set.
    read: AtomicUsize,
    at: Mutex<Option<Then>>,
}

impl Pictures {
    fn new(n: usize, side: u32) -> Self {
        let side = side as usize;
        let image = |i: usize| {
            let value = |p: usize| {
                let (x, y) = (p % side, p / side);
                let along = if i.is_multiple_of(2) { x } else { y };
                let noise = (p * 31 + i * 17) % 83;
                let bright = (along / 4).is_multiple_of(2);
                (if bright { 140 } else { 60 }) + noise as u8
            };
            (0..side * side).map(value).collect()
        };
        Self {
            images: (0..n).map(image).collect(),
            read: AtomicUsize::new(0),
            at: Mutex::new(None),
        }
    }

    /// From the start of a batch on: `what` is done in the step that learns from the last of the next `images`, or
    /// when the last of them is read to be answered.
    fn after(&self, images: usize, batch: usize, what: impl FnOnce() + Send + 'static) {
        let what = Box::new(what);
        *self.at.lock().unwrap() = Some(Then {
            images,
            batch,
            what,
        });
        self.read.store(0, Ordering::SeqCst);
    }
}

impl PixelSource for Pictures {
    fn pixels(&self, image: ImageId) -> &[u8] {
        let earlier = self.read.fetch_add(1, Ordering::SeqCst);
        let mut at = self.at.lock().unwrap();
        let is_time = at.as_ref().is_some_and(|then| {
            // A batch is read while the one before it is learned from: its own images do not count yet.
            let done = if image.index() < LEARNED {
                earlier / then.batch * then.batch
            } else {
                earlier + 1
            };
            done >= then.images
        });
        if is_time {
            (at.take().unwrap().what)();
        }
        &self.images[image.index()]
    }
}

/// 32 images to learn from, 16 to validate, 16 to test.
fn data<'a>(pictures: &'a Pictures, checkpoints: Option<&Path>) -> TrainData<'a> {
    let examples: Vec<Example> = (0..64)
        .map(|i| Example {
            image: ImageId::from(i),
            class: ClassId::from(i % 2),
        })
        .collect();
    TrainData {
        pixels: pictures,
        classes: vec!["upright".into(), "level".into()],
        train: examples[..LEARNED].to_vec(),
        validation: examples[LEARNED..48].to_vec(),
        test: examples[48..].to_vec(),
        cache: None,
        // As often as it can.
        checkpoints: checkpoints.map(|folder| Checkpoints {
            folder: folder.to_owned(),
            share: 1.0,
        }),
    }
}

fn cost() -> CostMatrix {
    CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).unwrap()
}

/// All that came out of a training but the time it took.
#[derive(Debug, PartialEq)]
struct Outcome {
    weights: Vec<u8>,
    history: Vec<String>,
    best_epoch: usize,
    reason: String,
    answers: Vec<Vec<u32>>,
    report: String,
    temperature: Option<u64>,
}

impl Outcome {
    fn of(fitted: &Fitted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fitted.model.save(&path).unwrap();
        let answers = [&fitted.train, &fitted.validation, &fitted.test];
        let bits = |p: &driftscope::domain::Prediction| {
            let values = p.probabilities.iter();
            values.map(|v| v.to_bits()).collect()
        };
        Self {
            weights: fs::read(path).unwrap(),
            history: fitted.history.iter().map(line).collect(),
            best_epoch: fitted.best_epoch,
            reason: fitted.reason.clone(),
            answers: answers.into_iter().flatten().map(bits).collect(),
            report: serde_json::to_string(&fitted.report).unwrap(),
            temperature: fitted.temperature.map(f64::to_bits),
        }
    }

    /// Says what differs, without megabytes of weights.
    fn assert_is(&self, other: &Self, when: &str) {
        assert_eq!(self.history, other.history, "{when}");
        assert!(self.weights == other.weights, "other weights: {when}");
        assert!(self == other, "other answers: {when}");
    }
}

fn line(epoch: &EpochMetrics) -> String {
    let mut epoch = epoch.clone();
    (epoch.seconds, epoch.train_seconds) = (0.0, 0.0);
    serde_json::to_string(&epoch).unwrap()
}

fn uninterrupted(plan: &Plan) -> Outcome {
    let pictures = Pictures::new(64, plan.size);
    let data = data(&pictures, None);
    let fitted = fit(plan, &data, &cost(), &JobContext::detached(), &mut |_| {}).unwrap();
    Outcome::of(&fitted)
}

/// Goes on with what is in `folder`, or begins; the program "closes" after `images` more, see [`Pictures::after`].
fn sitting(
    plan: &Plan,
    folder: &Path,
    pictures: &Pictures,
    images: usize,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<Fitted, TrainError> {
    let context = JobContext::detached();
    let control = context.control.clone();
    pictures.after(images, plan.batch, move || {
        control.stop(StopReason::Closing);
    });
    let data = data(pictures, Some(folder));
    match Checkpoint::read(folder).unwrap() {
        None => fit(plan, &data, &cost(), &context, emit),
        Some(from) => resume(plan, &data, &cost(), from, &context, emit),
    }
}

/// The same, interrupted again and again, each time after so many images, and the number of sittings.
fn interrupted(plan: &Plan, images: usize) -> (Outcome, usize) {
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::new(64, plan.size);
    for sittings in 1..1000 {
        // The end, which reads the test and training splits, is not to be interrupted for ever.
        let images = if sittings > 200 {
            usize::MAX / 2
        } else {
            images
        };
        match sitting(plan, folder.path(), &pictures, images, &mut |_| {}) {
            Ok(fitted) => return (Outcome::of(&fitted), sittings),
            Err(TrainError::Cancelled) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never ends");
}

/// Everything a small network can be trained with.
fn with_everything() -> Plan {
    Plan {
        size: 32,
        batch: 8,
        epochs: 3,
        patience: 2,
        monitor: Monitor::ValMacroF1,
        ema_decay: 0.9,
        warmup_epochs: 1.5,
        schedule: Schedule::Cosine,
        label_smoothing: 0.05,
        augmentation: Augmentation::study(),
        phases: vec![
            Phase::of("all"),
            Phase {
                sampler: Some(Sampler::ClassBalanced),
                reset_head: true,
                learning_rate: Some(0.05),
                // Any loss is a lower score than any F1: the best of the first phase is not to be beaten.
                monitor: Some(Monitor::ValLoss),
                ..Phase::of("head")
            },
        ],
        ..Plan::default()
    }
}

#[test]
fn a_small_network_stopped_after_every_single_step_ends_as_if_it_never_was() {
    let _alone = alone();
    let fused = Plan {
        ema_decay: 0.0,
        phases: Vec::new(),
        ..with_everything()
    };
    let clipped = Plan {
        gradient_clip: 0.5,
        ..with_everything()
    };
    for plan in [with_everything(), fused, clipped] {
        let whole = uninterrupted(&plan);
        // A batch is 8 images: the first sitting ends after its first step, others in the midst of the next.
        for images in [1, 20, 50] {
            let (pieces, sittings) = interrupted(&plan, images);
            pieces.assert_is(&whole, &format!("{sittings} sittings of {images} images"));
            let least = if images == 1 { 12 } else { 3 };
            assert!(sittings >= least, "only {sittings} sittings");
        }
        // Another seed is another training: the comparison can fail.
        let other = Plan { seed: 43, ..plan };
        assert_ne!(uninterrupted(&other).weights, whole.weights);
    }
}

#[test]
fn phases_on_frozen_layers_with_dropout_and_batch_norm_go_on_exactly() {
    let _alone = alone();
    // A training takes no more than half of what is free, and its state is 0.3 GB here.
    let free = free_space(tempfile::tempdir().unwrap().path());
    if free < 1_000_000_000 {
        eprintln!(
            "skipped: 1 GB is needed for temporary files, {} MB are free",
            free / 1_000_000
        );
        return;
    }
    let plan = Plan {
        model: "inception_v3".into(),
        size: 76,
        batch: 16,
        learning_rate: 1e-3,
        epochs: 2,
        ema_decay: 0.5,
        phases: vec![Phase::of("head"), Phase::of("last_30")],
        ..Plan::default()
    };
    let whole = uninterrupted(&plan);
    // An epoch reads 32 images in two steps and 16 to validate: it stops between two steps and between two epochs.
    let (pieces, sittings) = interrupted(&plan, 50);
    assert!(sittings >= 4, "only {sittings} sittings");
    pieces.assert_is(&whole, "frozen layers that run every epoch");

    // Kept activations, of images changed at random: the variants that are kept must stay the same ones.
    let plan = Plan {
        augmentation: Augmentation::study(),
        ..plan
    };
    let cached = |stop: bool| {
        let folder = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let pictures = Pictures::new(64, plan.size);
        let mut notes = Vec::new();
        for sittings in 1..20 {
            let data = TrainData {
                cache: Some(cache.path().to_owned()),
                ..data(&pictures, Some(folder.path()))
            };
            let context = JobContext::detached();
            let control = context.control.clone();
            let mut kept = false;
            let mut emit = |event: TrainEvent| match event {
                TrainEvent::Epoch(_) if stop => control.stop(StopReason::Closing),
                TrainEvent::Phase(part) => kept = part.cache.is_some_and(|c| c.used),
                TrainEvent::Note(note) => notes.push(note),
                _ => {}
            };
            let ended = match Checkpoint::read(folder.path()).unwrap() {
                None => fit(&plan, &data, &cost(), &context, &mut emit),
                Some(from) => resume(&plan, &data, &cost(), from, &context, &mut emit),
            };
            assert!(kept, "activations were to be kept");
            match ended {
                Ok(fitted) => return (Outcome::of(&fitted), sittings),
                Err(TrainError::Cancelled) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it never ends: {notes:?}");
    };
    let (whole, once) = cached(false);
    let (pieces, sittings) = cached(true);
    assert!(once == 1 && sittings == 5, "{sittings} sittings");
    pieces.assert_is(&whole, "kept activations");
}

#[test]
fn a_pause_holds_in_the_midst_of_an_epoch_and_changes_nothing() {
    let _alone = alone();
    let plan = with_everything();
    let whole = uninterrupted(&plan);
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::new(64, plan.size);
    let context = JobContext::detached();
    // In the second step of the second epoch.
    let (pausing, watched) = (context.control.clone(), context.clone());
    pictures.after(32 + 16 + 12, plan.batch, move || pausing.set_paused(true));
    let place = folder.path().to_owned();
    let watcher = thread::Builder::new().name("watcher".into());
    let watcher = watcher.spawn(move || {
        let control: &Control = &watched.control;
        while !control.is_paused() {
            thread::sleep(Duration::from_millis(1));
        }
        // The step that runs is still taken, and then the state is written down.
        while Checkpoint::progress(&place).is_none_or(|p| p.steps == 0) {
            thread::sleep(Duration::from_millis(1));
        }
        let before = watched.progress.get().done;
        thread::sleep(Duration::from_millis(150));
        let held = watched.progress.get().done == before;
        control.set_paused(false);
        (held, before)
    });
    let watcher = watcher.unwrap();
    let data = data(&pictures, Some(folder.path()));
    let fitted = fit(&plan, &data, &cost(), &context, &mut |_| {}).unwrap();
    assert_eq!(watcher.join().unwrap(), (true, 6), "held after 4 + 2 steps");
    Outcome::of(&fitted).assert_is(&whole, "paused");
}

#[test]
fn what_is_told_of_a_resumed_training_is_where_it_goes_on() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::new(64, 32);
    let plan = Plan {
        augmentation: Augmentation::default(),
        ..with_everything()
    };
    // An epoch is 32 images and 16 to validate; the tenth step ends in the third epoch.
    let ended = sitting(&plan, folder.path(), &pictures, 2 * 48 + 9, &mut |_| {});
    assert!(matches!(ended, Err(TrainError::Cancelled)));
    let progress = Checkpoint::progress(folder.path()).unwrap();
    assert_eq!((progress.epochs, progress.steps), (2, 2));
    let mut told = Vec::new();
    let fitted = sitting(&plan, folder.path(), &pictures, 9999, &mut |event| {
        told.push(match event {
            TrainEvent::Started { .. } => "started".to_owned(),
            TrainEvent::Phase(part) => format!("phase {} at {}", part.phase, part.epochs_before),
            TrainEvent::Resumed {
                epoch,
                step,
                history,
                ..
            } => format!("resumed {epoch} {step} {}", history.len()),
            TrainEvent::Epoch(metrics) => format!("epoch {}", metrics.epoch),
            TrainEvent::Finished { .. } => "finished".to_owned(),
            TrainEvent::Note(sentence) => sentence,
            TrainEvent::Step { .. } | TrainEvent::Kept { .. } => return,
        });
    });
    let n = fitted.unwrap().history.len();
    assert_eq!(
        told[..4],
        ["started", "phase 1 at 0", "resumed 3 2 2", "epoch 3"]
    );
    assert_eq!(told[4], "phase 2 at 3");
    assert_eq!(told.last().unwrap(), "finished");
    assert_eq!(told.len(), 4 + 1 + (n - 3) + 1, "{told:?}");

    // The state of another plan is refused.
    let other = Plan { seed: 1, ..plan };
    let from = Checkpoint::read(folder.path()).unwrap().unwrap();
    let data = data(&pictures, None);
    let context = JobContext::detached();
    let refused = resume(&other, &data, &cost(), from, &context, &mut |_| {});
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("another plan"), "{refused}");
}

#[test]
fn a_loss_that_is_no_number_leaves_the_last_good_state_behind() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::new(64, 32);
    // No plan may say so. One step an epoch: the first of the second phase ruins the weights, the epoch ends, and the
    // loss of the next shows it.
    let plan = Plan {
        size: 32,
        batch: 32,
        epochs: 2,
        phases: vec![
            Phase::of("all"),
            Phase {
                learning_rate: Some(1e30),
                ..Phase::of("all")
            },
        ],
        ..Plan::default()
    };
    let data = data(&pictures, Some(folder.path()));
    let mut epochs = 0;
    let exploded = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
        epochs += usize::from(matches!(e, TrainEvent::Epoch(_)));
    });
    let error = exploded.err().unwrap();
    let at = matches!(
        error,
        TrainError::NotFinite {
            epoch: 4,
            step: 1,
            ..
        }
    );
    assert!(at && epochs == 3, "{error} after {epochs} epochs");
    let kept = Checkpoint::read(folder.path()).unwrap().unwrap();
    assert_eq!(
        kept.history().len(),
        2,
        "the state before the step that ruined it"
    );
    // Weights that are not finite would be refused.
    let best = Checkpoint::best_weights(folder.path()).unwrap();
    Model::load("cnn03", 32, 2, &best, Device::Cpu).unwrap();
    // It goes on from there, to the same end.
    let context = JobContext::detached();
    let again = resume(&plan, &data, &cost(), kept, &context, &mut |_| {});
    assert!(matches!(
        again,
        Err(TrainError::NotFinite {
            epoch: 4,
            step: 1,
            ..
        })
    ));
}
