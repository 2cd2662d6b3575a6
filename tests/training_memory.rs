//! Training again and again in one process must not grow it. Alone in its file: the process is measured.
#![cfg(all(feature = "torch", target_os = "linux"))]

use driftscope::{
    domain::{ClassId, CostMatrix, ImageId},
    jobs::JobContext,
    training::{Checkpoints, Example, Phase, PixelSource, Plan, TrainData, TrainEvent, fit},
};

const SIZE: u32 = 48;

struct Noise(Vec<Vec<u8>>);

impl PixelSource for Noise {
    fn pixels(&self, image: ImageId) -> &[u8] {
        &self.0[image.index()]
    }
}

/// Resident memory of this process in pages.
fn resident_pages() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let resident = statm.split(' ').nth(1).expect("the second figure");
    resident.parse().expect("a number")
}

#[test]
fn thirty_trainings_grow_the_process_by_less_than_a_twentieth() {
    let pixel = |i: usize, p: usize| ((p * 37 + i * 101) % 251) as u8;
    let image = |i| (0..(SIZE * SIZE) as usize).map(|p| pixel(i, p)).collect();
    let pixels = Noise((0..48).map(image).collect());
    let examples: Vec<Example> = (0..48)
        .map(|i| Example {
            image: ImageId::from(i),
            class: ClassId::from(i % 2),
        })
        .collect();
    let plan = Plan {
        size: SIZE,
        epochs: 2,
        batch: 8,
        // With a body that learns, one that is folded and run once, and the state written down as it goes.
        phases: vec![Phase::of("all"), Phase::of("head")],
        ..Plan::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut kept = 0;
    let cost = CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square");
    let mut train = || {
        let run = tempfile::tempdir_in(&folder).expect("a folder");
        let data = TrainData {
            pixels: &pixels,
            classes: vec!["even".into(), "odd".into()],
            train: examples[..32].to_vec(),
            validation: examples[32..40].to_vec(),
            test: examples[40..].to_vec(),
            cache: Some(run.path().join("activations")),
            checkpoints: Some(Checkpoints {
                folder: run.path().to_owned(),
                share: 1.0,
            }),
        };
        fit(&plan, &data, &cost, &JobContext::detached(), &mut |event| {
            let written = matches!(event, TrainEvent::Kept { .. });
            let cached =
                matches!(&event, TrainEvent::Phase(p) if p.cache.is_some_and(|c| c.computed > 0));
            kept += usize::from(written) + usize::from(cached);
        })
        .expect("trained");
    };
    // The first few fill libtorch's own caches.
    for _ in 0..5 {
        train();
    }
    // A thread may still hold its scratch memory when a training returns: the lowest of a few is what stays.
    let stays = |train: &mut dyn FnMut()| {
        let levels = (0..5).map(|_| {
            train();
            resident_pages()
        });
        levels.fold(f64::INFINITY, f64::min)
    };
    let before = stays(&mut train);
    for _ in 0..25 {
        train();
    }
    let growth = stays(&mut train) / before - 1.0;
    assert!(
        growth < 0.05,
        "resident memory grew by {:.1} %",
        growth * 100.0
    );
    // In each of the forty: the activations, and the state after an epoch.
    assert!(kept >= 80, "{kept}");
}
