//! The workbench window: `logic` changes the state, `ui` paints it, views send commands.

pub mod background;
pub mod command;
pub mod context;
pub mod costs;
mod dialogs;
pub mod duplicates;
pub mod filter;
pub mod finder;
pub mod help;
pub mod icons;
mod inspector;
pub mod keymap;
pub mod labeller;
mod logic;
mod measure;
pub mod predictions;
pub mod session;
pub mod settings;
mod start;
pub mod state;
mod status;
pub mod textures;
pub mod theme;
pub mod toasts;
mod ui;
pub mod views;
pub mod walk;
pub mod widgets;
mod window;
mod workspace;

pub use self::measure::measure;
pub use self::window::WindowError;

use std::path::PathBuf;
use std::sync::Arc;

use self::background::{Numbers, Slot};
use self::command::{Command, CommandSender, View};
use self::finder::Finder;
use self::keymap::Keymap;
use self::labeller::Labeller;
use self::logic::Opened;
use self::settings::Settings;
use self::start::Start;
use self::toasts::{Level, Toasts};
use self::workspace::Workspace;
use crate::jobs::Wake;
use crate::training::TrainEvent;
use crate::workflows::{OpenRequest, RunSummary, trials_file};

/// The whole window. Owns all state; only `logic` changes it.
pub struct App {
    ctx: egui::Context,
    wake: Wake,
    commands: CommandSender,
    settings: Settings,
    settings_file: Option<PathBuf>,
    /// Where it is kept how long steps take on this machine; nothing is timed without.
    trials_file: Option<PathBuf>,
    /// What the file holds, as far as we know.
    settings_saved: Settings,
    keymap: Keymap,
    view: View,
    start: Start,
    opening: Option<OpenRequest>,
    open: Slot<(), Opened>,
    save_settings: Slot<(), ()>,
    numbers: Numbers,
    workspace: Option<Workspace>,
    /// Of the data set closed last, until its labels are written and its store is free again.
    parting: Option<Labeller>,
    /// Likewise its training, until its state is written.
    parting_training: Slot<TrainEvent, RunSummary>,
    drift_mode: bool,
    toasts: Toasts,
    finder: Option<Finder>,
    help: bool,
    /// The user asked to close, and labels or the state of a training are still being written.
    closing: bool,
}

impl App {
    /// A window without a data set. Settings come from `settings_file` and go back there; without one
    /// nothing is remembered.
    #[must_use]
    pub fn new(ctx: &egui::Context, settings_file: Option<PathBuf>) -> Self {
        let (settings, notice) = match &settings_file {
            Some(path) => Settings::load(path),
            None => (Settings::default(), None),
        };
        let (keymap, key_notices) = Keymap::with(&settings.keys);
        theme::apply(ctx, settings.theme);
        let repaint = ctx.clone();
        let mut toasts = Toasts::default();
        for sentence in notice.into_iter().chain(key_notices) {
            toasts.add(Level::Warning, sentence);
        }
        Self {
            ctx: ctx.clone(),
            wake: Arc::new(move || repaint.request_repaint()),
            commands: CommandSender::default(),
            settings_saved: settings.clone(),
            settings,
            settings_file,
            trials_file: None,
            keymap,
            view: View::default(),
            start: Start::default(),
            opening: None,
            open: Slot::default(),
            save_settings: Slot::default(),
            numbers: Numbers::default(),
            workspace: None,
            parting: None,
            parting_training: Slot::default(),
            drift_mode: false,
            toasts,
            finder: None,
            help: false,
            closing: false,
        }
    }

    /// From now on a few steps are timed before a training whose pace is not known, and kept in `file`.
    pub fn keep_trials_in(&mut self, file: PathBuf) {
        self.trials_file = Some(file);
    }

    /// Where anybody may ask for something to be done, as the views do.
    #[must_use]
    pub fn commands(&self) -> CommandSender {
        self.commands.clone()
    }

    /// The view shown.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// The open data set as the views see it.
    #[must_use]
    pub fn session(&self) -> Option<&session::Session> {
        self.workspace.as_ref().map(|w| &w.session)
    }

    /// The queue of the Label view.
    #[must_use]
    pub fn walk(&self) -> Option<&walk::Walk> {
        self.workspace.as_ref().map(|w| &w.walk)
    }

    /// The training that runs, or ran last.
    #[must_use]
    pub fn training(&self) -> Option<&state::TrainState> {
        self.workspace.as_ref().map(|w| &w.train)
    }

    /// The drift network that is fine-tuned, or was last.
    #[must_use]
    pub fn fine_tune(&self) -> Option<&state::FineTuneState> {
        self.workspace.as_ref().map(|w| &w.fine_tune)
    }

    /// What the model in use says of each image, if a data set is open.
    #[must_use]
    pub fn predictions(&self) -> Option<&predictions::Predictions> {
        self.workspace.as_ref().map(|w| &w.predictions)
    }

    /// All runs.
    #[must_use]
    pub fn runs(&self) -> Option<&state::RunsState> {
        self.workspace.as_ref().map(|w| &w.runs)
    }

    /// The run under review, if a data set is open.
    #[must_use]
    pub fn review(&self) -> Option<&state::ReviewState> {
        self.workspace.as_ref().map(|w| &w.review)
    }

    /// The drift model, if a data set is open.
    #[must_use]
    pub fn drift(&self) -> Option<&state::DriftState> {
        self.workspace.as_ref().map(|w| &w.drift)
    }

    /// The images that the gallery lists.
    #[must_use]
    pub fn listed(&self) -> &[crate::domain::ImageId] {
        self.workspace.as_ref().map_or(&[], |w| w.browse.list())
    }

    /// Sentences on screen: notices, and why nothing could be opened.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let start = self.start.error.iter().map(String::as_str);
        let notices = self.toasts.texts().chain(start);
        notices.map(str::to_owned).collect()
    }

    /// Whether nothing is under way: no file being opened or read, no label being written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let quiet = |w: &Workspace| w.labeller.is_idle() && w.jobs().is_empty();
        self.opening.is_none() && self.workspace.as_ref().is_none_or(quiet)
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.logic(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.paint(ui);
    }

    fn on_exit(&mut self, _: Option<&eframe::glow::Context>) {
        self.finish();
    }
}

/// Opens the window, with the data set of `request` if there is one, and returns when it is closed.
///
/// # Errors
/// [`WindowError`] where there is no display, or no way to draw on it.
pub fn run(request: Option<&OpenRequest>) -> Result<(), WindowError> {
    window::run(&|creation| {
        let mut app = App::new(&creation.egui_ctx, Settings::default_path());
        if let Some(file) = trials_file() {
            app.keep_trials_in(file);
        }
        if let Some(request) = request {
            app.commands.send(Command::Open(request.clone()));
        }
        Box::new(app)
    })
}
