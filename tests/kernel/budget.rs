//! How much the verifier has to look at, and how much stack there is left: each instruction it follows counts against the
//! kernel's limit of a million, and a small change can multiply them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::Xdp;
use xlvs_tests::datapath::program::{object, open};

use crate::stack;

/// Set to write what is measured into the file.
const BLESS: &str = "XLVS_BLESS";
/// Growth that needs no blessing, per cent.
const TOLERANCE: u64 = 10;

/// In the place of a kernel: the bytes of stack, which no kernel of ours counts otherwise.
const STACK: &str = "stack";

/// Verified instructions by kernel ("6.18") and program: another kernel's verifier follows other ways. And the stack.
type Counts = BTreeMap<(String, String), u64>;

#[test]
fn no_program_costs_more_instructions_or_stack_than_recorded() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/verifier.toml");
    let recorded = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut recorded = parse(&recorded).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut counted = verified_instructions()?;
    counted.extend(stack()?);
    println!("verified instructions and stack: {counted:?}");
    if std::env::var_os(BLESS).is_some() {
        recorded.extend(counted);
        return fs::write(&path, text(&recorded)).with_context(|| format!("cannot write {}", path.display()));
    }
    let complaints: Vec<String> =
        counted.iter().filter_map(|(key, now)| complaint(&recorded, key, *now)).collect();
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}; {BLESS}=1 writes {}", complaints.join("; "), path.display())
}

/// What is wrong with a count. On a kernel that is not recorded, the most that any other counts is the bound.
fn complaint(recorded: &Counts, key: &(String, String), now: u64) -> Option<String> {
    let (kernel, program) = key;
    let of_program = recorded.iter().filter(|((at, other), _)| at != STACK && other == program);
    let on_others = of_program.map(|(_, count)| *count).max().filter(|_| kernel != STACK);
    let here = recorded.get(key).copied();
    let Some(was) = here.or(on_others) else { return Some(format!("{program} is not recorded ({now})")) };
    let slack = was * TOLERANCE / 100;
    if now > was + slack {
        Some(format!("{program} costs {now} on {kernel} instead of {was}: more than {TOLERANCE} % above"))
    } else if here.is_some() && now < was - slack {
        Some(format!("{program} costs only {now} on {kernel} instead of {was}: record the gain"))
    } else {
        None
    }
}

/// This kernel's "major.minor".
fn kernel() -> Result<String> {
    let release = nix::sys::utsname::uname().context("cannot ask for the kernel's release")?;
    let release = release.release().to_string_lossy().into_owned();
    Ok(release.split('.').take(2).collect::<Vec<_>>().join("."))
}

fn verified_instructions() -> Result<Counts> {
    let kernel = kernel()?;
    let mut ebpf = open()?;
    let mut counted = BTreeMap::new();
    for (name, program) in ebpf.programs_mut() {
        let program: &mut Xdp =
            program.try_into().with_context(|| format!("{name} is not an XDP program"))?;
        program.load().with_context(|| format!("the kernel refuses {name}"))?;
        let count = program.info()?.verified_instruction_count();
        counted.insert(
            (kernel.clone(), name.to_owned()),
            u64::from(count.context("this kernel does not count them (5.16 does)")?),
        );
    }
    Ok(counted)
}

/// One that the oldest kernel would refuse is an error, whatever is recorded.
fn stack() -> Result<Counts> {
    let mut counted = BTreeMap::new();
    for (program, bytes) in stack::deepest(&object()?)? {
        ensure!(
            bytes <= stack::LIMIT,
            "{program} takes {bytes} bytes of stack, Linux 6.1 allows {}",
            stack::LIMIT
        );
        counted.insert((STACK.to_owned(), program), bytes);
    }
    Ok(counted)
}

fn text(counts: &Counts) -> String {
    let lines = counts.iter().map(|((kernel, program), count)| format!("\"{kernel}\".{program} = {count}\n"));
    let head = "# Instructions the verifier followed, by kernel and program, and bytes of stack (of 512). Written by XLVS_BLESS=1; compared by tests/kernel/budget.rs.\n";
    std::iter::once(head.to_owned()).chain(lines).collect()
}

fn parse(text: &str) -> Option<Counts> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (key, count) = line.split_once('=')?;
            let (kernel, program) = key.trim().strip_prefix('"')?.split_once("\".")?;
            Some(((kernel.to_owned(), program.to_owned()), count.trim().parse().ok()?))
        })
        .collect()
}
