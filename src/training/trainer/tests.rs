use super::*;
use crate::domain::ImageId;
use crate::training::{Augmentation, Balance, Loss, Phase, Sampler, Schedule};

const SIZE: u32 = 32;

/// Images of stripes: class 0 upright, class 1 level, with noise from the image's number.
struct Stripes(Vec<Vec<u8>>);

impl PixelSource for Stripes {
    fn pixels(&self, image: ImageId) -> &[u8] {
        &self.0[image.index()]
    }
}

fn stripes(n: usize) -> (Stripes, Vec<Example>) {
    let image = |i: usize| {
        let side = SIZE as usize;
        let value = |p: usize| {
            let (x, y) = (p % side, p / side);
            let along = if i.is_multiple_of(2) { x } else { y };
            let noise = (p * 31 + i * 17) % 23;
            (if (along / 4).is_multiple_of(2) {
                180
            } else {
                60
            }) + noise as u8
        };
        (0..side * side).map(value).collect()
    };
    let examples = (0..n).map(|i| Example {
        image: ImageId::from(i),
        class: ClassId::from(i % 2),
    });
    (Stripes((0..n).map(image).collect()), examples.collect())
}

fn data<'a>(pixels: &'a Stripes, examples: &[Example]) -> TrainData<'a> {
    let part = |from: usize, to: usize| examples[from..to].to_vec();
    TrainData {
        pixels,
        classes: vec!["upright".into(), "level".into()],
        train: part(0, 32),
        validation: part(32, 48),
        test: part(48, 64),
        cache: None,
        checkpoints: None,
    }
}

fn plan() -> Plan {
    Plan {
        size: SIZE,
        epochs: 6,
        batch: 8,
        patience: 6,
        monitor: Monitor::ValLoss,
        ..Plan::default()
    }
}

fn cost() -> CostMatrix {
    CostMatrix::try_from(vec![vec![0.0, 1.0], vec![1.0, 0.0]]).expect("square")
}

#[test]
fn a_network_learns_and_the_best_weights_are_the_ones_kept() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    let mut epochs = Vec::new();
    let fitted = fit(&plan(), &data, &cost(), &JobContext::detached(), &mut |e| {
        if let TrainEvent::Epoch(m) = e {
            epochs.push(m);
        }
    })
    .expect("trained");
    assert_eq!(fitted.report.macro_f1, 1.0);
    let best = &epochs[fitted.best_epoch - 1];
    assert!(epochs.iter().all(|e| e.val_loss >= best.val_loss));
    // Re-evaluating the restored weights gives the loss of the best epoch.
    let (_, loss) = evaluate(
        &fitted.model,
        &Feed::of_pixels(&pixels, &fitted.model),
        &data.validation,
    );
    assert!((loss - best.val_loss).abs() < 1e-6, "{loss}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    let run = |seed| {
        let plan = Plan {
            seed,
            epochs: 2,
            ..plan()
        };
        let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |_| {});
        let fitted = fitted.expect("trained");
        (fitted.history[1].train_loss, fitted.history[1].val_loss)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn stopping_keeps_the_best_so_far_and_cancelling_keeps_nothing() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    let stop_after_first_epoch = |reason| {
        let context = JobContext::detached();
        let control = context.control.clone();
        fit(&plan(), &data, &cost(), &context, &mut |e| {
            if matches!(e, TrainEvent::Epoch(_)) {
                control.stop(reason);
            }
        })
    };
    let kept = stop_after_first_epoch(StopReason::KeepBest).expect("kept");
    assert_eq!((kept.history.len(), kept.best_epoch), (1, 1));
    assert_eq!(kept.reason, "stopped by the user");
    let cancelled = stop_after_first_epoch(StopReason::Cancelled);
    assert!(matches!(cancelled, Err(TrainError::Cancelled)));
    let context = JobContext::detached();
    context.control.stop(StopReason::KeepBest);
    let nothing = fit(&plan(), &data, &cost(), &context, &mut |_| {});
    assert!(matches!(nothing, Err(TrainError::NothingToKeep)));
}

#[test]
fn an_exploding_loss_names_its_step() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    // No plan may say so; it makes the second step overflow whatever the data.
    let plan = Plan {
        learning_rate: 1e30,
        ..plan()
    };
    let mut epochs = 0;
    let exploded = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
        epochs += usize::from(matches!(e, TrainEvent::Epoch(_)));
    });
    let error = exploded
        .err()
        .expect("no result from a loss that is no number");
    assert!(
        matches!(
            error,
            TrainError::NotFinite {
                epoch: 1,
                step: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("learning rate") && epochs == 0,
        "{error}"
    );
}

#[test]
fn the_best_epoch_is_kept_when_the_loss_is_lost_though_the_state_on_disk_is_older() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pixels, examples) = stripes(64);
    let data = TrainData {
        // Hardly ever: after the first epoch no more.
        checkpoints: Some(Checkpoints {
            folder: folder.path().to_owned(),
            share: 1e-9,
        }),
        ..data(&pixels, &examples)
    };
    let (plan, context) = (plan(), JobContext::detached());
    let (model, _) = start(&plan, 2).expect("built");
    let mut training = Training::new(&plan, &data, &context, model, None);
    let phase = training.phases[0].clone();
    let set = training.model.spec.trainable_set("all").expect("a part");
    training.model.set_trainable(set);
    let feed = Feed::of_pixels(&pixels, &training.model);
    let mut course = training.course(0, &phase, feed);
    let best = |training: &Training<'_>| training.best.as_ref().expect("one").epoch;
    let mut epoch = |training: &mut Training<'_>| training.epoch(&mut course, &phase, &mut |_| {});
    epoch(&mut training).expect("an epoch");
    while best(&training) == 1 {
        epoch(&mut training).expect("an epoch");
    }
    tch::no_grad(|| {
        for mut weight in training.model.variables.trainable_variables() {
            drop(weight.fill_(f64::NAN));
        }
    });
    let lost = epoch(&mut training);
    assert!(matches!(lost, Err(TrainError::NotFinite { step: 1, .. })));
    let state = Checkpoint::read(folder.path()).expect("sound");
    assert_eq!(state.expect("written").history().len(), 1);
    let kept = Checkpoint::best_weights(folder.path()).expect("kept");
    let name = kept
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert_eq!(name, format!("best-{}.safetensors", best(&training)));
    Model::load("cnn03", SIZE, 2, &kept, Device::Cpu).expect("sound weights");
}

#[test]
fn a_network_whose_validation_loss_is_no_number_is_not_kept() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    // No plan may say so; it makes the second step overflow whatever the data.
    // One step an epoch: its own loss is still a number, what it leaves behind answers with none.
    let plan = Plan {
        epochs: 1,
        batch: 1024,
        learning_rate: 1e30,
        ..plan()
    };
    let mut losses = Vec::new();
    let broken = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
        if let TrainEvent::Epoch(epoch) = e {
            losses.push((
                epoch.train_loss.is_finite(),
                epoch.val_loss.is_finite(),
                epoch.best,
            ));
        }
    });
    let error = broken.err().expect("nothing to keep");
    assert_eq!(losses, [(true, false, false)]);
    assert!(
        matches!(error, TrainError::NeverFinite { epochs: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("learning rate"), "{error}");
}

/// A plan for a small InceptionV3 whose head is trained.
fn frozen(phases: &[&str]) -> Plan {
    Plan {
        model: "inception_v3".into(),
        size: FROZEN_SIZE,
        epochs: 2,
        batch: 8,
        phases: phases.iter().map(|p| Phase::of(p)).collect(),
        ..Plan::default()
    }
}

const FROZEN_SIZE: u32 = 76;

/// Images with noise enough to tell apart after a body of random weights.
fn noise(n: usize) -> (Stripes, Vec<Example>) {
    let side = FROZEN_SIZE as usize;
    let image = |i: usize| {
        let value = |p: usize| {
            let wave = if i.is_multiple_of(2) { p % 7 } else { p % 13 };
            ((p * 37 + i * 91) % 101 + wave * 11) as u8
        };
        (0..side * side).map(value).collect()
    };
    let examples = (0..n).map(|i| Example {
        image: ImageId::from(i),
        class: ClassId::from(i % 2),
    });
    (Stripes((0..n).map(image).collect()), examples.collect())
}

#[test]
fn only_the_part_that_learns_changes() {
    let (pixels, examples) = noise(28);
    let data = TrainData {
        train: examples[..16].to_vec(),
        validation: examples[16..22].to_vec(),
        test: examples[22..].to_vec(),
        ..data(&pixels, &noise(64).1)
    };
    let plan = frozen(&["head"]);
    let before = start(&plan, 2).expect("built").0.variables.variables();
    let mut parts = Vec::new();
    let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
        if let TrainEvent::Phase(part) = e {
            parts.push((part.trainable, part.parameters));
        }
    });
    let model = fitted.expect("trained").model;
    assert_eq!(parts, [("head".to_owned(), 2 * 2048 + 2)]);
    for (name, after) in model.variables.variables() {
        let same = (&before[&name] - &after).abs().max().double_value(&[]) == 0.0;
        assert_eq!(same, !name.starts_with(model.spec.head), "{name}");
    }
}

#[test]
fn every_method_trains_and_says_what_it_needs_later() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    let long = || Plan {
        epochs: 12,
        patience: 12,
        ..plan()
    };
    let plans = [
        Plan {
            loss: Loss::Focal,
            gradient_clip: 1.0,
            ..long()
        },
        Plan {
            ema_decay: 0.9,
            label_smoothing: 0.1,
            ..long()
        },
        Plan {
            // Little enough to be learned from few images; those that are measured on are never changed.
            augmentation: Augmentation {
                shift: 0.1,
                brightness: 0.2,
                ..Augmentation::default()
            },
            ..long()
        },
        Plan {
            schedule: Schedule::Cosine,
            warmup_epochs: 1.0,
            logit_adjustment: 1.0,
            ..long()
        },
        Plan {
            phases: vec![
                Phase::of("all"),
                Phase {
                    sampler: Some(Sampler::ClassBalanced),
                    reset_head: true,
                    learning_rate: Some(0.05),
                    ..Phase::of("head")
                },
            ],
            ..long()
        },
    ];
    for plan in plans {
        let mut epochs = Vec::new();
        let fitted = fit(&plan, &data, &cost(), &JobContext::detached(), &mut |e| {
            if let TrainEvent::Epoch(m) = e {
                epochs.push(m);
            }
        })
        .expect("trained");
        assert!(
            fitted.report.macro_f1 > 0.9,
            "{plan:?}: {}",
            fitted.report.macro_f1
        );
        assert_eq!(fitted.log_prior.is_some(), plan.logit_adjustment > 0.0);
        assert!(fitted.temperature.is_some_and(|t| t > 0.0));
        // What is kept is what was measured, averaged weights and all.
        let best = &epochs[fitted.best_epoch - 1];
        let feed = Feed::of_pixels(&pixels, &fitted.model);
        let (_, loss) = evaluate(&fitted.model, &feed, &data.validation);
        assert!((loss - best.val_loss).abs() < 1e-6, "{plan:?}: {loss}");
    }
}

/// Training and validation loss of each epoch, and its rate at the end.
fn course_of(plan: &Plan, data: &TrainData<'_>) -> Vec<[f64; 3]> {
    let fitted = fit(plan, data, &cost(), &JobContext::detached(), &mut |_| {}).expect("trained");
    let epochs = fitted.history.iter();
    epochs
        .map(|e| [e.train_loss, e.val_loss, e.learning_rate])
        .collect()
}

#[test]
fn each_method_by_itself_changes_what_is_learned() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    // Every other image of one class.
    let rare = |e: &Example| e.class.index() == 0 || e.image.index() % 4 == 1;
    let data = TrainData {
        train: data.train.iter().copied().filter(rare).collect(),
        ..data
    };
    let short = || Plan {
        epochs: 2,
        ..plan()
    };
    let phases = |second: Phase| Plan {
        phases: vec![Phase::of("all"), second],
        ..short()
    };
    let clip = |gradient_clip| Plan {
        gradient_clip,
        ..short()
    };
    let pairs = [
        (
            "focal loss",
            short(),
            Plan {
                loss: Loss::Focal,
                ..short()
            },
        ),
        (
            "class weights",
            short(),
            Plan {
                balance: Balance::Weights,
                ..short()
            },
        ),
        (
            "smoothing",
            short(),
            Plan {
                label_smoothing: 0.1,
                ..short()
            },
        ),
        (
            "adjustment",
            short(),
            Plan {
                logit_adjustment: 1.0,
                ..short()
            },
        ),
        (
            "averages",
            short(),
            Plan {
                ema_decay: 0.9,
                ..short()
            },
        ),
        (
            "warm-up",
            short(),
            Plan {
                warmup_epochs: 1.0,
                ..short()
            },
        ),
        (
            "cosine",
            short(),
            Plan {
                schedule: Schedule::Cosine,
                ..short()
            },
        ),
        (
            "augmentation",
            short(),
            Plan {
                augmentation: Augmentation::study(),
                ..short()
            },
        ),
        // Both go the same way but for the limit.
        ("clipping", clip(1000.0), clip(1e-2)),
        (
            "sampler",
            phases(Phase::of("all")),
            phases(Phase {
                sampler: Some(Sampler::ClassBalanced),
                ..Phase::of("all")
            }),
        ),
        (
            "new head",
            phases(Phase::of("head")),
            phases(Phase {
                reset_head: true,
                ..Phase::of("head")
            }),
        ),
    ];
    for (method, plain, with) in pairs {
        let (plain, with) = (course_of(&plain, &data), course_of(&with, &data));
        let losses = |course: &[[f64; 3]]| course.iter().map(|e| [e[0], e[1]]).collect::<Vec<_>>();
        assert_ne!(losses(&plain), losses(&with), "{method}");
    }
    let rates = |plan: &Plan| {
        course_of(plan, &data)
            .iter()
            .map(|e| e[2])
            .collect::<Vec<_>>()
    };
    let falling = rates(&Plan {
        schedule: Schedule::Cosine,
        warmup_epochs: 1.0,
        epochs: 4,
        ..plan()
    });
    assert!(
        falling.is_sorted_by(|a, b| a > b) && falling.len() == 4,
        "{falling:?}"
    );
    assert!(
        (falling[0] - plan().learning_rate).abs() < 1e-12,
        "{falling:?}"
    );
}

#[test]
fn a_later_phase_begins_at_the_best_epoch_of_the_one_before() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    // So quick that an epoch is often worse than the one before; then so slow that nothing moves.
    let phase = |part: &str, learning_rate, epochs| Phase {
        learning_rate: Some(learning_rate),
        epochs: Some(epochs),
        ..Phase::of(part)
    };
    let run = |seed| {
        let plan = Plan {
            seed,
            phases: vec![phase("all", 0.03, 4), phase("head", 1e-12, 1)],
            ..plan()
        };
        course_of(&plan, &data)
            .iter()
            .map(|e| e[1])
            .collect::<Vec<f64>>()
    };
    let best_of = |losses: &[f64]| losses[..4].iter().copied().fold(f64::INFINITY, f64::min);
    let ended_worse = (1..20).map(run).find(|l| l[3] > best_of(l) + 0.05);
    let losses = ended_worse.expect("one whose last epoch is not its best");
    assert!((losses[4] - best_of(&losses)).abs() < 1e-3, "{losses:?}");
}

#[test]
fn what_a_drawn_head_brings_replaces_what_was_better_by_another_head() {
    let (pixels, examples) = stripes(64);
    let data = data(&pixels, &examples);
    let phase = |learning_rate, reset_head| Phase {
        learning_rate: Some(learning_rate),
        epochs: Some(3),
        reset_head,
        ..Phase::of("all")
    };
    let fitted = |reset_head| {
        let plan = Plan {
            // The second hardly moves: with a head drawn anew it stays far worse than the first.
            phases: vec![phase(0.003, false), phase(1e-7, reset_head)],
            ..plan()
        };
        let context = JobContext::detached();
        let fitted = fit(&plan, &data, &cost(), &context, &mut |_| {}).expect("trained");
        let losses: Vec<f64> = fitted.history.iter().map(|e| e.val_loss).collect();
        (fitted.best_epoch, losses)
    };
    let (best, losses) = fitted(true);
    let of_the_first = losses[..3].iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses[3..].iter().all(|l| *l > of_the_first), "{losses:?}");
    assert!(best > 3, "{best}: {losses:?}");
    // With its own head the phase has to be better to count.
    let (best, losses) = fitted(false);
    let lowest = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    assert_eq!(Some(best - 1), lowest, "{losses:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn without_room_the_frozen_layers_run_in_every_epoch() {
    let (pixels, examples) = noise(28);
    let part = |from: usize, to: usize| examples[from..to].to_vec();
    let data = TrainData {
        train: part(0, 16),
        validation: part(16, 22),
        test: part(22, 28),
        // A disk of no size.
        cache: Some("/proc/driftscope".into()),
        ..data(&pixels, &noise(64).1)
    };
    let mut said = None;
    let fitted = fit(
        &frozen(&["head"]),
        &data,
        &cost(),
        &JobContext::detached(),
        &mut |e| {
            if let TrainEvent::Phase(part) = e {
                said = part.cache;
            }
        },
    );
    assert_eq!(fitted.expect("trained").history.len(), 2);
    let cache = said.expect("wanted");
    assert!(!cache.used && cache.computed == 0, "{cache:?}");
    assert!(cache.estimate.missing() > 0 && !cache.estimate.fits());
}
