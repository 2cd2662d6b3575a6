//! Walking a queue that does not move under one's feet.

use super::Strategy;
use crate::domain::ImageId;

/// One image of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueItem {
    /// The image.
    pub image: ImageId,
    /// Why it is here, for the screen.
    pub reason: String,
}

/// Images in a fixed order with a cursor. Nothing ever reorders it, whatever is labelled meanwhile: to
/// see a new order build a new queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    strategy: Strategy,
    items: Vec<QueueItem>,
    cursor: usize,
}

impl Queue {
    /// A queue of these items, its cursor on the first.
    #[must_use]
    pub fn new(strategy: Strategy, items: Vec<QueueItem>) -> Self {
        Self {
            strategy,
            items,
            cursor: 0,
        }
    }

    /// What it was built for.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// All items in order.
    #[must_use]
    pub fn items(&self) -> &[QueueItem] {
        &self.items
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to walk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Place of the cursor, counted from 0; 0 in an empty queue.
    #[must_use]
    pub fn position(&self) -> usize {
        self.cursor
    }

    /// The item under the cursor; none in an empty queue.
    #[must_use]
    pub fn current(&self) -> Option<&QueueItem> {
        self.items.get(self.cursor)
    }

    /// The items after the cursor, next first: what to decode ahead.
    #[must_use]
    pub fn upcoming(&self) -> &[QueueItem] {
        self.items.get(self.cursor + 1..).unwrap_or_default()
    }

    /// Puts the cursor on a place; false, and no move, where there is none.
    pub fn go_to(&mut self, position: usize) -> bool {
        let there = position < self.items.len();
        if there {
            self.cursor = position;
        }
        there
    }

    /// Puts the cursor on the first item of an image; false, and no move, where it has none.
    pub fn go_to_image(&mut self, image: ImageId) -> bool {
        let place = self.items.iter().position(|item| item.image == image);
        place.is_some_and(|place| self.go_to(place))
    }

    /// One step on; false at the end.
    pub fn forward(&mut self) -> bool {
        self.go_to(self.cursor + 1)
    }

    /// One step back; false at the start.
    pub fn back(&mut self) -> bool {
        self.cursor
            .checked_sub(1)
            .is_some_and(|place| self.go_to(place))
    }

    /// To the next item after the cursor whose image is not labelled; false, and no move, where the rest
    /// is done.
    pub fn next_unlabelled(&mut self, is_labelled: impl Fn(ImageId) -> bool) -> bool {
        let place = (self.cursor + 1..self.items.len())
            .find(|place| !is_labelled(self.items[*place].image));
        place.is_some_and(|place| self.go_to(place))
    }

    /// To the last item before the cursor whose image is not labelled; false, and no move, where all
    /// before it is done.
    pub fn previous_unlabelled(&mut self, is_labelled: impl Fn(ImageId) -> bool) -> bool {
        let place = (0..self.cursor.min(self.items.len()))
            .rev()
            .find(|place| !is_labelled(self.items[*place].image));
        place.is_some_and(|place| self.go_to(place))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn queue(n: usize) -> Queue {
        let items = (0..n)
            .map(|i| QueueItem {
                image: ImageId::from(10 * i),
                reason: String::new(),
            })
            .collect();
        Queue::new(Strategy::InOrder, items)
    }

    #[test]
    fn steps_stop_at_both_ends() {
        let mut q = queue(2);
        assert!(!q.back());
        assert!(q.forward());
        assert!(!q.forward());
        assert_eq!(q.position(), 1);
        assert!(q.upcoming().is_empty());
        assert!(q.go_to_image(ImageId(0)) && !q.go_to_image(ImageId(5)));
        assert_eq!(q.upcoming().len(), 1);
    }

    #[test]
    fn an_empty_queue_goes_nowhere() {
        let mut q = queue(0);
        assert!(q.is_empty() && q.current().is_none() && q.upcoming().is_empty());
        assert!(!q.forward() && !q.back() && !q.go_to(0));
        assert!(!q.next_unlabelled(|_| false) && !q.previous_unlabelled(|_| false));
    }

    #[test]
    fn labelled_images_are_passed_over() {
        let mut q = queue(5);
        let labelled = |image: ImageId| [10, 20].contains(&image.0);
        assert!(q.next_unlabelled(labelled));
        assert_eq!(q.position(), 3);
        assert!(q.previous_unlabelled(labelled));
        assert_eq!(q.position(), 0);
        assert!(!q.next_unlabelled(|_| true));
        assert_eq!(q.position(), 0);
    }

    proptest! {
        #[test]
        fn no_walk_changes_the_order(steps in prop::collection::vec(0_u8..5, 0..50), n in 0_usize..9) {
            let mut q = queue(n);
            let before = q.items().to_vec();
            for step in steps {
                let moved = match step {
                    0 => q.forward(),
                    1 => q.back(),
                    2 => q.next_unlabelled(|i| i.0 == 20),
                    3 => q.previous_unlabelled(|i| i.0 == 20),
                    _ => q.go_to(usize::from(step)),
                };
                prop_assert!(!moved || q.current().is_some());
                prop_assert!(q.position() < n.max(1));
            }
            prop_assert_eq!(q.items(), before);
        }
    }
}
