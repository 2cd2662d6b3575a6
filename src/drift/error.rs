//! Why a score or head cannot be computed.

/// Why a score or head cannot be computed, worded for the screen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DriftError {
    /// Nothing is labelled.
    #[error(
        "no image is labelled yet: label drift (key 1) and regular images (key 0), from 2 of each on the model is measured too, then retrain"
    )]
    NoLabels,
    /// Only regular images are labelled.
    #[error(
        "no drift image is labelled yet ({regular} regular are): label some (key 1), from 2 on the model is measured too, then retrain"
    )]
    NoDriftLabelled {
        /// Labelled regular images.
        regular: usize,
    },
    /// Only drift images are labelled.
    #[error(
        "no regular image is labelled yet ({drift} drift are): label some (key 0), from 2 on the model is measured too, then retrain"
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
    /// Labels or groups for another number of images.
    #[error(
        "{labels} labels or groups for {rows} embeddings: every image needs exactly one of each"
    )]
    LengthMismatch {
        /// Rows of the embeddings.
        rows: usize,
        /// Labels or groups given.
        labels: usize,
    },
    /// Every embedding is the same.
    #[error(
        "the embeddings of all images are the same, so no image can stand out: choose another model"
    )]
    NoVariation,
    /// A score overflowed.
    #[error(
        "the embedding of image {row} holds values so large that its score is no number: embed the images again with a model whose training did not diverge"
    )]
    TooLarge {
        /// Position of the image, counted from 0.
        row: usize,
    },
    /// No class has two different images.
    #[error(
        "within each of the {classes} classes all embeddings are the same, or there is only one image, so the spread within a class cannot be measured: give more images of each class, or one class for all"
    )]
    NoSpreadWithinClasses {
        /// Classes with an image.
        classes: usize,
    },
    /// More neighbours than images.
    #[error(
        "the {k}-th nearest of {rows} regular images is asked for: ask for a neighbour between 1 and {rows}"
    )]
    NoSuchNeighbour {
        /// Which neighbour, counted from 1.
        k: usize,
        /// Regular images there are.
        rows: usize,
    },
    /// A classifier whose weights do not fit.
    #[error(
        "a classifier of {classes} classes over embeddings of {dim} values has {weights} weights: the weights file belongs to another model"
    )]
    BadClassifier {
        /// Classes, as many as there are biases.
        classes: usize,
        /// Values of an embedding.
        dim: usize,
        /// Weights given.
        weights: usize,
    },
    /// A classifier with weights that are no numbers.
    #[error(
        "the last layer of the network holds a value that is not a finite number: its training diverged; train again with a lower rate"
    )]
    BrokenClassifier,
    /// A temperature that is no positive number.
    #[error("the temperature of the energy score is {temperature}: give a number above 0")]
    BadTemperature {
        /// What was given.
        temperature: f64,
    },
    /// A least variance that is no positive number.
    #[error("the variance that PaDiM adds is {epsilon}: give a number above 0, such as 0.01")]
    BadEpsilon {
        /// What was given.
        epsilon: f64,
    },
    /// The principal directions of ViM leave nothing.
    #[error(
        "{principal} principal directions hold everything the regular images vary in, so ViM has no rest to measure: ask for fewer directions, or give more images"
    )]
    NoResidual {
        /// Directions asked for.
        principal: usize,
    },
    /// Logits that ViM cannot scale by.
    #[error(
        "the largest logits of the regular images average {mean:.3}; ViM scales its rest by them and needs them above 0: use another score with this classifier"
    )]
    LogitsNotPositive {
        /// Their average.
        mean: f64,
    },
    /// Options of a score over local features that ask for nothing, or for more than there is.
    #[error("{what} is {given}: give a number between {least} and {most}")]
    BadOption {
        /// The option, in words.
        what: &'static str,
        /// What was given.
        given: usize,
        /// The smallest that makes sense.
        least: usize,
        /// The largest that makes sense.
        most: usize,
    },
    /// Places that make no square.
    #[error(
        "{positions} places make no square picture, so none can be compared with what stands there in other images: choose another model"
    )]
    NotSquare {
        /// Places of an image.
        positions: usize,
    },
    /// A score that says nothing.
    #[error(
        "all {rows} regular images have the same score, {score}: it cannot tell images apart; choose another score or another model"
    )]
    ConstantScore {
        /// Regular images.
        rows: usize,
        /// Their score.
        score: f64,
    },
    /// Too few groups to hold one out.
    #[error(
        "all regular images belong to one group, so none can be held out to calibrate on: group by another column, or by none"
    )]
    OneGroup,
    /// A strength of regularisation that is no positive number.
    #[error("the regularisation C is {c}: give a number above 0")]
    BadRegularisation {
        /// What was given.
        c: f64,
    },
    /// No thread to lay out a map on.
    #[error(
        "the system gives no thread to lay out a map on ({reason}): close other programs and try again"
    )]
    NoThread {
        /// What the system says.
        reason: String,
    },
    /// A layout that flew apart.
    #[error(
        "the places of the images flew apart instead of settling: use the map of the principal directions"
    )]
    Unsettled,
}
