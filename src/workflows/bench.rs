//! Measurements over the real code paths. Figures, not tests: nothing here passes or fails.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::dataset::sample::SampleSpec;
use crate::domain::{ClassId, ImageId, Label};
use crate::imaging::{self, Kind, Loader, Request};
use crate::jobs::JobContext;
#[cfg(feature = "torch")]
use crate::jobs::{background_computations, give_way};
use crate::labels::{Change, Source};
use crate::project::{Project, Snapshot};
use crate::storage::create_dir;

use super::{OpenRequest, WorkflowError, open, open_thumbnails, sample, scan};

/// Labels given in `bench label`.
const LABELS: usize = 400;
/// Labels that the head of `bench drift` learns from, beside 2,000 regular images, and how often it does.
#[cfg(feature = "torch")]
const DRIFT_LABELS: usize = 200;
#[cfg(feature = "torch")]
const REFITS: usize = 20;
/// Images decoded in `bench decode`.
const DECODED: usize = 300;
/// Side of the square that training reads, pixels.
const WORKING_PX: u32 = 299;
/// Longest wait for a picture before the figure counts as what it is: a failure.
const GIVE_UP: Duration = Duration::from_secs(10);

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Over how many images or labels.
    pub n: usize,
    /// Median, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Time of the one measurement, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// Throughput.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_s: Option<f64>,
    /// Throughput of the quickest, where the one above is the median's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_images_per_s: Option<f64>,
    /// Size of what was written each time, 10^6 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabytes: Option<f64>,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:36} n {:>6}", self.name, self.n)?;
        if let (Some(median), Some(p99)) = (self.median_ms, self.p99_ms) {
            write!(f, "   median {median:.2} ms   p99 {p99:.2} ms")?;
        }
        if let Some(took) = self.took_ms {
            write!(f, "   {took:.0} ms")?;
        }
        if let Some(rate) = self.images_per_s {
            write!(f, "   {rate:.0} images/s")?;
        }
        if let Some(best) = self.best_images_per_s {
            write!(f, "   best {best:.0} images/s")?;
        }
        if let Some(megabytes) = self.megabytes {
            write!(f, "   {megabytes:.0} MB")?;
        }
        Ok(())
    }
}

impl Figure {
    /// Median and 99th percentile of single times.
    #[must_use]
    pub fn times(name: &str, mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        let last = milliseconds.len().saturating_sub(1);
        let at = |share: f64| {
            let index = (last as f64 * share).round() as usize;
            milliseconds.get(index).copied()
        };
        Self {
            median_ms: at(0.5),
            p99_ms: at(0.99),
            ..Self::count(name, milliseconds.len())
        }
    }

    /// A number of things.
    #[must_use]
    pub fn count(name: &str, n: usize) -> Self {
        Self {
            name: name.to_owned(),
            n,
            median_ms: None,
            p99_ms: None,
            took_ms: None,
            images_per_s: None,
            best_images_per_s: None,
            megabytes: None,
        }
    }

    fn rate(name: &str, n: usize, took: Duration) -> Self {
        Self {
            images_per_s: Some(n as f64 / took.as_secs_f64()),
            ..Self::count(name, n)
        }
    }

    /// One measured time, with `n` images there.
    #[must_use]
    pub fn took(name: &str, n: usize, took: Duration) -> Self {
        Self {
            took_ms: Some(took.as_secs_f64() * 1000.0),
            ..Self::count(name, n)
        }
    }

    /// One measured time for `n` images, and how many a second that is.
    fn once(name: &str, n: usize, took: Duration) -> Self {
        Self {
            took_ms: Some(took.as_secs_f64() * 1000.0),
            ..Self::rate(name, n, took)
        }
    }
}

/// Measurements on one data set. Labels and caches go into a project of its own, which is removed when this
/// is dropped; the user's are never touched.
pub struct Bench {
    data: PathBuf,
    project: PathBuf,
}

impl Bench {
    /// Measures on `data`, or on a made data set kept in the user's cache folder.
    ///
    /// # Errors
    /// [`WorkflowError`].
    pub fn new(data: Option<&Path>, context: &JobContext) -> Result<Self, WorkflowError> {
        let scratch = directories::ProjectDirs::from("", "", "driftscope").map_or_else(
            || PathBuf::from(".cache"),
            |dirs| dirs.cache_dir().to_owned(),
        );
        let data = match data {
            Some(path) => path.to_owned(),
            None => made_data(&scratch, context)?,
        };
        let project = scratch.join(format!("bench-{}", std::process::id()));
        create_dir(&project)?;
        Ok(Self { data, project })
    }

    /// Measures `what`: `open`, `gallery`, `decode`, `label`, `drift`, `train`, `infer`, `checkpoint` or
    /// `all`; nothing for
    /// another word.
    ///
    /// # Errors
    /// [`WorkflowError`].
    pub fn run(&self, what: &str, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
        let mut figures = Vec::new();
        for (name, measure) in [
            ("open", opening as Measure),
            ("gallery", gallery as Measure),
            ("decode", decode as Measure),
            ("label", label as Measure),
            #[cfg(feature = "torch")]
            ("drift", drift as Measure),
            #[cfg(feature = "torch")]
            ("train", training as Measure),
            #[cfg(feature = "torch")]
            ("infer", inference as Measure),
            #[cfg(feature = "torch")]
            ("checkpoint", checkpoints as Measure),
        ] {
            if what == name || what == "all" {
                figures.extend(measure(&self.data, &self.project, context)?);
            }
        }
        Ok(figures)
    }

    /// What to open to see the data set with everything cached.
    ///
    /// # Errors
    /// [`WorkflowError`].
    pub fn warm_project(&self) -> Result<OpenRequest, WorkflowError> {
        let snapshot = project(&self.data, &self.project)?.snapshot();
        let thumbnails = open_thumbnails(&snapshot);
        scan(&snapshot, &thumbnails, &JobContext::detached(), &mut |_| {})?;
        Ok(request(&self.data, &self.project))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What cannot be removed lies in the user's cache folder, where it may be removed at any time.
        drop(fs::remove_dir_all(&self.project));
    }
}

/// What happens after a label of drift, and whether the label key feels it.
#[cfg(feature = "torch")]
fn drift(data: &Path, place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::drift::{DuplicateGroups, EmbeddingView};

    background_computations();
    let mut figures = Vec::new();
    let mut small = None;
    for images in [10_000, 100_000] {
        context.report(0, 1, "making embeddings");
        let session = super::drift::made_session(images)?;
        let labels: Vec<(ImageId, bool)> = (0..DRIFT_LABELS)
            .map(|i| (session.images[i * (images / DRIFT_LABELS)], i % 4 == 0))
            .collect();
        let mut times = Vec::new();
        for round in 0..=REFITS {
            context.report(round as u64, REFITS as u64, "refitting");
            if context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            let started = Instant::now();
            std::hint::black_box(session.refit(&labels, 0));
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let name = format!("drift refit and rerank of {images}");
        figures.push(Figure::times(&name, times));
        let snapshot = crowded(project(data, place)?.snapshot(), images);
        let mut times = Vec::new();
        for round in 0..=REFITS {
            context.report(round as u64, REFITS as u64, "all that follows from a label");
            if context.should_stop() {
                return Err(WorkflowError::Cancelled);
            }
            let started = Instant::now();
            std::hint::black_box(session.after_label(&snapshot, &labels, &[], None));
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let name = format!("all after a label of {images}");
        figures.push(Figure::times(&name, times));
        small = small.or(Some((session, labels)));
    }
    context.report(0, 1, "looking for near-duplicates");
    let (images, dim) = (10_000, 2_048);
    let made = super::drift::made_embeddings(images, dim, 0);
    let embeddings = EmbeddingView::new(&made, dim)?;
    let started = Instant::now();
    std::hint::black_box(DuplicateGroups::find(embeddings)?);
    let took = started.elapsed().as_secs_f64() * 1000.0;
    let name = format!("near-duplicates among {images}");
    figures.push(Figure::times(&name, vec![took]));
    let Some((session, labels)) = small else {
        return Ok(figures);
    };
    figures.extend(label(data, place, context)?);
    let snapshot = crowded(project(data, place)?.snapshot(), session.images.len());
    let done = AtomicBool::new(false);
    let while_refitting = std::thread::scope(|scope| {
        scope.spawn(|| {
            give_way();
            while !done.load(Ordering::Relaxed) {
                std::hint::black_box(session.after_label(&snapshot, &labels, &[], None));
            }
        });
        let found = label(data, place, context);
        done.store(true, Ordering::Relaxed);
        found
    })?;
    figures.extend(while_refitting.into_iter().map(|figure| Figure {
        name: format!("{}, refitting", figure.name),
        ..figure
    }));
    Ok(figures)
}

/// The data set with its images over and over until there are `images`, as many as made embeddings.
#[cfg(feature = "torch")]
fn crowded(mut snapshot: Snapshot, images: usize) -> Snapshot {
    let manifest = Arc::make_mut(&mut snapshot.manifest);
    manifest.images = manifest
        .images
        .iter()
        .cycle()
        .take(images)
        .cloned()
        .collect();
    *Arc::make_mut(&mut snapshot.hand) = vec![None; images];
    snapshot
}

type Measure = fn(&Path, &Path, &JobContext) -> Result<Vec<Figure>, WorkflowError>;

fn made_data(scratch: &Path, context: &JobContext) -> Result<PathBuf, WorkflowError> {
    let out = scratch.join("bench-sample");
    if !out.exists() {
        let spec = SampleSpec {
            train: 500,
            test: 100,
            seed: 1,
        };
        sample(&out, &spec, &mut |done, total| {
            context.report(done as u64, total as u64, "drawing images");
            true
        })?;
    }
    Ok(out)
}

fn request(data: &Path, place: &Path) -> OpenRequest {
    OpenRequest {
        path: data.to_owned(),
        project_dir: Some(place.to_owned()),
        ..OpenRequest::default()
    }
}

fn project(data: &Path, place: &Path) -> Result<Project, WorkflowError> {
    open(&request(data, place))
}

/// Opening with nothing known, then with a warm cache, until every image can be listed and drawn.
fn opening(data: &Path, place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let mut figures = Vec::new();
    for name in ["open and scan, nothing cached", "open and scan, warm cache"] {
        let started = Instant::now();
        let snapshot = project(data, place)?.snapshot();
        let thumbnails = open_thumbnails(&snapshot);
        scan(&snapshot, &thumbnails, context, &mut |_| {})?;
        figures.push(Figure::once(
            name,
            snapshot.manifest.len(),
            started.elapsed(),
        ));
    }
    Ok(figures)
}

/// Thumbnails out of the warm cache.
fn gallery(data: &Path, place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let project = project(data, place)?;
    let snapshot = project.snapshot();
    let thumbnails = open_thumbnails(&snapshot);
    let mut contents = Vec::new();
    scan(&snapshot, &thumbnails, context, &mut |batch| {
        contents.extend(
            batch
                .into_iter()
                .filter_map(|(_, facts)| Some(facts.ok()?.content)),
        );
    })?;
    let started = Instant::now();
    let shown = contents
        .iter()
        .filter(|c| thumbnails.get(c).is_some())
        .count();
    Ok(vec![Figure::rate(
        "gallery thumbnails from the cache",
        shown,
        started.elapsed(),
    )])
}

fn decode(data: &Path, place: &Path, _: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let snapshot = project(data, place)?.snapshot();
    let paths: Vec<PathBuf> = snapshot
        .manifest
        .images
        .iter()
        .take(DECODED)
        .map(|image| image.path.clone())
        .collect();
    let started = Instant::now();
    let mut read = 0;
    for gray in paths
        .iter()
        .filter_map(|path| imaging::open_gray(path).ok())
    {
        std::hint::black_box(imaging::resize(&gray, WORKING_PX, WORKING_PX));
        read += 1;
    }
    Ok(vec![Figure::rate(
        "decode and resize to 299, 1 thread",
        read,
        started.elapsed(),
    )])
}

#[cfg(feature = "torch")]
fn training(_: &Path, place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    super::bench_networks::train(place, context)
}

#[cfg(feature = "torch")]
fn inference(
    data: &Path,
    place: &Path,
    context: &JobContext,
) -> Result<Vec<Figure>, WorkflowError> {
    super::bench_networks::infer(&project(data, place)?.snapshot(), context)
}

#[cfg(feature = "torch")]
fn checkpoints(_: &Path, place: &Path, context: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    super::bench_networks::checkpoints(place, context)
}

/// From the key to the label on disk and the next picture in memory, as the window does it: the next
/// picture is asked for while the user looks at this one.
fn label(data: &Path, place: &Path, _: &JobContext) -> Result<Vec<Figure>, WorkflowError> {
    let mut project = project(data, place)?;
    let snapshot = project.snapshot();
    let thumbnails = Arc::new(open_thumbnails(&snapshot));
    let loader = Loader::new(1, Arc::new(|| {}), thumbnails)
        .map_err(|source| WorkflowError::Images(imaging::WorkError::Threads { source }))?;
    let n = snapshot.manifest.len();
    let images: Vec<ImageId> = (0..=LABELS).map(|at| ImageId::from(at % n)).collect();
    let mut durable = Vec::with_capacity(LABELS);
    let mut total = Vec::with_capacity(LABELS);
    wait_for(&loader, &snapshot, images[0]);
    for (at, pair) in images.windows(2).enumerate() {
        let [now, next] = [pair[0], pair[1]];
        // While the user looks at this image, the next one is decoded.
        wait_for(&loader, &snapshot, next);
        let pressed = Instant::now();
        project.labels.apply(Change {
            image: snapshot.manifest.get(now).key.clone(),
            label: Some(Label::Class(ClassId::from(
                at % snapshot.manifest.classes.len(),
            ))),
            source: Source::Key,
            model_run: None,
            prediction_visible: false,
        })?;
        durable.push(pressed.elapsed().as_secs_f64() * 1000.0);
        wait_for(&loader, &snapshot, next);
        total.push(pressed.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(vec![
        Figure::times("label key to durable", durable),
        Figure::times("label key to next picture ready", total),
    ])
}

fn wait_for(loader: &Loader, snapshot: &Snapshot, id: ImageId) {
    let asked = Instant::now();
    while loader.full(id).is_none() && asked.elapsed() < GIVE_UP {
        while loader.poll().is_some() {}
        loader.request(Request {
            id,
            path: snapshot.manifest.get(id).path.clone(),
            content: None,
            kind: Kind::Full,
        });
        std::thread::sleep(Duration::from_micros(200));
    }
}
