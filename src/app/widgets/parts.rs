//! Cards, heads and the other small parts that every panel is laid out with.

use egui::{
    Align, Button, Color32, CornerRadius, Layout, Rect, Response, RichText, Sense, Stroke,
    StrokeKind, Ui, UiBuilder, pos2, vec2,
};

use crate::app::icons::Icon;
use crate::app::theme::{Palette, medium, mono, semibold};
use crate::app::widgets::{chip, empty_state};

/// Space between cards.
pub const GAP: f32 = 12.0;
/// Space inside a card, on every side.
const PADDING: f32 = 14.0;

/// Takes the full width and `height`, and divides it by `shares` with [`GAP`] between.
pub fn row(ui: &mut Ui, height: f32, shares: &[f32]) -> Vec<Rect> {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let total: f32 = shares.iter().sum();
    let width = (rect.width() - GAP * (shares.len() as f32 - 1.0)).max(0.0);
    let mut left = rect.left();
    shares
        .iter()
        .map(|share| {
            let part = Rect::from_min_size(
                pos2(left.round(), rect.top()),
                vec2((width * share / total).round(), height),
            );
            left += width * share / total + GAP;
            part
        })
        .collect()
}

/// A place for widgets at `rect`; nothing is painted outside it.
pub fn place<R>(ui: &mut Ui, rect: Rect, salt: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new()
        .max_rect(rect)
        .id_salt(salt)
        .layout(Layout::top_down(Align::Min));
    let mut child = ui.new_child(builder);
    child.shrink_clip_rect(rect);
    child.spacing_mut().item_spacing = vec2(8.0, 6.0);
    add(&mut child)
}

/// A titled surface at `rect`; `aside` stands at the right of the title.
pub fn card<R>(
    ui: &mut Ui,
    palette: &Palette,
    rect: Rect,
    title: &str,
    aside: impl FnOnce(&mut Ui),
    body: impl FnOnce(&mut Ui) -> R,
) -> R {
    ui.painter().rect(
        rect,
        CornerRadius::same(8),
        palette.panel,
        Stroke::new(1.0, palette.line),
        StrokeKind::Inside,
    );
    place(ui, rect.shrink(PADDING), title, |ui| {
        ui.horizontal(|ui| {
            ui.set_min_height(20.0);
            ui.label(
                RichText::new(title)
                    .font(semibold(13.0))
                    .color(palette.text),
            );
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                aside(ui);
            });
        });
        ui.add_space(4.0);
        body(ui)
    })
}

/// Text that explains, wrapped.
pub fn explain(ui: &mut Ui, palette: &Palette, text: &str) {
    ui.add(egui::Label::new(RichText::new(text).color(palette.muted)).wrap());
}

/// A box to tick, with a frame: on a popup, which has the colour of a button, it could not be seen otherwise.
pub fn checkbox(ui: &mut Ui, on: &mut bool, text: &str) -> Response {
    ui.scope(|ui| {
        let frame = ui.visuals().text_color().gamma_multiply(0.5);
        ui.visuals_mut().widgets.inactive.bg_stroke = Stroke::new(1.0, frame);
        ui.checkbox(on, text)
    })
    .inner
}

/// A word beside a title, in the colour of what it names.
pub fn aside(ui: &mut Ui, color: Color32, text: &str) {
    ui.label(RichText::new(text).size(12.0).color(color));
}

/// A number beside a title.
pub fn aside_number(ui: &mut Ui, color: Color32, text: &str) {
    ui.label(RichText::new(text).font(mono(12.0)).color(color));
}

/// A name at the left and its value, in digits of one width, at `at` points.
pub fn pair(ui: &mut Ui, palette: &Palette, at: f32, name: &str, value: &str, more: &str) {
    let size = vec2(ui.available_width(), 17.0);
    ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
        let left = ui.cursor().left();
        let name = ui.label(RichText::new(name).color(palette.muted));
        ui.add_space((left + at - name.rect.right() - ui.spacing().item_spacing.x).max(0.0));
        ui.label(RichText::new(value).font(mono(12.5)).color(palette.text));
        if !more.is_empty() {
            let more = RichText::new(more).font(mono(11.5)).color(palette.muted);
            ui.add(egui::Label::new(more).truncate());
        }
    });
}

/// A large number under its name.
pub fn figure(ui: &mut Ui, palette: &Palette, name: &str, value: &str, color: Color32) {
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.label(RichText::new(name).size(12.0).color(palette.muted));
        let value = RichText::new(value).font(mono(15.5)).color(color);
        ui.add(egui::Label::new(value).extend());
    });
}

/// Words to click on; says whether they were.
pub fn link(ui: &mut Ui, palette: &Palette, text: &str) -> bool {
    let text = RichText::new(text).size(12.0).color(palette.accent);
    ui.add(egui::Button::new(text).frame(false)).clicked()
}

/// A sentence with a dot in the colour of its weight.
pub fn notice(ui: &mut Ui, palette: &Palette, color: Color32, text: &str) {
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = 7.0;
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, 17.0), Sense::hover());
        ui.painter().circle_filled(dot.center(), 3.5, color);
        explain(ui, palette, text);
    });
}

/// A small framed fact: its name muted, its value plain.
pub fn pill(ui: &mut Ui, palette: &Palette, name: &str, value: &str) {
    let mut job = egui::text::LayoutJob::default();
    let format = |color| egui::TextFormat::simple(egui::FontId::proportional(12.0), color);
    if !name.is_empty() {
        job.append(name, 0.0, format(palette.muted));
    }
    job.append(
        value,
        if name.is_empty() { 0.0 } else { 5.0 },
        format(palette.text),
    );
    let galley = ui.painter().layout_job(job);
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(20.0, 8.0), Sense::hover());
    ui.painter().rect_stroke(
        rect,
        CornerRadius::same(12),
        Stroke::new(1.0, palette.line),
        StrokeKind::Inside,
    );
    ui.painter()
        .galley(rect.min + vec2(10.0, 4.0), galley, palette.text);
    response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name} {value}").trim())
    });
}

/// What a button does to the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The one thing to do here.
    Primary,
    /// One of several.
    Plain,
    /// Ends something.
    Danger,
}

/// A button of the height of a toolbar. `why_not` disables it and says why.
pub fn button(
    ui: &mut Ui,
    palette: &Palette,
    weight: Weight,
    icon: Option<Icon>,
    text: &str,
    why_not: Option<&str>,
) -> Response {
    let (fill, stroke, color) = match weight {
        Weight::Primary => (palette.accent, palette.accent, palette.on_accent),
        Weight::Plain => (palette.raised, palette.line, palette.text),
        Weight::Danger => (palette.panel, palette.bad, palette.bad),
    };
    let label = RichText::new(text).font(medium(13.0)).color(color);
    let button = match icon {
        Some(icon) => Button::image_and_text(icon.image(14.0, color), label),
        None => Button::new(label),
    };
    let response = ui.add_enabled(
        why_not.is_none(),
        button
            .fill(fill)
            .stroke(Stroke::new(1.0, stroke))
            .corner_radius(CornerRadius::same(6))
            .min_size(vec2(0.0, 28.0)),
    );
    match why_not {
        Some(why) => response.on_disabled_hover_text(why),
        None => response,
    }
}

/// A choice among few, side by side; returns the one clicked.
pub fn choice<T: Copy + PartialEq>(
    ui: &mut Ui,
    palette: &Palette,
    chosen: T,
    options: &[(T, &str)],
) -> Option<T> {
    let mut clicked = None;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (value, text) in options {
            let on = *value == chosen;
            if chip(ui, palette, *text, on).clicked() && !on {
                clicked = Some(*value);
            }
        }
    });
    clicked
}

/// A place where nothing is yet: what it is for, what to do next, and the button that does it.
pub fn empty(
    ui: &mut Ui,
    palette: &Palette,
    icon: Icon,
    title: &str,
    sentence: &str,
    action: Option<(Icon, &str, Option<&str>)>,
) -> bool {
    let mut clicked = false;
    empty_state(ui, palette, icon, title, sentence, |ui| {
        if let Some((icon, text, why_not)) = action {
            clicked = button(ui, palette, Weight::Primary, Some(icon), text, why_not).clicked();
        }
    });
    clicked
}

/// A thin bar, `0.0..=1.0` of it in the accent.
pub fn progress(ui: &mut Ui, palette: &Palette, fraction: f32) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 5.0), Sense::hover());
    let radius = CornerRadius::same(2);
    ui.painter().rect_filled(rect, radius, palette.raised);
    let mut done = rect;
    done.set_width(rect.width() * fraction.clamp(0.0, 1.0));
    ui.painter().rect_filled(done, radius, palette.accent);
}
