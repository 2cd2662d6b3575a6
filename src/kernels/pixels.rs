use std::ops::Range;

use crate::arch;

/// Pixels between the shifts that are tried.
const STEP: usize = 2;
/// Pixels along the side of a window, at most, so that its sum is a `u16`.
const LARGEST: usize = 16;

/// How many windows lie side by side where every shift of each lies within the picture.
#[must_use]
pub fn windows_along(side: usize, window: usize, reach: usize) -> usize {
    (side + 1).saturating_sub(window + 2 * reach)
}

/// For each window of `window * window` pixels of a grey picture of `side * side`, the smallest sum of absolute
/// differences to the same window of `reference`, shifted by up to `reach` pixels up, down, left and right in steps of
/// two, if smaller than what `best` holds. A window is compared as a whole: all of its pixels with the same shift.
/// `best` has [`windows_along`] entries in a row, and as many rows; the first window starts `reach` pixels from the
/// left and from above. Only windows in these `columns` and `rows` of `best` are compared.
///
/// # Panics
/// When a slice or a range does not fit the shape, or a window is empty or larger than 16 pixels.
pub fn least_window_difference(
    (picture, reference): (&[u8], &[u8]),
    side: usize,
    window: usize,
    reach: usize,
    (columns, rows): (Range<usize>, Range<usize>),
    best: &mut [u16],
) {
    assert_eq!(picture.len(), side * side, "a picture of that size");
    assert_eq!(reference.len(), side * side, "a reference of that size");
    assert!((1..=LARGEST).contains(&window), "a window of some pixels");
    let along = windows_along(side, window, reach);
    assert_eq!(best.len(), along * along, "a value for each window");
    assert!(
        columns.end <= along && rows.end <= along,
        "windows that are there"
    );
    if columns.is_empty() || rows.is_empty() {
        return;
    }
    let wide = columns.len() + window - 1;
    let mut sums = Sums {
        rows: vec![0; wide],
        windows: vec![0; columns.len()],
    };
    arch().dispatch(|| {
        for down in (0..=2 * reach).step_by(STEP) {
            for right in (0..=2 * reach).step_by(STEP) {
                // Of one line of the windows, its columns in both pictures.
                let pair = |y: usize| {
                    let own = (y + reach) * side + columns.start + reach;
                    let other = (y + down) * side + columns.start + right;
                    (&picture[own..][..wide], &reference[other..][..wide])
                };
                let best = best.chunks_exact_mut(along).enumerate();
                let best = best.skip(rows.start).take(rows.len());
                let best = best.map(|(y, row)| (y, &mut row[columns.clone()]));
                sums.lower(pair, window, best);
            }
        }
    });
}

/// For each row of `rows`, as long as `picture`, the sum of squared differences to it.
///
/// # Panics
/// When `rows` is no whole number of rows, `out` has not one value for each, or a row is so long (66,051 values) that
/// the sum might not fit.
pub fn squared_differences(picture: &[u8], rows: &[u8], out: &mut [u32]) {
    assert!(
        (1..=u32::MAX as usize / (255 * 255)).contains(&picture.len()),
        "a row whose sum fits"
    );
    assert_eq!(
        rows.len(),
        out.len() * picture.len(),
        "a value for each row"
    );
    arch().dispatch(|| {
        for (out, row) in out.iter_mut().zip(rows.chunks_exact(picture.len())) {
            *out = picture.iter().zip(row).fold(0, |sum, (a, b)| {
                let difference = u32::from(a.abs_diff(*b));
                sum + difference * difference
            });
        }
    });
}

/// Sums over the rows of a window, of each column; then over its columns.
struct Sums {
    rows: Vec<u16>,
    windows: Vec<u16>,
}

impl Sums {
    /// One shift, whose pairs of lines `pair` gives, for some rows of windows in order.
    #[inline(always)]
    fn lower<'a>(
        &mut self,
        pair: impl Fn(usize) -> (&'a [u8], &'a [u8]),
        window: usize,
        best: impl Iterator<Item = (usize, &'a mut [u16])>,
    ) {
        let mut started = false;
        for (y, best) in best {
            if !started {
                self.rows.fill(0);
                for line in y..y + window - 1 {
                    self.add(pair(line));
                }
                started = true;
            }
            self.add(pair(y + window - 1));
            let along = self.windows.len();
            self.windows.copy_from_slice(&self.rows[..along]);
            for column in 1..window {
                for (sum, v) in self.windows.iter_mut().zip(&self.rows[column..]) {
                    *sum += v;
                }
            }
            for (best, sum) in best.iter_mut().zip(&self.windows) {
                *best = (*best).min(*sum);
            }
            let (a, b) = pair(y);
            for (sum, (a, b)) in self.rows.iter_mut().zip(a.iter().zip(b)) {
                *sum -= u16::from(a.abs_diff(*b));
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, (a, b): (&[u8], &[u8])) {
        for (sum, (a, b)) in self.rows.iter_mut().zip(a.iter().zip(b)) {
            *sum += u16::from(a.abs_diff(*b));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{everywhere, noise};

    fn noisy(pixels: usize, seed: u32) -> Vec<u8> {
        let values = noise(pixels, seed);
        values.iter().map(|v| ((v + 0.5) * 255.0) as u8).collect()
    }

    fn picture(side: usize, seed: u32) -> Vec<u8> {
        noisy(side * side, seed)
    }

    #[test]
    fn each_window_is_compared_with_all_shifts_of_the_other() {
        everywhere(|| {
            for (side, window, reach) in [(1, 1, 0), (9, 5, 2), (37, 5, 2), (40, 3, 4), (33, 16, 0)]
            {
                let (a, b) = (picture(side, 1), picture(side, 2));
                let along = windows_along(side, window, reach);
                assert_eq!(along, side + 1 - window - 2 * reach);
                let most = 80 * (window * window) as u16;
                let mut best = vec![most; along * along];
                let (columns, rows) = (along / 3..along, 0..along - along / 4);
                let part = (columns.clone(), rows.clone());
                least_window_difference((&a, &b), side, window, reach, part, &mut best);
                for (at, found) in best.iter().enumerate() {
                    let (y, x) = (at / along, at % along);
                    if !rows.contains(&y) || !columns.contains(&x) {
                        assert_eq!(*found, most, "{side} {window} {reach} {y} {x}");
                        continue;
                    }
                    let mut least = most;
                    for down in (0..=2 * reach).step_by(2) {
                        for right in (0..=2 * reach).step_by(2) {
                            let pixels = (0..window * window).map(|i| (i / window, i % window));
                            let difference = |(dy, dx): (usize, usize)| {
                                let one = a[(y + reach + dy) * side + x + reach + dx];
                                let other = b[(y + down + dy) * side + x + right + dx];
                                u16::from(one.abs_diff(other))
                            };
                            least = least.min(pixels.map(difference).sum());
                        }
                    }
                    assert_eq!(*found, least, "{side} {window} {reach} {y} {x}");
                }
            }
        });
    }

    #[test]
    fn squares_are_summed_row_by_row() {
        everywhere(|| {
            for (length, n) in [(1, 3), (64, 5), (71, 4), (300, 2)] {
                let (own, rows) = (noisy(length, 1), noisy(length * n, 2));
                let mut found = vec![7; n];
                squared_differences(&own, &rows, &mut found);
                let expected = rows.chunks(length).map(|row| {
                    let pairs = own.iter().zip(row);
                    pairs
                        .map(|(a, b)| (i64::from(*a) - i64::from(*b)).pow(2))
                        .sum()
                });
                let found: Vec<i64> = found.into_iter().map(i64::from).collect();
                assert_eq!(found, expected.collect::<Vec<i64>>(), "{length}");
            }
            let mut most = [0];
            squared_differences(&[0; 66_051], &[255; 66_051], &mut most);
            assert_eq!(most, [66_051 * 255 * 255]);
        });
    }

    #[test]
    fn a_picture_smaller_than_a_window_has_none() {
        assert_eq!(windows_along(8, 5, 2), 0);
        least_window_difference(
            (&picture(8, 1), &picture(8, 2)),
            8,
            5,
            2,
            (0..0, 0..0),
            &mut [],
        );
    }
}
