//! How long an image takes on this machine: watched in runs and short trials, guessed where nothing was.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Plan, ResolvedPhase, TrainEvent, trainer::learns_in_bf16};
use crate::models::{self, Device, ModelError, ModelSpec, best_device};

/// What decides how long an image takes in a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Name in the model registry.
    pub model: String,
    /// Side of the square input, pixels.
    pub size: u32,
    /// Name of the part that learns.
    pub trainable: String,
    /// Images in one step.
    pub batch: usize,
    /// Whether the layers learn in bf16; in fp32 otherwise.
    pub bf16: bool,
    /// Threads of libtorch.
    pub threads: usize,
    /// Whether what frozen layers say was kept, so that they ran once.
    pub kept: bool,
    /// Whether images that are learned from are changed at random.
    pub augmented: bool,
    /// Whether gradients are limited together.
    pub clipped: bool,
    /// Whether the weights are averaged.
    pub averaged: bool,
}

impl Setting {
    /// That of `phase`, a phase of `plan`, on this machine.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn of(
        plan: &Plan,
        phase: &ResolvedPhase,
        kept: bool,
        threads: usize,
    ) -> Result<Self, ModelError> {
        let spec = ModelSpec::find(&plan.model)?;
        Ok(Self {
            model: plan.model.clone(),
            size: plan.size,
            trainable: phase.trainable.clone(),
            batch: plan.batch,
            bf16: learns_in_bf16(plan.precision, spec, best_device()),
            threads,
            kept,
            augmented: !plan.augmentation.is_none(),
            clipped: plan.gradient_clip > 0.0,
            averaged: plan.ema_decay > 0.0,
        })
    }

    /// Whether what frozen layers say of the images as they are that are learned from was kept.
    #[must_use]
    pub fn keeps_plain(&self) -> bool {
        self.kept && !self.augmented
    }
}

/// Seconds for one image in a phase, as they were measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// In which setting.
    pub setting: Setting,
    /// To learn from it: forward, backward and its share of the update.
    pub learn_s: f64,
    /// To measure on it after an epoch: forward only.
    pub measure_s: f64,
    /// To send it through the frozen layers and keep what they say, where some had to be computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_s: Option<f64>,
    /// To answer it by the whole network, from pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_s: Option<f64>,
}

/// Takes the time of a training by what it tells.
pub struct PaceRecorder {
    plan: Plan,
    threads: usize,
    train: usize,
    validation: usize,
    phases: Vec<Watched>,
    last_event: Instant,
    answer_s: Option<f64>,
}

/// A phase as it was watched.
struct Watched {
    setting: Setting,
    body_s: Option<f64>,
    learn_s: Vec<f64>,
    measure_s: Vec<f64>,
}

impl PaceRecorder {
    /// Watches a training by `plan` on so many threads.
    #[must_use]
    pub fn new(plan: &Plan, threads: usize) -> Self {
        Self {
            plan: plan.clone(),
            threads,
            train: 0,
            validation: 0,
            phases: Vec::new(),
            last_event: Instant::now(),
            answer_s: None,
        }
    }

    /// To be called with everything the training tells, when it is told.
    pub fn watch(&mut self, event: &TrainEvent) {
        match event {
            TrainEvent::Started {
                train_counts,
                validation_counts,
                ..
            } => {
                self.train = train_counts.iter().sum();
                self.validation = validation_counts.iter().sum();
            }
            TrainEvent::Phase(part) => {
                let phases = self.plan.resolved_phases();
                let kept = part.cache.is_some_and(|cache| cache.used);
                let setting = phases
                    .get(part.phase - 1)
                    .and_then(|phase| Setting::of(&self.plan, phase, kept, self.threads).ok());
                let computed = part.cache.filter(|cache| cache.computed > 0);
                if let Some(setting) = setting {
                    self.phases.push(Watched {
                        setting,
                        body_s: computed.map(|cache| cache.seconds / cache.computed as f64),
                        learn_s: Vec::new(),
                        measure_s: Vec::new(),
                    });
                }
            }
            TrainEvent::Epoch(epoch) => {
                if let Some(phase) = self.phases.last_mut() {
                    let measuring = epoch.seconds - epoch.train_seconds;
                    phase
                        .learn_s
                        .push(epoch.train_seconds / self.train.max(1) as f64);
                    phase
                        .measure_s
                        .push(measuring / self.validation.max(1) as f64);
                }
            }
            TrainEvent::Finished { report, .. } => {
                // The test split and the images that were learned from are read between the last two events, the
                // latter as validation images are where they are kept.
                let seconds = self.last_event.elapsed().as_secs_f64();
                let train = self.train as f64;
                let phase = self
                    .phases
                    .last()
                    .filter(|phase| phase.setting.keeps_plain());
                let behind = phase.and_then(|phase| settled(phase.measure_s.clone()));
                let whole = behind.map_or(0.0, |measure_s| seconds - measure_s * train);
                self.answer_s = Some(if whole > 0.0 {
                    whole / report.n.max(1) as f64
                } else {
                    seconds / (report.n as f64 + train).max(1.0)
                });
            }
            // An epoch gone on with counts its seconds from before the break.
            TrainEvent::Resumed { .. }
            | TrainEvent::Step { .. }
            | TrainEvent::Kept { .. }
            | TrainEvent::Note(_) => {}
        }
        self.last_event = Instant::now();
    }

    /// What was measured: one entry for each phase with an epoch. Of several epochs the first is left out,
    /// in which memory is taken, and the middle one of the others counts.
    #[must_use]
    pub fn paces(self) -> Vec<Pace> {
        let answer_s = self.answer_s;
        let pace = |phase: Watched| {
            let pace = Pace {
                learn_s: settled(phase.learn_s)?,
                measure_s: settled(phase.measure_s)?,
                setting: phase.setting,
                body_s: phase.body_s,
                answer_s,
            };
            let seconds = [pace.learn_s, pace.measure_s];
            seconds
                .iter()
                .all(|s| s.is_finite() && *s > 0.0)
                .then_some(pace)
        };
        self.phases.into_iter().filter_map(pace).collect()
    }
}

fn settled(mut seconds: Vec<f64>) -> Option<f64> {
    if seconds.len() > 1 {
        seconds.remove(0);
    }
    median(seconds)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) {
        (values[values.len() / 2 - 1] + upper) / 2.0
    } else {
        upper
    })
}

/// Where a figure comes from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An earlier run on a processor of this kind.
    Run,
    /// A few steps of the real training, on this machine.
    Trial,
    /// The number of operations, held against whatever was measured here.
    Estimated,
}

impl Source {
    /// For people: what such a figure rests on.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Run => "measured in earlier runs on such a processor",
            Self::Trial => "measured on this machine",
            Self::Estimated => "estimated, not measured on this machine yet",
        }
    }
}

/// What is done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Learn from it.
    Learn,
    /// Measure on it after an epoch.
    Measure,
    /// Send it through the frozen layers, to keep what they say.
    Body,
    /// Answer it by the whole network.
    Answer,
}

impl Task {
    /// The tasks whose speed tells something of this one: networks that learn have loops of their own.
    fn kin(self) -> &'static [Self] {
        match self {
            Self::Learn => &[Self::Learn],
            Self::Measure | Self::Body | Self::Answer => &[Self::Measure, Self::Body, Self::Answer],
        }
    }
}

/// How much there is to do for one image, from the shapes of the layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Multiply-adds of the frozen layers before the first one that learns.
    pub frozen: f64,
    /// Multiply-adds of all layers behind.
    pub behind: f64,
    /// Parameters that learn.
    pub parameters: u64,
    /// Numbers that pass the boundary between the two; 0 where nothing is frozen.
    pub boundary: u64,
}

impl Workload {
    /// That of the part `trainable` of a model at `size` pixels.
    ///
    /// # Errors
    /// [`ModelError`] for a model, a size or a part that does not exist.
    pub fn new(
        model: &str,
        size: u32,
        classes: usize,
        trainable: &str,
    ) -> Result<Self, ModelError> {
        let spec = ModelSpec::find(model)?;
        let set = spec.trainable_set(trainable)?;
        let work = spec.work(size, classes)?;
        let (frozen, behind) = work.split_at(set.first_stage);
        let sum = |stages: &[models::StageWork]| {
            let all: u64 = stages.iter().map(|stage| stage.multiply_adds).sum();
            all as f64
        };
        Ok(Self {
            frozen: sum(frozen),
            behind: sum(behind),
            parameters: spec.trainable_parameters(size, classes, set)?,
            boundary: frozen.last().map_or(0, |stage| stage.outputs),
        })
    }

    /// The share of a forward pass that the frozen layers take, `0..=1`.
    #[must_use]
    pub fn frozen_share(&self) -> f64 {
        let all = self.frozen + self.behind;
        if all > 0.0 { self.frozen / all } else { 0.0 }
    }
}

/// Operations a second of one thread in fp32, of a processor with AVX-512, with AVX2 and with neither. Two
/// threads of an AMD EPYC at 3 GHz reach 260 billion on InceptionV3 (`docs/BENCHMARKS.md`: 23 images a second
/// of 11.4 billion operations each).
const OPERATIONS_PER_S: [f64; 3] = [130e9, 65e9, 30e9];
/// The same for a graphics card, all of it.
const OPERATIONS_PER_S_GPU: f64 = 5e12;
/// How much quicker bf16 is where the processor has it; the same two threads: 43 images against 23.
const BF16_GAIN: f64 = 1.9;
/// A backward pass costs two forward passes: one for the inputs' gradient, one for the weights'.
const FORWARD_AND_BACKWARD: f64 = 3.0;
/// Adam reads weight, gradient and two moments and writes three of them, 4 bytes each.
const ADAM_BYTES: f64 = 28.0;
/// Bytes a second that memory gives.
const MEMORY_BYTES_PER_S: f64 = 10e9;
/// What every image costs beside: being read and counted. `docs/BENCHMARKS.md`: 18,000 images a second where
/// only the last layer learns.
const OVERHEAD_S: f64 = 5e-5;
/// What was measured of another network is as far away as ten times the work (a distance of logarithms): small
/// networks are bound by memory, large ones by arithmetic.
const OTHER_MODEL: f64 = std::f64::consts::LN_10;
/// One pixel changed at random, seconds.
const AUGMENT_PIXEL_S: f64 = 1e-8;

/// Seconds that `task` should take for one image, from the number of operations and what processors of this
/// kind do. Within a factor of three or so; good for comparing one plan with another.
#[must_use]
pub fn guess(task: Task, setting: &Setting, work: &Workload) -> f64 {
    let threads = setting.threads.max(1) as f64;
    let rate = match best_device() {
        Device::Cuda(_) => OPERATIONS_PER_S_GPU,
        _ => OPERATIONS_PER_S[vector_class()] * threads,
    };
    let forward = |multiply_adds: f64| 2.0 * multiply_adds / rate;
    let through_frozen = if setting.kept {
        0.0
    } else {
        forward(work.frozen)
    };
    let change = if setting.augmented {
        f64::from(setting.size).powi(2) * AUGMENT_PIXEL_S
    } else {
        0.0
    };
    let seconds = match task {
        Task::Learn => {
            let gain = if setting.bf16 { BF16_GAIN } else { 1.0 };
            let update = work.parameters as f64 * ADAM_BYTES / MEMORY_BYTES_PER_S;
            let change = if setting.kept { 0.0 } else { change };
            through_frozen
                + forward(work.behind) * FORWARD_AND_BACKWARD / gain
                + update / setting.batch.max(1) as f64
                + change
        }
        Task::Measure => through_frozen + forward(work.behind),
        Task::Body => forward(work.frozen) + change,
        Task::Answer => forward(work.frozen + work.behind),
    };
    seconds + OVERHEAD_S
}

/// Position in [`OPERATIONS_PER_S`].
fn vector_class() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return 0;
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return 1;
        }
    }
    2
}

/// What is known of the speed of this machine.
#[derive(Clone, Debug, Default)]
pub struct PaceBook {
    known: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    source: Source,
    pace: Pace,
    work: Workload,
}

impl PaceBook {
    /// Adds what was measured, the newest first. What names a model or part that there is not any more is
    /// passed over.
    pub fn add(&mut self, source: Source, paces: impl IntoIterator<Item = Pace>) {
        for pace in paces {
            let s = &pace.setting;
            // How many classes there were matters to no figure.
            if let Ok(work) = Workload::new(&s.model, s.size, 2, &s.trainable) {
                self.known.push(Known { source, pace, work });
            }
        }
        self.known.sort_by_key(|known| known.source);
    }

    /// Seconds that `task` takes for one image, and how that is known: as it was measured in this very
    /// setting; else a guess, times what the nearest measurement took against its own guess. Near is, first, the
    /// same task of the same layers, then whatever work is about as much.
    #[must_use]
    pub fn seconds(&self, task: Task, setting: &Setting, work: &Workload) -> (f64, Source) {
        if let Some(found) = self.measured(task, setting) {
            return found;
        }
        let in_epochs = matches!(task, Task::Learn | Task::Measure);
        if in_epochs && !setting.kept && work.frozen > 0.0 {
            // Frozen layers that run in every epoch come on top of what stands behind them.
            let kept = Setting {
                kept: true,
                ..setting.clone()
            };
            let (behind, one) = self.seconds(task, &kept, work);
            let (body, other) = self.seconds(Task::Body, setting, work);
            return (behind + body, one.max(other));
        }
        let guessed = guess(task, setting, work);
        let ratios = self.known.iter().flat_map(|known| {
            let like = is_like(task, &known.pace.setting, setting);
            let other = known.pace.setting.model != setting.model;
            task.kin().iter().filter_map(move |kin| {
                let own = guess(*kin, &known.pace.setting, &known.work);
                let far = (own / guessed).ln().abs() + if other { OTHER_MODEL } else { 0.0 };
                let ratio = taken(*kin, &known.pace)? / own;
                Some((!(like && *kin == task), far, ratio))
            })
        });
        let nearest = ratios.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let ratio = nearest.map_or(1.0, |(.., ratio)| ratio);
        (guessed * ratio, Source::Estimated)
    }

    fn measured(&self, task: Task, setting: &Setting) -> Option<(f64, Source)> {
        let mut same = self
            .known
            .iter()
            .filter(|known| is_same(task, &known.pace.setting, setting));
        same.find_map(|known| Some((taken(task, &known.pace)?, known.source)))
    }
}

fn taken(task: Task, pace: &Pace) -> Option<f64> {
    let seconds = match task {
        Task::Learn => Some(pace.learn_s),
        Task::Measure => Some(pace.measure_s),
        Task::Body => pace.body_s,
        Task::Answer => pace.answer_s,
    };
    seconds.filter(|s| s.is_finite() && *s > 0.0)
}

/// Whether all is equal that decides how long `task` takes.
fn is_same(task: Task, a: &Setting, b: &Setting) -> bool {
    let network = a.model == b.model && a.size == b.size && a.threads == b.threads;
    network
        && match task {
            Task::Learn => {
                let images_alike = a.kept || a.augmented == b.augmented;
                images_alike
                    && (&a.trainable, a.batch, a.bf16, a.kept, a.clipped, a.averaged)
                        == (&b.trainable, b.batch, b.bf16, b.kept, b.clipped, b.averaged)
            }
            Task::Measure => a.trainable == b.trainable && a.kept == b.kept,
            Task::Body => a.trainable == b.trainable && a.augmented == b.augmented,
            Task::Answer => true,
        }
}

/// Whether the same layers do it.
fn is_like(task: Task, a: &Setting, b: &Setting) -> bool {
    a.model == b.model
        && match task {
            Task::Answer => true,
            Task::Body => a.trainable == b.trainable,
            Task::Learn | Task::Measure => a.trainable == b.trainable && a.kept == b.kept,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::preset;

    fn setting(plan: &Plan) -> Setting {
        Setting::of(plan, &plan.resolved_phases()[0], false, 1).expect("a model")
    }

    fn work(setting: &Setting) -> Workload {
        Workload::new(&setting.model, setting.size, 6, &setting.trainable).expect("a model")
    }

    fn pace(setting: Setting, learn_s: f64) -> Pace {
        Pace {
            setting,
            learn_s,
            measure_s: learn_s / 2.0,
            body_s: None,
            answer_s: Some(learn_s / 4.0),
        }
    }

    #[test]
    fn a_run_goes_before_a_trial_and_a_trial_before_a_guess() {
        let setting = setting(&Plan::default());
        let work = work(&setting);
        let mut book = PaceBook::default();
        let (guessed, source) = book.seconds(Task::Learn, &setting, &work);
        assert_eq!(source, Source::Estimated);
        assert!(guessed > 0.0 && guessed < 1.0, "{guessed}");
        book.add(Source::Trial, [pace(setting.clone(), 0.02)]);
        let learn = |book: &PaceBook| book.seconds(Task::Learn, &setting, &work);
        assert_eq!(learn(&book), (0.02, Source::Trial));
        book.add(Source::Run, [pace(setting.clone(), 0.03)]);
        assert_eq!(learn(&book), (0.03, Source::Run));
        let answer = book.seconds(Task::Answer, &setting, &work);
        assert_eq!(answer, (0.03 / 4.0, Source::Run));
    }

    #[test]
    fn what_was_measured_at_one_size_scales_to_another() {
        let plan = preset("quick").expect("a preset");
        let small = setting(&plan);
        let large = Setting {
            size: 299,
            ..small.clone()
        };
        let mut book = PaceBook::default();
        let (guessed, _) = book.seconds(Task::Learn, &large, &work(&large));
        // Twice as slow as guessed at one size, so twice as slow at the other.
        let slow = 2.0 * guess(Task::Learn, &small, &work(&small));
        book.add(Source::Trial, [pace(small.clone(), slow)]);
        let (seconds, source) = book.seconds(Task::Learn, &large, &work(&large));
        assert_eq!(source, Source::Estimated);
        assert!(
            (seconds / guessed - 2.0).abs() < 1e-3,
            "{seconds} {guessed}"
        );
        // And so for another network, which nothing else is known of.
        let other = Setting {
            model: "cnn01".to_owned(),
            ..small
        };
        let (seconds, _) = book.seconds(Task::Learn, &other, &work(&other));
        let guessed = guess(Task::Learn, &other, &work(&other));
        assert!((seconds / guessed - 2.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_unknown_follows_the_work_that_is_nearest_to_it() {
        let answered = |name: &str, ratio: f64| {
            let setting = setting(&preset(name).expect("a preset"));
            let answer_s = Some(ratio * guess(Task::Answer, &setting, &work(&setting)));
            Pace {
                answer_s,
                ..pace(setting, f64::NAN)
            }
        };
        let vit = setting(&preset("vit_head").expect("a preset"));
        let ratio = |book: &PaceBook| {
            let (seconds, source) = book.seconds(Task::Answer, &vit, &work(&vit));
            assert_eq!(source, Source::Estimated);
            seconds / guess(Task::Answer, &vit, &work(&vit))
        };
        // Small networks take ten times as long as their operations, a large one does not; most are small.
        // How many classes there are hardly matters, and is not known of what was measured.
        let mut book = PaceBook::default();
        for small in ["cnn01", "cnn02", "cnn03"] {
            book.add(Source::Run, [answered(small, 10.0)]);
        }
        assert!((ratio(&book) - 10.0).abs() < 1e-2);
        book.add(Source::Run, [answered("inception_feature", 1.5)]);
        assert!((ratio(&book) - 1.5).abs() < 1e-3);
        // Its own frozen layers are nearer than anything another network does.
        let body = Pace {
            answer_s: None,
            body_s: Some(1.2 * guess(Task::Body, &vit, &work(&vit))),
            ..pace(vit.clone(), f64::NAN)
        };
        book.add(Source::Trial, [body]);
        assert!((ratio(&book) - 1.2).abs() < 1e-3);
    }

    #[test]
    fn frozen_layers_that_run_every_epoch_come_on_top() {
        let plan = preset("inception_feature").expect("a preset");
        let through = setting(&plan);
        let kept = Setting {
            kept: true,
            ..through.clone()
        };
        let work = work(&kept);
        let mut book = PaceBook::default();
        let measured = Pace {
            body_s: Some(0.04),
            ..pace(kept.clone(), 1e-4)
        };
        book.add(Source::Run, [measured]);
        let (seconds, source) = book.seconds(Task::Learn, &through, &work);
        assert!((seconds - 0.0401).abs() < 1e-12, "{seconds}");
        // Two measured parts make a measured whole.
        assert_eq!(source, Source::Run);
        let guessed =
            |setting: &Setting| PaceBook::default().seconds(Task::Measure, setting, &work);
        assert_eq!(guessed(&through).1, Source::Estimated);
        assert!(guessed(&through).0 > guessed(&kept).0);
        assert!(work.frozen_share() > 0.999 && work.boundary == 2048);
    }

    #[test]
    fn nothing_measured_wrongly_is_believed() {
        let setting = setting(&Plan::default());
        let work = work(&setting);
        let mut book = PaceBook::default();
        for seconds in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            book.add(Source::Run, [pace(setting.clone(), seconds)]);
        }
        let gone = Setting {
            model: "resnet".to_owned(),
            ..setting.clone()
        };
        book.add(Source::Run, [pace(gone, 0.1)]);
        let (seconds, source) = book.seconds(Task::Learn, &setting, &work);
        assert_eq!(source, Source::Estimated);
        assert!(seconds.is_finite() && seconds > 0.0);
    }

    #[test]
    fn the_first_epoch_is_left_out_and_the_middle_one_counts() {
        assert_eq!(settled(vec![9.0]), Some(9.0));
        assert_eq!(settled(vec![9.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(settled(vec![9.0, 1.0, 2.0]), Some(1.5));
        assert_eq!(settled(Vec::new()), None);
    }
}
