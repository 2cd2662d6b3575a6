//! Scores that are listed and measured beside those a head reads.

use super::folds::{Folds, out_of_fold};
use super::space::{Fit, calibrated};
use super::{
    Calibration, DriftError, EmbeddingView, Energy, LinearClassifier, MaxSoftmax,
    NearestNeighbours, OnLogits, Scorer, Vim,
};
use crate::domain::ClassId;

const MAX_SOFTMAX: &str = "max softmax";
const ENERGY: &str = "energy";
/// Counts in the ranking without labels.
pub(super) const VIM: &str = "vim";
const SAME_DIE: &str = "knn, same die";
/// Stands for the die of an image whose die is not known.
const UNKNOWN: u32 = 0;

/// Three scores of the logits that a linear discriminant of the regular classes gives an image, and its distance to the
/// nearest regular image of the same die, where dies are known. Each is calibrated on regular images that its fit has not
/// seen. No head reads them: one that read energy, or the distance within a die, was no better (docs/BENCHMARKS.md); with ViM
/// none was tried.
pub(super) struct Listed {
    max_softmax: Fit<OnLogits<MaxSoftmax>>,
    energy: Fit<OnLogits<Energy>>,
    vim: Fit<Vim>,
    same_die: Fit<NearestNeighbours>,
}

/// Values of some scores by name.
type Raw = Vec<(&'static str, Vec<f64>)>;

impl Listed {
    /// Fits on `rows` of regular images with the class, and where it is known the die, of each; also says what each scores
    /// by fits that have not seen it.
    ///
    /// # Errors
    /// [`DriftError::LengthMismatch`] for another number of dies, and those of the scores.
    pub fn fit(
        rows: EmbeddingView<'_>,
        classes: &[ClassId],
        dies: Option<&[u32]>,
        folds: &Folds,
    ) -> Result<(Self, Raw), DriftError> {
        let of =
            |kept: &[usize]| -> Vec<ClassId> { kept.iter().map(|row| classes[*row]).collect() };
        let mut raw = Vec::new();
        let mut keep = |name, found: Option<Vec<f64>>| raw.extend(found.map(|found| (name, found)));
        let (max_softmax, found) = calibrated(rows, folds, |kept, some| {
            let classifier = LinearClassifier::discriminant(some, &of(kept))?;
            let score = MaxSoftmax::new(classifier.classes())?;
            OnLogits::new(classifier, score)
        })?;
        keep(MAX_SOFTMAX, found);
        let (energy, found) = calibrated(rows, folds, |kept, some| {
            let classifier = LinearClassifier::discriminant(some, &of(kept))?;
            let score = Energy::new(classifier.classes(), 1.0)?;
            OnLogits::new(classifier, score)
        })?;
        keep(ENERGY, found);
        let vim = calibrated(rows, folds, |kept, some| {
            // The weights of a discriminant add up to nothing, so its logits cannot all be brought to 0 together.
            let classifier = LinearClassifier::discriminant(some, &of(kept))?.centred();
            let principal = Vim::usual_principal(some.dim(), some.len());
            Vim::fit(some, classifier, principal, 0)
        });
        let (vim, found) = match vim {
            Ok(found) => found,
            // No rest to look at, or no logits to scale it by.
            Err(
                DriftError::NoResidual { .. }
                | DriftError::LogitsNotPositive { .. }
                | DriftError::BadOption { .. },
            ) => (None, None),
            Err(error) => return Err(error),
        };
        keep(VIM, found);
        let same_die = match dies.filter(|dies| dies.iter().any(|die| *die != UNKNOWN)) {
            Some(dies) => {
                let (fitted, found) = within_dies(rows, dies, folds)?;
                keep(SAME_DIE, found);
                fitted
            }
            None => None,
        };
        let fitted = Self {
            max_softmax,
            energy,
            vim,
            same_die,
        };
        Ok((fitted, raw))
    }

    /// What other images score; `dies` as for [`fit`](Self::fit).
    ///
    /// # Errors
    /// As [`Scorer::score_all`], [`DriftError::LengthMismatch`] for another number of dies.
    pub fn score(&self, rows: EmbeddingView<'_>, dies: Option<&[u32]>) -> Result<Raw, DriftError> {
        fn of<S: Scorer>(fit: &Fit<S>) -> Option<&dyn Scorer> {
            fit.as_ref().map(|(scorer, _)| scorer as &dyn Scorer)
        }
        let mut raw = Vec::new();
        for (name, scorer) in [
            (MAX_SOFTMAX, of(&self.max_softmax)),
            (ENERGY, of(&self.energy)),
            (VIM, of(&self.vim)),
        ] {
            if let Some(scorer) = scorer {
                raw.push((name, scorer.score_all(rows)?));
            }
        }
        if let Some((nearest, _)) = &self.same_die {
            let unknown = vec![UNKNOWN; rows.len()];
            let found = nearest.score_all_within(rows, dies.unwrap_or(&unknown))?;
            raw.push((SAME_DIE, found));
        }
        Ok(raw)
    }

    pub fn calibration(&self, name: &str) -> Option<&Calibration> {
        match name {
            MAX_SOFTMAX => self.max_softmax.as_ref().map(|(_, c)| c),
            ENERGY => self.energy.as_ref().map(|(_, c)| c),
            VIM => self.vim.as_ref().map(|(_, c)| c),
            SAME_DIE => self.same_die.as_ref().map(|(_, c)| c),
            _ => None,
        }
    }
}

fn within_dies(
    rows: EmbeddingView<'_>,
    dies: &[u32],
    folds: &Folds,
) -> Result<(Fit<NearestNeighbours>, Option<Vec<f64>>), DriftError> {
    if dies.len() != rows.len() {
        return Err(DriftError::LengthMismatch {
            rows: rows.len(),
            labels: dies.len(),
        });
    }
    let dies_of = |some: &[usize]| -> Vec<u32> { some.iter().map(|row| dies[*row]).collect() };
    let part = |some: &[usize]| rows.gather(some);
    let found = out_of_fold(
        folds,
        |kept| {
            let some = part(kept);
            let some = EmbeddingView::new(&some, rows.dim())?;
            NearestNeighbours::fit_grouped(some, &dies_of(kept), 1)
        },
        |nearest, held_out| {
            let some = part(held_out);
            nearest.score_all_within(EmbeddingView::new(&some, rows.dim())?, &dies_of(held_out))
        },
    )?;
    let Some(calibration) = Calibration::unless_constant(found.clone())? else {
        return Ok((None, None));
    };
    let nearest = NearestNeighbours::fit_grouped(rows, dies, 1)?;
    Ok((Some((nearest, calibration)), Some(found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::scorer::testing::noise;

    const DIM: usize = 6;

    /// Two classes beside each other, seen on two dies that lie apart.
    fn made(n: usize, seed: u64) -> (Vec<f32>, Vec<ClassId>, Vec<u32>) {
        let mut rows = noise(n, DIM, seed);
        for (at, row) in rows.chunks_exact_mut(DIM).enumerate() {
            row[1] += 4.0 * (at % 2) as f32;
            row[2] += 6.0 * (at / 2 % 2) as f32;
        }
        let classes = (0..n).map(|at| ClassId::from(at % 2)).collect();
        let dies = (0..n).map(|at| 1 + (at / 2 % 2) as u32).collect();
        (rows, classes, dies)
    }

    fn value(raw: &Raw, name: &str, row: usize) -> f64 {
        let found = raw.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no {name}")).1[row]
    }

    #[test]
    fn a_doubtful_image_and_one_on_the_wrong_die_stand_out() {
        let (rows, classes, dies) = made(80, 1);
        let view = EmbeddingView::new(&rows, DIM).expect("rows");
        let folds = Folds::of_images(80, 5, 1).expect("folds");
        let (fitted, of_train) = Listed::fit(view, &classes, Some(&dies), &folds).expect("fitted");
        let names: Vec<&str> = of_train.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [MAX_SOFTMAX, ENERGY, VIM, SAME_DIE]);
        assert!(names.iter().all(|name| fitted.calibration(name).is_some()));
        let mut asked = rows[..2 * DIM].to_vec();
        // Between the classes.
        asked[1] += 2.0;
        let asked = EmbeddingView::new(&asked, DIM).expect("rows");
        let right = fitted.score(asked, Some(&dies[..2])).expect("scored");
        assert!(value(&right, MAX_SOFTMAX, 0) > value(&right, MAX_SOFTMAX, 1));
        let wrong = fitted.score(asked, Some(&[1, 2])).expect("scored");
        assert!(value(&wrong, SAME_DIE, 1) > value(&right, SAME_DIE, 1));
        assert_eq!(value(&wrong, SAME_DIE, 0), value(&right, SAME_DIE, 0));
        // Without its die it is compared with all of them.
        let unknown = fitted.score(asked, None).expect("scored");
        assert!(value(&unknown, SAME_DIE, 1) <= value(&right, SAME_DIE, 1));
    }

    #[test]
    fn where_dies_are_not_known_or_there_is_one_class_the_score_is_left_out() {
        let (rows, classes, _) = made(40, 2);
        let view = EmbeddingView::new(&rows, DIM).expect("rows");
        let folds = Folds::of_images(40, 5, 1).expect("folds");
        for dies in [None, Some(&[UNKNOWN; 40][..])] {
            let (fitted, raw) = Listed::fit(view, &classes, dies, &folds).expect("fitted");
            assert!(raw.iter().all(|(name, _)| *name != SAME_DIE));
            assert!(fitted.calibration(SAME_DIE).is_none());
        }
        let one = vec![ClassId(0); 40];
        let (_, raw) = Listed::fit(view, &one, None, &folds).expect("fitted");
        // Nothing is doubtful with one class.
        assert!(raw.iter().all(|(name, _)| *name != MAX_SOFTMAX));
        let refused = Listed::fit(view, &classes, Some(&[1, 2]), &folds);
        assert!(matches!(
            refused.err(),
            Some(DriftError::LengthMismatch { .. })
        ));
    }
}
