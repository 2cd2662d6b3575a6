//! The cost matrix, to be edited in a small window of its own: decisions, Review and submissions reckon with it.

use egui::{
    Align, Align2, Color32, FontSelection, Grid, Id, Key, Label, Layout, Margin, RichText,
    ScrollArea, TextEdit, Ui, Window, vec2,
};

use super::command::{Command, CommandSender};
use super::icons::Icon;
use super::theme::{Palette, mono, semibold};
use super::widgets::parts::{self, Weight};
use super::widgets::{icon_button, swatch};
use crate::domain::{ClassId, ClassSet, CostMatrix};
use crate::project::DriftChoice;

/// Width of a cell: five digits, or half a class name.
const CELL: f32 = 66.0;
/// Space between cells.
const BETWEEN: f32 = 6.0;
/// Width of a class name before its row.
const NAME: f32 = 128.0;

/// What the editor looks at.
#[derive(Clone, Copy)]
pub struct CostsContext<'a> {
    /// The theme's colours.
    pub palette: &'a Palette,
    /// Where commands go.
    pub commands: &'a CommandSender,
    /// The classes, drift last.
    pub classes: &'a ClassSet,
    /// The costs in use.
    pub cost: &'a CostMatrix,
    /// Whether the project may only be looked at.
    pub read_only: bool,
}

/// The open editor. What is typed counts only once it is a cost matrix and the user says so.
#[derive(Debug)]
pub struct CostsEditor {
    typed: Vec<Vec<String>>,
    /// The costs in use before the latest change made here.
    before: Option<CostMatrix>,
    /// Whether a cell had the focus when the last frame was over.
    typing: bool,
}

impl CostsEditor {
    /// Opens with the costs in use.
    #[must_use]
    pub fn new(cost: &CostMatrix) -> Self {
        Self {
            typed: cost.written(),
            before: None,
            typing: false,
        }
    }

    /// Paints the editor; false once it is to be closed.
    pub fn ui(&mut self, ctx: &egui::Context, cx: &CostsContext<'_>) -> bool {
        // With a cell in use, Esc leaves the cell.
        let mut open = self.typing || !ctx.input(|i| i.key_pressed(Key::Escape));
        let room = ctx.content_rect();
        let table = NAME + self.typed.len() as f32 * (CELL + BETWEEN);
        let width = table.clamp(420.0, (room.width() - 80.0).max(420.0));
        Window::new("costs")
            .id(Id::unique("costs"))
            .title_bar(false)
            .resizable(false)
            .pivot(Align2::CENTER_CENTER)
            .default_pos(room.center())
            .default_width(width)
            .show(ctx, |ui| {
                ui.set_width(width);
                ui.spacing_mut().item_spacing = vec2(8.0, 6.0);
                open &= !head(ui, cx.palette);
                let parsed = CostMatrix::parse(&self.typed);
                let bad = parsed.as_ref().err().and_then(|error| error.cell());
                let area = ScrollArea::both()
                    .max_height((room.height() - 240.0).max(60.0));
                area.show(ui, |ui| self.table(ui, cx, bad));
                ui.add_space(4.0);
                match &parsed {
                    Err(error) => parts::notice(ui, cx.palette, cx.palette.bad, &format!("{error}.")),
                    Ok(cost) if cost == cx.cost => {
                        parts::notice(ui, cx.palette, cx.palette.good, "These costs are in use.");
                    }
                    Ok(_) if cx.read_only => {
                        let text = "The project may only be looked at: other costs hold until it is closed.";
                        parts::notice(ui, cx.palette, cx.palette.warn, text);
                    }
                    Ok(_) => parts::notice(ui, cx.palette, cx.palette.warn, "Not in use yet."),
                }
                ui.add_space(4.0);
                self.buttons(ui, cx, parsed.ok());
            });
        self.typing = ctx.text_edit_focused();
        open
    }

    fn table(&mut self, ui: &mut Ui, cx: &CostsContext<'_>, bad: Option<(usize, usize)>) {
        let name = |class: usize| cx.classes.name(ClassId::from(class));
        let head = |class: usize| {
            RichText::new(name(class))
                .size(11.5)
                .color(cx.palette.muted)
        };
        Grid::new("cost cells")
            .spacing(vec2(BETWEEN, 5.0))
            .show(ui, |ui| {
                parts::aside(ui, cx.palette.muted, "true ↓   answered →");
                for class in 0..self.typed.len() {
                    ui.allocate_ui_with_layout(
                        vec2(CELL, 30.0),
                        Layout::bottom_up(Align::Center),
                        |ui| {
                            ui.set_width(CELL);
                            ui.add(Label::new(head(class)).wrap().halign(Align::Center));
                        },
                    );
                }
                ui.end_row();
                for (actual, row) in self.typed.iter_mut().enumerate() {
                    ui.horizontal(|ui| {
                        swatch(ui, cx.palette.class(cx.classes, ClassId::from(actual)));
                        ui.label(RichText::new(name(actual)).size(12.5));
                    });
                    for (predicted, text) in row.iter_mut().enumerate() {
                        let wrong = bad == Some((actual, predicted));
                        let color = match (wrong, actual == predicted) {
                            (true, _) => cx.palette.bad,
                            (false, true) => cx.palette.muted,
                            (false, false) => cx.palette.text,
                        };
                        let names = (name(actual), name(predicted));
                        cell(ui, cx.palette, text, color, wrong, names);
                    }
                    ui.end_row();
                }
            });
    }

    fn buttons(&mut self, ui: &mut Ui, cx: &CostsContext<'_>, typed: Option<CostMatrix>) {
        let usual = CostMatrix::default_for(cx.classes);
        let why_not = match &typed {
            None => Some("What is typed is no cost matrix yet."),
            Some(cost) if cost == cx.cost => Some("These costs are in use."),
            Some(_) => None,
        };
        ui.horizontal(|ui| {
            let (palette, weight) = (cx.palette, Weight::Primary);
            let used = parts::button(ui, palette, weight, None, "Use these costs", why_not);
            if let Some(cost) = typed.filter(|_| used.clicked()) {
                self.before = Some(cx.cost.clone());
                // What is usual for the classes needs no entry in the project.
                let choice = Some(cost).filter(|cost| *cost != usual);
                cx.commands.send(Command::Choose(DriftChoice::Cost(choice)));
            }
            let mut offer = |ui: &mut Ui, text: &str, cost: &CostMatrix| {
                let link = RichText::new(text).size(12.0).color(palette.accent);
                let there = self.typed == cost.written();
                if !there && ui.add(egui::Button::new(link).frame(false)).clicked() {
                    self.typed = cost.written();
                }
            };
            let whose = if cx.classes.is_challenge() {
                "Reset to the challenge's costs"
            } else {
                "Reset to the usual costs"
            };
            offer(ui, whose, &usual);
            offer(ui, "Back to those in use", cx.cost);
            if let Some(before) = self.before.as_ref().filter(|before| *before != cx.cost) {
                offer(ui, "Back to those before", before);
            }
        });
    }
}

/// Title and what the numbers are for; true if the editor is to be closed.
fn head(ui: &mut Ui, palette: &Palette) -> bool {
    let close = ui
        .horizontal(|ui| {
            ui.label(RichText::new("What a mistake costs").font(semibold(15.0)));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                icon_button(ui, palette, Icon::Close, "Close (Esc)", false).clicked()
            })
            .inner
        })
        .inner;
    let text =
        "Expected costs, operating points, the PWA in Review and submissions reckon with these.";
    parts::aside(ui, palette.muted, text);
    close
}

fn cell(
    ui: &mut Ui,
    palette: &Palette,
    text: &mut String,
    color: Color32,
    wrong: bool,
    (actual, predicted): (&str, &str),
) {
    let field = TextEdit::singleline(text)
        .font(FontSelection::FontId(mono(12.5)))
        .text_color(color)
        .align(Align2::RIGHT_CENTER)
        .desired_width(CELL)
        .margin(Margin::symmetric(6, 4));
    let response = ui.add(field);
    if response.changed() {
        // Marks and sentence are those of the frame before.
        ui.ctx().request_repaint();
    }
    if response.gained_focus() {
        response.scroll_to_me(None);
    }
    if wrong {
        ui.painter().rect_stroke(
            response.rect,
            4.0,
            egui::Stroke::new(1.0, palette.bad),
            egui::StrokeKind::Outside,
        );
    }
    let value = text.clone();
    let says = format!("{actual} answered {predicted}");
    response.widget_info(|| {
        let mut info = egui::WidgetInfo::text_edit(true, &value, &value, "");
        info.label = Some(says.clone());
        info
    });
    response.on_hover_text(says);
}
