//! A network keeps the memory of its results while it works, and none afterwards. Alone in its file: the process is
//! measured.
#![cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]

use driftscope::models::{Device, Model, Precision};
use tch::{Kind, Tensor};

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let resident = statm.split(' ').nth(1).expect("the second figure");
    // Pages have 4 KB or more.
    resident.parse::<f64>().expect("a number") * 4096.0
}

#[test]
fn results_are_given_back_with_the_network() {
    let model = Model::new("cnn03", 299, 6, 1, Device::Cpu).expect("built");
    let images = Tensor::zeros([16, 1, 299, 299], (Kind::Float, Device::Cpu));
    let network = model.optimize_for_inference(Precision::Full);
    let before = resident();
    for _ in 0..3 {
        drop(network.forward(&images));
    }
    let kept = resident() - before;
    // Layers make results of 20 to 180 MB; the smaller ones at least are kept for the next image.
    assert!(kept > 30e6, "{kept} bytes are kept for the next");
    drop(network);
    let left = resident() - before;
    assert!(left < kept / 4.0, "{left} bytes of {kept} are still there");
}
