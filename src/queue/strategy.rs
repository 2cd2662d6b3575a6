//! The orders in which images can be asked for.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Queue, QueueItem};
use crate::domain::{ImageId, Label};

/// Every this many-th image of [`Strategy::MostAnomalous`] is drawn at random.
const CONTROL_EVERY: usize = 5;
/// Share of the labelled images that [`Strategy::BlindRepeats`] shows again.
const REPEATED: f64 = 0.03;

/// Which images are asked for, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// As in the data set.
    InOrder,
    /// What [`mixed`](super::mixed) deals out, anew after each label.
    FindDrift,
    /// Unlabelled, furthest from the regular images first, with a control sample.
    MostAnomalous,
    /// Unlabelled, closest call first.
    MostUncertain,
    /// Labelled otherwise than the model answers, strongest contradiction first.
    Disagreements,
    /// Unlabelled, most like drift already found first.
    NeighboursOfDrift,
    /// A random 3 % of the labelled images, shown again.
    BlindRepeats,
}

impl Strategy {
    /// All, in the order they are offered.
    pub const ALL: [Self; 7] = [
        Self::InOrder,
        Self::FindDrift,
        Self::MostAnomalous,
        Self::MostUncertain,
        Self::Disagreements,
        Self::NeighboursOfDrift,
        Self::BlindRepeats,
    ];

    /// The words on screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InOrder => "In order",
            Self::FindDrift => "Find drift",
            Self::MostAnomalous => "Most anomalous",
            Self::MostUncertain => "Most uncertain",
            Self::Disagreements => "Disagreements",
            Self::NeighboursOfDrift => "Neighbours of drift",
            Self::BlindRepeats => "Blind repeats",
        }
    }

    /// One sentence for the screen: what it shows, and what it needs to show anything.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::InOrder => "Every image, in the order of the data set",
            Self::FindDrift => {
                "What a few minutes of labelling find most drift with: odd and new images first, then what the drift model points to, with close calls, a random control sample and a few images shown again; needs a trained model"
            }
            Self::MostAnomalous => {
                "Unlabelled images that look least like the regular ones, every fifth drawn at random because some drift looks regular; needs a trained model"
            }
            Self::MostUncertain => {
                "Unlabelled images that the model can hardly decide, closest call first; needs a trained model"
            }
            Self::Disagreements => {
                "Images whose label contradicts the model, strongest contradiction first; needs labels and a trained model"
            }
            Self::NeighboursOfDrift => {
                "Unlabelled images that resemble drift already found, most alike first; needs a drift label"
            }
            Self::BlindRepeats => {
                "About 3 % of the labelled images once more, label and prediction hidden, to measure how repeatable the labelling is; needs labels"
            }
        }
    }
}

/// What is known of an image when a queue is built. A score that is unknown, or no number, keeps the
/// image out of the queues that need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The image.
    pub image: ImageId,
    /// Its present label.
    pub labelled: Option<Label>,
    /// Distance from the regular images, on any scale; higher is more anomalous.
    pub anomaly: Option<f32>,
    /// Probability of drift, in `[0, 1]`.
    pub drift_probability: Option<f32>,
    /// Difference between the two largest class probabilities, in `[0, 1]`.
    pub margin: Option<f32>,
    /// Probability that the model gives to anything but the label, in `[0, 1]`; above one half the image
    /// counts as a disagreement.
    pub disagreement: Option<f32>,
    /// Cosine similarity to the nearest image labelled drift, in `[-1, 1]`.
    pub neighbour_similarity: Option<f32>,
}

impl Candidate {
    /// An image of which nothing else is known.
    #[must_use]
    pub fn new(image: ImageId) -> Self {
        Self {
            image,
            labelled: None,
            anomaly: None,
            drift_probability: None,
            margin: None,
            disagreement: None,
            neighbour_similarity: None,
        }
    }

    /// How far the model is from a coin toss on the question it is least sure of (0 is a coin toss), and
    /// the reason in words.
    fn certainty(&self) -> Option<(f32, String)> {
        let drift = finite(self.drift_probability)
            .map(|p| ((2.0 * p - 1.0).abs(), format!("drift probability {p:.2}")));
        let class = finite(self.margin).map(|m| (m, format!("margin between two classes {m:.2}")));
        match (drift, class) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        }
    }
}

fn finite(score: Option<f32>) -> Option<f32> {
    score.filter(|s| s.is_finite())
}

/// Builds the queue of a strategy. Equal scores keep the order of `candidates`; `seed` draws the random
/// images of [`Strategy::MostAnomalous`] and [`Strategy::BlindRepeats`]. Empty where
/// [`Strategy::explain`] names something that is missing.
#[must_use]
pub fn build(strategy: Strategy, candidates: &[Candidate], seed: u64) -> Queue {
    let unlabelled = || candidates.iter().filter(|c| c.labelled.is_none());
    let items = match strategy {
        Strategy::InOrder => candidates
            .iter()
            .map(|c| item(c, "in the order of the data set".to_owned()))
            .collect(),
        // The drift model deals these out.
        Strategy::FindDrift => Vec::new(),
        Strategy::MostAnomalous => {
            let ranked = highest_first(unlabelled().filter_map(|c| {
                let score = finite(c.anomaly)?;
                Some((score, item(c, format!("anomaly score {score:.2}"))))
            }));
            with_control(ranked, seed)
        }
        Strategy::MostUncertain => highest_first(unlabelled().filter_map(|c| {
            let (certainty, reason) = c.certainty()?;
            Some((-certainty, item(c, reason)))
        })),
        Strategy::Disagreements => highest_first(candidates.iter().filter_map(|c| {
            c.labelled?;
            let against = finite(c.disagreement).filter(|d| *d > 0.5)?;
            let reason = format!("the model gives {against:.2} to something else than the label");
            Some((against, item(c, reason)))
        })),
        Strategy::NeighboursOfDrift => highest_first(unlabelled().filter_map(|c| {
            let alike = finite(c.neighbour_similarity)?;
            let reason = format!("similarity {alike:.2} to an image labelled drift");
            Some((alike, item(c, reason)))
        })),
        Strategy::BlindRepeats => repeats(candidates, seed),
    };
    Queue::new(strategy, items)
}

fn item(candidate: &Candidate, reason: String) -> QueueItem {
    QueueItem {
        image: candidate.image,
        reason,
    }
}

fn highest_first(scored: impl Iterator<Item = (f32, QueueItem)>) -> Vec<QueueItem> {
    let mut scored: Vec<(f32, QueueItem)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, item)| item).collect()
}

/// Moves random later images to every [`CONTROL_EVERY`]th place. Without them a kind of drift that looks
/// more regular than the regular images would never be shown.
fn with_control(ranked: Vec<QueueItem>, seed: u64) -> Vec<QueueItem> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw: Vec<usize> = (0..ranked.len()).collect();
    draw.shuffle(&mut rng);
    let mut remaining: Vec<Option<QueueItem>> = ranked.into_iter().map(Some).collect();
    let mut top = 0;
    let mut items = Vec::with_capacity(remaining.len());
    while items.len() < remaining.len() {
        let control = (items.len() + 1).is_multiple_of(CONTROL_EVERY);
        let taken = if control {
            draw.pop()
        } else {
            top += 1;
            Some(top - 1)
        };
        let Some(mut next) = taken.and_then(|at| remaining.get_mut(at)?.take()) else {
            // Shown already, as one of the others.
            continue;
        };
        if control {
            next.reason = format!("control sample drawn at random; {}", next.reason);
        }
        items.push(next);
    }
    items
}

fn repeats(candidates: &[Candidate], seed: u64) -> Vec<QueueItem> {
    let labelled: Vec<&Candidate> = candidates.iter().filter(|c| c.labelled.is_some()).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    let wanted = (labelled.len() as f64 * REPEATED).ceil() as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pool = labelled;
    (0..wanted)
        .map(|_| {
            let drawn = pool.swap_remove(rng.random_range(0..pool.len()));
            item(drawn, "labelled before, shown again".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn candidate(image: usize) -> Candidate {
        Candidate::new(ImageId::from(image))
    }

    fn images(queue: &Queue) -> Vec<u32> {
        queue.items().iter().map(|i| i.image.0).collect()
    }

    #[test]
    fn uncertain_means_the_least_sure_of_two_questions() {
        let mut c = [candidate(0), candidate(1), candidate(2), candidate(3)];
        c[0].drift_probability = Some(0.9);
        c[1].drift_probability = Some(0.0);
        c[1].margin = Some(0.1);
        c[2].margin = Some(f32::NAN);
        c[3].drift_probability = Some(0.5);
        c[3].labelled = Some(Label::Regular);
        let queue = build(Strategy::MostUncertain, &c, 1);
        assert_eq!(images(&queue), [1, 0]);
        assert!(queue.items()[0].reason.contains("margin"));
    }

    #[test]
    fn disagreements_are_labelled_images_the_model_contradicts() {
        let mut c = [candidate(0), candidate(1), candidate(2), candidate(3)];
        for (c, d) in c.iter_mut().zip([0.4, 0.8, 0.9, 0.7]) {
            c.disagreement = Some(d);
            c.labelled = Some(Label::Regular);
        }
        c[3].labelled = None;
        assert_eq!(images(&build(Strategy::Disagreements, &c, 1)), [2, 1]);
    }

    #[test]
    fn repeats_are_a_few_labelled_images() {
        let mut c: Vec<Candidate> = (0..200).map(candidate).collect();
        for c in &mut c[..100] {
            c.labelled = Some(Label::Regular);
        }
        let queue = build(Strategy::BlindRepeats, &c, 5);
        assert_eq!(queue.len(), 3);
        assert!(images(&queue).iter().all(|i| *i < 100));
        assert_ne!(
            images(&queue),
            images(&build(Strategy::BlindRepeats, &c, 6))
        );
        assert!(build(Strategy::BlindRepeats, &c[100..], 5).is_empty());
    }

    #[test]
    fn what_has_no_scores_is_empty() {
        let c: Vec<Candidate> = (0..9).map(candidate).collect();
        for strategy in Strategy::ALL {
            let queue = build(strategy, &c, 1);
            assert_eq!(
                queue.is_empty(),
                strategy != Strategy::InOrder,
                "{strategy:?}"
            );
            assert!(!strategy.name().is_empty() && !strategy.explain().ends_with('.'));
        }
    }

    proptest! {
        #[test]
        fn anomalies_come_in_order_with_a_fifth_drawn_at_random(
            scores in prop::collection::vec(-5.0_f32..5.0, 0..80), seed in 0_u64..1000,
        ) {
            let c: Vec<Candidate> = scores
                .iter()
                .enumerate()
                .map(|(i, s)| Candidate { anomaly: Some(*s), ..candidate(i) })
                .collect();
            let queue = build(Strategy::MostAnomalous, &c, seed);
            let shown: BTreeSet<u32> = images(&queue).into_iter().collect();
            prop_assert_eq!(shown.len(), scores.len());
            prop_assert_eq!(queue.len(), scores.len());
            let ranked: Vec<f32> = queue
                .items()
                .iter()
                .filter(|i| !i.reason.starts_with("control"))
                .map(|i| scores[i.image.index()])
                .collect();
            prop_assert!(ranked.is_sorted_by(|a, b| a >= b));
            prop_assert_eq!(queue.len() - ranked.len(), scores.len() / CONTROL_EVERY);
            prop_assert_eq!(images(&queue), images(&build(Strategy::MostAnomalous, &c, seed)));
        }
    }
}
