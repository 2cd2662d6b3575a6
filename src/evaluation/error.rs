//! Why a figure cannot be computed.

/// Why a figure cannot be computed, worded for the screen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing to count.
    #[error("there is no image to evaluate: choose a split that holds labelled images")]
    Empty,
    /// Two columns that should describe the same images differ in length.
    #[error("{scores} scores for {labels} labels: every image needs exactly one of each")]
    LengthMismatch {
        /// Number of scores given.
        scores: usize,
        /// Number of labels given.
        labels: usize,
    },
    /// A score, probability or logit is infinite or not a number.
    #[error(
        "the score of image {row} is not a finite number: compute the scores again with a model whose training did not diverge"
    )]
    NotFinite {
        /// Position of the score, counted from 0.
        row: usize,
    },
    /// A curve over two kinds of image was asked where only one kind is labelled.
    #[error(
        "{drift} drift and {regular} regular images are labelled: label at least one of each to measure how well they are told apart"
    )]
    OneClassOnly {
        /// Labelled drift images (positives).
        drift: usize,
        /// Labelled regular images (negatives).
        regular: usize,
    },
    /// A row names a class that the model has no output for.
    #[error("image {row} is of class number {class}, but the model knows only {classes} classes")]
    ClassOutOfRange {
        /// Position of the image, counted from 0.
        row: usize,
        /// The class number found.
        class: usize,
        /// Number of classes known.
        classes: usize,
    },
    /// The names and the confusion matrix disagree about the number of classes.
    #[error("{names} class names for a confusion matrix of {classes} classes")]
    NamesMismatch {
        /// Names given.
        names: usize,
        /// Rows of the confusion matrix.
        classes: usize,
    },
    /// The cost matrix has fewer rows than the confusion matrix.
    #[error(
        "the cost matrix covers {cost_classes} classes, the predictions {classes}: give the cost matrix one row and one column for each class"
    )]
    CostMatrixTooSmall {
        /// Rows of the cost matrix.
        cost_classes: usize,
        /// Rows of the confusion matrix.
        classes: usize,
    },
}
