//! A large image that can be zoomed and moved.

use egui::{Color32, Pos2, Rect, Response, Sense, Ui, Vec2, pos2, vec2};

use crate::app::context::ViewContext;
use crate::app::icons::Icon;
use crate::app::theme;
use crate::domain::ImageId;

/// How the image lies in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Zoom {
    /// Whole, as large as it can be.
    #[default]
    Fit,
    /// `scale` points to an image pixel, image pixel `center` in the middle.
    Free { scale: f32, center: Vec2 },
}

/// Zoom and position. Two stages side by side share one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stage {
    zoom: Zoom,
    toggle: bool,
}

impl Stage {
    /// The whole image again.
    pub fn fit(&mut self) {
        *self = Self::default();
    }

    /// At the next frame: from the whole image to 100 % at the pointer, or back.
    pub fn toggle(&mut self) {
        self.toggle = true;
    }

    /// Scale in screen pixels to an image pixel, unless the whole image is shown.
    #[must_use]
    pub fn scale(&self, pixels_per_point: f32) -> Option<f32> {
        match self.zoom {
            Zoom::Fit => None,
            Zoom::Free { scale, .. } => Some(scale * pixels_per_point),
        }
    }

    /// Paints the image into `rect` and handles wheel, drag and double click there. The thumbnail stands
    /// in until the image is here.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        cx: &ViewContext<'_>,
        rect: Rect,
        image: ImageId,
    ) -> Response {
        let id = ui.scope_id().with(("stage", image.0));
        let response = ui.interact(rect, id, Sense::click_and_drag());
        let key = &cx.session.entry(image).key;
        response.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Image {key}"))
        });
        let painter = ui.painter_at(rect);
        painter.rect_filled(rect, 6.0, cx.palette.stage);
        let large = cx.textures.large(image);
        let size = large.map(|l| l.size).or_else(|| {
            let facts = cx.session.facts(image)?.as_ref().ok()?;
            Some(vec2(facts.width as f32, facts.height as f32))
        });
        let picture = large.or_else(|| cx.textures.thumbnail(image));
        let Some(picture) = picture else {
            self.missing(ui, cx, rect, image);
            return response;
        };
        let size = size.unwrap_or(picture.size);
        self.handle(ui, rect, size, &response);
        let place = self.place(rect, size);
        painter.image(picture.texture, place, picture.uv, Color32::WHITE);
        response
    }

    fn missing(&self, ui: &Ui, cx: &ViewContext<'_>, rect: Rect, image: ImageId) {
        let Some(sentence) = cx.textures.failure(image) else {
            return;
        };
        let icon = Rect::from_center_size(rect.center() - vec2(0.0, 30.0), Vec2::splat(28.0));
        Icon::Warning
            .image(28.0, cx.palette.warn)
            .paint_at(ui, icon);
        let width = (rect.width() - 40.0).clamp(40.0, 520.0);
        let galley = ui.painter().layout(
            sentence,
            egui::FontId::proportional(13.0),
            cx.palette.muted,
            width,
        );
        let at = rect.center() + vec2(-galley.size().x / 2.0, 0.0);
        ui.painter_at(rect).galley(at, galley, cx.palette.muted);
    }

    fn handle(&mut self, ui: &Ui, rect: Rect, size: Vec2, response: &Response) {
        let pointer = response.hover_pos().unwrap_or(rect.center());
        if std::mem::take(&mut self.toggle) || response.double_clicked() {
            self.zoom = match self.zoom {
                Zoom::Fit => {
                    let at = self.to_image(rect, size, pointer);
                    let scale = 1.0 / ui.pixels_per_point();
                    Self::pinned(rect, size, at, pointer, scale)
                }
                Zoom::Free { .. } => Zoom::Fit,
            };
        }
        if response.contains_pointer() {
            let (wheel, pinch) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
            let factor = (wheel / 240.0).exp2() * pinch;
            if (factor - 1.0).abs() > 1e-4 {
                let at = self.to_image(rect, size, pointer);
                let fit = fit_scale(rect, size);
                let scale = self.points_per_pixel(rect, size) * factor;
                self.zoom = if scale <= fit {
                    Zoom::Fit
                } else {
                    let most = 40.0_f32.max(fit);
                    Self::pinned(rect, size, at, pointer, scale.min(most))
                };
            }
        }
        if response.dragged_by(egui::PointerButton::Primary)
            && let Zoom::Free { scale, center } = self.zoom
        {
            let center = center - response.drag_delta() / scale;
            self.zoom = Zoom::Free {
                scale,
                center: center.clamp(Vec2::ZERO, size),
            };
        }
        if response.dragged_by(egui::PointerButton::Primary) {
            ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
        }
    }

    /// The zoom at which image pixel `at` lies under `pointer`.
    fn pinned(rect: Rect, size: Vec2, at: Vec2, pointer: Pos2, scale: f32) -> Zoom {
        let center = at - (pointer - rect.center()) / scale;
        Zoom::Free {
            scale,
            center: center.clamp(Vec2::ZERO, size),
        }
    }

    fn points_per_pixel(&self, rect: Rect, size: Vec2) -> f32 {
        match self.zoom {
            Zoom::Fit => fit_scale(rect, size),
            Zoom::Free { scale, .. } => scale,
        }
    }

    fn place(&self, rect: Rect, size: Vec2) -> Rect {
        let scale = self.points_per_pixel(rect, size);
        let center = match self.zoom {
            Zoom::Fit => size / 2.0,
            Zoom::Free { center, .. } => center,
        };
        Rect::from_min_size(rect.center() - center * scale, size * scale)
    }

    /// The image pixel under a point of the screen.
    fn to_image(self, rect: Rect, size: Vec2, point: Pos2) -> Vec2 {
        let place = self.place(rect, size);
        ((point - place.min) / place.size().max(Vec2::splat(1e-6)) * size).clamp(Vec2::ZERO, size)
    }
}

fn fit_scale(rect: Rect, size: Vec2) -> f32 {
    let inner = rect.size().max(Vec2::splat(1.0));
    (inner.x / size.x.max(1.0)).min(inner.y / size.y.max(1.0))
}

/// A small label over the image, e.g. the scale. Returns the place it took.
pub fn overlay_text(ui: &Ui, cx: &ViewContext<'_>, right_top: Pos2, text: &str) -> Rect {
    let galley = ui
        .painter()
        .layout_no_wrap(text.to_owned(), theme::mono(11.0), cx.palette.text);
    let size = galley.size() + vec2(14.0, 8.0);
    let rect = Rect::from_min_size(pos2(right_top.x - size.x, right_top.y), size);
    let fill = cx.palette.panel.gamma_multiply(0.9);
    ui.painter().rect_filled(rect, 6.0, fill);
    ui.painter()
        .galley(rect.min + vec2(7.0, 4.0), galley, cx.palette.text);
    rect
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pixel_under_the_pointer_stays_there() {
        let rect = Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 300.0));
        let size = vec2(720.0, 840.0);
        let pointer = pos2(222.0, 180.0);
        let mut stage = Stage::default();
        let at = stage.to_image(rect, size, pointer);
        for scale in [0.7, 1.0, 8.0] {
            stage.zoom = Stage::pinned(rect, size, at, pointer, scale);
            let now = stage.to_image(rect, size, pointer);
            assert!((now - at).length() < 0.01, "{now:?} {at:?}");
        }
    }

    #[test]
    fn the_whole_image_fits_whatever_the_window() {
        for window in [vec2(400.0, 300.0), vec2(1.0, 1.0), vec2(0.0, 0.0)] {
            let rect = Rect::from_min_size(pos2(0.0, 0.0), window);
            let place = Stage::default().place(rect, vec2(720.0, 840.0));
            assert!(place.width() <= window.x.max(1.0) + 0.01);
            assert!(place.height() <= window.y.max(1.0) + 0.01);
        }
    }
}
