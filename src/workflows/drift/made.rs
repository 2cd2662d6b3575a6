//! A session without pictures, to time what happens after a label.

use std::collections::HashMap;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DriftSession;
use crate::domain::{ClassId, ImageId, Prediction};
use crate::drift::{
    DriftSpace, DuplicateGroups, EmbeddingView, Fitted, Images, LocalShape, LocalSource,
    NamedScores, PictureSource, SpaceRows,
};
use crate::workflows::{WorkflowError, run::RunCalibration};

/// Numbers of an embedding.
const DIM: usize = 2_048;
/// Images that the space is fitted on, and as many that are looked at: the others are much like those.
const DIFFERENT: usize = 400;
/// Regular images that a head is fitted beside: as many as one of real images learns from.
const REGULAR: usize = 3_000;

/// Random embeddings of `dim` numbers.
pub(in crate::workflows) fn made_embeddings(images: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values = 0..images * dim;
    values.map(|_| rng.random_range(0.0..1.0)).collect()
}

/// What is seen of made images beside their embeddings: as many numbers of each as of real ones in the end, of smaller
/// pictures.
struct Made {
    seed: u64,
}

impl Made {
    const SIDE: usize = 40;
    const NUMBERS: usize = 14;

    fn of(&self, row: usize, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(3 * row as u64 + stream);
        rng
    }
}

impl LocalSource for Made {
    fn shape(&self) -> LocalShape {
        LocalShape {
            positions: 16,
            channels: 32,
        }
    }

    fn image(&self, row: usize) -> Vec<f32> {
        let mut rng = self.of(row, 0);
        let values = 0..self.shape().positions * self.shape().channels;
        values.map(|_| rng.random_range(0.0..1.0)).collect()
    }
}

impl PictureSource for Made {
    fn side(&self) -> usize {
        Self::SIDE
    }

    fn picture(&self, row: usize) -> Vec<u8> {
        let mut rng = self.of(row, 1);
        let pixels = 0..Self::SIDE * Self::SIDE;
        pixels.map(|_| rng.random_range(60..200)).collect()
    }

    fn numbers(&self, row: usize) -> Vec<f64> {
        let mut rng = self.of(row, 2);
        (0..Self::NUMBERS)
            .map(|_| rng.random_range(0.0..1.0))
            .collect()
    }

    fn size(&self, _row: usize) -> Option<(u32, u32)> {
        Some((720, 840))
    }
}

/// `rows` over and over until there are `images`, each a little different.
fn crowd(rows: &SpaceRows, images: usize, seed: u64) -> SpaceRows {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dim = rows.features.len() / rows.images;
    let mut features = Vec::with_capacity(images * dim);
    for at in 0..images {
        let row = &rows.features[at % rows.images * dim..][..dim];
        features.extend(row.iter().map(|v| v + rng.random_range(-0.1..0.1)));
    }
    let again = |values: &[f64]| values.iter().copied().cycle().take(images).collect();
    let scores = |scores: &[NamedScores]| -> Vec<NamedScores> {
        let again = |of: &NamedScores| NamedScores {
            name: of.name,
            values: again(&of.values),
            places: again(&of.places),
        };
        scores.iter().map(again).collect()
    };
    SpaceRows {
        images,
        features,
        scores: scores(&rows.scores),
        listed: scores(&rows.listed),
    }
}

/// A session over `images` made images with embeddings of 2,048 numbers, rows of all that is looked at but for
/// tiles of the strip.
pub(in crate::workflows) fn made_session(images: usize) -> Result<DriftSession, WorkflowError> {
    let (regular, incoming) = (Made { seed: 10 }, Made { seed: 11 });
    let [known, new] = [0, 1].map(|seed| made_embeddings(DIFFERENT, DIM, seed));
    let of = |embeddings, seen| -> Result<Images<'_>, WorkflowError> {
        Ok(Images {
            embeddings: EmbeddingView::new(embeddings, DIM)?,
            local: Some(seen as &dyn LocalSource),
            pictures: Some(seen as &dyn PictureSource),
            tiles: None,
            dies: None,
        })
    };
    let classes: Vec<ClassId> = (0..DIFFERENT).map(|i| ClassId::from(i % 6)).collect();
    let beside = of(&new, &incoming)?;
    let Fitted { space, train, pool } =
        DriftSpace::fit(of(&known, &regular)?, &classes, Some(beside.into()))?;
    let pool = crowd(&pool.expect("a pool was given"), images, 2);
    let train = crowd(&train, REGULAR, 3);
    let ids: Vec<ImageId> = (0..images).map(ImageId::from).collect();
    let answer = |i: usize| {
        let mut probabilities = vec![0.02; 6];
        probabilities[i % 6] = 0.9;
        Prediction { probabilities }
    };
    let mut features = pool.features.clone();
    features.extend_from_slice(&train.features);
    let rows = ids.iter().enumerate().map(|(row, id)| (*id, row));
    Ok(DriftSession {
        source: "made".to_owned(),
        failed: Vec::new(),
        groups: Arc::default(),
        duplicates: DuplicateGroups::none(images + train.images),
        rows: rows.collect::<HashMap<_, _>>(),
        space,
        features,
        outliers: Vec::new(),
        anomaly: vec![0.5; images],
        predictions: (0..images).map(answer).collect(),
        calibration: RunCalibration::default(),
        pool,
        images: ids,
    })
}
