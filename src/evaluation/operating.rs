//! Where to draw the line between drift and the rest, and what that is worth on images it was not drawn on.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Interval, wilson_interval};
use crate::domain::{ClassId, CostMatrix};

/// Parts that thresholds are chosen without, at most: up to so many images, each is left out alone.
const PARTS: usize = 100;
/// Share of the labelled drift that [`Aim::Catch`] wants at or above its threshold, as a fraction.
const CATCH: (u64, u64) = (99, 100);

/// A labelled image in front of the gate: drift is answered at `score >= threshold`, else what the network says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gated {
    /// Probability of drift by a head that was not fitted on this image's label, `0..=1`.
    pub score: f64,
    /// Whether it is drift.
    pub drift: bool,
    /// What the two answers cost; none where the network has given none.
    pub costs: Option<GateCosts>,
}

/// What the two answers to an image cost, in the units of the cost matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateCosts {
    /// Of answering drift.
    pub alarm: f64,
    /// Of what the network answers instead.
    pub pass: f64,
}

impl GateCosts {
    /// For an image that the network answers with `answer`. A regular image whose `label` names no class is
    /// taken to be what the network says: its costs are then those of the gate alone.
    ///
    /// # Panics
    /// For classes of another set than that of `cost`.
    #[must_use]
    pub fn new(cost: &CostMatrix, drift: bool, label: Option<ClassId>, answer: ClassId) -> Self {
        let drift_class = ClassId::from(cost.len() - 1);
        let actual = if drift {
            drift_class
        } else {
            label
                .filter(|class| *class != drift_class)
                .unwrap_or(answer)
        };
        Self {
            alarm: cost.cost(actual, drift_class),
            pass: cost.cost(actual, answer),
        }
    }
}

/// What a threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Aim {
    /// The smallest expected cost, drift being as frequent as is assumed.
    Cheapest,
    /// The largest F1.
    F1,
    /// The highest threshold that catches at least 99 % of the labelled drift: all of it while there are fewer
    /// than 100. The interval of the recall says what that shows of drift to come.
    Catch,
}

impl Aim {
    /// All of them, in the order of the screen.
    pub const ALL: [Self; 3] = [Self::Cheapest, Self::F1, Self::Catch];

    /// Its name on screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cheapest => "cheapest",
            Self::F1 => "honest F1",
            Self::Catch => "catch 99 %",
        }
    }
}

/// How a gate did, each figure with a 95 % interval.
///
/// Recall and precision are proportions (Wilson 1927). F1 is `2 J / (1 + J)` of the proportion `J` of true alarms
/// among all that are drift or alarms (Goutte & Gaussier, "A Probabilistic Interpretation of Precision, Recall and
/// F-Score", 2005), so its interval is that of `J`. The cost is linear in recall and in the share of false alarms;
/// its interval is put together from theirs (Zou & Donner, "Construction of confidence limits about effect
/// measures", 2008), what a mistake costs on average taken as known. None of them shrinks to nothing where no
/// mistake has been seen in a handful of images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateFigures {
    /// Labelled drift images.
    pub n_drift: u64,
    /// Labelled regular images.
    pub n_regular: u64,
    /// Drift images that were caught.
    pub caught: u64,
    /// Regular images that were not let pass.
    pub false_alarms: u64,
    /// F1 of drift.
    pub f1: Interval,
    /// Share of the drift that was caught.
    pub recall: Interval,
    /// Share of the alarms that were right; 0 without alarms.
    pub precision: Interval,
    /// Mean cost of an answer with drift as frequent as is assumed; none without answers to both kinds.
    pub cost: Option<Interval>,
}

/// A threshold and how well the way it was chosen does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// What it is for.
    pub aim: Aim,
    /// Chosen on all labelled images, halfway between two scores. `0..=1`.
    pub threshold: f64,
    /// Measured on images that their threshold was not chosen on.
    pub figures: GateFigures,
}

/// Why no threshold is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatingError {
    /// A threshold fitted where a kind is absent would switch detection off, or answer drift always.
    #[error(
        "{drift} drift and {regular} regular images are labelled, and a threshold needs at least 2 of each: label more (1 for drift, 0 for regular)"
    )]
    TooFewLabels {
        /// Labelled drift images.
        drift: usize,
        /// Labelled regular images.
        regular: usize,
    },
    /// Costs need what the network answers.
    #[error(
        "the run in use has answered {drift} labelled drift and {regular} labelled regular images, and costs need at least 2 of each: predict the images first"
    )]
    NoAnswers {
        /// Labelled drift images with an answer.
        drift: usize,
        /// Labelled regular images with an answer.
        regular: usize,
    },
    /// A score that is no number.
    #[error(
        "the score of labelled image {row} is not a finite number: retrain the drift model, on the features of another run if it persists"
    )]
    NotFinite {
        /// Position of the image, counted from 0.
        row: usize,
    },
}

/// Chooses a threshold for `aim` on `images`, and measures the way of choosing: each image is judged by a
/// threshold chosen without it (without its hundredth part of the images where there are more than a hundred), so
/// that no figure stems from images that the threshold was fitted to. `groups` has one entry for each image, or none
/// where all are different: near-duplicates, of equal entries, are left out together. `rate` is the assumed share of drift,
/// `0..=1`: the labels are no random sample, so that cost is weighted to it.
///
/// What remains is that the heads behind the other images' scores have seen this image's label; leaving that out
/// too would take a cross-validation for each image.
///
/// # Errors
/// [`OperatingError`].
pub fn operating_point(
    images: &[Gated],
    groups: &[usize],
    aim: Aim,
    rate: f64,
) -> Result<OperatingPoint, OperatingError> {
    check(images, aim)?;
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by(|a, b| images[*b].score.total_cmp(&images[*a].score));
    let parts = parts(images, groups);
    let without = |part: usize| {
        let kept = order.iter().filter(|i| parts[**i] != part);
        choose(kept.map(|i| &images[*i]), aim, rate)
    };
    let last = parts.iter().copied().max().unwrap_or(0);
    let thresholds: Vec<f64> = (0..=last).map(without).collect();
    Ok(OperatingPoint {
        aim,
        threshold: choose(order.iter().map(|i| &images[*i]), aim, rate),
        figures: measure(images, |i| images[i].score >= thresholds[parts[i]], rate),
    })
}

fn check(images: &[Gated], aim: Aim) -> Result<(), OperatingError> {
    if let Some(row) = images.iter().position(|i| !i.score.is_finite()) {
        return Err(OperatingError::NotFinite { row });
    }
    let count = |drift: bool, answered: bool| {
        let wanted = |i: &&Gated| i.drift == drift && (!answered || i.costs.is_some());
        images.iter().filter(wanted).count()
    };
    let (drift, regular) = (count(true, false), count(false, false));
    if drift.min(regular) < 2 {
        return Err(OperatingError::TooFewLabels { drift, regular });
    }
    let (drift, regular) = (count(true, true), count(false, true));
    if aim == Aim::Cheapest && drift.min(regular) < 2 {
        return Err(OperatingError::NoAnswers { drift, regular });
    }
    Ok(())
}

/// Deals the images into parts, drift first, then regular, those without an answer last of each: no part holds
/// all that there is of a kind, unless that is one group.
fn parts(images: &[Gated], groups: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|i| (!images[*i].drift, images[*i].costs.is_none()));
    let group = |image: usize| groups.get(image).copied().unwrap_or(image);
    let mut part_of: HashMap<usize, usize> = HashMap::new();
    for image in order {
        let turn = part_of.len();
        part_of.entry(group(image)).or_insert(turn);
    }
    let count = part_of.len().min(PARTS);
    (0..images.len())
        .map(|image| part_of[&group(image)] % count)
        .collect()
}

/// What has been met on the way down from the highest score.
#[derive(Clone, Copy, Default)]
struct Sums {
    drift: u64,
    regular: u64,
    /// Images with costs: (drift, regular).
    priced: (f64, f64),
    /// Sum of alarm minus pass: (drift, regular).
    change: (f64, f64),
}

impl Sums {
    fn add(&mut self, image: &Gated) {
        *(if image.drift {
            &mut self.drift
        } else {
            &mut self.regular
        }) += 1;
        if let Some(costs) = image.costs {
            let (priced, change) = if image.drift {
                (&mut self.priced.0, &mut self.change.0)
            } else {
                (&mut self.priced.1, &mut self.change.1)
            };
            *priced += 1.0;
            *change += costs.alarm - costs.pass;
        }
    }

    /// What an aim wants to be large, with alarms for what has been met; `all` is everything there is.
    fn worth(&self, all: &Self, aim: Aim, rate: f64) -> f64 {
        match aim {
            Aim::Cheapest => {
                let share = |sum: f64, n: f64| if n == 0.0 { 0.0 } else { sum / n };
                -(rate * share(self.change.0, all.priced.0)
                    + (1.0 - rate) * share(self.change.1, all.priced.1))
            }
            Aim::F1 => {
                let alarms = self.drift + self.regular;
                2.0 * self.drift as f64 / (alarms + all.drift).max(1) as f64
            }
            Aim::Catch => f64::from(u8::from(self.drift * CATCH.1 >= all.drift * CATCH.0)),
        }
    }
}

/// The threshold that serves `aim` best on `images` (the highest of equals), which come with the highest score
/// first: halfway down to the next score.
fn choose<'a>(images: impl Iterator<Item = &'a Gated> + Clone, aim: Aim, rate: f64) -> f64 {
    let mut all = Sums::default();
    for image in images.clone() {
        all.add(image);
    }
    let mut met = Sums::default();
    let mut best = (met.worth(&all, aim, rate), None);
    let scale = best.0.abs().max(1.0);
    let mut above = 1.0;
    // A first step with no alarm at all, where the scores leave room for one.
    let mut images = images.peekable();
    if let Some(first) = images.peek() {
        best.1 = between(above, first.score);
    }
    while let Some(image) = images.next() {
        met.add(image);
        above = image.score;
        let below = images.peek().map_or(0.0, |next| next.score);
        if below == above && images.peek().is_some() {
            continue;
        }
        let worth = met.worth(&all, aim, rate);
        // Sums differ in their last digits with the order of the images; a real gain does not.
        if best.1.is_none() || worth > best.0 + 1e-9 * scale {
            best = (worth, between(above, below).or(Some(above)));
        }
    }
    best.1.unwrap_or(1.0)
}

/// The middle of two scores, or the upper where nothing lies between them in single precision, which is what
/// scores are kept in. None where the upper is not above the lower.
fn between(above: f64, below: f64) -> Option<f64> {
    if above <= below {
        return None;
    }
    let middle = f64::midpoint(above, below);
    #[expect(clippy::cast_possible_truncation, reason = "that is the question")]
    let told_apart = f64::from(middle as f32) > below;
    Some(if told_apart { middle } else { above })
}

/// How a gate does that raises an `alarm` for some of `images` (by position), drift being a share of `rate`.
#[must_use]
pub fn measure(images: &[Gated], alarm: impl Fn(usize) -> bool, rate: f64) -> GateFigures {
    let (mut n, mut alarms) = ([0_u64; 2], [0_u64; 2]);
    let (mut priced, mut priced_alarms) = ([0_u64; 2], [0_u64; 2]);
    let (mut paid, mut change) = ([0.0; 2], [0.0; 2]);
    for (at, image) in images.iter().enumerate() {
        let (kind, alarm) = (usize::from(image.drift), alarm(at));
        n[kind] += 1;
        alarms[kind] += u64::from(alarm);
        if let Some(costs) = image.costs {
            priced[kind] += 1;
            priced_alarms[kind] += u64::from(alarm);
            paid[kind] += if alarm { costs.alarm } else { costs.pass };
            change[kind] += costs.alarm - costs.pass;
        }
    }
    let cost = priced.iter().all(|n| *n > 0).then(|| {
        let (mut mean, mut below, mut above) = (0.0, 0.0_f64, 0.0_f64);
        for (kind, weight) in [1.0 - rate, rate].into_iter().enumerate() {
            let n = priced[kind] as f64;
            mean += weight * paid[kind] / n;
            let slope = weight * change[kind] / n;
            let share = priced_alarms[kind] as f64 / n;
            let ends = wilson_interval(priced_alarms[kind], priced[kind]);
            let moved = ends.map(|end| slope * (end - share));
            below += moved[0].min(moved[1]).powi(2);
            above += moved[0].max(moved[1]).powi(2);
        }
        interval(mean, [(mean - below.sqrt()).max(0.0), mean + above.sqrt()])
    });
    let [false_alarms, caught] = alarms;
    let either = n[1] + false_alarms;
    let f1 = |jaccard: f64| 2.0 * jaccard / (1.0 + jaccard);
    GateFigures {
        n_drift: n[1],
        n_regular: n[0],
        caught,
        false_alarms,
        f1: interval(
            f1(share(caught, either)),
            wilson_interval(caught, either).map(f1),
        ),
        recall: proportion(caught, n[1]),
        precision: proportion(caught, caught + false_alarms),
        cost,
    }
}

/// The smallest mean cost of one and the same answer to every image, drift being a share of `rate`. `costs` has a
/// row for each image: whether it is drift, and what each answer costs. None without images of both kinds.
#[must_use]
pub fn cheapest_constant(costs: &[(bool, Vec<f64>)], rate: f64) -> Option<f64> {
    let answers = costs.iter().map(|(_, row)| row.len()).min()?;
    let count = |kind: bool| costs.iter().filter(|(drift, _)| *drift == kind).count();
    let n = [count(false), count(true)];
    if n.contains(&0) {
        return None;
    }
    let mean = |answer: usize| -> f64 {
        let weighted = costs.iter().map(|(drift, row)| {
            let weight = if *drift { rate } else { 1.0 - rate };
            weight * row[answer] / n[usize::from(*drift)] as f64
        });
        weighted.sum()
    };
    (0..answers).map(mean).min_by(f64::total_cmp)
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

fn proportion(part: u64, of: u64) -> Interval {
    interval(share(part, of), wilson_interval(part, of))
}

fn interval(mean: f64, [lo, hi]: [f64; 2]) -> Interval {
    Interval {
        mean,
        lo,
        hi,
        sd: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::evaluation::BinaryScores;

    /// A missed drift costs 10, a false alarm 1.
    fn gated(score: f64, drift: bool) -> Gated {
        let (alarm, pass) = if drift { (0.0, 10.0) } else { (1.0, 0.0) };
        Gated {
            score,
            drift,
            costs: Some(GateCosts { alarm, pass }),
        }
    }

    /// Few distinct scores, 0 and 1 among them, and at least two images of each kind.
    fn images() -> impl Strategy<Value = Vec<Gated>> {
        let one = (0_u32..=10, any::<bool>(), 0_u8..6, 0_u8..6);
        prop::collection::vec(one, 4..30).prop_map(|rows| {
            let one = |(at, (score, drift, alarm, pass)): (usize, (u32, bool, u8, u8))| Gated {
                score: f64::from(score) / 10.0,
                drift: [true, true, false, false].get(at).copied().unwrap_or(drift),
                costs: Some(GateCosts {
                    alarm: f64::from(alarm),
                    pass: f64::from(pass),
                }),
            };
            rows.into_iter().enumerate().map(one).collect()
        })
    }

    fn chosen(images: &[Gated], aim: Aim, rate: f64) -> f64 {
        let mut sorted = images.to_vec();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        choose(sorted.iter(), aim, rate)
    }

    /// Mean cost of an answer at a threshold, as the definition says it.
    fn cost_at(images: &[Gated], threshold: f64, rate: f64) -> f64 {
        let mean = |kind: bool| {
            let paid: Vec<f64> = (images.iter().filter(|i| i.drift == kind))
                .map(|i| {
                    let costs = i.costs.expect("all have costs");
                    if i.score >= threshold {
                        costs.alarm
                    } else {
                        costs.pass
                    }
                })
                .collect();
            paid.iter().sum::<f64>() / paid.len() as f64
        };
        rate * mean(true) + (1.0 - rate) * mean(false)
    }

    fn scores(images: &[Gated]) -> BinaryScores {
        let (scores, truth): (Vec<f64>, Vec<bool>) =
            images.iter().map(|i| (i.score, i.drift)).unzip();
        BinaryScores::new(&scores, &truth).expect("finite")
    }

    #[test]
    fn no_image_is_judged_by_a_threshold_chosen_on_its_near_duplicate() {
        let drift = [0.9, 0.9, 0.5, 0.5].map(|score| gated(score, true));
        let images = [&drift[..], &[gated(0.4, false); 3]].concat();
        let caught = |groups: &[usize]| {
            let point = operating_point(&images, groups, Aim::F1, 0.1).expect("a threshold");
            assert!((point.threshold - 0.45).abs() < 1e-9, "{point:?}");
            point.figures.caught
        };
        assert_eq!((caught(&[]), caught(&[0, 1, 2, 3, 4, 5, 6])), (4, 4));
        // Without the pair nothing says that drift scores so low.
        assert_eq!(caught(&[0, 1, 2, 2, 3, 4, 5]), 2);
    }

    #[test]
    fn an_absent_kind_is_refused_with_both_counts() {
        for n_drift in [0, 1] {
            let mut images = vec![gated(0.1, false); 9];
            images.extend(vec![gated(0.9, true); n_drift]);
            for aim in Aim::ALL {
                let refused = operating_point(&images, &[], aim, 0.1).expect_err("no drift");
                let words = format!("{n_drift} drift and 9 regular");
                assert!(refused.to_string().contains(&words), "{refused}");
            }
        }
        assert!(operating_point(&[], &[], Aim::F1, 0.1).is_err());
        let drift = vec![gated(0.9, true); 5];
        let refused = operating_point(&drift, &[], Aim::Catch, 0.1).expect_err("no regular image");
        assert!(refused.to_string().contains("5 drift and 0 regular"));
    }

    #[test]
    fn without_answers_only_the_cheapest_point_is_refused() {
        let mut images = [
            gated(0.9, true),
            gated(0.8, true),
            gated(0.1, false),
            gated(0.2, false),
        ];
        images[1].costs = None;
        let refused = operating_point(&images, &[], Aim::Cheapest, 0.1).expect_err("one answer");
        assert!(refused.to_string().contains("1 labelled drift and 2"));
        let f1 = operating_point(&images, &[], Aim::F1, 0.1).expect("both kinds");
        assert!((f1.threshold - 0.5).abs() < 1e-12, "{}", f1.threshold);
        images[0].score = f64::NAN;
        assert_eq!(
            operating_point(&images, &[], Aim::F1, 0.1),
            Err(OperatingError::NotFinite { row: 0 })
        );
    }

    #[test]
    fn a_rarer_drift_and_dearer_alarms_raise_the_cheapest_threshold() {
        let images: Vec<Gated> = (0..200)
            .map(|i| {
                gated(
                    f64::from((i * 37) % 100) / 100.0,
                    (i * 61) % 100 < (i * 37) % 100,
                )
            })
            .collect();
        let at = |rate| chosen(&images, Aim::Cheapest, rate);
        assert!(
            at(0.5) <= at(0.1) && at(0.1) <= at(0.01),
            "{} {}",
            at(0.5),
            at(0.01)
        );
        assert!(at(0.5) < at(0.01));
    }

    #[test]
    fn meaningless_scores_show_in_the_honest_f1_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut honest, mut on_itself) = (0.0, 0.0);
        for _ in 0..40 {
            let images: Vec<Gated> = (0..60)
                .map(|i| gated(rng.random_range(0.0..1.0), i % 6 == 0))
                .collect();
            let point = operating_point(&images, &[], Aim::F1, 0.1).expect("both kinds");
            honest += point.figures.f1.mean / 40.0;
            on_itself += scores(&images).at(point.threshold).f1 / 40.0;
        }
        // Answering drift to every image has an F1 of 2 / 7 = 0.29.
        assert!(on_itself > 0.32, "{on_itself}");
        assert!(honest < 0.29, "{honest}");
    }

    #[test]
    fn a_handful_without_a_mistake_proves_little() {
        let mut images = vec![gated(0.9, true); 5];
        images.extend(vec![gated(0.1, false); 40]);
        let figures = operating_point(&images, &[], Aim::Catch, 0.1)
            .expect("both kinds")
            .figures;
        assert_eq!((figures.caught, figures.false_alarms), (5, 0));
        assert_eq!((figures.f1.mean, figures.recall.mean), (1.0, 1.0));
        assert!(
            (figures.recall.lo - 0.566).abs() < 0.001,
            "{:?}",
            figures.recall
        );
        assert!(figures.f1.lo < 0.75, "{:?}", figures.f1);
        let cost = figures.cost.expect("costs");
        // As many missed as the interval of the recall allows would cost 0.1 * 10 * 0.434.
        assert!(cost.mean == 0.0 && cost.hi > 0.43, "{cost:?}");
    }

    /// The 95 % intervals hold what they say about as often as they say it.
    #[test]
    fn intervals_cover_the_truth() {
        let (recall, false_alarm, rate) = (0.9, 0.04, 0.08);
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let images: Vec<Gated> = (0..220).map(|i| gated(0.5, i < 20)).collect();
        let expected = rate * (1.0 - recall) * 10.0 + (1.0 - rate) * false_alarm;
        let f1 = 2.0 * 20.0 * recall / (20.0 + 20.0 * recall + 200.0 * false_alarm);
        let (mut cost_held, mut f1_held) = (0, 0);
        for _ in 0..2000 {
            let alarms: Vec<bool> = images
                .iter()
                .map(|i| rng.random_bool(if i.drift { recall } else { false_alarm }))
                .collect();
            let figures = measure(&images, |i| alarms[i], rate);
            let cost = figures.cost.expect("costs");
            cost_held += u32::from(cost.lo <= expected && expected <= cost.hi);
            f1_held += u32::from(figures.f1.lo <= f1 && f1 <= figures.f1.hi);
        }
        assert!((1860..=1980).contains(&cost_held), "{cost_held}");
        assert!((1860..=1990).contains(&f1_held), "{f1_held}");
    }

    proptest! {
        #[test]
        fn no_threshold_is_cheaper(images in images(), rate in 0.01..0.99_f64, t in 0.0..1.01_f64) {
            let found = chosen(&images, Aim::Cheapest, rate);
            // Switching detection off lies within 0..=1 only where no score is 1.
            let t = if images.iter().any(|i| i.score == 1.0) { t.min(1.0) } else { t };
            prop_assert!(cost_at(&images, found, rate) <= cost_at(&images, t, rate) + 1e-9);
            let alarms = |i: usize| images[i].score >= found;
            let cost = measure(&images, alarms, rate).cost.expect("costs");
            prop_assert!((cost.mean - cost_at(&images, found, rate)).abs() < 1e-9);
            prop_assert!(cost.lo <= cost.mean && cost.mean <= cost.hi);
        }

        #[test]
        fn the_best_f1_is_that_of_the_brute_force(images in images()) {
            let found = chosen(&images, Aim::F1, 0.1);
            let best = scores(&images).best_f1().expect("both kinds").f1;
            prop_assert!((scores(&images).at(found).f1 - best).abs() < 1e-12);
            let at = measure(&images, |i| images[i].score >= found, 0.1);
            prop_assert!((at.f1.mean - best).abs() < 1e-12);
            prop_assert!(0.0 <= at.f1.lo && at.f1.lo <= at.f1.mean + 1e-12);
            prop_assert!(at.f1.mean <= at.f1.hi + 1e-12 && at.f1.hi <= 1.0);
        }

        #[test]
        fn the_highest_threshold_that_catches_enough(images in images(), t in 0.0..1.0_f64) {
            let found = chosen(&images, Aim::Catch, 0.1);
            let (at, other) = (scores(&images).at(found), scores(&images).at(t));
            prop_assert_eq!(at.false_negatives, 0, "fewer than 100 drift images");
            // Whatever raises fewer alarms misses some.
            let fewer = other.true_positives + other.false_positives < at.true_positives + at.false_positives;
            prop_assert!(!fewer || other.false_negatives > 0);
        }

        /// A raised threshold catches no more and alarms no more, within its intervals too.
        #[test]
        fn a_raised_threshold_catches_no_more(
            images in images(), a in 0_u32..=11, b in 0_u32..=11, shift in any::<bool>(), rate in 0.01..0.99_f64,
        ) {
            // On scores, and halfway between them.
            let at = |t: u32| f64::from(t) / 10.0 - if shift { 0.05 } else { 0.0 };
            let (low, high) = (at(a.min(b)), at(a.max(b)));
            let figures = |t: f64| measure(&images, |i| images[i].score >= t, rate);
            let (before, after) = (figures(low), figures(high));
            prop_assert!(after.recall.mean <= before.recall.mean);
            prop_assert!(after.recall.lo <= before.recall.lo && after.recall.hi <= before.recall.hi);
            let between = |drift: bool| {
                images.iter().filter(|i| i.drift == drift && low <= i.score && i.score < high).count() as u64
            };
            prop_assert_eq!(before.caught - after.caught, between(true));
            prop_assert_eq!(before.false_alarms - after.false_alarms, between(false));
        }

        /// Each image is judged by the threshold that a user would have got without it.
        #[test]
        fn each_image_is_judged_without_it(images in images(), rate in 0.01..0.99_f64) {
            for aim in Aim::ALL {
                let point = operating_point(&images, &[], aim, rate).expect("both kinds");
                let caught = (0..images.len()).filter(|left_out| {
                    let mut others = images.clone();
                    let image = others.remove(*left_out);
                    image.drift && image.score >= chosen(&others, aim, rate)
                });
                prop_assert_eq!(point.figures.caught, caught.count() as u64);
                prop_assert!((0.0..=1.0).contains(&point.threshold));
            }
        }

        #[test]
        fn the_constant_answer_is_the_cheapest_column(
            rows in prop::collection::vec(prop::collection::vec(0.0..9.0_f64, 3), 2..9), rate in 0.0..1.0_f64,
        ) {
            let costs: Vec<(bool, Vec<f64>)> =
                rows.into_iter().enumerate().map(|(i, row)| (i == 0, row)).collect();
            let n = (costs.len() - 1) as f64;
            let of = |answer: usize| {
                let regular: f64 = costs[1..].iter().map(|(_, row)| row[answer]).sum();
                rate * costs[0].1[answer] + (1.0 - rate) * regular / n
            };
            let best = (0..3).map(of).fold(f64::INFINITY, f64::min);
            prop_assert!((cheapest_constant(&costs, rate).expect("both kinds") - best).abs() < 1e-9);
            prop_assert_eq!(cheapest_constant(&costs[1..], rate), None);
        }
    }
}
