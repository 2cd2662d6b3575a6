//! One large image at a time: keys on the left, the queue below, what the model thinks in the inspector.

use egui::{Rect, RichText, ScrollArea, Sense, Ui, Vec2, pos2, vec2};

use super::stage::{Stage, overlay_text};
use crate::app::command::{Action, Command};
use crate::app::context::ViewContext;
use crate::app::icons::Icon;
use crate::app::textures::Levels;
use crate::app::theme;
use crate::app::walk::Walk;
use crate::app::widgets::charts::grouped;
use crate::app::widgets::tile::{TileLook, tile};
use crate::app::widgets::{
    badge, chip, empty_state, icon_button, key_cap, primary_button, section, swatch,
};
use crate::dataset::Layout;
use crate::domain::{ClassId, ImageId, Label};
use crate::queue::Strategy;
use crate::workflows::{OpenOptions, OpenRequest};

/// What is shown beside the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Compare {
    #[default]
    Off,
    Previous,
    Nearest,
}

/// The Label view's own state.
#[derive(Default)]
pub struct LabelView {
    stage: Stage,
    shown: Option<ImageId>,
    compare: Compare,
    levels: Levels,
    /// Class names being typed, for a data set whose files name none.
    names: String,
}

impl LabelView {
    /// Whole image, or 100 % at the pointer.
    pub fn toggle_zoom(&mut self) {
        self.stage.toggle();
    }

    /// Nothing, the image before, or the most similar one beside the image.
    pub fn toggle_compare(&mut self, neighbours: bool) {
        self.compare = match self.compare {
            Compare::Off => Compare::Previous,
            Compare::Previous if neighbours => Compare::Nearest,
            _ => Compare::Off,
        };
    }

    /// Ends the comparison or the zoom; false if there was neither.
    pub fn back(&mut self) -> bool {
        if self.compare != Compare::Off {
            self.compare = Compare::Off;
            return true;
        }
        let zoomed = self.stage.scale(1.0).is_some();
        self.stage.fit();
        zoomed
    }

    /// Brightness and contrast as in the file.
    pub fn reset_levels(&mut self) {
        self.levels = Levels::default();
    }

    /// What the toolbar shows for this view.
    pub fn toolbar(&mut self, ui: &mut Ui, cx: &ViewContext<'_>, walk: &Walk) {
        let p = cx.palette;
        let text = match walk.strategy {
            None => walk.title.clone(),
            Some(strategy) => format!("queue: {}", strategy.name().to_lowercase()),
        };
        let button = chip(ui, p, format!("{text} ▾"), true);
        egui::Popup::menu(&button).show(|ui| {
            for strategy in Strategy::ALL {
                if ui
                    .selectable_label(walk.strategy == Some(strategy), strategy.name())
                    .on_hover_text(strategy.explain())
                    .clicked()
                {
                    cx.commands.send(Command::SetQueue(strategy));
                }
            }
        });
        if !walk.images().is_empty() {
            let at = grouped(walk.position() + 1);
            let place = match walk.strategy {
                // Its length means nothing: it is dealt anew as long as there are images.
                Some(Strategy::FindDrift) => at,
                _ => format!("{at} of {}", grouped(walk.images().len())),
            };
            ui.label(RichText::new(place).font(theme::mono(12.0)).color(p.muted));
        }
        if cx.now.drift_mode {
            let text = RichText::new("drift mode").color(p.accent);
            if chip(ui, p, text, true)
                .on_hover_text("1 drift, 0 regular. M returns to the classes.")
                .clicked()
            {
                cx.commands.send(Action::ToggleMode);
            }
        }
    }

    /// Paints keys, image and filmstrip.
    pub fn ui(&mut self, ui: &mut Ui, cx: &ViewContext<'_>, walk: &Walk) {
        let Some(image) = walk.current() else {
            return nothing(ui, cx, walk.strategy);
        };
        if self.shown != Some(image) {
            self.shown = Some(image);
            self.stage.fit();
        }
        cx.textures.set_levels(self.levels);
        egui::Panel::left("label keys")
            .exact_size(208.0)
            .resizable(false)
            .show_separator_line(false)
            .frame(egui::Frame::new().inner_margin(egui::Margin {
                left: 16,
                right: 8,
                top: 14,
                bottom: 8,
            }))
            .show(ui, |ui| {
                ScrollArea::vertical()
                    .auto_shrink(false)
                    .show(ui, |ui| call(ui, cx, walk, image, &mut self.names));
            });
        egui::Panel::bottom("filmstrip")
            .exact_size(112.0)
            .show_separator_line(false)
            .frame(egui::Frame::new().inner_margin(egui::Margin {
                left: 8,
                right: 12,
                top: 4,
                bottom: 8,
            }))
            .show(ui, |ui| filmstrip(ui, cx, walk));
        egui::CentralPanel::no_frame().show(ui, |ui| {
            let rect = ui.available_rect_before_wrap();
            let rect = Rect::from_min_max(
                pos2(rect.left() + 8.0, rect.top() + 14.0),
                pos2(rect.right() - 12.0, rect.bottom() - 6.0),
            );
            if rect.is_positive() {
                self.images(ui, cx, walk, image, rect);
            }
        });
        // The image after this one is asked for last: it is the least urgent of what is on screen.
        cx.textures.prefetch(walk.ahead());
    }

    fn images(
        &mut self,
        ui: &mut Ui,
        cx: &ViewContext<'_>,
        walk: &Walk,
        image: ImageId,
        rect: Rect,
    ) {
        let beside = match self.compare {
            Compare::Off => None,
            Compare::Previous => walk.previous().map(|other| (other, "previous")),
            Compare::Nearest => cx
                .neighbours
                .first()
                .map(|(other, _)| (*other, "most similar")),
        };
        let overlays = !hidden(ui, cx);
        if let Some((other, word)) = beside {
            let (left, right) = rect.split_left_right_at_fraction(0.5);
            let right = Rect::from_min_max(pos2(right.left() + 6.0, right.top()), right.max);
            let left = Rect::from_min_max(left.min, pos2(left.right() - 6.0, left.bottom()));
            self.stage.ui(ui, cx, right, other);
            self.one(ui, cx, left, image, overlays);
            if overlays {
                let text = match cx.session.label(other) {
                    Some(label) => format!("{word}: {}", label.name(cx.session.classes())),
                    None => format!("{word}: no label"),
                };
                overlay_text(ui, cx, right.right_top() + vec2(-8.0, 8.0), &text);
            }
        } else {
            self.one(ui, cx, rect, image, overlays);
        }
        if overlays {
            self.controls(ui, cx, rect);
        }
    }

    fn one(
        &mut self,
        ui: &mut Ui,
        cx: &ViewContext<'_>,
        rect: Rect,
        image: ImageId,
        overlays: bool,
    ) {
        let response = self.stage.ui(ui, cx, rect, image);
        // As in viewers for medical images: the other button changes contrast across, brightness down.
        if response.dragged_by(egui::PointerButton::Secondary) {
            let (center, width) = self.levels.center_width();
            let delta = response.drag_delta() * 0.5;
            self.levels = Levels::window(center + delta.y, width - delta.x);
        }
        if overlays
            && let Some(label) = cx.session.label(image)
            && !cx.blind
        {
            let classes = cx.session.classes();
            let color = cx.palette.label(classes, label);
            let at = rect.left_top() + vec2(10.0, 10.0);
            badge(ui, cx.palette, at, label.name(classes), color, 180.0);
        }
    }

    fn controls(&mut self, ui: &mut Ui, cx: &ViewContext<'_>, rect: Rect) {
        let p = cx.palette;
        let zoom = match self.stage.scale(ui.pixels_per_point()) {
            None => "Fit".to_owned(),
            Some(scale) => format!("{:.0} %", scale * 100.0),
        };
        let place = Rect::from_min_size(
            pos2(
                (rect.right() - 330.0).max(rect.left()),
                rect.bottom() - 42.0,
            ),
            vec2(322.0_f32.min(rect.width()), 34.0),
        );
        let builder = egui::UiBuilder::new()
            .max_rect(place)
            .layout(egui::Layout::right_to_left(egui::Align::Center));
        ui.scope_builder(builder, |ui| {
            egui::Frame::new()
                .fill(p.panel.gamma_multiply(0.92))
                .corner_radius(8)
                .inner_margin(egui::Margin::symmetric(8, 4))
                .show(ui, |ui| {
                    ui.spacing_mut().item_spacing.x = 6.0;
                    ui.spacing_mut().slider_width = 62.0;
                    ui.spacing_mut().interact_size.y = 15.0;
                    if icon_button(ui, p, Icon::ZoomFit, "Fit or 100 % (Z)", false).clicked() {
                        self.stage.toggle();
                    }
                    ui.label(RichText::new(zoom).font(theme::mono(11.5)));
                    ui.add_space(4.0);
                    let (mut center, mut width) = self.levels.center_width();
                    let contrast = ui
                        .add(egui::Slider::new(&mut width, 255.0..=10.0).show_value(false))
                        .on_hover_text("Contrast (drag the image with the right button)");
                    let bright = ui
                        .add(egui::Slider::new(&mut center, 255.0..=0.0).show_value(false))
                        .on_hover_text("Brightness");
                    for (slider, name, value) in [
                        (&contrast, "Contrast", width),
                        (&bright, "Brightness", center),
                    ] {
                        slider
                            .widget_info(|| egui::WidgetInfo::slider(true, f64::from(value), name));
                    }
                    if contrast.changed() || bright.changed() {
                        self.levels = Levels::window(center, width);
                    }
                    let changed = self.levels != Levels::default();
                    let tip = "Reset brightness and contrast (R)";
                    if icon_button(ui, p, Icon::Contrast, tip, changed).clicked() {
                        self.reset_levels();
                    }
                });
        });
    }
}

fn hidden(ui: &Ui, cx: &ViewContext<'_>) -> bool {
    let keys = cx.keys.of(Action::HideOverlays);
    !ui.ctx().egui_wants_keyboard_input()
        && ui.input(|i| keys.iter().any(|key| i.key_down(key.key)))
}

/// The classes with their keys, the other keys, and why this image.
fn call(ui: &mut Ui, cx: &ViewContext<'_>, walk: &Walk, image: ImageId, names: &mut String) {
    let p = cx.palette;
    section(ui, p, "Your call");
    ui.add_space(2.0);
    let classes = cx.session.classes();
    let given = cx.session.label(image).filter(|_| !cx.blind);
    let writable = cx.session.read_only.is_none();
    ui.spacing_mut().item_spacing.y = 2.0;
    if classes.regular_len() == 0 && writable && !cx.now.drift_mode {
        name_classes(ui, cx, names);
    }
    if cx.now.drift_mode {
        let choices = [
            (Action::Class1, Label::Class(classes.drift()), "Drift"),
            (Action::Class0, Label::Regular, "Regular"),
        ];
        for (action, label, name) in choices {
            let color = p.label(classes, label);
            let on = match label {
                Label::Regular => given.is_some_and(|l| !l.is_drift(classes)),
                Label::Class(_) => given == Some(label),
            };
            class_row(ui, cx, action, name, color, on, writable);
        }
    } else {
        for (class, info) in classes.iter() {
            let color = p.class(classes, class);
            let on = given == Some(Label::Class(class));
            match class_action(class) {
                Some(action) => class_row(ui, cx, action, &info.name, color, on, writable),
                None => more_class(ui, cx, image, class, on),
            }
        }
        if given == Some(Label::Regular) {
            class_row(
                ui,
                cx,
                Action::MarkRegular,
                "Regular",
                p.good,
                true,
                writable,
            );
        }
    }
    ui.add_space(14.0);
    let hints = [
        (Action::Accept, "accept suggestion"),
        (Action::Skip, "skip"),
        (Action::Undo, "undo · goes back"),
        (Action::Flag, "flag for a colleague"),
        (Action::ToggleMode, "drift mode"),
        (Action::Compare, "compare"),
    ];
    for (action, text) in hints {
        let Some(key) = cx.keys.text(action) else {
            continue;
        };
        ui.horizontal(|ui| {
            key_cap(ui, p, &key);
            ui.label(RichText::new(text).color(p.muted));
        });
    }
    ui.add_space(16.0);
    if let Some(why) = walk.why(image) {
        section(ui, p, "Why this image");
        ui.label(RichText::new(why).color(p.muted));
        ui.add_space(12.0);
    }
    if let Some(why) = &cx.session.read_only {
        section(ui, p, "Read-only");
        ui.label(RichText::new(why).color(p.warn));
    }
}

fn class_action(class: ClassId) -> Option<Action> {
    let rows = Action::TABLE.iter();
    rows.map(|row| row.action)
        .find(|action| action.digit() == Some(class.index()))
}

fn class_row(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    action: Action,
    name: &str,
    color: egui::Color32,
    on: bool,
    writable: bool,
) {
    let p = cx.palette;
    let size = vec2(ui.available_width(), 26.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response
        .widget_info(|| egui::WidgetInfo::selected(egui::Role::RadioButton, writable, on, name));
    if on || response.hovered() {
        let fill = if on { p.tint(color, 0.22) } else { p.raised };
        ui.painter()
            .rect_filled(rect.expand2(vec2(6.0, 0.0)), 6.0, fill);
    }
    let builder = egui::UiBuilder::new()
        .max_rect(rect)
        .layout(egui::Layout::left_to_right(egui::Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing.x = 8.0;
        let key = cx.keys.text(action).unwrap_or_else(|| "·".to_owned());
        key_cap(ui, p, &key);
        swatch(ui, color);
        let ink = if writable { p.text } else { p.muted };
        ui.add(egui::Label::new(RichText::new(name).color(ink)).truncate());
    });
    if response.clicked() {
        cx.commands.send(action);
    }
}

/// Where the files name no class, the user does: the data set is opened again with those names.
fn name_classes(ui: &mut Ui, cx: &ViewContext<'_>, names: &mut String) {
    let p = cx.palette;
    let sentence = "The files name no classes. Name them here, in the order of their keys:";
    ui.add(egui::Label::new(RichText::new(sentence).color(p.muted)).wrap());
    ui.add_space(4.0);
    let field = egui::TextEdit::singleline(names)
        .id(egui::Id::unique("class names"))
        .hint_text("good, scratch, dent")
        .desired_width(ui.available_width())
        .margin(egui::Margin::symmetric(8, 5));
    let field = ui.add(field);
    let entered = field.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
    let classes: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    ui.add_space(4.0);
    let button = ui.add_enabled(!classes.is_empty(), egui::Button::new("Use these classes"));
    if (button.clicked() || entered) && !classes.is_empty() {
        let manifest = cx.session.manifest();
        let path = match &manifest.layout {
            Layout::Csv { file } => file,
            _ => &manifest.root,
        };
        cx.commands.send(Command::Open(OpenRequest {
            path: path.clone(),
            options: OpenOptions {
                classes,
                ..OpenOptions::default()
            },
            project_dir: Some(cx.session.snapshot.dir.clone()),
        }));
    }
    ui.add_space(8.0);
}

/// A class beyond the ten digit keys: only the mouse gives it.
fn more_class(ui: &mut Ui, cx: &ViewContext<'_>, image: ImageId, class: ClassId, on: bool) {
    let classes = cx.session.classes();
    ui.horizontal(|ui| {
        ui.add_space(27.0);
        swatch(ui, cx.palette.class(classes, class));
        if ui.selectable_label(on, classes.name(class)).clicked() {
            cx.commands.send(Command::GiveLabel {
                images: vec![image],
                label: Some(Label::Class(class)),
                source: crate::labels::Source::Key,
            });
        }
    });
}

fn filmstrip(ui: &mut Ui, cx: &ViewContext<'_>, walk: &Walk) {
    let side = 84.0;
    let gap = 10.0;
    let rect = ui.available_rect_before_wrap();
    if !rect.is_positive() {
        return;
    }
    let room = ((rect.width() + gap) / (side + gap)).floor().max(1.0) as usize;
    // The current image stands third, so that two decisions can be seen again.
    let last_start = walk.images().len().saturating_sub(room);
    let start = walk.position().saturating_sub(2).min(last_start);
    let classes = cx.session.classes();
    for slot in 0..room {
        let place = start + slot;
        let Some(image) = walk.images().get(place).copied() else {
            break;
        };
        let at = pos2(rect.left() + slot as f32 * (side + gap), rect.top() + 6.0);
        let hide = cx.blind && place >= walk.position();
        let label = cx.session.label(image).filter(|_| !hide);
        let look = TileLook {
            badge: label.map(|l| (l.name(classes), cx.palette.label(classes, l))),
            flagged: cx.session.flagged(image),
            current: place == walk.position(),
            ..TileLook::default()
        };
        let rect = Rect::from_min_size(at, Vec2::splat(side));
        if tile(ui, cx, rect, image, &look).clicked() {
            cx.commands.send(Command::GoTo(place));
        }
    }
}

fn nothing(ui: &mut Ui, cx: &ViewContext<'_>, strategy: Option<Strategy>) {
    let text = match strategy {
        None | Some(Strategy::InOrder) => {
            "The queue is what the gallery lists. Its filters let nothing through: widen them, or \
             choose another queue above."
                .to_owned()
        }
        Some(Strategy::FindDrift) if cx.now.model => {
            "The drift model looks at every image first, and the queue then fills by itself. If it has done so \
             already, every image is labelled."
                .to_owned()
        }
        Some(strategy) => format!(
            "{}. Until then, choose the queue \"{}\" above.",
            strategy.explain(),
            Strategy::InOrder.name()
        ),
    };
    let head = "No images in this queue";
    empty_state(ui, cx.palette, Icon::Label, head, &text, |ui| {
        if primary_button(ui, cx.palette, "Back to the gallery").clicked() {
            cx.commands.send(Action::Gallery);
        }
    });
}
