//! An image as a tile: thumbnail, frame in the colour of its class, badges.

use egui::{Align2, Color32, Rect, Response, Sense, Stroke, StrokeKind, Ui, Vec2, pos2, vec2};

use super::badge;
use crate::app::context::ViewContext;
use crate::app::icons::Icon;
use crate::app::theme;
use crate::domain::ImageId;

/// What a tile shows beside the image.
#[derive(Clone, Debug, Default)]
pub struct TileLook<'a> {
    /// Upper left: a class and its colour. The frame takes the colour too.
    pub badge: Option<(&'a str, Color32)>,
    /// Lower right: a figure.
    pub figure: Option<String>,
    /// Upper right: flagged.
    pub flagged: bool,
    /// Selected: frame in the accent, image tinted.
    pub selected: bool,
    /// The one that keys act on: a second frame outside.
    pub current: bool,
    /// A frame in this colour whatever the badge says, e.g. right or wrong.
    pub frame: Option<Color32>,
}

/// Paints an image as a tile into `rect` and senses clicks. A screen reader says the file name and the
/// badge.
pub fn tile(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    rect: Rect,
    image: ImageId,
    look: &TileLook<'_>,
) -> Response {
    let id = ui.scope_id().with(("tile", image.0));
    let response = ui.interact(rect, id, Sense::click());
    if !ui.is_rect_visible(rect) {
        return response;
    }
    let key = &cx.session.entry(image).key;
    response.widget_info(|| {
        let text = match look.badge {
            Some((class, _)) => format!("{key}, {class}"),
            None => key.clone(),
        };
        egui::WidgetInfo::selected(egui::Role::Button, true, look.selected, text)
    });
    let p = cx.palette;
    let painter = ui.painter_at(rect.expand(3.0));
    painter.rect_filled(rect, 5.0, p.stage);
    match cx.textures.thumbnail(image) {
        Some(picture) => {
            let (on_screen, uv) = cover(rect, picture.size, picture.uv);
            let tint = if look.selected {
                Color32::WHITE.lerp_to_gamma(p.accent, 0.35)
            } else {
                Color32::WHITE
            };
            painter.add(
                egui::epaint::RectShape::filled(on_screen, 5.0, tint)
                    .with_texture(picture.texture, uv),
            );
        }
        None => {
            if cx.textures.failure(image).is_some() {
                let at = Rect::from_center_size(rect.center(), Vec2::splat(20.0));
                Icon::Warning.image(20.0, p.warn).paint_at(ui, at);
            }
        }
    }
    let frame = if look.selected {
        p.accent
    } else {
        look.frame
            .or(look.badge.map(|(_, color)| color))
            .unwrap_or(p.line)
    };
    let width = if look.selected || look.frame.is_some() {
        2.0
    } else {
        1.5
    };
    painter.rect_stroke(rect, 5.0, Stroke::new(width, frame), StrokeKind::Inside);
    if look.current || response.hovered() {
        let color = if look.current { p.accent } else { p.muted };
        painter.rect_stroke(
            rect.expand(1.0),
            6.0,
            Stroke::new(if look.current { 2.0 } else { 1.0 }, color),
            StrokeKind::Outside,
        );
    }
    let room = rect.width() - 10.0 - if look.flagged { 18.0 } else { 0.0 };
    if let Some((text, color)) = look.badge
        && rect.width() >= 56.0
    {
        badge(ui, p, rect.min + vec2(5.0, 5.0), text, color, room);
    } else if let Some((text, color)) = look.badge {
        // Too small for a word: its first letter.
        let letter: String = text.chars().take(1).collect();
        badge(ui, p, rect.min + vec2(3.0, 3.0), &letter, color, 24.0);
    }
    if look.flagged {
        let at = Rect::from_min_size(
            pos2(rect.right() - 21.0, rect.top() + 4.0),
            Vec2::splat(17.0),
        );
        painter.rect_filled(at, 4.0, p.panel.gamma_multiply(0.85));
        Icon::Flag
            .image(11.0, p.warn)
            .paint_at(ui, Rect::from_center_size(at.center(), Vec2::splat(11.0)));
    }
    if let Some(figure) = &look.figure {
        let galley = painter.layout_no_wrap(figure.clone(), theme::mono(10.5), Color32::WHITE);
        let size = galley.size() + vec2(8.0, 3.0);
        let at = Rect::from_min_size(rect.max - size - vec2(4.0, 4.0), size);
        painter.rect_filled(at, 4.0, Color32::from_black_alpha(190));
        let text_at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), at);
        painter.galley(text_at.min, galley, Color32::WHITE);
    }
    response
}

/// Where on the screen, and which part of, a picture fills `rect` without distortion, centred.
#[must_use]
pub fn cover(rect: Rect, size: Vec2, uv: Rect) -> (Rect, Rect) {
    let inner = rect.shrink(1.0);
    if size.x <= 0.0 || size.y <= 0.0 || !inner.is_positive() {
        return (inner, uv);
    }
    let scale = (inner.width() / size.x).max(inner.height() / size.y);
    let shown = vec2(
        inner.width() / (size.x * scale),
        inner.height() / (size.y * scale),
    );
    let uv = Rect::from_center_size(uv.center(), uv.size() * shown);
    (inner, uv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_picture_loses_its_sides_and_keeps_its_shape() {
        let rect = Rect::from_min_size(pos2(0.0, 0.0), vec2(102.0, 102.0));
        let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 0.5));
        let (on_screen, part) = cover(rect, vec2(160.0, 80.0), uv);
        assert_eq!(on_screen.size(), vec2(100.0, 100.0));
        assert!((part.width() - 0.5).abs() < 1e-6 && (part.height() - 0.5).abs() < 1e-6);
        assert_eq!(part.center(), uv.center());
    }
}
