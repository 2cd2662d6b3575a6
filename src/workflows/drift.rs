//! Drift: embeddings once, then a ranking and a head that refits in milliseconds after every label.

mod made;
#[cfg(feature = "gui")]
mod map;
mod outliers;
mod tiles;

pub(super) use made::{made_embeddings, made_session};
#[cfg(feature = "gui")]
pub use map::Places;
use outliers::Outliers;
pub(super) use tiles::Tiles;
use tiles::TilesOf;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::Manifest;
use crate::domain::{ClassId, ImageId, Prediction, Split};
use crate::drift::{
    Calibration, DriftError, DriftSpace, DuplicateGroups, EmbeddingView, Fitted, Images,
    LocalShape, LocalSource, NamedScores, PictureSource, Pool, SpaceRows, k_center, most_similar,
    similarity_to_nearest,
};
use crate::evaluation::{CvPlan, CvReport, cross_validate_grouped};
use crate::inference::LocalMemory;
use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::queue::{Known, Outlying, Reason, mixed};
use crate::storage::Digest;

use super::export::refuse_own_files;
use super::{
    ImageGroups, Unreadable, WorkflowError,
    embed::{Body, Eyes, dies_of, embed, write_csv},
    pictures::{Pictures, Shown},
    run::{RunCalibration, load_run},
    train::Parts,
    weights::find_body,
};
use crate::training::Example;

/// Regular images that the space learns from, at most: distances to more would only be slower.
const REGULAR_IMAGES: usize = 3_000;
/// Regular images that it remembers to compare places with, at most.
const REMEMBERED_IMAGES: usize = 10_000;
/// Fewer regular images than this that a network has not learned from tell nothing; it then takes those it has.
const FEW_REGULAR: usize = 30;
/// Drift images that all spoiled ones together count as: the first labels outweigh them.
const OUTLIERS_COUNT_AS: f64 = 2.0;
/// Images unlike each other that the first screen draws on.
const DIVERSE: usize = 20;
/// Seeds everything random in here.
const SEED: u64 = 42;
/// Draws the control sample of a project's queue, which stays the same however often the project is opened.
pub const QUEUE_SEED: u64 = 42;

/// Where the numbers come from that drift is judged by.
#[derive(Clone, Debug)]
pub struct DriftSource {
    /// The run that answers with one of the regular classes.
    pub run: PathBuf,
    /// A pretrained network to look for drift with; the run's own when not given. Training on the regular
    /// classes makes a network forget what else there is, so a general one mostly sees more.
    pub body: Option<Body>,
}

impl DriftSource {
    /// The run in `run`, with the pretrained network that the project has chosen, if any.
    ///
    /// # Errors
    /// As [`find_body`].
    pub fn of(snapshot: &Snapshot, run: &Path) -> Result<Self, WorkflowError> {
        let chosen = snapshot.drift_network.as_ref();
        let body = chosen.map(|c| {
            let scale = c.preprocessing.as_deref();
            find_body(&c.model, Some(Path::new(&c.weights)), None, scale)
        });
        Ok(Self {
            run: run.to_owned(),
            body: body.transpose()?,
        })
    }
}

/// The images in which drift is looked for, as numbers: all that refitting needs.
///
/// Candidates are the incoming images, or every image of a data set that has none. What they are compared
/// with are regular images that the network has not learned from, so that the score of an image does not
/// depend on which others are looked at; see [`DriftSpace`] for the one listed score that does.
pub struct DriftSession {
    /// What the features come from, for people.
    pub source: String,
    /// The candidates, in the order of the data set.
    pub images: Vec<ImageId>,
    /// Candidates that cannot be read, with the sentence why.
    pub failed: Unreadable,
    /// Near-duplicates among the candidates and the regular images that they are compared with, each group with a
    /// candidate at least: one key labels them alike, no fold splits them, and the queue shows one at a time.
    pub groups: Arc<ImageGroups>,
    /// Of the candidates, then of regular images, of which the first are those in `features`.
    duplicates: DuplicateGroups,
    rows: HashMap<ImageId, usize>,
    space: DriftSpace,
    /// Candidates first, then regular images that a head is fitted beside them.
    features: Vec<f32>,
    /// Of regular images spoiled on purpose: weak examples of drift for a head; none where the project wants none.
    outliers: Vec<f32>,
    /// Of the candidates.
    pool: SpaceRows,
    pub(super) anomaly: Vec<f32>,
    predictions: Vec<Prediction>,
    pub(super) calibration: RunCalibration,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftScore {
    /// Which image.
    pub image: ImageId,
    /// Probability of drift: out of fold where the image is labelled and cross-validation was possible.
    /// None until both kinds are labelled.
    pub probability: Option<f32>,
    /// Place of the mean of all unsupervised scores among those of regular images, in `(0, 1)`.
    pub anomaly: f32,
}

/// What one score says of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ImageScore {
    /// The score's name.
    pub name: &'static str,
    /// Robust standard deviations above the median regular image.
    pub value: f64,
    /// The share of regular images that score lower, in `(0, 1)`.
    pub place: f64,
}

impl ImageScore {
    /// The share of regular images that score lower, in words.
    #[must_use]
    pub fn share(&self) -> String {
        share_in_words(self.place)
    }
}

/// A share of regular images, `0..=1`, as `97.3 %`; never all of them, for none was measured to lie beyond all there can be.
#[must_use]
pub fn share_in_words(share: f64) -> String {
    if share < 0.9995 {
        format!("{:.1} %", 100.0 * share)
    } else {
        "> 99.9 %".to_owned()
    }
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

/// Embeds candidates and regular images (cached) and prepares the refitting.
///
/// # Errors
/// [`WorkflowError`].
pub fn prepare_drift(
    snapshot: &Snapshot,
    source: &DriftSource,
    context: &JobContext,
) -> Result<DriftSession, WorkflowError> {
    let run = load_run(&source.run)?;
    let mut candidates = candidates(snapshot);
    let mut predictions = HashMap::with_capacity(candidates.len());
    let mut failed = embed(snapshot, &run, &candidates, context, &mut |rows| {
        predictions.extend(rows.into_iter().map(|(id, row)| (id, row.prediction())));
    })?;
    candidates.retain(|id| predictions.contains_key(id));
    if candidates.is_empty() {
        return Err(none_readable(&failed));
    }

    let Looked {
        name,
        regular,
        learned,
        found,
        seen_as,
        memory,
        pictures,
        tiles,
        outliers,
        failed: unseen,
    } = look_for_drift(snapshot, source, &candidates, context)?;
    // The network that looks for drift may fail where the one that answers does not, and a file may just have gone.
    failed.extend(
        unseen
            .into_iter()
            .filter(|(id, _)| predictions.contains_key(id)),
    );
    candidates.retain(|id| found.contains_key(id));
    if candidates.is_empty() {
        return Err(none_readable(&failed));
    }
    context.report(0, 1, "comparing with regular images");
    let regular_ids: Vec<ImageId> = regular.iter().map(|e| e.image).collect();
    let classes: Vec<ClassId> = regular[..learned].iter().map(|e| e.class).collect();
    let regular_part = Seen::new(
        &regular_ids,
        &found,
        &seen_as,
        memory.as_ref(),
        pictures.as_ref(),
    )
    .with_tiles(tiles.as_ref(), &regular_ids)
    .with_dies(&snapshot.manifest, &regular_ids);
    let pool_part = Seen::new(
        &candidates,
        &found,
        &seen_as,
        memory.as_ref(),
        pictures.as_ref(),
    )
    .with_tiles(tiles.as_ref(), &candidates)
    .with_dies(&snapshot.manifest, &candidates);
    let known: HashMap<ImageId, usize> = regular_ids
        .iter()
        .enumerate()
        .map(|(row, id)| (*id, row))
        .collect();
    let own: Vec<Option<usize>> = candidates.iter().map(|id| known.get(id).copied()).collect();
    let beside = Pool {
        images: pool_part.images()?,
        own: &own,
    };
    let Fitted { space, train, pool } =
        DriftSpace::fit(regular_part.images()?, &classes, Some(beside))?;
    let pool = pool.expect("a pool was given");
    let outliers = match &outliers {
        Some(outliers) => {
            let seen = outliers.seen(memory.as_ref(), pictures.is_some());
            space.transform(seen.images()?)?.features
        }
        None => Vec::new(),
    };
    context.report(0, 1, "looking for near-duplicates");
    let rows = candidates.iter().enumerate().map(|(row, id)| (*id, row));
    let rows: HashMap<ImageId, usize> = rows.collect();
    let beside = regular_ids.iter().filter(|id| !rows.contains_key(id));
    let beside: Vec<ImageId> = beside.copied().collect();
    let mut seen = pool_part.embeddings.clone();
    seen.extend(beside.iter().flat_map(|id| &found[id]));
    let duplicates = DuplicateGroups::find(EmbeddingView::new(&seen, pool_part.dim)?)?;

    let calibration = Calibration::new(train.fused())?;
    #[expect(clippy::cast_possible_truncation, reason = "a share")]
    let anomaly = pool
        .fused()
        .iter()
        .map(|z| calibration.quantile(*z) as f32)
        .collect();
    let mut features = pool.features.clone();
    let reference = train.features.chunks_exact(space.dim()).zip(&regular_ids);
    for (row, _) in reference.filter(|(_, id)| !rows.contains_key(id)) {
        features.extend_from_slice(row);
    }
    let predictions = candidates
        .iter()
        .filter_map(|id| predictions.remove(id))
        .collect();
    Ok(DriftSession {
        source: name,
        failed,
        groups: Arc::new(ImageGroups::with_others(&candidates, &beside, &duplicates)),
        duplicates,
        images: candidates,
        rows,
        space,
        features,
        outliers,
        pool,
        anomaly,
        predictions,
        calibration: RunCalibration::of(&source.run)?,
    })
}

/// That there is nothing to work on, as none of the images can be read.
fn none_readable(failed: &Unreadable) -> WorkflowError {
    let first = failed.first().map(|(_, why)| why.clone());
    WorkflowError::Unreadable {
        count: failed.len(),
        first: first.unwrap_or_default(),
    }
}

/// The images in which drift is looked for: the incoming ones, or every image of a data set that has none.
pub(super) fn candidates(snapshot: &Snapshot) -> Vec<ImageId> {
    let incoming = snapshot.in_split(Split::Incoming);
    if incoming.is_empty() {
        return snapshot.manifest.ids().collect();
    }
    incoming
}

/// Candidates and the regular images to compare with, as the network for drift sees them.
pub(super) struct Looked {
    /// The network.
    pub name: String,
    /// The first `learned` to learn from, the others to remember.
    pub regular: Vec<Example>,
    pub learned: usize,
    /// Some candidates may be missing: those that cannot be read.
    pub found: HashMap<ImageId, Vec<f32>>,
    pub seen_as: HashMap<ImageId, Digest>,
    pub memory: Option<LocalMemory>,
    /// None where some cannot be had any more.
    pub pictures: Option<Pictures>,
    /// Of the candidates and the images to learn from, where the project wants them.
    pub tiles: Option<Tiles>,
    /// Regular images spoiled on purpose, where the project wants some.
    pub outliers: Option<Outliers>,
    /// Candidates and regular images that cannot be read, with the sentence why.
    pub failed: Unreadable,
}

/// Runs the network that drift is looked for with over `candidates` and regular images (cached).
pub(super) fn look_for_drift(
    snapshot: &Snapshot,
    source: &DriftSource,
    candidates: &[ImageId],
    context: &JobContext,
) -> Result<Looked, WorkflowError> {
    let run = load_run(&source.run)?;
    let parts = Parts::of(snapshot, &run.plan)?;
    let mut eyes = match &source.body {
        Some(body) => Eyes::of_body(snapshot, body)?,
        None => Eyes::of_run(snapshot, &run)?,
    };
    eyes.embedder.keep_local(&snapshot.cache())?;
    let (mut learned_from, mut remembered) = regular_images(&parts, source.body.is_some());
    if snapshot.strip_tiles {
        let learned = learned_from.iter().map(|e| e.image);
        let looked_at: Vec<ImageId> = learned.chain(candidates.iter().copied()).collect();
        Tiles::check(snapshot, &looked_at)?;
    }
    let regular = learned_from.iter().chain(&remembered);
    let mut wanted: Vec<ImageId> = regular.map(|e| e.image).collect();
    wanted.extend(candidates);
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = HashMap::with_capacity(wanted.len());
    let (mut failed, seen_as) = eyes.look(snapshot, &wanted, context, &mut |rows| {
        found.extend(rows.into_iter().map(|(id, row)| (id, row.embedding)));
    })?;
    for part in [&mut learned_from, &mut remembered] {
        part.retain(|e| found.contains_key(&e.image));
    }
    if learned_from.is_empty() && !failed.is_empty() {
        return Err(none_readable(&failed));
    }
    let outliers = if snapshot.synthetic_outliers {
        let from: Vec<Digest> = learned_from.iter().map(|e| seen_as[&e.image]).collect();
        Outliers::make(snapshot, &mut eyes, &from, context)?
    } else {
        None
    };
    let size = eyes.embedder.size();
    let memory = eyes.embedder.into_local_memory();
    let tiles = if snapshot.strip_tiles {
        let learned = learned_from.iter().map(|e| e.image);
        let mut images: Vec<ImageId> = learned.chain(candidates.iter().copied()).collect();
        images.retain(|id| found.contains_key(id));
        images.sort_unstable();
        images.dedup();
        let (tiles, gone) = Tiles::look(snapshot, source, &run, &images, context)?;
        failed.extend(gone);
        learned_from.retain(|e| tiles.contains(e.image));
        // A candidate without tiles could not be told apart from one that has regular ones.
        for id in candidates.iter().filter(|id| !tiles.contains(**id)) {
            found.remove(id);
        }
        remembered.retain(|e| found.contains_key(&e.image));
        if learned_from.is_empty() {
            return Err(none_readable(&failed));
        }
        Some(tiles)
    } else {
        None
    };
    let learned = learned_from.len();
    learned_from.append(&mut remembered);
    let seen: Vec<ImageId> = wanted
        .into_iter()
        .filter(|id| seen_as.contains_key(id))
        .collect();
    Ok(Looked {
        pictures: Pictures::open(snapshot, &seen, size, eyes.framing, context)?,
        name: eyes.name,
        regular: learned_from,
        learned,
        found,
        seen_as,
        memory,
        tiles,
        outliers,
        failed,
    })
}

/// Regular images to learn from, and others to remember: of all for a general network, else of those that the
/// network has not learned from, as far as there are enough. A random choice of many.
fn regular_images(parts: &Parts, general: bool) -> (Vec<Example>, Vec<Example>) {
    let mut chosen: Vec<Example> = parts
        .validation
        .iter()
        .chain(&parts.test)
        .copied()
        .collect();
    if general || chosen.len() < FEW_REGULAR {
        chosen.extend(&parts.train);
    }
    let mut remembered = Vec::new();
    if chosen.len() > REGULAR_IMAGES {
        chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
        chosen.truncate(REMEMBERED_IMAGES);
        remembered = chosen.split_off(REGULAR_IMAGES);
    }
    chosen.sort_by_key(|e| e.image);
    remembered.sort_by_key(|e| e.image);
    (chosen, remembered)
}

/// Images as a network saw them.
pub(super) struct Seen<'a> {
    embeddings: Vec<f32>,
    dim: usize,
    local: Option<Remembered<'a>>,
    pictures: Option<Shown<'a>>,
    tiles: Option<TilesOf<'a>>,
    dies: Option<Vec<u32>>,
}

/// Local features, read from the cache.
struct Remembered<'a> {
    memory: &'a LocalMemory,
    seen_as: Vec<Digest>,
}

impl LocalSource for Remembered<'_> {
    fn shape(&self) -> LocalShape {
        shape_of(self.memory)
    }

    fn image(&self, row: usize) -> Vec<f32> {
        self.memory
            .get(&self.seen_as[row])
            .expect("only images that were looked at are asked for")
    }
}

/// How remembered local features are laid out.
pub(super) fn shape_of(memory: &LocalMemory) -> LocalShape {
    LocalShape {
        positions: memory.positions,
        channels: memory.channels,
    }
}

impl<'a> Seen<'a> {
    /// `images` are all in `found` and `seen_as`.
    pub fn new(
        images: &[ImageId],
        found: &HashMap<ImageId, Vec<f32>>,
        seen_as: &HashMap<ImageId, Digest>,
        memory: Option<&'a LocalMemory>,
        pictures: Option<&'a Pictures>,
    ) -> Self {
        Self {
            pictures: pictures.and_then(|pictures| pictures.of(images, seen_as)),
            embeddings: images
                .iter()
                .flat_map(|id| found[id].iter().copied())
                .collect(),
            dim: found.values().next().map_or(1, Vec::len),
            local: memory.map(|memory| Remembered {
                memory,
                seen_as: images.iter().map(|id| seen_as[id]).collect(),
            }),
            tiles: None,
            dies: None,
        }
    }

    /// With the dies of `images`, the same, where `manifest` tells of them.
    pub fn with_dies(mut self, manifest: &Manifest, images: &[ImageId]) -> Self {
        self.dies = dies_of(manifest, images);
        self
    }

    /// With the tiles of `images`, the same.
    pub fn with_tiles(mut self, tiles: Option<&'a Tiles>, images: &[ImageId]) -> Self {
        self.tiles = tiles.map(|tiles| tiles.of(images));
        self
    }

    pub fn local(&self) -> Option<&dyn LocalSource> {
        self.local.as_ref().map(|local| local as &dyn LocalSource)
    }

    pub fn images(&self) -> Result<Images<'_>, WorkflowError> {
        Ok(Images {
            embeddings: EmbeddingView::new(&self.embeddings, self.dim)?,
            local: self.local(),
            pictures: self.pictures.as_ref().map(|p| p as &dyn PictureSource),
            tiles: self.tiles.as_ref().map(|t| t as &dyn LocalSource),
            dies: self.dies.as_deref(),
        })
    }
}

impl DriftSession {
    /// A sentence on the candidates that cannot be read and are left out, if there are any.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let (_, why) = self.failed.first()?;
        let (n, all) = (self.failed.len(), self.failed.len() + self.images.len());
        Some(format!(
            "{n} of {all} images cannot be read and are left out of the ranking, the first because {why}"
        ))
    }

    /// The network's class probabilities of a candidate.
    #[must_use]
    pub fn prediction(&self, image: ImageId) -> Option<&Prediction> {
        self.rows.get(&image).map(|row| &self.predictions[*row])
    }

    /// Fits the head on `labels` (true for drift) and ranks all candidates; images that are none are
    /// passed over. `repeats` of 5-fold cross-validation measure it, near-duplicates held out together. Before
    /// both kinds are labelled, the ranking is by distance and says so.
    #[must_use]
    pub fn refit(&self, labels: &[(ImageId, bool)], repeats: usize) -> DriftResult {
        let started = Instant::now();
        let n = self.images.len();
        let labelled = self.labelled(labels);
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
        let key = |score: &DriftScore| (score.probability.unwrap_or(0.0), score.anomaly);
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

    /// One entry per candidate.
    pub(super) fn labelled(&self, labels: &[(ImageId, bool)]) -> Vec<Option<bool>> {
        let mut labelled = vec![None; self.images.len()];
        for (image, drift) in labels {
            if let Some(row) = self.rows.get(image) {
                labelled[*row] = Some(*drift);
            }
        }
        labelled
    }

    /// The next `count` candidates to label, each with the reason, in the default order; see
    /// [`mixed`](crate::queue::mixed). `labels` as for [`refit`](Self::refit); `repeated` were shown a second
    /// time already; `seed` stays the same while a set is labelled.
    ///
    /// # Errors
    /// [`WorkflowError::Drift`], [`WorkflowError::Queue`].
    pub fn queue(
        &self,
        labels: &[(ImageId, bool)],
        repeated: &[ImageId],
        count: usize,
        seed: u64,
    ) -> Result<Vec<(ImageId, Reason)>, WorkflowError> {
        let labelled = self.labelled(labels);
        let heads = if labelled.contains(&Some(true)) {
            self.opinions(&labelled)?
        } else {
            Vec::new()
        };
        let heads: Vec<&[f64]> = heads.iter().map(Vec::as_slice).collect();
        let repeated: Vec<usize> = repeated
            .iter()
            .filter_map(|id| self.rows.get(id).copied())
            .collect();
        let known = QueueState {
            space: &self.space,
            pool: &self.pool,
            labels: &labelled,
            repeated: &repeated,
            groups: self.candidate_groups(),
            heads: &heads,
        };
        let queue = known.next(count, seed)?;
        Ok(queue
            .into_iter()
            .map(|(row, reason)| (self.images[row], reason))
            .collect())
    }

    /// What each score says of `image`, in the order of all candidates' scores: those that a head reads, then those that
    /// are only listed. Empty for an image that is no candidate.
    #[must_use]
    pub fn scores_of(&self, image: ImageId) -> Vec<ImageScore> {
        let Some(row) = self.rows.get(&image) else {
            return Vec::new();
        };
        let of = |scores: &NamedScores| ImageScore {
            name: scores.name,
            value: scores.values[*row],
            place: scores.places[*row],
        };
        self.scores().map(of).collect()
    }

    /// All scores of the candidates, in their order: those that a head reads, then those that are only listed.
    pub(super) fn scores(&self) -> impl Iterator<Item = &NamedScores> {
        self.pool.scores.iter().chain(&self.pool.listed)
    }

    /// The `k` candidates that look most like `image` to the network, nearest first, each with its cosine
    /// similarity; none for an image that is no candidate.
    #[must_use]
    pub fn neighbours(&self, image: ImageId, k: usize) -> Vec<(ImageId, f32)> {
        let Some(row) = self.rows.get(&image).copied() else {
            return Vec::new();
        };
        let rows = &self.features[..self.images.len() * self.space.dim()];
        let Ok(rows) = EmbeddingView::new(rows, self.space.dim()) else {
            return Vec::new();
        };
        let found = most_similar(rows, self.space.components(), row, k).into_iter();
        found.map(|(row, s)| (self.images[row], s)).collect()
    }

    /// Probability of drift of `image` by a head that learns from all of `labels`, its own among them; none for an
    /// image that is no candidate, or where no head can be fitted.
    pub(super) fn probability(&self, labels: &[(ImageId, bool)], image: ImageId) -> Option<f64> {
        let row = *self.rows.get(&image)?;
        let labelled = self.labelled(labels);
        if !labelled.contains(&Some(false)) {
            return None;
        }
        self.judge(&labelled, &[row], &[]).ok()?.first().copied()
    }

    /// Log-odds of drift of every candidate by a head fitted on `labelled` and the reference images.
    fn fit_head(&self, labelled: &[Option<bool>]) -> Result<Vec<f64>, String> {
        // Reference images alone teach nothing of what the user calls regular here, and are no labels.
        let count = |kind| {
            labelled
                .iter()
                .filter(|label| **label == Some(kind))
                .count()
        };
        let error = match (count(true), count(false)) {
            (0, 0) => Some(DriftError::NoLabels),
            (drift, 0) => Some(DriftError::NoRegularLabelled { drift }),
            (0, regular) => Some(DriftError::NoDriftLabelled { regular }),
            _ => None,
        };
        if let Some(error) = error {
            return Err(error.to_string());
        }
        let every: Vec<usize> = (0..self.images.len()).collect();
        self.judge(labelled, &every, &[])
            .map_err(|error| error.to_string())
    }

    /// Probability of drift of the candidates in `rows` by a head that learns from `labelled`. The regular images that
    /// are near-duplicates of those in `held_out` are held out with them: else they would tell their label.
    fn judge(
        &self,
        labelled: &[Option<bool>],
        rows: &[usize],
        held_out: &[usize],
    ) -> Result<Vec<f64>, DriftError> {
        let examples = self.examples(labelled, held_out);
        let Examples {
            rows: learned,
            drift,
            weights,
        } = &examples;
        let head = self.space.fit_weighted_head(learned, drift, weights)?;
        rows.par_iter()
            .map(|row| head.predict_proba(&wide(self.row(*row))))
            .collect()
    }

    /// Probabilities of drift of all candidates by the head that decides, and by one that reads only their scores.
    fn opinions(&self, labelled: &[Option<bool>]) -> Result<Vec<Vec<f64>>, DriftError> {
        let every: Vec<usize> = (0..self.images.len()).collect();
        let mut opinions = vec![self.judge(labelled, &every, &[])?];
        let Examples {
            rows,
            drift,
            weights,
        } = &self.examples(labelled, &[]);
        if let Some(head) = self.space.fit_score_head(rows, drift, weights)? {
            let of = |row: &usize| head.predict_proba(&wide(self.space.score_part(self.row(*row))));
            opinions.push(every.par_iter().map(of).collect::<Result<_, _>>()?);
        }
        Ok(opinions)
    }

    /// The features in row `row`.
    fn row(&self, row: usize) -> &[f32] {
        let dim = self.space.dim();
        &self.features[row * dim..][..dim]
    }

    /// What a head learns from: the candidates with a label, regular images but for near-duplicates of those in
    /// `held_out`, and regular images spoiled on purpose.
    fn examples(&self, labelled: &[Option<bool>], held_out: &[usize]) -> Examples {
        let dim = self.space.dim();
        let n = self.images.len();
        let groups = self.duplicates.ids();
        let apart: HashSet<usize> = held_out.iter().map(|row| groups[*row]).collect();
        let mut learned = Vec::new();
        let mut drift = Vec::new();
        for (row, features) in self.features.chunks_exact(dim).enumerate() {
            let label = if row < n {
                labelled[row]
            } else {
                (!apart.contains(&groups[row])).then_some(false)
            };
            if let Some(label) = label {
                learned.extend_from_slice(features);
                drift.push(label);
            }
        }
        let mut weights = vec![1.0; drift.len()];
        let outliers = self.outliers.len() / dim;
        if drift.contains(&true) {
            learned.extend_from_slice(&self.outliers);
            drift.resize(drift.len() + outliers, true);
            weights.resize(drift.len(), OUTLIERS_COUNT_AS / outliers.max(1) as f64);
        }
        Examples {
            rows: learned,
            drift,
            weights,
        }
    }

    /// Probability of drift of `images`, candidates all, by a head that knows the `labels` of all others.
    ///
    /// # Errors
    /// [`WorkflowError::Drift`].
    pub(super) fn held_out(
        &self,
        labels: &[(ImageId, bool)],
        images: &[ImageId],
    ) -> Result<Vec<f64>, WorkflowError> {
        let rows: Vec<usize> = images.iter().map(|image| self.rows[image]).collect();
        let mut labelled = self.labelled(labels);
        let mut held_out = rows.clone();
        held_out.retain(|row| labelled[*row].take().is_some());
        Ok(self.judge(&labelled, &rows, &held_out)?)
    }

    /// Of near-duplicates, one for each candidate.
    fn candidate_groups(&self) -> &[usize] {
        &self.duplicates.ids()[..self.images.len()]
    }

    /// Which near-duplicates a candidate is one of: images of equal groups are.
    pub(super) fn group_of(&self, image: ImageId) -> usize {
        self.candidate_groups()[self.rows[&image]]
    }

    /// Images among which near-duplicates were looked for: the candidates, and the regular images that they are
    /// compared with.
    #[must_use]
    pub fn grouped(&self) -> usize {
        self.duplicates.ids().len()
    }

    fn cross_validate(&self, labelled: &[Option<bool>], plan: &CvPlan) -> Result<CvReport, String> {
        let scorer = |held_out: &[usize]| {
            let mut labelled = labelled.to_vec();
            for row in held_out {
                labelled[*row] = None;
            }
            self.judge(&labelled, held_out, held_out)
        };
        cross_validate_grouped(labelled, self.candidate_groups(), plan, scorer)
            .map_err(|error| error.to_string())
    }
}

/// What a head learns from.
struct Examples {
    /// Row after row.
    rows: Vec<f32>,
    drift: Vec<bool>,
    weights: Vec<f64>,
}

/// As a head reads a row.
fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|v| f64::from(*v)).collect()
}

/// What the default queue is built from.
pub(super) struct QueueState<'a> {
    pub space: &'a DriftSpace,
    /// Of the images that may be shown.
    pub pool: &'a SpaceRows,
    /// One for each of them.
    pub labels: &'a [Option<bool>],
    pub repeated: &'a [usize],
    /// Of near-duplicates, one for each; none where they do not matter.
    pub groups: &'a [usize],
    /// Probability of drift of each, once there are heads; the first decides.
    pub heads: &'a [&'a [f64]],
}

impl QueueState<'_> {
    /// Each gate with its values where it says that a picture is spoiled, and less than any number elsewhere: a gate does
    /// not rank what is within the regular images. None once there is a head, which reads the numbers behind the gates.
    fn gates(&self) -> impl Iterator<Item = (&NamedScores, Vec<f64>)> {
        let nothing_learned = self.heads.is_empty();
        let gates = self.pool.listed.iter().filter(move |_| nothing_learned);
        gates.filter_map(|gate| {
            let limit = self.space.gate_limit(gate.name)?;
            let spoiled = gate.values.iter().zip(&gate.places);
            let spoiled = spoiled.map(|(value, place)| {
                if *place > limit {
                    *value
                } else {
                    f64::NEG_INFINITY
                }
            });
            Some((gate, spoiled.collect()))
        })
    }

    /// The next `count` rows to show.
    pub fn next(&self, count: usize, seed: u64) -> Result<Vec<(usize, Reason)>, WorkflowError> {
        let (dim, kept) = (self.space.dim(), self.space.components());
        let is_new = |s: &&NamedScores| s.name == DriftSpace::DENSITY;
        let new = self.pool.listed.iter().filter(is_new);
        let gates: Vec<(&NamedScores, Vec<f64>)> = self.gates().collect();
        let odd = self.pool.scores.iter().map(|s| (s, s.values.as_slice()));
        let gates = gates
            .iter()
            .map(|(gate, spoiled)| (*gate, spoiled.as_slice()));
        let odd: Vec<Outlying<'_>> = odd
            .chain(gates)
            .map(|(score, values)| Outlying {
                name: score.name,
                values,
                places: &score.places,
            })
            .collect();
        let new: Vec<&[f64]> = new.map(|s| s.values.as_slice()).collect();
        let found: Vec<usize> = (0..self.labels.len())
            .filter(|row| self.labels[*row] == Some(true))
            .collect();
        let (mut similarity, mut diverse) = (None, Vec::new());
        if found.is_empty() {
            let rows = self.pool.features.chunks_exact(dim);
            let directions: Vec<f32> = rows.flat_map(|row| row[..kept].iter().copied()).collect();
            diverse = k_center(EmbeddingView::new(&directions, kept)?, &[], DIVERSE)?;
        } else {
            let features = EmbeddingView::new(&self.pool.features, dim)?;
            similarity = Some(similarity_to_nearest(features, &found)?);
        }
        let known = Known {
            labels: self.labels,
            repeated: self.repeated,
            groups: self.groups,
            anomalies: &odd,
            novelties: &new,
            diverse: &diverse,
            heads: self.heads,
            similarity: similarity.as_deref(),
        };
        mixed(&known, count, seed).map_err(|error| WorkflowError::Queue(error.to_string()))
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

/// Writes `filename,probability,anomaly,label` for every candidate, likeliest drift first, and then what each score says of
/// it: the share of regular images that score lower.
///
/// # Errors
/// [`WorkflowError::Storage`].
pub fn save_ranking(
    snapshot: &Snapshot,
    session: &DriftSession,
    result: &DriftResult,
    out: &Path,
) -> Result<(), WorkflowError> {
    refuse_own_files(&snapshot.manifest, out)?;
    let mut header = ["filename", "probability", "anomaly", "label"]
        .map(str::to_owned)
        .to_vec();
    if let Some(first) = session.images.first() {
        let scores = session.scores_of(*first);
        header.extend(scores.iter().map(|score| score.name.to_owned()));
    }
    let rows = result.scores.iter().map(|score| {
        let label = snapshot.hand[score.image.index()];
        let mut row = vec![
            snapshot.manifest.get(score.image).key.clone(),
            score.probability.map_or(String::new(), |p| p.to_string()),
            score.anomaly.to_string(),
            label.map_or(String::new(), |l| {
                l.name(&snapshot.manifest.classes).to_owned()
            }),
        ];
        let scores = session.scores_of(score.image);
        row.extend(scores.iter().map(|score| score.place.to_string()));
        row
    });
    write_csv(out, std::iter::once(header).chain(rows))
}

#[cfg(test)]
mod tests;
