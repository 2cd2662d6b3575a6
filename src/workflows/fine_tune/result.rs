//! A fine-tuned drift network on disk. See `docs/formats/run.md`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::domain::ImageId;
use crate::evaluation::PairedReport;
use crate::project::Snapshot;

use super::super::{
    WorkflowError,
    embed::write_csv,
    run::{DRIFT, RUN, Target, no_run, read_json},
    train::write_json,
};

/// Version of the format that is written.
pub(super) const FORMAT_VERSION: u32 = 1;
const PROBABILITIES: &str = "probabilities.csv";

/// A finished fine-tuning: the networks of its folds against the head, and what both say of every candidate.
#[derive(Clone, Debug)]
pub struct DriftRun {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// When it was started.
    pub created: String,
    /// Name of the run it started from.
    pub base: String,
    /// Macro-F1 of that run on its validation images, where known.
    pub base_validation_macro_f1: Option<f64>,
    /// The architecture.
    pub model: String,
    /// The network that the head looks with.
    pub head: String,
    /// Networks, one a fold.
    pub folds: usize,
    /// Regular training images that were shown beside the labels.
    pub reference: usize,
    /// Wall-clock seconds of the training.
    pub seconds: f64,
    /// The head first, the networks second, on the labelled images, each held out.
    pub comparison: PairedReport,
    /// In the challenge's metric, where it can be counted.
    pub pwa: Option<FineTunePwa>,
    /// What the user should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Every candidate that is still in the data set, in its order.
    pub rows: Vec<DriftRunRow>,
}

impl DriftRun {
    /// The candidates that the head of then calls drift and the networks do not, and the reverse, each with the
    /// largest difference first.
    #[must_use]
    pub fn differ(&self) -> (Vec<DriftRunRow>, Vec<DriftRunRow>) {
        #[expect(clippy::cast_possible_truncation, reason = "one half")]
        let threshold = self.comparison.threshold as f32;
        let mut sides = (Vec::new(), Vec::new());
        for row in &self.rows {
            let Some(head) = row.head else { continue };
            match (head >= threshold, row.network >= threshold) {
                (true, false) => sides.0.push(*row),
                (false, true) => sides.1.push(*row),
                _ => {}
            }
        }
        let difference = |row: &DriftRunRow| (row.network - row.head.unwrap_or(row.network)).abs();
        for side in [&mut sides.0, &mut sides.1] {
            side.sort_by(|a, b| difference(b).total_cmp(&difference(a)));
        }
        sides
    }
}

/// PWA on the labelled images, held out, with drift from one half on and the run's class below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FineTunePwa {
    /// With the head as the gate.
    pub head: f64,
    /// With the fine-tuned network as the gate.
    pub network: f64,
    /// Of the best constant answer.
    pub constant: f64,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftRunRow {
    /// Which image.
    pub image: ImageId,
    /// Whether it was labelled drift when the networks were trained.
    pub label: Option<bool>,
    /// The fold in which it was held out, counted from 1; none where it had no label.
    pub fold: Option<usize>,
    /// Probability of drift by the network that has not learned from it, or the mean of all where none has.
    pub network: f32,
    /// Probability of drift by the head of then, fitted without its fold's labels.
    pub head: Option<f32>,
}

/// The contents of `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct File {
    pub format_version: u32,
    pub target: String,
    pub created: String,
    pub base: String,
    pub base_chosen_from: Option<usize>,
    pub base_validation_macro_f1: Option<f64>,
    pub model: String,
    pub size: u32,
    pub head: String,
    pub folds: usize,
    pub reference: usize,
    pub epochs: Vec<usize>,
    pub seconds: f64,
    pub comparison: PairedReport,
    pub pwa: Option<FineTunePwa>,
    pub seed: u64,
    pub program_version: String,
    pub data_digest: String,
    pub labels_digest: String,
    pub weights_digests: Vec<String>,
    pub warnings: Vec<String>,
    pub machine: String,
}

/// Writes probabilities, then `run.json`.
pub(super) fn write(
    snapshot: &Snapshot,
    dir: &Path,
    file: &File,
    rows: &[DriftRunRow],
) -> Result<(), WorkflowError> {
    let header = ["filename", "label", "fold", "network", "head"].map(str::to_owned);
    let rows = rows.iter().map(|row| {
        let label = row
            .label
            .map(|drift| if drift { "drift" } else { "regular" });
        vec![
            snapshot.manifest.get(row.image).key.clone(),
            label.unwrap_or_default().to_owned(),
            row.fold.map_or(String::new(), |fold| fold.to_string()),
            row.network.to_string(),
            row.head.map_or(String::new(), |p| p.to_string()),
        ]
    });
    let path = dir.join(PROBABILITIES);
    write_csv(&path, std::iter::once(header.to_vec()).chain(rows))?;
    write_json(&dir.join(RUN), file)
}

/// Reads the fine-tuning in `dir`.
///
/// # Errors
/// [`WorkflowError::NoRun`] saying what is missing.
pub fn load_drift_run(snapshot: &Snapshot, dir: &Path) -> Result<DriftRun, WorkflowError> {
    if read_json::<Target>(dir, RUN)?.target.as_deref() != Some(DRIFT) {
        return Err(no_run(
            dir,
            "it knows the regular classes, not drift".to_owned(),
        ));
    }
    let file: File = read_json(dir, RUN)?;
    let bad = |what: String| no_run(dir, format!("{PROBABILITIES}: {what}"));
    let mut reader =
        csv::Reader::from_path(dir.join(PROBABILITIES)).map_err(|e| bad(e.to_string()))?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let cell = |index: usize| record.get(index).unwrap_or_default();
        let Some(image) = snapshot.manifest.by_key(cell(0)) else {
            // It has left the data set since.
            continue;
        };
        let damaged = || bad(format!("the row of {} is damaged", cell(0)));
        let number = |index: usize| cell(index).parse::<f32>().map_err(|_| damaged());
        rows.push(DriftRunRow {
            image,
            label: match cell(1) {
                "drift" => Some(true),
                "regular" => Some(false),
                "" => None,
                _ => return Err(damaged()),
            },
            fold: match cell(2) {
                "" => None,
                fold => Some(fold.parse().map_err(|_| damaged())?),
            },
            network: number(3)?,
            head: match cell(4) {
                "" => None,
                _ => Some(number(4)?),
            },
        });
    }
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    Ok(DriftRun {
        name: name.to_string_lossy().into_owned(),
        dir: dir.to_owned(),
        created: file.created,
        base: file.base,
        base_validation_macro_f1: file.base_validation_macro_f1,
        model: file.model,
        head: file.head,
        folds: file.folds,
        reference: file.reference,
        seconds: file.seconds,
        comparison: file.comparison,
        pwa: file.pwa,
        warnings: file.warnings,
        rows,
    })
}

/// All finished fine-tunings of the project, newest first. Folders that hold none are passed over.
#[must_use]
pub fn drift_runs(snapshot: &Snapshot) -> Vec<DriftRun> {
    let entries = fs::read_dir(snapshot.runs()).into_iter().flatten();
    let mut runs: Vec<DriftRun> = entries
        .filter_map(|entry| load_drift_run(snapshot, &entry.ok()?.path()).ok())
        .collect();
    runs.sort_by(|a, b| (&b.created, &b.name).cmp(&(&a.created, &a.name)));
    runs
}
