//! What an image resembles.

use std::ops::Range;

use driftscope_kernels::products;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::linalg::{dot, normalised, squared_distance};
use super::{DriftError, EmbeddingView, Scorer};

/// Distance to the k-th nearest regular training image, on L2-normalised features (Sun et al.,
/// "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, equation 3 with its sign turned).
/// Scores lie in `[0, 2]`; higher is more anomalous.
///
/// Images of the bank may belong to groups, such as dies: [`score_within`](Self::score_within) then compares
/// an image with those of its own group, so that what is usual for one die counts as odd on another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestNeighbours {
    dim: usize,
    k: usize,
    /// Normalised rows, those of a group side by side.
    bank: Vec<f32>,
    /// Each group and its rows in the bank, in the order of the groups.
    groups: Vec<(u32, Range<usize>)>,
}

impl NearestNeighbours {
    /// Remembers the `features` of regular training images. `k` counts from 1. An image of the bank finds
    /// itself first: score it with `k` one higher.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`], [`DriftError::NoSuchNeighbour`].
    pub fn fit(features: EmbeddingView<'_>, k: usize) -> Result<Self, DriftError> {
        Self::fit_grouped(features, &vec![0; features.len()], k)
    }

    /// As [`fit`](Self::fit), with the group of each image.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and [`DriftError::LengthMismatch`].
    pub fn fit_grouped(
        features: EmbeddingView<'_>,
        groups: &[u32],
        k: usize,
    ) -> Result<Self, DriftError> {
        features.check(1)?;
        let n = features.len();
        if groups.len() != n {
            return Err(DriftError::LengthMismatch {
                rows: n,
                labels: groups.len(),
            });
        }
        if !(1..=n).contains(&k) {
            return Err(DriftError::NoSuchNeighbour { k, rows: n });
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|row| groups[*row]);
        let ranges = order
            .chunk_by(|a, b| groups[*a] == groups[*b])
            .scan(0, |from, chunk| {
                let start = *from;
                *from += chunk.len();
                Some((groups[chunk[0]], start..*from))
            });
        Ok(Self {
            dim: features.dim(),
            k,
            groups: ranges.collect(),
            bank: normalised(&features.gather(&order), features.dim()),
        })
    }

    /// The score of a row of `group` among the images of that group; among all images where the group has
    /// fewer than `k`.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_within(&self, row: &[f32], group: u32) -> Result<f64, DriftError> {
        let view = EmbeddingView::new(row, row.len().max(1))?;
        Ok(self.score_all_within(view, &[group])?[0])
    }

    /// [`score_within`](Self::score_within) of every row, each with its group, in order.
    ///
    /// # Errors
    /// As [`Scorer::score_all`], and [`DriftError::LengthMismatch`].
    pub fn score_all_within(
        &self,
        rows: EmbeddingView<'_>,
        groups: &[u32],
    ) -> Result<Vec<f64>, DriftError> {
        rows.check_dim(self.dim)?;
        rows.check(1)?;
        if groups.len() != rows.len() {
            return Err(DriftError::LengthMismatch {
                rows: rows.len(),
                labels: groups.len(),
            });
        }
        // Rows of a group together, as each of them meets the same part of the bank.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|row| groups[*row]);
        let blocks: Vec<&[usize]> = order
            .chunk_by(|a, b| groups[*a] == groups[*b])
            .flat_map(|of_group| of_group.chunks(self.rows_at_once()))
            .collect();
        let scored: Vec<Vec<f64>> = blocks
            .par_iter()
            .map(|block| {
                let mut scores = vec![0.0; block.len()];
                let bank = self.bank_of(groups[block[0]]);
                self.kth_distances(&rows.gather(block), bank, &mut scores);
                scores
            })
            .collect();
        let mut scores = vec![0.0; rows.len()];
        for (row, score) in order.iter().zip(scored.concat()) {
            scores[*row] = score;
        }
        Ok(scores)
    }

    /// The rows of the bank that an image of `group` is compared with.
    fn bank_of(&self, group: u32) -> &[f32] {
        let found = self.groups.binary_search_by_key(&group, |(g, _)| *g);
        let range = found.map(|at| self.groups[at].1.clone());
        match range {
            Ok(range) if range.len() >= self.k => {
                &self.bank[range.start * self.dim..range.end * self.dim]
            }
            _ => &self.bank,
        }
    }

    fn kth_distances(&self, rows: &[f32], bank: &[f32], scores: &mut [f64]) {
        let rows = normalised(rows, self.dim);
        let n = bank.len() / self.dim;
        let mut similarities = vec![0.0_f32; scores.len() * n];
        products(&rows, bank, self.dim, &mut similarities);
        let mut order: Vec<usize> = (0..n).collect();
        for ((row, similar), score) in rows
            .chunks_exact(self.dim)
            .zip(similarities.chunks_exact(n))
            .zip(scores)
        {
            // Always from the same order, as equals would otherwise depend on the row before.
            order.iter_mut().enumerate().for_each(|(at, o)| *o = at);
            order.select_nth_unstable_by(self.k - 1, |a, b| similar[*b].total_cmp(&similar[*a]));
            // |a - b|² = 2 - 2 a·b is rounded too much where a and b nearly meet.
            *score = order[..self.k]
                .iter()
                .map(|at| squared_distance(row, &bank[at * self.dim..][..self.dim]))
                .fold(0.0, f64::max)
                .sqrt();
        }
    }
}

impl Scorer for NearestNeighbours {
    fn dim(&self) -> usize {
        self.dim
    }

    fn score_rows(&self, rows: &[f32], scores: &mut [f64]) {
        self.kth_distances(rows, &self.bank, scores);
    }
}

/// For every row, its largest cosine similarity to one of the rows `targets`, itself excepted: how much
/// it looks like drift already found (Coleman et al., "Similarity Search for Efficient Active Learning",
/// AAAI 2022). In `[-1, 1]`; -1 where there is no other target.
///
/// # Errors
/// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
///
/// # Panics
/// For a target that is no row.
pub fn similarity_to_nearest(
    features: EmbeddingView<'_>,
    targets: &[usize],
) -> Result<Vec<f32>, DriftError> {
    features.check(1)?;
    let dim = features.dim();
    let rows = normalised(features.data(), dim);
    Ok(rows
        .par_chunks_exact(dim)
        .enumerate()
        .map(|(at, row)| {
            targets
                .iter()
                .filter(|target| **target != at)
                .map(|target| dot(row, &rows[target * dim..][..dim]))
                .fold(-1.0, f32::max)
                .min(1.0)
        })
        .collect())
}

/// The `k` rows most like row `row`, the nearest first, each with the cosine similarity of its first `width`
/// numbers, in `[-1, 1]`; of equally near ones the earlier first. `row` itself is left out.
///
/// # Panics
/// For a `row` that is none, or a `width` above that of the rows.
#[must_use]
pub fn most_similar(
    features: EmbeddingView<'_>,
    width: usize,
    row: usize,
    k: usize,
) -> Vec<(usize, f32)> {
    let rows = features.data().par_chunks_exact(features.dim());
    let here = &features.data()[row * features.dim()..][..width];
    let length = dot(here, here);
    let mut others: Vec<(usize, f32)> = rows
        .enumerate()
        .filter(|(other, _)| *other != row)
        .map(|(other, there)| {
            let there = &there[..width];
            let lengths = (length * dot(there, there)).sqrt();
            (other, dot(here, there) / lengths.max(f32::MIN_POSITIVE))
        })
        .collect();
    let nearer = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    // Only the few at the front are wanted in order.
    if k < others.len() {
        others.select_nth_unstable_by(k, nearer);
        others.truncate(k);
    }
    others.sort_unstable_by(nearer);
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_are_those_of_a_full_sort() {
        const DIM: usize = 21;
        let mut rows = noise(60, DIM, 3);
        // Equally near ones, and a row without a direction.
        rows.copy_within(7 * DIM..8 * DIM, 30 * DIM);
        rows[40 * DIM..41 * DIM].fill(0.0);
        let view = EmbeddingView::new(&rows, DIM).expect("whole rows");
        let width = 18;
        for row in [0, 7, 40] {
            let part = |at: usize| &rows[at * DIM..][..width];
            let cosine = |other: usize| {
                let product = |a: &[f32], b: &[f32]| -> f64 {
                    let pairs = a.iter().zip(b);
                    pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
                };
                let (a, b) = (part(row), part(other));
                product(a, b) / (product(a, a) * product(b, b)).sqrt().max(1e-30)
            };
            let all = most_similar(view, width, row, 100);
            assert_eq!(all.len(), 59);
            assert!(all.is_sorted_by(|a, b| (b.1, a.0) <= (a.1, b.0)), "{all:?}");
            for (other, similarity) in &all {
                assert!((f64::from(*similarity) - cosine(*other)).abs() < 1e-5);
            }
            assert_eq!(most_similar(view, width, row, 5), all[..5]);
            assert!(most_similar(view, width, row, 0).is_empty());
        }
    }
    use crate::drift::scorer::testing::{check_scorer, noise};

    const ROWS: [f32; 8] = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0, -1.0, 0.0];

    fn view() -> EmbeddingView<'static> {
        EmbeddingView::new(&ROWS, 2).expect("rows")
    }

    #[test]
    fn the_kth_distance_ignores_length() {
        let scores = |k| {
            let bank = NearestNeighbours::fit(view(), k).expect("rows");
            bank.score(&[7.0, 0.0]).expect("same width")
        };
        assert_eq!(scores(1), 0.0);
        assert!((scores(2) - (2.0 - 2.0_f64.sqrt()).sqrt()).abs() < 1e-6);
        assert!((scores(3) - 2.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!(scores(4), 2.0);
    }

    #[test]
    fn a_score_does_not_depend_on_company() {
        let bank = noise(90, 37, 1);
        let bank = EmbeddingView::new(&bank, 37).expect("rows");
        let fitted = NearestNeighbours::fit(bank, 4).expect("rows");
        check_scorer(&fitted, &noise(70, 37, 2), 3);
        // An image of the bank is its own nearest.
        let itself = NearestNeighbours::fit(bank, 1).expect("rows");
        assert_eq!(itself.score(bank.row(5)), Ok(0.0));
    }

    #[test]
    fn an_image_is_compared_with_its_group() {
        let data = noise(60, 8, 1);
        let all = EmbeddingView::new(&data, 8).expect("rows");
        let groups: Vec<u32> = (0..60).map(|i| [7, 3, 9][i % 3]).collect();
        let fitted = NearestNeighbours::fit_grouped(all, &groups, 5).expect("rows");
        let queries = noise(50, 8, 2);
        let queries = EmbeddingView::new(&queries, 8).expect("rows");
        let asked: Vec<u32> = (0..50).map(|i| [9, 3, 4][i % 3]).collect();
        let scores = fitted.score_all_within(queries, &asked).expect("scored");
        let anywhere = fitted.score_all(queries).expect("scored");
        for (at, group) in asked.iter().enumerate() {
            let rows: Vec<usize> = (0..60).filter(|row| groups[*row] == *group).collect();
            let expected = if rows.is_empty() {
                anywhere[at]
            } else {
                let own = all.gather(&rows);
                let own = EmbeddingView::new(&own, 8).expect("rows");
                let own = NearestNeighbours::fit(own, 5).expect("rows");
                own.score(queries.row(at)).expect("scored")
            };
            assert_eq!(scores[at], expected);
            assert_eq!(fitted.score_within(queries.row(at), *group), Ok(expected));
        }
        assert!(matches!(
            fitted.score_all_within(queries, &asked[1..]),
            Err(DriftError::LengthMismatch { .. })
        ));
    }

    #[test]
    fn similarity_looks_at_other_targets_only() {
        let s = similarity_to_nearest(view(), &[0, 2]).expect("rows");
        let half = 0.5_f32.sqrt();
        for (found, expected) in s.iter().zip([half, half, half, -half]) {
            assert!((found - expected).abs() < 1e-6, "{s:?}");
        }
        assert_eq!(similarity_to_nearest(view(), &[]).expect("rows"), [-1.0; 4]);
    }

    #[test]
    fn wrong_input_is_refused() {
        let bank = NearestNeighbours::fit(view(), 1).expect("rows");
        assert!(bank.score(&[1.0]).is_err());
        let none = EmbeddingView::new(&[], 2).expect("no rows");
        assert_eq!(
            NearestNeighbours::fit(none, 1),
            Err(DriftError::NoEmbeddings)
        );
        for k in [0, 5] {
            let refused = NearestNeighbours::fit(view(), k);
            assert_eq!(refused, Err(DriftError::NoSuchNeighbour { k, rows: 4 }));
        }
    }
}
