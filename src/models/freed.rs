//! What becomes of memory that a network is done with for now.

use std::sync::{Mutex, PoisonError};

/// How many ask for it now.
static ASKED: Mutex<usize> = Mutex::new(0);

/// While one of these lives, the process keeps memory that is freed, for what is asked next; with the last one gone it
/// goes back to the system. An operator's result is tens of megabytes, for which glibc asks the system anew each time,
/// which has to clear every page of it: a tenth to a sixth of the time that inference takes (docs/BENCHMARKS.md). Does
/// nothing where the C library is another.
pub struct KeepFreed(());

impl KeepFreed {
    /// Keeps memory from now on.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "what is made here changes the process, and is no default of anything"
    )]
    pub fn new() -> Self {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        *asked += 1;
        if *asked == 1 {
            system::keep(true);
        }
        Self(())
    }
}

impl Drop for KeepFreed {
    fn drop(&mut self) {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        *asked -= 1;
        if *asked == 0 {
            system::keep(false);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod system {
    /// As glibc has them from the start (`malloc.c`: `DEFAULT_MMAP_MAX`, `DEFAULT_TRIM_THRESHOLD`).
    const MAPPINGS: i32 = 65_536;
    const TRIM_FROM: i32 = 128 * 1024;

    #[expect(unsafe_code, reason = "the allocator is set through C only")]
    pub fn keep(freed: bool) {
        let (mappings, trim_from) = if freed {
            (0, i32::MAX)
        } else {
            (MAPPINGS, TRIM_FROM)
        };
        // SAFETY: both take numbers, and may be called at any time from any thread; glibc locks its heap.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, mappings);
            libc::mallopt(libc::M_TRIM_THRESHOLD, trim_from);
            if !freed {
                libc::malloc_trim(0);
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod system {
    pub fn keep(_: bool) {}
}
