//! Training: the plan before it, the curves and mistakes during it, the report after it.

mod cost;

use std::path::{Path, PathBuf};

use egui::{Align, ComboBox, DragValue, Layout, Rect, RichText, ScrollArea, Ui, vec2};

use super::panel::PanelContext;
use crate::app::command::{Action, Command};
use crate::app::icons::Icon;
use crate::app::state::train::{EpochPoint, few_images};
use crate::app::state::words::{bytes, clock_after, count, sentence, thousands};
use crate::app::state::{CostState, LiveImage, PlanForm, RunsState, TrainPhase, TrainState, runs};
use crate::app::theme::semibold;
use crate::app::widgets::bars::{Bar, bars};
use crate::app::widgets::confusion::{self, confusion};
use crate::app::widgets::curves::{Curve, Marks, curves};
use crate::app::widgets::parts::{self, GAP, Weight};
use crate::app::widgets::report_table::report_table;
use crate::app::widgets::runs_table::runs_table;
use crate::app::widgets::section;
use crate::app::widgets::thumb_grid::{Tile, Touch, thumb_grid};
use crate::domain::ClassId;
use crate::evaluation::Report;
use crate::training::{Augmentation, Balance, Monitor, PhaseStart, preset_names};

const SIDE: f32 = 252.0;
/// Height of the card with the plan's fields.
const FIELDS: f32 = 341.0;

/// What the view shows.
#[derive(Clone, Copy)]
pub struct TrainData<'a> {
    /// The training that runs, or ran last.
    pub train: &'a TrainState,
    /// What the plan in the fields will take.
    pub estimate: &'a CostState,
    /// All runs.
    pub runs: &'a RunsState,
    /// The run in use.
    pub in_use: Option<&'a Path>,
    /// Labelled images of each regular class, in class order.
    pub labelled: &'a [usize],
    /// Columns of the data set that images can be grouped by.
    pub columns: &'a [String],
}

/// The Train view.
#[derive(Debug, Default)]
pub struct TrainView {
    form: PlanForm,
    /// The plan is shown although a training runs or has ended.
    planning: bool,
    /// The cell of the live confusion matrix whose images are shown.
    cell: Option<(ClassId, ClassId)>,
    /// The interrupted training whose removal is to be confirmed.
    discarding: Option<PathBuf>,
}

impl TrainView {
    /// The plan in the fields.
    #[must_use]
    pub fn form(&self) -> &PlanForm {
        &self.form
    }

    /// Whether the plan is shown, and not a training.
    #[must_use]
    pub fn is_planning(&self, train: &TrainState) -> bool {
        self.planning || train.phase == TrainPhase::Idle
    }

    /// Paints the view and sends what the user asks for.
    pub fn ui(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>) {
        if data.labelled.iter().filter(|n| **n > 0).count() < 2 && !data.train.active() {
            self.nothing_to_learn(ui, cx);
            return;
        }
        let planning = self.is_planning(data.train);
        self.toolbar(ui, cx, data, planning);
        ui.add_space(GAP);
        let all = ui.available_rect_before_wrap();
        let mut main = all;
        main.set_right(all.right() - SIDE - GAP);
        let mut side = all;
        side.set_left(main.right() + GAP);
        parts::place(ui, side, "side", |ui| {
            ScrollArea::vertical().show(ui, |ui| self.side(ui, cx, data, planning));
        });
        parts::place(ui, main, "main", |ui| {
            ScrollArea::vertical()
                .auto_shrink([false, false])
                .show(ui, |ui| {
                    ui.spacing_mut().item_spacing.y = GAP;
                    let bottom = ui.max_rect().bottom();
                    if planning {
                        self.plan(ui, cx, data, main.height());
                    } else {
                        self.live(ui, cx, data);
                    }
                    let height = (main.bottom() - ui.cursor().top()).max(150.0).min(bottom);
                    all_runs(ui, cx, data, height);
                });
        });
    }

    fn nothing_to_learn(&self, ui: &mut Ui, cx: &PanelContext<'_>) {
        let clicked = parts::empty(
            ui,
            cx.palette,
            Icon::Train,
            "Nothing to learn from yet",
            "A network learns from labelled images of at least two classes. Label some by keyboard, or \
             import the labels you have.",
            Some((Icon::Label, "Label images", None)),
        );
        if clicked {
            cx.send(Action::ShowLabel);
        }
    }

    fn toolbar(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        data: &TrainData<'_>,
        planning: bool,
    ) {
        let (palette, train) = (cx.palette, data.train);
        ui.horizontal(|ui| {
            ui.set_min_height(30.0);
            let shown = train.plan.as_ref().filter(|_| !planning);
            let title = shown.map_or("New training", |plan| plan.model.as_str());
            ui.label(
                RichText::new(title)
                    .font(semibold(15.0))
                    .color(palette.text),
            );
            if let Some(plan) = shown {
                let share = |s: f64| format!("{:.0}", s * 100.0);
                let train_share = 1.0 - plan.test_share - plan.validation_share;
                let split = [train_share, plan.validation_share, plan.test_share].map(share);
                parts::pill(ui, palette, "", &runs::settings(plan));
                parts::pill(ui, palette, "split", &split.join(" / "));
                if let Some(part) = &train.part {
                    if part.phases > 1 {
                        let at = format!("{} of {}", part.phase, part.phases);
                        parts::pill(ui, palette, "phase", &at);
                    }
                    parts::pill(ui, palette, "trainable", &thousands(part.parameters));
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if planning {
                    if train.phase != TrainPhase::Idle
                        && parts::button(
                            ui,
                            palette,
                            Weight::Plain,
                            None,
                            "Back to the training",
                            None,
                        )
                        .clicked()
                    {
                        self.planning = false;
                    }
                    return;
                }
                let new = if train.active() {
                    Weight::Plain
                } else {
                    Weight::Primary
                };
                if parts::button(ui, palette, new, Some(Icon::Plus), "New run", None).clicked() {
                    self.planning = true;
                }
                if !train.active() {
                    let newest = data.runs.all().first().filter(|_| train.report.is_some());
                    if let Some(run) = newest
                        && parts::button(
                            ui,
                            palette,
                            Weight::Plain,
                            Some(Icon::Review),
                            "Review it",
                            None,
                        )
                        .clicked()
                    {
                        cx.send(Command::OpenRun(run.dir.clone()));
                        cx.send(Action::ShowReview);
                    }
                    return;
                }
                let stopping = (train.phase == TrainPhase::Stopping)
                    .then_some("It stops after the running step, then reads the test split.");
                let stop = parts::button(
                    ui,
                    palette,
                    Weight::Danger,
                    Some(Icon::Stop),
                    "Stop, keep best",
                    stopping,
                );
                if stop.clicked() {
                    cx.send(Action::StopTraining);
                }
                let (icon, text) = match train.phase {
                    TrainPhase::Paused => (Icon::Play, "Resume"),
                    _ => (Icon::Pause, "Pause"),
                };
                if parts::button(ui, palette, Weight::Plain, Some(icon), text, stopping).clicked() {
                    cx.send(Action::PauseTraining);
                }
            });
        });
    }

    /// The interrupted trainings, each to be resumed or discarded.
    fn unfinished(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>) {
        let palette = cx.palette;
        let busy = data.train.active().then_some("A training runs.");
        section(ui, palette, "Interrupted");
        for run in &data.runs.unfinished {
            ui.label(RichText::new(&run.plan.model).color(palette.text))
                .on_hover_text(run.dir.display().to_string());
            let settings = runs::settings(&run.plan);
            let words = format!("{settings}. It goes on {}.", runs::goes_on(run));
            parts::explain(ui, palette, &words);
            let sure = self.discarding.as_ref() == Some(&run.dir);
            ui.horizontal(|ui| {
                let resume = parts::button(
                    ui,
                    palette,
                    Weight::Primary,
                    Some(Icon::Play),
                    "Resume it",
                    busy,
                );
                if resume.clicked() {
                    cx.send(Command::ResumeRun(run.dir.clone()));
                    self.planning = false;
                    self.cell = None;
                }
                let (weight, text) = if sure {
                    (Weight::Danger, "Remove for good")
                } else {
                    (Weight::Plain, "Discard")
                };
                if parts::button(ui, palette, weight, None, text, None).clicked() {
                    if sure {
                        cx.send(Command::DiscardRun(run.dir.clone()));
                        self.discarding = None;
                    } else {
                        self.discarding = Some(run.dir.clone());
                    }
                }
            });
            ui.add_space(10.0);
        }
    }

    fn side(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>, planning: bool) {
        if !data.runs.unfinished.is_empty() {
            self.unfinished(ui, cx, data);
        }
        let (palette, train) = (cx.palette, data.train);
        let plan = match &train.plan {
            Some(plan) if !planning => plan,
            _ => &self.form.plan,
        };
        section(ui, palette, "Plan, in words");
        parts::explain(ui, palette, &plan.in_words());
        if let Some(weights) = train.weights.as_ref().filter(|_| !planning) {
            parts::explain(ui, palette, weights);
        }
        ui.add_space(10.0);
        if !planning && !train.val_f1.is_empty() {
            section(ui, palette, "F1 by class · validation");
            let rows: Vec<Bar<'_>> = train
                .classes
                .iter()
                .zip(&train.val_f1)
                .enumerate()
                .map(|(index, (name, f1))| Bar {
                    name,
                    color: palette.class(cx.classes, ClassId::from(index)),
                    value: Some(*f1),
                })
                .collect();
            bars(ui, palette, &rows);
            ui.add_space(10.0);
        }
        let random = plan.frozen_at_random().filter(|_| planning).map(sentence);
        let mut warnings = if planning {
            few_images(
                &cx.classes.regular_names(),
                &self.form.validation_counts(data.labelled),
            )
        } else {
            few_images(&train.classes, &train.validation_counts)
        };
        warnings.extend(random);
        if !warnings.is_empty() {
            section(ui, palette, "Watch out");
            for warning in warnings {
                parts::notice(ui, palette, palette.warn, &warning);
            }
            ui.add_space(10.0);
        }
        if !train.queued.is_empty() {
            section(ui, palette, "Queue");
            for (index, plan) in train.queued.iter().enumerate() {
                ui.horizontal(|ui| {
                    ui.label(RichText::new(&plan.model).color(palette.text));
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        let text = RichText::new("Remove").size(12.0).color(palette.muted);
                        if ui.add(egui::Button::new(text).frame(false)).clicked() {
                            cx.send(Command::DropQueued(index));
                        }
                    });
                });
                parts::explain(ui, palette, &runs::settings(plan));
            }
        }
    }

    /// `room` is the height of the page: text gets all of it.
    fn plan(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>, room: f32) {
        let palette = cx.palette;
        let height = if self.form.text.is_some() {
            room.max(FIELDS)
        } else {
            FIELDS
        };
        let rect = parts::row(ui, height, &[1.0])[0];
        let edited = self.form.edited();
        let said = if edited {
            "changed from the preset"
        } else {
            "as the preset has it"
        };
        let aside = |ui: &mut Ui| parts::aside(ui, palette.muted, said);
        parts::card(ui, palette, rect, "Plan", aside, |ui| {
            if self.form.text.is_some() {
                self.as_text(ui, cx);
            } else {
                ui.columns_const(|[left, right]| {
                    self.what(left, cx, data);
                    self.how(right, cx);
                });
            }
            ui.add_space(8.0);
            let plan = &self.form.plan;
            let problem = self.form.problem().or_else(|| data.estimate.problem(plan));
            ui.horizontal(|ui| {
                let text = if data.train.active() {
                    "Queue this run"
                } else {
                    "Start training"
                };
                let start = parts::button(
                    ui,
                    palette,
                    Weight::Primary,
                    Some(Icon::Play),
                    text,
                    problem.as_deref(),
                );
                if start.clicked() {
                    cx.send(Command::StartTraining(Box::new(self.form.plan.clone())));
                    self.planning = false;
                    self.cell = None;
                }
                let text = if self.form.text.is_some() {
                    "Fields"
                } else {
                    "Edit as TOML"
                };
                if parts::button(ui, palette, Weight::Plain, None, text, None).clicked() {
                    self.form.toggle_text();
                }
                if let Some(problem) = &problem {
                    parts::notice(ui, palette, palette.bad, problem);
                } else {
                    let labelled: usize = data.labelled.iter().sum();
                    let mut text = count(labelled as u64, "labelled image");
                    if let Some(known) = data.estimate.of(&self.form.plan) {
                        let time = cost::time(known.cost.at_most_s, known.cost.source);
                        text += &format!(", at most {time}");
                    }
                    text += "; it runs in the background, labelling goes on.";
                    parts::aside(ui, palette.muted, &text);
                }
            });
        });
        cost::cards(ui, cx, data, &self.form.plan);
    }

    /// The whole plan as its file has it, phases and all.
    fn as_text(&mut self, ui: &mut Ui, cx: &PanelContext<'_>) {
        let Some(mut text) = self.form.text.clone() else {
            return;
        };
        let palette = cx.palette;
        let said = "Every key of the plan; one that is left out has its default.";
        let label = ui.label(RichText::new(said).color(palette.muted));
        // The buttons stay below it.
        let height = (ui.available_height() - 44.0).max(120.0);
        let scroll = ScrollArea::vertical()
            .max_height(height)
            .auto_shrink([false, false]);
        scroll.show(ui, |ui| {
            let field = egui::TextEdit::multiline(&mut text)
                .id(egui::Id::unique("plan as TOML"))
                .code_editor()
                .min_size(vec2(0.0, height))
                .desired_width(ui.available_width());
            if ui.add(field).labelled_by(label.id).changed() {
                self.form.type_text(text);
            }
        });
    }

    /// What is trained, on what.
    fn what(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>) {
        let PlanForm { preset, plan, .. } = &mut self.form;
        let mut chosen = None;
        fields(ui, "what", |ui| {
            field(ui, cx, "Preset", |ui| {
                combo(ui, "preset", preset, |ui| {
                    for name in preset_names() {
                        if ui.selectable_label(name == *preset, name).clicked() {
                            chosen = Some(name);
                        }
                    }
                })
            });
            field(ui, cx, "Model", |ui| {
                combo(ui, "model", &plan.model.clone(), |ui| {
                    for model in PlanForm::models() {
                        ui.selectable_value(&mut plan.model, model.clone(), model);
                    }
                })
            });
            field(ui, cx, "Image size", |ui| {
                ui.add(DragValue::new(&mut plan.size).suffix(" px"))
            });
            field(ui, cx, "Balance", |ui| {
                let word = |balance: Balance| match balance {
                    Balance::None => "none",
                    Balance::Undersample => "undersample",
                    Balance::Weights => "class weights",
                };
                combo(ui, "balance", word(plan.balance), |ui| {
                    for balance in [Balance::None, Balance::Undersample, Balance::Weights] {
                        ui.selectable_value(&mut plan.balance, balance, word(balance));
                    }
                })
            });
            field(ui, cx, "Augmentation", |ui| {
                let study = Augmentation::study();
                let now = match plan.augmentation {
                    changes if changes.is_none() => "none",
                    changes if changes == study => "as in the study",
                    _ => "as the plan's file says",
                };
                let said = "Of images that are learned from, never of those that are measured on. The study: rotation \
                            by up to 15°, shear by up to 1°, zoom by up to 7 %. Other values: edit the plan as TOML.";
                let choice = combo(ui, "augmentation", now, |ui| {
                    let changes = &mut plan.augmentation;
                    ui.selectable_value(changes, Augmentation::default(), "none");
                    ui.selectable_value(changes, study, "as in the study");
                });
                choice.on_hover_text(said)
            });
            field(ui, cx, "Never split", |ui| {
                let now = plan.group_by.clone();
                combo(
                    ui,
                    "groups",
                    now.as_deref().unwrap_or("single images"),
                    |ui| {
                        ui.selectable_value(&mut plan.group_by, None, "single images");
                        for column in data.columns {
                            ui.selectable_value(
                                &mut plan.group_by,
                                Some(column.clone()),
                                format!("images of one {column}"),
                            );
                        }
                    },
                )
            });
            field(ui, cx, "Seed", |ui| ui.add(DragValue::new(&mut plan.seed)));
        });
        if let Some(name) = chosen {
            self.form.choose(name);
        }
    }

    /// How it is trained, and until when.
    fn how(&mut self, ui: &mut Ui, cx: &PanelContext<'_>) {
        let plan = &mut self.form.plan;
        fields(ui, "how", |ui| {
            field(ui, cx, "Epochs at most", |ui| {
                ui.add(DragValue::new(&mut plan.epochs))
            });
            field(ui, cx, "Images a step", |ui| {
                ui.add(DragValue::new(&mut plan.batch))
            });
            field(ui, cx, "Learning rate", |ui| {
                ui.add(
                    DragValue::new(&mut plan.learning_rate)
                        .speed(1e-5)
                        .max_decimals(7),
                )
            });
            field(ui, cx, "Stop on", |ui| {
                let word = |monitor: Monitor| match monitor {
                    Monitor::ValLoss => "validation loss",
                    Monitor::ValMacroF1 => "validation macro-F1",
                };
                combo(ui, "monitor", word(plan.monitor), |ui| {
                    for monitor in [Monitor::ValMacroF1, Monitor::ValLoss] {
                        ui.selectable_value(&mut plan.monitor, monitor, word(monitor));
                    }
                })
            });
            field(ui, cx, "Patience", |ui| {
                let epochs = if plan.patience == 1 {
                    " epoch"
                } else {
                    " epochs"
                };
                ui.add(DragValue::new(&mut plan.patience).suffix(epochs))
            });
            let parts: Vec<&str> = plan.phases.iter().map(|p| p.trainable.as_str()).collect();
            if !parts.is_empty() {
                field(ui, cx, "Phases", |ui| {
                    ui.label(parts.join(", ")).on_hover_text(
                        "Each with its own rate, epochs and patience: edit the plan as TOML.",
                    )
                });
            }
        });
    }

    fn live(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>) {
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

fn fields(ui: &mut Ui, salt: &str, add: impl FnOnce(&mut Ui)) {
    egui::Grid::new(salt)
        .num_columns(2)
        .spacing(vec2(14.0, 9.0))
        .show(ui, add);
}

fn field(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    name: &str,
    add: impl FnOnce(&mut Ui) -> egui::Response,
) {
    let label = ui.label(RichText::new(name).color(cx.palette.muted));
    add(ui).labelled_by(label.id);
    ui.end_row();
}

fn combo(ui: &mut Ui, salt: &str, now: &str, add: impl FnOnce(&mut Ui)) -> egui::Response {
    ComboBox::from_id_salt(salt)
        .width(170.0)
        .height(320.0)
        .selected_text(now)
        .show_ui(ui, add)
        .response
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
    format!("{done} Nothing of it was kept. New run shows the plan again.")
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

fn all_runs(ui: &mut Ui, cx: &PanelContext<'_>, data: &TrainData<'_>, height: f32) {
    let palette = cx.palette;
    let rect = parts::row(ui, height, &[1.0])[0];
    let number = data.runs.all().len();
    let aside = |ui: &mut Ui| {
        if number > 0 {
            parts::aside(
                ui,
                palette.muted,
                "each on its own test split · click one to review it",
            );
        }
    };
    parts::card(ui, palette, rect, "Runs", aside, |ui| {
        if data.runs.all().is_empty() {
            let sentence = if data.runs.loading {
                "Reading the runs folder…"
            } else {
                "No run yet: the first one you start will stand here, with its scores on the test split."
            };
            parts::explain(ui, palette, sentence);
        } else if let Some(dir) = runs_table(ui, palette, data.runs, data.in_use) {
            cx.send(Command::OpenRun(dir));
            cx.send(Action::ShowReview);
        }
    });
}
