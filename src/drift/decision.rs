//! From probabilities to an answer.

use serde::{Deserialize, Serialize};

use crate::domain::{ClassId, CostMatrix};

/// What the program says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A regular class.
    Class(ClassId),
    /// None of the regular classes; holds the drift class.
    Drift(ClassId),
    /// A person should look: the cheapest answer is not the most probable one, so that it only hedges between
    /// costly mistakes, or it is expected to cost more than a look. Holds that answer, for files that must name
    /// one.
    NeedsReview(ClassId),
}

impl Decision {
    /// The class to write where one must be named.
    #[must_use]
    pub fn answer(self) -> ClassId {
        match self {
            Self::Class(class) | Self::Drift(class) | Self::NeedsReview(class) => class,
        }
    }
}

/// Probabilities of all classes, drift last, from the probability of drift and those of the regular
/// classes given that it is none: `[(1 - p) q₀, …, (1 - p) qₖ₋₁, p]`. They sum to 1 where `regular` does.
/// `p_drift` is kept within `[0, 1]`.
#[must_use]
pub fn combine(p_drift: f64, regular: &[f32]) -> Vec<f64> {
    let p = p_drift.clamp(0.0, 1.0);
    regular
        .iter()
        .map(|q| (1.0 - p) * f64::from(*q))
        .chain([p])
        .collect()
}

/// A probability of drift by a head that was fitted as if both kinds were as frequent, for a share `rate` of
/// drift: its log-odds plus those of the rate (Elkan, "The Foundations of Cost-Sensitive Learning", 2001,
/// theorem 2). Both lie in `[0, 1]`.
#[must_use]
pub fn prior_shifted(p: f64, rate: f64) -> f64 {
    let odds = p / (1.0 - p).max(1e-12) * rate / (1.0 - rate).max(1e-12);
    odds / (1.0 + odds)
}

/// The answer with the smallest expected cost (the first of equals) under calibrated `probabilities` of
/// all classes, drift last. It is [`Decision::NeedsReview`] where another class is more probable: under
/// the challenge's costs a defect is then named only because it is never very wrong.
#[must_use]
pub fn cheapest(cost: &CostMatrix, probabilities: &[f64]) -> Decision {
    let answer = first_best(cost.expected(probabilities).into_iter().map(|c| -c));
    let likeliest = first_best(probabilities.iter().copied());
    let class = ClassId::from(answer);
    if probabilities.get(answer) < probabilities.get(likeliest) {
        Decision::NeedsReview(class)
    } else if answer + 1 == cost.len() {
        Decision::Drift(class)
    } else {
        Decision::Class(class)
    }
}

/// Drift from `threshold` on, else the most probable regular class (the first of equals). The drift class
/// is the one after the regular ones.
#[must_use]
pub fn gate(p_drift: f64, threshold: f64, regular: &[f32]) -> Decision {
    if p_drift >= threshold {
        Decision::Drift(ClassId::from(regular.len()))
    } else {
        Decision::Class(ClassId::from(first_best(
            regular.iter().map(|p| f64::from(*p)),
        )))
    }
}

/// What `answer` is expected to cost under `probabilities` of all classes, drift last, more than knowing the truth
/// would: 0 or more wherever the right answer is the cheapest one.
///
/// # Panics
/// For an answer of another set of classes than that of `cost`.
#[must_use]
pub fn regret(cost: &CostMatrix, probabilities: &[f64], answer: ClassId) -> f64 {
    let parts = probabilities
        .iter()
        .take(cost.len())
        .enumerate()
        .map(|(actual, p)| {
            let actual = ClassId::from(actual);
            p * (cost.cost(actual, answer) - cost.cost(actual, actual))
        });
    parts.sum()
}

/// `decision`, unless its [`regret`] exceeds `look`, what it costs to have a person look: that is then the cheaper
/// choice (Chow, "On optimum recognition error and reject tradeoff", 1970), and the image needs review.
#[must_use]
pub fn with_look(decision: Decision, regret: f64, look: f64) -> Decision {
    if regret > look {
        Decision::NeedsReview(decision.answer())
    } else {
        decision
    }
}

/// Position of the largest value; 0 for none.
fn first_best(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, value) in values.enumerate() {
        if value > best.1 {
            best = (at, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distribution() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0.0..1.0_f64, 7).prop_map(|v| {
            // Cubed, so that sure answers come up too.
            let v: Vec<f64> = v.iter().map(|p| p.powi(3) + 1e-9).collect();
            let sum: f64 = v.iter().sum();
            v.iter().map(|p| p / sum).collect()
        })
    }

    #[test]
    fn the_challenges_costs_want_near_certainty_of_good() {
        let cost = CostMatrix::challenge();
        let of = |good: f64, flat: f64, drift: f64| {
            cheapest(&cost, &[good, flat, 0.0, 0.0, 0.0, 0.0, drift])
        };
        assert_eq!(of(0.995, 0.005, 0.0), Decision::Class(ClassId(0)));
        assert_eq!(of(0.98, 0.02, 0.0), Decision::NeedsReview(ClassId(1)));
        assert_eq!(of(0.0, 0.9, 0.1), Decision::Class(ClassId(1)));
        assert_eq!(of(0.0, 0.4, 0.6), Decision::Drift(ClassId(6)));
        // Drift needs d > q + 9.9 g.
        assert_eq!(of(0.1, 0.1, 0.8), Decision::NeedsReview(ClassId(1)));
    }

    #[test]
    fn the_gate_opens_at_its_threshold() {
        let regular = [0.2, 0.5, 0.3];
        assert_eq!(gate(0.5, 0.5, &regular), Decision::Drift(ClassId(3)));
        assert_eq!(gate(0.49, 0.5, &regular), Decision::Class(ClassId(1)));
    }

    #[test]
    fn a_look_is_taken_where_it_is_cheaper_than_any_answer() {
        let cost = CostMatrix::challenge();
        // Flat loop in all likelihood; drift would cost 1,000, so the answer is expected to cost 1,000 times that.
        let of = |drift: f64, look: f64| {
            let p = [0.0, 1.0 - drift, 0.0, 0.0, 0.0, 0.0, drift];
            let answer = cheapest(&cost, &p);
            with_look(answer, regret(&cost, &p, answer.answer()), look)
        };
        assert_eq!(of(0.05, 100.0), Decision::Class(ClassId(1)));
        assert_eq!(of(0.2, 100.0), Decision::NeedsReview(ClassId(1)));
        assert_eq!(of(0.2, 1e9), Decision::Class(ClassId(1)));
        assert_eq!(of(0.95, 100.0), Decision::Drift(ClassId(6)));
        assert_eq!(of(0.8, 100.0), Decision::NeedsReview(ClassId(6)));
    }

    proptest! {
        /// Of answering and looking, the cheaper is done.
        #[test]
        fn with_a_look_no_choice_is_cheaper(
            p in distribution(), cells in prop::collection::vec(0.0..100.0_f64, 49), look in 0.0..60.0_f64,
        ) {
            let rows: Vec<Vec<f64>> = cells.chunks_exact(7).map(<[f64]>::to_vec).collect();
            let cost = CostMatrix::try_from(rows.clone()).expect("costs");
            let known: f64 = (0..7).map(|a| p[a] * rows[a][a]).sum();
            let price = |answer: usize| -> f64 { (0..7).map(|a| p[a] * rows[a][answer]).sum() };
            let best = (0..7).map(price).fold(f64::INFINITY, f64::min);
            let answer = cheapest(&cost, &p).answer();
            let regret = regret(&cost, &p, answer);
            prop_assert!((regret - (best - known)).abs() < 1e-9);
            let decided = with_look(Decision::Class(answer), regret, look);
            let paid = match decided {
                Decision::NeedsReview(_) => known + look,
                _ => price(answer.index()),
            };
            prop_assert!(paid <= best.min(known + look) + 1e-9);
            prop_assert_eq!(decided.answer(), answer);
        }

        /// A higher threshold turns drift into a regular answer and nothing else, for what lies between the two.
        #[test]
        fn a_raised_threshold_only_lets_pass(
            p in 0.0..=1.0_f64, q in distribution(), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64, at_score in any::<bool>(),
        ) {
            let q: Vec<f32> = q.iter().map(|v| *v as f32).collect();
            // A threshold that is a score is where one is easily on the wrong side.
            let (low, high) = if at_score { (a.min(p), p) } else { (a.min(b), a.max(b)) };
            let (before, after) = (gate(p, low, &q), gate(p, high, &q));
            let is_drift = |decision| matches!(decision, Decision::Drift(_));
            prop_assert!(is_drift(before) || !is_drift(after), "{:?} became {:?}", before, after);
            prop_assert_eq!(before != after, low <= p && p < high);
        }

        #[test]
        fn combined_probabilities_are_probabilities(p in -0.5..1.5_f64, q in distribution()) {
            let q: Vec<f32> = q.iter().map(|v| *v as f32).collect();
            let all = combine(p, &q);
            prop_assert_eq!(all.len(), 8);
            prop_assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-5);
            prop_assert!(all.iter().all(|v| (0.0..=1.0).contains(v)));
        }

        /// Bayes' rule: the densities of both kinds stay, their shares change from one half to `rate`.
        #[test]
        fn a_shifted_prior_is_bayes(a in 0.01..1.0_f64, b in 0.01..1.0_f64, rate in 0.01..0.99_f64) {
            let expected = rate * a / (rate * a + (1.0 - rate) * b);
            prop_assert!((prior_shifted(a / (a + b), rate) - expected).abs() < 1e-9);
            prop_assert!((prior_shifted(a, 0.5) - a).abs() < 1e-9);
        }

        #[test]
        fn no_answer_is_cheaper(
            p in distribution(), cells in prop::collection::vec(0.0..100.0_f64, 49),
        ) {
            let rows: Vec<Vec<f64>> = cells.chunks_exact(7).map(<[f64]>::to_vec).collect();
            let cost = CostMatrix::try_from(rows.clone()).expect("costs");
            let price = |answer: usize| -> f64 {
                (0..7).map(|actual| p[actual] * rows[actual][answer]).sum()
            };
            let chosen = cheapest(&cost, &p);
            let best = (0..7).map(price).fold(f64::INFINITY, f64::min);
            prop_assert!((price(chosen.answer().index()) - best).abs() < 1e-9);
            let largest = p.iter().copied().fold(0.0, f64::max);
            let hedges = p[chosen.answer().index()] < largest;
            prop_assert_eq!(matches!(chosen, Decision::NeedsReview(_)), hedges);
        }
    }
}
