//! What becomes of memory that a network is done with for now.

use std::sync::{Mutex, PoisonError};

/// How many ask for it now.
static ASKED: Mutex<usize> = Mutex::new(0);

/// While one of these lives, the process keeps memory that is freed, for what is asked next; with the last one gone what
/// is free then goes back to the system. An operator's result is tens of megabytes, for which glibc asks the system anew
/// each time, which has to clear every page of it: a twelfth to a sixth of the time that inference takes
/// (docs/BENCHMARKS.md, measured on the main thread). On other threads that holds for pieces of up to 64 MB, glibc's
/// largest heap there (`HEAP_MAX_SIZE`). Does nothing where the C library is another.
pub(super) struct KeepFreed(());

impl KeepFreed {
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
    /// As glibc has it (`malloc.c`, `DEFAULT_MMAP_MAX`).
    const MAPPINGS: i32 = 65_536;
    /// What glibc raises its thresholds to by itself once pieces as large are freed (`DEFAULT_MMAP_THRESHOLD_MAX`, and
    /// twice that). It does so no longer when told anything, and pictures are to be decoded as quickly as before.
    const MAP_FROM: i32 = 32 << 20;
    const TRIM_FROM: i32 = 2 * MAP_FROM;

    #[expect(unsafe_code, reason = "the allocator is set through C only")]
    pub fn keep(freed: bool) {
        let (mappings, trim_from) = if freed {
            (0, i32::MAX)
        } else {
            (MAPPINGS, TRIM_FROM)
        };
        // SAFETY: they take numbers and set single words that other threads read without a lock: a thread that still
        // sees the old one asks the system once more, or once less.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, mappings);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_FROM);
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
