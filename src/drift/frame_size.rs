//! Whether a picture has the size of a regular one.

use std::collections::BTreeMap;

use super::DriftError;

/// Compares width and height of a picture with the regular size nearest to it. However rare a regular size is, a
/// picture that has it is not odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSizes {
    /// How many regular pictures have each size, (width, height) in pixels.
    known: BTreeMap<(u32, u32), usize>,
}

impl FrameSizes {
    /// Remembers the sizes of regular pictures.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`] for fewer than 2: each has to have another.
    pub fn fit(sizes: impl IntoIterator<Item = (u32, u32)>) -> Result<Self, DriftError> {
        let mut known = BTreeMap::new();
        for size in sizes {
            *known.entry(size).or_default() += 1;
        }
        if known.values().sum::<usize>() < 2 {
            return Err(DriftError::NoEmbeddings);
        }
        Ok(Self { known })
    }

    /// How far the nearest regular size is, 0 or more: the larger of the differences in width and in height, each as
    /// the natural logarithm of the ratio. So 0.1 is a tenth more or less, and another shape is as odd as another
    /// scale. `is_regular` says that the picture is one of those that were remembered: its own size then counts only
    /// where another one has it.
    #[must_use]
    pub fn score(&self, size: (u32, u32), is_regular: bool) -> f64 {
        let others = self
            .known
            .iter()
            .filter(|(known, count)| !(is_regular && **known == size && **count == 1));
        let ratio = |a: u32, b: u32| (f64::from(a.max(1)) / f64::from(b.max(1))).ln().abs();
        others
            .map(|((width, height), _)| ratio(size.0, *width).max(ratio(size.1, *height)))
            .fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rare_regular_sizes_are_not_odd_and_others_are() {
        let mut sizes = vec![(540, 630); 50];
        sizes.extend([(720, 840); 40]);
        sizes.push((1260, 1470));
        let fitted = FrameSizes::fit(sizes).expect("enough");
        let of = |size| fitted.score(size, false);
        assert_eq!([of((540, 630)), of((1260, 1470))], [0.0, 0.0]);
        // A picture that lies on its side, one of another scale, one that lost its lower half.
        for odd in [(630, 540), (300, 350), (540, 315)] {
            assert!(of(odd) > 0.1, "{odd:?}: {}", of(odd));
        }
        assert!((of((540, 315)) - 2.0_f64.ln()).abs() < 1e-12);
        // Among its own kind the only one of its size is as far as from the others.
        let rare = fitted.score((1260, 1470), true);
        assert!((rare - (1260.0_f64 / 720.0).ln()).abs() < 1e-12, "{rare}");
        assert_eq!(fitted.score((720, 840), true), 0.0);
    }

    #[test]
    fn one_picture_has_nothing_to_be_compared_with() {
        assert_eq!(FrameSizes::fit([(5, 5)]), Err(DriftError::NoEmbeddings));
        assert_eq!(FrameSizes::fit([]), Err(DriftError::NoEmbeddings));
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_a_known_size_is_near(
            sizes in prop::collection::vec((1_u32..2000, 1_u32..2000), 2..20), asked in (1_u32..2000, 1_u32..2000),
        ) {
            let fitted = FrameSizes::fit(sizes.clone()).expect("enough");
            let score = fitted.score(asked, false);
            prop_assert!(score.is_finite() && score >= 0.0);
            prop_assert_eq!(score == 0.0, sizes.contains(&asked));
            let backwards = FrameSizes::fit(sizes.iter().rev().copied()).expect("enough");
            prop_assert_eq!(backwards.score(asked, false), score);
            for (at, size) in sizes.iter().enumerate() {
                let mut others = sizes.clone();
                others.remove(at);
                let expected = others.len() > 1;
                let held_out = fitted.score(*size, true);
                if expected {
                    prop_assert_eq!(FrameSizes::fit(others).expect("enough").score(*size, false), held_out);
                }
            }
        }
    }
}
