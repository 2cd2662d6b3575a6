//! Every drift score agrees with its paper's formula in NumPy, SciPy and scikit-learn:
//! `tests/golden/make_scores.py` wrote the numbers.

use approx::assert_abs_diff_eq;
use driftscope::domain::ClassId;
use driftscope::drift::{
    Calibration, EmbeddingView, Energy, FrameSizes, FramingMatch, HeadTemperature,
    LinearClassifier, LocalContrast, LocalShape, LocalSource, Mahalanobis, MaxSoftmax,
    NearestNeighbours, OddestTile, Padim, PadimOptions, PatchCore, PatchCoreOptions, PatchPool,
    PixelSpade, PixelSpadeScore, PoolDensity, RelativeMahalanobis, Scorer, Spade, Vim, k_center,
    organisers_batch_min_max,
};
use driftscope::imaging::{Gates, Gray};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    mahalanobis: Vec<MahalanobisCase>,
    neighbours: NeighboursCase,
    logits: LogitsCase,
    discriminant: DiscriminantCase,
    vim: VimCase,
    patch_core: PatchCoreCase,
    padim: PadimCase,
    calibration: CalibrationCase,
    pool: PoolCase,
    gates: GatesCase,
    spade: SpadeCase,
    pixel_spade: PixelSpadeCase,
    local_contrast: LocalContrastCase,
    head_temperature: Vec<HeadTemperatureCase>,
    framing: FramingCase,
    frame_size: FrameSizeCase,
    oddest_tile: OddestTileCase,
}

#[derive(Deserialize)]
struct OddestTileCase {
    tiles: usize,
    dim: usize,
    x: Vec<f32>,
    queries: Vec<f32>,
    scores: Vec<f64>,
    held_out: Vec<f64>,
}

/// The tiles of images, image after image.
struct TileRows<'a> {
    shape: LocalShape,
    values: &'a [f32],
}

impl LocalSource for TileRows<'_> {
    fn shape(&self) -> LocalShape {
        self.shape
    }

    fn image(&self, row: usize) -> Vec<f32> {
        let values = self.shape.values();
        self.values[row * values..][..values].to_vec()
    }
}

#[derive(Deserialize)]
struct LocalContrastCase {
    dim: usize,
    k: usize,
    x: Vec<f32>,
    scores: Vec<f64>,
    queries: Vec<f32>,
    query_scores: Vec<f64>,
    contrasts: Vec<f64>,
    own: Vec<f64>,
}

#[derive(Deserialize)]
struct FramingCase {
    side: usize,
    regular: Vec<u8>,
    queries: Vec<u8>,
    scores: Vec<f64>,
    held_out: Vec<f64>,
}

#[derive(Deserialize)]
struct FrameSizeCase {
    regular: Vec<(u32, u32)>,
    queries: Vec<(u32, u32)>,
    scores: Vec<f64>,
    held_out: Vec<f64>,
}

#[derive(Deserialize)]
struct HeadTemperatureCase {
    stated: Vec<f64>,
    drift: Vec<bool>,
    temperature: f64,
    applied: Vec<f64>,
}

#[derive(Deserialize)]
struct SpadeCase {
    positions: usize,
    channels: usize,
    k: usize,
    images: Vec<f32>,
    queries: Vec<f32>,
    maps: Vec<f64>,
    means: Vec<f64>,
    /// A thirtieth of 16 places is one.
    spots: Vec<f64>,
}

#[derive(Deserialize)]
struct PixelSpadeCase {
    side: usize,
    k: usize,
    pictures: Vec<u8>,
    queries: Vec<u8>,
    maps: Vec<u16>,
    means: Vec<f64>,
    areas: Vec<f64>,
    spots: Vec<f64>,
}

#[derive(Deserialize)]
struct MahalanobisCase {
    dim: usize,
    x: Vec<f32>,
    classes: Vec<u8>,
    queries: Vec<f32>,
    nearest: Vec<f64>,
    relative: Vec<f64>,
}

#[derive(Deserialize)]
struct NeighboursCase {
    dim: usize,
    k: usize,
    x: Vec<f32>,
    groups: Vec<u32>,
    queries: Vec<f32>,
    asked: Vec<u32>,
    anywhere: Vec<f64>,
    within: Vec<f64>,
}

#[derive(Deserialize)]
struct LogitsCase {
    classes: usize,
    logits: Vec<f32>,
    energy_1: Vec<f64>,
    energy_2: Vec<f64>,
    max_softmax: Vec<f64>,
}

#[derive(Deserialize)]
struct DiscriminantCase {
    dim: usize,
    x: Vec<f32>,
    classes: Vec<u8>,
    queries: Vec<f32>,
    logits: Vec<f64>,
}

#[derive(Deserialize)]
struct VimCase {
    dim: usize,
    principal: usize,
    x: Vec<f32>,
    queries: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    scores: Vec<f64>,
}

#[derive(Deserialize)]
struct PatchCoreCase {
    positions: usize,
    channels: usize,
    bank: usize,
    neighbours: usize,
    top: usize,
    images: Vec<f32>,
    queries: Vec<f32>,
    chosen: Vec<usize>,
    maps: Vec<f64>,
    reweighted: Vec<f64>,
    means: Vec<f64>,
}

#[derive(Deserialize)]
struct PadimCase {
    positions: usize,
    channels: usize,
    images: Vec<f32>,
    queries: Vec<f32>,
    maps: Vec<f64>,
    organisers: Vec<f64>,
}

#[derive(Deserialize)]
struct CalibrationCase {
    regular: Vec<f64>,
    scores: Vec<f64>,
    quantiles: Vec<f64>,
    robust_z: Vec<f64>,
}

#[derive(Deserialize)]
struct PoolCase {
    dim: usize,
    k: usize,
    regular: Vec<f32>,
    pool: Vec<f32>,
    outside: Vec<f32>,
    density_pool: Vec<f64>,
    density_outside: Vec<f64>,
}

#[derive(Deserialize)]
struct GatesCase {
    width: u32,
    pixels: Vec<u8>,
    mean: f64,
    deviation: f64,
    percentiles: [u8; 9],
    saturated: f64,
    black: f64,
    sharpness: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/scores.json")).expect("written by make_scores.py")
}

fn view(data: &[f32], dim: usize) -> EmbeddingView<'_> {
    EmbeddingView::new(data, dim).expect("whole rows")
}

fn classes(ids: &[u8]) -> Vec<ClassId> {
    ids.iter().map(|id| ClassId(*id)).collect()
}

fn assert_all_close(ours: &[f64], theirs: &[f64], epsilon: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert_abs_diff_eq!(a, b, epsilon = epsilon * (1.0 + b.abs()));
    }
}

fn assert_scores(scorer: &impl Scorer, rows: &[f32], expected: &[f64], epsilon: f64) {
    let scores = scorer.score_all(view(rows, scorer.dim())).expect("scored");
    assert_all_close(&scores, expected, epsilon);
}

#[test]
fn mahalanobis_plus_plus() {
    for case in golden().mahalanobis {
        let (x, classes) = (view(&case.x, case.dim), classes(&case.classes));
        let nearest = Mahalanobis::fit_normalised(x, &classes).expect("varied");
        assert_scores(&nearest, &case.queries, &case.nearest, 1e-5);
        let relative = RelativeMahalanobis::fit_normalised(x, &classes).expect("varied");
        assert_scores(&relative, &case.queries, &case.relative, 1e-5);
        assert_scores(relative.nearest(), &case.queries, &case.nearest, 1e-5);
    }
}

#[test]
fn nearest_neighbours() {
    let case = golden().neighbours;
    let x = view(&case.x, case.dim);
    let fitted = NearestNeighbours::fit_grouped(x, &case.groups, case.k).expect("rows");
    assert_scores(&fitted, &case.queries, &case.anywhere, 1e-6);
    let within = fitted.score_all_within(view(&case.queries, case.dim), &case.asked);
    assert_all_close(&within.expect("scored"), &case.within, 1e-6);
}

#[test]
fn energy_and_max_softmax() {
    let case = golden().logits;
    let energy = |temperature| Energy::new(case.classes, temperature).expect("positive");
    assert_scores(&energy(1.0), &case.logits, &case.energy_1, 1e-9);
    assert_scores(&energy(2.0), &case.logits, &case.energy_2, 1e-9);
    let max_softmax = MaxSoftmax::new(case.classes).expect("classes");
    assert_scores(&max_softmax, &case.logits, &case.max_softmax, 1e-9);
}

#[test]
fn linear_discriminant() {
    let case = golden().discriminant;
    let x = view(&case.x, case.dim);
    let ours = LinearClassifier::discriminant(x, &classes(&case.classes)).expect("varied");
    let logits: Vec<f64> = view(&case.queries, case.dim)
        .rows()
        .flat_map(|row| ours.logits(row).expect("same width"))
        .collect();
    assert_all_close(&logits, &case.logits, 1e-9);
}

#[test]
fn virtual_logit_matching() {
    let case = golden().vim;
    let classifier = LinearClassifier::new(&case.weights, &case.bias, case.dim).expect("fits");
    let fitted = Vim::fit(view(&case.x, case.dim), classifier, case.principal, 1).expect("a rest");
    assert_scores(&fitted, &case.queries, &case.scores, 1e-5);
}

#[test]
fn pixel_spade() {
    let case = golden().pixel_spade;
    let size = case.side * case.side;
    let pictures = case.pictures.chunks_exact(size).map(<[u8]>::to_vec);
    let fitted = PixelSpade::fit(case.side, case.k, pictures).expect("enough of them");
    let (mut maps, mut scores) = (Vec::new(), Vec::new());
    for query in case.queries.chunks_exact(size) {
        maps.extend(fitted.map(query, |_| false).expect("fits"));
        scores.push(fitted.score(query, |_| false).expect("fits"));
    }
    assert_eq!(maps, case.maps);
    let of = |value: fn(&PixelSpadeScore) -> f64| scores.iter().map(value).collect::<Vec<_>>();
    assert_all_close(&of(|s| s.mean), &case.means, 1e-10);
    assert_all_close(&of(|s| s.area), &case.areas, 1e-10);
    assert_all_close(&of(|s| s.spot), &case.spots, 1e-10);
}

#[test]
fn local_contrast() {
    let case = golden().local_contrast;
    let known = view(&case.x, case.dim);
    let fitted = LocalContrast::fit(known, case.scores.clone(), case.k).expect("enough images");
    let queries = view(&case.queries, case.dim);
    let found = fitted.contrast(queries, &case.query_scores, |_, _| false);
    assert_all_close(&found.expect("fits"), &case.contrasts, 1e-6);
    let found = fitted.contrast(known, &case.scores, |row, other| row == other);
    assert_all_close(&found.expect("fits"), &case.own, 1e-6);
}

#[test]
fn oddest_tile() {
    let case = golden().oddest_tile;
    let shape = LocalShape {
        positions: case.tiles,
        channels: case.dim,
    };
    let of = |values| TileRows { shape, values };
    let images = case.held_out.len();
    let (known, queries) = (of(&case.x), of(&case.queries));
    let fitted = OddestTile::fit(&known, &Vec::from_iter(0..images)).expect("whole rows");
    let (fitted, held_out) = fitted.expect("varied");
    assert_all_close(&held_out, &case.held_out, 1e-3);
    let found = fitted.score_all(&queries, case.scores.len());
    assert_all_close(&found.expect("fits"), &case.scores, 1e-3);
}

#[test]
fn spade() {
    let case = golden().spade;
    let shape = LocalShape {
        positions: case.positions,
        channels: case.channels,
    };
    let images = case
        .images
        .chunks_exact(shape.values())
        .map(<[f32]>::to_vec);
    let fitted = Spade::fit(shape, case.k, images).expect("varied");
    let (mut maps, mut means, mut spots) = (Vec::new(), Vec::new(), Vec::new());
    for query in case.queries.chunks_exact(shape.values()) {
        let map = fitted.map(query, |_| false).expect("fits");
        maps.extend(map.iter().map(|v| f64::from(*v)));
        let score = fitted.score(query, |_| false).expect("fits");
        means.push(score.mean);
        spots.push(score.spot);
    }
    assert_all_close(&maps, &case.maps, 1e-6);
    assert_all_close(&means, &case.means, 1e-6);
    assert_all_close(&spots, &case.spots, 1e-6);
}

#[test]
fn patch_core() {
    let case = golden().patch_core;
    let shape = LocalShape {
        positions: case.positions,
        channels: case.channels,
    };
    let patches = view(&case.images, case.channels);
    assert_eq!(k_center(patches, &[], case.bank), Ok(case.chosen));
    for (pool, expected) in [
        (PatchPool::MaxReweighted(case.neighbours), &case.reweighted),
        (PatchPool::MeanOfTop(case.top), &case.means),
    ] {
        let options = PatchCoreOptions {
            dims: None,
            bank: case.bank,
            pool,
            ..PatchCoreOptions::default()
        };
        let fitted = PatchCore::fit(view(&case.images, shape.values()), shape, options);
        let fitted = fitted.expect("images");
        assert_scores(&fitted, &case.queries, expected, 1e-5);
        let maps: Vec<f64> = view(&case.queries, shape.values())
            .rows()
            .flat_map(|image| fitted.inspect(image).expect("finite").distances)
            .collect();
        assert_all_close(&maps, &case.maps, 1e-5);
    }
}

#[test]
fn padim_and_the_organisers_scaling() {
    let case = golden().padim;
    let shape = LocalShape {
        positions: case.positions,
        channels: case.channels,
    };
    let options = PadimOptions {
        dims: case.channels,
        ..PadimOptions::default()
    };
    let fitted = Padim::fit(view(&case.images, shape.values()), shape, options).expect("images");
    let maps: Vec<f64> = view(&case.queries, shape.values())
        .rows()
        .flat_map(|image| fitted.map(image).expect("finite"))
        .collect();
    assert_all_close(&maps, &case.maps, 1e-5);
    let highest: Vec<f64> = case
        .maps
        .chunks(case.positions)
        .map(|map| map.iter().copied().fold(0.0, f64::max))
        .collect();
    assert_scores(&fitted, &case.queries, &highest, 1e-5);
    let scaled = organisers_batch_min_max(&maps, case.positions);
    assert_all_close(&scaled, &case.organisers, 1e-5);
}

#[test]
fn calibration() {
    let case = golden().calibration;
    let ours = Calibration::new(case.regular).expect("varied");
    let map = |scale: &dyn Fn(f64) -> f64| -> Vec<f64> {
        case.scores.iter().map(|score| scale(*score)).collect()
    };
    assert_all_close(&map(&|s| ours.quantile(s)), &case.quantiles, 1e-9);
    assert_all_close(&map(&|s| ours.robust_z(s)), &case.robust_z, 1e-9);
}

#[test]
fn scores_against_a_pool() {
    let case = golden().pool;
    let (regular, pool) = (view(&case.regular, case.dim), view(&case.pool, case.dim));
    let density = PoolDensity::fit(regular, pool, case.k).expect("rows");
    assert_all_close(&density.pool_scores(), &case.density_pool, 1e-9);
    assert_scores(&density, &case.outside, &case.density_outside, 1e-9);
}

#[test]
fn gates_of_a_picture() {
    let case = golden().gates;
    let height = case.pixels.len() as u32 / case.width;
    let ours = Gates::of(&Gray {
        width: case.width,
        height,
        pixels: case.pixels,
    });
    assert_eq!(ours.percentiles, case.percentiles);
    let ours = [
        ours.mean,
        ours.deviation,
        ours.saturated,
        ours.black,
        ours.sharpness,
    ];
    let theirs = [
        case.mean,
        case.deviation,
        case.saturated,
        case.black,
        case.sharpness,
    ];
    assert_all_close(&ours, &theirs, 1e-12);
}

#[test]
fn the_temperature_of_a_head() {
    for case in golden().head_temperature {
        let judged: Vec<(f64, bool)> = case.stated.into_iter().zip(case.drift).collect();
        let ours = HeadTemperature::fit(&judged).expect("enough of both kinds");
        // An optimum is told from its neighbours to about the root of the precision only.
        assert_abs_diff_eq!(ours.value(), case.temperature, epsilon = 1e-5);
        let applied: Vec<f64> = judged.iter().map(|(p, _)| ours.apply(*p)).collect();
        assert_all_close(&applied, &case.applied, 1e-5);
    }
}

#[test]
fn framing_against_regular_pictures() {
    let case = golden().framing;
    let pictures = |pixels: &[u8]| -> Vec<Vec<u8>> {
        let pictures = pixels.chunks_exact(case.side * case.side);
        pictures.map(<[u8]>::to_vec).collect()
    };
    let regular = pictures(&case.regular);
    let fitted = FramingMatch::fit(case.side, regular.clone().into_iter()).expect("large enough");
    let score = |picture: &Vec<u8>, own: Option<usize>| {
        fitted
            .score(picture, |at| own == Some(at))
            .expect("same side")
    };
    let scores: Vec<f64> = pictures(&case.queries)
        .iter()
        .map(|q| score(q, None))
        .collect();
    assert_all_close(&scores, &case.scores, 1e-6);
    let held_out = regular.iter().enumerate();
    let held_out: Vec<f64> = held_out
        .map(|(i, picture)| score(picture, Some(i)))
        .collect();
    assert_all_close(&held_out, &case.held_out, 1e-6);
}

#[test]
fn sizes_against_regular_ones() {
    let case = golden().frame_size;
    let fitted = FrameSizes::fit(case.regular.iter().copied()).expect("enough");
    let scores = |sizes: &[(u32, u32)], own| -> Vec<f64> {
        sizes.iter().map(|size| fitted.score(*size, own)).collect()
    };
    assert_all_close(&scores(&case.queries, false), &case.scores, 1e-9);
    assert_all_close(&scores(&case.regular, true), &case.held_out, 1e-9);
}
