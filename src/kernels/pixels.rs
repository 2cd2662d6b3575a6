use crate::arch;

/// Pixels between the shifts that are tried.
const STEP: usize = 2;

/// For each pixel of a grey picture of `side * side`, the smallest difference to `reference`, shifted by up to
/// `reach` pixels up, down, left and right in steps of two, if smaller than what `best` holds. What a shift takes
/// from beyond the border counts as no difference seen: `best` stays as it is there.
///
/// # Panics
/// When a slice does not fit the shape.
pub fn least_difference(
    picture: &[u8],
    reference: &[u8],
    side: usize,
    reach: usize,
    best: &mut [u8],
) {
    assert_eq!(picture.len(), side * side, "a picture of that size");
    assert_eq!(reference.len(), side * side, "a reference of that size");
    assert_eq!(best.len(), side * side, "a value for each pixel");
    assert!(reach < side || side == 0, "shifts within the picture");
    arch().dispatch(|| shifted(picture, reference, side, reach, best));
}

#[inline(always)]
fn shifted(picture: &[u8], reference: &[u8], side: usize, reach: usize, best: &mut [u8]) {
    for down in (0..=2 * reach).step_by(STEP) {
        for y in 0..side {
            let Some(from) = (y + down).checked_sub(reach).filter(|row| *row < side) else {
                continue;
            };
            let (row, best) = (&picture[y * side..][..side], &mut best[y * side..][..side]);
            let other = &reference[from * side..][..side];
            for right in (0..=2 * reach).step_by(STEP) {
                // Column x is compared with column x + right - reach.
                let (start, shift) = (reach.saturating_sub(right), right.saturating_sub(reach));
                let n = side - start.max(shift);
                let pairs = row[start..].iter().zip(&other[shift..]).take(n);
                for (best, (a, b)) in best[start..].iter_mut().zip(pairs) {
                    *best = (*best).min(a.abs_diff(*b));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise};

    fn picture(side: usize, seed: u32) -> Vec<u8> {
        let values = noise(side * side, seed);
        values.iter().map(|v| ((v + 0.5) * 255.0) as u8).collect()
    }

    #[test]
    fn each_pixel_is_compared_with_all_shifts_of_the_other() {
        everywhere(|| {
            for (side, reach) in [(1, 0), (5, 2), (37, 2), (40, 4), (33, 0)] {
                let (a, b) = (picture(side, 1), picture(side, 2));
                let mut best = vec![200; side * side];
                least_difference(&a, &b, side, reach, &mut best);
                let reach = reach as i32;
                for y in 0..side as i32 {
                    for x in 0..side as i32 {
                        let mut least = 200;
                        for dy in (-reach..=reach).step_by(2) {
                            for dx in (-reach..=reach).step_by(2) {
                                let (v, u) = (y + dy, x + dx);
                                let inside = 0..side as i32;
                                if inside.contains(&v) && inside.contains(&u) {
                                    let (at, other) = (y * side as i32 + x, v * side as i32 + u);
                                    least = least.min(a[at as usize].abs_diff(b[other as usize]));
                                }
                            }
                        }
                        assert_eq!(
                            best[(y * side as i32 + x) as usize],
                            least,
                            "{side} {y} {x}"
                        );
                    }
                }
            }
        });
    }
}
