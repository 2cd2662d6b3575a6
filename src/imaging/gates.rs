//! What a picture says without any network: plain numbers that give away a wrong size, over-exposure,
//! darkness and blur.

use serde::{Deserialize, Serialize};

use super::Gray;

/// Plain numbers of a picture. What is usual for them differs between data sets, so they are judged against
/// those of regular images, never by fixed limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Mean brightness, in `[0, 255]`.
    pub mean: f64,
    /// Standard deviation of the brightness, 0 or more.
    pub deviation: f64,
    /// Brightness that 1, 5, 10, 25, 50, 75, 90, 95 and 99 % of the pixels do not exceed.
    pub percentiles: [u8; 9],
    /// Share of pixels at 255, in `[0, 1]`: saturated.
    pub saturated: f64,
    /// Share of pixels at 0, in `[0, 1]`.
    pub black: f64,
    /// Variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
    /// 2000): 0 or more, low where the picture is blurred. The kernel is `[0 1 0; 1 -4 1; 0 1 0]`, mirrored
    /// at the border without repeating it, as OpenCV does. It depends on the size: compare equal sizes.
    pub sharpness: f64,
}

/// Shares of [`Gates::percentiles`], in hundredths.
const PERCENTILES: [usize; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

impl Gates {
    /// Measures a picture.
    #[must_use]
    pub fn of(picture: &Gray) -> Self {
        let pixels = &picture.pixels;
        let n = pixels.len() as f64;
        let mut counts = [0_usize; 256];
        for pixel in pixels {
            counts[usize::from(*pixel)] += 1;
        }
        let moment = |power| {
            let values = counts.iter().enumerate();
            values
                .map(|(v, count)| (v.pow(power) * count) as f64)
                .sum::<f64>()
                / n
        };
        let mean = moment(1);
        Self {
            width: picture.width,
            height: picture.height,
            mean,
            deviation: (moment(2) - mean * mean).max(0.0).sqrt(),
            percentiles: PERCENTILES.map(|share| percentile(&counts, pixels.len() * share)),
            saturated: counts[255] as f64 / n,
            black: counts[0] as f64 / n,
            sharpness: laplacian_variance(picture),
        }
    }

    /// All but the size, as numbers to be compared with those of other pictures of one size. On a logarithmic
    /// scale: dark pictures and soft ones differ by less than bright and sharp ones.
    #[must_use]
    pub fn numbers(&self) -> Vec<f64> {
        let plain = [self.mean, self.deviation, self.sharpness];
        let shares = [100.0 * self.saturated, 100.0 * self.black];
        let percentiles = self.percentiles.iter().map(|v| f64::from(*v));
        let all = plain.into_iter().chain(shares).chain(percentiles);
        all.map(f64::ln_1p).collect()
    }

    /// Of [`numbers`](Self::numbers), those that give away a spoiled picture by themselves, by name and turned so that
    /// higher is odder.
    ///
    /// # Panics
    /// For fewer numbers than those.
    #[must_use]
    pub fn by_name(numbers: &[f64]) -> [(&'static str, f64); 2] {
        [("saturation", numbers[3]), ("blur", -numbers[2])]
    }
}

/// The lowest value that `hundredths / 100` of the pixels do not exceed.
fn percentile(counts: &[usize; 256], hundredths: usize) -> u8 {
    let mut below = 0;
    for (value, count) in (0..=u8::MAX).zip(counts) {
        below += count;
        if below * 100 >= hundredths {
            return value;
        }
    }
    u8::MAX
}

fn laplacian_variance(picture: &Gray) -> f64 {
    let width = picture.width as usize;
    let rows: Vec<&[u8]> = picture.pixels.chunks_exact(width).collect();
    // Whole numbers, so that nothing is rounded.
    let (mut sum, mut squares) = (0_i64, 0_i64);
    for (y, row) in rows.iter().enumerate() {
        let (above, below) = mirrored(y, rows.len());
        let (above, below) = (rows[above], rows[below]);
        for (x, pixel) in row.iter().enumerate() {
            let (left, right) = mirrored(x, width);
            let around = [above[x], below[x], row[left], row[right]];
            let around: i64 = around.iter().map(|p| i64::from(*p)).sum();
            let value = around - 4 * i64::from(*pixel);
            sum += value;
            squares += value * value;
        }
    }
    let n = picture.pixels.len() as f64;
    let mean = sum as f64 / n;
    (squares as f64 / n - mean * mean).max(0.0)
}

/// The places before and after `at`, of `n`.
fn mirrored(at: usize, n: usize) -> (usize, usize) {
    let last = n - 1;
    let before = if at == 0 { 1.min(last) } else { at - 1 };
    let after = if at == last {
        last.saturating_sub(1)
    } else {
        at + 1
    };
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::{resize, testing::ramp};

    #[test]
    fn blur_over_exposure_and_darkness_show() {
        let mut sharp = ramp(40, 30);
        for (at, pixel) in sharp.pixels.iter_mut().enumerate() {
            *pixel = if at % 3 == 0 { 200 } else { 40 };
        }
        let blurred = resize(&resize(&sharp, 10, 8), 40, 30);
        assert!(Gates::of(&blurred).sharpness < Gates::of(&sharp).sharpness / 10.0);
        let mut flat = sharp.clone();
        flat.pixels.fill(255);
        let gates = Gates::of(&flat);
        assert_eq!((gates.saturated, gates.black), (1.0, 0.0));
        assert_eq!((gates.mean, gates.sharpness), (255.0, 0.0));
        flat.pixels[..300].fill(0);
        let gates = Gates::of(&flat);
        assert_eq!((gates.saturated, gates.black), (0.75, 0.25));
        assert_eq!((gates.width, gates.height), (40, 30));
        assert_eq!(gates.percentiles, [0, 0, 0, 0, 255, 255, 255, 255, 255]);
        assert!((gates.deviation - 255.0 * (0.25_f64 * 0.75).sqrt()).abs() < 1e-9);
        assert_eq!(gates.numbers()[0], gates.mean.ln_1p());
        assert!(gates.numbers().iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_gate_is_higher_for_the_spoiled_picture() {
        let sharp = ramp(40, 30);
        let gates = |picture: &Gray| Gates::by_name(&Gates::of(picture).numbers());
        let [(saturation, dim), (blur, crisp)] = gates(&sharp);
        assert_eq!((saturation, blur), ("saturation", "blur"));
        let blurred = resize(&resize(&sharp, 10, 8), 40, 30);
        assert!(gates(&blurred)[1].1 > crisp);
        let mut bright = sharp.clone();
        bright.pixels[..600].fill(255);
        let [(_, brighter), _] = gates(&bright);
        assert!(brighter > dim);
        assert_eq!(brighter, (100.0 * Gates::of(&bright).saturated).ln_1p());
    }

    #[test]
    fn the_smallest_pictures_have_no_edges() {
        for (width, height) in [(1, 1), (1, 2), (2, 1)] {
            let pixels = vec![7; width as usize * height as usize];
            let picture = Gray {
                width,
                height,
                pixels,
            };
            assert_eq!(Gates::of(&picture).sharpness, 0.0);
        }
    }
}
