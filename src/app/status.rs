//! The bar at the bottom: what runs, what is saved, what is in use.

use egui::{RichText, Sense, Ui, vec2};

use super::background::JobStatus;
use super::command::{Command, CommandSender};
use super::icons::Icon;
use super::session::Session;
use super::theme::{self, Palette};
use super::widgets::charts::grouped;
use super::widgets::icon_button;

/// What the bar tells beside jobs.
pub struct StatusBar<'a> {
    /// The open data set, if any.
    pub session: Option<&'a Session>,
    /// Whether every label sent is on disk.
    pub saved: bool,
    /// The run in use.
    pub model: &'a str,
    /// Running jobs, the most important first.
    pub jobs: &'a [JobStatus],
    /// Threads the machine has.
    pub threads: usize,
}

impl StatusBar<'_> {
    /// Paints the bar.
    pub fn ui(&self, ui: &mut Ui, palette: &Palette, commands: &CommandSender) {
        ui.horizontal_centered(|ui| {
            ui.spacing_mut().item_spacing.x = 10.0;
            for (index, job) in self.jobs.iter().take(2).enumerate() {
                if index > 0 {
                    ui.separator();
                }
                job_ui(ui, palette, commands, job);
            }
            if self.jobs.len() > 2 {
                ui.weak(format!("and {} more", self.jobs.len() - 2));
            }
            if let Some(session) = self.session {
                labels(ui, palette, session, self.saved);
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let threads = match self.threads {
                    1 => "CPU · 1 thread".to_owned(),
                    n => format!("CPU · {n} threads"),
                };
                ui.label(small(&threads, palette));
                if self.session.is_some() {
                    let model = if self.model.is_empty() {
                        "no model in use".to_owned()
                    } else {
                        format!("model {}", self.model)
                    };
                    ui.label(small(&model, palette));
                }
                if let Some(why) = self.session.and_then(|s| s.read_only.as_ref()) {
                    ui.label(RichText::new("read-only").size(12.0).color(palette.warn))
                        .on_hover_text(why);
                    ui.add(Icon::Lock.image(13.0, palette.warn))
                        .on_hover_text(why);
                }
            });
        });
    }
}

fn small(text: &str, palette: &Palette) -> RichText {
    RichText::new(text).size(12.0).color(palette.muted)
}

fn labels(ui: &mut Ui, palette: &Palette, session: &Session, saved: bool) {
    let (text, color) = if saved {
        let n = session.labelled_by_hand();
        let s = if n == 1 { "" } else { "s" };
        (format!("{} label{s} saved", grouped(n)), palette.good)
    } else {
        ("saving …".to_owned(), palette.warn)
    };
    let (rect, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 4.0, color);
    ui.label(RichText::new(text).size(12.0).color(color))
        .on_hover_text(format!(
            "{} decisions in all are on disk, in {}",
            grouped(usize::try_from(session.saved).unwrap_or(usize::MAX)),
            session.snapshot.dir.display()
        ));
}

fn job_ui(ui: &mut Ui, palette: &Palette, commands: &CommandSender, job: &JobStatus) {
    let (rect, response) = ui.allocate_exact_size(vec2(120.0, 5.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.5, palette.raised);
    let mut filled = rect;
    filled.set_width(rect.width() * job.progress.fraction());
    ui.painter().rect_filled(filled, 2.5, palette.accent);
    response
        .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ProgressIndicator, true, &job.title));
    let doing = if job.progress.doing.is_empty() {
        &job.title
    } else {
        &job.progress.doing
    };
    ui.label(RichText::new(doing).size(12.0));
    if job.progress.total > 0 {
        let percent = format!("{:.0} %", job.progress.fraction() * 100.0);
        ui.label(RichText::new(percent).font(theme::mono(11.5)));
    }
    if job.paused {
        ui.label(small("paused", palette));
    } else if let Some(secs) = job.progress.eta_secs().filter(|s| *s >= 2.0) {
        ui.label(small(&format!("about {} left", left(secs)), palette));
    }
    if job.can_cancel && icon_button(ui, palette, Icon::Close, "Cancel", false).clicked() {
        commands.send(Command::CancelJob(job.id));
    }
    if job.paused && icon_button(ui, palette, Icon::Play, "Resume", false).clicked() {
        commands.send(Command::PauseJob(job.id));
    }
}

/// A duration for people: `8 s`, `3 min`, `1 h 20 min`.
#[must_use]
pub fn left(secs: f64) -> String {
    let secs = secs.max(0.0);
    if secs < 90.0 {
        format!("{secs:.0} s")
    } else if secs < 5400.0 {
        format!("{:.0} min", secs / 60.0)
    } else {
        let minutes = (secs / 60.0).round();
        format!(
            "{:.0} h {:.0} min",
            (minutes / 60.0).floor(),
            minutes % 60.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (secs, text) in [
            (0.4, "0 s"),
            (42.0, "42 s"),
            (180.0, "3 min"),
            (5000.0, "83 min"),
            (7260.0, "2 h 1 min"),
        ] {
            assert_eq!(left(secs), text);
        }
    }
}
