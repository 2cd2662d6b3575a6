//! Training a network on a project, from the plan to the run folder.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::dataset::{
    Manifest,
    splits::{self, SplitSpec},
};
use crate::domain::{ClassId, ImageId, Prediction, Split};
use crate::imaging::{Die, PixelCache};
use crate::inference::Agreement;
use crate::jobs::JobContext;
use crate::models::set_threads;
use crate::project::Snapshot;
use crate::storage::{Digest, StorageError, atomic_write, digest, hex};
use crate::training::{
    Balance, EpochMetrics, Example, Fitted, PixelSource, Plan, TrainData, TrainEvent, fit,
};

use super::{
    RunSummary, WorkflowError, contents,
    embed::{wanted, write_csv},
    run::{METRICS, MODEL, PLAN, PREDICTIONS, REPORT, RUN, RunFile, load_run, new_run_dir},
    weights::with_fetched_weights,
};

/// Below this many test images a class's F1 moves by whole steps with each of them.
const FEW_TEST_IMAGES: usize = 10;
/// Validation images on which bf16 is compared with fp32, at most.
const COMPARED: usize = 400;

/// What to train and where to keep it.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// How. Its weights are a file, or the name of fetched ones.
    pub plan: Plan,
    /// The run's folder; a new one under the project's `runs/` when not given.
    pub out: Option<PathBuf>,
    /// Threads for libtorch; its own choice when not given.
    pub threads: Option<usize>,
}

/// Trains `request.plan` on the labelled images of the project: the file labels, as corrected by hand.
/// Images labelled drift take no part. Everything is written into the run's folder; a training that
/// ends without a model leaves none behind.
///
/// # Errors
/// [`WorkflowError`].
pub fn train(
    snapshot: &Snapshot,
    request: &TrainRequest,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<RunSummary, WorkflowError> {
    let plan = &with_fetched_weights(&request.plan)?;
    plan.check()?;
    if let Some(threads) = request.threads {
        set_threads(threads);
    }
    let parts = Parts::of(snapshot, plan)?;
    let mut everything = Vec::new();
    for part in [&parts.train, &parts.validation, &parts.test] {
        everything.extend(part.iter().map(|e| e.image));
    }
    let (content, unreadable) = contents(snapshot, &everything, context)?;
    let wanted = wanted(snapshot, &everything, &content);
    let mut pixels = PixelCache::open(&snapshot.cache(), plan.size, plan.framing);
    let mut failed = unreadable;
    failed.extend(pixels.fill(&wanted, context)?.failed);
    if let Some((_, first)) = failed.first()
        && failed.len() == everything.len()
    {
        return Err(WorkflowError::Unreadable {
            count: failed.len(),
            first: first.clone(),
        });
    }
    let images = wanted.into_iter();
    let source = CachedPixels {
        pixels,
        images: images.map(|w| (w.id, (w.content, w.die))).collect(),
    };
    let readable = |examples: &[Example]| -> Vec<Example> {
        let has = |e: &&Example| source.find(e.image).is_some();
        examples.iter().filter(has).copied().collect()
    };
    let data = TrainData {
        classes: snapshot.manifest.classes.regular_names(),
        train: readable(&parts.train),
        validation: readable(&parts.validation),
        test: readable(&parts.test),
        pixels: &source,
        cache: Some(snapshot.cache()),
    };

    let created = jiff::Zoned::now();
    let dir = request.out.clone().unwrap_or_else(|| {
        let name = format!("{}-{}", created.strftime("%Y-%m-%d-%H%M%S"), plan.model);
        snapshot.runs().join(name)
    });
    new_run_dir(&dir)?;
    let trained = (|| {
        atomic_write(&dir.join(PLAN), plan.to_toml().as_bytes())?;
        let metrics = dir.join(METRICS);
        let mut log_problem = None;
        let fitted = fit(plan, &data, &snapshot.cost, context, &mut |event| {
            if let TrainEvent::Epoch(epoch) = &event
                && log_problem.is_none()
            {
                log_problem = append_line(&metrics, epoch).err();
            }
            emit(event);
        })?;
        let mut warnings = parts.warnings.clone();
        let whole = plan.resolved_phases().iter().any(|p| p.trainable == "all");
        if plan.weights.is_none() && !whole {
            warnings.push(
                "the layers that never learned hold random numbers: start from pretrained weights"
                    .to_owned(),
            );
        }
        warnings.extend(data_warnings(&data, &failed, snapshot));
        if let Some(problem) = log_problem {
            warnings.push(problem.to_string());
        }
        write_run(&dir, snapshot, request, &data, &fitted, warnings, &created)
    })();
    if trained.is_err() {
        // The folder is ours and was empty; a leftover would only look like a run.
        drop(fs::remove_dir_all(&dir));
    }
    trained?;
    load_run(&dir)
}

/// Which image plays which part.
pub(super) struct Parts {
    pub(super) train: Vec<Example>,
    pub(super) validation: Vec<Example>,
    pub(super) test: Vec<Example>,
    warnings: Vec<String>,
}

impl Parts {
    pub(super) fn of(snapshot: &Snapshot, plan: &Plan) -> Result<Self, WorkflowError> {
        let manifest = &snapshot.manifest;
        let group_column = match &plan.group_by {
            None => None,
            Some(name) => Some(manifest.column(name).ok_or_else(|| {
                let known = match manifest.columns.as_slice() {
                    [] => "none".to_owned(),
                    columns => columns.join(", "),
                };
                WorkflowError::NoColumn {
                    name: name.clone(),
                    known,
                }
            })?),
        };
        let spec = SplitSpec {
            test: plan.test_share,
            validation: plan.validation_share,
            seed: plan.seed,
            group_column,
        };
        let mut warnings = Vec::new();
        // Where the files name no classes, what people said is all there is to train on.
        let by_hand = manifest.images.iter().all(|image| image.incoming).then(|| {
            warnings.push(
                "the data set's files name no classes: trained and tested on hand labels"
                    .to_owned(),
            );
            with_hand_labels(snapshot)
        });
        let splits = splits::split(by_hand.as_ref().unwrap_or(manifest), &spec)?;
        let in_split = |split: Split| -> Vec<Example> {
            manifest
                .ids()
                .filter(|id| splits[id.index()] == split)
                .filter_map(|image| {
                    let class = snapshot.regular_class(image)?;
                    Some(Example { image, class })
                })
                .collect()
        };
        let mut train = in_split(Split::Train);
        if let Some(k) = plan.train_per_class {
            let kept = splits::limit_per_class(
                &splits,
                by_hand.as_ref().unwrap_or(manifest),
                k,
                plan.seed,
            );
            train.retain(|e| kept.binary_search(&e.image).is_ok());
        }
        if plan.balance == Balance::Undersample {
            let images: Vec<ImageId> = train.iter().map(|e| e.image).collect();
            let classes: Vec<ClassId> = train.iter().map(|e| e.class).collect();
            let kept = splits::undersample(&images, &classes, plan.seed);
            train.retain(|e| kept.binary_search(&e.image).is_ok());
        }
        let mut present = vec![false; manifest.classes.regular_len()];
        for example in &train {
            present[example.class.index()] = true;
        }
        let found = present.iter().filter(|p| **p).count();
        if found < 2 {
            return Err(WorkflowError::OneClass { found });
        }
        Ok(Self {
            train,
            validation: in_split(Split::Validation),
            test: in_split(Split::Test),
            warnings,
        })
    }
}

/// The manifest as if the hand labels stood in its files.
fn with_hand_labels(snapshot: &Snapshot) -> Manifest {
    let mut manifest = Manifest::clone(&snapshot.manifest);
    for id in snapshot.manifest.ids() {
        let class = snapshot.regular_class(id);
        let image = &mut manifest.images[id.index()];
        image.label = class;
        image.incoming = class.is_none();
    }
    manifest
}

/// Pixels from the cache by what they show.
struct CachedPixels {
    pixels: PixelCache,
    images: HashMap<ImageId, (Digest, Option<Die>)>,
}

impl CachedPixels {
    fn find(&self, image: ImageId) -> Option<&[u8]> {
        let (content, die) = self.images.get(&image)?;
        self.pixels.get(content, *die)
    }
}

impl PixelSource for CachedPixels {
    fn pixels(&self, image: ImageId) -> &[u8] {
        self.find(image)
            .expect("only images whose pixels are cached are trained on")
    }
}

fn append_line(path: &Path, epoch: &EpochMetrics) -> Result<(), StorageError> {
    let mut line = serde_json::to_string(epoch).expect("metrics are numbers");
    line.push('\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|source| StorageError::io("write", path, source))
}

/// What the user should know before trusting the figures.
fn data_warnings(
    data: &TrainData<'_>,
    failed: &[(ImageId, String)],
    snapshot: &Snapshot,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((_, first)) = failed.first() {
        warnings.push(format!(
            "{} images were left out because they cannot be read; the first: {first}",
            failed.len()
        ));
    }
    for (index, class) in data.classes.iter().enumerate() {
        let count = |examples: &[Example]| {
            let of_class = examples.iter().filter(|e| e.class.index() == index);
            of_class.count()
        };
        let (train, test) = (count(&data.train), count(&data.test));
        if train == 0 {
            warnings.push(format!(
                "{class} has no training image: it is never answered"
            ));
        } else if test > 0 && test < FEW_TEST_IMAGES {
            // From all right to one missed, F1 falls from 1 to 2(n-1) / (2n-1).
            let plural = if test == 1 { "" } else { "s" };
            warnings.push(format!(
                "{class} has {test} test image{plural}: one mistake moves its F1 by about {:.2}",
                1.0 / (2.0 * test as f64 - 1.0)
            ));
        }
    }
    let drift = (0..snapshot.manifest.len())
        .map(ImageId::from)
        .filter(|id| !snapshot.manifest.get(*id).incoming)
        .filter(|id| snapshot.label(*id).is_some() && snapshot.regular_class(*id).is_none())
        .count();
    if drift > 0 {
        warnings.push(format!(
            "{drift} images of the labelled part were relabelled by hand and name no regular class: left out"
        ));
    }
    warnings
}

fn write_run(
    dir: &Path,
    snapshot: &Snapshot,
    request: &TrainRequest,
    data: &TrainData<'_>,
    fitted: &Fitted,
    warnings: Vec<String>,
    created: &jiff::Zoned,
) -> Result<(), WorkflowError> {
    let manifest = &snapshot.manifest;
    let compared = data.validation.iter().take(COMPARED);
    let compared: Vec<&[u8]> = compared.map(|e| data.pixels.pixels(e.image)).collect();
    let weights_digest = fitted.model.save(&dir.join(MODEL))?;

    let mut header: Vec<String> = ["filename", "split", "label", "predicted"]
        .map(str::to_owned)
        .to_vec();
    header.extend((0..data.classes.len()).map(|c| format!("p_{c}")));
    let row = |split: Split, example: &Example, prediction: &Prediction| {
        let label = |class| manifest.classes.label(class).to_owned();
        let mut row = vec![
            manifest.get(example.image).key.clone(),
            split.name().to_owned(),
            label(example.class),
            label(prediction.class()),
        ];
        row.extend(prediction.probabilities.iter().map(ToString::to_string));
        row
    };
    let parts = [
        (Split::Train, &data.train, &fitted.train),
        (Split::Validation, &data.validation, &fitted.validation),
        (Split::Test, &data.test, &fitted.test),
    ];
    let rows = parts.iter().flat_map(|(split, examples, predictions)| {
        let answered = examples.iter().zip(*predictions);
        answered.map(|(example, prediction)| row(*split, example, prediction))
    });
    write_csv(&dir.join(PREDICTIONS), std::iter::once(header).chain(rows))?;

    write_json(&dir.join(REPORT), &fitted.report)?;
    let hand: Vec<String> = snapshot
        .hand
        .iter()
        .map(|label| format!("{label:?}"))
        .collect();
    let labels = (0..manifest.classes.regular_len())
        .map(|c| manifest.classes.label(ClassId::from(c)).to_owned());
    let file = RunFile {
        format_version: 1,
        created: created.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        model: request.plan.model.clone(),
        size: request.plan.size,
        labels: labels.collect(),
        parameters: fitted.model.parameters(),
        best_epoch: fitted.best_epoch,
        epochs: fitted.history.len(),
        seconds: fitted.seconds,
        reason: fitted.reason.clone(),
        weights: fitted.weights.clone(),
        temperature: fitted.temperature,
        log_prior: fitted.log_prior.clone(),
        bf16_agreement: Agreement::measure(&fitted.model, &compared),
        seed: request.plan.seed,
        threads: request.threads,
        train_images: data.train.len(),
        validation_images: data.validation.len(),
        test_images: data.test.len(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        data_digest: manifest.digest(),
        labels_digest: hex(&digest(hand.join("\n").as_bytes())),
        weights_digest: hex(&weights_digest),
        warnings,
    };
    write_json(&dir.join(RUN), &file)
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), WorkflowError> {
    let text = serde_json::to_string_pretty(value).expect("plain data serialises");
    atomic_write(path, text.as_bytes())?;
    Ok(())
}
