//! `cargo xtask kernels`: the same suites on a second kernel, Debian's own, booted under qemu without KVM.

mod elf;
mod image;
mod machine;
mod rounds;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::outcome;
use crate::packages::{Extent, Set};
use crate::programs;
use crate::step;
use crate::test::suites;
use crate::workspace::Workspace;
use image::{Image, Job};
use machine::Machine;

/// Emulated processors take their time, but not this long.
const LIMIT_SECONDS: u32 = 6 * 3600;
const NETNS: &str = "netns";

/// What the guest runs.
pub(crate) enum Wish<'a> {
    /// Every program on that kernel's verifier, and the namespace tests that show what differs between kernels.
    Rounds,
    /// The same with all namespace tests that make sense there.
    All,
    /// A suite, with arguments of its program.
    Suite(&'a str, &'a [String]),
}

impl Wish<'_> {
    /// Suites and their arguments.
    fn jobs(&self) -> Vec<(String, Vec<String>)> {
        let of_kernel = || rounds::OF_KERNEL.map(str::to_owned).to_vec();
        let both = |all| vec![("kernel".to_owned(), of_kernel()), (NETNS.to_owned(), rounds::arguments(all))];
        match self {
            Self::Rounds => both(false),
            Self::All => both(true),
            Self::Suite(name, arguments) => vec![((*name).to_owned(), arguments.to_vec())],
        }
    }
}

/// Boots, runs what is wished, and insists that every test passed.
pub(crate) fn run(workspace: &Workspace, wish: &Wish<'_>) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("booting the guest: only x86_64 is emulated here, this machine is {}", std::env::consts::ARCH);
    }
    let selected = wish.jobs();
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
    let jobs: Vec<Job> = suites
        .into_iter()
        .zip(selected)
        .map(|(suite, (name, arguments))| Job { name, program: suite.program, arguments })
        .collect();
    let programs = programs::ensure(workspace)?;
    let (kernel, emulator) = fetch(workspace)?;
    let image = Image::build(workspace, &kernel, &emulator, &built, &variant, &programs, &jobs)?;
    step::note("guest", &format!("Linux {} under qemu, {}", image.release, step::megabytes(image.bytes)));

    let mut codes = Vec::new();
    let program =
        emulator.program("qemu-system-x86_64").context("looking for qemu-system-x86_64 in its package")?;
    let mut command =
        Machine { emulator: &emulator, program: &program, image: &image }.command(LIMIT_SECONDS);
    let mut outcome = outcome::observe(&mut command, &mut |line| codes.extend(job_code(line)))
        .with_context(|| format!("running {}", step::shown(&command)))?;
    if codes.len() != jobs.len() {
        outcome.fail(&format!("{} of {} suites came to their end", codes.len(), jobs.len()));
    }
    if codes.iter().any(|code| *code != 0) {
        outcome.fail(&format!("the suites ended with {codes:?}"));
    }
    if outcome.ran() == 0 {
        outcome.fail("no test ran");
    }
    let verdict = format!("Linux {}: {} passed, {} failed", image.release, outcome.passed, outcome.failed);
    match outcome.failure {
        Some(why) => bail!("guest: {verdict}; {why}"),
        None if outcome.failed > 0 => bail!("guest: {verdict}"),
        None => {
            println!("guest: {verdict}");
            Ok(())
        }
    }
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
