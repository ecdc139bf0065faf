//! Finds the programs for the kernel, which `cargo xtask build` compiles with another compiler, and
//! names them to the crate as `MURALLA_EDGE_OBJECT`, for `include_bytes!(env!(...))`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the object lies in a target folder.
const OBJECT: &str = "ebpf/bpfel-unknown-none/release/muralla-edge";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MURALLA_EDGE_OBJECT");
    let object = env::var_os("MURALLA_EDGE_OBJECT").map_or_else(in_target_folder, PathBuf::from);
    // Watched even when it is not there: it will be.
    println!("cargo::rerun-if-changed={}", object.display());
    if !object.is_file() {
        println!(
            "cargo::error=the programs for the kernel are not at {}: run `cargo xtask build` first",
            object.display()
        );
        return ExitCode::FAILURE;
    }
    println!("cargo::rustc-env=MURALLA_EDGE_OBJECT={}", object.display());
    ExitCode::SUCCESS
}

/// The object in the target folder that this build writes to, or would be in the workspace's own.
fn in_target_folder() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = manifest.ancestors().nth(2).unwrap_or(&manifest);
    out.ancestors()
        .map(|folder| folder.join(OBJECT))
        .find(|object| object.is_file())
        .unwrap_or_else(|| root.join("target").join(OBJECT))
}
