//! Whether a network may be run in bf16.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::embedder::floats;
use crate::models::{Model, Precision, stack};

/// Images that go through the network together.
const BATCH: usize = 32;
/// Share of images on which bf16 has to give fp32's answer before it is used.
const REQUIRED: f64 = 0.995;

/// How often bf16 answers with the class that fp32 answers with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of the images, `0..=1`.
    pub share: f64,
    /// Images compared.
    pub n: usize,
}

impl Agreement {
    /// Compares both precisions on `images`, each `size * size` pixels. `None` where there is no image, or
    /// where this machine gains nothing from bf16.
    #[must_use]
    pub fn measure(model: &Model, images: &[&[u8]]) -> Option<Self> {
        let device = model.variables.device();
        let fastest = Precision::fastest(device);
        if images.is_empty() || fastest == Precision::Full {
            return None;
        }
        let [full, half] =
            [Precision::Full, fastest].map(|precision| model.optimize_for_inference(precision));
        let mut same = 0;
        for batch in images.chunks(BATCH) {
            let input = stack(batch.iter().copied(), model.size, device);
            let answers = [&full, &half].map(|m| floats(&m.forward(&input).argmax(1, false)));
            same += answers[0]
                .iter()
                .zip(&answers[1])
                .filter(|(a, b)| a == b)
                .count();
        }
        Some(Self {
            share: same as f64 / images.len() as f64,
            n: images.len(),
        })
    }

    /// The share that is often enough.
    pub(super) const REQUIRED_IN_WORDS: &str = "99.5 %";

    /// Whether that is often enough (99.5 %) to run in bf16.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.share >= REQUIRED
    }
}

impl fmt::Display for Agreement {
    /// `bf16 gives fp32's answer on 99.7 % of 283 images`, rounded down: all of them is what 100 % means.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (1000.0 * self.share).floor() / 10.0;
        write!(
            f,
            "bf16 gives fp32's answer on {percent} % of {} images",
            self.n
        )
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn precisions_are_compared_on_every_image() {
        let model = Model::new("cnn03", 32, 3, 4, Device::Cpu).expect("built");
        let pictures: Vec<Vec<u8>> = (0..70_u8)
            .map(|i| (0..1024).map(|p| (p as u8).wrapping_mul(i)).collect())
            .collect();
        let images: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
        assert_eq!(Agreement::measure(&model, &[]), None);
        let measured = Agreement::measure(&model, &images);
        if Precision::fastest(Device::Cpu) == Precision::Full {
            assert_eq!(measured, None);
            return;
        }
        let agreement = measured.expect("this machine has bf16");
        assert_eq!(agreement.n, 70);
        assert!(agreement.share > 0.8, "{}", agreement.share);
    }

    #[test]
    fn one_image_in_two_hundred_may_differ() {
        let agreement = |same: f64| Agreement {
            share: same / 200.0,
            n: 200,
        };
        assert!(agreement(199.0).is_enough());
        assert!(!agreement(198.0).is_enough());
    }
}
