//! The Train, Review and Drift views with made data: what they look like, and what they ask for.
#![cfg(feature = "kittest")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;

use driftscope::app::command::{Action, Availability, Command, CommandSender, ReviewCommand};
use driftscope::app::keymap::{Keymap, Keys};
use driftscope::app::state::{
    CostState, DriftEvent, DriftState, FineTuneState, MapLayout, NeighbourMap, ReviewState,
    RunsState, TrainState,
};
use driftscope::app::theme::{self, Theme};
use driftscope::app::views::drift::{DriftData, DriftView};
use driftscope::app::views::panel::PanelContext;
use driftscope::app::views::review::{ReviewData, ReviewView};
use driftscope::app::views::train::{TrainData, TrainView};
use driftscope::app::widgets::thumb_grid::Thumbs;
use driftscope::domain::{
    ClassId, ClassSet, CostMatrix, ImageId, Label, Precision, Prediction, Split,
};
use driftscope::drift::{
    Decision, DuplicateGroups, EmbeddingView, cheapest, combine, prior_shifted, regret,
};
use driftscope::evaluation::{
    Aim, ConfusionMatrix, CvPlan, GateCosts, Gated, PairedReport, Report, cross_validate,
    operating_point,
};
use driftscope::jobs;
use driftscope::labels::Repeats;
use driftscope::project::{DriftChoice, DriftNetwork};
use driftscope::training::{
    Balance, Disk, EpochMetrics, Pace, PaceBook, PhaseStart, Plan, Progress, Setting, Source,
    SplitCounts, TrainEvent, ValidationPrediction, estimate, preset,
};
use driftscope::workflows::{
    Choice, Decided, DriftRate, DriftResult, DriftRun, DriftRunRow, DriftScore, FineTuneEvent,
    FineTunePwa, FollowUp, ImageGroups, PlanCost, Review, ReviewRow, RunSummary,
    UnfinishedFineTune, UnfinishedRun, Verdict,
};
use egui::{Color32, Rect, pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use jiff::Zoned;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Grey gradients with a bar at an angle: different enough to tell apart.
struct Pictures;

impl Thumbs for Pictures {
    fn paint(&self, ui: &egui::Ui, rect: Rect, image: ImageId) {
        let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        painter.rect_filled(rect, 3.0, Color32::from_gray(225));
        let angle = 0.7 + 0.4 * image.0 as f32;
        let half = egui::vec2(angle.cos(), angle.sin()) * rect.width() * 0.6;
        let stroke = egui::Stroke::new(rect.width() * 0.22, Color32::from_gray(70));
        painter.line_segment([rect.center() - half, rect.center() + half], stroke);
    }

    fn name(&self, image: ImageId) -> String {
        format!("{:04}.png", image.0)
    }
}

/// Whatever a view needs beside its own data.
struct World {
    theme: Theme,
    commands: CommandSender,
    available: Availability,
    keys: Keymap,
    classes: ClassSet,
    cost: CostMatrix,
    now: Zoned,
    train: TrainState,
    estimate: CostState,
    runs: RunsState,
    review: ReviewState,
    drift: DriftState,
    groups: ImageGroups,
    fine_tune: FineTuneState,
    network: Option<DriftNetwork>,
    precision: Precision,
    inspected: Option<ImageId>,
    repeats: Repeats,
    preparing: Option<jobs::Progress>,
    labelled: Vec<usize>,
    train_view: TrainView,
    review_view: ReviewView,
    drift_view: DriftView,
}

#[derive(Clone, Copy)]
enum Which {
    Train,
    Review,
    Drift,
}

impl World {
    fn new() -> Self {
        let (classes, cost) = (ClassSet::challenge(), CostMatrix::challenge());
        Self {
            theme: Theme::Dark,
            commands: CommandSender::default(),
            available: Availability {
                open: true,
                image: true,
                model: true,
                training: true,
                classes: 7,
                ..Availability::default()
            },
            keys: Keymap::default(),
            now: "2026-03-04T13:20:00[UTC]".parse().unwrap(),
            train: TrainState::default(),
            estimate: CostState::default(),
            runs: RunsState::default(),
            review: ReviewState::new(classes.clone(), cost.clone()),
            drift: DriftState::default(),
            groups: ImageGroups::default(),
            fine_tune: FineTuneState::default(),
            network: None,
            precision: Precision::Auto,
            inspected: None,
            repeats: Repeats::default(),
            preparing: None,
            labelled: vec![1235, 71, 270, 104, 6472, 126],
            classes,
            cost,
            train_view: TrainView::default(),
            review_view: ReviewView::default(),
            drift_view: DriftView::default(),
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, which: Which) {
        let palette = self.theme.palette();
        let rect = ui.max_rect();
        ui.painter()
            .rect_filled(rect.expand(20.0), 0.0, palette.background);
        let cx = PanelContext {
            palette,
            commands: &self.commands,
            available: &self.available,
            keys: &self.keys,
            classes: &self.classes,
            cost: &self.cost,
            thumbs: &Pictures,
            now: &self.now,
            inspected: self.inspected,
        };
        match which {
            Which::Train => {
                let data = TrainData {
                    train: &self.train,
                    estimate: &self.estimate,
                    runs: &self.runs,
                    in_use: None,
                    labelled: &self.labelled,
                    columns: &["lib".to_owned(), "window".to_owned()],
                };
                self.train_view.ui(ui, &cx, &data);
            }
            Which::Review => {
                let data = ReviewData {
                    review: &self.review,
                    runs: &self.runs,
                };
                self.review_view.ui(ui, &cx, &data);
            }
            Which::Drift => {
                let known = |image: ImageId| {
                    let class = ClassId((image.0 % 5) as u8);
                    (Some(class), Some(class))
                };
                let data = DriftData {
                    drift: &self.drift,
                    fine_tune: &self.fine_tune,
                    runs: &self.runs,
                    known: &known,
                    groups: &self.groups,
                    offer: None,
                    network: self.network.as_ref(),
                    precision: self.precision,
                    synthetic_outliers: false,
                    strip_tiles: false,
                    repeats: &self.repeats,
                    preparing: self.preparing.as_ref(),
                };
                self.drift_view.ui(ui, &cx, &data);
            }
        }
    }
}

fn harness(world: World, which: Which) -> Harness<'static, World> {
    let mut fonts = false;
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1060.0, 800.0))
        .with_max_steps(8)
        .with_render_cursor(false)
        .build_ui_state(
            move |ui, world: &mut World| {
                if !fonts {
                    theme::apply(ui.ctx(), world.theme);
                    fonts = true;
                    ui.ctx().request_discard("fonts");
                    return;
                }
                world.ui(ui, which);
            },
            world,
        );
    harness.run();
    harness
}

fn sent(harness: &Harness<'_, World>) -> Vec<Command> {
    harness.state().commands.take()
}

fn plan() -> Plan {
    Plan {
        balance: Balance::Weights,
        epochs: 60,
        ..Plan::default()
    }
}

const SUPPORT: [usize; 6] = [238, 15, 57, 13, 316, 17];

/// Validation answers: nearly all right, a few typical mistakes.
fn answers(seed: u64) -> Vec<ValidationPrediction> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut list = Vec::new();
    for (class, n) in SUPPORT.into_iter().enumerate() {
        for _ in 0..n {
            let wrong = rng.random_bool(if class == 4 { 0.01 } else { 0.09 });
            let answer = if wrong {
                [4, 0, 3, 2, 0, 0][class]
            } else {
                class
            };
            let p: f32 = rng.random_range(0.45..0.999);
            let mut probabilities = vec![(1.0 - p) / 5.0; 6];
            probabilities[answer] = p;
            list.push(ValidationPrediction {
                image: ImageId::from(list.len()),
                actual: class,
                prediction: Prediction { probabilities },
            });
        }
    }
    list
}

fn confusion(list: &[ValidationPrediction]) -> ConfusionMatrix {
    let pairs = list
        .iter()
        .map(|p| (ClassId::from(p.actual), p.prediction.class()));
    ConfusionMatrix::from_pairs(6, pairs)
}

fn report(seed: u64) -> Report {
    let names = ClassSet::challenge().regular_names();
    Report::new(
        names,
        confusion(&answers(seed)),
        &CostMatrix::challenge(),
        1,
    )
    .unwrap()
}

fn running(world: &mut World, epochs: usize) {
    world.train.apply(&TrainEvent::Started {
        plan: Box::new(plan()),
        classes: world.classes.regular_names(),
        train_counts: vec![790, 45, 173, 67, 4142, 81],
        validation_counts: SUPPORT.to_vec(),
        steps_per_epoch: 166,
        weights: None,
    });
    world.train.apply(&TrainEvent::Phase(PhaseStart {
        phase: 1,
        phases: 1,
        trainable: "all".into(),
        parameters: 20_171_846,
        epochs: plan().epochs,
        epochs_before: 0,
        learning_rate: 1e-3,
        cache: None,
    }));
    for epoch in 1..=epochs {
        let t = epoch as f64;
        let wave = (t * 1.7).sin() * 0.012;
        let predictions = answers(9);
        let confusion = confusion(&predictions);
        world.train.apply(&TrainEvent::Epoch(Box::new(EpochMetrics {
            epoch,
            phase: 1,
            learning_rate: 1e-3,
            train_loss: 1.4 * (-t / 7.0).exp() + 0.08,
            train_accuracy: 0.9,
            train_macro_f1: 0.97 - 0.6 * (-t / 6.0).exp(),
            val_loss: 1.3 * (-t / 8.0).exp() + 0.16 + wave,
            val_accuracy: 0.9,
            val_macro_f1: 0.94 - 0.6 * (-t / 6.0).exp() + wave,
            val_f1: confusion.per_class().iter().map(|m| m.f1).collect(),
            best: epoch + 3 <= epochs || epoch == 1,
            patience_left: 4,
            seconds: 148.0,
            train_seconds: 131.0,
            confusion,
            predictions,
        })));
    }
    world.train.apply(&TrainEvent::Step {
        epoch: epochs + 1,
        step: 103,
        loss: 0.11,
        images_per_s: 36.0,
    });
}

fn run(name: &str, created: &str, model: &str, seed: u64) -> RunSummary {
    RunSummary {
        name: name.to_owned(),
        dir: PathBuf::from(name),
        plan: Plan {
            model: model.to_owned(),
            ..plan()
        },
        created: created.to_owned(),
        best_epoch: 27,
        epochs: 34,
        seconds: 5_520.0 / seed as f64,
        report: report(seed),
        warnings: Vec::new(),
        labels: Vec::new(),
        bf16_agreement: None,
    }
}

fn runs(world: &mut World) {
    world.runs.set(vec![
        run("0304-cnn03", "2026-03-04T13:20:00+01:00", "cnn03", 1),
        run("0304-cnn02", "2026-03-04T11:02:00+01:00", "cnn02", 2),
        run("0303-cnn01", "2026-03-03T17:45:00+01:00", "cnn01", 3),
    ]);
}

fn review(name: &str, seed: u64) -> Arc<Review> {
    let rows = answers(seed)
        .into_iter()
        .map(|p| ReviewRow {
            image: p.image,
            split: Split::Test,
            label: ClassId::from(p.actual),
            prediction: p.prediction,
        })
        .collect();
    Arc::new(Review {
        run: run(name, "2026-03-04T13:20:00+01:00", "cnn03", seed),
        classes: ClassSet::challenge().regular_names(),
        rows,
        gone: 0,
    })
}

/// A thousand images, one in twelve drift, of which `labels` carry a label.
fn drift_result(labels: usize, seed: u64) -> (Arc<DriftResult>, Vec<(ImageId, Option<bool>)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let truth: Vec<bool> = (0..1055).map(|_| rng.random_bool(0.08)).collect();
    let mut noise = ChaCha8Rng::seed_from_u64(seed);
    let scores: Vec<f32> = truth
        .iter()
        .map(|d| {
            let spread: f32 = (0..4).map(|_| noise.random_range(-0.11..0.11_f32)).sum();
            (if *d { 0.76 } else { 0.17 } + spread).clamp(0.001, 0.999)
        })
        .collect();
    let given: Vec<Option<bool>> = (0..1055).map(|i| (i < labels).then(|| truth[i])).collect();
    let quality = cross_validate(&given, &CvPlan::default(), |rows| {
        Ok::<_, std::fmt::Error>(rows.iter().map(|r| f64::from(scores[*r])).collect())
    })
    .map_err(|e| e.to_string());
    let head = quality.is_ok();
    let count = |kind| given.iter().filter(|l| **l == Some(kind)).count();
    let result = DriftResult {
        scores: (0..1055)
            .map(|i| DriftScore {
                image: ImageId::from(i),
                probability: head.then_some(scores[i]),
                anomaly: scores[i],
            })
            .collect(),
        quality,
        head_problem: None,
        n_drift: count(true),
        n_regular: count(false),
        milliseconds: 38.0,
    };
    let events = (0..labels).map(|i| (ImageId::from(i), given[i])).collect();
    (Arc::new(result), events)
}

/// What follows from such a fit under the challenge's costs, the network all but sure of its class.
fn decided(result: &DriftResult, labels: &[(ImageId, Option<bool>)]) -> Decided {
    let cost = CostMatrix::challenge();
    let rate = DriftRate {
        assumed: 0.08,
        given: false,
        images: 24,
        drift: 1,
    };
    let class = |image: ImageId| ClassId((image.0 % 5) as u8);
    let gated: Vec<Gated> = labels
        .iter()
        .filter_map(|(image, drift)| {
            let score = result.scores[image.index()].probability?;
            Some(Gated {
                score: f64::from(score),
                drift: (*drift)?,
                costs: Some(GateCosts::new(&cost, (*drift)?, None, class(*image))),
            })
        })
        .collect();
    let point = |aim| operating_point(&gated, &[], aim, rate.assumed).map_err(|e| e.to_string());
    let verdict = |score: &DriftScore| {
        let stated = f64::from(score.probability.unwrap_or(0.0));
        let drift = prior_shifted(stated, rate.assumed);
        let mut regular = vec![0.0; 6];
        regular[class(score.image).index()] = 1.0;
        let all = combine(drift, &regular);
        let cheapest = cheapest(&cost, &all);
        Verdict {
            image: score.image,
            score: stated,
            drift,
            cheapest,
            class: class(score.image),
            regrets: [cheapest.answer(), class(score.image), ClassId(6)]
                .map(|answer| regret(&cost, &all, answer)),
        }
    };
    Decided {
        unadjusted: false,
        rate,
        look: 100.0,
        head_temperature: Some(1.31),
        run_temperature: Some(1.2),
        points: Aim::ALL.map(|aim| (aim, point(aim))).to_vec(),
        verdicts: result.scores.iter().map(verdict).collect(),
    }
}

fn teach(world: &mut World, labels: &[usize]) {
    world
        .drift
        .apply(DriftEvent::Preparing("0304-cnn03".into()));
    for (fit, n) in labels.iter().enumerate() {
        let (result, events) = drift_result(*n, 3 + fit as u64);
        let decided = decided(&result, &events);
        world.drift.apply(DriftEvent::Labelled(events));
        world.drift.apply(DriftEvent::Fitted {
            result,
            rerank: true,
        });
        world.drift.apply(DriftEvent::Decided(Arc::new(decided)));
    }
}

/// What `plan` takes where every image takes 10 ms to learn from, and other work in proportion; told as known
/// from `source`. The same on every machine.
fn cost(plan: &Plan, source: Source, free: u64) -> PlanCost {
    let phases = plan.resolved_phases();
    let pace = |at: usize, kept| Pace {
        setting: Setting::of(plan, &phases[at], kept, 1).unwrap(),
        learn_s: 0.01 * (at + 1) as f64,
        measure_s: 0.004 * (at + 1) as f64,
        body_s: Some(0.05),
        answer_s: Some(0.06),
    };
    let mut book = PaceBook::default();
    book.add(
        source,
        (0..phases.len()).flat_map(|at| [pace(at, true), pace(at, false)]),
    );
    let images = SplitCounts {
        train: 5298,
        validation: 1324,
        test: 1656,
    };
    let disk = Disk {
        free,
        older: 0,
        pixels: 135_600_000,
        kept: &[],
    };
    let mut cost = estimate(plan, 6, images, disk, 1, &book).unwrap();
    cost.source = source;
    let choice = |name: &str, times: f64| Choice {
        name: name.to_owned(),
        at_most_s: cost.at_most_s * times,
        disk: 1_000_000_000,
        source: Source::Estimated,
    };
    let sizes = if plan.size == 128 {
        [("at 224 px", 3.4), ("at 299 px", 6.1)]
    } else {
        [("at 128 px", 0.2), ("at 224 px", 0.6)]
    };
    let others = [("undersampled", 0.15), ("augmented", 1.05)];
    let choices = sizes
        .into_iter()
        .chain(others)
        .map(|(name, times)| choice(name, times))
        .collect();
    PlanCost {
        warnings: Vec::new(),
        cost,
        machine: "a processor, 2 cores".to_owned(),
        choices,
        trial_s: 12.0,
    }
}

fn ask(world: &mut World, plan: &Plan, answer: Result<PlanCost, String>) {
    world.estimate.ask(plan, &world.labelled, 0.0);
    world.estimate.set(answer);
}

const ROOM: u64 = 52_000_000_000;

#[test]
fn what_it_takes_stands_beside_the_button_that_starts_it() {
    let mut world = World::new();
    let plan = Plan::default();
    ask(&mut world, &plan, Ok(cost(&plan, Source::Trial, ROOM)));
    // 100 epochs of 5,298 x 10 ms and 1,324 x 4 ms, and 6,954 answers of 60 ms.
    let seconds = 100.0 * (52.98 + 5.296) + 417.24;
    assert!((world.estimate.of(&plan).unwrap().cost.at_most_s - seconds).abs() < 1e-6);
    let harness = harness(world, Which::Train);
    harness.get_by_label_contains("at most 1 h 44 min; it runs in the background");
    harness.get_by_label("measured on this machine");
    harness.get_by_label("3,312,710");
    assert!(harness.query_by_label_contains("Measure now").is_none());
}

#[test]
fn an_estimate_says_so_and_offers_to_measure() {
    let mut world = World::new();
    let plan = Plan::default();
    ask(&mut world, &plan, Ok(cost(&plan, Source::Estimated, ROOM)));
    let mut harness = harness(world, Which::Train);
    harness.get_by_label_contains("estimated, not measured on this machine yet");
    harness.get_by_label("Measure now, 12 s").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::MeasurePace]),
        "{asked:?}"
    );
    harness.state_mut().estimate.trial = Some((7, 0.4));
    harness.run();
    harness.get_by_label_contains("Timing a few steps on this machine: 40 %");
    harness.get_by_label("Cancel").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::CancelJob(7)]),
        "{asked:?}"
    );
}

#[test]
fn too_few_labels_keep_a_training_from_starting_and_say_why() {
    let mut world = World::new();
    let why =
        "class \"Flat loop\" has 1 image, and needs 3 to be in each of train, validation and test";
    ask(&mut world, &Plan::default(), Err(why.to_owned()));
    let mut harness = harness(world, Which::Train);
    harness.get_by_label_contains("Class \"Flat loop\" has 1 image");
    harness.get_by_label("Start training").click();
    harness.run();
    assert!(sent(&harness).is_empty());
}

#[test]
fn a_failed_training_says_why_once_and_nothing_stale() {
    let mut world = World::new();
    world.train.begin(plan());
    world.train.fail("The disk is full.");
    let harness = harness(world, Which::Train);
    assert_eq!(
        harness
            .query_all_by_label_contains("The disk is full.")
            .count(),
        1
    );
    harness.get_by_label_contains("It ended before its first epoch did.");
    // What is kept is the sentence's to say: the best weights may be.
    for stale in [
        "Nothing of it was kept",
        "first epoch is running",
        "patience left",
        "img/s",
    ] {
        assert!(harness.query_by_label_contains(stale).is_none(), "{stale}");
    }
}

#[test]
fn a_plan_as_text_has_the_room_there_is() {
    let mut harness = harness(World::new(), Which::Train);
    harness.get_by_label("Edit as TOML").click();
    harness.run();
    let field = harness.get_by_role(egui::Role::MultilineTextInput);
    assert!(field.rect().height() > 500.0, "{}", field.rect().height());
    harness.get_by_label("Fields").click();
    harness.run();
    harness.get_by_label("Patience");
}

#[test]
fn a_training_is_started_with_the_plan_in_the_fields() {
    let mut harness = harness(World::new(), Which::Train);
    harness.get_by_label("Start training").click();
    harness.run();
    let sent = sent(&harness);
    let [Command::StartTraining(plan)] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(**plan, Plan::default());
}

#[test]
fn a_plan_that_makes_no_sense_cannot_be_started() {
    let mut harness = harness(World::new(), Which::Train);
    harness.get_by_label("Patience").focus();
    harness.get_by_label("Patience").set_value_accesskit(0.0);
    harness.run();
    harness.get_by_label_contains("patience = 0");
    harness.get_by_label("Start training").click();
    harness.run();
    assert!(sent(&harness).is_empty());
}

#[test]
fn a_running_training_is_paused_and_stopped() {
    let mut world = World::new();
    running(&mut world, 12);
    let mut harness = harness(world, Which::Train);
    for (button, action) in [
        ("Pause", Action::PauseTraining),
        ("Stop, keep best", Action::StopTraining),
    ] {
        harness.get_by_label(button).click();
        harness.run();
        let sent = sent(&harness);
        assert!(
            matches!(sent.as_slice(), [Command::Act(a)] if *a == action),
            "{sent:?}"
        );
    }
    harness.state_mut().train.set_paused(true);
    harness.run();
    harness.get_by_label("Resume").click();
    harness.run();
    assert_eq!(sent(&harness).len(), 1);
}

#[test]
fn an_interrupted_training_is_resumed_or_after_a_second_click_removed() {
    let mut world = World::new();
    world.runs.unfinished = vec![UnfinishedRun {
        name: "0304-cnn03".to_owned(),
        dir: PathBuf::from("0304-cnn03"),
        plan: plan(),
        created: "2026-03-04T13:20:00+01:00".to_owned(),
        progress: Some(Progress {
            epochs: 3,
            steps: 12,
        }),
    }];
    let mut harness = harness(world, Which::Train);
    harness.get_by_label_contains("It goes on in epoch 4, after step 12.");
    harness.get_by_label("Resume it").click();
    harness.run();
    let resumed = sent(&harness);
    let here = |dir: &PathBuf| dir == &PathBuf::from("0304-cnn03");
    assert!(
        matches!(resumed.as_slice(), [Command::ResumeRun(dir)] if here(dir)),
        "{resumed:?}"
    );
    harness.get_by_label("Discard").click();
    harness.run();
    assert!(sent(&harness).is_empty(), "not at the first click");
    harness.get_by_label("Remove for good").click();
    harness.run();
    let removed = sent(&harness);
    assert!(
        matches!(removed.as_slice(), [Command::DiscardRun(dir)] if here(dir)),
        "{removed:?}"
    );
    // While another training runs it waits.
    running(harness.state_mut(), 2);
    harness.run();
    harness.get_by_label("Resume it").click();
    harness.run();
    assert!(sent(&harness).is_empty());
}

#[test]
fn a_second_training_is_queued_and_can_be_taken_back() {
    let mut world = World::new();
    running(&mut world, 2);
    world.train.queued.push(plan());
    let mut harness = harness(world, Which::Train);
    harness.get_by_label("Remove").click();
    harness.get_by_label("New run").click();
    harness.run();
    harness.get_by_label("Queue this run").click();
    harness.run();
    let sent = sent(&harness);
    assert!(
        matches!(
            sent.as_slice(),
            [Command::DropQueued(0), Command::StartTraining(_)]
        ),
        "{sent:?}"
    );
}

#[test]
fn a_live_cell_shows_its_images() {
    let mut world = World::new();
    running(&mut world, 12);
    let matrix = world.train.confusion.clone().unwrap();
    let n = matrix.count(ClassId(0), ClassId(4));
    let mut harness = harness(world, Which::Train);
    harness
        .get_by_label(&format!("true GOOD predicted Missing: {n}"))
        .click();
    harness.run();
    harness.get_by_label(&format!("{n} images of GOOD answered Missing"));
    let pictures = |label: &str| harness.query_all_by_label_contains(label).count();
    // Pictures end with their file name, which begins with a digit; cells of the matrix have a colon.
    assert!(pictures("true GOOD predicted Missing ") > 0);
    assert_eq!(pictures("true GOOD predicted GOOD "), 0);
}

#[test]
fn a_confusion_cell_asks_for_its_images_and_a_label_key_row_fixes_one() {
    let mut world = World::new();
    runs(&mut world);
    world.review.open(review("0304-cnn03", 1), |_| None);
    let report = world.review.report().unwrap().unwrap();
    let n = report.confusion.count(ClassId(0), ClassId(4));
    let mut harness = harness(world, Which::Review);
    harness
        .get_by_label(&format!("true GOOD predicted Missing: {n}"))
        .click();
    harness.run();
    let asked = sent(&harness);
    let cell = (ClassId(0), ClassId(4));
    assert!(
        matches!(asked.as_slice(), [Command::Review(ReviewCommand::Cell(Some(c)))] if *c == cell),
        "{asked:?}"
    );
    harness.state_mut().review.set_cell(Some(cell));
    harness.run();
    let shown: Vec<_> = harness
        .query_all_by_label_contains("true GOOD predicted Missing ")
        .collect();
    assert_eq!(shown.len() as u64, n);
    shown[0].click();
    harness.run();
    let asked = sent(&harness);
    let [Command::Inspect(Some(image))] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    let image = *image;
    assert_eq!(harness.state().review.images().next().unwrap().image, image);
    harness.state_mut().inspected = Some(image);
    harness.run();
    harness.get_by_label("Label as Missing").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::GiveLabel { images, label: Some(Label::Class(ClassId(4))), .. }]
            if images.as_slice() == [image]),
        "{asked:?}"
    );
}

#[test]
fn split_and_truth_are_switched() {
    let mut world = World::new();
    runs(&mut world);
    world.review.open(review("0304-cnn03", 1), |_| None);
    let mut harness = harness(world, Which::Review);
    harness.get_by_label("validation").click();
    harness.get_by_label("labels now").click();
    harness.run();
    assert_eq!(sent(&harness).len(), 2);
}

#[test]
fn the_threshold_is_dragged_and_moved_by_key() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[223, 243]);
    let before = world.drift.threshold().unwrap();
    let mut harness = harness(world, Which::Drift);
    let line = harness.get_by_label("Threshold").rect();
    let at = |share: f32| pos2(line.left() + share * line.width(), line.center().y);
    harness.drag_at(at(before));
    harness.run_steps(2);
    harness.hover_at(at(0.8));
    harness.run_steps(2);
    harness.drop_at(at(0.8));
    harness.run();
    let moved: Vec<f32> = sent(&harness)
        .into_iter()
        .filter_map(|c| match c {
            Command::SetThreshold(t) => Some(t),
            _ => None,
        })
        .collect();
    let last = *moved.last().unwrap();
    assert!((last - 0.8).abs() < 0.01, "{moved:?}");
    harness.state_mut().drift.set_threshold(last);
    harness.get_by_label("Threshold").focus();
    harness.run();
    harness.key_press(egui::Key::ArrowLeft);
    harness.run();
    let moved = sent(&harness);
    assert!(
        matches!(moved.as_slice(), [Command::SetThreshold(t)] if (*t - (last - 0.01)).abs() < 1e-5),
        "{moved:?}"
    );
}

#[test]
fn an_operating_point_is_one_click_and_says_how_far_it_can_be_trusted() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let n_drift = world.drift.label_counts().0;
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label_contains("each judged by a threshold chosen without it");
    harness.get_by_label("L  catch 99 %").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::PointCatch)]),
        "{asked:?}"
    );
    let drift = &mut harness.state_mut().drift;
    drift.go_to_point(Aim::Catch);
    let at = drift.threshold().unwrap();
    assert!(drift.misses().is_empty(), "all labelled drift is caught");
    let point = drift.point(Aim::Catch).unwrap().unwrap();
    assert!((f64::from(at) - point.threshold).abs() < 1e-6);
    assert_eq!(point.figures.n_drift, n_drift as u64);
    harness.run();
    harness.get_by_label_contains(&format!("{n_drift} of {n_drift}"));
}

#[test]
fn buttons_name_the_keys_as_they_are_bound() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let bind = |action: &str, key: &str| (action.to_owned(), Keys::One(key.to_owned()));
    let none = ("point-f1".to_owned(), Keys::Many(Vec::new()));
    let changes = [
        bind("point-catch", "Ctrl+L"),
        bind("keep-threshold", "W"),
        none,
    ];
    let (keys, notices) = Keymap::with(&changes.into());
    assert!(notices.is_empty(), "{notices:?}");
    world.keys = keys;
    world.drift.set_threshold(0.2);
    let harness = harness(world, Which::Drift);
    for text in [
        "J  cheapest",
        "honest F1",
        "Ctrl+L  catch 99 %",
        "W  Keep 0.20",
    ] {
        harness.get_by_label(text);
    }
}

#[test]
fn a_moved_threshold_shows_which_images_change_side() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let settled = world.drift.threshold().unwrap();
    let mut harness = harness(world, Which::Drift);
    assert!(harness.query_by_label_contains("Change side").is_none());
    harness.state_mut().drift.set_threshold(0.2);
    harness.run();
    let flips = harness.state().drift.flips();
    assert!(!flips.is_empty());
    harness.get_by_label(&format!("Change side {}", flips.len()));
    harness.get_by_label_contains(&format!("drift now, against the threshold {settled:.2}"));
    // The pictures listed are those, the nearest first, and a click shows one.
    let name = format!("{:04}.png", flips[0].image.0);
    harness.get_by_label_contains(&name).click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Inspect(Some(image))] if *image == flips[0].image),
        "{asked:?}"
    );
    harness.state_mut().available.threshold_moved = true;
    harness.run();
    harness.get_by_label("U  Keep 0.20").click();
    harness.run();
    harness
        .get_by_label(&format!("Back to {settled:.2}"))
        .click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(
            asked.as_slice(),
            [
                Command::Act(Action::KeepThreshold),
                Command::UnmoveThreshold
            ]
        ),
        "{asked:?}"
    );
    harness.state_mut().drift.unmove();
    harness.run();
    harness.get_by_label("Most likely drift");
}

#[test]
fn a_miss_is_taught_and_what_became_of_it_and_its_neighbours_is_said() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    world.drift.set_threshold(0.76);
    world.drift.settle();
    let misses = world.drift.misses();
    assert!(!misses.is_empty());
    let mut harness = harness(world, Which::Drift);
    harness
        .get_by_label(&format!("Missed {}", misses.len()))
        .click();
    harness.run();
    let name = format!("{:04}.png", misses[0].image.0);
    harness.get_by_label_contains(&name);
    harness.get_by_label("T  Teach the selected miss").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::TeachMiss)]),
        "{asked:?}"
    );
    let drift = &mut harness.state_mut().drift;
    drift.follow(misses[0].image);
    let near: Vec<(ImageId, f32)> = drift.ranked().take(3).map(|i| (i.image, 0.9)).collect();
    drift.apply(DriftEvent::Followed(FollowUp {
        image: misses[0].image,
        learned: 0.97,
        neighbours: near,
    }));
    harness.run();
    harness.get_by_label_contains("would still miss it");
    harness.get_by_label_contains("Of 3 images most like it 3 lie at or above the threshold, 0 of");
    harness.get_by_label_contains(&format!("caught now · {name}"));
    harness.get_by_label("Done").click();
    harness.run();
    assert!(matches!(sent(&harness).as_slice(), [Command::Unfollow]));
}

#[test]
fn images_that_need_a_person_are_counted_and_listed_and_what_they_hang_on_is_edited() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let review = world.drift.review(ClassId(6));
    assert!(!review.is_empty());
    assert!(review.is_sorted_by(|a, b| a.1 >= b.1), "the dearest first");
    let outcomes = world.drift.outcomes(ClassId(6));
    assert_eq!(outcomes.class + outcomes.drift + outcomes.review, 1055);
    let verdicts = &world.drift.decided().unwrap().verdicts;
    let hedges = |v: &&Verdict| matches!(v.cheapest, Decision::NeedsReview(_));
    let dear = |v: &&Verdict| v.regrets[0] > 100.0;
    let expected = verdicts.iter().filter(|v| hedges(v) || dear(v)).count();
    assert_eq!(outcomes.review, expected);
    let mut harness = harness(world, Which::Drift);
    let chip = format!("Needs review {}", review.len());
    harness.get_by_label(&chip).click();
    harness.run();
    harness.get_by_label_contains(&format!("{:04}.png", review[0].0.image.0));
    harness.get_by_label_contains("Random sample: 1 of 24 drift, 0.7–20.2 %");
    // The number is typed, and counts once the field is left.
    let field = harness.get_by_role_and_label(egui::accesskit::Role::SpinButton, "assumed drift");
    field.focus();
    harness.run();
    harness.key_press(egui::Key::ArrowUp);
    harness.run();
    assert!(sent(&harness).is_empty(), "not while it is being edited");
    harness.key_press(egui::Key::Tab);
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Choose(DriftChoice::Rate(Some(rate)))] if *rate > 0.08),
        "{asked:?}"
    );
}

#[test]
fn several_images_are_labelled_at_once() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let first: Vec<ImageId> = world.drift.ranked().take(3).map(|i| i.image).collect();
    let mut harness = harness(world, Which::Drift);
    let name = |image: ImageId| format!("{:04}.png", image.0);
    harness.get_by_label_contains(&name(first[0])).click();
    harness.run();
    harness
        .get_by_label_contains(&name(first[2]))
        .click_modifiers(egui::Modifiers::SHIFT);
    harness.run();
    sent(&harness);
    harness.get_by_label("1  Drift").click();
    harness.run();
    let asked = sent(&harness);
    let [Command::GiveLabel { images, label, .. }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    let mut first = first;
    first.sort();
    assert_eq!((images, *label), (&first, Some(Label::Class(ClassId(6)))));
}

/// The thousand images of [`teach`] on a map, the drift ones apart on the right, and 150 to compare with.
fn lay_out(world: &mut World) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (result, _) = drift_result(0, 3);
    let mut round = |x: f32, y: f32, wide: f32| {
        let off: [f32; 2] = [0, 1].map(|_| (0..3).map(|_| rng.random_range(-wide..wide)).sum());
        [x + off[0], y + off[1]]
    };
    let groups = [(-3.0, 0.5), (-1.5, -1.5), (-2.0, 2.0)];
    let mut places: Vec<[f32; 2]> = result
        .scores
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let (x, y) = groups[i % 3];
            if s.anomaly > 0.5 {
                round(2.5, 0.5, 0.25)
            } else {
                round(x, y, 0.4)
            }
        })
        .collect();
    places.extend((0..150).map(|i| round(groups[i % 3].0, groups[i % 3].1, 0.5)));
    let images = (0..1055).map(ImageId::from).collect();
    world.drift.map.set(images, Ok(places));
}

fn mapped(labels: &[usize]) -> World {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, labels);
    lay_out(&mut world);
    world.drift_view.toggle_map();
    world
}

/// Draws a lasso through `corners`, given as shares of the map's width and height.
fn draw(harness: &mut Harness<'_, World>, corners: &[[f32; 2]]) {
    let map = harness.get_by_label_contains("Map of").rect();
    let at = |[x, y]: [f32; 2]| map.min + map.size() * egui::vec2(x, y);
    harness.hover_at(at(corners[0]));
    harness.run_steps(1);
    harness.drag_at(at(corners[0]));
    harness.run_steps(1);
    for corner in &corners[1..] {
        harness.hover_at(at(*corner));
        harness.run_steps(1);
    }
    harness.drop_at(at(corners[corners.len() - 1]));
    harness.run();
}

const RIGHT_HALF: [[f32; 2]; 4] = [[0.55, 0.02], [0.98, 0.02], [0.98, 0.98], [0.55, 0.98]];
const LEFT_HALF: [[f32; 2]; 4] = [[0.02, 0.02], [0.5, 0.02], [0.5, 0.98], [0.02, 0.98]];

#[test]
fn a_lasso_on_the_map_makes_a_gallery_that_one_key_labels() {
    let world = mapped(&[243]);
    let apart: Vec<ImageId> = drift_result(0, 3)
        .0
        .scores
        .iter()
        .filter(|s| s.anomaly > 0.5)
        .map(|s| s.image)
        .collect();
    let labelled = world.drift.images().iter().filter(|i| i.label.is_some());
    assert_eq!(labelled.count(), 243);
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("Select on the map");
    draw(&mut harness, &RIGHT_HALF);
    assert_eq!(harness.state().drift_view.selection(), apart);
    harness.get_by_label(&format!("{} images", apart.len()));
    harness.get_by_label_contains("also those that carry a label");
    harness.get_by_label("1  Drift").click();
    harness.run();
    let asked = sent(&harness);
    let [
        Command::GiveLabel {
            images,
            label,
            source,
        },
    ] = asked.as_slice()
    else {
        panic!("{asked:?}");
    };
    let mut images = images.clone();
    images.sort();
    assert_eq!(
        (images, *label),
        (apart.clone(), Some(Label::Class(ClassId(6))))
    );
    assert_eq!(*source, driftscope::labels::Source::Group);
    // Places stay, counts follow.
    let before = harness
        .state()
        .drift
        .map
        .shown()
        .unwrap()
        .unwrap()
        .1
        .clone();
    let given = apart.iter().map(|i| (*i, Some(true))).collect();
    harness.state_mut().drift.apply(DriftEvent::Labelled(given));
    harness.run();
    harness.get_by_label(&format!("{} drift", apart.len()));
    let after = harness
        .state()
        .drift
        .map
        .shown()
        .unwrap()
        .unwrap()
        .1
        .clone();
    assert_eq!(before, after);
    // Esc drops the lasso, and only then leaves the view.
    assert!(harness.state_mut().drift_view.back());
    harness.run();
    assert!(harness.state().drift_view.selection().is_empty());
    assert!(!harness.state_mut().drift_view.back());
}

#[test]
fn with_shift_a_second_lasso_adds_to_the_first() {
    let mut harness = harness(mapped(&[0]), Which::Drift);
    draw(&mut harness, &RIGHT_HALF);
    let right = harness.state().drift_view.selection();
    harness.event(egui::Event::ModifiersChanged(egui::Modifiers::SHIFT));
    draw(&mut harness, &LEFT_HALF);
    assert_eq!(harness.state().drift_view.selection().len(), 1055);
    harness.event(egui::Event::ModifiersChanged(egui::Modifiers::NONE));
    draw(&mut harness, &RIGHT_HALF);
    assert_eq!(harness.state().drift_view.selection(), right);
    // Around nothing: nothing is selected.
    draw(
        &mut harness,
        &[[0.5, 0.01], [0.6, 0.01], [0.6, 0.03], [0.5, 0.03]],
    );
    assert!(harness.state().drift_view.selection().is_empty());
}

#[test]
fn a_click_on_the_map_inspects_the_nearest_image() {
    let mut world = mapped(&[0]);
    let places = vec![[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]];
    let images = [7, 8, 9].map(ImageId).to_vec();
    world.drift.map.set(images, Ok(places));
    let mut harness = harness(world, Which::Drift);
    let map = harness.get_by_label_contains("Map of 3 images").rect();
    // The third lies at the right edge, half way up.
    let at = pos2(map.right() - 20.0, map.center().y);
    harness.hover_at(at);
    harness.run();
    harness.get_by_label_contains("nearest 0009.png");
    harness.drag_at(at);
    harness.run_steps(1);
    harness.drop_at(at);
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Inspect(Some(ImageId(9)))]),
        "{asked:?}"
    );
    assert_eq!(harness.state().drift_view.selection(), [ImageId(9)]);
}

#[test]
fn the_map_says_which_layout_it_shows_and_how_far_the_other_is() {
    let mut harness = harness(mapped(&[0]), Which::Drift);
    harness.get_by_label("Map by principal directions");
    harness.get_by_label_contains("Distances are for orientation only");
    harness.get_by_label("Likeness").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::LayOut(MapLayout::Neighbours)]),
        "{asked:?}"
    );
    let map = &mut harness.state_mut().drift.map;
    map.ask(MapLayout::Neighbours);
    map.neighbours = NeighbourMap::Running {
        doing: "moving neighbours together".to_owned(),
        done: 0.4,
        left_s: Some(3.0),
    };
    harness.run();
    harness.get_by_label("moving neighbours together 40 %, 3 s left");
    harness.get_by_label("Map by principal directions");
    draw(&mut harness, &RIGHT_HALF);
    let selected = harness.state().drift_view.selection();
    let turned = harness.state().drift.map.shown().unwrap().unwrap().1;
    let turned = turned.iter().map(|[x, y]| [*y, *x]).collect();
    harness.state_mut().drift.map.neighbours = NeighbourMap::Ready(Arc::new(turned));
    harness.run();
    harness.get_by_label("Map by likeness");
    // The outline belongs to the other layout; what it selected is still selected.
    assert_eq!(harness.state().drift_view.selection(), selected);
    harness.state_mut().drift.map.neighbours =
        NeighbourMap::Failed("9 images are too few: at least 10 are needed.".to_owned());
    harness.run();
    harness.get_by_label_contains("There is no map by likeness. 9 images are too few");
    harness.get_by_label("List").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::ToggleMap)]),
        "{asked:?}"
    );
}

#[test]
fn maps_of_few_equal_or_no_images_are_survived() {
    type Map = Result<Vec<[f32; 2]>, String>;
    let maps: [(&[u32], Map); 5] = [
        (&[3], Ok(vec![[1.0, 2.0]])),
        (&[3, 4, 5], Ok(vec![[1.0, 1.0]; 3])),
        (&[], Ok(vec![[1.0, 1.0], [2.0, 2.0]])),
        (&[], Ok(Vec::new())),
        (
            &[3],
            Err("The embedding of image 0 is no number.".to_owned()),
        ),
    ];
    for (images, places) in maps {
        let failed = places.is_err();
        let mut world = mapped(&[0]);
        let images: Vec<ImageId> = images.iter().copied().map(ImageId).collect();
        world.drift.map.set(images.clone(), places);
        let mut harness = harness(world, Which::Drift);
        if failed {
            harness.get_by_label_contains("There is no map. The embedding of image 0");
            continue;
        }
        draw(
            &mut harness,
            &[[0.01, 0.01], [0.99, 0.01], [0.99, 0.99], [0.01, 0.99]],
        );
        assert_eq!(harness.state().drift_view.selection(), images);
        for size in [[0.0, 0.0], [40.0, 40.0], [300.0, 200.0], [2000.0, 1200.0]] {
            harness.set_size(size.into());
            harness.run_steps(2);
        }
    }
    let mut world = mapped(&[0]);
    world.drift.map.forget();
    let harness = harness(world, Which::Drift);
    harness.get_by_label("The map comes with the features.");
}

#[test]
fn retrain_is_one_click_and_nothing_is_proposed_without_both_kinds() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[0]);
    let mut harness = harness(world, Which::Drift);
    assert!(harness.query_by_label("Threshold").is_none());
    harness.get_by_label_contains("No threshold yet");
    harness.get_by_label("Retrain drift model").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::RetrainDrift)]),
        "{asked:?}"
    );
}

#[test]
fn empty_views_say_what_to_do_next() {
    for (which, button, action) in [
        (Which::Train, "Label images", Action::ShowLabel),
        (Which::Review, "Train a model", Action::ShowTrain),
        (Which::Drift, "Train a model", Action::ShowTrain),
    ] {
        let mut world = World::new();
        world.labelled = vec![0; 6];
        let mut harness = harness(world, which);
        harness.get_by_label(button).click();
        harness.run();
        let sent = sent(&harness);
        assert!(
            matches!(sent.as_slice(), [Command::Act(a)] if *a == action),
            "{sent:?}"
        );
    }
}

fn snapshot(name: &str, which: Which, theme: Theme, arrange: impl FnOnce(&mut World)) {
    let mut world = World::new();
    world.theme = theme;
    arrange(&mut world);
    let mut harness = harness(world, which);
    harness.snapshot(name);
}

#[test]
fn train_before() {
    snapshot("panel_train_plan", Which::Train, Theme::Dark, |world| {
        runs(world);
        let plan = Plan::default();
        ask(world, &plan, Ok(cost(&plan, Source::Trial, ROOM)));
    });
}

#[test]
fn train_before_in_phases() {
    let mut world = World::new();
    world.theme = Theme::Light;
    runs(&mut world);
    let plan = preset("inception_three_phase").unwrap();
    // Room for what the first two phases keep, and not for the third.
    ask(
        &mut world,
        &plan,
        Ok(cost(&plan, Source::Estimated, 4_400_000_000)),
    );
    let mut harness = harness(world, Which::Train);
    harness.get_by_label("Preset").click();
    harness.run();
    harness.get_by_label("inception_three_phase").click();
    harness.run();
    harness.get_by_label_contains("They will run in every epoch instead.");
    harness.remove_cursor();
    harness.run();
    harness.snapshot("panel_train_phases");
}

#[test]
fn train_failed() {
    snapshot("panel_train_failed", Which::Train, Theme::Dark, |world| {
        runs(world);
        world.train.begin(plan());
        world.train.fail("The disk is full: model.safetensors could not be written; free some space and try again.");
    });
}

#[test]
fn train_during() {
    snapshot("panel_train_live", Which::Train, Theme::Dark, |world| {
        runs(world);
        running(world, 31);
    });
}

#[test]
fn train_after() {
    snapshot("panel_train_done", Which::Train, Theme::Light, |world| {
        runs(world);
        running(world, 34);
        world.train.apply(&TrainEvent::Finished {
            best_epoch: 27,
            report: Box::new(report(1)),
            reason: "patience used up".into(),
        });
    });
}

#[test]
fn review_open() {
    snapshot("panel_review", Which::Review, Theme::Dark, |world| {
        runs(world);
        world.review.open(review("0304-cnn03", 1), |_| None);
        world.review.set_against(Some(review("0304-cnn02", 2)));
        let first = world.review.images().next().unwrap().image;
        world.review.relabel(first, Some(ClassId(4)));
        world.inspected = Some(first);
    });
}

#[test]
fn the_ranking_tells_near_duplicates() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[60]);
    let top: Vec<ImageId> = world.drift.ranked().take(3).map(|i| i.image).collect();
    let found = EmbeddingView::new(&[1.0; 3], 1).and_then(DuplicateGroups::find);
    world.groups = ImageGroups::new(&top, &found.unwrap());
    let harness = harness(world, Which::Drift);
    let told = harness.query_all_by_label_contains("2 near-duplicates, ");
    assert_eq!(told.count(), 3);
}

#[test]
fn the_network_that_looks_for_drift_is_named_and_chosen() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[60]);
    let mut harness = harness(world, Which::Drift);
    let press = |harness: &mut Harness<'_, World>, what: &str| {
        harness.get_by_label("Features").click();
        harness.run();
        harness.get_by_label_contains(what).click();
        harness.run();
        sent(harness)
    };
    let asked = press(&mut harness, "Pretrained weights…");
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::PickDriftWeights)]),
        "{asked:?}"
    );
    let asked = press(&mut harness, "Strip tiles");
    assert!(
        matches!(
            asked.as_slice(),
            [Command::Choose(DriftChoice::StripTiles(true))]
        ),
        "{asked:?}"
    );
    let asked = press(&mut harness, "Synthetic outliers");
    assert!(
        matches!(
            asked.as_slice(),
            [Command::Choose(DriftChoice::SyntheticOutliers(true))]
        ),
        "{asked:?}"
    );
    harness.state_mut().network = Some(DriftNetwork {
        model: "inception_v3".to_owned(),
        weights: "weights/ours.safetensors".to_owned(),
        preprocessing: None,
    });
    harness.run();
    harness.get_by_label("Features").click();
    harness.run();
    harness.get_by_label_contains("inception_v3 · ours.safetensors");
    harness.key_press(egui::Key::Escape);
    harness.run();
    sent(&harness);
    let asked = press(&mut harness, "the run's own network");
    assert!(
        matches!(
            asked.as_slice(),
            [Command::Choose(DriftChoice::Network(None))]
        ),
        "{asked:?}"
    );
}

#[test]
fn the_precision_is_chosen_beside_the_network_and_explained() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[60]);
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("Features").click();
    harness.run();
    // Nothing was measured of the run.
    harness.get_by_label_contains("auto is fp32");
    harness.get_by_label("bf16").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(
            asked.as_slice(),
            [Command::Choose(DriftChoice::Precision(Precision::Bf16))]
        ),
        "{asked:?}"
    );
}

#[test]
fn how_far_the_features_are_is_told_while_they_are_made() {
    let mut world = World::new();
    runs(&mut world);
    world.drift.apply(DriftEvent::Preparing("run".into()));
    world.preparing = Some(jobs::Progress {
        done: 1240,
        total: 9333,
        doing: "looking at images".to_owned(),
        started: std::time::Instant::now(),
    });
    let mut harness = harness(world, Which::Drift);
    harness.run();
    harness.get_by_label_contains("Now looking at images: 1,240 of 9,333");
}

#[test]
fn blind_repeats_are_told_with_their_interval_once_there_are_some() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[60]);
    let mut harness = harness(world, Which::Drift);
    harness.run();
    assert!(harness.query_by_label_contains("shown again").is_none());
    harness.state_mut().repeats = Repeats {
        answers: 13,
        same: 12,
        images: Vec::new(),
    };
    harness.run();
    harness.get_by_label_contains("12 of 13 images that were shown again");
    // Wilson's interval.
    harness.get_by_label_contains("0.67–0.99");
}

#[test]
fn what_the_last_labels_changed_can_be_looked_at() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[223, 243]);
    let change = world.drift.change().expect("two fits");
    let mut harness = harness(world, Which::Drift);
    harness.run();
    sent(&harness);
    assert!(!change.now_above.is_empty());
    harness.get_by_label("Show those now drift").click();
    harness.run();
    let asked = sent(&harness);
    let [Command::ShowImages { title, images }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert!(title.contains("now drift since your last"), "{title}");
    assert_eq!(*images, change.now_above);
}

#[test]
fn drift_taught() {
    snapshot("panel_drift", Which::Drift, Theme::Dark, |world| {
        runs(world);
        teach(world, &[223, 243]);
    });
}

#[test]
fn drift_taught_in_light() {
    snapshot("panel_drift_light", Which::Drift, Theme::Light, |world| {
        runs(world);
        teach(world, &[223, 243]);
    });
}

#[test]
fn drift_without_labels() {
    snapshot(
        "panel_drift_unlabelled",
        Which::Drift,
        Theme::Dark,
        |world| {
            runs(world);
            teach(world, &[0]);
        },
    );
}

#[test]
fn drift_on_a_map() {
    let mut harness = harness(mapped(&[223, 243]), Which::Drift);
    draw(
        &mut harness,
        &[
            [0.7, 0.32],
            [0.9, 0.25],
            [0.95, 0.5],
            [0.86, 0.62],
            [0.72, 0.55],
        ],
    );
    harness.snapshot("panel_drift_map");
}

#[test]
fn drift_on_a_map_in_light() {
    let mut world = mapped(&[223, 243]);
    world.theme = Theme::Light;
    world.inspected = Some(ImageId(4));
    world.drift.map.neighbours = NeighbourMap::Running {
        doing: "moving neighbours together".to_owned(),
        done: 0.4,
        left_s: Some(3.0),
    };
    let mut harness = harness(world, Which::Drift);
    harness.snapshot("panel_drift_map_light");
}

/// A network that was fine-tuned on the first `labels` images of [`drift_result`], and sees some otherwise.
fn fine_tuned(labels: usize) -> DriftRun {
    let (result, given) = drift_result(labels, 4);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let rows: Vec<DriftRunRow> = result
        .scores
        .iter()
        .map(|score| {
            let head = score.probability.unwrap();
            let label = given.get(score.image.index()).and_then(|(_, label)| *label);
            let other = if rng.random_bool(0.02) {
                1.0 - head
            } else {
                head
            };
            DriftRunRow {
                image: score.image,
                label,
                fold: label.map(|_| 1 + score.image.index() % 3),
                network: (other + rng.random_range(-0.1..0.1_f32)).clamp(0.001, 0.999),
                head: Some(head),
            }
        })
        .collect();
    let labelled: Vec<&DriftRunRow> = rows.iter().filter(|row| row.label.is_some()).collect();
    let truth: Vec<bool> = labelled.iter().map(|row| row.label == Some(true)).collect();
    let of = |score: fn(&DriftRunRow) -> f32| -> Vec<f64> {
        labelled.iter().map(|row| f64::from(score(row))).collect()
    };
    let (head, network) = (of(|row| row.head.unwrap()), of(|row| row.network));
    DriftRun {
        name: "2026-03-04-132000-drift-cnn03".to_owned(),
        dir: "2026-03-04-132000-drift-cnn03".into(),
        created: "2026-03-04T13:20:00+01:00".to_owned(),
        base: "0304-cnn03".to_owned(),
        base_validation_macro_f1: Some(0.912),
        model: "cnn03".to_owned(),
        head: "inception_v3".to_owned(),
        folds: 3,
        reference: 571,
        seconds: 312.0,
        comparison: PairedReport::new(&truth, &head, &network, 0.5, 1).unwrap(),
        pwa: Some(FineTunePwa {
            head: 0.981,
            network: 0.974,
            constant: 0.902,
        }),
        warnings: vec![
            "labels on incoming images make both transductive: the figures hold for these images"
                .to_owned(),
        ],
        rows,
    }
}

#[test]
fn a_network_is_fine_tuned_from_beside_the_retrain_button() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    world.available.ranked = true;
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("More ways to train for drift").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::ReckonFineTune]),
        "{asked:?}"
    );
    // What keeps it from starting stands there.
    let why = "fine-tuning needs 6 images labelled drift";
    harness
        .state_mut()
        .fine_tune
        .set_cost(243, Err(why.to_owned()));
    harness.run();
    harness.get_by_label_contains(why);
    harness
        .get_by_label_contains("Fine-tune the network")
        .click();
    harness.run();
    assert!(sent(&harness).is_empty());

    harness.state_mut().fine_tune = FineTuneState::default();
    harness.run();
    harness.get_by_label("More ways to train for drift").click();
    harness.run();
    sent(&harness);
    harness
        .get_by_label_contains("Fine-tune the network")
        .click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Act(Action::FineTuneDrift)]),
        "{asked:?}"
    );
}

#[test]
fn with_too_few_labels_the_menu_says_how_many_it_takes() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[12]);
    world.available.ranked = true;
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("More ways to train for drift").click();
    harness.run();
    sent(&harness);
    harness.get_by_label_contains("It takes 6 images labelled drift and 6 labelled regular");
    harness
        .get_by_label_contains("Fine-tune the network")
        .click();
    harness.run();
    assert!(sent(&harness).is_empty());
}

#[test]
fn a_fine_tuning_that_runs_can_be_paused_and_stopped() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    world.fine_tune.begin(Some(7));
    world
        .fine_tune
        .apply(&FineTuneEvent::Fold { fold: 2, folds: 3 });
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label_contains("Network 2 of 3");
    harness.get_by_label("Pause").click();
    harness.run();
    assert!(matches!(sent(&harness).as_slice(), [Command::PauseJob(7)]));
    harness.get_by_label("Stop").click();
    harness.run();
    assert!(matches!(sent(&harness).as_slice(), [Command::CancelJob(7)]));
    let why = "The disk is full.".to_owned();
    harness.state_mut().fine_tune.end(Err(why));
    harness.run();
    harness.get_by_label_contains("No network was fine-tuned. The disk is full.");
    assert!(harness.query_by_label("Pause").is_none());
}

#[test]
fn an_interrupted_fine_tuning_is_resumed_or_discarded_in_two_clicks() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    world.available.ranked = true;
    let dir = std::path::PathBuf::from("/runs/2026-03-04-drift-cnn03");
    let left = UnfinishedFineTune {
        name: "2026-03-04-drift-cnn03".to_owned(),
        dir: dir.clone(),
        created: "2026-03-04T13:20:00+01:00".to_owned(),
        model: "cnn03".to_owned(),
        base: std::path::PathBuf::from("/runs/2026-03-04-cnn03"),
        labels: (12, 30),
        folds: 3,
        over: 1,
        progress: Some(driftscope::training::Progress {
            epochs: 4,
            steps: 2,
        }),
    };
    world.fine_tune.found(None, vec![left]);
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label_contains(
        "It goes on in epoch 5 of network 2 of 3, with the 12 drift and 30 regular labels it was started with",
    );
    harness.get_by_label("Resume it").click();
    harness.run();
    assert!(matches!(sent(&harness).as_slice(), [Command::ResumeFineTune(of)] if *of == dir),);
    harness.get_by_label("Discard").click();
    harness.run();
    assert!(sent(&harness).is_empty(), "not without being asked again");
    harness.get_by_label("Remove for good").click();
    harness.run();
    assert!(matches!(sent(&harness).as_slice(), [Command::DiscardRun(of)] if *of == dir));
}

#[test]
fn head_and_network_are_shown_against_each_other_and_the_user_chooses() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[243]);
    let run = fine_tuned(243);
    let (head_only, network_only) = run.differ();
    assert!(!head_only.is_empty() && !network_only.is_empty());
    let by_network: std::collections::HashMap<ImageId, f32> = run
        .rows
        .iter()
        .map(|row| (row.image, row.network))
        .collect();
    world.fine_tune.found(Some(run), Vec::new());
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("Show them against each other").click();
    harness.run();
    harness.get_by_label("Only the head says drift");
    harness.get_by_label("Only the network says drift");
    harness.get_by_label_contains("Network less head: AP");
    sent(&harness);
    let first = head_only[0].image;
    harness
        .get_by_label_contains(&format!("{:04}.png", first.0))
        .click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::Inspect(Some(image))] if *image == first),
        "{asked:?}"
    );
    harness.get_by_label("Fine-tuned network").click();
    harness.run();
    let asked = sent(&harness);
    assert!(
        matches!(asked.as_slice(), [Command::RankByNetwork(true)]),
        "{asked:?}"
    );

    // The ranking is the head's until then.
    let drift = &mut harness.state_mut().drift;
    let top = drift.ranked().next().unwrap();
    assert_eq!(
        top.score,
        drift.images().iter().map(|i| i.score).fold(0.0, f32::max)
    );
    drift.rank_by(Some(by_network.clone()));
    let best = by_network.values().copied().fold(0.0, f32::max);
    assert_eq!(drift.ranked().next().unwrap().score, best);
    // A label does not make it jump.
    let order: Vec<ImageId> = drift.ranked().map(|i| i.image).collect();
    drift.apply(DriftEvent::Labelled(vec![(order[1], Some(false))]));
    let after: Vec<ImageId> = drift.ranked().map(|i| i.image).collect();
    assert_eq!(order, after);
    harness
        .get_all_by_label("Back to the ranking")
        .next()
        .unwrap()
        .click();
    harness.run();
    harness.get_by_label("Most likely drift, by the fine-tuned network");
}

#[test]
fn drift_compared() {
    let mut world = World::new();
    runs(&mut world);
    teach(&mut world, &[223, 243]);
    world.fine_tune.found(Some(fine_tuned(243)), Vec::new());
    let mut harness = harness(world, Which::Drift);
    harness.get_by_label("Show them against each other").click();
    harness.run();
    harness.remove_cursor();
    harness.run();
    harness.snapshot("panel_drift_compared");
}
