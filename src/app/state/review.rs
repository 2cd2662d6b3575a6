//! One run under review: its figures on a split, and the images behind each of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{ClassId, ClassSet, CostMatrix, ImageId, Split};
use crate::evaluation::{ConfusionMatrix, Report};
use crate::workflows::{Review, ReviewRow};

/// Which labels the answers are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truth {
    /// The labels the run was trained and measured with.
    #[default]
    Trained,
    /// The labels as they are now.
    Now,
}

/// One image of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReviewImage {
    /// Which image.
    pub image: ImageId,
    /// Its label, by the chosen [`Truth`].
    pub actual: ClassId,
    /// The answer.
    pub predicted: ClassId,
    /// Probability of the answer, `0..=1`.
    pub confidence: f32,
    /// The label now, where it is no longer the one the run was trained with.
    pub relabelled: Option<ClassId>,
}

/// An image that two runs answer differently, one of them rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Which image.
    pub image: ImageId,
    /// Its label, by the chosen [`Truth`].
    pub actual: ClassId,
    /// The answer of the run compared with.
    pub other: ClassId,
    /// The answer of the run under review.
    pub this: ClassId,
}

/// One run under review. The list of images is frozen while it is walked: a new label changes the figures
/// and the marks, never the order.
#[derive(Clone, Debug)]
pub struct ReviewState {
    classes: ClassSet,
    cost: CostMatrix,
    review: Option<Arc<Review>>,
    /// The label now of each row of the review.
    now: Vec<ClassId>,
    against: Option<Arc<Review>>,
    split: Split,
    truth: Truth,
    cell: Option<(ClassId, ClassId)>,
    /// Positions in the review's rows.
    images: Vec<usize>,
    report: Option<Result<Report, String>>,
    /// Whether a review is being read.
    pub loading: bool,
}

impl ReviewState {
    /// Nothing under review yet. `cost` is over all of `classes`.
    #[must_use]
    pub fn new(classes: ClassSet, cost: CostMatrix) -> Self {
        Self {
            classes,
            cost,
            review: None,
            now: Vec::new(),
            against: None,
            split: Split::Test,
            truth: Truth::default(),
            cell: None,
            images: Vec::new(),
            report: None,
            loading: false,
        }
    }

    /// A review has been read. `label_now` gives the class of an image as it is labelled now; none where
    /// the label leaves the class open.
    pub fn open(&mut self, review: Arc<Review>, label_now: impl Fn(ImageId) -> Option<ClassId>) {
        self.now = review
            .rows
            .iter()
            .map(|row| label_now(row.image).unwrap_or(row.label))
            .collect();
        self.review = Some(review);
        self.loading = false;
        self.cell = None;
        self.refresh();
    }

    /// An image has been labelled, or its label undone (`None`: the class is the one of the file).
    pub fn relabel(&mut self, image: ImageId, class: Option<ClassId>) {
        let Some(review) = &self.review else { return };
        let Some(at) = review.rows.iter().position(|row| row.image == image) else {
            return;
        };
        let class = class.unwrap_or(review.rows[at].label);
        if self.now[at] != class {
            self.now[at] = class;
            self.count();
        }
    }

    /// Mistakes cost this from now on.
    pub fn set_cost(&mut self, cost: CostMatrix) {
        self.cost = cost;
        self.count();
    }

    /// Shows another split.
    pub fn set_split(&mut self, split: Split) {
        self.split = split;
        self.cell = None;
        self.refresh();
    }

    /// Holds the answers against other labels.
    pub fn set_truth(&mut self, truth: Truth) {
        self.truth = truth;
        self.refresh();
    }

    /// Shows the images of one cell (true, predicted), or, with none, all mistakes.
    pub fn set_cell(&mut self, cell: Option<(ClassId, ClassId)>) {
        self.cell = cell;
        self.refresh();
    }

    /// Compares with another run, or no longer.
    pub fn set_against(&mut self, other: Option<Arc<Review>>) {
        self.against = other;
    }

    /// The review, once one is open.
    #[must_use]
    pub fn review(&self) -> Option<&Review> {
        self.review.as_deref()
    }

    /// The run compared with.
    #[must_use]
    pub fn against(&self) -> Option<&Review> {
        self.against.as_deref()
    }

    /// The split shown.
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }

    /// The labels the answers are held against.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.truth
    }

    /// The cell whose images are shown.
    #[must_use]
    pub fn cell(&self) -> Option<(ClassId, ClassId)> {
        self.cell
    }

    /// Figures of the split, or a sentence why there are none; `None` before a review is open.
    #[must_use]
    pub fn report(&self) -> Option<Result<&Report, &str>> {
        self.report
            .as_ref()
            .map(|r| r.as_ref().map_err(String::as_str))
    }

    /// Images of the split whose label is no longer the one the run was trained with.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.rows()
            .filter(|(at, row)| self.now[*at] != row.label)
            .count()
    }

    /// Number of images of the split.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().count()
    }

    /// Whether the split holds no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// The images of the grid, in their frozen order: the most confident mistake first.
    pub fn images(&self) -> impl ExactSizeIterator<Item = ReviewImage> {
        let rows = self.review.as_ref().map_or(&[][..], |r| &r.rows);
        self.images.iter().map(|at| self.image(*at, &rows[*at]))
    }

    /// Images that the two runs answer differently, one of them rightly: those this run lost, then those
    /// it won. Only images in this split for both runs count, else one of them would have been trained on
    /// what the other is measured by.
    #[must_use]
    pub fn flips(&self) -> (Vec<Flip>, Vec<Flip>) {
        let Some(against) = &self.against else {
            return Default::default();
        };
        let others: HashMap<ImageId, ClassId> = against
            .rows
            .iter()
            .filter(|row| row.split == self.split)
            .map(|row| (row.image, row.prediction.class()))
            .collect();
        self.rows()
            .filter_map(|(at, row)| {
                Some(Flip {
                    image: row.image,
                    actual: self.actual(at, row),
                    other: *others.get(&row.image)?,
                    this: row.prediction.class(),
                })
            })
            .filter(|f| (f.this == f.actual) != (f.other == f.actual))
            .partition(|f| f.other == f.actual)
    }

    fn rows(&self) -> impl Iterator<Item = (usize, &ReviewRow)> {
        let rows = self.review.as_ref().map_or(&[][..], |r| &r.rows);
        rows.iter()
            .enumerate()
            .filter(|(_, row)| row.split == self.split)
    }

    fn actual(&self, at: usize, row: &ReviewRow) -> ClassId {
        match self.truth {
            Truth::Trained => row.label,
            Truth::Now => self.now[at],
        }
    }

    fn image(&self, at: usize, row: &ReviewRow) -> ReviewImage {
        let (predicted, confidence) = row.prediction.top();
        ReviewImage {
            image: row.image,
            actual: self.actual(at, row),
            predicted,
            confidence,
            relabelled: (self.now[at] != row.label).then_some(self.now[at]),
        }
    }

    fn refresh(&mut self) {
        let mut images: Vec<(usize, ReviewImage)> = self
            .rows()
            .map(|(at, row)| (at, self.image(at, row)))
            .filter(|(_, i)| match self.cell {
                Some(cell) => (i.actual, i.predicted) == cell,
                None => i.actual != i.predicted,
            })
            .collect();
        images.sort_by(|(_, a), (_, b)| b.confidence.total_cmp(&a.confidence));
        self.images = images.into_iter().map(|(at, _)| at).collect();
        self.count();
    }

    /// Counts and measures anew. The drift class gets a row only when a label now says drift.
    fn count(&mut self) {
        let Some(review) = &self.review else { return };
        let pairs: Vec<(ClassId, ClassId)> = self
            .rows()
            .map(|(at, row)| (self.actual(at, row), row.prediction.class()))
            .collect();
        let highest = pairs
            .iter()
            .map(|(a, p)| a.index().max(p.index()) + 1)
            .max();
        let mut names = review.classes.clone();
        for class in names.len()..highest.unwrap_or(0) {
            names.push(self.classes.name(ClassId::from(class)).to_owned());
        }
        let confusion = ConfusionMatrix::from_pairs(names.len(), pairs);
        let report = Report::new(names, confusion, &self.cost, review.run.plan.seed);
        self.report = Some(report.map_err(|e| e.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::Prediction;
    use crate::training::Plan;
    use crate::workflows::RunSummary;

    const CLASSES: usize = 6;

    fn row(image: u32, split: Split, label: u8, predicted: u8, p: f32) -> ReviewRow {
        let mut probabilities = vec![(1.0 - p) / (CLASSES as f32 - 1.0); CLASSES];
        probabilities[usize::from(predicted)] = p;
        ReviewRow {
            image: ImageId(image),
            split,
            label: ClassId(label),
            prediction: Prediction { probabilities },
        }
    }

    fn review(rows: Vec<ReviewRow>) -> Arc<Review> {
        let set = ClassSet::challenge();
        let names = set.regular_names();
        let confusion = ConfusionMatrix::from_pairs(CLASSES, [(ClassId(0), ClassId(0))]);
        let report = Report::new(names.clone(), confusion, &CostMatrix::challenge(), 1);
        Arc::new(Review {
            run: RunSummary {
                name: "run".into(),
                dir: PathBuf::from("run"),
                plan: Plan::default(),
                created: "2026-03-04".into(),
                best_epoch: 1,
                epochs: 1,
                seconds: 1.0,
                report: report.expect("images"),
                warnings: Vec::new(),
                labels: Vec::new(),
                bf16_agreement: None,
            },
            classes: names,
            rows,
            gone: 0,
        })
    }

    fn rows() -> Vec<ReviewRow> {
        vec![
            row(0, Split::Test, 0, 0, 0.9),
            row(1, Split::Test, 0, 4, 0.6),
            row(2, Split::Test, 0, 4, 0.95),
            row(3, Split::Test, 1, 0, 0.7),
            row(4, Split::Validation, 1, 0, 0.99),
        ]
    }

    fn state() -> ReviewState {
        let mut state = ReviewState::new(ClassSet::challenge(), CostMatrix::challenge());
        assert!(state.report().is_none() && state.is_empty());
        state.open(review(rows()), |_| None);
        state
    }

    fn shown(state: &ReviewState) -> Vec<u32> {
        state.images().map(|i| i.image.0).collect()
    }

    #[test]
    fn a_cell_holds_exactly_its_images_surest_first() {
        let mut state = state();
        assert_eq!(shown(&state), [2, 3, 1], "all mistakes of the split");
        state.set_cell(Some((ClassId(0), ClassId(4))));
        assert_eq!(shown(&state), [2, 1]);
        let report = state.report().expect("open").expect("images");
        assert_eq!(report.confusion.count(ClassId(0), ClassId(4)), 2);
        assert_eq!(report.n, 4);
        state.set_split(Split::Validation);
        assert_eq!((state.cell(), shown(&state)), (None, vec![4]));
        state.set_split(Split::Train);
        assert!(state.report().expect("open").is_err());
    }

    #[test]
    fn a_new_label_changes_the_figures_but_not_the_list() {
        let mut state = state();
        state.set_truth(Truth::Now);
        state.set_cell(Some((ClassId(0), ClassId(4))));
        state.relabel(ImageId(2), Some(ClassId(4)));
        assert_eq!(shown(&state), [2, 1]);
        assert_eq!(state.changed(), 1);
        let first = state.images().next().expect("two images");
        assert_eq!(first.relabelled, Some(ClassId(4)));
        let counted = |s: &ReviewState| {
            let report = s.report().expect("open").expect("images");
            report.confusion.count(ClassId(4), ClassId(4))
        };
        assert_eq!(counted(&state), 1);
        state.set_truth(Truth::Trained);
        assert_eq!(counted(&state), 0);
        state.relabel(ImageId(2), None);
        assert_eq!(state.changed(), 0);
        state.relabel(ImageId(77), Some(ClassId(4)));
    }

    #[test]
    fn a_label_that_says_drift_gets_a_row_of_its_own() {
        let mut state = state();
        state.set_truth(Truth::Now);
        state.relabel(ImageId(1), Some(ClassId(6)));
        let report = state.report().expect("open").expect("images");
        assert_eq!(report.classes.len(), 7);
        assert_eq!(report.confusion.count(ClassId(6), ClassId(4)), 1);
    }

    #[test]
    fn flips_are_counted_only_where_both_runs_are_measured() {
        let mut state = state();
        let mut other = rows();
        other[0] = row(0, Split::Test, 0, 1, 0.8);
        other[1] = row(1, Split::Test, 0, 0, 0.8);
        other[2] = row(2, Split::Train, 0, 0, 0.8);
        state.set_against(Some(review(other)));
        let (lost, won) = state.flips();
        let ids = |flips: &[Flip]| flips.iter().map(|f| f.image.0).collect::<Vec<_>>();
        assert_eq!((ids(&lost), ids(&won)), (vec![1], vec![0]));
        state.set_against(None);
        assert_eq!(state.flips(), (Vec::new(), Vec::new()));
    }
}
