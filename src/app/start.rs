//! The start screen: what to do while no data set is open.

use std::path::{Path, PathBuf};

use egui::{RichText, Ui, vec2};

use super::command::{Action, Command, CommandSender};
use super::icons::Icon;
use super::theme::{self, Palette};
use super::widgets::{key_cap, primary_button, section};

/// What the start screen remembers.
#[derive(Default)]
pub struct Start {
    /// A path being typed.
    path: String,
    /// Why the last one could not be opened.
    pub error: Option<String>,
}

impl Start {
    /// Paints the screen. `opening` is the data set that is being opened.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        palette: &Palette,
        commands: &CommandSender,
        recent: &[PathBuf],
        opening: Option<&Path>,
    ) {
        let width = 520.0_f32.min((ui.available_width() - 32.0).max(40.0));
        let side = ((ui.available_width() - width) / 2.0).max(0.0);
        let top = (ui.available_height() * 0.17).max(12.0);
        ui.add_space(top);
        ui.horizontal_top(|ui| {
            ui.add_space(side);
            ui.vertical(|ui| {
                ui.set_width(width);
                self.column(ui, palette, commands, recent, opening);
            });
        });
    }

    fn column(
        &mut self,
        ui: &mut Ui,
        palette: &Palette,
        commands: &CommandSender,
        recent: &[PathBuf],
        opening: Option<&Path>,
    ) {
        ui.horizontal(|ui| {
            ui.add(Icon::Drift.image(26.0, palette.accent));
            ui.label(RichText::new("Driftscope").font(theme::semibold(24.0)));
        });
        ui.label(
            RichText::new("Label, train, audit and retrain on inspection images.")
                .size(14.0)
                .color(palette.muted),
        );
        ui.add_space(22.0);
        if let Some(path) = opening {
            ui.horizontal(|ui| {
                ui.spinner();
                ui.label(format!("Opening {} …", short(path)));
            });
            return;
        }
        ui.horizontal(|ui| {
            if primary_button(ui, palette, "Open a folder…").clicked() {
                commands.send(Action::OpenFolder);
            }
            let csv = egui::Button::new("Open a CSV…").min_size(vec2(0.0, 30.0));
            if ui.add(csv).clicked() {
                commands.send(Action::OpenCsv);
            }
            ui.add_space(6.0);
            ui.weak("or drop one on this window");
        });
        ui.add_space(6.0);
        ui.horizontal(|ui| {
            let field = egui::TextEdit::singleline(&mut self.path)
                .id(egui::Id::unique("start path"))
                .hint_text("or type a path and press Enter")
                .desired_width(ui.available_width())
                .font(theme::mono(12.0))
                .margin(egui::Margin::symmetric(10, 7));
            let response = ui.add(field);
            if response.lost_focus()
                && ui.input(|i| i.key_pressed(egui::Key::Enter))
                && !self.path.trim().is_empty()
            {
                commands.send(Command::Open(PathBuf::from(self.path.trim()).into()));
            }
        });
        if let Some(error) = &self.error {
            ui.add_space(10.0);
            egui::Frame::new()
                .fill(palette.tint(palette.bad, 0.12))
                .corner_radius(8)
                .inner_margin(egui::Margin::symmetric(12, 10))
                .show(ui, |ui| {
                    ui.horizontal_top(|ui| {
                        ui.add(Icon::Error.image(16.0, palette.bad));
                        ui.add(egui::Label::new(error).wrap().selectable(true));
                    });
                });
        }
        ui.add_space(20.0);
        if !recent.is_empty() {
            section(ui, palette, "Recent");
            ui.spacing_mut().item_spacing.y = 1.0;
            for path in recent {
                recent_row(ui, palette, commands, path);
            }
            ui.add_space(20.0);
        }
        ui.spacing_mut().item_spacing.y = 5.0;
        section(ui, palette, "What it opens");
        for text in [
            "the files of Challenge Data #157 under their own names",
            "a CSV that lists images, with a column for the label",
            "a folder with one folder per class",
            "a plain folder of PNG, JPEG, BMP or TIFF images",
        ] {
            ui.label(RichText::new(format!("·  {text}")).color(palette.muted));
        }
        ui.add_space(4.0);
        ui.weak("Your images and tables are never changed. Labels go to a folder of their own.");
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            key_cap(ui, palette, "Ctrl+P");
            ui.weak("all commands");
            ui.add_space(8.0);
            key_cap(ui, palette, "?");
            ui.weak("all keys");
        });
    }
}

fn recent_row(ui: &mut Ui, palette: &Palette, commands: &CommandSender, path: &Path) {
    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), 28.0), egui::Sense::click());
    let name = short(path);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
    if response.hovered() {
        ui.painter()
            .rect_filled(rect.expand2(vec2(8.0, 0.0)), 6.0, palette.raised);
    }
    let builder = egui::UiBuilder::new()
        .max_rect(rect)
        .layout(egui::Layout::left_to_right(egui::Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.add(Icon::Folder.image(15.0, palette.muted));
        ui.label(RichText::new(&name).font(theme::medium(13.0)));
        let parent = path.parent().unwrap_or(path).display().to_string();
        ui.add(
            egui::Label::new(
                RichText::new(parent)
                    .font(theme::mono(11.0))
                    .color(palette.muted),
            )
            .truncate(),
        );
    });
    if response.clicked() {
        commands.send(Command::Open(path.to_owned().into()));
    }
}

/// The last part of a path, for people.
#[must_use]
pub fn short(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
