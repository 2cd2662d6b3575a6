//! What a network sees at each place of an image, before it is averaged over the frame.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::models::InferenceModel;

/// Values kept of a place, at most.
const CHANNELS: i64 = 128;
/// Places kept along a side, at most: the grid of InceptionV3's middle blocks at 299 px.
const GRID: i64 = 17;
/// Seeds the projection; part of what is cached, so it never changes.
const SEED: u64 = 157;
/// Largest number of an `i16`, which stands for 1.
const ONE: f32 = 32_767.0;

/// Takes the activations between the first two stages of a network, where it has more than one, as local
/// features: averaged down to a grid of 17 x 17 places at most, projected at random to 128 values at most
/// (Achlioptas, "Database-friendly random projections", 2003), and of length 1 at each place.
pub(super) struct LocalFeatures {
    /// `[channels of the activations, values kept]`; none where there are few enough.
    projection: Option<Tensor>,
    /// Places of an image.
    pub positions: usize,
    /// Values of a place.
    pub channels: usize,
}

impl LocalFeatures {
    /// `None` for a network of one stage.
    pub fn of(model: &InferenceModel) -> Option<Self> {
        if model.stages() < 2 {
            return None;
        }
        let size = i64::from(model.size);
        let nothing = Tensor::zeros([1, 1, size, size], (Kind::Float, model.device));
        let grid = grid(&model.run(&nothing, 0..1));
        let (channels, places) = (grid.size()[2], grid.size()[1]);
        let kept = channels.min(CHANNELS);
        let projection = (kept < channels).then(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(SEED);
            let weight = 1.0 / (kept as f32).sqrt();
            let signs: Vec<f32> = (0..channels * kept)
                .map(|_| {
                    if rng.random::<bool>() {
                        weight
                    } else {
                        -weight
                    }
                })
                .collect();
            Tensor::from_slice(&signs)
                .view([channels, kept])
                .to_device(model.device)
        });
        Some(Self {
            projection,
            positions: places as usize,
            channels: kept as usize,
        })
    }

    /// Bytes kept of an image.
    pub fn record_len(&self) -> usize {
        2 * self.positions * self.channels
    }

    /// The record of each image whose activations after the first stage these are.
    pub fn records(&self, activations: &Tensor) -> Vec<Vec<u8>> {
        tch::no_grad(|| {
            let mut x = grid(activations);
            if let Some(projection) = &self.projection {
                x = x.matmul(projection);
            }
            let length = x.norm_scalaropt_dim(2.0, [2], true).clamp_min(1e-12);
            let x = (x / length * f64::from(ONE)).round().to_kind(Kind::Int16);
            let x = x.to_device(tch::Device::Cpu).contiguous();
            let values: Vec<i16> = Vec::try_from(x.view([-1])).expect("16-bit values");
            values
                .chunks_exact(self.positions * self.channels)
                .map(|image| image.iter().flat_map(|v| v.to_le_bytes()).collect())
                .collect()
        })
    }
}

/// Local features from the bytes that are kept of them, place after place.
pub(super) fn read(record: &[u8]) -> Vec<f32> {
    let (values, _) = record.as_chunks::<2>();
    let value = |bytes: &[u8; 2]| f32::from(i16::from_le_bytes(*bytes)) / ONE;
    values.iter().map(value).collect()
}

/// Activations as `[batch, places, channels]` in fp32: of maps `[batch, channels, height, width]` averaged
/// down to the grid, or of tokens `[batch, 1 + places, channels]` without the class token.
fn grid(activations: &Tensor) -> Tensor {
    let x = activations.to_kind(Kind::Float);
    match x.size()[..] {
        [_, _, height, width] => {
            let side = [height.min(GRID), width.min(GRID)];
            x.adaptive_avg_pool2d(side).flatten(2, 3).transpose(1, 2)
        }
        _ => x.narrow(1, 1, x.size()[1] - 1),
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::models::{Model, Precision};

    #[test]
    fn places_have_length_one_and_small_networks_none() {
        let model = |name, size| {
            let model = Model::new(name, size, 3, 1, Device::Cpu).expect("built");
            model.optimize_for_inference(Precision::Full)
        };
        assert!(LocalFeatures::of(&model("cnn03", 40)).is_none());
        for (name, size, places) in [("inception_v3", 107, 25), ("vit_s14", 56, 16)] {
            let model = model(name, size);
            let local = LocalFeatures::of(&model).expect("more than one stage");
            assert_eq!((local.positions, local.channels), (places, 128), "{name}");
            let side = i64::from(size);
            let images = Tensor::rand([2, 1, side, side], (Kind::Float, Device::Cpu));
            let records = local.records(&model.run(&images, 0..1));
            assert_eq!(records.len(), 2);
            assert_eq!(records[0].len(), local.record_len());
            for place in read(&records[1]).chunks_exact(128) {
                let length: f32 = place.iter().map(|v| v * v).sum();
                assert!((length - 1.0).abs() < 1e-3, "{name} {length}");
            }
        }
    }
}
