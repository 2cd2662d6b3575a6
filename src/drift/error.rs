//! Why a score or head cannot be computed.

/// Why a score or head cannot be computed, worded for the screen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DriftError {
    /// Nothing is labelled.
    #[error(
        "no image is labelled yet: label at least 2 drift images (key 1) and 2 regular images (key 0), then retrain"
    )]
    NoLabels,
    /// Only regular images are labelled.
    #[error(
        "no drift image is labelled yet ({regular} regular are): label at least 2 drift images (key 1), then retrain"
    )]
    NoDriftLabelled {
        /// Labelled regular images.
        regular: usize,
    },
    /// Only drift images are labelled.
    #[error(
        "no regular image is labelled yet ({drift} drift are): label at least 2 regular images (key 0), then retrain"
    )]
    NoRegularLabelled {
        /// Labelled drift images.
        drift: usize,
    },
    /// There are no embeddings, or they have no values.
    #[error("there are no embeddings: let a trained model embed the images first")]
    NoEmbeddings,
    /// A single row has neither spread nor neighbours.
    #[error("{rows} images are too few: at least {needed} are needed")]
    TooFewImages {
        /// Rows given.
        rows: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The data are no whole number of rows.
    #[error(
        "{values} values are no whole number of embeddings of {dim}: the embedding cache is damaged; delete it and embed the images again"
    )]
    Ragged {
        /// Values found.
        values: usize,
        /// Values of one embedding.
        dim: usize,
    },
    /// An embedding holds an infinite value or none at all.
    #[error(
        "the embedding of image {row} holds a value that is not a finite number: embed the images again with a model whose training did not diverge"
    )]
    NonFinite {
        /// Position of the image, counted from 0.
        row: usize,
    },
    /// Embeddings of another model.
    #[error(
        "embeddings of {found} values meet a head for {expected}: they come from another model; retrain the head on these embeddings"
    )]
    DimensionMismatch {
        /// Values the head was fitted on.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Labels for another number of images.
    #[error("{labels} labels for {rows} embeddings: every image needs exactly one of each")]
    LengthMismatch {
        /// Rows of the embeddings.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// Every embedding is the same.
    #[error(
        "the embeddings of all images are the same, so no image can stand out: choose another model"
    )]
    NoVariation,
    /// A strength of regularisation that is no positive number.
    #[error("the regularisation C is {c}: give a number above 0")]
    BadRegularisation {
        /// What was given.
        c: f64,
    },
}
