//! The window's frame: rail, toolbar, view, inspector, status bar, and what floats above them.

mod panels;

use egui::{CentralPanel, Frame, Margin, Panel, Rect, RichText, Sense, Stroke, Ui, Vec2, vec2};

use super::App;
use super::background::JobStatus;
use super::command::{Action, View};
use super::context::ViewContext;
use super::costs::CostsContext;
use super::help;
use super::icons::Icon;
use super::inspector;
use super::start;
use super::status::StatusBar;
use super::theme::{self, Palette, Theme};
use super::widgets::{action_button, chip, icon_button};

impl App {
    /// Paints the whole window.
    pub fn paint(&mut self, ui: &mut Ui) {
        let palette = self.settings.theme.palette();
        if ui.available_width() < 40.0 || ui.available_height() < 40.0 {
            return;
        }
        ui.painter()
            .rect_filled(ui.max_rect(), 0.0, palette.background);
        let jobs = self.jobs();
        Panel::bottom("status")
            .exact_size(28.0)
            .frame(bar(palette, 12))
            .show(ui, |ui| {
                let workspace = self.workspace.as_ref();
                StatusBar {
                    session: workspace.map(|w| &w.session),
                    saved: workspace.is_none_or(|w| w.labeller.is_idle()),
                    model: workspace.map_or("", |w| w.predictions.name.as_str()),
                    jobs: &jobs,
                    threads: std::thread::available_parallelism().map_or(1, usize::from),
                }
                .ui(ui, palette, &self.commands);
            });
        if self.workspace.is_some() {
            self.paint_workspace(ui, palette);
        } else {
            let frame = Frame::new().fill(palette.background);
            CentralPanel::default().frame(frame).show(ui, |ui| {
                self.start.ui(
                    ui,
                    palette,
                    &self.commands,
                    &self.settings.recent,
                    self.opening.as_ref().map(|request| request.path.as_path()),
                );
            });
        }
        self.paint_above(ui, palette);
        if let Some(w) = &mut self.workspace {
            w.ask_loader();
        }
    }

    fn jobs(&self) -> Vec<JobStatus> {
        let mut jobs: Vec<JobStatus> = self.open.status().into_iter().collect();
        if let Some(w) = &self.workspace {
            jobs.extend(w.jobs());
        }
        jobs
    }

    fn paint_workspace(&mut self, ui: &mut Ui, palette: &'static Palette) {
        let now = self.availability();
        let (view, settings) = (self.view, &self.settings);
        let Some(w) = &mut self.workspace else {
            return;
        };
        let offer = w.offer(view);
        let scores = match (w.inspected, &w.drift_session) {
            (Some(image), Some(session)) => session.scores_of(image),
            _ => Vec::new(),
        };
        let blind = view == View::Label && w.walk.is_blind();
        let cx = ViewContext {
            palette,
            commands: &self.commands,
            keys: &self.keymap,
            now: &now,
            session: &w.session,
            predictions: &w.predictions,
            textures: &w.textures,
            inspected: w.inspected,
            neighbours: &w.neighbours,
            scores: &scores,
            groups: &w.groups,
            offer: offer.as_ref(),
            // What a model says would tell what was answered before.
            suggestion: settings.suggestion && !blind,
            blind,
        };
        Panel::left("rail")
            .exact_size(64.0)
            .resizable(false)
            .frame(bar(palette, 0))
            .show(ui, |ui| rail(ui, &cx, view, settings.theme));
        Panel::top("toolbar")
            .exact_size(44.0)
            .frame(bar(palette, 14))
            .show(ui, |ui| {
                ui.horizontal_centered(|ui| {
                    let name = start::short(&w.path);
                    ui.add(
                        egui::Label::new(RichText::new(name).font(theme::semibold(14.0)))
                            .truncate(),
                    )
                    .on_hover_text(w.path.display().to_string());
                    ui.add_space(4.0);
                    // Many columns make many chips: they scroll, the buttons on the right stay.
                    let right = if view == View::Label { 300.0 } else { 170.0 };
                    let room = (ui.available_width() - right).max(20.0);
                    egui::ScrollArea::horizontal()
                        .max_width(room)
                        .scroll_bar_visibility(egui::scroll_area::ScrollBarVisibility::AlwaysHidden)
                        .show(ui, |ui| {
                            ui.horizontal_centered(|ui| match view {
                                View::Browse => w.browse.toolbar(ui, &cx),
                                View::Label => w.label.toolbar(ui, &cx, &w.walk),
                                View::Train | View::Review | View::Drift => {}
                            });
                        });
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        toolbar_right(ui, &cx, view);
                    });
                });
            });
        // Training is about no single image.
        if settings.inspector && view != View::Train {
            let frame = Frame::new()
                .fill(palette.panel)
                .inner_margin(Margin::symmetric(14, 14));
            Panel::right("inspector")
                .default_size(300.0)
                .size_range(240.0..=460.0)
                .frame(frame)
                .show(ui, |ui| inspector::ui(ui, &cx));
        }
        let margin = match view {
            View::Browse | View::Label => Margin::ZERO,
            View::Train | View::Review | View::Drift => Margin::symmetric(16, 12),
        };
        let frame = Frame::new().fill(palette.background).inner_margin(margin);
        CentralPanel::default()
            .frame(frame)
            .show(ui, |ui| match view {
                View::Browse => w.browse.ui(ui, &cx),
                View::Label => w.label.ui(ui, &cx, &w.walk),
                View::Train => {
                    panels::train(ui, &cx, &mut w.train_view, &w.train, &w.cost, &w.runs);
                }
                View::Review => panels::review(ui, &cx, &mut w.review_view, &w.review, &w.runs),
                View::Drift => {
                    let view = &mut w.drift_view;
                    let preparing = w.drift_job.status().map(|job| job.progress);
                    let preparing = preparing.as_ref();
                    panels::drift(ui, &cx, view, &w.drift, &w.fine_tune, &w.runs, preparing);
                }
            });
    }

    fn paint_above(&mut self, ui: &mut Ui, palette: &Palette) {
        let ctx = ui.ctx().clone();
        let now = self.availability();
        let keep = self
            .finder
            .as_mut()
            .is_none_or(|f| f.ui(&ctx, palette, &self.keymap, &now, &self.commands));
        if !keep {
            self.finder = None;
        }
        if let Some(w) = &mut self.workspace
            && let Some(editor) = &mut w.costs
        {
            let cx = CostsContext {
                palette,
                commands: &self.commands,
                classes: w.session.classes(),
                cost: &w.session.snapshot.cost,
                read_only: w.session.read_only.is_some(),
            };
            if !editor.ui(&ctx, &cx) {
                w.costs = None;
            }
        }
        if self.help {
            let classes = match &self.workspace {
                Some(w) if !now.drift_mode => w.session.classes().names(),
                _ => Vec::new(),
            };
            self.help = help::ui(&ctx, palette, &self.keymap, &classes);
        }
        if ctx.input(|i| !i.raw.hovered_files.is_empty()) {
            drop_hint(&ctx, palette);
        }
        if self.closing {
            egui::Modal::new(egui::Id::unique("closing")).show(&ctx, |ui| {
                ui.horizontal(|ui| {
                    ui.spinner();
                    let training = self
                        .workspace
                        .as_ref()
                        .is_some_and(|w| w.train_job.is_running());
                    ui.label(if training {
                        "Writing down where the training is, then closing …"
                    } else {
                        "Writing the last labels to disk, then closing …"
                    });
                });
            });
        }
        self.toasts.ui(&ctx, palette);
        if !self.commands.is_empty() {
            ctx.request_repaint();
        }
    }
}

fn bar(palette: &Palette, margin: i8) -> Frame {
    Frame::new()
        .fill(palette.panel)
        .inner_margin(Margin::symmetric(margin, 0))
        .stroke(Stroke::NONE)
}

fn rail(ui: &mut Ui, cx: &ViewContext<'_>, view: View, theme: Theme) {
    ui.add_space(10.0);
    ui.spacing_mut().item_spacing.y = 6.0;
    ui.vertical_centered(|ui| {
        for entry in View::ALL {
            rail_entry(ui, cx, entry, entry == view);
        }
    });
    ui.with_layout(egui::Layout::bottom_up(egui::Align::Center), |ui| {
        ui.add_space(8.0);
        let icon = match theme {
            Theme::Dark => Icon::Sun,
            Theme::Light => Icon::Moon,
        };
        let name = match theme {
            Theme::Dark => "Light theme",
            Theme::Light => "Dark theme",
        };
        if icon_button(ui, cx.palette, icon, name, false).clicked() {
            cx.commands.send(Action::ToggleTheme);
        }
    });
}

fn rail_entry(ui: &mut Ui, cx: &ViewContext<'_>, view: View, on: bool) {
    let p = cx.palette;
    let (rect, response) = ui.allocate_exact_size(vec2(52.0, 50.0), Sense::click());
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, on, view.name()));
    if on {
        ui.painter().rect_filled(rect, 10.0, p.raised);
    }
    let tint = if on || response.hovered() {
        p.text
    } else {
        p.muted
    };
    let icon = Rect::from_center_size(rect.center() - vec2(0.0, 8.0), Vec2::splat(19.0));
    view.icon().image(19.0, tint).paint_at(ui, icon);
    ui.painter().text(
        rect.center() + vec2(0.0, 13.0),
        egui::Align2::CENTER_CENTER,
        view.name(),
        egui::FontId::proportional(10.5),
        tint,
    );
    if response.clicked() {
        cx.commands.send(view.action());
    }
    if let Some(key) = cx.keys.text(view.action()) {
        response.on_hover_text(key);
    }
}

fn toolbar_right(ui: &mut Ui, cx: &ViewContext<'_>, view: View) {
    ui.spacing_mut().item_spacing.x = 4.0;
    action_button(ui, cx, Action::Help);
    action_button(ui, cx, Action::Palette);
    action_button(ui, cx, Action::ToggleInspector);
    action_button(ui, cx, Action::Redo);
    action_button(ui, cx, Action::Undo);
    if view == View::Label {
        ui.add_space(6.0);
        let text = if cx.suggestion {
            "suggestion shown"
        } else {
            "suggestion hidden"
        };
        let hint = "Whether the model's answer is shown while you label (S). A label given without \
                    seeing it measures the model.";
        if chip(ui, cx.palette, text, cx.suggestion)
            .on_hover_text(hint)
            .clicked()
        {
            cx.commands.send(Action::ToggleSuggestion);
        }
    }
}

fn drop_hint(ctx: &egui::Context, palette: &Palette) {
    let painter = ctx.layer_painter(egui::LayerId::new(
        egui::Order::Foreground,
        egui::Id::unique("drop"),
    ));
    let rect = ctx.content_rect();
    painter.rect_filled(rect, 0.0, palette.background.gamma_multiply(0.8));
    painter.rect_stroke(
        rect.shrink(16.0),
        12.0,
        Stroke::new(2.0, palette.accent),
        egui::StrokeKind::Inside,
    );
    painter.text(
        rect.center(),
        egui::Align2::CENTER_CENTER,
        "Drop to open",
        theme::semibold(22.0),
        palette.text,
    );
}
