//! What the plan in the fields will take.

use crate::training::{Plan, Setting, Source};
use crate::workflows::PlanCost;

use super::words::sentence;

/// How long a plan stays as it is before a few of its steps are timed, seconds.
const SETTLED_S: f64 = 1.0;
/// Longest trial that is started without being asked for, seconds.
const LONGEST_TRIAL_S: f64 = 45.0;

/// A question about a plan: the answer depends on the plan and on the labels.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    plan: Plan,
    /// Labelled images of each regular class.
    labelled: Vec<usize>,
}

/// What the plan in the fields will take, and what is known of how that is known.
#[derive(Clone, Debug, Default)]
pub struct CostState {
    asked: Option<Question>,
    /// When the plan became what it is, seconds of the window's clock.
    since: f64,
    /// Of the plan asked about last, or the one before while that is being reckoned.
    answer: Option<(Plan, Result<PlanCost, String>)>,
    /// What was timed already, or was not to be: not again without being asked for.
    tried: Vec<Vec<Setting>>,
    /// The trial that runs: its number, and how much of it is done, `0.0..=1.0`.
    pub trial: Option<(u64, f32)>,
}

impl CostState {
    /// Whether `plan` has to be reckoned now; it is taken for asked then.
    pub fn ask(&mut self, plan: &Plan, labelled: &[usize], now: f64) -> bool {
        let asked = self.asked.as_ref();
        if asked.is_some_and(|q| q.plan == *plan && q.labelled == labelled) {
            return false;
        }
        if asked.is_none_or(|q| q.plan != *plan) {
            self.since = now;
        }
        self.asked = Some(Question {
            plan: plan.clone(),
            labelled: labelled.to_vec(),
        });
        true
    }

    /// What was asked has been reckoned; an error keeps such a training from starting.
    pub fn set(&mut self, answer: Result<PlanCost, String>) {
        if let Some(question) = &self.asked {
            let answer = answer.map_err(|error| sentence(&error));
            self.answer = Some((question.plan.clone(), answer));
        }
    }

    /// Something was measured: what was reckoned before holds no more.
    pub fn forget(&mut self) {
        self.asked = None;
    }

    /// What `plan` will take, once that is known.
    #[must_use]
    pub fn of(&self, plan: &Plan) -> Option<&PlanCost> {
        self.known(plan)?.as_ref().ok()
    }

    /// What was known last, of whatever plan: for the eye, while a new one is being reckoned.
    #[must_use]
    pub fn latest(&self) -> Option<&PlanCost> {
        self.answer.as_ref()?.1.as_ref().ok()
    }

    /// What keeps `plan` from being trained by, as a sentence, once that is known.
    #[must_use]
    pub fn problem(&self, plan: &Plan) -> Option<String> {
        self.known(plan)?.as_ref().err().cloned()
    }

    fn known(&self, plan: &Plan) -> Option<&Result<PlanCost, String>> {
        let (of, answer) = self.answer.as_ref()?;
        (of == plan).then_some(answer)
    }

    /// Seconds until a trial of `plan` should be started by itself: where its pace is only estimated, it was
    /// not tried before, and a trial is short.
    #[must_use]
    pub fn trial_in(&self, plan: &Plan, now: f64) -> Option<f64> {
        let cost = self.of(plan)?;
        let due = cost.cost.source == Source::Estimated
            && cost.trial_s <= LONGEST_TRIAL_S
            && !self.tried.contains(&settings(cost));
        due.then(|| (self.since + SETTLED_S - now).max(0.0))
    }

    /// A trial of `plan` begins.
    pub fn trying(&mut self, plan: &Plan) {
        if let Some(settings) = self.of(plan).map(settings) {
            self.tried.push(settings);
        }
    }
}

fn settings(cost: &PlanCost) -> Vec<Setting> {
    let phases = cost.cost.phases.iter();
    phases.map(|phase| phase.setting.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{Disk, PaceBook, SplitCounts, estimate};

    const LABELLED: [usize; 2] = [50, 50];

    fn cost(plan: &Plan) -> PlanCost {
        let images = SplitCounts {
            train: 64,
            validation: 16,
            test: 20,
        };
        let disk = Disk {
            free: 1_000_000_000,
            older: 0,
            pixels: 0,
            kept: &[],
        };
        PlanCost {
            warnings: Vec::new(),
            cost: estimate(plan, 2, images, disk, 1, &PaceBook::default()).expect("a model"),
            machine: "a machine".to_owned(),
            choices: Vec::new(),
            trial_s: 3.0,
        }
    }

    #[test]
    fn a_plan_is_reckoned_once_until_something_changes() {
        let mut state = CostState::default();
        let plan = Plan::default();
        assert!(state.ask(&plan, &LABELLED, 0.0));
        assert!(!state.ask(&plan, &LABELLED, 1.0));
        assert!(state.ask(&plan, &[51, 50], 2.0), "another label");
        state.forget();
        assert!(state.ask(&plan, &[51, 50], 3.0), "another measurement");
        let other = Plan {
            size: 299,
            ..plan.clone()
        };
        state.set(Ok(cost(&plan)));
        assert!(state.of(&plan).is_some() && state.of(&other).is_none());
        assert!(state.ask(&other, &[51, 50], 4.0));
        assert!(state.of(&other).is_none() && state.latest().is_some());
    }

    #[test]
    fn what_keeps_a_training_from_starting_is_a_sentence() {
        let mut state = CostState::default();
        let plan = Plan::default();
        state.ask(&plan, &LABELLED, 0.0);
        state.set(Err("class \"dent\" has 1 image".to_owned()));
        let problem = state.problem(&plan).expect("a problem");
        assert_eq!(problem, "Class \"dent\" has 1 image.");
        let other = Plan { seed: 1, ..plan };
        assert_eq!(state.problem(&other), None);
    }

    #[test]
    fn a_trial_waits_until_the_plan_has_settled_and_is_not_repeated() {
        let mut state = CostState::default();
        let plan = Plan::default();
        assert_eq!(state.trial_in(&plan, 0.0), None);
        state.ask(&plan, &LABELLED, 10.0);
        state.set(Ok(cost(&plan)));
        assert_eq!(state.trial_in(&plan, 10.25), Some(0.75));
        assert_eq!(state.trial_in(&plan, 12.0), Some(0.0));
        state.trying(&plan);
        assert_eq!(state.trial_in(&plan, 12.0), None);
        // Another number of epochs has the same pace.
        let longer = Plan {
            epochs: 7,
            ..plan.clone()
        };
        state.ask(&longer, &LABELLED, 20.0);
        state.set(Ok(cost(&longer)));
        assert_eq!(state.trial_in(&longer, 30.0), None);
        let larger = Plan { size: 299, ..plan };
        state.ask(&larger, &LABELLED, 40.0);
        let mut long = cost(&larger);
        assert!(state.trial_in(&larger, 50.0).is_none(), "not reckoned yet");
        state.set(Ok(long.clone()));
        assert_eq!(state.trial_in(&larger, 50.0), Some(0.0));
        long.trial_s = 600.0;
        state.set(Ok(long));
        assert_eq!(state.trial_in(&larger, 50.0), None, "only when asked for");
    }
}
