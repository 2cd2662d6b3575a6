//! Scores by label, with a threshold to drag.

use egui::{
    Align2, CornerRadius, CursorIcon, EventFilter, Key, Rect, Sense, Stroke, Ui, WidgetInfo, pos2,
    vec2,
};

use crate::app::state::drift::Bin;
use crate::app::theme::{Palette, medium, mono};
use egui::Color32;

/// Colours of the three kinds of image.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// Labelled regular.
    pub regular: Color32,
    /// Labelled drift.
    pub drift: Color32,
    /// Not labelled.
    pub unlabelled: Color32,
}

/// Bars over scores `0..=1`, unlabelled at the bottom, then regular, drift on top; bar heights go with
/// the square root of the count, so that a single drift image can be seen beside hundreds. With a
/// threshold, a line that can be dragged, or moved with the arrow keys; returns where it was moved to.
pub fn histogram(
    ui: &mut Ui,
    palette: &Palette,
    bins: &[Bin],
    kinds: Kinds,
    threshold: Option<f32>,
    height: f32,
) -> Option<f32> {
    let size = vec2(ui.available_width(), height);
    let sense = if threshold.is_some() {
        Sense::click_and_drag()
    } else {
        Sense::hover()
    };
    let (rect, response) = ui.allocate_exact_size(size, sense);
    let plot = Rect::from_min_max(rect.min + vec2(0.0, 18.0), rect.max - vec2(0.0, 18.0));
    let painter = ui.painter_at(rect);
    let total = |b: &Bin| b.regular + b.drift + b.unlabelled;
    let highest = bins.iter().map(total).max().unwrap_or(0).max(1) as f32;
    let width = plot.width() / bins.len().max(1) as f32;
    for (index, bin) in bins.iter().enumerate() {
        let all = total(bin) as f32;
        if all == 0.0 {
            continue;
        }
        let full = (all / highest).sqrt() * plot.height();
        let left = plot.left() + index as f32 * width;
        let mut bottom = plot.bottom();
        for (count, color) in [
            (bin.unlabelled, kinds.unlabelled),
            (bin.regular, kinds.regular),
            (bin.drift, kinds.drift),
        ] {
            if count == 0 {
                continue;
            }
            let part = (full * count as f32 / all).max(2.0);
            let bar = Rect::from_min_max(
                pos2(left + 0.5, bottom - part),
                pos2(left + width - 1.0, bottom),
            );
            painter.rect_filled(bar, CornerRadius::same(1), color);
            bottom -= part;
        }
    }
    painter.hline(
        plot.x_range(),
        plot.bottom() + 0.5,
        Stroke::new(1.0, palette.line),
    );
    for tick in 0_u8..=4 {
        let value = f32::from(tick) / 4.0;
        let x = plot.left() + value * plot.width();
        let anchor = match tick {
            0 => Align2::LEFT_TOP,
            4 => Align2::RIGHT_TOP,
            _ => Align2::CENTER_TOP,
        };
        painter.text(
            pos2(x, plot.bottom() + 4.0),
            anchor,
            format!("{value:.2}"),
            mono(10.5),
            palette.muted,
        );
    }
    let threshold = threshold?;
    let mut moved = None;
    if (response.dragged() || response.clicked())
        && let Some(pointer) = response.interact_pointer_pos()
    {
        moved = Some((pointer.x - plot.left()) / plot.width().max(1.0));
    }
    if response.has_focus() {
        let filter = EventFilter {
            horizontal_arrows: true,
            ..EventFilter::default()
        };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, filter));
        let (left, right) = ui.input(|i| {
            (
                i.num_presses(Key::ArrowLeft) as f32,
                i.num_presses(Key::ArrowRight) as f32,
            )
        });
        if left != right {
            moved = Some(threshold + 0.01 * (right - left));
        }
    }
    let moved = moved.map(|t| t.clamp(0.0, 1.0)).filter(|t| *t != threshold);
    let at = moved.unwrap_or(threshold);
    response.widget_info(|| WidgetInfo::slider(true, f64::from(at), "Threshold"));
    let active = response.hovered() || response.dragged() || response.has_focus();
    let color = if active { palette.accent } else { palette.text };
    let x = plot.left() + at.clamp(0.0, 1.0) * plot.width();
    painter.vline(
        x,
        rect.top() + 16.0..=plot.bottom() + 3.0,
        Stroke::new(1.5, color),
    );
    let text = format!("{at:.2}");
    let left_of = x > plot.right() - 40.0;
    let anchor = if left_of {
        Align2::RIGHT_TOP
    } else {
        Align2::LEFT_TOP
    };
    painter.text(pos2(x, rect.top()), anchor, text, mono(12.0), color);
    response.on_hover_and_drag_cursor(CursorIcon::ResizeHorizontal);
    moved
}

/// What the colours mean, for a title's aside (right to left).
pub fn key(ui: &mut Ui, palette: &Palette, kinds: Kinds, head: bool) {
    let words: &[(&str, Color32)] = if head {
        &[
            ("drift", kinds.drift),
            ("regular", kinds.regular),
            ("unlabelled", kinds.unlabelled),
        ]
    } else {
        &[("unlabelled", kinds.unlabelled)]
    };
    for (word, color) in words {
        ui.label(
            egui::RichText::new(*word)
                .font(medium(11.5))
                .color(palette.muted),
        );
        let (dot, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
        ui.painter().rect_filled(dot, CornerRadius::same(2), *color);
        ui.add_space(6.0);
    }
}
