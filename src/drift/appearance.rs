//! What the pictures themselves say of an image, without any network.

use rayon::prelude::*;

use super::space::kept_as;
use super::{Calibration, DriftError, PictureSource, PixelSpade, PixelSpadeScore};

/// Similar pictures that one is compared with. Settled on the made set that docs/BENCHMARKS.md tells of.
const SIMILAR: usize = 40;
/// A plain number counts up to so many robust standard deviations, and so much beside a principal component.
const LIMIT: f64 = 6.0;
const WEIGHT: f64 = 0.5;

const MEAN: &str = "pixel spade";
const AREA: &str = "pixel spade, odd area";
const SPOT: &str = "pixel spade, oddest spot";
/// The same, as it stands out beside similar regular images.
pub(super) const SPOT_CONTRAST: &str = "pixel spade, oddest spot beside similar";
/// The scores of pictures by name.
pub(super) const SCORES: [&str; 4] = [MEAN, AREA, SPOT, SPOT_CONTRAST];

/// Compares pictures with similar regular ones ([`PixelSpade`]), and their plain numbers with those of regular
/// ones: brightness, sharpness and what else the source measures.
pub(super) struct Appearance {
    spade: Option<PixelSpade>,
    /// Of the regular pictures, every so many-th is remembered.
    every: usize,
    scores: Vec<(&'static str, Calibration)>,
    /// One for each plain number; none for those that are the same for all regular pictures.
    numbers: Vec<Option<Calibration>>,
}

/// What [`Appearance`] found of the images of one set.
pub(super) struct Seen {
    /// Scores by name, one value for each image.
    pub scores: Vec<(&'static str, Vec<f64>)>,
    /// Row after row of [`Appearance::width`] features.
    pub features: Vec<f32>,
}

impl Seen {
    /// How odd the oddest spot of each image is, where that is told.
    pub fn spots(&self) -> Option<&[f64]> {
        let found = self.scores.iter().find(|(name, _)| *name == SPOT);
        found.map(|(_, values)| values.as_slice())
    }
}

impl Appearance {
    /// Remembers all `known` regular pictures, as far as memory goes, and says what is to be said of the first
    /// `images` of them.
    pub fn fit(
        pictures: &dyn PictureSource,
        known: usize,
        images: usize,
    ) -> Result<(Self, Seen), DriftError> {
        let most = PixelSpade::capacity(pictures.side()).max(1);
        let every = known.div_ceil(most);
        let remembered = known.div_ceil(every);
        let references = (0..remembered).map(|i| pictures.picture(i * every));
        let k = SIMILAR.min(remembered.saturating_sub(1));
        let spade = match PixelSpade::fit(pictures.side(), k, references) {
            Ok(spade) => Some(spade),
            // Too small, or too few: the plain numbers are left.
            Err(DriftError::NoEmbeddings | DriftError::NoSuchNeighbour { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut fitted = Self {
            spade,
            every,
            scores: Vec::new(),
            numbers: Vec::new(),
        };
        let mut found = fitted.scores_of(pictures, images, Some)?;
        for (name, values) in &found {
            let calibration = Calibration::unless_constant(values.clone())?;
            fitted
                .scores
                .extend(calibration.map(|calibration| (*name, calibration)));
        }
        found.retain(|(name, _)| fitted.calibration(name).is_some());
        let rows = numbers(pictures, images)?;
        for number in 0..rows.first().map_or(0, Vec::len) {
            let values = rows.iter().map(|row| row[number]).collect();
            fitted.numbers.push(Calibration::unless_constant(values)?);
        }
        let features = fitted.features(&rows);
        let seen = Seen {
            scores: found,
            features,
        };
        Ok((fitted, seen))
    }

    /// What is to be said of other images; `own` gives the row among the regular pictures of one that is
    /// one of those.
    pub fn look(
        &self,
        pictures: &dyn PictureSource,
        images: usize,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<Seen, DriftError> {
        let mut scores = self.scores_of(pictures, images, own)?;
        scores.retain(|(name, _)| self.calibration(name).is_some());
        Ok(Seen {
            scores,
            features: self.features(&numbers(pictures, images)?),
        })
    }

    /// Features of an image.
    pub fn width(&self) -> usize {
        self.numbers.iter().flatten().count()
    }

    /// Scores of an image.
    pub fn score_count(&self) -> usize {
        self.scores.len()
    }

    pub fn calibration(&self, name: &str) -> Option<&Calibration> {
        let found = self.scores.iter().find(|(known, _)| *known == name);
        found.map(|(_, calibration)| calibration)
    }

    /// On a logarithmic scale: twice as odd is as far for quiet pictures as for busy ones.
    fn scores_of(
        &self,
        pictures: &dyn PictureSource,
        images: usize,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<Vec<(&'static str, Vec<f64>)>, DriftError> {
        let Some(spade) = &self.spade else {
            return Ok(Vec::new());
        };
        let scores: Vec<PixelSpadeScore> = (0..images)
            .into_par_iter()
            .map(|row| {
                let own = own(row).and_then(|row| kept_as(row, self.every));
                spade.score(&pictures.picture(row), own)
            })
            .collect::<Result<_, _>>()?;
        let of = |value: fn(&PixelSpadeScore) -> f64| {
            scores
                .iter()
                .map(|s| value(s).max(0.0).ln_1p())
                .collect::<Vec<_>>()
        };
        Ok(vec![
            (MEAN, of(|s| s.mean)),
            (AREA, of(|s| s.area)),
            (SPOT, of(|s| s.spot)),
        ])
    }

    fn features(&self, rows: &[Vec<f64>]) -> Vec<f32> {
        let mut features = Vec::with_capacity(rows.len() * self.width());
        for row in rows {
            for (value, calibration) in row.iter().zip(&self.numbers) {
                features.extend(calibration.as_ref().map(|calibration| {
                    let z = calibration.robust_z(*value).clamp(-LIMIT, LIMIT);
                    #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
                    let feature = (z * WEIGHT) as f32;
                    feature
                }));
            }
        }
        features
    }
}

fn numbers(pictures: &dyn PictureSource, images: usize) -> Result<Vec<Vec<f64>>, DriftError> {
    let rows: Vec<Vec<f64>> = (0..images)
        .into_par_iter()
        .map(|row| pictures.numbers(row))
        .collect();
    let expected = rows.first().map_or(0, Vec::len);
    for (at, row) in rows.iter().enumerate() {
        if row.len() != expected {
            return Err(DriftError::DimensionMismatch {
                expected,
                found: row.len(),
            });
        }
        if row.iter().any(|v| !v.is_finite()) {
            return Err(DriftError::NonFinite { row: at });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made(Vec<Vec<u8>>);

    impl PictureSource for Made {
        fn side(&self) -> usize {
            self.0[0].len().isqrt()
        }
        fn picture(&self, row: usize) -> Vec<u8> {
            self.0[row].clone()
        }
        fn numbers(&self, row: usize) -> Vec<f64> {
            let picture = &self.0[row];
            let sum: f64 = picture.iter().map(|v| f64::from(*v)).sum();
            vec![sum / picture.len() as f64, 1.0]
        }
    }

    fn regular(seed: usize) -> Vec<u8> {
        let value = |at: usize| 40 + ((at * at * 31 + at * seed * 17 + seed * 7919) % 131) as u8;
        (0..400).map(value).collect()
    }

    #[test]
    fn a_brighter_picture_and_one_with_a_spot_stand_out_and_alone_as_among_others() {
        let train = Made((0..40).map(regular).collect());
        let (fitted, seen) = Appearance::fit(&train, 40, 40).expect("fitted");
        // The number that is always 1 says nothing.
        assert_eq!((fitted.width(), fitted.score_count()), (1, 3));
        assert_eq!(seen.features.len(), 40);
        let bright: Vec<u8> = regular(50).iter().map(|v| v + 60).collect();
        let mut spot = regular(51);
        for y in 8..12 {
            spot[y * 20 + 8..y * 20 + 12].fill(0);
        }
        let pool = Made(vec![regular(52), bright, spot]);
        let found = fitted.look(&pool, 3, |_| None).expect("looked");
        assert_eq!(found.features[1], (LIMIT * WEIGHT) as f32);
        assert!(found.features[0].abs() < 1.5, "{}", found.features[0]);
        let (_, spots) = &found.scores[2];
        assert!(spots[2] > spots[0] + 1.0, "{spots:?}");
        let alone = fitted
            .look(&Made(vec![pool.0[2].clone()]), 1, |_| None)
            .expect("looked");
        assert_eq!(alone.scores[2].1[0], spots[2]);
    }

    #[test]
    fn pictures_too_small_to_compare_leave_the_plain_numbers() {
        let tiny = |seed: usize| regular(seed)[..16].to_vec();
        let train = Made((0..40).map(tiny).collect());
        let (fitted, seen) = Appearance::fit(&train, 40, 40).expect("fitted");
        assert_eq!((fitted.width(), fitted.score_count()), (1, 0));
        assert!(seen.features.len() == 40 && seen.scores.is_empty());
    }
}
