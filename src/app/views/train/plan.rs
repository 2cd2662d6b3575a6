//! The plan before a training, in fields or as text.

use egui::{ComboBox, DragValue, RichText, ScrollArea, Ui, vec2};

use super::{TrainData, TrainView, cost};
use crate::app::command::Command;
use crate::app::icons::Icon;
use crate::app::state::PlanForm;
use crate::app::state::words::count;
use crate::app::views::panel::PanelContext;
use crate::app::widgets::parts::{self, Weight};
use crate::training::{Augmentation, Balance, Monitor, preset_names};

/// Height of the card with the fields.
const FIELDS: f32 = 341.0;

impl TrainView {
    /// `room` is the height of the page: text gets all of it.
    pub(super) fn plan(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        data: &TrainData<'_>,
        room: f32,
    ) {
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
