//! Tells the linker where the program will find libtorch at run time.

use std::env;
use std::path::PathBuf;

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
    }
}
