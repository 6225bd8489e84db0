//! How much the verifier has to look at: each instruction it follows counts against the kernel's limit of a million, and
//! a small change can multiply them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::programs::Xdp;
use xlvs_tests::datapath::program::open;

/// Set to write what is measured into the file.
const BLESS: &str = "XLVS_BLESS";
/// Growth that needs no blessing, per cent.
const TOLERANCE: u64 = 10;

#[test]
fn no_program_costs_the_verifier_more_than_recorded() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/verifier.toml");
    let counted = verified_instructions()?;
    println!("verified instructions: {counted:?}");
    if std::env::var_os(BLESS).is_some() {
        fs::write(&path, text(&counted)).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(());
    }
    let recorded = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let recorded = parse(&recorded).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut complaints = Vec::new();
    for (program, now) in &counted {
        match recorded.get(program) {
            None => complaints.push(format!("{program} is not recorded ({now})")),
            Some(was) if *now > was + was * TOLERANCE / 100 => {
                complaints
                    .push(format!("{program} costs {now} instead of {was}: more than {TOLERANCE} % above"));
            }
            Some(was) if *now < was - was * TOLERANCE / 100 => {
                complaints.push(format!("{program} costs only {now} instead of {was}: record the gain"));
            }
            Some(_) => {}
        }
    }
    for program in recorded.keys().filter(|program| !counted.contains_key(*program)) {
        complaints.push(format!("{program} is recorded, but no longer in the object"));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}; {BLESS}=1 writes {}", complaints.join("; "), path.display())
}

fn verified_instructions() -> Result<BTreeMap<String, u64>> {
    let mut ebpf = open()?;
    let mut counted = BTreeMap::new();
    for (name, program) in ebpf.programs_mut() {
        let program: &mut Xdp =
            program.try_into().with_context(|| format!("{name} is not an XDP program"))?;
        program.load().with_context(|| format!("the kernel refuses {name}"))?;
        let count = program.info()?.verified_instruction_count();
        counted.insert(
            name.to_owned(),
            u64::from(count.context("this kernel does not count them (5.16 does)")?),
        );
    }
    Ok(counted)
}

fn text(counted: &BTreeMap<String, u64>) -> String {
    let lines = counted.iter().map(|(program, count)| format!("{program} = {count}\n"));
    let head = "# Instructions the verifier followed, by program. Written by XLVS_BLESS=1; compared by tests/kernel/budget.rs.\n";
    std::iter::once(head.to_owned()).chain(lines).collect()
}

fn parse(text: &str) -> Option<BTreeMap<String, u64>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (program, count) = line.split_once('=')?;
            Some((program.trim().to_owned(), count.trim().parse().ok()?))
        })
        .collect()
}
