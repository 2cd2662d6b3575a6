//! Pictures of noise to measure by: what a step costs depends neither on the pixels nor on the weights.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::{ClassId, CostMatrix, ImageId};
use crate::training::{Example, PixelSource};

/// Classes that the noise is taken for, in turn.
pub(super) const CLASSES: usize = 6;
/// Different images; larger numbers mean the same ones again.
pub(super) const IMAGES: usize = 64;

/// Square images of noise.
pub(super) struct Noise(pub(super) Vec<Vec<u8>>);

impl Noise {
    /// Of `size` x `size` pixels.
    pub(super) fn new(size: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let image = |_| {
            let mut pixels = vec![0; (size * size) as usize];
            rng.fill_bytes(&mut pixels);
            pixels
        };
        Self((0..IMAGES).map(image).collect())
    }
}

impl PixelSource for Noise {
    fn pixels(&self, image: ImageId) -> &[u8] {
        &self.0[image.index() % IMAGES]
    }
}

/// The image of that number, with its class.
pub(super) fn example(i: usize) -> Example {
    Example {
        image: ImageId::from(i),
        class: ClassId::from(i % CLASSES),
    }
}

/// Names of the classes.
pub(super) fn classes() -> Vec<String> {
    (0..CLASSES).map(|class| class.to_string()).collect()
}

/// Every mistake costs the same.
pub(super) fn cost() -> CostMatrix {
    let row = |a| (0..CLASSES).map(|b| f64::from(u8::from(a != b))).collect();
    CostMatrix::try_from((0..CLASSES).map(row).collect::<Vec<_>>())
        .expect("square, with zeros for what is right")
}
