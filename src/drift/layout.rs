//! Images on a plane, for people to look at: x to the right, y upwards, both to one scale.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bhtsne::{Neighbor, tSNE};
use driftscope_kernels::products;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::linalg::{dot, squared_distance};
use super::{DriftError, EmbeddingView};

/// Fewer images have no neighbourhoods to lay out.
const LEAST: usize = 10;
/// Neighbours that an image is kept near, softly counted: what scikit-learn and openTSNE take.
const PERPLEXITY: f32 = 30.0;
/// Neighbours looked up for each unit of perplexity (van der Maaten, "Accelerating t-SNE using Tree-Based
/// Algorithms", JMLR 2014).
const NEIGHBOURS: f32 = 3.0;
/// Accuracy of the far forces, from the same paper.
const THETA: f32 = 0.5;
/// 250 exaggerated steps and 500 plain ones, as in openTSNE.
const STEPS: usize = 750;
/// Spread along the first axis that the layout starts from (Kobak & Berens, "The art of using t-SNE for
/// single-cell transcriptomics", Nature Communications 2019), and the noise that parts equal images.
const START: f32 = 1e-4;
const NOISE: f32 = 1e-6;
/// Rows between two looks at whether to go on.
const ROWS_AT_ONCE: usize = 1_024;
/// Rows that a thread multiplies with all others.
const ROWS_PER_BLOCK: usize = 32;
/// Steps between two reports.
const STEPS_PER_REPORT: usize = 10;

/// What a layout is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutStep {
    /// Looking up the neighbours of each row.
    Neighbours,
    /// Moving rows towards their neighbours.
    Moving,
}

/// The first two values of each row: for principal components, the plane in which rows vary most. The second
/// is 0 where rows have one value only.
///
/// # Errors
/// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
pub fn leading_two(rows: EmbeddingView<'_>) -> Result<Vec<[f32; 2]>, DriftError> {
    rows.check(1)?;
    let place = |row: &[f32]| [row[0], row.get(1).copied().unwrap_or(0.0)];
    Ok(rows.rows().map(place).collect())
}

/// Puts each row near those it resembles, by Euclidean distance: t-SNE (van der Maaten & Hinton, JMLR 2008),
/// by the Barnes-Hut tree, begun from the first two values. Distances between groups mean little, and so do
/// the sizes of groups.
///
/// The same rows and `seed` give the same places on the same machine, however many processors there are: sums
/// are made on one thread, which leaves the others to the window.
///
/// `go_on` is told what is done, how far, and of how much; when it returns false, there is no layout.
///
/// # Errors
/// [`DriftError::TooFewImages`] under ten rows, [`DriftError::NonFinite`], [`DriftError::NoVariation`],
/// [`DriftError::NoThread`], [`DriftError::Unsettled`].
pub fn neighbour_layout(
    rows: EmbeddingView<'_>,
    seed: u64,
    go_on: &mut (dyn FnMut(LayoutStep, usize, usize) -> bool + Send),
) -> Result<Option<Vec<[f32; 2]>>, DriftError> {
    rows.check(LEAST)?;
    let first = rows.row(0);
    if rows.rows().all(|row| row == first) {
        return Err(DriftError::NoVariation);
    }
    // Squares of the largest values must neither overflow nor vanish.
    let largest = rows.data().iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let scaled: Vec<f32> = rows.data().iter().map(|v| v / largest).collect();
    let rows = EmbeddingView::new(&scaled, rows.dim())?;

    let perplexity = PERPLEXITY.min((rows.len() - 1) as f32 / NEIGHBOURS);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 90"
    )]
    let k = (NEIGHBOURS * perplexity) as usize;
    let Some(neighbours) = nearest(rows, k, go_on) else {
        return Ok(None);
    };
    let start = beginning(rows, seed);
    let one_thread = ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "neighbour map".to_owned())
        .build()
        .map_err(|error| DriftError::NoThread {
            reason: error.to_string(),
        })?;
    // The crate has no way to stop, but unwinding from its report is one: all it holds is dropped.
    let laid_out = catch_unwind(AssertUnwindSafe(|| {
        one_thread.install(|| {
            let each = vec![(); rows.len()];
            let mut layout = tSNE::<f32, (), 2>::new(&each);
            layout
                .perplexity(perplexity)
                .epochs(STEPS)
                .initial_embedding(start)
                .epoch_callback(|step, _| {
                    let report = step % STEPS_PER_REPORT == 0;
                    if report && !go_on(LayoutStep::Moving, step, STEPS) {
                        resume_unwind(Box::new(Stopped));
                    }
                })
                .barnes_hut_with_neighbors(THETA, &neighbours);
            layout.embedding()
        })
    }));
    let places = match laid_out {
        Ok(places) => places,
        Err(payload) if payload.is::<Stopped>() => return Ok(None),
        Err(payload) => resume_unwind(payload),
    };
    if places.iter().any(|v| !v.is_finite()) {
        return Err(DriftError::Unsettled);
    }
    Ok(Some(places.as_chunks().0.to_vec()))
}

/// Unwound with when the layout is no longer wanted.
struct Stopped;

/// Where the layout begins: as the first two values lie, but small, so that nothing is in its way.
fn beginning(rows: EmbeddingView<'_>, seed: u64) -> Vec<f32> {
    let n = rows.len() as f32;
    let firsts = || rows.rows().map(|row| row[0]);
    let mean = firsts().sum::<f32>() / n;
    let spread = (firsts().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
    let scale = if spread > 0.0 { START / spread } else { 0.0 };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = || rng.random_range(-NOISE..NOISE);
    rows.rows()
        .flat_map(|row| {
            let second = row.get(1).copied().unwrap_or(0.0);
            [row[0] * scale + noise(), second * scale + noise()]
        })
        .collect()
}

/// The `k` nearest other rows of each row, the nearest first, equals by position; none when asked to stop.
fn nearest(
    rows: EmbeddingView<'_>,
    k: usize,
    go_on: &mut (dyn FnMut(LayoutStep, usize, usize) -> bool + Send),
) -> Option<Vec<Vec<Neighbor<f32>>>> {
    let (n, dim) = (rows.len(), rows.dim());
    let halves: Vec<f32> = rows.rows().map(|row| dot(row, row) / 2.0).collect();
    let mut found = Vec::with_capacity(n);
    for (part, some) in rows.data().chunks(ROWS_AT_ONCE * dim).enumerate() {
        if !go_on(LayoutStep::Neighbours, part * ROWS_AT_ONCE, n) {
            return None;
        }
        let blocks: Vec<Vec<Vec<Neighbor<f32>>>> = some
            .par_chunks(ROWS_PER_BLOCK * dim)
            .enumerate()
            .map(|(block, some)| {
                let first = part * ROWS_AT_ONCE + block * ROWS_PER_BLOCK;
                let mut closeness = vec![0.0; some.len() / dim * n];
                products(some, rows.data(), dim, &mut closeness);
                closeness
                    .chunks_exact_mut(n)
                    .enumerate()
                    .map(|(at, closeness)| {
                        // |a - b|² = |a|² + |b|² - 2 a·b, and |a| is the same for all b.
                        for (close, half) in closeness.iter_mut().zip(&halves) {
                            *close -= half;
                        }
                        nearest_of(rows, first + at, closeness, k)
                    })
                    .collect()
            })
            .collect();
        found.extend(blocks.into_iter().flatten());
    }
    Some(found)
}

/// The `k` rows closest to row `of`, itself excepted.
fn nearest_of(
    rows: EmbeddingView<'_>,
    of: usize,
    closeness: &[f32],
    k: usize,
) -> Vec<Neighbor<f32>> {
    let mut others: Vec<usize> = (0..rows.len()).filter(|row| *row != of).collect();
    let closer = |a: &usize, b: &usize| closeness[*b].total_cmp(&closeness[*a]).then(a.cmp(b));
    if k < others.len() {
        others.select_nth_unstable_by(k - 1, closer);
        others.truncate(k);
    }
    let mut nearest: Vec<Neighbor<f32>> = others
        .into_iter()
        .map(|index| {
            let distance = squared_distance(rows.row(of), rows.row(index)).sqrt();
            #[expect(clippy::cast_possible_truncation, reason = "places are f32")]
            let distance = distance as f32;
            Neighbor { index, distance }
        })
        .collect();
    nearest.sort_by(|a, b| {
        a.distance
            .total_cmp(&b.distance)
            .then(a.index.cmp(&b.index))
    });
    nearest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `n` rows of 8 values around three centres, taken in turn.
    fn groups(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .flat_map(|row| {
                let centre = (row % 3) as f32 * 4.0;
                let mut values = [0.0_f32; 8];
                for (i, v) in values.iter_mut().enumerate() {
                    let own = if i % 3 == row % 3 { centre + 2.0 } else { 0.0 };
                    *v = own + rng.random_range(-0.5..0.5);
                }
                values
            })
            .collect()
    }

    fn lay_out(data: &[f32], dim: usize, seed: u64) -> Result<Vec<[f32; 2]>, DriftError> {
        let rows = EmbeddingView::new(data, dim).expect("whole rows");
        let places = neighbour_layout(rows, seed, &mut |_, _, _| true)?;
        Ok(places.expect("nobody stopped it"))
    }

    fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    #[test]
    fn what_resembles_each_other_lies_together() {
        let places = lay_out(&groups(90, 1), 8, 42).expect("varied");
        let mut right = 0;
        for (row, here) in places.iter().enumerate() {
            let other = |at: &usize| *at != row;
            let near = (0..places.len())
                .filter(other)
                .min_by(|a, b| distance(*here, places[*a]).total_cmp(&distance(*here, places[*b])))
                .expect("others");
            right += usize::from(near % 3 == row % 3);
        }
        assert_eq!(right, 90);
    }

    #[test]
    fn neighbours_are_those_of_the_definition() {
        let data = groups(70, 2);
        let rows = EmbeddingView::new(&data, 8).expect("rows");
        let found = nearest(rows, 5, &mut |_, _, _| true).expect("not stopped");
        for (row, found) in found.iter().enumerate() {
            let mut all: Vec<(f64, usize)> = (0..70)
                .filter(|other| *other != row)
                .map(|other| (squared_distance(rows.row(row), rows.row(other)), other))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let expected: Vec<usize> = all[..5].iter().map(|(_, at)| *at).collect();
            let found: Vec<usize> = found.iter().map(|n| n.index).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn another_number_of_processors_changes_nothing() {
        let data = groups(300, 3);
        let with = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads")
                .install(|| lay_out(&data, 8, 42).expect("varied"))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn it_stops_when_told_and_says_how_far_it_is() {
        let data = groups(40, 4);
        let rows = EmbeddingView::new(&data, 8).expect("rows");
        let mut told = Vec::new();
        let places = neighbour_layout(rows, 1, &mut |step, done, of| {
            told.push((step, done, of));
            done < 200
        });
        assert_eq!(places, Ok(None));
        assert_eq!(told.first(), Some(&(LayoutStep::Neighbours, 0, 40)));
        assert_eq!(told.last(), Some(&(LayoutStep::Moving, 200, STEPS)));
        let places = neighbour_layout(rows, 1, &mut |_, _, _| false);
        assert_eq!(places, Ok(None));
    }

    #[test]
    fn rows_that_make_no_map_are_refused_in_a_sentence() {
        let same = [0.25_f32; 40];
        assert_eq!(lay_out(&same, 2, 1), Err(DriftError::NoVariation));
        assert_eq!(
            lay_out(&groups(9, 1), 8, 1),
            Err(DriftError::TooFewImages {
                rows: 9,
                needed: LEAST
            })
        );
        let mut broken = groups(20, 1);
        broken[17] = f32::NAN;
        assert_eq!(
            lay_out(&broken, 8, 1),
            Err(DriftError::NonFinite { row: 2 })
        );
        let rows = EmbeddingView::new(&broken, 8).expect("rows");
        assert_eq!(leading_two(rows), Err(DriftError::NonFinite { row: 2 }));
        let none = EmbeddingView::new(&[], 8).expect("no rows");
        assert_eq!(leading_two(none), Err(DriftError::NoEmbeddings));
    }

    #[test]
    fn the_leading_two_are_the_first_two() {
        let rows = |data, dim| leading_two(EmbeddingView::new(data, dim).expect("rows"));
        assert_eq!(
            rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3),
            Ok(vec![[1.0, 2.0], [4.0, 5.0]])
        );
        assert_eq!(rows(&[1.0, 2.0], 1), Ok(vec![[1.0, 0.0], [2.0, 0.0]]));
        assert_eq!(rows(&[7.0], 1), Ok(vec![[7.0, 0.0]]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Few rows, rows of one value, equal rows, huge and tiny ones: always finite, always the same.
        #[test]
        fn every_layout_is_finite_and_the_same_again(
            n in LEAST..60,
            dim in 1_usize..6,
            scale in prop::sample::select(vec![1e-30_f32, 1.0, 1e30]),
            copies in 0_usize..40,
            seed in any::<u64>(),
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut data: Vec<f32> = (0..n * dim)
                .map(|_| rng.random_range(-1.0_f32..1.0) * scale)
                .collect();
            for _ in 0..copies {
                data.extend_from_within(..dim);
            }
            let places = lay_out(&data, dim, seed).expect("varied");
            prop_assert_eq!(places.len(), n + copies);
            prop_assert!(places.iter().flatten().all(|v| v.is_finite()));
            prop_assert_eq!(lay_out(&data, dim, seed), Ok(places));
        }
    }
}
