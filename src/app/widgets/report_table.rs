//! The classification report as a table.

use egui::{Align, Layout, RichText, Sense, Ui, vec2};
use egui_extras::{Column, TableBuilder, TableRow};

use crate::app::state::words::{score, thousands};
use crate::app::theme::{Palette, mono};
use crate::domain::{ClassId, ClassSet};
use crate::evaluation::{Report, wilson_interval};

/// Above so many images of a class, its interval says little that its recall does not.
const MANY: u64 = 200;

const HEADS: [&str; 5] = ["precision", "recall", "f1-score", "support", "95 %"];

/// The columns of scikit-learn's report, and the 95 % interval: of the recall (Wilson) for a class of
/// few images, of the F1 for the macro average.
pub fn report_table(ui: &mut Ui, palette: &Palette, classes: &ClassSet, report: &Report) {
    let height = 21.0;
    ui.push_id("report", |ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 2.0);
        // Where there is no room for it, the interval gives way to the names.
        let intervals = ui.available_width() > 440.0;
        let heads = &HEADS[..if intervals { 5 } else { 4 }];
        let last = Column::exact(if intervals { 124.0 } else { 0.0 }).clip(true);
        TableBuilder::new(ui)
            .vscroll(false)
            .cell_layout(Layout::right_to_left(Align::Center))
            .column(Column::remainder().at_least(84.0).clip(true))
            .columns(Column::exact(58.0), 3)
            .column(Column::exact(48.0))
            .column(last)
            .header(height, |mut row| {
                row.col(|_| {});
                for head in heads {
                    row.col(|ui| {
                        ui.label(RichText::new(*head).size(11.5).color(palette.muted));
                    });
                }
            })
            .body(|mut body| {
                for (index, class) in report.per_class.iter().enumerate() {
                    let m = class.metrics;
                    let interval = (m.support > 0 && m.support < MANY).then(|| {
                        let found = report
                            .confusion
                            .count(ClassId::from(index), ClassId::from(index));
                        let [lo, hi] = wilson_interval(found, m.support);
                        format!("recall {lo:.2}–{hi:.2}")
                    });
                    body.row(height, |mut row| {
                        row.col(|ui| {
                            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                                let color = palette.class(classes, ClassId::from(index));
                                let (dot, _) =
                                    ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
                                ui.painter().circle_filled(dot.center(), 3.5, color);
                                ui.add(egui::Label::new(class.name.as_str()).truncate());
                            });
                        });
                        for value in [m.precision, m.recall, m.f1] {
                            number(&mut row, palette, m.support > 0, &score(value));
                        }
                        number(&mut row, palette, m.support > 0, &thousands(m.support));
                        number(&mut row, palette, false, &interval.unwrap_or_default());
                    });
                }
                let [lo, hi] = report.macro_f1_ci;
                let accuracy = ["".to_owned(), String::new(), score(report.accuracy)];
                let of = |p, r, f| [score(p), score(r), score(f)];
                let rows = [
                    ("accuracy", accuracy, String::new()),
                    (
                        "macro avg",
                        of(report.macro_precision, report.macro_recall, report.macro_f1),
                        format!("F1 {lo:.2}–{hi:.2}"),
                    ),
                    (
                        "weighted avg",
                        of(
                            report.weighted_precision,
                            report.weighted_recall,
                            report.weighted_f1,
                        ),
                        String::new(),
                    ),
                ];
                for (name, values, interval) in rows {
                    body.row(height, |mut row| {
                        row.set_overline(name == "accuracy");
                        row.col(|ui| {
                            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                                ui.label(RichText::new(name).color(palette.muted));
                            });
                        });
                        for value in &values {
                            number(&mut row, palette, true, value);
                        }
                        number(&mut row, palette, true, &thousands(report.n));
                        number(&mut row, palette, false, &interval);
                    });
                }
            });
    });
}

fn number(row: &mut TableRow<'_, '_>, palette: &Palette, strong: bool, text: &str) {
    let color = if strong { palette.text } else { palette.muted };
    row.col(|ui| {
        ui.label(RichText::new(text).font(mono(12.0)).color(color));
    });
}
