//! What lies under the ribbons: conductor tracks with the imprints that feet have left on them, the
//! pad's double-line frame, alignment dots.

use super::canvas::{Area, Canvas, View};
use super::layout::{Conductor, Layout};
use super::noise::{cloud, grain, wave};

/// How the conductor looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metal {
    /// Mean level, 0..255.
    pub level: f32,
    /// Amplitude of the fine grain, in levels.
    pub grain: f32,
    /// Amplitude of the brush marks, in levels.
    pub brushed: f32,
    pub seed: u32,
}

/// What a torn-off or never bonded foot left on the tracks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Imprint {
    None,
    /// A round one, seen on each track as far as it reaches.
    Round {
        e: f32,
        /// Along offset of the second track's disc against the first one's.
        split: f32,
        radius: f32,
        /// Levels by which it is lighter than the metal.
        lift: f32,
    },
    /// Rectangular plates with a dark rim, one for each ribbon marked.
    Plates {
        sides: [bool; 2],
        shift: f32,
    },
}

/// Half the distance between the two ribbons' axes.
pub(super) const HALF_PITCH: f32 = 70.0;

impl Metal {
    /// The level at a place: `(e, t)` along the conductor for brush marks, pixels for the grain.
    fn at(&self, e: f32, t: f32, x: i32, y: i32) -> f32 {
        // Grains are two pixels wide; most are alike, one in three stands out.
        let spike = (grain(x >> 1, y >> 1, self.seed) - 0.67).max(0.0) * 3.0;
        let mut v = self.level + self.grain * (2.4 * spike - 0.4);
        if self.brushed > 0.0 {
            v += self.brushed * cloud(t * 0.03 + e * 0.02, e * 0.35 - t * 0.06, self.seed ^ 0xB2);
            v += 0.8 * self.brushed * cloud(e * 0.04, t * 0.04, self.seed ^ 0xB3);
        }
        v
    }
}

/// Draws tracks, arms and lobes.
pub(super) fn conductors(canvas: &mut Canvas, view: &View, layout: &Layout, metal: &Metal) {
    // The dark outline that shows where the metal is light.
    let rim = (metal.level - 110.0).max(0.0) * 0.8;
    let shade = |inside: f32, e: f32, t: f32, x: i32, y: i32| {
        let worn = 1.6 * wave((e + t) * 0.11, metal.seed ^ 0xE1) + 0.7 * wave(t * 0.6, metal.seed);
        (inside + worn > 0.0).then(|| {
            let dark = if inside + worn < 3.0 { rim } else { 0.0 };
            (metal.at(e, t, x, y) - dark).clamp(0.0, 255.0) as u8
        })
    };
    for piece in layout.arms.iter().chain(layout.tracks) {
        let (local, area) = local(view, piece, 3.0);
        canvas.fill(&local, area, |e, t, x, y| {
            shade(piece.half_width - e.abs(), e, t, x, y)
        });
    }
    for &(e0, t0, radius) in layout.lobes {
        canvas.fill(view, Area::around(e0, t0, radius + 3.0), |e, t, x, y| {
            let (de, dt) = (e - e0, t - t0);
            shade(radius - (de * de + dt * dt).sqrt(), e, t, x, y)
        });
    }
    if rim > 0.0 {
        // Where pieces overlap their outlines are no edges: fill again, short of the rim.
        for piece in layout.arms.iter().chain(layout.tracks) {
            let (local, area) = local(view, piece, -5.0);
            canvas.fill(&local, area, |e, t, x, y| {
                Some(metal.at(e, t, x, y).clamp(0.0, 255.0) as u8)
            });
        }
    }
}

/// The frame of reference of a conductor and its area there, `margin` wider than it is.
fn local(view: &View, piece: &Conductor, margin: f32) -> (View, Area) {
    let half = piece.half_width + margin;
    (
        view.turned(piece.from.0, piece.from.1, piece.direction),
        Area {
            e: (-half, half),
            t: (0.0, piece.length),
        },
    )
}

/// Draws what feet have left on the tracks.
pub(super) fn imprint(
    canvas: &mut Canvas,
    view: &View,
    layout: &Layout,
    metal: &Metal,
    imprint: Imprint,
) {
    match imprint {
        Imprint::None => {}
        Imprint::Round {
            e: e0,
            split,
            radius,
            lift,
        } => {
            let middle =
                layout.tracks.iter().map(|t| t.from.1).sum::<f32>() / layout.tracks.len() as f32;
            for (index, track) in layout.tracks.iter().enumerate() {
                let side = if index == 0 { -0.5 } else { 0.5 };
                let e0 = e0 + split * side;
                let edge = track.half_width - 2.0;
                let area = Area {
                    e: (e0 - radius, e0 + radius),
                    t: (track.from.1 - edge, track.from.1 + edge),
                };
                canvas.fill(view, area, |e, t, x, y| {
                    let (de, dt) = (e - e0, t - middle);
                    let inside = radius - (de * de + dt * dt).sqrt();
                    if inside < 0.0 {
                        return None;
                    }
                    let v = metal.at(e, t, x, y);
                    let texture = 0.6 + 0.4 * cloud(e * 0.16, t * 0.16, metal.seed ^ 0x1E);
                    let v = if inside < 4.0 {
                        v * 0.45
                    } else {
                        v + lift * texture * (0.6 + 0.8 * grain(x, y, metal.seed ^ 0x77))
                    };
                    Some(v.clamp(0.0, 235.0) as u8)
                });
            }
        }
        Imprint::Plates { sides, shift } => {
            for track in layout.tracks {
                for (side, e0) in [-HALF_PITCH, HALF_PITCH].into_iter().enumerate() {
                    if !sides[side] {
                        continue;
                    }
                    let half = track.half_width - 4.0;
                    let area = Area {
                        e: (e0 + shift - 57.0, e0 + shift + 57.0),
                        t: (track.from.1 - half, track.from.1 + half),
                    };
                    canvas.fill(view, area, |e, t, x, y| {
                        let (de, dt) = ((e - e0 - shift).abs(), (t - track.from.1).abs());
                        let inside = (57.0 - de).min(half - dt) + 1.5 * wave((e + t) * 0.2, 7);
                        let v = metal.at(t, e, x, y);
                        let v = if inside < 0.0 {
                            return None;
                        } else if inside < 13.0 {
                            v * 0.12 + 4.0
                        } else {
                            v * 0.86
                        };
                        Some(v.clamp(0.0, 255.0) as u8)
                    });
                }
            }
        }
    }
}

/// Draws the pad's frame: two thin lines side by side, one side of it in shadow.
pub(super) fn pad_frame(canvas: &mut Canvas, view: &View, layout: &Layout, thick: f32, seed: u32) {
    let half = layout.pad_half_width;
    let (top, far) = (layout.pad, layout.pad + 900.0);
    let mut line = |e: (f32, f32), t: (f32, f32)| {
        canvas.fill(view, Area { e, t }, |e, t, x, y| {
            let worn = wave((e + t) * 0.05, seed);
            let v = 14.0 + 26.0 * grain(x, y, seed) + 30.0 * (worn - 0.5).max(0.0);
            Some(v as u8)
        });
    };
    for (offset, width) in [(0.0, 3.0 + thick), (11.0, 3.6)] {
        line(
            (-half + offset, half - offset),
            (top + offset, top + offset + width),
        );
        line(
            (-half + offset, -half + offset + width),
            (top + offset, far),
        );
        line((half - offset - 3.2, half - offset), (top + offset, far));
    }
}

/// Draws the alignment dots.
pub(super) fn dots(canvas: &mut Canvas, view: &View, layout: &Layout, seed: u32) {
    for &(e0, t0, radius) in layout.dots {
        canvas.fill(view, Area::around(e0, t0, radius), |e, t, x, y| {
            let (de, dt) = (e - e0, t - t0);
            let inside = radius - (de * de + dt * dt).sqrt();
            (inside > 0.0).then(|| (8.0 + 16.0 * grain(x, y, seed)) as u8)
        });
    }
}
