//! Which images of a data set are near-duplicates: plain data.

use std::collections::HashMap;

use crate::domain::ImageId;
use crate::drift::DuplicateGroups;

/// Groups of images that are nearly the same picture, as [`DuplicateGroups`] finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageGroups {
    groups: Vec<Vec<ImageId>>,
    group_of: HashMap<ImageId, usize>,
}

impl ImageGroups {
    /// The groups of `images`, one row of `found` each.
    ///
    /// # Panics
    /// When `found` has more rows.
    #[must_use]
    pub fn new(images: &[ImageId], found: &DuplicateGroups) -> Self {
        Self::with_others(images, &[], found)
    }

    /// The groups of `images` and of `others` that come after them in `found`, but for those of `others` alone.
    ///
    /// # Panics
    /// When `found` has more rows.
    #[must_use]
    pub fn with_others(images: &[ImageId], others: &[ImageId], found: &DuplicateGroups) -> Self {
        let image = |row: usize| match row.checked_sub(images.len()) {
            None => images[row],
            Some(other) => others[other],
        };
        // The rows of a group are in order.
        let groups = found
            .groups()
            .into_iter()
            .filter(|rows| rows[0] < images.len());
        let groups: Vec<Vec<ImageId>> = groups
            .map(|rows| rows.into_iter().map(image).collect())
            .collect();
        let members = groups.iter().enumerate();
        let group_of = members
            .flat_map(|(at, group)| group.iter().map(move |image| (*image, at)))
            .collect();
        Self { groups, group_of }
    }

    /// All groups, of two images or more.
    #[must_use]
    pub fn all(&self) -> &[Vec<ImageId>] {
        &self.groups
    }

    /// The group of an image, a position in [`all`](Self::all); none for one that is like no other.
    #[must_use]
    pub fn group(&self, image: ImageId) -> Option<usize> {
        self.group_of.get(&image).copied()
    }

    /// The near-duplicates of an image, itself left out.
    pub fn others(&self, image: ImageId) -> impl Iterator<Item = ImageId> + '_ {
        let group = self.group(image).map(|at| &self.groups[at]);
        let members = group.into_iter().flatten().copied();
        members.filter(move |other| *other != image)
    }

    /// Whether two images are near-duplicates, or the same.
    #[must_use]
    pub fn together(&self, a: ImageId, b: ImageId) -> bool {
        a == b || (self.group(a).is_some() && self.group(a) == self.group(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::EmbeddingView;

    #[test]
    fn rows_become_images() {
        let rows = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
        let found = EmbeddingView::new(&rows, 2).and_then(DuplicateGroups::find);
        let images = [9, 3, 5, 7].map(ImageId);
        let groups = ImageGroups::new(&images, &found.expect("four rows"));
        assert_eq!(groups.all(), [[ImageId(9), ImageId(5), ImageId(7)]]);
        let others: Vec<ImageId> = groups.others(ImageId(5)).collect();
        assert_eq!(others, [ImageId(9), ImageId(7)]);
        assert_eq!(groups.others(ImageId(3)).count(), 0);
        assert!(groups.together(ImageId(9), ImageId(7)));
        assert!(groups.together(ImageId(3), ImageId(3)));
        assert!(
            !groups.together(ImageId(3), ImageId(9)) && !groups.together(ImageId(1), ImageId(2))
        );
    }

    #[test]
    fn a_group_may_hold_others_but_not_others_alone() {
        let rows = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        let found = EmbeddingView::new(&rows, 2).and_then(DuplicateGroups::find);
        let found = found.expect("five rows");
        let (images, others) = ([9, 3].map(ImageId), [5, 7, 2].map(ImageId));
        let groups = ImageGroups::with_others(&images, &others, &found);
        assert_eq!(groups.all(), [[ImageId(9), ImageId(7)]]);
        assert_eq!(groups.others(ImageId(5)).count(), 0);
    }
}
