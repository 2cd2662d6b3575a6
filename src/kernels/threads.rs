//! Work shared out among threads.

use std::sync::{Mutex, PoisonError};

/// Gives the `parts` to `threads` workers, each to the next one that is free; `worker` makes a worker with
/// scratch memory of its own. Returns when all parts are done.
///
/// Threads are made anew: some 30 us each, beside steps of many milliseconds.
pub(crate) fn share<T: Send, W: FnMut(T)>(
    threads: usize,
    parts: impl Iterator<Item = T> + Send,
    worker: impl Fn() -> W + Sync,
) {
    let parts = Mutex::new(parts.fuse());
    let run = || {
        let mut work = worker();
        loop {
            // A statement of its own: the lock is given back before the work starts.
            let part = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(part) = part else { break };
            work(part);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}
