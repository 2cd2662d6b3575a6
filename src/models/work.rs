//! What a network does with one image, counted from the shapes of its layers, without running it.

/// What one stage does with one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageWork {
    /// Multiply-adds of convolutions, dense layers and attention; what is done value by value is left out.
    pub multiply_adds: u64,
    /// Numbers that leave it.
    pub outputs: u64,
}

impl StageWork {
    /// From signed counts, as libtorch has its sizes.
    pub(super) fn new(multiply_adds: i64, outputs: i64) -> Self {
        Self {
            multiply_adds: multiply_adds.unsigned_abs(),
            outputs: outputs.unsigned_abs(),
        }
    }
}

/// Follows one image from layer to layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Channels that leave the layer looked at last.
    pub(super) channels: i64,
    /// Their height and width.
    pub(super) sides: [i64; 2],
    /// Multiply-adds so far.
    pub(super) multiply_adds: i64,
}

impl Tally {
    /// An image that enters.
    pub(super) fn image(channels: i64, size: u32) -> Self {
        Self {
            channels,
            sides: [i64::from(size); 2],
            multiply_adds: 0,
        }
    }

    /// The same place, counted from 0.
    pub(super) fn fresh(self) -> Self {
        Self {
            multiply_adds: 0,
            ..self
        }
    }

    /// A convolution with a weight of `[out, in / groups, height, width]` that leaves pictures of `sides`.
    pub(super) fn conv(&mut self, weight: &[i64], sides: [i64; 2]) {
        self.channels = weight[0];
        self.sides = sides;
        self.multiply_adds += weight.iter().product::<i64>() * sides[0] * sides[1];
    }

    /// Stops here: a stage ends, and the next is counted from 0.
    pub(super) fn end_stage(&mut self, outputs: i64) -> StageWork {
        let work = StageWork::new(self.multiply_adds, outputs);
        self.multiply_adds = 0;
        work
    }

    /// Numbers that leave the layer looked at last.
    pub(super) fn outputs(&self) -> i64 {
        self.channels * self.sides[0] * self.sides[1]
    }
}

/// Side behind a convolution or a pool, `padding` on each side.
pub(super) fn side_behind(side: i64, kernel: i64, stride: i64, padding: i64) -> i64 {
    (side + 2 * padding - kernel) / stride + 1
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use crate::models::{Model, ModelSpec, REGISTRY, StageWork};

    #[test]
    fn what_leaves_a_stage_is_what_was_counted() {
        for spec in &REGISTRY {
            let size = spec.smallest_px.max(48).next_multiple_of(spec.multiple_px);
            let model = Model::new(spec.name, size, 5, 1, Device::Cpu).expect("built");
            let work = spec.work(size, 5).expect("large enough");
            assert_eq!(work.len(), model.stages() + 1, "{}", spec.name);
            let side = i64::from(size);
            let image = Tensor::zeros([1, 1, side, side], (Kind::Float, Device::Cpu));
            for (index, stage) in work[..model.stages()].iter().enumerate() {
                let left = tch::no_grad(|| model.run(&image, 0..index + 1, false));
                assert_eq!(stage.outputs, left.numel() as u64, "{} {index}", spec.name);
            }
            let head = StageWork::new(model.embedding_dim() as i64 * 5, 5);
            assert_eq!(work.last(), Some(&head), "{}", spec.name);
        }
    }

    #[test]
    fn multiply_adds_are_those_that_others_count() {
        let all = |name: &str, size, classes| {
            let spec = ModelSpec::find(name).expect("a model");
            let work = spec.work(size, classes).expect("large enough");
            work.iter().map(|stage| stage.multiply_adds).sum::<u64>()
        };
        // By hand: 126 * 126 * 64 * 9 for the convolution, 63 * 63 * 64 * 64 and 64 * 6 for the dense layers.
        assert_eq!(all("cnn01", 128, 6), 9_144_576 + 16_257_024 + 384);
        // torchvision's documentation: 5.71 billion for InceptionV3 at 299 px, 8.37 for EfficientNetV2-S at
        // 384 px, 1,000 classes each. timm: 46.76 for DINOv2's ViT-S/14 at 518 px, without a head.
        for (name, size, classes, billions) in [
            ("inception_v3", 299, 1000, 5.71),
            ("efficientnet_v2_s", 384, 1000, 8.37),
            ("vit_s14", 518, 0, 46.76),
        ] {
            let counted = all(name, size, classes) as f64 / 1e9;
            assert!((counted / billions - 1.0).abs() < 0.01, "{name}: {counted}");
        }
    }
}
