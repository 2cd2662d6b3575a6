//! Scores and heads agree with scikit-learn and NumPy: `tests/golden/make_drift.py` wrote the numbers.

use approx::assert_abs_diff_eq;
use driftscope::domain::ClassId;
use driftscope::drift::{
    EmbeddingView, LogisticOptions, LogisticRegression, NearestNeighbours, Projection,
    RelativeMahalanobis, Scorer,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    logistic: Vec<Logistic>,
    projection: ProjectionCase,
    distance: Distance,
}

#[derive(Deserialize)]
struct Logistic {
    dim: usize,
    x: Vec<f64>,
    y: Vec<bool>,
    c: f64,
    balanced: bool,
    coefficients: Vec<f64>,
    intercept: f64,
    probabilities: Vec<f64>,
}

#[derive(Deserialize)]
struct ProjectionCase {
    dim: usize,
    x: Vec<f32>,
    components: usize,
    explained_variance: Vec<f64>,
    explained_variance_ratio: f64,
    projected: Vec<f64>,
}

#[derive(Deserialize)]
struct Distance {
    dim: usize,
    x: Vec<f32>,
    classes: Vec<u8>,
    queries: Vec<f32>,
    mahalanobis: Vec<f64>,
    relative: Vec<f64>,
    k: usize,
    knn: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/drift.json")).expect("written by make_drift.py")
}

fn view(data: &[f32], dim: usize) -> EmbeddingView<'_> {
    EmbeddingView::new(data, dim).expect("whole rows")
}

fn assert_all_close(ours: &[f64], theirs: &[f64], epsilon: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert_abs_diff_eq!(a, b, epsilon = epsilon * (1.0 + b.abs()));
    }
}

#[test]
fn logistic_regression_is_scikit_learns() {
    for case in golden().logistic {
        let options = LogisticOptions {
            c: case.c,
            balanced: case.balanced,
        };
        let ours = LogisticRegression::fit(&case.x, case.dim, &case.y, &options).expect("both");
        assert_all_close(&ours.coefficients, &case.coefficients, 1e-5);
        assert_abs_diff_eq!(ours.intercept, case.intercept, epsilon = 1e-5);
        let probabilities: Vec<f64> = case
            .x
            .chunks_exact(case.dim)
            .map(|row| ours.predict_proba(row).expect("same width"))
            .collect();
        assert_all_close(&probabilities, &case.probabilities, 1e-5);
    }
}

#[test]
fn the_projection_is_scikit_learns() {
    let case = golden().projection;
    let embeddings = view(&case.x, case.dim);
    let ours = Projection::fit(embeddings, case.components, 1).expect("varied");
    assert_all_close(ours.explained_variance(), &case.explained_variance, 1e-6);
    assert_abs_diff_eq!(
        ours.explained_variance_ratio(),
        case.explained_variance_ratio,
        epsilon = 1e-5
    );
    let projected = ours.project_all(embeddings).expect("same model");
    let projected: Vec<f64> = projected.into_iter().map(f64::from).collect();
    assert_all_close(&projected, &case.projected, 1e-5);
}

#[test]
fn distances_are_numpys() {
    let case = golden().distance;
    let (bank, queries) = (view(&case.x, case.dim), view(&case.queries, case.dim));
    let classes: Vec<ClassId> = case.classes.into_iter().map(ClassId).collect();
    let ours = RelativeMahalanobis::fit(bank, &classes).expect("varied");
    let nearest = ours.nearest().score_all(queries).expect("same width");
    assert_all_close(&nearest, &case.mahalanobis, 1e-9);
    let relative = ours.score_all(queries).expect("same width");
    assert_all_close(&relative, &case.relative, 1e-9);
    let knn = NearestNeighbours::fit(bank, case.k).expect("rows");
    assert_all_close(
        &knn.score_all(queries).expect("same width"),
        &case.knn,
        1e-5,
    );
}
