//! From an embedding to the few numbers that scores and heads work on.

use driftscope_kernels::products;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::embedding::check_dim;
use super::linalg::normalise;
use super::principal::principal_axes;
use super::{DriftError, EmbeddingView};

/// Rows multiplied together: they stay in the second-level cache while a direction stays in the first.
const ROWS_PER_BLOCK: usize = 32;
/// Directions with less than this share of the largest variance are rounding noise.
const NOISE: f64 = 1e-9;

/// L2-normalisation followed by principal component analysis, fitted once per set of embeddings: no label changes it.
///
/// Directions are found by randomised subspace iteration (Halko, Martinsson & Tropp 2011) with a fixed
/// seed; each points where its largest loading is positive. Projected values are centred, not scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    mean: Vec<f32>,
    /// One row per component.
    components: Vec<f32>,
    explained_variance: Vec<f64>,
    total_variance: f64,
}

impl Projection {
    /// Components that drift heads use unless told otherwise.
    pub const COMPONENTS: usize = 64;

    /// Fits on all `embeddings`, at least 2. No more than `components` directions are kept, fewer where
    /// the embeddings vary in fewer.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::TooFewImages`], [`DriftError::NonFinite`],
    /// [`DriftError::NoVariation`].
    pub fn fit(
        embeddings: EmbeddingView<'_>,
        components: usize,
        seed: u64,
    ) -> Result<Self, DriftError> {
        embeddings.check(2)?;
        let mean = mean_of_normalised(embeddings);
        let wanted = components.max(1).min(mean.len()).min(embeddings.len() - 1);
        let degrees = (embeddings.len() - 1) as f64;
        let centred = |block: &[f32]| centred(block, &mean);
        let found = principal_axes(embeddings, centred, wanted, seed);
        if found.scatter[0] / degrees <= f64::EPSILON {
            return Err(DriftError::NoVariation);
        }
        let kept = found
            .scatter
            .iter()
            .take_while(|v| **v > NOISE * found.scatter[0])
            .count();
        let mut components = found.axes;
        components.truncate(kept * mean.len());
        Ok(Self {
            mean,
            components,
            explained_variance: found.scatter[..kept].iter().map(|v| v / degrees).collect(),
            total_variance: found.total / degrees,
        })
    }

    /// Values of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Values of a projected embedding.
    #[must_use]
    pub fn components(&self) -> usize {
        self.explained_variance.len()
    }

    /// Variance along each component (`ddof=1`), largest first.
    #[must_use]
    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    /// Share of all variance that the components keep, in `[0, 1]`.
    #[must_use]
    pub fn explained_variance_ratio(&self) -> f64 {
        (self.explained_variance.iter().sum::<f64>() / self.total_variance).min(1.0)
    }

    /// Projects one embedding.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`].
    pub fn project(&self, embedding: &[f32]) -> Result<Vec<f32>, DriftError> {
        check_dim(self.dim(), embedding.len())?;
        self.project_all(EmbeddingView::new(embedding, embedding.len())?)
    }

    /// Projects every embedding: row after row of [`components`](Self::components) values. A row does not
    /// depend on the other rows.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn project_all(&self, embeddings: EmbeddingView<'_>) -> Result<Vec<f32>, DriftError> {
        embeddings.check_dim(self.dim())?;
        embeddings.check(1)?;
        let (dim, kept) = (self.dim(), self.components());
        let mut projected = vec![0.0; embeddings.len() * kept];
        projected
            .par_chunks_mut(ROWS_PER_BLOCK * kept)
            .zip(embeddings.data().par_chunks(ROWS_PER_BLOCK * dim))
            .for_each(|(out, block)| {
                let block = centred(block, &self.mean);
                products(&block, &self.components, dim, out);
            });
        Ok(projected)
    }
}

fn mean_of_normalised(embeddings: EmbeddingView<'_>) -> Vec<f32> {
    let dim = embeddings.dim();
    let mut sums = vec![0.0_f64; dim];
    for row in embeddings.rows() {
        let mut row = row.to_vec();
        normalise(&mut row);
        for (sum, v) in sums.iter_mut().zip(&row) {
            *sum += f64::from(*v);
        }
    }
    let n = embeddings.len() as f64;
    #[expect(clippy::cast_possible_truncation, reason = "subtracted from f32")]
    sums.iter().map(|sum| (sum / n) as f32).collect()
}

/// The rows of `block`, normalised, minus `mean`.
fn centred(block: &[f32], mean: &[f32]) -> Vec<f32> {
    let mut block = block.to_vec();
    for row in block.chunks_exact_mut(mean.len()) {
        normalise(row);
        for (v, m) in row.iter_mut().zip(mean) {
            *v -= m;
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::drift::linalg::axpy;

    /// `n` rows of `dim` values: noise around a few strong directions.
    fn embeddings(n: usize, dim: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut uniform = || rng.random_range(-1.0_f32..1.0);
        let directions: Vec<Vec<f32>> = (0..5)
            .map(|_| (0..dim).map(|_| uniform()).collect())
            .collect();
        (0..n)
            .flat_map(|_| {
                let mut row: Vec<f32> = (0..dim).map(|_| 1.0 + 0.05 * uniform()).collect();
                for (i, d) in directions.iter().enumerate() {
                    axpy(uniform() / (i + 1) as f32, d, &mut row);
                }
                row
            })
            .collect()
    }

    #[test]
    fn projected_columns_are_centred_uncorrelated_and_of_the_stated_variance() {
        let data = embeddings(700, 90);
        let view = EmbeddingView::new(&data, 90).expect("rows");
        let p = Projection::fit(view, 8, 1).expect("varied");
        assert_eq!((p.dim(), p.components()), (90, 8));
        assert!(p.explained_variance().is_sorted_by(|a, b| a >= b));
        assert!(p.explained_variance_ratio() > 0.9 && p.explained_variance_ratio() <= 1.0);
        let projected = p.project_all(view).expect("same model");
        let columns: Vec<Vec<f64>> = (0..8)
            .map(|c| {
                projected
                    .iter()
                    .skip(c)
                    .step_by(8)
                    .map(|v| f64::from(*v))
                    .collect()
            })
            .collect();
        for (i, a) in columns.iter().enumerate() {
            assert!((a.iter().sum::<f64>() / 700.0).abs() < 1e-5);
            for (j, b) in columns.iter().enumerate() {
                let covariance = a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / 699.0;
                let expected = if i == j {
                    p.explained_variance()[i]
                } else {
                    0.0
                };
                let scale = p.explained_variance()[i.min(j)];
                assert!((covariance - expected).abs() < 1e-4 * scale, "{i} {j}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_company_nor_on_its_length() {
        let data = embeddings(70, 33);
        let view = EmbeddingView::new(&data, 33).expect("rows");
        let p = Projection::fit(view, 6, 1).expect("varied");
        let all = p.project_all(view).expect("same model");
        for row in [0, 31, 32, 69] {
            let alone = p.project(view.row(row)).expect("same model");
            assert_eq!(alone, all[row * 6..][..6]);
            let longer: Vec<f32> = view.row(row).iter().map(|v| v * 8.0).collect();
            assert_eq!(p.project(&longer).expect("same model"), alone);
        }
    }

    #[test]
    fn no_more_components_than_the_embeddings_vary_in() {
        let data = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.6, 0.8, 0.0_f32];
        let view = EmbeddingView::new(&data, 3).expect("rows");
        assert_eq!(
            Projection::fit(view, 64, 1).expect("varied").components(),
            2
        );
        let same = [2.0_f32; 12];
        let view = EmbeddingView::new(&same, 3).expect("rows");
        assert_eq!(Projection::fit(view, 2, 1), Err(DriftError::NoVariation));
        let one = EmbeddingView::new(&same, 12).expect("one row");
        assert!(matches!(
            Projection::fit(one, 2, 1),
            Err(DriftError::TooFewImages { .. })
        ));
    }

    #[test]
    fn other_models_and_broken_values_are_refused() {
        let data = embeddings(20, 7);
        let p = Projection::fit(EmbeddingView::new(&data, 7).expect("rows"), 3, 1).expect("varied");
        assert!(matches!(
            p.project(&[1.0; 6]),
            Err(DriftError::DimensionMismatch { .. })
        ));
        assert_eq!(
            p.project(&[f32::NAN; 7]),
            Err(DriftError::NonFinite { row: 0 })
        );
    }
}
