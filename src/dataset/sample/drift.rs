//! What makes a picture drift: things that no class describes. Some are plain to see, some look GOOD
//! at a glance.

use super::canvas::{Area, Canvas, View};
use super::dice::Dice;
use super::layout::Layout;
use super::noise::{cloud, grain, wave};
use super::ribbon::{Condition, HALF_WIDTH, Ribbon};
use super::scene::speck;
use super::substrate::HALF_PITCH;

/// The kinds of drift that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriftKind {
    TornRibbon,
    Debris,
    Dust,
    Blur,
    WrongFraming,
    OverExposure,
    DoubleExposure,
}

impl DriftKind {
    pub const ALL: [Self; 7] = [
        Self::TornRibbon,
        Self::Debris,
        Self::Blur,
        Self::WrongFraming,
        Self::DoubleExposure,
        Self::OverExposure,
        Self::Dust,
    ];

    /// The word in `truth.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TornRibbon => "torn ribbon",
            Self::Debris => "debris",
            Self::Dust => "dust",
            Self::Blur => "blur",
            Self::WrongFraming => "wrong framing",
            Self::OverExposure => "over-exposure",
            Self::DoubleExposure => "double exposure",
        }
    }
}

/// One picture's oddity, rolled.
pub(super) struct Oddity {
    pub framing: Option<Framing>,
    pub torn: Option<Torn>,
    foreign: Vec<Foreign>,
    /// Whether it is debris, and slight.
    debris: Option<bool>,
    /// Shift in base pixels and share of 256 of a second exposure.
    ghost: Option<(f32, f32, u32)>,
    /// Blur radius in base pixels, and whether it is a smear along rows.
    blur: Option<(f32, bool)>,
    /// Factor on the exposure; 1 is ordinary.
    pub gain: f32,
}

/// A camera that looked elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    pub shift: (f32, f32),
    pub turn: f32,
    pub zoom: f32,
}

/// A ribbon torn loose that lies across the other.
pub(super) struct Torn {
    /// Which ribbon is gone from its place.
    pub side: usize,
    ribbon: Ribbon,
    /// Middle of the loose piece `(e, t)`.
    at: (f32, f32),
    /// Unit direction of the loose piece.
    direction: (f32, f32),
    half_length: f32,
    /// Where the lump of its torn foot came to rest, and its size.
    lump: Option<(f32, f32, f32)>,
    seed: u32,
}

/// Something that does not belong there; places in base pixels from the ribbon tips.
enum Foreign {
    Lump {
        e: f32,
        t: f32,
        size: (f32, f32),
        direction: (f32, f32),
        seed: u32,
    },
    Fibre {
        points: Vec<(f32, f32)>,
        width: f32,
        seed: u32,
    },
    /// Spots all over the frame.
    Spots {
        count: usize,
        radius: (f32, f32),
        seed: u64,
    },
}

/// Rolls an oddity; about a third are slight.
pub(super) fn roll(kind: DriftKind, dice: &mut Dice) -> Oddity {
    let slight = dice.chance(0.36);
    let mut oddity = Oddity {
        framing: None,
        torn: None,
        foreign: Vec::new(),
        debris: None,
        ghost: None,
        blur: None,
        gain: 1.0,
    };
    match kind {
        DriftKind::TornRibbon => oddity.torn = Some(roll_torn(dice, slight)),
        DriftKind::Debris => {
            oddity.debris = Some(slight);
            oddity.foreign = roll_all_debris(dice, slight);
        }
        DriftKind::Dust => oddity.foreign.push(Foreign::Spots {
            count: if slight {
                60 + dice.index(60)
            } else {
                180 + dice.index(500)
            },
            radius: if slight { (1.0, 2.6) } else { (1.0, 4.6) },
            seed: u64::from(dice.word()),
        }),
        DriftKind::Blur => {
            let radius = if slight {
                dice.between(2.0, 3.2)
            } else {
                dice.between(4.0, 12.0)
            };
            oddity.blur = Some((radius, dice.chance(0.25)));
        }
        DriftKind::WrongFraming => oddity.framing = Some(roll_framing(dice, slight)),
        DriftKind::OverExposure => {
            oddity.gain = if slight {
                dice.between(1.5, 2.0)
            } else {
                dice.between(2.2, 4.5)
            };
        }
        DriftKind::DoubleExposure => {
            let (reach, share) = if slight { (22.0, 70) } else { (80.0, 128) };
            oddity.ghost = Some((
                dice.sign() * dice.between(0.35 * reach, reach),
                dice.sign() * dice.between(0.15 * reach, reach),
                share - dice.index(22) as u32,
            ));
        }
    }
    oddity
}

/// A direction within `degrees` of the `t` axis.
fn lean(dice: &mut Dice, low: f32, high: f32) -> (f32, f32) {
    let degrees = dice.sign() * dice.between(low, high);
    let (cos, sin) = super::canvas::rotation(degrees);
    (sin, cos)
}

fn roll_torn(dice: &mut Dice, slight: bool) -> Torn {
    let side = dice.index(2);
    let e = if side == 0 { -HALF_PITCH } else { HALF_PITCH };
    let condition = if dice.chance(0.5) {
        Condition::Good
    } else {
        Condition::Flat {
            speckle: dice.between(0.02, 0.1),
        }
    };
    let direction = if slight {
        lean(dice, 7.0, 16.0)
    } else {
        lean(dice, 18.0, 75.0)
    };
    Torn {
        side,
        ribbon: Ribbon::roll(dice, condition, 390.0),
        at: (
            if slight {
                e + dice.around(0.0, 12.0)
            } else {
                -0.4 * e + dice.around(0.0, 50.0)
            },
            dice.between(190.0, 300.0),
        ),
        direction,
        half_length: dice.between(150.0, 250.0),
        lump: dice.chance(0.6).then(|| {
            (
                dice.around(1.6 * e, 90.0),
                dice.between(-20.0, 330.0),
                dice.between(34.0, 62.0),
            )
        }),
        seed: dice.word(),
    }
}

fn roll_debris(dice: &mut Dice, slight: bool) -> Foreign {
    let (e, t) = (dice.around(0.0, 190.0), dice.between(-10.0, 430.0));
    if dice.chance(0.4) {
        let steps = if slight { 14 } else { 26 + dice.index(40) };
        let mut direction = lean(dice, 0.0, 180.0);
        let mut points = vec![(e, t)];
        let bend = dice.around(0.0, 7.0);
        for _ in 0..steps {
            let (cos, sin) = super::canvas::rotation(bend + dice.around(0.0, 13.0));
            direction = (
                direction.0 * cos - direction.1 * sin,
                direction.0 * sin + direction.1 * cos,
            );
            let (e, t) = points[points.len() - 1];
            points.push((e + 8.0 * direction.0, t + 8.0 * direction.1));
        }
        Foreign::Fibre {
            points,
            width: if slight {
                dice.between(1.6, 2.6)
            } else {
                dice.between(2.2, 5.5)
            },
            seed: dice.word(),
        }
    } else {
        let size = if slight {
            dice.between(9.0, 18.0)
        } else {
            dice.between(24.0, 85.0)
        };
        Foreign::Lump {
            e,
            t,
            size: (size, size * dice.between(0.45, 0.9)),
            direction: lean(dice, 0.0, 180.0),
            seed: dice.word(),
        }
    }
}

fn roll_framing(dice: &mut Dice, slight: bool) -> Framing {
    let mut framing = Framing {
        shift: (0.0, 0.0),
        turn: 0.0,
        zoom: 1.0,
    };
    match (dice.index(3), slight) {
        (0, true) => framing.turn = dice.sign() * dice.between(7.0, 11.0),
        (0, false) => framing.turn = dice.sign() * dice.between(14.0, 80.0),
        (1, true) => framing.zoom = if dice.chance(0.5) { 0.82 } else { 1.2 },
        (1, false) => {
            framing.zoom = if dice.chance(0.5) {
                dice.between(0.5, 0.72)
            } else {
                dice.between(1.4, 2.0)
            };
        }
        (_, true) => {
            framing.shift = (
                dice.sign() * dice.between(60.0, 85.0),
                dice.sign() * dice.between(40.0, 80.0),
            );
        }
        (_, false) => {
            framing.shift = (
                dice.sign() * dice.between(130.0, 290.0),
                dice.sign() * dice.between(60.0, 300.0),
            );
        }
    }
    framing
}

/// Draws the stump, the loose piece across the other ribbon, and the lump of its foot.
pub(super) fn draw_torn(canvas: &mut Canvas, view: &View, layout: &Layout, torn: &Torn) {
    let e = if torn.side == 0 {
        -HALF_PITCH
    } else {
        HALF_PITCH
    };
    let stump = view.turned(e, layout.pad - 390.0, (0.0, 1.0));
    torn.ribbon.draw(canvas, &stump, 378.0, 1200.0);
    let loose = view.turned(torn.at.0, torn.at.1, torn.direction);
    let half = torn.half_length;
    let area = Area {
        e: (-HALF_WIDTH - 8.0, HALF_WIDTH + 8.0),
        t: (-half - 14.0, half + 14.0),
    };
    let seed = torn.seed;
    canvas.fill(&loose, area, |e, t, x, y| {
        let edge = HALF_WIDTH
            - 7.0 * wave(t * 0.016, seed).abs()
            - (e + 5.0 * wave(t * 0.012, seed ^ 1)).abs();
        let end = half + 10.0 * wave(e * 0.06, seed ^ 2) - t.abs();
        let inside = edge.min(end);
        if inside < 0.0 {
            return None;
        }
        let noise = grain(x, y, seed);
        if inside < 3.0 {
            return Some((8.0 + 30.0 * noise) as u8);
        }
        // A dull back, with a gleam along each edge and one soft bright spot where it is bent.
        let gleam =
            (1.0 - ((edge - 9.0) * 0.25).abs()).max(0.0) * (0.5 + 0.5 * wave(t * 0.03, seed ^ 3));
        let (de, dt) = (e * 0.028, (t + 0.55 * half) * 0.024);
        let spot = (1.15 - (de * de + dt * dt).sqrt() + 0.35 * cloud(e * 0.05, t * 0.05, seed ^ 4))
            .max(0.0);
        let v = 14.0 + 16.0 * noise + 150.0 * gleam + 300.0 * spot * spot;
        Some(v.min(255.0) as u8)
    });
    if let Some((e, t, size)) = torn.lump {
        lump(
            canvas,
            &view.turned(e, t, torn.direction),
            (size, 0.7 * size),
            seed ^ 9,
        );
    }
}

/// Share of the picture that debris has to change, and by how many grey levels: drift is what somebody saw.
const SEEN_SHARE: f64 = 0.001;
const SEEN_LEVELS: u8 = 60;

/// Draws lumps, fibres and spots. Debris that fell beside the frame, or lies dark on dark, falls anew.
pub(super) fn draw_foreign(canvas: &mut Canvas, view: &View, oddity: &mut Oddity, dice: &mut Dice) {
    let clean = canvas.pixels.clone();
    draw(canvas, view, oddity);
    let Some(slight) = oddity.debris else {
        return;
    };
    let is_seen = |canvas: &Canvas| {
        let pairs = clean.iter().zip(&canvas.pixels);
        let changed = pairs
            .filter(|(a, b)| a.abs_diff(**b) >= SEEN_LEVELS)
            .count();
        changed as f64 >= SEEN_SHARE * clean.len() as f64
    };
    for _ in 0..100 {
        if is_seen(canvas) {
            break;
        }
        canvas.pixels.copy_from_slice(&clean);
        oddity.foreign = roll_all_debris(dice, slight);
        draw(canvas, view, oddity);
    }
}

fn roll_all_debris(dice: &mut Dice, slight: bool) -> Vec<Foreign> {
    let count = if slight { 1 } else { 1 + dice.index(4) };
    (0..count).map(|_| roll_debris(dice, slight)).collect()
}

fn draw(canvas: &mut Canvas, view: &View, oddity: &Oddity) {
    for foreign in &oddity.foreign {
        match foreign {
            Foreign::Lump {
                e,
                t,
                size,
                direction,
                seed,
            } => lump(canvas, &view.turned(*e, *t, *direction), *size, *seed),
            Foreign::Fibre {
                points,
                width,
                seed,
            } => {
                for &(e, t) in points {
                    let reach = width + 5.0;
                    let near: Vec<_> = points
                        .windows(2)
                        .filter(|w| (w[0].0 - e).abs() < 20.0 && (w[0].1 - t).abs() < 20.0)
                        .collect();
                    canvas.fill(view, Area::around(e, t, reach), |e, t, x, y| {
                        near.iter()
                            .any(|w| distance(w[0], w[1], (e, t)) < 0.5 * width)
                            .then(|| (18.0 + 60.0 * grain(x, y, *seed)) as u8)
                    });
                }
            }
            Foreign::Spots {
                count,
                radius,
                seed,
            } => {
                let mut dice = Dice::new(*seed, 0);
                for _ in 0..*count {
                    let at = (
                        dice.unit() * canvas.width as f32,
                        dice.unit() * canvas.height as f32,
                    );
                    let r = dice.between(radius.0, radius.1) * dice.between(0.5, 1.0);
                    speck(canvas, at, r * view.scale, dice.word());
                }
            }
        }
    }
}

/// Distance of a point from a segment.
fn distance(a: (f32, f32), b: (f32, f32), p: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (p.0 - a.0, p.1 - a.1);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (ex, ey) = (px - along * dx, py - along * dy);
    (ex * ex + ey * ey).sqrt()
}

/// A lump of torn metal: dark, crumpled, with a few gleams.
fn lump(canvas: &mut Canvas, view: &View, size: (f32, f32), seed: u32) {
    let reach = 1.6 * size.0.max(size.1);
    canvas.fill(view, Area::around(0.0, 0.0, reach), |e, t, x, y| {
        let (a, b) = (e / size.0, t / size.1);
        let fold = cloud(2.2 * e / size.0, 2.2 * t / size.0, seed);
        let fine = cloud(7.0 * e / size.0, 7.0 * t / size.0, seed ^ 5);
        let inside = 1.0 + 0.45 * fold + 0.14 * fine - (a * a + b * b).sqrt();
        if inside < 0.0 {
            return None;
        }
        let gleam = cloud(4.0 * a, 4.0 * b, seed ^ 6).max(0.0);
        let v = 16.0 + 34.0 * grain(x, y, seed) + 190.0 * gleam * gleam * (inside * 2.5).min(1.0);
        Some(v.min(255.0) as u8)
    });
}

/// The second exposure.
pub(super) fn expose_twice(canvas: &mut Canvas, view: &View, oddity: &Oddity, edge: u8) {
    if let Some((dx, dy, share)) = oddity.ghost {
        let pixels = |d: f32| (d * view.scale).round() as i32;
        canvas.ghost(pixels(dx), pixels(dy), share, edge);
    }
}

/// The blur.
pub(super) fn defocus(canvas: &mut Canvas, view: &View, oddity: &Oddity) {
    if let Some((radius, smear)) = oddity.blur {
        let pixels = (radius * view.scale).round().max(1.0) as usize;
        let (each, passes) = if smear {
            (2 * pixels, 1)
        } else {
            (pixels.div_ceil(2), 3)
        };
        for _ in 0..passes {
            canvas.box_blur(each, smear);
        }
    }
}
