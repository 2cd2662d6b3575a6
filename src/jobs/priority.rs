//! Which threads go first where there are fewer processors than work.

/// How much less important background work is, in steps of the system's scale of -20 to 19: enough that whoever wakes for
/// the user runs at once, and little enough that other programs leave it its share.
#[cfg(target_os = "linux")]
const STEPS: i32 = 5;

/// Lets this thread, and the threads that it starts, give way to the window's own: painting, reading pictures, writing
/// labels. Does nothing on systems whose priorities are not of threads, or where it is not allowed.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    rustix::process::nice(STEPS).unwrap_or_default();
}

/// Has the threads that share out the work of a computation [give way](give_way), too. To be called before there are any:
/// later it does nothing.
pub fn background_computations() {
    let pool = rayon::ThreadPoolBuilder::new().start_handler(|_| give_way());
    // Where the system gives no threads, whoever computes first says so.
    drop(pool.build_global());
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_thread_that_gives_way_and_those_it_starts_do() {
        let now = || getpriority_process(None).expect("told");
        let before = now();
        // As little as there can be.
        let expected = (before + STEPS).min(19);
        let found = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                give_way();
                let inner = std::thread::scope(|scope| scope.spawn(now).join());
                (now(), inner.expect("ended"))
            });
            thread.join().expect("ended")
        });
        assert_eq!(found, (expected, expected));
        assert_eq!(now(), before);
    }
}
