//! A bond ribbon: two feet with the waffle print of the bonding tool, an arch between them that mirrors
//! the lamps as bright and dark bands, and what can be wrong with it.

use super::canvas::{Area, Canvas, View, level, steep};
use super::dice::Dice;
use super::noise::{cloud, ease, grain, wave};

/// Half the width of a ribbon, in base pixels.
pub(super) const HALF_WIDTH: f32 = 57.0;
/// How far a ribbon runs from its tip, beyond any frame.
const LENGTH: usize = 1300;
/// Edge of the waffle print's cells, in base pixels.
const WAFFLE: f32 = 10.5;

/// What state a ribbon is in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Condition {
    Good,
    /// Lies flat: no bands, speckle of this density (0..1) from foot to foot.
    Flat {
        speckle: f32,
    },
    /// A foot torn off.
    Lifted(Lift),
    /// Shorted below: grey streaks along the crown and behind the second foot, where the stripes fade,
    /// by this strength (0..1).
    Shorted {
        strength: f32,
    },
}

/// A torn-off foot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lift {
    /// The foot at the tip rather than the one on the pad.
    pub at_tip: bool,
    /// How bright its place is, 0..1.
    pub brightness: f32,
    /// How much of the place is blotched with the opposite tone, 0..1.
    pub residue: f32,
    /// How far the tear runs into the arch, in base pixels.
    pub reach: f32,
}

/// One ribbon, ready to draw.
#[derive(Clone, Debug)]
pub(super) struct Ribbon {
    condition: Condition,
    /// Brightness along the ribbon from its tip, 0..1, one per base pixel.
    tone: Vec<f32>,
    /// Where the feet are.
    feet: [(f32, f32); 2],
    /// How much light the waffle prints throw back, 0..1.
    glare: f32,
    seed: u32,
}

impl Ribbon {
    /// Rolls the looks of a ribbon whose second foot stands at `pad` from the tip.
    pub fn roll(dice: &mut Dice, condition: Condition, pad: f32) -> Self {
        let long = pad > 450.0;
        let second = pad + dice.around(3.0, 10.0);
        let feet = [
            (14.0, dice.around(76.0, 8.0)),
            (second, second + dice.around(62.0, 8.0)),
        ];
        let mut tone = vec![1.0; LENGTH];
        let mut band = |from: f32, to: f32, soft: (f32, f32), dark: f32| {
            darken(&mut tone, from, to, soft, dark);
        };
        band(0.0, dice.between(5.0, 8.0), (0.0, 1.0), 0.95);
        let after = feet[1].1;
        match condition {
            Condition::Flat { .. } => {
                band(
                    feet[0].1,
                    feet[0].1 + dice.between(6.0, 24.0),
                    (0.0, 3.0),
                    0.95,
                );
                if dice.chance(0.3) {
                    let t = dice.between(feet[0].1 + 40.0, second - 60.0);
                    band(t, t + dice.between(4.0, 12.0), (5.0, 5.0), 0.5);
                }
            }
            _ => {
                // The arch: dark rise, bright crown, dark fall, a bright line before the foot.
                let faint = match condition {
                    Condition::Shorted { strength } => strength,
                    _ => 0.0,
                };
                // A torn foot lets the arch sag towards it: the crown comes nearer the tip. A white
                // one draws it out as well, a black one draws it in.
                let (sag, stretch) = match condition {
                    Condition::Lifted(lift) if lift.brightness > 0.5 => {
                        (dice.between(34.0, 68.0), dice.between(16.0, 50.0))
                    }
                    Condition::Lifted(_) => (dice.between(34.0, 68.0), dice.between(-36.0, -12.0)),
                    _ => (0.0, 0.0),
                };
                let (rise, crown) = if long {
                    (dice.around(225.0, 45.0), dice.around(115.0, 50.0))
                } else {
                    (dice.around(185.0, 28.0), dice.around(113.0, 30.0))
                };
                let rise = rise - sag;
                let crown = (crown + stretch).max(55.0);
                let fall = rise + crown;
                let gleam = second - dice.around(27.0, 6.0);
                band(feet[0].1, rise, (2.0, dice.between(8.0, 26.0)), 1.0);
                band(
                    fall,
                    gleam,
                    (dice.between(16.0, 34.0), dice.between(6.0, 14.0)),
                    1.0,
                );
                // Scratches and the lamp's own edge across the crown.
                for _ in 0..dice.index(3) {
                    let t = dice.between(rise + 14.0, fall - 14.0);
                    let half = dice.between(2.0, 8.0);
                    band(
                        t - half,
                        t + half,
                        (half + 6.0, half + 6.0),
                        dice.between(0.15, 0.42),
                    );
                }
                // Behind the second foot: stripes, which a short circuit washes out.
                let mut t = after + dice.between(-2.0, 6.0);
                for _ in 0..2 {
                    let width = dice.between(13.0, 26.0);
                    let dark = dice.between(0.8, 1.0) * (1.0 - 0.33 * faint);
                    band(
                        t,
                        t + width,
                        (dice.between(2.0, 8.0), dice.between(4.0, 14.0)),
                        dark,
                    );
                    t += width + dice.between(16.0, 30.0);
                }
                if dice.chance(0.6) {
                    let far = t + dice.between(30.0, 90.0);
                    band(
                        t,
                        far,
                        (6.0, dice.between(20.0, 60.0)),
                        dice.between(0.3, 0.9) * (1.0 - 0.33 * faint),
                    );
                }
            }
        }
        Self {
            condition,
            tone,
            feet,
            glare: dice.unit() * dice.unit(),
            seed: dice.word(),
        }
    }

    /// Draws the ribbon down the `t` axis of `view`, its middle on `e = 0`, from `from` to `to`.
    pub fn draw(&self, canvas: &mut Canvas, view: &View, from: f32, to: f32) {
        let area = Area {
            e: (-HALF_WIDTH, HALF_WIDTH),
            t: (from, to),
        };
        canvas.fill(view, area, |e, t, x, y| self.shade(e, t, x, y));
    }

    fn shade(&self, e: f32, t: f32, x: i32, y: i32) -> Option<u8> {
        let side = HALF_WIDTH - e.abs();
        let noise = grain(x, y, self.seed);
        if let Condition::Lifted(lift) = self.condition
            && let Some(level) = self.torn(lift, e, t, x, y)
        {
            return level;
        }
        if side < 2.6 {
            return Some((10.0 + 30.0 * noise) as u8);
        }
        if let Some(level) = self.waffle(e, t, side, noise) {
            return Some(level);
        }
        if let Condition::Flat { speckle } = self.condition {
            let (from, to) = (self.feet[0].1, self.feet[1].0);
            let frayed = 9.0 * wave(e * 0.16, self.seed ^ 0xF1);
            if (from + frayed + 14.0..to + 6.0 * wave(e * 0.16, self.seed ^ 0xF2)).contains(&t) {
                let cell = grain(
                    (e / 4.2).floor() as i32,
                    (t / 5.6).floor() as i32,
                    self.seed,
                );
                let patch = 0.7 + 0.6 * cloud(e * 0.03, t * 0.012, self.seed ^ 0xF3);
                if cell < speckle * patch {
                    return Some((20.0 + 150.0 * noise) as u8);
                }
            }
        }
        if let Condition::Shorted { strength } = self.condition
            && self.burnt(strength, e, t)
        {
            // A shade below the crown's own white: to be seen by who looks for it.
            return Some((132.0 + 92.0 * noise) as u8);
        }
        // Band edges waver across the ribbon and dissolve into grain.
        let waver = 2.6 * wave(e * 0.03, self.seed ^ 0xA1)
            + 1.8 * wave(e * 0.22, self.seed ^ 0xA2)
            + 2.0 * cloud(e * 0.3, t * 0.12, self.seed ^ 0xA3);
        let v = self.tone_at(t + waver);
        let coarse = grain(
            (e * 0.45).floor() as i32,
            (t * 0.6).floor() as i32,
            self.seed ^ 0xA4,
        );
        let dissolve = 0.06 + 3.2 * v * (1.0 - v);
        Some(level(
            0.02 + 0.98 * steep(v + dissolve * (0.5 * (noise + coarse) - 0.5)),
        ))
    }

    /// Whether a place is in one of the streaks along the ribbon that a short circuit leaves: thin ones
    /// on the crown, broad ones behind the second foot, which make up for the darkness of faded stripes.
    fn burnt(&self, strength: f32, e: f32, t: f32) -> bool {
        let behind = t - self.feet[1].1;
        let share = if behind > 4.0 {
            0.27 * strength * ease((220.0 - behind) / 80.0)
        } else {
            0.17 * strength
        };
        let drift = 4.0 * wave(t * 0.02, self.seed ^ 0xB1);
        let pitch = (e + drift) / 27.0;
        let broken = 0.5 * wave(t * 0.05, self.seed ^ 0xB2 ^ (pitch.floor() as i32 as u32));
        self.tone_at(t) > 0.4 && pitch - pitch.floor() < share * (1.0 + 1.4 * broken)
    }

    fn tone_at(&self, t: f32) -> f32 {
        let index = (t.max(0.0) as usize).min(LENGTH - 1);
        self.tone[index]
    }

    /// The print of the bonding tool, in a bright ragged margin.
    fn waffle(&self, e: f32, t: f32, side: f32, noise: f32) -> Option<u8> {
        let (from, to) = *self
            .feet
            .iter()
            .find(|(from, to)| t > from - 4.0 && t < to + 10.0)?;
        let ragged = 2.6 * wave((e - t) * 0.13, self.seed ^ 0xC1);
        let fray = match self.condition {
            Condition::Flat { .. } => 5.0 * wave(e * 0.2, self.seed ^ 0xC2),
            _ => 0.0,
        };
        let inside = (t - from).min(to - t + fray).min(side - 7.0) + ragged;
        if inside < 0.0 {
            return None;
        }
        if inside < 2.4 {
            return Some((14.0 + 24.0 * noise) as u8);
        }
        let (p, q) = ((e + t) / WAFFLE, (e - t) / WAFFLE);
        let (dp, dq) = (p - p.floor() - 0.5, q - q.floor() - 0.5);
        let dot = 1.0 - (dp * dp + dq * dq) * 7.0;
        let worn = 0.55 + 0.45 * cloud(e * 0.05, t * 0.05, self.seed ^ 0xC3);
        let v = 26.0 + 34.0 * noise + 95.0 * ease(dot) * worn * (0.5 + noise) + 62.0 * self.glare;
        Some(v as u8)
    }

    /// The place of a torn-off foot: bright or dark, ragged, with rests of the other tone.
    /// `Some(None)` is bare substrate, beyond the torn edge.
    fn torn(&self, lift: Lift, e: f32, t: f32, x: i32, y: i32) -> Option<Option<u8>> {
        let (from, to) = if lift.at_tip {
            (-4.0, self.feet[0].1 + lift.reach)
        } else {
            (self.feet[1].0 - lift.reach, self.feet[1].1 + 16.0)
        };
        let ragged =
            6.0 * wave(e * 0.09, self.seed ^ 0xD1) + 3.0 * wave(e * 0.35, self.seed ^ 0xD2);
        if t < from || t > to + ragged {
            return None;
        }
        let side = HALF_WIDTH - e.abs() - 2.5 - 3.0 * wave(t * 0.11, self.seed ^ 0xD3).abs();
        if side < 0.0 || (lift.at_tip && t < 4.0 + ragged * 0.6) {
            return Some(None);
        }
        let noise = grain(x, y, self.seed ^ 0xD4);
        let rim = side.min(to + ragged - t).min(t - from + 4.0);
        if rim < 3.0 {
            return Some(Some((10.0 + 40.0 * noise) as u8));
        }
        let patch = 0.5
            + 0.5 * cloud(e * 0.045, t * 0.045, self.seed ^ 0xD5)
            + 0.35 * cloud(e * 0.25, t * 0.25, self.seed ^ 0xD6);
        let bright = lift.brightness;
        let v = if patch < lift.residue {
            0.12 + 0.7 * (1.0 - bright)
        } else {
            bright
        };
        Some(Some(level(v + 0.16 * (noise - 0.5))))
    }
}

/// Darkens `tone` between two places by `dark` (1 is black), with ramps of the widths `soft`.
fn darken(tone: &mut [f32], from: f32, to: f32, soft: (f32, f32), dark: f32) {
    let ramp = |distance: f32, width: f32| {
        if width <= 0.0 {
            f32::from(u8::from(distance >= 0.0))
        } else {
            ease(distance / width + 0.5)
        }
    };
    for (index, value) in tone.iter_mut().enumerate() {
        let t = index as f32;
        let covered = ramp(t - from, soft.0).min(ramp(to - t, soft.1));
        *value *= 1.0 - dark * covered;
    }
}
