//! What the pictures themselves say of an image, without any network.

use rayon::prelude::*;

use super::space::kin::Kin;
use super::{Calibration, DriftError, FrameSizes, FramingMatch, PictureSource, PixelSpade};

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
const FRAMING: &str = "framing";
const SIZE: &str = "size";
/// The scores that say nothing where no scene is seen twice, by name.
pub(super) const OF_SCENES: [&str; 5] = [MEAN, AREA, SPOT, SPOT_CONTRAST, FRAMING];

/// What regular pictures differ by from each other at the least, of one minus their correlation: a difference between two
/// that agree better is grain.
const AGREEING: f64 = 0.005;
/// How far the size of the picture to come is taken to be from a regular one, when sizes are calibrated: twice as large.
/// Regular pictures are mostly of a few sizes, and a score that is 0 for all of them would say nothing; with this
/// one more, another size is the odder the more pictures have gone without.
const SIZE_TO_COME: f64 = std::f64::consts::LN_2;

/// How much odder than all regular pictures the picture to come is taken to be when gates are calibrated, for the same
/// reason: regular pictures are mostly not saturated at all.
const GATE_TO_COME: f64 = std::f64::consts::LN_2;

/// Compares pictures with similar regular ones ([`PixelSpade`]), how they are framed and their size with those of
/// regular ones ([`FramingMatch`], [`FrameSizes`]), and so their plain numbers: brightness, sharpness and what else
/// the source measures.
pub(super) struct Appearance {
    spade: Option<PixelSpade>,
    framing: Option<FramingMatch>,
    /// Of all regular pictures; none where that of one is not known.
    sizes: Option<FrameSizes>,
    /// Of the regular pictures, every so many-th is remembered.
    every: usize,
    scores: Vec<(&'static str, Calibration)>,
    /// One for each plain number; none for those that are the same for all regular pictures.
    numbers: Vec<Option<Calibration>>,
    /// Of those plain numbers that are a score of their own.
    gates: Vec<(&'static str, Calibration)>,
}

/// What [`Appearance`] found of the images of one set.
pub(super) struct Seen {
    /// Scores by name, one value for each image.
    pub scores: Vec<(&'static str, Vec<f64>)>,
    /// Row after row of [`Appearance::width`] features.
    pub features: Vec<f32>,
    /// As `scores`, of the plain numbers that are scores by themselves: listed, and read by a head as features.
    pub gates: Vec<(&'static str, Vec<f64>)>,
}

impl Seen {
    /// How odd the oddest spot of each image is, where that is told.
    pub fn spots(&self) -> Option<&[f64]> {
        let found = self.scores.iter().find(|(name, _)| *name == SPOT);
        found.map(|(_, values)| values.as_slice())
    }
}

impl Appearance {
    /// Remembers all regular pictures, as many as `kin` tells of, as far as memory goes, and says what is to be said of
    /// the first `images` of them.
    pub fn fit(
        pictures: &dyn PictureSource,
        kin: &Kin,
        images: usize,
    ) -> Result<(Self, Seen), DriftError> {
        let known = kin.images();
        let most = PixelSpade::capacity(pictures.side()).max(1);
        let every = known.div_ceil(most);
        let remembered = known.div_ceil(every);
        let references = || (0..remembered).map(|i| pictures.picture(i * every));
        let k = SIMILAR.min(remembered.saturating_sub(1));
        let sizes: Option<Vec<(u32, u32)>> = (0..known).map(|row| pictures.size(row)).collect();
        let mut fitted = Self {
            spade: if_enough(PixelSpade::fit(pictures.side(), k, references()))?,
            framing: if_enough(FramingMatch::fit(pictures.side(), references()))?,
            sizes: match sizes {
                Some(sizes) => if_enough(FrameSizes::fit(sizes))?,
                None => None,
            },
            every,
            scores: Vec::new(),
            numbers: Vec::new(),
            gates: Vec::new(),
        };
        let mut found = fitted.scores_of(pictures, images, kin, Some)?;
        for (name, values) in &found {
            let mut values = values.clone();
            if *name == SIZE {
                values.push(SIZE_TO_COME);
            }
            let calibration = Calibration::unless_constant(values)?;
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
        let gates = gates(pictures, &rows);
        for (name, values) in &gates {
            let mut values = values.clone();
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            values.push(highest + GATE_TO_COME);
            let calibration = Calibration::unless_constant(values)?;
            fitted
                .gates
                .extend(calibration.map(|calibration| (*name, calibration)));
        }
        let features = fitted.features(&rows);
        let seen = Seen {
            scores: found,
            features,
            gates,
        };
        Ok((fitted, seen))
    }

    /// What is to be said of other images; `own` gives the row among the regular pictures of one that is
    /// one of those, and `kin` what it is not compared with then.
    pub fn look(
        &self,
        pictures: &dyn PictureSource,
        images: usize,
        kin: &Kin,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<Seen, DriftError> {
        let mut scores = self.scores_of(pictures, images, kin, own)?;
        scores.retain(|(name, _)| self.calibration(name).is_some());
        let rows = numbers(pictures, images)?;
        Ok(Seen {
            scores,
            features: self.features(&rows),
            gates: gates(pictures, &rows),
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

    /// Of a plain number that is a score by itself.
    pub fn gate(&self, name: &str) -> Option<&Calibration> {
        let found = self.gates.iter().find(|(known, _)| *known == name);
        found.map(|(_, calibration)| calibration)
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
        kin: &Kin,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<Vec<(&'static str, Vec<f64>)>, DriftError> {
        let rows: Vec<Vec<(&'static str, f64)>> = (0..images)
            .into_par_iter()
            .map(|row| self.score(pictures, row, kin, own(row)))
            .collect::<Result<_, _>>()?;
        let names = rows.first().into_iter().flatten().map(|(name, _)| *name);
        let column = |at: usize| rows.iter().map(|row| row[at].1).collect();
        Ok(names
            .enumerate()
            .map(|(at, name)| (name, column(at)))
            .collect())
    }

    /// The scores of the picture in `row` by name, the same names for each; `own` is its row among the regular pictures
    /// where it is one of those.
    fn score(
        &self,
        pictures: &dyn PictureSource,
        row: usize,
        kin: &Kin,
        own: Option<usize>,
    ) -> Result<Vec<(&'static str, f64)>, DriftError> {
        let mut scores = Vec::new();
        if self.spade.is_some() || self.framing.is_some() {
            let picture = pictures.picture(row);
            let without = |at: usize| kin.are(own, at * self.every);
            if let Some(spade) = &self.spade {
                let found = spade.score(&picture, without)?;
                scores.push((MEAN, found.mean.ln_1p()));
                scores.push((AREA, found.area.ln_1p()));
                scores.push((SPOT, found.spot.max(0.0).ln_1p()));
            }
            if let Some(framing) = &self.framing {
                let found = framing.score(&picture, without)?;
                scores.push((FRAMING, (AGREEING + found).ln()));
            }
        }
        if let Some(sizes) = &self.sizes {
            // What is made of a regular picture has its size.
            let size = pictures.size(row);
            scores.push((SIZE, size.map_or(0.0, |s| sizes.score(s, own.is_some()))));
        }
        Ok(scores)
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

/// None where pictures are too small, or too few to be compared with each other: what else there is to say is left.
fn if_enough<T>(fitted: Result<T, DriftError>) -> Result<Option<T>, DriftError> {
    match fitted {
        Ok(fitted) => Ok(Some(fitted)),
        Err(DriftError::NoEmbeddings | DriftError::NoSuchNeighbour { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The plain numbers that are scores by themselves, by name, one value for each image.
fn gates(pictures: &dyn PictureSource, rows: &[Vec<f64>]) -> Vec<(&'static str, Vec<f64>)> {
    let mut found: Vec<(&'static str, Vec<f64>)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        for (number, (name, value)) in pictures.gates(row).into_iter().enumerate() {
            if at == 0 {
                found.push((name, Vec::with_capacity(rows.len())));
            }
            found[number].1.push(value);
        }
    }
    found
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
        fn size(&self, row: usize) -> Option<(u32, u32)> {
            // As of another camera where the middle is black.
            let black = self.0[row][self.0[row].len() / 2] == 0;
            Some(if black { (400, 300) } else { (200, 200) })
        }
    }

    fn regular(seed: usize) -> Vec<u8> {
        let value = |at: usize| 40 + ((at * at * 31 + at * seed * 17 + seed * 7919) % 131) as u8;
        (0..400).map(value).collect()
    }

    fn strangers() -> Kin {
        Kin::new((0..40).collect(), 40)
    }

    #[test]
    fn a_brighter_picture_and_one_with_a_spot_stand_out_and_alone_as_among_others() {
        let train = Made((0..40).map(regular).collect());
        let (fitted, seen) = Appearance::fit(&train, &strangers(), 40).expect("fitted");
        // The number that is always 1 says nothing; that all have one size does.
        assert_eq!((fitted.width(), fitted.score_count()), (1, 5));
        assert_eq!(seen.features.len(), 40);
        let bright: Vec<u8> = regular(50).iter().map(|v| v + 60).collect();
        let mut spot = regular(51);
        for y in 8..12 {
            spot[y * 20 + 8..y * 20 + 12].fill(0);
        }
        let pool = Made(vec![regular(52), bright, spot]);
        let found = fitted
            .look(&pool, 3, &strangers(), |_| None)
            .expect("looked");
        assert_eq!(found.features[1], (LIMIT * WEIGHT) as f32);
        assert!(found.features[0].abs() < 1.5, "{}", found.features[0]);
        let (_, spots) = &found.scores[2];
        assert!(spots[2] > spots[0] + 1.0, "{spots:?}");
        let alone = fitted
            .look(&Made(vec![pool.0[2].clone()]), 1, &strangers(), |_| None)
            .expect("looked");
        for ((name, values), (_, of_all)) in alone.scores.iter().zip(&found.scores) {
            assert_eq!(values[0], of_all[2], "{name}");
        }
    }

    #[test]
    fn another_size_is_odd_though_all_regular_pictures_have_one() {
        let train = Made((0..40).map(regular).collect());
        let (fitted, seen) = Appearance::fit(&train, &strangers(), 40).expect("fitted");
        let (name, values) = seen.scores.last().expect("there are scores");
        assert_eq!((*name, values), (SIZE, &vec![0.0; 40]));
        let mut odd = regular(50);
        odd[200] = 0;
        let found = fitted.look(&Made(vec![regular(51), odd]), 2, &strangers(), |_| None);
        let (_, values) = found.expect("looked").scores.pop().expect("as before");
        let scale = fitted.calibration(SIZE).expect("kept");
        assert_eq!(scale.robust_z(values[0]), 0.0);
        // Twice as wide, where 40 were alike.
        assert!(
            scale.robust_z(values[1]) > 5.0,
            "{}",
            scale.robust_z(values[1])
        );
        assert!(scale.quantile(values[1]) > 0.97);
    }

    #[test]
    fn pictures_too_small_to_compare_leave_the_plain_numbers() {
        let tiny = |seed: usize| regular(seed)[..16].to_vec();
        let train = Made((0..40).map(tiny).collect());
        let (fitted, seen) = Appearance::fit(&train, &strangers(), 40).expect("fitted");
        // Sizes are told of any picture.
        assert_eq!((fitted.width(), fitted.score_count()), (1, 1));
        assert!(seen.features.len() == 40 && seen.scores.len() == 1);
    }

    #[test]
    fn a_picture_is_not_compared_with_its_near_duplicates() {
        // Each regular picture twice, the second time a little darker.
        let darker = |row: usize| {
            regular(row / 2)
                .iter()
                .map(|v| v - (row % 2) as u8)
                .collect()
        };
        let train = Made((0..40).map(darker).collect());
        let twins = Kin::new((0..40).map(|row| row / 2).collect(), 40);
        let (_, vouched) = Appearance::fit(&train, &strangers(), 40).expect("fitted");
        let (fitted, seen) = Appearance::fit(&train, &twins, 40).expect("fitted");
        for ((name, apart), (_, beside)) in seen.scores.iter().zip(&vouched.scores).take(4) {
            for (apart, beside) in apart.iter().zip(beside) {
                assert!(apart > beside, "{name}: {apart}, {beside}");
            }
        }
        // As one that is known to be like it looks where that is left out by hand.
        let others = Made((2..40).map(darker).collect());
        let kin = Kin::new((0..38).map(|row| row / 2).collect(), 38);
        let (others, _) = Appearance::fit(&others, &kin, 38).expect("fitted");
        let first = Made(vec![darker(0)]);
        let alone = others.look(&first, 1, &kin, |_| None).expect("looked");
        let own = fitted.look(&first, 1, &twins, |_| Some(0)).expect("looked");
        for (at, (name, values)) in alone.scores.iter().take(4).enumerate() {
            assert_eq!(values[0], own.scores[at].1[0], "{name}");
            assert_eq!(values[0], seen.scores[at].1[0], "{name}");
        }
    }
}
