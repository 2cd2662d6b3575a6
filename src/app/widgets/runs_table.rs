//! All runs, one row each.

use std::path::{Path, PathBuf};

use egui::{Label, RichText, Sense, Ui};
use egui_extras::{Column, TableBuilder, TableRow};

use crate::app::state::RunsState;
use crate::app::state::runs::{settings, worst_class};
use crate::app::state::words::duration;
use crate::app::theme::{Palette, mono};
use crate::workflows::RunSummary;

const HEADS: [&str; 8] = [
    "run",
    "model",
    "settings",
    "macro-F1, 95 %",
    "worst class",
    "PWA",
    "constant",
    "time",
];

/// Behind a penalty-weighted accuracy that is not by the costs of now.
const OLD_COSTS: &str = "*";

/// The table of all runs, `current` marked; returns the folder of the run that was clicked. All scores
/// are of each run's own test split, penalty-weighted accuracies by the costs of now.
pub fn runs_table(
    ui: &mut Ui,
    palette: &Palette,
    runs: &RunsState,
    current: Option<&Path>,
) -> Option<PathBuf> {
    let mut clicked = None;
    let height = 24.0;
    ui.push_id("runs", |ui| {
        ui.spacing_mut().item_spacing.x = 10.0;
        TableBuilder::new(ui)
            .sense(Sense::click())
            .auto_shrink([false, true])
            .column(Column::exact(120.0).clip(true))
            .column(Column::exact(54.0).clip(true))
            .column(Column::remainder().at_least(80.0).clip(true))
            .column(Column::exact(120.0))
            .column(Column::exact(126.0).clip(true))
            .columns(Column::exact(54.0), 2)
            .column(Column::exact(80.0))
            .header(20.0, |mut row| {
                for head in HEADS {
                    row.col(|ui| {
                        ui.label(RichText::new(head).size(11.5).color(palette.muted));
                    });
                }
            })
            .body(|body| {
                let all = runs.all();
                body.rows(height, all.len(), |mut row| {
                    let run = &all[row.index()];
                    let this = current == Some(run.dir.as_path());
                    row.set_selected(this);
                    cells(&mut row, palette, run, runs.costs_are_of_now(run));
                    let response = row.response();
                    response.widget_info(|| {
                        let label = format!("run {}", run.name);
                        egui::WidgetInfo::selected(egui::Role::Button, true, this, label)
                    });
                    if response
                        .on_hover_cursor(egui::CursorIcon::PointingHand)
                        .clicked()
                    {
                        clicked = Some(run.dir.clone());
                    }
                });
            });
    });
    clicked
}

/// `costs_are_of_now` as [`RunsState`] knows it.
fn cells(row: &mut TableRow<'_, '_>, palette: &Palette, run: &RunSummary, costs_are_of_now: bool) {
    let mut words = |text: RichText| {
        row.col(|ui| {
            ui.add(Label::new(text).truncate());
        });
    };
    let plain = |text: &str| RichText::new(text).color(palette.text);
    let dim = |text: String| RichText::new(text).color(palette.muted);
    let digits = |text: String| RichText::new(text).font(mono(12.0)).color(palette.text);
    let report = &run.report;
    let [lo, hi] = report.macro_f1_ci;
    words(plain(&created(&run.created)));
    words(plain(&run.plan.model));
    words(dim(settings(&run.plan)));
    words(digits(format!("{:.3} {lo:.2}–{hi:.2}", report.macro_f1)));
    words(match worst_class(report) {
        Some((class, f1)) => plain(&format!("{class} {f1:.2}")),
        None => dim("no images".to_owned()),
    });
    let mut priced = |value: f64, color| {
        let mark = if costs_are_of_now { "" } else { OLD_COSTS };
        let text = RichText::new(format!("{value:.4}{mark}"));
        row.col(|ui| {
            let shown = ui.add(Label::new(text.font(mono(12.0)).color(color)).truncate());
            if !costs_are_of_now {
                shown.on_hover_text(
                    "By the costs of its training: this run tells other classes than the data set has now.",
                );
            }
        });
    };
    priced(report.pwa, palette.text);
    priced(report.pwa_constant, palette.muted);
    row.col(|ui| {
        ui.add(Label::new(digits(duration(run.seconds))).truncate());
    });
}

/// `2026-03-04T13:20:05+01:00` as `2026-03-04 13:20`; anything else as it is.
fn created(text: &str) -> String {
    let minutes = text
        .split_once('T')
        .and_then(|(day, time)| Some((day, time.get(..5)?)))
        .filter(|(_, time)| time.bytes().all(|b| b.is_ascii_digit() || b == b':'));
    match minutes {
        Some((day, time)) => format!("{day} {time}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::created;

    #[test]
    fn a_time_is_shortened_and_anything_else_left_alone() {
        assert_eq!(created("2026-03-04T13:20:05+01:00"), "2026-03-04 13:20");
        assert_eq!(created("yesterday"), "yesterday");
        assert_eq!(created("T1"), "T1");
        assert_eq!(created("2026-03-04Té€é"), "2026-03-04Té€é");
    }
}
