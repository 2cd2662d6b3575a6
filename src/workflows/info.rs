//! What a data set holds and what is wrong with it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::dataset::{
    Layout, Problem, ProblemKind, ProblemSummary,
    integrity::{content_duplicates, equal_images, parts_shared},
    summarize,
};
use crate::domain::{ImageId, Split};
use crate::evaluation::wilson_interval;
use crate::imaging::Facts;
use crate::jobs::JobContext;
use crate::project::Project;

use super::{WorkflowError, open_thumbnails, scan};

/// The answer of `driftscope info`.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// What was detected, in words.
    pub statement: String,
    /// `challenge`, `csv`, `class folders` or `plain folder`.
    pub layout: &'static str,
    /// Images listed.
    pub images: usize,
    /// Images of each class by the files' labels, drift included, in class order.
    #[serde(serialize_with = "as_map")]
    pub classes: Vec<(String, usize)>,
    /// Images of each split.
    pub splits: BTreeMap<&'static str, usize>,
    /// Images without a label in the files, or labelled drift.
    pub incoming: usize,
    /// Images labelled by hand.
    pub hand_labels: usize,
    /// Answers to images that were shown again blind.
    pub repeats: u64,
    /// Of these, how many said the same as before.
    pub repeats_same: u64,
    /// 95 % interval of that share (Wilson); all of `[0, 1]` without repeats.
    pub repeats_interval: [f64; 2],
    /// Images of each value of `lib`, where there is such a column.
    pub libs: BTreeMap<String, usize>,
    /// Images of each value of `window`, where there is such a column.
    pub windows: BTreeMap<String, usize>,
    /// All further columns.
    pub columns: Vec<String>,
    /// Images of each size, `width x height`.
    pub sizes: BTreeMap<String, usize>,
    /// Sets of equal images that lie in several of train, validation and test.
    pub equal_across_parts: usize,
    /// Everything that is wrong with single files and rows.
    pub problems: Vec<Problem>,
    /// The same by kind.
    pub problem_summary: Vec<ProblemSummary>,
}

fn as_map<S: Serializer>(counts: &[(String, usize)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(name, count)| (name, count)))
}

/// Looks at every image and reports.
///
/// # Errors
/// As [`scan`].
pub fn info(project: &Project, context: &JobContext) -> Result<Info, WorkflowError> {
    let snapshot = project.snapshot();
    let manifest = &project.manifest;
    let thumbnails = open_thumbnails(&snapshot);
    let mut problems = manifest.problems.clone();
    let mut facts: Vec<(ImageId, Facts)> = Vec::new();
    scan(&snapshot, &thumbnails, context, &mut |batch| {
        for (id, result) in batch {
            match result {
                Ok(found) => facts.push((id, found)),
                Err(sentence) => {
                    let key = &manifest.get(id).key;
                    problems.push(Problem::new(ProblemKind::Undecodable, key, sentence));
                }
            }
        }
    })?;
    facts.sort_unstable_by_key(|(id, _)| *id);
    let mut sizes = BTreeMap::new();
    for (id, facts) in &facts {
        *sizes
            .entry(format!("{}x{}", facts.width, facts.height))
            .or_default() += 1;
        if facts.bits > 8 || facts.colour {
            let key = &manifest.get(*id).key;
            let what = match (facts.bits > 8, facts.colour) {
                (true, true) => format!("{} bits a channel and in colour", facts.bits),
                (true, false) => format!("{} bits a pixel", facts.bits),
                _ => "in colour".to_owned(),
            };
            let sentence = format!("{key} is {what}; it is shown and used as 8-bit grayscale");
            problems.push(Problem::new(ProblemKind::Converted, key, sentence));
        }
    }
    let hashes: Vec<(ImageId, [u8; 32])> = facts.iter().map(|(id, f)| (*id, f.content)).collect();
    let equal = equal_images(&hashes);
    problems.extend(content_duplicates(&equal, manifest, &project.splits));
    let equal_across_parts = equal
        .iter()
        .filter(|ids| !parts_shared(ids, &project.splits).is_empty())
        .count();

    let counts = manifest.class_counts();
    let classes = manifest.classes.iter();
    let in_split = |split: Split| project.splits.iter().filter(|s| **s == split).count();
    let values = |name: &str| {
        let mut found = BTreeMap::new();
        if let Some(column) = manifest.column(name) {
            for image in &manifest.images {
                *found.entry(image.values[column].clone()).or_default() += 1;
            }
        }
        found
    };
    let repeats = project.labels.repeats()?;
    Ok(Info {
        statement: manifest.statement.clone(),
        layout: match manifest.layout {
            Layout::Challenge => "challenge",
            Layout::Csv { .. } => "csv",
            Layout::ClassFolders => "class folders",
            Layout::PlainFolder => "plain folder",
        },
        images: manifest.len(),
        classes: classes
            .map(|(id, class)| (class.label.clone(), counts[id.index()]))
            .collect(),
        splits: Split::ALL
            .iter()
            .map(|s| (s.name(), in_split(*s)))
            .collect(),
        incoming: in_split(Split::Incoming),
        hand_labels: project.labels.counts().labelled(),
        repeats: repeats.answers,
        repeats_same: repeats.same,
        repeats_interval: wilson_interval(repeats.same, repeats.answers),
        libs: values("lib"),
        windows: values("window"),
        columns: manifest.columns.clone(),
        sizes,
        equal_across_parts,
        problem_summary: summarize(&problems),
        problems,
    })
}
