//! Many points as one mesh: ten thousand cost a fraction of a millisecond.

use egui::epaint::Mesh;
use egui::{Color32, ColorImage, Context, Pos2, Rect, TextureHandle, TextureOptions, pos2, vec2};

/// Pixels of a sign in the texture, on each side: about twice what is seen on the screen.
const CELL: usize = 16;

/// The shape of a point: kinds are told apart without colours, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Round.
    Dot,
    /// Four corners, upright.
    Square,
    /// Four corners, on one of them.
    Diamond,
}

impl Sign {
    const ALL: [Self; 3] = [Self::Dot, Self::Square, Self::Diamond];

    /// How far `(x, y)` is from its edge, in halves of the cell; inside it is positive.
    fn depth(self, x: f32, y: f32) -> f32 {
        let (x, y) = (x.abs(), y.abs());
        match self {
            Self::Dot => 0.86 - x.hypot(y),
            Self::Square => 0.76 - x.max(y),
            Self::Diamond => (0.98 - x - y) * std::f32::consts::FRAC_1_SQRT_2,
        }
    }
}

/// How a point looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Its shape.
    pub sign: Sign,
    /// Its colour.
    pub color: Color32,
    /// Half its side, in points of the screen.
    pub radius: f32,
}

/// The signs on the graphics card.
pub struct Signs(TextureHandle);

impl Signs {
    /// Draws them.
    #[must_use]
    pub fn new(ctx: &Context) -> Self {
        let mut image = ColorImage::filled([CELL * Sign::ALL.len(), CELL], Color32::TRANSPARENT);
        let half = CELL as f32 / 2.0;
        for (at, sign) in Sign::ALL.into_iter().enumerate() {
            for y in 0..CELL {
                for x in 0..CELL {
                    let place = |v: usize| (v as f32 + 0.5) / half - 1.0;
                    // A pixel on the edge is covered by half.
                    let covered = sign.depth(place(x), place(y)) * half + 0.5;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a share of 255"
                    )]
                    let alpha = (covered.clamp(0.0, 1.0) * 255.0) as u8;
                    image[(at * CELL + x, y)] = Color32::from_white_alpha(alpha);
                }
            }
        }
        Self(ctx.load_texture("map signs", image, TextureOptions::LINEAR))
    }

    /// An empty mesh for [`add`](Self::add).
    #[must_use]
    pub fn mesh(&self) -> Mesh {
        Mesh::with_texture(self.0.id())
    }

    /// Adds a point.
    pub fn add(&self, mesh: &mut Mesh, at: Pos2, mark: Mark) {
        let cells = Sign::ALL.len() as f32;
        let cell = mark.sign as usize as f32;
        let uv = Rect::from_min_max(pos2(cell / cells, 0.0), pos2((cell + 1.0) / cells, 1.0));
        let side = vec2(mark.radius, mark.radius) * 2.0;
        mesh.add_rect_with_uv(Rect::from_center_size(at, side), uv, mark.color);
    }
}

impl std::fmt::Debug for Signs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signs")
    }
}
