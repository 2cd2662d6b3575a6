//! A grid of small pictures that touches only the rows in view.

use egui::{
    Align2, Color32, CornerRadius, Modifiers, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    Ui, WidgetInfo, pos2, vec2,
};

use super::badge;
use crate::app::theme::{Palette, mono};
use crate::domain::ImageId;

/// Paints small pictures; whoever owns the textures implements it.
pub trait Thumbs {
    /// Paints the image into `rect`, or a placeholder while it is being read.
    fn paint(&self, ui: &Ui, rect: Rect, image: ImageId);
    /// The image's file name.
    fn name(&self, image: ImageId) -> String;
}

/// How one picture is dressed.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Which image.
    pub image: ImageId,
    /// Frame, and its width in points.
    pub frame: (f32, Color32),
    /// Words in the upper left corner on their colour.
    pub tag: Option<(String, Color32)>,
    /// Words under that, for what changed.
    pub second: Option<(String, Color32)>,
    /// A number in the lower right corner.
    pub number: Option<String>,
    /// Whether it is selected.
    pub selected: bool,
    /// What a screen reader says before the file name.
    pub spoken: String,
}

/// What was done to a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Touch {
    /// A picture was clicked, by its position.
    Click(usize, Modifiers),
    /// A picture was double-clicked.
    Open(usize),
}

/// Shows `count` pictures of `side` points in as many columns as fit, in the height there is.
pub fn thumb_grid(
    ui: &mut Ui,
    palette: &Palette,
    thumbs: &dyn Thumbs,
    salt: &str,
    count: usize,
    side: f32,
    tile: impl Fn(usize) -> Tile,
) -> Option<Touch> {
    let gap = 8.0;
    let width = ui.available_width() - 8.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a handful of columns"
    )]
    let columns = (((width + gap) / (side + gap)) as usize).max(1);
    let mut touch = None;
    ui.spacing_mut().item_spacing = vec2(gap, gap);
    ScrollArea::vertical()
        .id_salt(salt)
        .auto_shrink([false, false])
        .show_rows(ui, side, count.div_ceil(columns), |ui, rows| {
            for row in rows {
                let (line, _) = ui.allocate_exact_size(vec2(width, side), Sense::hover());
                for index in row * columns..((row + 1) * columns).min(count) {
                    let left = line.left() + (index - row * columns) as f32 * (side + gap);
                    let rect = Rect::from_min_size(pos2(left, line.top()), vec2(side, side));
                    let new = one(ui, palette, thumbs, rect, &tile(index), index);
                    touch = touch.or(new);
                }
            }
        });
    touch
}

fn one(
    ui: &Ui,
    palette: &Palette,
    thumbs: &dyn Thumbs,
    rect: Rect,
    tile: &Tile,
    index: usize,
) -> Option<Touch> {
    let id = ui.scope_id().with(("thumb", tile.image));
    let response = ui.interact(rect, id, Sense::click());
    response.widget_info(|| {
        let label = format!("{} {}", tile.spoken, thumbs.name(tile.image));
        WidgetInfo::selected(Role::Button, true, tile.selected, label.trim())
    });
    let painter = ui.painter();
    let radius = CornerRadius::same(4);
    painter.rect_filled(rect, radius, palette.stage);
    let (width, color) = tile.frame;
    thumbs.paint(ui, rect.shrink(width.max(1.0)), tile.image);
    painter.rect_stroke(rect, radius, Stroke::new(width, color), StrokeKind::Inside);
    if tile.selected || response.has_focus() {
        let stroke = Stroke::new(3.0, palette.accent);
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    } else if response.hovered() {
        let stroke = Stroke::new(1.0, palette.text.gamma_multiply(0.6));
        painter.rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
    }
    let mut at = rect.min + vec2(4.0, 4.0);
    for (text, fill) in tile.tag.iter().chain(&tile.second) {
        badge(ui, palette, at, text, *fill, rect.width() - 8.0);
        at.y += 17.0;
    }
    if let Some(number) = &tile.number {
        let galley = painter.layout_no_wrap(number.clone(), mono(11.0), Color32::WHITE);
        let box_size = galley.size() + vec2(8.0, 4.0);
        let place = Align2::RIGHT_BOTTOM.anchor_size(rect.max - vec2(4.0, 4.0), box_size);
        painter.rect_filled(place, CornerRadius::same(3), Color32::from_black_alpha(190));
        painter.galley(place.min + vec2(4.0, 2.0), galley, Color32::WHITE);
    }
    let modifiers = ui.input(|i| i.modifiers);
    if response.double_clicked() {
        Some(Touch::Open(index))
    } else if response.clicked() {
        Some(Touch::Click(index, modifiers))
    } else {
        None
    }
}
