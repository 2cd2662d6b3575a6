//! The confusion matrix, a button for every cell that holds images.

use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Align, Align2, Color32, CornerRadius, FontId, Rect, Role, Sense, Stroke, StrokeKind,
    TextFormat, Ui, WidgetInfo, pos2, vec2,
};

use crate::app::theme::{Palette, mono};
use crate::domain::{ClassId, CostMatrix};
use crate::evaluation::ConfusionMatrix;

/// Whether a mistake is of the expensive kind: it costs at least half of the dearest one, and more than
/// the cheapest.
#[must_use]
pub fn expensive(cost: &CostMatrix, actual: ClassId, predicted: ClassId) -> bool {
    if actual.index().max(predicted.index()) >= cost.len() {
        return false;
    }
    let classes = || (0..cost.len()).map(ClassId::from);
    let cheapest = classes()
        .flat_map(|a| classes().filter(move |p| *p != a).map(move |p| (a, p)))
        .map(|(a, p)| cost.cost(a, p))
        .fold(f64::INFINITY, f64::min);
    let here = cost.cost(actual, predicted);
    here >= cost.max() / 2.0 && here > cheapest
}

/// Rows true, columns predicted, counts always written out; returns the cell that was clicked. The
/// diagonal is green by its share of the row, mistakes are red or amber by what they cost. `names` has
/// one entry per class of the matrix.
pub fn confusion(
    ui: &mut Ui,
    palette: &Palette,
    names: &[String],
    matrix: &ConfusionMatrix,
    cost: &CostMatrix,
    selected: Option<(ClassId, ClassId)>,
) -> Option<(ClassId, ClassId)> {
    let n = matrix.classes().min(names.len());
    if n == 0 {
        return None;
    }
    let space = ui.available_size();
    let font = FontId::proportional(11.5);
    let widest = names
        .iter()
        .map(|name| {
            let galley = ui
                .painter()
                .layout_no_wrap(name.clone(), font.clone(), palette.muted);
            galley.size().x
        })
        .fold(0.0, f32::max);
    let names_width = widest.min(space.x * 0.3) + 10.0;
    let head = 32.0;
    let cell = vec2(
        ((space.x - names_width) / n as f32)
            .clamp(26.0, 64.0)
            .floor(),
        ((space.y - head) / n as f32).clamp(20.0, 40.0).floor(),
    );
    let size = vec2(names_width, head) + cell * n as f32;
    let (all, _) = ui.allocate_exact_size(size, Sense::hover());
    let origin = all.min + vec2(names_width, head);

    for (index, name) in names.iter().take(n).enumerate() {
        let row = Rect::from_min_size(
            pos2(all.left(), origin.y + index as f32 * cell.y),
            vec2(names_width - 10.0, cell.y),
        );
        let galley = layout_name(ui, name, &font, palette.muted, row.width(), 1);
        ui.painter().galley(
            Align2::RIGHT_CENTER
                .align_size_within_rect(galley.size(), row)
                .min,
            galley,
            palette.muted,
        );
        let column = Rect::from_min_size(
            pos2(origin.x + index as f32 * cell.x, all.top()),
            vec2(cell.x, head - 5.0),
        );
        let galley = layout_name(ui, name, &font, palette.muted, cell.x - 4.0, 2);
        let at = pos2(column.center().x, column.bottom() - galley.size().y);
        ui.painter().galley(at, galley, palette.muted);
    }

    let mut clicked = None;
    for (actual, counts) in matrix.rows().take(n).enumerate() {
        let support: u64 = counts.iter().sum();
        for (predicted, count) in counts.iter().take(n).enumerate() {
            let place = (ClassId::from(actual), ClassId::from(predicted));
            let min = origin + vec2(predicted as f32 * cell.x, actual as f32 * cell.y);
            let rect = Rect::from_min_size(min, cell).shrink(1.0);
            let label = format!(
                "true {} predicted {}: {count}",
                names[actual], names[predicted]
            );
            let sense = if *count > 0 {
                Sense::click()
            } else {
                Sense::hover()
            };
            let id = ui.scope_id().with(("cell", actual, predicted));
            let response = ui.interact(rect, id, sense);
            response.widget_info(|| {
                let role = if *count > 0 {
                    Role::Button
                } else {
                    Role::Label
                };
                WidgetInfo::selected(role, true, selected == Some(place), &label)
            });
            let share = *count as f32 / support.max(1) as f32;
            let fill = if *count == 0 {
                palette.tint(palette.raised, 0.35)
            } else if actual == predicted {
                palette.tint(palette.good, 0.22 + 0.58 * share)
            } else if expensive(cost, place.0, place.1) {
                palette.tint(palette.bad, 0.45 + 0.4 * share)
            } else {
                palette.tint(palette.warn, 0.3 + 0.4 * share)
            };
            let painter = ui.painter();
            painter.rect_filled(rect, CornerRadius::same(3), fill);
            let edge = if selected == Some(place) || response.has_focus() {
                Some(palette.accent)
            } else if response.hovered() && *count > 0 {
                Some(palette.text)
            } else {
                None
            };
            if let Some(color) = edge {
                let stroke = Stroke::new(1.5, color);
                painter.rect_stroke(rect, CornerRadius::same(3), stroke, StrokeKind::Inside);
            }
            let (color, digits) = if *count == 0 {
                (palette.muted.gamma_multiply(0.45), "·".to_owned())
            } else {
                (on(palette, fill), count.to_string())
            };
            let font = mono(if digits.len() > 4 { 10.5 } else { 12.5 });
            painter.text(rect.center(), Align2::CENTER_CENTER, digits, font, color);
            if *count > 0 && response.on_hover_text(label).clicked() {
                clicked = Some(place);
            }
        }
    }
    clicked
}

/// What the colours of the mistakes mean, in one line.
pub fn key(ui: &mut Ui, palette: &Palette, cost: &CostMatrix) {
    let dear = cost.max();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        let words = [
            (palette.bad, format!("expensive mistakes, up to {dear:.0}")),
            (palette.warn, "other mistakes".to_owned()),
        ];
        for (color, text) in words {
            let (dot, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
            ui.painter().rect_filled(dot, CornerRadius::same(2), color);
            ui.label(egui::RichText::new(text).size(11.5).color(palette.muted));
            ui.add_space(6.0);
        }
    });
}

fn on(palette: &Palette, fill: Color32) -> Color32 {
    if palette.dark {
        Color32::WHITE
    } else {
        palette.on(fill)
    }
}

fn layout_name(
    ui: &Ui,
    name: &str,
    font: &FontId,
    color: Color32,
    width: f32,
    rows: usize,
) -> std::sync::Arc<egui::Galley> {
    let mut job =
        LayoutJob::single_section(name.to_owned(), TextFormat::simple(font.clone(), color));
    job.wrap = TextWrapping {
        max_width: width,
        max_rows: rows,
        break_anywhere: false,
        ..TextWrapping::default()
    };
    if rows > 1 {
        job.halign = Align::Center;
    }
    ui.painter().layout_job(job)
}

/// The title of what a cell holds: `3 images of GOOD answered Missing`.
#[must_use]
pub fn cell_title(names: &[String], cell: (ClassId, ClassId), images: usize) -> String {
    let name = |class: ClassId| names.get(class.index()).map_or("?", String::as_str);
    let images = crate::app::state::words::count(images as u64, "image");
    if cell.0 == cell.1 {
        format!("{images} of {} answered rightly", name(cell.0))
    } else {
        format!("{images} of {} answered {}", name(cell.0), name(cell.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ClassSet;

    #[test]
    fn a_defect_passed_as_good_is_expensive_and_a_mix_up_is_not() {
        let cost = CostMatrix::challenge();
        assert!(expensive(&cost, ClassId(4), ClassId(0)));
        assert!(expensive(&cost, ClassId(6), ClassId(0)));
        assert!(!expensive(&cost, ClassId(0), ClassId(4)));
        assert!(!expensive(&cost, ClassId(2), ClassId(3)));
        let set = ClassSet::from_labels(["a", "b", "c"]);
        let plain = CostMatrix::default_for(&set);
        assert!(expensive(&plain, set.drift(), ClassId(0)));
        assert!(!expensive(&plain, ClassId(0), ClassId(1)));
        assert!(!expensive(&plain, ClassId(0), ClassId(9)));
        let even = CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square");
        assert!(!expensive(&even, ClassId(0), ClassId(1)));
    }

    #[test]
    fn a_cell_is_named_in_words() {
        let names = ["GOOD", "Missing"].map(String::from);
        assert_eq!(
            cell_title(&names, (ClassId(0), ClassId(1)), 3),
            "3 images of GOOD answered Missing"
        );
        assert_eq!(
            cell_title(&names, (ClassId(1), ClassId(1)), 1),
            "1 image of Missing answered rightly"
        );
    }
}
