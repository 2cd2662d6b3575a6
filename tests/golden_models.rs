//! The architectures agree with Keras and timm: `tests/golden/make_models_*.py` wrote the numbers. Weights
//! and pictures are a formula that both sides compute (`tests/golden/formula.py`).

#![expect(
    clippy::print_stdout,
    reason = "distances, and why a test was skipped, for --nocapture"
)]

use std::path::Path;

use driftscope::models::{Device, Model, Precision, Preprocessing, Role};
use serde::Deserialize;
use tch::Tensor;

#[derive(Deserialize)]
struct Golden {
    formula: Vec<Case>,
    published_inception_v3: Option<Answers>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    #[serde(flatten)]
    answers: Answers,
}

#[derive(Deserialize)]
struct Answers {
    size: u32,
    /// One in so many values of the embedding is kept.
    every: i64,
    features: Vec<Vec<f64>>,
    logits: Vec<Vec<f64>>,
}

fn golden(file: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file);
    let text = std::fs::read_to_string(path).expect("the golden file is committed");
    serde_json::from_str(&text).expect("as the script wrote it")
}

/// `uniform` of formula.py.
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let seed = name.bytes().fold(2_166_136_261, hash);
    let value = |i: usize| {
        let mut x = seed.wrapping_add(i as u32);
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        (x >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(value).collect()
}

/// `value` of formula.py.
fn value(name: &str, shape: &[i64]) -> Tensor {
    let u = Tensor::from_slice(&uniform(name, shape.iter().product::<i64>() as usize)).view(shape);
    let vector = shape.len() == 1;
    if name.ends_with("running_var") || vector && name.ends_with("weight") {
        return u * 0.25 + 1.0;
    }
    if name.ends_with("gamma") {
        return u * 0.25 + 0.5;
    }
    if vector || name == "cls_token" || name == "pos_embed" {
        return u * 0.25;
    }
    let fan_in: i64 = shape[1..].iter().product();
    u * f64::from((4.0 / fan_in as f32).sqrt())
}

/// `images` of formula.py, `[count, 1, size, size]`.
fn images(count: usize, size: usize) -> Tensor {
    let noise = uniform("images", count * size * size);
    let values = noise.iter().enumerate().map(|(at, noise)| {
        let (i, row, column) = (at / size / size, at / size % size, at % size);
        let band = (row * (i + 1) + column * 2) / 7 % 2 * 120;
        (band as f32 + ((noise + 1.0) * 60.0).floor()) / 255.0
    });
    let side = size as i64;
    Tensor::from_slice(&values.collect::<Vec<f32>>()).view([count as i64, 1, side, side])
}

/// Fills by formula what `wanted` names.
fn fill(model: &Model, wanted: impl Fn(&str) -> bool) {
    let variables = model.variables.variables();
    for variable in model.declared() {
        if variable.role != Role::Constant && wanted(&variable.name) {
            let value = value(&variable.name, &variable.shape);
            tch::no_grad(|| variables[&variable.name].shallow_clone().copy_(&value));
        }
    }
}

/// Farthest that features and logits are from what they should be.
fn distance(model: &Model, answers: &Answers) -> (f64, f64) {
    let images = images(answers.logits.len(), answers.size as usize);
    let (embeddings, logits) = tch::no_grad(|| {
        let embeddings = model.embed(&images, false);
        let logits = model.head(&embeddings, false);
        (embeddings, logits)
    });
    compare(&embeddings, &logits, answers)
}

/// The same for a copy made for inference.
fn distance_of_copy(model: &Model, precision: Precision, answers: &Answers) -> (f64, f64) {
    let images = images(answers.logits.len(), answers.size as usize);
    let copy = model.optimize_for_inference(precision);
    let embeddings = copy.embed(&images);
    compare(&embeddings, &copy.head(&embeddings), answers)
}

fn compare(embeddings: &Tensor, logits: &Tensor, answers: &Answers) -> (f64, f64) {
    let some = embeddings.slice(1, 0, None, answers.every);
    (
        farthest(&some, &answers.features),
        farthest(logits, &answers.logits),
    )
}

fn farthest(found: &Tensor, wanted: &[Vec<f64>]) -> f64 {
    let wanted = Tensor::from_slice2(wanted);
    assert_eq!(found.size(), wanted.size());
    (found - wanted).abs().max().double_value(&[])
}

fn agree(cases: &[Case]) {
    for Case { model, answers } in cases {
        let mut built = Model::new(model, answers.size, 6, 0, Device::Cpu).expect("built");
        built.preprocessing = Preprocessing::Scale01;
        fill(&built, |_| true);
        let folded = distance_of_copy(&built, Precision::Full, answers);
        println!("{model} folded: {:.1e} {:.1e}", folded.0, folded.1);
        assert!(folded.0 < 1e-4 && folded.1 < 1e-4, "{model}: {folded:?}");
        // Eight bits of mantissa through dozens of layers.
        let coarse = distance_of_copy(&built, Precision::BFloat16, answers);
        println!("{model} in bf16: {:.1e} {:.1e}", coarse.0, coarse.1);
        assert!(coarse.0 < 0.06 && coarse.1 < 0.06, "{model}: {coarse:?}");
        let (features, logits) = distance(&built, answers);
        println!(
            "{model} at {} px: {features:.1e} {logits:.1e}",
            answers.size
        );
        assert!(
            features < 1e-4,
            "{model} at {} px: {features}",
            answers.size
        );
        assert!(logits < 1e-4, "{model} at {} px: {logits}", answers.size);
    }
}

#[test]
fn convolutional_networks_agree_with_keras() {
    agree(&golden("models_keras.json").formula);
}

#[test]
fn the_vision_transformer_agrees_with_timm() {
    agree(&golden("models_timm.json").formula);
}

#[test]
fn published_inception_weights_load_and_agree_with_keras() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights/inception_v3.safetensors");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let answers = golden("models_keras.json")
        .published_inception_v3
        .expect("the script was given the file");
    let mut model = Model::new("inception_v3", answers.size, 6, 0, Device::Cpu).expect("built");
    let report = model.load_pretrained(&path, None).expect("loaded");
    println!("{report}");
    assert_eq!(report.loaded.len(), 94 * 5);
    assert_eq!(report.missing, ["fc.weight", "fc.bias"]);
    assert_eq!(report.converted.len(), 94);
    assert!(report.converted.iter().all(|(_, dtype)| dtype == "F16"));
    assert!(report.unexpected.is_empty() && report.wrong_shape.is_empty());
    assert_eq!(model.preprocessing, Preprocessing::Scale01);
    fill(&model, |name| name.starts_with("fc."));
    let (features, logits) = distance(&model, &answers);
    println!("{features:.1e} {logits:.1e}");
    assert!(features < 1e-3 && logits < 1e-3, "{features} {logits}");
}
