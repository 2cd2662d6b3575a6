//! Review: what a run gets wrong, which images those are, and their labels put right on the spot.

use egui::{Align, ComboBox, Layout, Rect, RichText, Sense, Ui, vec2};

use super::panel::PanelContext;
use crate::app::command::{Action, Command, ReviewCommand};
use crate::app::icons::Icon;
use crate::app::state::words::count;
use crate::app::state::{Flip, ReviewImage, ReviewState, RunsState, Truth, runs};
use crate::app::theme::{mono, semibold};
use crate::app::widgets::confusion::{self, cell_title, confusion};
use crate::app::widgets::parts::{self, GAP, Weight};
use crate::app::widgets::report_table::report_table;
use crate::app::widgets::runs_table::runs_table;
use crate::app::widgets::thumb_grid::{Tile, Touch, thumb_grid};
use crate::domain::{ImageId, Label, Split};
use crate::evaluation::Report;
use crate::labels::Source;

/// What a run keeps answers for. It has seen the training images, so scores on them would say little.
const SPLITS: [(Split, &str); 3] = [
    (Split::Test, "test"),
    (Split::Validation, "validation"),
    (Split::Train, "train"),
];

/// What the view shows.
#[derive(Clone, Copy)]
pub struct ReviewData<'a> {
    /// The run under review.
    pub review: &'a ReviewState,
    /// All runs.
    pub runs: &'a RunsState,
}

/// What the grid shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Grid {
    /// The chosen cell, or all mistakes.
    #[default]
    Mistakes,
    /// Images the other run had right and this one has not.
    Lost,
    /// Images this run has right and the other one had not.
    Won,
}

/// The Review view.
#[derive(Debug, Default)]
pub struct ReviewView {
    grid: Grid,
    /// The table of runs is shown although a run is open.
    choosing: bool,
}

impl ReviewView {
    /// Paints the view and sends what the user asks for.
    pub fn ui(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &ReviewData<'_>) {
        let palette = cx.palette;
        if data.runs.all().is_empty() {
            let sentence = "Train a network first: each run keeps its answers, and here you see which images it \
                            gets wrong, and put their labels right where the label was the mistake.";
            let clicked = parts::empty(
                ui,
                palette,
                Icon::Review,
                "No run to review yet",
                sentence,
                Some((Icon::Train, "Train a model", None)),
            );
            if clicked {
                cx.send(Action::ShowTrain);
            }
            return;
        }
        self.toolbar(ui, cx, data);
        ui.spacing_mut().item_spacing.y = GAP;
        let current = data.review.review().map(|r| r.run.dir.as_path());
        if self.choosing || current.is_none() {
            let height = if current.is_none() {
                ui.available_height() - 4.0
            } else {
                168.0
            };
            let rect = parts::row(ui, height, &[1.0])[0];
            let aside = |ui: &mut Ui| {
                parts::aside(
                    ui,
                    palette.muted,
                    "each on its own test split · click one to review it",
                );
            };
            let title = if data.review.loading {
                "Reading the run…"
            } else {
                "Runs"
            };
            let clicked = parts::card(ui, palette, rect, title, aside, |ui| {
                runs_table(ui, palette, data.runs, current)
            });
            if let Some(dir) = clicked {
                cx.send(Command::OpenRun(dir));
                self.choosing = false;
            }
        }
        if current.is_none() {
            return;
        }
        match data.review.report() {
            Some(Ok(report)) => self.opened(ui, cx, data, report),
            Some(Err(why)) => parts::notice(ui, palette, palette.warn, &sentence(why)),
            None => {}
        }
    }

    fn toolbar(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &ReviewData<'_>) {
        let (palette, state) = (cx.palette, data.review);
        ui.horizontal(|ui| {
            ui.set_min_height(30.0);
            let Some(review) = state.review() else {
                ui.label(
                    RichText::new("Review")
                        .font(semibold(15.0))
                        .color(palette.text),
                );
                return;
            };
            ui.label(
                RichText::new(&review.run.plan.model)
                    .font(semibold(15.0))
                    .color(palette.text),
            );
            parts::pill(ui, palette, "", &runs::settings(&review.run.plan));
            if let Some(split) = parts::choice(ui, palette, state.split(), &SPLITS) {
                cx.send(Command::Review(ReviewCommand::Split(split)));
            }
            ui.add_space(6.0);
            let truths = [
                (Truth::Trained, "labels as trained"),
                (Truth::Now, "labels now"),
            ];
            if let Some(truth) = parts::choice(ui, palette, state.truth(), &truths) {
                cx.send(Command::Review(ReviewCommand::Truth(truth)));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = if self.choosing {
                    "Hide the runs"
                } else {
                    "Another run"
                };
                if parts::button(ui, palette, Weight::Plain, None, text, None).clicked() {
                    self.choosing = !self.choosing;
                }
                self.compare(ui, cx, data);
            });
        });
    }

    fn compare(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &ReviewData<'_>) {
        let this = data.review.review().map(|r| r.run.dir.as_path());
        let others = || {
            data.runs
                .all()
                .iter()
                .filter(|r| Some(r.dir.as_path()) != this)
        };
        if others().next().is_none() {
            return;
        }
        let now = data
            .review
            .against()
            .map_or("compare with…".to_owned(), |r| {
                format!("against {}", r.run.name)
            });
        let response = ComboBox::from_id_salt("against")
            .width(150.0)
            .truncate()
            .selected_text(now)
            .show_ui(ui, |ui| {
                if ui
                    .selectable_label(data.review.against().is_none(), "no other run")
                    .clicked()
                {
                    self.grid = Grid::Mistakes;
                    cx.send(Command::Review(ReviewCommand::Against(None)));
                }
                for run in others() {
                    let on = data.review.against().is_some_and(|a| a.run.dir == run.dir);
                    if ui.selectable_label(on, &run.name).clicked() {
                        cx.send(Command::Review(ReviewCommand::Against(Some(
                            run.dir.clone(),
                        ))));
                    }
                }
            })
            .response;
        response.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Compare with another run")
        });
    }

    fn opened(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        data: &ReviewData<'_>,
        report: &Report,
    ) {
        let (palette, state) = (cx.palette, data.review);
        figures(ui, cx, state, report);
        let classes = report.classes.len() as f32;
        let height = (110.0 + 22.0 * (classes + 3.0)).min(ui.available_height() * 0.6);
        let rects = parts::row(ui, height, &[1.12, 1.0]);
        let measured = format!(
            "{} split · {}",
            state.split().name(),
            count(report.n, "image")
        );
        let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, &measured);
        parts::card(ui, palette, rects[0], "Report", aside, |ui| {
            egui::ScrollArea::vertical()
                .show(ui, |ui| report_table(ui, palette, cx.classes, report));
        });
        let aside = |ui: &mut Ui| {
            parts::aside(
                ui,
                palette.muted,
                "rows true, columns answered · click a cell",
            );
        };
        let clicked = parts::card(ui, palette, rects[1], "Confusion", aside, |ui| {
            let space = ui.available_size() - vec2(0.0, 26.0);
            let (rect, _) = ui.allocate_exact_size(space.max(vec2(10.0, 10.0)), Sense::hover());
            let clicked = parts::place(ui, rect, "matrix", |ui| {
                confusion(
                    ui,
                    palette,
                    &report.classes,
                    &report.confusion,
                    cx.cost,
                    state.cell(),
                )
            });
            ui.horizontal(|ui| {
                confusion::key(ui, palette, cx.cost);
                let text = RichText::new("Edit the costs…")
                    .size(11.5)
                    .color(palette.accent);
                if ui.add(egui::Button::new(text).frame(false)).clicked() {
                    cx.send(Action::EditCosts);
                }
            });
            clicked
        });
        if let Some(cell) = clicked {
            self.grid = Grid::Mistakes;
            let again = state.cell() == Some(cell);
            cx.send(Command::Review(ReviewCommand::Cell(
                (!again).then_some(cell),
            )));
        }
        let rect = parts::row(ui, ui.available_height().max(150.0), &[1.0])[0];
        self.images(ui, cx, state, report, rect);
    }

    fn images(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        state: &ReviewState,
        report: &Report,
        rect: Rect,
    ) {
        let palette = cx.palette;
        let (lost, won) = state.flips();
        let flips = match self.grid {
            Grid::Mistakes => None,
            Grid::Lost => Some(&lost),
            Grid::Won => Some(&won),
        };
        let images: Vec<ReviewImage> = if flips.is_some() {
            Vec::new()
        } else {
            state.images().collect()
        };
        let ids: Vec<ImageId> = match flips {
            Some(flips) => flips.iter().map(|f| f.image).collect(),
            None => images.iter().map(|i| i.image).collect(),
        };
        let title = match (self.grid, state.cell()) {
            (Grid::Mistakes, Some(cell)) => cell_title(&report.classes, cell, ids.len()),
            (Grid::Mistakes, None) => {
                format!("{}, the surest first", count(ids.len() as u64, "mistake"))
            }
            (Grid::Lost, _) => format!(
                "{} the other run had right",
                count(ids.len() as u64, "mistake")
            ),
            (Grid::Won, _) => format!(
                "{} the other run had wrong",
                count(ids.len() as u64, "image")
            ),
        };
        let chosen = cx.inspected.filter(|image| ids.contains(image));
        let compared = state.against().is_some();
        let aside = |ui: &mut Ui| {
            if !ids.is_empty() && parts::link(ui, palette, "Walk them") {
                cx.send(Command::Walk {
                    title: title.clone(),
                    images: ids.clone(),
                    start: 0,
                });
            }
            if state.cell().is_some()
                && self.grid == Grid::Mistakes
                && parts::link(ui, palette, "All mistakes")
            {
                cx.send(Command::Review(ReviewCommand::Cell(None)));
            }
            if compared {
                let lost = format!("lost {}", lost.len());
                let won = format!("won {}", won.len());
                let grids = [
                    (Grid::Mistakes, "mistakes"),
                    (Grid::Lost, lost.as_str()),
                    (Grid::Won, won.as_str()),
                ];
                if let Some(grid) = parts::choice(ui, palette, self.grid, &grids) {
                    self.grid = grid;
                }
            }
        };
        let touched = parts::card(ui, palette, rect, &title, aside, |ui| {
            ui.horizontal(|ui| {
                ui.set_min_height(24.0);
                match chosen {
                    Some(image) => fix(ui, cx, image),
                    None => parts::aside(
                        ui,
                        palette.muted,
                        "Select an image: its class key puts the label right.",
                    ),
                }
            });
            if ids.is_empty() {
                parts::explain(
                    ui,
                    palette,
                    "No image here. Click another cell, or choose another split.",
                );
                return None;
            }
            thumb_grid(
                ui,
                palette,
                cx.thumbs,
                "review",
                ids.len(),
                96.0,
                |at| match flips {
                    Some(flips) => flip_tile(cx, &flips[at]),
                    None => tile(cx, &images[at]),
                },
            )
        });
        match touched {
            Some(Touch::Click(at, _)) => cx.send(Command::Inspect(Some(ids[at]))),
            Some(Touch::Open(at)) => cx.send(Command::Walk {
                title,
                images: ids,
                start: at,
            }),
            None => {}
        }
    }
}

/// The headline figures, each with its interval or its constant beside it.
fn figures(ui: &mut Ui, cx: &PanelContext<'_>, state: &ReviewState, report: &Report) {
    let palette = cx.palette;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 30.0;
        let [lo, hi] = report.macro_f1_ci;
        parts::figure(
            ui,
            palette,
            &format!("macro-F1, 95 % {lo:.2}–{hi:.2}"),
            &format!("{:.3}", report.macro_f1),
            palette.text,
        );
        parts::figure(
            ui,
            palette,
            "weighted F1",
            &format!("{:.3}", report.weighted_f1),
            palette.text,
        );
        parts::figure(
            ui,
            palette,
            "accuracy",
            &format!("{:.3}", report.accuracy),
            palette.text,
        );
        let color = if report.pwa > report.pwa_constant {
            palette.text
        } else {
            palette.bad
        };
        parts::figure(ui, palette, "PWA", &format!("{:.4}", report.pwa), color);
        let constant = format!(
            "answering {} always",
            cx.classes.name(report.pwa_constant_class)
        );
        parts::figure(
            ui,
            palette,
            &constant,
            &format!("{:.4}", report.pwa_constant),
            palette.muted,
        );
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.vertical(|ui| {
                ui.set_max_width(230.0);
                let changed = state.changed();
                if changed > 0 {
                    let labels = count(changed as u64, "label");
                    let text = format!("{labels} of this split changed since the training.");
                    parts::notice(ui, palette, palette.warn, &text);
                } else if state.split() == Split::Train {
                    parts::notice(
                        ui,
                        palette,
                        palette.warn,
                        "The run has seen these images: scores on them say little.",
                    );
                } else if state.split() == Split::Validation {
                    parts::notice(
                        ui,
                        palette,
                        palette.muted,
                        "The best epoch was chosen on these images.",
                    );
                }
            });
        });
    });
}

/// A button for each class, for the image that is selected.
fn fix(ui: &mut Ui, cx: &PanelContext<'_>, image: ImageId) {
    let palette = cx.palette;
    let why_not = cx.why_not(Action::Class0);
    parts::aside(ui, palette.muted, "label it");
    for (class, info) in cx.classes.iter() {
        let color = palette.class(cx.classes, class);
        let text = RichText::new(&info.name).size(11.5).color(palette.text);
        let button = egui::Button::new((
            RichText::new(class.0.to_string())
                .font(mono(11.0))
                .color(color),
            text,
        ))
        .stroke(egui::Stroke::new(1.0, palette.line))
        .gap(4.0);
        let response = ui.add_enabled(why_not.is_none(), button);
        let response = response.accessible_name(format!("Label as {}", info.name));
        if response.clicked() {
            cx.label(vec![image], Label::Class(class), Source::Review);
        }
    }
}

fn tile(cx: &PanelContext<'_>, image: &ReviewImage) -> Tile {
    let palette = cx.palette;
    let right = image.actual == image.predicted;
    let name = cx.classes.name(image.predicted);
    Tile {
        image: image.image,
        frame: if right {
            (1.0, palette.good)
        } else {
            (2.0, palette.class(cx.classes, image.actual))
        },
        tag: Some((name.to_owned(), palette.class(cx.classes, image.predicted))),
        second: image.relabelled.map(|class| {
            let now = format!("now {}", cx.classes.name(class));
            (now, palette.accent)
        }),
        number: Some(format!("{:.3}", image.confidence)),
        selected: cx.inspected == Some(image.image),
        spoken: format!("true {} predicted {name}", cx.classes.name(image.actual)),
    }
}

fn flip_tile(cx: &PanelContext<'_>, flip: &Flip) -> Tile {
    let palette = cx.palette;
    let (this, other) = (cx.classes.name(flip.this), cx.classes.name(flip.other));
    Tile {
        image: flip.image,
        frame: (2.0, palette.class(cx.classes, flip.actual)),
        tag: Some((this.to_owned(), palette.class(cx.classes, flip.this))),
        second: Some((
            format!("was {other}"),
            palette.class(cx.classes, flip.other),
        )),
        number: None,
        selected: cx.inspected == Some(flip.image),
        spoken: format!(
            "true {} predicted {this}, before {other}",
            cx.classes.name(flip.actual)
        ),
    }
}

/// Begins with a capital and ends with a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .map(char::to_uppercase)
        .into_iter()
        .flatten()
        .collect();
    format!("{first}{}.", letters.as_str())
}
