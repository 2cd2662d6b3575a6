//! Drift: teach a model what drift looks like, see at once what that changes, and export a submission.

mod assume;
mod crowd;
mod fine_tune;
mod gallery;
mod lasso;
mod lens;
mod map;
mod points;
mod signs;

use std::collections::BTreeSet;
use std::path::Path;

use egui::{Align, ComboBox, Layout, Modifiers, Rect, RichText, ScrollArea, Ui};

use self::assume::Assume;
use self::crowd::label_buttons;
use self::gallery::Gallery;
use self::map::MapView;
use super::panel::PanelContext;
use crate::app::command::{Action, Command};
use crate::app::duplicates::Offer;
use crate::app::icons::Icon;
use crate::app::state::words::{count, duration, thousands};
use crate::app::state::{DriftImage, DriftPhase, DriftState, FineTuneState, RunsState, runs};
use crate::app::theme::semibold;
use crate::app::widgets::histogram::{self, Kinds, histogram};
use crate::app::widgets::parts::{self, GAP, Weight};
use crate::app::widgets::thumb_grid::{Tile, Touch, thumb_grid};
use crate::app::widgets::{chip, section};
use crate::domain::{ClassId, ImageId, Precision};
use crate::evaluation::{CvReport, Interval, wilson_interval};
use crate::jobs::Progress;
use crate::labels::Repeats;
use crate::project::{DriftChoice, DriftNetwork};
use crate::workflows::{ImageGroups, precision_in_words};
use fine_tune::FineTuneView;

const SIDE: f32 = 252.0;

/// What the view shows.
#[derive(Clone, Copy)]
pub struct DriftData<'a> {
    /// The drift model.
    pub drift: &'a DriftState,
    /// The fine-tuned network.
    pub fine_tune: &'a FineTuneState,
    /// All runs: any of them can give the features.
    pub runs: &'a RunsState,
    /// The labelled class of an image, where a label names one, and the answer of the run in use.
    pub known: &'a dyn Fn(ImageId) -> (Option<ClassId>, Option<ClassId>),
    /// Near-duplicates.
    pub groups: &'a ImageGroups,
    /// What one key can do for them.
    pub offer: Option<&'a Offer>,
    /// The pretrained network that looks for drift instead of the run, if the project has one.
    pub network: Option<&'a DriftNetwork>,
    /// In what numbers networks compute.
    pub precision: Precision,
    /// Whether regular images spoiled on purpose stand beside the drift that is labelled.
    pub synthetic_outliers: bool,
    /// Whether drift is looked for in tiles of the strip of ribbons too.
    pub strip_tiles: bool,
    /// How often the same answer came to images shown again.
    pub repeats: &'a Repeats,
    /// How far the features are, while they are made.
    pub preparing: Option<&'a Progress>,
}

/// The Drift view.
#[derive(Debug, Default)]
pub struct DriftView {
    selected: BTreeSet<ImageId>,
    /// Where a range begins.
    anchor: Option<ImageId>,
    hide_labelled: bool,
    gallery: Gallery,
    assume: Assume,
    map: MapView,
    fine_tune: FineTuneView,
}

impl DriftView {
    /// The images selected in the ranking or on the map: what a label key is for here.
    #[must_use]
    pub fn selection(&self) -> Vec<ImageId> {
        self.selected.iter().copied().collect()
    }

    /// Shows the map in the place of the ranking, or the ranking again.
    pub fn toggle_map(&mut self) {
        self.map.open = !self.map.open;
    }

    /// Whether the map is shown.
    #[must_use]
    pub fn shows_map(&self) -> bool {
        self.map.open
    }

    /// Drops the lasso and what is selected with it; false if there is none.
    pub fn back(&mut self) -> bool {
        if !self.map.open {
            return false;
        }
        let lasso = self.map.drop_lasso();
        !std::mem::take(&mut self.selected).is_empty() || lasso
    }

    /// Paints the view and sends what the user asks for.
    pub fn ui(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
        if data.runs.all().is_empty() {
            let sentence = "Drift is judged by how a trained network sees an image. Train one on the regular \
                            classes; then label a few images as drift or regular, and the drift model learns \
                            from them in milliseconds.";
            let action = Some((Icon::Train, "Train a model", None));
            if parts::empty(
                ui,
                cx.palette,
                Icon::Drift,
                "No trained network yet",
                sentence,
                action,
            ) {
                cx.send(Action::ShowTrain);
            }
            return;
        }
        toolbar(ui, cx, data);
        ui.add_space(GAP);
        match &data.drift.phase {
            DriftPhase::Idle => {
                // With a run in use there is nothing to choose, only to begin.
                let ready = cx.why_not(Action::RetrainDrift).is_none();
                let (title, sentence, action) = if ready {
                    (
                        "Nothing is ranked yet",
                        "The run in use looks at every image once; then each label refits in milliseconds.",
                        "Rank the images",
                    )
                } else {
                    (
                        "Which network should look?",
                        "Choose the run whose features the drift model uses.",
                        "Use the newest run",
                    )
                };
                let action = Some((Icon::Layers, action, None));
                let clicked = parts::empty(ui, cx.palette, Icon::Drift, title, sentence, action);
                if clicked && ready {
                    cx.send(Action::RetrainDrift);
                    return;
                }
                if let Some(run) = data.runs.all().first().filter(|_| clicked) {
                    cx.send(Command::OpenRun(run.dir.clone()));
                }
            }
            DriftPhase::Preparing => {
                let sentence = "The network looks at every image once. Its view of each is cached, so this \
                                happens only the first time; labelling can go on meanwhile.";
                let so_far = data.preparing.map_or_else(String::new, how_far);
                parts::empty(
                    ui,
                    cx.palette,
                    Icon::Drift,
                    "Preparing the features",
                    &format!("{sentence}{so_far}"),
                    None,
                );
            }
            DriftPhase::Failed(why) if !data.drift.has_scores() => {
                let why_not = cx.why_not(Action::RetrainDrift);
                let action = Some((Icon::Refresh, "Try again", why_not.as_deref()));
                if parts::empty(
                    ui,
                    cx.palette,
                    Icon::Error,
                    "There are no drift scores",
                    why,
                    action,
                ) {
                    cx.send(Action::RetrainDrift);
                }
            }
            _ => self.scored(ui, cx, data),
        }
    }

    fn scored(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
        let all = ui.available_rect_before_wrap();
        let mut main = all;
        main.set_right(all.right() - SIDE - GAP);
        let mut side = all;
        side.set_left(main.right() + GAP);
        if self.map.open {
            self.mapped(ui, cx, data, main, side);
            return;
        }
        parts::place(ui, side, "side", |ui| {
            let (assume, fine_tune) = (&mut self.assume, &mut self.fine_tune);
            ScrollArea::vertical().show(ui, |ui| aside(ui, cx, data, assume, fine_tune));
        });
        parts::place(ui, main, "main", |ui| {
            ui.spacing_mut().item_spacing.y = GAP;
            if let DriftPhase::Failed(why) = &data.drift.phase {
                let text = format!("The last refit failed, the scores are those before it. {why}");
                parts::notice(ui, cx.palette, cx.palette.bad, &text);
            }
            self.fine_tune.strip(ui, cx, data);
            if self.fine_tune.comparison(ui, cx, data) {
                return;
            }
            let rects = parts::row(ui, 214.0, &[2.0, 1.15]);
            scores(ui, cx, data.drift, rects[0]);
            at_threshold(ui, cx, data, rects[1]);
            if data.drift.threshold().is_some() {
                let rect = parts::row(ui, points::HEIGHT, &[1.0])[0];
                points::points(ui, cx, data.drift, rect);
            }
            let rect = parts::row(ui, ui.available_height().max(160.0), &[1.0])[0];
            self.ranking(ui, cx, data, rect);
        });
    }

    fn ranking(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>, rect: Rect) {
        let (palette, drift) = (cx.palette, data.drift);
        self.gallery.follow(drift);
        let mut listed = self.gallery.list(cx, drift);
        if self.hide_labelled && self.gallery.is_ranking() {
            // A label never makes the list jump: what was just labelled goes only with a new order.
            let selected = &self.selected;
            listed
                .images
                .retain(|i| i.label.is_none() || selected.contains(&i.image));
        }
        let (images, title) = (&listed.images, listed.title);
        self.selected
            .retain(|image| images.iter().any(|i| i.image == *image));
        let mut gallery = std::mem::take(&mut self.gallery);
        let selected = self.selected.clone();
        let touched = parts::card(
            ui,
            palette,
            rect,
            title,
            |ui| self.actions(ui, cx, data),
            |ui| {
                gallery.choice(ui, cx, drift);
                if images.is_empty() {
                    parts::explain(ui, palette, listed.empty);
                    return None;
                }
                thumb_grid(
                    ui,
                    palette,
                    cx.thumbs,
                    "ranking",
                    images.len(),
                    98.0,
                    |at| {
                        let image = &images[at];
                        let mut tile = tile(
                            cx,
                            image,
                            (data.known)(image.image).1,
                            data.groups.others(image.image).count(),
                            selected.contains(&image.image),
                        );
                        listed.dress(at, &mut tile, cx);
                        tile
                    },
                )
            },
        );
        self.gallery = gallery;
        match touched {
            Some(Touch::Click(at, modifiers)) => {
                self.select(images, at, modifiers);
                cx.send(Command::Inspect(Some(images[at].image)));
            }
            Some(Touch::Open(at)) => cx.send(Command::Walk {
                title: title.to_owned(),
                images: images.iter().map(|i| i.image).collect(),
                start: at,
            }),
            None => {}
        }
    }

    fn actions(&mut self, ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
        let (palette, drift) = (cx.palette, data.drift);
        if chip(ui, palette, "Map", false).clicked() {
            cx.send(Action::ToggleMap);
        }
        ui.add_space(10.0);
        if self.selected.is_empty() {
            parts::aside(ui, palette.muted, "select images: one key labels them all");
        } else {
            label_buttons(ui, cx, self.selection());
            let why_not = cx.why_not(Action::LabelDuplicates);
            if let Some(offer) = data.offer.filter(|o| self.selected.contains(&o.from)) {
                let alike = count(offer.images.len() as u64, "near-duplicate");
                let text = cx.with_key(Action::LabelDuplicates, &format!("Also {alike}"));
                let weight = Weight::Plain;
                if parts::button(ui, palette, weight, None, &text, why_not.as_deref()).clicked() {
                    cx.send(Action::LabelDuplicates);
                }
            }
            let n = count(self.selected.len() as u64, "image");
            parts::aside(ui, palette.text, &format!("{n} selected"));
        }
        ui.add_space(8.0);
        let text = if self.hide_labelled {
            "Show labelled"
        } else {
            "Hide labelled"
        };
        if parts::link(ui, palette, text) {
            self.hide_labelled = !self.hide_labelled;
        }
        if drift.labels_since_order > 0 {
            let labels = count(drift.labels_since_order as u64, "label");
            if parts::link(ui, palette, &format!("Sort anew ({labels} since)")) {
                cx.send(Command::RerankDrift);
            }
        }
    }

    fn select(&mut self, images: &[DriftImage], at: usize, modifiers: Modifiers) {
        let image = images[at].image;
        let anchor = self
            .anchor
            .and_then(|a| images.iter().position(|i| i.image == a));
        match anchor {
            Some(anchor) if modifiers.shift => {
                if !modifiers.command {
                    self.selected.clear();
                }
                let range = anchor.min(at)..=anchor.max(at);
                self.selected.extend(images[range].iter().map(|i| i.image));
                return;
            }
            _ if modifiers.command => {
                if !self.selected.remove(&image) {
                    self.selected.insert(image);
                }
            }
            _ => self.selected = BTreeSet::from([image]),
        }
        self.anchor = Some(image);
    }
}

/// `\n\nembedding: 1,240 of 9,333 images, about 2 min left`
fn how_far(progress: &Progress) -> String {
    if progress.doing.is_empty() {
        return String::new();
    }
    let mut text = format!("\n\nNow {}", progress.doing);
    if progress.total > 1 {
        let (done, total) = (thousands(progress.done), thousands(progress.total));
        text += &format!(": {done} of {total}");
    }
    if let Some(seconds) = progress.eta_secs().filter(|s| *s >= 2.0) {
        text += &format!(", about {} left", duration(seconds));
    }
    text + "."
}

fn toolbar(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    let (palette, drift) = (cx.palette, data.drift);
    ui.horizontal(|ui| {
        ui.set_min_height(30.0);
        ui.label(
            RichText::new("Drift")
                .font(semibold(15.0))
                .color(palette.text),
        );
        if drift.has_scores() {
            parts::pill(
                ui,
                palette,
                "scored",
                &thousands(drift.images().len() as u64),
            );
        }
        let (n_drift, n_regular) = drift.label_counts();
        parts::pill(ui, palette, "drift", &thousands(n_drift as u64));
        parts::pill(ui, palette, "regular", &thousands(n_regular as u64));
        features(ui, cx, data);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            fine_tune::menu(ui, cx, data);
            let why_not = cx.why_not(Action::RetrainDrift);
            let retrain = parts::button(
                ui,
                palette,
                Weight::Primary,
                Some(Icon::Refresh),
                "Retrain drift model",
                why_not.as_deref(),
            );
            if retrain.clicked() {
                cx.send(Action::RetrainDrift);
            }
            let find = parts::button(
                ui,
                palette,
                Weight::Plain,
                Some(Icon::Label),
                "Find drift",
                why_not.as_deref(),
            );
            if find.clicked() {
                cx.send(Action::FindDrift);
            }
            // In a narrow window the buttons need the room.
            let room = ui.available_width() > 190.0;
            match (&drift.phase, drift.milliseconds()) {
                _ if !room => {}
                (DriftPhase::Fitting, _) => parts::aside(ui, palette.muted, "refitting…"),
                (_, Some(ms)) => parts::aside(
                    ui,
                    palette.muted,
                    &format!("refits after each label · {ms:.0} ms"),
                ),
                _ => {}
            }
        });
    });
}

fn features(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    let name = |dir: &Path| {
        data.runs
            .find(dir)
            .map(|r| format!("{} · {}", r.plan.model, runs::settings(&r.plan)))
    };
    let file = |network: &DriftNetwork| {
        let path = Path::new(&network.weights);
        let file = path.file_name().unwrap_or(path.as_os_str());
        format!("{} · {}", network.model, file.to_string_lossy())
    };
    let of_run = data.drift.run.as_deref().and_then(name);
    let now = match data.network {
        Some(network) => Some(format!("{}, pretrained", network.model)),
        None => of_run.clone(),
    };
    let response = ComboBox::from_id_salt("features")
        .width(230.0)
        .height(600.0)
        .truncate()
        .selected_text(now.map_or("choose features".to_owned(), |n| format!("features {n}")))
        .show_ui(ui, |ui| {
            ui.label("Looks for drift");
            if let Some(network) = data.network {
                drop(ui.selectable_label(true, file(network)));
                let text = "the run's own network";
                if ui.selectable_label(false, text).clicked() {
                    cx.send(Command::Choose(DriftChoice::Network(None)));
                }
            } else {
                drop(ui.selectable_label(true, "the run's own network"));
            }
            if ui.button("Pretrained weights…").clicked() {
                cx.send(Action::PickDriftWeights);
            }
            ui.separator();
            precision(ui, cx, data);
            ui.separator();
            tiles(ui, cx, data);
            ui.separator();
            outliers(ui, cx, data);
            ui.separator();
            ui.label("Answers with a class");
            for run in data.runs.all() {
                let on = data.drift.run.as_deref() == Some(run.dir.as_path());
                let text = name(&run.dir).unwrap_or_default();
                if ui
                    .selectable_label(on, format!("{text} · {}", run.name))
                    .clicked()
                    && !on
                {
                    cx.send(Command::OpenRun(run.dir.clone()));
                }
            }
        })
        .response;
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Features"));
}

/// Whether tiles of the strip are looked at too.
fn tiles(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    let mut on = data.strip_tiles;
    if parts::checkbox(ui, &mut on, "Strip tiles").changed() {
        cx.send(Command::Choose(DriftChoice::StripTiles(on)));
    }
    let text = "The network also looks at four tiles of the upright strip of ribbons, in which small things are large, \
                and the oddest counts. Takes about as long again, with the network of a run up to four times; needs the die of \
                every image (column lib).";
    parts::explain(ui, cx.palette, text);
}

/// Whether drift made of regular images stands beside what is labelled.
fn outliers(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    let mut on = data.synthetic_outliers;
    if parts::checkbox(ui, &mut on, "Synthetic outliers").changed() {
        cx.send(Command::Choose(DriftChoice::SyntheticOutliers(on)));
    }
    let text = "Regular images spoiled by debris, blur, a covered part or a shifted frame, together worth two drift \
                labels. Help while few are labelled, if drift looks like that. They count in no figure.";
    parts::explain(ui, cx.palette, text);
}

/// In what numbers networks compute, and what that means for those in use.
fn precision(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>) {
    ui.label("Computes in");
    ui.horizontal(|ui| {
        for precision in Precision::ALL {
            let on = data.precision == precision;
            if ui.selectable_label(on, precision.name()).clicked() && !on {
                cx.send(Command::Choose(DriftChoice::Precision(precision)));
            }
        }
    });
    let run = data
        .drift
        .run
        .as_deref()
        .and_then(|dir| data.runs.find(dir));
    if run.is_some() || data.network.is_some() {
        let run = run.filter(|_| data.network.is_none());
        let text = precision_in_words(data.precision, run);
        parts::explain(ui, cx.palette, &text);
    }
}

fn scores(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState, rect: Rect) {
    let palette = cx.palette;
    let head = drift.has_head();
    let kinds = Kinds {
        regular: palette.tint(palette.good, 0.75),
        drift: palette.class(cx.classes, cx.classes.drift()),
        unlabelled: palette.tint(palette.muted, 0.45),
    };
    let title = if head {
        "Probability of drift"
    } else {
        "Oddness, before any drift model"
    };
    parts::card(
        ui,
        palette,
        rect,
        title,
        |ui| histogram::key(ui, palette, kinds, true),
        |ui| {
            let note = if head {
                "Labelled images out of fold; heights by square root. Drag the line."
            } else {
                "Share of the regular images that look less odd; heights by square root."
            };
            let height = ui.available_height() - 22.0;
            let moved = histogram(
                ui,
                palette,
                &drift.histogram(),
                kinds,
                drift.threshold(),
                height,
            );
            parts::aside(ui, palette.muted, note);
            if let Some(threshold) = moved {
                cx.send(Command::SetThreshold(threshold));
            }
        },
    );
}

fn at_threshold(ui: &mut Ui, cx: &PanelContext<'_>, data: &DriftData<'_>, rect: Rect) {
    let (palette, drift) = (cx.palette, data.drift);
    let title_aside = |ui: &mut Ui| {
        if drift.threshold_is_chosen() {
            let text = RichText::new("Back to the proposal")
                .size(12.0)
                .color(palette.accent);
            if ui.add(egui::Button::new(text).frame(false)).clicked() {
                cx.send(Command::ProposedThreshold);
            }
        } else if drift.threshold().is_some() {
            parts::aside(ui, palette.muted, "proposed");
        }
    };
    parts::card(ui, palette, rect, "At this threshold", title_aside, |ui| {
        let found = drift
            .threshold()
            .and_then(|t| drift.at_threshold(t, cx.cost, data.known));
        let Some(found) = found else {
            let why = drift.quality().and_then(Result::err);
            let why = why.unwrap_or(
                "Drift and regular images must both be labelled before a threshold means anything.",
            );
            parts::notice(
                ui,
                palette,
                palette.warn,
                &format!("No threshold yet: {why}"),
            );
            return;
        };
        let (at, figures) = (112.0, found.figures);
        let ends = |i: &Interval| format!("{:.2}–{:.2}", i.lo, i.hi);
        let pair = |ui: &mut Ui, name: &str, value: &str, more: &str| {
            parts::pair(ui, palette, at, name, value, more);
        };
        let f1 = format!("{:.2}", figures.f1.mean);
        pair(ui, "drift F1", &f1, &ends(&figures.f1));
        let caught = format!("{} of {}", figures.caught, figures.n_drift);
        pair(ui, "caught", &caught, &ends(&figures.recall));
        let alarms = format!("{} of {}", figures.false_alarms, figures.n_regular);
        pair(ui, "false alarms", &alarms, "");
        match figures.cost {
            Some(cost) => {
                let ends = format!("{}–{}", price(cost.lo), price(cost.hi));
                pair(ui, "expected cost", &price(cost.mean), &ends);
                if let Some(constant) = found.constant {
                    pair(ui, "of a constant", &price(constant), "");
                }
            }
            None => pair(ui, "expected cost", "n/a", "predict the images first"),
        }
        let above = thousands(found.above as u64);
        pair(ui, "above it", &above, "without a label");
        parts::explain(ui, palette, "Optimistic if chosen on these labels.");
    });
}

fn price(cost: f64) -> String {
    if cost < 100.0 {
        format!("{cost:.2}")
    } else {
        format!("{cost:.0}")
    }
}

fn aside(
    ui: &mut Ui,
    cx: &PanelContext<'_>,
    data: &DriftData<'_>,
    assume: &mut Assume,
    fine_tune: &mut FineTuneView,
) {
    let (palette, drift) = (cx.palette, data.drift);
    section(ui, palette, "Quality, cross-validated");
    match drift.quality() {
        Some(Ok(quality)) => measured(ui, cx, quality),
        Some(Err(why)) => parts::notice(ui, palette, palette.warn, why),
        None => parts::explain(ui, palette, "Not measured yet."),
    }
    if !drift.has_head() {
        let text = "Until both kinds are labelled, images are ranked by oddness alone: how unlike the regular \
                    training images the network finds them.";
        parts::notice(ui, palette, palette.accent, text);
    }
    repeatability(ui, cx, data.repeats);
    ui.add_space(12.0);
    assume.ui(ui, cx, drift);
    change(ui, cx, drift);
    fine_tune::aside(ui, cx, data, fine_tune);
    section(ui, palette, "Good to know");
    if let Some(text) = &drift.left_out {
        parts::notice(ui, palette, palette.warn, text);
    }
    parts::notice(
        ui,
        palette,
        palette.muted,
        "Labels on incoming images make the scores transductive: they hold for these images, and say less about \
         the next delivery.",
    );
    ui.add_space(12.0);
    section(ui, palette, "Submission");
    parts::explain(
        ui,
        palette,
        if drift.threshold_is_chosen() {
            "At or above the threshold you chose an image is answered drift, below it the network's class."
        } else {
            "Each image gets the answer that costs least by the cost matrix. Drag the threshold to let it decide \
             instead."
        },
    );
    ui.add_space(2.0);
    let why_not = cx.why_not(Action::ExportSubmission).or_else(|| {
        let missing = "A submission needs a threshold: label at least two drift and two regular images first.";
        drift.threshold().is_none().then(|| missing.to_owned())
    });
    let export = parts::button(
        ui,
        palette,
        Weight::Plain,
        Some(Icon::Export),
        "Export submission…",
        why_not.as_deref(),
    );
    if export.clicked() {
        cx.send(Action::ExportSubmission);
    }
}

/// How repeatable the labels are: no model can agree with them more than they do with themselves.
fn repeatability(ui: &mut Ui, cx: &PanelContext<'_>, repeats: &Repeats) {
    if repeats.answers == 0 {
        return;
    }
    let palette = cx.palette;
    let [low, high] = wilson_interval(repeats.same, repeats.answers);
    let share = repeats.same as f64 / repeats.answers as f64;
    ui.add_space(4.0);
    parts::pair(
        ui,
        palette,
        108.0,
        "repeats alike",
        &format!("{share:.2}"),
        &format!("{low:.2}–{high:.2}"),
    );
    let words = format!(
        "{} of {} images that were shown again, blind, got the same answer. No model can be measured more surely than that.",
        repeats.same, repeats.answers
    );
    parts::explain(ui, palette, &words);
}

fn measured(ui: &mut Ui, cx: &PanelContext<'_>, quality: &CvReport) {
    let palette = cx.palette;
    let at = 108.0;
    let f1 = format!("F1 at {:.2}", quality.threshold);
    let line = |ui: &mut Ui, name: &str, value: &Interval| {
        let interval = format!("{:.2}–{:.2}", value.lo, value.hi);
        parts::pair(
            ui,
            palette,
            at,
            name,
            &format!("{:.2}", value.mean),
            &interval,
        );
    };
    line(ui, &f1, &quality.f1);
    line(ui, "AP", &quality.average_precision);
    line(ui, "AUROC", &quality.roc_auc);
    let words = format!(
        "{} folds, {} times, on {} drift and {} regular labels; intervals are 95 %.",
        quality.folds, quality.repeats, quality.n_drift, quality.n_regular
    );
    parts::explain(ui, palette, &words);
}

fn change(ui: &mut Ui, cx: &PanelContext<'_>, drift: &DriftState) {
    let palette = cx.palette;
    // Other costs or another share of drift fit anew too.
    let Some(change) = drift.change().filter(|change| change.labels > 0) else {
        return;
    };
    let labels = match change.labels {
        1 => "last label".to_owned(),
        n => format!("last {n} labels"),
    };
    section(ui, palette, &format!("What your {labels} changed"));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 14.0;
        let violet = palette.class(cx.classes, cx.classes.drift());
        parts::figure(
            ui,
            palette,
            "now drift",
            &format!("+{}", change.now_above.len()),
            violet,
        );
        parts::figure(
            ui,
            palette,
            "no longer",
            &format!("−{}", change.no_longer.len()),
            palette.text,
        );
        if let Some((before, now)) = change.average_precision {
            parts::figure(
                ui,
                palette,
                "AP",
                &format!("{before:.2} → {now:.2}"),
                palette.text,
            );
        }
    });
    ui.horizontal(|ui| {
        for (images, text, title) in [
            (change.now_above, "Show those now drift", "now drift"),
            (change.no_longer, "those no longer", "no longer drift"),
        ] {
            if !images.is_empty() && parts::link(ui, palette, text) {
                cx.send(Command::ShowImages {
                    title: format!("{title} since your {labels}"),
                    images,
                });
            }
        }
    });
    ui.add_space(12.0);
}

fn tile(
    cx: &PanelContext<'_>,
    image: &DriftImage,
    answer: Option<ClassId>,
    alike: usize,
    selected: bool,
) -> Tile {
    let palette = cx.palette;
    let violet = palette.class(cx.classes, cx.classes.drift());
    let tag = match image.label {
        Some(true) => Some((cx.classes.name(cx.classes.drift()).to_owned(), violet)),
        Some(false) => Some(("Regular".to_owned(), palette.good)),
        None => answer.map(|class| {
            (
                cx.classes.name(class).to_owned(),
                palette.class(cx.classes, class),
            )
        }),
    };
    let spoken = match image.label {
        Some(true) => "drift",
        Some(false) => "regular",
        None => "not labelled",
    };
    Tile {
        image: image.image,
        frame: match image.label {
            Some(true) => (2.0, violet),
            Some(false) => (2.0, palette.good),
            None => (1.0, palette.line),
        },
        tag,
        second: (alike > 0).then(|| (format!("{alike} alike"), palette.raised)),
        number: Some(
            format!("{:.3}", image.score)
                .trim_start_matches('0')
                .to_owned(),
        ),
        selected,
        spoken: match alike {
            0 => format!("{spoken}, score {:.3},", image.score),
            n => {
                let alike = count(n as u64, "near-duplicate");
                format!("{spoken}, score {:.3}, {alike},", image.score)
            }
        },
    }
}
