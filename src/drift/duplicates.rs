//! Images that are nearly the same picture.

use std::collections::HashSet;

use driftscope_kernels::products;
use rayon::prelude::*;

use super::linalg::{normalised, squared_distance};
use super::{DriftError, EmbeddingView};

/// The neighbour whose distance says how far apart different pictures are around here; it counts from 1.
const NEIGHBOURS: usize = 10;
/// The nearest neighbours that tell nothing of that, as they may be duplicates.
const INNER: usize = 4;
/// Share of images that may be taken for a near-duplicate by chance.
const FALSE_ALARMS: f64 = 1e-3;
/// Distance at most, in shares of that of the tenth neighbour: as cleanlab has it in shares of the median
/// distance to the nearest.
const MOST: f64 = 0.13;
/// Rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

/// Groups of near-duplicates: the same picture but for a crop by a pixel or two, a little light, or the file
/// format.
///
/// Which cosine similarity that is differs from network to network and from picture to picture. So two images
/// count as near-duplicates where their distance `1 - cos` is at most a share `r` of the distance of either to its
/// tenth neighbour. Among `m`-dimensional points of locally even density the nearest lies within `r` of that
/// with probability `1 - (1 - r^(m/2))^9`, and `r` is where this is one in a thousand. The dimension `m` is
/// estimated from the ratios of the distances to the fifth to tenth neighbours, the four nearest left open as
/// they may be duplicates themselves: the maximum likelihood of Levina and Bickel ("Maximum Likelihood Estimation of
/// Intrinsic Dimension", NIPS 2004) for censored exponentials, its median over the images. Never is `r`
/// above 0.13, the threshold that cleanlab's issue `near_duplicate` applies to a global distance. Fixed similarities,
/// as in fastdup (0.96), call most images of one die duplicates: docs/BENCHMARKS.md has the figures.
///
/// Pairs are joined from the nearest on (union-find), but only while *every* pair of the new group is one: complete
/// linkage. Single linkage, the connected components of fastdup, would chain a slow pan over a part into one
/// group, whose ends have nothing in common but are labelled alike.
///
/// Equal embeddings are always together. A group depends neither on the order of the images nor on the
/// number of threads. Where most images have more than four near-duplicates, or a picture comes more than ten times
/// with small changes, there is no telling what is different, and only equal ones are found; so it is with fewer than
/// eleven different embeddings. The work grows with the square of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateGroups {
    first_of: Vec<usize>,
}

impl DuplicateGroups {
    /// Finds the groups among `embeddings`, whatever their lengths.
    ///
    /// # Errors
    /// [`DriftError::NoEmbeddings`], [`DriftError::NonFinite`].
    pub fn find(embeddings: EmbeddingView<'_>) -> Result<Self, DriftError> {
        embeddings.check(1)?;
        let dim = embeddings.dim();
        let mut rows = normalised(embeddings.data(), dim);
        // One kind of zero, as equals are told by their bits.
        rows.iter_mut().for_each(|v| *v += 0.0);
        let row = |at: &usize| &rows[at * dim..][..dim];
        // In the order of their content, so that it does not matter in which they came.
        let mut order: Vec<usize> = (0..embeddings.len()).collect();
        order.par_sort_by(|a, b| {
            row(a)
                .iter()
                .map(|v| v.to_bits())
                .cmp(row(b).iter().map(|v| v.to_bits()))
                .then(a.cmp(b))
        });
        let copies: Vec<&[usize]> = order.chunk_by(|a, b| row(a) == row(b)).collect();
        let mut distinct = Vec::with_capacity(copies.len() * dim);
        for rows in &copies {
            distinct.extend_from_slice(row(&rows[0]));
        }
        let group_of = linked(&distinct, dim);

        let mut first_of = vec![usize::MAX; embeddings.len()];
        let mut firsts = vec![usize::MAX; copies.len()];
        for (rows, group) in copies.iter().zip(&group_of) {
            firsts[*group] = firsts[*group].min(rows[0]);
        }
        for (rows, group) in copies.iter().zip(&group_of) {
            for row in *rows {
                first_of[*row] = firsts[*group];
            }
        }
        Ok(Self { first_of })
    }

    /// No two of `images` images alike.
    #[must_use]
    pub fn none(images: usize) -> Self {
        Self {
            first_of: (0..images).collect(),
        }
    }

    /// For each image the first one of its group, itself if it has no near-duplicate: images of equal entries
    /// belong together.
    #[must_use]
    pub fn ids(&self) -> &[usize] {
        &self.first_of
    }

    /// The groups of two images or more, each in the order of the images, as are the groups by their first.
    #[must_use]
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.first_of.len()];
        for (image, first) in self.first_of.iter().enumerate() {
            members[*first].push(image);
        }
        members.retain(|group| group.len() > 1);
        members
    }
}

/// The group of each of some different rows of length 1, by complete linkage.
fn linked(rows: &[f32], dim: usize) -> Vec<usize> {
    let n = rows.len() / dim;
    let mut group_of: Vec<usize> = (0..n).collect();
    if n <= NEIGHBOURS {
        return group_of;
    }
    let near = nearest(rows, dim);
    let share = share(&near);
    let reach = |row: usize| share * near[row][NEIGHBOURS - 1].0;
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (row, neighbours) in near.iter().enumerate() {
        for (distance, other) in neighbours {
            if *distance <= reach(row).min(reach(*other)) {
                pairs.push((*distance, row.min(*other), row.max(*other)));
            }
        }
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    pairs.dedup();
    let alike: HashSet<(usize, usize)> = pairs.iter().map(|(_, a, b)| (*a, *b)).collect();
    let mut members: Vec<Vec<usize>> = (0..n).map(|row| vec![row]).collect();
    for (_, a, b) in pairs {
        let (kept, joined) = (group_of[a].min(group_of[b]), group_of[a].max(group_of[b]));
        let is_pair = |a: usize, b: usize| alike.contains(&(a.min(b), a.max(b)));
        let all = |a: &usize| members[joined].iter().all(|b| is_pair(*a, *b));
        if kept == joined || !members[kept].iter().all(all) {
            continue;
        }
        for row in std::mem::take(&mut members[joined]) {
            group_of[row] = kept;
            members[kept].push(row);
        }
    }
    group_of
}

/// The [`NEIGHBOURS`] nearest others of each row with their distance `1 - cos`, the nearest first.
fn nearest(rows: &[f32], dim: usize) -> Vec<Vec<(f64, usize)>> {
    let n = rows.len() / dim;
    let row = |at: usize| &rows[at * dim..][..dim];
    let blocks: Vec<Vec<Vec<(f64, usize)>>> = rows
        .par_chunks(ROWS_AT_ONCE * dim)
        .enumerate()
        .map(|(block, some)| {
            let mut similar = vec![0.0_f32; some.len() / dim * n];
            products(some, rows, dim, &mut similar);
            let first = block * ROWS_AT_ONCE;
            let of_row = |(at, similar): (usize, &[f32])| {
                let mut others: Vec<usize> = (0..n).filter(|other| *other != first + at).collect();
                let nearer =
                    |a: &usize, b: &usize| similar[*b].total_cmp(&similar[*a]).then(a.cmp(b));
                others.select_nth_unstable_by(NEIGHBOURS - 1, nearer);
                others.truncate(NEIGHBOURS);
                // 1 - a·b is rounded too much where a and b nearly meet.
                let exact = |other: usize| squared_distance(row(first + at), row(other)) / 2.0;
                let mut found: Vec<(f64, usize)> = others
                    .into_iter()
                    .map(|other| (exact(other), other))
                    .collect();
                found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                found
            };
            similar.chunks_exact(n).enumerate().map(of_row).collect()
        })
        .collect();
    blocks.concat()
}

/// The distance of near-duplicates in shares of that of the last neighbour.
fn share(near: &[Vec<(f64, usize)>]) -> f64 {
    /// Of the gamma distribution of as many exponentials as are not left open.
    const MEDIAN: f64 = 4.670_909;
    let mut sums: Vec<f64> = near
        .iter()
        .map(|neighbours| {
            // Distances are squares.
            let last = neighbours[NEIGHBOURS - 1].0;
            let log = |at: usize| 0.5 * (last / neighbours[at].0).ln();
            let seen: f64 = (INNER..NEIGHBOURS - 1).map(log).sum();
            seen + INNER as f64 * log(INNER)
        })
        .collect();
    let middle = sums.len() / 2;
    let (_, median, _) = sums.select_nth_unstable_by(middle, f64::total_cmp);
    let dimension = MEDIAN / *median;
    let others = (NEIGHBOURS - 1) as f64;
    let within = 1.0 - (1.0 - FALSE_ALARMS).powf(1.0 / others);
    within.powf(2.0 / dimension).min(MOST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DIM: usize = 24;

    /// Different pictures: points of `depth` directions in [`DIM`].
    fn pictures(n: usize, depth: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let basis: Vec<f32> = (0..depth * DIM)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let mut rows = Vec::new();
        for _ in 0..n {
            let at: Vec<f32> = (0..depth).map(|_| rng.random_range(-1.0..1.0)).collect();
            rows.extend((0..DIM).map(|j| {
                let along = at.iter().enumerate().map(|(k, v)| v * basis[k * DIM + j]);
                3.0 + along.sum::<f32>()
            }));
        }
        rows
    }

    /// Row `of`, changed by about `much`.
    fn copy(rows: &[f32], of: usize, much: f32, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let row = &rows[of * DIM..][..DIM];
        row.iter()
            .map(|v| v + much * rng.random_range(-1.0..1.0))
            .collect()
    }

    fn find(rows: &[f32]) -> DuplicateGroups {
        let view = EmbeddingView::new(rows, DIM).expect("whole rows");
        DuplicateGroups::find(view).expect("numbers")
    }

    #[test]
    fn slightly_changed_copies_are_found_and_nothing_else() {
        for depth in [2, 4, 8, 12] {
            let mut rows = pictures(600, depth, 3);
            for of in 0..20 {
                let changed = [copy(&rows, of, 1e-4, 1), copy(&rows, of, 1e-4, 2)].concat();
                rows.extend(changed);
            }
            let found = find(&rows).groups();
            let expected = |of| vec![of, 600 + 2 * of, 601 + 2 * of];
            let right = (0..20).filter(|of| found.contains(&expected(*of)));
            assert_eq!(right.count(), 20, "{found:?} in {depth} dimensions");
            // Chance may add a pair.
            assert!(found.len() <= 22, "{found:?} in {depth} dimensions");
        }
    }

    #[test]
    fn chance_makes_few_near_duplicates() {
        // One image in a thousand is expected at most, whatever the dimension; pairs count twice.
        for depth in [2, 4, 8, 12] {
            let mut found = 0;
            for seed in 0..4 {
                let groups = find(&pictures(1_500, depth, seed)).groups();
                found += groups.concat().len();
            }
            assert!(found <= 12, "{found} of 6,000 in {depth} dimensions");
        }
    }

    #[test]
    fn a_chain_is_not_one_group() {
        // Steps so small that each image is a near-duplicate of the next, and the first none of the last.
        let mut rows = pictures(400, 8, 5);
        let to = copy(&rows, 0, 0.8, 1);
        let from = rows[..DIM].to_vec();
        for step in 1_u8..=8 {
            let t = f32::from(step) / 8.0;
            rows.extend(from.iter().zip(&to).map(|(a, b)| a + t * (b - a)));
        }
        let found = find(&rows);
        let ids = found.ids();
        let chain: Vec<usize> = std::iter::once(0)
            .chain(400..408)
            .map(|row| ids[row])
            .collect();
        assert!(chain.windows(2).any(|pair| pair[0] == pair[1]), "{chain:?}");
        assert_ne!(chain[0], chain[8], "{chain:?}");
    }

    #[test]
    fn too_little_to_compare_with_leaves_equal_embeddings() {
        let mut rows = pictures(5, 8, 1);
        rows.extend(copy(&rows, 0, 1e-6, 1));
        rows.extend(copy(&rows, 3, 0.0, 1));
        assert_eq!(find(&rows).groups(), [[3, 6]]);
        // A network that says the same of everything, and one that says nothing.
        for value in [0.7, 0.0, -0.0] {
            assert_eq!(
                find(&[value; 30 * DIM]).groups(),
                [(0..30).collect::<Vec<_>>()]
            );
        }
        assert_eq!(DuplicateGroups::none(3).groups(), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn no_embeddings_and_no_numbers_are_refused() {
        let refused =
            |rows: &[f32]| DuplicateGroups::find(EmbeddingView::new(rows, 2).expect("whole"));
        assert_eq!(refused(&[]), Err(DriftError::NoEmbeddings));
        let nan = refused(&[1.0, 2.0, f32::NAN, 0.0]);
        assert_eq!(nan, Err(DriftError::NonFinite { row: 1 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_order_of_the_images_does_not_matter(
            n in 1_usize..60, copies in prop::collection::vec((0_usize..60, 0_u8..4), 0..30), seed in 0_u64..999,
        ) {
            let mut rows = pictures(n, 6, seed);
            for (nth, (of, much)) in copies.iter().enumerate() {
                // Equal, and ever further apart.
                let much = [0.0, 1e-4, 1e-2, 0.1][usize::from(*much)];
                let changed = copy(&rows, of % n, much, nth as u64);
                rows.extend(changed);
            }
            let total = rows.len() / DIM;
            let found = find(&rows);
            // Equal ones are together, each image is in the group that it names, and groups are as told.
            for (a, first) in found.ids().iter().enumerate() {
                prop_assert!(*first <= a && found.ids()[*first] == *first);
            }
            for (nth, (of, much)) in copies.iter().enumerate() {
                if *much == 0 {
                    prop_assert_eq!(found.ids()[n + nth], found.ids()[of % n]);
                }
            }
            let mut order: Vec<usize> = (0..total).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            let shuffled: Vec<f32> = order.iter().flat_map(|row| rows[row * DIM..][..DIM].to_vec()).collect();
            let again = find(&shuffled).groups();
            let as_sets = |groups: Vec<Vec<usize>>| -> BTreeSet<BTreeSet<usize>> {
                groups.into_iter().map(|group| group.into_iter().collect()).collect()
            };
            let back = again.iter().map(|g| g.iter().map(|row| order[*row]).collect()).collect();
            prop_assert_eq!(as_sets(back), as_sets(found.groups()));
        }

        #[test]
        fn every_pair_of_a_group_is_near(n in 11_usize..80, seed in 0_u64..999) {
            // A cloud of close images among others.
            let mut rows = pictures(n, 6, seed);
            for nth in 0..8 {
                let changed = copy(&rows, 0, 0.05, nth);
                rows.extend(changed);
            }
            let rows = normalised(&rows, DIM);
            let near = nearest(&rows, DIM);
            let reach = |row: usize| share(&near) * near[row][NEIGHBOURS - 1].0;
            for group in find(&rows).groups() {
                for (a, b) in group.iter().flat_map(|a| group.iter().map(move |b| (*a, *b))) {
                    let apart = squared_distance(&rows[a * DIM..][..DIM], &rows[b * DIM..][..DIM]) / 2.0;
                    prop_assert!(apart <= 1.001 * reach(a).min(reach(b)), "{} {} {}", a, b, apart);
                }
            }
        }
    }
}
