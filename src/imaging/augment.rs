//! Random small changes of view for training, as the study made them with Keras.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Fraction bits of a source coordinate: 299 pixels away from the start, the rounded steps have gone
/// astray by less than 1/30,000 pixel.
const COORDINATE_BITS: u32 = 24;
/// Fraction bits of the weight of a neighbour; two weights and a pixel fit 32 bits.
const WEIGHT_BITS: u32 = 11;
/// The weight 1.
const WEIGHT_ONE: u32 = 1 << WEIGHT_BITS;

/// How far an image may be changed at random while training. Each number is half of a range around "no
/// change"; all zero, the default, is none. Flips are off: they hurt in the study, since a ribbon has a
/// direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation about the centre by at most this, in degrees, `0..=180`.
    pub rotation_deg: f32,
    /// Shear by at most this, in degrees, `0..=45`.
    pub shear_deg: f32,
    /// Each axis is stretched by a factor of its own in `1 - zoom ..= 1 + zoom`; `0..=0.9`.
    pub zoom: f32,
    /// Shift along each axis by at most this fraction of the side, `0..=1`.
    pub shift: f32,
    /// Grey levels are multiplied by `1 - brightness ..= 1 + brightness`; `0..=1`.
    pub brightness: f32,
    /// Every other image, drawn at random, is mirrored left to right.
    pub flip_horizontal: bool,
    /// Every other image, drawn at random, is mirrored top to bottom.
    pub flip_vertical: bool,
}

/// A value of an [`Augmentation`] that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the augmentation says {key} = {value}, which must be {expected}")]
pub struct AugmentationError {
    /// The name of the field.
    pub key: &'static str,
    /// What it says.
    pub value: f32,
    /// What it must be, in words that follow "must be".
    pub expected: &'static str,
}

impl Augmentation {
    /// What the study trained with: 15 degrees of rotation, 1 of shear, 7 % of zoom.
    #[must_use]
    pub fn study() -> Self {
        Self {
            rotation_deg: 15.0,
            shear_deg: 1.0,
            zoom: 0.07,
            ..Self::default()
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every value lies in its range.
    ///
    /// # Errors
    /// [`AugmentationError`] for the first that does not.
    pub fn check(&self) -> Result<(), AugmentationError> {
        for (key, value, largest, expected) in [
            ("rotation_deg", self.rotation_deg, 180.0, "from 0 to 180"),
            ("shear_deg", self.shear_deg, 45.0, "from 0 to 45"),
            ("zoom", self.zoom, 0.9, "from 0 to 0.9"),
            ("shift", self.shift, 1.0, "from 0 to 1"),
            ("brightness", self.brightness, 1.0, "from 0 to 1"),
        ] {
            // So that NaN is refused, too.
            if !(0.0..=largest).contains(&value) {
                return Err(AugmentationError {
                    key,
                    value,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// One random transform, the same for the same `seed` on every machine. Every parameter takes its
    /// own share of the random numbers, so that switching one on leaves the others as they were.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Transform {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut within = |half: f32| half * (2.0 * rng.random::<f32>() - 1.0);
        let mut drawn = Transform {
            rotation_deg: within(self.rotation_deg),
            shift_x: within(self.shift),
            shift_y: within(self.shift),
            shear_deg: within(self.shear_deg),
            zoom_x: 1.0 + within(self.zoom),
            zoom_y: 1.0 + within(self.zoom),
            brightness: 1.0 + within(self.brightness),
        };
        // A negative zoom mirrors the result, as Keras flips what it has rotated and zoomed.
        if rng.random::<bool>() && self.flip_horizontal {
            drawn.zoom_x = -drawn.zoom_x;
        }
        if rng.random::<bool>() && self.flip_vertical {
            drawn.zoom_y = -drawn.zoom_y;
        }
        drawn
    }

    /// Writes to `out` the square image `pixels` of `side` x `side` bytes, changed by what
    /// [`Self::draw`] gives for `seed`.
    ///
    /// # Panics
    /// As [`Transform::apply`].
    pub fn apply(&self, pixels: &[u8], side: u32, seed: u64, out: &mut [u8]) {
        self.draw(seed).apply(pixels, side, out);
    }
}

/// One change of view.
///
/// The geometry is that of `apply_affine_transform` in Keras (`keras/src/legacy/preprocessing/image.py`)
/// with `order=1` and `fill_mode="nearest"`: the pixel at `(x, y)` of the result is what the image shows,
/// between its pixels, at
///
/// ```text
/// c + R(rotation) ( shift + S(shear) Z(zoom) ( (x, y) - c ) )
///
/// R = cos  -sin     S = 1  -sin     Z = zoom_x  0         c = (side - 1) / 2, the centre
///     sin   cos         0   cos         0       zoom_y
/// ```
///
/// with `x` along a row and `y` down. So a zoom above 1 shows more of the image, smaller. What lies
/// outside the image takes the value of the nearest pixel on its edge.
///
/// The brightness comes last. Keras' own brightness stretches the image to full contrast first, which
/// would undo every other difference in exposure; here levels are multiplied and clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Rotation in degrees.
    pub rotation_deg: f32,
    /// Shear in degrees.
    pub shear_deg: f32,
    /// Factor along the rows; below 0 it mirrors left to right, too.
    pub zoom_x: f32,
    /// Factor along the columns; below 0 it mirrors top to bottom, too.
    pub zoom_y: f32,
    /// Shift along the rows, as a fraction of the side.
    pub shift_x: f32,
    /// Shift along the columns, as a fraction of the side.
    pub shift_y: f32,
    /// Factor of the grey levels.
    pub brightness: f32,
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            rotation_deg: 0.0,
            shear_deg: 0.0,
            zoom_x: 1.0,
            zoom_y: 1.0,
            shift_x: 0.0,
            shift_y: 0.0,
            brightness: 1.0,
        }
    }
}

impl Transform {
    /// Writes the changed square image `pixels` of `side` x `side` bytes to `out`.
    ///
    /// # Panics
    /// When `pixels` or `out` holds other than `side * side` bytes, or `side` is 0 or above 65,535.
    pub fn apply(&self, pixels: &[u8], side: u32, out: &mut [u8]) {
        let n = side as usize;
        assert!((1..=65_535).contains(&side), "an image has a sane side");
        assert_eq!(pixels.len(), n * n, "a square image");
        assert_eq!(out.len(), n * n, "room for a square image");
        let moves = Self {
            brightness: 1.0,
            ..*self
        } != Self::default();
        if moves {
            self.sampling(side).apply(pixels, n, out);
        } else {
            out.copy_from_slice(pixels);
        }
        if self.brightness != 1.0 {
            // `as` clips, and takes NaN for black.
            let level = |level: usize| (level as f32 * self.brightness).round() as u8;
            let levels: [u8; 256] = std::array::from_fn(level);
            for pixel in out {
                *pixel = levels[usize::from(*pixel)];
            }
        }
    }

    /// The source of each pixel, in steps of `2^-COORDINATE_BITS` pixels: so coarse that sines which
    /// differ in their last bit from one machine to the next come out the same.
    fn sampling(&self, side: u32) -> Sampling {
        let fixed = |value: f64| (value * f64::from(1 << COORDINATE_BITS)).round() as i64;
        let (sin, cos) = f64::from(self.rotation_deg).to_radians().sin_cos();
        let (shear_sin, shear_cos) = f64::from(self.shear_deg).to_radians().sin_cos();
        let (zoom_x, zoom_y) = (f64::from(self.zoom_x), f64::from(self.zoom_y));
        let across = (cos * zoom_x, sin * zoom_x);
        let down = (
            (-cos * shear_sin - sin * shear_cos) * zoom_y,
            (-sin * shear_sin + cos * shear_cos) * zoom_y,
        );
        let centre = f64::from(side - 1) / 2.0;
        let shift_x = f64::from(self.shift_x) * f64::from(side);
        let shift_y = f64::from(self.shift_y) * f64::from(side);
        let shift = (cos * shift_x - sin * shift_y, sin * shift_x + cos * shift_y);
        Sampling {
            start: (
                fixed(centre + shift.0 - centre * (across.0 + down.0)),
                fixed(centre + shift.1 - centre * (across.1 + down.1)),
            ),
            across: (fixed(across.0), fixed(across.1)),
            down: (fixed(down.0), fixed(down.1)),
        }
    }
}

/// Where the pixels of an image come from: `(x, y)`, in steps of `2^-COORDINATE_BITS` pixels.
struct Sampling {
    /// The source of the first pixel.
    start: (i64, i64),
    /// From a pixel to its right neighbour.
    across: (i64, i64),
    /// From a pixel to the one below.
    down: (i64, i64),
}

impl Sampling {
    fn apply(&self, pixels: &[u8], side: usize, out: &mut [u8]) {
        let last = side - 1;
        let limit = (last as i64) << COORDINATE_BITS;
        let weight = |at: i64| (at >> (COORDINATE_BITS - WEIGHT_BITS)) as u32 & (WEIGHT_ONE - 1);
        let mut row_start = self.start;
        for row in out.chunks_exact_mut(side) {
            let mut from = row_start;
            for pixel in row {
                let (x, y) = (from.0.clamp(0, limit), from.1.clamp(0, limit));
                let (column, line) = (
                    (x >> COORDINATE_BITS) as usize,
                    (y >> COORDINATE_BITS) as usize,
                );
                let right = usize::from(column < last);
                let below = if line < last { side } else { 0 };
                let at = line * side + column;
                let level = |at: usize| u32::from(pixels[at]);
                let blend = |a: u32, b: u32, weight: u32| a * (WEIGHT_ONE - weight) + b * weight;
                let upper = blend(level(at), level(at + right), weight(x));
                let lower = blend(level(at + below), level(at + below + right), weight(x));
                let half = 1 << (2 * WEIGHT_BITS - 1);
                *pixel = ((blend(upper, lower, weight(y)) + half) >> (2 * WEIGHT_BITS)) as u8;
                from = (from.0 + self.across.0, from.1 + self.across.1);
            }
            row_start = (row_start.0 + self.down.0, row_start.1 + self.down.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An image whose pixels differ.
    fn speckled(side: u32) -> Vec<u8> {
        (0..side * side)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect()
    }

    fn changed(augmentation: &Augmentation, pixels: &[u8], side: u32, seed: u64) -> Vec<u8> {
        let mut out = vec![0; pixels.len()];
        augmentation.apply(pixels, side, seed, &mut out);
        out
    }

    #[test]
    fn none_is_the_identity_and_the_study_is_not() {
        assert!(Augmentation::default().is_none());
        assert!(!Augmentation::study().is_none());
        let pixels = speckled(33);
        for seed in 0..20 {
            assert_eq!(changed(&Augmentation::default(), &pixels, 33, seed), pixels);
            assert_ne!(changed(&Augmentation::study(), &pixels, 33, seed), pixels);
        }
        // Also where the pixels are looked up one by one.
        let mut out = vec![0; pixels.len()];
        Transform::default()
            .sampling(33)
            .apply(&pixels, 33, &mut out);
        assert_eq!(out, pixels);
    }

    #[test]
    fn flips_mirror_every_other_image_and_leave_the_other_changes_as_they_were() {
        let flipping = Augmentation {
            flip_horizontal: true,
            flip_vertical: true,
            ..Augmentation::default()
        };
        assert!(!flipping.is_none());
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut seen = std::collections::BTreeMap::new();
        for seed in 0..400 {
            *seen
                .entry(changed(&flipping, &pixels, 3, seed))
                .or_insert(0) += 1;
        }
        let expected: [[u8; 9]; 4] = [
            [1, 2, 3, 4, 5, 6, 7, 8, 9],
            [3, 2, 1, 6, 5, 4, 9, 8, 7],
            [7, 8, 9, 4, 5, 6, 1, 2, 3],
            [9, 8, 7, 6, 5, 4, 3, 2, 1],
        ];
        let found: Vec<&[u8]> = seen.keys().map(Vec::as_slice).collect();
        assert_eq!(found, expected.each_ref().map(|image| &image[..]));
        assert!(seen.values().all(|n| *n > 60), "{seen:?}");
        let both = Augmentation {
            flip_horizontal: true,
            ..Augmentation::study()
        };
        for seed in 0..20 {
            let (plain, flipped) = (Augmentation::study().draw(seed), both.draw(seed));
            let zoom_x = flipped.zoom_x.abs();
            assert_eq!(Transform { zoom_x, ..flipped }, plain);
        }
    }

    #[test]
    fn a_quarter_turn_moves_pixels_and_a_whole_shift_leaves_the_edge() {
        #[rustfmt::skip]
        let pixels = [
            1, 2, 3,
            4, 5, 6,
            7, 8, 9,
        ];
        let apply = |transform: Transform| {
            let mut out = [0; 9];
            transform.apply(&pixels, 3, &mut out);
            out
        };
        let turned = apply(Transform {
            rotation_deg: 90.0,
            ..Transform::default()
        });
        assert_eq!(turned, [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        let shifted = apply(Transform {
            shift_x: 1.0 / 3.0,
            ..Transform::default()
        });
        assert_eq!(shifted, [2, 3, 3, 5, 6, 6, 8, 9, 9]);
        let gone = apply(Transform {
            shift_y: -5.0,
            ..Transform::default()
        });
        assert_eq!(gone, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
        let bright = apply(Transform {
            brightness: 31.0,
            ..Transform::default()
        });
        assert_eq!(bright, [31, 62, 93, 124, 155, 186, 217, 248, 255]);
    }

    #[test]
    fn a_draw_is_the_same_on_every_machine() {
        let drawn = Augmentation {
            shift: 0.1,
            brightness: 0.2,
            ..Augmentation::study()
        }
        .draw(157);
        // Switching the shift and the brightness off leaves the rest as it was.
        let fewer = Augmentation::study().draw(157);
        assert_eq!(drawn.rotation_deg, fewer.rotation_deg);
        assert_eq!(drawn.zoom_y, fewer.zoom_y);
        assert_eq!((fewer.shift_x, fewer.brightness), (0.0, 1.0));
        let expected = Transform {
            rotation_deg: -8.158_987,
            shear_deg: -0.654_862_76,
            zoom_x: 0.956_174_1,
            zoom_y: 1.044_292_4,
            shift_x: -0.022_271_18,
            shift_y: 0.081_353_545,
            brightness: 0.931_588_9,
        };
        assert_eq!(drawn, expected);
        let sum: u64 = (0..100)
            .flat_map(|seed| changed(&Augmentation::study(), &speckled(32), 32, seed))
            .map(u64::from)
            .sum();
        assert_eq!(sum, 13_057_792);
    }

    #[test]
    fn values_out_of_range_are_named() {
        Augmentation::study().check().expect("in range");
        Augmentation::default().check().expect("in range");
        let wrong = Augmentation {
            zoom: 1.0,
            ..Augmentation::study()
        };
        let error = wrong.check().expect_err("turns the image inside out");
        assert_eq!(error.key, "zoom");
        assert_eq!(
            error.to_string(),
            "the augmentation says zoom = 1, which must be from 0 to 0.9"
        );
        for rotation_deg in [-1.0, f32::NAN, f32::INFINITY] {
            let wrong = Augmentation {
                rotation_deg,
                ..Augmentation::default()
            };
            assert_eq!(wrong.check().expect_err("no angle").key, "rotation_deg");
        }
    }

    #[test]
    fn a_plan_names_what_it_wants_and_nothing_else() {
        let some: Augmentation =
            toml::from_str("rotation_deg = 15.0\nshear_deg = 1.0\nzoom = 0.07").expect("read");
        assert_eq!(some, Augmentation::study());
        assert!(toml::from_str::<Augmentation>("flip = 1.0").is_err());
    }

    fn any_augmentation() -> impl Strategy<Value = Augmentation> {
        (
            0.0..=180_f32,
            0.0..=45_f32,
            0.0..=0.9_f32,
            0.0..=1_f32,
            any::<bool>(),
        )
            .prop_map(|(rotation_deg, shear_deg, zoom, shift, flip_horizontal)| {
                Augmentation {
                    rotation_deg,
                    shear_deg,
                    zoom,
                    shift,
                    flip_horizontal,
                    ..Augmentation::default()
                }
            })
    }

    proptest! {
        #[test]
        fn no_level_is_invented(
            augmentation in any_augmentation(),
            seed: u64,
            pixels in proptest::collection::vec(90..=170_u8, 81),
        ) {
            prop_assert_eq!(augmentation.check(), Ok(()));
            let out = changed(&augmentation, &pixels, 9, seed);
            prop_assert!(out.iter().min() >= pixels.iter().min());
            prop_assert!(out.iter().max() <= pixels.iter().max());
        }

        #[test]
        fn a_seed_is_a_transform(augmentation in any_augmentation(), seed: u64) {
            let bright = Augmentation { brightness: 0.5, ..augmentation };
            let drawn = bright.draw(seed);
            prop_assert_eq!(drawn, bright.draw(seed));
            prop_assert_ne!(drawn, bright.draw(seed.wrapping_add(1)));
            prop_assert!(drawn.rotation_deg.abs() <= bright.rotation_deg);
            prop_assert!(drawn.shear_deg.abs() <= bright.shear_deg);
            prop_assert!(drawn.shift_x.abs().max(drawn.shift_y.abs()) <= bright.shift);
            for zoom in [drawn.zoom_x, drawn.zoom_y] {
                prop_assert!((zoom.abs() - 1.0).abs() <= bright.zoom + 1e-6);
            }
            prop_assert!((drawn.brightness - 1.0).abs() <= 0.5);
        }

        #[test]
        fn any_transform_of_any_side_stays_inside(
            side in 1..=12_u32,
            rotation_deg in -1000.0..1000_f32,
            zoom_x in -100.0..100_f32,
            shift_y in -100.0..100_f32,
        ) {
            let transform = Transform { rotation_deg, zoom_x, shift_y, ..Transform::default() };
            let pixels = vec![77; (side * side) as usize];
            let mut out = vec![0; pixels.len()];
            transform.apply(&pixels, side, &mut out);
            prop_assert_eq!(out, pixels);
        }
    }
}
