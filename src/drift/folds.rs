//! Which regular images are held out together.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::DriftError;

/// A fold for each of some images; those of a group share one, so that near-duplicates never vouch for each
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    count: usize,
    fold_of: Vec<usize>,
}

impl Folds {
    /// Deals the groups (one per image) into `count` folds of about as many images each, as `seed` says. No
    /// more folds than groups, and at least two.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for no image, [`DriftError::OneGroup`].
    pub fn by_group(groups: &[usize], count: usize, seed: u64) -> Result<Self, DriftError> {
        let mut rows: Vec<usize> = (0..groups.len()).collect();
        rows.sort_by_key(|row| groups[*row]);
        let mut members: Vec<&[usize]> = rows.chunk_by(|a, b| groups[*a] == groups[*b]).collect();
        match members.len() {
            0 => return Err(DriftError::NoEmbeddings),
            1 => return Err(DriftError::OneGroup),
            _ => {}
        }
        let count = count.clamp(2, members.len());
        members.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        // The largest first, each to the fold with the fewest images: what is left over is small.
        members.sort_by_key(|group| std::cmp::Reverse(group.len()));
        let mut sizes = vec![0; count];
        let mut fold_of = vec![0; groups.len()];
        for group in members {
            let smallest = (0..count).min_by_key(|fold| sizes[*fold]).unwrap_or(0);
            sizes[smallest] += group.len();
            for row in group {
                fold_of[*row] = smallest;
            }
        }
        Ok(Self { count, fold_of })
    }

    /// Deals `images` images that are all different.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for no image, [`DriftError::TooFewImages`] for one.
    pub fn of_images(images: usize, count: usize, seed: u64) -> Result<Self, DriftError> {
        if images == 1 {
            return Err(DriftError::TooFewImages { rows: 1, needed: 2 });
        }
        let groups: Vec<usize> = (0..images).collect();
        Self::by_group(&groups, count, seed)
    }

    /// As [`by_group`](Self::by_group), but where all images are of one group each is taken for itself: there is nothing
    /// else to hold out.
    ///
    /// # Errors
    /// As [`of_images`](Self::of_images).
    pub fn apart(groups: &[usize], count: usize, seed: u64) -> Result<Self, DriftError> {
        match Self::by_group(groups, count, seed) {
            Err(DriftError::OneGroup) => Self::of_images(groups.len(), count, seed),
            dealt => dealt,
        }
    }

    /// Number of folds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.fold_of.len()
    }

    /// The images held out with a fold, in order.
    #[must_use]
    pub fn held_out(&self, fold: usize) -> Vec<usize> {
        self.which(|of| of == fold)
    }

    /// The images a fit may see while a fold is held out, in order.
    #[must_use]
    pub fn fitted(&self, fold: usize) -> Vec<usize> {
        self.which(|of| of != fold)
    }

    fn which(&self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.fold_of.len())
            .filter(|row| wanted(self.fold_of[*row]))
            .collect()
    }
}

/// A score for every image from a fit that has not seen it nor its group: `fit` is given the images to fit
/// on, `score` its result and the images to score.
///
/// # Errors
/// Those of `fit` and `score`; [`DriftError::LengthMismatch`] when `score` gives another number of scores.
pub fn out_of_fold<S>(
    folds: &Folds,
    fit: impl Fn(&[usize]) -> Result<S, DriftError>,
    score: impl Fn(&S, &[usize]) -> Result<Vec<f64>, DriftError>,
) -> Result<Vec<f64>, DriftError> {
    let mut scores = vec![0.0; folds.images()];
    for fold in 0..folds.count() {
        let held_out = folds.held_out(fold);
        let found = score(&fit(&folds.fitted(fold))?, &held_out)?;
        if found.len() != held_out.len() {
            return Err(DriftError::LengthMismatch {
                rows: held_out.len(),
                labels: found.len(),
            });
        }
        for (row, score) in held_out.into_iter().zip(found) {
            scores[row] = score;
        }
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_little_to_hold_out_is_refused() {
        assert_eq!(Folds::by_group(&[4, 4, 4], 5, 1), Err(DriftError::OneGroup));
        assert_eq!(Folds::of_images(0, 5, 1), Err(DriftError::NoEmbeddings));
        assert!(Folds::of_images(1, 5, 1).is_err());
    }

    #[test]
    fn each_image_is_scored_by_a_fit_without_it() {
        let folds = Folds::of_images(11, 3, 1).expect("images");
        let seen = |rows: &[usize]| Ok(rows.to_vec());
        let score = |fitted: &Vec<usize>, rows: &[usize]| {
            assert!(rows.iter().all(|row| !fitted.contains(row)));
            assert_eq!(fitted.len() + rows.len(), 11);
            Ok(rows.iter().map(|row| *row as f64).collect())
        };
        let scores = out_of_fold(&folds, seen, score).expect("scored");
        let expected: Vec<f64> = (0..11).map(f64::from).collect();
        assert_eq!(scores, expected);
        let short = out_of_fold(&folds, seen, |_, _| Ok(Vec::new()));
        assert!(matches!(short, Err(DriftError::LengthMismatch { .. })));
    }

    proptest! {
        #[test]
        fn groups_stay_together_and_folds_are_even(
            groups in prop::collection::vec(0_usize..12, 2..80), count in 0_usize..9, seed in 0_u64..99,
        ) {
            let Ok(folds) = Folds::by_group(&groups, count, seed) else {
                prop_assert!(groups.iter().all(|g| *g == groups[0]));
                return Ok(());
            };
            let mut sizes = Vec::new();
            for fold in 0..folds.count() {
                let (out, fitted) = (folds.held_out(fold), folds.fitted(fold));
                prop_assert!(!out.is_empty() && !fitted.is_empty());
                for row in &out {
                    prop_assert!(fitted.iter().all(|other| groups[*other] != groups[*row]));
                }
                sizes.push(out.len());
            }
            prop_assert_eq!(sizes.iter().sum::<usize>(), groups.len());
            let largest = (0..12).map(|g| groups.iter().filter(|o| **o == g).count()).max();
            let spread = sizes.iter().max().copied().unwrap_or(0) - sizes.iter().min().copied().unwrap_or(0);
            prop_assert!(spread <= largest.unwrap_or(0));
            prop_assert_eq!(&folds, &Folds::by_group(&groups, count, seed).expect("the same"));
        }
    }
}
