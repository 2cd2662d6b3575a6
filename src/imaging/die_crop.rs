//! The organisers' preprocessing: the frame upright, cut to the strip that holds the ribbons.

use std::borrow::Cow;

use super::{Gray, resize};

/// Names what [`die_crop`] computes. Part of the key of whatever is cached after it, so it changes when
/// the result does.
pub const DIE_CROP_VERSION: &str = "die-crop-1";

/// The die an image was taken of (`lib` in the challenge's files). The camera sees the ribbons of each
/// at an angle of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Die {
    /// `Die01`: one conductor track, seen from one side.
    Die01,
    /// `Die02`: two tracks.
    Die02,
    /// `Die03`: two tracks, from the other side.
    Die03,
    /// `Die04`: one track, from the other side.
    Die04,
}

/// Where the strip of ribbons lies.
struct Strip {
    /// Counter-clockwise rotation that brings the ribbons upright, in degrees.
    degrees: f64,
    /// Left, upper, right and lower edge in the rotated and expanded frame, in pixels; the last two
    /// lie outside.
    edges: [u32; 4],
}

impl Die {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Die01, Self::Die02, Self::Die03, Self::Die04];

    /// The word in the challenge's files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Die01 => "Die01",
            Self::Die02 => "Die02",
            Self::Die03 => "Die03",
            Self::Die04 => "Die04",
        }
    }

    /// The die of that [`Self::name`], whatever its case and the blanks around it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |die: &Self| die.name().eq_ignore_ascii_case(name.trim());
        Self::ALL.into_iter().find(named)
    }

    /// Width and height of its ordinary frames, in pixels: what the edges of the strip are counted in.
    /// The rare larger frames show the same, finer.
    #[must_use]
    pub fn base_size(self) -> (u32, u32) {
        match self {
            Self::Die01 | Self::Die04 => (540, 630),
            Self::Die02 | Self::Die03 => (720, 840),
        }
    }

    /// Width and height of its strip, in pixels: 160 x 560 or 160 x 720.
    #[must_use]
    pub fn crop_size(self) -> (u32, u32) {
        let [left, upper, right, lower] = self.strip().edges;
        (right - left, lower - upper)
    }

    /// The organisers' numbers.
    fn strip(self) -> Strip {
        let (degrees, edges) = match self {
            Self::Die01 => (55.0, [340, 120, 500, 680]),
            Self::Die02 => (-44.0, [480, 210, 640, 930]),
            Self::Die03 => (134.0, [460, 200, 620, 920]),
            Self::Die04 => (35.0, [310, 130, 470, 690]),
        };
        Strip { degrees, edges }
    }
}

/// The strip of `frame`, an image of `die`, that holds the ribbons, upright: [`Die::crop_size`] pixels.
///
/// A frame that is not of the [`Die::base_size`] is resized to it first: the edges are fixed numbers of
/// pixels, and would cut a large frame elsewhere, which looks like drift. Then it is what Pillow gives
/// for `rotate(degrees, resample=BILINEAR, expand=True).crop(edges)`, pixel for pixel. The organisers
/// left `resample` at its default, the nearest pixel, which breaks slanted edges into steps; between
/// pixels nothing is lost, and the strip lies at the same place. What lies outside the frame is black:
/// a corner of 126 pixels for Die01, nothing for the others.
///
/// # Panics
/// When `frame` holds other than `width * height` pixels.
#[must_use]
pub fn die_crop(frame: &Gray, die: Die) -> Gray {
    let (width, height) = die.base_size();
    let base = if (frame.width, frame.height) == (width, height) {
        Cow::Borrowed(frame)
    } else {
        Cow::Owned(resize(frame, width, height))
    };
    assert_eq!(
        base.pixels.len(),
        width as usize * height as usize,
        "a Gray holds width x height pixels"
    );
    let Strip { degrees, edges } = die.strip();
    let [left, upper, right, lower] = edges;
    let source = source_of(f64::from(width), f64::from(height), degrees);
    let mut pixels = Vec::with_capacity((right - left) as usize * (lower - upper) as usize);
    for y in upper..lower {
        for x in left..right {
            let (x, y) = source(f64::from(x) + 0.5, f64::from(y) + 0.5);
            pixels.push(between(&base, x, y));
        }
    }
    Gray {
        width: right - left,
        height: lower - upper,
        pixels,
    }
}

/// The point of a frame of `width` x `height` that stands at a point of the frame rotated
/// counter-clockwise and expanded, as `Image.rotate` of Pillow computes it, its rounding included.
fn source_of(width: f64, height: f64, degrees: f64) -> impl Fn(f64, f64) -> (f64, f64) {
    // As `round(value, 15)` of Python; sines that differ in their last bit come out the same.
    let rounded = |value: f64| (value * 1e15).round() / 1e15;
    let (sin, cos) = degrees.rem_euclid(360.0).to_radians().sin_cos();
    let (sin, cos) = (rounded(sin), rounded(cos));
    let turn = move |x: f64, y: f64| (cos * x - sin * y, sin * x + cos * y);
    let (turned_x, turned_y) = turn(-width / 2.0, -height / 2.0);
    let (start_x, start_y) = (turned_x + width / 2.0, turned_y + height / 2.0);
    let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
    let extent = |along: fn((f64, f64)) -> f64, start: f64| {
        let at = corners.map(|(x, y)| along(turn(x, y)) + start);
        let most = at.into_iter().fold(f64::MIN, f64::max);
        let least = at.into_iter().fold(f64::MAX, f64::min);
        most.ceil() - least.floor()
    };
    // Pillow turns the corners as if back; by symmetry the extent is the same.
    let grown_x = extent(|(x, _)| x, start_x) - width;
    let grown_y = extent(|(_, y)| y, start_y) - height;
    let (moved_x, moved_y) = turn(-grown_x / 2.0, -grown_y / 2.0);
    let (start_x, start_y) = (start_x + moved_x, start_y + moved_y);
    move |x, y| {
        let (x, y) = turn(x, y);
        (x + start_x, y + start_y)
    }
}

/// The level at a point of `frame`, where a pixel's centre is at `.5`; black outside. Fractions are
/// dropped, as Pillow's `bilinear_filter8` does (`Geometry.c`).
fn between(frame: &Gray, x: f64, y: f64) -> u8 {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
    if !inside {
        return 0;
    }
    let (x, y) = (x - 0.5, y - 0.5);
    let (column, line) = (x.floor(), y.floor());
    let (dx, dy) = (x - column, y - line);
    // Left of the first centre `as` makes 0 of -1, which is the nearest pixel.
    let columns = [column as usize, ((column + 1.0) as usize).min(width - 1)];
    let lines = [line as usize, ((line + 1.0) as usize).min(height - 1)];
    let blend = |a: f64, b: f64, share: f64| a + (b - a) * share;
    let [upper, lower] = lines.map(|line| {
        let [a, b] = columns.map(|column| f64::from(frame.pixels[line * width + column]));
        blend(a, b, dx)
    });
    blend(upper, lower, dy) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Soft hills, so that resizing loses little.
    fn hills(width: u32, height: u32) -> Gray {
        let at = |i: u32| {
            let (x, y) = (f64::from(i % width), f64::from(i / width));
            let (u, v) = (x / f64::from(width), y / f64::from(height));
            (128.0 + 60.0 * (9.0 * u).sin() + 50.0 * (7.0 * v + 3.0 * u).cos()) as u8
        };
        Gray {
            width,
            height,
            pixels: (0..width * height).map(at).collect(),
        }
    }

    #[test]
    fn dies_are_found_by_name() {
        for die in Die::ALL {
            assert_eq!(Die::from_name(die.name()), Some(die));
        }
        assert_eq!(Die::from_name(" die03 "), Some(Die::Die03));
        assert_eq!(Die::from_name("Die05"), None);
        assert_eq!(Die::from_name(""), None);
    }

    #[test]
    fn the_strip_of_a_large_frame_is_that_of_the_base_frame() {
        for die in Die::ALL {
            let (width, height) = die.base_size();
            let small = die_crop(&hills(width, height), die);
            assert_eq!((small.width, small.height), die.crop_size());
            for (width, height) in [(990, 1155), (1170, 1365), (1260, 1470)] {
                let large = die_crop(&hills(width, height), die);
                let pairs = small.pixels.iter().zip(&large.pixels);
                let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(3), "{die:?} {width}: {worst:?}");
            }
        }
    }

    #[test]
    fn what_lies_outside_the_frame_is_black() {
        for (die, expected) in Die::ALL.into_iter().zip([126, 0, 0, 0]) {
            let (width, height) = die.base_size();
            let white = Gray {
                width,
                height,
                pixels: vec![255; (width * height) as usize],
            };
            let strip = die_crop(&white, die);
            let black = strip.pixels.iter().filter(|pixel| **pixel == 0).count();
            assert_eq!(black, expected, "{die:?}");
            assert!(strip.pixels.iter().all(|pixel| [0, 255].contains(pixel)));
        }
    }
}
