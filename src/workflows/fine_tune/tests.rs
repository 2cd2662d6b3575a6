use std::collections::HashSet;
use std::fmt::Write as _;

use image::{GrayImage, Luma};
use tempfile::TempDir;

use super::*;
use crate::domain::Label;
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
    for group_by in [None, Some("lot".to_owned())] {
        let plan = Plan {
            group_by: group_by.clone(),
            ..Plan::default()
        };
        let reference = deal::reference(&taught, &base.plan, &incoming, 1).expect("a split");
        let deal =
            Deal::new(&taught, &incoming, &labels, reference.clone(), &plan).expect("enough");
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
        let again = Deal::new(&taught, &incoming, &labels, reference, &plan).expect("enough");
        assert_eq!(again, deal);
    }
}

#[test]
fn who_stops_it_finds_nothing_left() {
    let (_folder, snapshot) = project();
    let taught = labelled(&snapshot, 40);
    let context = JobContext::detached();
    let run = find_run(&taught, None).expect("the run");
    let source = DriftSource::of(&taught, &run.dir).expect("a source");
    let session = prepare_drift(&taught, &source, &context).expect("a session");
    let stop = context.control.clone();
    let mut told = Vec::new();
    let ended = fine_tune(
        &taught,
        &session,
        &FineTuneRequest::default(),
        &context,
        &mut |event| {
            if let FineTuneEvent::Fold { fold, folds } = event {
                told.push((fold, folds));
                if fold == 2 {
                    stop.stop(crate::jobs::StopReason::Cancelled);
                }
            }
        },
    );
    assert!(ended.is_err());
    assert_eq!(told, [(1, 3), (2, 3)]);
    assert_eq!(fs::read_dir(taught.runs()).expect("runs").count(), 1);
    assert!(drift_runs(&taught).is_empty());
}
