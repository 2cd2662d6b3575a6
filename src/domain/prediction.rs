//! What a model says of one image.

use serde::{Deserialize, Serialize};

use super::ClassId;

/// A model's probabilities for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// One per regular class, in the order of the class set; they sum to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The most probable class (the first of equals) and its probability. An empty prediction, which
    /// no model makes, reads as class 0 with probability 0.
    #[must_use]
    pub fn top(&self) -> (ClassId, f32) {
        let mut best = (0, f32::NEG_INFINITY);
        for (index, p) in self.probabilities.iter().enumerate() {
            if *p > best.1 {
                best = (index, *p);
            }
        }
        (ClassId::from(best.0), best.1.max(0.0))
    }

    /// The most probable class.
    #[must_use]
    pub fn class(&self) -> ClassId {
        self.top().0
    }

    /// Probability of `class`; 0 for one the model does not know, such as drift.
    #[must_use]
    pub fn of(&self, class: ClassId) -> f32 {
        self.probabilities
            .get(class.index())
            .copied()
            .unwrap_or(0.0)
    }

    /// Difference between the two largest probabilities: 1 is certain, 0 a coin toss.
    #[must_use]
    pub fn margin(&self) -> f32 {
        let (mut first, mut second) = (0.0_f32, 0.0_f32);
        for p in &self.probabilities {
            if *p > first {
                second = first;
                first = *p;
            } else if *p > second {
                second = *p;
            }
        }
        first - second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_and_margin() {
        let p = Prediction {
            probabilities: vec![0.1, 0.6, 0.3],
        };
        assert_eq!(p.top(), (ClassId(1), 0.6));
        assert!((p.margin() - 0.3).abs() < 1e-6);
        assert_eq!(p.of(ClassId(6)), 0.0);
        let even = Prediction {
            probabilities: vec![0.5, 0.5],
        };
        assert_eq!(even.class(), ClassId(0));
    }
}
