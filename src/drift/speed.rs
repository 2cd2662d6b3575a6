//! How long the scores take, on made numbers.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    DriftError, DriftHead, EmbeddingView, HeadOptions, LinearClassifier, LocalShape, Mahalanobis,
    NearestNeighbours, Padim, PadimOptions, PatchCore, PatchCoreOptions, PoolContrast, PoolDensity,
    Projection, RelativeMahalanobis, Scorer, Vim,
};
use crate::domain::ClassId;

/// Regular classes of the made embeddings.
const CLASSES: usize = 6;
/// Every this many-th made image is labelled when the head is refitted.
const LABELLED: usize = 60;
/// Local features as InceptionV3 has them in the middle, `Mixed_5d` beside `Mixed_6e`.
const LOCAL: LocalShape = LocalShape {
    positions: 17 * 17,
    channels: 288 + 768,
};
/// Images whose local features are fitted and scored.
const LOCAL_IMAGES: usize = 100;

/// One measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// What was done.
    pub name: &'static str,
    /// With how many images.
    pub images: usize,
    /// Once.
    pub took: Duration,
}

/// Times fits on `references` regular images and scores of `images` others, all made of noise round
/// class means, `dim` values each. At 10,000 images of 2,048 values it takes a minute and 500 MB.
///
/// # Errors
/// [`DriftError`] where the sizes are too small to fit on.
pub fn time_scores(
    images: usize,
    references: usize,
    dim: usize,
) -> Result<Vec<Timing>, DriftError> {
    let mut clock = Clock::default();
    let (regular, classes) = made(references, dim, 1);
    let (incoming, _) = made(images, dim, 2);
    let regular = EmbeddingView::new(&regular, dim)?;
    let incoming = EmbeddingView::new(&incoming, dim)?;

    let projection = clock.time("fit the projection to 64", references, || {
        Projection::fit(regular, Projection::COMPONENTS, 1)
    })?;
    let near = projection.project_all(regular)?;
    let all = clock.time("project", images, || projection.project_all(incoming))?;
    let near = EmbeddingView::new(&near, projection.components())?;
    let all = EmbeddingView::new(&all, projection.components())?;
    time_projected(&mut clock, near, all, &classes)?;

    let fitted = clock.time("fit Mahalanobis++ in full", references, || {
        Mahalanobis::fit_normalised(regular, &classes)
    })?;
    clock.time("Mahalanobis++ in full", images, || {
        fitted.score_all(incoming)
    })?;
    let fitted = NearestNeighbours::fit(regular, 10)?;
    clock.time("10th neighbour in full", images, || {
        fitted.score_all(incoming)
    })?;
    let weights: Vec<f32> = regular.data()[..CLASSES * dim].to_vec();
    let fitted = clock.time("fit ViM", references, || {
        let classifier = LinearClassifier::new(&weights, &[0.0; CLASSES], dim)?;
        Vim::fit(
            regular,
            classifier,
            Vim::usual_principal(dim, references),
            1,
        )
    })?;
    clock.time("ViM", images, || fitted.score_all(incoming))?;
    time_local(&mut clock)?;
    Ok(clock.timings)
}

fn time_projected(
    clock: &mut Clock,
    regular: EmbeddingView<'_>,
    incoming: EmbeddingView<'_>,
    classes: &[ClassId],
) -> Result<(), DriftError> {
    let (references, images) = (regular.len(), incoming.len());
    let fitted = clock.time("fit relative Mahalanobis", references, || {
        RelativeMahalanobis::fit(regular, classes)
    })?;
    clock.time("Mahalanobis", images, || {
        fitted.nearest().score_all(incoming)
    })?;
    clock.time("relative Mahalanobis", images, || {
        fitted.score_all(incoming)
    })?;
    let fitted = NearestNeighbours::fit(regular, 10)?;
    clock.time("10th neighbour", images, || fitted.score_all(incoming))?;
    clock.time("pool density", images, || {
        Ok(PoolDensity::fit(regular, incoming, 10)?.pool_scores())
    })?;
    clock.time("pool contrast out of fold", images, || {
        PoolContrast::pool_scores(regular, incoming, PoolContrast::C, 1)
    })?;
    let labels: Vec<Option<bool>> = (0..images)
        .map(|i| {
            i.is_multiple_of(LABELLED)
                .then_some(i.is_multiple_of(2 * LABELLED))
        })
        .collect();
    clock.time("refit the head, rescore and sort", images, || {
        let head = DriftHead::fit_projected(incoming, &labels, &HeadOptions::default())?;
        let scores = head.predict_proba_all(incoming)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        Ok(order)
    })?;
    Ok(())
}

fn time_local(clock: &mut Clock) -> Result<(), DriftError> {
    let (local, _) = made(LOCAL_IMAGES, LOCAL.values(), 3);
    let local = EmbeddingView::new(&local, LOCAL.values())?;
    let fitted = clock.time("fit PatchCore, 8,000 patches", LOCAL_IMAGES, || {
        PatchCore::fit(local, LOCAL, PatchCoreOptions::default())
    })?;
    clock.time("PatchCore", LOCAL_IMAGES, || fitted.score_all(local))?;
    let fitted = clock.time("fit PaDiM, 100 channels", LOCAL_IMAGES, || {
        Padim::fit(local, LOCAL, PadimOptions::default())
    })?;
    clock.time("PaDiM", LOCAL_IMAGES, || fitted.score_all(local))?;
    Ok(())
}

#[derive(Default)]
struct Clock {
    timings: Vec<Timing>,
}

impl Clock {
    fn time<T>(
        &mut self,
        name: &'static str,
        images: usize,
        work: impl FnOnce() -> Result<T, DriftError>,
    ) -> Result<T, DriftError> {
        let started = Instant::now();
        let result = work()?;
        self.timings.push(Timing {
            name,
            images,
            took: started.elapsed(),
        });
        Ok(result)
    }
}

/// Rows of noise round the mean of their class, none negative, like activations after a ReLU.
fn made(n: usize, dim: usize, seed: u64) -> (Vec<f32>, Vec<ClassId>) {
    let mut means = ChaCha8Rng::seed_from_u64(0);
    let means: Vec<f32> = (0..CLASSES * dim)
        .map(|_| means.random_range(0.0..1.0))
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(n * dim);
    for i in 0..n {
        let mean = &means[i % CLASSES * dim..][..dim];
        rows.extend(mean.iter().map(|m| m + rng.random_range(0.0_f32..0.5)));
    }
    (rows, (0..n).map(|i| ClassId::from(i % CLASSES)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_is_timed_once() {
        let mut clock = Clock::default();
        let (data, classes) = made(130, 70, 1);
        let view = EmbeddingView::new(&data, 70).expect("rows");
        time_projected(&mut clock, view, view, &classes).expect("large enough");
        let mut names: Vec<&str> = clock.timings.iter().map(|t| t.name).collect();
        assert!(clock.timings.iter().all(|t| t.images == 130));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), clock.timings.len());
        assert!(names.contains(&"relative Mahalanobis"));
        assert!(time_scores(0, 0, 4).is_err());
    }
}
