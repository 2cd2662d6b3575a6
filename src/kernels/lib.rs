//! The hot loops of training the small networks on a CPU, on plain `f32` slices: 3x3 convolution with 2x2
//! max pool and ReLU, a dense layer whose backward pass updates its weights on the way, and Adam. Beside
//! them the dot products behind drift scores.
//!
//! A crate of its own for one reason: Cargo optimises by package, and these loops have to be fast in the
//! development build too. Everything is single precision, and a result depends neither on the number of
//! threads nor on their timing: what is summed over images or blocks is summed in their order. It may
//! depend on the processor, whose vector width decides the order within a block.

mod adam;
mod conv;
mod dense;
mod gram;
mod pixels;
mod products;
mod threads;

pub use adam::{Adam, adam};
pub use conv::{Conv, Layout};
pub use dense::Dense;
pub use gram::add_gram;
pub use pixels::{least_window_difference, squared_differences, windows_along};
pub use products::{nearby, products};

/// The widest instructions this processor has.
#[cfg(not(test))]
fn arch() -> pulp::Arch {
    pulp::Arch::new()
}

#[cfg(test)]
use testing::arch;

#[cfg(test)]
mod testing {
    use std::cell::Cell;

    use pulp::Arch;

    thread_local! {
        static PORTABLE: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn arch() -> Arch {
        if PORTABLE.get() {
            Arch::Scalar
        } else {
            Arch::new()
        }
    }

    /// Runs `check` with this processor's instructions, then with those that every processor has.
    pub(crate) fn everywhere(check: impl Fn()) {
        check();
        PORTABLE.set(true);
        check();
        PORTABLE.set(false);
    }

    /// Reproducible values in -0.5..0.5.
    pub(crate) fn noise(n: usize, mut seed: u32) -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    /// Largest difference in shares of the largest value.
    pub(crate) fn wrong(found: &[f32], expected: &[f64]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        let pairs = found.iter().zip(expected);
        let difference = pairs.fold(0.0_f64, |a, (f, e)| a.max((f64::from(*f) - e).abs()));
        difference / largest
    }
}
