//! The command palette: type a few letters, press Enter.

use egui::{Align2, Area, Id, Key, Order, RichText, ScrollArea, Sense, Ui, vec2};

use super::command::{Action, Availability, CommandSender};
use super::keymap::Keymap;
use super::theme::{self, Palette};

/// The open palette.
#[derive(Default)]
pub struct Finder {
    text: String,
    chosen: usize,
}

impl Finder {
    /// Paints the palette; false once it is to be closed.
    pub fn ui(
        &mut self,
        ctx: &egui::Context,
        palette: &Palette,
        keys: &Keymap,
        now: &Availability,
        commands: &CommandSender,
    ) -> bool {
        let found = find(&self.text);
        self.chosen = self.chosen.min(found.len().saturating_sub(1));
        let (up, down, enter, escape) = ctx.input_mut(|i| {
            (
                i.consume_key(egui::Modifiers::NONE, Key::ArrowUp),
                i.consume_key(egui::Modifiers::NONE, Key::ArrowDown),
                i.consume_key(egui::Modifiers::NONE, Key::Enter),
                i.consume_key(egui::Modifiers::NONE, Key::Escape),
            )
        });
        if down && self.chosen + 1 < found.len() {
            self.chosen += 1;
        }
        if up {
            self.chosen = self.chosen.saturating_sub(1);
        }
        let mut run = found.get(self.chosen).copied().filter(|_| enter);
        let area = Area::new(Id::unique("palette"))
            .order(Order::Foreground)
            .anchor(Align2::CENTER_TOP, vec2(0.0, 90.0))
            .show(ctx, |ui| {
                egui::Frame::window(ui.style())
                    .inner_margin(10)
                    .show(ui, |ui| {
                        let room = ctx.content_rect();
                        ui.set_width((room.width() - 40.0).clamp(60.0, 520.0));
                        let field = egui::TextEdit::singleline(&mut self.text)
                            .id(Id::unique("palette text"))
                            .hint_text("What do you want to do?")
                            .desired_width(f32::INFINITY)
                            .margin(egui::Margin::symmetric(10, 8));
                        let response = ui.add(field);
                        response.request_focus();
                        if response.changed() {
                            self.chosen = 0;
                        }
                        ui.add_space(4.0);
                        let height = (room.height() - 220.0).clamp(60.0, 420.0);
                        let area = ScrollArea::vertical()
                            .max_height(height)
                            .min_scrolled_height(height);
                        area.show(ui, |ui| {
                            ui.spacing_mut().item_spacing.y = 0.0;
                            for (index, action) in found.iter().enumerate() {
                                let on = index == self.chosen;
                                if row(ui, palette, keys, now, *action, on, up || down) {
                                    run = Some(*action);
                                }
                            }
                            if found.is_empty() {
                                ui.weak("No command is called that.");
                            }
                        });
                    });
            });
        if let Some(action) = run {
            commands.send(action);
        }
        let outside = ctx.input(|i| i.pointer.any_pressed())
            && ctx
                .pointer_interact_pos()
                .is_some_and(|at| !area.response.rect.contains(at));
        run.is_none() && !escape && !outside
    }
}

fn row(
    ui: &mut Ui,
    palette: &Palette,
    keys: &Keymap,
    now: &Availability,
    action: Action,
    on: bool,
    scroll: bool,
) -> bool {
    let entry = action.row();
    let can = action.check(now);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 28.0), Sense::click());
    response.widget_info(|| {
        egui::WidgetInfo::selected(egui::Role::Button, can.is_ok(), on, entry.text)
    });
    if on || response.hovered() {
        ui.painter().rect_filled(rect, 6.0, palette.raised);
    }
    if on && scroll {
        response.scroll_to_me(None);
    }
    let ink = if can.is_ok() {
        palette.text
    } else {
        palette.muted
    };
    let builder = egui::UiBuilder::new()
        .max_rect(rect.shrink2(vec2(10.0, 0.0)))
        .layout(egui::Layout::left_to_right(egui::Align::Center));
    ui.scope_builder(builder, |ui| {
        match entry.icon {
            Some(icon) => ui.add(icon.image(14.0, palette.muted)),
            None => ui.allocate_response(vec2(14.0, 14.0), Sense::hover()),
        };
        ui.label(RichText::new(entry.text).color(ink));
        ui.label(
            RichText::new(entry.group.name())
                .font(theme::medium(11.0))
                .color(palette.muted),
        );
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if let Some(key) = keys.text(action) {
                super::widgets::key_cap(ui, palette, &key);
            }
        });
    });
    let clicked = response.clicked();
    if let Err(why) = can {
        response.on_hover_text(why);
    }
    clicked
}

/// The actions whose name holds the letters of `text` in order, the best match first.
#[must_use]
pub fn find(text: &str) -> Vec<Action> {
    let mut found: Vec<(u32, Action)> = Action::TABLE
        .iter()
        .filter(|row| row.action != Action::Palette)
        .filter_map(|row| Some((distance(text, row.text)?, row.action)))
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, action)| action).collect()
}

/// How far apart the letters of `text` stand in `name`; beginnings of words are near. `None` where they
/// do not all occur, in order.
fn distance(text: &str, name: &str) -> Option<u32> {
    // A word typed as it stands there beats letters picked from several.
    if name.to_lowercase().contains(&text.trim().to_lowercase()) {
        return Some(0);
    }
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let mut at = 0;
    let mut total = 0;
    for letter in text.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let skipped = name[at..].iter().position(|c| *c == letter)?;
        let place = at + skipped;
        let starts_word = place == 0 || !name[place - 1].is_alphanumeric();
        total += match (skipped, starts_word) {
            (0, _) => 0,
            (_, true) => 1,
            (far, false) => 4 + u32::try_from(far).unwrap_or(u32::MAX / 64).min(1000),
        };
        at = place + 1;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_find_the_command() {
        assert_eq!(find("retrain").first(), Some(&Action::RetrainDrift));
        assert_eq!(find("exsub").first(), Some(&Action::ExportSubmission));
        assert_eq!(find("theme").first(), Some(&Action::ToggleTheme));
        assert!(find("xyzzy").is_empty());
        assert_eq!(find("").len(), Action::TABLE.len() - 1);
    }
}
