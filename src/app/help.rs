//! The `?` sheet: every command with its keys, by group.

use egui::{Align2, Area, Id, Order, RichText, ScrollArea, Ui, vec2};

use super::command::{Action, Group};
use super::keymap::Keymap;
use super::theme::{self, Palette};
use super::widgets::{key_cap, section};

/// Paints the sheet; false once it is to be closed. The digit keys are named after `classes`, as far as
/// there are any.
pub fn ui(ctx: &egui::Context, palette: &Palette, keys: &Keymap, classes: &[String]) -> bool {
    let room = ctx.content_rect();
    let close =
        ctx.input(|i| i.key_pressed(egui::Key::Escape) || i.key_pressed(egui::Key::Questionmark));
    let area = Area::new(Id::unique("help"))
        .order(Order::Foreground)
        .anchor(Align2::CENTER_CENTER, vec2(0.0, 0.0))
        .show(ctx, |ui| {
            egui::Frame::window(ui.style()).show(ui, |ui| {
                ui.set_width((room.width() - 80.0).clamp(60.0, 940.0));
                ui.horizontal(|ui| {
                    ui.label(RichText::new("Keys and commands").font(theme::semibold(16.0)));
                    ui.add_space(24.0);
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        key_cap(ui, palette, "Esc");
                        ui.weak("closes · keys can be changed under [keys] in the settings file");
                    });
                });
                ui.add_space(10.0);
                let height = (room.height() - 160.0).max(60.0);
                let area = ScrollArea::vertical()
                    .max_height(height)
                    .min_scrolled_height(height);
                area.show(ui, |ui| {
                    ui.spacing_mut().item_spacing = vec2(36.0, 1.0);
                    let columns = [
                        &[Group::Label][..],
                        &[Group::Move, Group::Image, Group::Gallery],
                        &[Group::Model, Group::Project, Group::Window],
                    ];
                    ui.columns(columns.len(), |uis| {
                        for (ui, groups) in uis.iter_mut().zip(columns) {
                            for group in groups {
                                group_ui(ui, palette, keys, *group, classes);
                            }
                        }
                    });
                });
            });
        });
    let outside = ctx.input(|i| i.pointer.any_pressed())
        && ctx
            .pointer_interact_pos()
            .is_some_and(|at| !area.response.rect.contains(at));
    !close && !outside
}

fn group_ui(ui: &mut Ui, palette: &Palette, keys: &Keymap, group: Group, classes: &[String]) {
    section(ui, palette, group.name());
    ui.add_space(2.0);
    for row in Action::TABLE.iter().filter(|row| row.group == group) {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            let class = row.action.digit().and_then(|digit| classes.get(digit));
            let text = class.map_or_else(|| row.text.to_owned(), |name| format!("Label: {name}"));
            ui.add(egui::Label::new(text).truncate());
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                for key in keys.of(row.action).iter().rev() {
                    key_cap(ui, palette, &key.to_string());
                }
            });
        });
    }
    ui.add_space(14.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_stands_on_the_sheet() {
        for row in Action::TABLE {
            assert!(Group::ALL.contains(&row.group), "{}", row.id);
        }
    }
}
