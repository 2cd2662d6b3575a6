//! The gallery: what is listed, how it is laid out, what is selected.

mod charts;
mod filters;

use std::collections::BTreeSet;

use egui::{Color32, Rect, RichText, ScrollArea, Ui, Vec2, pos2, vec2};

use crate::app::command::{Action, Command};
use crate::app::context::ViewContext;
use crate::app::filter::{self, Counts, Filter, Sort};
use crate::app::icons::Icon;
use crate::app::theme;
use crate::app::widgets::charts::grouped;
use crate::app::widgets::tile::{TileLook, tile};
use crate::app::widgets::{chip, empty_state, icon_button};
use crate::domain::ImageId;

/// Sides of a tile, in points.
pub const TILE: std::ops::RangeInclusive<f32> = 48.0..=320.0;
const GAP: f32 = 6.0;
/// Labels, facts and predictions stream in; the list is compared with what it would be this often.
const COMPARE_EVERY_SECS: f64 = 0.5;

/// What the frames and badges of tiles tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// The label.
    #[default]
    Label,
    /// The prediction.
    Prediction,
}

/// The gallery's own state.
pub struct BrowseView {
    /// Side of a tile in points, within [`TILE`].
    pub tile: f32,
    filter: Filter,
    sort: Sort,
    colour: Colour,
    /// Frozen until filter or order change, or the user asks: a label never makes it jump.
    list: Vec<ImageId>,
    listed: Option<(Filter, Sort)>,
    stale: bool,
    counts: Counts,
    derived_from: (u64, u64),
    derived_at: f64,
    selected: BTreeSet<ImageId>,
    cursor: Option<usize>,
    anchor: Option<usize>,
    scroll_to_cursor: bool,
    focus_search: bool,
    per_row: usize,
}

/// Rows above and below the visible ones whose thumbnails are fetched, so that scrolling finds them there.
const ROWS_AHEAD: usize = 3;

impl BrowseView {
    /// Everything listed, nothing selected.
    #[must_use]
    pub fn new(tile: f32) -> Self {
        Self {
            tile: tile.clamp(*TILE.start(), *TILE.end()),
            filter: Filter::default(),
            sort: Sort::default(),
            colour: Colour::default(),
            list: Vec::new(),
            listed: None,
            stale: false,
            counts: Counts::default(),
            derived_from: (0, 0),
            derived_at: f64::NEG_INFINITY,
            selected: BTreeSet::new(),
            cursor: None,
            anchor: None,
            scroll_to_cursor: false,
            focus_search: false,
            per_row: 1,
        }
    }

    /// The images listed, in order.
    #[must_use]
    pub fn list(&self) -> &[ImageId] {
        &self.list
    }

    /// What keys act on: the selection in the list's order, else the image at the cursor.
    #[must_use]
    pub fn targets(&self) -> Vec<ImageId> {
        if self.selected.is_empty() {
            return self.current().into_iter().collect();
        }
        let listed = self.list.iter().copied();
        listed.filter(|i| self.selected.contains(i)).collect()
    }

    /// Whether keys have anything to act on.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        !self.selected.is_empty() || self.current().is_some()
    }

    /// The image at the cursor.
    #[must_use]
    pub fn current(&self) -> Option<ImageId> {
        self.list.get(self.cursor?).copied()
    }

    /// Puts the cursor on an image, if it is listed, and scrolls there.
    pub fn go_to(&mut self, image: ImageId) {
        if let Some(place) = self.list.iter().position(|i| *i == image) {
            self.cursor = Some(place);
            self.anchor = Some(place);
            self.selected.clear();
            self.scroll_to_cursor = true;
        }
    }

    /// Lists exactly these images, in this order.
    pub fn show_only(&mut self, title: String, images: Vec<ImageId>) {
        self.filter = Filter {
            only: Some((title, images)),
            ..Filter::default()
        };
        self.sort = Sort::Natural;
        self.clear_selection();
    }

    /// Lists everything again.
    pub fn clear_filters(&mut self) {
        self.filter = Filter::default();
    }

    /// Selects all that is listed.
    pub fn select_all(&mut self) {
        self.selected = self.list.iter().copied().collect();
    }

    /// Selects nothing; false if nothing was.
    pub fn clear_selection(&mut self) -> bool {
        let any = !self.selected.is_empty();
        self.selected.clear();
        any
    }

    /// Puts the text cursor into the search field.
    pub fn focus_search(&mut self) {
        self.focus_search = true;
    }

    /// Larger or smaller tiles.
    pub fn scale_tiles(&mut self, factor: f32) {
        self.tile = (self.tile * factor).clamp(*TILE.start(), *TILE.end());
        self.scroll_to_cursor = true;
    }

    /// Moves the cursor; returns the image it is on then. `unlabelled` tells which images count for the
    /// moves that look for one.
    pub fn step(
        &mut self,
        action: Action,
        unlabelled: impl Fn(ImageId) -> bool,
    ) -> Option<ImageId> {
        let last = self.list.len().checked_sub(1)?;
        let at = self.cursor.unwrap_or(0).min(last);
        let open = |place: &usize| unlabelled(self.list[*place]);
        let place = match action {
            _ if self.cursor.is_none() && action != Action::Last => 0,
            Action::Next => (at + 1).min(last),
            Action::Previous => at.saturating_sub(1),
            Action::Down => (at + self.per_row).min(last),
            Action::Up => at.checked_sub(self.per_row).unwrap_or(at),
            Action::First => 0,
            Action::Last => last,
            Action::NextUnlabelled => (at + 1..=last).find(open).unwrap_or(at),
            Action::PreviousUnlabelled => (0..at).rev().find(open).unwrap_or(at),
            _ => at,
        };
        self.cursor = Some(place);
        self.anchor = Some(place);
        self.selected.clear();
        self.scroll_to_cursor = true;
        self.current()
    }

    /// Paints toolbar rows, charts and tiles.
    pub fn ui(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        self.refresh(ui, cx);
        egui::Panel::left("browse charts")
            .exact_size(236.0)
            .resizable(false)
            .show_separator_line(false)
            .frame(egui::Frame::new().inner_margin(egui::Margin {
                left: 16,
                right: 8,
                top: 12,
                bottom: 8,
            }))
            .show(ui, |ui| {
                ScrollArea::vertical()
                    .auto_shrink(false)
                    .show(ui, |ui| charts::ui(ui, cx, &self.counts, &mut self.filter));
            });
        egui::CentralPanel::no_frame().show(ui, |ui| {
            egui::Frame::new()
                .inner_margin(egui::Margin {
                    left: 8,
                    right: 12,
                    top: 8,
                    bottom: 0,
                })
                .show(ui, |ui| {
                    self.status_row(ui, cx);
                    ui.add_space(2.0);
                    self.tiles(ui, cx);
                });
        });
    }

    /// The row of filters in the window's toolbar.
    pub fn toolbar(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        let focus = std::mem::take(&mut self.focus_search);
        filters::toolbar(ui, cx, &self.counts.groups, &mut self.filter, focus);
    }

    fn refresh(&mut self, ui: &Ui, cx: &ViewContext<'_>) {
        let now = ui.input(|i| i.time);
        let source = (cx.session.generation, cx.predictions.generation());
        let wanted = self
            .listed
            .as_ref()
            .is_none_or(|(filter, sort)| *filter != self.filter || *sort != self.sort);
        if wanted {
            self.relist(cx);
        } else if source != self.derived_from {
            let wait = self.derived_at + COMPARE_EVERY_SECS - now;
            if wait > 0.0 {
                ui.ctx().request_repaint_after_secs(wait as f32);
                return;
            }
            let fresh = filter::list(cx.session, cx.predictions, &self.filter, self.sort);
            self.stale = fresh != self.list;
        } else {
            return;
        }
        self.counts = filter::count(cx.session, cx.predictions, &self.filter);
        self.derived_from = source;
        self.derived_at = now;
    }

    fn relist(&mut self, cx: &ViewContext<'_>) {
        let current = self.current();
        self.list = filter::list(cx.session, cx.predictions, &self.filter, self.sort);
        self.listed = Some((self.filter.clone(), self.sort));
        self.stale = false;
        let listed: BTreeSet<ImageId> = self.list.iter().copied().collect();
        self.selected.retain(|image| listed.contains(image));
        self.cursor = current.and_then(|image| self.list.iter().position(|i| *i == image));
        self.anchor = self.cursor;
        self.scroll_to_cursor = true;
    }

    fn status_row(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        let p = cx.palette;
        ui.horizontal(|ui| {
            ui.set_min_height(28.0);
            let shown = grouped(self.list.len());
            let all = grouped(cx.session.len());
            let text = if self.list.len() == cx.session.len() {
                format!("{all} images")
            } else {
                format!("{shown} of {all}")
            };
            ui.label(RichText::new(text).font(theme::mono(12.5)));
            if !self.selected.is_empty() {
                ui.label(
                    RichText::new(format!("{} selected", grouped(self.selected.len())))
                        .font(theme::mono(12.5))
                        .color(p.accent),
                );
            }
            if self.stale {
                let text = RichText::new("list changed · refresh").color(p.warn);
                let chip = chip(ui, p, text, false)
                    .on_hover_text("Labels or predictions changed what this list would show.");
                if chip.clicked() {
                    self.relist(cx);
                }
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                self.tile_slider(ui, cx);
                ui.add_space(6.0);
                self.sort_menu(ui, cx);
                let (text, next) = match self.colour {
                    Colour::Label => ("colour: label", Colour::Prediction),
                    Colour::Prediction => ("colour: prediction", Colour::Label),
                };
                let hover = "What frames and badges tell: the label, or what the model says";
                if chip(ui, p, text, self.colour == Colour::Prediction)
                    .on_hover_text(hover)
                    .clicked()
                {
                    self.colour = next;
                }
            });
        });
    }

    fn tile_slider(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        let p = cx.palette;
        if icon_button(ui, p, Icon::Plus, "Larger tiles (+)", false).clicked() {
            self.scale_tiles(1.25);
        }
        ui.spacing_mut().slider_width = 76.0;
        ui.spacing_mut().interact_size.y = 15.0;
        let slider = egui::Slider::new(&mut self.tile, TILE)
            .logarithmic(true)
            .show_value(false);
        let slider = ui.add(slider).on_hover_text("Tile size (Ctrl+wheel)");
        slider.widget_info(|| egui::WidgetInfo::slider(true, f64::from(self.tile), "Tile size"));
        if icon_button(ui, p, Icon::Minus, "Smaller tiles (-)", false).clicked() {
            self.scale_tiles(0.8);
        }
    }

    fn sort_menu(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        let text = format!("sort: {}", self.sort.name());
        let button = chip(ui, cx.palette, text, self.sort != Sort::Natural);
        egui::Popup::menu(&button).show(|ui| {
            for sort in Sort::ALL {
                if ui
                    .selectable_label(self.sort == sort, sort.name())
                    .clicked()
                {
                    self.sort = sort;
                }
            }
        });
    }

    fn tiles(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        if self.list.is_empty() {
            return self.nothing(ui, cx);
        }
        if ui.ui_contains_pointer() {
            let zoom = ui.input(egui::InputState::zoom_delta);
            if (zoom - 1.0).abs() > f32::EPSILON {
                self.scale_tiles(zoom);
            }
        }
        let width = ui.available_width() - 10.0;
        let per_row = ((width + GAP) / (self.tile + GAP)).floor().max(1.0);
        // Tiles grow a little to fill the row.
        let side = ((width + GAP) / per_row - GAP).max(16.0);
        self.per_row = per_row as usize;
        let rows = self.list.len().div_ceil(self.per_row);
        ui.spacing_mut().item_spacing = Vec2::splat(GAP);
        let mut area = ScrollArea::vertical().auto_shrink(false).id_salt("tiles");
        if std::mem::take(&mut self.scroll_to_cursor)
            && let Some(cursor) = self.cursor
        {
            area = self.reveal(ui, area, cursor / self.per_row, side);
        }
        let mut clicked = None;
        let output = area.show_rows(ui, side, rows, |ui, visible| {
            ui.add_space(2.0);
            let origin = ui.cursor().min;
            for row in visible.clone() {
                for column in 0..self.per_row {
                    let place = row * self.per_row + column;
                    let Some(image) = self.list.get(place).copied() else {
                        break;
                    };
                    let at = pos2(
                        origin.x + 2.0 + column as f32 * (side + GAP),
                        origin.y + (row - visible.start) as f32 * (side + GAP),
                    );
                    let rect = Rect::from_min_size(at, Vec2::splat(side));
                    let look = self.look(cx, image, place);
                    let response = tile(ui, cx, rect, image, &look);
                    if response.double_clicked() {
                        cx.commands.send(Action::Loupe);
                    } else if response.clicked() {
                        clicked = Some(place);
                    }
                }
            }
            ui.allocate_space(vec2(width, visible.len() as f32 * (side + GAP) - GAP));
            let place = |row: usize| (row * self.per_row).min(self.list.len());
            let after = place(visible.end)..place(visible.end + ROWS_AHEAD);
            let before = place(visible.start.saturating_sub(ROWS_AHEAD))..place(visible.start);
            let soon = self.list[after].iter().chain(&self.list[before]);
            cx.textures.prefetch_thumbnails(soon.copied());
        });
        ui.data_mut(|data| {
            data.insert_temp(
                egui::Id::unique("gallery scroll"),
                (output.state.clamped_offset().y, output.inner_rect.height()),
            );
        });
        if let Some(place) = clicked {
            let modifiers = ui.input(|i| i.modifiers);
            self.click(place, modifiers);
            cx.commands.send(Command::Inspect(self.current()));
        }
    }

    /// Scrolls as little as needed to bring a row into view.
    fn reveal(&self, ui: &Ui, area: ScrollArea, row: usize, side: f32) -> ScrollArea {
        let seen: Option<(f32, f32)> =
            ui.data(|data| data.get_temp(egui::Id::unique("gallery scroll")));
        let Some((offset, height)) = seen else {
            return area;
        };
        let top = row as f32 * (side + GAP);
        let bottom = top + side + 4.0;
        if top < offset {
            area.vertical_scroll_offset((top - GAP).max(0.0))
        } else if bottom > offset + height {
            area.vertical_scroll_offset(bottom - height + GAP)
        } else {
            area
        }
    }

    fn click(&mut self, place: usize, modifiers: egui::Modifiers) {
        let image = self.list[place];
        if modifiers.shift {
            let from = self.anchor.unwrap_or(place);
            let span = from.min(place)..=from.max(place);
            if !modifiers.command {
                self.selected.clear();
            }
            self.selected.extend(self.list[span].iter().copied());
        } else if modifiers.command {
            // The image at the cursor counts as chosen before the second one is.
            if self.selected.is_empty()
                && let Some(before) = self.current()
            {
                self.selected.insert(before);
            }
            if !self.selected.remove(&image) {
                self.selected.insert(image);
            }
            self.anchor = Some(place);
        } else {
            self.selected.clear();
            self.anchor = Some(place);
        }
        self.cursor = Some(place);
    }

    fn look<'a>(&self, cx: &ViewContext<'a>, image: ImageId, place: usize) -> TileLook<'a> {
        let classes = cx.session.classes();
        let badge: Option<(&str, Color32)> = match self.colour {
            Colour::Label => cx
                .session
                .label(image)
                .map(|label| (label.name(classes), cx.palette.label(classes, label))),
            Colour::Prediction => cx.predictions.get(image).map(|prediction| {
                let class = prediction.class();
                (classes.name(class), cx.palette.class(classes, class))
            }),
        };
        let figure = match (self.sort, self.colour) {
            (Sort::Drift, _) => cx.predictions.drift(image).map(|d| d.rank()),
            (Sort::Certain | Sort::Uncertain, _) | (_, Colour::Prediction) => {
                cx.predictions.get(image).map(|p| p.top().1)
            }
            _ => None,
        };
        TileLook {
            badge,
            figure: figure
                .filter(|_| self.tile >= 72.0)
                .map(|share| format!("{share:.3}")),
            flagged: cx.session.flagged(image),
            selected: self.selected.contains(&image),
            current: self.cursor == Some(place),
            frame: None,
        }
    }

    fn nothing(&mut self, ui: &mut Ui, cx: &ViewContext<'_>) {
        let needs_model = !self.filter.predicted.is_empty()
            || self
                .filter
                .marks
                .iter()
                .any(|m| matches!(m, filter::Mark::Right | filter::Mark::Wrong));
        let text = if needs_model && cx.predictions.count() == 0 {
            "The filter asks for predictions, and no model is in use. Train one, or pick a run in \
             Review, or clear the filters."
        } else {
            "No image passes all the filters at once. Remove one of them, or clear them all."
        };
        let head = "No image matches";
        empty_state(ui, cx.palette, Icon::Filter, head, text, |ui| {
            if ui.button("Clear all filters").clicked() {
                self.clear_filters();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(images: usize) -> BrowseView {
        let mut view = BrowseView::new(100.0);
        view.list = (0..images).map(ImageId::from).collect();
        view.per_row = 4;
        view
    }

    fn ids(places: &[usize]) -> Vec<ImageId> {
        places.iter().map(|i| ImageId::from(*i)).collect()
    }

    #[test]
    fn clicks_select_as_in_a_file_manager() {
        use egui::Modifiers;
        let mut view = view(10);
        view.click(2, Modifiers::NONE);
        assert_eq!(view.targets(), ids(&[2]));
        view.click(5, Modifiers::SHIFT);
        assert_eq!(view.targets(), ids(&[2, 3, 4, 5]));
        view.click(4, Modifiers::COMMAND);
        assert_eq!(view.targets(), ids(&[2, 3, 5]));
        view.click(8, Modifiers::COMMAND);
        assert_eq!(view.targets(), ids(&[2, 3, 5, 8]));
        view.click(1, Modifiers::NONE);
        assert_eq!(view.targets(), ids(&[1]));
        view.click(3, Modifiers::COMMAND);
        assert_eq!(view.targets(), ids(&[1, 3]));
    }

    #[test]
    fn the_cursor_stays_within_the_list() {
        let mut view = view(10);
        let mut step = |action| view.step(action, |i| i.0 == 7).map(|i| i.0);
        assert_eq!(step(Action::Previous), Some(0));
        assert_eq!(step(Action::Up), Some(0));
        assert_eq!(step(Action::Down), Some(4));
        assert_eq!(step(Action::NextUnlabelled), Some(7));
        assert_eq!(step(Action::NextUnlabelled), Some(7));
        assert_eq!(step(Action::Last), Some(9));
        assert_eq!(step(Action::Next), Some(9));
        assert_eq!(step(Action::PreviousUnlabelled), Some(7));
        assert_eq!(step(Action::First), Some(0));
        let mut empty = BrowseView::new(100.0);
        assert_eq!(empty.step(Action::Next, |_| true), None);
    }
}
