//! A grayscale picture and the one way to paint on it: areas of a turned, scaled and shifted frame of
//! reference, row by row.

use super::noise::ease;

/// 8-bit grayscale pixels, row by row.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// A frame of reference in the picture: across (`e`, to the right when the ribbon tips point up) and
/// along (`t`, away from the tips), both in pixels of the base size. Its axes are perpendicular, of
/// either handedness.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Where `e = t = 0` lies, in pixels of the picture.
    pub origin: (f32, f32),
    /// Unit vector of `e`.
    pub across: (f32, f32),
    /// Unit vector of `t`.
    pub along: (f32, f32),
    /// Pixels of the picture per unit.
    pub scale: f32,
}

/// A rectangle in a [`View`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub e: (f32, f32),
    pub t: (f32, f32),
}

impl Area {
    /// The square around a disc.
    pub fn around(e: f32, t: f32, radius: f32) -> Self {
        Self {
            e: (e - radius, e + radius),
            t: (t - radius, t + radius),
        }
    }
}

impl View {
    /// Pixel coordinates of a place.
    pub fn to_picture(self, e: f32, t: f32) -> (f32, f32) {
        (
            self.origin.0 + self.scale * (e * self.across.0 + t * self.along.0),
            self.origin.1 + self.scale * (e * self.across.1 + t * self.along.1),
        )
    }

    /// A frame of reference at `(e, t)` whose `along` axis is `direction` of this one (a unit vector).
    pub fn turned(self, e: f32, t: f32, direction: (f32, f32)) -> Self {
        let (de, dt) = direction;
        let mix = |a: f32, b: f32| {
            (
                a * self.across.0 + b * self.along.0,
                a * self.across.1 + b * self.along.1,
            )
        };
        Self {
            origin: self.to_picture(e, t),
            across: mix(dt, -de),
            along: mix(de, dt),
            scale: self.scale,
        }
    }
}

/// Cosine and sine of an angle in degrees, by their series: additions and products alone, the same
/// bits on every machine.
pub(super) fn rotation(degrees: f32) -> (f32, f32) {
    let quarter = (degrees / 90.0).round();
    let x = f64::from(degrees - 90.0 * quarter) * (std::f64::consts::PI / 180.0);
    let x2 = x * x;
    let sin = x * (1.0 - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0 * (1.0 - x2 / 72.0))));
    let cos = 1.0 - x2 / 2.0 * (1.0 - x2 / 12.0 * (1.0 - x2 / 30.0 * (1.0 - x2 / 56.0)));
    let (cos, sin) = (cos as f32, sin as f32);
    match (quarter as i32).rem_euclid(4) {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

impl Canvas {
    /// A picture of one level.
    pub fn new(width: usize, height: usize, level: u8) -> Self {
        Self {
            width,
            height,
            pixels: vec![level; width * height],
        }
    }

    /// Paints an area: `paint(e, t, x, y)` gives the level of a pixel, or `None` to leave it.
    pub fn fill(
        &mut self,
        view: &View,
        area: Area,
        mut paint: impl FnMut(f32, f32, i32, i32) -> Option<u8>,
    ) {
        let corners = [
            view.to_picture(area.e.0, area.t.0),
            view.to_picture(area.e.1, area.t.0),
            view.to_picture(area.e.0, area.t.1),
            view.to_picture(area.e.1, area.t.1),
        ];
        let lowest = corners.iter().fold(f32::INFINITY, |m, c| m.min(c.1));
        let highest = corners.iter().fold(f32::NEG_INFINITY, |m, c| m.max(c.1));
        let first = lowest.ceil().max(0.0) as usize;
        let end = (highest.floor() + 1.0).clamp(0.0, self.height as f32) as usize;
        let (de, dt) = (view.across.0 / view.scale, view.along.0 / view.scale);
        for y in first..end {
            let dy = y as f32 - view.origin.1;
            let e0 = (dy * view.across.1 - view.origin.0 * view.across.0) / view.scale;
            let t0 = (dy * view.along.1 - view.origin.0 * view.along.0) / view.scale;
            let (a, b) = span(e0, de, area.e);
            let (c, d) = span(t0, dt, area.t);
            let left = a.max(c).ceil().max(0.0) as usize;
            let right = (b.min(d).floor() + 1.0).clamp(0.0, self.width as f32) as usize;
            if left >= right {
                continue;
            }
            let row = &mut self.pixels[y * self.width + left..y * self.width + right];
            for (pixel, x) in row.iter_mut().zip(left as i32..) {
                let (e, t) = (e0 + de * x as f32, t0 + dt * x as f32);
                if let Some(level) = paint(e, t, x, y as i32) {
                    *pixel = level;
                }
            }
        }
    }

    /// Softens by the kernel `[k, 256 - 2k, k] / 256` in both directions; `k` up to 85 (a box of three).
    pub fn soften(&mut self, k: u16) {
        let centre = 256 - 2 * k;
        let blend = |a: u8, b: u8, c: u8| {
            ((k * u16::from(a) + centre * u16::from(b) + k * u16::from(c) + 127) >> 8) as u8
        };
        let mut line = vec![0_u8; self.width];
        for row in self.pixels.chunks_exact_mut(self.width) {
            line.copy_from_slice(row);
            for (out, w) in row[1..].iter_mut().zip(line.windows(3)) {
                *out = blend(w[0], w[1], w[2]);
            }
        }
        let mut above = self.pixels[..self.width].to_vec();
        for y in 1..self.height.saturating_sub(1) {
            let (head, below) = self.pixels.split_at_mut((y + 1) * self.width);
            let row = &mut head[y * self.width..];
            line.copy_from_slice(row);
            for (((out, &a), &b), &c) in row.iter_mut().zip(&above).zip(&line).zip(&*below) {
                *out = blend(a, b, c);
            }
            std::mem::swap(&mut above, &mut line);
        }
    }

    /// Blurs by a box of `2 * radius + 1` pixels along rows and, unless `rows_only`, along columns.
    pub fn box_blur(&mut self, radius: usize, rows_only: bool) {
        if radius == 0 {
            return;
        }
        let size = (2 * radius + 1) as u32;
        let mut line = vec![0_u8; self.width];
        for row in self.pixels.chunks_exact_mut(self.width) {
            line.copy_from_slice(row);
            let at = |x: usize| u32::from(line[x.clamp(radius, line.len() - 1 + radius) - radius]);
            let mut sum: u32 = (0..2 * radius + 1).map(at).sum();
            for (x, out) in row.iter_mut().enumerate() {
                *out = (sum / size) as u8;
                sum = sum + at(x + 2 * radius + 1) - at(x);
            }
        }
        if rows_only {
            return;
        }
        let source = self.pixels.clone();
        let (width, height) = (self.width, self.height);
        let row = |y: usize| {
            let y = y.clamp(radius, height - 1 + radius) - radius;
            &source[y * width..(y + 1) * width]
        };
        let mut sums = vec![0_u32; width];
        for y in 0..2 * radius + 1 {
            for (sum, &v) in sums.iter_mut().zip(row(y)) {
                *sum += u32::from(v);
            }
        }
        for y in 0..height {
            let out = &mut self.pixels[y * width..(y + 1) * width];
            let (next, last) = (row(y + 2 * radius + 1), row(y));
            for (((out, sum), &n), &l) in out.iter_mut().zip(&mut sums).zip(next).zip(last) {
                *out = (*sum / size) as u8;
                *sum = *sum + u32::from(n) - u32::from(l);
            }
        }
    }

    /// Mixes in a copy of the picture moved by whole pixels (what moves in from outside is `edge`):
    /// `share` of 256 parts is the copy.
    pub fn ghost(&mut self, dx: i32, dy: i32, share: u32, edge: u8) {
        let source = self.pixels.clone();
        let (width, height) = (self.width as i32, self.height as i32);
        for y in 0..height {
            for x in 0..width {
                let (sx, sy) = (x - dx, y - dy);
                let inside = (0..width).contains(&sx) && (0..height).contains(&sy);
                let copy = if inside {
                    source[(sy * width + sx) as usize]
                } else {
                    edge
                };
                let pixel = &mut self.pixels[(y * width + x) as usize];
                *pixel = ((u32::from(*pixel) * (256 - share) + u32::from(copy) * share) >> 8) as u8;
            }
        }
    }
}

/// The `x` for which `start + step * x` lies within `bounds`.
fn span(start: f32, step: f32, bounds: (f32, f32)) -> (f32, f32) {
    if step.abs() < 1e-6 {
        return if (bounds.0..=bounds.1).contains(&start) {
            (f32::NEG_INFINITY, f32::INFINITY)
        } else {
            (f32::INFINITY, f32::NEG_INFINITY)
        };
    }
    let (a, b) = ((bounds.0 - start) / step, (bounds.1 - start) / step);
    (a.min(b), a.max(b))
}

/// A level from a fraction: 0 is black, 1 is white.
pub(super) fn level(fraction: f32) -> u8 {
    (fraction.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

/// A fraction pushed towards black or white, as the cameras' steep contrast does.
pub(super) fn steep(fraction: f32) -> f32 {
    ease((fraction - 0.2) / 0.6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_agrees_with_the_standard_library() {
        for tenth in -4000..4000_i32 {
            let degrees = tenth as f32 / 10.0;
            let (cos, sin) = rotation(degrees);
            let radians = f64::from(degrees).to_radians();
            assert!((f64::from(cos) - radians.cos()).abs() < 1e-6, "{degrees}");
            assert!((f64::from(sin) - radians.sin()).abs() < 1e-6, "{degrees}");
        }
    }

    #[test]
    fn an_area_covers_exactly_its_pixels() {
        let (cos, sin) = rotation(31.0);
        let view = View {
            origin: (20.3, 14.6),
            across: (cos, sin),
            along: (-sin, cos),
            scale: 1.3,
        };
        let area = Area {
            e: (-4.0, 9.0),
            t: (-3.0, 30.0),
        };
        let mut canvas = Canvas::new(40, 30, 0);
        canvas.fill(&view, area, |_, _, _, _| Some(1));
        for (index, pixel) in canvas.pixels.iter().enumerate() {
            let (x, y) = ((index % 40) as f32 - 20.3, (index / 40) as f32 - 14.6);
            let (e, t) = ((x * cos + y * sin) / 1.3, (-x * sin + y * cos) / 1.3);
            let depth = (e + 4.0).min(9.0 - e).min(t + 3.0).min(30.0 - t);
            if depth.abs() > 1e-3 {
                assert_eq!(*pixel == 1, depth > 0.0, "at ({e}, {t})");
            }
        }
    }

    #[test]
    fn softening_and_blurring_keep_a_flat_picture_flat_and_the_mean_of_a_spot() {
        let mut flat = Canvas::new(9, 7, 200);
        flat.soften(60);
        flat.box_blur(3, false);
        assert!(flat.pixels.iter().all(|p| *p == 200));
        let mut spot = Canvas::new(15, 15, 0);
        spot.pixels[7 * 15 + 7] = 225;
        spot.box_blur(1, false);
        let near = |p: u8| (24..=25).contains(&p);
        assert_eq!(spot.pixels.iter().filter(|p| near(**p)).count(), 9);
        assert_eq!(spot.pixels.iter().filter(|p| **p == 0).count(), 225 - 9);
    }

    #[test]
    fn a_second_exposure_is_moved_and_mixed() {
        let mut canvas = Canvas::new(4, 3, 0);
        canvas.pixels[5] = 200;
        canvas.ghost(1, 0, 128, 0);
        assert_eq!(canvas.pixels[4..8], [0, 100, 100, 0]);
    }
}
