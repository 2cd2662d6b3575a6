//! Named bars with their numbers: probabilities, or F1 by class.

use egui::{Align2, Color32, CornerRadius, FontId, Rect, Sense, Ui, pos2, vec2};

use crate::app::theme::{Palette, mono};

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar<'a> {
    /// What is measured.
    pub name: &'a str,
    /// Its colour.
    pub color: Color32,
    /// `0..=1`; `None` where it could not be measured.
    pub value: Option<f64>,
}

/// The bars below each other, names, tracks and numbers in three columns.
pub fn bars(ui: &mut Ui, palette: &Palette, bars: &[Bar<'_>]) {
    let font = FontId::proportional(12.5);
    let width = ui.available_width();
    let names = bars
        .iter()
        .map(|bar| {
            let name = bar.name.to_owned();
            let galley = ui
                .painter()
                .layout_no_wrap(name, font.clone(), palette.text);
            galley.size().x
        })
        .fold(60.0, f32::max)
        .min(width * 0.45);
    let digits = 42.0;
    for bar in bars {
        let (rect, response) = ui.allocate_exact_size(vec2(width, 19.0), Sense::hover());
        let number = match bar.value {
            Some(value) => format!("{value:.2}"),
            None => "n/a".to_owned(),
        };
        response.widget_info(|| {
            let text = format!("{} {number}", bar.name);
            egui::WidgetInfo::labeled(egui::Role::Label, true, text)
        });
        let painter = ui.painter();
        let middle = rect.center().y;
        let clipped = painter.with_clip_rect(Rect::from_min_size(rect.min, vec2(names, 19.0)));
        clipped.text(
            pos2(rect.left(), middle),
            Align2::LEFT_CENTER,
            bar.name,
            font.clone(),
            palette.text,
        );
        let track = Rect::from_min_max(
            pos2(rect.left() + names + 12.0, middle - 2.5),
            pos2(rect.right() - digits, middle + 2.5),
        );
        let radius = CornerRadius::same(2);
        painter.rect_filled(track, radius, palette.raised);
        let share = bar.value.unwrap_or(0.0).clamp(0.0, 1.0) as f32;
        let mut filled = track;
        filled.set_width(track.width() * share);
        painter.rect_filled(filled, radius, bar.color);
        painter.text(
            pos2(rect.right(), middle),
            Align2::RIGHT_CENTER,
            number,
            mono(12.0),
            palette.text,
        );
    }
}
