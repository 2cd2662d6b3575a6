//! Which images the gallery lists, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::predictions::Predictions;
use super::session::Session;
use crate::domain::{ClassId, ImageId, Label, Split};

/// A label to filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelChoice {
    /// Exactly this class.
    Class(ClassId),
    /// Regular, class left open.
    Regular,
    /// No label at all.
    None,
}

impl LabelChoice {
    /// What stands for this label.
    #[must_use]
    pub fn of(label: Option<Label>) -> Self {
        match label {
            Some(Label::Class(class)) => Self::Class(class),
            Some(Label::Regular) => Self::Regular,
            None => Self::None,
        }
    }
}

/// Yes-or-no filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Has a label, by hand or by file.
    Labelled,
    /// Has none.
    Unlabelled,
    /// Was labelled by hand.
    ByHand,
    /// Is flagged.
    Flagged,
    /// Label and prediction agree.
    Right,
    /// Label and prediction differ.
    Wrong,
    /// Something is the matter with the file.
    Problem,
}

impl Mark {
    /// All of them, in the order of the menu.
    pub const ALL: [Self; 7] = [
        Self::Labelled,
        Self::Unlabelled,
        Self::ByHand,
        Self::Flagged,
        Self::Right,
        Self::Wrong,
        Self::Problem,
    ];

    /// The words on screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Labelled => "labelled",
            Self::Unlabelled => "unlabelled",
            Self::ByHand => "labelled by hand",
            Self::Flagged => "flagged",
            Self::Right => "prediction right",
            Self::Wrong => "prediction wrong",
            Self::Problem => "problem with the file",
        }
    }

    fn holds(self, session: &Session, predictions: &Predictions, image: ImageId) -> bool {
        let label = || session.label(image);
        let agrees = || {
            let class = label()?.class()?;
            Some(predictions.get(image)?.class() == class)
        };
        match self {
            Self::Labelled => label().is_some(),
            Self::Unlabelled => label().is_none(),
            Self::ByHand => session.hand_label(image).is_some(),
            Self::Flagged => session.flagged(image),
            Self::Right => agrees() == Some(true),
            Self::Wrong => agrees() == Some(false),
            Self::Problem => session.has_problem(image),
        }
    }
}

/// What a filter asks of an image. Choices within one kind add up, kinds narrow each other down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Exactly these images, from elsewhere in the program, with a title.
    pub only: Option<(String, Vec<ImageId>)>,
    /// Parts; any for none chosen.
    pub splits: BTreeSet<Split>,
    /// Labels.
    pub labels: BTreeSet<LabelChoice>,
    /// Predicted classes.
    pub predicted: BTreeSet<ClassId>,
    /// Values of further columns, by the column's position.
    pub columns: BTreeMap<usize, BTreeSet<String>>,
    /// Sizes in pixels.
    pub sizes: BTreeSet<(u32, u32)>,
    /// Yes-or-no filters; all chosen ones must hold.
    pub marks: BTreeSet<Mark>,
    /// Part of the file name; case does not matter.
    pub text: String,
}

/// One kind of choice, to be left out when counting what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// [`Filter::labels`].
    Labels,
    /// [`Filter::sizes`].
    Sizes,
    /// Two of [`Filter::columns`].
    Columns(usize, usize),
}

impl Filter {
    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an image passes; the choices of `without` do not count.
    #[must_use]
    pub fn accepts(
        &self,
        session: &Session,
        predictions: &Predictions,
        image: ImageId,
        without: Option<Facet>,
    ) -> bool {
        fn any_or<T: Ord>(chosen: &BTreeSet<T>, value: impl FnOnce() -> Option<T>) -> bool {
            chosen.is_empty() || value().is_some_and(|value| chosen.contains(&value))
        }
        let entry = session.entry(image);
        any_or(&self.splits, || Some(session.split(image)))
            && (without == Some(Facet::Labels)
                || any_or(&self.labels, || Some(LabelChoice::of(session.label(image)))))
            && any_or(&self.predicted, || {
                predictions.get(image).map(crate::domain::Prediction::class)
            })
            && self.columns.iter().all(|(column, chosen)| {
                let skip =
                    matches!(without, Some(Facet::Columns(a, b)) if a == *column || b == *column);
                skip || any_or(chosen, || entry.values.get(*column).cloned())
            })
            && (without == Some(Facet::Sizes)
                || any_or(&self.sizes, || {
                    let facts = session.facts(image)?.as_ref().ok()?;
                    Some((facts.width, facts.height))
                }))
            && self
                .marks
                .iter()
                .all(|mark| mark.holds(session, predictions, image))
            && contains(&entry.key, &self.text)
    }
}

fn contains(key: &str, text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || key.to_lowercase().contains(&text.to_lowercase())
}

/// The order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// As in the data set, or as given by whoever asked for exactly these images.
    #[default]
    Natural,
    /// By label, unlabelled last.
    Label,
    /// Least certain prediction first.
    Uncertain,
    /// Most certain prediction first.
    Certain,
    /// Most likely drift first.
    Drift,
    /// Largest first.
    Size,
}

impl Sort {
    /// All of them, in the order of the menu.
    pub const ALL: [Self; 6] = [
        Self::Natural,
        Self::Label,
        Self::Uncertain,
        Self::Certain,
        Self::Drift,
        Self::Size,
    ];

    /// The words on screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Natural => "name",
            Self::Label => "label",
            Self::Uncertain => "least certain first",
            Self::Certain => "most certain first",
            Self::Drift => "most likely drift first",
            Self::Size => "largest first",
        }
    }
}

/// The images that pass, in order. Equal ones keep the data set's order; those without a figure to sort
/// by come last.
#[must_use]
pub fn list(
    session: &Session,
    predictions: &Predictions,
    filter: &Filter,
    sort: Sort,
) -> Vec<ImageId> {
    let accepts = |image: &ImageId| filter.accepts(session, predictions, *image, None);
    let mut images: Vec<ImageId> = match &filter.only {
        Some((_, images)) => images
            .iter()
            .copied()
            .filter(|image| image.index() < session.len())
            .filter(accepts)
            .collect(),
        None => session.manifest().ids().filter(accepts).collect(),
    };
    let certainty = |image: &ImageId| predictions.get(*image).map(|p| p.top().1);
    match sort {
        Sort::Natural => {}
        Sort::Label => images.sort_by_key(|image| LabelChoice::of(session.label(*image))),
        Sort::Uncertain => images.sort_by(|a, b| {
            let key = |image| certainty(image).unwrap_or(f32::INFINITY);
            key(a).total_cmp(&key(b))
        }),
        Sort::Certain => descending(&mut images, certainty),
        Sort::Drift => descending(&mut images, |image| {
            predictions
                .drift(*image)
                .map(super::predictions::DriftOpinion::rank)
        }),
        Sort::Size => descending(&mut images, |image| {
            let facts = session.facts(*image)?.as_ref().ok()?;
            Some(facts.width as f32 * facts.height as f32)
        }),
    }
    images
}

fn descending(images: &mut [ImageId], figure: impl Fn(&ImageId) -> Option<f32>) {
    images.sort_by(|a, b| {
        let key = |image| figure(image).unwrap_or(f32::NEG_INFINITY);
        key(b).total_cmp(&key(a))
    });
}

/// What the charts beside the gallery show: counts of what passes the other filters.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By label, in class order, then regular, then none; zeros included.
    pub labels: Vec<(LabelChoice, usize)>,
    /// By size in pixels, the most frequent first.
    pub sizes: Vec<((u32, u32), usize)>,
    /// Columns with few values, by position, with their values sorted.
    pub groups: Vec<(usize, Vec<String>)>,
    /// The first two of those crossed.
    pub crossed: Option<Crossed>,
}

/// How often the values of two columns occur together.
#[derive(Clone, Debug)]
pub struct Crossed {
    /// Positions of the columns: rows, then columns of the table.
    pub facets: (usize, usize),
    /// Values down the side.
    pub rows: Vec<String>,
    /// Values along the top.
    pub columns: Vec<String>,
    /// Counts, row by row.
    pub counts: Vec<Vec<usize>>,
}

/// A column with more values than this is a name, not a group.
const MOST_VALUES: usize = 12;

/// Values of a column, sorted; `None` when there are too many or only one.
fn values(session: &Session, column: usize) -> Option<Vec<String>> {
    let mut values = BTreeSet::new();
    for entry in &session.manifest().images {
        values.insert(entry.values.get(column)?.as_str());
        if values.len() > MOST_VALUES {
            return None;
        }
    }
    (values.len() > 1).then(|| values.into_iter().map(str::to_owned).collect())
}

/// Counts for the charts. Looks at every image a few times.
#[must_use]
pub fn count(session: &Session, predictions: &Predictions, filter: &Filter) -> Counts {
    let only: Option<BTreeSet<ImageId>> = filter
        .only
        .as_ref()
        .map(|(_, images)| images.iter().copied().collect());
    let passing = |facet| {
        let only = &only;
        session.manifest().ids().filter(move |image| {
            only.as_ref().is_none_or(|only| only.contains(image))
                && filter.accepts(session, predictions, *image, Some(facet))
        })
    };
    let mut labels: BTreeMap<LabelChoice, usize> = session
        .classes()
        .iter()
        .map(|(class, _)| (LabelChoice::Class(class), 0))
        .chain([(LabelChoice::Regular, 0), (LabelChoice::None, 0)])
        .collect();
    for image in passing(Facet::Labels) {
        *labels
            .entry(LabelChoice::of(session.label(image)))
            .or_default() += 1;
    }
    let mut sizes: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for image in passing(Facet::Sizes) {
        if let Some(Ok(facts)) = session.facts(image) {
            *sizes.entry((facts.width, facts.height)).or_default() += 1;
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(size, count)| (std::cmp::Reverse(*count), *size));
    let groups: Vec<(usize, Vec<String>)> = (0..session.manifest().columns.len())
        .filter_map(|column| Some((column, values(session, column)?)))
        .collect();
    let mut first_two = groups.iter().cloned();
    let crossed = first_two
        .next()
        .zip(first_two.next())
        .map(|(first, second)| {
            // The longer list stands down the side.
            let ((row, rows), (column, columns)) = if first.1.len() >= second.1.len() {
                (first, second)
            } else {
                (second, first)
            };
            let mut counts = vec![vec![0; columns.len()]; rows.len()];
            for image in passing(Facet::Columns(row, column)) {
                let values = &session.entry(image).values;
                let find = |all: &[String], at: usize| {
                    let value = values.get(at)?;
                    all.binary_search(value).ok()
                };
                if let (Some(r), Some(c)) = (find(&rows, row), find(&columns, column)) {
                    counts[r][c] += 1;
                }
            }
            Crossed {
                facets: (row, column),
                rows,
                columns,
                counts,
            }
        });
    Counts {
        labels: labels.into_iter().collect(),
        sizes,
        groups,
        crossed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::dataset::{ImageEntry, Layout, Manifest};
    use crate::domain::{ClassSet, CostMatrix, Prediction};
    use crate::imaging::Facts;
    use crate::project::Snapshot;

    /// Six images: label, lib, window.
    const IMAGES: [(Option<u8>, &str, &str); 6] = [
        (Some(0), "Die01", "2003"),
        (Some(1), "Die01", "2005"),
        (None, "Die02", "2003"),
        (Some(1), "Die02", "2003"),
        (None, "Die03", "2005"),
        (Some(0), "Die03", "2005"),
    ];

    fn session() -> Session {
        let entry = |(i, (label, lib, window)): (usize, &(Option<u8>, &str, &str))| ImageEntry {
            key: format!("Image{i}.png"),
            path: PathBuf::from(format!("Image{i}.png")),
            label: label.map(ClassId),
            values: vec![(*lib).to_owned(), (*window).to_owned()],
            incoming: label.is_none(),
        };
        let classes = ClassSet::from_labels(["good", "bad"]);
        let manifest = Manifest::new(
            PathBuf::from("set"),
            Layout::PlainFolder,
            classes.clone(),
            IMAGES.iter().enumerate().map(entry).collect(),
            vec!["lib".to_owned(), "window".to_owned()],
            String::new(),
            Vec::new(),
        );
        let snapshot = Snapshot {
            manifest: Arc::new(manifest),
            splits: Arc::new(vec![Split::Train; IMAGES.len()]),
            hand: Arc::new(vec![None; IMAGES.len()]),
            dir: PathBuf::from("project"),
            cost: CostMatrix::default_for(&classes),
            drift_threshold: None,
            drift_rate: None,
            look_cost: None,
            drift_network: None,
            precision: crate::domain::Precision::Auto,
            synthetic_outliers: false,
            strip_tiles: false,
        };
        Session::new(snapshot, None, HashMap::new())
    }

    fn predictions() -> Predictions {
        let mut predictions = Predictions::new(IMAGES.len(), PathBuf::new(), String::new());
        let of = |good: f32| Prediction {
            probabilities: vec![good, 1.0 - good],
        };
        let answers = [0.9, 0.6, 0.2, 0.1];
        predictions.add((0..4).map(|i| (ImageId::from(i), of(answers[i]))));
        predictions
    }

    fn listed(filter: &Filter, sort: Sort) -> Vec<u32> {
        let images = list(&session(), &predictions(), filter, sort);
        images.into_iter().map(|image| image.0).collect()
    }

    #[test]
    fn kinds_narrow_down_and_choices_within_a_kind_add_up() {
        let mut filter = Filter::default();
        assert_eq!(listed(&filter, Sort::Natural), [0, 1, 2, 3, 4, 5]);
        filter.labels.insert(LabelChoice::Class(ClassId(1)));
        assert_eq!(listed(&filter, Sort::Natural), [1, 3]);
        filter.labels.insert(LabelChoice::None);
        assert_eq!(listed(&filter, Sort::Natural), [1, 2, 3, 4]);
        filter.columns.insert(1, ["2003".to_owned()].into());
        assert_eq!(listed(&filter, Sort::Natural), [2, 3]);
        filter.text = "IMAGE3".to_owned();
        assert_eq!(listed(&filter, Sort::Natural), [3]);
    }

    #[test]
    fn right_and_wrong_need_a_label_and_a_prediction() {
        let marked = |mark| {
            let marks = [mark].into();
            let filter = Filter {
                marks,
                ..Filter::default()
            };
            listed(&filter, Sort::Natural)
        };
        assert_eq!(marked(Mark::Right), [0, 3]);
        assert_eq!(marked(Mark::Wrong), [1]);
        assert_eq!(marked(Mark::Unlabelled), [2, 4]);
        assert!(marked(Mark::ByHand).is_empty());
    }

    #[test]
    fn unknown_figures_sort_last_and_equal_ones_keep_their_order() {
        let all = Filter::default();
        assert_eq!(listed(&all, Sort::Certain), [0, 3, 2, 1, 4, 5]);
        assert_eq!(listed(&all, Sort::Uncertain), [1, 2, 0, 3, 4, 5]);
        assert_eq!(listed(&all, Sort::Label), [0, 5, 1, 3, 2, 4]);
        assert_eq!(listed(&all, Sort::Drift), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn images_from_elsewhere_keep_the_order_given() {
        let images = vec![ImageId(4), ImageId(1), ImageId(99)];
        let filter = Filter {
            only: Some(("a cell".to_owned(), images)),
            ..Filter::default()
        };
        assert_eq!(listed(&filter, Sort::Natural), [4, 1]);
    }

    #[test]
    fn a_chart_counts_what_the_other_filters_leave() {
        let mut session = session();
        let facts = Facts {
            width: 720,
            height: 840,
            bits: 8,
            colour: false,
            content: [0; 32],
            bytes: 1,
        };
        session.add_facts(vec![
            (ImageId(0), Ok(facts)),
            (ImageId(1), Err("broken".to_owned())),
        ]);
        let mut filter = Filter::default();
        filter.labels.insert(LabelChoice::Class(ClassId(0)));
        let counts = count(&session, &predictions(), &filter);
        let labels: Vec<usize> = counts.labels.iter().map(|(_, n)| *n).collect();
        // good, bad, drift, regular, none: the filter by label does not count in its own chart.
        assert_eq!(labels, [2, 2, 0, 0, 2]);
        assert_eq!(counts.sizes, [((720, 840), 1)]);
        let crossed = counts.crossed.expect("two columns");
        assert_eq!(crossed.rows, ["Die01", "Die02", "Die03"]);
        assert_eq!(crossed.columns, ["2003", "2005"]);
        assert_eq!(crossed.counts, [[1, 0], [0, 0], [0, 1]]);
        assert!(session.has_problem(ImageId(1)));
    }
}
