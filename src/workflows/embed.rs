//! Running a trained network over images: predictions and embeddings, cached, streaming.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crate::dataset::Manifest;
use crate::domain::{ImageId, Prediction};
use crate::imaging::{Die, Framing, PixelCache, Wanted};
use crate::inference::{EmbeddedImage, Embedder, Evidence};
use crate::jobs::JobContext;
use crate::models::{Model, ModelSpec, Precision, Preprocessing, best_device};
use crate::project::Snapshot;
use crate::storage::{Digest, StorageError, atomic_write, digest_parts};

use super::export::refuse_own_files;
use super::{
    RunSummary, Unreadable, WorkflowError, contents,
    run::{load_run, open_embedder},
};

/// Images that go through the network together.
const BATCH: usize = 32;
/// Images whose pixels are made before the network sees the first of them.
const CHUNK: usize = 256;
/// Draws the weights of a network that is used without any training.
const UNTRAINED_SEED: u64 = 0;

/// Runs the network of `run` over `images`. What was computed before with the same weights comes at
/// once; results are handed to `emit` as they come, not in the order asked for. Returns the images that
/// cannot be read, with the sentence why.
///
/// # Errors
/// [`WorkflowError`].
pub fn embed(
    snapshot: &Snapshot,
    run: &RunSummary,
    images: &[ImageId],
    context: &JobContext,
    emit: &mut dyn FnMut(Vec<(ImageId, EmbeddedImage)>),
) -> Result<Unreadable, WorkflowError> {
    let mut eyes = Eyes::of_run(snapshot, run)?;
    Ok(eyes.look(snapshot, images, context, emit)?.0)
}

/// A network that has not been trained on these classes.
#[derive(Clone, Debug)]
pub struct Body {
    /// The architecture.
    pub model: String,
    /// Its pretrained weights, under their published names; none for a network as it is drawn before any training.
    pub weights: Option<PathBuf>,
    /// Side of the square input, pixels; the study's when not given.
    pub size: Option<u32>,
    /// What the weights expect of the pixels, where neither file nor architecture tells it right.
    pub preprocessing: Option<Preprocessing>,
}

/// A network ready to look at images, and how it wants to see them.
pub(super) struct Eyes {
    pub embedder: Embedder,
    pub framing: Framing,
    pub name: String,
}

impl Eyes {
    /// Those of a trained network.
    pub fn of_run(snapshot: &Snapshot, run: &RunSummary) -> Result<Self, WorkflowError> {
        Ok(Self {
            embedder: open_embedder(snapshot, run)?,
            framing: run.plan.framing,
            name: run.plan.model.clone(),
        })
    }

    /// Those of a network that has not been trained on these classes.
    pub fn of_body(snapshot: &Snapshot, body: &Body) -> Result<Self, WorkflowError> {
        let device = best_device();
        let size = match body.size {
            Some(size) => size,
            None => ModelSpec::find(&body.model)?.study_px,
        };
        let classes = snapshot.manifest.classes.regular_len().max(2);
        let mut model = Model::new(&body.model, size, classes, UNTRAINED_SEED, device)?;
        let drawn = match &body.weights {
            Some(file) => model.load_pretrained(file, body.preprocessing)?.digest,
            None => digest_parts([b"untrained".as_slice(), body.model.as_bytes()]),
        };
        // The same weights see other things in pixels of another scale.
        let scale = model.preprocessing.name();
        let weights = digest_parts([&drawn[..], scale.as_bytes()]);
        let fastest = Precision::fastest(device);
        let precision = Evidence::Features.run_in(snapshot.precision, fastest);
        Ok(Self {
            embedder: Embedder::new(&model, weights, precision, &snapshot.cache())?,
            framing: Framing::default(),
            name: body.model.clone(),
        })
    }

    /// Runs the network over `images`, or takes what is remembered. Also returns what each image that can
    /// be read is remembered under.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        images: &[ImageId],
        context: &JobContext,
        emit: &mut dyn FnMut(Vec<(ImageId, EmbeddedImage)>),
    ) -> Result<(Unreadable, HashMap<ImageId, Digest>), WorkflowError> {
        let (embedder, framing) = (&mut self.embedder, self.framing);
        // Tiles are looked at once; frames are needed again.
        let size = embedder.size();
        let keep_pixels = !matches!(framing, Framing::StripTile(_));
        let (content, mut failed) = contents(snapshot, images, context)?;
        let mut seen_as = HashMap::with_capacity(images.len());
        let mut todo: Vec<Wanted> = Vec::new();
        let mut known = Vec::new();
        for image in wanted(snapshot, images, &content) {
            let seen = framing.identity(&image.content, image.die);
            seen_as.insert(image.id, seen);
            match embedder.cached(&seen) {
                Some(row) => known.push((image.id, row)),
                None => todo.push(image),
            }
        }
        let total = (known.len() + todo.len()) as u64;
        let mut done = known.len() as u64;
        if !known.is_empty() {
            emit(known);
        }
        let open = || match keep_pixels {
            true => PixelCache::open(&snapshot.cache(), size, framing),
            false => PixelCache::passing(size, framing),
        };
        let mut pixels = open();
        for chunk in todo.chunks(CHUNK) {
            if !keep_pixels {
                pixels = open();
            }
            failed.extend(pixels.fill(chunk, context)?.failed);
            let readable: Vec<(ImageId, Digest, &[u8])> = chunk
                .iter()
                .filter_map(|image| {
                    let seen = framing.identity(&image.content, image.die);
                    Some((image.id, seen, pixels.get(&image.content, image.die)?))
                })
                .collect();
            for batch in readable.chunks(BATCH) {
                if context.should_stop() {
                    return Err(WorkflowError::Cancelled);
                }
                let input: Vec<(Digest, &[u8])> = batch.iter().map(|(_, d, p)| (*d, *p)).collect();
                let rows = embedder.run(&input)?;
                done += batch.len() as u64;
                context.report(done, total, &format!("{} on images", self.name));
                let rows = batch.iter().map(|(id, ..)| *id).zip(rows);
                let (rows, ruined): (Vec<_>, Vec<_>) = rows.partition(|(_, row)| row.is_finite());
                failed.extend(ruined.into_iter().map(|(id, _)| {
                    let (name, key) = (&self.name, &snapshot.manifest.get(id).key);
                    (
                        id,
                        format!("{name} makes of {key} what is no finite number: choose another network or other weights"),
                    )
                }));
                emit(rows);
            }
        }
        for (image, _) in &failed {
            seen_as.remove(image);
        }
        Ok((failed, seen_as))
    }
}

/// The die of an image: what the data set's CSV has in its column `lib`.
pub(super) fn die_of(manifest: &Manifest, image: ImageId) -> Option<Die> {
    let lib = manifest.column("lib")?;
    Die::from_name(manifest.get(image).values.get(lib)?)
}

/// The die of each of `images`, counted from 1, 0 where it is not known; none where the data set tells of no dies.
pub(super) fn dies_of(manifest: &Manifest, images: &[ImageId]) -> Option<Vec<u32>> {
    manifest.column("lib")?;
    let number = |id: &ImageId| die_of(manifest, *id).map_or(0, |die| 1 + die as u32);
    Some(images.iter().map(number).collect())
}

/// Those of `images` whose content is known, with all that any framing needs to know of them.
pub(super) fn wanted(
    snapshot: &Snapshot,
    images: &[ImageId],
    content: &HashMap<ImageId, Digest>,
) -> Vec<Wanted> {
    let manifest = &snapshot.manifest;
    let wanted = |id: &ImageId| {
        Some(Wanted {
            id: *id,
            path: manifest.get(*id).path.clone(),
            content: *content.get(id)?,
            die: die_of(manifest, *id),
        })
    };
    images.iter().filter_map(wanted).collect()
}

/// As [`embed`], with probabilities only.
///
/// # Errors
/// [`WorkflowError`].
pub fn predict(
    snapshot: &Snapshot,
    run_dir: &Path,
    images: &[ImageId],
    context: &JobContext,
    emit: &mut dyn FnMut(Vec<(ImageId, Prediction)>),
) -> Result<Unreadable, WorkflowError> {
    let run = load_run(run_dir)?;
    embed(snapshot, &run, images, context, &mut |rows| {
        emit(
            rows.into_iter()
                .map(|(id, row)| (id, row.prediction()))
                .collect(),
        );
    })
}

/// Writes `filename,predicted,p_0,…` for `predictions`, in the order of the data set.
///
/// # Errors
/// [`WorkflowError::Storage`].
pub fn write_predictions(
    snapshot: &Snapshot,
    predictions: &[(ImageId, Prediction)],
    out: &Path,
) -> Result<(), WorkflowError> {
    let manifest = &snapshot.manifest;
    refuse_own_files(manifest, out)?;
    let mut header = vec!["filename".to_owned(), "predicted".to_owned()];
    header.extend((0..manifest.classes.regular_len()).map(|c| format!("p_{c}")));
    let mut rows: Vec<&(ImageId, Prediction)> = predictions.iter().collect();
    rows.sort_by_key(|(id, _)| *id);
    let rows = rows.into_iter().map(|(id, prediction)| {
        let label = manifest.classes.label(prediction.class());
        let mut row = vec![manifest.get(*id).key.clone(), label.to_owned()];
        row.extend(prediction.probabilities.iter().map(ToString::to_string));
        row
    });
    write_csv(out, std::iter::once(header).chain(rows))
}

/// Writes rows as CSV, replacing `path` as a whole.
pub(super) fn write_csv(
    path: &Path,
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), WorkflowError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = rows
        .into_iter()
        .try_for_each(|row| writer.write_record(row));
    let bytes = written
        .map_err(std::io::Error::other)
        .and_then(|()| writer.into_inner().map_err(|e| e.into_error()))
        .map_err(|e| StorageError::io("write", path, e))?;
    atomic_write(path, &bytes)?;
    Ok(())
}
