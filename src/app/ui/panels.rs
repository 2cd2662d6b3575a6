//! What the Train, Review and Drift views are given of the open data set.

use egui::{Color32, Rect, Ui};
use jiff::Zoned;

use crate::app::context::ViewContext;
use crate::app::state::{CostState, DriftState, FineTuneState, ReviewState, RunsState, TrainState};
use crate::app::views::drift::{DriftData, DriftView};
use crate::app::views::panel::PanelContext;
use crate::app::views::review::{ReviewData, ReviewView};
use crate::app::views::train::{TrainData, TrainView};
use crate::app::widgets::thumb_grid::Thumbs;
use crate::app::widgets::tile::cover;
use crate::domain::{ImageId, Label};
use crate::jobs::Progress;

struct Pictures<'a>(&'a ViewContext<'a>);

impl Thumbs for Pictures<'_> {
    fn paint(&self, ui: &Ui, rect: Rect, image: ImageId) {
        let painter = ui.painter();
        painter.rect_filled(rect, 4.0, self.0.palette.stage);
        if let Some(picture) = self.0.textures.thumbnail(image) {
            let (place, uv) = cover(rect, picture.size, picture.uv);
            painter.add(
                egui::epaint::RectShape::filled(place, 4.0, Color32::WHITE)
                    .with_texture(picture.texture, uv),
            );
        }
    }

    fn name(&self, image: ImageId) -> String {
        self.0.session.entry(image).key.clone()
    }
}

fn with<R>(cx: &ViewContext<'_>, show: impl FnOnce(&PanelContext<'_>) -> R) -> R {
    show(&PanelContext {
        palette: cx.palette,
        commands: cx.commands,
        keys: cx.keys,
        available: cx.now,
        classes: cx.session.classes(),
        cost: &cx.session.snapshot.cost,
        thumbs: &Pictures(cx),
        now: &Zoned::now(),
        inspected: cx.inspected,
    })
}

pub(super) fn train(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    view: &mut TrainView,
    train: &TrainState,
    cost: &CostState,
    runs: &RunsState,
) {
    let data = TrainData {
        train,
        estimate: cost,
        runs,
        in_use: cx.predictions.run.as_deref(),
        labelled: cx.session.labelled(),
        columns: &cx.session.manifest().columns,
    };
    with(cx, |panel| view.ui(ui, panel, &data));
}

pub(super) fn review(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    view: &mut ReviewView,
    review: &ReviewState,
    runs: &RunsState,
) {
    let data = ReviewData { review, runs };
    with(cx, |panel| view.ui(ui, panel, &data));
}

pub(super) fn drift(
    ui: &mut Ui,
    cx: &ViewContext<'_>,
    view: &mut DriftView,
    drift: &DriftState,
    fine_tune: &FineTuneState,
    runs: &RunsState,
    preparing: Option<&Progress>,
) {
    let known = |image: ImageId| {
        let label = cx.session.label(image).and_then(Label::class);
        let answer = cx.predictions.get(image).map(|p| p.class());
        (label, answer)
    };
    let data = DriftData {
        drift,
        fine_tune,
        runs,
        known: &known,
        groups: cx.groups,
        offer: cx.offer,
        network: cx.session.snapshot.drift_network.as_ref(),
        precision: cx.session.snapshot.precision,
        synthetic_outliers: cx.session.snapshot.synthetic_outliers,
        strip_tiles: cx.session.snapshot.strip_tiles,
        repeats: &cx.session.repeats,
        preparing,
    };
    with(cx, |panel| view.ui(ui, panel, &data));
}
