//! Which images are learnt from, chosen on, and reported on.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::manifest::Manifest;
use super::text::count;
use crate::domain::{ClassId, ImageId, Split};

/// How to split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitSpec {
    /// Share of all labelled images to test on, 0 ≤ `test` < 1.
    pub test: f64,
    /// Share of all labelled images to validate on, 0 ≤ `validation` < 1.
    pub validation: f64,
    /// The same seed gives the same split on any machine.
    pub seed: u64,
    /// Position in [`Manifest::columns`]: images with the same value there stay together. An image
    /// without a value is a group of its own.
    pub group_column: Option<usize>,
}

impl Default for SplitSpec {
    /// 64 % to train, 16 % to validate, 20 % to test; seed 42; no groups.
    fn default() -> Self {
        Self {
            test: 0.2,
            validation: 0.16,
            seed: 42,
            group_column: None,
        }
    }
}

/// Why a data set cannot be split.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// Nothing to split.
    #[error(
        "no image has a label of a regular class in the data set's files, so there is nothing to train on; label some images first"
    )]
    NothingLabelled,
    /// Shares that leave nothing to train on.
    #[error(
        "the shares {test} for test and {validation} for validation do not work: each is at least 0 and together they stay below 1"
    )]
    BadShares {
        /// Share asked for.
        test: f64,
        /// Share asked for.
        validation: f64,
    },
    /// A class with too few images to be in each part.
    #[error(
        "class {class:?} has {}, and needs {needed} to be in each of train, validation and test; label more of it, correct its name if it is misspelled, or take it out of the data set",
        count(*.images, "image")
    )]
    ClassTooSmall {
        /// The word in the files.
        class: String,
        /// How many images it has.
        images: usize,
        /// How many it would need.
        needed: usize,
    },
    /// No such column.
    #[error("there is no column number {column} to group by; this data set has {}", count(*.columns, "further column"))]
    NoSuchColumn {
        /// Position asked for, from 0.
        column: usize,
        /// How many columns there are.
        columns: usize,
    },
    /// A grouping with fewer groups than parts.
    #[error(
        "column {column:?} puts the labelled images into {}, too few for {needed} parts that share none; group by another column, or by none",
        count(*.groups, "group")
    )]
    TooFewGroups {
        /// Name of the column.
        column: String,
        /// How many groups there are.
        groups: usize,
        /// How many parts have to be filled.
        needed: usize,
    },
    /// A grouping that leaves a class out of the training part.
    #[error(
        "grouped by column {column:?}, class {class:?} lies in {} and none of them can be trained on without emptying another part; group by another column, or by none",
        count(*.groups, "group")
    )]
    ClassNotTrained {
        /// Name of the column.
        column: String,
        /// The word in the files.
        class: String,
        /// How many groups hold it.
        groups: usize,
    },
}

/// The parts that labelled images are divided into, in the order of the arrays below.
const PARTS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// One [`Split`] per image of the manifest. Incoming images are [`Split::Incoming`]; each regular
/// class is divided in the proportions of `spec`, rounded so that the totals are right as well
/// (largest remainders), with at least one image in each part asked for. With a group column no
/// group is in two parts, and the proportions are met as nearly as the groups allow. The result
/// depends on names, labels and the seed, not on the order of the images.
///
/// # Errors
/// [`SplitError`], naming the class or column.
pub fn split(manifest: &Manifest, spec: &SplitSpec) -> Result<Vec<Split>, SplitError> {
    let shares = [
        1.0 - spec.test - spec.validation,
        spec.validation,
        spec.test,
    ];
    // Also refuses NaN; the smallest share is above rounding errors of 1 - a - b.
    if !(shares[0] > 1e-9 && shares[1] >= 0.0 && shares[2] >= 0.0) {
        return Err(SplitError::BadShares {
            test: spec.test,
            validation: spec.validation,
        });
    }
    let by_class = regular_by_class(manifest);
    if by_class.iter().all(Vec::is_empty) {
        return Err(SplitError::NothingLabelled);
    }
    let needed = shares.iter().filter(|share| **share > 0.0).count();
    for (class, ids) in by_class.iter().enumerate() {
        if !ids.is_empty() && ids.len() < needed {
            return Err(SplitError::ClassTooSmall {
                class: manifest.classes.label(ClassId::from(class)).to_owned(),
                images: ids.len(),
                needed,
            });
        }
    }
    let mut splits = vec![Split::Incoming; manifest.len()];
    match spec.group_column {
        None => split_classes(by_class, &shares, spec.seed, &mut splits),
        Some(column) => {
            let grouping = Grouping::new(manifest, &by_class, column)?;
            grouping.split(&shares, needed, spec.seed, &mut splits)?;
        }
    }
    Ok(splits)
}

/// Labelled images of each regular class, sorted by key.
fn regular_by_class(manifest: &Manifest) -> Vec<Vec<ImageId>> {
    let mut by_class = vec![Vec::new(); manifest.classes.regular_len()];
    for id in manifest.ids() {
        let image = manifest.get(id);
        if let (Some(class), false) = (image.label, image.incoming)
            && let Some(ids) = by_class.get_mut(class.index())
        {
            ids.push(id);
        }
    }
    for ids in &mut by_class {
        ids.sort_unstable_by_key(|id| &manifest.get(*id).key);
    }
    by_class
}

/// A random generator for one purpose, unaffected by what other streams have drawn.
fn generator(seed: u64, stream: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

fn split_classes(by_class: Vec<Vec<ImageId>>, shares: &[f64; 3], seed: u64, splits: &mut [Split]) {
    let sizes: Vec<usize> = by_class.iter().map(Vec::len).collect();
    let mut test = apportion(&sizes, shares[2]);
    let mut validation = apportion(&sizes, shares[1]);
    for (class, n) in sizes.iter().enumerate() {
        // A class is never without an image in a part, nor without one to train on.
        while test[class] + validation[class] >= (*n).max(1) {
            let larger = if test[class] >= validation[class] {
                &mut test
            } else {
                &mut validation
            };
            larger[class] -= 1;
        }
    }
    for (class, mut ids) in by_class.into_iter().enumerate() {
        ids.shuffle(&mut generator(seed, class));
        for (nth, id) in ids.into_iter().enumerate() {
            splits[id.index()] = if nth < test[class] {
                Split::Test
            } else if nth < test[class] + validation[class] {
                Split::Validation
            } else {
                Split::Train
            };
        }
    }
}

/// How many of each size make up `share` of all: rounded down, then one more for the largest
/// remainders until the total is right (the first of equals first); at least 1 of what is not empty.
fn apportion(sizes: &[usize], share: f64) -> Vec<usize> {
    if share <= 0.0 {
        return vec![0; sizes.len()];
    }
    let exact: Vec<f64> = sizes.iter().map(|n| *n as f64 * share).collect();
    let mut parts: Vec<usize> = exact.iter().map(|x| whole(x.floor())).collect();
    let total = whole((sizes.iter().sum::<usize>() as f64 * share).round());
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let lacking = total.saturating_sub(parts.iter().sum());
    for class in order.into_iter().take(lacking) {
        parts[class] += 1;
    }
    for (part, size) in parts.iter_mut().zip(sizes) {
        *part = (*part).max(1).min(*size);
    }
    parts
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of images: neither negative nor large"
)]
fn whole(x: f64) -> usize {
    x as usize
}

/// Labelled images in groups that must not be divided.
struct Grouping<'a> {
    manifest: &'a Manifest,
    column: &'a str,
    groups: Vec<Group>,
    /// Images per regular class.
    totals: Vec<usize>,
}

struct Group {
    ids: Vec<ImageId>,
    /// Images per regular class.
    counts: Vec<usize>,
}

/// Which part each group goes to, and how good that is: fewer is better, first things first.
struct Assignment {
    parts: Vec<usize>,
    untrained_classes: usize,
    absent_classes: usize,
    deviation: f64,
}

impl<'a> Grouping<'a> {
    fn new(
        manifest: &'a Manifest,
        by_class: &[Vec<ImageId>],
        column: usize,
    ) -> Result<Self, SplitError> {
        let name = manifest
            .columns
            .get(column)
            .ok_or(SplitError::NoSuchColumn {
                column,
                columns: manifest.columns.len(),
            })?;
        let mut groups: BTreeMap<(&str, &str), Group> = BTreeMap::new();
        for (class, ids) in by_class.iter().enumerate() {
            for id in ids {
                let image = manifest.get(*id);
                let value = image.values.get(column).map_or("", String::as_str);
                let alone = if value.is_empty() {
                    image.key.as_str()
                } else {
                    ""
                };
                let group = groups.entry((value, alone)).or_insert_with(|| Group {
                    ids: Vec::new(),
                    counts: vec![0; by_class.len()],
                });
                group.ids.push(*id);
                group.counts[class] += 1;
            }
        }
        Ok(Self {
            manifest,
            column: name,
            groups: groups.into_values().collect(),
            totals: by_class.iter().map(Vec::len).collect(),
        })
    }

    /// Tries several orders and keeps the best result: with few groups the greedy choice depends on
    /// which comes first.
    fn split(
        &self,
        shares: &[f64; 3],
        needed: usize,
        seed: u64,
        splits: &mut [Split],
    ) -> Result<(), SplitError> {
        const ATTEMPTS: usize = 20;
        if self.groups.len() < needed {
            return Err(SplitError::TooFewGroups {
                column: self.column.to_owned(),
                groups: self.groups.len(),
                needed,
            });
        }
        let attempts = (0..ATTEMPTS).map(|attempt| self.assign(shares, attempt, seed));
        let Some(best) = attempts.min_by(Assignment::compare) else {
            return Ok(());
        };
        if let Some(class) = self.untrained(&best.parts).next() {
            return Err(SplitError::ClassNotTrained {
                column: self.column.to_owned(),
                class: self.manifest.classes.label(ClassId::from(class)).to_owned(),
                groups: self.groups.iter().filter(|g| g.counts[class] > 0).count(),
            });
        }
        for (group, part) in self.groups.iter().zip(best.parts) {
            for id in &group.ids {
                splits[id.index()] = PARTS[part];
            }
        }
        Ok(())
    }

    /// Each group in turn goes to the part where the classes then fill up most evenly, as in
    /// scikit-learn's `StratifiedGroupKFold`, here with parts of unequal size. The first attempt
    /// takes the groups with the most uneven classes first, as there; later ones in random order.
    fn assign(&self, shares: &[f64; 3], attempt: usize, seed: u64) -> Assignment {
        let classes = self.totals.len();
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.shuffle(&mut generator(seed, attempt));
        if attempt == 0 {
            let spread = |g: &usize| spread(self.groups[*g].counts.iter().map(|n| *n as f64));
            order.sort_by(|a, b| spread(b).total_cmp(&spread(a)));
        }
        let mut counts = vec![vec![0_usize; classes]; PARTS.len()];
        let mut parts = vec![0; self.groups.len()];
        // How full a part is of a class: 1 is exactly its share.
        let fill = |n: usize, part: usize, class: usize| {
            n as f64 / (shares[part] * self.totals[class] as f64)
        };
        let used: Vec<usize> = (0..PARTS.len()).filter(|p| shares[*p] > 0.0).collect();
        let present: Vec<usize> = (0..classes).filter(|c| self.totals[*c] > 0).collect();
        let unevenness = |counts: &[Vec<usize>]| -> f64 {
            let of_class = |c: &usize| spread(used.iter().map(|p| fill(counts[*p][*c], *p, *c)));
            present.iter().map(of_class).sum()
        };
        for (nth, group) in order.iter().copied().enumerate() {
            let mut best = (f64::INFINITY, f64::INFINITY, 0);
            let is_empty = |p: &&usize| counts[**p].iter().all(|n| *n == 0);
            let empty: Vec<usize> = used.iter().filter(is_empty).copied().collect();
            // The last groups go where there is none yet, so that no part stays empty.
            let last = order.len() - nth <= empty.len();
            for &part in if last { &empty } else { &used } {
                let add = |counts: &mut [Vec<usize>], sign: bool| {
                    for (n, more) in counts[part].iter_mut().zip(&self.groups[group].counts) {
                        *n = if sign { *n + more } else { *n - more };
                    }
                };
                add(&mut counts, true);
                let size = counts[part].iter().sum::<usize>() as f64 / shares[part];
                let candidate = (unevenness(&counts), size, part);
                add(&mut counts, false);
                let order = candidate
                    .0
                    .total_cmp(&best.0)
                    .then(candidate.1.total_cmp(&best.1));
                if order.is_lt() {
                    best = candidate;
                }
            }
            parts[group] = best.2;
            for (n, more) in counts[best.2].iter_mut().zip(&self.groups[group].counts) {
                *n += more;
            }
        }
        let absent = |p: &usize| present.iter().filter(|c| counts[*p][**c] == 0).count();
        Assignment {
            untrained_classes: self.untrained(&parts).count(),
            absent_classes: used.iter().map(absent).sum(),
            deviation: unevenness(&counts),
            parts,
        }
    }

    /// Classes that have images, but none in the training part.
    fn untrained(&self, parts: &[usize]) -> impl Iterator<Item = usize> {
        (0..self.totals.len()).filter(move |class| {
            let trained = |(group, part): (&Group, &usize)| *part == 0 && group.counts[*class] > 0;
            self.totals[*class] > 0 && !self.groups.iter().zip(parts).any(trained)
        })
    }
}

impl Assignment {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let counts = |a: &Self| (a.untrained_classes, a.absent_classes);
        counts(self)
            .cmp(&counts(other))
            .then(self.deviation.total_cmp(&other.deviation))
    }
}

/// Standard deviation (of the population).
fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// At most `k` training images of each class, drawn at random by seed, in order of position. Parts
/// other than training are not touched: measure on them as ever. The result depends on names and the
/// seed, not on the order of the images.
#[must_use]
pub fn limit_per_class(splits: &[Split], manifest: &Manifest, k: usize, seed: u64) -> Vec<ImageId> {
    let mut chosen: Vec<ImageId> = regular_by_class(manifest)
        .into_iter()
        .enumerate()
        .flat_map(|(class, mut ids)| {
            ids.retain(|id| splits.get(id.index()) == Some(&Split::Train));
            ids.shuffle(&mut generator(seed, class));
            ids.truncate(k);
            ids
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// As many images of each class as the smallest class has, drawn at random by seed, in order of
/// position. `labels[i]` is the class of `train[i]`; classes without an image do not count.
///
/// # Panics
/// When there is not one label per image.
#[must_use]
pub fn undersample(train: &[ImageId], labels: &[ClassId], seed: u64) -> Vec<ImageId> {
    assert_eq!(train.len(), labels.len(), "one label per training image");
    let mut by_class: BTreeMap<ClassId, Vec<ImageId>> = BTreeMap::new();
    for (id, class) in train.iter().zip(labels) {
        by_class.entry(*class).or_default().push(*id);
    }
    let smallest = by_class.values().map(Vec::len).min().unwrap_or(0);
    let mut chosen: Vec<ImageId> = by_class
        .into_iter()
        .flat_map(|(class, mut ids)| {
            ids.sort_unstable();
            ids.shuffle(&mut generator(seed, class.index()));
            ids.truncate(smallest);
            ids
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::{ImageEntry, Layout};
    use crate::domain::ClassSet;

    /// Images of classes `a`, `b`, … in these numbers, group values given by `group(i)`, then as many
    /// incoming ones; `reversed` lists them the other way round.
    fn manifest(sizes: &[usize], group: impl Fn(usize) -> String, reversed: bool) -> Manifest {
        let words = ('a'..='z').map(String::from).take(sizes.len());
        let classes = ClassSet::from_labels(words);
        let labels = sizes
            .iter()
            .enumerate()
            .flat_map(|(c, n)| vec![ClassId::from(c); *n]);
        let labels = labels.map(Some).chain([None, Some(classes.drift())]);
        let mut images: Vec<ImageEntry> = labels
            .enumerate()
            .map(|(i, label)| ImageEntry {
                key: format!("{i}.png"),
                path: PathBuf::from(format!("{i}.png")),
                label,
                values: vec![group(i)],
                incoming: label.is_none_or(|l| l == classes.drift()),
            })
            .collect();
        if reversed {
            images.reverse();
        }
        let columns = vec!["lot".to_owned()];
        let (root, statement) = (PathBuf::new(), String::new());
        Manifest::new(
            root,
            Layout::ClassFolders,
            classes,
            images,
            columns,
            statement,
            Vec::new(),
        )
    }

    fn plain(sizes: &[usize]) -> Manifest {
        manifest(sizes, |_| String::new(), false)
    }

    fn counts(manifest: &Manifest, splits: &[Split], split: Split) -> Vec<usize> {
        let mut counts = vec![0; manifest.classes.regular_len()];
        for id in manifest.ids().filter(|id| splits[id.index()] == split) {
            if let Some(n) = manifest
                .get(id)
                .label
                .and_then(|l| counts.get_mut(l.index()))
            {
                *n += 1;
            }
        }
        counts
    }

    fn by_key(manifest: &Manifest, splits: &[Split]) -> BTreeMap<String, Split> {
        let keys = manifest.images.iter().map(|i| i.key.clone());
        keys.zip(splits.iter().copied()).collect()
    }

    #[test]
    fn the_challenge_splits_as_stratified_rounding_says() {
        let sizes = [1235, 71, 270, 104, 6472, 126];
        let manifest = plain(&sizes);
        let splits = split(&manifest, &SplitSpec::default()).unwrap();
        // scikit-learn's StratifiedShuffleSplit(test_size=0.2) has the same test counts.
        assert_eq!(
            counts(&manifest, &splits, Split::Test),
            [247, 14, 54, 21, 1295, 25]
        );
        assert_eq!(
            counts(&manifest, &splits, Split::Validation),
            [198, 11, 43, 17, 1035, 20]
        );
        assert_eq!(splits[splits.len() - 2..], [Split::Incoming; 2]);
    }

    #[test]
    fn the_smallest_class_is_in_every_part() {
        let manifest = plain(&[3, 1000]);
        let splits = split(&manifest, &SplitSpec::default()).unwrap();
        for part in PARTS {
            assert_eq!(counts(&manifest, &splits, part)[0], 1, "{part:?}");
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let spec = SplitSpec::default();
        let refused = |m: &Manifest, spec: &SplitSpec| split(m, spec).unwrap_err().to_string();
        let two = refused(&plain(&[9, 2]), &spec);
        assert!(
            two.contains("class \"b\" has 2 images, and needs 3"),
            "{two}"
        );
        assert_eq!(
            split(&plain(&[0, 0]), &spec),
            Err(SplitError::NothingLabelled)
        );
        for (test, validation) in [
            (0.6, 0.4),
            (-0.1, 0.2),
            (f64::NAN, 0.1),
            (0.1, f64::INFINITY),
        ] {
            let spec = SplitSpec {
                test,
                validation,
                ..spec
            };
            assert!(refused(&plain(&[9]), &spec).contains("do not work"));
        }
        let grouped = SplitSpec {
            group_column: Some(0),
            ..spec
        };
        let one = manifest(&[9, 9], |_| "L1".to_owned(), false);
        let one = refused(&one, &grouped);
        assert!(
            one.contains("column \"lot\" puts the labelled images into 1 group,"),
            "{one}"
        );
        let outside = SplitSpec {
            group_column: Some(3),
            ..spec
        };
        assert!(refused(&plain(&[9]), &outside).contains("column number 3"));
        // Nothing asked for but training: then a single image will do.
        let all = SplitSpec {
            test: 0.0,
            validation: 0.0,
            ..spec
        };
        assert_eq!(split(&plain(&[1]), &all).unwrap()[0], Split::Train);
    }

    #[test]
    fn groups_keep_together_and_classes_balanced() {
        let manifest = manifest(&[400, 80, 40], |i| format!("lot {}", i % 40), false);
        let spec = SplitSpec {
            group_column: Some(0),
            ..SplitSpec::default()
        };
        let splits = split(&manifest, &spec).unwrap();
        let mut part_of = BTreeMap::new();
        for (image, part) in manifest
            .images
            .iter()
            .zip(&splits)
            .filter(|(i, _)| !i.incoming)
        {
            assert_eq!(part_of.entry(&image.values[0]).or_insert(part), &part);
        }
        assert_eq!(counts(&manifest, &splits, Split::Test), [80, 16, 8]);
        let validation = counts(&manifest, &splits, Split::Validation);
        assert!((60..=70).contains(&validation[0]), "{validation:?}");
    }

    #[test]
    fn a_class_in_one_group_is_trained_on() {
        // Class b lies in lot 0 alone, which must therefore go to training.
        let lots = |i: usize| {
            if i < 30 {
                format!("lot {}", i % 3)
            } else {
                "lot 0".to_owned()
            }
        };
        let manifest = manifest(&[30, 5], lots, false);
        let spec = SplitSpec {
            group_column: Some(0),
            ..SplitSpec::default()
        };
        let splits = split(&manifest, &spec).unwrap();
        assert_eq!(counts(&manifest, &splits, Split::Train), [10, 5]);
        assert_eq!(counts(&manifest, &splits, Split::Test), [10, 0]);
    }

    #[test]
    fn training_images_are_limited_and_undersampled() {
        let manifest = plain(&[50, 10]);
        let splits = split(&manifest, &SplitSpec::default()).unwrap();
        let chosen = limit_per_class(&splits, &manifest, 7, 1);
        assert!(chosen.iter().all(|id| splits[id.index()] == Split::Train));
        let labels: Vec<ClassId> = chosen
            .iter()
            .filter_map(|id| manifest.get(*id).label)
            .collect();
        // 64 % of 10 are 6, fewer than the limit.
        assert_eq!(labels.iter().filter(|l| l.0 == 0).count(), 7);
        assert_eq!(labels.iter().filter(|l| l.0 == 1).count(), 6);
        assert_eq!(chosen, limit_per_class(&splits, &manifest, 7, 1));
        assert_ne!(chosen, limit_per_class(&splits, &manifest, 7, 2));

        let even = undersample(&chosen, &labels, 3);
        assert_eq!(even.len(), 12);
        assert!(even.is_sorted() && even.iter().all(|id| chosen.contains(id)));
        assert_eq!(undersample(&[], &[], 3), []);
    }

    proptest! {
        #[test]
        fn splits_cover_stratify_and_ignore_order(
            sizes in prop::collection::vec(3_usize..40, 1..6),
            test in 0.05_f64..0.4,
            validation in 0.05_f64..0.4,
            seed: u64,
        ) {
            let spec = SplitSpec { test, validation, seed, group_column: None };
            let forward = plain(&sizes);
            let splits = split(&forward, &spec).unwrap();
            prop_assert_eq!(splits.len(), forward.len());
            for (image, part) in forward.images.iter().zip(&splits) {
                prop_assert_eq!(image.incoming, *part == Split::Incoming);
            }
            for (part, share) in [(Split::Test, test), (Split::Validation, validation)] {
                for (n, size) in counts(&forward, &splits, part).into_iter().zip(&sizes) {
                    prop_assert!((n as f64 - *size as f64 * share).abs() <= 1.5 || *size <= 6);
                    prop_assert!(n >= 1);
                }
            }
            prop_assert!(counts(&forward, &splits, Split::Train).iter().all(|n| *n >= 1));
            let backward = manifest(&sizes, |_| String::new(), true);
            let again = split(&backward, &spec).unwrap();
            prop_assert_eq!(by_key(&forward, &splits), by_key(&backward, &again));
        }

        #[test]
        fn groups_never_span_parts(
            sizes in prop::collection::vec(3_usize..20, 1..4),
            lots in 3_usize..12,
            seed: u64,
        ) {
            let lot = |i: usize| format!("{}", (i * 7 + i / 5) % lots);
            let forward = manifest(&sizes, lot, false);
            let spec = SplitSpec { seed, group_column: Some(0), ..SplitSpec::default() };
            match split(&forward, &spec) {
                Ok(splits) => {
                    let mut seen = HashSet::new();
                    let mut pairs = HashSet::new();
                    for (image, part) in forward.images.iter().zip(&splits).filter(|(i, _)| !i.incoming) {
                        seen.insert(image.values[0].clone());
                        pairs.insert((image.values[0].clone(), *part));
                    }
                    prop_assert_eq!(seen.len(), pairs.len());
                    prop_assert!(counts(&forward, &splits, Split::Train).iter().all(|n| *n >= 1));
                    let backward = manifest(&sizes, lot, true);
                    prop_assert_eq!(by_key(&forward, &splits), by_key(&backward, &split(&backward, &spec).unwrap()));
                }
                Err(SplitError::TooFewGroups { .. } | SplitError::ClassNotTrained { .. }) => {}
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
