//! The optimizer. It stands with the networks because some of their layers update their own weights
//! while the gradient is at hand.

use driftscope_kernels as kernels;
use tch::{Kind, Tensor};

use super::values::{is_plain, values, values_mut};

/// Adam (Kingma & Ba 2015) as in libtorch: beta1 0.9, beta2 0.999, epsilon 1e-8. On the CPU one pass over
/// the values in memory; elsewhere libtorch's operators.
pub struct Adam {
    learning_rate: f64,
    /// Largest norm of all gradients together.
    most_norm: Option<f64>,
    slots: Vec<Slot>,
}

/// A variable and what Adam remembers of it.
pub(super) struct Slot {
    pub(super) variable: Tensor,
    /// Running mean of the gradient.
    pub(super) mean: Tensor,
    /// Running mean of its square.
    pub(super) variance: Tensor,
    /// Updates so far.
    steps: i32,
    /// Whether it had its update in this step.
    updated: bool,
}

impl Adam {
    /// Will update `variables` (fp32) at `learning_rate`.
    #[must_use]
    pub fn new(variables: Vec<Tensor>, learning_rate: f64) -> Self {
        let slot = |variable: Tensor| Slot {
            mean: variable.detach().zeros_like(),
            variance: variable.detach().zeros_like(),
            variable,
            steps: 0,
            updated: false,
        };
        Self {
            learning_rate,
            most_norm: None,
            slots: variables.into_iter().map(slot).collect(),
        }
    }

    /// The rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    /// From now on gradients whose norm, all together, is above `most` are scaled down to it (Pascanu et al.
    /// 2013, algorithm 1). Layers that update themselves are not seen here: ask the model to keep gradients.
    pub fn limit_norm(&mut self, most: f64) {
        self.most_norm = Some(most);
    }

    /// What it remembers of each variable, in the order in which they were given: the running means of the
    /// gradient and of its square, and the number of updates.
    pub fn memory(&self) -> impl Iterator<Item = (&Tensor, &Tensor, i32)> {
        let slots = self.slots.iter();
        slots.map(|slot| (&slot.mean, &slot.variance, slot.steps))
    }

    /// The same, to be filled with what another one of the same variables remembered: this one then goes on
    /// where that one stopped.
    pub fn memory_mut(&mut self) -> impl Iterator<Item = (&mut Tensor, &mut Tensor, &mut i32)> {
        let slots = self.slots.iter_mut();
        slots.map(|slot| (&mut slot.mean, &mut slot.variance, &mut slot.steps))
    }

    /// Forgets all gradients: a new step.
    pub(super) fn begin(&mut self) {
        for slot in &mut self.slots {
            slot.variable.zero_grad();
            slot.updated = false;
        }
    }

    /// Updates what has a gradient and was not updated in this step.
    pub(super) fn finish(&mut self) {
        if let Some(most) = self.most_norm {
            self.scale_down(most);
        }
        for slot in &mut self.slots {
            let gradient = slot.variable.grad();
            if !slot.updated && gradient.defined() && slot.variable.requires_grad() {
                let step = slot.next(self.learning_rate);
                if is_plain(&slot.variable) {
                    slot.update_values(values(&gradient.contiguous()), &step);
                } else {
                    slot.update_by_operators(&gradient, &step);
                }
            }
        }
    }

    fn scale_down(&self, most: f64) {
        let gradients: Vec<Tensor> = self
            .slots
            .iter()
            .map(|slot| slot.variable.grad())
            .filter(Tensor::defined)
            .collect();
        let square = |g: &Tensor| g.square().sum(Kind::Double).double_value(&[]);
        let norm = gradients.iter().map(square).sum::<f64>().sqrt();
        if norm > most {
            for mut gradient in gradients {
                gradient *= most / norm;
            }
        }
    }

    /// Updates `variable` from the values of a gradient computed outside autograd.
    ///
    /// # Panics
    /// When it is not one of the variables, or not in the CPU's memory.
    pub(super) fn update(&mut self, variable: &Tensor, gradient: &[f32]) {
        let (step, slot) = self.take(variable);
        slot.update_values(gradient, &step);
    }

    /// For a layer that updates `variable` itself: the step to take, and what to take it on.
    ///
    /// # Panics
    /// When it is not one of the variables.
    pub(super) fn take(&mut self, variable: &Tensor) -> (kernels::Adam, &mut Slot) {
        let place = variable.data_ptr();
        let same = |slot: &&mut Slot| slot.variable.data_ptr() == place;
        let slot = self.slots.iter_mut().find(same);
        let slot = slot.expect("every variable that is learnt is optimized");
        (slot.next(self.learning_rate), slot)
    }
}

impl Slot {
    /// Counts an update.
    fn next(&mut self, learning_rate: f64) -> kernels::Adam {
        self.steps += 1;
        self.updated = true;
        kernels::Adam::new(learning_rate, self.steps)
    }

    fn update_values(&mut self, gradient: &[f32], step: &kernels::Adam) {
        kernels::adam(
            step,
            gradient,
            values_mut(&mut self.variable),
            values_mut(&mut self.mean),
            values_mut(&mut self.variance),
            threads(),
        );
    }

    /// The same by libtorch's operators, for variables that lie elsewhere.
    fn update_by_operators(&mut self, gradient: &Tensor, step: &kernels::Adam) {
        tch::no_grad(|| {
            self.mean *= f64::from(step.beta1);
            self.mean += gradient * f64::from(step.rest1);
            self.variance *= f64::from(step.beta2);
            self.variance += gradient.square() * f64::from(step.rest2);
            let below = self.variance.sqrt() * f64::from(step.correction) + f64::from(step.epsilon);
            self.variable -= &self.mean / below * f64::from(step.rate);
        });
    }
}

/// Threads of the CPU to work with: as many as libtorch's operators.
pub(super) fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn, nn::OptimizerConfig as _};

    use super::*;

    /// A loss with gradients of many sizes, small ones among them.
    fn loss(variable: &Tensor, step: i64) -> Tensor {
        let n = variable.numel() as i64;
        let scale =
            Tensor::from_slice(&(0..n).map(|i| i as f32).collect::<Vec<_>>()).view_as(variable);
        let target = (scale.shallow_clone() * 0.37 + step).sin();
        ((variable - target).square() * (scale / n as f64 * -12.0).exp()).sum(Kind::Float)
    }

    #[test]
    fn gradients_above_the_norm_are_scaled_down_to_it_together_and_others_left() {
        let store = nn::VarStore::new(Device::Cpu);
        let variables = [store.root().zeros("a", &[2]), store.root().zeros("b", &[1])];
        let gradients = [[2.0_f32, 3.0].as_slice(), &[6.0]];
        let clipped = |most: f64| {
            let mut adam = Adam::new(store.trainable_variables(), 1e-3);
            adam.limit_norm(most);
            adam.begin();
            for (variable, gradient) in variables.iter().zip(gradients) {
                let sum = (variable * Tensor::from_slice(gradient)).sum(Kind::Float);
                sum.backward();
            }
            adam.scale_down(most);
            let all = variables.iter().map(|v| v.grad().copy());
            all.flat_map(|g| Vec::<f32>::try_from(g).expect("values"))
                .collect::<Vec<f32>>()
        };
        // Of norm 7.
        let close = |found: &[f32], expected: [f32; 3]| {
            let wrong = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(wrong.fold(0.0, f32::max) < 1e-6, "{found:?}");
        };
        close(&clipped(8.0), [2.0, 3.0, 6.0]);
        close(&clipped(3.5), [1.0, 1.5, 3.0]);
    }

    #[test]
    fn twenty_steps_are_those_of_libtorch() {
        // Not a multiple of any vector, and more than one part.
        let shape = [3, 40_009];
        let variables = || {
            let store = nn::VarStore::new(Device::Cpu);
            let variable = store.root().zeros("w", &shape);
            (store, variable)
        };
        let (ours, theirs, operators) = (variables(), variables(), variables());
        let mut adam = Adam::new(ours.0.trainable_variables(), 1e-2);
        let mut by_operators = Adam::new(operators.0.trainable_variables(), 1e-2);
        let mut libtorch = nn::Adam::default().build(&theirs.0, 1e-2).expect("built");
        for step in 0..20 {
            adam.begin();
            loss(&ours.1, step).backward();
            adam.finish();
            libtorch.backward_step(&loss(&theirs.1, step));
            let slot = &mut by_operators.slots[0];
            slot.variable.zero_grad();
            loss(&slot.variable, step).backward();
            let next = slot.next(1e-2);
            let gradient = slot.variable.grad();
            slot.update_by_operators(&gradient, &next);
        }
        let size = theirs.1.abs().max().double_value(&[]);
        for other in [&ours.1, &operators.1] {
            let wrong = (other - &theirs.1).abs().max().double_value(&[]);
            assert!(wrong < 1e-6 * size, "{wrong} of {size}");
        }
    }
}
