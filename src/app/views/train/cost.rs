//! What the plan in the fields will take, before it is started: minutes, megabytes, and what other choices
//! would.

use egui::{Align, Color32, Layout, Rect, Response, RichText, Ui, vec2};
use egui_extras::{Column, TableBuilder, TableRow};

use super::TrainData;
use crate::app::command::Command;
use crate::app::state::words::{bytes, duration, thousands};
use crate::app::theme::{Palette, mono, semibold};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::parts::{self, GAP};
use crate::training::{PhaseCost, Plan, Source, TrainingCost};
use crate::workflows::{Choice, PlanCost};

const ROW: f32 = 21.0;
/// Widths of the two cards against each other.
const SHARES: [f32; 2] = [1.36, 1.0];
/// Space inside a card, on every side.
const PADDING: f32 = 14.0;
/// A card's padding and title.
const HEAD: f32 = 2.0 * PADDING + 32.0;
/// The line that says what the figures rest on.
const KNOWN: f32 = 32.0;

/// `23 min`; `~23 min` where nobody has measured it.
pub(super) fn time(seconds: f64, source: Source) -> String {
    let mark = if source == Source::Estimated { "~" } else { "" };
    format!("{mark}{}", duration(seconds))
}

/// The two cards between the plan and the runs; nothing while nothing is known.
pub(super) fn cards(ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>, plan: &Plan) {
    if data.estimate.problem(plan).is_some() {
        return;
    }
    let Some(cost) = data.estimate.of(plan).or_else(|| data.estimate.latest()) else {
        return;
    };
    let warnings: Vec<String> = cost.cost.phases.iter().filter_map(no_room).collect();
    let width = (ui.available_width() - GAP) * SHARES[0] / (SHARES[0] + SHARES[1]) - 2.0 * PADDING;
    let mut height = HEAD + ROW * (1 + lines(&cost.cost).len()) as f32 + KNOWN;
    height += text_height(ui, &on_disk(&cost.cost), width);
    for warning in &warnings {
        height += text_height(ui, warning, width - 16.0);
    }
    let beside = HEAD + ROW * cost.choices.len() as f32;
    let rects = parts::row(ui, height.max(beside), &SHARES);
    takes(ui, cx, data, cost, &warnings, rects[0]);
    choices(ui, cx, cost, rects[1]);
    ui.add_space(GAP - ui.spacing().item_spacing.y);
}

/// Height of a wrapped text with the space below it, points.
fn text_height(ui: &Ui, text: &str, width: f32) -> f32 {
    let font = egui::TextStyle::Body.resolve(ui.style());
    let galley = ui
        .painter()
        .layout(text.to_owned(), font, Color32::PLACEHOLDER, width);
    galley.size().y + 8.0
}

fn takes(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    data: &TrainData<'_>,
    cost: &PlanCost,
    warnings: &[String],
    rect: Rect,
) {
    let palette = cx.palette;
    let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, "early stopping may end it sooner");
    parts::card(ui, palette, rect, "What it will take", aside, |ui| {
        table(ui, palette, &cost.cost);
        ui.add_space(2.0);
        how_known(ui, cx, data, cost);
        parts::explain(ui, palette, &on_disk(&cost.cost));
        for warning in warnings {
            parts::notice(ui, palette, palette.warn, warning);
        }
    });
}

/// One row of the table: name, and the cells right of it.
struct Line {
    name: String,
    cells: [String; 4],
    color: fn(&Palette) -> Color32,
    strong: bool,
}

fn lines(cost: &TrainingCost) -> Vec<Line> {
    let muted = |name: &str, about: String, seconds: String| Line {
        name: name.to_owned(),
        cells: [String::new(), about, String::new(), seconds],
        color: |palette| palette.muted,
        strong: false,
    };
    let mut lines: Vec<Line> = cost.phases.iter().map(phase_line).collect();
    if cost.phases.iter().any(|phase| phase.kept) {
        let seconds = time(cost.cache_s, cost.source);
        lines.push(muted("frozen layers, once", String::new(), seconds));
    }
    let seconds = time(cost.answers_s, cost.source);
    lines.push(muted("answers at the end", String::new(), seconds));
    lines.push(Line {
        name: "in all".to_owned(),
        cells: [
            String::new(),
            String::new(),
            String::new(),
            time(cost.at_most_s, cost.source),
        ],
        color: |palette| palette.text,
        strong: true,
    });
    lines
}

fn phase_line(phase: &PhaseCost) -> Line {
    let cached = match (phase.kept, phase.frozen_share > 0.0) {
        (true, _) => format!("{:.0} %", phase.frozen_share * 100.0),
        (false, true) => "0 %".to_owned(),
        (false, false) => "–".to_owned(),
    };
    Line {
        name: match phase.trainable.as_str() {
            "all" => "whole network".to_owned(),
            name => name.replace('_', " "),
        },
        cells: [
            thousands(phase.parameters),
            cached,
            phase.epochs.to_string(),
            time(phase.at_most_s, phase.source),
        ],
        color: |palette| palette.text,
        strong: false,
    }
}

const HEADS: [(&str, &str); 4] = [
    ("trains", "Parameters that learn."),
    (
        "cached",
        "The share of the network that lies before the part that learns: it runs once for each image, and what it says is kept.",
    ),
    ("epochs", "At most."),
    ("at most", "All epochs; early stopping may end them sooner."),
];

fn table(ui: &mut Ui, palette: &Palette, cost: &TrainingCost) {
    ui.push_id("cost", |ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 2.0);
        TableBuilder::new(ui)
            .vscroll(false)
            .cell_layout(Layout::right_to_left(Align::Center))
            .column(Column::remainder().at_least(90.0).clip(true))
            .column(Column::exact(80.0))
            .column(Column::exact(56.0))
            .column(Column::exact(46.0))
            .column(Column::exact(84.0))
            .header(ROW - 2.0, |mut row| {
                row.col(|ui| {
                    left(ui, |ui| {
                        head(ui, palette, "phase");
                    });
                });
                for (name, meaning) in HEADS {
                    row.col(|ui| {
                        head(ui, palette, name).on_hover_text(meaning);
                    });
                }
            })
            .body(|mut body| {
                for line in lines(cost) {
                    body.row(ROW - 2.0, |mut row| cells(&mut row, palette, &line));
                }
            });
    });
}

fn cells(row: &mut TableRow<'_, '_>, palette: &Palette, line: &Line) {
    let color = (line.color)(palette);
    row.col(|ui| {
        left(ui, |ui| {
            let mut text = RichText::new(&line.name).color(color);
            if line.strong {
                text = text.font(semibold(13.0));
            }
            ui.add(egui::Label::new(text).truncate());
        });
    });
    for cell in &line.cells {
        row.col(|ui| {
            ui.label(RichText::new(cell).font(mono(12.0)).color(color));
        });
    }
}

fn left(ui: &mut Ui, add: impl FnOnce(&mut Ui)) {
    ui.with_layout(Layout::left_to_right(Align::Center), add);
}

fn head(ui: &mut Ui, palette: &Palette, text: &str) -> Response {
    ui.label(RichText::new(text).size(11.5).color(palette.muted))
}

/// What the figures rest on, and the way to know better.
fn how_known(ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>, cost: &PlanCost) {
    let palette = cx.palette;
    ui.horizontal(|ui| {
        ui.set_min_height(22.0);
        if let Some((job, done)) = data.estimate.trial {
            let text = format!("Timing a few steps on this machine: {:.0} %", done * 100.0);
            parts::aside(ui, palette.muted, &text);
            if parts::link(ui, palette, "Cancel") {
                cx.send(Command::CancelJob(job));
            }
            return;
        }
        let source = cost.cost.source;
        let mark = if source == Source::Estimated {
            "~ "
        } else {
            ""
        };
        let color = if source == Source::Estimated {
            palette.warn
        } else {
            palette.good
        };
        parts::aside(ui, color, &format!("{mark}{}", source.words()));
        if source == Source::Estimated && !data.train.active() {
            let text = format!("Measure now, {}", duration(cost.trial_s.max(1.0)));
            if parts::link(ui, palette, &text) {
                cx.send(Command::MeasurePace);
            }
        }
    });
}

/// `On disk at most 2.7 GB: frozen layers 1.9 GB (26.0 GB may be used), …`
fn on_disk(cost: &TrainingCost) -> String {
    let disk = &cost.disk;
    let mut parts = Vec::new();
    if cost.phases.iter().any(|phase| phase.cache.is_some()) {
        parts.push(format!(
            "frozen layers {} of {} that may be used",
            bytes(disk.activations),
            bytes(disk.budget)
        ));
    }
    if disk.pixels > 0 {
        parts.push(format!("pixels {}", bytes(disk.pixels)));
    }
    parts.push(format!("model {}", bytes(disk.model)));
    format!(
        "On disk at most {}: {}; {} free.",
        bytes(disk.total()),
        parts.join(", "),
        bytes(disk.free)
    )
}

/// Why the frozen layers of a phase run in every epoch, where that is for want of room.
fn no_room(phase: &PhaseCost) -> Option<String> {
    let cache = phase.cache.filter(|_| !phase.kept)?;
    Some(format!(
        "{}: what the frozen layers say takes {}{}, and only half of {} free may be used. They will run in every epoch instead.",
        phase.trainable.replace('_', " "),
        bytes(cache.missing()),
        if cache.kept > 0 { " more" } else { "" },
        bytes(cache.free)
    ))
}

fn choices(ui: &mut Ui, cx: &PanelContext<'_>, cost: &PlanCost, rect: Rect) {
    let palette = cx.palette;
    let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, "one at a time, at most");
    parts::card(ui, palette, rect, "Other choices", aside, |ui| {
        ui.push_id("choices", |ui| {
            ui.spacing_mut().item_spacing = vec2(6.0, 2.0);
            TableBuilder::new(ui)
                .vscroll(false)
                .cell_layout(Layout::right_to_left(Align::Center))
                .column(Column::remainder().at_least(90.0).clip(true))
                .column(Column::exact(96.0))
                .column(Column::exact(60.0))
                .body(|mut body| {
                    for choice in &cost.choices {
                        body.row(ROW - 2.0, |mut row| {
                            choice_cells(&mut row, palette, choice, cost.cost.at_most_s);
                        });
                    }
                });
        });
    });
}

fn choice_cells(row: &mut TableRow<'_, '_>, palette: &Palette, choice: &Choice, now: f64) {
    row.col(|ui| {
        left(ui, |ui| {
            let text = RichText::new(&choice.name).color(palette.text);
            ui.add(egui::Label::new(text).truncate())
                .on_hover_text(format!("{} on disk at most", bytes(choice.disk)));
        });
    });
    let digits = |text: String, color| RichText::new(text).font(mono(12.0)).color(color);
    row.col(|ui| {
        let text = time(choice.at_most_s, choice.source);
        ui.label(digits(text, palette.text));
    });
    row.col(|ui| {
        let more = choice.at_most_s - now;
        let color = if more > 0.0 {
            palette.warn
        } else {
            palette.good
        };
        ui.label(digits(difference(more), color));
    });
}

/// `+70 min`, `−12 s`, `+3.4 h`.
fn difference(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "−" } else { "+" };
    match seconds.abs() {
        s if s < 0.5 => "±0 s".to_owned(),
        s if s < 90.0 => format!("{sign}{s:.0} s"),
        s if s < 5400.0 => format!("{sign}{:.0} min", s / 60.0),
        s => format!("{sign}{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_times_say_what_they_are() {
        assert_eq!(difference(0.2), "±0 s");
        assert_eq!(difference(-12.0), "−12 s");
        assert_eq!(difference(4200.0), "+70 min");
        assert_eq!(difference(12_240.0), "+3.4 h");
        assert_eq!(time(1380.0, Source::Trial), "23 min");
        assert_eq!(time(1380.0, Source::Estimated), "~23 min");
    }
}
