//! What a user can do: one table. Keys, palette, `?` sheet, buttons and tests all read it.

use std::path::PathBuf;
use std::sync::Arc;

use egui::Key;
use parking_lot::Mutex;

use super::icons::Icon;
use super::keymap::Shortcut;
use super::state::{MapLayout, Truth};
use super::theme::Theme;
use crate::domain::{ClassId, ImageId, Label, Split};
use crate::evaluation::Aim;
use crate::labels::Source;
use crate::project::DriftChoice;
use crate::queue::Strategy;
use crate::training::Plan;
use crate::workflows::OpenRequest;

/// The five views of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// The gallery.
    #[default]
    Browse,
    /// One large image.
    Label,
    /// Training, live.
    Train,
    /// Runs and their mistakes.
    Review,
    /// The drift model.
    Drift,
}

impl View {
    /// All five, in the order of the rail.
    pub const ALL: [Self; 5] = [
        Self::Browse,
        Self::Label,
        Self::Train,
        Self::Review,
        Self::Drift,
    ];

    /// The word on the rail.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Browse => "Browse",
            Self::Label => "Label",
            Self::Train => "Train",
            Self::Review => "Review",
            Self::Drift => "Drift",
        }
    }

    /// The icon on the rail.
    #[must_use]
    pub fn icon(self) -> Icon {
        match self {
            Self::Browse => Icon::Browse,
            Self::Label => Icon::Label,
            Self::Train => Icon::Train,
            Self::Review => Icon::Review,
            Self::Drift => Icon::Drift,
        }
    }

    /// The command that shows it.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::Browse => Action::ShowBrowse,
            Self::Label => Action::ShowLabel,
            Self::Train => Action::ShowTrain,
            Self::Review => Action::ShowReview,
            Self::Drift => Action::ShowDrift,
        }
    }
}

/// Where on the `?` sheet an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Giving labels.
    Label,
    /// From image to image.
    Move,
    /// How the image is shown.
    Image,
    /// The gallery.
    Gallery,
    /// Networks and the drift model.
    Model,
    /// Data sets and files.
    Project,
    /// Views and the window.
    Window,
}

impl Group {
    /// All groups, in the order of the sheet.
    pub const ALL: [Self; 7] = [
        Self::Label,
        Self::Move,
        Self::Image,
        Self::Gallery,
        Self::Model,
        Self::Project,
        Self::Window,
    ];

    /// Its head.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "Label",
            Self::Move => "Move",
            Self::Image => "Image",
            Self::Gallery => "Gallery",
            Self::Model => "Models",
            Self::Project => "Data set",
            Self::Window => "Window",
        }
    }
}

/// Where an action's keys are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every view.
    Everywhere,
    /// Wherever images are shown or selected: all views but Train.
    Images,
    /// In the Label view.
    Label,
    /// In the gallery.
    Browse,
    /// Where many images are shown: all views but Train and Label.
    Lists,
    /// In the Drift view.
    Drift,
}

impl Scope {
    /// Whether the keys are heard in `view`.
    #[must_use]
    pub fn covers(self, view: View) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Images => view != View::Train,
            Self::Label => view == View::Label,
            Self::Browse => view == View::Browse,
            Self::Drift => view == View::Drift,
            Self::Lists => !matches!(view, View::Train | View::Label),
        }
    }

    /// Whether some view hears both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        View::ALL
            .iter()
            .any(|view| self.covers(*view) && other.covers(*view))
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The action.
    pub action: Action,
    /// Its name in the settings file.
    pub id: &'static str,
    /// Its name on screen.
    pub text: &'static str,
    /// Its group on the `?` sheet.
    pub group: Group,
    /// Where its keys are heard.
    pub scope: Scope,
    /// The keys it has unless the settings say otherwise.
    pub keys: &'static [Shortcut],
    /// Its icon, if a button shows it.
    pub icon: Option<Icon>,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $id:literal $text:literal $group:ident $scope:ident [$($key:expr),*] $($icon:ident)?;)*) => {
        /// Something a user can invoke: by key, from the palette, or by a button.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action with its row, in the order of the palette.
            pub const TABLE: &'static [Row] = &[$(Row {
                action: Self::$name,
                id: $id,
                text: $text,
                group: Group::$group,
                scope: Scope::$scope,
                keys: &[$($key),*],
                icon: icon!($($icon)?),
            },)*];
        }
    };
}

macro_rules! icon {
    () => {
        None
    };
    ($name:ident) => {
        Some(Icon::$name)
    };
}

const fn key(key: Key) -> Shortcut {
    Shortcut::plain(key)
}
const fn ctrl(key: Key) -> Shortcut {
    Shortcut::ctrl(key)
}
const fn ctrl_shift(key: Key) -> Shortcut {
    Shortcut::ctrl_shift(key)
}

actions! {
    /// The first class; in drift mode: regular.
    Class0 "class-0" "Label: class 0" Label Images [key(Key::Num0)];
    /// The second class; in drift mode: drift.
    Class1 "class-1" "Label: class 1" Label Images [key(Key::Num1)];
    /// The third class.
    Class2 "class-2" "Label: class 2" Label Images [key(Key::Num2)];
    /// The fourth class.
    Class3 "class-3" "Label: class 3" Label Images [key(Key::Num3)];
    /// The fifth class.
    Class4 "class-4" "Label: class 4" Label Images [key(Key::Num4)];
    /// The sixth class.
    Class5 "class-5" "Label: class 5" Label Images [key(Key::Num5)];
    /// The seventh class.
    Class6 "class-6" "Label: class 6" Label Images [key(Key::Num6)];
    /// The eighth class.
    Class7 "class-7" "Label: class 7" Label Images [key(Key::Num7)];
    /// The ninth class.
    Class8 "class-8" "Label: class 8" Label Images [key(Key::Num8)];
    /// The tenth class.
    Class9 "class-9" "Label: class 9" Label Images [key(Key::Num9)];
    /// Drift, in either mode.
    MarkDrift "drift" "Label: drift" Label Images [key(Key::X)] Drift;
    /// Not drift, class left open, in either mode.
    MarkRegular "regular" "Label: regular, class left open" Label Images [key(Key::P)];
    /// The suggestion becomes the label.
    Accept "accept" "Accept the suggestion" Label Label [key(Key::Enter)] Check;
    /// The label is taken away.
    ClearLabel "clear-label" "Take the label away" Label Images [key(Key::Delete)];
    /// Its label for all near-duplicates that have none.
    LabelDuplicates "label-duplicates" "Label the near-duplicates alike" Label Images [key(Key::N)];
    /// For a colleague.
    Flag "flag" "Flag for a colleague" Label Images [key(Key::F)] Flag;
    /// Takes back the latest decision and returns to its image.
    Undo "undo" "Undo" Label Images [key(Key::Backspace), ctrl(Key::Z)] Undo;
    /// Does it again.
    Redo "redo" "Redo" Label Images [ctrl_shift(Key::Z), ctrl(Key::Y)] Redo;
    /// Drift or regular, instead of classes.
    ToggleMode "drift-mode" "Drift mode: 1 drift, 0 regular" Label Label [key(Key::M)];

    /// Onwards without a label.
    Skip "skip" "Skip" Move Label [key(Key::Space)];
    /// The next image.
    Next "next" "Next image" Move Images [key(Key::ArrowRight)];
    /// The image before.
    Previous "previous" "Previous image" Move Images [key(Key::ArrowLeft)];
    /// The next image without a label.
    NextUnlabelled "next-unlabelled" "Next without a label" Move Images [ctrl(Key::ArrowRight)];
    /// The one before without a label.
    PreviousUnlabelled "previous-unlabelled" "Previous without a label" Move Images [ctrl(Key::ArrowLeft)];
    /// A row down.
    Down "down" "Row below" Move Browse [key(Key::ArrowDown)];
    /// A row up.
    Up "up" "Row above" Move Browse [key(Key::ArrowUp)];
    /// The first image.
    First "first" "First image" Move Images [key(Key::Home)];
    /// The last image.
    Last "last" "Last image" Move Images [key(Key::End)];

    /// Whole image, or one pixel to one pixel at the pointer.
    ToggleZoom "zoom" "Fit or 100 %" Image Label [key(Key::Z)] ZoomFit;
    /// While held.
    HideOverlays "hide-overlays" "Hide overlays while held" Image Label [key(Key::V)] EyeOff;
    /// Blind labels and back.
    ToggleSuggestion "suggestion" "Show or hide the suggestion" Image Label [key(Key::S)] Eye;
    /// Two images side by side.
    Compare "compare" "Compare side by side" Image Label [key(Key::C)] Layers;
    /// Brightness and contrast as in the file.
    ResetContrast "reset-contrast" "Reset brightness and contrast" Image Label [key(Key::R)] Contrast;

    /// All that is listed.
    SelectAll "select-all" "Select all" Gallery Browse [ctrl(Key::A)];
    /// By file name.
    Search "search" "Search by file name" Gallery Everywhere [ctrl(Key::F)] Search;
    /// Everything is listed again.
    ClearFilters "clear-filters" "Clear all filters" Gallery Browse [ctrl(Key::Backspace)] Filter;
    /// Fewer, larger.
    LargerTiles "larger-tiles" "Larger tiles" Gallery Browse [key(Key::Plus), key(Key::Equals)] Plus;
    /// More, smaller.
    SmallerTiles "smaller-tiles" "Smaller tiles" Gallery Browse [key(Key::Minus)] Minus;

    /// The Train view's plan.
    StartTraining "train" "Start training" Model Everywhere [] Play;
    /// Or go on.
    PauseTraining "pause-training" "Pause or resume training" Model Everywhere [] Pause;
    /// The best epoch so far is kept.
    StopTraining "stop-training" "Stop training, keep best" Model Everywhere [] Stop;
    /// The newest that was interrupted.
    ResumeTraining "resume-training" "Resume the interrupted training" Model Everywhere [] Play;
    /// With the model in use.
    PredictAll "predict" "Predict all images with the model in use" Model Everywhere [] Target;
    /// From the labels as they are now.
    RetrainDrift "retrain-drift" "Retrain the drift model" Model Everywhere [ctrl(Key::R)] Refresh;
    /// The study's way: a network of its own, as a job of minutes.
    FineTuneDrift "fine-tune-drift" "Fine-tune a network for drift (minutes)" Model Everywhere [] Train;
    /// A network that was not trained on these classes mostly sees more.
    PickDriftWeights "drift-weights" "Look for drift with pretrained weights…" Model Everywhere [];
    /// Labels a queue that finds drift, dealt anew after each label.
    FindDrift "find-drift" "Label a queue that finds drift" Model Everywhere [ctrl(Key::D)] Label;
    /// Labelled drift and learned at once; then it and its neighbours are looked at.
    TeachMiss "teach-miss" "A miss: label drift, refit, see its neighbours" Model Images [key(Key::T)] Target;
    /// The threshold that is expected to cost least.
    PointCheapest "point-cheapest" "Threshold: cheapest" Model Drift [key(Key::J)];
    /// The threshold with the best F1.
    PointF1 "point-f1" "Threshold: honest F1" Model Drift [key(Key::K)];
    /// The threshold that catches nearly all.
    PointCatch "point-catch" "Threshold: catch 99 %" Model Drift [key(Key::L)];
    /// The project remembers where the threshold is.
    KeepThreshold "keep-threshold" "Keep the moved threshold" Model Drift [key(Key::U)] Check;
    /// What decisions, Review and submissions reckon with.
    EditCosts "costs" "Edit the cost matrix…" Model Everywhere [];
    /// Likeness at a glance, or the ranking.
    ToggleMap "drift-map" "Drift: map or list" Model Drift [key(Key::M)] Drift;

    /// A folder of images.
    OpenFolder "open" "Open a folder…" Project Everywhere [ctrl(Key::O)] Folder;
    /// A table that lists images.
    OpenCsv "open-csv" "Open a CSV…" Project Everywhere [ctrl_shift(Key::O)] Folder;
    /// From a CSV.
    ImportLabels "import-labels" "Import labels…" Project Everywhere [] Import;
    /// To a CSV.
    ExportLabels "export-labels" "Export labels…" Project Everywhere [ctrl(Key::E)] Export;
    /// In the challenge's format.
    ExportSubmission "export-submission" "Export submission…" Project Everywhere [] Export;
    /// Back to the start screen.
    Close "close" "Close the data set" Project Everywhere [ctrl(Key::W)] Close;

    /// The gallery.
    ShowBrowse "browse" "Show Browse" Window Everywhere [ctrl(Key::Num1)] Browse;
    /// One large image.
    ShowLabel "label" "Show Label" Window Everywhere [ctrl(Key::Num2)] Label;
    /// Training.
    ShowTrain "train-view" "Show Train" Window Everywhere [ctrl(Key::Num3)] Train;
    /// Runs and mistakes.
    ShowReview "review" "Show Review" Window Everywhere [ctrl(Key::Num4)] Review;
    /// The drift model.
    ShowDrift "drift-view" "Show Drift" Window Everywhere [ctrl(Key::Num5)] Drift;
    /// From wherever an image is shown.
    Gallery "gallery" "Back to the gallery" Window Images [key(Key::G)] Browse;
    /// The selected image, large.
    Loupe "loupe" "Open the image" Window Lists [key(Key::E), key(Key::Enter)] Image;
    /// The side panel.
    ToggleInspector "inspector" "Show or hide the inspector" Window Everywhere [key(Key::I)] Info;
    /// Dark or light.
    ToggleTheme "theme" "Dark or light theme" Window Everywhere [] Sun;
    /// Everything by name.
    Palette "palette" "Command palette" Window Everywhere [ctrl(Key::P)] Command;
    /// All keys.
    Help "help" "Keys and commands" Window Everywhere [key(Key::Questionmark), key(Key::F1)] Help;
    /// Out of whatever is open.
    Back "back" "Back" Window Everywhere [key(Key::Escape)];
    /// The job in the status bar.
    CancelJob "cancel-job" "Cancel the running job" Window Everywhere [] Close;
    /// Closes the window.
    Quit "quit" "Quit" Window Everywhere [ctrl(Key::Q)];
}

impl Action {
    /// Its row in the table.
    ///
    /// # Panics
    /// Never: every action has a row, by construction.
    #[must_use]
    pub fn row(self) -> &'static Row {
        Self::TABLE
            .iter()
            .find(|row| row.action == self)
            .expect("every action has a row")
    }

    /// The position among the digit keys, for the class actions.
    #[must_use]
    pub fn digit(self) -> Option<usize> {
        let digits = [
            Self::Class0,
            Self::Class1,
            Self::Class2,
            Self::Class3,
            Self::Class4,
            Self::Class5,
            Self::Class6,
            Self::Class7,
            Self::Class8,
            Self::Class9,
        ];
        digits.iter().position(|action| *action == self)
    }

    /// What the threshold is chosen for, by the actions that choose one.
    #[must_use]
    pub fn aim(self) -> Option<Aim> {
        match self {
            Self::PointCheapest => Some(Aim::Cheapest),
            Self::PointF1 => Some(Aim::F1),
            Self::PointCatch => Some(Aim::Catch),
            _ => None,
        }
    }

    /// Whether it can be done now.
    ///
    /// # Errors
    /// A sentence that says why not and what would help.
    pub fn check(self, now: &Availability) -> Result<(), String> {
        let need = |met: bool, sentence: &str| {
            if met {
                Ok(())
            } else {
                Err(sentence.to_owned())
            }
        };
        let open = || need(now.open, "Open a data set first (Ctrl+O).");
        let writable = || match &now.read_only {
            Some(why) => Err(format!("Labels cannot be changed: {why}")),
            None => Ok(()),
        };
        match self {
            Self::OpenFolder
            | Self::OpenCsv
            | Self::ToggleTheme
            | Self::Palette
            | Self::Help
            | Self::Back
            | Self::Quit => Ok(()),
            Self::CancelJob => need(now.job, "No job is running."),
            _ if self.digit().is_some() => {
                open()?;
                let digit = self.digit().unwrap_or_default();
                let limit = if now.drift_mode { 2 } else { now.classes };
                if digit >= limit {
                    return Err(if now.drift_mode {
                        "In drift mode 1 is drift and 0 is regular; M returns to the classes."
                            .to_owned()
                    } else {
                        format!("This data set has {limit} classes, 0 to {}.", limit - 1)
                    });
                }
                need(now.image, "Select an image first.")?;
                writable()
            }
            Self::MarkDrift | Self::MarkRegular | Self::ClearLabel | Self::Flag => {
                open()?;
                need(now.image, "Select an image first.")?;
                writable()
            }
            Self::LabelDuplicates => {
                open()?;
                writable()?;
                need(
                    now.duplicates,
                    "No near-duplicate waits for a label: they are known once the drift model has looked at the \
                     images, and take the label of the image labelled last.",
                )
            }
            Self::Accept => {
                open()?;
                writable()?;
                need(
                    now.suggestion,
                    "There is no suggestion for this image, or it is hidden (S shows it).",
                )
            }
            Self::Undo => {
                open()?;
                writable()?;
                need(now.can_undo, "There is nothing to undo.")
            }
            Self::Redo => {
                open()?;
                writable()?;
                need(now.can_redo, "There is nothing to redo.")
            }
            Self::ImportLabels => {
                open()?;
                writable()
            }
            Self::PauseTraining | Self::StopTraining => need(now.training, "No training runs."),
            Self::ResumeTraining => {
                open()?;
                need(
                    !now.training,
                    "A training runs; wait for its end, or stop it.",
                )?;
                need(now.unfinished, "No training was interrupted here.")
            }
            Self::PredictAll => {
                open()?;
                need(
                    now.model,
                    "No model is in use: train one, or pick a run in Review.",
                )
            }
            Self::RetrainDrift | Self::FindDrift => {
                open()?;
                need(
                    now.model,
                    "The drift model needs a trained network: train one, or pick a run in Review.",
                )
            }
            Self::TeachMiss => {
                open()?;
                need(now.image, "Select an image first.")?;
                writable()?;
                need(
                    now.model,
                    "The drift model needs a trained network: train one, or pick a run in Review.",
                )
            }
            Self::PointCheapest | Self::PointF1 | Self::PointCatch => {
                open()?;
                let place = Aim::ALL.iter().position(|aim| Some(*aim) == self.aim());
                let why_not = place.and_then(|place| now.no_point[place].clone());
                why_not.map_or(Ok(()), Err)
            }
            Self::KeepThreshold => {
                open()?;
                need(
                    now.threshold_moved,
                    "The threshold is where the project has it; move it first.",
                )
            }
            Self::FineTuneDrift => {
                open()?;
                need(
                    now.ranked,
                    "A fine-tuned network is compared with the head: rank the images in Drift first.",
                )?;
                need(
                    !now.fine_tuning,
                    "A fine-tuning runs; wait for its end, or stop it.",
                )
            }
            Self::PickDriftWeights => {
                open()?;
                need(
                    now.model,
                    "The drift model needs a trained network: train one, or pick a run in Review.",
                )
            }
            Self::ExportSubmission => {
                open()?;
                need(
                    now.model,
                    "A submission needs predictions: train a model, or pick a run in Review.",
                )
            }
            _ => open(),
        }
    }
}

/// What decides whether an action can be done: plain facts about the program.
#[derive(Clone, Debug, Default)]
pub struct Availability {
    /// A data set is open.
    pub open: bool,
    /// Why labels cannot be changed, if so.
    pub read_only: Option<String>,
    /// An image is current or selected.
    pub image: bool,
    /// The current image has a visible suggestion.
    pub suggestion: bool,
    /// Near-duplicates of a labelled image have no label.
    pub duplicates: bool,
    /// Something can be undone.
    pub can_undo: bool,
    /// Something can be done again.
    pub can_redo: bool,
    /// A training runs or is paused.
    pub training: bool,
    /// A training was interrupted and can be resumed.
    pub unfinished: bool,
    /// A job that can be cancelled runs.
    pub job: bool,
    /// A trained run is in use.
    pub model: bool,
    /// The features of the drift model are prepared.
    pub ranked: bool,
    /// A network is being fine-tuned for drift.
    pub fine_tuning: bool,
    /// Digit keys mean drift and regular.
    pub drift_mode: bool,
    /// Number of classes, drift included.
    pub classes: usize,
    /// Why there is no operating point, for each of [`Aim::ALL`] that has none.
    pub no_point: [Option<String>; 3],
    /// The threshold is not where the project has it.
    pub threshold_moved: bool,
}

/// What a file dialog is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// A data set's folder.
    Folder,
    /// A data set's table.
    Csv,
    /// A CSV with labels.
    ImportLabels,
    /// Where labels go.
    ExportLabels,
    /// Where the submission goes.
    ExportSubmission,
    /// Pretrained weights to look for drift with.
    DriftWeights,
}

/// Something to be done: what a user invoked, or what a view asks for with all it takes.
#[derive(Clone, Debug)]
pub enum Command {
    /// From the table.
    Act(Action),
    /// Open a folder, a CSV or a project.
    Open(OpenRequest),
    /// A file dialog was answered.
    Picked(Pick, PathBuf),
    /// A file dialog was asked for, and this system has none to show.
    NoDialog,
    /// Give these images a label, or take it away: one step of undo. They stay where they are.
    GiveLabel {
        /// Which.
        images: Vec<ImageId>,
        /// What they show.
        label: Option<Label>,
        /// How it came about.
        source: Source,
    },
    /// Show exactly these images in the gallery, in this order.
    ShowImages {
        /// Where they come from, e.g. `GOOD read as Drift`.
        title: String,
        /// Which.
        images: Vec<ImageId>,
    },
    /// Walk these images in the Label view.
    Walk {
        /// Where they come from.
        title: String,
        /// The queue, frozen from now on.
        images: Vec<ImageId>,
        /// Position to start from.
        start: usize,
    },
    /// Make another queue in the Label view.
    SetQueue(Strategy),
    /// Go to that place of the queue.
    GoTo(usize),
    /// Show an image in the inspector.
    Inspect(Option<ImageId>),
    /// Switch the theme.
    SetTheme(Theme),
    /// Train by this plan; queued while another training runs.
    StartTraining(Box<Plan>),
    /// Time a few steps of the plan in the fields.
    MeasurePace,
    /// Go on with the interrupted training in this folder.
    ResumeRun(PathBuf),
    /// Remove the interrupted training in this folder.
    DiscardRun(PathBuf),
    /// Use this run: its predictions, and the features of the drift model.
    OpenRun(PathBuf),
    /// Predict with a run, streaming in.
    PredictSplit {
        /// The run's folder.
        run: PathBuf,
        /// Which images; all of them for `None`.
        split: Option<Split>,
    },
    /// Show the map of the drift candidates in this layout.
    LayOut(MapLayout),
    /// Where an image counts as drift, `0..=1`.
    SetThreshold(f32),
    /// Read the runs folder again.
    RefreshRuns,
    /// Take a waiting plan out of the queue, by its position.
    DropQueued(usize),
    /// Another look at the run under review.
    Review(ReviewCommand),
    /// Sort the drift ranking by the scores as they are now.
    RerankDrift,
    /// Back to the proposed threshold.
    ProposedThreshold,
    /// Back to the threshold that the project has.
    UnmoveThreshold,
    /// The project decides by this from now on.
    Choose(DriftChoice),
    /// Forget the miss that was followed.
    Unfollow,
    /// Reckon what fine-tuning a network for drift will take.
    ReckonFineTune,
    /// Go on with the interrupted fine-tuning in that folder.
    ResumeFineTune(PathBuf),
    /// Rank by the fine-tuned network, or for `false` by the head.
    RankByNetwork(bool),
    /// Let the training of that number wait, or go on.
    PauseJob(u64),
    /// Cancel the job of that number.
    CancelJob(u64),
}

/// Which side of the run under review is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewCommand {
    /// The images of another split.
    Split(Split),
    /// Held against the labels of the training, or those of now.
    Truth(Truth),
    /// The images of one cell (true, predicted); all mistakes for `None`.
    Cell(Option<(ClassId, ClassId)>),
    /// Compared with this run, or with none.
    Against(Option<PathBuf>),
}

impl From<Action> for Command {
    fn from(action: Action) -> Self {
        Self::Act(action)
    }
}

/// Where views put what is to be done; it is carried out before the next frame. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct CommandSender(Arc<Mutex<Vec<Command>>>);

impl CommandSender {
    /// Asks for something to be done.
    pub fn send(&self, command: impl Into<Command>) {
        self.0.lock().push(command.into());
    }

    /// All that was asked for since, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let ids: HashSet<_> = Action::TABLE.iter().map(|row| row.id).collect();
        let texts: HashSet<_> = Action::TABLE.iter().map(|row| row.text).collect();
        assert_eq!(ids.len(), Action::TABLE.len());
        assert_eq!(texts.len(), Action::TABLE.len());
    }

    #[test]
    fn no_view_hears_one_key_for_two_actions() {
        for (i, a) in Action::TABLE.iter().enumerate() {
            for b in &Action::TABLE[..i] {
                for key in a.keys {
                    let clash = a.scope.overlaps(b.scope) && b.keys.contains(key);
                    assert!(!clash, "{key} means {} and {}", a.id, b.id);
                }
            }
        }
    }

    #[test]
    fn a_and_d_stay_unbound() {
        for row in Action::TABLE {
            for unbound in [key(Key::A), key(Key::D)] {
                assert!(!row.keys.contains(&unbound), "{}", row.id);
            }
        }
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        let nothing = Availability::default();
        for row in Action::TABLE {
            if let Err(sentence) = row.action.check(&nothing) {
                assert!(sentence.ends_with('.'), "{}: {sentence}", row.id);
            }
        }
        let read_only = Availability {
            open: true,
            image: true,
            classes: 7,
            read_only: Some("another window has it open.".to_owned()),
            ..Availability::default()
        };
        let error = Action::Class3.check(&read_only).expect_err("read-only");
        assert!(error.contains("another window"), "{error}");
    }
}
