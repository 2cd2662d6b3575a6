//! A few rows that stand for many.

use driftscope_kernels::products;
use rayon::prelude::*;

use super::linalg::{dot, squared_distance};
use super::{DriftError, EmbeddingView};

/// Rows that a thread takes at a time.
const ROWS_PER_TASK: usize = 1024;
/// A squared distance below this share of the squares it is made of is rounding.
const ROUNDING: f32 = 2e-6;

/// At most `count` rows that lie as far from each other as can be, most telling first: each is the one
/// farthest from all before it and from the rows `already` chosen (greedy k-center; Gonzalez 1985, whose
/// cover is at most twice as wide as the best; Sener & Savarese, "Active Learning for Convolutional Neural
/// Networks: A Core-Set Approach", ICLR 2018, algorithm 1). Where none is chosen already, the first is the
/// one nearest the mean. Fewer where the rest are repeats of those chosen. Of rows equally far, the first.
///
/// # Errors
/// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
///
/// # Panics
/// For a row of `already` that is not there.
pub fn k_center(
    rows: EmbeddingView<'_>,
    already: &[usize],
    count: usize,
) -> Result<Vec<usize>, DriftError> {
    rows.check(1)?;
    let mut cover = Cover::new(rows);
    let mut next = None;
    for row in already {
        next = cover.add(*row);
    }
    if already.is_empty() {
        next = Some(nearest_to_mean(rows));
    }
    let mut chosen = Vec::new();
    while chosen.len() < count
        && let Some(row) = next
    {
        chosen.push(row);
        next = cover.add(row);
    }
    Ok(chosen)
}

/// How far each row is from the nearest chosen one.
struct Cover<'a> {
    rows: EmbeddingView<'a>,
    /// Squared length of each row.
    squares: Vec<f32>,
    /// Squared distance of each row to the nearest chosen one.
    nearest: Vec<f32>,
}

impl<'a> Cover<'a> {
    fn new(rows: EmbeddingView<'a>) -> Self {
        Self {
            rows,
            squares: rows.rows().map(|row| dot(row, row)).collect(),
            nearest: vec![f32::INFINITY; rows.len()],
        }
    }

    /// Chooses a row; the row that is then farthest from all chosen ones, none where they cover everything.
    fn add(&mut self, chosen: usize) -> Option<usize> {
        let dim = self.rows.dim();
        let (centre, square) = (self.rows.row(chosen), self.squares[chosen]);
        let farthest: Vec<(usize, f32)> = self
            .nearest
            .par_chunks_mut(ROWS_PER_TASK)
            .zip(self.rows.data().par_chunks(ROWS_PER_TASK * dim))
            .zip(self.squares.par_chunks(ROWS_PER_TASK))
            .enumerate()
            .map(|(task, ((nearest, rows), squares))| {
                let mut products_of = [0.0; ROWS_PER_TASK];
                let products_of = &mut products_of[..nearest.len()];
                products(rows, centre, dim, products_of);
                let mut farthest = (0, 0.0);
                for (at, nearest) in nearest.iter_mut().enumerate() {
                    let sum = squares[at] + square;
                    let distance = sum - 2.0 * products_of[at];
                    let distance = if distance <= ROUNDING * sum {
                        0.0
                    } else {
                        distance
                    };
                    *nearest = nearest.min(distance);
                    if *nearest > farthest.1 {
                        farthest = (task * ROWS_PER_TASK + at, *nearest);
                    }
                }
                farthest
            })
            .collect();
        let first =
            |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
        let (row, distance) = farthest.into_iter().fold((0, 0.0), first);
        (distance > 0.0).then_some(row)
    }
}

fn nearest_to_mean(rows: EmbeddingView<'_>) -> usize {
    let mut sums = vec![0.0_f64; rows.dim()];
    for row in rows.rows() {
        for (sum, v) in sums.iter_mut().zip(row) {
            *sum += f64::from(*v);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with f32")]
    let mean: Vec<f32> = sums
        .iter()
        .map(|s| (s / rows.len() as f64) as f32)
        .collect();
    let distances = rows.rows().map(|row| squared_distance(row, &mean));
    let nearest = distances
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    nearest.map_or(0, |(row, _)| row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::scorer::testing::noise;

    fn chosen(data: &[f32], dim: usize, already: &[usize], count: usize) -> Vec<usize> {
        let view = EmbeddingView::new(data, dim).expect("rows");
        k_center(view, already, count).expect("finite")
    }

    #[test]
    fn the_ends_of_a_line_come_after_its_middle() {
        let line: Vec<f32> = (0..9).map(|i| i as f32).collect();
        assert_eq!(chosen(&line, 1, &[], 5), [4, 0, 8, 2, 6]);
        assert_eq!(chosen(&line, 1, &[0], 2), [8, 4]);
        assert_eq!(chosen(&line, 1, &[0, 8], 1), [4]);
    }

    #[test]
    fn repeats_are_left_out() {
        let mut data = noise(7, 5, 1);
        for _ in 0..300 {
            data.extend_from_within(..35);
        }
        let mut found = chosen(&data, 5, &[], 100);
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(chosen(&[3.0; 12], 3, &[], 4).len(), 1);
        assert!(chosen(&[3.0; 12], 3, &[2], 4).is_empty());
    }

    proptest! {
        #[test]
        fn each_is_the_farthest_from_those_before(seed in 0_u64..40, count in 1_usize..30) {
            let data = noise(1100, 6, seed);
            let view = EmbeddingView::new(&data, 6).expect("rows");
            let found = chosen(&data, 6, &[3], count);
            prop_assert_eq!(found.len(), count);
            let mut known = vec![3];
            for row in found {
                let reach = |row: usize| {
                    known
                        .iter()
                        .map(|k| squared_distance(view.row(row), view.row(*k)))
                        .fold(f64::INFINITY, f64::min)
                };
                let farthest = (0..1100).map(reach).fold(0.0, f64::max);
                prop_assert!((reach(row) - farthest).abs() < 1e-5);
                known.push(row);
            }
        }
    }
}
