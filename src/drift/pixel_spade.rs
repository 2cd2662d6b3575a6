//! What looks like in none of the similar pictures.

use std::ops::Range;

use driftscope_kernels::{least_window_difference, squared_differences, windows_along};

use super::DriftError;

/// Memory for regular pictures, bytes.
const MEMORY: usize = 250_000_000;
/// Pixels up, down, left and right by which pictures of the same scene may be shifted.
const REACH: usize = 2;
/// Side of the squares that pictures are told alike by, and of the windows that are compared.
const BLOCK: usize = 6;
const WINDOW: usize = 5;
/// Blocks along a part of the picture, which has similar pictures of its own, and blocks around it by which they are
/// told alike too.
const PART: usize = 6;
const AROUND: usize = 1;
/// One window in so many counts as odd area, and as the oddest spot.
const AREA_SHARE: usize = 100;
const SPOT_SHARE: usize = 1_000;
/// Windows to the right and down from one to another that a spot has to stand out from: two windows away in four
/// directions.
const BESIDE: [(isize, isize); 4] = [(10, 0), (7, 7), (0, 10), (-7, 7)];

/// The pictures of one set, fetched one at a time: square, grey, all of one side.
pub trait PictureSource: Sync {
    /// Pixels in a row and rows, as many for each.
    fn side(&self) -> usize;

    /// The picture in row `row` of the set, rows from the top.
    fn picture(&self, row: usize) -> Vec<u8>;

    /// Plain numbers of it, such as its brightness: as many for each picture, in the same order.
    fn numbers(&self, row: usize) -> Vec<f64>;

    /// Those of its `numbers` that give away a spoiled picture by themselves, by name, each turned so that higher is odder;
    /// none where the numbers have no such meaning.
    fn gates(&self, _numbers: &[f64]) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Width and height of what it was made of, in pixels; none where it was made of no file.
    fn size(&self, row: usize) -> Option<(u32, u32)>;
}

/// Compares each window of a few pixels with the same place of similar regular pictures, and keeps the smallest
/// difference: SPADE (Cohen & Hoshen, 2020, <https://arxiv.org/abs/2005.02357>) on the pixels themselves. It sees what
/// a network overlooks, such as a speck of debris that is small against a network's field of view. It means nothing
/// where pictures are not taken of the same scene again and again; its calibration on regular pictures says so.
///
/// Two departures from the paper. A window is compared as a whole: where what is bright in one picture is dark in
/// another, each pixel alone of a speck would be like one of them. And each part of a picture has similar pictures of
/// its own: what varies at one place does not have to come together with what varies at another.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelSpade {
    side: usize,
    k: usize,
    pictures: Vec<u8>,
    /// Side by side.
    parts: Vec<Part>,
}

/// What [`PixelSpade`] says of a picture, in grey levels `0..=255`. Higher is more like drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelSpadeScore {
    /// Mean difference of all windows.
    pub mean: f64,
    /// Of the hundredth of them that differ most.
    pub area: f64,
    /// Of the thousandth of them that stand out most from the windows on both sides, in whichever direction they do so
    /// least: a spot does in all of them, an edge that has moved does not along itself. Negative only where no window
    /// does.
    pub spot: f64,
}

impl PixelSpade {
    /// How many regular pictures of this side it remembers, at most.
    #[must_use]
    pub fn capacity(side: usize) -> usize {
        MEMORY / (side * side).max(1)
    }

    /// Remembers regular pictures of `side * side` pixels. `k` is the number that each part of one is compared with.
    ///
    /// # Errors
    /// [`DriftError::NoSuchNeighbour`] where there are not more than `k` pictures (each has to have `k` others),
    /// [`DriftError::DimensionMismatch`], [`DriftError::NoEmbeddings`] for pictures too small for a window.
    pub fn fit(
        side: usize,
        k: usize,
        pictures: impl ExactSizeIterator<Item = Vec<u8>>,
    ) -> Result<Self, DriftError> {
        let n = pictures.len();
        if side < BLOCK.max(WINDOW + 2 * REACH) {
            return Err(DriftError::NoEmbeddings);
        }
        if !(1..n).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: n });
        }
        let mut kept = Self {
            side,
            k,
            pictures: Vec::with_capacity(n * side * side),
            parts: Part::all(side),
        };
        for picture in pictures {
            let picture = kept.smooth(&picture)?;
            let means = blocks(&picture, side);
            for part in &mut kept.parts {
                part.remember(&means);
            }
            kept.pictures.extend(picture);
        }
        Ok(kept)
    }

    /// The score of one picture; `without` leaves out remembered ones by their place: the picture itself, say.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn score(
        &self,
        picture: &[u8],
        without: impl Fn(usize) -> bool,
    ) -> Result<PixelSpadeScore, DriftError> {
        let mut windows = self.map(picture, without)?;
        let mut spots = spots(&windows, windows_along(self.side, WINDOW, REACH));
        windows.sort_unstable_by(|a, b| b.cmp(a));
        spots.sort_unstable_by(|a, b| b.cmp(a));
        let area = windows.len().div_ceil(AREA_SHARE);
        let spot = spots.len().div_ceil(SPOT_SHARE);
        Ok(PixelSpadeScore {
            mean: mean(windows.iter().map(|v| f64::from(*v))),
            area: mean(windows[..area].iter().map(|v| f64::from(*v))),
            spot: mean(spots[..spot].iter().map(|v| f64::from(*v))),
        })
    }

    /// The smallest difference of each window of 5 x 5 pixels, summed over them: rows from the top, the first window 2
    /// pixels from the border.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn map(
        &self,
        picture: &[u8],
        without: impl Fn(usize) -> bool,
    ) -> Result<Vec<u16>, DriftError> {
        let picture = self.smooth(picture)?;
        let own = blocks(&picture, self.side);
        let known = self.pictures.len() / picture.len();
        let along = windows_along(self.side, WINDOW, REACH);
        let mut best = vec![u16::MAX; along * along];
        let mut distances = vec![0; known];
        for part in &self.parts {
            squared_differences(&part.of(&own), &part.known, &mut distances);
            let order = distances.iter().zip(0..);
            let mut order: Vec<(u32, usize)> = order
                .filter(|(_, at)| !without(*at))
                .map(|(distance, at)| (*distance, at))
                .collect();
            let k = self.k.min(order.len());
            if k < order.len() {
                order.select_nth_unstable(k);
            }
            for (_, at) in &order[..k] {
                let reference = &self.pictures[at * picture.len()..][..picture.len()];
                let pictures = (&picture[..], reference);
                let windows = (part.columns.windows.clone(), part.rows.windows.clone());
                least_window_difference(pictures, self.side, WINDOW, REACH, windows, &mut best);
            }
        }
        Ok(best)
    }

    /// The mean over 3 x 3 pixels, so that grain counts less. The outermost pixels stay as they are.
    fn smooth(&self, picture: &[u8]) -> Result<Vec<u8>, DriftError> {
        let side = self.side;
        if picture.len() != side * side {
            return Err(DriftError::DimensionMismatch {
                expected: side * side,
                found: picture.len(),
            });
        }
        let mut smooth = picture.to_vec();
        for y in 1..side - 1 {
            let rows = [y - 1, y, y + 1].map(|row| &picture[row * side..][..side]);
            for x in 1..side - 1 {
                let sum =
                    |row: &[u8]| u32::from(row[x - 1]) + u32::from(row[x]) + u32::from(row[x + 1]);
                let sum: u32 = rows.iter().map(|row| sum(row)).sum();
                smooth[y * side + x] = ((sum + 4) / 9) as u8;
            }
        }
        Ok(smooth)
    }
}

/// Of sums over windows, in grey levels.
fn mean(sums: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = sums.len() as f64;
    sums.sum::<f64>() / n / (WINDOW * WINDOW) as f64
}

/// How much each window differs more than the larger of the two on both sides, in the direction in which that is least.
/// Beyond the border there is what is at the border.
fn spots(windows: &[u16], along: usize) -> Vec<i32> {
    let clamped = |at: usize, by: isize| at.saturating_add_signed(by).min(along - 1);
    let spot = |at: usize| {
        let (y, x) = (at / along, at % along);
        let beside = |(right, down): (isize, isize)| {
            let other = |by: isize| windows[clamped(y, by * down) * along + clamped(x, by * right)];
            i32::from(windows[at]) - i32::from(other(1).max(other(-1)))
        };
        let least = BESIDE.into_iter().map(beside).min();
        least.expect("there are directions")
    };
    (0..windows.len()).map(spot).collect()
}

/// Means of squares of `BLOCK` pixels; what is left over at the right and below does not count.
fn blocks(picture: &[u8], side: usize) -> Vec<u8> {
    let n = side / BLOCK;
    let mut sums = vec![0_u32; n * n];
    for (y, row) in picture.chunks_exact(side).take(n * BLOCK).enumerate() {
        for (sum, block) in sums[y / BLOCK * n..][..n]
            .iter_mut()
            .zip(row.chunks_exact(BLOCK))
        {
            *sum += block.iter().map(|v| u32::from(*v)).sum::<u32>();
        }
    }
    sums.iter()
        .map(|sum| (sum / (BLOCK * BLOCK) as u32) as u8)
        .collect()
}

/// Where a part lies along one side of the picture.
#[derive(Clone, Debug, PartialEq)]
struct Stretch {
    /// The blocks that it and what is around it are told alike by.
    blocks: Range<usize>,
    /// The windows with their middle in it.
    windows: Range<usize>,
}

impl Stretch {
    /// All of them, in order; the last takes what is left over.
    fn all(side: usize) -> Vec<Self> {
        let blocks = side / BLOCK;
        let parts = (blocks / PART).max(1);
        let along = windows_along(side, WINDOW, REACH);
        // The first window from this part on.
        let start = |part: usize| match part {
            0 => 0,
            part if part == parts => along,
            part => part * PART * BLOCK - REACH - WINDOW / 2,
        };
        let stretch = |part: usize| {
            let end = if part + 1 == parts {
                blocks
            } else {
                (part + 1) * PART
            };
            Self {
                blocks: (part * PART).saturating_sub(AROUND)..(end + AROUND).min(blocks),
                windows: start(part)..start(part + 1),
            }
        };
        (0..parts).map(stretch).collect()
    }
}

/// A part of the picture, `stride` blocks wide, which has similar pictures of its own.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    stride: usize,
    columns: Stretch,
    rows: Stretch,
    /// Its blocks in each regular picture, one picture after the other.
    known: Vec<u8>,
}

impl Part {
    /// All of them, side by side.
    fn all(side: usize) -> Vec<Self> {
        let stretches = Stretch::all(side);
        let row = |rows: &Stretch| {
            let part = |columns: &Stretch| Self {
                stride: side / BLOCK,
                columns: columns.clone(),
                rows: rows.clone(),
                known: Vec::new(),
            };
            stretches.iter().map(part).collect::<Vec<_>>()
        };
        stretches.iter().flat_map(row).collect()
    }

    /// The blocks of a picture that it is told alike by.
    fn of(&self, blocks: &[u8]) -> Vec<u8> {
        let rows = self.rows.blocks.clone().flat_map(|y| {
            let row = &blocks[y * self.stride..][..self.stride];
            &row[self.columns.blocks.clone()]
        });
        rows.copied().collect()
    }

    fn remember(&mut self, blocks: &[u8]) {
        let own = self.of(blocks);
        self.known.extend(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIDE: usize = 30;

    /// A bar and a blob that every picture has, with grain of its own.
    fn scene(seed: usize) -> Vec<u8> {
        let value = |at: usize| {
            let (x, y) = (at % SIDE, at / SIDE);
            let bar = if (10..14).contains(&x) { 30 } else { 200 };
            let grain = (at * 7919 + seed * 104_729) % 23;
            (if y > 25 { 120 } else { bar } + grain) as u8
        };
        (0..SIDE * SIDE).map(value).collect()
    }

    fn fitted(k: usize) -> PixelSpade {
        let pictures: Vec<Vec<u8>> = (0..8).map(scene).collect();
        PixelSpade::fit(SIDE, k, pictures.into_iter()).expect("fitted")
    }

    fn with_speck(mut picture: Vec<u8>) -> Vec<u8> {
        for y in 15..19 {
            for x in 20..24 {
                picture[y * SIDE + x] = 20;
            }
        }
        picture
    }

    #[test]
    fn a_speck_is_found_where_it_lies() {
        let spade = fitted(4);
        let usual = spade.score(&scene(100), |_| false).expect("scored");
        let odd = with_speck(scene(100));
        let found = spade.score(&odd, |_| false).expect("scored");
        assert!(found.spot > 3.0 * usual.spot, "{found:?} {usual:?}");
        assert!(found.area > usual.area && found.mean > usual.mean);
        let map = spade.map(&odd, |_| false).expect("a map");
        let along = windows_along(SIDE, WINDOW, REACH);
        let oddest = (0..map.len()).max_by_key(|at| map[*at]).expect("a window");
        let middle = REACH + WINDOW / 2;
        let (y, x) = (oddest / along + middle, oddest % along + middle);
        assert!((15..19).contains(&y) && (20..24).contains(&x), "{y} {x}");
    }

    #[test]
    fn a_scene_shifted_by_two_pixels_is_the_same_scene() {
        let spade = fitted(4);
        let shifted = |by: usize| {
            let scene = scene(100);
            let rows = scene.chunks_exact(SIDE);
            let moved = rows.flat_map(|row| row[by..].iter().chain(&row[..by]).copied());
            spade
                .score(&moved.collect::<Vec<u8>>(), |_| false)
                .expect("scored")
                .area
        };
        assert!(
            shifted(6) > 2.0 * shifted(2),
            "{} {}",
            shifted(6),
            shifted(2)
        );
        assert!(shifted(2) < 20.0, "{}", shifted(2));
    }

    #[test]
    fn a_picture_is_not_compared_with_itself() {
        let spade = fitted(1);
        let own = scene(4);
        assert_eq!(spade.score(&own, |_| false).expect("scored").mean, 0.0);
        assert!(spade.score(&own, |at| at == 4).expect("scored").mean > 0.0);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let few = PixelSpade::fit(SIDE, 3, (0..3).map(scene));
        assert_eq!(few, Err(DriftError::NoSuchNeighbour { k: 3, rows: 3 }));
        let tiny = PixelSpade::fit(5, 1, (0..3).map(|_| vec![0; 25]));
        assert_eq!(tiny, Err(DriftError::NoEmbeddings));
        let other = fitted(1).score(&[0; 9], |_| false);
        assert!(matches!(other, Err(DriftError::DimensionMismatch { .. })));
    }

    #[test]
    fn every_window_lies_in_one_part() {
        for side in [11, 30, 71, 72, 90, 149] {
            let stretches = Stretch::all(side);
            let mut next = 0;
            for stretch in &stretches {
                assert_eq!(stretch.windows.start, next, "{side}");
                assert!(!stretch.windows.is_empty() && !stretch.blocks.is_empty());
                next = stretch.windows.end;
            }
            assert_eq!(next, windows_along(side, WINDOW, REACH), "{side}");
        }
    }

    #[test]
    fn each_part_has_similar_pictures_of_its_own() {
        let side = 90;
        // Blocks of chance levels: no two pictures are alike anywhere.
        let level = |picture: usize, y: usize, x: usize| {
            let place = (picture * 31 + y / BLOCK) * 37 + x / BLOCK;
            (place * 7919 % 251) as u8
        };
        let drawn = |of: &dyn Fn(usize) -> usize| -> Vec<u8> {
            let pixels = (0..side * side).map(|at| (at / side, at % side));
            pixels.map(|(y, x)| level(of(x), y, x)).collect()
        };
        let pictures: Vec<Vec<u8>> = (0..5).map(|picture| drawn(&|_| picture)).collect();
        let spade = PixelSpade::fit(side, 1, pictures.into_iter()).expect("fitted");
        let seam = PART * BLOCK;
        let mixed = drawn(&|x| if x < seam { 1 } else { 3 });
        let map = spade.map(&mixed, |_| false).expect("a map");
        let along = windows_along(side, WINDOW, REACH);
        for (at, found) in map.iter().enumerate() {
            let first = REACH + at % along;
            // Not those across the seam, or beside it, where smoothing mixes.
            if first + WINDOW < seam || first > seam {
                assert_eq!(*found, 0, "{at}");
            }
        }
    }

    #[test]
    fn a_spot_stands_out_and_a_line_does_not() {
        let along = 41;
        let mut windows = vec![100_u16; along * along];
        windows[20 * along..21 * along].fill(900);
        let line = spots(&windows, along);
        assert_eq!(line.iter().max(), Some(&0));
        windows[5 * along + 30] = 700;
        let found = spots(&windows, along);
        assert_eq!(found[5 * along + 30], 600);
        assert_eq!(found.iter().filter(|v| **v > 0).count(), 1);
        // In the corner there is nothing on one side.
        windows[0] = 500;
        assert_eq!(spots(&windows, along)[0], 0);
    }

    proptest! {
        /// More references can only find something more alike.
        #[test]
        fn more_references_never_add_a_difference(seed in 20_usize..200, k in 1_usize..6) {
            let (few, many) = (fitted(k), fitted(k + 1));
            let picture = with_speck(scene(seed));
            let few = few.map(&picture, |_| false).expect("a map");
            let many = many.map(&picture, |_| false).expect("a map");
            prop_assert!(few.iter().zip(&many).all(|(few, many)| many <= few));
        }
    }
}
