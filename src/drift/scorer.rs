//! What all scores have in common.

use rayon::prelude::*;

use super::embedding::check_dim;
use super::{DriftError, EmbeddingView};

/// A score that was fitted once and then judges one row at a time. Higher always means more like drift.
///
/// A score depends on its own row alone: it is the same to the last bit whether the row comes alone, in
/// any company, or in any order.
pub trait Scorer: Sync {
    /// Values of a row.
    fn dim(&self) -> usize;

    /// Rows that one thread takes at a time. Fewer where a row is much work.
    fn rows_at_once(&self) -> usize {
        32
    }

    /// Writes the score of each of `rows` (`scores.len()` rows of [`dim`](Self::dim) finite values) into
    /// `scores`, on this thread. [`score`](Self::score) and [`score_all`](Self::score_all) check the rows
    /// first: call those.
    fn score_rows(&self, rows: &[f32], scores: &mut [f64]);

    /// The score of one row.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::TooLarge`].
    fn score(&self, row: &[f32]) -> Result<f64, DriftError> {
        check_dim(self.dim(), row.len())?;
        Ok(self.score_all(EmbeddingView::new(row, row.len())?)?[0])
    }

    /// The score of every row, in order, on all threads.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`],
    /// [`DriftError::TooLarge`].
    fn score_all(&self, rows: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        rows.check_dim(self.dim())?;
        rows.check(1)?;
        let at_once = self.rows_at_once();
        let mut scores = vec![0.0; rows.len()];
        scores
            .par_chunks_mut(at_once)
            .zip(rows.data().par_chunks(at_once * rows.dim()))
            .for_each(|(scores, rows)| self.score_rows(rows, scores));
        match scores.iter().position(|s| !s.is_finite()) {
            Some(row) => Err(DriftError::TooLarge { row }),
            None => Ok(scores),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use rand::{RngExt, SeedableRng, seq::SliceRandom};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `n` rows of `dim` values round 1, spread by direction.
    pub(in crate::drift) fn noise(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n * dim)
            .map(|at| 1.0 + rng.random_range(-1.0_f32..1.0) / (1 + at % dim) as f32)
            .collect()
    }

    /// Scores `rows` together, alone and shuffled, and refuses what cannot be scored.
    pub(in crate::drift) fn check_scorer(scorer: &impl Scorer, rows: &[f32], seed: u64) {
        let dim = scorer.dim();
        let view = EmbeddingView::new(rows, dim).expect("whole rows");
        let all = scorer.score_all(view).expect("scored");
        for (row, score) in view.rows().zip(&all) {
            assert_eq!(scorer.score(row), Ok(*score));
        }
        let mut order: Vec<usize> = (0..view.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let shuffled = view.gather(&order);
        let shuffled = EmbeddingView::new(&shuffled, dim).expect("whole rows");
        let shuffled = scorer.score_all(shuffled).expect("scored");
        for (at, score) in order.iter().zip(shuffled) {
            assert_eq!(score, all[*at]);
        }

        let mut broken = rows.to_vec();
        broken[dim + dim / 2] = f32::NAN;
        let broken = EmbeddingView::new(&broken, dim).expect("whole rows");
        let refused = scorer.score_all(broken);
        assert_eq!(refused, Err(DriftError::NonFinite { row: 1 }));
        let refused = scorer.score(broken.row(1));
        assert_eq!(refused, Err(DriftError::NonFinite { row: 0 }));
        assert!(matches!(
            scorer.score(&vec![1.0; dim + 1]),
            Err(DriftError::DimensionMismatch { .. })
        ));
        let none = EmbeddingView::new(&[], dim).expect("no rows");
        assert_eq!(scorer.score_all(none), Err(DriftError::NoEmbeddings));
    }
}
