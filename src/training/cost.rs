//! What a training will take, before it starts: minutes and megabytes.

use serde::Serialize;

use super::{
    Balance, CacheEstimate, PaceBook, Plan, Precision, ResolvedPhase, Setting, Source, Task,
    Workload,
};
use crate::imaging::Augmentation;
use crate::models::{self, ModelError, ModelSpec, best_device};

/// Images of each part, balanced and limited as the plan says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitCounts {
    /// To learn from.
    pub train: usize,
    /// To choose the epoch on.
    pub validation: usize,
    /// To be read once, at the end.
    pub test: usize,
}

/// The disk as it is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Bytes that are free where the caches lie.
    pub free: u64,
    /// Bytes kept there for other trainings, which go when room is needed ([`kept_bytes`](super::kept_bytes)).
    pub older: u64,
    /// Bytes of pixels that are still to be decoded and kept.
    pub pixels: u64,
    /// Of how many images it is kept what the frozen layers say, phase by phase
    /// ([`kept_images`](super::kept_images)); 0 for phases that are not listed.
    pub kept: &'a [usize],
}

/// What will be on the disk that is not there yet, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskCost {
    /// What the frozen layers say of each image; less where some of it was kept before.
    pub activations: u64,
    /// Images at the plan's size.
    pub pixels: u64,
    /// The trained weights.
    pub model: u64,
    /// Free now.
    pub free: u64,
    /// The most that is kept of the frozen layers: half of what is free, or would be without what was kept for other
    /// trainings.
    pub budget: u64,
}

impl DiskCost {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.activations + self.pixels + self.model
    }
}

/// What one phase will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseCost {
    /// Name of the part that learns.
    pub trainable: String,
    /// Parameters in it.
    pub parameters: u64,
    /// The share of a forward pass that lies in frozen layers, `0..=1`.
    pub frozen_share: f64,
    /// What keeping their answers takes; none where nothing is frozen or the plan keeps nothing.
    pub cache: Option<CacheEstimate>,
    /// Whether they run once and their answers are kept; otherwise they run in every epoch.
    pub kept: bool,
    /// Seconds for running them once.
    pub cache_s: f64,
    /// Epochs at most.
    pub epochs: usize,
    /// Seconds of one epoch, validation included.
    pub epoch_s: f64,
    /// Seconds of all epochs: early stopping may end the phase before.
    pub at_most_s: f64,
    /// How the seconds of an epoch are known.
    pub source: Source,
    /// What decides them.
    #[serde(skip)]
    pub setting: Setting,
}

/// What a training will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingCost {
    /// Images of each part.
    pub images: SplitCounts,
    /// Phase by phase.
    pub phases: Vec<PhaseCost>,
    /// Seconds for running frozen layers once on the images of which nothing is kept yet, all phases together.
    pub cache_s: f64,
    /// Seconds for reading the test split and the training images once, at the end.
    pub answers_s: f64,
    /// Seconds of everything, if no phase stops early.
    pub at_most_s: f64,
    /// What it leaves on the disk.
    pub disk: DiskCost,
    /// How the figures are known: as well as the worst of them.
    pub source: Source,
}

/// What `plan` will take with `images` of `classes` classes on `threads` threads, at most. Frozen layers are
/// taken to run once where half of the free disk holds what they say and is not kept yet, as they then do. Decoding the
/// images the first time comes on top; it is a matter of seconds.
///
/// # Errors
/// [`ModelError`] for a plan that names what does not exist.
pub fn estimate(
    plan: &Plan,
    classes: usize,
    images: SplitCounts,
    disk: Disk<'_>,
    threads: usize,
    book: &PaceBook,
) -> Result<TrainingCost, ModelError> {
    let room = (disk.free + disk.older).saturating_sub(disk.pixels);
    let mut source = Source::Run;
    let mut phases = Vec::new();
    for (at, phase) in plan.resolved_phases().iter().enumerate() {
        let found = Found {
            room,
            kept: disk.kept.get(at).copied().unwrap_or(0),
        };
        let (cost, caching) = phase_cost(plan, phase, classes, images, found, threads, book)?;
        source = source.max(cost.source).max(caching);
        phases.push(cost);
    }
    let sum = |seconds: fn(&PhaseCost) -> f64| phases.iter().map(seconds).sum::<f64>();
    let (cache_s, epochs_s) = (sum(|p| p.cache_s), sum(|p| p.at_most_s));
    let mut answers_s = 0.0;
    if let Some(phase) = phases.last() {
        let work = Workload::new(&plan.model, plan.size, classes, &phase.trainable)?;
        let mut answers = |task, images: usize| {
            let (answer_s, known) = book.seconds(task, &phase.setting, &work);
            source = source.max(known);
            answer_s * images as f64
        };
        let kept = phase.setting.keeps_plain();
        let learned = if kept { Task::Measure } else { Task::Answer };
        answers_s = answers(Task::Answer, images.test) + answers(learned, images.train);
    }
    let kept = phases.iter().filter(|p| p.kept).filter_map(|p| p.cache);
    let activations: u64 = kept.map(|cache| cache.missing()).sum();
    let budget = CacheEstimate::budget(room);
    let model = ModelSpec::find(&plan.model)?.parameters(plan.size, classes)? * 4;
    Ok(TrainingCost {
        images,
        phases,
        cache_s,
        answers_s,
        at_most_s: cache_s + epochs_s + answers_s,
        disk: DiskCost {
            // What an earlier phase kept goes where a later one needs the room.
            activations: activations.min(budget),
            pixels: disk.pixels,
            model,
            free: disk.free,
            budget,
        },
        source,
    })
}

/// The disk as a phase finds it.
#[derive(Clone, Copy)]
struct Found {
    /// Bytes that are free or taken by what is kept already, for this phase or others.
    room: u64,
    /// Of how many images it is kept already what the frozen layers say.
    kept: usize,
}

/// Of one phase, and how the seconds of running its frozen layers once are known.
fn phase_cost(
    plan: &Plan,
    phase: &ResolvedPhase,
    classes: usize,
    images: SplitCounts,
    found: Found,
    threads: usize,
    book: &PaceBook,
) -> Result<(PhaseCost, Source), ModelError> {
    let work = Workload::new(&plan.model, plan.size, classes, &phase.trainable)?;
    let variants = if plan.augmentation.is_none() {
        1
    } else {
        plan.cached_variants as usize
    };
    let rows = images.train * variants + images.validation;
    let there = found.kept.min(rows);
    // fp16
    let bytes = |rows: usize| rows as u64 * work.boundary * 2;
    let cache = (work.boundary > 0 && plan.cache_activations).then(|| CacheEstimate {
        images: rows,
        bytes: bytes(rows),
        kept: bytes(there),
        free: found.room.saturating_sub(bytes(there)),
    });
    let kept = cache.is_some_and(|cache| cache.fits());
    let setting = Setting::of(plan, phase, kept, threads)?;
    let (learn_s, learn) = book.seconds(Task::Learn, &setting, &work);
    let (measure_s, measure) = book.seconds(Task::Measure, &setting, &work);
    let epoch_s = learn_s * images.train as f64 + measure_s * images.validation as f64;
    let (body_s, body) = if kept && there < rows {
        book.seconds(Task::Body, &setting, &work)
    } else {
        (0.0, Source::Run)
    };
    let cost = PhaseCost {
        trainable: phase.trainable.clone(),
        parameters: work.parameters,
        frozen_share: work.frozen_share(),
        cache,
        kept,
        cache_s: body_s * (rows - there) as f64,
        epochs: phase.epochs,
        epoch_s,
        at_most_s: epoch_s * phase.epochs as f64,
        source: learn.max(measure),
        setting,
    };
    Ok((cost, body))
}

/// Sides of the input that are held against a plan's own, pixels: the baseline's, ImageNet's, the study's.
const SIZES: [u32; 3] = [128, 224, 299];

/// The same plan with one thing chosen otherwise, and what that is, in a few words.
#[must_use]
pub fn other_choices(plan: &Plan) -> Vec<(String, Plan)> {
    let Ok(spec) = ModelSpec::find(&plan.model) else {
        return Vec::new();
    };
    let mut choices: Vec<(String, Plan)> = SIZES
        .into_iter()
        .filter(|size| *size != plan.size && spec.check_size(*size).is_ok())
        .map(|size| {
            (
                format!("at {size} px"),
                Plan {
                    size,
                    ..plan.clone()
                },
            )
        })
        .collect();
    let mut add = |name: &str, plan: Plan| choices.push((name.to_owned(), plan));
    let (name, balance) = match plan.balance {
        Balance::Undersample => ("not undersampled", Balance::None),
        Balance::None | Balance::Weights => ("undersampled", Balance::Undersample),
    };
    add(
        name,
        Plan {
            balance,
            ..plan.clone()
        },
    );
    if plan.augmentation.is_none() {
        add(
            "augmented",
            Plan {
                augmentation: Augmentation::study(),
                ..plan.clone()
            },
        );
    } else {
        add(
            "not augmented",
            Plan {
                augmentation: Augmentation::default(),
                ..plan.clone()
            },
        );
    }
    if spec.learns_in_bf16
        && models::Precision::fastest(best_device()) == models::Precision::BFloat16
    {
        let (name, precision) = match plan.precision {
            Precision::Fp32 => ("in bf16", Precision::Bf16),
            Precision::Auto | Precision::Bf16 => ("in fp32", Precision::Fp32),
        };
        add(
            name,
            Plan {
                precision,
                ..plan.clone()
            },
        );
    }
    let frozen = |phase: &ResolvedPhase| {
        let set = spec.trainable_set(&phase.trainable);
        set.is_ok_and(|set| set.first_stage > 0)
    };
    if plan.resolved_phases().iter().any(frozen) {
        let name = if plan.cache_activations {
            "frozen layers not kept"
        } else {
            "frozen layers kept"
        };
        add(
            name,
            Plan {
                cache_activations: !plan.cache_activations,
                ..plan.clone()
            },
        );
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{
        CacheUse, EpochMetrics, Pace, PaceRecorder, PhaseStart, TrainEvent, preset,
    };

    const IMAGES: SplitCounts = SplitCounts {
        train: 5298,
        validation: 1324,
        test: 1656,
    };
    const ROOM: Disk<'static> = Disk {
        free: 100_000_000_000,
        older: 0,
        pixels: 700_000_000,
        kept: &[],
    };

    fn cost(plan: &Plan, images: SplitCounts, disk: Disk<'_>, book: &PaceBook) -> TrainingCost {
        estimate(plan, 6, images, disk, 1, book).expect("a model")
    }

    #[test]
    fn the_parts_add_up() {
        let plan = preset("inception_three_phase").expect("a preset");
        let cost = cost(&plan, IMAGES, ROOM, &PaceBook::default());
        assert_eq!(cost.phases.len(), 3);
        let mut all = cost.cache_s + cost.answers_s;
        for (phase, (epochs, parameters)) in
            cost.phases
                .iter()
                .zip([(5, 12_294), (20, 5_168_326), (30, 13_636_358)])
        {
            assert_eq!((phase.epochs, phase.parameters), (epochs, parameters));
            assert!(phase.kept && phase.epoch_s > 0.0 && phase.cache_s > 0.0);
            assert!((phase.at_most_s - phase.epoch_s * epochs as f64).abs() < 1e-9);
            all += phase.at_most_s;
        }
        assert!((cost.at_most_s - all).abs() < 1e-6);
        // 2,048 numbers behind the body, 8 x 8 x 2048 before Mixed_7c, 17 x 17 x 768 before Mixed_6e.
        let bytes: Vec<u64> = cost
            .phases
            .iter()
            .map(|p| p.cache.map_or(0, |c| c.bytes))
            .collect();
        let rows = 5298 + 1324;
        assert_eq!(bytes, [2048, 131_072, 221_952].map(|n| rows * n * 2));
        assert_eq!(cost.disk.activations, bytes.iter().sum::<u64>());
        assert_eq!(cost.disk.model, 4 * 21_815_078);
        let shares: Vec<f64> = cost.phases.iter().map(|p| p.frozen_share).collect();
        assert!(
            shares[0] > shares[1] && shares[1] > shares[2] && shares[2] > 0.5,
            "{shares:?}"
        );
        assert_eq!(cost.source, Source::Estimated);
    }

    fn watched(plan: &Plan, epochs: &[(f64, f64)], cache: Option<CacheUse>) -> Vec<Pace> {
        let mut recorder = PaceRecorder::new(plan, 1);
        recorder.watch(&TrainEvent::Started {
            plan: Box::new(plan.clone()),
            classes: vec!["a".into(), "b".into()],
            train_counts: vec![5000, 298],
            validation_counts: vec![1300, 24],
            steps_per_epoch: 166,
            weights: None,
        });
        recorder.watch(&phase(plan, cache));
        for (index, (train_seconds, seconds)) in epochs.iter().enumerate() {
            recorder.watch(&epoch(index + 1, *train_seconds, *seconds));
        }
        recorder.paces()
    }

    fn phase(plan: &Plan, cache: Option<CacheUse>) -> TrainEvent {
        TrainEvent::Phase(PhaseStart {
            phase: 1,
            phases: 1,
            trainable: plan.resolved_phases()[0].trainable.clone(),
            parameters: 1,
            epochs: plan.epochs,
            epochs_before: 0,
            learning_rate: 1e-3,
            cache,
        })
    }

    fn epoch(epoch: usize, train_seconds: f64, seconds: f64) -> TrainEvent {
        TrainEvent::Epoch(Box::new(EpochMetrics {
            epoch,
            train_seconds,
            seconds,
            ..EpochMetrics::empty()
        }))
    }

    #[test]
    fn a_runs_own_epochs_give_back_its_minutes() {
        let plan = preset("cnn03").expect("a preset");
        let paces = watched(
            &plan,
            &[(30.0, 40.0), (12.0, 20.0), (13.0, 21.0), (12.5, 20.5)],
            None,
        );
        let mut book = PaceBook::default();
        book.add(Source::Run, paces);
        let again = cost(&plan, IMAGES, ROOM, &book);
        let phase = &again.phases[0];
        assert!((phase.epoch_s - 20.5).abs() < 1e-9, "{}", phase.epoch_s);
        assert!((phase.at_most_s - 2050.0).abs() < 1e-6);
        assert_eq!(phase.source, Source::Run);
        // Nothing said how long the answers at the end take.
        assert_eq!(again.source, Source::Estimated);
        // Half of the images to learn from, and as many to measure on.
        let fewer = SplitCounts {
            train: 2649,
            ..IMAGES
        };
        let fewer = cost(&plan, fewer, ROOM, &book);
        assert!((fewer.phases[0].epoch_s - (6.25 + 8.0)).abs() < 1e-9);
    }

    #[test]
    fn what_the_frozen_layers_took_is_given_back_too() {
        let plan = preset("inception_feature").expect("a preset");
        let used = CacheUse {
            estimate: CacheEstimate {
                images: 6622,
                bytes: 1,
                kept: 0,
                free: 10,
            },
            used: true,
            computed: 6622,
            seconds: 331.1,
            removed: 0,
        };
        let mut book = PaceBook::default();
        book.add(Source::Run, watched(&plan, &[(0.5, 0.75)], Some(used)));
        let cost = cost(&plan, IMAGES, ROOM, &book);
        assert!((cost.cache_s - 331.1).abs() < 1e-9);
        let epochs = plan.resolved_phases()[0].epochs as f64;
        assert!((cost.phases[0].at_most_s - 0.75 * epochs).abs() < 1e-9);
    }

    #[test]
    fn no_images_and_no_disk_are_no_trouble() {
        let plan = preset("inception_three_phase").expect("a preset");
        let nothing = cost(&plan, SplitCounts::default(), ROOM, &PaceBook::default());
        assert_eq!((nothing.at_most_s, nothing.disk.activations), (0.0, 0));
        let full = Disk {
            free: 0,
            older: 0,
            pixels: 1,
            kept: &[],
        };
        let cost = cost(&plan, IMAGES, full, &PaceBook::default());
        assert!(
            cost.phases
                .iter()
                .all(|p| !p.kept && p.cache.is_some() && p.cache_s == 0.0)
        );
        assert!(cost.at_most_s.is_finite() && cost.at_most_s > 0.0);
        // A training that never said how many images it has divides nothing by zero.
        let mut recorder = PaceRecorder::new(&plan, 1);
        recorder.watch(&phase(&plan, None));
        recorder.watch(&epoch(1, 2.0, 3.0));
        assert!(recorder.paces().iter().all(|p| p.learn_s.is_finite()));
        assert!(watched(&plan, &[], None).is_empty());
    }

    #[test]
    fn each_phase_may_take_half_of_the_disk_whatever_was_kept_before_it() {
        let plan = preset("inception_three_phase").expect("a preset");
        let roomy = self::cost(&plan, IMAGES, ROOM, &PaceBook::default());
        let rows = (IMAGES.train + IMAGES.validation) as u64;
        let with = |free, older| {
            let tight = Disk {
                free: free + 1000,
                older,
                pixels: 1000,
                kept: &[],
            };
            cost(&plan, IMAGES, tight, &PaceBook::default())
        };
        let kept = |cost: &TrainingCost| cost.phases.iter().map(|p| p.kept).collect::<Vec<_>>();
        // Room for twice what the second phase keeps, which is less than the third needs.
        let second = 2 * rows * 2 * 131_072;
        let tight = with(second, 0);
        assert_eq!(kept(&tight), [true, true, false]);
        // Either way: free, or freed by what was kept for other trainings.
        assert_eq!(kept(&with(0, second)), [true, true, false]);
        assert_eq!(kept(&with(0, second - 2)), [true, false, false]);
        assert!(tight.phases[2].epoch_s > roomy.phases[2].epoch_s);
        // What the second kept goes when the third needs the room.
        let third = roomy.phases[2].cache.expect("an estimate").bytes;
        let both = with(2 * third, 0);
        assert_eq!(kept(&both), [true, true, true]);
        assert_eq!(both.disk.activations, third);
        assert!(roomy.disk.activations > third);
    }

    #[test]
    fn what_is_kept_already_takes_neither_room_nor_time() {
        let plan = preset("inception_three_phase").expect("a preset");
        let rows = IMAGES.train + IMAGES.validation;
        let on_full = |kept: &[usize]| {
            let full = Disk {
                free: 1000,
                older: 0,
                pixels: 0,
                kept,
            };
            cost(&plan, IMAGES, full, &PaceBook::default())
        };
        let anew = on_full(&[]);
        assert!(anew.phases.iter().all(|p| !p.kept));
        let all = on_full(&[rows; 3]);
        assert!(all.phases.iter().all(|p| p.kept && p.cache_s == 0.0));
        assert_eq!((all.cache_s, all.disk.activations), (0.0, 0));
        assert!(all.at_most_s < anew.at_most_s);
        // Records of other images may lie there too; one that is missing needs room.
        let some = on_full(&[rows + 5, rows - 1]);
        let kept: Vec<bool> = some.phases.iter().map(|p| p.kept).collect();
        assert_eq!(kept, [true, false, false]);
        let missing = some.phases[1].cache.expect("an estimate").missing();
        assert_eq!(missing, 131_072 * 2);

        let half = Disk {
            kept: &[rows / 2; 3],
            ..ROOM
        };
        let half = cost(&plan, IMAGES, half, &PaceBook::default());
        let none = cost(&plan, IMAGES, ROOM, &PaceBook::default());
        assert!((half.cache_s - none.cache_s / 2.0).abs() < 1e-9 * none.cache_s);
        assert_eq!(half.disk.activations, none.disk.activations / 2);
    }

    #[test]
    fn other_choices_cost_more_and_less() {
        let plan = preset("inception_three_phase").expect("a preset");
        let book = PaceBook::default();
        let base = cost(&plan, IMAGES, ROOM, &book);
        let choices = other_choices(&plan);
        let of = |name: &str| {
            let (_, plan) = choices.iter().find(|(n, _)| n == name).expect(name);
            cost(plan, IMAGES, ROOM, &book)
        };
        assert!(of("at 128 px").at_most_s < base.at_most_s / 2.0);
        let changed = of("augmented");
        // Four variants of every training image, each sent through the frozen layers.
        assert!(changed.cache_s > base.cache_s * 3.0);
        assert!(changed.disk.activations > base.disk.activations * 3);
        let every = of("frozen layers not kept");
        assert!(every.at_most_s > base.at_most_s && every.disk.activations == 0);
        // What is kept of the images that were learned from serves their answers at the end, unless it is of
        // changed ones.
        assert!(every.answers_s > 1.5 * base.answers_s);
        assert!((changed.answers_s - every.answers_s).abs() < 1e-9);
        assert!(
            choices
                .iter()
                .all(|(name, other)| *other != plan && !name.is_empty())
        );
        // A network of patches is only offered sizes that it can read.
        let vit = other_choices(&preset("vit_head").expect("a preset"));
        assert!(vit.iter().all(|(_, plan)| plan.check().is_ok()), "{vit:?}");
    }
}
