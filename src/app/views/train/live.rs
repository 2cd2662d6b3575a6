//! A training while it runs, and its report after.

use egui::{Rect, RichText, Ui, vec2};

use super::{TrainData, TrainView};
use crate::app::command::{Action, Command};
use crate::app::state::train::EpochPoint;
use crate::app::state::words::{bytes, clock_after, count};
use crate::app::state::{LiveImage, TrainPhase, TrainState};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::confusion::{self, confusion};
use crate::app::widgets::curves::{Curve, Marks, curves};
use crate::app::widgets::parts;
use crate::app::widgets::report_table::report_table;
use crate::app::widgets::thumb_grid::{Tile, Touch, thumb_grid};
use crate::evaluation::Report;
use crate::training::PhaseStart;

impl TrainView {
    pub(super) fn live(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>) {
        let (palette, train) = (cx.palette, data.train);
        if let TrainPhase::Failed(why) = &train.phase {
            parts::notice(
                ui,
                palette,
                palette.bad,
                &format!("The training ended without a result. {why}"),
            );
            parts::explain(ui, palette, &how_far(train));
            if train.points.is_empty() {
                return;
            }
        }
        let rects = parts::row(ui, 214.0, &[3.0, 3.0, 2.2]);
        loss(ui, cx, train, rects[0]);
        macro_f1(ui, cx, train, rects[1]);
        match &train.report {
            Some(report) => test_result(ui, cx, train, report, rects[2]),
            None => now_running(ui, cx, train, rects[2]),
        }
        let rects = parts::row(ui, 344.0, &[1.0, 1.0]);
        if let Some(report) = &train.report {
            test_confusion(ui, cx, report, rects[0]);
            let n = count(report.n, "image");
            let aside = |ui: &mut Ui| {
                parts::aside(ui, palette.muted, &format!("test split, read once · {n}"));
            };
            parts::card(ui, palette, rects[1], "Report", aside, |ui| {
                report_table(ui, palette, cx.classes, report);
            });
        } else {
            self.live_confusion(ui, cx, train, rects[0]);
            self.live_images(ui, cx, train, rects[1]);
        }
    }

    fn live_confusion(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        train: &TrainState,
        rect: Rect,
    ) {
        let palette = cx.palette;
        let aside = |ui: &mut Ui| {
            parts::aside(
                ui,
                palette.muted,
                "rows true, columns answered · click a cell",
            );
        };
        parts::card(ui, palette, rect, "Validation, live", aside, |ui| {
            let Some(matrix) = &train.confusion else {
                parts::explain(ui, palette, not_validated(train));
                return;
            };
            let matrix_rect = fill_above(ui, 26.0);
            let clicked = parts::place(ui, matrix_rect, "matrix", |ui| {
                confusion(ui, palette, &train.classes, matrix, cx.cost, self.cell)
            });
            if let Some(cell) = clicked {
                self.cell = if self.cell == Some(cell) {
                    None
                } else {
                    Some(cell)
                };
            }
            confusion::key(ui, palette, cx.cost);
        });
    }

    fn live_images(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, train: &TrainState, rect: Rect) {
        let palette = cx.palette;
        let shown: Vec<&LiveImage> = train
            .live
            .iter()
            .filter(|i| self.cell.is_none_or(|cell| (i.actual, i.predicted) == cell))
            .collect();
        let title = match self.cell {
            Some(cell) => confusion::cell_title(&train.classes, cell, shown.len()),
            None => "Validation images, live".to_owned(),
        };
        let mistakes = count(train.mistakes() as u64, "mistake");
        let aside = |ui: &mut Ui| {
            if self.cell.is_some() {
                let text = RichText::new("All images").size(12.0).color(palette.accent);
                if ui.add(egui::Button::new(text).frame(false)).clicked() {
                    self.cell = None;
                }
            } else if !train.live.is_empty() {
                parts::aside(
                    ui,
                    palette.muted,
                    &format!("{mistakes} first, the surest before all"),
                );
            }
        };
        let touched = parts::card(ui, palette, rect, &title, aside, |ui| {
            thumb_grid(ui, palette, cx.thumbs, "live", shown.len(), 76.0, |at| {
                let live = shown[at];
                let name = cx.classes.name(live.predicted);
                Tile {
                    image: live.image,
                    frame: if live.right() {
                        (1.0, palette.good)
                    } else {
                        (2.0, palette.bad)
                    },
                    tag: Some((name.to_owned(), palette.class(cx.classes, live.predicted))),
                    second: None,
                    number: Some(format!("{:.2}", live.confidence)),
                    selected: cx.inspected == Some(live.image),
                    spoken: format!("true {} predicted {name}", cx.classes.name(live.actual)),
                }
            })
        });
        if let Some(Touch::Click(at, _) | Touch::Open(at)) = touched {
            cx.send(Command::Inspect(Some(shown[at].image)));
        }
    }
}

/// Why there is no answer on a validation image.
fn not_validated(train: &TrainState) -> &'static str {
    match train.phase {
        TrainPhase::Preparing => "Validation follows the first epoch.",
        _ => "The first epoch is running; validation follows it.",
    }
}

/// The space left in a card above `below` points.
fn fill_above(ui: &mut Ui, below: f32) -> Rect {
    let space = ui.available_size() - vec2(0.0, below);
    ui.allocate_exact_size(space.max(vec2(10.0, 10.0)), egui::Sense::hover())
        .0
}

fn line(points: &[EpochPoint], value: fn(&EpochPoint) -> f64) -> Vec<[f64; 2]> {
    points.iter().map(|p| [p.epoch as f64, value(p)]).collect()
}

fn two<'a>(
    cx: &PanelContext<'_>,
    train: Vec<[f64; 2]>,
    validation: Vec<[f64; 2]>,
) -> [Curve<'a>; 2] {
    [
        Curve {
            name: "train",
            color: cx.palette.accent,
            points: train,
        },
        Curve {
            name: "validation",
            color: cx.palette.warn,
            points: validation,
        },
    ]
}

/// The names of the curves in their colours, and the latest validation figure; right to left.
fn curve_key(ui: &mut Ui, cx: &PanelContext<'_>, latest: Option<f64>) {
    let palette = cx.palette;
    if let Some(latest) = latest {
        parts::aside_number(ui, palette.warn, &format!("{latest:.3}"));
    }
    parts::aside(ui, palette.warn, "validation");
    parts::aside(ui, palette.muted, "·");
    parts::aside(ui, palette.accent, "train");
}

fn marks(train: &TrainState) -> Marks<'_> {
    Marks {
        best: train.best_epoch,
        phase_ends: &train.phase_ends,
    }
}

fn loss(ui: &mut Ui, cx: &PanelContext<'_>, train: &TrainState, rect: Rect) {
    let latest = train.points.last().map(|p| p.val_loss);
    parts::card(
        ui,
        cx.palette,
        rect,
        "Loss",
        |ui| curve_key(ui, cx, latest),
        |ui| {
            let lines = two(
                cx,
                line(&train.points, |p| p.train_loss),
                line(&train.points, |p| p.val_loss),
            );
            let height = ui.available_height();
            curves(ui, cx.palette, "Loss", &lines, &marks(train), None, height);
        },
    );
}

fn macro_f1(ui: &mut Ui, cx: &PanelContext<'_>, train: &TrainState, rect: Rect) {
    let palette = cx.palette;
    let aside = |ui: &mut Ui| {
        if let Some(best) = train.best() {
            let text = format!("{:.3} at {}", best.val_macro_f1, best.epoch);
            parts::aside_number(ui, palette.text, &text);
            parts::aside(ui, palette.muted, "· best");
        }
        if let Some(latest) = train.points.last() {
            let text = format!("{:.3}", latest.val_macro_f1);
            parts::aside_number(ui, palette.warn, &text);
        }
    };
    parts::card(ui, palette, rect, "Macro-F1", aside, |ui| {
        let lines = two(
            cx,
            line(&train.points, |p| p.train_macro_f1),
            line(&train.points, |p| p.val_macro_f1),
        );
        let height = ui.available_height();
        curves(
            ui,
            palette,
            "Macro-F1",
            &lines,
            &marks(train),
            Some(1.0),
            height,
        );
    });
}

fn now_running(ui: &mut Ui, cx: &PanelContext<'_>, train: &TrainState, rect: Rect) {
    let palette = cx.palette;
    let epochs = train.last_epoch();
    let patience = train.patience;
    let title = match train.phase {
        TrainPhase::Preparing => "Preparing".to_owned(),
        TrainPhase::Paused => "Paused".to_owned(),
        TrainPhase::Stopping => "Stopping".to_owned(),
        TrainPhase::Failed(_) => "Failed".to_owned(),
        _ => format!("Epoch {} of {epochs}", train.epoch.max(1)),
    };
    parts::card(
        ui,
        palette,
        rect,
        &title,
        |_| {},
        |ui| {
            parts::progress(ui, palette, train.fraction());
            ui.add_space(4.0);
            match train.phase {
                TrainPhase::Failed(_) => return,
                TrainPhase::Preparing => {
                    parts::explain(
                        ui,
                        palette,
                        "Images are decoded once and cached; the first epoch follows.",
                    );
                    return;
                }
                TrainPhase::Stopping => {
                    parts::explain(
                        ui,
                        palette,
                        "The best epoch is restored, then the test split is read once.",
                    );
                }
                _ => {}
            }
            let at = 84.0;
            let step = format!("{} / {}", train.step, train.steps_per_epoch);
            parts::pair(ui, palette, at, "step", &step, "");
            parts::pair(
                ui,
                palette,
                at,
                "speed",
                &format!("{:.0} img/s", train.images_per_s),
                "",
            );
            parts::pair(
                ui,
                palette,
                at,
                "patience left",
                &train.patience_left.to_string(),
                &format!("of {patience}"),
            );
            if let Some(text) = train.part.as_ref().and_then(kept) {
                parts::explain(ui, palette, &text);
            }
            if train.phase == TrainPhase::Paused {
                return;
            }
            if let Some(left) = train.seconds_left() {
                let last = train.part.as_ref().is_none_or(|p| p.phase == p.phases);
                let done = if last {
                    "done by about"
                } else {
                    "phase ends by"
                };
                parts::pair(ui, palette, at, done, &clock_after(cx.now, left), "");
            }
            if let Some(left) = train.seconds_left_without_improvement() {
                parts::pair(
                    ui,
                    palette,
                    at,
                    "or sooner",
                    &clock_after(cx.now, left),
                    "at this best",
                );
            }
        },
    );
}

/// How far a training came that ended without a result.
fn how_far(train: &TrainState) -> String {
    let done = match train.points.len() {
        0 => "It ended before its first epoch did.".to_owned(),
        n => format!("It ended after {}.", count(n as u64, "epoch")),
    };
    format!("{done} New run shows the plan again.")
}

/// What became of the frozen layers' activations, as a sentence.
fn kept(part: &PhaseStart) -> Option<String> {
    let cache = part.cache?;
    let size = bytes(cache.estimate.bytes);
    Some(if !cache.used {
        let (missing, free) = (cache.estimate.missing(), cache.estimate.free);
        format!(
            "Frozen layers run every epoch: keeping what they say would take {} of {} free.",
            bytes(missing),
            bytes(free)
        )
    } else if cache.computed == 0 {
        format!("Frozen layers: {size} found in the cache.")
    } else {
        let images = count(cache.computed as u64, "image");
        format!(
            "Frozen layers ran once: {images} in {:.0} s, {size} kept{}.",
            cache.seconds,
            match cache.removed {
                0 => String::new(),
                removed => format!("; {} of other trainings went for it", bytes(removed)),
            }
        )
    })
}

fn test_result(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    train: &TrainState,
    report: &Report,
    rect: Rect,
) {
    let palette = cx.palette;
    let n = count(report.n, "image");
    parts::card(
        ui,
        palette,
        rect,
        "Test split",
        |ui| parts::aside(ui, palette.muted, &n),
        |ui| {
            let [lo, hi] = report.macro_f1_ci;
            let at = 84.0;
            for (name, value) in [
                ("macro-F1", format!("{:.3}", report.macro_f1)),
                ("95 %", format!("{lo:.2}–{hi:.2}")),
                ("accuracy", format!("{:.3}", report.accuracy)),
                ("PWA", format!("{:.4}", report.pwa)),
                ("constant", format!("{:.4}", report.pwa_constant)),
            ] {
                parts::pair(ui, palette, at, name, &value, "");
            }
            parts::explain(ui, palette, &ended(train));
        },
    );
}

/// `Patience used up; epoch 27 kept.`
fn ended(train: &TrainState) -> String {
    let mut letters = train.reason.chars();
    let first: String = letters
        .next()
        .map(char::to_uppercase)
        .into_iter()
        .flatten()
        .collect();
    let kept = train
        .best_epoch
        .map_or(String::new(), |e| format!("; epoch {e} kept"));
    format!("{first}{}{kept}.", letters.as_str())
}

fn test_confusion(ui: &mut Ui, cx: &PanelContext<'_>, report: &Report, rect: Rect) {
    let palette = cx.palette;
    let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, "rows true, columns answered");
    parts::card(ui, palette, rect, "Test split", aside, |ui| {
        let matrix_rect = fill_above(ui, 26.0);
        let clicked = parts::place(ui, matrix_rect, "matrix", |ui| {
            confusion(
                ui,
                palette,
                &report.classes,
                &report.confusion,
                cx.cost,
                None,
            )
        });
        if clicked.is_some() {
            cx.send(Action::ShowReview);
        }
        confusion::key(ui, palette, cx.cost);
    });
}
