//! The plan that is being written before a training starts.

use super::words::sentence;
use crate::training::{Plan, PlanError, preset, preset_names};

/// A plan under the user's hands.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanForm {
    /// The preset it began as.
    pub preset: &'static str,
    /// What stands in the fields.
    pub plan: Plan,
    /// The plan as TOML while it is edited as text; it becomes the plan whenever it makes sense.
    pub text: Option<String>,
    /// Why the text makes no sense.
    text_problem: Option<PlanError>,
}

impl Default for PlanForm {
    fn default() -> Self {
        let name = preset_names().first().copied().unwrap_or_default();
        Self {
            preset: name,
            plan: preset(name).unwrap_or_default(),
            text: None,
            text_problem: None,
        }
    }
}

impl PlanForm {
    /// Fills the fields from a preset; the seed and the groups stay, because they belong to the data.
    pub fn choose(&mut self, name: &'static str) {
        if let Ok(plan) = preset(name) {
            self.preset = name;
            self.plan = Plan {
                seed: self.plan.seed,
                group_by: self.plan.group_by.take(),
                ..plan
            };
        }
    }

    /// Changes between fields and text.
    pub fn toggle_text(&mut self) {
        self.text = match self.text {
            None => Some(self.plan.to_toml()),
            Some(_) => None,
        };
        self.text_problem = None;
    }

    /// Takes in the text as it is now.
    pub fn type_text(&mut self, text: String) {
        match Plan::from_toml(&text) {
            Ok(plan) => {
                self.plan = plan;
                self.text_problem = None;
            }
            Err(error) => self.text_problem = Some(error),
        }
        self.text = Some(text);
    }

    /// Whether a field differs from the preset's, apart from seed and groups.
    #[must_use]
    pub fn edited(&self) -> bool {
        let same_data = |plan: Plan| Plan {
            seed: self.plan.seed,
            group_by: self.plan.group_by.clone(),
            ..plan
        };
        preset(self.preset).map(same_data).as_ref() != Ok(&self.plan)
    }

    /// What keeps the plan from being carried out, as a sentence.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let wrong = self.text_problem.clone();
        wrong
            .or_else(|| self.plan.check().err())
            .map(|error| sentence(&error.to_string()))
    }

    /// Models that some preset trains, in the presets' order.
    #[must_use]
    pub fn models() -> Vec<String> {
        let mut models: Vec<String> = Vec::new();
        for plan in preset_names()
            .into_iter()
            .filter_map(|name| preset(name).ok())
        {
            if !models.contains(&plan.model) {
                models.push(plan.model);
            }
        }
        models
    }

    /// Images of each class that the validation split will hold, about: a stratified split rounds.
    #[must_use]
    pub fn validation_counts(&self, labelled: &[usize]) -> Vec<usize> {
        labelled
            .iter()
            .map(|n| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of a count is a count"
                )]
                let share = (*n as f64 * self.plan.validation_share).round() as usize;
                share.min(*n)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_keeps_seed_and_groups() {
        let mut form = PlanForm::default();
        assert!(!form.edited());
        form.plan.seed = 7;
        form.plan.group_by = Some("lib".to_owned());
        form.choose("baseline");
        assert_eq!((form.preset, form.plan.seed), ("baseline", 7));
        assert_eq!(form.plan.group_by.as_deref(), Some("lib"));
        assert!(!form.edited());
        form.plan.batch += 1;
        assert!(form.edited());
        form.choose("no such preset");
        assert_eq!(form.preset, "baseline");
    }

    #[test]
    fn a_bad_value_is_a_sentence() {
        let mut form = PlanForm::default();
        assert_eq!(form.problem(), None);
        form.plan.patience = 0;
        assert_eq!(
            form.problem().as_deref(),
            Some("The plan says patience = 0, which must be 1 epoch or more.")
        );
    }

    #[test]
    fn a_plan_edited_as_text_counts_once_it_makes_sense() {
        let mut form = PlanForm::default();
        form.toggle_text();
        let text = form.text.clone().expect("text");
        form.type_text(text.replace("epochs = 100", "epochs = 0"));
        assert!(form.problem().is_some_and(|p| p.contains("epochs = 0")));
        assert_eq!(form.plan.epochs, 100);
        form.type_text(text.replace("epochs = 100", "epochs = 3"));
        assert_eq!((form.problem(), form.plan.epochs), (None, 3));
        form.toggle_text();
        assert_eq!(form.text, None);
    }

    #[test]
    fn models_are_named_once() {
        let models = PlanForm::models();
        let all = [
            "cnn03",
            "cnn02",
            "cnn01",
            "inception_v3",
            "efficientnet_v2_s",
            "vit_s14",
        ];
        assert_eq!(models, all);
    }

    #[test]
    fn the_validation_split_is_estimated() {
        let form = PlanForm::default();
        assert_eq!(form.validation_counts(&[71, 0, 1]), [11, 0, 0]);
    }
}
