//! Training again and again in one process must not grow it. Alone in its file: the process is measured.
#![cfg(all(feature = "torch", target_os = "linux"))]

use driftscope::{
    domain::{ClassId, CostMatrix, ImageId},
    jobs::JobContext,
    training::{Example, PixelSource, Plan, TrainData, fit},
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
        ..Plan::default()
    };
    let cost = CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square");
    let train = || {
        let data = TrainData {
            pixels: &pixels,
            classes: vec!["even".into(), "odd".into()],
            train: examples[..32].to_vec(),
            validation: examples[32..40].to_vec(),
            test: examples[40..].to_vec(),
            cache: None,
            checkpoints: None,
        };
        fit(&plan, &data, &cost, &JobContext::detached(), &mut |_| {}).expect("trained");
    };
    // The first few fill libtorch's own caches.
    for _ in 0..5 {
        train();
    }
    // A thread may still hold its scratch memory when a training returns: the lowest of a few is what stays.
    let stays = || {
        let levels = (0..5).map(|_| {
            train();
            resident_pages()
        });
        levels.fold(f64::INFINITY, f64::min)
    };
    let before = stays();
    for _ in 0..25 {
        train();
    }
    let growth = stays() / before - 1.0;
    assert!(
        growth < 0.05,
        "resident memory grew by {:.1} %",
        growth * 100.0
    );
}
