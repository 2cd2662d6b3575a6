//! What happens between two frames: threads are read, keys become commands, commands are carried out.
//! Nothing here paints, and nothing here waits.

mod actions;
mod costs;
mod decisions;
mod fine_tune;
mod map;
mod models;
mod queues;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use egui::Event;

use super::App;
use super::background::End;
use super::command::{Action, Availability, Command, View};
use super::labeller::{Answer, Did, Labeller, Order, Ticket};
use super::session::Session;
use super::start;
use super::textures::Textures;
use super::toasts::Level;
use super::workspace::Workspace;
use crate::domain::ImageId;
use crate::evaluation::Aim;
use crate::imaging::{Loader, ThumbnailStore};
use crate::jobs::StopReason;
use crate::labels::{Current, Repeats};
use crate::project::{Project, Snapshot};
use crate::workflows::{self, OpenRequest};

/// A freshly opened project and what of it was prepared on the thread.
pub(super) struct Opened {
    project: Project,
    snapshot: Snapshot,
    read_only: Option<String>,
    current: HashMap<ImageId, Current>,
    repeats: Repeats,
    thumbnails: Arc<ThumbnailStore>,
}

impl Opened {
    fn new(project: Project) -> Self {
        let snapshot = project.snapshot();
        let read_only = project.read_only().map(str::to_owned);
        let manifest = &project.manifest;
        let current = manifest
            .ids()
            .filter_map(|id| {
                let current = project.labels.get(&manifest.get(id).key)?;
                Some((id, current.clone()))
            })
            .collect();
        // A store that cannot be read tells so with the next label.
        let repeats = project.labels.repeats().unwrap_or_default();
        let thumbnails = if read_only.is_some() {
            ThumbnailStore::without_file()
        } else {
            workflows::open_thumbnails(&snapshot)
        };
        Self {
            project,
            snapshot,
            read_only,
            current,
            repeats,
            thumbnails: Arc::new(thumbnails),
        }
    }
}

impl App {
    /// Everything but painting. Called before each frame, and while the window is hidden.
    pub fn logic(&mut self, ctx: &egui::Context) {
        self.drain_open();
        self.drain_workspace();
        self.drain_models();
        self.drain_submit();
        self.drain_fine_tune();
        // What was typed before goes before what is typed in this frame.
        self.carry_out_typed();
        self.read_drops(ctx);
        self.read_keys(ctx);
        for command in self.commands.take() {
            self.carry_out(command);
        }
        self.carry_out_typed();
        self.ask_details();
        self.ask_neighbours();
        self.watch_cost(ctx);
        self.watch_map();
        self.toasts.tick(ctx.input(|i| i.time));
        self.remember_settings();
        self.watch_close(ctx);
    }

    // ---- threads ----

    fn drain_open(&mut self) {
        if let Some(End::Failed(sentence)) = self.save_settings.try_end() {
            self.toasts.add(Level::Warning, sentence);
        }
        let Some(end) = self.open.try_end() else {
            self.start_opening();
            return;
        };
        let request = self.opening.take().unwrap_or_default();
        let path = request.path;
        match end {
            End::Done(opened) => match self.take_in(&path, opened) {
                Ok(workspace) => {
                    self.settings.remember(&path);
                    self.start.error = None;
                    self.workspace = Some(workspace);
                    self.view = View::Browse;
                    if !request.options.classes.is_empty() {
                        // Classes were named in order to label with them.
                        self.commands.send(Action::ShowLabel);
                    }
                    self.refresh_runs();
                    self.find_drift_runs();
                }
                Err(sentence) => self.start.error = Some(sentence),
            },
            End::Cancelled => {}
            End::Failed(sentence) => {
                if self.workspace.is_some() {
                    self.toasts.add(Level::Error, sentence);
                } else {
                    self.start.error = Some(sentence);
                }
            }
        }
    }

    fn take_in(&mut self, path: &Path, opened: Opened) -> Result<Workspace, String> {
        let no_thread = |error: std::io::Error| {
            format!(
                "The system gives no more threads ({error}); close other programs and try again."
            )
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let loader = Loader::new(
            threads.saturating_sub(1).clamp(1, 4),
            self.wake.clone(),
            opened.thumbnails.clone(),
        )
        .map_err(no_thread)?;
        let textures = Textures::new(&self.ctx, self.wake.clone()).map_err(no_thread)?;
        let mut session = Session::new(opened.snapshot.clone(), opened.read_only, opened.current);
        let project = &opened.project;
        for problem in (project.cost_problem().into_iter()).chain(project.labels_without_image()) {
            self.toasts.add(Level::Warning, problem);
        }
        let labels = &opened.project.labels;
        session.saved = labels.saved();
        session.can_undo = labels.can_undo();
        session.can_redo = labels.can_redo();
        session.set_repeats(opened.repeats);
        let labeller = Labeller::spawn(opened.project, self.wake.clone()).map_err(no_thread)?;
        let tile = self.settings.tile;
        let mut w = Workspace::new(path.to_owned(), session, labeller, loader, textures, tile);
        let thumbnails = opened.thumbnails;
        w.scan.start(
            &mut self.numbers,
            "reading images",
            true,
            &self.wake,
            move |ctx, events| {
                workflows::scan(&opened.snapshot, &thumbnails, ctx, &mut |batch| {
                    events.send(batch);
                })
            },
        )?;
        Ok(w)
    }

    fn drain_workspace(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        w.drain_loader();
        while let Some(batch) = w.scan.try_event() {
            w.session.add_facts(batch);
        }
        match w.scan.try_end() {
            Some(End::Done(summary)) => {
                if let Some(problem) = summary.cache_problem {
                    self.toasts.add(Level::Warning, problem);
                }
            }
            Some(End::Failed(sentence)) => self.toasts.add(Level::Error, sentence),
            Some(End::Cancelled) | None => {}
        }
        let mut labels_changed = false;
        while let Some((ticket, answer)) = w.labeller.try_answer() {
            labels_changed |= Self::take_answer(w, &mut self.toasts, self.view, ticket, answer);
        }
        if let Some(Err(sentence)) = w.labeller.try_end() {
            w.session.read_only = Some(sentence.clone());
            self.toasts.add(Level::Error, sentence);
        }
        if labels_changed {
            self.refit(false);
        }
    }

    /// Takes in what the label thread says; true if labels changed.
    fn take_answer(
        w: &mut Workspace,
        toasts: &mut super::toasts::Toasts,
        view: View,
        ticket: Ticket,
        answer: Answer,
    ) -> bool {
        let mut labels_changed = false;
        match answer {
            Answer::Done {
                did,
                changed,
                saved,
                can_undo,
                can_redo,
                repeats,
            } => {
                if let Some(repeats) = repeats {
                    w.session.set_repeats(repeats);
                }
                labels_changed = !changed.is_empty() && did != Did::Flagged;
                let images: Vec<ImageId> = changed.iter().map(|(image, _)| *image).collect();
                w.labels_changed(changed);
                w.session.saved = saved;
                w.session.can_undo = can_undo;
                w.session.can_redo = can_redo;
                let awaited = w.walk.end_saving(ticket);
                if let ([image], Did::Labelled) = (&images[..], &did) {
                    w.labelled_last = Some(*image);
                }
                match did {
                    Did::Labelled if awaited => {
                        if !w.walk.advance_beyond(&images) {
                            toasts.add(Level::Info, "That was the last image of this queue.");
                            w.walk.forget_typed();
                        }
                        if view == View::Label {
                            w.inspected = w.walk.current();
                        }
                    }
                    Did::Reverted(images) => {
                        let first = images.first().copied();
                        if let Some(image) = first {
                            if view == View::Label && !w.walk.go_to(image) {
                                let key = &w.session.entry(image).key;
                                let text = format!("Undone for {key}, which is not in this queue.");
                                toasts.add(Level::Info, text);
                            } else if view == View::Browse {
                                w.browse.go_to(image);
                            }
                            w.inspected = first;
                        }
                        if images.len() > 1 {
                            let text = format!("Undone for {} images.", images.len());
                            toasts.add(Level::Info, text);
                        }
                    }
                    Did::Nothing => toasts.add(Level::Info, "There is nothing to undo or redo."),
                    Did::Imported(text) | Did::Exported(text) => toasts.add(Level::Good, text),
                    Did::Labelled | Did::Flagged | Did::Chosen => {}
                }
            }
            Answer::Failed(sentence) => {
                w.walk.end_saving(ticket);
                w.walk.forget_typed();
                toasts.add(Level::Error, sentence);
            }
            Answer::History(image, events) => w.session.set_history(image, events),
        }
        labels_changed
    }

    /// Asks for what the inspector shows of its image and is not known yet.
    fn ask_details(&mut self) {
        let Some(w) = &mut self.workspace else {
            return;
        };
        let Some(image) = w.inspected else {
            return;
        };
        let wanted = (image, w.session.generation);
        if w.session.history(image).is_none()
            && w.history_asked != Some(wanted)
            && w.labeller.send(Order::History(image)).is_some()
        {
            w.history_asked = Some(wanted);
        }
    }

    // ---- the user ----

    fn read_drops(&mut self, ctx: &egui::Context) {
        let dropped = ctx.input(|i| i.raw.dropped_files.first().map(|f| f.path().to_owned()));
        if let Some(path) = dropped {
            self.commands.send(Command::Open(path.into()));
        }
    }

    fn read_keys(&mut self, ctx: &egui::Context) {
        let costs = self.workspace.as_ref().is_some_and(|w| w.costs.is_some());
        if self.finder.is_some() || self.help || costs {
            return;
        }
        let typing = ctx.text_edit_focused();
        let view = self.view;
        let mut found = Vec::new();
        ctx.input_mut(|input| {
            input.events.retain(|event| {
                let Event::Key { modifiers, key, .. } = event else {
                    return true;
                };
                // In a text field only commands with Ctrl that text fields have no use for.
                let reserved = !modifiers.command
                    || matches!(
                        key,
                        egui::Key::A
                            | egui::Key::Z
                            | egui::Key::Y
                            | egui::Key::Backspace
                            | egui::Key::ArrowLeft
                            | egui::Key::ArrowRight
                    );
                if typing && reserved {
                    return true;
                }
                match self.keymap.action(event, view) {
                    Some(Action::HideOverlays) | None => true,
                    Some(action) => {
                        found.push(action);
                        false
                    }
                }
            });
        });
        for action in found {
            self.commands.send(action);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Act(action) => self.act(action),
            Command::Open(request) => self.open(request),
            Command::Picked(pick, path) => self.picked(pick, path),
            Command::NoDialog => self.toasts.add(
                Level::Error,
                "This system shows no file dialog: neither a desktop portal nor zenity answers. Drop the \
                 folder or file on this window, or use the command line: driftscope open PATH, \
                 driftscope label import|export, driftscope submit."
                    .to_owned(),
            ),
            Command::GiveLabel {
                images,
                label,
                source,
            } => {
                if self.can(Action::ClearLabel) {
                    self.send_label(images, label, source);
                }
            }
            Command::ShowImages { title, images } => {
                if let Some(w) = &mut self.workspace {
                    w.browse.show_only(title, images);
                    self.view = View::Browse;
                }
            }
            Command::Walk {
                title,
                images,
                start,
            } => self.walk_given(title, images, start),
            Command::SetQueue(kind) => self.set_queue(kind),
            Command::GoTo(place) => {
                if let Some(w) = &mut self.workspace {
                    w.walk.go(place);
                    w.inspected = w.walk.current();
                }
            }
            Command::Inspect(image) => {
                if let Some(w) = &mut self.workspace {
                    w.inspected = image;
                }
            }
            Command::SetTheme(theme) => self.set_theme(theme),
            Command::CancelJob(id) => {
                if let Some(w) = &self.workspace {
                    w.cancel(Some(id));
                }
            }
            Command::ReckonFineTune => self.reckon_fine_tune(),
            Command::RankByNetwork(network) => self.rank_by_network(network),
            Command::PauseJob(id) => self.pause_job(id),
            Command::StartTraining(plan) => self.start_training(*plan),
            Command::MeasurePace => self.measure_pace(),
            Command::ResumeRun(dir) => self.resume_run(&dir),
            Command::DiscardRun(dir) => self.discard_run(&dir),
            Command::ResumeFineTune(dir) => self.resume_fine_tune(&dir),
            Command::OpenRun(run) => self.open_run(run),
            Command::PredictSplit { run, split } => self.predict_split(run, split),
            Command::RefreshRuns => self.refresh_runs(),
            Command::Review(command) => self.review_command(command),
            Command::DropQueued(place) => {
                if let Some(w) = &mut self.workspace
                    && place < w.train.queued.len()
                {
                    w.train.queued.remove(place);
                }
            }
            Command::LayOut(layout) => {
                if let Some(w) = &mut self.workspace {
                    w.drift.map.ask(layout);
                }
            }
            Command::Choose(choice) => self.choose(&choice),
            Command::SetThreshold(_)
            | Command::ProposedThreshold
            | Command::UnmoveThreshold
            | Command::Unfollow
            | Command::RerankDrift => {
                if let Some(w) = &mut self.workspace {
                    match command {
                        Command::SetThreshold(at) => w.drift.set_threshold(at),
                        Command::ProposedThreshold => w.drift.reset_threshold(),
                        Command::UnmoveThreshold => w.drift.unmove(),
                        Command::Unfollow => w.drift.unfollow(),
                        _ => w.drift.rerank(),
                    }
                }
            }
        }
    }

    /// What was typed while a label was being saved, up to the next label.
    fn carry_out_typed(&mut self) {
        while let Some(action) = self.workspace.as_mut().and_then(|w| w.walk.next_typed()) {
            self.act(action);
        }
    }

    fn open(&mut self, request: OpenRequest) {
        if self.opening.is_some() {
            self.toasts
                .add(Level::Warning, "A data set is being opened already.");
            return;
        }
        self.close_workspace();
        self.start.error = None;
        self.opening = Some(request);
        self.start_opening();
    }

    /// Opens what is to be opened, once the data set closed before is free again.
    fn start_opening(&mut self) {
        if !self.has_parted() {
            return;
        }
        let Some(request) = self.opening.clone().filter(|_| !self.open.is_running()) else {
            return;
        };
        let title = format!("opening {}", start::short(&request.path));
        let started = self
            .open
            .start(&mut self.numbers, &title, false, &self.wake, move |_, _| {
                let project = workflows::open(&request)?;
                Ok(Opened::new(project))
            });
        if let Err(sentence) = started {
            self.opening = None;
            self.start.error = Some(sentence);
        }
    }

    pub(super) fn close_workspace(&mut self) {
        if let Some(mut w) = self.workspace.take() {
            w.close();
            self.parting = Some(w.labeller);
            self.parting_training = w.train_job;
        }
        self.view = View::Browse;
    }

    /// Whether everything of the data set closed before is on disk: its labels, and the state of its training.
    fn has_parted(&mut self) -> bool {
        while self.parting_training.try_event().is_some() {}
        if self.parting_training.is_running() && self.parting_training.try_end().is_none() {
            return false;
        }
        if let Some(parting) = &mut self.parting {
            while parting.try_answer().is_some() {}
            match parting.try_end() {
                None => return false,
                Some(Ok(())) => {}
                Some(Err(sentence)) => self.toasts.add(Level::Error, sentence),
            }
            self.parting = None;
        }
        true
    }

    // ---- what is possible now ----

    /// The facts that decide what can be done.
    pub(super) fn availability(&self) -> Availability {
        let Some(w) = &self.workspace else {
            return Availability::default();
        };
        let image = match self.view {
            View::Browse => w.browse.has_targets(),
            View::Label => w.walk.current().is_some(),
            View::Drift => w.inspected.is_some() || !w.drift_view.selection().is_empty(),
            View::Train | View::Review => w.inspected.is_some(),
        };
        let suggestion = w
            .walk
            .current()
            .filter(|_| self.settings.suggestion && !self.is_repeat())
            .is_some_and(|image| w.predictions.get(image).is_some());
        Availability {
            open: true,
            read_only: w.session.read_only.clone(),
            image,
            suggestion,
            duplicates: w.offer(self.view).is_some(),
            can_undo: w.session.can_undo || !w.labeller.is_idle(),
            can_redo: w.session.can_redo || !w.labeller.is_idle(),
            training: w.train_job.is_running(),
            unfinished: !w.runs.unfinished.is_empty(),
            job: w.jobs().iter().any(|job| job.can_cancel),
            model: w.predictions.run.is_some(),
            ranked: w.drift_session.is_some(),
            fine_tuning: w.fine_tune_job.is_running(),
            drift_mode: self.view == View::Drift || (self.view == View::Label && self.drift_mode),
            classes: w.session.classes().len(),
            no_point: Aim::ALL.map(|aim| w.drift.why_no_point(aim)),
            threshold_moved: w.drift.is_moved(),
        }
    }

    // ---- leaving ----

    fn remember_settings(&mut self) {
        if let Some(w) = &self.workspace {
            self.settings.tile = w.browse.tile;
        }
        let Some(path) = &self.settings_file else {
            return;
        };
        let busy = self.ctx.input(|i| i.pointer.any_down());
        if self.settings == self.settings_saved || busy || self.save_settings.is_running() {
            return;
        }
        self.settings_saved = self.settings.clone();
        let (settings, path) = (self.settings.clone(), path.clone());
        let started = self.save_settings.start(
            &mut self.numbers,
            "settings",
            false,
            &self.wake,
            move |_, _: &crate::jobs::Sender<()>| {
                if let Err(error) = settings.save(&path) {
                    tracing::warn!("settings not saved to {}: {error}", path.display());
                }
                Ok(())
            },
        );
        if let Err(sentence) = started {
            self.toasts.add(Level::Warning, sentence);
        }
    }

    /// The window stays until every label sent is on disk, and so is the state of the training that runs.
    fn watch_close(&mut self, ctx: &egui::Context) {
        let asked = ctx.input(|i| i.viewport().close_requested());
        if asked && let Some(w) = &self.workspace {
            w.train_job.stop(StopReason::Closing);
        }
        let quiet = |w: &Workspace| w.labeller.is_idle() && !w.train_job.is_running();
        let idle = self.has_parted() && self.workspace.as_ref().is_none_or(quiet);
        if asked && !idle {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.closing = true;
        } else if self.closing && idle {
            ctx.send_viewport_cmd(egui::ViewportCommand::Close);
        }
    }

    /// Lets every thread end; labels that were sent are written first.
    pub(super) fn finish(&mut self) {
        self.close_workspace();
        if let Some(parting) = self.parting.take() {
            parting.join();
        }
    }
}
