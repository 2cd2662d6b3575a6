//! Samples of any colour type to 8-bit luma.

use image::ColorType;

/// Luma of `samples` (as a decoder of the `image` crate writes them: interleaved, 16 bits and floats in
/// native byte order). `None` for a colour type that has come up since.
pub(super) fn luma(samples: Vec<u8>, color: ColorType) -> Option<Vec<u8>> {
    let high = |s: [u8; 2]| (u16::from_ne_bytes(s) >> 8) as u8;
    Some(match color {
        ColorType::L8 => samples,
        ColorType::La8 => samples.as_chunks().0.iter().map(|[l, _]| *l).collect(),
        ColorType::Rgb8 => samples.as_chunks().0.iter().copied().map(bt601).collect(),
        ColorType::Rgba8 => (samples.as_chunks().0.iter())
            .map(|[r, g, b, _]| bt601([*r, *g, *b]))
            .collect(),
        ColorType::L16 => samples.as_chunks().0.iter().copied().map(high).collect(),
        ColorType::La16 => (samples.as_chunks().0.iter())
            .map(|[a, b, _, _]| high([*a, *b]))
            .collect(),
        ColorType::Rgb16 => (samples.as_chunks::<6>().0.iter())
            .map(|s| bt601([0, 2, 4].map(|i| high([s[i], s[i + 1]]))))
            .collect(),
        ColorType::Rgba16 => (samples.as_chunks::<8>().0.iter())
            .map(|s| bt601([0, 2, 4].map(|i| high([s[i], s[i + 1]]))))
            .collect(),
        ColorType::Rgb32F => (samples.as_chunks::<12>().0.iter())
            .map(|s| bt601([0, 4, 8].map(|i| unit([s[i], s[i + 1], s[i + 2], s[i + 3]]))))
            .collect(),
        ColorType::Rgba32F => (samples.as_chunks::<16>().0.iter())
            .map(|s| bt601([0, 4, 8].map(|i| unit([s[i], s[i + 1], s[i + 2], s[i + 3]]))))
            .collect(),
        _ => return None,
    })
}

/// `L = 0.299 R + 0.587 G + 0.114 B` in 16-bit fixed point, rounded as Pillow does
/// (`L24` of its `Convert.c`).
fn bt601([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// A float sample of `0.0..=1.0` to 8 bits; what lies outside is clipped, NaN is black.
fn unit(sample: [u8; 4]) -> u8 {
    (f32::from_ne_bytes(sample) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_weigh_as_in_pillow() {
        // Image.new("RGB", (1, 1), c).convert("L") of Pillow.
        let rgb = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 12, 200, 99];
        let expected = vec![76, 150, 29, 255, 132];
        assert_eq!(luma(rgb, ColorType::Rgb8), Some(expected));
    }

    #[test]
    fn alpha_is_ignored_and_the_lower_half_of_16_bits_dropped() {
        let rgba = vec![9, 9, 9, 0, 70, 70, 70, 255];
        assert_eq!(luma(rgba, ColorType::Rgba8), Some(vec![9, 70]));
        assert_eq!(luma(vec![5, 0, 6, 255], ColorType::La8), Some(vec![5, 6]));
        let bytes = |samples: &[u16]| samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
        let deep = bytes(&[0x00FF, 0x1234, 0xFFFF]);
        assert_eq!(luma(deep, ColorType::L16), Some(vec![0, 0x12, 0xFF]));
        let deep = bytes(&[0x1234, 7, 0xABCD, 0]);
        assert_eq!(luma(deep, ColorType::La16), Some(vec![0x12, 0xAB]));
        let deep = bytes(&[0x4D00, 0x4D10, 0x4D20]);
        assert_eq!(luma(deep, ColorType::Rgb16), Some(vec![0x4D]));
        let deep = bytes(&[0x4D00, 0x4D10, 0x4D20, 0]);
        assert_eq!(luma(deep, ColorType::Rgba16), Some(vec![0x4D]));
    }

    #[test]
    fn floats_are_clipped() {
        let bytes = |samples: &[f32]| samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
        let rgb = bytes(&[1.0, 1.0, 1.0, 7.0, 7.0, 7.0, -1.0, f32::NAN, 0.0]);
        assert_eq!(luma(rgb, ColorType::Rgb32F), Some(vec![255, 255, 0]));
        let rgba = bytes(&[0.5, 0.5, 0.5, 0.0]);
        assert_eq!(luma(rgba, ColorType::Rgba32F), Some(vec![128]));
    }
}
