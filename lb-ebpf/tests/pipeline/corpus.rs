//! What the fuzzer found worth keeping, replayed without it: everything that once reached something new, or failed.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use xlvs_tests::fuzzing;

#[test]
fn the_corpus_holds() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    let mut inputs = 0;
    for file in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = file?.path();
        let input = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // The fuzzer names each by its content: a failure tells the frame.
        fuzzing::run(&input);
        inputs += 1;
    }
    ensure!(inputs > 50, "only {inputs} inputs in {}", folder.display());
    Ok(())
}
