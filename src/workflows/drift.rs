//! Drift: embeddings once, then a ranking and a head that refits in milliseconds after every label.

use std::{collections::HashMap, path::Path, time::Instant};

use serde::Serialize;

use crate::domain::{ClassId, ImageId, Prediction, Split};
use crate::drift::{
    DriftHead, EmbeddingView, HeadOptions, Mahalanobis, NearestNeighbours, Projection, Scorer,
    held_out_scorer,
};
use crate::evaluation::{CvPlan, CvReport, cross_validate};
use crate::inference::EmbeddedImage;
use crate::jobs::JobContext;
use crate::project::Snapshot;

use super::export::refuse_own_files;
use super::{
    Unreadable, WorkflowError,
    embed::{embed, write_csv},
    run::load_run,
    train::Parts,
};
use crate::training::Example;

/// Neighbours behind the distance feature.
const NEIGHBOURS: usize = 10;
/// Regular validation images that a head is fitted beside the labels, at most: more would only slow it.
const REFERENCE_IMAGES: usize = 400;
/// Seeds everything random in here.
const SEED: u64 = 42;

/// The images in which drift is looked for, as numbers: all that refitting needs.
///
/// Candidates are the incoming images, or every image of a data set that has none. Distances are
/// measured to the run's training images and calibrated on its validation images, so that the score of
/// an image does not depend on which others are looked at.
pub struct DriftSession {
    /// Name of the run whose embeddings these are.
    pub run: String,
    /// The candidates, in the order of the data set.
    pub images: Vec<ImageId>,
    /// Candidates that cannot be read, with the sentence why.
    pub failed: Unreadable,
    rows: HashMap<ImageId, usize>,
    /// Candidates first, then regular images of the validation split.
    features: Vec<f32>,
    dim: usize,
    distances: Vec<f64>,
    anomaly: Vec<f32>,
    predictions: Vec<Prediction>,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftScore {
    /// Which image.
    pub image: ImageId,
    /// Probability of drift: out of fold where the image is labelled and cross-validation was possible.
    /// None until both kinds are labelled.
    pub probability: Option<f32>,
    /// Share of the regular validation images that are less far from the training images, `0..1`; above
    /// the farthest of them it goes on rising towards 1.
    pub anomaly: f32,
}

/// A ranking, and how good it is.
#[derive(Clone, Debug)]
pub struct DriftResult {
    /// All candidates, the likeliest drift first.
    pub scores: Vec<DriftScore>,
    /// Repeated stratified cross-validation over the labelled candidates, or why there is none. The
    /// out-of-fold entries follow [`DriftSession::images`].
    pub quality: Result<CvReport, String>,
    /// Why the ranking is by distance only, if it is.
    pub head_problem: Option<String>,
    /// Candidates labelled drift.
    pub n_drift: usize,
    /// Candidates labelled regular.
    pub n_regular: usize,
    /// Time the refit took.
    pub milliseconds: f64,
}

/// Embeds candidates and reference images with the run in `dir` (cached) and prepares the refitting.
///
/// # Errors
/// [`WorkflowError`].
pub fn prepare_drift(
    snapshot: &Snapshot,
    dir: &Path,
    context: &JobContext,
) -> Result<DriftSession, WorkflowError> {
    let run = load_run(dir)?;
    let parts = Parts::of(snapshot, &run.plan)?;
    let mut candidates = snapshot.in_split(Split::Incoming);
    if candidates.is_empty() {
        candidates = snapshot.manifest.ids().collect();
    }
    let mut wanted = candidates.clone();
    wanted.extend(parts.train.iter().map(|e| e.image));
    wanted.extend(parts.validation.iter().map(|e| e.image));
    wanted.sort_unstable();
    wanted.dedup();
    let mut found: HashMap<ImageId, EmbeddedImage> = HashMap::with_capacity(wanted.len());
    let failed = embed(snapshot, &run, &wanted, context, &mut |rows| {
        found.extend(rows);
    })?;
    candidates.retain(|id| found.contains_key(id));
    if candidates.is_empty() {
        return Err(WorkflowError::Unreadable {
            count: failed.len(),
            first: failed
                .into_iter()
                .next()
                .map(|(_, why)| why)
                .unwrap_or_default(),
        });
    }
    let failed = failed
        .into_iter()
        .filter(|(id, _)| snapshot.manifest.get(*id).incoming)
        .collect();

    let with_embedding = |examples: &[Example]| -> Vec<(ImageId, ClassId)> {
        let known = examples.iter().map(|e| (e.image, e.class));
        known.filter(|(id, _)| found.contains_key(id)).collect()
    };
    let train = with_embedding(&parts.train);
    let rows = candidates.iter().enumerate().map(|(row, id)| (*id, row));
    let rows: HashMap<ImageId, usize> = rows.collect();
    let calibration = with_embedding(&parts.validation);
    let reference: Vec<ImageId> = calibration
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| !rows.contains_key(id))
        .take(REFERENCE_IMAGES)
        .collect();

    let dim = found.values().next().map_or(0, |row| row.embedding.len());
    let gather = |ids: &mut dyn Iterator<Item = ImageId>| -> Vec<f32> {
        ids.flat_map(|id| found[&id].embedding.iter().copied())
            .collect()
    };
    let train_rows = gather(&mut train.iter().map(|(id, _)| *id));
    let classes: Vec<ClassId> = train.iter().map(|(_, class)| *class).collect();
    let projection = Projection::fit(
        EmbeddingView::new(&train_rows, dim)?,
        Projection::COMPONENTS,
        SEED,
    )?;
    let kept = projection.components();
    let project = |rows: &[f32]| projection.project_all(EmbeddingView::new(rows, dim)?);
    let train_projected = project(&train_rows)?;
    let bank = EmbeddingView::new(&train_projected, kept)?;
    let mahalanobis = Mahalanobis::fit(bank, &classes)?;
    let nearest = NearestNeighbours::fit(bank, NEIGHBOURS.min(bank.len()))?;

    let looked_at = candidates.iter().chain(&reference).copied();
    let projected = project(&gather(&mut looked_at.clone()))?;
    let view = EmbeddingView::new(&projected, kept)?;
    let distances = mahalanobis.score_all(view)?;
    let neighbours = nearest.score_all(view)?;
    // What the head reads: the directions, and how far out the image is along none of them.
    let features: Vec<f32> = view
        .rows()
        .zip(distances.iter().zip(&neighbours))
        .flat_map(|(row, (far, near))| {
            row.iter()
                .copied()
                .chain([far.ln_1p() as f32, *near as f32])
        })
        .collect();
    let validation_rows = gather(&mut calibration.iter().map(|(id, _)| *id));
    let regular = match validation_rows.as_slice() {
        [] => Vec::new(),
        rows => mahalanobis.score_all(EmbeddingView::new(&project(rows)?, kept)?)?,
    };
    let distances = distances[..candidates.len()].to_vec();
    let anomaly = calibrate(&distances, regular);
    let predictions = candidates.iter().map(|id| found[id].prediction()).collect();
    Ok(DriftSession {
        run: run.name,
        images: candidates,
        failed,
        rows,
        features,
        dim: kept + 2,
        distances,
        anomaly,
        predictions,
    })
}

/// Turns distances into shares of `regular` ones that are smaller; beyond the largest, what is left to 1
/// shrinks with the distance. Strictly the same order as the distances there.
fn calibrate(distances: &[f64], mut regular: Vec<f64>) -> Vec<f32> {
    regular.sort_by(f64::total_cmp);
    let n = regular.len() as f64 + 1.0;
    let score = |distance: &f64| {
        let below = regular.partition_point(|r| r < distance);
        let share = match regular.last() {
            Some(largest) if distance > largest => 1.0 - (largest / distance) / n,
            Some(_) => below as f64 / n,
            None => distance / (1.0 + distance),
        };
        share as f32
    };
    distances.iter().map(score).collect()
}

impl DriftSession {
    /// The network's class probabilities of a candidate.
    #[must_use]
    pub fn prediction(&self, image: ImageId) -> Option<&Prediction> {
        self.rows.get(&image).map(|row| &self.predictions[*row])
    }

    /// Fits the head on `labels` (true for drift) and ranks all candidates; images that are none are
    /// passed over. `repeats` of 5-fold cross-validation measure it. Before both kinds are labelled, the
    /// ranking is by distance and says so.
    #[must_use]
    pub fn refit(&self, labels: &[(ImageId, bool)], repeats: usize) -> DriftResult {
        let started = Instant::now();
        let n = self.images.len();
        let mut labelled: Vec<Option<bool>> = vec![None; n];
        for (image, drift) in labels {
            if let Some(row) = self.rows.get(image) {
                labelled[*row] = Some(*drift);
            }
        }
        let count = |kind| {
            labelled
                .iter()
                .filter(|label| **label == Some(kind))
                .count()
        };
        let (n_drift, n_regular) = (count(true), count(false));
        let head = self.fit_head(&labelled);
        let plan = CvPlan {
            repeats,
            seed: SEED,
            ..CvPlan::default()
        };
        let quality = self.cross_validate(&labelled, &plan);
        let out_of_fold = quality.as_ref().ok().map(|report| &report.out_of_fold);
        let (probabilities, head_problem) = match head {
            Ok(probabilities) => (Some(probabilities), None),
            Err(problem) => (None, Some(problem)),
        };
        let mut scores: Vec<DriftScore> = (0..n)
            .map(|row| DriftScore {
                image: self.images[row],
                probability: probabilities.as_ref().map(|p| {
                    let held_out = out_of_fold.and_then(|fold| fold.get(row).copied().flatten());
                    held_out.unwrap_or(p[row] as f32)
                }),
                anomaly: self.anomaly[row],
            })
            .collect();
        let key = |score: &DriftScore| {
            let row = self.rows[&score.image];
            (score.probability.unwrap_or(0.0), self.distances[row])
        };
        scores.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        DriftResult {
            scores,
            quality,
            head_problem,
            n_drift,
            n_regular,
            milliseconds: started.elapsed().as_secs_f64() * 1000.0,
        }
    }

    /// The `k` candidates that look most like `image` to the network, nearest first, each with its cosine
    /// similarity; none for an image that is no candidate.
    #[must_use]
    pub fn neighbours(&self, image: ImageId, k: usize) -> Vec<(ImageId, f32)> {
        let Some(row) = self.rows.get(&image).copied() else {
            return Vec::new();
        };
        // The last two features are distances, not directions.
        let direction = |row: usize| &self.features[row * self.dim..][..self.dim - 2];
        let similarity = |a: &[f32], b: &[f32]| {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
        };
        let mut others: Vec<(ImageId, f32)> = (0..self.images.len())
            .filter(|other| *other != row)
            .map(|other| {
                (
                    self.images[other],
                    similarity(direction(row), direction(other)),
                )
            })
            .collect();
        others.sort_by(|a, b| b.1.total_cmp(&a.1));
        others.truncate(k);
        others
    }

    /// Labels of all rows: the candidates', then regular for the reference images.
    fn all_labels(&self, labelled: &[Option<bool>]) -> Vec<Option<bool>> {
        let mut all = labelled.to_vec();
        all.resize(self.features.len() / self.dim, Some(false));
        all
    }

    fn fit_head(&self, labelled: &[Option<bool>]) -> Result<Vec<f64>, String> {
        let fit = || {
            let features = EmbeddingView::new(&self.features, self.dim)?;
            let all = self.all_labels(labelled);
            // Reference images alone teach nothing of what the user calls regular here.
            if !labelled.contains(&Some(false)) {
                return Err(crate::drift::DriftError::NoRegularLabelled {
                    drift: labelled.iter().flatten().count(),
                });
            }
            DriftHead::fit_projected(features, &all, &HeadOptions::default())?
                .predict_proba_all(features)
        };
        fit().map_err(|error| error.to_string())
    }

    fn cross_validate(&self, labelled: &[Option<bool>], plan: &CvPlan) -> Result<CvReport, String> {
        let features =
            EmbeddingView::new(&self.features, self.dim).map_err(|error| error.to_string())?;
        let all = self.all_labels(labelled);
        let options = HeadOptions::default();
        let scorer = held_out_scorer(features, &all, &options);
        cross_validate(labelled, plan, scorer).map_err(|error| error.to_string())
    }
}

/// The hand labels of a project as drift (true) or not, for [`DriftSession::refit`].
#[must_use]
pub fn drift_labels(snapshot: &Snapshot) -> Vec<(ImageId, bool)> {
    let labelled = snapshot.manifest.ids().zip(snapshot.hand.iter());
    labelled
        .filter_map(|(id, label)| Some((id, (*label)?.is_drift(&snapshot.manifest.classes))))
        .collect()
}

/// Writes `filename,probability,anomaly,label` for every candidate, likeliest drift first.
///
/// # Errors
/// [`WorkflowError::Storage`].
pub fn save_ranking(
    snapshot: &Snapshot,
    result: &DriftResult,
    out: &Path,
) -> Result<(), WorkflowError> {
    refuse_own_files(&snapshot.manifest, out)?;
    let header = ["filename", "probability", "anomaly", "label"].map(str::to_owned);
    let rows = result.scores.iter().map(|score| {
        let label = snapshot.hand[score.image.index()];
        vec![
            snapshot.manifest.get(score.image).key.clone(),
            score.probability.map_or(String::new(), |p| p.to_string()),
            score.anomaly.to_string(),
            label.map_or(String::new(), |l| {
                l.name(&snapshot.manifest.classes).to_owned()
            }),
        ]
    });
    write_csv(out, std::iter::once(header.to_vec()).chain(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibrated_scores_keep_the_order_of_the_distances() {
        let regular: Vec<f64> = (1..=9).map(f64::from).collect();
        let scores = calibrate(&[0.5, 4.5, 9.0, 9.5, 20.0, 1e6], regular.clone());
        assert!(
            scores.is_sorted() && scores[0] == 0.0 && scores[5] < 1.0,
            "{scores:?}"
        );
        // 4 of 9 regular images are nearer; the image itself counts as one more.
        assert!((scores[1] - 0.4).abs() < 1e-6);
        // The same alone as among others.
        assert_eq!(calibrate(&[9.5], regular), scores[3..4]);
    }
}
