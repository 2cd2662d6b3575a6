use super::*;
use crate::drift::scorer::testing::noise;

const DIM: usize = 12;
const SHAPE: LocalShape = LocalShape {
    positions: 16,
    channels: 6,
};

/// Local features of so many images.
struct Made(Vec<f32>);

impl Made {
    fn new(images: usize, seed: u64) -> Self {
        let places = noise(images * SHAPE.positions, SHAPE.channels, seed);
        Self(places.iter().map(|v| v.abs()).collect())
    }
}

impl LocalSource for Made {
    fn shape(&self) -> LocalShape {
        SHAPE
    }

    fn image(&self, row: usize) -> Vec<f32> {
        let numbers = SHAPE.positions * SHAPE.channels;
        self.0[row * numbers..][..numbers].to_vec()
    }
}

fn images<'a>(embeddings: &'a [f32], local: Option<&'a Made>) -> Images<'a> {
    Images {
        embeddings: EmbeddingView::new(embeddings, DIM).expect("rows"),
        local: local.map(|local| local as &dyn LocalSource),
        pictures: None,
        tiles: None,
    }
}

fn classes(n: usize) -> Vec<ClassId> {
    (0..n).map(|i| ClassId::from(i % 2)).collect()
}

fn scores<'a>(rows: &'a SpaceRows, name: &str) -> &'a NamedScores {
    let found = rows.scores.iter().find(|s| s.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn median_of(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn an_image_has_the_same_row_alone_and_in_company() {
    let (train, local) = (noise(90, DIM, 1), Made::new(90, 2));
    let incoming = noise(30, DIM, 3);
    let others = Made::new(30, 4);
    let pool = images(&incoming, Some(&others));
    let fitted = DriftSpace::fit(
        images(&train, Some(&local)),
        &classes(90),
        Some(pool.into()),
    )
    .expect("fitted");
    let (later, later_local) = (noise(8, DIM, 5), Made::new(8, 6));
    let all = fitted
        .space
        .transform(images(&later, Some(&later_local)))
        .expect("transformed");
    let dim = fitted.space.dim();
    assert_eq!((all.images, all.features.len()), (8, 8 * dim));
    for row in 0..8 {
        let local = Made(later_local.image(row));
        let alone = images(&later[row * DIM..][..DIM], Some(&local));
        let alone = fitted.space.transform(alone).expect("transformed");
        for (a, b) in alone.features.iter().zip(&all.features[row * dim..][..dim]) {
            assert!((a - b).abs() < 1e-4, "row {row}: {a} and {b}");
        }
        for (a, b) in alone.scores.iter().zip(&all.scores) {
            assert!((a.values[0] - b.values[row]).abs() < 1e-4, "{}", a.name);
            assert!((a.places[0] - b.places[row]).abs() < 1e-4, "{}", a.name);
        }
    }
    // Every row ends with the scores, as far as they count.
    let row = &all.features[..dim];
    let told: Vec<f64> = all.scores.iter().map(|s| s.values[0]).collect();
    assert_eq!(fitted.space.score_part(row).len(), told.len());
    for (part, z) in fitted.space.score_part(row).iter().zip(told) {
        let counts = z.clamp(LIMITS.0, LIMITS.1) * SCORE_WEIGHT;
        assert!((f64::from(*part) - counts).abs() < 1e-6);
    }
}

#[test]
fn a_regular_image_that_is_looked_at_is_not_regular_for_being_its_own_neighbour() {
    const LEARNED: usize = 90;
    const KNOWN: usize = 120;
    let (train, local) = (noise(KNOWN, DIM, 1), Made::new(KNOWN, 2));
    let fit = |own: &[Option<usize>]| {
        let pool = Pool {
            images: images(&train, Some(&local)),
            own,
        };
        DriftSpace::fit(images(&train, Some(&local)), &classes(LEARNED), Some(pool))
            .expect("fitted")
    };
    let own: Vec<Option<usize>> = (0..KNOWN).map(Some).collect();
    let (apart, mixed) = (fit(&own), fit(&[]));
    let (known, pool) = (&apart.train, apart.pool.as_ref().expect("a pool"));
    let dim = apart.space.dim();
    assert_eq!(known.images, LEARNED);
    assert_eq!(known.features[..], pool.features[..LEARNED * dim]);
    for (a, b) in known.scores.iter().zip(&pool.scores) {
        assert_eq!(a.values[..], b.values[..LEARNED], "{}", a.name);
        assert_eq!(a.places[..], b.places[..LEARNED], "{}", a.name);
    }
    assert!(pool.scores.iter().all(|s| s.name != DriftSpace::DENSITY));
    // Taken for strangers, they find themselves: all look more regular than nearly all regular images.
    let strangers = mixed.pool.as_ref().expect("a pool");
    assert!(median_of(&scores(strangers, NEAREST).places[..LEARNED]) < 0.05);
    assert!((median_of(&scores(pool, NEAREST).places[..LEARNED]) - 0.5).abs() < 0.05);
    // Those that are only remembered do not compare their places with their own either.
    let remembered = |rows: &SpaceRows| median_of(&scores(rows, PLACES).values[LEARNED..]);
    assert!(remembered(pool) > remembered(strangers) + 0.1);
    let (short, all) = (&own[1..], images(&train, Some(&local)));
    let refused = DriftSpace::fit(
        all,
        &classes(LEARNED),
        Some(Pool {
            images: all,
            own: short,
        }),
    );
    assert!(matches!(
        refused.err(),
        Some(DriftError::LengthMismatch { .. })
    ));
}

#[test]
fn local_features_of_regular_images_are_compared_with_those_of_others() {
    let (train, local) = (noise(90, DIM, 1), Made::new(90, 2));
    let fitted = DriftSpace::fit(images(&train, Some(&local)), &classes(90), None).expect("fitted");
    let (fresh, fresh_local) = (noise(90, DIM, 3), Made::new(90, 4));
    let fresh = fitted
        .space
        .transform(images(&fresh, Some(&fresh_local)))
        .expect("transformed");
    // New regular images score as those it was fitted on.
    let (known, fresh) = (&scores(&fitted.train, PATCHES), &scores(&fresh, PATCHES));
    let (known, fresh) = (median_of(&known.values), median_of(&fresh.values));
    assert!(
        known.abs() < 0.1 && (fresh - known).abs() < 0.6,
        "{known} {fresh}"
    );
}

#[test]
fn scores_of_pixels_are_left_out_of_the_ranking_without_labels() {
    let of = |name, z| NamedScores {
        name,
        values: vec![z],
        places: vec![0.5],
    };
    let mut rows = SpaceRows {
        images: 1,
        features: Vec::new(),
        scores: vec![of(NEAREST, 1.0), of(PATCHES, 2.0)],
    };
    assert_eq!(rows.fused(), [1.5]);
    rows.scores
        .extend(appearance::OF_SCENES.map(|name| of(name, 5.0)));
    assert_eq!(rows.fused(), [1.5]);
}

#[test]
fn the_second_head_reads_scores_alone() {
    let train = noise(60, DIM, 1);
    let fitted = DriftSpace::fit(images(&train, None), &classes(60), None).expect("fitted");
    let drift: Vec<bool> = (0..60_usize).map(|row| row.is_multiple_of(7)).collect();
    let weights = vec![1.0; 60];
    let dim = fitted.space.dim();
    let mut rows = fitted.train.features;
    let head = |rows: &[f32]| {
        let head = fitted.space.fit_score_head(rows, &drift, &weights);
        head.expect("both kinds").expect("there are scores")
    };
    let first = head(&rows);
    // Whatever the other numbers are.
    let scores = fitted.space.score_part(&rows[..dim]).len();
    for row in rows.chunks_exact_mut(dim) {
        row[..dim - scores].fill(3.0);
    }
    assert_eq!(head(&rows), first);
    assert!(scores >= 3 && scores < dim);
}
