//! Short notices in the lower right corner. Nobody has to click them away.

use egui::{Align2, Area, Frame, Id, Margin, Order, RichText, Stroke, vec2};

use super::icons::Icon;
use super::theme::Palette;

/// How serious a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Done.
    Good,
    /// Not done, or done differently than asked.
    Warning,
    /// Failed.
    Error,
}

struct Toast {
    level: Level,
    text: String,
    until: f64,
    times: usize,
}

/// The notices shown now, oldest first.
#[derive(Default)]
pub struct Toasts {
    shown: Vec<Toast>,
    waiting: Vec<(Level, String)>,
}

impl Toasts {
    /// Shows a sentence. The same one again only counts.
    pub fn add(&mut self, level: Level, text: impl Into<String>) {
        self.waiting.push((level, text.into()));
    }

    /// Takes in what waits and drops what was shown long enough. `now` in seconds.
    pub fn tick(&mut self, now: f64) {
        for (level, text) in self.waiting.drain(..) {
            // Time to read: more for long sentences, most for failures.
            let base = if level == Level::Error { 9.0 } else { 3.5 };
            let until = now + base + text.len() as f64 * 0.025;
            match self.shown.iter_mut().find(|toast| toast.text == text) {
                Some(toast) => {
                    toast.until = until;
                    toast.times += 1;
                }
                None => self.shown.push(Toast {
                    level,
                    text,
                    until,
                    times: 1,
                }),
            }
        }
        self.shown.retain(|toast| toast.until > now);
        let excess = self.shown.len().saturating_sub(5);
        self.shown.drain(..excess);
    }

    /// Paints them above the status bar.
    pub fn ui(&mut self, ctx: &egui::Context, palette: &Palette) {
        let Some(next) = self.shown.iter().map(|t| t.until).reduce(f64::min) else {
            return;
        };
        let now = ctx.input(|i| i.time);
        ctx.request_repaint_after_secs((next - now).max(0.05) as f32);
        let mut dismissed = None;
        Area::new(Id::unique("toasts"))
            .order(Order::Foreground)
            .anchor(Align2::RIGHT_BOTTOM, vec2(-16.0, -42.0))
            .show(ctx, |ui| {
                for (index, toast) in self.shown.iter().enumerate() {
                    let (icon, color) = match toast.level {
                        Level::Info => (Icon::Info, palette.accent),
                        Level::Good => (Icon::Check, palette.good),
                        Level::Warning => (Icon::Warning, palette.warn),
                        Level::Error => (Icon::Error, palette.bad),
                    };
                    let frame = Frame::new()
                        .fill(palette.raised)
                        .stroke(Stroke::new(1.0, palette.line))
                        .shadow(ui.visuals().popup_shadow)
                        .corner_radius(8)
                        .inner_margin(Margin::symmetric(12, 9));
                    let response = frame
                        .show(ui, |ui| {
                            ui.set_max_width(380.0);
                            ui.horizontal_top(|ui| {
                                ui.add(icon.image(16.0, color));
                                let text = match toast.times {
                                    1 => toast.text.clone(),
                                    n => format!("{} ({n} times)", toast.text),
                                };
                                ui.add(
                                    egui::Label::new(RichText::new(text).color(palette.text))
                                        .wrap(),
                                );
                            });
                        })
                        .response;
                    if response.interact(egui::Sense::click()).clicked() {
                        dismissed = Some(index);
                    }
                    ui.add_space(2.0);
                }
            });
        if let Some(index) = dismissed {
            self.shown.remove(index);
        }
    }

    /// The sentences shown or waiting, oldest first.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let shown = self.shown.iter().map(|toast| toast.text.as_str());
        shown.chain(self.waiting.iter().map(|(_, text)| text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_sentence_is_shown_once_and_goes_by_itself() {
        let mut toasts = Toasts::default();
        toasts.add(Level::Info, "Saved.");
        toasts.add(Level::Info, "Saved.");
        toasts.tick(0.0);
        assert_eq!(toasts.texts().count(), 1);
        assert_eq!(toasts.shown[0].times, 2);
        toasts.tick(60.0);
        assert_eq!(toasts.texts().count(), 0);
    }
}
