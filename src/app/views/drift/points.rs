//! The operating points: where the threshold could be, and how well each way of choosing it does.

use egui::{Align, Layout, Rect, RichText, Ui, vec2};

use super::price;
use crate::app::command::Action;
use crate::app::state::DriftState;
use crate::app::state::words::thousands;
use crate::app::theme::mono;
use crate::app::views::panel::PanelContext;
use crate::app::widgets::parts::{self, Weight};
use crate::evaluation::{Interval, OperatingPoint};

/// Height of the card.
pub(super) const HEIGHT: f32 = 184.0;

const ACTIONS: [Action; 3] = [Action::PointCheapest, Action::PointF1, Action::PointCatch];

/// Head of each column and its share of the width.
const COLUMNS: [(&str, f32); 6] = [
    ("", 1.25),
    ("threshold", 0.72),
    ("F1", 1.1),
    ("recall", 1.1),
    ("precision", 1.1),
    ("expected cost", 1.35),
];

/// Paints the card and sends what the user asks for.
pub(super) fn points(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState, rect: Rect) {
    let palette = cx.palette;
    let figures = ACTIONS
        .iter()
        .find_map(|action| drift.point(action.aim()?)?.ok())
        .map(|point| point.figures);
    let aside = |ui: &mut Ui| {
        if let Some(f) = figures {
            let n = format!(
                "{} drift, {} regular labels; each judged by a threshold chosen without it; 95 % intervals",
                thousands(f.n_drift),
                thousands(f.n_regular)
            );
            parts::aside(ui, palette.muted, &n);
        }
    };
    parts::card(ui, palette, rect, "Operating points", aside, |ui| {
        ui.spacing_mut().item_spacing.y = 3.0;
        let width = ui.available_width();
        row(ui, width, 16.0, |ui, column| {
            let head = RichText::new(COLUMNS[column].0).size(11.5);
            ui.label(head.color(palette.muted));
        });
        for action in ACTIONS {
            let Some(aim) = action.aim() else { continue };
            let point = drift.point(aim);
            let why_not = drift.why_no_point(aim);
            let shown = |ui: &mut Ui, column: usize| match (column, point) {
                (0, _) => {
                    let text = cx.with_key(action, aim.name());
                    let why_not = why_not.as_deref();
                    let button = parts::button(ui, palette, Weight::Plain, None, &text, why_not);
                    if button.clicked() {
                        cx.send(action);
                    }
                }
                (_, Some(Ok(point))) => cell(ui, cx, point, column),
                (1, Some(Err(why))) => {
                    let why = RichText::new(why).size(12.0).color(palette.muted);
                    ui.add(egui::Label::new(why).wrap());
                }
                _ => {}
            };
            if let Some(Ok(_)) = point {
                row(ui, width, 28.0, shown);
            } else {
                // The sentence takes the place of the figures.
                ui.horizontal(|ui| {
                    shown(ui, 0);
                    shown(ui, 1);
                });
            }
        }
    });
}

fn row(ui: &mut Ui, width: f32, height: f32, cell: impl Fn(&mut Ui, usize)) {
    let total: f32 = COLUMNS.iter().map(|(_, share)| share).sum();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        for (column, (_, share)) in COLUMNS.iter().enumerate() {
            let size = vec2(width * share / total, height);
            ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
                ui.set_min_size(size);
                ui.spacing_mut().item_spacing.x = 6.0;
                cell(ui, column);
            });
        }
    });
}

fn cell(ui: &mut Ui, cx: &PanelContext<'_>, point: &OperatingPoint, column: usize) {
    let (palette, figures) = (cx.palette, &point.figures);
    let value = |ui: &mut Ui, text: &str| {
        ui.label(RichText::new(text).font(mono(12.5)).color(palette.text));
    };
    let share = |ui: &mut Ui, i: &Interval| {
        value(ui, &format!("{:.2}", i.mean));
        let ends = format!("{:.2}–{:.2}", i.lo, i.hi);
        ui.label(RichText::new(ends).font(mono(11.0)).color(palette.muted));
    };
    match (column, &figures.cost) {
        (1, _) => value(ui, &format!("{:.2}", point.threshold)),
        (2, _) => share(ui, &figures.f1),
        (3, _) => share(ui, &figures.recall),
        (4, _) => share(ui, &figures.precision),
        (5, Some(cost)) => {
            value(ui, &price(cost.mean));
            let ends = format!("{}–{}", price(cost.lo), price(cost.hi));
            ui.label(RichText::new(ends).font(mono(11.0)).color(palette.muted));
        }
        (5, None) => value(ui, "n/a"),
        _ => {}
    }
}
