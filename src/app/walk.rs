//! The queue in the Label view: which images, in which order, where one is. Frozen while one walks it.

use std::collections::{HashMap, HashSet, VecDeque};

use super::command::Action;
use super::labeller::Ticket;
use crate::domain::ImageId;
use crate::queue::{Queue, Reason, Strategy};
use crate::workflows::ImageGroups;

/// Images beyond the current one that stay in their places when a queue is dealt anew: they are loaded already,
/// and what one has seen coming does not jump.
const SETTLED: usize = 3;

/// The queue and the place in it.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// How it was made; `None` for images chosen elsewhere: a confusion cell, a selection.
    pub strategy: Option<Strategy>,
    /// What it holds, for the toolbar.
    pub title: String,
    images: Vec<ImageId>,
    position: usize,
    why: HashMap<ImageId, String>,
    /// Places in `images` where one is shown a second time, to measure how repeatable the labelling is.
    repeats: HashSet<usize>,
    /// A label is on its way to the disk; what is typed meanwhile waits for the next image.
    saving: Option<Ticket>,
    typed: VecDeque<Action>,
}

impl Walk {
    /// A queue of images chosen elsewhere, from `start` on (its last image, if that is beyond).
    #[must_use]
    pub fn new(title: String, images: Vec<ImageId>, start: usize) -> Self {
        let position = start.min(images.len().saturating_sub(1));
        Self {
            title,
            images,
            position,
            ..Self::default()
        }
    }

    /// A queue made by a strategy, with its reasons.
    #[must_use]
    pub fn of(queue: &Queue) -> Self {
        let items = queue.items().iter();
        let images = items.clone().map(|item| item.image).collect();
        let strategy = queue.strategy();
        let why = items
            .filter(|_| strategy != Strategy::InOrder)
            .map(|item| (item.image, item.reason.clone()))
            .collect();
        Self {
            strategy: Some(strategy),
            why,
            ..Self::new(strategy.name().to_owned(), images, 0)
        }
    }

    /// Whether labels already given are hidden, so that the next one is given afresh.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.strategy == Some(Strategy::BlindRepeats) || self.repeats.contains(&self.position)
    }

    /// The queue that finds drift, still empty: [`deal`](Self::deal) fills it.
    #[must_use]
    pub fn find_drift() -> Self {
        let strategy = Strategy::FindDrift;
        Self {
            strategy: Some(strategy),
            ..Self::new(strategy.name().to_owned(), Vec::new(), 0)
        }
    }

    /// Replaces what is still to come of a queue that finds drift. What was shown, the current image and the
    /// next few stay where they are, and their near-duplicates are left out.
    pub fn deal(&mut self, items: &[(ImageId, Reason)], groups: &ImageGroups) {
        if self.strategy != Some(Strategy::FindDrift) {
            return;
        }
        self.images.truncate(self.position + 1 + SETTLED);
        // Those that were never shown are asked for again.
        self.repeats.retain(|place| *place < self.images.len());
        let settled = self
            .images
            .get(self.position..)
            .unwrap_or_default()
            .to_vec();
        for (image, reason) in items {
            let place = self.images.iter().rposition(|i| i == image);
            // An image shown before comes again only to be repeated, and not at once.
            if place.is_some_and(|place| !reason.is_blind() || place + SETTLED >= self.position) {
                continue;
            }
            let alike = |other: &ImageId| groups.together(*image, *other);
            if !reason.is_blind() && settled.iter().any(alike) {
                continue;
            }
            if reason.is_blind() {
                self.repeats.insert(self.images.len());
            }
            self.why.insert(*image, reason.sentence());
            self.images.push(*image);
        }
    }

    /// Images shown, or about to be, a second time.
    #[must_use]
    pub fn repeated(&self) -> Vec<ImageId> {
        let at = self.repeats.iter();
        at.filter_map(|place| self.images.get(*place).copied())
            .collect()
    }

    /// The images, in order.
    #[must_use]
    pub fn images(&self) -> &[ImageId] {
        &self.images
    }

    /// Place of the current image, from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The image shown.
    #[must_use]
    pub fn current(&self) -> Option<ImageId> {
        self.images.get(self.position).copied()
    }

    /// The image before, to compare with.
    #[must_use]
    pub fn previous(&self) -> Option<ImageId> {
        self.images.get(self.position.checked_sub(1)?).copied()
    }

    /// Why an image is in the queue, if there is a reason beyond its place.
    #[must_use]
    pub fn why(&self, image: ImageId) -> Option<&str> {
        self.why.get(&image).map(String::as_str)
    }

    /// What will be shown next, the most likely first: worth loading ahead.
    pub fn ahead(&self) -> impl Iterator<Item = ImageId> + '_ {
        let at = self.position;
        [at + 1, at + 2, at + 3, at.wrapping_sub(1)]
            .into_iter()
            .filter_map(|place| self.images.get(place).copied())
    }

    /// Goes to a place in the queue; the last one if it is beyond.
    pub fn go(&mut self, place: usize) {
        self.position = place.min(self.images.len().saturating_sub(1));
    }

    /// Goes to an image; false if the queue does not hold it.
    pub fn go_to(&mut self, image: ImageId) -> bool {
        let place = self.images.iter().position(|i| *i == image);
        if let Some(place) = place {
            self.position = place;
        }
        place.is_some()
    }

    /// Onwards; false at the end.
    pub fn advance(&mut self) -> bool {
        let more = self.position + 1 < self.images.len();
        self.position += usize::from(more);
        more
    }

    /// Onwards, beyond all that was labelled with the image shown; false, and on the last of them, where
    /// nothing else comes.
    pub fn advance_beyond(&mut self, labelled: &[ImageId]) -> bool {
        let mut more = self.advance();
        while more && self.current().is_some_and(|i| labelled.contains(&i)) {
            more = self.advance();
        }
        more
    }

    /// Carries out a move. `unlabelled` tells which images count for the moves that look for one.
    pub fn step(&mut self, action: Action, unlabelled: impl Fn(ImageId) -> bool) {
        let at = self.position;
        let last = self.images.len().saturating_sub(1);
        let open = |place: &usize| unlabelled(self.images[*place]);
        self.position = match action {
            Action::Next | Action::Skip => (at + 1).min(last),
            Action::Previous => at.saturating_sub(1),
            Action::First => 0,
            Action::Last => last,
            Action::NextUnlabelled => (at + 1..self.images.len()).find(open).unwrap_or(at),
            Action::PreviousUnlabelled => (0..at).rev().find(open).unwrap_or(at),
            _ => at,
        };
    }

    /// Whether a label is on its way to the disk.
    #[must_use]
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// An order that decides which image comes next was sent to the disk.
    pub fn begin_saving(&mut self, order: Ticket) {
        self.saving = Some(order);
    }

    /// The disk has answered an order; true if it was the one waited for. What was typed meanwhile is
    /// carried out then, until the next label is on its way.
    pub fn end_saving(&mut self, order: Ticket) -> bool {
        let awaited = self.saving == Some(order);
        if awaited {
            self.saving = None;
        }
        awaited
    }

    /// Keeps what was typed while a label was being saved.
    pub fn type_ahead(&mut self, action: Action) {
        self.typed.push_back(action);
    }

    /// The next thing typed, once nothing is being saved.
    pub fn next_typed(&mut self) -> Option<Action> {
        if self.saving.is_some() {
            None
        } else {
            self.typed.pop_front()
        }
    }

    /// Forgets what was typed ahead: the ground under it has changed.
    pub fn forget_typed(&mut self) {
        self.typed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{DuplicateGroups, EmbeddingView};

    fn walk(images: usize) -> Walk {
        let images = (0..images).map(ImageId::from).collect();
        Walk::new("all".to_owned(), images, 0)
    }

    #[test]
    fn moves_stay_within_the_queue() {
        let mut walk = walk(5);
        let mut step = |action| {
            walk.step(action, |image| image.0.is_multiple_of(2));
            walk.position()
        };
        assert_eq!(step(Action::Previous), 0);
        assert_eq!(step(Action::NextUnlabelled), 2);
        assert_eq!(step(Action::Next), 3);
        assert_eq!(step(Action::PreviousUnlabelled), 2);
        assert_eq!(step(Action::Last), 4);
        assert_eq!(step(Action::Skip), 4);
        assert_eq!(step(Action::NextUnlabelled), 4);
        assert_eq!(step(Action::First), 0);
        let mut empty = Walk::default();
        empty.step(Action::Last, |_| true);
        assert_eq!(empty.current(), None);
        assert!(!empty.advance());
    }

    #[test]
    fn what_is_typed_while_saving_comes_out_in_order_afterwards() {
        let mut walk = walk(5);
        walk.begin_saving(1);
        walk.type_ahead(Action::Class1);
        walk.type_ahead(Action::Class2);
        assert_eq!(walk.next_typed(), None);
        assert!(!walk.end_saving(7));
        assert!(walk.end_saving(1));
        assert_eq!(walk.next_typed(), Some(Action::Class1));
        walk.begin_saving(2);
        assert_eq!(walk.next_typed(), None);
        assert!(walk.end_saving(2));
        assert_eq!(walk.next_typed(), Some(Action::Class2));
        assert_eq!(walk.next_typed(), None);
    }

    #[test]
    fn a_queue_dealt_anew_keeps_what_is_near() {
        let near = |image: u32| (ImageId(image), Reason::New);
        let mut walk = Walk::find_drift();
        let none = ImageGroups::default();
        walk.deal(&(0..10).map(near).collect::<Vec<_>>(), &none);
        assert_eq!(walk.images().len(), 10);
        walk.go(4);
        walk.deal(&[near(20), near(2), near(6), near(9), near(21)], &none);
        let images: Vec<u32> = walk.images().iter().map(|i| i.0).collect();
        assert_eq!(images, [0, 1, 2, 3, 4, 5, 6, 7, 20, 9, 21]);
        assert_eq!(walk.current(), Some(ImageId(4)));
        assert!(walk.why(ImageId(20)).is_some());
        // A repeat is shown blind, and asked for once.
        walk.deal(&[(ImageId(0), Reason::Repeat), near(30)], &none);
        walk.go(8);
        assert_eq!(walk.current(), Some(ImageId(0)));
        assert!(walk.is_blind());
        assert_eq!(walk.repeated(), [ImageId(0)]);
        walk.go(9);
        assert!(!walk.is_blind());
        // Where it was shown first its label is to be seen.
        walk.go(0);
        assert!(!walk.is_blind());
        // One that is dealt away unshown is none.
        walk.go(9);
        walk.deal(&(40..50).map(near).collect::<Vec<_>>(), &none);
        let repeat = (ImageId(2), Reason::Repeat);
        walk.deal(&[near(50), near(51), near(52), repeat], &none);
        assert!(walk.repeated().contains(&ImageId(2)));
        walk.deal(&[near(60)], &none);
        assert_eq!(walk.repeated(), [ImageId(0)]);
        assert!(!walk.images()[9..].contains(&ImageId(2)));
        // Queues of other kinds are frozen.
        let mut frozen = Walk::new("cell".to_owned(), vec![ImageId(1)], 0);
        frozen.deal(&[near(5)], &none);
        assert_eq!(frozen.images(), [ImageId(1)]);
    }

    #[test]
    fn a_near_duplicate_of_what_is_coming_is_not_dealt() {
        // Images 6 and 20 are one picture, and so are 0 and 30.
        let rows: Vec<f32> = (0..40)
            .flat_map(|image| {
                let picture = match image {
                    20 => 6,
                    30 => 0,
                    other => other,
                };
                [1.0, picture as f32]
            })
            .collect();
        let view = EmbeddingView::new(&rows, 2).expect("whole rows");
        let images: Vec<ImageId> = (0..40).map(ImageId).collect();
        let found = DuplicateGroups::find(view).expect("numbers");
        let groups = ImageGroups::new(&images, &found);
        let near = |image: u32| (ImageId(image), Reason::New);
        let mut walk = Walk::find_drift();
        walk.deal(&(0..10).map(near).collect::<Vec<_>>(), &groups);
        walk.go(4);
        walk.deal(&[near(20), near(30), near(21)], &groups);
        let images: Vec<u32> = walk.images().iter().map(|i| i.0).collect();
        assert_eq!(images, [0, 1, 2, 3, 4, 5, 6, 7, 30, 21]);
        // One key labelled three of them.
        assert!(walk.advance_beyond(&[4, 5, 6].map(ImageId)));
        assert_eq!(walk.current(), Some(ImageId(7)));
        assert!(!walk.advance_beyond(&[7, 30, 21].map(ImageId)));
    }

    #[test]
    fn the_next_images_are_loaded_ahead() {
        let mut walk = walk(5);
        walk.go(1);
        let ahead: Vec<u32> = walk.ahead().map(|i| i.0).collect();
        assert_eq!(ahead, [2, 3, 4, 0]);
        walk.go(0);
        let ahead: Vec<u32> = walk.ahead().map(|i| i.0).collect();
        assert_eq!(ahead, [1, 2, 3]);
    }
}
