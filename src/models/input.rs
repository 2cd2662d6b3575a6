//! From 8-bit pixels to the tensor a network reads.

use tch::{Device, Kind, Tensor};

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
    fn white_is_one_and_black_is_zero() {
        let images = [[0_u8, 255, 51, 255], [255; 4]];
        let x = stack(images.iter().map(|i| &i[..]), 2, Device::Cpu);
        assert_eq!(x.size(), [2, 1, 2, 2]);
        let values = Vec::<f32>::try_from(x.view([-1])).expect("floats");
        assert_eq!(values, [0.0, 1.0, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
