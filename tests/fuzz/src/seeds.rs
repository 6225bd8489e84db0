//! Where the fuzzer begins: random traffic of the kind that engines are compared on, as inputs in a folder.

use std::path::PathBuf;
use std::{env, fs};

use xlvs_tests::datapath::script::random_of_both_families;
use xlvs_tests::fuzzing::input_of;

/// Few acts each, so that what matters in one can be found.
const ACTS: [usize; 3] = [3, 10, 40];
const SEEDS: u64 = 400;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or_else(|| "seeds".into()));
    fs::create_dir_all(&folder)?;
    for seed in 0..SEEDS {
        for acts in ACTS {
            let input = input_of(seed as u8, &random_of_both_families(seed, acts));
            fs::write(folder.join(format!("{seed}-{acts}")), input)?;
        }
    }
    Ok(())
}
