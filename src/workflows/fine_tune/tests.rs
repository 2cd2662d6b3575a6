use std::collections::HashSet;
use std::fmt::Write as _;

use image::{GrayImage, Luma};
use tempfile::TempDir;

use super::unfinished::fold_dir;
use super::*;
use crate::domain::Label;
use crate::drift::{DuplicateGroups, EmbeddingView};
use crate::evaluation::Better;
use crate::training::Example;
use crate::workflows::{
    DriftSource, OpenRequest, TrainRequest, find_run, load_run, open, prepare_drift, train,
    unfinished,
};

const TRAINING: usize = 48;
const INCOMING: usize = 60;
const SIDE: u32 = 32;

/// Whether incoming image number `i` shows what no regular image does.
fn is_drift(i: usize) -> bool {
    i.is_multiple_of(4)
}

fn picture(bars: bool, drift: bool, seed: u32) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| {
        let noise = ((x * 7 + y * 13 + seed * seed * 29 + seed * x) % 31) as u8;
        let bar = bars && (x / 4 + seed).is_multiple_of(2);
        let blot = drift && (x + y + seed % 5).is_multiple_of(6);
        let ink = if blot {
            5
        } else if bar {
            60
        } else {
            190
        };
        Luma([ink + noise])
    })
}

/// A project of two classes, images that nobody has labelled, and a trained run: 48 and 60 images, three of a lot.
fn project() -> (TempDir, Snapshot) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut table = "filename,lot,label\n".to_owned();
    for i in 0..TRAINING + INCOMING {
        let bars = i.is_multiple_of(2);
        let new = i.checked_sub(TRAINING);
        let name = format!("{i:03}.png");
        let drawn = picture(bars, new.is_some_and(is_drift), i as u32);
        drawn.save(folder.path().join(&name)).expect("written");
        let label = match new {
            Some(_) => "",
            None if bars => "bars",
            None => "plain",
        };
        writeln!(table, "{name},lot{},{label}", i / 3).expect("a string");
    }
    let csv = folder.path().join("images.csv");
    fs::write(&csv, table).expect("written");
    let project = open(&OpenRequest::from(csv)).expect("a project");
    let snapshot = project.snapshot();
    let request = TrainRequest {
        plan: Plan {
            size: SIDE,
            epochs: 3,
            ..Plan::default()
        },
        out: None,
        threads: Some(1),
    };
    let context = JobContext::detached();
    train(&snapshot, &request, &context, &mut |_| {}).expect("a run");
    (folder, snapshot)
}

/// The first `n` incoming images labelled by the truth.
fn labelled(snapshot: &Snapshot, n: usize) -> Snapshot {
    let mut hand = vec![None; snapshot.manifest.len()];
    for i in 0..n {
        let drift = snapshot.manifest.classes.drift();
        hand[TRAINING + i] = Some(if is_drift(i) {
            Label::Class(drift)
        } else {
            Label::Regular
        });
    }
    Snapshot {
        hand: Arc::new(hand),
        ..snapshot.clone()
    }
}

fn tuned(snapshot: &Snapshot, seed: u64) -> Result<DriftRun, WorkflowError> {
    let context = JobContext::detached();
    let run = find_run(snapshot, None)?;
    let source = DriftSource::of(snapshot, &run.dir)?;
    let session = prepare_drift(snapshot, &source, &context)?;
    let request = FineTuneRequest {
        epochs: Some(20),
        seed,
        threads: Some(1),
        ..FineTuneRequest::default()
    };
    fine_tune(snapshot, &session, &request, &context, &mut |_| {})
}

fn ids(examples: &[Example]) -> HashSet<ImageId> {
    examples.iter().map(|e| e.image).collect()
}

#[test]
fn a_network_learns_drift_and_is_no_run_of_the_classes() {
    let (_folder, snapshot) = project();
    let base = find_run(&snapshot, None).expect("the run");
    let taught = labelled(&snapshot, 40);
    let found = tuned(&taught, 1).expect("fine-tuned");
    assert_eq!(found.base, base.name);
    let report = &found.comparison;
    assert_eq!((report.n_drift, report.n_regular), (10, 30));
    // By chance it would be about a quarter.
    let ap = report.second.average_precision;
    assert!(ap.mean > 0.8 && ap.lo <= ap.mean, "{report:?}");
    assert_ne!(report.better(), Some(Better::First));
    assert!(found.pwa.is_some());

    // Every candidate has an answer, labelled ones from the network that has not learned from them.
    assert_eq!(found.rows.len(), INCOMING);
    for row in &found.rows {
        assert_eq!(row.label.is_some(), row.fold.is_some());
        assert!((0.0..=1.0).contains(&row.network) && row.head.is_some());
    }
    // And the ones that nobody has labelled are told apart too.
    let mean = |drift: bool| {
        let open = found.rows.iter().filter(|row| row.label.is_none());
        let of_kind = open.filter(|row| is_drift(row.image.index() - TRAINING) == drift);
        let scores: Vec<f32> = of_kind.map(|row| row.network).collect();
        scores.iter().sum::<f32>() / scores.len() as f32
    };
    assert!(
        mean(true) > mean(false) + 0.2,
        "{} {}",
        mean(true),
        mean(false)
    );

    // Whoever looks for a run of the classes does not find it.
    assert_eq!(runs(&taught).len(), 1);
    assert_eq!(find_run(&taught, None).expect("the run").name, base.name);
    let refused = load_run(&found.dir).expect_err("no run of the classes");
    assert!(refused.to_string().contains("know no classes"), "{refused}");
    assert!(resolve_run(&found.dir).is_err());
    assert_eq!(
        resolve_run(&taught.dir).expect("the newest").name,
        base.name
    );
    assert!(unfinished(&taught).is_empty());
    assert_eq!(best_run(&taught).expect("the best").run.name, base.name);
    assert!(load_drift_run(&taught, &base.dir).is_err());

    // What is on the disk says the same.
    let all = drift_runs(&taught);
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].rows, all[0].comparison), (&found.rows, *report));
    for fold in 1..=3 {
        assert!(found.dir.join(format!("fold-{fold}.safetensors")).is_file());
    }
}

#[test]
fn the_seed_says_it_all() {
    let (_folder, snapshot) = project();
    let taught = labelled(&snapshot, 28);
    let first = tuned(&taught, 5).expect("fine-tuned");
    let again = tuned(&taught, 5).expect("fine-tuned");
    assert_eq!(first.rows, again.rows);
    assert_eq!(first.comparison, again.comparison);
    let other = tuned(&taught, 6).expect("fine-tuned");
    assert_ne!(first.rows, other.rows);
}

#[test]
fn labels_of_one_kind_are_refused_with_what_is_missing() {
    let (_folder, snapshot) = project();
    let before = fs::read_dir(snapshot.runs()).expect("runs").count();
    let mut one_kind = Vec::clone(&labelled(&snapshot, 40).hand);
    for label in &mut one_kind {
        *label = label.filter(|label| *label == Label::Regular);
    }
    let one_kind = Snapshot {
        hand: Arc::new(one_kind),
        ..snapshot.clone()
    };
    let error = tuned(&one_kind, 1).expect_err("no drift");
    assert_eq!(
        error.to_string(),
        "fine-tuning needs 6 images labelled drift and 6 labelled regular, and there are 0 and 30: label 6 more drift"
    );
    let few = fine_tune_cost(&labelled(&snapshot, 5), &FineTuneRequest::default(), None);
    let error = few.expect_err("too few");
    assert!(
        error
            .to_string()
            .ends_with("there are 2 and 3: label 4 more drift and 3 more regular"),
        "{error}"
    );
    assert_eq!(fs::read_dir(snapshot.runs()).expect("runs").count(), before);
    let enough = labelled(&snapshot, 24);
    let cost = fine_tune_cost(&enough, &FineTuneRequest::default(), None).expect("enough");
    assert_eq!((cost.labels, cost.folds), ((6, 18), 3));
    assert!(cost.at_most_s > 0.0 && cost.base.validation_macro_f1.is_some());
}

#[test]
fn nobody_learns_from_what_is_not_labelled_or_is_measured_on() {
    let (_folder, snapshot) = project();
    let taught = labelled(&snapshot, 40);
    let incoming = candidates(&taught);
    let labels = drift_labels(&taught);
    let base = find_run(&taught, None).expect("the run");
    let parts = crate::workflows::train::Parts::of(&taught, &base.plan).expect("a split");
    let learned = ids(&parts.train);
    let different = ImageGroups::default();
    for group_by in [None, Some("lot".to_owned())] {
        let plan = Plan {
            group_by: group_by.clone(),
            ..Plan::default()
        };
        let reference = deal::reference(&taught, &base.plan, &incoming, 1).expect("a split");
        let deal = Deal::new(
            &taught,
            &incoming,
            &labels,
            reference.clone(),
            &plan,
            &different,
        )
        .expect("enough");
        let known: HashSet<ImageId> = labels.iter().map(|(image, _)| *image).collect();
        assert_eq!(deal.unlabelled.len(), 20);
        // What the run has learned from is known by heart.
        assert!(!reference.is_empty());
        assert!(reference.iter().all(|image| !learned.contains(image)));
        let mut measured = HashSet::new();
        for fold in &deal.folds {
            let [train, validation, held_out] =
                [&fold.train, &fold.validation, &fold.held_out].map(|part| ids(part));
            assert!(train.is_disjoint(&validation) && train.is_disjoint(&held_out));
            assert!(validation.is_disjoint(&held_out));
            for image in train.union(&validation) {
                assert!(known.contains(image) || image.index() < TRAINING);
            }
            for part in [&fold.train, &fold.validation, &fold.held_out] {
                let drift = part.iter().filter(|e| e.class == DRIFT_CLASS).count();
                assert!(0 < drift && drift < part.len());
                // The epoch is chosen by both kinds alike.
                assert!(part != &fold.validation || 2 * drift == part.len());
                for e in part {
                    let said = labels.iter().find(|(image, _)| *image == e.image);
                    assert_eq!(e.class == DRIFT_CLASS, said.is_some_and(|(_, d)| *d));
                }
            }
            if group_by.is_some() {
                let lots = |part: &HashSet<ImageId>| -> HashSet<usize> {
                    let labelled = part.iter().filter(|image| known.contains(*image));
                    labelled.map(|image| image.index() / 3).collect()
                };
                assert!(lots(&held_out).is_disjoint(&lots(&train)));
                assert!(lots(&held_out).is_disjoint(&lots(&validation)));
                assert!(lots(&validation).is_disjoint(&lots(&train)));
            }
            for image in held_out {
                assert!(measured.insert(image), "held out once");
            }
        }
        assert_eq!(measured, known);
        let again =
            Deal::new(&taught, &incoming, &labels, reference, &plan, &different).expect("enough");
        assert_eq!(again, deal);
    }
}

#[test]
fn near_duplicates_share_a_part_and_none_vouches_for_another() {
    let (_folder, snapshot) = project();
    let taught = labelled(&snapshot, 40);
    let incoming = candidates(&taught);
    let labels = drift_labels(&taught);
    let base = find_run(&taught, None).expect("the run");
    let reference = deal::reference(&taught, &base.plan, &incoming, 1).expect("a split");
    // Every image looks like the one 20 further on; the first two look like a reference image each.
    let group = |at: usize| match at.checked_sub(INCOMING) {
        None => at % 20,
        Some(other) if other < 2 => other,
        Some(other) => 20 + other,
    };
    let dim = 20 + reference.len();
    let row = |at: usize| (0..dim).map(move |i| f32::from(u8::from(i == group(at))));
    let rows: Vec<f32> = (0..INCOMING + reference.len()).flat_map(row).collect();
    let found = EmbeddingView::new(&rows, dim).and_then(DuplicateGroups::find);
    let alike = ImageGroups::with_others(&incoming, &reference, &found.expect("groups"));
    assert_eq!(alike.all().len(), 20);
    for group_by in [None, Some("lot".to_owned())] {
        let plan = Plan {
            group_by: group_by.clone(),
            ..Plan::default()
        };
        let deal = Deal::new(
            &taught,
            &incoming,
            &labels,
            reference.clone(),
            &plan,
            &alike,
        );
        let deal = match (deal, &group_by) {
            // Lots of three and pairs make one chain of all.
            (Err(WorkflowError::TooFewGroups { column, .. }), Some(_)) => {
                assert_eq!(column, group_by);
                continue;
            }
            (deal, _) => deal.expect("enough"),
        };
        let mut left_out = 0;
        for fold in &deal.folds {
            let [train, validation, held_out] =
                [&fold.train, &fold.validation, &fold.held_out].map(|part| ids(part));
            let of = |part: &HashSet<ImageId>| -> HashSet<usize> {
                part.iter().filter_map(|i| alike.group(*i)).collect()
            };
            assert!(of(&train).is_disjoint(&of(&held_out)));
            assert!(of(&train).is_disjoint(&of(&validation)));
            assert!(of(&validation).is_disjoint(&of(&held_out)));
            left_out += reference.iter().filter(|i| !train.contains(*i)).count();
        }
        // Each of the two stands aside where its like is held out, and where it chooses.
        assert!((2..=6).contains(&left_out), "{left_out}");
    }
}

/// All that came out of a fine-tuning but the time it took.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<DriftRunRow>,
    comparison: PairedReport,
    pwa: Option<FineTunePwa>,
    warnings: Vec<String>,
    weights: Vec<blake3::Hash>,
    log: Vec<String>,
}

impl Outcome {
    fn of(run: &DriftRun) -> Self {
        let weights = (1..=run.folds).map(|fold| {
            let file = run.dir.join(format!("fold-{fold}.safetensors"));
            blake3::hash(&fs::read(file).expect("weights"))
        });
        let log = read_json_lines::<serde_json::Value>(&run.dir.join(METRICS));
        let log = log.into_iter().map(|mut epoch| {
            epoch["seconds"] = 0.into();
            epoch["train_seconds"] = 0.into();
            epoch.to_string()
        });
        Self {
            rows: run.rows.clone(),
            comparison: run.comparison,
            pwa: run.pwa,
            warnings: run.warnings.clone(),
            weights: weights.collect(),
            log: log.collect(),
        }
    }
}

struct Bench {
    _folder: TempDir,
    /// With 28 labels.
    taught: Snapshot,
    /// With 40.
    later: Snapshot,
    session: DriftSession,
    request: FineTuneRequest,
}

impl Bench {
    fn new() -> Self {
        let (folder, snapshot) = project();
        let taught = labelled(&snapshot, 28);
        let run = find_run(&taught, None).expect("the run");
        let source = DriftSource::of(&taught, &run.dir).expect("a source");
        let session = prepare_drift(&taught, &source, &JobContext::detached()).expect("a session");
        Self {
            later: labelled(&snapshot, 40),
            request: FineTuneRequest {
                epochs: Some(3),
                seed: 5,
                threads: Some(1),
                ..FineTuneRequest::default()
            },
            _folder: folder,
            taught,
            session,
        }
    }

    /// Begins, or goes on with `dir`, until `ends` says so of what is told.
    fn sit(
        &self,
        dir: Option<&Path>,
        mut ends: impl FnMut(&FineTuneEvent) -> bool,
    ) -> Result<DriftRun, WorkflowError> {
        let context = JobContext::detached();
        let control = context.control.clone();
        let mut told = |event: FineTuneEvent| {
            if ends(&event) {
                control.stop(crate::jobs::StopReason::Closing);
            }
        };
        match dir {
            None => fine_tune(
                &self.taught,
                &self.session,
                &self.request,
                &context,
                &mut told,
            ),
            // Labels that were given since are no matter.
            Some(dir) => resume_fine_tune(&self.later, &self.session, dir, &context, &mut told),
        }
    }
}

#[test]
fn a_fine_tuning_stopped_again_and_again_ends_as_if_it_never_was() {
    let bench = Bench::new();
    let whole = bench.sit(None, |_| false).expect("fine-tuned");
    let whole_dir = whole.dir.clone();
    let whole = Outcome::of(&whole);
    assert!(unfinished_fine_tunes(&bench.later).is_empty());
    let mut sittings = 0;
    let mut dir: Option<PathBuf> = None;
    let mut over = 0;
    let ended = loop {
        sittings += 1;
        let mut epochs = 0;
        let second = |event: &FineTuneEvent| {
            epochs += usize::from(matches!(event, FineTuneEvent::Train(TrainEvent::Epoch(_))));
            epochs == 2
        };
        match bench.sit(dir.as_deref(), second) {
            Ok(run) => break run,
            Err(error) => assert!(
                matches!(
                    error,
                    WorkflowError::Train(training::TrainError::Cancelled)
                        | WorkflowError::Cancelled
                ),
                "{error}"
            ),
        }
        let mut left = unfinished_fine_tunes(&bench.later);
        assert_eq!(left.len(), 1);
        let left = left.remove(0);
        assert_eq!((left.labels, left.folds), ((7, 21), 3));
        assert!(left.over >= over);
        over = left.over;
        let words = left.in_words();
        assert!(
            words.contains("7 drift and 21 regular labels it was started with"),
            "{words}"
        );
        if left.over > 0 && sittings % 2 == 0 {
            // A process that is killed may leave a state that is of no use: its network begins anew.
            let state = fold_dir(&left.dir, left.over + 1).join("checkpoint.safetensors");
            if state.is_file() && sittings < 8 {
                fs::write(state, "half").expect("written");
            }
        }
        dir = Some(left.dir);
        assert!(sittings < 40, "it never ends");
    };
    assert!(sittings >= 5, "only {sittings} sittings");
    assert_eq!(Outcome::of(&ended), whole);
    assert_ne!(ended.dir, whole_dir);
    // What it needed to be resumed is gone.
    let mut files: Vec<String> = (fs::read_dir(&ended.dir).expect("the run").flatten())
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let expected = [
        "fold-1.safetensors",
        "fold-2.safetensors",
        "fold-3.safetensors",
        "metrics.jsonl",
        "plan.toml",
        "probabilities.csv",
        "run.json",
    ];
    assert_eq!(files, expected);
    let again = bench.sit(Some(&ended.dir), |_| false);
    let refused = again.expect_err("it is over");
    assert!(
        matches!(refused, WorkflowError::FineTuningFinished { .. }),
        "{refused}"
    );
    // With another seed it is another one: the comparison can fail.
    let other = Bench {
        request: FineTuneRequest {
            seed: 6,
            ..bench.request.clone()
        },
        ..bench
    };
    let other = other.sit(None, |_| false).expect("fine-tuned");
    assert_ne!(Outcome::of(&other).weights, whole.weights);
}

#[test]
fn what_is_interrupted_is_kept_until_it_is_discarded_or_its_images_change() {
    let bench = Bench::new();
    let at_once = bench.sit(None, |event| matches!(event, FineTuneEvent::Started { .. }));
    assert!(at_once.is_err());
    assert!(unfinished_fine_tunes(&bench.taught).is_empty());
    assert_eq!(
        fs::read_dir(bench.taught.runs()).expect("runs").count(),
        1,
        "nothing was trained, nothing is kept"
    );
    let second = |event: &FineTuneEvent| matches!(event, FineTuneEvent::Fold { fold: 2, .. });
    assert!(bench.sit(None, second).is_err());
    let left = unfinished_fine_tunes(&bench.taught).remove(0);
    assert_eq!(left.over, 1);
    assert!(
        left.in_words()
            .starts_with("It goes on with network 2 of 3")
    );
    assert!(drift_runs(&bench.taught).is_empty());
    // It is no interrupted training of the classes, nor one of their runs.
    assert!(unfinished(&bench.taught).is_empty());
    assert_eq!(runs(&bench.taught).len(), 1);

    let file = bench
        .taught
        .manifest
        .get(ImageId::from(TRAINING + 3))
        .path
        .clone();
    let before = fs::read(&file).expect("an image");
    let other = picture(true, true, 9_999);
    other.save(&file).expect("written");
    let refused = bench.sit(Some(&left.dir), |_| false);
    let refused = refused.expect_err("an image changed").to_string();
    assert!(refused.contains("051.png"), "{refused}");
    fs::write(&file, before).expect("written");
    let plan = left.dir.join(PLAN);
    let words = fs::read_to_string(&plan).expect("the plan");
    fs::write(&plan, words.replace("seed = 5", "seed = 6")).expect("written");
    let refused = bench.sit(Some(&left.dir), |_| false);
    assert!(matches!(refused, Err(WorkflowError::PlanChanged { .. })));

    crate::workflows::discard(&left.dir).expect("removed");
    assert!(!left.dir.exists());
}
