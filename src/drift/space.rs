//! What a drift head reads of an image: a few directions of its embedding, what its places are like on average,
//! what its oddest spot looks like, and how it scores.

pub(super) mod kin;

use super::folds::{Folds, out_of_fold};
use super::linalg::{dot, normalised};
use super::{
    Calibration, DriftError, DuplicateGroups, EmbeddingView, LocalContrast, LocalShape,
    LogisticOptions, LogisticRegression, Mahalanobis, NearestNeighbours, OddestTile, PatchCore,
    PatchCoreBuilder, PatchCoreOptions, PictureSource, PoolDensity, Projection,
    RelativeMahalanobis, Scorer, Spade, SpadeScore,
    appearance::{self, Appearance, Seen},
    listed::{self, Listed},
};
use crate::domain::ClassId;
use kin::Kin;

/// Neighbours that a crowd of incoming images is told by.
const CROWD: usize = 10;
/// Regular images that say what is usual for images like them.
const USUAL: usize = 10;
/// Folds that regular training images are scored in.
const FOLDS: usize = 5;
/// Parts that regular images are in while local features are compared with those of the other parts.
const BANKS: usize = 3;
/// Principal components of the oddest spot's descriptor.
const SPOT_COMPONENTS: usize = 16;
/// Principal components of mean and spread of the local features.
const STYLE_COMPONENTS: usize = 32;
/// Similar images that every place is compared with. Settled on the made set that docs/BENCHMARKS.md tells of.
const SIMILAR: usize = 40;
/// Scores count from here to here, in robust standard deviations of regular images: one score that flies off
/// does not drown the others.
const LIMITS: (f64, f64) = (-3.0, 6.0);
/// Weight of a score beside a principal component.
const SCORE_WEIGHT: f64 = 0.5;
/// Seeds everything random in here.
const SEED: u64 = 42;

/// A named unsupervised score of every image it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedScores {
    /// As in scikit-learn or the paper.
    pub name: &'static str,
    /// One per image, in robust standard deviations above the median regular image; higher is more like drift.
    pub values: Vec<f64>,
    /// The share of regular images that score lower, one per image, in `(0, 1)`.
    pub places: Vec<f64>,
}

/// Local features of the images of one set, fetched one image at a time: all of them together would not fit
/// in memory.
pub trait LocalSource: Sync {
    /// How those of an image are laid out.
    fn shape(&self) -> LocalShape;

    /// Those of the image in row `row` of the set.
    fn image(&self, row: usize) -> Vec<f32>;
}

/// The images of one set.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// An embedding each.
    pub embeddings: EmbeddingView<'a>,
    /// Their local features, where the network has some.
    pub local: Option<&'a dyn LocalSource>,
    /// The pictures, where they are at hand.
    pub pictures: Option<&'a dyn PictureSource>,
    /// An embedding of each tile of the strip of ribbons, where tiles are looked at.
    pub tiles: Option<&'a dyn LocalSource>,
    /// The die that each shows, above 0; 0 where it is not known.
    pub dies: Option<&'a [u32]>,
}

/// Incoming images that a space is fitted beside.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// Them.
    pub images: Images<'a>,
    /// One for each: its row among the regular images where it is one of those as well, as in a data set without
    /// incoming images. It is not to look regular for being like itself. Empty where none is.
    pub own: &'a [Option<usize>],
}

impl<'a> From<Images<'a>> for Pool<'a> {
    fn from(images: Images<'a>) -> Self {
        Self { images, own: &[] }
    }
}

/// Fitted once on regular training images and on the pool of incoming ones; then it turns any image into
/// the numbers that a [head](Self::fit_head) reads. What it makes of an image depends on that image alone.
///
/// Scores are calibrated on regular images that their fit has not seen ([`Calibration`]). The principal
/// components share one scale, that of regular images over all of them: a direction in which regular images
/// hardly vary is mostly noise, and is not blown up. A score that is the same for all regular images says
/// nothing and is left out. Density among the pool is relative to the incoming images, so it is only listed: it
/// helps to choose what to look at, and moves neither a ranking nor a probability (docs/decisions/0008).
pub struct DriftSpace {
    projection: Projection,
    scale: f32,
    mahalanobis: Option<(Mahalanobis, Calibration)>,
    relative: Option<(RelativeMahalanobis, Calibration)>,
    nearest: Option<(NearestNeighbours, Calibration)>,
    density: Option<(PoolDensity, Calibration)>,
    spots: Option<Spots>,
    places: Option<Places>,
    style: Option<Directions>,
    appearance: Option<Appearance>,
    contrast: Option<(LocalContrast, Calibration)>,
    tiles: Option<(OddestTile, Calibration)>,
    listed: Listed,
    /// Of the regular images.
    kin: Kin,
}

/// The directions in which regular images vary, and the one scale of them all.
struct Directions {
    projection: Projection,
    scale: f32,
}

impl Directions {
    fn fit(rows: EmbeddingView<'_>, components: usize) -> Result<Self, DriftError> {
        let projection = Projection::fit(rows, components, SEED)?;
        let scale = spread(&projection.project_all(rows)?, projection.components());
        Ok(Self { projection, scale })
    }

    fn components(&self) -> usize {
        self.projection.components()
    }

    fn project(&self, rows: &[f32], dim: usize) -> Result<Vec<f32>, DriftError> {
        let mut projected = self
            .projection
            .project_all(EmbeddingView::new(rows, dim)?)?;
        projected.iter_mut().for_each(|v| *v /= self.scale);
        Ok(projected)
    }
}

/// The part that compares each place with the same place of similar images.
struct Places {
    spade: Spade,
    /// Of the regular images, every so many-th is remembered.
    every: usize,
    mean: Calibration,
    spot: Calibration,
}

/// The part that looks at local features.
struct Spots {
    core: PatchCore,
    calibration: Calibration,
    directions: Directions,
}

/// What was found of the images of one set, beside embeddings and scores.
struct Parts {
    /// Of the oddest spot of each.
    descriptors: Option<Vec<f32>>,
    styles: Option<Vec<f32>>,
    seen: Option<Seen>,
}

/// The numbers of the images of one set.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceRows {
    /// How many images there are.
    pub images: usize,
    /// Row after row of [`DriftSpace::dim`] numbers.
    pub features: Vec<f32>,
    /// The scores behind them, calibrated: robust standard deviations above the median regular image.
    pub scores: Vec<NamedScores>,
    /// Scores that are listed and measured beside those, calibrated alike, which no head reads.
    pub listed: Vec<NamedScores>,
}

impl SpaceRows {
    /// Mean of the calibrated scores of each image, within limits: the ranking before anything is labelled. Without
    /// those of pixels and of framing, which say nothing where no scene is seen twice; a head learns whether to listen
    /// to them. With ViM, which no head reads.
    #[must_use]
    pub fn fused(&self) -> Vec<f64> {
        let n = self.images;
        let limited = |z: f64| z.clamp(LIMITS.0, LIMITS.1);
        let counted = self
            .scores
            .iter()
            .filter(|s| !appearance::OF_SCENES.contains(&s.name));
        let beside = self.listed.iter().filter(|s| s.name == listed::VIM);
        let counted: Vec<&NamedScores> = counted.chain(beside).collect();
        (0..n)
            .map(|row| {
                let sum: f64 = counted.iter().map(|s| limited(s.values[row])).sum();
                sum / counted.len().max(1) as f64
            })
            .collect()
    }
}

impl SpaceRows {
    /// Puts row `from` of `other`, which has the same scores, in the place of row `row`.
    fn replace(&mut self, row: usize, other: &Self, from: usize) {
        let dim = self.features.len() / self.images;
        self.features[row * dim..][..dim].copy_from_slice(&other.features[from * dim..][..dim]);
        let all = self.scores.iter_mut().chain(&mut self.listed);
        for (scores, others) in all.zip(other.scores.iter().chain(&other.listed)) {
            scores.values[row] = others.values[from];
            scores.places[row] = others.places[from];
        }
    }
}

/// A space with the rows of the images that it was fitted on.
pub struct Fitted {
    /// For images to come.
    pub space: DriftSpace,
    /// The regular training images, each scored by fits that have not seen it.
    pub train: SpaceRows,
    /// The pool; no image counts as its own neighbour.
    pub pool: Option<SpaceRows>,
}

impl DriftSpace {
    /// Name of the listed score that tells how new a crowd of images is, wherever it lies.
    pub const DENSITY: &'static str = "pool density";

    /// Fits on the regular images `train`, and on the incoming ones in `pool`, if there are any. The first
    /// `classes.len()` images of `train` are learned from, with the class of each; all of them, as far as memory
    /// goes, are remembered to compare places with: that costs little for each image, and what is regular but
    /// rare then has its like. Images of the pool that are learned from have the rows they have in `train`, scored by
    /// fits that have not seen them; where there are such, nothing tells incoming images from regular ones, and
    /// their density is left out.
    ///
    /// # Errors
    /// [`DriftError`]: too few images, embeddings that do not vary, or are no numbers.
    pub fn fit(
        train: Images<'_>,
        classes: &[ClassId],
        pool: Option<Pool<'_>>,
    ) -> Result<Fitted, DriftError> {
        let known = train.embeddings.len();
        if let Some(pool) = &pool
            && !pool.own.is_empty()
            && pool.own.len() != pool.images.embeddings.len()
        {
            return Err(DriftError::LengthMismatch {
                rows: pool.images.embeddings.len(),
                labels: pool.own.len(),
            });
        }
        if classes.len() > known {
            return Err(DriftError::LengthMismatch {
                rows: known,
                labels: classes.len(),
            });
        }
        let learned = train.embeddings.first(classes.len());
        let projection = Projection::fit(learned, Projection::COMPONENTS, SEED)?;
        let dim = projection.components();
        let projected = projection.project_all(learned)?;
        let rows = EmbeddingView::new(&projected, dim)?;
        // Near-duplicates are held out together: else they would vouch for each other.
        let duplicates = DuplicateGroups::find(train.embeddings)?;
        let groups = &duplicates.ids()[..learned.len()];
        let kin = Kin::new(duplicates.ids().to_vec(), learned.len());
        let folds = Folds::apart(groups, FOLDS, SEED)?;
        let pool_rows = match &pool {
            Some(pool) => projection.project_all(pool.images.embeddings)?,
            None => Vec::new(),
        };

        let of =
            |kept: &[usize]| -> Vec<ClassId> { kept.iter().map(|row| classes[*row]).collect() };
        let mut train_scores = Vec::new();
        let mut keep = |name, scores: Option<Vec<f64>>| {
            train_scores.extend(scores.map(|scores| (name, scores)));
        };
        let (mahalanobis, far) =
            calibrated(rows, &folds, |kept, some| Mahalanobis::fit(some, &of(kept)))?;
        keep(MAHALANOBIS, far);
        let (relative, far) = calibrated(rows, &folds, |kept, some| {
            RelativeMahalanobis::fit(some, &of(kept))
        })?;
        keep(RELATIVE, far);
        let (nearest, far) = calibrated(rows, &folds, |_, some| NearestNeighbours::fit(some, 1))?;
        keep(NEAREST, far);
        let in_both = |pool: &Pool<'_>| pool.own.iter().any(Option::is_some);
        let density = if pool_rows.is_empty() || pool.as_ref().is_some_and(in_both) {
            None
        } else {
            let incoming = EmbeddingView::new(&pool_rows, dim)?;
            let crowd = CROWD.min(rows.len() / 2 + incoming.len() - 1).max(1);
            let (density, new) = calibrated(rows, &folds, |_, some| {
                PoolDensity::fit(some, incoming, crowd)
            })?;
            keep(Self::DENSITY, new);
            density
        };
        let dies = train
            .dies
            .map(|dies| &dies[..dies.len().min(classes.len())]);
        let (listed, found) = Listed::fit(rows, classes, dies, &folds)?;
        for (name, scores) in found {
            keep(name, Some(scores));
        }
        let spots = match train.local {
            Some(local) => match Spots::fit(local, groups) {
                Ok((spots, scores, descriptors)) => {
                    train_scores.push((PATCHES, scores));
                    Some((spots, descriptors))
                }
                Err(DriftError::ConstantScore { .. } | DriftError::NoVariation) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let places = match train.local {
            Some(local) => Places::fit(local, &kin, rows.len())?,
            None => None,
        };
        let places = places.map(|(places, scores)| {
            train_scores.extend(named(&scores));
            places
        });
        let tiles = match train.tiles {
            Some(tiles) => OddestTile::fit(tiles, groups)?,
            None => None,
        };
        let tiles = match tiles {
            Some((tiles, scores)) => {
                let calibration = Calibration::unless_constant(scores.clone())?;
                train_scores.extend(calibration.is_some().then_some((TILE, scores)));
                calibration.map(|calibration| (tiles, calibration))
            }
            None => None,
        };
        let styles = train.local.map(|local| styles(local, rows.len()));
        let style = match (&styles, train.local) {
            (Some(styles), Some(local)) => {
                let rows = EmbeddingView::new(styles, 2 * local.shape().channels)?;
                match Directions::fit(rows, STYLE_COMPONENTS) {
                    Ok(style) => Some(style),
                    Err(DriftError::NoVariation) => None,
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        let (appearance, seen) = match train.pictures {
            Some(pictures) => Some(Appearance::fit(pictures, &kin, rows.len())?).unzip(),
            None => (None, None),
        };
        let contrast = match seen.as_ref().and_then(|seen| seen.spots()) {
            Some(spots) => contrasted(rows, spots, &kin)?,
            None => None,
        };
        let scale = spread(&projected, dim);
        let (spots, descriptors) = spots.unzip();
        let space = Self {
            projection,
            scale,
            mahalanobis,
            relative,
            nearest,
            density,
            spots,
            places,
            style,
            appearance,
            contrast,
            tiles,
            listed,
            kin,
        };
        let parts = Parts {
            descriptors,
            styles,
            seen,
        };
        let train = space.rows(&projected, parts, train_scores, Some)?;
        let pool = match pool {
            Some(pool) => {
                let own = space
                    .density
                    .as_ref()
                    .map(|(density, _)| density.pool_scores());
                let mut rows = space.assemble(&pool_rows, &pool, own)?;
                for (row, own) in pool.own.iter().enumerate() {
                    if let Some(own) = own.filter(|own| *own < classes.len()) {
                        rows.replace(row, &train, own);
                    }
                }
                Some(rows)
            }
            None => None,
        };
        Ok(Fitted { space, train, pool })
    }

    /// Numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        let spots = self.spots.as_ref().map_or(0, |s| s.directions.components());
        let style = self.style.as_ref().map_or(0, Directions::components);
        let seen = self.appearance.as_ref();
        let seen = seen.map_or(0, Appearance::width);
        self.projection.components() + spots + style + seen + self.scores()
    }

    /// How many scores there are, with which every row ends.
    fn scores(&self) -> usize {
        let scores = [
            MAHALANOBIS,
            RELATIVE,
            NEAREST,
            PATCHES,
            PLACES,
            PLACE,
            TILE,
            appearance::SPOT_CONTRAST,
        ];
        let kept = scores
            .iter()
            .filter(|name| self.calibration(name).is_some());
        let seen = self.appearance.as_ref().map_or(0, Appearance::score_count);
        kept.count() + seen
    }

    /// The principal components of the embedding, of which every row of [`SpaceRows::features`] begins with
    /// the values.
    #[must_use]
    pub fn components(&self) -> usize {
        self.projection.components()
    }

    /// The numbers of images that it was not fitted on.
    ///
    /// # Errors
    /// [`DriftError::DimensionMismatch`], [`DriftError::NonFinite`], [`DriftError::NoEmbeddings`].
    pub fn transform(&self, images: Images<'_>) -> Result<SpaceRows, DriftError> {
        let projected = self.projection.project_all(images.embeddings)?;
        self.assemble(&projected, &images.into(), None)
    }

    /// Scores `projected` rows; `density` replaces that score where the rows are the pool itself.
    fn assemble(
        &self,
        projected: &[f32],
        pool: &Pool<'_>,
        density: Option<Vec<f64>>,
    ) -> Result<SpaceRows, DriftError> {
        let images = &pool.images;
        let own = |row: usize| pool.own.get(row).copied().flatten();
        let local = images.local;
        let rows = EmbeddingView::new(projected, self.projection.components())?;
        let mut scores = Vec::new();
        if let Some((fitted, _)) = &self.mahalanobis {
            scores.push((MAHALANOBIS, fitted.score_all(rows)?));
        }
        if let Some((fitted, _)) = &self.relative {
            scores.push((RELATIVE, fitted.score_all(rows)?));
        }
        if let Some((fitted, _)) = &self.nearest {
            scores.push((NEAREST, fitted.score_all(rows)?));
        }
        if let Some((fitted, _)) = &self.density {
            let found = density.map_or_else(|| fitted.score_all(rows), Ok)?;
            scores.push((Self::DENSITY, found));
        }
        scores.extend(self.listed.score(rows, images.dies)?);
        let descriptors = match (&self.spots, local) {
            (Some(spots), Some(local)) => {
                let (found, descriptors) = spots.reports(local, rows.len())?;
                scores.push((PATCHES, found));
                Some(descriptors)
            }
            (None, _) => None,
            (Some(_), None) => return Err(DriftError::NoEmbeddings),
        };
        if let (Some(places), Some(local)) = (&self.places, local) {
            let found = places.scores(local, rows.len(), &self.kin, own)?;
            scores.extend(named(&found));
        }
        if let Some((fitted, calibration)) = &self.tiles {
            let found = match images.tiles {
                Some(tiles) => fitted.score_all(tiles, rows.len())?,
                // Its strip is not looked at, as of one spoiled on purpose: the middle of regular images stands in.
                None => vec![calibration.median(); rows.len()],
            };
            scores.push((TILE, found));
        }
        let seen = match (&self.appearance, images.pictures) {
            (Some(part), Some(pictures)) => {
                Some(part.look(pictures, rows.len(), &self.kin, own)?)
            }
            (None, _) => None,
            (Some(_), None) => return Err(DriftError::NoEmbeddings),
        };
        let parts = Parts {
            descriptors,
            styles: local.map(|local| styles(local, rows.len())),
            seen,
        };
        self.rows(projected, parts, scores, own)
    }

    /// Puts the numbers of each image together; `own` gives the row among the regular images of one that is one of those.
    fn rows(
        &self,
        projected: &[f32],
        found: Parts,
        mut raw: Vec<(&'static str, Vec<f64>)>,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<SpaceRows, DriftError> {
        let rows = EmbeddingView::new(projected, self.projection.components())?;
        let mut seen = None;
        if let Some(found) = found.seen {
            if let (Some((fitted, _)), Some(spots)) = (&self.contrast, found.spots()) {
                let beside =
                    fitted.contrast(rows, spots, |row, other| self.kin.are(own(row), other))?;
                raw.push((appearance::SPOT_CONTRAST, beside));
            }
            raw.extend(found.scores);
            raw.extend(found.gates);
            seen = Some(found.features);
        }
        let mut scores = Vec::new();
        let mut listed = Vec::new();
        for (name, values) in raw {
            let (part, calibration) = match self.calibration(name) {
                Some(calibration) => (&mut scores, Some(calibration)),
                None => (&mut listed, self.listed_calibration(name)),
            };
            part.extend(calibration.map(|calibration| NamedScores {
                name,
                places: values.iter().map(|s| calibration.quantile(*s)).collect(),
                values: values.iter().map(|s| calibration.robust_z(*s)).collect(),
            }));
        }
        let wide = self.projection.components();
        let mut parts = Vec::new();
        if let (Some(spots), Some(rows)) = (&self.spots, &found.descriptors) {
            let rows = spots.directions.project(rows, spots.core.patch_dim())?;
            parts.push((rows, spots.directions.components()));
        }
        if let (Some(style), Some(rows)) = (&self.style, &found.styles) {
            let dim = rows.len() / (projected.len() / wide);
            parts.push((style.project(rows, dim)?, style.components()));
        }
        if let (Some(part), Some(rows)) = (&self.appearance, seen) {
            parts.push((rows, part.width()));
        }
        let mut features = Vec::with_capacity(projected.len() / wide * self.dim());
        for (at, row) in projected.chunks_exact(wide).enumerate() {
            features.extend(row.iter().map(|v| v / self.scale));
            for (rows, width) in &parts {
                features.extend_from_slice(&rows[at * width..][..*width]);
            }
            for score in &scores {
                let z = score.values[at].clamp(LIMITS.0, LIMITS.1);
                #[expect(clippy::cast_possible_truncation, reason = "features are f32")]
                features.push((z * SCORE_WEIGHT) as f32);
            }
        }
        Ok(SpaceRows {
            images: projected.len() / wide,
            features,
            scores,
            listed,
        })
    }

    /// The place beyond which a gate, one of the listed scores, says that a picture is spoiled: that of the regular
    /// picture which is so most. None for a name that is no gate.
    #[must_use]
    pub fn gate_limit(&self, name: &str) -> Option<f64> {
        let places = self.appearance.as_ref()?.gate(name)?.images();
        // One more than there are regular pictures.
        Some((places - 1) as f64 / (places + 1) as f64)
    }

    /// Of a score that is listed only.
    fn listed_calibration(&self, name: &str) -> Option<&Calibration> {
        if name == Self::DENSITY {
            return self.density.as_ref().map(|(_, c)| c);
        }
        let gate = || self.appearance.as_ref()?.gate(name);
        self.listed.calibration(name).or_else(gate)
    }

    /// Of a score that a head reads.
    fn calibration(&self, name: &str) -> Option<&Calibration> {
        match name {
            MAHALANOBIS => self.mahalanobis.as_ref().map(|(_, c)| c),
            RELATIVE => self.relative.as_ref().map(|(_, c)| c),
            NEAREST => self.nearest.as_ref().map(|(_, c)| c),
            PATCHES => self.spots.as_ref().map(|spots| &spots.calibration),
            PLACES => self.places.as_ref().map(|places| &places.mean),
            PLACE => self.places.as_ref().map(|places| &places.spot),
            TILE => self.tiles.as_ref().map(|(_, c)| c),
            appearance::SPOT_CONTRAST => self.contrast.as_ref().map(|(_, c)| c),
            other => self.appearance.as_ref()?.calibration(other),
        }
    }

    /// A head for rows of this space; see [`LogisticRegression::fit`]. `drift` has one entry per row.
    ///
    /// # Errors
    /// As [`LogisticRegression::fit`].
    pub fn fit_head(&self, rows: &[f32], drift: &[bool]) -> Result<LogisticRegression, DriftError> {
        self.fit_weighted_head(rows, drift, &vec![1.0; drift.len()])
    }

    /// As [`fit_head`](Self::fit_head), with the weight of each row.
    ///
    /// # Errors
    /// As [`LogisticRegression::fit_weighted`].
    pub fn fit_weighted_head(
        &self,
        rows: &[f32],
        drift: &[bool],
        weights: &[f64],
    ) -> Result<LogisticRegression, DriftError> {
        Self::fit_columns(rows.iter(), self.dim(), drift, weights)
    }

    /// A second opinion for rows of this space: a head that reads nothing but their [scores](Self::score_part).
    /// None where there are no scores.
    ///
    /// # Errors
    /// As [`fit_weighted_head`](Self::fit_weighted_head).
    pub fn fit_score_head(
        &self,
        rows: &[f32],
        drift: &[bool],
        weights: &[f64],
    ) -> Result<Option<LogisticRegression>, DriftError> {
        if self.scores() == 0 {
            return Ok(None);
        }
        let scores = rows
            .chunks_exact(self.dim())
            .flat_map(|row| self.score_part(row));
        Self::fit_columns(scores, self.scores(), drift, weights).map(Some)
    }

    /// The numbers of a row that are scores.
    #[must_use]
    pub fn score_part<'r>(&self, row: &'r [f32]) -> &'r [f32] {
        &row[row.len() - self.scores()..]
    }

    fn fit_columns<'r>(
        rows: impl Iterator<Item = &'r f32>,
        dim: usize,
        drift: &[bool],
        weights: &[f64],
    ) -> Result<LogisticRegression, DriftError> {
        let rows: Vec<f64> = rows.map(|v| f64::from(*v)).collect();
        let options = LogisticOptions {
            // Settled on held-out classes of the NEU surface photographs (docs/BENCHMARKS.md).
            c: 0.05,
            balanced: true,
        };
        LogisticRegression::fit_weighted(&rows, dim, drift, weights, &options)
    }
}

const MAHALANOBIS: &str = "mahalanobis++";
const RELATIVE: &str = "relative mahalanobis++";
const NEAREST: &str = "knn";
const PATCHES: &str = "patchcore";
const PLACES: &str = "spade";
const PLACE: &str = "spade, oddest places";
const TILE: &str = "oddest tile";

/// The two scores that [`Spade`] gives an image, by name.
fn named(scores: &[SpadeScore]) -> [(&'static str, Vec<f64>); 2] {
    [
        (PLACES, scores.iter().map(|s| s.mean).collect()),
        (PLACE, scores.iter().map(|s| s.spot).collect()),
    ]
}

impl Places {
    /// Remembers the images that `kin` tells of, as far as memory goes, and scores the first `images` of them, each
    /// without itself and its near-duplicates. None where the places of an image make no square, or all images are alike.
    fn fit(
        local: &dyn LocalSource,
        kin: &Kin,
        images: usize,
    ) -> Result<Option<(Self, Vec<SpadeScore>)>, DriftError> {
        let known = kin.images();
        let most = Spade::capacity(local.shape()).max(1);
        let every = known.div_ceil(most);
        let remembered = known.div_ceil(every);
        if remembered < 2 {
            return Ok(None);
        }
        let references = (0..remembered).map(|i| local.image(i * every));
        let spade = match Spade::fit(local.shape(), SIMILAR.min(remembered - 1), references) {
            Ok(spade) => spade,
            Err(DriftError::NotSquare { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let scores = scores_of(&spade, every, local, images, kin, Some)?;
        let calibration = |of: fn(&SpadeScore) -> f64| {
            Calibration::unless_constant(scores.iter().map(of).collect())
        };
        let (Some(mean), Some(spot)) = (calibration(|s| s.mean)?, calibration(|s| s.spot)?) else {
            return Ok(None);
        };
        let fitted = Self {
            spade,
            every,
            mean,
            spot,
        };
        Ok(Some((fitted, scores)))
    }

    fn scores(
        &self,
        local: &dyn LocalSource,
        images: usize,
        kin: &Kin,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<Vec<SpadeScore>, DriftError> {
        scores_of(&self.spade, self.every, local, images, kin, own)
    }
}

/// The scores of images by a bank of every `every`-th regular one; `own` gives the row among the regular images of one
/// that is one of those.
fn scores_of(
    spade: &Spade,
    every: usize,
    local: &dyn LocalSource,
    images: usize,
    kin: &Kin,
    own: impl Fn(usize) -> Option<usize> + Sync,
) -> Result<Vec<SpadeScore>, DriftError> {
    use rayon::prelude::*;
    (0..images)
        .into_par_iter()
        .map(|row| {
            let own = own(row);
            spade.score(&local.image(row), |at| kin.are(own, at * every))
        })
        .collect()
}

impl Spots {
    /// Chooses a bank from each two thirds of the images, one for each entry of `groups`, and scores the others by it:
    /// no image is compared with its own places, nor with those of an image of its group. The first bank is kept; it is
    /// as large as the others, so that what is judged later is judged as those were. Also returns score and descriptor
    /// of every image.
    fn fit(
        local: &dyn LocalSource,
        groups: &[usize],
    ) -> Result<(Self, Vec<f64>, Vec<f32>), DriftError> {
        let images = groups.len();
        let folds = Folds::apart(groups, BANKS, SEED)?;
        let options = PatchCoreOptions {
            // They come projected.
            dims: None,
            bank: 2_000,
            candidates: 10_000,
            ..PatchCoreOptions::default()
        };
        let mut first = None;
        let mut scores = vec![0.0; images];
        let mut descriptors = Vec::new();
        for third in 0..folds.count() {
            let mut builder = PatchCoreBuilder::new(local.shape(), options)?;
            for row in folds.fitted(third) {
                builder.add(&local.image(row))?;
            }
            let core = builder.finish()?;
            let held_out = folds.held_out(third);
            let (found, spots) = reports(&core, local, &held_out)?;
            let dim = core.patch_dim();
            descriptors.resize(images * dim, 0.0);
            for ((row, score), spot) in held_out.iter().zip(found).zip(spots.chunks_exact(dim)) {
                scores[*row] = score;
                descriptors[row * dim..][..dim].copy_from_slice(spot);
            }
            first.get_or_insert(core);
        }
        let core = first.expect("there are banks");
        let calibration = Calibration::new(scores.clone())?;
        let rows = EmbeddingView::new(&descriptors, core.patch_dim())?;
        let directions = Directions::fit(rows, SPOT_COMPONENTS)?;
        let spots = Self {
            core,
            calibration,
            directions,
        };
        Ok((spots, scores, descriptors))
    }

    fn reports(
        &self,
        local: &dyn LocalSource,
        images: usize,
    ) -> Result<(Vec<f64>, Vec<f32>), DriftError> {
        reports(&self.core, local, &Vec::from_iter(0..images))
    }
}

fn reports(
    core: &PatchCore,
    local: &dyn LocalSource,
    rows: &[usize],
) -> Result<(Vec<f64>, Vec<f32>), DriftError> {
    use rayon::prelude::*;
    let reports: Vec<(f64, Vec<f32>)> = rows
        .par_iter()
        .map(|row| {
            let report = core.inspect(&local.image(*row))?;
            Ok((report.score, report.descriptor))
        })
        .collect::<Result<_, DriftError>>()?;
    let scores = reports.iter().map(|(score, _)| *score).collect();
    let descriptors = reports.into_iter().flat_map(|(_, spot)| spot).collect();
    Ok((scores, descriptors))
}

/// Mean and standard deviation over the places of each image, each as a vector of length 1, row by row: what an
/// image is made of, wherever it lies. Blur, exposure and dust show here more than in an embedding, which is
/// trained to overlook them.
fn styles(local: &dyn LocalSource, images: usize) -> Vec<f32> {
    use rayon::prelude::*;
    let channels = local.shape().channels;
    let style = |row: usize| {
        let image = local.image(row);
        let n = (image.len() / channels) as f32;
        let mut mean = vec![0.0; channels];
        let mut squares = vec![0.0; channels];
        for place in image.chunks_exact(channels) {
            for ((mean, squares), v) in mean.iter_mut().zip(&mut squares).zip(place) {
                *mean += v / n;
                *squares += v * v / n;
            }
        }
        let deviation = mean
            .iter()
            .zip(&squares)
            .map(|(m, s)| (s - m * m).max(0.0).sqrt());
        let deviation = normalised(&deviation.collect::<Vec<f32>>(), channels);
        let mut style = normalised(&mean, channels);
        style.extend(deviation);
        style
    };
    let styles: Vec<Vec<f32>> = (0..images).into_par_iter().map(style).collect();
    styles.concat()
}

/// A score fitted on all rows, with its calibration.
pub(super) type Fit<S> = Option<(S, Calibration)>;

/// A score fitted on all rows, and the scores of the rows out of fold; neither where all are the same.
pub(super) fn calibrated<S: Scorer>(
    rows: EmbeddingView<'_>,
    folds: &Folds,
    fit: impl Fn(&[usize], EmbeddingView<'_>) -> Result<S, DriftError>,
) -> Result<(Fit<S>, Option<Vec<f64>>), DriftError> {
    let fit = |kept: &[usize]| fit(kept, EmbeddingView::new(&rows.gather(kept), rows.dim())?);
    let held_out = out_of_fold(folds, fit, |scorer, held_out| {
        scorer.score_all(EmbeddingView::new(&rows.gather(held_out), rows.dim())?)
    })?;
    let all: Vec<usize> = (0..rows.len()).collect();
    match Calibration::unless_constant(held_out.clone())? {
        Some(calibration) => Ok((Some((fit(&all)?, calibration)), Some(held_out))),
        None => Ok((None, None)),
    }
}

/// How the `scores` of regular images stand out beside similar ones, fitted and calibrated; none where there are too few
/// images, or none stands out.
fn contrasted(
    rows: EmbeddingView<'_>,
    scores: &[f64],
    kin: &Kin,
) -> Result<Fit<LocalContrast>, DriftError> {
    if rows.len() <= USUAL {
        return Ok(None);
    }
    let fitted = LocalContrast::fit(rows, scores.to_vec(), USUAL)?;
    let found = fitted.contrast(rows, scores, |row, other| kin.are(Some(row), other))?;
    let calibration = Calibration::unless_constant(found)?;
    Ok(calibration.map(|calibration| (fitted, calibration)))
}

/// Root mean square of all values: the standard deviation over centred components. 1 where there is none.
fn spread(values: &[f32], dim: usize) -> f32 {
    let squares: f32 = values.chunks_exact(dim).map(|row| dot(row, row)).sum();
    let spread = (squares / values.len() as f32).sqrt();
    if spread > 0.0 { spread } else { 1.0 }
}

#[cfg(test)]
mod tests;
