//! What computes here, in words: figures of speed belong to it.

use crate::models::{Device, best_device};

/// Processor and number of cores, and the graphics card where libtorch computes on one:
/// `AMD EPYC 7B13, 8 cores`.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plural = if cores == 1 { "" } else { "s" };
    let card = match best_device() {
        Device::Cuda(_) => ", CUDA",
        _ => "",
    };
    format!("{}, {cores} core{plural}{card}", processor())
}

/// As the processor names itself, or else its architecture.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if let Some(brand) = raw_cpuid::CpuId::new().get_processor_brand_string() {
        let words: Vec<&str> = brand.as_str().split_whitespace().collect();
        if !words.is_empty() {
            return words.join(" ");
        }
    }
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        let name = machine();
        assert!(name.contains("core") && !name.starts_with(','), "{name}");
        assert_eq!(name, machine());
    }
}
