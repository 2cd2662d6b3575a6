//! What can be said on the command line.

use std::path::PathBuf;

#[cfg(feature = "torch")]
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand};

#[cfg(feature = "torch")]
use crate::domain::Precision;
use crate::workflows::OpenOptions;

/// Label, train, audit and retrain on inspection images.
#[derive(Debug, Parser)]
#[command(name = "driftscope", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub open: OpenArgs,
    /// Print one JSON object on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open the workbench window
    Open(OpenArgs),
    /// Write a made data set in the challenge's own layout
    Sample(SampleArgs),
    /// Say what a data set holds and what is wrong with it
    Info(DataArgs),
    /// Read or write hand labels as CSV
    #[command(subcommand)]
    Label(LabelCommand),
    /// List the models with their parameter counts
    #[cfg(feature = "torch")]
    Models(ModelsArgs),
    /// Fetch published weights, list them, or try a weights file
    #[cfg(feature = "torch")]
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Train a network and print its report on the test split
    #[cfg(feature = "torch")]
    Train(Box<TrainArgs>),
    /// Train every row of the study's table and print it
    #[cfg(feature = "torch")]
    Study(StudyArgs),
    /// Run a trained network over every image of a data set
    #[cfg(feature = "torch")]
    Predict(PredictArgs),
    /// Print the report of a training run
    #[cfg(feature = "torch")]
    Evaluate(EvaluateArgs),
    /// Rank images by drift, or retrain the drift head
    #[cfg(feature = "torch")]
    #[command(subcommand)]
    Drift(DriftCommand),
    /// Write the combined answer of drift gate and network
    #[cfg(feature = "torch")]
    Submit(SubmitArgs),
    /// Play the whole loop in the terminal: train, report, label, retrain drift, submit
    #[cfg(feature = "torch")]
    Demo(DemoArgs),
    /// Measure this machine
    Bench(BenchArgs),
}

#[derive(Debug, ClapArgs)]
pub struct OpenArgs {
    /// A project folder, a data set folder, or a CSV
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, ClapArgs)]
pub struct HowArgs {
    /// Folder that the file names in a CSV are relative to
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Column of the labels in a CSV
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Column of the file names in a CSV
    #[arg(long, value_name = "COLUMN")]
    pub filename_column: Option<String>,
    /// Classes to label with, where the files name none
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Where to keep labels, runs and caches [default: .driftscope in the data set's folder]
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

impl HowArgs {
    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            images: self.images.clone(),
            label_column: self.label_column.clone(),
            filename_column: self.filename_column.clone(),
            classes: self.classes.clone(),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct DataArgs {
    /// A project folder, a data set folder, or a CSV
    pub path: PathBuf,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, ClapArgs)]
pub struct SampleArgs {
    /// The new folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Training images
    #[arg(long, value_name = "N", default_value_t = 8278)]
    pub train: usize,
    /// Test images, among them drift
    #[arg(long, value_name = "N", default_value_t = 1055)]
    pub test: usize,
    /// The same seed gives the same files
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum LabelCommand {
    /// Read hand labels from a CSV: filename,label or the study's layout
    Import {
        #[command(flatten)]
        data: DataArgs,
        /// The CSV
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Write hand labels to a CSV
    Export {
        #[command(flatten)]
        data: DataArgs,
        /// The CSV
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Use the study's layout instead of filename,label
        #[arg(long)]
        study: bool,
        /// A file in the study's layout of which only changed labels differ in the output
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
    },
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct ModelsArgs {
    /// Side of the input in pixels [default: the study's]
    #[arg(long, value_name = "PX")]
    pub size: Option<u32>,
    /// Classes to tell apart
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub classes: usize,
}

#[cfg(feature = "torch")]
#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// Fetch published weights: checked by hash, and going on from where an earlier try broke off
    Fetch(FetchArgs),
    /// List the published weights there are, and which of them are here
    List,
    /// Say what a network makes of a weights file
    Check {
        /// A safetensors file, or a name of `driftscope weights list`
        file: PathBuf,
        /// The network to try it on [default: the one that the file is called after]
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct FetchArgs {
    /// A name of `driftscope weights list`
    pub name: String,
    /// Another hub with the same repositories, such as a mirror of your own
    #[arg(long, value_name = "URL", env = "DRIFTSCOPE_HUB", default_value = crate::workflows::HUB)]
    pub hub: String,
    /// The file itself, wherever it lies, in place of the hub's
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// SHA-256 it has to have [default: what the server announces]
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub sha256: Option<String>,
}

#[cfg(feature = "torch")]
fn sha256(text: &str) -> Result<String, &'static str> {
    let right = crate::workflows::is_sha256(text);
    right
        .then(|| text.to_ascii_lowercase())
        .ok_or("a SHA-256 is 64 hexadecimal digits")
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct TrainArgs {
    /// A project folder, a data set folder, or a CSV [default with --resume: the run's own]
    #[arg(required_unless_present = "resume")]
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub how: HowArgs,
    /// Go on with a run that was stopped or killed: its folder, or its name under the project's runs/
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "model", "size", "preset", "plan", "epochs", "batch", "learning_rate", "patience", "balance", "loss",
        "augmentation", "weights", "monitor", "group_by", "train_per_class", "seed", "threads", "out",
    ])]
    pub resume: Option<PathBuf>,
    /// A model of `driftscope models`
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Side of the input in pixels
    #[arg(long, value_name = "PX")]
    pub size: Option<u32>,
    /// A preset as the starting point
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    pub preset: Option<String>,
    /// A plan in TOML as the starting point
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Epochs at most, of each phase
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Images in one step
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Adam's learning rate, in each phase
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Epochs without improvement before a phase ends
    #[arg(long, value_name = "N")]
    pub patience: Option<usize>,
    /// How to meet the imbalance of the classes
    #[arg(long, value_name = "HOW", value_parser = ["none", "undersample", "weights"])]
    pub balance: Option<String>,
    /// How training images are changed at random: not at all, or as in the study (15 degrees of rotation, 1 of shear, 7 % of zoom)
    #[arg(long, value_name = "HOW", value_parser = ["none", "study"])]
    pub augmentation: Option<String>,
    /// What training lowers
    #[arg(long, value_name = "LOSS", value_parser = ["ce", "cross_entropy", "focal"])]
    pub loss: Option<String>,
    /// Weights to start from: a safetensors file with published names, or a name of `driftscope weights list`
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// What early stopping watches, in each phase
    #[arg(long, value_name = "WHAT", value_parser = ["val_loss", "val_macro_f1"])]
    pub monitor: Option<String>,
    /// Column whose groups are never split
    #[arg(long, value_name = "COLUMN")]
    pub group_by: Option<String>,
    /// Training images of each class at most
    #[arg(long, value_name = "K")]
    pub train_per_class: Option<usize>,
    /// Seeds split, weights and batches
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Threads for libtorch [default: its own choice]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The run's folder [default: a new one under the project's runs/]
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Say what it will take, in minutes and on the disk, and train nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: time a few steps first, where nothing was measured on this machine yet
    #[arg(long, requires = "dry_run")]
    pub measure: bool,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct StudyArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Presets to train [default: all]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub presets: Vec<String>,
    /// Folder with pretrained weights, <model>.safetensors each [default: those that were fetched]
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// Side of the input in pixels [default: the presets']
    #[arg(long, value_name = "PX")]
    pub size: Option<u32>,
    /// Epochs at most, of each phase [default: the presets']
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// How to meet the imbalance of the classes [default: the presets']
    #[arg(long, value_name = "HOW", value_parser = ["none", "undersample", "weights"])]
    pub balance: Option<String>,
    /// How training images are changed at random: not at all, or as in the study [default: the presets']
    #[arg(long, value_name = "HOW", value_parser = ["none", "study"])]
    pub augmentation: Option<String>,
    /// Seeds splits, weights and batches
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Threads for libtorch [default: its own choice]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct PredictArgs {
    /// The run's folder
    pub run: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// The CSV to write: filename, predicted, p_0 … (softmax of the network, before temperature)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only images of this part
    #[arg(long, value_parser = ["train", "validation", "test", "incoming"])]
    pub split: Option<String>,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct EvaluateArgs {
    /// The run's folder, or a project, whose newest run it is then
    pub run: PathBuf,
    /// Digits after the point
    #[arg(long, default_value_t = 4)]
    pub digits: usize,
}

#[cfg(feature = "torch")]
#[derive(Debug, Subcommand)]
pub enum DriftCommand {
    /// Rank the incoming images, likeliest drift first
    Rank(RankArgs),
    /// Fit the drift head on the hand labels and measure it by cross-validation
    Train(RankArgs),
    /// List the near-duplicates among the incoming images and the regular ones that they are compared with
    Groups(GroupsArgs),
    /// Train a run's network on to tell drift, and measure it against the head on the same images
    FineTune(FineTuneArgs),
    /// Hide a class of a labelled set as if it were drift, label by the truth, and measure
    Simulate(SimulateArgs),
    /// Play a labelling session on the incoming images with a table of the truth as the labeller
    Rehearse(RehearseArgs),
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct RehearseArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The run that answers [default: the newest of the project]
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// A CSV filename,label that names the class of every incoming image; a column drift_kind, if there is one, says what
    /// drift is and has a table of its own
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// Labels to give
    #[arg(long, value_name = "N", default_value_t = 150)]
    pub labels: usize,
    /// Seeds the queue
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub seed: u64,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct SimulateArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// The class that plays drift
    #[arg(long, value_name = "NAME")]
    pub drift_class: String,
    /// The network whose features are used
    #[arg(long, value_name = "NAME", default_value = "inception_v3")]
    pub model: String,
    /// Its pretrained weights, a file or a name of `driftscope weights list` [default: those fetched
    /// for the network, else none: a network before any training]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// What the weights expect of the pixels: scale01, minus1_1 or imagenet
    #[arg(long, value_name = "SCALE")]
    pub preprocessing: Option<String>,
    /// Side of the network's input, pixels [default: the study's]
    #[arg(long, value_name = "PX")]
    pub size: Option<u32>,
    /// Keep images that share a value of this column on one side
    #[arg(long, value_name = "COLUMN")]
    pub group_by: Option<String>,
    /// Numbers of labels after which to measure
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "0,10,20,50,100"
    )]
    pub labels: Vec<usize>,
    /// The order in which images are labelled
    #[arg(long, value_enum, default_value_t = QueueOrder::Mixed)]
    pub strategy: QueueOrder,
    /// Share of drift among the images labelled and measured
    #[arg(long, value_name = "P", default_value_t = 0.06, value_parser = drift_share)]
    pub drift_rate: f64,
    /// Random splits
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = some)]
    pub repeats: usize,
    /// Seeds them
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub seed: u64,
}

/// The order of a simulated labelling.
#[cfg(feature = "torch")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum QueueOrder {
    /// The default queue of the workbench
    Mixed,
    /// At random
    Random,
    /// Always the likeliest drift
    Top,
}

/// In what numbers finished networks compute.
#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct PrecisionArgs {
    /// Run networks in fp32, in bf16, or (auto) in bf16 where the processor has it and it gave fp32's answer on
    /// 99.5 % of the run's validation images [default: the project's]
    #[arg(long, value_name = "WHAT", value_parser = precision())]
    pub precision: Option<Precision>,
}

#[cfg(feature = "torch")]
fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).try_map(Precision::try_from)
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct NetworkArgs {
    /// Look for drift with a pretrained network instead of the run: its weights, a file or a name of
    /// `driftscope weights list`. Remembered in the project
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// The architecture of these weights
    #[arg(long, value_name = "NAME", default_value = "inception_v3")]
    pub model: String,
    /// What these weights expect of the pixels, where their file does not say: scale01, minus1_1 or imagenet
    #[arg(long, value_name = "SCALE", requires = "weights")]
    pub preprocessing: Option<String>,
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// Let regular images that are spoiled on purpose (debris, blur, occlusion, shift) stand beside the drift that is
    /// labelled, as weak examples of it, or not [default: as the project has it, else off]
    #[arg(long, value_name = "WHETHER", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "on")]
    pub synthetic_outliers: Option<bool>,
    /// Look for drift in four tiles of the upright strip of ribbons too, where the die of every image is known (column
    /// lib), or not; takes about as long again, with the run's own network up to four times as long [default: as the project has it, else off]
    #[arg(long, value_name = "WHETHER", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "on")]
    pub strip_tiles: Option<bool>,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct RankArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The run whose embeddings are used [default: the newest of the project]
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Write filename,probability,anomaly,label here, and a column for each score
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Images to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The run whose embeddings are used [default: the newest of the project]
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct FineTuneArgs {
    /// A project folder, a data set folder, or a CSV [default with --resume: the run's own]
    #[arg(required_unless_present = "resume")]
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub how: HowArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Go on with a fine-tuning that was stopped or killed: its folder, or its name under the project's runs/
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run", "epochs", "seed", "threads", "dry_run"])]
    pub resume: Option<PathBuf>,
    /// The run to start from [default: the best of the project by macro-F1 on validation images]
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Epochs of each phase at most [default: 12]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Deals the labelled images, draws last layers and batches
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub seed: u64,
    /// Threads for libtorch [default: its own choice]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Say what it will take, and train nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct SubmitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The run that answers [default: the newest of the project]
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Probability from which the answer is drift, the likeliest class below it, 0 to 1 [default: the project's, or whichever answer costs least by its cost matrix]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub threshold: Option<f64>,
    /// Share of drift among the incoming images that this submission reckons with, above 0 and below 1 [default: the project's, or that of its random sample]
    #[arg(long, value_name = "P", value_parser = drift_share)]
    pub drift_rate: Option<f64>,
    /// Let a hand label be the answer for its image
    #[arg(long)]
    pub use_hand_labels: bool,
    /// The submission
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[cfg(feature = "torch")]
fn some(text: &str) -> Result<usize, &'static str> {
    let count = text.parse().ok();
    count
        .filter(|count| *count > 0)
        .ok_or("a whole number from 1 on")
}

#[cfg(feature = "torch")]
fn probability(text: &str) -> Result<f64, &'static str> {
    let probability = text.parse().ok();
    probability
        .filter(|p| (0.0..=1.0).contains(p))
        .ok_or("a probability lies between 0 and 1")
}

#[cfg(feature = "torch")]
fn drift_share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok();
    share
        .filter(|share| *share > 0.0 && *share < 1.0)
        .ok_or("a share of drift lies above 0 and below 1")
}

#[cfg(feature = "torch")]
#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// A made data set
    #[arg(default_value = "data/sample")]
    pub path: PathBuf,
    /// Where to keep what the demo makes [default: .driftscope in the data set's folder]
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct BenchArgs {
    /// What to measure; train runs steps of the small networks at the study's size; startup opens the window and closes it again, and is part of all where there is a display
    #[arg(value_parser = ["startup", "open", "gallery", "label", "drift", "decode", "train", "infer", "checkpoint", "all"], default_value = "all")]
    pub what: String,
    /// The data set to measure on; a made one in a temporary folder when not given
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
}
