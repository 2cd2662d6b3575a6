//! How far a picture is from being framed like a regular one.

use super::DriftError;
use super::linalg::dot;

/// Blocks in a row, and rows of them, that a picture is boiled down to: what it shows is gone, where things lie is left.
const BLOCKS: usize = 16;

/// Compares where light and dark lie in a picture with the regular picture that it agrees with best: one minus the
/// largest correlation between means of 16 x 16 blocks (zero-mean normalised cross-correlation, Lewis, "Fast
/// Normalized Cross-Correlation", 1995, without displacement). A shifted, turned or zoomed picture agrees with none.
/// Brightness and contrast do not matter, nor at which angle a die stands, as long as regular pictures of it are known.
///
/// Where no scene is seen twice, regular pictures agree with each other as little as with anything else, and their
/// [`Calibration`](super::Calibration) makes nothing of it. How far a picture is shifted is not asked (phase correlation,
/// Kuglin & Hines 1975): how much better it agrees with a regular picture when it is moved told less of wrong framing,
/// part of which is turned or zoomed (docs/BENCHMARKS.md).
#[derive(Clone, Debug, PartialEq)]
pub struct FramingMatch {
    side: usize,
    /// Row after row of block means with mean 0 and length 1; of length 0 for a flat picture.
    regular: Vec<f32>,
}

impl FramingMatch {
    /// Numbers of a picture.
    const DIM: usize = BLOCKS * BLOCKS;

    /// Remembers regular pictures of `side * side` pixels, 1 KB each.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for fewer than 2 pictures (each has to have another), or pictures of fewer
    /// pixels than blocks; [`DriftError::DimensionMismatch`].
    pub fn fit(
        side: usize,
        pictures: impl ExactSizeIterator<Item = Vec<u8>>,
    ) -> Result<Self, DriftError> {
        if side < BLOCKS || pictures.len() < 2 {
            return Err(DriftError::NoEmbeddings);
        }
        let mut kept = Self {
            side,
            regular: Vec::with_capacity(pictures.len() * Self::DIM),
        };
        for picture in pictures {
            let blocks = kept.blocks(&picture)?;
            kept.regular.extend(blocks);
        }
        Ok(kept)
    }

    /// One minus the largest correlation with a remembered picture, in `[0, 2]`; 1 for a flat picture. `without`
    /// leaves out remembered ones by their place: the picture itself, say.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`].
    pub fn score(
        &self,
        picture: &[u8],
        without: impl Fn(usize) -> bool,
    ) -> Result<f64, DriftError> {
        let own = self.blocks(picture)?;
        let best = self
            .regular
            .chunks_exact(Self::DIM)
            .enumerate()
            .filter(|(at, _)| !without(*at))
            .map(|(_, regular)| dot(&own, regular))
            .fold(-1.0, f32::max);
        // Rounding may leave a picture that agrees wholly a little beyond.
        Ok((1.0 - f64::from(best)).max(0.0))
    }

    /// Means of the blocks, which differ by a pixel where the side is no multiple, shifted and scaled to mean 0 and
    /// length 1.
    fn blocks(&self, picture: &[u8]) -> Result<Vec<f32>, DriftError> {
        let side = self.side;
        if picture.len() != side * side {
            return Err(DriftError::DimensionMismatch {
                expected: side * side,
                found: picture.len(),
            });
        }
        let of = |block: usize| block * side / BLOCKS..(block + 1) * side / BLOCKS;
        let mut means = Vec::with_capacity(Self::DIM);
        for down in 0..BLOCKS {
            for across in 0..BLOCKS {
                let rows = of(down).map(|y| &picture[y * side..][..side][of(across)]);
                let sum: u64 = rows.flatten().map(|v| u64::from(*v)).sum();
                means.push(sum as f64 / (of(down).len() * of(across).len()) as f64);
            }
        }
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        means.iter_mut().for_each(|v| *v -= mean);
        let length = means.iter().map(|v| v * v).sum::<f64>().sqrt();
        // Rounding alone is no pattern.
        let scale = if length > 1e-6 { 1.0 / length } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "compared in f32")]
        let blocks = means.iter().map(|v| (v * scale) as f32).collect();
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDE: usize = 50;

    /// A dark track through a bright picture, at an angle that depends on the die, `by` pixels beside its place.
    fn scene(die: usize, by: f64, seed: usize) -> Vec<u8> {
        let angle = [0.9, -0.7, 2.3, 0.6, 1.5][die];
        let (sin, cos) = f64::sin_cos(angle);
        let value = |at: usize| {
            let (x, y) = ((at % SIDE) as f64 - 25.0, (at / SIDE) as f64 - 25.0);
            let across = x * cos + y * sin - by;
            let grain = (at * at * 31 + at * seed * 17 + seed * 7919) % 23;
            let level = if across.abs() < 8.0 { 90 } else { 200 };
            level + grain as u8
        };
        (0..SIDE * SIDE).map(value).collect()
    }

    fn fitted() -> FramingMatch {
        let pictures: Vec<Vec<u8>> = (0..24).map(|i| scene(i % 4, 0.0, i)).collect();
        FramingMatch::fit(SIDE, pictures.into_iter()).expect("large enough")
    }

    #[test]
    fn a_shifted_picture_of_any_die_stands_out_and_a_dim_one_does_not() {
        let fitted = fitted();
        for die in 0..4 {
            let of = |picture: &[u8]| fitted.score(picture, |_| false).expect("same side");
            let regular = scene(die, 0.0, 90 + die);
            assert!(of(&regular) < 0.01, "{die}: {}", of(&regular));
            assert!(of(&scene(die, 9.0, 90 + die)) > 0.2, "{die}");
            let dim: Vec<u8> = regular.iter().map(|v| v / 3 + 20).collect();
            assert!(
                (of(&dim) - of(&regular)).abs() < 0.01,
                "{die}: {}",
                of(&dim)
            );
        }
        // Turned to where no die stands.
        let turned = fitted.score(&scene(4, 0.0, 90), |_| false);
        assert!(turned.clone().expect("same side") > 0.1, "{turned:?}");
    }

    #[test]
    fn itself_does_not_count_and_nothing_agrees_with_a_flat_picture() {
        let pictures = [scene(0, 0.0, 1), scene(1, 0.0, 2), scene(2, 0.0, 3)];
        let fitted = FramingMatch::fit(SIDE, pictures.clone().into_iter()).expect("large enough");
        let of = |without| {
            fitted
                .score(&pictures[0], |at| without == Some(at))
                .expect("same side")
        };
        assert!(of(None) < 1e-6, "{}", of(None));
        assert!(of(Some(0)) > 0.2, "{}", of(Some(0)));
        assert_eq!(fitted.score(&[7; SIDE * SIDE], |_| false), Ok(1.0));
    }

    #[test]
    fn too_few_or_too_small_pictures_and_other_sides_are_refused() {
        let fit = |side: usize, n: usize| {
            FramingMatch::fit(side, vec![vec![0; side * side]; n].into_iter())
        };
        assert_eq!(fit(15, 4), Err(DriftError::NoEmbeddings));
        assert_eq!(fit(20, 1), Err(DriftError::NoEmbeddings));
        let wrong = fit(20, 2).expect("enough").score(&[0; 441], |_| false);
        assert!(matches!(wrong, Err(DriftError::DimensionMismatch { .. })));
    }

    proptest! {
        /// Neither what else is judged nor the order of the regular pictures matters; one more can only be liked.
        #[test]
        fn a_score_depends_on_the_picture_and_the_regular_ones_alone(
            dies in prop::collection::vec(0_usize..4, 2..12), by in -20.0..20.0_f64, seed in 0_usize..99,
        ) {
            let pictures: Vec<Vec<u8>> = dies.iter().enumerate().map(|(i, die)| scene(*die, 0.0, i)).collect();
            let odd = scene(seed % 5, by, seed);
            let fit = |pictures: Vec<Vec<u8>>| FramingMatch::fit(SIDE, pictures.into_iter()).expect("enough");
            let fitted = fit(pictures.clone());
            let score = fitted.score(&odd, |_| false).expect("same side");
            prop_assert!((0.0..=2.0).contains(&score));
            for other in &pictures {
                fitted.score(other, |_| false).expect("same side");
            }
            prop_assert_eq!(fitted.score(&odd, |_| false), Ok(score));
            let backwards = fit(pictures.iter().rev().cloned().collect());
            prop_assert_eq!(backwards.score(&odd, |_| false), Ok(score));
            // Without the last one, as if it had never been there.
            let (_, others) = pictures.split_last().expect("some");
            if others.len() > 1 {
                let without = fitted.score(&odd, |at| at == others.len()).expect("same side");
                prop_assert_eq!(fit(others.to_vec()).score(&odd, |_| false), Ok(without));
                prop_assert!(without >= score);
            }
        }
    }
}
