//! From a fitted drift model to answers: how frequent drift is taken to be, operating points, and what each image
//! is answered or needs a person for.

use rayon::prelude::*;
use serde::Serialize;

use crate::domain::{ClassId, ImageId, Label, Prediction};
use crate::drift::{
    Decision, HeadTemperature, cheapest, combine, gate, prior_shifted, regret, with_look,
};
use crate::evaluation::{Aim, GateCosts, Gated, OperatingPoint, operating_point, wilson_interval};
use crate::project::Snapshot;
use crate::queue::{ControlSample, control_sample};

use super::drift::{DriftResult, DriftSession};

/// Images that a control sample holds before it is believed.
const ENOUGH: usize = 10;
/// Share of drift that is reckoned with until then.
const GUESS: f64 = 0.1;

/// How frequent drift is taken to be among the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftRate {
    /// The share that is reckoned with, above 0 and below 1.
    pub assumed: f64,
    /// Whether the project or the user says it, rather than the control sample or, before there is one, a guess.
    pub given: bool,
    /// Labelled images of the control sample.
    pub images: usize,
    /// Those of them that are drift.
    pub drift: usize,
}

impl DriftRate {
    /// By the project's word, `given`, else by `sample` (Laplace's rule of succession: never 0 or 1) where that
    /// holds ten images at least, else a tenth.
    #[must_use]
    pub fn new(given: Option<f64>, sample: ControlSample) -> Self {
        let by_sample = if sample.images < ENOUGH {
            GUESS
        } else {
            (sample.drift as f64 + 1.0) / (sample.images as f64 + 2.0)
        };
        Self {
            assumed: given.unwrap_or(by_sample),
            given: given.is_some(),
            images: sample.images,
            drift: sample.drift,
        }
    }

    /// 95 % interval of the share by the control sample (Wilson 1927); `[0, 1]` without one.
    #[must_use]
    pub fn interval(&self) -> [f64; 2] {
        wilson_interval(self.drift as u64, self.images as u64)
    }

    /// Whether the assumed share is a guess: nobody has said it, and the control sample is too small.
    #[must_use]
    pub fn is_guess(&self) -> bool {
        !self.given && self.images < ENOUGH
    }
}

/// What is known of one candidate when it is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Which image.
    pub image: ImageId,
    /// Probability of drift as the head states it: what a threshold is compared with. 0 without a head.
    pub score: f64,
    /// Probability of drift at the head's temperature and the assumed share of drift.
    pub drift: f64,
    /// The answer that is expected to cost least.
    pub cheapest: Decision,
    /// The network's class.
    pub class: ClassId,
    /// Expected cost beyond that of the truth, of the cheapest answer, of the network's class, and of drift.
    pub regrets: [f64; 3],
}

impl Verdict {
    /// The decision by `threshold`, or the cheapest one without, where a look costs `look`; and what it is
    /// expected to cost more than the truth.
    #[must_use]
    pub fn decide(&self, threshold: Option<f64>, look: f64, drift: ClassId) -> (Decision, f64) {
        let (decision, regret) = match threshold {
            None => (self.cheapest, self.regrets[0]),
            Some(threshold) if self.score >= threshold => (Decision::Drift(drift), self.regrets[2]),
            Some(_) => (Decision::Class(self.class), self.regrets[1]),
        };
        (with_look(decision, regret, look), regret)
    }
}

/// What follows from a fit of the drift model, the cost matrix and the assumed share of drift.
#[derive(Clone, Debug)]
pub struct Decided {
    /// How frequent drift is taken to be.
    pub rate: DriftRate,
    /// What a look by a person costs.
    pub look: f64,
    /// Of the head, by its out-of-fold probabilities; none while there are too few labels for one.
    pub head_temperature: Option<f64>,
    /// Of the network, by its validation images; none where the run has none.
    pub run_temperature: Option<f64>,
    /// Whether the run adjusted its logits while it trained, which is undone before costs are weighed.
    pub unadjusted: bool,
    /// A threshold for each aim, or why there is none.
    pub points: Vec<(Aim, Result<OperatingPoint, String>)>,
    /// One for each candidate that the network has answered, in the order of the ranking.
    pub verdicts: Vec<Verdict>,
}

impl DriftSession {
    /// How frequent drift is among the candidates, by the project or by the control sample of `labels`.
    #[must_use]
    pub fn drift_rate(
        &self,
        given: Option<f64>,
        labels: &[(ImageId, bool)],
        seed: u64,
    ) -> DriftRate {
        DriftRate::new(given, control_sample(&self.labelled(labels), seed))
    }

    /// The network's class probabilities of a candidate, at the temperature of its run and with the adjustment of
    /// its logits undone.
    #[must_use]
    pub fn regular(&self, image: ImageId) -> Option<Vec<f32>> {
        let stated = &self.prediction(image)?.probabilities;
        Some(self.calibration.probabilities(stated))
    }

    /// What a fit on `labels` means for every candidate; `seed` is that of the queue's control sample.
    #[must_use]
    pub fn decide(
        &self,
        snapshot: &Snapshot,
        labels: &[(ImageId, bool)],
        result: &DriftResult,
        seed: u64,
    ) -> Decided {
        let rate = self.drift_rate(snapshot.drift_rate, labels, seed);
        let judged = self.judged(labels, result);
        let temperature = judged.as_ref().ok().and_then(|judged| {
            let scores: Vec<(f64, bool)> = judged.iter().map(|(_, p, d)| (*p, *d)).collect();
            HeadTemperature::fit(&scores)
        });
        let judge = |image: ImageId, score: Option<f32>| {
            let regular = self.regular(image)?;
            let score = f64::from(score.unwrap_or(0.0));
            let drift = prior_shifted(temperature.unwrap_or_default().apply(score), rate.assumed);
            let all = combine(drift, &regular);
            let cheapest = cheapest(&snapshot.cost, &all);
            let class = gate(0.0, 1.0, &regular).answer();
            let of = |answer| regret(&snapshot.cost, &all, answer);
            let drift_class = snapshot.manifest.classes.drift();
            Some(Verdict {
                image,
                score,
                drift,
                cheapest,
                class,
                regrets: [of(cheapest.answer()), of(class), of(drift_class)],
            })
        };
        Decided {
            rate,
            look: snapshot.look(),
            head_temperature: temperature.map(HeadTemperature::value),
            run_temperature: self.calibration.temperature,
            unadjusted: self.calibration.adjustment.is_some(),
            points: self.points(snapshot, &judged, rate.assumed),
            verdicts: result
                .scores
                .par_iter()
                .filter_map(|s| judge(s.image, s.probability))
                .collect(),
        }
    }

    /// The labelled candidates with their probability by a head that had not seen their label, or why there are
    /// none.
    fn judged(
        &self,
        labels: &[(ImageId, bool)],
        result: &DriftResult,
    ) -> Result<Vec<(ImageId, f64, bool)>, String> {
        let quality = result.quality.as_ref().map_err(Clone::clone)?;
        let out_of_fold = self.images.iter().zip(&quality.out_of_fold);
        let judged = out_of_fold.zip(self.labelled(labels));
        Ok(judged
            .filter_map(|((image, score), drift)| Some((*image, f64::from((*score)?), drift?)))
            .collect())
    }

    fn points(
        &self,
        snapshot: &Snapshot,
        judged: &Result<Vec<(ImageId, f64, bool)>, String>,
        rate: f64,
    ) -> Vec<(Aim, Result<OperatingPoint, String>)> {
        let gated = |(image, score, drift): &(ImageId, f64, bool)| {
            let class = snapshot.label(*image).and_then(Label::class);
            let answer = self.prediction(*image).map(Prediction::class);
            Gated {
                score: *score,
                drift: *drift,
                costs: answer.map(|a| GateCosts::new(&snapshot.cost, *drift, class, a)),
            }
        };
        let gated = judged
            .as_ref()
            .map(|judged| judged.iter().map(gated).collect::<Vec<_>>());
        let group = |(image, ..): &(ImageId, f64, bool)| self.group_of(*image);
        let groups: Vec<usize> = judged.iter().flatten().map(group).collect();
        let point = |aim: Aim| match &gated {
            Ok(gated) => operating_point(gated, &groups, aim, rate).map_err(|e| e.to_string()),
            Err(why) => Err((*why).clone()),
        };
        Aim::ALL.map(|aim| (aim, point(aim))).to_vec()
    }
}

/// What teaching the drift model one more image did to it and to what looks like it.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowUp {
    /// The image.
    pub image: ImageId,
    /// Its probability of drift by the head that has learned from it.
    pub learned: f32,
    /// The candidates most like it, nearest first, with their cosine similarity.
    pub neighbours: Vec<(ImageId, f32)>,
}

impl DriftSession {
    /// How a head that learns from `labels` sees `image`, and the `k` candidates most like it. None for an image
    /// that is no candidate, or while there is no head.
    #[must_use]
    pub fn follow_up(
        &self,
        labels: &[(ImageId, bool)],
        image: ImageId,
        k: usize,
    ) -> Option<FollowUp> {
        let learned = self.probability(labels, image)?;
        Some(FollowUp {
            image,
            #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
            learned: learned as f32,
            neighbours: self.neighbours(image, k),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_assumed_rate_is_the_projects_or_the_samples_or_a_guess() {
        let sample = |drift, images| ControlSample { drift, images };
        let guess = DriftRate::new(None, sample(3, 9));
        assert!(guess.is_guess() && (guess.assumed - 0.1).abs() < 1e-12);
        assert_eq!(DriftRate::new(None, sample(0, 0)).interval(), [0.0, 1.0]);
        let known = DriftRate::new(None, sample(2, 22));
        assert!(!known.is_guess() && (known.assumed - 0.125).abs() < 1e-12);
        let [lo, hi] = known.interval();
        assert!(lo < 2.0 / 22.0 && hi > 2.0 / 22.0 && lo > 0.0);
        let given = DriftRate::new(Some(0.03), sample(2, 22));
        assert!(given.given && (given.assumed - 0.03).abs() < 1e-12);
    }

    #[test]
    fn a_threshold_decides_until_a_look_is_cheaper() {
        let verdict = Verdict {
            image: ImageId(0),
            score: 0.6,
            drift: 0.2,
            cheapest: Decision::NeedsReview(ClassId(2)),
            class: ClassId(1),
            regrets: [5.0, 20.0, 80.0],
        };
        let drift = ClassId(6);
        let by = |threshold, look| verdict.decide(threshold, look, drift);
        assert_eq!(by(None, 10.0), (Decision::NeedsReview(ClassId(2)), 5.0));
        assert_eq!(by(Some(0.6), 100.0), (Decision::Drift(drift), 80.0));
        assert_eq!(by(Some(0.6), 10.0).0, Decision::NeedsReview(drift));
        assert_eq!(by(Some(0.7), 30.0), (Decision::Class(ClassId(1)), 20.0));
        assert_eq!(by(Some(0.7), 10.0).0, Decision::NeedsReview(ClassId(1)));
    }

    proptest! {
        /// Whatever a look costs: raised, a threshold makes no more images drift, and answers only those anew that
        /// lie between the two.
        #[test]
        fn a_raised_threshold_makes_nothing_drift(
            score in 0.0..=1.0_f64, regrets in prop::array::uniform3(0.0..100.0_f64), look in 0.0..120.0_f64,
            a in 0.0..=1.0_f64, b in 0.0..=1.0_f64, at_score in any::<bool>(),
        ) {
            let drift = ClassId(6);
            let verdict = Verdict {
                image: ImageId(0),
                score,
                drift: score,
                cheapest: Decision::Class(ClassId(1)),
                class: ClassId(1),
                regrets,
            };
            let (low, high) = if at_score { (a.min(score), score) } else { (a.min(b), a.max(b)) };
            let by = |threshold| verdict.decide(Some(threshold), look, drift).0;
            let (before, after) = (by(low), by(high));
            let is_drift = |decision: Decision| decision.answer() == drift;
            prop_assert!(is_drift(before) || !is_drift(after), "{:?} became {:?}", before, after);
            prop_assert_eq!(is_drift(before) && !is_drift(after), low <= score && score < high);
            prop_assert!(before == after || (low <= score && score < high));
        }
    }
}
