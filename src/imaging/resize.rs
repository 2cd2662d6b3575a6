//! Resampling.

use std::cell::RefCell;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::Gray;

/// Names what [`resize`] computes. Part of the key of whatever is cached after resizing, so it changes
/// when the result does.
pub const RESIZE_VERSION: &str = "bilinear-1";

thread_local! {
    /// Keeps its buffers from one image to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// `image` at `width` x `height` pixels, both at least 1, by a triangle filter that widens as the image
/// shrinks, so that fine structure averages out instead of aliasing (as in Pillow's `BILINEAR`).
///
/// # Panics
/// When a side is 0, or `image` holds other than `width * height` pixels.
#[must_use]
pub fn resize(image: &Gray, width: u32, height: u32) -> Gray {
    assert!(width > 0 && height > 0, "an image has pixels");
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    let from = ImageRef::new(image.width, image.height, &image.pixels, PixelType::U8)
        .expect("a Gray holds width x height pixels");
    let mut to = Image::new(width, height, PixelType::U8);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&from, &mut to, &options))
        .expect("both are of one pixel type, and the whole source is taken");
    Gray {
        width,
        height,
        pixels: to.into_vec(),
    }
}

/// The largest size of the aspect of `width` x `height` that fits a square of `side`; each at least 1.
/// A small image is enlarged.
#[must_use]
pub fn fit_box(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(1));
    let scaled = |length: u32| {
        let length = (u64::from(length) * u64::from(side) + longer / 2) / longer;
        (length as u32).max(1)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fine_checkerboard_becomes_its_mean() {
        let pixels = (0..64 * 64).map(|i| if (i + i / 64) % 2 == 0 { 0 } else { 200 });
        let board = Gray {
            width: 64,
            height: 64,
            pixels: pixels.collect(),
        };
        let small = resize(&board, 16, 8);
        assert_eq!(
            (small.width, small.height, small.pixels.len()),
            (16, 8, 128)
        );
        for (i, pixel) in small.pixels.iter().enumerate() {
            assert!(pixel.abs_diff(100) <= 8, "pixel {i} is {pixel}");
        }
    }

    #[test]
    fn a_flat_image_stays_flat_at_any_size() {
        let flat = Gray {
            width: 7,
            height: 5,
            pixels: vec![131; 35],
        };
        for (width, height) in [(1, 1), (7, 5), (3, 50), (299, 299)] {
            let sized = resize(&flat, width, height);
            assert_eq!(sized.pixels, vec![131; (width * height) as usize]);
        }
    }

    #[test]
    fn a_box_is_filled_along_the_longer_side() {
        assert_eq!(fit_box(540, 630, 160), (137, 160));
        assert_eq!(fit_box(200, 200, 160), (160, 160));
        assert_eq!(fit_box(100_000, 1, 160), (160, 1));
        assert_eq!(fit_box(10, 20, 160), (80, 160));
        assert_eq!(fit_box(u32::MAX, u32::MAX, 160), (160, 160));
    }
}
