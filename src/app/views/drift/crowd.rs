//! What is selected on the map: a gallery that one key labels.

use egui::{Rect, RichText, Ui};

use super::{DriftData, DriftView, tile};
use crate::app::command::{Action, Command};
use crate::app::state::DriftImage;
use crate::app::state::words::{count, thousands};
use crate::app::theme::{medium, semibold};
use crate::app::views::panel::PanelContext;
use crate::app::widgets::parts::{self, Weight};
use crate::app::widgets::thumb_grid::{Touch, thumb_grid};
use crate::domain::{ImageId, Label};
use crate::labels::Source;

impl DriftView {
    /// The map and what is selected on it, in the place of scores and ranking.
    pub(super) fn mapped(
        &mut self,
        ui: &mut Ui,
        cx: &PanelContext<'_>,
        data: &DriftData<'_>,
        main: Rect,
        side: Rect,
    ) {
        self.map.ui(ui, cx, data.drift, &mut self.selected, main);
        let title = if self.selected.is_empty() {
            "Select on the map"
        } else {
            "Selected"
        };
        parts::card(
            ui,
            cx.palette,
            side,
            title,
            |_| {},
            |ui| {
                if self.selected.is_empty() {
                    how_to(ui, cx);
                } else {
                    self.crowd(ui, cx, data);
                }
            },
        );
    }

    fn crowd(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
        let selected = &self.selected;
        let images: Vec<DriftImage> = data
            .drift
            .ranked()
            .filter(|i| selected.contains(&i.image))
            .collect();
        if images.len() < self.selected.len() {
            // Another run has other candidates.
            self.selected = images.iter().map(|i| i.image).collect();
        }
        counts(ui, cx, &images);
        ui.add_space(4.0);
        ui.horizontal(|ui| label_buttons(ui, cx, images.iter().map(|i| i.image).collect()));
        ui.add_space(6.0);
        let touched = thumb_grid(
            ui,
            cx.palette,
            cx.thumbs,
            "selected",
            images.len(),
            98.0,
            |at| {
                let image = &images[at];
                let current = cx.inspected == Some(image.image);
                let alike = data.groups.others(image.image).count();
                tile(cx, image, (data.known)(image.image).1, alike, current)
            },
        );
        match touched {
            Some(Touch::Click(at, modifiers)) if modifiers.command => {
                self.selected.remove(&images[at].image);
            }
            Some(Touch::Click(at, _)) => cx.send(Command::Inspect(Some(images[at].image))),
            Some(Touch::Open(at)) => cx.send(Command::Walk {
                title: "selected on the map".to_owned(),
                images: images.iter().map(|i| i.image).collect(),
                start: at,
            }),
            None => {}
        }
    }
}

/// What the two keys do, as buttons.
pub(super) fn label_buttons(ui: &mut Ui, cx: &PanelContext<'_>, images: Vec<ImageId>) {
    let why_not = cx.why_not(Action::MarkDrift);
    let source = if images.len() > 1 {
        Source::Group
    } else {
        Source::Key
    };
    let say = |ui: &mut Ui, text: &str| {
        parts::button(
            ui,
            cx.palette,
            Weight::Plain,
            None,
            text,
            why_not.as_deref(),
        )
        .clicked()
    };
    if say(ui, &cx.with_key(Action::Class0, "Regular")) {
        cx.label(images.clone(), Label::Regular, source);
    }
    if say(ui, &cx.with_key(Action::Class1, "Drift")) {
        cx.label(images, Label::Class(cx.classes.drift()), source);
    }
}

/// How many there are, and how many of them carry which label: before the key, and after it.
fn counts(ui: &mut Ui, cx: &PanelContext<'_>, images: &[DriftImage]) {
    let palette = cx.palette;
    let of = |label: Option<bool>| images.iter().filter(|i| i.label == label).count();
    let (drift, regular, open) = (of(Some(true)), of(Some(false)), of(None));
    let n = count(images.len() as u64, "image");
    ui.label(RichText::new(n).font(semibold(15.0)).color(palette.text));
    let words: Vec<String> = [
        (open, "without a label"),
        (drift, "drift"),
        (regular, "regular"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, word)| format!("{} {word}", thousands(*n as u64)))
    .collect();
    parts::explain(ui, palette, &words.join(" · "));
    if open > 0 && drift + regular > 0 {
        let text = "The key labels all of them, also those that carry a label.";
        parts::notice(ui, palette, palette.warn, text);
    }
}

fn how_to(ui: &mut Ui, cx: &PanelContext<'_>) {
    let palette = cx.palette;
    parts::explain(
        ui,
        palette,
        "Draw around images with the mouse: they come here as a gallery, and one key labels them all.",
    );
    ui.add_space(8.0);
    for (gesture, does) in [
        ("Drag", "draw around images"),
        ("Click", "one image"),
        ("Shift held", "add to the others"),
        ("Wheel", "zoom at the pointer"),
        ("Right drag", "move the map"),
        ("Double click", "see all"),
        ("Esc", "drop the lasso"),
    ] {
        ui.horizontal(|ui| {
            let left = ui.cursor().left();
            let gesture = RichText::new(gesture)
                .font(medium(12.0))
                .color(palette.text);
            let said = ui.label(gesture);
            ui.add_space((left + 92.0 - said.rect.right()).max(0.0));
            parts::aside(ui, palette.muted, does);
        });
    }
}
