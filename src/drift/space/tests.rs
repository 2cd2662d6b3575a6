use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::drift::score_meaning;
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
        dies: None,
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

/// Pictures of noise, each at its own brightness.
struct Pictures(Vec<Vec<u8>>);

impl Pictures {
    const SIDE: usize = 20;

    fn new(images: usize, seed: usize) -> Self {
        let pixels = Self::SIDE * Self::SIDE;
        let value = |image: usize, at: usize| {
            30 + image % 7 * 9 + (at * at * 31 + at * (image + seed) * 17 + seed * 7919) % 131
        };
        let picture = |image| (0..pixels).map(|at| value(image, at) as u8).collect();
        Self((0..images).map(picture).collect())
    }
}

impl PictureSource for Pictures {
    fn side(&self) -> usize {
        Self::SIDE
    }

    fn picture(&self, row: usize) -> Vec<u8> {
        self.0[row].clone()
    }

    fn numbers(&self, row: usize) -> Vec<f64> {
        let picture = &self.0[row];
        let sum: f64 = picture.iter().map(|v| f64::from(*v)).sum();
        vec![sum / picture.len() as f64, f64::from(picture[0])]
    }

    fn gates(&self, numbers: &[f64]) -> Vec<(&'static str, f64)> {
        vec![("saturation", numbers[0]), ("blur", -numbers[1])]
    }

    fn size(&self, row: usize) -> Option<(u32, u32)> {
        Some((200 + u32::from(self.0[row][0] % 2), 200))
    }
}

/// Images with all that can be looked at.
struct Whole {
    embeddings: Vec<f32>,
    local: Made,
    pictures: Pictures,
    tiles: Made,
    dies: Vec<u32>,
}

impl Whole {
    fn new(images: usize, seed: usize) -> Self {
        let mut embeddings = noise(images, DIM, seed as u64);
        // The classes lie apart.
        for row in embeddings.chunks_exact_mut(DIM).step_by(2) {
            row[0] += 6.0;
        }
        Self {
            embeddings,
            local: Made::new(images, seed as u64 + 1),
            pictures: Pictures::new(images, seed),
            tiles: Made::new(images, seed as u64 + 2),
            dies: (0..images).map(|at| 1 + (at % 4) as u32).collect(),
        }
    }

    /// Those in `rows`, in that order.
    fn some(&self, rows: &[usize]) -> Self {
        let all = EmbeddingView::new(&self.embeddings, DIM).expect("rows");
        let local = |from: &Made| Made(rows.iter().flat_map(|row| from.image(*row)).collect());
        Self {
            embeddings: all.gather(rows),
            local: local(&self.local),
            pictures: Pictures(rows.iter().map(|row| self.pictures.picture(*row)).collect()),
            tiles: local(&self.tiles),
            dies: rows.iter().map(|row| self.dies[*row]).collect(),
        }
    }

    fn images(&self) -> Images<'_> {
        Images {
            pictures: Some(&self.pictures),
            tiles: Some(&self.tiles),
            dies: Some(&self.dies),
            ..images(&self.embeddings, Some(&self.local))
        }
    }
}

/// A space over all that can be looked at, beside a pool of so many images.
fn whole_space(pool: usize) -> DriftSpace {
    let (train, pool) = (Whole::new(90, 1), Whole::new(pool, 1000 + pool));
    DriftSpace::fit(train.images(), &classes(90), Some(pool.images().into()))
        .expect("fitted")
        .space
}

/// What is said of each image: features, then scores and their places.
fn told(rows: &SpaceRows, row: usize) -> (Vec<f32>, Vec<(&'static str, f64, f64)>) {
    let dim = rows.features.len() / rows.images;
    let scores = rows.scores.iter().chain(&rows.listed);
    (
        rows.features[row * dim..][..dim].to_vec(),
        scores
            .map(|s| (s.name, s.values[row], s.places[row]))
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_image_has_the_same_numbers_alone_in_company_and_in_any_order(
        rows in prop::collection::vec(0_usize..12, 1..12),
    ) {
        static FITTED: OnceLock<(DriftSpace, Whole, SpaceRows)> = OnceLock::new();
        let (space, later, all) = FITTED.get_or_init(|| {
            let (space, later) = (whole_space(30), Whole::new(12, 70));
            let all = space.transform(later.images()).expect("transformed");
            (space, later, all)
        });
        let found = space.transform(later.some(&rows).images()).expect("transformed");
        prop_assert_eq!(found.images, rows.len());
        prop_assert_eq!(found.features.len(), rows.len() * space.dim());
        for (at, row) in rows.iter().enumerate() {
            let (features, scores) = told(&found, at);
            let (of_all, scores_of_all) = told(all, *row);
            for (a, b) in features.iter().zip(&of_all) {
                // A product of matrices is rounded by their shape.
                prop_assert!((a - b).abs() < 1e-4, "row {}: {} and {}", row, a, b);
            }
            prop_assert_eq!(scores.len(), scores_of_all.len());
            for (a, b) in scores.iter().zip(&scores_of_all) {
                prop_assert_eq!(a.0, b.0);
                let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * (1.0 + b.abs());
                prop_assert!(near(a.1, b.1) && near(a.2, b.2), "{:?} and {:?}", a, b);
            }
        }
    }
}

#[test]
fn every_row_ends_with_the_scores_and_each_of_them_has_a_meaning() {
    let space = whole_space(30);
    let later = Whole::new(8, 70);
    let all = space.transform(later.images()).expect("transformed");
    let (features, scores) = told(&all, 0);
    let part = space.score_part(&features);
    assert_eq!(part.len(), all.scores.len());
    for (part, (_, z, _)) in part.iter().zip(&scores) {
        let counts = z.clamp(LIMITS.0, LIMITS.1) * SCORE_WEIGHT;
        assert!((f64::from(*part) - counts).abs() < 1e-6);
    }
    for (name, ..) in &scores {
        assert!(score_meaning(name).is_some(), "{name}");
    }
    assert_eq!(score_meaning("no score"), None);
    let listed: Vec<&str> = all.listed.iter().map(|s| s.name).collect();
    assert_eq!(
        listed,
        [
            DriftSpace::DENSITY,
            "max softmax",
            "energy",
            "vim",
            "knn, same die",
            "saturation",
            "blur"
        ]
    );
}

#[test]
fn nothing_but_density_depends_on_what_else_was_delivered() {
    let [small, large] = [2, 40].map(whole_space);
    let later = Whole::new(8, 70);
    let [small, large] =
        [small, large].map(|space| space.transform(later.images()).expect("transformed"));
    assert_eq!(small.features, large.features);
    assert_eq!(small.scores, large.scores);
    assert_eq!(small.fused(), large.fused());
    let others = |rows: &SpaceRows| {
        let mut others = rows.listed.clone();
        others.retain(|scores| scores.name != DriftSpace::DENSITY);
        others
    };
    assert_eq!(others(&small), others(&large));
    assert_ne!(small.listed, large.listed);
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
    assert!(pool.listed.iter().all(|s| s.name != DriftSpace::DENSITY));
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
        listed: vec![of("energy", 4.0)],
    };
    assert_eq!(rows.fused(), [1.5]);
    rows.scores
        .extend(appearance::OF_SCENES.map(|name| of(name, 5.0)));
    assert_eq!(rows.fused(), [1.5]);
    rows.listed.push(of(listed::VIM, 3.0));
    assert_eq!(rows.fused(), [2.0]);
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
