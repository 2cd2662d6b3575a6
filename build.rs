//! Tells the linker where the program will find libtorch at run time, and keeps libtorch's GPU half in the program.

use std::env;
use std::path::PathBuf;

/// The halves of libtorch that compute on a GPU: NVIDIA's and AMD's.
const GPU: [&str; 2] = ["libtorch_cuda.so", "libtorch_hip.so"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    // Without LIBTORCH, torch-sys says what to do about it.
    if let Some(libtorch) = env::var_os("LIBTORCH").map(PathBuf::from) {
        let lib = libtorch.join("lib");
        // The place itself and not the link to it, so that the program outlives the checkout.
        let lib = lib.canonicalize().unwrap_or(lib);
        if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "unix") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        }
        // It enters itself into libtorch's tables when it is loaded, and nothing of it is called by name: rustc has
        // the linker leave out what it takes for needless, and the program would find no GPU.
        if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
            for library in GPU.map(|name| lib.join(name)).iter().filter(|l| l.exists()) {
                println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
                println!("cargo:rustc-link-arg={}", library.display());
                println!("cargo:rustc-link-arg=-Wl,--as-needed");
            }
        }
    }
}
