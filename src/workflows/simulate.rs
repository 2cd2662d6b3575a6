//! Playing the labelling loop on a set whose truth is known: one class is hidden from training as if it
//! were drift, and the truth answers for the labeller.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::dataset::Manifest;
use crate::domain::{ClassId, ImageId};
use crate::drift::{
    DriftError, DriftSpace, DuplicateGroups, EmbeddingView, Fitted, LocalSource, Padim,
    PadimBuilder, PadimOptions, Scorer as _, SpaceRows,
};
use crate::evaluation::BinaryScores;
use crate::inference::LocalMemory;
use crate::jobs::JobContext;
use crate::project::Snapshot;
use crate::storage::Digest;

use super::WorkflowError;
use super::drift::{QueueState, Seen};
use super::embed::{Body, Eyes};
use super::pictures::Pictures;

/// In which order the labeller is shown the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The default queue: a little of everything that finds drift.
    Mixed,
    /// At random.
    Random,
    /// Always the one most like drift: by the head once there is one, by the scores before.
    Top,
}

/// What to play.
#[derive(Clone, Debug)]
pub struct SimulateRequest {
    /// The class that plays drift, by its name or the word in the files.
    pub drift_class: String,
    /// The network whose features are used.
    pub body: Body,
    /// Column whose values are never split between training, pool and measurement; near-duplicates never are.
    pub group_by: Option<String>,
    /// Numbers of labels after which the model is measured.
    pub labels: Vec<usize>,
    /// The order of the pool.
    pub strategy: Strategy,
    /// Share of drift in pool and measurement, in `(0, 1)`.
    pub drift_rate: f64,
    /// Random splits.
    pub repeats: usize,
    /// Seeds them.
    pub seed: u64,
}

/// What came of it, over the repeats.
#[derive(Clone, Debug, Serialize)]
pub struct Simulation {
    /// The class that played drift.
    pub drift_class: String,
    /// In which order the pool was shown.
    pub strategy: Strategy,
    /// Images of each part: regular to train, pool, drift in the pool, measured, drift among them.
    pub images: SimulationParts,
    /// Groups of near-duplicates among all images, none of which is split between the parts.
    pub duplicate_groups: usize,
    /// The model after so many labels.
    pub curve: Vec<CurvePoint>,
    /// What each unsupervised score alone makes of the images measured, mean over the repeats.
    pub scores: BTreeMap<String, ScoreQuality>,
}

/// How many images play which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SimulationParts {
    /// Regular images that are known as such.
    pub train: usize,
    /// Images shown to the labeller.
    pub pool: usize,
    /// Drift among them.
    pub pool_drift: usize,
    /// Images never shown to the labeller.
    pub measured: usize,
    /// Drift among them.
    pub measured_drift: usize,
}

/// Mean and standard deviation (`ddof=1`) over the repeats, on the images measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Labels asked for.
    pub labels: usize,
    /// Labels given: fewer where the pool has no more.
    pub labels_given_mean: f64,
    /// Average precision.
    pub ap_mean: f64,
    /// Its spread.
    pub ap_sd: f64,
    /// F1 at probability 0.5; 0 while there is no head.
    pub f1_mean: f64,
    /// Its spread.
    pub f1_sd: f64,
    /// Drift images among those labelled.
    pub found_mean: f64,
    /// Area under the ROC curve.
    pub auroc_mean: f64,
}

/// Quality of a score without labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ScoreQuality {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision.
    pub ap: f64,
}

/// Plays the loop `request.repeats` times. Half of the regular images train, a quarter is the pool, a
/// quarter measures; drift is thinned to the rate in both. Near-duplicates are in one part together, so that no
/// image is measured whose like was learned. The model is fitted and the queue built without ever seeing the images
/// measured.
///
/// # Errors
/// [`WorkflowError`].
pub fn simulate(
    snapshot: &Snapshot,
    request: &SimulateRequest,
    context: &JobContext,
) -> Result<Simulation, WorkflowError> {
    let drift = find_class(snapshot, &request.drift_class)?;
    let group_column = match &request.group_by {
        Some(name) => {
            Some(
                snapshot
                    .manifest
                    .column(name)
                    .ok_or_else(|| WorkflowError::NoColumn {
                        name: name.clone(),
                        known: snapshot.manifest.columns.join(", "),
                    })?,
            )
        }
        None => None,
    };
    let mut eyes = Eyes::of_body(snapshot, &request.body)?;
    eyes.embedder.keep_local(&snapshot.cache())?;
    let all: Vec<ImageId> = snapshot.manifest.ids().collect();
    let all: Vec<ImageId> = all
        .into_iter()
        .filter(|id| snapshot.regular_class(*id).is_some())
        .collect();
    let mut embeddings = HashMap::with_capacity(all.len());
    let (_, seen_as) = eyes.look(snapshot, &all, context, &mut |rows| {
        embeddings.extend(rows.into_iter().map(|(id, row)| (id, row.embedding)));
    })?;
    let size = eyes.embedder.size();
    let seen: Vec<ImageId> = all
        .iter()
        .copied()
        .filter(|id| seen_as.contains_key(id))
        .collect();
    context.report(0, 1, "looking for near-duplicates");
    let duplicates = near_duplicates(&seen, &embeddings)?;
    let world = World {
        manifest: &snapshot.manifest,
        pictures: Pictures::open(snapshot, &seen, size, eyes.framing, context)?,
        memory: eyes.embedder.into_local_memory(),
        embeddings,
        seen_as,
        labelled: all
            .iter()
            .filter_map(|id| Some((*id, snapshot.regular_class(*id)?)))
            .collect(),
        group: all
            .iter()
            .map(|id| {
                let values = &snapshot.manifest.get(*id).values;
                // An image without a value is a group of its own.
                let value = group_column.and_then(|column| values.get(column));
                value.filter(|value| !value.trim().is_empty()).cloned()
            })
            .collect(),
        duplicates,
        drift,
    };
    let mut plays = Vec::with_capacity(request.repeats);
    for repeat in 0..request.repeats {
        if context.should_stop() {
            return Err(WorkflowError::Cancelled);
        }
        let (done, total) = (repeat as u64, request.repeats as u64);
        context.report(done, total, &format!("{} as drift", request.drift_class));
        plays.push(world.play(request, request.seed + repeat as u64)?);
    }
    let groups: BTreeSet<usize> = world.duplicates.values().copied().collect();
    Ok(summarise(request, &plays, groups.len()))
}

/// The group of each image that has a near-duplicate among `images`, which all have an embedding.
fn near_duplicates(
    images: &[ImageId],
    embeddings: &HashMap<ImageId, Vec<f32>>,
) -> Result<HashMap<ImageId, usize>, DriftError> {
    let dim = images.first().map_or(1, |id| embeddings[id].len());
    let rows: Vec<f32> = images
        .iter()
        .flat_map(|id| embeddings[id].iter().copied())
        .collect();
    let groups = DuplicateGroups::find(EmbeddingView::new(&rows, dim)?)?.groups();
    let members = groups.iter().enumerate();
    Ok(members
        .flat_map(|(group, rows)| rows.iter().map(move |row| (images[*row], group)))
        .collect())
}

fn find_class(snapshot: &Snapshot, name: &str) -> Result<ClassId, WorkflowError> {
    let classes = &snapshot.manifest.classes;
    let known = (0..classes.regular_len()).map(ClassId::from);
    known
        .clone()
        .find(|class| classes.label(*class) == name || classes.name(*class) == name)
        .ok_or_else(|| WorkflowError::NoClass {
            name: name.to_owned(),
            known: known.map(|c| classes.label(c).to_owned()).collect(),
        })
}

/// All images with their labels, and how the network sees them.
struct World<'a> {
    manifest: &'a Manifest,
    memory: Option<LocalMemory>,
    pictures: Option<Pictures>,
    embeddings: HashMap<ImageId, Vec<f32>>,
    seen_as: HashMap<ImageId, Digest>,
    labelled: Vec<(ImageId, ClassId)>,
    /// One per labelled image; `None` is a group of its own.
    group: Vec<Option<String>>,
    /// The group of each image that has near-duplicates.
    duplicates: HashMap<ImageId, usize>,
    drift: ClassId,
}

/// What one repeat gave.
struct Play {
    parts: SimulationParts,
    /// Average precision, F1, area under the ROC curve, drift found, labels given; one for each number of labels.
    points: Vec<[f64; 5]>,
    scores: Vec<(String, ScoreQuality)>,
}

/// The images of one part, with the truth.
struct Part {
    images: Vec<ImageId>,
    classes: Vec<ClassId>,
    drift: Vec<bool>,
}

impl World<'_> {
    /// Regular images in the shares 1/2, 1/4, 1/4, whole groups together; drift thinned to the rate.
    fn split(&self, rate: f64, rng: &mut ChaCha8Rng) -> [Vec<usize>; 3] {
        let readable = |row: &usize| self.embeddings.contains_key(&self.labelled[*row].0);
        let rows = 0..self.labelled.len();
        let mut groups: BTreeMap<(Option<&str>, usize), Vec<usize>> = BTreeMap::new();
        for row in rows.filter(readable) {
            let key = match &self.group[row] {
                Some(name) => (Some(name.as_str()), 0),
                None => (None, row),
            };
            groups.entry(key).or_default().push(row);
        }
        let mut groups = self.joined(groups.into_values().collect());
        groups.shuffle(rng);
        let is_drift = |row: &usize| self.labelled[*row].1 == self.drift;
        let regular: usize = groups.iter().flatten().filter(|row| !is_drift(row)).count();
        let wanted = [0.5, 0.25, 0.25].map(|share| share * regular as f64);
        let mut parts: [Vec<usize>; 3] = Default::default();
        let mut filled = [0_usize; 3];
        for group in groups {
            let new = group.iter().filter(|row| !is_drift(row)).count();
            let part = if new == 0 {
                // Drift alone: pool and measurement in turn.
                let drift = |part: usize| parts[part].iter().filter(|r| is_drift(r)).count();
                if drift(1) <= drift(2) { 1 } else { 2 }
            } else {
                let room = |part: usize| (wanted[part] - filled[part] as f64) / wanted[part];
                (0..3)
                    .max_by(|a, b| room(*a).total_cmp(&room(*b)))
                    .unwrap_or(0)
            };
            filled[part] += new;
            parts[part].extend(group);
        }
        // Training never sees drift.
        parts[0].retain(|row| !is_drift(row));
        for part in &mut parts[1..] {
            let regular = part.iter().filter(|row| !is_drift(row)).count();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count"
            )]
            let mut left = (rate / (1.0 - rate) * regular as f64).round().max(1.0) as usize;
            part.retain(|row| {
                let keep = !is_drift(row) || left > 0;
                left -= usize::from(keep && is_drift(row));
                keep
            });
        }
        parts
    }

    /// `groups` of rows, of which those that share near-duplicates become one, in the place of the first. Where there
    /// are none nothing changes, so that splits of such a set stay what they are.
    fn joined(&self, groups: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        let mut joined: Vec<Vec<usize>> = Vec::with_capacity(groups.len());
        // Where the images of each group of near-duplicates are.
        let mut at: HashMap<usize, usize> = HashMap::new();
        for group in groups {
            let of = |row: &usize| self.duplicates.get(&self.labelled[*row].0).copied();
            let alike: BTreeSet<usize> = group.iter().filter_map(of).collect();
            let found: BTreeSet<usize> = alike.iter().filter_map(|a| at.get(a).copied()).collect();
            let to = found.first().copied().unwrap_or(joined.len());
            if to == joined.len() {
                joined.push(Vec::new());
            }
            joined[to].extend(group);
            for other in found.into_iter().skip(1) {
                let rows = std::mem::take(&mut joined[other]);
                joined[to].extend(rows);
                at.values_mut()
                    .filter(|place| **place == other)
                    .for_each(|place| *place = to);
            }
            at.extend(alike.into_iter().map(|a| (a, to)));
        }
        joined.retain(|group| !group.is_empty());
        joined
    }

    /// A number for each image of `part`, the same for near-duplicates.
    fn groups_of(&self, part: &Part) -> Vec<usize> {
        let apart = self.duplicates.len();
        let images = part.images.iter().enumerate();
        images
            .map(|(row, id)| self.duplicates.get(id).copied().unwrap_or(apart + row))
            .collect()
    }

    fn part(&self, rows: &[usize]) -> Part {
        let images: Vec<ImageId> = rows.iter().map(|row| self.labelled[*row].0).collect();
        let classes: Vec<ClassId> = rows.iter().map(|row| self.labelled[*row].1).collect();
        Part {
            drift: classes.iter().map(|class| *class == self.drift).collect(),
            images,
            classes,
        }
    }

    /// That the class that plays drift cannot be both found and measured.
    fn too_few(&self) -> WorkflowError {
        let of_class = |(_, class): &&(ImageId, ClassId)| *class == self.drift;
        WorkflowError::NothingToDo(format!(
            "{} cannot play drift with {} of {} images: one must be there to be found and another, of another group and no \
             near-duplicate of it, to measure by; choose another class",
            self.manifest.classes.label(self.drift),
            self.labelled.iter().filter(of_class).count(),
            self.labelled.len(),
        ))
    }

    fn play(&self, request: &SimulateRequest, seed: u64) -> Result<Play, WorkflowError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [train, pool, measured] = self
            .split(request.drift_rate, &mut rng)
            .map(|rows| self.part(&rows));
        if ![&pool, &measured].iter().all(|p| p.drift.contains(&true)) {
            return Err(self.too_few());
        }
        let [known_part, shown_part, judged_part] = [&train, &pool, &measured].map(|part| {
            let memory = self.memory.as_ref();
            Seen::new(
                &part.images,
                &self.embeddings,
                &self.seen_as,
                memory,
                self.pictures.as_ref(),
            )
            .with_dies(self.manifest, &part.images)
        });
        let Fitted {
            space,
            train: known,
            pool: shown,
        } = DriftSpace::fit(
            known_part.images()?,
            &train.classes,
            Some(shown_part.images()?.into()),
        )?;
        let shown = shown.expect("a pool was given");
        let judged = space.transform(judged_part.images()?)?;

        let all = judged.scores.iter().chain(&judged.listed);
        let mut scores: Vec<(String, ScoreQuality)> = all
            .map(|s| Ok((s.name.to_owned(), quality(&s.values, &measured.drift)?)))
            .collect::<Result<_, WorkflowError>>()?;
        let fused = judged.fused();
        scores.push(("mean of all".to_owned(), quality(&fused, &measured.drift)?));
        if let (Some(known), Some(judged)) = (known_part.local(), judged_part.local()) {
            let padim = fit_padim(known, train.images.len())?;
            let values: Vec<f64> = (0..measured.images.len())
                .map(|row| padim.score(&judged.image(row)))
                .collect::<Result<_, _>>()?;
            scores.push(("padim".to_owned(), quality(&values, &measured.drift)?));
        }

        let loop_ = Loop {
            space: &space,
            known: &known,
            shown: &shown,
            judged: &judged,
            groups: &self.groups_of(&pool),
        };
        let points = loop_.run(request, &pool, &measured, seed)?;
        let count = |part: &Part| part.drift.iter().filter(|d| **d).count();
        Ok(Play {
            parts: SimulationParts {
                train: train.images.len(),
                pool: pool.images.len(),
                pool_drift: count(&pool),
                measured: measured.images.len(),
                measured_drift: count(&measured),
            },
            points,
            scores,
        })
    }
}

fn fit_padim(local: &dyn LocalSource, images: usize) -> Result<Padim, WorkflowError> {
    let options = PadimOptions {
        dims: PadimOptions::default().dims.min(local.shape().channels),
        ..PadimOptions::default()
    };
    let mut builder = PadimBuilder::new(local.shape(), options)?;
    for row in 0..images {
        builder.add(&local.image(row))?;
    }
    Ok(builder.finish()?)
}

/// What scores are worth.
///
/// # Errors
/// Those of the metrics, such as for none that are drift.
pub(super) fn quality(scores: &[f64], drift: &[bool]) -> Result<ScoreQuality, WorkflowError> {
    let scores = BinaryScores::new(scores, drift)?;
    Ok(ScoreQuality {
        auroc: scores.roc_auc()?,
        ap: scores.average_precision()?,
    })
}

/// One labelling loop over a fitted space.
struct Loop<'a> {
    space: &'a DriftSpace,
    known: &'a SpaceRows,
    shown: &'a SpaceRows,
    judged: &'a SpaceRows,
    /// Of near-duplicates, one for each image of the pool.
    groups: &'a [usize],
}

impl Loop<'_> {
    fn run(
        &self,
        request: &SimulateRequest,
        pool: &Part,
        measured: &Part,
        seed: u64,
    ) -> Result<Vec<[f64; 5]>, WorkflowError> {
        let n = pool.images.len();
        let mut labels: Vec<Option<bool>> = vec![None; n];
        let mut repeated: Vec<usize> = Vec::new();
        let mut random: Vec<usize> = (0..n).collect();
        random.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let prior = self.shown.fused();
        let most = request.labels.iter().copied().max().unwrap_or(0).min(n);
        let mut points = Vec::new();
        let mut given = 0;
        loop {
            let heads = self.heads(&labels)?;
            if request.labels.contains(&given) || given == most {
                points.push(self.measure(heads.as_ref(), &labels, measured)?);
            }
            if given == most {
                break;
            }
            let next = match request.strategy {
                Strategy::Random => random.iter().copied().find(|row| labels[*row].is_none()),
                Strategy::Top => {
                    let score = heads.as_ref().map_or(&prior, |h| &h.pool);
                    (0..n)
                        .filter(|row| labels[*row].is_none())
                        .max_by(|a, b| score[*a].total_cmp(&score[*b]))
                }
                Strategy::Mixed => self.next_mixed(&labels, &mut repeated, heads.as_ref(), seed)?,
            };
            let Some(next) = next else { break };
            labels[next] = Some(pool.drift[next]);
            given += 1;
        }
        Ok(points)
    }

    /// The first image of the default queue that is not a repeat; repeats are labelled as before.
    fn next_mixed(
        &self,
        labels: &[Option<bool>],
        repeated: &mut Vec<usize>,
        heads: Option<&Heads>,
        seed: u64,
    ) -> Result<Option<usize>, WorkflowError> {
        let opinions: Vec<&[f64]> = heads
            .iter()
            .flat_map(|h| std::iter::once(&h.pool).chain(&h.second))
            .map(Vec::as_slice)
            .collect();
        let state = QueueState {
            space: self.space,
            pool: self.shown,
            labels,
            repeated,
            groups: self.groups,
            heads: &opinions,
        };
        let queue = state.next(2, seed)?;
        let again = queue
            .iter()
            .map(|(row, _)| *row)
            .find(|row| labels[*row].is_some());
        let next = queue
            .iter()
            .map(|(row, _)| *row)
            .find(|row| labels[*row].is_none());
        repeated.extend(again);
        Ok(next)
    }

    fn heads(&self, labels: &[Option<bool>]) -> Result<Option<Heads>, WorkflowError> {
        if !labels.contains(&Some(true)) {
            return Ok(None);
        }
        let dim = self.space.dim();
        let mut rows = Vec::new();
        let mut drift = Vec::new();
        for row in self.known.features.chunks_exact(dim) {
            rows.extend_from_slice(row);
            drift.push(false);
        }
        for (row, label) in self.shown.features.chunks_exact(dim).zip(labels) {
            if let Some(label) = label {
                rows.extend_from_slice(row);
                drift.push(*label);
            }
        }
        let head = self.space.fit_head(&rows, &drift)?;
        let second = self
            .space
            .fit_score_head(&rows, &drift, &vec![1.0; drift.len()])?;
        let second = second.map(|head| {
            let rows = self.shown.features.chunks_exact(dim);
            let score = |row| {
                let row = self.space.score_part(row).iter();
                head.predict_proba(&row.map(|v| f64::from(*v)).collect::<Vec<_>>())
            };
            rows.map(score).collect::<Result<Vec<f64>, _>>()
        });
        let probabilities = |rows: &SpaceRows| -> Result<Vec<f64>, WorkflowError> {
            rows.features
                .chunks_exact(dim)
                .map(|row| {
                    let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
                    Ok(head.predict_proba(&row)?)
                })
                .collect()
        };
        Ok(Some(Heads {
            pool: probabilities(self.shown)?,
            second: second.transpose()?,
            measured: probabilities(self.judged)?,
        }))
    }

    fn measure(
        &self,
        heads: Option<&Heads>,
        labels: &[Option<bool>],
        measured: &Part,
    ) -> Result<[f64; 5], WorkflowError> {
        let prior = self.judged.fused();
        let scores = heads.map_or(&prior, |h| &h.measured);
        let quality = quality(scores, &measured.drift)?;
        let f1 = match heads {
            Some(heads) => {
                BinaryScores::new(&heads.measured, &measured.drift)?
                    .at(0.5)
                    .f1
            }
            None => 0.0,
        };
        let found = labels.iter().filter(|label| **label == Some(true)).count();
        let given = labels.iter().flatten().count();
        Ok([quality.ap, f1, quality.auroc, found as f64, given as f64])
    }
}

/// Probabilities of drift.
struct Heads {
    pool: Vec<f64>,
    /// Of the pool, by a head that reads scores only.
    second: Option<Vec<f64>>,
    measured: Vec<f64>,
}

fn summarise(request: &SimulateRequest, plays: &[Play], duplicate_groups: usize) -> Simulation {
    let n = plays.len().max(1) as f64;
    let mean_sd = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0).max(1.0)).sqrt())
    };
    let mut numbers = request.labels.clone();
    numbers.sort_unstable();
    numbers.dedup();
    let curve = numbers
        .iter()
        .enumerate()
        .map(|(at, labels)| {
            let figure = |which: usize| -> (f64, f64) {
                // A pool that was used up has no further points: its last one stands for them.
                let of = |play: &Play| {
                    let point = play.points.get(at).or(play.points.last());
                    point.map_or(0.0, |point| point[which])
                };
                mean_sd(&plays.iter().map(of).collect::<Vec<f64>>())
            };
            let (ap_mean, ap_sd) = figure(0);
            let (f1_mean, f1_sd) = figure(1);
            CurvePoint {
                labels: *labels,
                labels_given_mean: figure(4).0,
                ap_mean,
                ap_sd,
                f1_mean,
                f1_sd,
                found_mean: figure(3).0,
                auroc_mean: figure(2).0,
            }
        })
        .collect();
    let mut scores: BTreeMap<String, ScoreQuality> = BTreeMap::new();
    let mut having: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, quality) in plays.iter().flat_map(|play| &play.scores) {
        *having.entry(name).or_default() += 1.0;
        let sum = scores.entry(name.clone()).or_default();
        sum.auroc += quality.auroc;
        sum.ap += quality.ap;
    }
    // A score need not exist in every split.
    for (name, sum) in &mut scores {
        sum.auroc /= having[name.as_str()];
        sum.ap /= having[name.as_str()];
    }
    Simulation {
        drift_class: request.drift_class.clone(),
        strategy: request.strategy,
        images: plays.first().map_or(
            SimulationParts {
                train: 0,
                pool: 0,
                pool_drift: 0,
                measured: 0,
                measured_drift: 0,
            },
            |play| play.parts,
        ),
        duplicate_groups,
        curve,
        scores,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::dataset::Layout;
    use crate::domain::ClassSet;

    fn request(labels: &[usize]) -> SimulateRequest {
        SimulateRequest {
            drift_class: "a".to_owned(),
            body: Body {
                model: "cnn01".to_owned(),
                weights: None,
                size: None,
                preprocessing: None,
            },
            group_by: None,
            labels: labels.to_vec(),
            strategy: Strategy::Mixed,
            drift_rate: 0.1,
            repeats: 2,
            seed: 1,
        }
    }

    fn play(points: &[[f64; 5]], scores: &[(&str, f64)]) -> Play {
        let of = |(name, ap): &(&str, f64)| {
            let quality = ScoreQuality {
                auroc: 0.5,
                ap: *ap,
            };
            ((*name).to_owned(), quality)
        };
        Play {
            parts: SimulationParts {
                train: 1,
                pool: 12,
                pool_drift: 1,
                measured: 1,
                measured_drift: 1,
            },
            points: points.to_vec(),
            scores: scores.iter().map(of).collect(),
        }
    }

    #[test]
    fn a_score_that_one_split_lacks_is_the_mean_of_the_others() {
        let points = [[0.5, 0.0, 0.5, 0.0, 0.0]];
        let plays = [
            play(&points, &[("knn", 0.2), ("vim", 0.8)]),
            play(&points, &[("knn", 0.4)]),
        ];
        let found = summarise(&request(&[0]), &plays, 0).scores;
        assert!((found["knn"].ap - 0.3).abs() < 1e-12);
        assert!((found["vim"].ap - 0.8).abs() < 1e-12);
        assert!((found["vim"].auroc - 0.5).abs() < 1e-12);
    }

    #[test]
    fn labels_that_the_pool_has_not_are_not_said_to_be_given() {
        let points = [[0.5, 0.0, 0.5, 0.0, 0.0], [0.9, 0.8, 0.9, 1.0, 12.0]];
        let plays = [play(&points, &[]), play(&points, &[])];
        let curve = summarise(&request(&[0, 50]), &plays, 0).curve;
        assert_eq!((curve[1].labels, curve[1].labels_given_mean), (50, 12.0));
        assert_eq!(curve[0].labels_given_mean, 0.0);
    }

    fn manifest() -> Manifest {
        Manifest::new(
            PathBuf::new(),
            Layout::ClassFolders,
            ClassSet::challenge(),
            Vec::new(),
            Vec::new(),
            String::new(),
            Vec::new(),
        )
    }

    /// A world of images, each with its class, its value in the column, and its group of near-duplicates.
    fn world<'a>(manifest: &'a Manifest, images: &[(u8, Option<u8>, Option<usize>)]) -> World<'a> {
        let ids = || (0..images.len()).map(ImageId::from);
        World {
            manifest,
            memory: None,
            pictures: None,
            embeddings: ids().map(|id| (id, vec![1.0])).collect(),
            seen_as: HashMap::new(),
            labelled: ids()
                .zip(images)
                .map(|(id, i)| (id, ClassId(i.0)))
                .collect(),
            group: images.iter().map(|i| i.1.map(|v| v.to_string())).collect(),
            duplicates: ids()
                .zip(images)
                .filter_map(|(id, i)| Some((id, i.2?)))
                .collect(),
            drift: ClassId(0),
        }
    }

    #[test]
    fn a_class_too_small_to_be_found_and_measured_is_named() {
        let manifest = manifest();
        // One image, and two of which neither may go without the other.
        let alone = [vec![(0, None, None)], vec![(0, Some(1), None); 2]];
        for drift in alone {
            let regular = (0..20).map(|_| (1, None, None));
            let images: Vec<_> = drift.iter().copied().chain(regular).collect();
            let world = world(&manifest, &images);
            let error = world.play(&request(&[0]), 1).err().expect("refused");
            let said = format!("with {} of {} images", drift.len(), images.len());
            assert!(error.to_string().contains(&said), "{error}");
        }
    }

    #[test]
    fn values_and_near_duplicates_make_one_group_where_they_meet() {
        let manifest = manifest();
        let (a, b) = (Some(1), Some(2));
        let images = [
            (1, a, None),
            (1, None, Some(0)),
            (1, b, None),
            (1, a, Some(1)),
            (1, None, None),
            // Brings the values and both groups of near-duplicates together.
            (1, b, Some(1)),
            (1, b, Some(0)),
        ];
        let world = world(&manifest, &images);
        let by_value = vec![vec![1], vec![4], vec![0, 3], vec![2, 5, 6]];
        let mut joined = world.joined(by_value.clone());
        joined.iter_mut().for_each(|group| group.sort_unstable());
        assert_eq!(joined, [vec![0, 1, 2, 3, 5, 6], vec![4]]);
        let mut without = images;
        without.iter_mut().for_each(|image| image.2 = None);
        assert_eq!(
            self::world(&manifest, &without).joined(by_value.clone()),
            by_value
        );
    }

    #[test]
    fn equal_embeddings_are_near_duplicates() {
        let images: Vec<ImageId> = [4_usize, 7, 9].map(ImageId::from).to_vec();
        let rows = [vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]];
        let found = near_duplicates(&images, &images.iter().copied().zip(rows).collect());
        let found = found.expect("numbers");
        assert_eq!(found.len(), 2);
        assert_eq!(found.get(&images[0]), found.get(&images[2]));
    }

    proptest! {
        #[test]
        fn no_part_holds_half_of_what_belongs_together(
            images in prop::collection::vec((0_u8..3, prop::option::of(0_u8..8), prop::option::of(0_usize..12)), 8..60),
            seed in 0_u64..999,
        ) {
            let manifest = manifest();
            let parts = world(&manifest, &images).split(0.2, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut part_of: HashMap<usize, usize> = HashMap::new();
            for (part, rows) in parts.iter().enumerate() {
                for row in rows {
                    prop_assert_eq!(part_of.insert(*row, part), None, "row {} twice", row);
                }
            }
            let all_of = |key: &dyn Fn(usize) -> Option<usize>| {
                let mut seen: HashMap<usize, usize> = HashMap::new();
                part_of.iter().all(|(row, part)| {
                    key(*row).is_none_or(|key| *seen.entry(key).or_insert(*part) == *part)
                })
            };
            prop_assert!(all_of(&|row| images[row].1.map(usize::from)));
            prop_assert!(all_of(&|row| images[row].2));
            // All regular images are somewhere.
            let regular = (0..images.len()).filter(|row| images[*row].0 != 0);
            prop_assert!(regular.into_iter().all(|row| part_of.contains_key(&row)));
        }
    }
}
