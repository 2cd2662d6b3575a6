//! Dot products of all rows of one matrix with all rows of another: what distances between embeddings are
//! made of.

use pulp::{Simd, WithSimd};

use crate::arch;

/// Side of the tile of dot products kept in registers.
const TILE: usize = 4;
/// Values of `a` that are gone through again for every four rows of `b`: 256 KiB, in the L2 cache.
const BLOCK: usize = 1 << 16;

/// `out[i][j] = a[i] · b[j]`: a `[m, depth]`, b `[n, depth]`, out `[m, n]`, all row by row. On this thread
/// only; give blocks of `a` to several.
///
/// A product does not depend on the other rows nor on where it stands, to the last bit.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn products(a: &[f32], b: &[f32], depth: usize, out: &mut [f32]) {
    assert!(depth > 0, "rows hold something");
    assert!(
        a.len().is_multiple_of(depth) && b.len().is_multiple_of(depth),
        "whole rows"
    );
    assert_eq!(
        out.len(),
        a.len() / depth * (b.len() / depth),
        "a product for each pair"
    );
    if !out.is_empty() {
        arch().dispatch(Products { a, b, depth, out });
    }
}

struct Products<'a> {
    a: &'a [f32],
    b: &'a [f32],
    depth: usize,
    out: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, depth, out } = self;
        let n = b.len() / depth;
        let rows = (BLOCK / depth).next_multiple_of(TILE).max(TILE);
        let tiles = b.chunks_exact(TILE * depth);
        let rest = tiles.remainder();
        for (a, out) in a.chunks(rows * depth).zip(out.chunks_mut(rows * n)) {
            for (t, b) in tiles.clone().enumerate() {
                stripe::<S, TILE>(simd, a, b, depth, &mut out[t * TILE..], n);
            }
            for (t, b) in rest.chunks_exact(depth).enumerate() {
                stripe::<S, 1>(simd, a, b, depth, &mut out[n - n % TILE + t..], n);
            }
        }
    }
}

/// For each place of a picture of `side * side` places with `depth` values each, the largest product with one of
/// the places up to `reach` rows and columns away in `reference`, if larger than what `best` holds.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn nearby(
    picture: &[f32],
    reference: &[f32],
    side: usize,
    depth: usize,
    reach: usize,
    best: &mut [f32],
) {
    let places = side * side;
    assert!(depth > 0, "places hold something");
    assert_eq!(picture.len(), places * depth, "a picture of that size");
    assert_eq!(reference.len(), places * depth, "a reference of that size");
    assert_eq!(best.len(), places, "a value for each place");
    if places > 0 {
        arch().dispatch(Nearby {
            picture,
            reference,
            side,
            depth,
            reach,
            best,
        });
    }
}

struct Nearby<'a> {
    picture: &'a [f32],
    reference: &'a [f32],
    side: usize,
    depth: usize,
    reach: usize,
    best: &'a mut [f32],
}

impl WithSimd for Nearby<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            picture,
            reference,
            side,
            depth,
            reach,
            best,
        } = self;
        let around = |at: usize| at.saturating_sub(reach)..(at + reach + 1).min(side);
        for y in 0..side {
            for x in 0..side {
                let at = y * side + x;
                let place = &picture[at * depth..][..depth];
                let columns = around(x);
                let mut highest = best[at];
                for row in around(y) {
                    let places =
                        &reference[(row * side + columns.start) * depth..][..columns.len() * depth];
                    let threes = places.chunks_exact(3 * depth);
                    for one in threes.remainder().chunks_exact(depth) {
                        let [[product]] = tile::<S, 1, 1>(simd, place, one, depth);
                        highest = highest.max(product);
                    }
                    for three in threes {
                        let [products] = tile::<S, 1, 3>(simd, place, three, depth);
                        highest = products.iter().fold(highest, |a, b| a.max(*b));
                    }
                }
                best[at] = highest;
            }
        }
    }
}

/// All rows of `a` with `B` rows of `b`; rows of `out` lie `n` apart.
#[inline(always)]
fn stripe<S: Simd, const B: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
    depth: usize,
    out: &mut [f32],
    n: usize,
) {
    let tiles = a.chunks_exact(TILE * depth);
    let rest = tiles.remainder();
    let done = (a.len() - rest.len()) / depth;
    for (t, a) in tiles.enumerate() {
        let sums = tile::<S, TILE, B>(simd, a, b, depth);
        for (i, sums) in sums.iter().enumerate() {
            out[(t * TILE + i) * n..][..B].copy_from_slice(sums);
        }
    }
    for (i, a) in rest.chunks_exact(depth).enumerate() {
        let sums = tile::<S, 1, B>(simd, a, b, depth);
        out[(done + i) * n..][..B].copy_from_slice(&sums[0]);
    }
}

/// `A` rows of `a` with `B` rows of `b`. Each product is summed lane by lane, whatever `A` and `B` are.
#[inline(always)]
fn tile<S: Simd, const A: usize, const B: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
    depth: usize,
) -> [[f32; B]; A] {
    let a: [(&[S::f32s], &[f32]); A] =
        std::array::from_fn(|i| S::as_simd_f32s(&a[i * depth..][..depth]));
    let b: [(&[S::f32s], &[f32]); B] =
        std::array::from_fn(|j| S::as_simd_f32s(&b[j * depth..][..depth]));
    let vectors = depth / S::F32_LANES;
    let heads_a: [&[S::f32s]; A] = std::array::from_fn(|i| &a[i].0[..vectors]);
    let heads_b: [&[S::f32s]; B] = std::array::from_fn(|j| &b[j].0[..vectors]);
    let mut acc = [[simd.splat_f32s(0.0); B]; A];
    for at in 0..vectors {
        let right: [S::f32s; B] = std::array::from_fn(|j| heads_b[j][at]);
        for i in 0..A {
            let left = heads_a[i][at];
            for j in 0..B {
                acc[i][j] = simd.mul_add_e_f32s(left, right[j], acc[i][j]);
            }
        }
    }
    if !depth.is_multiple_of(S::F32_LANES) {
        // What does not fill a vector is read into one with zeros behind.
        for i in 0..A {
            let left = simd.partial_load_f32s(a[i].1);
            for j in 0..B {
                let right = simd.partial_load_f32s(b[j].1);
                acc[i][j] = simd.mul_add_e_f32s(left, right, acc[i][j]);
            }
        }
    }
    let mut sums = [[0.0; B]; A];
    for i in 0..A {
        for j in 0..B {
            sums[i][j] = simd.reduce_sum_f32s(acc[i][j]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise, wrong};

    #[test]
    fn products_are_those_of_the_definition() {
        // Whole tiles and less, whole vectors and less, more rows than a block holds.
        for (m, n, depth) in [(9, 6, 70), (4, 4, 64), (1, 1, 3), (70, 5, 1500), (3, 0, 2)] {
            let (a, b) = (noise(m * depth, 1), noise(n * depth, 2));
            let mut expected = Vec::new();
            for a in a.chunks_exact(depth) {
                for b in b.chunks_exact(depth) {
                    let pairs = a.iter().zip(b);
                    expected.push(pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum());
                }
            }
            everywhere(|| {
                let mut out = vec![f32::NAN; m * n];
                products(&a, &b, depth, &mut out);
                assert!(n == 0 || wrong(&out, &expected) < 2e-6);
            });
        }
    }

    #[test]
    fn the_best_place_nearby_is_that_of_the_definition() {
        for (side, depth, reach) in [(1, 3, 1), (5, 19, 1), (6, 8, 2), (4, 5, 0)] {
            let n = side * side;
            let (a, b) = (noise(n * depth, 5), noise(n * depth, 6));
            let at = |y: usize, x: usize| y * side + x;
            let mut expected = Vec::new();
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let mut highest = 0.01_f64;
                for (v, u) in (0..side).flat_map(|v| (0..side).map(move |u| (v, u))) {
                    if y.abs_diff(v) <= reach && x.abs_diff(u) <= reach {
                        let pairs = a[at(y, x) * depth..].iter().zip(&b[at(v, u) * depth..]);
                        let product = pairs
                            .take(depth)
                            .map(|(x, y)| f64::from(*x) * f64::from(*y));
                        highest = highest.max(product.sum());
                    }
                }
                expected.push(highest);
            }
            everywhere(|| {
                let mut best = vec![0.01; n];
                nearby(&a, &b, side, depth, reach, &mut best);
                assert!(wrong(&best, &expected) < 1e-5);
            });
        }
    }

    #[test]
    fn a_product_does_not_depend_on_its_place() {
        let (m, n, depth) = (11, 7, 133);
        let (a, b) = (noise(m * depth, 3), noise(n * depth, 4));
        everywhere(|| {
            let mut all = vec![0.0; m * n];
            products(&a, &b, depth, &mut all);
            for (i, a) in a.chunks_exact(depth).enumerate() {
                let mut row = vec![0.0; n];
                products(a, &b, depth, &mut row);
                assert_eq!(row, all[i * n..][..n]);
                for (j, b) in b.chunks_exact(depth).enumerate() {
                    let mut one = [0.0];
                    products(a, b, depth, &mut one);
                    assert_eq!(one[0], row[j]);
                }
            }
        });
    }
}
