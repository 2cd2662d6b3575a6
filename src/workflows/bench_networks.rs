//! `bench train`, `bench infer` and `bench checkpoint`: steps of the trainer itself, answers of the networks, and
//! writing down the state of a training, at the study's size. Training reads pixels of noise: what it costs depends
//! neither on the pixels nor on the weights. Answers are given to the images of the data set, from the pixel cache.

use std::path::Path;
use std::time::Instant;

use crate::domain::ImageId;
use crate::imaging::{Framing, PixelCache};
use crate::inference::answers;
use crate::jobs::{JobContext, StopReason};
use crate::models::{Model, Precision, best_device, stack};
use crate::project::Snapshot;
use crate::storage::create_dir;
use crate::training::{
    Checkpoint, Checkpoints, Monitor, Phase, Plan, TrainData, TrainError, TrainEvent, fit,
};

use super::embed::wanted;
use super::noise::{CLASSES, IMAGES, Noise, classes, cost, example};
use super::scan::contents;
use super::{Figure, WorkflowError};

const MODELS: [&str; 3] = ["cnn01", "cnn02", "cnn03"];
/// Side of the study's images, pixels.
const SIZE: u32 = 299;
const BATCH: usize = 32;
/// Looks at the clock that are not counted, and then those that are.
const WARM_UP: usize = 4;
const MEASURED: usize = 20;
/// Images of an epoch of InceptionV3 on kept activations.
const PHASE_IMAGES: usize = 320;
const INFERENCE_BATCH: usize = 16;
const INFERENCE_ROUNDS: usize = 4;
/// Times that the state of a training is written down, the first of which is not counted.
const WRITTEN: usize = 6;

/// Training steps of each small network, reading pixels and keeping the books included.
pub(super) fn train(place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let pixels = Noise::new(SIZE);
    let mut figures = Vec::new();
    for (done, model) in MODELS.into_iter().enumerate() {
        if context.should_stop() {
            return Err(WorkflowError::Cancelled);
        }
        let what = format!("train {model}");
        context.report(done as u64, MODELS.len() as u64, &what);
        let step_ms = steps(model, &pixels)?;
        let best = step_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let figure = Figure::times(&what, step_ms);
        let rate = |ms: f64| BATCH as f64 * 1000.0 / ms;
        figures.push(Figure {
            images_per_s: figure.median_ms.map(rate),
            best_images_per_s: Some(rate(best)),
            ..figure
        });
    }
    for part in ["head", "last_30", "last_100"] {
        if context.should_stop() {
            return Err(WorkflowError::Cancelled);
        }
        let what = format!("train inception_v3 {}", part.replace('_', ""));
        context.report(MODELS.len() as u64, MODELS.len() as u64, &what);
        let (mut rates, pass) = epochs(part, &pixels, place, context)?;
        rates.sort_by(f64::total_cmp);
        figures.push(Figure {
            images_per_s: rates.get(rates.len() / 2).copied(),
            best_images_per_s: rates.last().copied(),
            ..Figure::count(&what, PHASE_IMAGES * rates.len())
        });
        if pass.is_some() {
            figures.push(Figure {
                images_per_s: pass,
                // Those that differ, and the one that is measured on is among them.
                ..Figure::count(&format!("{what}, frozen layers once"), IMAGES)
            });
        }
    }
    Ok(figures)
}

/// Images per second of whole epochs of one part of InceptionV3 on kept activations, of which the first is a warm-up
/// and left out; and of the pass that fills the cache.
fn epochs(
    part: &str,
    pixels: &Noise,
    place: &Path,
    context: &JobContext,
) -> Result<(Vec<f64>, Option<f64>), WorkflowError> {
    let data = TrainData {
        pixels,
        classes: classes(),
        train: (0..PHASE_IMAGES).map(|i| example(i % IMAGES)).collect(),
        validation: vec![example(0)],
        test: vec![example(0)],
        cache: Some(place.join("activations")),
        checkpoints: None,
    };
    let plan = Plan {
        model: "inception_v3".to_owned(),
        size: SIZE,
        batch: BATCH,
        epochs: 4,
        patience: 4,
        phases: vec![Phase::of(part)],
        ..Plan::default()
    };
    let steps = PHASE_IMAGES.div_ceil(BATCH);
    let (mut rates, mut pass) = (Vec::new(), None);
    // What is reported is the figure, not the training.
    let quiet = JobContext {
        progress: crate::jobs::ProgressCell::default(),
        ..context.clone()
    };
    fit(&plan, &data, &cost(), &quiet, &mut |event| match event {
        TrainEvent::Step {
            step, images_per_s, ..
        } if step == steps => rates.push(images_per_s),
        TrainEvent::Phase(phase) => {
            let filled = phase.cache.filter(|cache| cache.computed > 0);
            pass = filled.map(|cache| cache.computed as f64 / cache.seconds);
        }
        _ => {}
    })?;
    Ok((rates.split_off(1.min(rates.len())), pass))
}

/// Answers of InceptionV3 from the pixel cache: in the quickest precision this processor has, and in fp32.
pub(super) fn infer(
    snapshot: &Snapshot,
    context: &JobContext,
) -> Result<Vec<Figure>, WorkflowError> {
    let images: Vec<ImageId> = snapshot.manifest.ids().take(IMAGES).collect();
    let (content, _) = contents(snapshot, &images, context)?;
    let wanted = wanted(snapshot, &images, &content);
    let mut pixels = PixelCache::open(&snapshot.cache(), SIZE, Framing::default());
    pixels.fill(&wanted, context)?;
    let pixels: Vec<&[u8]> = wanted
        .iter()
        .filter_map(|image| pixels.get(&image.content, image.die))
        .collect();
    let device = best_device();
    let model = Model::new("inception_v3", SIZE, CLASSES, 1, device)?;
    let mut figures = Vec::new();
    for (what, precision) in [
        ("infer inception_v3", Precision::fastest(device)),
        ("infer inception_v3 fp32", Precision::Full),
    ] {
        let network = model.optimize_for_inference(precision);
        let mut rates = Vec::new();
        for round in 0..=INFERENCE_ROUNDS {
            if context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            context.report(round as u64, INFERENCE_ROUNDS as u64, what);
            let started = Instant::now();
            for batch in pixels.chunks(INFERENCE_BATCH) {
                let images = stack(batch.iter().copied(), SIZE, device);
                std::hint::black_box(answers(&network.forward(&images)));
            }
            if round > 0 {
                rates.push(pixels.len() as f64 / started.elapsed().as_secs_f64());
            }
        }
        rates.sort_by(f64::total_cmp);
        figures.push(Figure {
            images_per_s: rates.get(rates.len() / 2).copied(),
            best_images_per_s: rates.last().copied(),
            ..Figure::count(what, pixels.len() * rates.len())
        });
    }
    Ok(figures)
}

/// Writing down the state of a training of a small network, durably, with and without best weights that are new.
pub(super) fn checkpoints(
    place: &Path,
    context: &JobContext,
) -> Result<Vec<Figure>, WorkflowError> {
    let pixels = Noise::new(SIZE);
    let mut figures = Vec::new();
    for model in ["cnn03", "cnn01"] {
        // The score of one image stays as it is, its loss falls with each epoch.
        for (monitor, new) in [
            (Monitor::ValMacroF1, ""),
            (Monitor::ValLoss, ", best weights new"),
        ] {
            if context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            let what = format!("checkpoint {model}{new}");
            context.report(0, 1, &what);
            let mut written = written(model, monitor, &pixels, &place.join("run"))?;
            // The first is of a model that was never written before.
            written.drain(..1.min(written.len()));
            let sizes = written.iter().map(|(bytes, _)| *bytes);
            let size = if new.is_empty() {
                sizes.min()
            } else {
                sizes.max()
            };
            written.retain(|(bytes, _)| Some(*bytes) == size);
            let ms = written.iter().map(|(_, seconds)| seconds * 1000.0);
            figures.push(Figure {
                megabytes: size.map(|bytes| bytes as f64 / 1e6),
                ..Figure::times(&what, ms.collect())
            });
        }
    }
    Ok(figures)
}

/// Bytes and seconds of each time the state of a training was written down.
fn written(
    model: &str,
    monitor: Monitor,
    pixels: &Noise,
    folder: &Path,
) -> Result<Vec<(u64, f64)>, WorkflowError> {
    create_dir(folder)?;
    let data = TrainData {
        pixels,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        train: (0..CLASSES).map(example).collect(),
        validation: vec![example(0)],
        test: vec![example(0)],
        cache: None,
        checkpoints: Some(Checkpoints {
            folder: folder.to_owned(),
            share: 1.0,
        }),
    };
    let plan = Plan {
        model: model.to_owned(),
        size: SIZE,
        batch: CLASSES,
        epochs: WRITTEN,
        patience: WRITTEN,
        learning_rate: 1e-6,
        monitor,
        ..Plan::default()
    };
    let mut written = Vec::new();
    let job = JobContext::detached();
    let ended = fit(&plan, &data, &cost(), &job, &mut |event| {
        if let TrainEvent::Kept { bytes, seconds } = event {
            written.push((bytes, seconds));
        }
    });
    Checkpoint::remove(folder)?;
    ended?;
    Ok(written)
}

/// Milliseconds of single steps; where they are too quick to be told one by one, of a few on average.
fn steps(model: &str, pixels: &Noise) -> Result<Vec<f64>, TrainError> {
    let data = TrainData {
        pixels,
        classes: classes(),
        // An epoch without end: it is stopped when enough was seen.
        train: (0..BATCH * 10_000).map(example).collect(),
        validation: vec![example(0)],
        test: vec![example(0)],
        cache: None,
        checkpoints: None,
    };
    let plan = Plan {
        model: model.to_owned(),
        size: SIZE,
        batch: BATCH,
        ..Plan::default()
    };
    let job = JobContext::detached();
    let mut seen = Vec::new();
    let ended = fit(&plan, &data, &cost(), &job, &mut |event| {
        if let TrainEvent::Step { step, .. } = event {
            seen.push((step, Instant::now()));
            if seen.len() > WARM_UP + MEASURED {
                job.control.stop(StopReason::Cancelled);
            }
        }
    });
    match ended {
        Ok(_) | Err(TrainError::Cancelled) => {}
        Err(error) => return Err(error),
    }
    let between = seen[WARM_UP..].windows(2).map(|pair| {
        let ((from, began), (to, ended)) = (pair[0], pair[1]);
        (ended - began).as_secs_f64() * 1000.0 / (to - from) as f64
    });
    Ok(between.collect())
}
