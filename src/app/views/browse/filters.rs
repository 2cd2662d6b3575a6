//! The filter chips and the search field in the toolbar.

use std::collections::BTreeSet;

use egui::{Popup, PopupCloseBehavior, RichText, ScrollArea, Ui};

use crate::app::context::ViewContext;
use crate::app::filter::{Filter, LabelChoice, Mark};
use crate::app::icons::Icon;
use crate::app::widgets::{chip, icon_button, parts, swatch};
use crate::domain::Split;

/// Paints the chips; each opens a list of choices.
pub(super) fn toolbar(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    groups: &[(usize, Vec<String>)],
    filter: &mut Filter,
    focus: bool,
) {
    ui.spacing_mut().item_spacing.x = 6.0;
    if let Some((title, images)) = &filter.only {
        let text = format!("{title} ({})", images.len());
        chip(ui, cx.palette, text, true);
        if icon_button(ui, cx.palette, Icon::Close, "Show all images again", false).clicked() {
            filter.only = None;
        }
    }
    choices(ui, cx, "split", &mut filter.splits, |ui, chosen| {
        for split in Split::ALL {
            toggle(ui, chosen, split, split.name());
        }
    });
    let classes = cx.session.classes();
    choices(ui, cx, "label", &mut filter.labels, |ui, chosen| {
        for (class, info) in classes.iter() {
            ui.horizontal(|ui| {
                swatch(ui, cx.palette.class(classes, class));
                toggle(ui, chosen, LabelChoice::Class(class), &info.name);
            });
        }
        ui.separator();
        toggle(ui, chosen, LabelChoice::Regular, "Regular, class left open");
        toggle(ui, chosen, LabelChoice::None, "no label");
    });
    if cx.predictions.run.is_some() {
        choices(ui, cx, "predicted", &mut filter.predicted, |ui, chosen| {
            for (class, info) in classes.iter().take(classes.regular_len()) {
                ui.horizontal(|ui| {
                    swatch(ui, cx.palette.class(classes, class));
                    toggle(ui, chosen, class, &info.name);
                });
            }
        });
    }
    for (column, values) in groups {
        let name = &cx.session.manifest().columns[*column];
        let mut chosen = filter.columns.remove(column).unwrap_or_default();
        choices(ui, cx, name, &mut chosen, |ui, chosen| {
            for value in values {
                let text = if value.is_empty() { "(empty)" } else { value };
                toggle(ui, chosen, value.clone(), text);
            }
        });
        if !chosen.is_empty() {
            filter.columns.insert(*column, chosen);
        }
    }
    choices(ui, cx, "more", &mut filter.marks, |ui, chosen| {
        for mark in Mark::ALL {
            toggle(ui, chosen, mark, mark.name());
        }
    });
    search(ui, cx, filter, focus);
    if !filter.is_empty()
        && icon_button(ui, cx.palette, Icon::Close, "Clear all filters", false).clicked()
    {
        *filter = Filter::default();
    }
}

fn search(ui: &mut Ui, cx: &ViewContext<'_>, filter: &mut Filter, focus: bool) {
    let p = cx.palette;
    let field = egui::TextEdit::singleline(&mut filter.text)
        .id(egui::Id::unique("search"))
        .hint_text("file name")
        .desired_width(110.0)
        .prefix(Icon::Search.image(13.0, p.muted))
        .margin(egui::Margin::symmetric(8, 4));
    let response = ui.add(field);
    if focus {
        response.request_focus();
    }
    if response.has_focus() && ui.input(|i| i.key_pressed(egui::Key::Escape)) {
        filter.text.clear();
        response.surrender_focus();
    }
}

/// A chip that tells its name and what is chosen, and opens the choices below it.
fn choices<T: Ord>(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    name: &str,
    chosen: &mut BTreeSet<T>,
    list: impl FnOnce(&mut Ui, &mut BTreeSet<T>),
) {
    let text = match chosen.len() {
        0 => format!("{name} ▾"),
        n => format!("{name} {n} ▾"),
    };
    let button = chip(ui, cx.palette, text, !chosen.is_empty());
    Popup::menu(&button)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| {
            ui.set_min_width(150.0);
            ScrollArea::vertical().max_height(420.0).show(ui, |ui| {
                list(ui, chosen);
                if !chosen.is_empty() {
                    ui.separator();
                    if ui
                        .button(RichText::new("any").color(cx.palette.muted))
                        .clicked()
                    {
                        chosen.clear();
                    }
                }
            });
        });
}

fn toggle<T: Ord>(ui: &mut Ui, chosen: &mut BTreeSet<T>, value: T, text: &str) {
    let mut on = chosen.contains(&value);
    if parts::checkbox(ui, &mut on, text).changed() {
        if on {
            chosen.insert(value);
        } else {
            chosen.remove(&value);
        }
    }
}
