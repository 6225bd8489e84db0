//! How much the verifier has to look at, how much stack there is left, and how much code there is to run: each instruction the
//! verifier follows counts against the kernel's limit of a million, and a small change can multiply them. Code and calls are
//! what a packet may have to pass; they are the same on a busy machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::Xdp;
use xlvs_tests::datapath::program::{object, open};

use crate::code::Code;
use crate::{helpers, stack};

/// Set to write what is measured into the file.
const BLESS: &str = "XLVS_BLESS";

/// What is counted, in the place of a kernel ("6.18"), under which the file has verified instructions: another kernel's
/// verifier follows other ways. Of these three, the object alone decides.
const STACK: &str = "stack";
const HELPERS: &str = "helpers";
const LOOK_UPS: &str = "look-ups";
/// Before a kernel: the bytes that its compiler makes.
const MACHINE_CODE: &str = "code ";

/// Counts by kind or kernel, and program.
type Counts = BTreeMap<(String, String), u64>;

/// How far a count may be from the recorded one without a blessing.
struct Bounds {
    /// Per cent above.
    more: u64,
    /// And so many.
    spare: u64,
    /// Per cent below, where a gain is to be recorded: what is not could be lost unnoticed.
    less: Option<u64>,
}

#[test]
fn no_program_costs_more_than_recorded() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/verifier.toml");
    let recorded = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut recorded = parse(&recorded).with_context(|| format!("{} cannot be read", path.display()))?;
    let code = Code::of(&object()?)?;
    let mut counted = loaded()?;
    counted.extend(stack(&code)?);
    counted.extend(calls(&code)?);
    println!("{counted:?}");
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

/// Compilers differ in what they inline, and kernels in what they compile a call to.
fn bounds(kind: &str) -> Bounds {
    match kind {
        HELPERS | LOOK_UPS => Bounds { more: 25, spare: 2, less: None },
        _ if kind.starts_with(MACHINE_CODE) => Bounds { more: 25, spare: 0, less: None },
        _ => Bounds { more: 10, spare: 0, less: Some(10) },
    }
}

/// Whether two kinds are the same but for the kernel.
fn alike(one: &str, other: &str) -> bool {
    let kernel = |kind: &str| {
        kind.strip_prefix(MACHINE_CODE).unwrap_or(kind).starts_with(|c: char| c.is_ascii_digit())
    };
    one == other
        || (kernel(one) && kernel(other) && one.starts_with(MACHINE_CODE) == other.starts_with(MACHINE_CODE))
}

/// What is wrong with a count. On a kernel that is not recorded, the most that any other counts is the bound.
fn complaint(recorded: &Counts, key: &(String, String), now: u64) -> Option<String> {
    let (kind, program) = key;
    let others = recorded.iter().filter(|((other, of), _)| alike(other, kind) && of == program);
    let most = others.map(|(_, count)| *count).max();
    let here = recorded.get(key).copied();
    let Some(was) = here.or(most) else { return Some(format!("{program} is not recorded ({kind}: {now})")) };
    let Bounds { more, spare, less } = bounds(kind);
    if now > was + was * more / 100 + spare {
        Some(format!("{program}, {kind}: {now} instead of {was}, more than {more} % above"))
    } else if here.is_some() && less.is_some_and(|less| now < was - was * less / 100) {
        Some(format!("{program}, {kind}: only {now} instead of {was}, record the gain"))
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

/// What this kernel makes of the programs: instructions its verifier followed, bytes its compiler wrote.
fn loaded() -> Result<Counts> {
    let kernel = kernel()?;
    let mut ebpf = open()?;
    let mut counted = BTreeMap::new();
    for (name, program) in ebpf.programs_mut() {
        let program: &mut Xdp =
            program.try_into().with_context(|| format!("{name} is not an XDP program"))?;
        program.load().with_context(|| format!("the kernel refuses {name}"))?;
        let info = program.info()?;
        let count = info.verified_instruction_count();
        counted.insert(
            (kernel.clone(), name.to_owned()),
            u64::from(count.context("this kernel does not count them (5.16 does)")?),
        );
        // A kernel that interprets has none.
        if info.size_jitted() > 0 {
            let kind = format!("{MACHINE_CODE}{kernel}");
            counted.insert((kind, name.to_owned()), u64::from(info.size_jitted()));
        }
    }
    Ok(counted)
}

/// One that the oldest kernel would refuse is an error, whatever is recorded.
fn stack(code: &Code) -> Result<Counts> {
    let mut counted = BTreeMap::new();
    for (program, bytes) in stack::deepest(code)? {
        ensure!(
            bytes <= stack::LIMIT,
            "{program} takes {bytes} bytes of stack, Linux 6.1 allows {}",
            stack::LIMIT
        );
        counted.insert((STACK.to_owned(), program), bytes);
    }
    Ok(counted)
}

fn calls(code: &Code) -> Result<Counts> {
    let mut counted = BTreeMap::new();
    for (program, calls) in helpers::calls(code)? {
        counted.insert((HELPERS.to_owned(), program.clone()), calls.helpers);
        counted.insert((LOOK_UPS.to_owned(), program), calls.look_ups);
    }
    Ok(counted)
}

fn text(counts: &Counts) -> String {
    let lines = counts.iter().map(|((kernel, program), count)| format!("\"{kernel}\".{program} = {count}\n"));
    let head = "# By program: instructions the verifier followed and bytes of machine code, by kernel; bytes of stack (of 512); calls of helpers, and look-ups in\n# maps among them. Written by XLVS_BLESS=1; compared by tests/kernel/budget.rs.\n";
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

#[test]
fn what_grows_beyond_its_bounds_is_complained_of() {
    let key = |kind: &str| (kind.to_owned(), "xlvs".to_owned());
    let recorded: Counts = [("6.1", 1000), ("code 6.1", 1000), (HELPERS, 10), (STACK, 400)]
        .map(|(kind, count)| (key(kind), count))
        .into();
    let complains = |kind: &str, now| complaint(&recorded, &key(kind), now).is_some();
    // On a kernel that is recorded, and on one that is not: there, nothing is too little.
    for (kind, less) in [("6.1", true), ("6.18", false)] {
        assert!(!complains(kind, 1100) && complains(kind, 1101));
        assert_eq!(complains(kind, 899), less, "{kind}");
    }
    assert!(!complains("code 6.18", 1250) && complains("code 6.18", 1251) && !complains("code 6.1", 1));
    assert!(!complains(HELPERS, 14) && complains(HELPERS, 15));
    assert!(complains(STACK, 480) && complains(LOOK_UPS, 1), "a kind without a record is one, too");
}
