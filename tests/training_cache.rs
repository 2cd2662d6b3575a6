//! Training on kept activations against training through the frozen layers. A process of its own: dropout
//! draws from libtorch's one generator, which tests side by side would share.
#![cfg(feature = "torch")]

use driftscope::domain::{ClassId, CostMatrix, ImageId};
use driftscope::jobs::JobContext;
use driftscope::training::{
    Example, Phase, PixelSource, Plan, Precision, TrainData, TrainEvent, fit,
};

const SIZE: u32 = 76;

/// Over so many steps the losses may not part.
const STEPS: usize = 20;

/// Images that are learned from: one step.
const TRAIN: usize = 16;

struct Pictures(Vec<Vec<u8>>);

impl PixelSource for Pictures {
    fn pixels(&self, image: ImageId) -> &[u8] {
        &self.0[image.index()]
    }
}

fn picture(i: usize) -> Vec<u8> {
    let value = |p: usize| {
        let wave = if i.is_multiple_of(2) { p % 7 } else { p % 13 };
        ((p * 37 + i * 91) % 101 + wave * 11) as u8
    };
    (0..(SIZE * SIZE) as usize).map(value).collect()
}

#[test]
fn kept_activations_give_the_losses_of_the_whole_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let pixels = Pictures((0..80).map(picture).collect());
    let examples: Vec<Example> = (0..80)
        .map(|i| Example {
            image: ImageId::from(i),
            class: ClassId::from(i % 2),
        })
        .collect();
    let data = TrainData {
        pixels: &pixels,
        classes: vec!["sevens".into(), "thirteens".into()],
        train: examples[..TRAIN].to_vec(),
        validation: examples[48..64].to_vec(),
        test: examples[64..].to_vec(),
        cache: Some(folder.path().to_owned()),
        checkpoints: None,
    };
    let cost = CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square");
    let plan = |part: &str, cache_activations| {
        // Epochs of one step each, so that the loss of every step is told. Batches of the size that fills the
        // cache: libtorch rounds the last bit of a convolution by it.
        Plan {
            model: "inception_v3".into(),
            size: SIZE,
            epochs: STEPS,
            patience: STEPS,
            batch: TRAIN,
            learning_rate: 1e-4,
            precision: Precision::Fp32,
            cache_activations,
            phases: vec![Phase::of(part)],
            ..Plan::default()
        }
    };
    let losses = |part: &str, cache_activations| {
        let plan = plan(part, cache_activations);
        let mut used = false;
        let fitted = fit(&plan, &data, &cost, &JobContext::detached(), &mut |event| {
            if let TrainEvent::Phase(part) = event {
                used = part.cache.is_some_and(|c| c.used && c.computed == 32);
            }
        });
        let fitted = fitted.expect("trained");
        let history = fitted.history.iter();
        let losses: Vec<[f64; 2]> = history.map(|m| [m.train_loss, m.val_loss]).collect();
        let answers = fitted.train.iter().flat_map(|p| p.probabilities.clone());
        (losses, answers.collect::<Vec<f32>>(), used)
    };
    for part in ["head", "last_30", "last_100"] {
        let (kept, answers, used) = losses(part, true);
        let (whole, whole_answers, unused) = losses(part, false);
        assert!(used && !unused, "{part}");
        assert_eq!((kept.len(), whole.len()), (STEPS, STEPS), "{part}");
        for (a, b) in kept.iter().flatten().zip(whole.iter().flatten()) {
            assert!((a - b).abs() < 1e-4, "{part}: {kept:?} {whole:?}");
        }
        // Those of the images that were learned from come from what was kept, too.
        assert_eq!((answers.len(), whole_answers.len()), (32, 32));
        let answers = answers.iter().zip(&whole_answers);
        let most = answers.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-3, "{part}: {most}");
    }

    // Another training finds them, and needs no room for what is there.
    let mut found = None;
    let again = Plan {
        epochs: 1,
        ..plan("head", true)
    };
    let grown = TrainData {
        // With one image of which nothing was kept.
        train: [&examples[..TRAIN], &examples[64..65]].concat(),
        ..data
    };
    fit(
        &again,
        &grown,
        &cost,
        &JobContext::detached(),
        &mut |event| {
            if let TrainEvent::Phase(part) = event {
                found = part.cache;
            }
        },
    )
    .expect("trained");
    let found = found.expect("kept");
    assert_eq!(found.estimate.images, 33);
    let each = found.estimate.bytes / 33;
    assert_eq!(found.estimate.kept, 32 * each);
    assert_eq!((found.estimate.missing(), found.computed), (each, 1));
}
