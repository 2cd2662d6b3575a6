//! A whole labelling session played on incoming images whose truth somebody has: what a user would have
//! found, and what the submission would have been worth.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::domain::{ClassId, ImageId};
use crate::drift::{PadimBuilder, PadimOptions, gate, organisers_batch_min_max};
use crate::evaluation::{BinaryScores, ConfusionMatrix, best_constant, pwa};
use crate::jobs::JobContext;
use crate::project::Snapshot;

use super::WorkflowError;
use super::decide::Verdict;
use super::drift::{
    DriftSession, DriftSource, Looked, candidates, look_for_drift, prepare_drift, shape_of,
};
use super::simulate::{ScoreQuality, quality};

/// Images whose PaDiM maps are scaled together, as the organisers' data loader had them.
const PADIM_BATCH: usize = 32;
/// PaDiM's channels: more would take gigabytes at 17 x 17 places.
const PADIM_DIMS: usize = 100;
/// Probability from which an image counts as drift.
const THRESHOLD: f64 = 0.5;

/// The column of the truth that says what kind of drift an image is.
const KIND: &str = "drift_kind";

/// What to play.
#[derive(Clone, Debug)]
pub struct RehearseRequest {
    /// The run that answers, and what drift is looked for with.
    pub source: DriftSource,
    /// A CSV `filename,label` that names the class of every incoming image. A column `drift_kind` says more closely what
    /// each drift image is, for [`Rehearsal::kinds`].
    pub truth: PathBuf,
    /// Labels to give.
    pub labels: usize,
    /// Seeds the queue.
    pub seed: u64,
}

/// What came of it. Everything is measured on the incoming images; "rest" are those left unlabelled.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// Incoming images.
    pub images: usize,
    /// Labels given.
    pub labels: usize,
    /// Drift among the incoming images.
    pub drift: usize,
    /// Drift among those labelled.
    pub found: usize,
    /// Labels and drift found, by the reason for which an image was shown.
    pub by_reason: BTreeMap<String, (usize, usize)>,
    /// Images left.
    pub rest: usize,
    /// Drift among them.
    pub rest_drift: usize,
    /// F1 of drift on the rest, at probability 0.5; 0 where no drift is left.
    pub rest_f1: f64,
    /// Average precision on the rest; 0 where no drift is left.
    pub rest_ap: f64,
    /// Share of the drift that was labelled, or is called drift at 0.5.
    pub caught: f64,
    /// Files of the drift that was neither labelled nor is called drift at 0.5.
    pub missed: Vec<String>,
    /// What became of each kind of drift; empty where the truth tells of none.
    pub kinds: BTreeMap<String, DriftKind>,
    /// How each score alone tells drift from the other incoming images before anything is labelled, by name.
    pub scores: BTreeMap<String, ScoreSkill>,
    /// PWA of the cheapest answers, hand labels not used as answers.
    pub pwa: f64,
    /// PWA with hand labels as answers.
    pub pwa_with_hand_labels: f64,
    /// PWA where 0.5 alone decides between drift and the likeliest class.
    pub pwa_gate: f64,
    /// PWA of the best constant answer.
    pub pwa_constant: f64,
    /// PWA of the same run with the organisers' PaDiM above 0.5 for drift; none for a network of one stage.
    pub pwa_padim: Option<f64>,
}

/// What became of one kind of drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriftKind {
    /// Images of it.
    pub images: usize,
    /// Those that were labelled.
    pub found: usize,
    /// Those left that are called drift at 0.5.
    pub caught: usize,
}

/// What a score is worth by itself.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreSkill {
    /// Against all drift.
    #[serde(flatten)]
    pub all: ScoreQuality,
    /// Area under the ROC curve of one kind of drift against the regular images.
    pub auroc_by_kind: BTreeMap<String, f64>,
}

/// Plays `request.labels` labels of the default queue with the truth as the labeller. Nothing is written into
/// the project's labels.
///
/// # Errors
/// [`WorkflowError`].
pub fn rehearse(
    snapshot: &Snapshot,
    request: &RehearseRequest,
    context: &JobContext,
) -> Result<Rehearsal, WorkflowError> {
    // Before the network looks at the images, which may take long.
    let Truth {
        classes: truth,
        kinds,
    } = Truth::read(snapshot, &request.truth, &candidates(snapshot))?;
    let session = prepare_drift(snapshot, &request.source, context)?;
    let drift_class = snapshot.manifest.classes.drift();
    let is_drift = |id: &ImageId| truth[id] == drift_class;
    let mut labels: Vec<(ImageId, bool)> = Vec::new();
    let mut repeated = Vec::new();
    let mut by_reason: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    while labels.len() < request.labels.min(session.images.len()) {
        if context.should_stop() {
            return Err(WorkflowError::Cancelled);
        }
        let (done, total) = (labels.len() as u64, request.labels as u64);
        context.report(done, total, "labelling by the truth");
        let queue = session.queue(&labels, &repeated, 2, request.seed)?;
        let known = |id: &ImageId| labels.iter().any(|(labelled, _)| labelled == id);
        let Some((image, reason)) = queue.iter().find(|(id, _)| !known(id)).copied() else {
            break;
        };
        let again: Vec<ImageId> = queue.iter().map(|(id, _)| *id).filter(known).collect();
        repeated.extend(again);
        let entry = by_reason.entry(reason.name().to_owned()).or_default();
        entry.0 += 1;
        entry.1 += usize::from(is_drift(&image));
        labels.push((image, is_drift(&image)));
    }

    let result = session.refit(&labels, 0);
    let probability: HashMap<ImageId, f64> = result
        .scores
        .iter()
        .map(|s| (s.image, f64::from(s.probability.unwrap_or(0.0))))
        .collect();
    let labelled: HashMap<ImageId, bool> = labels.iter().copied().collect();
    let rest: Vec<ImageId> = session
        .images
        .iter()
        .copied()
        .filter(|id| !labelled.contains_key(id))
        .collect();
    let scores: Vec<f64> = rest.iter().map(|id| probability[id]).collect();
    let positive: Vec<bool> = rest.iter().map(is_drift).collect();
    let rest_drift = positive.iter().filter(|p| **p).count();
    // Nothing is left to measure where every image was labelled.
    let of_rest = match rest.is_empty() {
        true => None,
        false => Some(BinaryScores::new(&scores, &positive)?),
    };
    let at = of_rest.as_ref().map(|of_rest| of_rest.at(THRESHOLD));
    let drift = session.images.iter().filter(|id| is_drift(id)).count();
    let found = labels.iter().filter(|(_, drift)| *drift).count();

    let decided = session.decide(snapshot, &labels, &result, request.seed);
    let verdicts: HashMap<ImageId, &Verdict> =
        decided.verdicts.iter().map(|v| (v.image, v)).collect();
    let answers = Answers {
        snapshot,
        session: &session,
        truth: &truth,
    };
    let regular = |id: &ImageId| {
        let prediction = session.prediction(*id);
        prediction.map_or_else(Vec::new, |p| p.probabilities.clone())
    };
    let by_cost = |id: &ImageId| verdicts[id].cheapest.answer();
    let by_gate = |id: &ImageId| gate(probability[id], THRESHOLD, &regular(id)).answer();
    let with_hand = |id: &ImageId| match labelled.get(id) {
        Some(_) => truth[id],
        None => by_cost(id),
    };
    let pwa_padim = match padim(snapshot, &request.source, &session.images, context)? {
        Some(scores) => {
            let scores: HashMap<ImageId, f64> =
                session.images.iter().copied().zip(scores).collect();
            Some(answers.pwa(|id| gate(scores[id], THRESHOLD, &regular(id)).answer())?)
        }
        None => None,
    };
    let mut by_kind: BTreeMap<String, DriftKind> = BTreeMap::new();
    for id in session.images.iter().filter(|id| is_drift(id)) {
        let Some(kind) = kinds.get(id) else { continue };
        let of_kind = by_kind.entry(kind.clone()).or_default();
        of_kind.images += 1;
        match labelled.contains_key(id) {
            true => of_kind.found += 1,
            false => of_kind.caught += usize::from(probability[id] >= THRESHOLD),
        }
    }
    Ok(Rehearsal {
        kinds: by_kind,
        scores: skills(&session, is_drift, &kinds)?,
        images: session.images.len(),
        labels: labels.len(),
        drift,
        found,
        by_reason,
        rest: rest.len(),
        rest_drift,
        rest_f1: at.map_or(0.0, |at| at.f1),
        rest_ap: match &of_rest {
            Some(of_rest) if rest_drift > 0 => of_rest.average_precision()?,
            _ => 0.0,
        },
        missed: (rest.iter())
            .filter(|id| is_drift(id) && probability[id] < THRESHOLD)
            .map(|id| snapshot.manifest.get(*id).key.clone())
            .collect(),
        caught: (found as f64 + at.map_or(0, |at| at.true_positives) as f64)
            / (drift as f64).max(1.0),
        pwa: answers.pwa(by_cost)?,
        pwa_with_hand_labels: answers.pwa(with_hand)?,
        pwa_gate: answers.pwa(by_gate)?,
        pwa_constant: best_constant(&answers.confusion(|id| truth[id])?, &snapshot.cost)?.pwa,
        pwa_padim,
    })
}

struct Answers<'a> {
    snapshot: &'a Snapshot,
    session: &'a DriftSession,
    truth: &'a HashMap<ImageId, ClassId>,
}

impl Answers<'_> {
    fn confusion(
        &self,
        answer: impl Fn(&ImageId) -> ClassId,
    ) -> Result<ConfusionMatrix, WorkflowError> {
        let pairs = self
            .session
            .images
            .iter()
            .map(|id| (self.truth[id], answer(id)));
        Ok(ConfusionMatrix::from_pairs(
            self.snapshot.manifest.classes.len(),
            pairs,
        ))
    }

    fn pwa(&self, answer: impl Fn(&ImageId) -> ClassId) -> Result<f64, WorkflowError> {
        Ok(pwa(&self.confusion(answer)?, &self.snapshot.cost)?)
    }
}

/// What every score of the candidates is worth; nothing where all of them are drift, or none is.
fn skills(
    session: &DriftSession,
    is_drift: impl Fn(&ImageId) -> bool,
    kinds: &HashMap<ImageId, String>,
) -> Result<BTreeMap<String, ScoreSkill>, WorkflowError> {
    let drift: Vec<bool> = session.images.iter().map(&is_drift).collect();
    if drift.iter().all(|d| *d) || !drift.contains(&true) {
        return Ok(BTreeMap::new());
    }
    let kind_of = |row: usize| kinds.get(&session.images[row]).filter(|_| drift[row]);
    let names: BTreeSet<&String> = (0..drift.len()).filter_map(kind_of).collect();
    let skill = |values: &[f64]| -> Result<ScoreSkill, WorkflowError> {
        let auroc = |kind: &String| -> Result<_, WorkflowError> {
            let rows: Vec<usize> = (0..drift.len())
                .filter(|row| !drift[*row] || kind_of(*row) == Some(kind))
                .collect();
            let values: Vec<f64> = rows.iter().map(|row| values[*row]).collect();
            let drift: Vec<bool> = rows.iter().map(|row| drift[*row]).collect();
            Ok((kind.clone(), BinaryScores::new(&values, &drift)?.roc_auc()?))
        };
        Ok(ScoreSkill {
            all: quality(values, &drift)?,
            auroc_by_kind: (names.iter().copied().map(auroc)).collect::<Result<_, _>>()?,
        })
    };
    let mean: Vec<f64> = session.anomaly.iter().map(|v| f64::from(*v)).collect();
    let scores = session.scores().map(|s| (s.name, s.values.as_slice()));
    scores
        .chain([("mean of all", mean.as_slice())])
        .map(|(name, values)| Ok((name.to_owned(), skill(values)?)))
        .collect()
}

/// What a table says of the incoming images.
struct Truth {
    classes: HashMap<ImageId, ClassId>,
    /// What kind of drift an image is, where that is told.
    kinds: HashMap<ImageId, String>,
}

impl Truth {
    /// Every one of `images` has to be in it.
    fn read(snapshot: &Snapshot, path: &Path, images: &[ImageId]) -> Result<Self, WorkflowError> {
        let bad = |what: String| WorkflowError::Truth {
            path: path.to_owned(),
            what,
        };
        let mut reader = csv::Reader::from_path(path).map_err(|e| bad(e.to_string()))?;
        let header = reader.headers().map_err(|e| bad(e.to_string()))?;
        let kind_column = header.iter().position(|name| name == KIND);
        let mut rows: HashMap<String, (ClassId, Option<String>)> = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| bad(e.to_string()))?;
            let (Some(name), Some(label)) = (record.get(0), record.get(1)) else {
                return Err(bad("a row has fewer than two columns".to_owned()));
            };
            let class = snapshot.manifest.classes.parse(label);
            let class = class.map_err(|e| bad(e.to_string()))?;
            let kind = kind_column.and_then(|at| record.get(at));
            let kind = kind.filter(|kind| !kind.is_empty()).map(str::to_owned);
            rows.insert(name.to_owned(), (class, kind));
        }
        let mut truth = Self {
            classes: HashMap::with_capacity(images.len()),
            kinds: HashMap::new(),
        };
        for id in images {
            let key = &snapshot.manifest.get(*id).key;
            let name = Path::new(key).file_name().and_then(|name| name.to_str());
            let row = rows.get(key).or_else(|| rows.get(name?));
            let (class, kind) = row.ok_or_else(|| bad(format!("it does not name {key}")))?;
            truth.classes.insert(*id, *class);
            truth.kinds.extend(kind.clone().map(|kind| (*id, kind)));
        }
        Ok(truth)
    }
}

/// PaDiM as the organisers ran it, over the local features that drift is looked for with.
fn padim(
    snapshot: &Snapshot,
    source: &DriftSource,
    images: &[ImageId],
    context: &JobContext,
) -> Result<Option<Vec<f64>>, WorkflowError> {
    // It reads nothing else.
    let frames_only = Snapshot {
        strip_tiles: false,
        synthetic_outliers: false,
        ..snapshot.clone()
    };
    let Looked {
        regular,
        learned,
        seen_as,
        memory,
        ..
    } = look_for_drift(&frames_only, source, images, context)?;
    let Some(memory) = memory else {
        return Ok(None);
    };
    context.report(0, 1, "PaDiM, to compare with");
    let shape = shape_of(&memory);
    let options = PadimOptions {
        dims: PADIM_DIMS.min(shape.channels),
        ..PadimOptions::default()
    };
    let mut builder = PadimBuilder::new(shape, options)?;
    for example in &regular[..learned] {
        if let Some(local) = memory.get(&seen_as[&example.image]) {
            builder.add(&local)?;
        }
    }
    let fitted = builder.finish()?;
    let mut scores = Vec::with_capacity(images.len());
    for batch in images.chunks(PADIM_BATCH) {
        let mut maps = Vec::new();
        for id in batch {
            maps.extend(fitted.map(&memory.get(&seen_as[id]).unwrap_or_default())?);
        }
        scores.extend(organisers_batch_min_max(&maps, shape.positions));
    }
    Ok(Some(scores))
}
