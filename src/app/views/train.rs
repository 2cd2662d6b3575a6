//! Training: the plan before it, the curves and mistakes during it, the report after it.

mod cost;
mod live;
mod plan;

use std::path::{Path, PathBuf};

use egui::{Align, Layout, RichText, ScrollArea, Ui};

use super::panel::PanelContext;
use crate::app::command::{Action, Command};
use crate::app::icons::Icon;
use crate::app::state::train::few_images;
use crate::app::state::words::{sentence, thousands};
use crate::app::state::{CostState, PlanForm, RunsState, TrainPhase, TrainState, runs};
use crate::app::theme::semibold;
use crate::app::widgets::bars::{Bar, bars};
use crate::app::widgets::parts::{self, GAP, Weight};
use crate::app::widgets::runs_table::runs_table;
use crate::app::widgets::section;
use crate::domain::ClassId;

const SIDE: f32 = 252.0;

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
