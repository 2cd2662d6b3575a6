//! From 8-bit pixels to the tensor a network reads.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Mean of the red, green and blue values of ImageNet's pictures, in `0..=1`.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviation.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The scale of pixel values that weights were trained on. It belongs to the weights, not to the
/// architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preprocessing {
    /// Black 0, white 1.
    #[serde(rename = "scale01")]
    Scale01,
    /// Black -1, white 1 (timm's weights that come from TensorFlow).
    #[serde(rename = "minus1_1")]
    MinusOneToOne,
    /// Each channel less the mean of ImageNet's pictures, by their standard deviation (torchvision,
    /// DINOv2).
    #[serde(rename = "imagenet")]
    ImageNet,
}

impl Preprocessing {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Scale01, Self::MinusOneToOne, Self::ImageNet];

    /// The word in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scale01 => "scale01",
            Self::MinusOneToOne => "minus1_1",
            Self::ImageNet => "imagenet",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// `[batch, channels, size, size]` as the weights want it, from images `[batch, 1, size, size]` in
    /// `0..=1`. Gray values are repeated; a single channel takes the average of ImageNet's three.
    pub fn apply(self, images: &Tensor, channels: i64) -> Tensor {
        match self {
            Self::Scale01 => images.expand([-1, channels, -1, -1], false),
            Self::MinusOneToOne => (images * 2.0 - 1.0).expand([-1, channels, -1, -1], false),
            Self::ImageNet => {
                let constant = |values: [f32; 3]| {
                    let values = Tensor::from_slice(&values).to_device(images.device());
                    let values = values.to_kind(images.kind()).view([1, 3, 1, 1]);
                    if channels == 1 {
                        values.mean_dim(1, true, None)
                    } else {
                        values
                    }
                };
                (images - constant(IMAGENET_MEAN)) / constant(IMAGENET_STD)
            }
        }
    }
}

/// Stacks square grayscale images of `size * size` bytes into `[n, 1, size, size]` in `0..=1`.
///
/// # Panics
/// When an image is not of that size.
pub fn stack<'a>(
    images: impl ExactSizeIterator<Item = &'a [u8]>,
    size: u32,
    device: Device,
) -> Tensor {
    let pixels = (size * size) as usize;
    let n = images.len() as i64;
    let mut bytes = Vec::with_capacity(images.len() * pixels);
    for image in images {
        assert_eq!(image.len(), pixels, "an image of {size} x {size} pixels");
        bytes.extend_from_slice(image);
    }
    let side = i64::from(size);
    Tensor::from_data_size(&bytes, &[n, 1, side, side], Kind::Uint8)
        .to_device(device)
        .to_kind(Kind::Float)
        / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preprocessing_scales_black_and_white_as_the_weights_want_them() {
        let images = Tensor::from_slice(&[0.0_f32, 1.0]).view([1, 1, 1, 2]);
        let values = |preprocessing: Preprocessing, channels| {
            let x = preprocessing.apply(&images, channels).contiguous();
            assert_eq!(x.size(), [1, channels, 1, 2]);
            Vec::<f32>::try_from(x.view([-1])).expect("floats")
        };
        assert_eq!(values(Preprocessing::Scale01, 3), [0.0, 1.0].repeat(3));
        assert_eq!(
            values(Preprocessing::MinusOneToOne, 3),
            [-1.0, 1.0].repeat(3)
        );
        // (0.485, 0.456, 0.406) below and (0.515, 0.544, 0.594) above, by (0.229, 0.224, 0.225).
        let wanted = [-2.117_9, 2.248_9, -2.035_7, 2.428_6, -1.804_4, 2.64];
        for (value, wanted) in values(Preprocessing::ImageNet, 3).iter().zip(wanted) {
            assert!((value - wanted).abs() < 1e-4, "{value} {wanted}");
        }
        // The averages are 0.449 and 0.226.
        let gray = values(Preprocessing::ImageNet, 1);
        assert!((gray[0] + 0.449 / 0.226).abs() < 1e-4, "{gray:?}");
        for p in Preprocessing::ALL {
            assert_eq!(Preprocessing::find(p.name()), Some(p));
            assert_eq!(serde_json::to_value(p).expect("a word"), p.name());
        }
    }

    #[test]
    fn white_is_one_and_black_is_zero() {
        let images = [[0_u8, 255, 51, 255], [255; 4]];
        let x = stack(images.iter().map(|i| &i[..]), 2, Device::Cpu);
        assert_eq!(x.size(), [2, 1, 2, 2]);
        let values = Vec::<f32>::try_from(x.view([-1])).expect("floats");
        assert_eq!(values, [0.0, 1.0, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
