//! One training at a time in a process: trainings share libtorch's random generator, and each wants every core.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::WorkflowError;
use crate::jobs::JobContext;

/// How often somebody who waits looks whether to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

static LANE: Mutex<()> = Mutex::new(());

/// Waits until no other training computes; it is this one's turn until the guard is dropped.
///
/// # Errors
/// [`WorkflowError::Cancelled`] when stopped while waiting.
pub(super) fn take(context: &JobContext) -> Result<MutexGuard<'static, ()>, WorkflowError> {
    loop {
        if let Some(turn) = LANE.try_lock_for(LOOK_AGAIN) {
            return Ok(turn);
        }
        if context.control.stop_reason().is_some() {
            return Err(WorkflowError::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::StopReason;

    #[test]
    fn who_is_stopped_while_waiting_goes() {
        let turn = take(&JobContext::detached()).expect("free");
        let waiting = JobContext::detached();
        waiting.control.stop(StopReason::Cancelled);
        assert!(matches!(take(&waiting), Err(WorkflowError::Cancelled)));
        drop(turn);
    }
}
