//! One piece of work for each item, on threads of its own.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crossbeam_channel as channel;

use crate::jobs::JobContext;

/// Results that may wait for the collector.
const IN_FLIGHT: usize = 64;

/// Why work over many images ended early. What was finished before is kept.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// It was asked to.
    #[error("stopped; what was read so far is kept")]
    Stopped,
    /// The operating system gives no thread.
    #[error("the system gives no more threads ({source}); close other programs and try again")]
    Threads {
        /// What it said.
        source: std::io::Error,
    },
}

/// Cores of this machine, at least 1.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for each of `items`, begun in their order, on `threads` threads called `name`, and
/// hands each result with its item to `collect` on the calling thread as it comes. Pauses and stops with `ctx`.
pub(super) fn for_each<T: Sync, R: Send>(
    name: &str,
    threads: usize,
    items: &[T],
    ctx: &JobContext,
    work: impl Fn(&T) -> R + Sync,
    mut collect: impl FnMut(&T, R),
) -> Result<(), WorkError> {
    let next = AtomicUsize::new(0);
    let (results_in, results) = channel::bounded(IN_FLIGHT);
    let collected = thread::scope(|scope| {
        // In here, so that it is gone when the scope waits for the threads, whatever happens.
        let results = results;
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let (next, work, results_in) = (&next, &work, results_in.clone());
            let body = move || {
                while !ctx.should_stop() {
                    let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    if results_in.send((item, work(item))).is_err() {
                        break;
                    }
                }
            };
            (thread::Builder::new().name(name.to_owned()))
                .spawn_scoped(scope, body)
                .map_err(|source| WorkError::Threads { source })?;
        }
        drop(results_in);
        let mut collected = 0;
        for (item, result) in results {
            collect(item, result);
            collected += 1;
        }
        Ok(collected)
    })?;
    if collected < items.len() {
        return Err(WorkError::Stopped);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::StopReason;

    #[test]
    fn each_item_is_worked_on_once() {
        let items: Vec<usize> = (0..1000).collect();
        let mut seen = Vec::new();
        let ctx = JobContext::detached();
        for_each("double", 3, &items, &ctx, |i| i * 2, |_, r| seen.push(r)).expect("not stopped");
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).map(|i| i * 2).collect::<Vec<_>>());
        for_each("none", 3, &[], &ctx, |_: &u8| (), |_, ()| ()).expect("nothing to do");
    }

    #[test]
    fn a_stop_ends_it_between_two_items() {
        let ctx = JobContext::detached();
        let mut seen = 0;
        let result = for_each(
            "stop",
            2,
            &[(); 100_000],
            &ctx,
            |()| (),
            |(), ()| {
                seen += 1;
                ctx.control.stop(StopReason::Cancelled);
            },
        );
        assert!(matches!(result, Err(WorkError::Stopped)));
        // What was in flight is collected.
        assert!((1..=IN_FLIGHT + 8).contains(&seen), "{seen}");
    }
}
