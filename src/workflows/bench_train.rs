//! `bench train`: steps of the trainer itself, on pixels of noise at the study's size.

use std::time::Instant;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::{ClassId, CostMatrix, ImageId};
use crate::jobs::{JobContext, StopReason};
use crate::training::{Example, PixelSource, Plan, TrainData, TrainError, TrainEvent, fit};

use super::{Figure, WorkflowError};

const MODELS: [&str; 3] = ["cnn01", "cnn02", "cnn03"];
/// Side of the study's images, pixels.
const SIZE: u32 = 299;
const BATCH: usize = 32;
const CLASSES: usize = 6;
/// Different images; the batches draw on them again and again.
const IMAGES: usize = 64;
/// Looks at the clock that are not counted, and then those that are.
const WARM_UP: usize = 4;
const MEASURED: usize = 20;

struct Noise(Vec<Vec<u8>>);

impl PixelSource for Noise {
    fn pixels(&self, image: ImageId) -> &[u8] {
        &self.0[image.index() % IMAGES]
    }
}

/// Training steps of each small network, reading pixels and keeping the books included.
pub(super) fn train(context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let image = |_| {
        let mut pixels = vec![0; (SIZE * SIZE) as usize];
        rng.fill_bytes(&mut pixels);
        pixels
    };
    let pixels = Noise((0..IMAGES).map(image).collect());
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
    Ok(figures)
}

/// Milliseconds of single steps; where they are too quick to be told one by one, of a few on average.
fn steps(model: &str, pixels: &Noise) -> Result<Vec<f64>, TrainError> {
    let example = |i| Example {
        image: ImageId::from(i),
        class: ClassId::from(i % CLASSES),
    };
    let data = TrainData {
        pixels,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        // An epoch without end: it is stopped when enough was seen.
        train: (0..BATCH * 10_000).map(example).collect(),
        validation: vec![example(0)],
        test: vec![example(0)],
    };
    let plan = Plan {
        model: model.to_owned(),
        size: SIZE,
        batch: BATCH,
        ..Plan::default()
    };
    let cost = (0..CLASSES).map(|a| (0..CLASSES).map(|b| f64::from(u8::from(a != b))).collect());
    let cost = CostMatrix::try_from(cost.collect::<Vec<_>>())
        .expect("square, with zeros for what is right");
    let job = JobContext::detached();
    let mut seen = Vec::new();
    let ended = fit(&plan, &data, &cost, &job, &mut |event| {
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
