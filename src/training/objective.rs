//! What a training step lowers.

use tch::{Device, Kind, Reduction, Tensor};

use super::{Balance, Loss, Plan};

/// The loss of a plan for given numbers of training images.
pub struct Objective {
    loss: Loss,
    gamma: f64,
    smoothing: f64,
    /// `[classes]`, where the plan weighs classes.
    class_weights: Option<Tensor>,
    /// `[classes]`: what is added to the logits, where the plan adjusts them.
    adjustment: Option<Tensor>,
}

impl Objective {
    /// The objective of `plan`; `counts` are the training images of each class.
    #[must_use]
    pub fn new(plan: &Plan, counts: &[usize], device: Device) -> Self {
        let tensor = |values: Vec<f32>| Tensor::from_slice(&values).to_device(device);
        let adjusted = plan.logit_adjustment > 0.0;
        Self {
            loss: plan.loss,
            gamma: plan.focal_gamma,
            smoothing: plan.label_smoothing,
            class_weights: (plan.balance == Balance::Weights)
                .then(|| tensor(balanced_weights(counts))),
            adjustment: adjusted.then(|| {
                let tau = plan.logit_adjustment;
                let scaled = log_prior(counts).into_iter().map(|l| (tau * l) as f32);
                tensor(scaled.collect())
            }),
        }
    }

    /// Mean loss of a batch from its logits `[batch, classes]` and class numbers `[batch]`. Where classes
    /// are weighed, the weighted mean, as PyTorch's `CrossEntropyLoss` takes it.
    pub fn loss(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let logits = logits.to_kind(Kind::Float);
        let logits = match &self.adjustment {
            Some(adjustment) => logits + adjustment,
            None => logits,
        };
        match self.loss {
            Loss::CrossEntropy => logits.cross_entropy_loss(
                targets,
                self.class_weights.as_ref(),
                Reduction::Mean,
                -100,
                self.smoothing,
            ),
            Loss::Focal => self.focal(&logits, targets),
        }
    }

    /// `-sum_k q_k (1 - p_k)^gamma log p_k` for the smoothed target q.
    fn focal(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let classes = logits.size()[1];
        let log_p = logits.log_softmax(1, Kind::Float);
        let fading = (log_p.exp() * -1.0 + 1.0).clamp_min(0.0);
        let wanted = targets.one_hot(classes).to_kind(Kind::Float) * (1.0 - self.smoothing)
            + self.smoothing / classes as f64;
        let losses = (wanted * fading.pow_tensor_scalar(self.gamma) * log_p).sum_dim_intlist(
            1,
            false,
            Kind::Float,
        ) * -1.0;
        match &self.class_weights {
            Some(weights) => {
                let weights = weights.index_select(0, targets);
                (losses * &weights).sum(Kind::Float) / weights.sum(Kind::Float)
            }
            None => losses.mean(Kind::Float),
        }
    }
}

/// n / (k * n_c), scikit-learn's `class_weight="balanced"`, k counting the classes that occur; a class
/// without images gets 0, which no loss ever reads.
fn balanced_weights(counts: &[usize]) -> Vec<f32> {
    let n: usize = counts.iter().sum();
    let k = counts.iter().filter(|c| **c > 0).count();
    let weight = |c: &usize| match *c {
        0 => 0.0,
        c => (n as f64 / (k * c) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

/// Log of each class's share of the training images; a class without any counts as half an image.
#[must_use]
pub fn log_prior(counts: &[usize]) -> Vec<f64> {
    let n = counts.iter().sum::<usize>().max(1) as f64;
    let share = |c: &usize| (*c as f64).max(0.5) / n;
    counts.iter().map(|c| share(c).ln()).collect()
}

/// The logits, up to a constant, that a network trained with logit adjustment means by its answers where the
/// classes are as frequent as they were in training: `log p + adjustment`, `adjustment` being tau times
/// [`log_prior`] (Menon et al. 2021, eq. 10: the network learned what is left once that is taken off). Costs are
/// weighed with these; without an adjustment, they are `log p`. Both are `[classes]`.
#[must_use]
pub fn unadjusted(probabilities: &[f32], adjustment: Option<&[f64]>) -> Vec<f32> {
    let log = |p: &f32| f64::from(p.max(f32::MIN_POSITIVE).ln());
    let added = |class: usize| adjustment.map_or(0.0, |a| a[class]);
    let classes = probabilities.iter().enumerate();
    classes.map(|(c, p)| (log(p) + added(c)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(plan: &Plan, counts: &[usize]) -> f64 {
        let logits = Tensor::from_slice2(&[[2.0_f32, -1.0, 0.5], [0.1, 0.2, -0.3]]);
        let targets = Tensor::from_slice(&[0_i64, 2]);
        Objective::new(plan, counts, Device::Cpu)
            .loss(&logits, &targets)
            .double_value(&[])
    }

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn an_adjustment_undone_gives_the_probabilities_where_classes_are_as_frequent_as_in_training() {
        let softmax = |logits: Vec<f64>| {
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            logits
                .into_iter()
                .map(|l| l.exp() / sum)
                .collect::<Vec<_>>()
        };
        let (counts, tau) = ([960, 30, 10], 0.7);
        let adjustment: Vec<f64> = log_prior(&counts).iter().map(|l| tau * l).collect();
        // What is true of an image, and what a network says that learned it with the adjustment added.
        let truth = [0.80_f64, 0.15, 0.05];
        let learned = truth.iter().zip(&adjustment).map(|(p, a)| p.ln() - a);
        let said: Vec<f32> = softmax(learned.collect())
            .iter()
            .map(|p| *p as f32)
            .collect();
        assert!(said[0] < said[1], "the rare classes are lifted: {said:?}");
        let undone = unadjusted(&said, Some(&adjustment));
        for (p, t) in softmax(undone.into_iter().map(f64::from).collect())
            .iter()
            .zip(truth)
        {
            assert!((p - t).abs() < 1e-6, "{p} is not {t}");
        }
        for (log, p) in unadjusted(&said, None).iter().zip(&said) {
            assert_close(f64::from(log.exp()), f64::from(*p));
        }
        assert!(unadjusted(&[1.0, 0.0], None).iter().all(|l| l.is_finite()));
    }

    #[test]
    fn class_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*8 + [1]*2 + [2]*2)
        assert_eq!(balanced_weights(&[8, 2, 2]), [0.5, 2.0, 2.0]);
        let absent = balanced_weights(&[3, 0, 1]);
        assert!((absent[0] - 4.0 / 6.0).abs() < 1e-6 && (absent[2] - 2.0).abs() < 1e-6);
        assert_eq!(
            (absent[1], balanced_weights(&[0, 0])),
            (0.0, vec![0.0, 0.0])
        );
    }

    #[test]
    fn focal_loss_without_an_exponent_is_cross_entropy() {
        for balance in [Balance::None, Balance::Weights] {
            for label_smoothing in [0.0, 0.1] {
                let plan = |loss, focal_gamma| Plan {
                    loss,
                    focal_gamma,
                    balance,
                    // PyTorch weighs the smoothed part of the target by its own classes.
                    label_smoothing: if balance == Balance::None {
                        label_smoothing
                    } else {
                        0.0
                    },
                    ..Plan::default()
                };
                let plain = loss(&plan(Loss::CrossEntropy, 2.0), &[5, 3, 2]);
                assert_close(loss(&plan(Loss::Focal, 0.0), &[5, 3, 2]), plain);
                assert!(loss(&plan(Loss::Focal, 2.0), &[5, 3, 2]) < plain);
            }
        }
    }

    #[test]
    fn focal_loss_is_the_papers() {
        let plan = Plan {
            loss: Loss::Focal,
            ..Plan::default()
        };
        let row = |z: [f64; 3], t: usize| {
            let sum: f64 = z.iter().map(|v| v.exp()).sum();
            let p = z[t].exp() / sum;
            -(1.0 - p).powi(2) * p.ln()
        };
        let expected = f64::midpoint(row([2.0, -1.0, 0.5], 0), row([0.1, 0.2, -0.3], 2));
        assert_close(loss(&plan, &[1, 1, 1]), expected);
    }

    #[test]
    fn smoothed_labels_and_weighted_classes_are_those_of_the_formulas() {
        let rows = [([2.0_f64, -1.0, 0.5], 0_usize), ([0.1, 0.2, -0.3], 2)];
        let log_softmax = |z: [f64; 3]| {
            let sum: f64 = z.iter().map(|v| v.exp()).sum();
            z.map(|v| v - sum.ln())
        };
        // Szegedy et al. 2016, section 7: a share of the target is spread evenly over all classes.
        let smoothed = Plan {
            label_smoothing: 0.3,
            ..Plan::default()
        };
        let of = |(z, t): ([f64; 3], usize)| {
            let log = log_softmax(z);
            -0.7 * log[t] - 0.3 * log.iter().sum::<f64>() / 3.0
        };
        let expected = f64::midpoint(of(rows[0]), of(rows[1]));
        assert_close(loss(&smoothed, &[1, 1, 1]), expected);
        // PyTorch's mean is weighted, too.
        let weighted = Plan {
            balance: Balance::Weights,
            ..Plan::default()
        };
        let weights: Vec<f64> = balanced_weights(&[7, 2, 1])
            .into_iter()
            .map(f64::from)
            .collect();
        let of = |(z, t): ([f64; 3], usize)| -weights[t] * log_softmax(z)[t];
        let expected = (of(rows[0]) + of(rows[1])) / (weights[0] + weights[2]);
        assert_close(loss(&weighted, &[7, 2, 1]), expected);
    }

    #[test]
    fn adjusted_logits_ask_more_of_rare_classes() {
        let plan = Plan {
            logit_adjustment: 1.0,
            ..Plan::default()
        };
        let prior = [0.7_f64, 0.2, 0.1];
        let row = |z: [f64; 3], t: usize| {
            let of = |k: usize| prior[k] * z[k].exp();
            -(of(t) / (of(0) + of(1) + of(2))).ln()
        };
        let expected = f64::midpoint(row([2.0, -1.0, 0.5], 0), row([0.1, 0.2, -0.3], 2));
        assert_close(loss(&plan, &[7, 2, 1]), expected);
    }
}
