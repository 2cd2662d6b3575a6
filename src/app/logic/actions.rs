//! What each action of the table does.

use std::path::PathBuf;

use super::super::App;
use super::super::command::{Action, Pick, View};
use super::super::costs::CostsEditor;
use super::super::dialogs;
use super::super::finder::Finder;
use super::super::labeller::Order;
use super::super::theme::{self, Theme};
use super::super::toasts::Level;
use super::super::walk::Walk;
use crate::domain::{ClassId, ImageId, Label};
use crate::labels::Source;
use crate::queue::Strategy;

impl App {
    /// Whether an action can be done; if not, a notice says why.
    pub(super) fn can(&mut self, action: Action) -> bool {
        match action.check(&self.availability()) {
            Ok(()) => true,
            Err(why) => {
                self.toasts.add(Level::Warning, why);
                false
            }
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        // What depends on the current image waits until that is settled.
        let waits = matches!(
            action.row().group,
            super::super::command::Group::Label | super::super::command::Group::Move
        );
        if self.view == View::Label
            && waits
            && let Some(w) = &mut self.workspace
            && w.walk.is_saving()
        {
            w.walk.type_ahead(action);
            return;
        }
        if !self.can(action) {
            return;
        }
        if let Some(digit) = action.digit() {
            let label = self.label_of_digit(digit);
            self.label_targets(label, Source::Key);
            return;
        }
        match action {
            Action::MarkDrift => {
                let label = self.workspace.as_ref().map(|w| w.session.classes().drift());
                self.label_targets(label.map(Label::Class), Source::Key);
            }
            Action::MarkRegular => self.label_targets(Some(Label::Regular), Source::Key),
            Action::ClearLabel => self.label_targets(None, Source::Key),
            Action::Accept => self.accept(),
            Action::LabelDuplicates => {
                let offer = self.workspace.as_ref().and_then(|w| w.offer(self.view));
                if let Some(offer) = offer {
                    self.send_label(offer.images, Some(offer.label), Source::Group);
                }
            }
            Action::Flag => self.flag(),
            Action::Undo => self.undo(Order::Undo),
            Action::Redo => self.undo(Order::Redo),
            Action::ToggleMode => self.drift_mode = !self.drift_mode,
            Action::Skip
            | Action::Next
            | Action::Previous
            | Action::NextUnlabelled
            | Action::PreviousUnlabelled
            | Action::Down
            | Action::Up
            | Action::First
            | Action::Last => self.step(action),
            Action::ToggleZoom
            | Action::Compare
            | Action::ResetContrast
            | Action::SelectAll
            | Action::ClearFilters
            | Action::LargerTiles
            | Action::SmallerTiles
            | Action::Search => self.act_on_view(action),
            Action::ToggleSuggestion => self.settings.suggestion = !self.settings.suggestion,
            Action::ShowBrowse | Action::Gallery => self.show(View::Browse),
            Action::ShowLabel => self.show(View::Label),
            Action::ShowTrain => self.show(View::Train),
            Action::ShowReview => self.show(View::Review),
            Action::ShowDrift => self.show(View::Drift),
            Action::Loupe => self.loupe(),
            Action::ToggleInspector => self.settings.inspector = !self.settings.inspector,
            Action::ToggleTheme => self.set_theme(self.settings.theme.other()),
            Action::Palette => self.finder = Some(Finder::default()),
            Action::Help => self.help = true,
            Action::Back => self.back(),
            Action::Quit => self.ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Action::Close => self.close_workspace(),
            Action::OpenFolder => self.ask(Pick::Folder),
            Action::OpenCsv => self.ask(Pick::Csv),
            Action::ImportLabels => self.ask(Pick::ImportLabels),
            Action::ExportLabels => self.ask(Pick::ExportLabels),
            Action::ExportSubmission => self.ask(Pick::ExportSubmission),
            Action::CancelJob => {
                if let Some(w) = &self.workspace {
                    w.cancel(None);
                }
            }
            Action::StartTraining => self.train_by_form(),
            Action::PauseTraining => self.pause_training(),
            Action::ResumeTraining => {
                let newest = self.workspace.as_ref().map(|w| w.runs.unfinished.first());
                if let Some(dir) = newest.flatten().map(|run| run.dir.clone()) {
                    self.resume_run(&dir);
                    self.show(View::Train);
                }
            }
            Action::StopTraining => self.stop_training(),
            Action::PredictAll => {
                let run = self
                    .workspace
                    .as_ref()
                    .and_then(|w| w.predictions.run.clone());
                if let Some(run) = run {
                    self.predict_split(run, None);
                }
            }
            Action::RetrainDrift => self.retrain_drift(),
            Action::FineTuneDrift => self.start_fine_tune(),
            Action::PickDriftWeights => self.ask(Pick::DriftWeights),
            Action::FindDrift => self.set_queue(Strategy::FindDrift),
            Action::TeachMiss => self.teach_miss(),
            Action::PointCheapest | Action::PointF1 | Action::PointCatch => {
                if let (Some(w), Some(aim)) = (&mut self.workspace, action.aim()) {
                    w.drift.go_to_point(aim);
                }
            }
            Action::KeepThreshold => self.keep_threshold(),
            Action::EditCosts => {
                if let Some(w) = &mut self.workspace {
                    let cost = &w.session.snapshot.cost;
                    w.costs.get_or_insert_with(|| CostsEditor::new(cost));
                }
            }
            Action::ToggleMap => {
                if let Some(w) = &mut self.workspace {
                    w.drift_view.toggle_map();
                }
            }
            // Given by their digit above, or looked at by the view while held.
            Action::Class0
            | Action::Class1
            | Action::Class2
            | Action::Class3
            | Action::Class4
            | Action::Class5
            | Action::Class6
            | Action::Class7
            | Action::Class8
            | Action::Class9
            | Action::HideOverlays => {}
        }
    }

    fn train_by_form(&mut self) {
        let Some(w) = &self.workspace else {
            return;
        };
        let form = w.train_view.form();
        match form.problem().or_else(|| w.cost.problem(&form.plan)) {
            Some(problem) => self.toasts.add(Level::Warning, problem),
            None => {
                let plan = form.plan.clone();
                self.start_training(plan);
            }
        }
    }

    pub(super) fn set_theme(&mut self, theme: Theme) {
        self.settings.theme = theme;
        theme::apply(&self.ctx, theme);
    }

    pub(super) fn picked(&mut self, pick: Pick, path: PathBuf) {
        let order = match pick {
            Pick::Folder | Pick::Csv => return self.open(path.into()),
            Pick::ImportLabels => Order::Import(path),
            Pick::ExportLabels => Order::Export {
                file: path,
                predicted: self
                    .workspace
                    .as_ref()
                    .map(|w| w.predictions.classes())
                    .unwrap_or_default(),
            },
            Pick::ExportSubmission => return self.submit(path),
            Pick::DriftWeights => return self.try_drift_weights(path),
        };
        if let Some(w) = &mut self.workspace
            && w.labeller.send(order).is_none()
        {
            self.lost_labeller();
        }
    }

    fn ask(&mut self, pick: Pick) {
        let folder = self.workspace.as_ref().map(|w| w.path.clone());
        let folder = folder.as_deref().map(|p| {
            if p.is_dir() {
                p
            } else {
                p.parent().unwrap_or(p)
            }
        });
        if let Err(error) = dialogs::ask(pick, folder, &self.commands, self.wake.clone()) {
            let text = format!("The file dialog cannot be opened ({error}).");
            self.toasts.add(Level::Error, text);
        }
    }

    // ---- labels ----

    fn label_of_digit(&self, digit: usize) -> Option<Label> {
        let w = self.workspace.as_ref()?;
        let classes = w.session.classes();
        if !self.availability().drift_mode {
            return Some(Label::Class(ClassId::from(digit)));
        }
        Some(match digit {
            1 => Label::Class(classes.drift()),
            _ => Label::Regular,
        })
    }

    /// What labelling keys act on in the view shown.
    pub(super) fn targets(&self) -> Vec<ImageId> {
        let Some(w) = &self.workspace else {
            return Vec::new();
        };
        match self.view {
            View::Browse => w.browse.targets(),
            View::Label => w.walk.current().into_iter().collect(),
            View::Train => Vec::new(),
            View::Review => w.inspected.into_iter().collect(),
            View::Drift => {
                let selection = w.drift_view.selection();
                if selection.is_empty() {
                    w.inspected.into_iter().collect()
                } else {
                    selection
                }
            }
        }
    }

    pub(super) fn label_targets(&mut self, label: Option<Label>, source: Source) {
        let images = self.targets();
        let source = match (self.view, source) {
            (_, Source::Suggestion) => Source::Suggestion,
            _ if images.len() > 1 => Source::Group,
            (View::Review, _) => Source::Review,
            (View::Label, _) if self.is_repeat() => Source::Repeat,
            (_, source) => source,
        };
        self.send_label(images, label, source);
    }

    /// Whether the image shown is there to be labelled afresh.
    pub(super) fn is_repeat(&self) -> bool {
        let walk = self.workspace.as_ref().map(|w| &w.walk);
        self.view == View::Label && walk.is_some_and(Walk::is_blind)
    }

    pub(super) fn send_label(
        &mut self,
        images: Vec<ImageId>,
        label: Option<Label>,
        source: Source,
    ) {
        let shown = self.settings.suggestion && !self.is_repeat();
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(first) = images.first().copied() else {
            return;
        };
        let known = w.predictions.get(first).is_some();
        let order = Order::Label {
            label,
            source,
            model_run: known.then(|| w.predictions.name.clone()),
            prediction_visible: known && shown,
            images,
        };
        match w.labeller.send(order) {
            Some(ticket) => {
                // Taking a label away stays where it is, to see that it worked.
                if self.view == View::Label && w.walk.current() == Some(first) && label.is_some() {
                    w.walk.begin_saving(ticket);
                }
            }
            None => self.lost_labeller(),
        }
    }

    fn accept(&mut self) {
        let Some(w) = &self.workspace else {
            return;
        };
        let Some(image) = w.walk.current() else {
            return;
        };
        let classes = w.session.classes();
        let Some(all) = w.predictions.combined(image, classes.len()) else {
            return;
        };
        let best = (0..all.len()).max_by(|a, b| all[*a].total_cmp(&all[*b]));
        let label = best.map(|class| Label::Class(ClassId::from(class)));
        self.label_targets(label, Source::Suggestion);
    }

    fn flag(&mut self) {
        let images = self.targets();
        let Some(w) = &mut self.workspace else {
            return;
        };
        let all = images.iter().all(|image| w.session.flagged(*image));
        let mut sent = true;
        for image in images {
            sent &= w.labeller.send(Order::Flag(image, !all)).is_some();
        }
        if !sent {
            self.lost_labeller();
        }
    }

    fn undo(&mut self, order: Order) {
        let in_label = self.view == View::Label;
        let Some(w) = &mut self.workspace else {
            return;
        };
        match w.labeller.send(order) {
            Some(ticket) if in_label => w.walk.begin_saving(ticket),
            Some(_) => {}
            None => self.lost_labeller(),
        }
    }

    pub(super) fn lost_labeller(&mut self) {
        self.toasts.add(
            Level::Error,
            "Labels cannot be written just now; nothing was changed. Close and reopen the data set.",
        );
    }

    // ---- moving ----

    fn step(&mut self, action: Action) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let session = &w.session;
        let open = |image: ImageId| session.label(image).is_none();
        match self.view {
            View::Browse => {
                if let Some(image) = w.browse.step(action, open) {
                    w.inspected = Some(image);
                }
            }
            View::Label => {
                w.walk.step(action, open);
                w.inspected = w.walk.current();
            }
            View::Train | View::Review | View::Drift => {}
        }
    }

    fn act_on_view(&mut self, action: Action) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match action {
            Action::ToggleZoom => w.label.toggle_zoom(),
            Action::Compare => w.label.toggle_compare(!w.neighbours.is_empty()),
            Action::ResetContrast => w.label.reset_levels(),
            Action::SelectAll => w.browse.select_all(),
            Action::ClearFilters => w.browse.clear_filters(),
            Action::LargerTiles => w.browse.scale_tiles(1.25),
            Action::SmallerTiles => w.browse.scale_tiles(0.8),
            Action::Search => {
                self.view = View::Browse;
                w.browse.focus_search();
            }
            _ => {}
        }
    }

    pub(super) fn show(&mut self, view: View) {
        let before = self.view;
        self.view = view;
        let Some(w) = &mut self.workspace else {
            return;
        };
        match view {
            View::Label if w.walk.images().is_empty() => self.set_queue(Strategy::InOrder),
            View::Label => w.inspected = w.walk.current(),
            View::Browse if before != View::Browse => {
                if let Some(image) = w.inspected {
                    w.browse.go_to(image);
                }
            }
            _ => {}
        }
    }

    /// The selected image, large: the queue is what the gallery lists, or what is selected.
    fn loupe(&mut self) {
        let Some(w) = &self.workspace else {
            return;
        };
        if self.view == View::Label {
            return;
        }
        let targets = w.browse.targets();
        match (self.view, w.inspected) {
            (View::Browse, _) if targets.len() > 1 => {
                self.walk_given("selected images".to_owned(), targets, 0);
            }
            (View::Browse, _) => self.set_queue(Strategy::InOrder),
            (_, Some(image)) => {
                let images = w.browse.list().to_vec();
                match images.iter().position(|i| *i == image) {
                    Some(start) => self.walk_given("gallery".to_owned(), images, start),
                    None => self.walk_given("one image".to_owned(), vec![image], 0),
                }
            }
            (_, None) => {}
        }
    }

    fn back(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        match self.view {
            View::Browse => {
                if !w.browse.clear_selection() {
                    w.inspected = None;
                }
            }
            View::Label => {
                if !w.label.back() {
                    self.show(View::Browse);
                }
            }
            View::Drift if w.drift_view.back() => {}
            View::Train | View::Review | View::Drift => self.show(View::Browse),
        }
    }
}
