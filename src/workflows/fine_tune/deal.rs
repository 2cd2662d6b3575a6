//! Which image a network learns from, keeps its best epoch by, and is measured on.

use std::collections::{HashMap, HashSet};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::domain::{ClassId, ImageId};
use crate::project::Snapshot;
use crate::training::{Example, Plan};

use super::super::{ImageGroups, WorkflowError, train::Parts};

/// Labels of each kind that fine-tuning takes: two to be measured on in every fold, so that one at least is learned
/// from and one chosen by.
pub const FINE_TUNE_LABELS: usize = 2 * FOLDS;

/// Parts that the labelled images are dealt into; each is held out once.
const FOLDS: usize = 3;
/// One part in so many of what is not held out chooses the epoch.
const VALIDATION_PARTS: usize = 5;
/// Training images of each regular class that are shown as regular beside the labels, at most.
const REFERENCE_EACH: usize = 100;

/// The answers of the network.
pub(super) const REGULAR_CLASS: ClassId = ClassId(0);
pub(super) const DRIFT_CLASS: ClassId = ClassId(1);

/// What one network is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fold {
    pub train: Vec<Example>,
    /// Both kinds alike, the rarer one repeated.
    pub validation: Vec<Example>,
    pub held_out: Vec<Example>,
}

/// Every image's part.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deal {
    pub folds: Vec<Fold>,
    /// In which fold a labelled candidate is held out, counted from 1.
    pub fold_of: HashMap<ImageId, usize>,
    /// Training images of the regular classes, which every network learns from.
    pub reference: Vec<ImageId>,
    /// Candidates without a label: no network learns from them.
    pub unlabelled: Vec<ImageId>,
}

/// Labelled images that stay together.
#[derive(Clone, Debug)]
struct Group {
    images: Vec<Example>,
    drift: usize,
}

/// Whether enough of `labels` are of candidates.
pub(super) fn check_counts(
    labels: &[(ImageId, bool)],
    candidates: &[ImageId],
) -> Result<(), WorkflowError> {
    let candidates: HashSet<&ImageId> = candidates.iter().collect();
    let count = |kind: bool| {
        let of_kind =
            |(image, drift): &&(ImageId, bool)| *drift == kind && candidates.contains(image);
        labels.iter().filter(of_kind).count()
    };
    let (drift, regular) = (count(true), count(false));
    if drift.min(regular) < FINE_TUNE_LABELS {
        return Err(WorkflowError::TooFewToFineTune {
            drift,
            regular,
            needed: FINE_TUNE_LABELS,
        });
    }
    Ok(())
}

/// Images of a regular class that are no candidates, a random choice of each class's. None that the run of the plan
/// `base` has learned from: its network knows those by heart, and would soon take whatever it does not for drift.
///
/// # Errors
/// As a training by `base`, where its images cannot be split any more.
pub(super) fn reference(
    snapshot: &Snapshot,
    base: &Plan,
    candidates: &[ImageId],
    seed: u64,
) -> Result<Vec<ImageId>, WorkflowError> {
    let parts = Parts::of(snapshot, base)?;
    let mut learned = vec![false; snapshot.manifest.len()];
    for example in &parts.train {
        learned[example.image.index()] = true;
    }
    let mut is_candidate = vec![false; snapshot.manifest.len()];
    for image in candidates {
        is_candidate[image.index()] = true;
    }
    let mut classes = vec![Vec::new(); snapshot.manifest.classes.regular_len()];
    for image in snapshot.manifest.ids() {
        if let Some(class) = snapshot.regular_class(image)
            && !is_candidate[image.index()]
            && !learned[image.index()]
            // An incoming image that could not be embedded is no training image.
            && !snapshot.manifest.get(image).incoming
        {
            classes[class.index()].push(image);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen: Vec<ImageId> = Vec::new();
    for mut images in classes {
        images.shuffle(&mut rng);
        chosen.extend(images.iter().take(REFERENCE_EACH));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

impl Deal {
    /// Deals the labelled ones of `candidates` by the seed of `plan`; images with one value in its column stay
    /// together, in every respect, as do near-duplicates by `alike`. A network does not learn from a `reference`
    /// image whose near-duplicate it is measured on, or its epoch chosen by.
    ///
    /// # Errors
    /// [`WorkflowError::TooFewToFineTune`], [`WorkflowError::TooFewGroups`].
    pub fn new(
        snapshot: &Snapshot,
        candidates: &[ImageId],
        labels: &[(ImageId, bool)],
        reference: Vec<ImageId>,
        plan: &Plan,
        alike: &ImageGroups,
    ) -> Result<Self, WorkflowError> {
        check_counts(labels, candidates)?;
        let labels: HashMap<ImageId, bool> = labels.iter().copied().collect();
        let column = plan.group_by.as_deref();
        let groups = groups(snapshot, candidates, &labels, column, alike);
        let too_few = |kind| WorkflowError::TooFewGroups {
            kind,
            column: column.map(str::to_owned),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let regular = |image: &ImageId| Example {
            image: *image,
            class: REGULAR_CLASS,
        };
        let parts = spread(groups, FOLDS, &mut rng);
        let mut folds = Vec::new();
        for held_out in 0..FOLDS {
            let others: Vec<Group> = (0..FOLDS)
                .filter(|part| *part != held_out)
                .flat_map(|part| parts[part].iter().cloned())
                .collect();
            let with = |kind: fn(&Group) -> bool| others.iter().filter(|g| kind(g)).count();
            let (drift, regular_groups) =
                (with(|g| g.drift > 0), with(|g| g.drift < g.images.len()));
            let wanted = VALIDATION_PARTS.min(drift).min(regular_groups).max(2);
            let mut learned = spread(others, wanted, &mut rng);
            // The first part with both kinds chooses, if the rest has both too.
            let both = |groups: &[Group]| kinds(groups) == (true, true);
            let chooses = (0..wanted)
                .find(|part| both(&learned[*part]))
                .ok_or_else(|| too_few("drift"))?;
            let validation = evened(examples(&learned.swap_remove(chooses)));
            let rest: Vec<Group> = learned.into_iter().flatten().collect();
            for (missing, kind) in [
                (!kinds(&rest).0 || !kinds(&parts[held_out]).0, "drift"),
                (!kinds(&rest).1 || !kinds(&parts[held_out]).1, "regular"),
            ] {
                if missing {
                    return Err(too_few(kind));
                }
            }
            let mut train = examples(&rest);
            let judges = (validation.iter()).chain(parts[held_out].iter().flat_map(|g| &g.images));
            let judged: HashSet<usize> = judges.filter_map(|e| alike.group(e.image)).collect();
            let vouches = |image: &&ImageId| {
                let group = alike.group(**image);
                group.is_none_or(|group| !judged.contains(&group))
            };
            train.extend(reference.iter().filter(vouches).map(regular));
            train.sort_by_key(|e| e.image);
            folds.push(Fold {
                train,
                validation,
                held_out: examples(&parts[held_out]),
            });
        }
        let open = |image: &&ImageId| !labels.contains_key(*image);
        let unlabelled = candidates.iter().filter(open).copied().collect();
        Ok(Self::of(folds, reference, unlabelled))
    }

    /// Of folds that are dealt.
    pub fn of(folds: Vec<Fold>, reference: Vec<ImageId>, unlabelled: Vec<ImageId>) -> Self {
        let fold_of = folds.iter().enumerate().flat_map(|(at, fold)| {
            let images = fold.held_out.iter();
            images.map(move |e| (e.image, at + 1))
        });
        Self {
            fold_of: fold_of.collect(),
            unlabelled,
            folds,
            reference,
        }
    }

    /// The labelled candidates, in the order of the data set, true for drift.
    pub fn labels(&self) -> Vec<(ImageId, bool)> {
        let held_out = self.folds.iter().flat_map(|fold| &fold.held_out);
        let mut labels: Vec<(ImageId, bool)> = held_out
            .map(|e| (e.image, e.class == DRIFT_CLASS))
            .collect();
        labels.sort_unstable_by_key(|(image, _)| *image);
        labels
    }

    /// Labelled or not.
    pub fn candidates(&self) -> impl Iterator<Item = ImageId> + '_ {
        let labelled = self.fold_of.keys();
        labelled.chain(&self.unlabelled).copied()
    }

    /// All that take part, in the order of the data set.
    pub fn images(&self) -> Vec<ImageId> {
        let mut images: Vec<ImageId> = self.candidates().collect();
        images.extend(&self.reference);
        images.sort_unstable();
        images
    }

    /// Labelled (drift, regular) candidates.
    pub fn counts(&self) -> (usize, usize) {
        let held_out = self.folds.iter().flat_map(|fold| &fold.held_out);
        let drift = held_out.filter(|e| e.class == DRIFT_CLASS).count();
        (drift, self.fold_of.len() - drift)
    }
}

/// The labelled candidates, those with one value in the column together, and those that are near-duplicates.
fn groups(
    snapshot: &Snapshot,
    candidates: &[ImageId],
    labels: &HashMap<ImageId, bool>,
    column: Option<&str>,
    alike: &ImageGroups,
) -> Vec<Group> {
    let column = column.and_then(|name| snapshot.manifest.column(name));
    let mut of_value: HashMap<&str, usize> = HashMap::new();
    let mut of_duplicates: HashMap<usize, usize> = HashMap::new();
    // A group that was joined to another is left empty.
    let mut groups: Vec<Group> = Vec::new();
    for image in candidates {
        let Some(drift) = labels.get(image).copied() else {
            continue;
        };
        let values = &snapshot.manifest.get(*image).values;
        let value = column.and_then(|column| values.get(column));
        let value = value.filter(|value| !value.is_empty());
        let duplicates = alike.group(*image);
        let new = groups.len();
        let by_value = value.map_or(new, |value| *of_value.entry(value).or_insert(new));
        let by_look = duplicates.map_or(new, |group| *of_duplicates.entry(group).or_insert(new));
        let (at, other) = (by_value.min(by_look), by_value.max(by_look));
        let class = if drift { DRIFT_CLASS } else { REGULAR_CLASS };
        groups.push(Group {
            images: vec![Example {
                image: *image,
                class,
            }],
            drift: usize::from(drift),
        });
        for joined in [new, other].into_iter().filter(|joined| *joined != at) {
            let images = std::mem::take(&mut groups[joined].images);
            groups[at].images.extend(images);
            groups[at].drift += std::mem::take(&mut groups[joined].drift);
            for group in of_value.values_mut().chain(of_duplicates.values_mut()) {
                if *group == joined {
                    *group = at;
                }
            }
        }
    }
    groups.retain(|group| !group.images.is_empty());
    groups
}

/// Deals groups into parts with about as many drift images and about as many images each.
fn spread(mut groups: Vec<Group>, parts: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<Group>> {
    groups.shuffle(rng);
    // The largest first, so that what is left over is small.
    groups.sort_by_key(|group| std::cmp::Reverse((group.drift, group.images.len())));
    let mut dealt = vec![Vec::new(); parts];
    let mut sizes = vec![(0, 0); parts];
    for group in groups {
        let regular = group.images.len() - group.drift;
        let fewest = |at: &usize| {
            let (drift, others): (usize, usize) = sizes[*at];
            if group.drift > 0 {
                (drift, others)
            } else {
                (others, drift)
            }
        };
        let at = (0..parts).min_by_key(fewest).unwrap_or(0);
        sizes[at].0 += group.drift;
        sizes[at].1 += regular;
        dealt[at].push(group);
    }
    dealt
}

/// Whether there are drift and regular images.
fn kinds(groups: &[Group]) -> (bool, bool) {
    (
        groups.iter().any(|g| g.drift > 0),
        groups.iter().any(|g| g.drift < g.images.len()),
    )
}

/// With the rarer kind repeated until there is as much of it as of the other: the epoch is chosen by a loss that
/// weighs both alike, as batches do. Else the best network would be one that calls nothing drift.
fn evened(mut examples: Vec<Example>) -> Vec<Example> {
    let (drift, regular): (Vec<Example>, Vec<Example>) =
        examples.iter().partition(|e| e.class == DRIFT_CLASS);
    let missing = drift.len().abs_diff(regular.len());
    let rarer = if drift.len() < regular.len() {
        drift
    } else {
        regular
    };
    examples.extend(rarer.iter().cycle().take(missing));
    examples.sort_by_key(|e| e.image);
    examples
}

/// In the order of the data set.
fn examples(groups: &[Group]) -> Vec<Example> {
    let mut examples: Vec<Example> = groups.iter().flat_map(|g| g.images.clone()).collect();
    examples.sort_by_key(|e| e.image);
    examples
}
