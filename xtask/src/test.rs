//! `cargo xtask test`: the native tests, then the suites that need root, and a table of what ran and what did not.

mod report;
pub(crate) mod suites;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{self, Built};
use crate::outcome::{self, Outcome};
use crate::privilege::Privilege;
use crate::programs;
use crate::step;
use crate::workspace::Workspace;
use report::Report;
use suites::{NATIVE, Suite, Target};

/// Longer than any suite may take; it then is stopped, and counts as failed.
const SUITE_LIMIT_SECONDS: u32 = 900;

/// What a caller may ask of the suites: loads of full length, a random seed that was printed, more random sequences.
const WISHES: [&str; 4] = ["XLVS_LONG", "XLVS_ROWS", "XLVS_SEED", "XLVS_SEQUENCES"];

/// Which suites, and which tests in them.
pub(crate) struct Selection<'a> {
    /// Names of suites; empty means all.
    pub(crate) only: &'a [String],
    /// Passed to the test programs: a part of a test's name, `--nocapture`, …
    pub(crate) arguments: &'a [String],
}

impl Selection<'_> {
    fn has(&self, suite: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == suite)
    }
}

/// Runs what was selected; an error if anything failed or could not run.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<()> {
    let targets = suites::targets(workspace)?;
    for name in selection.only {
        if name != NATIVE && !targets.iter().any(|target| target.name == *name) {
            let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
            bail!("no suite is called {name}; there are {NATIVE}, {}", names.join(", "));
        }
    }
    let needs_root: Vec<&Target> =
        targets.iter().filter(|target| target.privileged && selection.has(&target.name)).collect();
    let privilege = if needs_root.is_empty() { None } else { Some(Privilege::find()) };
    let built = match &privilege {
        Some(Ok(_)) => {
            let others = (build::variant(workspace)?, build::bench_object(workspace)?);
            Some((others, build::everything(workspace, None)?))
        }
        _ => None,
    };
    let mut report = Report::default();
    let object = built.as_ref().map(|(_, built)| built.object.as_path());
    let plain = || {
        let mut cargo = suites::cargo_test(workspace, &targets, object);
        cargo.arg("--no-fail-fast");
        cargo
    };
    let needs_none = || targets.iter().filter(|target| !target.privileged);
    if selection.has(NATIVE) {
        let mut cargo = plain();
        cargo.args(["--lib", "--bins"]).args(needs_none().map(|target| format!("--test={}", target.name)));
        report.add(NATIVE, observe(cargo.arg("--"), selection)?);
    }
    // These are part of native; alone, they run when asked for by name.
    for target in needs_none().filter(|target| selection.only.contains(&target.name)) {
        report.add(&target.name, observe(plain().args(["--test", &target.name, "--"]), selection)?);
    }
    match (privilege, &built) {
        (Some(Ok(privilege)), Some(((variant, floors), built))) => {
            let suites = suites::build(workspace, &built.object, &targets, &needs_root)?;
            run_privileged(workspace, selection, &privilege, (variant, floors, built), &suites, &mut report)?;
        }
        (Some(Err(why)), _) => {
            needs_root.iter().for_each(|target| report.add(&target.name, Outcome::not_run(&why)));
        }
        _ => {}
    }
    println!("\n{report}");
    report.verdict()
}

fn run_privileged(
    workspace: &Workspace,
    selection: &Selection,
    privilege: &Privilege,
    (variant, floors, built): (&Path, &Path, &Built),
    suites: &[Suite],
    report: &mut Report,
) -> Result<()> {
    let tools = programs::ensure(workspace)?;
    let path = with_programs(&tools)?;
    privilege.mount_bpffs()?;
    // Named one by one, since sudo drops what it is not told of.
    let wishes = WISHES.map(|name| (name, std::env::var_os(name)));
    for suite in suites {
        println!("\n== {}", suite.target.name);
        let mut variables = vec![
            ("XLVS_BIN", built.agent.as_path()),
            ("XLVS_EBPF_OBJECT", built.object.as_path()),
            ("XLVS_EBPF_VARIANT", variant),
            ("XLVS_BENCH_OBJECT", floors),
            ("XLVS_TOOLS", tools.as_path()),
            ("PATH", path.as_path()),
            ("CARGO_MANIFEST_DIR", suite.target.folder.as_path()),
        ];
        variables.extend(wishes.iter().filter_map(|(name, value)| Some((*name, Path::new(value.as_ref()?)))));
        for round in suite.target.rounds(!selection.arguments.is_empty()) {
            let mut command = suite_command(privilege, suite, &variables);
            report.add(&suite.target.name, observe(command.args(round), selection)?);
        }
    }
    Ok(())
}

/// PATH with the programs that were brought before those of the machine: suites that do not go by the rig look there.
fn with_programs(tools: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders).context("putting PATH together")?.into())
}

fn suite_command(privilege: &Privilege, suite: &Suite, variables: &[(&str, &Path)]) -> Command {
    // `timeout` runs inside what sudo starts, so that it may signal root's processes; SIGTERM lets the rig clean up.
    let mut command = privilege.command("timeout", variables);
    command.args(["--foreground", "--kill-after=20", &SUITE_LIMIT_SECONDS.to_string()]);
    command.arg(&suite.program).current_dir(&suite.target.folder);
    command
}

/// Runs a test command with the caller's arguments, its output passed on as it comes, and counts.
fn observe(command: &mut Command, selection: &Selection) -> Result<Outcome> {
    command.args(selection.arguments);
    let begun = Instant::now();
    let mut outcome = outcome::observe(command, &mut |_| {})
        .with_context(|| format!("running {}", step::shown(command)))?;
    outcome.seconds = begun.elapsed().as_secs_f64();
    // A suite that ran nothing proves nothing, unless the caller's own filter left nothing.
    if outcome.ran() == 0 && selection.arguments.is_empty() {
        outcome.fail("it has no tests");
    }
    Ok(outcome)
}
