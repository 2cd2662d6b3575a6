//! The window, driven by its accessibility tree as a user would drive it.
#![cfg(feature = "kittest")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use driftscope::app::App;
use driftscope::app::command::{Action, Command, View};
use driftscope::domain::{ClassId, ImageId, Label, Precision, Prediction};
use driftscope::evaluation::{Aim, Report};
use driftscope::jobs::JobContext;
use driftscope::project::DriftChoice;
use driftscope::queue::Strategy;
use driftscope::training::Plan;
use driftscope::workflows;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use tempfile::TempDir;

const CLASSES: [&str; 3] = ["bent", "clean", "dent"];
const EACH: usize = 8;

/// A data set of class folders with small pictures, each with a stripe of its own, and some without a
/// label.
fn data_set() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (c, class) in CLASSES.iter().enumerate() {
        let dir = folder.path().join("set").join(class);
        std::fs::create_dir_all(&dir).unwrap();
        for i in 0..EACH {
            picture(&dir.join(format!("{c}{i:02}.png")), c * EACH + i);
        }
    }
    folder
}

fn picture(path: &Path, seed: usize) {
    // A bar at a height of its own on plain ground: easy to tell apart, and small as a stored picture.
    let top = u32::try_from(8 + seed * 3).unwrap();
    let image = image::GrayImage::from_fn(96, 96, |x, y| {
        let bar = (8..88).contains(&x) && (top..top + 12).contains(&y);
        image::Luma([if bar { 40 } else { 215 }])
    });
    image.save(path).unwrap();
}

struct Window {
    /// The app is made in the first frame, since it belongs to the harness's context.
    harness: Harness<'static, Option<App>>,
    folder: TempDir,
}

impl Window {
    fn new() -> Self {
        Self::on(data_set(), "set")
    }

    fn on(folder: TempDir, name: &str) -> Self {
        let settings = folder.path().join("settings.toml");
        let mut harness = Harness::builder()
            .with_size([1280.0, 720.0])
            .with_step_dt(1.0 / 30.0)
            .build_ui_state(
                move |ui, app: &mut Option<App>| {
                    let ctx = ui.ctx().clone();
                    let app = app.get_or_insert_with(|| App::new(&ctx, Some(settings.clone())));
                    app.logic(&ctx);
                    app.paint(ui);
                },
                None,
            );
        harness.step();
        let path = folder.path().join(name);
        harness
            .state()
            .as_ref()
            .unwrap()
            .commands()
            .send(Command::Open(path.into()));
        let mut window = Self { harness, folder };
        window.until("opened", |app| {
            app.session().is_some() || !app.notices().is_empty()
        });
        window.settle();
        window
    }

    /// Steps until the program says so; fails after a generous while.
    fn until(&mut self, what: &str, done: impl Fn(&App) -> bool) {
        let start = Instant::now();
        loop {
            self.harness.step();
            if done(self.app()) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "waiting: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for threads, then for the picture to come to rest.
    fn settle(&mut self) {
        self.until("idle", App::is_idle);
        for _ in 0..12 {
            std::thread::sleep(Duration::from_millis(4));
            self.harness.step();
        }
    }

    fn press(&mut self, key: Key) {
        self.press_with(Modifiers::NONE, key);
    }

    fn press_with(&mut self, modifiers: Modifiers, key: Key) {
        self.press_with_no_wait(modifiers, key);
        self.settle();
    }

    fn press_with_no_wait(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.step();
    }

    fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.settle();
    }

    fn click_with(&mut self, modifiers: Modifiers, label: &str) {
        self.harness.get_by_label(label).click_modifiers(modifiers);
        self.settle();
    }

    fn app(&self) -> &App {
        self.harness.state().as_ref().unwrap()
    }

    /// Compares with the stored picture. What differs from machine to machine, the number of
    /// processors in the lower right, is hidden.
    fn picture(&mut self, name: &str) {
        let corner = egui::Rect::from_min_max(egui::pos2(850.0, 600.0), egui::pos2(1000.0, 640.0));
        self.harness.mask(corner);
        self.harness.snapshot(name);
    }

    fn label(&self, image: u32) -> Option<Label> {
        self.app().session().unwrap().label(ImageId(image))
    }

    fn hand(&self, image: u32) -> Option<Label> {
        self.app().session().unwrap().hand_label(ImageId(image))
    }

    fn current(&self) -> Option<u32> {
        self.app().walk().unwrap().current().map(|i| i.0)
    }

    fn shows(&self, text: &str) -> bool {
        self.harness
            .query_all_by_label_contains(text)
            .next()
            .is_some()
    }
}

fn class(index: usize) -> Option<Label> {
    Some(Label::Class(ClassId::from(index)))
}

#[test]
fn a_label_is_given_by_key_undone_and_done_again() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    assert_eq!(window.app().view(), View::Label);
    assert_eq!(window.current(), Some(0));
    window.press(Key::Num2);
    assert_eq!((window.hand(0), window.current()), (class(2), Some(1)));
    window.press(Key::Num1);
    assert_eq!((window.hand(1), window.current()), (class(1), Some(2)));
    window.press(Key::Backspace);
    assert_eq!((window.hand(1), window.current()), (None, Some(1)));
    window.press_with(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!((window.hand(1), window.current()), (class(1), Some(1)));
    window.press_with(Modifiers::COMMAND, Key::Z);
    window.press_with(Modifiers::COMMAND, Key::Z);
    assert_eq!((window.hand(0), window.current()), (None, Some(0)));
    assert_eq!(window.label(0), class(0), "the file's label is back");
}

#[test]
fn keys_typed_while_a_label_is_saved_go_to_the_images_that_follow() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    // All in one frame, faster than any disk.
    for key in [Key::Num0, Key::Num1, Key::Space, Key::Num2] {
        window.harness.key_press(key);
    }
    window.harness.step();
    window.until("four answers", |app| app.walk().unwrap().position() == 4);
    assert_eq!(window.hand(0), class(0));
    assert_eq!(window.hand(1), class(1));
    assert_eq!(window.hand(2), None, "skipped");
    assert_eq!(window.hand(3), class(2));
}

#[test]
fn keys_keep_their_order_however_slow_the_disk_is() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    // One or two keys a frame, some of them in the frame in which a label has just reached the disk.
    let keys = [Key::Num0, Key::Num1, Key::Num2];
    for image in 0..20 {
        window.harness.key_press(keys[image % 3]);
        if image % 4 != 1 {
            window.harness.step();
        }
    }
    window.until("twenty answers", |app| app.walk().unwrap().position() == 20);
    for image in 0..20 {
        assert_eq!(window.hand(image), class(image as usize % 3), "{image}");
    }
}

#[test]
fn labels_survive_closing_and_opening_again() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    window.press(Key::Num1);
    window.press_with(Modifiers::COMMAND, Key::W);
    assert!(window.app().session().is_none());
    assert!(window.shows("Open a folder"));
    let folder = window.folder;
    drop(window.harness);
    let again = Window::on(folder, "set");
    assert_eq!(again.hand(0), class(1));
    assert!(again.app().session().unwrap().can_undo);
}

/// A plan for a quick network that does not come to its end by itself.
fn endless() -> Plan {
    Plan {
        size: 32,
        batch: 4,
        epochs: 10_000,
        patience: 10_000,
        ..Plan::default()
    }
}

#[test]
fn a_training_outlives_its_window() {
    let mut window = Window::new();
    let start = Command::StartTraining(Box::new(endless()));
    window.app().commands().send(start);
    let epochs = |app: &App| app.training().unwrap().points.len();
    window.until("two epochs", |app| epochs(app) >= 2);
    window.press_with_no_wait(Modifiers::COMMAND, Key::W);
    window.until("closed", |app| app.session().is_none());
    let folder = window.folder.path().join("set");
    window.app().commands().send(Command::Open(folder.into()));
    // It opens once the state of the training is written.
    window.until("opened again", |app| app.session().is_some());
    window.until("runs read", |app| !app.runs().unwrap().loading);
    let found = window.app().runs().unwrap().unfinished.clone();
    assert_eq!(found.len(), 1);
    let before = found[0].progress.unwrap().epochs;
    assert!(before >= 2, "{before}");
    let notices = window.app().notices().join("\n");
    assert!(notices.contains("was interrupted"), "{notices}");
    window.app().commands().send(Action::ResumeTraining);
    window.until("three epochs more", |app| epochs(app) >= before + 3);
    assert!(window.app().runs().unwrap().unfinished.is_empty());
    window.app().commands().send(Action::StopTraining);
    window.until("the report", |app| app.training().unwrap().report.is_some());
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    let run = &window.app().runs().unwrap().all()[0];
    assert_eq!(run.dir, found[0].dir);
    assert!(run.epochs >= before + 3, "{}", run.epochs);
}

#[test]
fn the_queue_that_finds_drift_goes_on_with_what_labels_taught() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = Command::StartTraining(Box::new(plan));
    window.app().commands().send(train);
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with_no_wait(Modifiers::COMMAND, Key::D);
    window.until("a queue", |app| !app.walk().unwrap().images().is_empty());
    window.settle();
    assert_eq!(window.app().view(), View::Label);
    let walk = window.app().walk().unwrap();
    let before = walk.images().to_vec();
    assert!(walk.why(before[0]).is_some(), "it says why");
    assert!(window.shows("queue: find drift"));

    // Drift mode; the first image is drift, the others are not.
    window.press(Key::M);
    window.press(Key::Num1);
    for _ in 0..3 {
        window.press(Key::Num0);
    }
    assert_eq!(window.current(), Some(before[4].0));
    let session = window.app().session().unwrap();
    let drift = session.classes().drift();
    assert_eq!(session.hand_label(before[0]), Some(Label::Class(drift)));
    // What was seen coming did not move, and no image comes twice.
    let walk = window.app().walk().unwrap();
    assert_eq!(walk.images()[..5], before[..5]);
    let mut once = walk.images().to_vec();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), walk.images().len());
    let reasons: Vec<&str> = walk.images()[8..]
        .iter()
        .filter_map(|image| walk.why(*image))
        .collect();
    assert!(
        reasons.iter().any(|why| why.contains("drift")),
        "the head has its say: {reasons:?}"
    );
}

#[test]
fn a_lasso_on_the_map_one_key_and_undo() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = Command::StartTraining(Box::new(plan));
    window.app().commands().send(train);
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with(Modifiers::COMMAND, Key::Num5);
    window.press_with(Modifiers::COMMAND, Key::R);
    window.press(Key::M);
    assert!(window.shows("Map by principal directions"));

    // The job has laid out the other one meanwhile.
    window.click("Likeness");
    assert!(window.shows("Map by likeness"));
    let map = window.harness.get_by_label_contains("Map of 24 images");
    let map = map.rect();
    let corners = [
        map.left_top(),
        map.right_top(),
        map.right_bottom(),
        map.left_bottom(),
    ];
    let corners = corners.map(|c| c + (map.center() - c) * 0.02);
    window.harness.hover_at(corners[0]);
    window.harness.step();
    window.harness.drag_at(corners[0]);
    window.harness.step();
    for corner in corners {
        window.harness.hover_at(corner);
        window.harness.step();
    }
    window.harness.drop_at(corners[3]);
    window.settle();
    assert!(window.shows("24 without a label"));

    let drift = class(CLASSES.len());
    window.press(Key::Num1);
    for image in 0..24 {
        assert_eq!(window.hand(image), drift);
    }
    assert!(window.shows("24 drift"));
    window.press(Key::Backspace);
    for image in 0..24 {
        assert_eq!(window.hand(image), None, "undone in one step");
    }
    assert!(window.shows("24 without a label"));
    window.press(Key::Escape);
    assert!(window.shows("Select on the map"));
    assert_eq!(window.app().view(), View::Drift);
    // Without a lasso a key means the image inspected.
    window.press(Key::M);
    assert!(window.shows("Most unlike the regular images"));
}

#[test]
fn a_network_is_fine_tuned_on_the_labels_of_the_window() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let send = |window: &Window, command: Command| window.app().commands().send(command);
    send(&window, Command::StartTraining(Box::new(plan)));
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    send(&window, Action::FineTuneDrift.into());
    window.settle();
    let told = window.app().notices().join(" ");
    assert!(told.contains("rank the images in Drift first"), "{told}");

    send(&window, Action::ShowDrift.into());
    send(&window, Action::RetrainDrift.into());
    window.settle();
    let session = window.app().session().unwrap();
    let drift = session.classes().drift();
    let images: Vec<ImageId> = session.manifest().ids().collect();
    let give = |images: &[ImageId], label| Command::GiveLabel {
        images: images.to_vec(),
        label: Some(label),
        source: driftscope::labels::Source::Group,
    };
    send(&window, Command::Inspect(Some(images[0])));
    // Of each class some images keep it.
    send(&window, give(&images[..6], Label::Class(drift)));
    send(&window, give(&images[8..14], Label::Regular));
    window.settle();
    send(&window, Action::FineTuneDrift.into());
    window.until("a network", |app| {
        let state = app.fine_tune().unwrap();
        state.latest.is_some() || state.failed.is_some()
    });
    assert_eq!(window.app().fine_tune().unwrap().failed, None);
    let found = window.app().fine_tune().unwrap().latest.as_ref().unwrap();
    let report = &found.run.comparison;
    assert_eq!((report.n_drift, report.n_regular), (6, 6));
    assert_eq!(found.run.rows.len(), images.len());
    // It is no model of the classes.
    assert_eq!(window.app().runs().unwrap().all().len(), 1);
    window.settle();
    assert!(window.shows("Show them against each other"));
}

#[test]
fn a_miss_is_one_key_and_a_kept_threshold_is_in_the_project() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = Command::StartTraining(Box::new(plan));
    window.app().commands().send(train);
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with_no_wait(Modifiers::COMMAND, Key::D);
    window.until("a queue", |app| !app.walk().unwrap().images().is_empty());
    window.settle();
    window.press(Key::M);
    window.press(Key::Num1);
    for _ in 0..3 {
        window.press(Key::Num0);
    }
    let missed = ImageId(window.current().unwrap());
    window.press(Key::T);
    assert_eq!(window.app().view(), View::Drift);
    let session = window.app().session().unwrap();
    let drift = Label::Class(session.classes().drift());
    assert_eq!(session.hand_label(missed), Some(drift));
    window.until("learned", |app| {
        !app.drift().unwrap().followed_images().is_empty()
    });
    window.settle();
    let followed = window.app().drift().unwrap().followed_images();
    assert_eq!(followed[0].now.image, missed);
    assert_eq!(followed.len(), 9, "it and its eight neighbours");
    assert!(window.shows("most like it"));

    // Another image may be missed the same way; once more on one that is drift already.
    window.press(Key::T);
    window.until("learned again", |app| {
        !app.drift().unwrap().follow_is_pending()
    });
    window.settle();

    window.press(Key::K);
    let threshold = window.app().drift().unwrap().threshold().unwrap();
    window.press(Key::U);
    let file = window.folder.path().join("set/.driftscope/project.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let kept = format!("drift_threshold = {}", f64::from(threshold));
    assert!(settings.contains(&kept), "{settings}");
    assert!(!window.app().drift().unwrap().is_moved());
}

#[test]
fn a_cost_matrix_counts_once_it_is_one_and_everything_reckons_with_it() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = Command::StartTraining(Box::new(plan));
    window.app().commands().send(train);
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with_no_wait(Modifiers::COMMAND, Key::D);
    window.until("a queue", |app| !app.walk().unwrap().images().is_empty());
    window.settle();
    window.press(Key::M);
    for key in [Key::Num1, Key::Num1, Key::Num0, Key::Num0] {
        window.press(key);
    }
    window.press_with(Modifiers::COMMAND, Key::Num5);
    let costs = |window: &Window| window.app().session().unwrap().snapshot.cost.clone();
    let expected = |window: &Window| {
        let point = window.app().drift().unwrap().point(Aim::Cheapest);
        let figures = point.unwrap().unwrap().figures;
        figures.cost.unwrap().mean
    };
    let pwa = |window: &Window| {
        let review = window.app().review().unwrap();
        review.report().unwrap().unwrap().pwa
    };
    let listed = |window: &Window| window.app().runs().unwrap().all()[0].report.clone();
    let trained = |window: &Window| window.app().training().unwrap().report.clone().unwrap();
    let project = window.folder.path().join("set/.driftscope/project.toml");
    let written = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (usual, before, judged) = (costs(&window), expected(&window), pwa(&window));
    let labels = window.app().session().unwrap().labelled_by_hand();

    window.click("Cost of each mistake…");
    let type_in = |window: &mut Window, cell: &str, text: &str| {
        window.harness.get_by_label(cell).focus();
        window.settle();
        window.press_with(Modifiers::COMMAND, Key::A);
        window.harness.get_by_label(cell).type_text(text);
        window.settle();
    };
    let cell = format!("Drift answered {}", CLASSES[0]);
    for (text, words) in [
        (
            "-7",
            "row 4, column 1 of the cost matrix is -7; a cost is zero or more.",
        ),
        ("dear", "is \"dear\"; a cost is a number, zero or more."),
        (" ", "row 4, column 1 of the cost matrix is empty"),
    ] {
        type_in(&mut window, &cell, text);
        assert!(window.shows(words), "{text}");
        window.click("Use these costs");
        assert_eq!(costs(&window), usual);
        assert!(!written(&project).contains("cost = "));
    }
    for class in CLASSES {
        type_in(&mut window, &format!("Drift answered {class}"), "5000");
    }
    assert!(window.shows("Not in use yet."));
    assert_eq!(costs(&window), usual, "only once it is said");
    window.click("Use these costs");
    assert_eq!(costs(&window).max(), 5000.0);
    assert!(window.shows("These costs are in use."));
    assert!(
        written(&project).contains("5000.0"),
        "{}",
        written(&project)
    );
    let after = expected(&window);
    assert!((after - before).abs() > 1e-9, "{before} {after}");
    assert!((pwa(&window) - judged).abs() > 1e-9 || judged == 1.0);
    // The table of runs says the same as the review of the run, and so does its training.
    let priced = |report: &Report| (report.pwa, report.pwa_constant, report.pwa_constant_class);
    assert_eq!(listed(&window).pwa, pwa(&window));
    assert_eq!(priced(&trained(&window)), priced(&listed(&window)));

    // Digits are numbers here, not labels.
    window.press(Key::Num1);
    assert_eq!(window.app().session().unwrap().labelled_by_hand(), labels);
    // Esc leaves the cell first.
    window.harness.get_by_label(&cell).focus();
    window.settle();
    window.press(Key::Escape);
    assert!(window.shows("Use these costs"));

    // What was there before comes back, and needs no entry in the project then.
    window.click("Reset to the usual costs");
    assert_eq!(costs(&window).max(), 5000.0);
    window.click("Use these costs");
    assert_eq!((costs(&window), expected(&window)), (usual.clone(), before));
    assert!(!written(&project).contains("5000"));
    window.click("Back to those before");
    window.click("Use these costs");
    window.press(Key::Escape);
    assert!(!window.shows("Use these costs"));

    // They are those of the project from now on.
    window.press_with(Modifiers::COMMAND, Key::W);
    let path = window.folder.path().join("set");
    window.app().commands().send(Command::Open(path.into()));
    window.until("opened again", |app| app.session().is_some());
    window.settle();
    assert_eq!(costs(&window).max(), 5000.0);
}

#[test]
fn a_blind_repeat_hides_what_was_answered_and_what_a_model_says() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 1,
        ..Plan::default()
    };
    let send = |window: &Window, command: Command| window.app().commands().send(command);
    send(&window, Command::StartTraining(Box::new(plan)));
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    window.press(Key::Num2);
    window.settle();
    assert!(window.shows("SUGGESTION"), "a model has its say elsewhere");
    send(&window, Command::SetQueue(Strategy::BlindRepeats));
    window.settle();
    let shown = window.current().unwrap();
    assert!(window.hand(shown).is_some(), "it has a label");
    assert!(window.shows("hidden during blind repeats"));
    assert!(!window.shows("SUGGESTION"));
    // Nor is it one key away: that would be the model's answer and not the user's.
    let before = window.hand(shown);
    window.press(Key::Enter);
    assert_eq!(
        (window.hand(shown), window.current()),
        (before, Some(shown))
    );
    // Given afresh, it counts as a repeat.
    window.press(Key::Num1);
    window.settle();
    assert_eq!(window.hand(shown), class(1));
    let repeats = &window.app().session().unwrap().repeats;
    assert_eq!((repeats.answers, repeats.same), (1, 0));
}

#[test]
fn another_precision_gives_new_answers_to_what_the_run_was_not_made_of() {
    let mut window = Window::new();
    let plan = Plan {
        size: 32,
        epochs: 2,
        // The other images of the training split are no part of the run.
        train_per_class: Some(2),
        ..Plan::default()
    };
    let send = |window: &Window, command: Command| window.app().commands().send(command);
    send(&window, Command::StartTraining(Box::new(plan)));
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    let answers = |window: &Window| -> Vec<Option<Prediction>> {
        let app = window.app();
        let images = app.session().unwrap().manifest().ids();
        let of = |image| app.predictions().unwrap().get(image).cloned();
        images.map(of).collect()
    };
    let review = window.app().review().unwrap().review().unwrap();
    let (own, dir) = (review.rows.clone(), review.run.dir.clone());
    let everything = answers(&window);
    assert!(own.len() < everything.len() && everything.iter().all(Option::is_some));

    for precision in [Precision::Fp32, Precision::Bf16, Precision::Auto] {
        let mut kept = vec![None; everything.len()];
        for row in &own {
            kept[row.image.index()] = Some(row.prediction.clone());
        }
        let generation = window.app().predictions().unwrap().generation();
        send(&window, Command::Choose(DriftChoice::Precision(precision)));
        window.harness.step();
        // None of the old ones stands beside the new.
        let now = answers(&window);
        let others = now.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let fresh = window.app().predictions().unwrap().generation() > generation;
        assert!(
            fresh && others.into_iter().any(|(now, _)| now.is_none()),
            "{precision:?}"
        );
        window.settle();
        // They are what the network gives in this precision.
        let snapshot = window.app().session().unwrap().snapshot.clone();
        assert_eq!(snapshot.precision, precision);
        let open = snapshot
            .manifest
            .ids()
            .filter(|i| kept[i.index()].is_none());
        let open: Vec<ImageId> = open.collect();
        let context = JobContext::detached();
        let mut add = |batch: Vec<(ImageId, Prediction)>| {
            for (image, prediction) in batch {
                kept[image.index()] = Some(prediction);
            }
        };
        workflows::predict(&snapshot, &dir, &open, &context, &mut add).unwrap();
        assert_eq!(answers(&window), kept, "{precision:?}");
    }
}

#[test]
fn one_key_labels_near_duplicates_as_one_step() {
    // 24 pictures with a class, 12 without, five of which are one picture: that of 06.png, which has a class.
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    std::fs::create_dir(&set).unwrap();
    let mut table = "filename,label\n".to_owned();
    for i in 0..36 {
        let class = if i < 24 { CLASSES[i % 3] } else { "" };
        table.push_str(&format!("{i:02}.png,{class}\n"));
        let like = i.min(31);
        picture(&set.join(format!("{i:02}.png")), like % 26 + like / 26);
    }
    std::fs::write(set.join("list.csv"), table).unwrap();
    let mut window = Window::on(folder, "set/list.csv");
    let plan = Plan {
        size: 32,
        epochs: 2,
        ..Plan::default()
    };
    let train = Command::StartTraining(Box::new(plan));
    window.app().commands().send(train);
    window.until("the run", |app| app.runs().unwrap().all().len() == 1);
    window.settle();
    window.press_with_no_wait(Modifiers::COMMAND, Key::D);
    window.until("a queue", |app| !app.walk().unwrap().images().is_empty());
    window.settle();

    let twins: Vec<u32> = (31..36).collect();
    let queue = window.app().walk().unwrap().images().to_vec();
    let mut places = (0..queue.len()).filter(|place| twins.contains(&queue[*place].0));
    let place = places.next().unwrap();
    assert_eq!(places.next(), None, "one of them is dealt: {queue:?}");
    let shown = queue[place].0;
    let others: Vec<u32> = twins.iter().copied().filter(|i| *i != shown).collect();

    let go = |window: &mut Window, command: Command| {
        window.app().commands().send(command);
        window.settle();
    };
    go(&mut window, Command::GoTo(place));
    assert!(window.shows("5 near-duplicates, 4 without a label"));
    window.press(Key::N);
    assert_eq!(window.hand(others[0]), None, "nothing is labelled to go by");
    // One has a label of its own, which stays.
    let kept = Command::GiveLabel {
        images: vec![ImageId(others[0])],
        label: Some(Label::Regular),
        source: driftscope::labels::Source::Key,
    };
    go(&mut window, kept);
    assert_eq!(window.current(), Some(shown));
    assert!(window.shows("5 near-duplicates, 3 without a label"));
    window.press(Key::M);
    window.press(Key::Num1);
    let drift = class(CLASSES.len());
    assert_eq!(window.hand(shown), drift);
    assert_eq!(window.hand(others[1]), None, "offered, not done");
    assert!(window.shows("Drift for 3 near-duplicates of"));
    assert!(window.shows("2 keep other labels"));
    window.press(Key::N);
    let labels = |window: &Window| -> Vec<Option<Label>> {
        others.iter().map(|image| window.hand(*image)).collect()
    };
    let regular = Some(Label::Regular);
    assert_eq!(labels(&window), [regular, drift, drift, drift]);
    assert!(!window.shows("Drift for"), "nothing is left to offer");
    window.press(Key::Backspace);
    assert_eq!(labels(&window), [regular, None, None, None], "one step");
    assert_eq!(window.hand(shown), drift);
    window.press_with(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(labels(&window), [regular, drift, drift, drift]);
}

#[test]
fn the_window_stays_until_the_state_of_the_training_is_written() {
    let mut window = Window::new();
    let start = Command::StartTraining(Box::new(endless()));
    window.app().commands().send(start);
    window.until("an epoch", |app| !app.training().unwrap().points.is_empty());
    let close = |window: &mut Window| {
        let viewports = &mut window.harness.input_mut().viewports;
        let root = viewports.get_mut(&egui::ViewportId::ROOT).unwrap();
        root.events.push(egui::ViewportEvent::Close);
        window.harness.step();
    };
    let asked = |window: &Window| -> Vec<egui::ViewportCommand> {
        let output = &window.harness.output().viewport_output;
        output[&egui::ViewportId::ROOT].commands.clone()
    };
    close(&mut window);
    assert!(asked(&window).contains(&egui::ViewportCommand::CancelClose));
    let start = Instant::now();
    while !asked(&window).contains(&egui::ViewportCommand::Close) {
        assert!(start.elapsed() < Duration::from_secs(60), "it never closes");
        std::thread::sleep(Duration::from_millis(2));
        window.harness.step();
    }
    let runs = window.folder.path().join("set/.driftscope/runs");
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap();
    assert!(run.path().join("checkpoint.safetensors").is_file());
    assert!(
        !run.path().join("training.lock").exists(),
        "nobody trains it"
    );
}

#[test]
fn drift_mode_gives_drift_and_regular() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::Num2);
    window.press(Key::M);
    window.press(Key::Num1);
    window.press(Key::Num0);
    window.press(Key::Num3);
    assert_eq!(window.hand(0), class(CLASSES.len()));
    assert_eq!(window.hand(1), Some(Label::Regular));
    assert_eq!(window.hand(2), None);
    assert!(window.shows("In drift mode 1 is drift"));
    window.press(Key::M);
    window.press(Key::X);
    window.press(Key::P);
    assert_eq!(window.hand(2), class(CLASSES.len()));
    assert_eq!(window.hand(3), Some(Label::Regular));
}

#[test]
fn one_key_labels_a_selection_as_one_step() {
    let mut window = Window::new();
    window.click("bent/000.png, bent");
    window.click_with(Modifiers::SHIFT, "bent/003.png, bent");
    window.press(Key::Num2);
    for image in 0..4 {
        assert_eq!(window.hand(image), class(2));
    }
    assert_eq!(window.hand(4), None);
    window.press(Key::Backspace);
    for image in 0..4 {
        assert_eq!(window.hand(image), None, "undone in one step");
    }
}

#[test]
fn filters_narrow_the_list_and_say_so() {
    let mut window = Window::new();
    assert_eq!(window.app().listed().len(), 24);
    assert!(window.shows("24 images"));
    window.click("dent: 8");
    assert_eq!(window.app().listed().len(), 8);
    assert!(window.shows("8 of 24"));
    window.press_with(Modifiers::COMMAND, Key::F);
    window
        .harness
        .get_by_role(egui::accesskit::Role::TextInput)
        .type_text("zzz");
    window.settle();
    assert!(window.app().listed().is_empty());
    assert!(window.shows("No image matches"));
    let buttons = window.harness.query_all_by_label("Clear all filters");
    buttons.last().unwrap().click();
    window.settle();
    assert_eq!(window.app().listed().len(), 24);
}

#[test]
fn a_label_never_makes_the_list_jump() {
    let mut window = Window::new();
    window.click("dent: 8");
    window.click("dent/200.png, dent");
    window.press(Key::Num0);
    assert_eq!(window.hand(16), class(0));
    assert_eq!(window.app().listed().len(), 8, "frozen");
    for _ in 0..40 {
        window.harness.step();
    }
    assert!(window.shows("list changed"));
    window.click("list changed · refresh");
    assert_eq!(window.app().listed().len(), 7);
}

#[test]
fn the_pace_of_a_plan_is_timed_by_itself_and_kept() {
    let mut window = Window::new();
    let file = window.folder.path().join("cache").join("speed.json");
    let app = window.harness.state_mut().as_mut().unwrap();
    app.keep_trials_in(file.clone());
    window.press_with(Modifiers::COMMAND, Key::Num3);
    assert_eq!(window.app().view(), View::Train);
    let start = Instant::now();
    while window
        .harness
        .query_by_label("measured on this machine")
        .is_none()
    {
        assert!(start.elapsed() < Duration::from_secs(60), "never measured");
        window.harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("\"model\": \"cnn03\""), "{kept}");
    assert!(window.shows("at most"), "beside the button");
    // It is not timed again for another number of epochs.
    window.settle();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
}

#[test]
fn the_palette_finds_and_runs_a_command() {
    let mut window = Window::new();
    window.press_with(Modifiers::COMMAND, Key::P);
    assert!(window.shows("Retrain the drift model"));
    window
        .harness
        .event(egui::Event::Text("show lab".to_owned()));
    window.settle();
    window.press(Key::Enter);
    assert_eq!(window.app().view(), View::Label);
}

#[test]
fn the_help_sheet_lists_every_command() {
    let mut window = Window::new();
    window.harness.set_size(egui::vec2(1280.0, 1200.0));
    window.press(Key::Questionmark);
    assert!(window.shows("keys can be changed"));
    let names = window.app().session().unwrap().classes().names();
    for row in Action::TABLE {
        let class = row.action.digit().and_then(|digit| names.get(digit));
        let text = class.map_or(row.text.to_owned(), |name| format!("Label: {name}"));
        let shown = window.harness.query_all_by_label(&text).next().is_some();
        assert!(shown, "{text}");
    }
    window.press(Key::Escape);
    assert!(!window.shows("keys can be changed"));
}

#[test]
fn what_cannot_be_opened_is_a_sentence_on_the_start_screen() {
    for (name, word) in [("empty", "empty"), ("missing", "missing")] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let window = Window::on(folder, name);
        assert!(window.app().session().is_none());
        let notices = window.app().notices().join("\n");
        assert!(notices.contains(word), "{notices}");
    }
}

#[test]
fn a_second_window_is_read_only_and_keys_say_why() {
    let mut first = Window::new();
    first.press_with(Modifiers::COMMAND, Key::Num2);
    first.press(Key::Num1);
    let path = first.folder.path().to_owned();
    let other = tempfile::tempdir().unwrap();
    link(&path.join("set"), &other.path().join("set"));
    let mut second = Window::on(other, "set");
    assert!(second.app().session().unwrap().read_only.is_some());
    second.press_with(Modifiers::COMMAND, Key::Num2);
    second.press(Key::Num2);
    assert_eq!(
        second.hand(0),
        class(1),
        "what the first one saved, unchanged"
    );
    assert!(second.shows("Labels cannot be changed"));
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

#[test]
fn a_plain_folder_is_given_classes_and_labelled_with_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("set")).unwrap();
    for i in 0..4 {
        picture(&folder.path().join(format!("set/{i}.png")), i);
    }
    let mut window = Window::on(folder, "set");
    window.press_with(Modifiers::COMMAND, Key::Num2);
    let field = window.harness.get_by_role(egui::accesskit::Role::TextInput);
    field.focus();
    field.type_text("good, dent");
    window.settle();
    window.click("Use these classes");
    window.until("opened again", |app| {
        app.session()
            .is_some_and(|s| s.classes().regular_len() == 2)
    });
    window.settle();
    assert_eq!(window.app().view(), View::Label);
    window.press(Key::Num1);
    assert_eq!(window.hand(0), class(1));
    assert_eq!(
        window.app().session().unwrap().classes().name(ClassId(1)),
        "dent"
    );
}

#[test]
fn an_unreadable_image_is_shown_as_such() {
    let folder = data_set();
    std::fs::write(folder.path().join("set/bent/000.png"), b"").unwrap();
    let mut window = Window::on(folder, "set");
    window.press_with(Modifiers::COMMAND, Key::Num2);
    let facts = window.app().session().unwrap().facts(ImageId(0)).unwrap();
    assert!(facts.is_err());
    window.press(Key::Num1);
    assert_eq!(window.hand(0), class(1), "it can be labelled all the same");
}

#[test]
fn any_window_size_is_survived() {
    let mut window = Window::new();
    for view in [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5] {
        window.press_with(Modifiers::COMMAND, view);
        for size in [
            [0.0, 0.0],
            [1.0, 1.0],
            [80.0, 60.0],
            [300.0, 200.0],
            [2560.0, 1440.0],
        ] {
            window.harness.set_size(size.into());
            window.harness.step();
            window.harness.step();
        }
    }
}

#[test]
fn browse_and_label_look_as_designed() {
    let mut window = Window::new();
    window.harness.set_size(egui::vec2(1000.0, 640.0));
    window.press_with(Modifiers::COMMAND, Key::Num2);
    window.press(Key::Num2);
    window.press(Key::Num1);
    window.press(Key::F);
    window.until("pictures", |app| app.is_idle());
    // The history tells when and who.
    window.press(Key::I);
    window.picture("label");
    window.press(Key::G);
    window.picture("browse");
    window.press_with(Modifiers::COMMAND, Key::W);
}
