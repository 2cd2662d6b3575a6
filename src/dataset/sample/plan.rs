//! Which pictures a made data set holds: classes in the real proportions, dies, windows, sizes, drift,
//! mistaken labels.

use super::dice::Dice;
use super::drift::DriftKind;
use super::layout::{Die, Window};
use super::scene::{Shows, Subject};
use crate::domain::{ClassId, ClassSet};

/// Images of each class in the challenge's training set, in the order of the class integers.
const CLASS_COUNTS: [usize; 6] = [1235, 71, 270, 104, 6472, 126];
/// Images of the challenge's test set by die and window (2003, 2005).
const TEST_CELLS: [[usize; 2]; 4] = [[149, 151], [134, 127], [135, 134], [107, 118]];
/// Of a thousand test images, how many are drift (the real set is thought to hold 95 to 150 in 1,055).
const DRIFT_PER_MILLE: usize = 112;
/// The rare large frames: of ten thousand images, how many have which width.
const LARGE_FRAMES: [(u32, usize); 3] = [(990, 60), (1170, 50), (1260, 40)];

/// One picture to be made.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// File name: 64 hexadecimal digits and `.png`.
    pub filename: String,
    pub subject: Subject,
    /// What it truly is; drift where the subject is odd.
    pub truth: ClassId,
    /// What the training table says; now and then a mistake.
    pub label: ClassId,
    /// The stream of chance that draws it.
    pub stream: u64,
}

/// Streams of chance used for planning; pictures use their own.
const PLAN_STREAM: u64 = 1 << 62;
const TEST_STREAM: u64 = 1 << 32;

/// Plans the training images.
pub(super) fn train(count: usize, seed: u64) -> Vec<Planned> {
    let mut dice = Dice::new(seed, PLAN_STREAM);
    // The training set holds 53 % small base frames (Die01, Die04), the test set 49.8 %.
    let mut cells = TEST_CELLS;
    for (die, windows) in Die::ALL.iter().zip(&mut cells) {
        let factor = if die.is_double() { 47 * 525 } else { 53 * 530 };
        *windows = windows.map(|n| n * factor);
    }
    // Ten of each class (a tenth of small sets); a larger set keeps up to forty, so that a fifth of
    // them says more about a network than three images do. The full size needs no help.
    let floor = (count / 10).min(10).max((count / 50).min(40));
    let shows = classes(count, floor, &mut dice);
    let mut planned = arrange(&shows, &cells, &mut dice, seed, 0);
    for image in &mut planned {
        image.label = mistaken(image.subject.shows, &mut dice);
    }
    planned
}

/// Plans the test images, drift among them.
pub(super) fn test(count: usize, seed: u64) -> Vec<Planned> {
    let mut dice = Dice::new(seed, PLAN_STREAM + 1);
    // A small set keeps a dozen, as far as a third of it allows, to have something to find.
    let drift = ((count * DRIFT_PER_MILLE + 500) / 1000).max((count / 3).min(12));
    let mut shows = classes(count - drift, (count / 30).min(4), &mut dice);
    // Most odd pictures are of parts that would be GOOD or Missing.
    shows.extend((0..drift).map(|_| match dice.index(20) {
        0..12 => Shows::Good,
        12..18 => Shows::Missing,
        18 => Shows::WhiteLiftOff,
        _ => Shows::ShortCircuit,
    }));
    let mut planned = arrange(&shows, &TEST_CELLS, &mut dice, seed, TEST_STREAM);
    for (index, image) in planned.iter_mut().skip(count - drift).enumerate() {
        let kind = DriftKind::ALL[index % DriftKind::ALL.len()];
        image.subject.drift = Some(kind);
        if kind == DriftKind::TornRibbon || kind == DriftKind::DoubleExposure {
            // A bare track has no ribbon to tear and shows no second exposure.
            image.subject.shows = Shows::Good;
        }
        image.truth = ClassSet::challenge().drift();
        image.label = image.truth;
    }
    dice.shuffle(&mut planned);
    planned
}

/// `count` classes in the real proportions, at least `floor` of each, in random order.
fn classes(count: usize, floor: usize, dice: &mut Dice) -> Vec<Shows> {
    let counts = apportion(count, &CLASS_COUNTS, floor);
    let mut shows: Vec<Shows> = Shows::ALL
        .iter()
        .zip(counts)
        .flat_map(|(shows, n)| std::iter::repeat_n(*shows, n))
        .collect();
    dice.shuffle(&mut shows);
    shows
}

/// Gives each class its die, window, size and name.
fn arrange(
    shows: &[Shows],
    cells: &[[usize; 2]; 4],
    dice: &mut Dice,
    seed: u64,
    first_stream: u64,
) -> Vec<Planned> {
    let weights: Vec<usize> = cells.iter().flatten().copied().collect();
    let places = Die::ALL
        .iter()
        .flat_map(|die| Window::ALL.map(|window| (*die, window)));
    let mut slots: Vec<(Die, Window)> = places
        .zip(apportion(shows.len(), &weights, 0))
        .flat_map(|(place, n)| std::iter::repeat_n(place, n))
        .collect();
    dice.shuffle(&mut slots);
    concentrate_flat_loops(shows, &mut slots, dice);
    shows
        .iter()
        .zip(slots)
        .zip(first_stream..)
        .map(|((&shows, (die, window)), stream)| {
            let truth = ClassId::from(shows as usize);
            Planned {
                filename: file_name(seed, stream),
                subject: Subject {
                    die,
                    window,
                    shows,
                    drift: None,
                    size: size(die, dice),
                },
                truth,
                label: truth,
                stream,
            }
        })
        .collect()
}

/// Flat loops come mostly from the dies with one track: two in three of the others change places with
/// a Missing there.
fn concentrate_flat_loops(shows: &[Shows], slots: &mut [(Die, Window)], dice: &mut Dice) {
    let mut partners = (0..shows.len())
        .filter(|&i| shows[i] == Shows::Missing)
        .collect::<Vec<_>>();
    partners.retain(|&i| !slots[i].0.is_double());
    for index in 0..shows.len() {
        if shows[index] == Shows::FlatLoop
            && slots[index].0.is_double()
            && dice.index(3) > 0
            && let Some(partner) = partners.pop()
        {
            slots.swap(index, partner);
        }
    }
}

/// The die's base size, or now and then a larger frame of the same shape.
fn size(die: Die, dice: &mut Dice) -> (u32, u32) {
    let (width, height) = die.base_size();
    let mut roll = dice.index(10_000);
    for (large, share) in LARGE_FRAMES {
        if roll < share {
            return (large, large * height / width);
        }
        roll -= share;
    }
    (width, height)
}

/// The label in the training table: a few lift-offs pass as GOOD, fewer GOODs as lift-offs.
fn mistaken(shows: Shows, dice: &mut Dice) -> ClassId {
    let roll = dice.index(1000);
    let label = match shows {
        Shows::WhiteLiftOff | Shows::BlackLiftOff if roll < 40 => Shows::Good,
        Shows::Good if roll < 4 => Shows::WhiteLiftOff,
        Shows::Good if roll < 6 => Shows::BlackLiftOff,
        _ => shows,
    };
    ClassId::from(label as usize)
}

fn file_name(seed: u64, stream: u64) -> String {
    let mut key = [0_u8; 16];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..].copy_from_slice(&stream.to_le_bytes());
    format!("{}.png", blake3::hash(&key).to_hex())
}

/// Shares `total` out in proportion to `weights` by largest remainders, then brings every share to at
/// least `floor` at the cost of the largest, as far as that has enough.
fn apportion(total: usize, weights: &[usize], floor: usize) -> Vec<usize> {
    let sum: usize = weights.iter().sum::<usize>().max(1);
    let mut shares: Vec<usize> = weights.iter().map(|w| total * w / sum).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&i| (std::cmp::Reverse(total * weights[i] % sum), i));
    let rest = total - shares.iter().sum::<usize>();
    for &i in by_remainder.iter().take(rest) {
        shares[i] += 1;
    }
    for i in 0..shares.len() {
        let largest = (0..shares.len()).max_by_key(|&j| shares[j]).unwrap_or(i);
        let wanted = floor.saturating_sub(shares[i]);
        let taken = wanted.min(shares[largest].saturating_sub(floor));
        if largest != i {
            shares[largest] -= taken;
            shares[i] += taken;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(images: &[Planned], shows: Shows) -> usize {
        images.iter().filter(|i| i.subject.shows == shows).count()
    }

    #[test]
    fn the_full_size_has_the_real_counts() {
        let train = train(8278, 0);
        for (shows, expected) in Shows::ALL.into_iter().zip(CLASS_COUNTS) {
            assert_eq!(count(&train, shows), expected, "{shows:?}");
        }
        let small = train.iter().filter(|i| !i.subject.die.is_double()).count();
        assert_eq!((small as f64 / 82.78).round() as usize, 53);
    }

    #[test]
    fn the_full_size_test_set_has_the_real_dies_and_windows() {
        let test = test(1055, 0);
        for (die, windows) in Die::ALL.into_iter().zip(TEST_CELLS) {
            for (window, expected) in Window::ALL.into_iter().zip(windows) {
                let found = test
                    .iter()
                    .filter(|i| i.subject.die == die && i.subject.window == window)
                    .count();
                assert_eq!(found, expected, "{die:?} {window:?}");
            }
        }
        let drift = test.iter().filter(|i| i.subject.drift.is_some()).count();
        assert!((95..=150).contains(&drift), "{drift} drift images");
    }

    #[test]
    fn small_sets_keep_some_of_every_class() {
        let train = train(100, 3);
        for shows in Shows::ALL {
            assert!(count(&train, shows) >= 10, "{shows:?}");
        }
        assert!(train.iter().all(|i| i.subject.drift.is_none()));
        let train = self::train(2000, 7);
        for shows in Shows::ALL {
            assert!(count(&train, shows) >= 40, "{shows:?}");
        }
    }

    #[test]
    fn small_sets_keep_a_dozen_drift_images() {
        let drift = |n| {
            test(n, 1)
                .iter()
                .filter(|i| i.subject.drift.is_some())
                .count()
        };
        assert_eq!([12, 36, 44, 100].map(drift), [4, 12, 12, 12]);
    }

    #[test]
    fn a_few_labels_are_mistaken_and_only_between_good_and_lift_offs() {
        let train = train(8278, 0);
        let wrong: Vec<_> = train.iter().filter(|i| i.label != i.truth).collect();
        assert!((10..60).contains(&wrong.len()), "{} mistakes", wrong.len());
        assert!(wrong.iter().all(|i| matches!(
            i.subject.shows,
            Shows::Good | Shows::WhiteLiftOff | Shows::BlackLiftOff
        )));
    }

    #[test]
    fn shares_add_up_for_any_total() {
        for total in 0..400 {
            for floor in [0, 1, 10] {
                let shares = apportion(total, &CLASS_COUNTS, floor);
                assert_eq!(shares.iter().sum::<usize>(), total);
                if total >= 60 {
                    assert!(shares.iter().all(|s| *s >= floor), "{total} {shares:?}");
                }
            }
        }
    }
}
