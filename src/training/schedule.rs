//! The learning rate of each step.

use super::Schedule;

/// The rate of step `step` (from 0) of `steps` in a phase: a linear rise from 0 over `warmup` steps, then
/// `base`, or half a cosine from `base` to 0 (Loshchilov & Hutter 2017, eq. 5, without restarts).
#[must_use]
pub fn rate(base: f64, schedule: Schedule, warmup: usize, step: usize, steps: usize) -> f64 {
    if step < warmup {
        return base * (step + 1) as f64 / warmup as f64;
    }
    match schedule {
        Schedule::Constant => base,
        Schedule::Cosine => {
            let left = steps.saturating_sub(warmup).max(1);
            let done = (step - warmup).min(left) as f64 / left as f64;
            base * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_stays_or_falls_to_nothing() {
        let at = |schedule, step| rate(0.1, schedule, 4, step, 24);
        assert_eq!(at(Schedule::Constant, 0), 0.025);
        assert_eq!(at(Schedule::Cosine, 3), 0.1);
        assert_eq!(at(Schedule::Constant, 23), 0.1);
        assert_eq!(at(Schedule::Cosine, 4), 0.1);
        assert!((at(Schedule::Cosine, 14) - 0.05).abs() < 1e-12);
        assert!(at(Schedule::Cosine, 24) < 1e-12 && at(Schedule::Cosine, 99) < 1e-12);
        let rates: Vec<f64> = (4..24).map(|step| at(Schedule::Cosine, step)).collect();
        assert!(rates.is_sorted_by(|a, b| a > b));
        // No step ever divides by nothing.
        assert_eq!(rate(0.1, Schedule::Cosine, 0, 0, 0), 0.1);
    }
}
