//! Where the fuzzer begins: the traffic that engines are compared on, answers included, as inputs in a folder.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result};
use xlvs_tests::datapath::Native;
use xlvs_tests::fuzzing::input_of;
use xlvs_tests::oracle::trial::story;

/// Few acts each, so that what matters in one can be found.
const ACTS: [usize; 3] = [3, 10, 40];
const SEEDS: u64 = 400;

fn main() -> Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| "seeds".into()));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut native = Native::new()?;
    for seed in 0..SEEDS {
        for acts in ACTS {
            let input = input_of(seed as u8, &story(seed, acts, &mut native)?);
            fs::write(folder.join(format!("{seed}-{acts}")), input)?;
        }
    }
    Ok(())
}
