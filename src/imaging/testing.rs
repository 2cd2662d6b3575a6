//! Images for the tests of this module.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};

use super::Gray;

/// Every row counts up from another start, so that images of different sizes differ.
pub(super) fn ramp(width: u32, height: u32) -> Gray {
    Gray {
        width,
        height,
        pixels: (0..width * height).map(|i| (i * 7 + width) as u8).collect(),
    }
}

/// `image` as a file of `format`.
pub(super) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// `gray` as an image of the `image` crate.
pub(super) fn dynamic(gray: &Gray) -> DynamicImage {
    image::GrayImage::from_raw(gray.width, gray.height, gray.pixels.clone())
        .expect("a Gray holds width x height pixels")
        .into()
}

/// `gray` as a PNG file.
pub(super) fn png(gray: &Gray) -> Vec<u8> {
    encode(&dynamic(gray), ImageFormat::Png)
}
