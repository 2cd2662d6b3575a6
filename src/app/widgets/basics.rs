//! The small parts: section heads, chips, badges, key caps, cards, rows.

use egui::{
    Align, Align2, Color32, Layout, Response, RichText, Role, Sense, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, WidgetText, vec2,
};

use crate::app::command::Action;
use crate::app::context::ViewContext;
use crate::app::icons::Icon;
use crate::app::theme::{self, Palette};

/// A section head in spaced capitals.
pub fn section(ui: &mut Ui, palette: &Palette, text: &str) -> Response {
    ui.label(
        RichText::new(text.to_uppercase())
            .font(theme::medium(10.5))
            .extra_letter_spacing(0.8)
            .color(palette.muted),
    )
}

/// A number or file name, monospaced.
#[must_use]
pub fn number(text: impl Into<String>) -> RichText {
    RichText::new(text).font(theme::mono(12.0))
}

/// A muted name and a monospaced value, aligned over rows. The value is cut with `…` where the room ends.
pub fn value_row(ui: &mut Ui, palette: &Palette, name: &str, value: impl Into<String>) -> Response {
    let width = (ui.available_width() * 0.38).clamp(60.0, 110.0);
    row_of(ui, palette, name, width, value.into())
}

/// As [`value_row`], with room for a long name.
pub fn value_row_wide(
    ui: &mut Ui,
    palette: &Palette,
    name: &str,
    value: impl Into<String>,
) -> Response {
    let width = (ui.available_width() - 76.0).max(60.0);
    row_of(ui, palette, name, width, value.into())
}

fn row_of(ui: &mut Ui, palette: &Palette, name: &str, width: f32, value: String) -> Response {
    ui.horizontal(|ui| {
        let height = 17.0;
        ui.spacing_mut().interact_size.y = height;
        ui.allocate_ui_with_layout(
            vec2(width, height),
            Layout::left_to_right(Align::Center),
            |ui| {
                ui.set_min_width(width);
                ui.add(egui::Label::new(RichText::new(name).color(palette.muted)).truncate());
            },
        );
        ui.add(egui::Label::new(number(value)).truncate())
    })
    .inner
}

/// A filled square with rounded corners: a class's colour beside its name.
pub fn swatch(ui: &mut Ui, color: Color32) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(9.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.0, color);
    response
}

/// A key as it looks on the keyboard.
pub fn key_cap(ui: &mut Ui, palette: &Palette, key: &str) -> Response {
    let galley = ui
        .painter()
        .layout_no_wrap(key.to_owned(), theme::mono(11.0), palette.text);
    let size = vec2((galley.size().x + 12.0).max(19.0), 19.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    ui.painter().rect(
        rect,
        4.0,
        palette.raised,
        Stroke::new(1.0, palette.line),
        StrokeKind::Inside,
    );
    let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect);
    ui.painter().galley(at.min, galley, palette.text);
    response
}

/// A class name on its colour, e.g. in the corner of a tile. `at` is its upper left corner; returns its
/// width. Cut with `…` at `max_width`.
pub fn badge(
    ui: &Ui,
    palette: &Palette,
    at: egui::Pos2,
    text: &str,
    color: Color32,
    max_width: f32,
) -> f32 {
    let mut job = egui::text::LayoutJob::simple_singleline(
        text.to_owned(),
        theme::semibold(10.0),
        palette.on(color),
    );
    job.wrap.max_width = (max_width - 9.0).max(8.0);
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    let size = vec2(galley.size().x + 9.0, 15.0);
    let rect = egui::Rect::from_min_size(at, size);
    ui.painter().rect_filled(rect, 4.0, color);
    let text_at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect);
    ui.painter().galley(text_at.min, galley, palette.on(color));
    size.x
}

/// A pill that can be clicked: a filter, a choice. Active ones carry the accent and a heavier text.
pub fn chip(ui: &mut Ui, palette: &Palette, text: impl Into<WidgetText>, active: bool) -> Response {
    let text: WidgetText = text.into();
    let plain = text.text().to_owned();
    let color = if active { palette.accent } else { palette.text };
    let galley = text.into_galley(
        ui,
        Some(egui::TextWrapMode::Extend),
        f32::INFINITY,
        egui::TextStyle::Button,
    );
    let size = vec2(galley.size().x + 20.0, 24.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, ui.is_enabled(), active, &plain));
    let fill = match (active, response.hovered()) {
        (true, _) => palette.tint(palette.accent, 0.16),
        (false, true) => palette.raised,
        (false, false) => palette.panel,
    };
    let line = if active { palette.accent } else { palette.line };
    let painter = ui.painter();
    painter.rect(rect, 12.0, fill, Stroke::new(1.0, line), StrokeKind::Inside);
    let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect);
    painter.galley(at.min, galley, color);
    response
}

/// A square button with an icon. `name` is its tooltip and what a screen reader says.
pub fn icon_button(
    ui: &mut Ui,
    palette: &Palette,
    icon: Icon,
    name: &str,
    active: bool,
) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(26.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, ui.is_enabled(), active, name));
    if active || response.hovered() {
        ui.painter().rect_filled(rect, 6.0, palette.raised);
    }
    let tint = match (ui.is_enabled(), active, response.hovered()) {
        (false, ..) => palette.muted,
        (true, true, _) => palette.accent,
        (true, false, true) => palette.text,
        (true, false, false) => palette.muted,
    };
    icon.image(16.0, tint).paint_at(
        ui,
        egui::Rect::from_center_size(rect.center(), Vec2::splat(16.0)),
    );
    response.on_hover_text(name)
}

/// An action's icon button: enabled when it can be done, with its key and the reason why not as tooltip.
pub fn action_button(ui: &mut Ui, cx: &ViewContext<'_>, action: Action) -> Response {
    let row = action.row();
    let check = action.check(cx.now);
    let icon = row.icon.unwrap_or(Icon::ChevronRight);
    let name = match cx.keys.text(action) {
        Some(key) => format!("{} ({key})", row.text),
        None => row.text.to_owned(),
    };
    let response = ui
        .add_enabled_ui(check.is_ok(), |ui| {
            icon_button(ui, cx.palette, icon, &name, false)
        })
        .inner;
    if response.clicked() {
        cx.commands.send(action);
    }
    match check {
        Ok(()) => response,
        Err(why) => response.on_disabled_hover_text(why),
    }
}

/// The one button of a view that does its main thing.
pub fn primary_button(ui: &mut Ui, palette: &Palette, text: &str) -> Response {
    ui.add(
        egui::Button::new(
            RichText::new(text)
                .font(theme::semibold(13.0))
                .color(palette.on_accent),
        )
        .fill(palette.accent)
        .min_size(vec2(0.0, 30.0)),
    )
}

/// What an empty view shows: an icon, what is missing, and what to do. Further buttons go into `add`.
pub fn empty_state(
    ui: &mut Ui,
    palette: &Palette,
    icon: Icon,
    head: &str,
    text: &str,
    add: impl FnOnce(&mut Ui),
) {
    let height = ui.available_height();
    ui.vertical_centered(|ui| {
        ui.add_space((height * 0.3).max(0.0));
        ui.add(icon.image(34.0, palette.muted));
        ui.add_space(8.0);
        ui.label(RichText::new(head).font(theme::semibold(16.0)));
        ui.add_space(2.0);
        ui.scope(|ui| {
            ui.set_max_width(460.0);
            ui.label(RichText::new(text).color(palette.muted));
        });
        ui.add_space(10.0);
        add(ui);
    });
}
