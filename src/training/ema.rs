//! The exponential moving average of the weights.

use tch::{Tensor, nn};

/// Averages of the trainable variables. They answer better than the weights of any one step
/// (Polyak & Juditsky 1992).
pub struct Ema {
    decay: f64,
    /// Updates so far.
    pub(super) steps: u64,
    /// The variables themselves, and their averages.
    pairs: Vec<(Tensor, Tensor)>,
}

impl Ema {
    /// Starts at the present weights. `decay` is the weight of the past, `0..1`.
    #[must_use]
    pub fn new(variables: &nn::VarStore, decay: f64) -> Self {
        let pair = |t: Tensor| {
            let copy = t.detach().copy();
            (t, copy)
        };
        let trainable = variables.trainable_variables();
        Self {
            decay,
            steps: 0,
            pairs: trainable.into_iter().map(pair).collect(),
        }
    }

    /// The averages, in the order of the store's `trainable_variables`.
    pub fn averages(&self) -> impl Iterator<Item = &Tensor> {
        self.pairs.iter().map(|(_, average)| average)
    }

    /// The same, to be filled with those of another one of the same variables.
    pub fn averages_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.pairs.iter_mut().map(|(_, average)| average)
    }

    /// Takes in the weights after a step. The first steps forget faster, by (1 + n) / (10 + n) after n of
    /// them, as in TensorFlow's `ExponentialMovingAverage`.
    pub fn update(&mut self) {
        let n = self.steps as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        self.steps += 1;
        tch::no_grad(|| {
            for (variable, average) in &mut self.pairs {
                drop(average.lerp_(variable, 1.0 - decay));
            }
        });
    }

    /// Puts the averages where the weights are and the weights where the averages were; a second call
    /// undoes it.
    pub fn swap(&mut self) {
        tch::no_grad(|| {
            for (variable, average) in &mut self.pairs {
                let weights = variable.detach().copy();
                variable.copy_(average);
                average.copy_(&weights);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn};

    use super::*;

    #[test]
    fn the_average_follows_the_weights_and_swaps_back() {
        let variables = nn::VarStore::new(Device::Cpu);
        let mut weight = variables.root().zeros("w", &[1]);
        let mut ema = Ema::new(&variables, 0.5);
        let value = |t: &Tensor| t.double_value(&[0]);
        tch::no_grad(|| drop(weight.fill_(1.0)));
        // The first decay is (1 + 0) / (10 + 0), the second (1 + 1) / (10 + 1), then 0.5 is the limit.
        ema.update();
        ema.swap();
        assert!((value(&weight) - 0.9).abs() < 1e-6);
        ema.swap();
        assert_eq!(value(&weight), 1.0);
        for _ in 0..60 {
            ema.update();
        }
        ema.swap();
        assert!((value(&weight) - 1.0).abs() < 1e-6);
    }
}
