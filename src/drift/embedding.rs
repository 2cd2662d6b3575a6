//! A borrowed table of embeddings.

use super::DriftError;

/// `n` embeddings of `dim` values each, one after the other, as an embedding cache maps them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingView<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> EmbeddingView<'a> {
    /// Reads `data` as rows of `dim` values.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for `dim` 0, [`DriftError::Ragged`] for an incomplete last row.
    pub fn new(data: &'a [f32], dim: usize) -> Result<Self, DriftError> {
        if dim == 0 {
            return Err(DriftError::NoEmbeddings);
        }
        if !data.len().is_multiple_of(dim) {
            return Err(DriftError::Ragged {
                values: data.len(),
                dim,
            });
        }
        Ok(Self { data, dim })
    }

    /// Number of embeddings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there is no embedding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values of one embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    #[must_use]
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// One embedding.
    ///
    /// # Panics
    /// For a row that is not there.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.dim..][..self.dim]
    }

    /// All embeddings in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'a, f32> {
        self.data.chunks_exact(self.dim)
    }

    /// The first `rows` rows, or all where there are fewer.
    #[must_use]
    pub fn first(&self, rows: usize) -> Self {
        Self {
            data: &self.data[..self.data.len().min(rows * self.dim)],
            ..*self
        }
    }

    /// A copy of some rows, one after the other.
    ///
    /// # Panics
    /// For a row that is not there.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(rows.len() * self.dim);
        for row in rows {
            gathered.extend_from_slice(self.row(*row));
        }
        gathered
    }

    /// Refuses fewer than `needed` rows, and values that are no numbers.
    pub(super) fn check(&self, needed: usize) -> Result<(), DriftError> {
        if self.is_empty() {
            return Err(DriftError::NoEmbeddings);
        }
        if self.len() < needed {
            return Err(DriftError::TooFewImages {
                rows: self.len(),
                needed,
            });
        }
        match self.data.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(DriftError::NonFinite { row: at / self.dim }),
            None => Ok(()),
        }
    }

    /// Refuses embeddings that are not `expected` long.
    pub(super) fn check_dim(&self, expected: usize) -> Result<(), DriftError> {
        check_dim(expected, self.dim)
    }
}

/// Refuses `found` where `expected` values were fitted.
pub(super) fn check_dim(expected: usize, found: usize) -> Result<(), DriftError> {
    if expected == found {
        Ok(())
    } else {
        Err(DriftError::DimensionMismatch { expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_bad_tables_refused() {
        let data = [1.0, 2.0, 3.0, f32::NAN];
        let view = EmbeddingView::new(&data, 2).expect("two rows");
        assert_eq!((view.len(), view.row(0)), (2, &data[..2]));
        assert_eq!(view.gather(&[0, 0]), [1.0, 2.0, 1.0, 2.0]);
        assert_eq!(view.check(1), Err(DriftError::NonFinite { row: 1 }));
        assert!(EmbeddingView::new(&data, 3).is_err_and(|e| e.to_string().contains("damaged")));
        assert_eq!(EmbeddingView::new(&data, 0), Err(DriftError::NoEmbeddings));
        let none = EmbeddingView::new(&[], 5).expect("no rows");
        assert_eq!(none.check(1), Err(DriftError::NoEmbeddings));
    }
}
