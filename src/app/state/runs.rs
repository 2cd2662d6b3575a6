//! The runs of the project.

use std::path::Path;

use crate::domain::{ClassId, ClassSet, CostMatrix};
use crate::evaluation::Report;
use crate::training::{Balance, Plan};
use crate::workflows::{RunSummary, UnfinishedRun};

/// Every run of the project, the newest first.
#[derive(Clone, Debug, Default)]
pub struct RunsState {
    runs: Vec<RunSummary>,
    /// What mistakes cost, and the words of the regular classes that the rows stand for.
    costs: Option<(Vec<String>, CostMatrix)>,
    /// Trainings that were interrupted, the newest first.
    pub unfinished: Vec<UnfinishedRun>,
    /// Whether the runs folder is being read.
    pub loading: bool,
}

impl RunsState {
    /// The runs folder has been read.
    pub fn set(&mut self, mut runs: Vec<RunSummary>) {
        runs.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.name.cmp(&a.name)));
        self.runs = runs;
        self.loading = false;
        self.reckon();
    }

    /// Mistakes cost this from now on. `classes` are those of the data set, drift last.
    pub fn set_cost(&mut self, classes: &ClassSet, cost: CostMatrix) {
        let regular = (0..classes.regular_len()).map(ClassId::from);
        let labels = regular.map(|class| classes.label(class).to_owned());
        self.costs = Some((labels.collect(), cost));
        self.reckon();
    }

    fn reckon(&mut self) {
        let Some((labels, cost)) = &self.costs else {
            return;
        };
        for run in self.runs.iter_mut().filter(|run| run.labels == *labels) {
            // Costs of as many classes as the run tells are enough: it cannot fail.
            run.report.set_cost(cost).unwrap_or_default();
        }
    }

    /// Whether the penalty-weighted accuracies of a run are by the costs of now. A run that tells other classes
    /// keeps those by the costs of its training.
    #[must_use]
    pub fn costs_are_of_now(&self, run: &RunSummary) -> bool {
        let costs = self.costs.as_ref();
        costs.is_none_or(|(labels, _)| run.labels == *labels)
    }

    /// A training has ended; a run of the same folder is replaced.
    pub fn add(&mut self, run: RunSummary) {
        let mut runs = std::mem::take(&mut self.runs);
        runs.retain(|r| r.dir != run.dir);
        runs.push(run);
        self.set(runs);
    }

    /// All runs, the newest first.
    #[must_use]
    pub fn all(&self) -> &[RunSummary] {
        &self.runs
    }

    /// The run in that folder.
    #[must_use]
    pub fn find(&self, dir: &Path) -> Option<&RunSummary> {
        self.runs.iter().find(|r| r.dir == dir)
    }
}

/// Where an interrupted training goes on, in words: `in epoch 4, after step 12`.
#[must_use]
pub fn goes_on(run: &UnfinishedRun) -> String {
    match run.progress {
        None => "from the beginning".to_owned(),
        Some(at) if at.steps == 0 => format!("with epoch {}", at.epochs + 1),
        Some(at) => format!("in epoch {}, after step {}", at.epochs + 1, at.steps),
    }
}

/// What sets a plan apart, in few words: `128 px · weights · groups by lib`.
#[must_use]
pub fn settings(plan: &Plan) -> String {
    let mut words = vec![format!("{} px", plan.size)];
    match plan.balance {
        Balance::None => {}
        Balance::Undersample => words.push("undersampled".to_owned()),
        Balance::Weights => words.push("class weights".to_owned()),
    }
    if let Some(n) = plan.train_per_class {
        words.push(format!("{n} a class"));
    }
    if let Some(column) = &plan.group_by {
        words.push(format!("groups by {column}"));
    }
    words.push(format!("seed {}", plan.seed));
    words.join(" · ")
}

/// The class with the lowest F1 of those that occur, and its F1.
#[must_use]
pub fn worst_class(report: &Report) -> Option<(&str, f64)> {
    report
        .per_class
        .iter()
        .filter(|c| c.metrics.support > 0)
        .min_by(|a, b| a.metrics.f1.total_cmp(&b.metrics.f1))
        .map(|c| (c.name.as_str(), c.metrics.f1))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::evaluation::ConfusionMatrix;
    use crate::training::Progress;

    fn run(created: &str, dir: &str) -> RunSummary {
        let rows = vec![vec![9, 1, 0], vec![3, 1, 0], vec![0, 0, 0]];
        let confusion = ConfusionMatrix::try_from(rows).expect("square");
        let names = ["GOOD", "Flat loop", "Missing"].map(String::from).to_vec();
        RunSummary {
            name: dir.to_owned(),
            dir: PathBuf::from(dir),
            plan: Plan::default(),
            created: created.to_owned(),
            best_epoch: 3,
            epochs: 10,
            seconds: 240.0,
            report: Report::new(names, confusion, &CostMatrix::challenge(), 1).expect("images"),
            warnings: Vec::new(),
            labels: Vec::new(),
            bf16_agreement: None,
        }
    }

    #[test]
    fn the_newest_run_stands_on_top_and_none_twice() {
        let mut state = RunsState {
            loading: true,
            ..RunsState::default()
        };
        state.set(vec![run("2026-03-01", "a"), run("2026-03-03", "c")]);
        assert!(!state.loading);
        state.add(run("2026-03-02", "b"));
        state.add(run("2026-03-04", "a"));
        let order: Vec<&str> = state.all().iter().map(|r| r.name.as_str()).collect();
        assert_eq!(order, ["a", "c", "b"]);
        assert!(state.find(Path::new("b")).is_some() && state.find(Path::new("d")).is_none());
    }

    #[test]
    fn runs_are_measured_by_the_costs_of_now_unless_they_tell_other_classes() {
        let classes = ClassSet::from_labels(["good", "flat", "missing"].map(String::from));
        let labels = ["good", "flat", "missing"].map(String::from).to_vec();
        let of_now = RunSummary {
            labels,
            ..run("2026-03-01", "now")
        };
        let mut state = RunsState::default();
        state.set(vec![of_now.clone(), run("2026-03-02", "other")]);
        let mut costs = vec![vec![1.0; 4]; 4];
        for (i, row) in costs.iter_mut().enumerate() {
            row[i] = 0.0;
        }
        let cost = CostMatrix::try_from(costs).expect("costs");
        state.set_cost(&classes, cost.clone());
        let measured = Report::new(
            of_now.report.classes.clone(),
            of_now.report.confusion.clone(),
            &cost,
            1,
        );
        let found = |state: &RunsState, name: &str| {
            let run = state.find(Path::new(name)).expect("a run");
            (run.report.clone(), state.costs_are_of_now(run))
        };
        // 4 mistakes of 14 images, at 1 each.
        assert_eq!(found(&state, "now"), (measured.expect("images"), true));
        assert!((found(&state, "now").0.pwa - 10.0 / 14.0).abs() < 1e-12);
        assert_eq!(found(&state, "other"), (of_now.report.clone(), false));
        // One that is trained or read later is no exception.
        let later = RunSummary {
            dir: PathBuf::from("later"),
            ..of_now.clone()
        };
        state.add(later);
        assert_eq!(found(&state, "later"), found(&state, "now"));
        state.set_cost(&classes, CostMatrix::challenge());
        assert_eq!(found(&state, "now"), (of_now.report, true));
    }

    #[test]
    fn the_worst_class_is_one_that_occurs() {
        let run = run("2026-03-01", "a");
        assert_eq!(worst_class(&run.report).map(|c| c.0), Some("Flat loop"));
    }

    #[test]
    fn an_interrupted_training_says_where_it_goes_on() {
        let at = |progress| UnfinishedRun {
            name: String::new(),
            dir: PathBuf::new(),
            plan: Plan::default(),
            created: String::new(),
            progress,
        };
        let progress = |epochs, steps| Some(Progress { epochs, steps });
        assert_eq!(goes_on(&at(None)), "from the beginning");
        assert_eq!(goes_on(&at(progress(3, 0))), "with epoch 4");
        assert_eq!(goes_on(&at(progress(3, 12))), "in epoch 4, after step 12");
    }

    #[test]
    fn settings_name_what_was_chosen() {
        let plan = Plan {
            balance: Balance::Weights,
            group_by: Some("lib".to_owned()),
            train_per_class: Some(20),
            ..Plan::default()
        };
        assert_eq!(
            settings(&plan),
            "128 px · class weights · 20 a class · groups by lib · seed 42"
        );
    }
}
