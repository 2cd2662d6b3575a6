//! What decisions reckon with, to be edited: the share of drift and the cost of a look; and how many images get
//! which kind of answer by it.

use egui::{DragValue, RichText, Ui};

use super::price;
use crate::app::command::{Action, Command};
use crate::app::state::DriftState;
use crate::app::state::words::thousands;
use crate::app::views::panel::PanelContext;
use crate::app::widgets::{parts, section};
use crate::project::DriftChoice;
use crate::workflows::Decided;

/// Numbers being edited: what is typed or dragged counts once it is let go.
#[derive(Debug, Default)]
pub(super) struct Assume {
    /// Percent.
    rate: Option<f64>,
    look: Option<f64>,
}

impl Assume {
    /// Paints the section and sends what the user decides.
    pub fn ui(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
        let palette = cx.palette;
        let Some(decided) = drift.decided() else {
            return;
        };
        section(ui, palette, "Decision");
        let rate = &decided.rate;
        let edited = edit(
            ui,
            cx,
            "assumed drift",
            &mut self.rate,
            100.0 * rate.assumed,
            0.1..=99.9,
            " %",
        );
        if let Some(percent) = edited {
            cx.send(Command::Choose(DriftChoice::Rate(Some(percent / 100.0))));
        }
        let sample = if rate.images == 0 {
            "No image of the random sample is labelled yet; Find drift draws it.".to_owned()
        } else {
            let [lo, hi] = rate.interval().map(|share| 100.0 * share);
            format!(
                "Random sample: {} of {} drift, {lo:.1}–{hi:.1} % (95 %).",
                rate.drift, rate.images
            )
        };
        parts::explain(ui, palette, &sample);
        if rate.is_guess() {
            parts::explain(
                ui,
                palette,
                "A tenth is a guess until ten of it are labelled.",
            );
        }
        if rate.given && parts::link(ui, cx.palette, "Take the sample's") {
            cx.send(Command::Choose(DriftChoice::Rate(None)));
        }
        ui.add_space(4.0);
        let look = edit(
            ui,
            cx,
            "cost of a look",
            &mut self.look,
            decided.look,
            0.0..=f64::MAX,
            "",
        );
        if let Some(look) = look {
            cx.send(Command::Choose(DriftChoice::LookCost(Some(look))));
        }
        let usual = cx.cost.max() / 100.0;
        if (decided.look - usual).abs() > 1e-9
            && parts::link(ui, cx.palette, &format!("Back to {}", price(usual)))
        {
            cx.send(Command::Choose(DriftChoice::LookCost(None)));
        }
        if parts::link(ui, cx.palette, "Cost of each mistake…") {
            cx.send(Action::EditCosts);
        }
        if drift.has_head() {
            outcomes(ui, cx, drift, decided);
        }
        ui.add_space(12.0);
    }
}

/// How many images get which kind of answer, and what their probabilities are calibrated by.
fn outcomes(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState, decided: &Decided) {
    let palette = cx.palette;
    let outcomes = drift.outcomes(cx.classes.drift());
    let all = [
        ("a class", outcomes.class),
        ("drift", outcomes.drift),
        ("needs review", outcomes.review),
    ];
    for (name, n) in all {
        parts::pair(ui, palette, 108.0, name, &thousands(n as u64), "");
    }
    let head = match decided.head_temperature {
        Some(t) => format!("drift head {t:.2}"),
        None => "drift head 1, until ten of each kind are labelled".to_owned(),
    };
    let network = match decided.run_temperature {
        Some(t) => format!("network {t:.2}"),
        None => "network 1".to_owned(),
    };
    let undone = if decided.unadjusted {
        ", its logit adjustment undone"
    } else {
        ""
    };
    let text = format!("Calibrated by temperature: {head}, {network}{undone}.");
    parts::explain(ui, palette, &text);
}

/// A number to drag or type; returns it once it is let go and differs from `now`.
fn edit(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    name: &str,
    editing: &mut Option<f64>,
    now: f64,
    range: std::ops::RangeInclusive<f64>,
    suffix: &str,
) -> Option<f64> {
    let mut value = editing.unwrap_or(now);
    let response = ui
        .horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 8.0;
            let label = ui.label(RichText::new(name).color(cx.palette.muted));
            let field = DragValue::new(&mut value)
                .range(range)
                .speed((now / 100.0).max(0.05))
                .max_decimals(2)
                .suffix(suffix);
            ui.add(field).labelled_by(label.id)
        })
        .inner;
    if response.changed() {
        *editing = Some(value);
    }
    if response.dragged() || response.has_focus() {
        return None;
    }
    editing.take().filter(|value| (value - now).abs() > 1e-9)
}
