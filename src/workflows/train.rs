//! Training a network on a project, from the plan to the run folder.

use std::{
    collections::HashMap,
    fs::OpenOptions,
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
use crate::models::{self, ModelError, set_threads, weights};
use crate::project::Snapshot;
use crate::storage::{Digest, StorageError, atomic_write, hex};
use crate::training::{
    self, Balance, Checkpoint, Checkpoints, EpochMetrics, Example, Fitted, Pace, PaceRecorder,
    PixelSource, Plan, TrainData, TrainEvent,
};

use super::{
    RunSummary, Unreadable, WorkflowError, contents,
    embed::{wanted, write_csv},
    lane,
    machine::machine,
    resume::{RunLock, Started, complete, given_up},
    run::{
        METRICS, MODEL, PLAN, PREDICTIONS, REPORT, RUN, RunFile, check_unused, load_run,
        new_run_dir,
    },
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

impl TrainRequest {
    /// Whether everything is there that the plan names: to be asked before anything is said or done.
    ///
    /// # Errors
    /// [`WorkflowError::Plan`], [`WorkflowError::Model`] for a weights file that cannot be read or is no such file,
    /// [`WorkflowError::RunExists`].
    pub fn check(&self) -> Result<(), WorkflowError> {
        check_plan(&self.plan)?;
        match &self.out {
            Some(dir) => check_unused(dir),
            None => Ok(()),
        }
    }
}

/// Whether the plan makes sense and its weights are a weights file, as far as its header tells.
pub(super) fn check_plan(plan: &Plan) -> Result<(), WorkflowError> {
    plan.check()?;
    let plan = with_fetched_weights(plan)?;
    if let Some(file) = &plan.weights {
        // Its header alone, whether it names a scale or not.
        weights::preprocessing(Path::new(file)).map_err(ModelError::from)?;
    }
    Ok(())
}

/// Trains `request.plan` on the labelled images of the project: the file labels, as corrected by hand.
/// Images labelled drift take no part. Everything is written into the run's folder; a training that
/// ends without a model leaves what it needs to be resumed, or nothing where it had hardly begun.
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
    let request = &TrainRequest {
        plan: plan.clone(),
        ..request.clone()
    };
    request.check()?;
    if let Some(threads) = request.threads {
        set_threads(threads);
    }
    let parts = Parts::of(snapshot, plan)?;
    let material = Material::load(snapshot, plan, parts, context)?;
    let created = jiff::Zoned::now();
    let _turn = lane::take(context)?;
    let dir = match &request.out {
        Some(dir) => dir.clone(),
        None => unused_dir(snapshot, &created, &plan.model),
    };
    new_run_dir(&dir)?;
    let _lock = RunLock::take(&dir)?;
    let started = Started::new(snapshot, request, &material, &created);
    let written = atomic_write(&dir.join(PLAN), plan.to_toml().as_bytes())
        .map_err(WorkflowError::from)
        .and_then(|()| started.write(&dir));
    if let Err(error) = written {
        return Err(given_up(&dir, error));
    }
    let start = Start {
        dir: &dir,
        plan,
        started: &started,
        material: &material,
    };
    carry_out(&start, None, snapshot, context, emit)
}

/// A run whose folder is ready, and locked.
pub(super) struct Start<'a> {
    pub dir: &'a Path,
    pub plan: &'a Plan,
    pub started: &'a Started,
    pub material: &'a Material,
}

/// Trains, from the beginning or from where it stopped, and completes the run's folder.
pub(super) fn carry_out(
    start: &Start<'_>,
    from: Option<Checkpoint>,
    snapshot: &Snapshot,
    context: &JobContext,
    emit: &mut dyn FnMut(TrainEvent),
) -> Result<RunSummary, WorkflowError> {
    let (dir, plan) = (start.dir, start.plan);
    let data = start.material.data(snapshot, dir);
    let metrics = dir.join(METRICS);
    let mut log_problem = None;
    let mut pace = PaceRecorder::new(plan, models::threads());
    let mut told = |event: TrainEvent| {
        pace.watch(&event);
        if let TrainEvent::Epoch(epoch) = &event
            && log_problem.is_none()
        {
            log_problem = append_line(&metrics, epoch).err();
        }
        emit(event);
    };
    let cost = &snapshot.cost;
    let fitted = match from {
        None => training::fit(plan, &data, cost, context, &mut told),
        Some(from) => training::resume(plan, &data, cost, from, context, &mut told),
    };
    let mut warnings = start.started.warnings.clone();
    warnings.extend(log_problem.map(|problem| problem.to_string()));
    fitted
        .map_err(WorkflowError::from)
        .and_then(|fitted| {
            let outcome = Trained {
                fitted: &fitted,
                pace: pace.paces(),
                warnings,
            };
            write_run(start, snapshot, &data, outcome)
        })
        .map_err(|error| given_up(dir, error))?;
    complete(dir);
    load_run(dir)
}

/// Which image plays which part.
#[derive(Default)]
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

/// What a run is trained on: images that can be read, with their pixels.
pub(super) struct Material {
    pub parts: Parts,
    /// What the user should know before trusting the figures.
    pub warnings: Vec<String>,
    source: CachedPixels,
}

impl Material {
    /// Decodes what is not in the cache of pixels yet. Images that cannot be read are left out, with a warning.
    pub fn load(
        snapshot: &Snapshot,
        plan: &Plan,
        mut parts: Parts,
        context: &JobContext,
    ) -> Result<Self, WorkflowError> {
        let all = [&parts.train, &parts.validation, &parts.test];
        let everything: Vec<ImageId> = all.into_iter().flatten().map(|e| e.image).collect();
        let (source, failed) = CachedPixels::load(snapshot, plan, &everything, context)?;
        for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
            part.retain(|example| source.find(example.image).is_some());
        }
        let mut warnings = std::mem::take(&mut parts.warnings);
        warnings.extend(plan.frozen_at_random().map(str::to_owned));
        warnings.extend(data_warnings(&parts, &failed, snapshot));
        Ok(Self {
            parts,
            warnings,
            source,
        })
    }

    /// Digest of an image's file, where it could be read.
    pub fn content(&self, image: ImageId) -> Option<&Digest> {
        self.source.content(image)
    }

    /// For the trainer, which writes down its state in `dir`.
    fn data(&self, snapshot: &Snapshot, dir: &Path) -> TrainData<'_> {
        TrainData {
            classes: snapshot.manifest.classes.regular_names(),
            train: self.parts.train.clone(),
            validation: self.parts.validation.clone(),
            test: self.parts.test.clone(),
            pixels: &self.source,
            cache: Some(snapshot.cache()),
            checkpoints: Some(Checkpoints::in_folder(dir)),
        }
    }
}

/// Pixels from the cache by what they show.
pub(super) struct CachedPixels {
    pixels: PixelCache,
    images: HashMap<ImageId, (Digest, Option<Die>)>,
}

impl CachedPixels {
    /// Those of `images` as the plan sees them, decoded where they are not in the cache yet. Also the images that
    /// cannot be read, with the sentence why.
    pub fn load(
        snapshot: &Snapshot,
        plan: &Plan,
        images: &[ImageId],
        context: &JobContext,
    ) -> Result<(Self, Unreadable), WorkflowError> {
        let (content, mut failed) = contents(snapshot, images, context)?;
        let wanted = wanted(snapshot, images, &content);
        let mut pixels = PixelCache::open(&snapshot.cache(), plan.size, plan.framing);
        failed.extend(pixels.fill(&wanted, context)?.failed);
        if let Some((_, first)) = failed.first()
            && failed.len() == images.len()
        {
            return Err(WorkflowError::Unreadable {
                count: failed.len(),
                first: first.clone(),
            });
        }
        let images = wanted.into_iter();
        let images = images.map(|w| (w.id, (w.content, w.die))).collect();
        Ok((Self { pixels, images }, failed))
    }

    /// Digest of an image's file, where it could be read.
    pub fn content(&self, image: ImageId) -> Option<&Digest> {
        self.images.get(&image).map(|(content, _)| content)
    }

    /// The pixels of an image that was asked for and can be read.
    pub fn find(&self, image: ImageId) -> Option<&[u8]> {
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

/// A folder for a new run of the project, not yet there: called after the time and `what`.
pub(super) fn unused_dir(snapshot: &Snapshot, created: &jiff::Zoned, what: &str) -> PathBuf {
    let name = format!("{}-{what}", created.strftime("%Y-%m-%d-%H%M%S"));
    // Small ones may begin within the same second.
    let names = (2..).map(|n| format!("{name}-{n}"));
    let mut dirs = std::iter::once(name.clone())
        .chain(names)
        .map(|name| snapshot.runs().join(name));
    dirs.find(|dir| check_unused(dir).is_ok()).expect("endless")
}

fn append_line(path: &Path, epoch: &EpochMetrics) -> Result<(), StorageError> {
    let line = metrics_line(epoch);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|source| StorageError::io("write", path, source))
}

/// An epoch as `metrics.jsonl` has it.
pub(super) fn metrics_line(epoch: &EpochMetrics) -> String {
    let mut line = serde_json::to_string(epoch).expect("metrics are numbers");
    line.push('\n');
    line
}

/// What the user should know before trusting the figures.
fn data_warnings(parts: &Parts, failed: &[(ImageId, String)], snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((_, first)) = failed.first() {
        warnings.push(match failed.len() {
            1 => format!("1 image was left out because it cannot be read: {first}"),
            n => {
                format!("{n} images were left out because they cannot be read; the first: {first}")
            }
        });
    }
    let classes = snapshot.manifest.classes.regular_names();
    for (index, class) in classes.iter().enumerate() {
        let count = |examples: &[Example]| {
            let of_class = examples.iter().filter(|e| e.class.index() == index);
            of_class.count()
        };
        let (train, test) = (count(&parts.train), count(&parts.test));
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
        let images = if drift == 1 { "image" } else { "images" };
        warnings.push(format!(
            "{drift} {images} of the labelled part, relabelled by hand to no regular class: left out"
        ));
    }
    warnings
}

/// What a training brought.
struct Trained<'a> {
    fitted: &'a Fitted,
    pace: Vec<Pace>,
    warnings: Vec<String>,
}

fn write_run(
    start: &Start<'_>,
    snapshot: &Snapshot,
    data: &TrainData<'_>,
    outcome: Trained<'_>,
) -> Result<(), WorkflowError> {
    let (dir, plan, started) = (start.dir, start.plan, start.started);
    let Trained {
        fitted,
        pace,
        warnings,
    } = outcome;
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
    let file = RunFile {
        format_version: 1,
        created: started.created.clone(),
        model: plan.model.clone(),
        size: plan.size,
        labels: started.labels.clone(),
        parameters: fitted.model.parameters(),
        best_epoch: fitted.best_epoch,
        epochs: fitted.history.len(),
        seconds: fitted.seconds,
        reason: fitted.reason.clone(),
        weights: fitted.weights.clone(),
        temperature: fitted.temperature,
        log_prior: fitted.log_prior.clone(),
        bf16_agreement: Agreement::measure(&fitted.model, &compared),
        seed: plan.seed,
        threads: started.threads,
        train_images: data.train.len(),
        validation_images: data.validation.len(),
        test_images: data.test.len(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        data_digest: started.data_digest.clone(),
        labels_digest: started.labels_digest.clone(),
        weights_digest: hex(&weights_digest),
        warnings,
        machine: Some(machine()),
        pace,
    };
    write_json(&dir.join(RUN), &file)
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), WorkflowError> {
    let text = serde_json::to_string_pretty(value).expect("plain data serialises");
    atomic_write(path, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows::testing;

    #[test]
    fn undersampling_leaves_as_many_of_each_class_as_the_smallest_has_and_measures_on_all() {
        let (folder, project) = testing::project(20);
        for i in 5..20 {
            let name = format!("data/bars/bars_{i}.png");
            std::fs::remove_file(folder.path().join(name)).expect("removed");
        }
        drop(project);
        let data = crate::workflows::OpenRequest::from(folder.path().join("data"));
        let snapshot = crate::workflows::open(&data).expect("a project").snapshot();
        let counts = |balance| {
            let plan = Plan {
                balance,
                ..Plan::default()
            };
            let parts = Parts::of(&snapshot, &plan).expect("two classes");
            let of = |class: u8| {
                let one = |e: &&Example| e.class.0 == class;
                parts.train.iter().filter(one).count()
            };
            let measured = (parts.validation.len(), parts.test.len());
            ([of(0), of(1)], measured)
        };
        let (all, measured) = counts(Balance::None);
        let (cut, as_before) = counts(Balance::Undersample);
        assert!(all[0] < all[1], "{all:?}");
        assert_eq!((cut, as_before), ([all[0]; 2], measured));
    }
}
