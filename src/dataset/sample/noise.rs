//! Cheap noise from hashed lattice points: a function of place and seed alone, so that shapes may be
//! painted in any order and overlap without a seam.

/// Well-mixed bits of a lattice point.
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed;
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    h = h.wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

/// White noise in `[0, 1)`.
pub(super) fn grain(x: i32, y: i32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 / 16_777_216.0
}

/// Smooth noise along a line, in `[-1, 1]`, with features about one unit long.
pub(super) fn wave(x: f32, seed: u32) -> f32 {
    let cell = x.floor();
    let (left, right) = (grain(cell as i32, 0, seed), grain(cell as i32 + 1, 0, seed));
    let f = ease(x - cell);
    2.0 * (left + (right - left) * f) - 1.0
}

/// Smooth noise in the plane, in `[-1, 1]`, with features about one unit wide.
pub(super) fn cloud(x: f32, y: f32, seed: u32) -> f32 {
    let (cx, cy) = (x.floor(), y.floor());
    let (ix, iy) = (cx as i32, cy as i32);
    let (fx, fy) = (ease(x - cx), ease(y - cy));
    let row = |y| {
        let (left, right) = (grain(ix, y, seed), grain(ix + 1, y, seed));
        left + (right - left) * fx
    };
    let (top, bottom) = (row(iy), row(iy + 1));
    2.0 * (top + (bottom - top) * fy) - 1.0
}

/// 0 at 0, 1 at 1, flat at both.
pub(super) fn ease(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}
