//! The map of the drift candidates.

use std::sync::Arc;

use crate::domain::ImageId;
use crate::workflows::Places;

/// How images are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapLayout {
    /// By the two directions in which regular images vary most.
    #[default]
    Principal,
    /// By likeness, with t-SNE.
    Neighbours,
}

/// The layout by likeness, which takes a while.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum NeighbourMap {
    /// Nobody has asked for it.
    #[default]
    Open,
    /// It is being made.
    Running {
        /// What is being done.
        doing: String,
        /// How much of that is done, `0..=1`.
        done: f32,
        /// Seconds that are left of it, if known.
        left_s: Option<f64>,
    },
    /// It is there.
    Ready(Arc<Places>),
    /// There is none: a sentence.
    Failed(String),
}

/// Where the candidates lie. Labels and scores change colours, never places.
#[derive(Clone, Debug, Default)]
pub struct MapState {
    images: Vec<ImageId>,
    principal: Option<Result<Arc<Places>, String>>,
    /// The other layout.
    pub neighbours: NeighbourMap,
    /// The layout that the user asks for.
    pub wanted: MapLayout,
}

impl MapState {
    /// Other features: `images` lie at the first of `principal`, the regular images they are compared with at
    /// the rest. The layout asked for stays.
    pub fn set(&mut self, images: Vec<ImageId>, principal: Result<Places, String>) {
        *self = Self {
            images,
            principal: Some(principal.map(Arc::new)),
            neighbours: NeighbourMap::Open,
            wanted: self.wanted,
        };
    }

    /// Nothing is known any more; the layout asked for stays.
    pub fn forget(&mut self) {
        *self = Self {
            wanted: self.wanted,
            ..Self::default()
        };
    }

    /// Asks for a layout; for one that failed, once more.
    pub fn ask(&mut self, layout: MapLayout) {
        self.wanted = layout;
        if layout == MapLayout::Neighbours && matches!(self.neighbours, NeighbourMap::Failed(_)) {
            self.neighbours = NeighbourMap::Open;
        }
    }

    /// The candidates; their places come first.
    #[must_use]
    pub fn images(&self) -> &[ImageId] {
        &self.images
    }

    /// Whether the layout by likeness is still to be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.neighbours == NeighbourMap::Open && matches!(self.principal, Some(Ok(_)))
    }

    /// What can be shown now: the layout asked for, or until that is there the one that is. None before the
    /// features are there.
    ///
    /// # Errors
    /// Why there is no map at all: a sentence.
    #[must_use]
    pub fn shown(&self) -> Option<Result<(MapLayout, &Arc<Places>), &str>> {
        if let (MapLayout::Neighbours, NeighbourMap::Ready(places)) =
            (self.wanted, &self.neighbours)
        {
            return Some(Ok((MapLayout::Neighbours, places)));
        }
        Some(match self.principal.as_ref()? {
            Ok(places) => Ok((MapLayout::Principal, places)),
            Err(why) => Err(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> MapState {
        let mut map = MapState::default();
        let images = vec![ImageId(4), ImageId(9)];
        map.set(images, Ok(vec![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]));
        map
    }

    fn layout(map: &MapState) -> Option<MapLayout> {
        map.shown()?.ok().map(|(layout, _)| layout)
    }

    #[test]
    fn the_principal_map_stands_in_until_the_other_is_ready() {
        assert_eq!(layout(&MapState::default()), None);
        let mut map = two();
        assert!(map.is_open());
        map.ask(MapLayout::Neighbours);
        assert_eq!(layout(&map), Some(MapLayout::Principal));
        map.neighbours = NeighbourMap::Ready(Arc::new(vec![[0.0; 2]; 3]));
        assert_eq!(layout(&map), Some(MapLayout::Neighbours));
        map.ask(MapLayout::Principal);
        assert_eq!(layout(&map), Some(MapLayout::Principal));
    }

    #[test]
    fn what_failed_is_tried_again_when_asked_for_and_a_new_set_starts_over() {
        let mut map = two();
        map.neighbours = NeighbourMap::Failed("too few".to_owned());
        assert!(!map.is_open());
        map.ask(MapLayout::Neighbours);
        assert!(map.is_open());
        map.set(Vec::new(), Err("no numbers".to_owned()));
        assert_eq!(map.wanted, MapLayout::Neighbours);
        assert_eq!(map.shown().map(|shown| shown.is_err()), Some(true));
        assert!(!map.is_open(), "nothing to lay out");
        map.forget();
        assert!(map.shown().is_none());
    }
}
