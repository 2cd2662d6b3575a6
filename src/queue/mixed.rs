//! The default queue for labelling drift: a little of everything that finds it, each image with its reason.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::control::{control_order, due};

/// Every this many-th image is shown before: about 3 %.
const REPEAT_EVERY: usize = 33;
/// Probability from which the head is sure, and labelled drift images from which it is believed; the share of what
/// it is sure of, beside those in [`Known::parts`]. Settled on the made set that docs/BENCHMARKS.md tells of.
const SURE: f64 = 0.9;
const SURE_FROM: usize = 10;
const SURE_SHARE: f64 = 2.2;

/// A score of how far out each image lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlying<'a> {
    /// What it is called.
    pub name: &'static str,
    /// On any scale; higher is further out. Images are ordered by it.
    pub values: &'a [f64],
    /// The share of regular images that lie less far out, in `[0, 1]`: what the user is told.
    pub places: &'a [f64],
}

/// What is known of the images, one entry of each slice per image. A value that is no number keeps its image
/// out of the part of the queue that needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known<'a> {
    /// What each image is labelled: true for drift.
    pub labels: &'a [Option<bool>],
    /// Labelled images that were shown a second time already.
    pub repeated: &'a [usize],
    /// Near-duplicates: images of equal entries are one group. Empty where all images are different.
    pub groups: &'a [usize],
    /// One for each score of how far out an image lies.
    pub anomalies: &'a [Outlying<'a>],
    /// One slice for each score of how new an image is wherever it lies, on any scale, higher is newer.
    /// Without one, drift that looks *more* regular than the regular images is found by chance only.
    pub novelties: &'a [&'a [f64]],
    /// Images as unlike each other as can be, most telling first: for the first screen.
    pub diverse: &'a [usize],
    /// One slice for each head: probabilities of drift, in `[0, 1]`. The first head decides.
    pub heads: &'a [&'a [f64]],
    /// Cosine similarity to the nearest image labelled drift, in `[-1, 1]`.
    pub similarity: Option<&'a [f32]>,
}

/// Why an image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Reason {
    /// It lies far from the regular images.
    Anomalous {
        /// The score that says so.
        score: &'static str,
        /// Share of regular images that lie less far out.
        place: f64,
    },
    /// It stands among incoming images where regular training images are rare.
    New,
    /// It is unlike all images shown before.
    Diverse,
    /// The head takes it for drift.
    LikelyDrift {
        /// Probability of drift.
        probability: f64,
    },
    /// It resembles an image labelled drift.
    NeighbourOfDrift {
        /// Cosine similarity.
        similarity: f32,
    },
    /// The head can hardly decide.
    CloseCall {
        /// Probability of drift.
        probability: f64,
    },
    /// Two heads contradict each other.
    HeadsDisagree {
        /// Probability of drift by the head that decides.
        first: f64,
        /// By the other.
        second: f64,
    },
    /// Drawn at random.
    Control,
    /// An image like it to a pixel or so is labelled already.
    NearDuplicate,
    /// Labelled before.
    Repeat,
}

impl Reason {
    /// The words on screen.
    #[must_use]
    pub fn sentence(self) -> String {
        match self {
            Self::Anomalous { score, place } => {
                format!(
                    "{score}: further out than {:.1} % of the regular images",
                    100.0 * place
                )
            }
            Self::New => {
                "among incoming images that differ from the training images, however regular they look"
                    .to_owned()
            }
            Self::Diverse => "unlike the images shown before".to_owned(),
            Self::LikelyDrift { probability } => {
                format!("drift by the present head, probability {probability:.2}")
            }
            Self::NeighbourOfDrift { similarity } => {
                format!("similarity {similarity:.2} to an image labelled drift")
            }
            Self::CloseCall { probability } => {
                format!("a close call, drift probability {probability:.2}")
            }
            Self::HeadsDisagree { first, second } => {
                format!("one head says {first:.2}, the other {second:.2}")
            }
            Self::Control => {
                "control sample drawn at random, to tell how frequent drift is".to_owned()
            }
            Self::NearDuplicate => {
                "all others are labelled; so is a near-duplicate of this one".to_owned()
            }
            Self::Repeat => "labelled before, shown again".to_owned(),
        }
    }

    /// A word for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomalous { .. } => "anomalous",
            Self::New => "new",
            Self::Diverse => "diverse",
            Self::LikelyDrift { .. } => "likely drift",
            Self::NeighbourOfDrift { .. } => "neighbour of drift",
            Self::CloseCall { .. } => "close call",
            Self::HeadsDisagree { .. } => "heads disagree",
            Self::Control => "control",
            Self::NearDuplicate => "near-duplicate",
            Self::Repeat => "repeat",
        }
    }

    /// Whether label and prediction stay hidden: a repeat measures how repeatable the labelling is.
    #[must_use]
    pub fn is_blind(self) -> bool {
        matches!(self, Self::Repeat)
    }
}

/// Why a queue cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Values for another number of images.
    #[error(
        "{given} values of {what} for {images} images: the queue needs one for each; refit the scores"
    )]
    LengthMismatch {
        /// Which values, in words.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many labels there are.
        images: usize,
    },
    /// An image that is not there.
    #[error("image {image} of {images} is to be shown, which is not there; refit the scores")]
    NoSuchImage {
        /// Its position, counted from 0.
        image: usize,
        /// How many labels there are.
        images: usize,
    },
}

/// The next `count` images to label, each with the reason, in order; fewer where no more are unlabelled. No
/// image comes twice, and of a group of near-duplicates only one comes at a time; once one is labelled the
/// others wait until nothing else is left, but for the control sample, which must not choose.
///
/// A tenth is a [control sample](super::control_sample), a thirtieth was labelled before, the rest are dealt out in
/// fixed shares among the parts that have something to show: before there is a head, mostly what is anomalous or
/// new, then mostly what the head and its neighbours point to. Once ten drift images are labelled, what the head is
/// sure is drift has a share of its own, to be confirmed, so that the other labels go where they teach. `seed` draws
/// the random images; it must stay the same while a set is labelled, or else the control sample starts anew.
///
/// # Errors
/// [`QueueError`].
pub fn mixed(
    known: &Known<'_>,
    count: usize,
    seed: u64,
) -> Result<Vec<(usize, Reason)>, QueueError> {
    known.check()?;
    let images = known.labels.len();
    let labelled = known.labels.iter().flatten().count();
    let groups = Groups::of(known);
    let mut shown: Vec<bool> = known.labels.iter().map(Option::is_some).collect();
    // Those that would say what a label has said already.
    let mut redundant = shown.clone();
    for image in (0..images).filter(|image| shown[*image]) {
        groups.mark(image, &mut redundant);
    }
    let sure = known.sure();
    let mut parts = known.parts(count, &redundant, &sure);
    // As if the images labelled so far had been dealt out too: a queue that is built anew after every label
    // would else show its largest part only.
    let mut turns = Turns::new(&parts);
    for _ in 0..labelled {
        turns.next(|_| true);
    }
    let control = control_order(images, seed);
    let mut repeats = known.repeats(seed);
    let mut items: Vec<(usize, Reason)> = Vec::new();
    let mut fresh = labelled;
    let before = labelled + known.repeated.len();
    while items.len() < count {
        if (before + items.len() + 1).is_multiple_of(REPEAT_EVERY)
            && let Some(image) = repeats.pop()
        {
            items.push((image, Reason::Repeat));
            continue;
        }
        let after_control = items.last().is_some_and(|(_, r)| *r == Reason::Control);
        let wanted = if after_control { 0 } else { due(fresh + 1) };
        let is_new = |image: &&usize| !shown[**image];
        let missing = control[..wanted.min(images)].iter().find(is_new);
        let next = match missing {
            Some(image) => Some((*image, Reason::Control)),
            None => turns
                .next_shown(&mut parts, &redundant)
                // Nothing else is known of the rest.
                .or_else(|| {
                    let other = control.iter().find(|image| !redundant[**image]);
                    Some((*other?, Reason::Control))
                })
                .or_else(|| Some((*control.iter().find(is_new)?, Reason::NearDuplicate))),
        };
        let Some((image, reason)) = next else { break };
        groups.mark(image, &mut shown);
        groups.mark(image, &mut redundant);
        fresh += 1;
        items.push((image, reason));
    }
    Ok(items)
}

/// The images of each group.
struct Groups<'a> {
    of: &'a [usize],
    members: HashMap<usize, Vec<usize>>,
}

impl<'a> Groups<'a> {
    fn of(known: &Known<'a>) -> Self {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for (image, group) in known.groups.iter().enumerate() {
            members.entry(*group).or_default().push(image);
        }
        Self {
            of: known.groups,
            members,
        }
    }

    /// Sets the marks of `image` and its near-duplicates.
    fn mark(&self, image: usize, marks: &mut [bool]) {
        marks[image] = true;
        if let Some(group) = self.of.get(image) {
            for other in &self.members[group] {
                marks[*other] = true;
            }
        }
    }
}

/// One part of the queue: its share, and its images from last to first.
struct Part {
    share: f64,
    images: Vec<(usize, Reason)>,
}

/// Whose turn it is.
struct Turns {
    shares: Vec<f64>,
    taken: Vec<f64>,
}

impl Turns {
    fn new(parts: &[Part]) -> Self {
        Self {
            shares: parts.iter().map(|part| part.share).collect(),
            taken: vec![0.0; parts.len()],
        }
    }

    /// The part that is furthest behind its share, of those that still have something.
    fn next(&mut self, has_some: impl Fn(usize) -> bool) -> Option<usize> {
        let behind = |part: &usize| (self.taken[*part] + 1.0) / self.shares[*part];
        let next = (0..self.shares.len())
            .filter(|part| has_some(*part))
            .min_by(|a, b| behind(a).total_cmp(&behind(b)))?;
        self.taken[next] += 1.0;
        Some(next)
    }

    /// The next image that is not shown yet.
    fn next_shown(&mut self, parts: &mut [Part], shown: &[bool]) -> Option<(usize, Reason)> {
        for part in parts.iter_mut() {
            while part.images.last().is_some_and(|(image, _)| shown[*image]) {
                part.images.pop();
            }
        }
        let part = self.next(|part| !parts[part].images.is_empty())?;
        parts[part].images.pop()
    }
}

impl Known<'_> {
    /// The images without a label that the head is sure are drift, the surest first: to confirm them teaches it
    /// least, and finds most. None while few are labelled, for then it is easily sure and wrong.
    fn sure(&self) -> Vec<usize> {
        let drift = self.labels.iter().filter(|label| **label == Some(true));
        let Some(head) = self.heads.first().filter(|_| drift.count() >= SURE_FROM) else {
            return Vec::new();
        };
        let unlabelled = (0..self.labels.len()).filter(|image| self.labels[*image].is_none());
        let mut sure: Vec<usize> = unlabelled.filter(|image| head[*image] >= SURE).collect();
        sure.sort_by(|a, b| head[*b].total_cmp(&head[*a]).then(a.cmp(b)));
        sure
    }

    fn check(&self) -> Result<(), QueueError> {
        let images = self.labels.len();
        let lengths = |what, slices: &[&[f64]]| {
            let odd = slices.iter().find(|slice| slice.len() != images);
            odd.map(|slice| (what, slice.len()))
        };
        let similarity = self.similarity.filter(|s| s.len() != images);
        let groups = Some(self.groups).filter(|g| !g.is_empty() && g.len() != images);
        let outlying = self.anomalies.iter().flat_map(|s| [s.values, s.places]);
        let odd = lengths("an anomaly score", &outlying.collect::<Vec<_>>())
            .or_else(|| lengths("a novelty score", self.novelties))
            .or_else(|| lengths("the drift probability", self.heads))
            .or(similarity.map(|s| ("the similarity to drift", s.len())))
            .or(groups.map(|g| ("the group", g.len())));
        if let Some((what, given)) = odd {
            return Err(QueueError::LengthMismatch {
                what,
                given,
                images,
            });
        }
        let named = self.diverse.iter().chain(self.repeated);
        match named.copied().find(|image| *image >= images) {
            Some(image) => Err(QueueError::NoSuchImage { image, images }),
            None => Ok(()),
        }
    }

    /// The parts that have something to show, `most` images each. Shares as measured on held-out classes of
    /// surface photographs and on a made set: what finds the first drift images before there is a head, what finds
    /// the rest after. `redundant` images are left out; the `sure` ones come in a part of their own.
    fn parts(&self, most: usize, redundant: &[bool], sure: &[usize]) -> Vec<Part> {
        let head = self.heads.first();
        let mut elsewhere = redundant.to_vec();
        for image in sure {
            elsewhere[*image] = true;
        }
        let top = |score: &dyn Fn(usize) -> f64| top(most, &elsewhere, score);
        let mut parts = Vec::new();
        let mut add = |share: f64, images: Vec<(usize, Reason)>| {
            if !images.is_empty() {
                parts.push(Part { share, images });
            }
        };
        let (anomalous, new) = if head.is_some() {
            (0.5, 0.1)
        } else {
            (4.0, 6.0)
        };
        let lists: Vec<Vec<(usize, Reason)>> = self
            .anomalies
            .iter()
            .map(|scores| {
                // What scores lowest is not odd: most images do where a score only tells of a few, such as those of
                // another size.
                let lowest = scores.values.iter().copied().fold(f64::INFINITY, f64::min);
                let mut top = top(&|image| scores.values[image]);
                top.retain(|image| scores.values[*image] > lowest);
                with_reason(top, |image| Reason::Anomalous {
                    score: scores.name,
                    place: scores.places[image],
                })
            })
            .filter(|list| !list.is_empty())
            .collect();
        add(anomalous, in_turn(&lists));
        for scores in self.novelties {
            let share = new / self.novelties.len() as f64;
            let top = top(&|image| scores[image]);
            add(share, with_reason(top, |_| Reason::New));
        }
        if let Some(similarity) = self.similarity {
            let top = top(&|image| f64::from(similarity[image]));
            let reason = |image: usize| Reason::NeighbourOfDrift {
                similarity: similarity[image],
            };
            add(0.1, with_reason(top, reason));
        }
        let Some(head) = head else {
            let diverse = self.diverse.iter().rev().copied();
            let new = diverse.filter(|image| !redundant[*image]);
            add(1.0, with_reason(new.collect(), |_| Reason::Diverse));
            return parts;
        };
        let most_likely = top(&|image| head[image]);
        let likely = |image: usize| Reason::LikelyDrift {
            probability: head[image],
        };
        add(3.0, with_reason(most_likely, likely));
        let surest_last = sure.iter().rev().copied();
        let new = surest_last.filter(|image| !redundant[*image]);
        add(SURE_SHARE, with_reason(new.collect(), likely));
        let closest = top(&|image| -(head[image] - 0.5).abs());
        let close = |image: usize| Reason::CloseCall {
            probability: head[image],
        };
        add(1.5, with_reason(closest, close));
        if let Some(other) = self.heads.get(1) {
            let top = top(&|image| (head[image] - other[image]).abs());
            let disagree = |image: usize| Reason::HeadsDisagree {
                first: head[image],
                second: other[image],
            };
            add(0.5, with_reason(top, disagree));
        }
        parts
    }

    /// The labelled images that were shown once, in an order that changes with their number.
    fn repeats(&self, seed: u64) -> Vec<usize> {
        let mut shown_once: Vec<bool> = self.labels.iter().map(Option::is_some).collect();
        for image in self.repeated {
            shown_once[*image] = false;
        }
        let mut labelled: Vec<usize> = (0..shown_once.len())
            .filter(|image| shown_once[*image])
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1 + labelled.len() as u64);
        labelled.shuffle(&mut rng);
        labelled
    }
}

/// The `most` images with the highest scores, the highest last, but for the `redundant` ones. Of equals the
/// first in the order of the images.
fn top(most: usize, redundant: &[bool], score: &dyn Fn(usize) -> f64) -> Vec<usize> {
    let mut ranked: Vec<(f64, usize)> = (0..redundant.len())
        .filter(|image| !redundant[*image])
        .map(|image| (score(image), image))
        .filter(|(score, _)| score.is_finite())
        .collect();
    let highest_first =
        |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if most < ranked.len() {
        ranked.select_nth_unstable_by(most, highest_first);
        ranked.truncate(most);
    }
    ranked.sort_by(|a, b| highest_first(b, a));
    ranked.into_iter().map(|(_, image)| image).collect()
}

/// The lists, each with its best last, as one: the best of each in turn, then the second best, and so on. One part for
/// them all, since parts of their own with a small share each would all wait long and then come together.
fn in_turn(lists: &[Vec<(usize, Reason)>]) -> Vec<(usize, Reason)> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let place = |rank: usize| {
        let at = move |list: &Vec<(usize, Reason)>| list.len().checked_sub(rank + 1);
        lists.iter().filter_map(move |list| Some(list[at(list)?]))
    };
    let mut dealt: Vec<(usize, Reason)> = (0..longest).flat_map(place).collect();
    dealt.reverse();
    dealt
}

fn with_reason(images: Vec<usize>, reason: impl Fn(usize) -> Reason) -> Vec<(usize, Reason)> {
    images
        .into_iter()
        .map(|image| (image, reason(image)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const NOTHING: Known<'static> = Known {
        labels: &[],
        repeated: &[],
        groups: &[],
        anomalies: &[],
        novelties: &[],
        diverse: &[],
        heads: &[],
        similarity: None,
    };

    fn outlying(places: &[f64]) -> Outlying<'_> {
        Outlying {
            name: "a score",
            values: places,
            places,
        }
    }

    fn ramp(n: usize, step: usize) -> Vec<f64> {
        (0..n).map(|i| (i * step % n) as f64 / n as f64).collect()
    }

    fn count(items: &[(usize, Reason)], wanted: impl Fn(Reason) -> bool) -> usize {
        items.iter().filter(|(_, reason)| wanted(*reason)).count()
    }

    #[test]
    fn a_score_that_tells_of_a_few_images_shows_those_and_no_others() {
        let far = ramp(100, 37);
        let mut size = vec![0.0; 100];
        let queue = |anomalies: &[Outlying<'_>]| {
            let known = Known {
                labels: &[None; 100],
                anomalies,
                ..NOTHING
            };
            mixed(&known, 30, 1).expect("as many values as images")
        };
        assert_eq!(
            queue(&[outlying(&far), outlying(&size)]),
            queue(&[outlying(&far)])
        );
        size[42] = 1.0;
        let shown = queue(&[outlying(&far), outlying(&size)]);
        let odd = |(image, reason): &(usize, Reason)| {
            matches!(reason, Reason::Anomalous { .. }) && far[*image] < 0.6
        };
        let by_size: Vec<usize> = shown
            .iter()
            .filter(|i| odd(i))
            .map(|(image, _)| *image)
            .collect();
        assert_eq!(by_size, [42], "{shown:?}");
        // A gate that says nothing of any other image.
        let mut gate = vec![f64::NEG_INFINITY; 100];
        gate[42] = -3.0;
        let places = vec![0.5; 100];
        let gate = Outlying {
            name: "a gate",
            values: &gate,
            places: &places,
        };
        let shown = queue(&[outlying(&far), gate]);
        let told = |(image, reason): &(usize, Reason)| match reason {
            Reason::Anomalous { score, .. } => (*score == "a gate").then_some(*image),
            _ => None,
        };
        assert_eq!(shown.iter().find_map(told), Some(42), "{shown:?}");
    }

    #[test]
    fn many_scores_do_not_keep_each_other_waiting() {
        // Steps that have no divisor in common with 400: each score has one highest image.
        let steps = [7, 9, 11, 13, 17, 19, 21, 23, 27, 29, 31, 33, 37, 39];
        let far: Vec<Vec<f64>> = steps.iter().map(|step| ramp(400, *step)).collect();
        let (scores, new) = (
            far.iter().map(|f| outlying(f)).collect::<Vec<_>>(),
            ramp(400, 3),
        );
        let known = Known {
            labels: &[None; 400],
            anomalies: &scores,
            novelties: &[&new],
            ..NOTHING
        };
        let anomalous = |reason| matches!(reason, Reason::Anomalous { .. });
        let shown = mixed(&known, 11, 1).expect("as many values as images");
        let of_first = count(&shown, anomalous);
        assert!((3..=5).contains(&of_first), "{shown:?}");
        // Each score has its turn.
        let shown = mixed(&known, 44, 1).expect("as many values as images");
        for far in &far {
            let best = far.iter().position(|f| *f == 399.0 / 400.0);
            assert!(shown.iter().any(|(i, _)| Some(*i) == best), "{shown:?}");
        }
    }

    #[test]
    fn the_first_screen_has_something_of_everything() {
        let (labels, far, new) = (vec![None; 400], ramp(400, 7), ramp(400, 11));
        let known = Known {
            labels: &labels,
            anomalies: &[outlying(&far)],
            novelties: &[&new, &far],
            diverse: &[300, 2, 100, 7],
            ..NOTHING
        };
        let items = mixed(&known, 20, 1).expect("as many values as images");
        assert_eq!(items.len(), 20);
        let far = count(&items, |r| matches!(r, Reason::Anomalous { .. }));
        let new = count(&items, |r| r == Reason::New);
        let control = count(&items, |r| r == Reason::Control);
        let diverse: Vec<usize> = items
            .iter()
            .filter(|(_, r)| *r == Reason::Diverse)
            .map(|(image, _)| *image)
            .collect();
        assert!(
            (6..=8).contains(&far) && (9..=10).contains(&new),
            "{far} {new}"
        );
        assert_eq!((control, diverse[0]), (2, 300));
    }

    #[test]
    fn drift_that_looks_regular_is_shown_for_its_novelty() {
        // Image 9 is the least anomalous of all and the newest.
        let (labels, far) = (vec![None; 100], ramp(100, 1));
        let new: Vec<f64> = far.iter().map(|v| -(v - 0.09).abs()).collect();
        let known = Known {
            labels: &labels,
            anomalies: &[outlying(&far)],
            novelties: &[&new],
            ..NOTHING
        };
        let items = mixed(&known, 5, 1).expect("as many values as images");
        assert!(items.contains(&(9, Reason::New)), "{items:?}");
    }

    #[test]
    fn a_head_takes_over() {
        let mut labels = vec![None; 300];
        labels[5] = Some(true);
        labels[6] = Some(false);
        let (p, other, far) = (ramp(300, 7), ramp(300, 13), ramp(300, 17));
        let alike: Vec<f32> = (0..300).map(|i| i as f32 / 300.0).collect();
        let known = Known {
            labels: &labels,
            repeated: &[],
            groups: &[],
            anomalies: &[outlying(&far)],
            novelties: &[&far],
            heads: &[&p, &other],
            diverse: &[1],
            similarity: Some(&alike),
        };
        let items = mixed(&known, 150, 1).expect("as many values as images");
        for (wanted, least) in [
            (Reason::LikelyDrift { probability: 0.0 }, 30),
            (Reason::CloseCall { probability: 0.0 }, 8),
            (Reason::NeighbourOfDrift { similarity: 0.0 }, 1),
            (
                Reason::HeadsDisagree {
                    first: 0.0,
                    second: 0.0,
                },
                2,
            ),
            (
                Reason::Anomalous {
                    score: "a score",
                    place: 0.0,
                },
                4,
            ),
            (Reason::New, 1),
            (Reason::Control, 10),
            (Reason::Repeat, 2),
        ] {
            let kind = std::mem::discriminant(&wanted);
            let found = count(&items, |r| std::mem::discriminant(&r) == kind);
            assert!(found >= least, "{wanted:?}: {found}");
        }
        assert_eq!(count(&items, |r| r == Reason::Diverse), 0);
    }

    #[test]
    fn a_queue_of_one_built_after_every_label_shows_every_part() {
        let mut labels = vec![None; 200];
        let (far, new) = (ramp(200, 7), ramp(200, 11));
        let (mut seen, mut repeated) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            let known = Known {
                labels: &labels,
                repeated: &repeated,
                anomalies: &[outlying(&far)],
                novelties: &[&new],
                diverse: &[1, 2, 3, 4, 5, 6, 7],
                ..NOTHING
            };
            let next = mixed(&known, 1, 1).expect("as many values as images")[0];
            seen.push(next);
            labels[next.0] = Some(false);
            if next.1.is_blind() {
                repeated.push(next.0);
            }
        }
        assert!(count(&seen, |r| r == Reason::New) > 12);
        assert!(count(&seen, |r| matches!(r, Reason::Anomalous { .. })) > 8);
        assert!(count(&seen, |r| r == Reason::Diverse) >= 2);
        assert!(count(&seen, |r| r == Reason::Control) >= 3);
        assert_eq!(count(&seen, Reason::is_blind), 1);
    }

    #[test]
    fn of_near_duplicates_one_is_shown_and_the_others_wait_for_the_end() {
        // Images 90 to 99 are one picture, and the most likely drift.
        let groups: Vec<usize> = (0..100).map(|i| if i < 90 { i } else { 90 }).collect();
        let mut labels = vec![None; 100];
        labels[0] = Some(true);
        labels[1] = Some(false);
        let p = ramp(100, 1);
        let of_group = |items: &[(usize, Reason)]| -> Vec<(usize, Reason)> {
            let items = items.iter().filter(|(image, _)| *image >= 90);
            items.copied().collect()
        };
        let deal = |labels: &[Option<bool>]| {
            let known = Known {
                labels,
                groups: &groups,
                heads: &[&p],
                ..NOTHING
            };
            mixed(&known, 200, 1).expect("as many values as images")
        };
        let items = deal(&labels);
        assert_eq!(count(&items, |r| !r.is_blind()), 89);
        assert_eq!(of_group(&items).len(), 1, "{items:?}");
        // One is labelled: none of the others comes soon but as part of the control sample.
        labels[99] = Some(true);
        let items = deal(&labels);
        assert_eq!(of_group(&items).len(), 1);
        let (last, reason) = of_group(&items)[0];
        let at = items.iter().position(|(image, _)| *image == last);
        let end = items.len() - 1;
        assert!(reason == Reason::Control || (reason == Reason::NearDuplicate && at == Some(end)));
        // Nothing else is left: they come one by one.
        labels[..90].fill(Some(false));
        let items = deal(&labels);
        assert_eq!(count(&items, |r| !r.is_blind()), 1);
        assert_eq!(of_group(&items).len(), 1);
    }

    #[test]
    fn what_the_head_is_sure_of_has_its_own_share_once_ten_drift_images_are_labelled() {
        // Images 40 to 59 are sure, the others from 0.00 to 0.39.
        let p: Vec<f64> = (0..60)
            .map(|i| {
                if i < 40 {
                    f64::from(i) / 100.0
                } else {
                    0.9 + f64::from(i - 40) / 1000.0
                }
            })
            .collect();
        let deal = |drift: usize| {
            let mut labels = vec![None; 60];
            labels[0] = Some(false);
            labels[1..=drift].fill(Some(true));
            let known = Known {
                labels: &labels,
                heads: &[&p],
                ..NOTHING
            };
            let items = mixed(&known, 200, 1).expect("as many values as images");
            let chosen =
                |(_, reason): &(usize, Reason)| *reason != Reason::Control && !reason.is_blind();
            items.into_iter().filter(chosen).collect::<Vec<_>>()
        };
        let few = deal(SURE_FROM - 1);
        assert!(few[..3].iter().any(|(image, _)| *image == 59), "{few:?}");
        let enough = deal(SURE_FROM);
        let sure: Vec<_> = enough.iter().filter(|(image, _)| *image >= 40).collect();
        // The likeliest and the close calls have 4.5 parts beside theirs.
        let early = enough[..21].iter().filter(|(image, _)| *image >= 40);
        let share = 21.0 * SURE_SHARE / (SURE_SHARE + 4.5);
        let away = (early.count() as f64 - share).abs();
        assert!(away < 1.0, "{away} from {share}: {enough:?}");
        assert!(
            sure.iter()
                .all(|(_, reason)| matches!(reason, Reason::LikelyDrift { .. }))
        );
        assert!(sure.is_sorted_by(|a, b| a.0 > b.0), "the surest first");
        // Those of the control sample stay in it.
        let images: BTreeSet<usize> = enough.iter().map(|(image, _)| *image).collect();
        assert_eq!(images.len(), enough.len());
    }

    #[test]
    fn values_of_other_images_are_refused() {
        let labels = [None; 3];
        let known = Known {
            labels: &labels,
            heads: &[&[0.5; 2]],
            ..NOTHING
        };
        let refused = mixed(&known, 1, 1).expect_err("too few").to_string();
        assert!(refused.starts_with("2 values of the drift probability for 3 images"));
        let known = Known {
            labels: &labels,
            diverse: &[3],
            ..NOTHING
        };
        assert!(mixed(&known, 1, 1).is_err());
    }

    #[test]
    fn with_nothing_known_the_order_is_random_and_complete() {
        let labels = [None; 50];
        let known = Known {
            labels: &labels,
            ..NOTHING
        };
        let items = mixed(&known, 80, 4).expect("nothing to refuse");
        let images: Vec<usize> = items.iter().map(|(image, _)| *image).collect();
        assert_eq!(images, control_order(50, 4));
        assert!(mixed(&NOTHING, 5, 1).expect("nothing to refuse").is_empty());
    }

    proptest! {
        #[test]
        fn no_image_comes_twice_and_the_seed_decides(
            images in prop::collection::vec((prop::option::of(prop::bool::ANY), -1.0..2.0_f64), 0..120),
            wanted in 0_usize..150, head in prop::bool::ANY, alike in 1_usize..5, seed in 0_u64..99,
        ) {
            let labels: Vec<Option<bool>> = images.iter().map(|(label, _)| *label).collect();
            // Some are no numbers.
            let scores: Vec<f64> = images.iter().map(|(_, s)| if *s < 1.5 { *s } else { f64::NAN }).collect();
            let heads: &[&[f64]] = if head { &[&scores] } else { &[] };
            let groups: Vec<usize> = (0..labels.len()).map(|image| image / alike).collect();
            let known = Known {
                labels: &labels,
                groups: if alike > 1 { &groups } else { &[] },
                anomalies: &[outlying(&scores)],
                novelties: &[&scores],
                heads,
                ..NOTHING
            };
            let items = mixed(&known, wanted, seed).expect("as many values as images");
            let distinct: BTreeSet<usize> = items.iter().map(|(image, _)| *image).collect();
            prop_assert_eq!(distinct.len(), items.len());
            for (image, reason) in &items {
                prop_assert_eq!(labels[*image].is_some(), reason.is_blind());
                prop_assert!(!reason.sentence().contains("NaN"));
            }
            let unlabelled = (0..labels.len()).filter(|image| labels[*image].is_none());
            let unlabelled = unlabelled.map(|image| groups[image]).collect::<BTreeSet<_>>().len();
            let fresh = count(&items, |r| !r.is_blind());
            prop_assert!(items.len() == wanted || fresh == unlabelled);
            prop_assert_eq!(&items, &mixed(&known, wanted, seed).expect("the same"));
        }
    }
}
