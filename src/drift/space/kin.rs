//! Which regular images vouch for each other.

use std::collections::HashMap;

/// So many others have to be left, or half of the images.
const ENOUGH: usize = 40;

/// Which regular images a regular one is not compared with: itself and its near-duplicates, which would vouch for it.
/// Where so many are alike that hardly another is left, itself alone.
pub(in crate::drift) struct Kin {
    /// Of near-duplicates, one entry for each image.
    groups: Vec<usize>,
    /// One for each image.
    itself_only: Vec<bool>,
}

impl Kin {
    /// `learned` is the number of images, from the first on, of which enough have to be left.
    pub fn new(groups: Vec<usize>, learned: usize) -> Self {
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        for group in &groups[..learned] {
            *sizes.entry(*group).or_default() += 1;
        }
        let enough = ENOUGH.min(learned / 2);
        let left = |group| learned - sizes.get(group).copied().unwrap_or(0);
        Self {
            itself_only: groups.iter().map(|group| left(group) < enough).collect(),
            groups,
        }
    }

    /// How many regular images there are.
    pub fn images(&self) -> usize {
        self.groups.len()
    }

    /// Whether the regular image in row `other` is not compared with one that is the regular image in row `own`, if any.
    pub fn are(&self, own: Option<usize>, other: usize) -> bool {
        own.is_some_and(|own| {
            own == other || !self.itself_only[own] && self.groups[own] == self.groups[other]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_duplicates_are_kin_unless_too_few_others_are_left() {
        let pairs = Kin::new(vec![0, 0, 1, 1, 2], 4);
        assert!(pairs.are(Some(0), 0) && pairs.are(Some(0), 1));
        assert!(!pairs.are(Some(0), 2) && !pairs.are(None, 0));
        // Nothing stands between the last one, which is remembered only, and itself.
        assert!(pairs.are(Some(4), 4) && !pairs.are(Some(4), 3));
        let crowd = Kin::new(vec![0, 0, 0, 1], 4);
        assert!(crowd.are(Some(0), 0) && !crowd.are(Some(0), 1));
        assert!(crowd.are(Some(3), 3) && !crowd.are(Some(3), 0));
    }
}
