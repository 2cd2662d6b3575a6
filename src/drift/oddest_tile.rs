//! What is odd in one tile of an image.

use rayon::prelude::*;

use super::folds::Folds;
use super::space::calibrated;
use super::{
    Calibration, DriftError, EmbeddingView, LocalSource, NearestNeighbours, Projection, Scorer,
};

/// Folds that regular images are scored in.
const FOLDS: usize = 5;
/// Seeds everything random in here.
const SEED: u64 = 42;

/// How far the oddest tile of an image lies from regular ones. Each tile has its own principal components and is
/// compared with the same tile of regular images: the distance to the nearest ([`NearestNeighbours`], Sun et al., ICML
/// 2022, equation 3), in robust standard deviations of those of regular tiles. The largest counts, as of the patches
/// in PatchCore (Roth et al., CVPR 2022, equation 6). What is small against the whole frame is large in its tile.
pub struct OddestTile {
    /// In order; none for a tile that says nothing, as it is the same in all regular images.
    tiles: Vec<Option<Tile>>,
}

struct Tile {
    projection: Projection,
    nearest: NearestNeighbours,
    calibration: Calibration,
}

impl OddestTile {
    /// Fits on the tiles of regular images, one for each entry of `groups`, and returns the score of each beside images
    /// that neither it nor another of its group is among. None where no tile says anything.
    ///
    /// # Errors
    /// [`DriftError::TooFewImages`], [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
    pub fn fit(
        source: &dyn LocalSource,
        groups: &[usize],
    ) -> Result<Option<(Self, Vec<f64>)>, DriftError> {
        let images = groups.len();
        let folds = Folds::apart(groups, FOLDS, SEED)?;
        let mut tiles = Vec::new();
        let mut scores = vec![f64::NEG_INFINITY; images];
        for at in 0..source.shape().positions {
            let rows = rows(source, at, images);
            let fitted = Tile::fit(EmbeddingView::new(&rows, source.shape().channels)?, &folds)?;
            let (tile, held_out) = fitted.unzip();
            raise(&mut scores, held_out.into_iter().flatten());
            tiles.push(tile);
        }
        let some = tiles.iter().any(Option::is_some);
        Ok(some.then_some((Self { tiles }, scores)))
    }

    /// The score of each of the first `images` images of a set, in robust standard deviations; higher is more like
    /// drift.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn score_all(
        &self,
        source: &dyn LocalSource,
        images: usize,
    ) -> Result<Vec<f64>, DriftError> {
        let mut scores = vec![f64::NEG_INFINITY; images];
        for (at, tile) in self.tiles.iter().enumerate() {
            if let Some(tile) = tile {
                let rows = rows(source, at, images);
                let rows = EmbeddingView::new(&rows, source.shape().channels)?;
                raise(&mut scores, tile.score_all(rows)?);
            }
        }
        Ok(scores)
    }
}

impl Tile {
    /// Fits on `rows`, with the score of each out of fold; none where all are the same.
    fn fit(rows: EmbeddingView<'_>, folds: &Folds) -> Result<Option<(Self, Vec<f64>)>, DriftError> {
        let projection = match Projection::fit(rows, Projection::COMPONENTS, SEED) {
            Ok(projection) => projection,
            Err(DriftError::NoVariation) => return Ok(None),
            Err(error) => return Err(error),
        };
        let rows = projection.project_all(rows)?;
        let rows = EmbeddingView::new(&rows, projection.components())?;
        let fitted = calibrated(rows, folds, |_, some| NearestNeighbours::fit(some, 1))?;
        let (Some((nearest, calibration)), Some(far)) = fitted else {
            return Ok(None);
        };
        let scores = far.into_iter().map(|far| calibration.robust_z(far));
        let scores = scores.collect();
        let tile = Self {
            projection,
            nearest,
            calibration,
        };
        Ok(Some((tile, scores)))
    }

    fn score_all(&self, rows: EmbeddingView<'_>) -> Result<Vec<f64>, DriftError> {
        let rows = self.projection.project_all(rows)?;
        let rows = EmbeddingView::new(&rows, self.projection.components())?;
        let far = self.nearest.score_all(rows)?.into_iter();
        Ok(far.map(|far| self.calibration.robust_z(far)).collect())
    }
}

/// Tile `at` of each image, row after row.
fn rows(source: &dyn LocalSource, at: usize, images: usize) -> Vec<f32> {
    let dim = source.shape().channels;
    let rows = (0..images).into_par_iter();
    let rows = rows.map(|row| source.image(row)[at * dim..][..dim].to_vec());
    rows.collect::<Vec<_>>().concat()
}

/// Keeps the larger of each pair.
fn raise(scores: &mut [f64], others: impl IntoIterator<Item = f64>) {
    for (score, other) in scores.iter_mut().zip(others) {
        *score = score.max(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{LocalShape, scorer::testing::noise};

    const SHAPE: LocalShape = LocalShape {
        positions: 3,
        channels: 8,
    };

    struct Made(Vec<Vec<f32>>);

    impl LocalSource for Made {
        fn shape(&self) -> LocalShape {
            SHAPE
        }
        fn image(&self, row: usize) -> Vec<f32> {
            self.0[row].clone()
        }
    }

    /// Each tile of a regular image is like the same tile of the others.
    fn regular(seed: u64) -> Vec<f32> {
        let usual = noise(SHAPE.positions, SHAPE.channels, 1);
        let own = noise(SHAPE.positions, SHAPE.channels, 100 + seed);
        usual.iter().zip(&own).map(|(u, o)| u + 0.1 * o).collect()
    }

    #[test]
    fn one_odd_tile_is_enough_and_an_image_scores_alone_as_among_others() {
        let known = Made((0..60).map(regular).collect());
        let (fitted, held_out) = OddestTile::fit(&known, &Vec::from_iter(0..60))
            .expect("fitted")
            .expect("varies");
        let mut sorted = held_out.clone();
        sorted.sort_by(f64::total_cmp);
        let mut odd = regular(200);
        // The last tile is unlike all others.
        odd[2 * SHAPE.channels..].iter_mut().for_each(|v| *v = -*v);
        let found = fitted.score_all(&Made(vec![regular(201), odd.clone()]), 2);
        let found = found.expect("scored");
        assert!(found[0] < sorted[57], "{found:?} {sorted:?}");
        assert!(found[1] > sorted[58], "{found:?} {sorted:?}");
        let alone = fitted.score_all(&Made(vec![odd]), 1).expect("scored");
        assert_eq!(alone[0], found[1]);
    }

    #[test]
    fn a_tile_that_is_always_the_same_says_nothing() {
        let mut known = Made((0..20).map(regular).collect());
        for image in &mut known.0 {
            image[..SHAPE.channels].fill(1.0);
        }
        let (fitted, _) = OddestTile::fit(&known, &Vec::from_iter(0..20))
            .expect("fitted")
            .expect("varies");
        let says: Vec<bool> = fitted.tiles.iter().map(Option::is_some).collect();
        assert_eq!(says, [false, true, true]);
        known.0 = vec![vec![1.0; 24]; 20];
        assert!(
            OddestTile::fit(&known, &Vec::from_iter(0..20))
                .expect("fitted")
                .is_none()
        );
        known.0[3][4] = f32::NAN;
        let broken = OddestTile::fit(&known, &Vec::from_iter(0..20)).err();
        assert!(
            matches!(broken, Some(DriftError::NonFinite { .. })),
            "{broken:?}"
        );
    }
}
