//! Where things lie on the four dies, measured off published figures: the angle at which the ribbons
//! cross, the conductor tracks, the pad's frame, and which part of it each window sees.

use super::canvas::View;
use super::canvas::rotation;

/// The die (`lib` in the challenge's files).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Die {
    Die01,
    Die02,
    Die03,
    Die04,
}

/// The bonding window, seen by a camera of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    W2003,
    W2005,
}

/// A straight piece of conductor, in the scene's frame of reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conductor {
    /// Start `(e, t)`.
    pub from: (f32, f32),
    /// Unit vector `(e, t)`.
    pub direction: (f32, f32),
    pub length: f32,
    pub half_width: f32,
}

/// What lies on a die besides the ribbons.
pub(super) struct Layout {
    /// Conductors that the ribbons cross, from the side of the bend.
    pub tracks: &'static [Conductor],
    /// Their continuations.
    pub arms: &'static [Conductor],
    /// Round ends `(e, t, radius)`.
    pub lobes: &'static [(f32, f32, f32)],
    /// Where the pad's frame starts along the ribbons; the second foot stands just inside it.
    pub pad: f32,
    /// Half the width of the pad's frame.
    pub pad_half_width: f32,
    /// Alignment dots `(e, t, radius)`.
    pub dots: &'static [(f32, f32, f32)],
}

/// One track with round lobes at its ends, bent back at one of them.
static SINGLE: Layout = Layout {
    tracks: &[Conductor {
        from: (245.0, 205.0),
        direction: (-1.0, 0.0),
        length: 625.0,
        half_width: 50.0,
    }],
    arms: &[Conductor {
        from: (245.0, 205.0),
        direction: (0.0, -1.0),
        length: 600.0,
        half_width: 48.0,
    }],
    lobes: &[(-380.0, 205.0, 82.0), (245.0, 205.0, 84.0)],
    pad: 390.0,
    pad_half_width: 190.0,
    dots: &[(-45.0, -98.0, 31.0), (325.0, 374.0, 26.0)],
};

const DIAGONAL: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Two parallel tracks that part at one end.
static DOUBLE: Layout = Layout {
    tracks: &[
        Conductor {
            from: (-210.0, 190.0),
            direction: (1.0, 0.0),
            length: 1000.0,
            half_width: 47.0,
        },
        Conductor {
            from: (-250.0, 346.0),
            direction: (1.0, 0.0),
            length: 1000.0,
            half_width: 47.0,
        },
    ],
    arms: &[
        Conductor {
            from: (-210.0, 190.0),
            direction: (-DIAGONAL, -DIAGONAL),
            length: 500.0,
            half_width: 46.0,
        },
        Conductor {
            from: (-250.0, 346.0),
            direction: (-DIAGONAL, -DIAGONAL),
            length: 500.0,
            half_width: 44.0,
        },
        Conductor {
            from: (-250.0, 346.0),
            direction: (-DIAGONAL, DIAGONAL),
            length: 500.0,
            half_width: 46.0,
        },
    ],
    lobes: &[
        (430.0, 372.0, 60.0),
        (-210.0, 190.0, 46.0),
        (-250.0, 346.0, 46.0),
    ],
    pad: 548.0,
    pad_half_width: 185.0,
    dots: &[],
};

impl Die {
    pub const ALL: [Self; 4] = [Self::Die01, Self::Die02, Self::Die03, Self::Die04];

    /// The word in the challenge's files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Die01 => "Die01",
            Self::Die02 => "Die02",
            Self::Die03 => "Die03",
            Self::Die04 => "Die04",
        }
    }

    /// Width and height of its ordinary frames, in pixels.
    pub fn base_size(self) -> (u32, u32) {
        if self.is_double() {
            (720, 840)
        } else {
            (540, 630)
        }
    }

    /// Whether it has two tracks (Die02, Die03) rather than one.
    pub fn is_double(self) -> bool {
        matches!(self, Self::Die02 | Self::Die03)
    }

    pub fn layout(self) -> &'static Layout {
        if self.is_double() { &DOUBLE } else { &SINGLE }
    }

    /// Counter-clockwise direction in degrees in which the ribbon tips point, and whether the die is
    /// the mirror image of its sister. Turning the picture by the organisers' preprocessing angle
    /// (55, -44, 134, 35) brings the tips up.
    fn direction(self) -> (f32, bool) {
        match self {
            Self::Die01 => (35.0, false),
            Self::Die02 => (134.0, false),
            Self::Die03 => (-44.0, true),
            Self::Die04 => (55.0, true),
        }
    }

    /// Where the middle between the two ribbon tips lies in a frame of the base size.
    fn tips(self, window: Window) -> (f32, f32) {
        match (self, window) {
            (Self::Die01, Window::W2003) => (534.0, 246.0),
            (Self::Die01, Window::W2005) => (433.0, 122.0),
            (Self::Die02, Window::W2003) => (226.0, 160.0),
            (Self::Die02, Window::W2005) => (138.0, 246.0),
            (Self::Die03, Window::W2003) => (624.0, 590.0),
            (Self::Die03, Window::W2005) => (556.0, 694.0),
            (Self::Die04, Window::W2003) => (461.0, 160.0),
            (Self::Die04, Window::W2005) => (347.0, 76.0),
        }
    }

    /// The scene's frame of reference for a frame of `width` pixels: `e = t = 0` lies between the
    /// ribbon tips. `shift` in base pixels, `turn` in degrees and `zoom` move it off its usual place.
    pub fn view(self, window: Window, width: u32, shift: (f32, f32), turn: f32, zoom: f32) -> View {
        let (base_width, base_height) = self.base_size();
        let scale = width as f32 / base_width as f32;
        let (degrees, mirrored) = self.direction();
        let (cos, sin) = rotation(degrees + turn);
        let across = if mirrored { (-sin, -cos) } else { (sin, cos) };
        // Turn and zoom act about the middle of the frame, as when the part lies askew.
        let middle = (base_width as f32 / 2.0, base_height as f32 / 2.0);
        let (x, y) = self.tips(window);
        let (dx, dy) = ((x - middle.0) * zoom, (y - middle.1) * zoom);
        let (c, s) = rotation(turn);
        View {
            origin: (
                scale * (middle.0 + shift.0 + dx * c + dy * s),
                scale * (middle.1 + shift.1 - dx * s + dy * c),
            ),
            across,
            along: (-cos, sin),
            scale: scale * zoom,
        }
    }
}

impl Window {
    pub const ALL: [Self; 2] = [Self::W2003, Self::W2005];

    /// The number in the challenge's files.
    pub fn name(self) -> &'static str {
        match self {
            Self::W2003 => "2003",
            Self::W2005 => "2005",
        }
    }
}
