//! The drift head under cross-validation, as the Drift view runs it: signal is found, and labels that mean
//! nothing are not.

use driftscope::drift::{
    DriftError, DuplicateGroups, EmbeddingView, HeadOptions, Projection, held_out_scorer,
};
use driftscope::evaluation::{CrossValidationError, CvPlan, CvReport, cross_validate_grouped};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 40;
const IMAGES: usize = 240;

/// Embeddings of which every sixth is shifted, and these sixths as labels; every tenth image is
/// unlabelled.
fn images() -> (Vec<f32>, Vec<Option<bool>>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut data = Vec::new();
    for i in 0..IMAGES {
        let shift = if i % 6 == 0 { 1.2 } else { 0.0 };
        data.extend((0..DIM).map(|j| {
            let along = if j < 2 { shift } else { 0.0 };
            1.0 + along + rng.random_range(-1.0_f32..1.0)
        }));
    }
    let labels = (0..IMAGES)
        .map(|i| (i % 10 != 9).then_some(i % 6 == 0))
        .collect();
    (data, labels)
}

fn validated(
    data: &[f32],
    labels: &[Option<bool>],
) -> Result<CvReport, CrossValidationError<DriftError>> {
    let alone: Vec<usize> = (0..labels.len()).collect();
    validated_in(&alone, data, labels)
}

fn validated_in(
    groups: &[usize],
    data: &[f32],
    labels: &[Option<bool>],
) -> Result<CvReport, CrossValidationError<DriftError>> {
    let embeddings = EmbeddingView::new(data, DIM).expect("whole rows");
    let projection = Projection::fit(embeddings, 12, 1).expect("varied");
    let projected = projection.project_all(embeddings).expect("same model");
    let features = EmbeddingView::new(&projected, projection.components()).expect("whole rows");
    let options = HeadOptions::default();
    let plan = CvPlan {
        repeats: 4,
        ..CvPlan::default()
    };
    let scorer = held_out_scorer(features, labels, &options);
    cross_validate_grouped(labels, groups, &plan, scorer)
}

#[test]
fn a_shift_is_found() {
    let (data, labels) = images();
    let report = validated(&data, &labels).expect("both kinds");
    assert_eq!((report.n_drift, report.n_regular), (40, 176));
    assert!(report.roc_auc.lo > 0.8, "{:?}", report.roc_auc);
    assert!(report.f1.mean > 0.6, "{:?}", report.f1);
    assert_eq!(report.out_of_fold[9], None);
}

#[test]
fn meaningless_labels_score_like_chance() {
    let (data, mut labels) = images();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for label in labels.iter_mut().flatten() {
        *label = rng.random_bool(0.2);
    }
    let report = validated(&data, &labels).expect("both kinds");
    let auc = report.roc_auc;
    assert!(auc.lo < 0.5 && auc.mean < 0.6, "a label leaked: {auc:?}");
}

#[test]
fn a_near_duplicate_in_another_fold_would_leak_its_label() {
    // Every image twice, a little changed, and labels that mean nothing: only a twin tells them. Of a few draws,
    // as chance alone makes a ranking of so few.
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let once: Vec<f32> = (0..40 * DIM).map(|_| rng.random_range(0.0..1.0)).collect();
    let mut data = once.clone();
    data.extend(once.iter().map(|v| v + rng.random_range(-1e-3..1e-3)));
    let embeddings = EmbeddingView::new(&data, DIM).expect("whole rows");
    let groups = DuplicateGroups::find(embeddings).expect("numbers");
    let twins: Vec<Vec<usize>> = (0..40).map(|i| vec![i, i + 40]).collect();
    assert_eq!(groups.groups(), twins);

    let draws = 8;
    let (mut split, mut whole) = (0.0, 0.0);
    for _ in 0..draws {
        let label: Vec<bool> = (0..40).map(|_| rng.random_bool(0.4)).collect();
        let labels: Vec<Option<bool>> = label.iter().chain(&label).map(|l| Some(*l)).collect();
        let apart = validated(&data, &labels).expect("both kinds");
        let together = validated_in(groups.ids(), &data, &labels).expect("both kinds");
        split += apart.roc_auc.mean / f64::from(draws);
        whole += together.roc_auc.mean / f64::from(draws);
    }
    assert!(split > 0.7, "{whole}, the twin tells the label: {split}");
    assert!((0.4..0.6).contains(&whole), "a label leaked: {whole}");
}

#[test]
fn a_missing_kind_is_said_in_a_sentence() {
    let (data, _) = images();
    let mut labels = vec![Some(false); IMAGES];
    labels[0] = Some(true);
    let refused = validated(&data, &labels)
        .expect_err("one drift image")
        .to_string();
    assert!(
        refused.starts_with("1 drift and 239 regular images are labelled"),
        "{refused}"
    );
}
