//! Small charts that double as filters.

use egui::{Align2, Color32, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::app::theme::{self, Palette};

/// One bar of a [`bars`] chart.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its length.
    pub count: usize,
    /// Its colour.
    pub color: Color32,
    /// Whether it is chosen as a filter.
    pub active: bool,
}

/// A thousands separator, so that long counts can be read.
#[must_use]
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Horizontal bars with names and counts. Returns the one that was clicked.
pub fn bars(ui: &mut Ui, palette: &Palette, bars: &[Bar]) -> Option<usize> {
    let longest = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let any_active = bars.iter().any(|bar| bar.active);
    let mut clicked = None;
    ui.spacing_mut().item_spacing.y = 1.0;
    for (index, bar) in bars.iter().enumerate() {
        let share = bar.count as f32 / longest as f32;
        let response = bar_row(ui, palette, bar, share, any_active && !bar.active);
        if response.clicked() {
            clicked = Some(index);
        }
    }
    clicked
}

fn bar_row(ui: &mut Ui, palette: &Palette, bar: &Bar, share: f32, dim: bool) -> Response {
    let size = vec2(ui.available_width(), 20.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| {
        let text = format!("{}: {}", bar.name, bar.count);
        WidgetInfo::selected(Role::Button, true, bar.active, text)
    });
    let painter = ui.painter_at(rect);
    if bar.active || response.hovered() {
        painter.rect_filled(rect, 4.0, palette.raised);
    }
    let ink = if dim { palette.muted } else { palette.text };
    let name_width = (rect.width() * 0.42).min(116.0);
    let count_width = 44.0;
    let mut job = egui::text::LayoutJob::simple_singleline(
        bar.name.clone(),
        egui::FontId::proportional(12.0),
        ink,
    );
    job.wrap.max_width = name_width - 8.0;
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    let y = rect.center().y - galley.size().y / 2.0;
    painter.galley(pos2(rect.left() + 4.0, y), galley, ink);
    let lane = Rect::from_min_max(
        pos2(rect.left() + name_width, rect.center().y - 2.5),
        pos2(
            (rect.right() - count_width).max(rect.left() + name_width),
            rect.center().y + 2.5,
        ),
    );
    painter.rect_filled(lane, 2.5, palette.raised);
    if bar.count > 0 {
        let mut filled = lane;
        filled.set_width((lane.width() * share).max(2.0));
        let color = if dim {
            bar.color.gamma_multiply(0.4)
        } else {
            bar.color
        };
        painter.rect_filled(filled, 2.5, color);
    }
    painter.text(
        rect.right_center() - vec2(4.0, 0.0),
        Align2::RIGHT_CENTER,
        grouped(bar.count),
        theme::mono(11.0),
        ink,
    );
    response
}

/// A table of counts, rows by columns, each cell tinted by its share of the largest. `active` is the
/// chosen cell. Returns the one that was clicked.
pub fn table(
    ui: &mut Ui,
    palette: &Palette,
    rows: &[String],
    columns: &[String],
    counts: &[Vec<usize>],
    active: Option<(usize, usize)>,
) -> Option<(usize, usize)> {
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let head_width = (ui.available_width() * 0.3).min(84.0);
    let cell = vec2(
        ((ui.available_width() - head_width) / columns.len().max(1) as f32).max(0.0),
        22.0,
    );
    let (rect, _) = ui.allocate_exact_size(
        vec2(ui.available_width(), 18.0 + cell.y * rows.len() as f32),
        Sense::hover(),
    );
    let painter = ui.painter_at(rect);
    let mut clicked = None;
    let text = |at, align, text: &str, color, width: f32| {
        let mut job = egui::text::LayoutJob::simple_singleline(
            text.to_owned(),
            egui::FontId::proportional(11.0),
            color,
        );
        job.wrap.max_width = width.max(8.0);
        job.wrap.max_rows = 1;
        job.wrap.break_anywhere = true;
        let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
        let rect = Align2::anchor_size(align, at, galley.size());
        painter.galley(rect.min, galley, color);
    };
    for (c, name) in columns.iter().enumerate() {
        let x = rect.left() + head_width + (c as f32 + 0.5) * cell.x;
        text(
            pos2(x, rect.top() + 8.0),
            Align2::CENTER_CENTER,
            name,
            palette.muted,
            cell.x - 4.0,
        );
    }
    for (r, name) in rows.iter().enumerate() {
        let top = rect.top() + 18.0 + r as f32 * cell.y;
        text(
            pos2(rect.left() + 4.0, top + cell.y / 2.0),
            Align2::LEFT_CENTER,
            name,
            palette.muted,
            head_width - 6.0,
        );
        for (c, column) in columns.iter().enumerate() {
            let count = counts[r][c];
            let min = pos2(rect.left() + head_width + c as f32 * cell.x, top);
            let place = Rect::from_min_size(min, cell).shrink(1.0);
            let id = ui.scope_id().with(("cell", r, c));
            let response = ui.interact(place, id, Sense::click());
            response.widget_info(|| {
                let text = format!("{name} x {column}: {count}");
                WidgetInfo::labeled(Role::Button, true, text)
            });
            let share = (count as f32 / most as f32).sqrt();
            painter.rect_filled(place, 3.0, palette.tint(palette.accent, 0.06 + 0.4 * share));
            if active == Some((r, c)) || response.hovered() {
                painter.rect_stroke(
                    place,
                    3.0,
                    egui::Stroke::new(1.5, palette.accent),
                    egui::StrokeKind::Inside,
                );
            }
            let ink = if count == 0 {
                palette.muted
            } else {
                palette.text
            };
            painter.text(
                place.center(),
                Align2::CENTER_CENTER,
                grouped(count),
                theme::mono(11.0),
                ink,
            );
            if response.clicked() {
                clicked = Some((r, c));
            }
        }
    }
    clicked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (9333, "9,333"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }
}
