//! Which part of a map is seen, and how large.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

/// Room around the outermost places when all are seen, in points of the screen.
const MARGIN: f32 = 18.0;
/// How far one may go in.
const CLOSEST: f32 = 200.0;

/// From places on a map, y upwards, to points on the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lens {
    /// What the places span: middle, and half the width and height.
    middle: Vec2,
    half: Vec2,
    /// Where on the screen.
    pub rect: Rect,
    /// 1 shows all places.
    zoom: f32,
    /// The place in the middle of the screen.
    center: Vec2,
}

impl Lens {
    /// Shows all `places`.
    #[must_use]
    pub fn new(places: &[[f32; 2]]) -> Self {
        let mut span = Rect::NOTHING;
        for [x, y] in places {
            span.extend_with(pos2(*x, *y));
        }
        if !span.is_finite() {
            span = Rect::ZERO;
        }
        let middle = span.center().to_vec2();
        Self {
            middle,
            half: span.size() / 2.0,
            rect: Rect::ZERO,
            zoom: 1.0,
            center: middle,
        }
    }

    /// Shows all places again.
    pub fn fit(&mut self) {
        (self.zoom, self.center) = (1.0, self.middle);
    }

    /// Points of the screen to a unit of the map. Where all places are one, that is in the middle.
    #[must_use]
    pub fn scale(&self) -> f32 {
        let room = (self.rect.size() / 2.0 - Vec2::splat(MARGIN)).max(Vec2::splat(1.0));
        let fit = (room.x / self.half.x).min(room.y / self.half.y);
        let fit = if fit.is_finite() { fit } else { 1.0 };
        fit * self.zoom
    }

    /// Where a place is seen.
    #[must_use]
    pub fn to_screen(self, [x, y]: [f32; 2]) -> Pos2 {
        let off = (vec2(x, y) - self.center) * self.scale();
        self.rect.center() + vec2(off.x, -off.y)
    }

    /// The place under a point of the screen.
    #[must_use]
    pub fn to_map(self, at: Pos2) -> [f32; 2] {
        let off = (at - self.rect.center()) / self.scale();
        [self.center.x + off.x, self.center.y - off.y]
    }

    /// Larger by `factor`; what lies under `at` stays there.
    pub fn zoom_at(&mut self, at: Pos2, factor: f32) {
        let [x, y] = self.to_map(at);
        self.zoom = (self.zoom * factor).clamp(1.0, CLOSEST);
        let off = (at - self.rect.center()) / self.scale();
        self.look_at(vec2(x - off.x, y + off.y));
    }

    /// Moves the map along with the pointer.
    pub fn pan(&mut self, by: Vec2) {
        let by = by / self.scale();
        self.look_at(self.center - vec2(by.x, -by.y));
    }

    /// Never beyond the outermost places; all of them stay in the middle.
    fn look_at(&mut self, center: Vec2) {
        let reach = self.half * (1.0 - 1.0 / self.zoom);
        self.center = center.clamp(self.middle - reach, self.middle + reach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(places: &[[f32; 2]]) -> Lens {
        Lens {
            rect: Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 300.0)),
            ..Lens::new(places)
        }
    }

    #[test]
    fn all_places_are_seen_and_up_is_up() {
        let places = [[-3.0, 0.0], [5.0, 1.0], [2.0, 40.0]];
        let lens = lens(&places);
        for place in places {
            assert!(lens.rect.contains(lens.to_screen(place)), "{place:?}");
        }
        assert!(lens.to_screen(places[2]).y < lens.to_screen(places[0]).y);
    }

    #[test]
    fn what_is_under_the_pointer_stays_there() {
        let mut lens = lens(&[[0.0, 0.0], [4.0, 3.0]]);
        let at = pos2(190.0, 180.0);
        let before = lens.to_map(at);
        for factor in [1.5, 3.0, 0.7] {
            lens.zoom_at(at, factor);
            let now = lens.to_map(at);
            assert!((now[0] - before[0]).abs() < 1e-4, "{now:?} {before:?}");
            assert!((now[1] - before[1]).abs() < 1e-4, "{now:?} {before:?}");
        }
        lens.pan(vec2(-1e6, 1e6));
        assert!(lens.to_map(lens.rect.center())[0] <= 4.0);
        lens.zoom_at(at, 1e-9);
        assert!((lens.to_map(lens.rect.center())[0] - 2.0).abs() < 1e-5);
    }

    #[test]
    fn one_place_equal_places_and_none_make_no_trouble() {
        for places in [&[][..], &[[2.0, 7.0]], &[[1.0, 1.0], [1.0, 1.0]]] {
            let mut lens = lens(places);
            lens.zoom_at(pos2(50.0, 50.0), 8.0);
            lens.pan(vec2(3.0, 4.0));
            for place in places {
                assert!((lens.to_screen(*place) - lens.rect.center()).length() < 1e-3);
            }
        }
        let line = lens(&[[0.0, 0.0], [1.0, 0.0]]);
        assert!(line.rect.contains(line.to_screen([1.0, 0.0])));
    }
}
