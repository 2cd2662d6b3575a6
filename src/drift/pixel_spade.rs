//! What looks like in none of the similar pictures.

use driftscope_kernels::least_difference;

use super::DriftError;

/// Memory for regular pictures, bytes.
const MEMORY: usize = 250_000_000;
/// Pixels up, down, left and right by which pictures of the same scene may be shifted.
const REACH: usize = 2;
/// Side of the squares that pictures are told alike by, and of the window that a spot is looked for with.
const BLOCK: usize = 6;
const WINDOW: usize = 5;
/// One window in so many counts as odd area.
const AREA_SHARE: usize = 100;

/// The pictures of one set, fetched one at a time: square, grey, all of one side.
pub trait PictureSource: Sync {
    /// Pixels in a row and rows, as many for each.
    fn side(&self) -> usize;

    /// The picture in row `row` of the set, rows from the top.
    fn picture(&self, row: usize) -> Vec<u8>;

    /// Plain numbers of it, such as its brightness: as many for each picture, in the same order.
    fn numbers(&self, row: usize) -> Vec<f64>;

    /// Width and height of what it was made of, in pixels; none where it was made of no file.
    fn size(&self, row: usize) -> Option<(u32, u32)>;
}

/// Compares each pixel with the same place of the regular pictures that the whole resembles most, and keeps the
/// smallest difference: SPADE (Cohen & Hoshen, 2020, <https://arxiv.org/abs/2005.02357>) on the pixels themselves.
/// It sees what a network overlooks, such as a speck of debris that is small against a network's field of view.
/// It means nothing where pictures are not taken of the same scene again and again; its calibration on
/// regular pictures says so.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelSpade {
    side: usize,
    k: usize,
    pictures: Vec<u8>,
    /// Mean of each block of each picture.
    blocks: Vec<u8>,
}

/// What [`PixelSpade`] says of a picture, in grey levels `0..=255`. Higher is more like drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelSpadeScore {
    /// Mean difference over all pixels.
    pub mean: f64,
    /// Mean over the hundredth of the picture that differs most.
    pub area: f64,
    /// Mean over the 5 x 5 pixels that differ most.
    pub spot: f64,
}

impl PixelSpade {
    /// How many regular pictures of this side it remembers, at most.
    #[must_use]
    pub fn capacity(side: usize) -> usize {
        MEMORY / (side * side).max(1)
    }

    /// Remembers regular pictures of `side * side` pixels. `k` is the number that one is compared with.
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
        if side < BLOCK + 2 * REACH {
            return Err(DriftError::NoEmbeddings);
        }
        if !(1..n).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: n });
        }
        let mut kept = Self {
            side,
            k,
            pictures: Vec::with_capacity(n * side * side),
            blocks: Vec::new(),
        };
        for picture in pictures {
            let picture = kept.smooth(&picture)?;
            kept.blocks.extend(blocks(&picture, side));
            kept.pictures.extend(picture);
        }
        Ok(kept)
    }

    /// The score of one picture; `without` leaves out a remembered one, which the picture itself is.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn score(
        &self,
        picture: &[u8],
        without: Option<usize>,
    ) -> Result<PixelSpadeScore, DriftError> {
        let differences = self.map(picture, without)?;
        let (inner, side) = inside(&differences, self.side);
        let mean = inner.iter().map(|v| f64::from(*v)).sum::<f64>() / inner.len() as f64;
        let mut windows = windows(&inner, side);
        let area = windows.len().div_ceil(AREA_SHARE);
        windows.select_nth_unstable_by(area - 1, |a, b| b.cmp(a));
        let pixels = (WINDOW * WINDOW) as f64;
        let odd = &windows[..area];
        let sum: u64 = odd.iter().map(|v| u64::from(*v)).sum();
        let highest = odd.iter().max().copied().unwrap_or(0);
        Ok(PixelSpadeScore {
            mean,
            area: sum as f64 / area as f64 / pixels,
            spot: f64::from(highest) / pixels,
        })
    }

    /// The smallest difference of each pixel, rows from the top.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn map(&self, picture: &[u8], without: Option<usize>) -> Result<Vec<u8>, DriftError> {
        let picture = self.smooth(picture)?;
        let own = blocks(&picture, self.side);
        let mut order: Vec<(u64, usize)> = self
            .blocks
            .chunks_exact(own.len())
            .enumerate()
            .filter(|(at, _)| Some(*at) != without)
            .map(|(at, blocks)| (distance(&own, blocks), at))
            .collect();
        let k = self.k.min(order.len());
        if k < order.len() {
            order.select_nth_unstable(k);
        }
        let mut best = vec![u8::MAX; picture.len()];
        for (_, at) in &order[..k] {
            let reference = &self.pictures[at * picture.len()..][..picture.len()];
            least_difference(&picture, reference, self.side, REACH, &mut best);
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

fn distance(a: &[u8], b: &[u8]) -> u64 {
    let squared = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    a.iter().zip(b).map(squared).sum()
}

/// The picture without the border, which not every shift reaches, and its side.
fn inside(picture: &[u8], side: usize) -> (Vec<u8>, usize) {
    let inner = side - 2 * REACH;
    let rows = picture.chunks_exact(side).skip(REACH).take(inner);
    (
        rows.flat_map(|row| &row[REACH..][..inner])
            .copied()
            .collect(),
        inner,
    )
}

/// The sum over each window.
fn windows(picture: &[u8], side: usize) -> Vec<u32> {
    let n = side - WINDOW + 1;
    let mut found = Vec::with_capacity(n * n);
    let mut columns = vec![0_u32; side];
    for y in 0..n {
        columns.fill(0);
        for row in picture[y * side..].chunks_exact(side).take(WINDOW) {
            for (sum, v) in columns.iter_mut().zip(row) {
                *sum += u32::from(*v);
            }
        }
        found.extend(columns.windows(WINDOW).map(|w| w.iter().sum::<u32>()));
    }
    found
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
        let usual = spade.score(&scene(100), None).expect("scored");
        let odd = with_speck(scene(100));
        let found = spade.score(&odd, None).expect("scored");
        assert!(found.spot > 3.0 * usual.spot, "{found:?} {usual:?}");
        assert!(found.area > usual.area && found.mean > usual.mean);
        let map = spade.map(&odd, None).expect("a map");
        let oddest = (0..SIDE * SIDE).max_by_key(|at| map[*at]).expect("a pixel");
        assert!((15..19).contains(&(oddest / SIDE)) && (20..24).contains(&(oddest % SIDE)));
    }

    #[test]
    fn a_scene_shifted_by_two_pixels_is_the_same_scene() {
        let spade = fitted(4);
        let shifted = |by: usize| {
            let scene = scene(100);
            let rows = scene.chunks_exact(SIDE);
            let moved = rows.flat_map(|row| row[by..].iter().chain(&row[..by]).copied());
            spade
                .score(&moved.collect::<Vec<u8>>(), None)
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
        assert_eq!(spade.score(&own, None).expect("scored").mean, 0.0);
        assert!(spade.score(&own, Some(4)).expect("scored").mean > 0.0);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let few = PixelSpade::fit(SIDE, 3, (0..3).map(scene));
        assert_eq!(few, Err(DriftError::NoSuchNeighbour { k: 3, rows: 3 }));
        let tiny = PixelSpade::fit(5, 1, (0..3).map(|_| vec![0; 25]));
        assert_eq!(tiny, Err(DriftError::NoEmbeddings));
        let other = fitted(1).score(&[0; 9], None);
        assert!(matches!(other, Err(DriftError::DimensionMismatch { .. })));
    }

    proptest! {
        #[test]
        fn windows_are_sums(picture in prop::collection::vec(any::<u8>(), 81)) {
            let found = windows(&picture, 9);
            prop_assert_eq!(found.len(), 25);
            for (at, sum) in found.iter().enumerate() {
                let (y, x) = (at / 5, at % 5);
                let cells = (0..25).map(|i| picture[(y + i / 5) * 9 + x + i % 5]);
                prop_assert_eq!(*sum, cells.map(u32::from).sum::<u32>());
            }
        }

        /// More references can only find something more alike.
        #[test]
        fn more_references_never_add_a_difference(seed in 20_usize..200, k in 1_usize..6) {
            let (few, many) = (fitted(k), fitted(k + 1));
            let picture = with_speck(scene(seed));
            let few = few.map(&picture, None).expect("a map");
            let many = many.map(&picture, None).expect("a map");
            prop_assert!(few.iter().zip(&many).all(|(few, many)| many <= few));
        }
    }
}
