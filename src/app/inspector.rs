//! The side panel: all that is known of one image.

use egui::{Rect, RichText, ScrollArea, Sense, Ui, Vec2, pos2, vec2};

use super::command::Command;
use super::context::ViewContext;
use super::theme;
use super::widgets::tile::{TileLook, tile};
use super::widgets::{badge, number, section, value_row, value_row_wide};
use crate::domain::{ClassId, ImageId, Label};
use crate::drift::{Decision, score_meaning};
use crate::labels::{Event, Kind, Source};
use crate::workflows::{ImageScore, share_in_words};

/// Neighbours shown.
const NEIGHBOURS: usize = 8;
/// Scores shown before one asks for more.
const SCORES: usize = 4;

/// Paints the panel's content.
pub fn ui(ui: &mut Ui, cx: &ViewContext<'_>) {
    let Some(image) = cx.inspected else {
        section(ui, cx.palette, "Inspector");
        ui.add_space(2.0);
        ui.label(
            RichText::new("Select an image to see what is known of it.").color(cx.palette.muted),
        );
        data_set(ui, cx);
        return;
    };
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if cx.suggestion {
            suggestion(ui, cx, image);
        }
        about(ui, cx, image);
        if cx.suggestion {
            drift_scores(ui, cx);
        }
        let alike: Vec<ImageId> = cx.groups.others(image).collect();
        pictures(ui, cx, "Near-duplicates", &alike);
        let near = cx.neighbours.iter().map(|(other, _)| *other);
        let near = near.filter(|other| !cx.groups.together(image, *other));
        let near: Vec<ImageId> = near.take(NEIGHBOURS).collect();
        pictures(ui, cx, "Nearest neighbours", &near);
        history(ui, cx, image);
    });
}

/// With no image selected: what was detected, and what is wrong with it.
fn data_set(ui: &mut Ui, cx: &ViewContext<'_>) {
    let manifest = cx.session.manifest();
    ui.add_space(16.0);
    section(ui, cx.palette, "Data set");
    ui.label(RichText::new(&manifest.statement).color(cx.palette.muted));
    let problems = crate::dataset::summarize(&manifest.problems);
    if problems.is_empty() {
        return;
    }
    ui.add_space(12.0);
    section(ui, cx.palette, "Watch out");
    for problem in problems {
        let text = format!("{}: {}", problem.title, problem.count);
        ui.label(RichText::new(text).color(cx.palette.warn))
            .on_hover_text(problem.examples.join("\n"));
        if let Some(example) = problem.examples.first() {
            ui.label(RichText::new(example).color(cx.palette.muted).size(11.5));
        }
    }
}

fn suggestion(ui: &mut Ui, cx: &ViewContext<'_>, image: ImageId) {
    let classes = cx.session.classes();
    let Some(all) = cx.predictions.combined(image, classes.len()) else {
        return;
    };
    let p = cx.palette;
    section(ui, p, &format!("Suggestion · {}", cx.predictions.name));
    ui.add_space(2.0);
    let drift_known = cx
        .predictions
        .drift(image)
        .is_some_and(|d| d.probability.is_some());
    let mut order: Vec<usize> = (0..all.len())
        .filter(|c| drift_known || *c != classes.drift().index())
        .collect();
    order.sort_by(|a, b| all[*b].total_cmp(&all[*a]));
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        for index in order.iter().take(10) {
            let class = ClassId::from(*index);
            let color = p.class(classes, class);
            probability(ui, cx, classes.name(class), all[*index], color);
        }
    });
    ui.add_space(12.0);
    if cx.session.snapshot.cost.len() == all.len() {
        let probabilities: Vec<f64> = all.iter().map(|p| f64::from(*p)).collect();
        let costs = cx.session.snapshot.cost.expected(&probabilities);
        let cheapest = (0..costs.len())
            .min_by(|a, b| costs[*a].total_cmp(&costs[*b]))
            .map(|class| (Decision::Class(class.into()), costs[class]));
        // The drift model reckons with calibrated probabilities and the share of drift, once it is there.
        let cheapest = cx.predictions.cheapest(image).or(cheapest);
        if let Some((decision, cost)) = cheapest {
            section(ui, p, "Cheapest answer");
            let class = decision.answer();
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(1.0, 18.0), Sense::hover());
                let at = pos2(rect.left(), rect.top() + 1.5);
                let width = badge(
                    ui,
                    p,
                    at,
                    classes.name(class),
                    p.class(classes, class),
                    110.0,
                );
                ui.add_space(width);
                ui.label(RichText::new("expected cost").color(p.muted));
                ui.label(number(cost_text(cost)));
            });
            if matches!(decision, Decision::NeedsReview(_)) {
                ui.label(RichText::new("needs review").color(p.warn));
            }
            ui.add_space(12.0);
        }
    }
}

fn cost_text(cost: f64) -> String {
    if cost >= 100.0 {
        super::widgets::charts::grouped(cost.round() as usize)
    } else {
        format!("{cost:.2}")
    }
}

fn probability(ui: &mut Ui, cx: &ViewContext<'_>, name: &str, share: f32, color: egui::Color32) {
    let p = cx.palette;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name} {share:.3}"))
    });
    let painter = ui.painter_at(rect);
    let name_width = (rect.width() * 0.38).min(110.0);
    let figure_width = 46.0;
    let mut job = egui::text::LayoutJob::simple_singleline(
        name.to_owned(),
        egui::FontId::proportional(12.5),
        p.text,
    );
    job.wrap.max_width = (name_width - 6.0).max(8.0);
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    let y = rect.center().y - galley.size().y / 2.0;
    painter.galley(pos2(rect.left(), y), galley, p.text);
    let lane = Rect::from_min_max(
        pos2(rect.left() + name_width, rect.center().y - 2.5),
        pos2(
            (rect.right() - figure_width).max(rect.left() + name_width),
            rect.center().y + 2.5,
        ),
    );
    painter.rect_filled(lane, 2.5, p.raised);
    let mut filled = lane;
    filled.set_width(lane.width() * share.clamp(0.0, 1.0));
    painter.rect_filled(filled, 2.5, color);
    painter.text(
        rect.right_center(),
        egui::Align2::RIGHT_CENTER,
        format!("{share:.3}"),
        theme::mono(12.0),
        p.text,
    );
}

fn about(ui: &mut Ui, cx: &ViewContext<'_>, image: ImageId) {
    let p = cx.palette;
    let entry = cx.session.entry(image);
    let classes = cx.session.classes();
    section(ui, p, "Image");
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.spacing_mut().interact_size.y = 17.0;
    value_row(ui, p, "file", middle(&entry.key, 22))
        .on_hover_text(entry.path.display().to_string());
    value_row(ui, p, "split", cx.session.split(image).name());
    if !cx.blind {
        let file = entry.label.map_or("none", |class| classes.name(class));
        value_row(ui, p, "file label", file);
        if let Some(label) = cx.session.hand_label(image) {
            value_row(ui, p, "hand label", label.name(classes));
        }
    }
    for (name, value) in cx.session.manifest().columns.iter().zip(&entry.values) {
        value_row(ui, p, name, value.clone());
    }
    match cx.session.facts(image) {
        Some(Ok(facts)) => {
            let colour = if facts.colour { ", colour" } else { "" };
            let size = format!(
                "{} × {}, {} bit{colour}",
                facts.width, facts.height, facts.bits
            );
            value_row(ui, p, "size", size);
        }
        Some(Err(why)) => {
            ui.label(RichText::new(why).color(p.warn));
        }
        None => {
            value_row(ui, p, "size", "not read yet");
        }
    }
    if let Some(opinion) = cx.predictions.drift(image).filter(|_| cx.suggestion) {
        let lower = share_in_words(f64::from(opinion.anomaly));
        value_row(ui, p, "anomaly above", format!("{lower} of regular"));
    }
    ui.spacing_mut().item_spacing.y = 6.0;
    ui.add_space(12.0);
}

/// By which scores the image lies furthest out.
fn drift_scores(ui: &mut Ui, cx: &ViewContext<'_>) {
    if cx.scores.is_empty() {
        return;
    }
    let p = cx.palette;
    let mut scores = cx.scores.to_vec();
    scores.sort_by(|a, b| b.place.total_cmp(&a.place));
    section(ui, p, "Furthest out by");
    ui.add_space(2.0);
    let rows = |ui: &mut Ui, scores: &[ImageScore]| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for score in scores {
            let value = score.share();
            let meaning = score_meaning(score.name).unwrap_or(score.name);
            value_row_wide(ui, p, score.name, &value).on_hover_text(format!(
                "{meaning}\n{value} of the regular images score lower; {:+.1} robust standard deviations from the middle of them.",
                score.value
            ));
        }
    };
    let (first, others) = scores.split_at(SCORES.min(scores.len()));
    ui.scope(|ui| rows(ui, first));
    if !others.is_empty() {
        let text = format!("{} more", others.len());
        let text = RichText::new(text).size(12.0).color(p.muted);
        egui::CollapsingHeader::new(text)
            .id_salt("more scores")
            .show_unindented(ui, |ui| rows(ui, others));
    }
    ui.add_space(12.0);
}

/// A long name with its middle left out: what tells files apart stands at both ends.
pub(super) fn middle(name: &str, most: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return name.to_owned();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    let head: String = letters[..head].iter().collect();
    let tail: String = letters[letters.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}

/// Small pictures under a head; a click walks them.
fn pictures(ui: &mut Ui, cx: &ViewContext<'_>, title: &str, shown: &[ImageId]) {
    if shown.is_empty() {
        return;
    }
    let p = cx.palette;
    section(ui, p, title);
    ui.add_space(2.0);
    let gap = 8.0;
    let columns = 4;
    let side = ((ui.available_width() - gap * (columns - 1) as f32) / columns as f32).max(16.0);
    let rows = shown.len().div_ceil(columns);
    let size = vec2(ui.available_width(), rows as f32 * (side + gap));
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let classes = cx.session.classes();
    for (index, other) in shown.iter().enumerate() {
        let at = rect.min
            + vec2(
                (index % columns) as f32 * (side + gap),
                (index / columns) as f32 * (side + gap),
            );
        let label = cx.session.label(*other).filter(|_| !cx.blind);
        let look = TileLook {
            badge: label.map(|l| (l.name(classes), p.label(classes, l))),
            ..TileLook::default()
        };
        let place = Rect::from_min_size(at, Vec2::splat(side));
        if tile(ui, cx, place, *other, &look).clicked() {
            cx.commands.send(Command::Walk {
                title: title.to_lowercase(),
                images: shown.to_vec(),
                start: index,
            });
        }
    }
    ui.add_space(10.0);
}

fn history(ui: &mut Ui, cx: &ViewContext<'_>, image: ImageId) {
    let p = cx.palette;
    section(ui, p, "Label history");
    if cx.blind {
        ui.weak("hidden during blind repeats");
        return;
    }
    let Some(events) = cx.session.history(image) else {
        return;
    };
    if events.is_empty() {
        ui.weak("no label by hand yet");
    }
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.spacing_mut().interact_size.y = 16.0;
    for event in events.iter().rev().take(30) {
        let what = words(event, cx);
        ui.horizontal(|ui| {
            let label = cx.session.current(image).and_then(|c| c.label);
            let color = match (event.kind, label) {
                (Kind::Label, Some(label)) if event.id == events[events.len() - 1].id => {
                    p.label(cx.session.classes(), label)
                }
                _ => p.muted,
            };
            super::widgets::swatch(ui, color);
            ui.add(egui::Label::new(what).truncate());
        });
        let at = event.at.strftime("%Y-%m-%d %H:%M").to_string();
        let seen = match (&event.model_run, event.prediction_visible) {
            (Some(_), true) => ", saw the suggestion",
            (Some(_), false) => ", without seeing the suggestion",
            (None, _) => "",
        };
        ui.horizontal(|ui| {
            ui.add_space(17.0);
            ui.add(
                egui::Label::new(
                    RichText::new(format!("{at} · {}{seen}", event.who))
                        .font(theme::mono(10.5))
                        .color(p.muted),
                )
                .truncate(),
            );
        });
    }
}

fn words(event: &Event, cx: &ViewContext<'_>) -> String {
    let classes = cx.session.classes();
    let name = |word: &str| match classes.parse(word) {
        Ok(class) => Label::Class(class).name(classes).to_owned(),
        Err(_) => word.to_owned(),
    };
    let source = match event.source {
        Source::Undo => " (undo)",
        Source::Redo => " (redo)",
        Source::Import => " (imported)",
        Source::Group => " (group)",
        Source::Suggestion => " (suggestion)",
        Source::Review => " (review)",
        Source::Repeat => " (repeat)",
        Source::Key | Source::Other => "",
    };
    let what = match (event.kind, &event.new) {
        (Kind::Flag, Some(_)) => "flagged".to_owned(),
        (Kind::Flag, None) => "flag taken away".to_owned(),
        (Kind::Label, Some(word)) => name(word),
        (Kind::Label, None) => "label taken away".to_owned(),
    };
    format!("{what}{source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(middle("short.png", 22), "short.png");
        let text = middle("46d1863e8717d64c6651fc0b.png", 11);
        assert_eq!(text, "46d18…0b.png".replace("0b.png", "b.png"));
        assert_eq!(text.chars().count(), 11);
    }
}
