//! Puts the eBPF object where the agent includes it from: `OUT_DIR/xlvs.o`.
//!
//! `cargo xtask build` names the object in `XLVS_EBPF_OBJECT`. Without it the file is empty, so that plain cargo builds
//! and tests everything else on a machine without any eBPF tool; such an agent refuses to load its data path.

use std::path::PathBuf;
use std::{env, fs};

const OBJECT: &str = "XLVS_EBPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rerun-if-changed=build.rs");
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let object = match env::var_os(OBJECT).filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(&path).unwrap_or_else(|error| panic!("reading {OBJECT}={}: {error}", path.display()))
        }
        None => Vec::new(),
    };
    let copy = PathBuf::from(out_dir).join("xlvs.o");
    fs::write(&copy, object).unwrap_or_else(|error| panic!("writing {}: {error}", copy.display()));
}
