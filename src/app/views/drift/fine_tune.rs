//! A network of its own for drift, against the head: starting it, watching it, and what both say of the same images.

use std::path::PathBuf;

use egui::{Align, Button, Label, Popup, RichText, Role, ScrollArea, Ui, WidgetInfo};

use super::DriftData;
use crate::app::command::{Action, Command};
use crate::app::icons::Icon;
use crate::app::state::words::count;
use crate::app::state::{Compared, DriftState, FineTuning};
use crate::app::status::left;
use crate::app::theme::{mono, semibold};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::curves::{Curve, Marks, curves};
use crate::app::widgets::parts::{self, GAP, Weight};
use crate::app::widgets::section;
use crate::app::widgets::thumb_grid::{Tile, Touch, thumb_grid};
use crate::evaluation::{Better, Interval, PairedReport};
use crate::training::Source;
use crate::workflows::{DriftRunRow, FINE_TUNE_LABELS, UnfinishedFineTune};

/// Height of the strip that shows a fine-tuning while it runs.
const STRIP: f32 = 128.0;
/// Height of what is said of an interrupted one.
const INTERRUPTED: f32 = 92.0;
/// Height of the table of figures.
const TABLE: f32 = 268.0;

/// What of fine-tuning the Drift view shows.
#[derive(Debug, Default)]
pub struct FineTuneView {
    /// Whether both judges are shown against each other in place of the ranking.
    comparing: bool,
    /// The interrupted fine-tuning whose removal is to be confirmed.
    discarding: Option<PathBuf>,
}

/// Why a network cannot be fine-tuned now.
fn why_not(cx: &PanelContext<'_>, data: &DriftData<'_>) -> Option<String> {
    cx.why_not(Action::FineTuneDrift).or_else(|| {
        let (drift, regular) = data.drift.label_counts();
        (drift.min(regular) < FINE_TUNE_LABELS).then(|| {
            format!(
                "It takes {FINE_TUNE_LABELS} images labelled drift and {FINE_TUNE_LABELS} labelled regular; there \
                 are {drift} and {regular}."
            )
        })
    })
}

/// The small button beside Retrain: what there is to train, and how long it takes.
pub fn menu(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    let palette = cx.palette;
    let button = parts::button(
        ui,
        palette,
        Weight::Primary,
        Some(Icon::ChevronDown),
        "",
        None,
    );
    button.widget_info(|| WidgetInfo::labeled(Role::Button, true, "More ways to train for drift"));
    // It belongs to the button beside it.
    ui.add_space(2.0 - ui.spacing().item_spacing.x);
    if button.clicked() {
        cx.send(Command::ReckonFineTune);
    }
    Popup::menu(&button).show(|ui| {
        ui.set_width(330.0);
        let refit = cx.why_not(Action::RetrainDrift);
        let ms = data.drift.milliseconds();
        let ms = ms.map_or("milliseconds".to_owned(), |ms| format!("{ms:.0} ms"));
        if entry(ui, "Refit the head", &ms, refit.as_deref()) {
            cx.send(Action::RetrainDrift);
        }
        ui.label(small(cx, "Learns from the cached features, after each label by itself."));
        ui.separator();
        let why_not = why_not(cx, data);
        let reckoned = data.fine_tune.cost().filter(|_| why_not.is_none());
        let refused = reckoned.and_then(Result::err);
        let cost = reckoned.and_then(Result::ok);
        let time = match cost {
            Some(cost) => format!("at most {}", left(cost.at_most_s)),
            None => "minutes, in the background".to_owned(),
        };
        let why = why_not.as_deref().or(refused);
        if entry(ui, "Fine-tune the network", &time, why) {
            cx.send(Action::FineTuneDrift);
        }
        let text = match (why, cost) {
            (Some(why), _) => why.to_owned(),
            (None, Some(cost)) => {
                let known = match cost.source {
                    Source::Estimated => "; the time is estimated",
                    _ => "",
                };
                format!(
                    "{} networks from {}. {} drift and {} regular labels, and {} as regular{known}.",
                    cost.folds,
                    cost.base.in_words(),
                    cost.labels.0,
                    cost.labels.1,
                    count(cost.reference as u64, "training image"),
                )
            }
            (None, None) => {
                "The best run's network is trained on to tell drift. Both are then shown against each other."
                    .to_owned()
            }
        };
        ui.add(Label::new(small(cx, &text)).wrap().halign(Align::Min));
    });
}

fn small(cx: &PanelContext<'_>, text: &str) -> RichText {
    RichText::new(text).size(12.0).color(cx.palette.muted)
}

/// A row of the menu: what it does, and how long that takes.
fn entry(ui: &mut Ui, text: &str, time: &str, why_not: Option<&str>) -> bool {
    let button = Button::new(text).shortcut_text(time);
    ui.add_enabled(why_not.is_none(), button).clicked()
}

/// The fine-tuning that runs.
fn under_way(ui: &mut Ui, cx: &PanelContext<'_>, running: &FineTuning) {
    let palette = cx.palette;
    let rect = parts::row(ui, STRIP, &[1.0])[0];
    let actions = |ui: &mut Ui| {
        let Some(job) = running.job else { return };
        let button = |ui: &mut Ui, weight, icon, text| {
            parts::button(ui, palette, weight, Some(icon), text, None).clicked()
        };
        if button(ui, Weight::Danger, Icon::Stop, "Stop") {
            cx.send(Command::CancelJob(job));
        }
        let (icon, text) = if running.paused {
            (Icon::Play, "Resume")
        } else {
            (Icon::Pause, "Pause")
        };
        if button(ui, Weight::Plain, icon, text) {
            cx.send(Command::PauseJob(job));
        }
    };
    parts::card(ui, palette, rect, "Fine-tuning for drift", actions, |ui| {
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width((ui.available_width() * 0.4).max(200.0));
                ui.label(RichText::new(whereabouts(running)).color(palette.text));
                if !running.base.is_empty() {
                    parts::explain(ui, palette, &format!("From {}.", running.base));
                }
            });
            let of = |value: fn(&crate::app::state::FoldPoint) -> f64| -> Vec<[f64; 2]> {
                let own = running.points.iter().filter(|p| p.fold == running.fold);
                own.map(|p| [p.epoch as f64, value(p)]).collect()
            };
            let lines = [
                Curve {
                    name: "training loss",
                    color: palette.muted,
                    points: of(|p| p.train_loss),
                },
                Curve {
                    name: "validation loss",
                    color: palette.accent,
                    points: of(|p| p.val_loss),
                },
            ];
            let height = ui.available_height();
            curves(
                ui,
                palette,
                "fine-tuning",
                &lines,
                &Marks::default(),
                None,
                height,
            );
        });
    });
}

fn whereabouts(running: &FineTuning) -> String {
    let paused = if running.paused { ", paused" } else { "" };
    let epochs = running.points.iter().filter(|p| p.fold == running.fold);
    match (running.fold, epochs.count()) {
        (0, _) => format!("Reading images and waiting for its turn{paused}"),
        (fold, 0) => format!("Network {fold} of {}, first epoch{paused}", running.folds),
        (fold, n) => format!(
            "Network {fold} of {}, {} over{paused}",
            running.folds,
            count(n as u64, "epoch")
        ),
    }
}

/// The section of the side panel: both at a glance.
pub fn aside(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>, view: &mut FineTuneView) {
    let Some(latest) = &data.fine_tune.latest else {
        view.comparing = false;
        return;
    };
    let palette = cx.palette;
    section(ui, palette, "Head against network");
    let report = &latest.run.comparison;
    for (name, judged) in [("head AP", &report.first), ("network AP", &report.second)] {
        let ap = &judged.average_precision;
        let interval = format!("{:.2}–{:.2}", ap.lo, ap.hi);
        parts::pair(
            ui,
            palette,
            108.0,
            name,
            &format!("{:.2}", ap.mean),
            &interval,
        );
    }
    parts::explain(ui, palette, &verdict(report));
    let text = if view.comparing {
        "Back to the ranking"
    } else {
        "Show them against each other"
    };
    if parts::link(ui, cx.palette, text) {
        view.comparing = !view.comparing;
    }
    ui.add_space(12.0);
}

/// What the labels say of the two.
fn verdict(report: &PairedReport) -> String {
    let n = report.n_drift + report.n_regular;
    match report.better() {
        Some(Better::Second) => format!("On these {n} labels the network ranks better."),
        Some(Better::First) => format!("On these {n} labels the head ranks better."),
        None => format!("{n} labels do not tell which ranks better."),
    }
}

impl FineTuneView {
    /// The fine-tuning that runs, or the newest that was interrupted, above everything else; nothing where there is
    /// neither.
    pub fn strip(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
        let palette = cx.palette;
        if let Some(why) = &data.fine_tune.failed {
            let text = format!("No network was fine-tuned. {why}");
            parts::notice(ui, palette, palette.warn, &text);
        }
        if let Some(running) = &data.fine_tune.running {
            under_way(ui, cx, running);
        } else if let Some(run) = data.fine_tune.unfinished.first() {
            self.interrupted(ui, cx, run);
        }
    }

    /// What was interrupted, to be resumed or discarded.
    fn interrupted(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, run: &UnfinishedFineTune) {
        let palette = cx.palette;
        let rect = parts::row(ui, INTERRUPTED, &[1.0])[0];
        let why_not = cx.why_not(Action::FineTuneDrift);
        let actions = |ui: &mut Ui| {
            let resume = parts::button(
                ui,
                palette,
                Weight::Primary,
                Some(Icon::Play),
                "Resume it",
                why_not.as_deref(),
            );
            if resume.clicked() {
                cx.send(Command::ResumeFineTune(run.dir.clone()));
            }
            let sure = self.discarding.as_ref() == Some(&run.dir);
            let (weight, text) = if sure {
                (Weight::Danger, "Remove for good")
            } else {
                (Weight::Plain, "Discard")
            };
            if parts::button(ui, palette, weight, None, text, None).clicked() {
                if sure {
                    cx.send(Command::DiscardRun(run.dir.clone()));
                }
                self.discarding = (!sure).then(|| run.dir.clone());
            }
        };
        parts::card(
            ui,
            palette,
            rect,
            "Interrupted fine-tuning",
            actions,
            |ui| {
                let words = format!("{} of {}. {}", run.model, day(&run.created), run.in_words());
                parts::explain(ui, palette, &words);
            },
        );
    }

    /// Both judges in place of the ranking, if that is wanted: says whether it was shown.
    pub fn comparison(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) -> bool {
        let Some(latest) = data.fine_tune.latest.as_ref().filter(|_| self.comparing) else {
            return false;
        };
        let rects = parts::row(ui, TABLE, &[1.7, 1.0]);
        let mut back = false;
        let title_aside = |ui: &mut Ui| back = parts::link(ui, cx.palette, "Back to the ranking");
        let title = "Head against fine-tuned network";
        parts::card(ui, cx.palette, rects[0], title, title_aside, |ui| {
            table(ui, cx, latest);
        });
        parts::card(
            ui,
            cx.palette,
            rects[1],
            "Which one ranks",
            |_| {},
            |ui| {
                choice(ui, cx, data.drift, latest);
            },
        );
        let height = (ui.available_height() - GAP).max(170.0);
        let rects = parts::row(ui, height, &[1.0, 1.0]);
        differing(
            ui,
            cx,
            data,
            rects[0],
            "Only the head says drift",
            &latest.head_only,
        );
        differing(
            ui,
            cx,
            data,
            rects[1],
            "Only the network says drift",
            &latest.network_only,
        );
        if back {
            self.comparing = false;
        }
        true
    }
}

fn table(ui: &mut Ui, cx: &PanelContext<'_>, latest: &Compared) {
    let palette = cx.palette;
    let (run, report) = (&latest.run, &latest.run.comparison);
    let figure = |i: &Interval| (format!("{:.2}", i.mean), format!("{:.2}–{:.2}", i.lo, i.hi));
    let (a, b) = (&report.first, &report.second);
    let mut rows = vec![
        (
            "AP".to_owned(),
            figure(&a.average_precision),
            figure(&b.average_precision),
        ),
        (
            format!("F1 at {:.2}", report.threshold),
            figure(&a.f1),
            figure(&b.f1),
        ),
        (
            "precision".to_owned(),
            figure(&a.precision),
            figure(&b.precision),
        ),
        ("recall".to_owned(), figure(&a.recall), figure(&b.recall)),
        ("AUROC".to_owned(), figure(&a.roc_auc), figure(&b.roc_auc)),
    ];
    if let Some(pwa) = &run.pwa {
        let constant = format!("constant {:.3}", pwa.constant);
        rows.push((
            "PWA".to_owned(),
            (format!("{:.3}", pwa.head), constant),
            (format!("{:.3}", pwa.network), String::new()),
        ));
    }
    egui::Grid::new("judges")
        .num_columns(3)
        .spacing([22.0, 4.0])
        .min_row_height(17.0)
        .show(ui, |ui| {
            ui.spacing_mut().interact_size.y = 17.0;
            ui.label("");
            for name in [
                format!("head · {}", run.head),
                format!("fine-tuned · {}", run.model),
            ] {
                ui.label(RichText::new(name).font(semibold(12.5)).color(palette.text));
            }
            ui.end_row();
            for (name, head, network) in rows {
                ui.label(RichText::new(name).color(palette.muted));
                for (value, more) in [head, network] {
                    ui.horizontal(|ui| {
                        ui.label(RichText::new(value).font(mono(12.5)).color(palette.text));
                        ui.label(RichText::new(more).font(mono(11.5)).color(palette.muted));
                    });
                }
                ui.end_row();
            }
        });
    let gain = &report.average_precision_gain;
    let words = format!(
        "Held out in {} folds, the same for both: {} drift and {} regular labels of {}. Network less head: AP \
         {:+.2} ({:+.2} to {:+.2}). {} Intervals are 95 %.",
        run.folds,
        report.n_drift,
        report.n_regular,
        day(&run.created),
        gain.mean,
        gain.lo,
        gain.hi,
        verdict(report),
    );
    parts::explain(ui, palette, &words);
}

/// The day of a time that is written as `2026-03-04T13:20:00+01:00`.
fn day(created: &str) -> &str {
    created.split('T').next().unwrap_or(created)
}

fn choice(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState, latest: &Compared) {
    let palette = cx.palette;
    let options = [(false, "Head"), (true, "Fine-tuned network")];
    let clicked = parts::choice(ui, palette, drift.ranks_by_network(), &options);
    if let Some(network) = clicked {
        cx.send(Command::RankByNetwork(network));
    }
    ui.add_space(4.0);
    let text = if drift.ranks_by_network() {
        "The ranking goes by the network as it was trained; it does not learn from labels given since. Histogram, \
         threshold, queue and submission stay the head's."
    } else {
        "The ranking goes by the head, which learns from each label."
    };
    ScrollArea::vertical().id_salt("choice").show(ui, |ui| {
        parts::explain(ui, palette, text);
        let run = &latest.run;
        let from = match run.base_validation_macro_f1 {
            Some(f1) => format!("{}, macro-F1 {f1:.3} on validation images", run.base),
            None => run.base.clone(),
        };
        let words = format!(
            "Fine-tuned from {from}, with {} as regular beside the labels, in {}.",
            count(run.reference as u64, "training image"),
            left(run.seconds),
        );
        parts::explain(ui, palette, &words);
        for warning in &run.warnings {
            parts::notice(ui, palette, palette.warn, warning);
        }
    });
}

fn differing(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    data: &DriftData<'_>,
    rect: egui::Rect,
    title: &str,
    rows: &[DriftRunRow],
) {
    let palette = cx.palette;
    let n = count(rows.len() as u64, "image");
    let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, &format!("{n}, head / network"));
    let touched = parts::card(ui, palette, rect, title, aside, |ui| {
        if rows.is_empty() {
            parts::explain(
                ui,
                palette,
                "None: whatever this one calls drift, the other does too.",
            );
            return None;
        }
        thumb_grid(ui, palette, cx.thumbs, title, rows.len(), 98.0, |at| {
            tile(cx, data.drift, &rows[at])
        })
    });
    match touched {
        Some(Touch::Click(at, _)) => cx.send(Command::Inspect(Some(rows[at].image))),
        Some(Touch::Open(at)) => cx.send(Command::Walk {
            title: title.to_owned(),
            images: rows.iter().map(|row| row.image).collect(),
            start: at,
        }),
        None => {}
    }
}

fn tile(cx: &PanelContext<'_>, drift: &DriftState, row: &DriftRunRow) -> Tile {
    let palette = cx.palette;
    let violet = palette.class(cx.classes, cx.classes.drift());
    // What it is labelled now: the list stays, the label shows.
    let label = drift.label(row.image);
    let (frame, tag) = match label {
        Some(true) => ((2.0, violet), Some(("Drift".to_owned(), violet))),
        Some(false) => (
            (2.0, palette.good),
            Some(("Regular".to_owned(), palette.good)),
        ),
        None => ((1.0, palette.line), None),
    };
    let spoken = match label {
        Some(true) => "drift",
        Some(false) => "regular",
        None => "not labelled",
    };
    let short = |p: f32| format!("{p:.2}").trim_start_matches('0').to_owned();
    let head = row.head.unwrap_or_default();
    Tile {
        image: row.image,
        frame,
        tag,
        second: None,
        number: Some(format!("{} / {}", short(head), short(row.network))),
        selected: cx.inspected == Some(row.image),
        spoken: format!("{spoken}, head {head:.2}, network {:.2},", row.network),
    }
}
