//! Where the fuzzer of messages begins: what two directors tell each other, as inputs in a folder.

#![allow(dead_code)]

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result};

#[path = "../../../lb-userspace/src/replication/mod.rs"]
mod replication;

fn main() -> Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| "seeds".into()));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for (number, input) in replication::hostile::seeds().into_iter().enumerate() {
        fs::write(folder.join(number.to_string()), input)?;
    }
    Ok(())
}
