//! `cargo xtask kernels`: the same suites on a second kernel, Debian's own, booted under qemu without KVM.

mod elf;
mod image;
mod machine;
mod rounds;

use anyhow::{Context, Result, bail};

use crate::bench;
use crate::build::{self, Built};
use crate::outcome;
use crate::packages::{Extent, Set};
use crate::programs;
use crate::step;
use crate::test::suites;
use crate::workspace::Workspace;
use image::{Image, Job, Object};
use machine::Machine;

/// Emulated processors take their time, but not this long.
const LIMIT_SECONDS: u32 = 6 * 3600;
const KERNEL: &str = "kernel";
const NETNS: &str = "netns";

/// Each way of `bench system` has a wire of its own.
const WIRES: u8 = 9;

/// What the guest runs.
pub(crate) enum Wish<'a> {
    /// Every program on that kernel's verifier, and the namespace tests that show what differs between kernels.
    Rounds,
    /// The same with all namespace tests that make sense there.
    All,
    /// A suite, with arguments of its program.
    Suite(&'a str, &'a [String]),
    /// The bench, with its arguments.
    Bench(&'a [String]),
}

/// What a guest is made for.
struct Load {
    built: Built,
    /// Beside the agent's own.
    object: Object,
    jobs: Vec<Job>,
    wires: u8,
}

/// Boots, runs what is wished, and insists that every test passed.
pub(crate) fn run(workspace: &Workspace, wish: &Wish<'_>) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("booting the guest: only x86_64 is emulated here, this machine is {}", std::env::consts::ARCH);
    }
    let load = match wish {
        Wish::Bench(arguments) => measures(workspace, arguments)?,
        Wish::Rounds | Wish::All | Wish::Suite(..) => tests(workspace, wish)?,
    };
    let programs = programs::ensure(workspace)?;
    let (kernel, emulator) = fetch(workspace)?;
    let image =
        Image::build(workspace, &kernel, &emulator, &load.built, &load.object, &programs, &load.jobs)?;
    step::note("guest", &format!("Linux {} under qemu, {}", image.release, step::megabytes(image.bytes)));

    let mut codes = Vec::new();
    let program =
        emulator.program("qemu-system-x86_64").context("looking for qemu-system-x86_64 in its package")?;
    let machine = Machine { emulator: &emulator, program: &program, image: &image, wires: load.wires };
    let mut command = machine.command(LIMIT_SECONDS);
    let mut outcome = outcome::observe(&mut command, &mut |line| codes.extend(job_code(line)))
        .with_context(|| format!("running {}", step::shown(&command)))?;
    if codes.len() != load.jobs.len() {
        outcome.fail(&format!("{} of {} programs came to their end", codes.len(), load.jobs.len()));
    }
    if codes.iter().any(|code| *code != 0) {
        outcome.fail(&format!("the programs ended with {codes:?}"));
    }
    let tested = !matches!(wish, Wish::Bench(_));
    if tested && outcome.ran() == 0 {
        outcome.fail("no test ran");
    }
    let verdict = format!("Linux {}: {} passed, {} failed", image.release, outcome.passed, outcome.failed);
    match outcome.failure {
        Some(why) => bail!("guest: {verdict}; {why}"),
        None if outcome.failed > 0 => bail!("guest: {verdict}"),
        None => {
            if tested {
                println!("guest: {verdict}");
            }
            Ok(())
        }
    }
}

fn tests(workspace: &Workspace, wish: &Wish<'_>) -> Result<Load> {
    let both = |all| {
        vec![
            (KERNEL.to_owned(), rounds::OF_KERNEL.map(str::to_owned).to_vec()),
            (NETNS.to_owned(), rounds::arguments(all)),
        ]
    };
    let selected = match wish {
        Wish::Suite(name, arguments) => vec![((*name).to_owned(), arguments.to_vec())],
        wish => both(matches!(wish, Wish::All)),
    };
    let all = suites::targets(workspace)?;
    let wanted = selected
        .iter()
        .map(|(name, _)| {
            let found = all.iter().find(|target| target.privileged && target.name == *name);
            found.with_context(|| format!("no suite that needs root is called {name}"))
        })
        .collect::<Result<Vec<_>>>()?;
    let variant = build::variant(workspace)?;
    let built = build::everything(workspace, None)?;
    let suites = suites::build(workspace, &built.object, &all, &wanted)?;
    if let (Wish::Rounds | Wish::All, Some(netns)) =
        (wish, suites.iter().find(|suite| suite.target.name == NETNS))
    {
        rounds::tell(&netns.program, matches!(wish, Wish::All))?;
    }
    let jobs = suites
        .into_iter()
        .zip(selected)
        .map(|(suite, (name, arguments))| {
            let one_by_one = std::iter::once("--test-threads=1".to_owned());
            Job { name, program: suite.program, arguments: one_by_one.chain(arguments).collect() }
        })
        .collect();
    Ok(Load { built, object: Object { path: variant, name: "xlvs-variant.o" }, jobs, wires: 0 })
}

fn measures(workspace: &Workspace, arguments: &[String]) -> Result<Load> {
    let built = build::everything(workspace, None)?;
    let object = Object { path: build::bench_object(workspace)?, name: "xlvs-bench.o" };
    let program = bench::program(workspace, &built.object)?;
    let job = Job { name: "xlvs-bench".to_owned(), program, arguments: arguments.to_vec() };
    Ok(Load { built, object, jobs: vec![job], wires: WIRES })
}

fn fetch(workspace: &Workspace) -> Result<(crate::packages::Unpacked, crate::packages::Unpacked)> {
    let _lock = workspace.lock_tools()?;
    let kernel = Set {
        name: "guest-kernel",
        packages: vec!["linux-image-cloud-amd64".to_owned()],
        together: &[],
        extent: Extent::Behind,
    };
    let emulator = Set {
        name: "guest-qemu",
        packages: ["qemu-system-x86", "qemu-system-data", "seabios", "busybox-static"]
            .map(str::to_owned)
            .to_vec(),
        together: &[],
        extent: Extent::Closure,
    };
    Ok((kernel.ensure(workspace)?, emulator.ensure(workspace)?))
}

/// The exit code a job's last line tells.
fn job_code(line: &str) -> Option<i32> {
    line.strip_prefix(image::END_OF_JOB)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_end_carries_its_exit_code() {
        assert_eq!(job_code("guest job ended with 101"), Some(101));
        assert_eq!(job_code("test result: ok. 1 passed"), None);
    }
}
