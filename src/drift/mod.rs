//! Scores, heads, thresholds and decisions over embeddings: pure numbers.
//!
//! A [`Scorer`] is fitted once on regular images and then judges one row at a time; higher always means more
//! like drift. [`Calibration`] maps its scores to places among regular images that the fit has not seen.
//!
//! | score | of | says |
//! |---|---|---|
//! | [`Mahalanobis`], [`RelativeMahalanobis`] | embeddings | far from every class |
//! | [`NearestNeighbours`] | embeddings | far from every image, or every image of its die |
//! | [`Vim`] | embeddings with a classifier | off the directions that regular images vary in |
//! | [`Energy`], [`MaxSoftmax`] | logits | no class fits, or more than one does |
//! | [`PatchCore`], [`Padim`] | local features | an odd spot |
//! | [`Spade`] | local features | not as in similar images, at the same place |
//! | [`OddestTile`] | embeddings of tiles | one tile lies far from the same tile of regular images |
//! | [`PixelSpade`] | pictures | looks like in none of the similar pictures |
//! | [`LocalContrast`] | any features and a score | scores more than similar regular images do |
//! | [`FramingMatch`] | pictures | light and dark lie as in no regular picture |
//! | [`FrameSizes`] | width and height | of no regular size |
//! | [`PoolDensity`] | embeddings of regular and incoming images | new, wherever it lies |
//!
//! An embedding is L2-normalised and projected once ([`Projection`]); once drift is labelled, a head
//! ([`DriftSpace::fit_weighted_head`]) refits on the projected features and the scores within milliseconds. How well it
//! does is measured by `evaluation::cross_validate_grouped`. [`DuplicateGroups`] says which images are nearly the
//! same, so that neither a fold nor a queue treats them as different.

mod appearance;
mod calibration;
mod classifier;
mod coreset;
mod covariance;
mod decision;
mod duplicates;
mod embedding;
mod energy;
mod error;
mod folds;
mod frame_size;
mod framing;
mod head_temperature;
#[cfg(feature = "gui")]
mod layout;
mod linalg;
mod listed;
mod local;
mod local_contrast;
mod logistic;
mod mahalanobis;
mod max_softmax;
mod neighbours;
mod oddest_tile;
mod padim;
mod patch_core;
mod pixel_spade;
mod pool_density;
mod principal;
mod projection;
mod score_meaning;
mod scorer;
mod space;
mod spade;
mod vim;

pub use calibration::Calibration;
pub use classifier::{LinearClassifier, OnLogits};
pub use coreset::k_center;
pub use decision::{Decision, cheapest, combine, gate, prior_shifted, regret, with_look};
pub use duplicates::DuplicateGroups;
pub use embedding::EmbeddingView;
pub use energy::Energy;
pub use error::DriftError;
pub use folds::{Folds, out_of_fold};
pub use frame_size::FrameSizes;
pub use framing::FramingMatch;
pub use head_temperature::HeadTemperature;
#[cfg(feature = "gui")]
pub use layout::{LayoutStep, leading_two, neighbour_layout};
pub use local::LocalShape;
pub use local_contrast::LocalContrast;
pub use logistic::{LogisticOptions, LogisticRegression};
pub use mahalanobis::{Mahalanobis, RelativeMahalanobis};
pub use max_softmax::MaxSoftmax;
pub use neighbours::{NearestNeighbours, most_similar, similarity_to_nearest};
pub use oddest_tile::OddestTile;
pub use padim::{Padim, PadimBuilder, PadimOptions, organisers_batch_min_max};
pub use patch_core::{PatchCore, PatchCoreBuilder, PatchCoreOptions, PatchPool, PatchReport};
pub use pixel_spade::{PictureSource, PixelSpade, PixelSpadeScore};
pub use pool_density::PoolDensity;
pub use projection::Projection;
pub use score_meaning::score_meaning;
pub use scorer::Scorer;
pub use space::{DriftSpace, Fitted, Images, LocalSource, NamedScores, Pool, SpaceRows};
pub use spade::{Spade, SpadeScore};
pub use vim::Vim;
