//! One picture: rolled from its seed, then drawn.

use super::canvas::{Area, Canvas, View};
use super::dice::Dice;
use super::drift::{self, DriftKind};
use super::layout::{Die, Window};
use super::noise::{cloud, grain};
use super::ribbon::{Condition, Lift, Ribbon};
use super::substrate::{self, HALF_PITCH, Imprint, Metal};

/// What a part shows: the challenge's regular classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Good,
    FlatLoop,
    WhiteLiftOff,
    BlackLiftOff,
    Missing,
    ShortCircuit,
}

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub die: Die,
    pub window: Window,
    pub shows: Shows,
    /// What is odd about it; such a picture is drift whatever the part shows.
    pub drift: Option<DriftKind>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

impl Shows {
    /// In the order of the challenge's integers.
    pub const ALL: [Self; 6] = [
        Self::Good,
        Self::FlatLoop,
        Self::WhiteLiftOff,
        Self::BlackLiftOff,
        Self::Missing,
        Self::ShortCircuit,
    ];
}

/// Draws a subject; the same dice give the same picture.
pub(super) fn draw(subject: &Subject, dice: &mut Dice) -> Canvas {
    let (width, height) = subject.size;
    let double = subject.die.is_double();
    let layout = subject.die.layout();
    let seed = dice.word();

    let mut shift = (dice.around(0.0, 14.0), dice.around(0.0, 14.0));
    let mut turn = dice.around(0.0, 1.6);
    let mut zoom = 1.0 + dice.around(0.0, 0.014);
    let mut oddity = subject.drift.map(|kind| drift::roll(kind, dice));
    if let Some(framing) = oddity.as_ref().and_then(|o| o.framing) {
        shift = (shift.0 + framing.shift.0, shift.1 + framing.shift.1);
        turn += framing.turn;
        zoom *= framing.zoom;
    }
    let view = subject.die.view(subject.window, width, shift, turn, zoom);

    let metal = roll_metal(dice, subject, seed);
    let imprint = roll_imprint(dice, subject);
    let mut ribbons = roll_ribbons(dice, subject, &view);

    let background = if double { 250 } else { 255 };
    let mut canvas = Canvas::new(width as usize, height as usize, background);
    substrate::conductors(&mut canvas, &view, layout, &metal);
    substrate::imprint(&mut canvas, &view, layout, &metal, imprint);
    let thick = if dice.chance(0.5) {
        dice.between(0.0, 4.5)
    } else {
        0.0
    };
    substrate::pad_frame(&mut canvas, &view, layout, thick, seed ^ 0x11);
    substrate::dots(&mut canvas, &view, layout, seed ^ 0x12);
    let torn = oddity.as_mut().and_then(|o| o.torn.take());
    if let Some(torn) = &torn {
        // One ribbon has come loose: only a stump of it is left where it was.
        ribbons[torn.side] = None;
    }
    for (side, ribbon) in ribbons.iter().enumerate() {
        if let Some((ribbon, slip)) = ribbon {
            let e = if side == 0 { -HALF_PITCH } else { HALF_PITCH } + slip.0;
            let local = view.turned(e, slip.1, (slip.2, 1.0 - 0.5 * slip.2 * slip.2));
            ribbon.draw(&mut canvas, &local, 0.0, 1200.0);
        }
    }
    if let Some(torn) = &torn {
        drift::draw_torn(&mut canvas, &view, layout, torn);
    }
    specks(&mut canvas, &view, dice, seed);
    if let Some(oddity) = &mut oddity {
        drift::draw_foreign(&mut canvas, &view, oddity, dice);
    }
    if let Some(oddity) = &oddity {
        drift::expose_twice(&mut canvas, &view, oddity, background);
    }
    border(&mut canvas, subject, dice, turn);
    soften(&mut canvas, dice, view.scale);
    if let Some(oddity) = &oddity {
        drift::defocus(&mut canvas, &view, oddity);
    }
    expose(&mut canvas, subject.window, dice, oddity.as_ref());
    canvas
}

fn roll_metal(dice: &mut Dice, subject: &Subject, seed: u32) -> Metal {
    let double = subject.die.is_double();
    let brushed_share = if subject.shows == Shows::Missing {
        0.13
    } else {
        0.07
    };
    let mut level = dice.around(48.0, 18.0);
    let mut brush = 0.0;
    if dice.chance(brushed_share) {
        level = if double {
            dice.around(172.0, 26.0)
        } else {
            dice.around(92.0, 16.0)
        };
        brush = dice.between(12.0, 34.0) * if double { 1.0 } else { 0.5 };
    }
    Metal {
        level,
        grain: dice.between(8.0, 20.0),
        brushed: brush,
        seed: seed ^ 0xA0,
    }
}

fn roll_imprint(dice: &mut Dice, subject: &Subject) -> Imprint {
    let double = subject.die.is_double();
    let share = match (subject.shows, double) {
        (Shows::Missing, true) => 0.75,
        (Shows::Missing, false) => 0.22,
        (_, true) => 0.3,
        (_, false) => 0.05,
    };
    if !dice.chance(share) {
        return Imprint::None;
    }
    if double && dice.chance(0.85) {
        Imprint::Round {
            e: dice.around(20.0, 70.0),
            split: dice.around(0.0, 70.0),
            radius: dice.between(92.0, 126.0),
            lift: dice.between(24.0, 95.0),
        }
    } else {
        Imprint::Plates {
            sides: match dice.index(3) {
                0 => [true, true],
                1 => [true, false],
                _ => [false, true],
            },
            shift: dice.around(0.0, 14.0),
        }
    }
}

/// A ribbon and how it lies: moved across, moved along, and the tangent of its tilt.
type Placed = Option<(Ribbon, (f32, f32, f32))>;

fn roll_ribbons(dice: &mut Dice, subject: &Subject, view: &View) -> [Placed; 2] {
    let pad = subject.die.layout().pad;
    // Whether the foot at the tip and the one on the pad are in sight, for each ribbon.
    let in_sight = [-HALF_PITCH, HALF_PITCH]
        .map(|e| [48.0, pad + 34.0].map(|t| in_sight(subject, view, e, t)));
    // A defect sits on one ribbon or on both: a flat loop mostly on one, a short below mostly on both.
    let mut side = dice.index(2);
    if in_sight[side] == [false, false] {
        side = 1 - side;
    }
    let both = dice.chance(match subject.shows {
        Shows::ShortCircuit => 0.85,
        Shows::FlatLoop => 0.2,
        _ => 0.65,
    });
    let present = match subject.shows {
        Shows::Missing => match dice.index(10) {
            0 => [side == 0, side == 1],
            _ => [false, false],
        },
        _ => [true, true],
    };
    [0, 1].map(|index| {
        let hit = both || index == side;
        let condition = if hit {
            roll_condition(dice, subject, in_sight[index])
        } else {
            Condition::Good
        };
        let ribbon = Ribbon::roll(dice, condition, pad);
        let slip = (
            dice.around(0.0, 6.0),
            dice.around(0.0, 18.0),
            dice.around(0.0, 0.016),
        );
        present[index].then_some((ribbon, slip))
    })
}

/// Whether the camera shows a place of the scene, well inside its border.
fn in_sight(subject: &Subject, view: &View, e: f32, t: f32) -> bool {
    let (x, y) = view.to_picture(e, t);
    let (x, y) = (x / subject.size.0 as f32, y / subject.size.1 as f32);
    let (left, top) = if subject.die.is_double() {
        (0.11, 0.15)
    } else {
        (0.04, 0.07)
    };
    (left..1.0 - left).contains(&x) && (top..1.0 - top).contains(&y)
}

fn roll_condition(dice: &mut Dice, subject: &Subject, in_sight: [bool; 2]) -> Condition {
    let lift = |dice: &mut Dice, brightness: f32| {
        Condition::Lifted(Lift {
            at_tip: match in_sight {
                [true, false] => true,
                [false, true] => false,
                _ => dice.chance(0.7),
            },
            brightness,
            residue: dice.between(0.05, 0.16),
            reach: dice.between(42.0, 84.0),
        })
    };
    match subject.shows {
        Shows::Good | Shows::Missing => Condition::Good,
        Shows::FlatLoop => Condition::Flat {
            speckle: if subject.die.is_double() {
                dice.between(0.16, 0.42)
            } else {
                dice.between(0.12, 0.36)
            },
        },
        Shows::WhiteLiftOff => {
            let brightness = dice.between(0.84, 0.99);
            lift(dice, brightness)
        }
        Shows::BlackLiftOff => {
            let brightness = dice.between(0.02, 0.14);
            lift(dice, brightness)
        }
        Shows::ShortCircuit => Condition::Shorted {
            strength: dice.between(0.65, 1.0),
        },
    }
}

/// The little dirt that every picture has.
fn specks(canvas: &mut Canvas, view: &View, dice: &mut Dice, seed: u32) {
    let dusty = dice.chance(0.08);
    let count = dice.index(if dusty { 26 } else { 7 });
    for index in 0..count {
        let (x, y) = (
            dice.unit() * canvas.width as f32,
            dice.unit() * canvas.height as f32,
        );
        let radius = dice.between(0.8, 2.6) * view.scale;
        speck(canvas, (x, y), radius, seed.wrapping_add(index as u32));
    }
}

/// A dark irregular spot at a pixel.
pub(super) fn speck(canvas: &mut Canvas, at: (f32, f32), radius: f32, seed: u32) {
    let upright = View {
        origin: at,
        across: (1.0, 0.0),
        along: (0.0, 1.0),
        scale: 1.0,
    };
    canvas.fill(
        &upright,
        Area::around(0.0, 0.0, 1.4 * radius),
        |e, t, x, y| {
            let ragged = 1.0 + 0.5 * cloud(e * 1.3 / radius, t * 1.3 / radius, seed);
            let inside = (e * e + t * t).sqrt() < radius * ragged;
            inside.then(|| (20.0 + 60.0 * grain(x, y, seed)) as u8)
        },
    );
}

/// The flat border around what the camera shows.
fn border(canvas: &mut Canvas, subject: &Subject, dice: &mut Dice, turn: f32) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let boxed = subject.die.is_double() && dice.chance(0.85);
    // Shares of the frame: left, right, top, bottom.
    let (left, right, top, bottom) = if boxed {
        (0.076, 0.925, 0.119, 0.863)
    } else if subject.die.is_double() {
        (0.0, 1.0, 0.0, 1.0)
    } else {
        (0.0, 1.0, 0.036, 0.945)
    };
    let wobble = if boxed { turn.clamp(-3.0, 3.0) } else { 0.0 };
    let (cos, sin) = super::canvas::rotation(wobble);
    let frame = View {
        origin: (width / 2.0, height / 2.0),
        across: (cos, -sin),
        along: (sin, cos),
        scale: 1.0,
    };
    let far = width + height;
    let (e0, e1) = ((left - 0.5) * width, (right - 0.5) * width);
    let (t0, t1) = ((top - 0.5) * height, (bottom - 0.5) * height);
    let mut white = |e: (f32, f32), t: (f32, f32)| {
        canvas.fill(&frame, Area { e, t }, |_, _, _, _| Some(255));
    };
    if boxed {
        white((-far, e0), (-far, far));
        white((e1, far), (-far, far));
    }
    if boxed || !subject.die.is_double() {
        white((-far, far), (-far, t0));
        white((-far, far), (t1, far));
    }
}

/// The optics: a little softness, more of it in pixels where the frame is larger.
fn soften(canvas: &mut Canvas, dice: &mut Dice, scale: f32) {
    let k = dice.between(22.0, 60.0) as u16;
    canvas.soften(k);
    if scale > 1.5 {
        canvas.soften(60);
    }
}

/// The camera's response. The second window is exposed longer, a lamp stands a little to one side, and
/// both windows stretch the contrast, which leaves gaps between the levels.
fn expose(canvas: &mut Canvas, window: Window, dice: &mut Dice, oddity: Option<&drift::Oddity>) {
    let lift = match window {
        Window::W2003 => dice.around(0.0, 0.07),
        Window::W2005 => dice.around(0.16, 0.09),
    };
    let gain = 1.0 + dice.around(0.0, 0.035);
    let extra = oddity.map_or(1.0, |o| o.gain);
    // Mid-tones gain towards the lamp, black and white do not.
    let (slope_x, slope_y) = (dice.around(0.0, 0.6), dice.around(0.0, 0.6));
    let (width, height) = (canvas.width, canvas.height as f32);
    for (y, row) in canvas.pixels.chunks_exact_mut(width).enumerate() {
        let tilt = slope_y * (y as f32 / height - 0.5) - 0.5 * slope_x;
        let step = slope_x / width as f32;
        for (x, pixel) in row.iter_mut().enumerate() {
            let v = f32::from(*pixel) / 255.0;
            let tilt = tilt + step * x as f32;
            let v = (v + (lift + tilt * (1.0 - v)) * v * (1.0 - v)) * gain * extra
                + (extra - 1.0) * 0.06;
            let v = (v * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
            *pixel = if v < 246 { v - v % 6 } else { v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(shows: Shows, drift: Option<DriftKind>) -> Subject {
        Subject {
            die: Die::Die01,
            window: Window::W2005,
            shows,
            drift,
            size: (540, 630),
        }
    }

    fn dark_share(canvas: &Canvas) -> f64 {
        let dark = canvas.pixels.iter().filter(|&&p| p < 100).count();
        dark as f64 / canvas.pixels.len() as f64
    }

    #[test]
    fn debris_can_be_seen() {
        for seed in 0..40 {
            let mut dice = Dice::new(seed, 3);
            let mut oddity = drift::roll(DriftKind::Debris, &mut dice);
            let subject = subject(Shows::Good, Some(DriftKind::Debris));
            let view = subject.die.view(subject.window, 540, (0.0, 0.0), 0.0, 1.0);
            // Half of it as dark as debris is.
            let mut canvas = Canvas::new(540, 630, 255);
            canvas.pixels[..540 * 315].fill(20);
            let before = canvas.pixels.clone();
            drift::draw_foreign(&mut canvas, &view, &mut oddity, &mut dice);
            let pairs = before.iter().zip(&canvas.pixels);
            let changed = pairs.filter(|(a, b)| a.abs_diff(**b) >= 60).count();
            assert!(changed >= 340, "{seed}: {changed} of 340,200 pixels");
        }
    }

    #[test]
    fn everything_can_be_drawn_at_any_size() {
        let mut seed = 0;
        for die in Die::ALL {
            for window in Window::ALL {
                for shows in Shows::ALL {
                    for drift in [None].into_iter().chain(DriftKind::ALL.map(Some)) {
                        seed += 1;
                        let subject = Subject {
                            die,
                            window,
                            shows,
                            drift,
                            size: (60, 70),
                        };
                        let canvas = draw(&subject, &mut Dice::new(seed, 0));
                        assert!(dark_share(&canvas) < 0.9, "{subject:?}");
                        let lightest = canvas.pixels.iter().max();
                        assert!(lightest >= Some(&230), "{subject:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_picture_is_the_same_on_every_machine() {
        let drawn = [
            subject(Shows::Good, None),
            subject(Shows::BlackLiftOff, None),
            subject(Shows::Missing, Some(DriftKind::Debris)),
            subject(Shows::Good, Some(DriftKind::TornRibbon)),
        ]
        .map(|subject| draw(&subject, &mut Dice::new(1, 2)).pixels);
        let hash = blake3::hash(&drawn.concat()).to_hex();
        // Changes whenever the drawing does: then the sample under data/ must be made anew.
        assert_eq!(&hash[..16], "a7bf62c9e3fb6552");
    }

    #[test]
    fn missing_ribbons_leave_the_frame_lighter() {
        let mean = |shows| {
            let total: f64 = (0..12)
                .map(|s| dark_share(&draw(&subject(shows, None), &mut Dice::new(s, 0))))
                .sum();
            total / 12.0
        };
        assert!(mean(Shows::Missing) + 0.05 < mean(Shows::Good));
    }
}
