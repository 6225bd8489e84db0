//! The suites there are: plain `cargo test`, and every test target that asks for the feature `privileged`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::step;
use crate::workspace::Workspace;

/// What plain `cargo test` runs.
pub(crate) const NATIVE: &str = "native";
/// The feature that marks a test target as one that needs root.
const PRIVILEGED: &str = "privileged";

/// Tests of the suite `netns` that want the machine for themselves, by how their names begin.
const ALONE: [&str; 8] = [
    "flood::",
    "load::",
    "survival::",
    "fragments::a_flood",
    "keepalived::",
    "faults::a_director",
    "faults::no_fault",
    "faults::partitions::the_",
];

/// A test target of the workspace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) package: String,
    /// Where its package is, and where its tests run.
    pub(crate) folder: PathBuf,
    pub(crate) privileged: bool,
}

/// A built test program.
pub(crate) struct Suite {
    pub(crate) target: Target,
    pub(crate) program: PathBuf,
}

impl Target {
    /// The rounds in which a suite's tests run, as arguments of its program. Tests on programs and maps of their own may run
    /// side by side. So may topologies, which mostly wait, three at a time; but not those that load the machine, or measure what
    /// a loaded one does to them. Where the caller filters, it is one round: his filters would add to those here.
    pub(crate) fn rounds(&self, filtered: bool) -> Vec<Vec<String>> {
        let one_by_one = "--test-threads=1".to_owned();
        match self.name.as_str() {
            "kernel" => vec![Vec::new()],
            "netns" if !filtered => {
                let alone = ALONE.map(str::to_owned);
                let others = alone.iter().flat_map(|module| ["--skip".to_owned(), module.clone()]);
                let three = std::iter::once("--test-threads=3".to_owned()).chain(others).collect();
                vec![three, std::iter::once(one_by_one).chain(alone).collect()]
            }
            _ => vec![vec![one_by_one]],
        }
    }
}

/// All test targets, from cargo itself, so that none is forgotten here.
pub(crate) fn targets(workspace: &Workspace) -> Result<Vec<Target>> {
    let text =
        step::output(workspace.cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("reading what cargo metadata printed")?;
    targets_in(&metadata).context("finding the test targets in what cargo metadata printed")
}

fn targets_in(metadata: &Value) -> Option<Vec<Target>> {
    let mut found = Vec::new();
    for package in metadata.get("packages")?.as_array()? {
        let folder = Path::new(package.get("manifest_path")?.as_str()?).parent()?;
        for target in package.get("targets")?.as_array()?.iter().filter(|target| is_test(target)) {
            let features = target.get("required-features").and_then(Value::as_array);
            found.push(Target {
                name: target.get("name")?.as_str()?.to_owned(),
                package: package.get("name")?.as_str()?.to_owned(),
                folder: folder.to_owned(),
                privileged: features.is_some_and(|all| all.iter().any(|feature| feature == PRIVILEGED)),
            });
        }
    }
    Some(found)
}

fn is_test(target: &Value) -> bool {
    target.get("kind").and_then(Value::as_array).is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"))
}

/// `cargo test` as all tests are built: with what the suites that need root ask for, so that every dependency is compiled
/// once, and unoptimised but for the rig and the data path (see `Cargo.toml`).
pub(crate) fn cargo_test(workspace: &Workspace, targets: &[Target], object: Option<&Path>) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--target-dir"]).arg(workspace.target());
    cargo.args(features(targets));
    // The same object as in the agent, or the two builds would keep undoing each other.
    cargo.envs(object.map(|object| ("XLVS_EBPF_OBJECT", object)));
    cargo
}

/// The features that the targets which need root ask for, and the benches', which are compiled and tested with the rest.
pub(crate) fn features(targets: &[Target]) -> Vec<String> {
    let privileged = targets.iter().filter(|target| target.privileged);
    let mut features: Vec<String> =
        privileged.map(|target| format!("--features={}/{PRIVILEGED}", target.package)).collect();
    features.dedup();
    features.push("--features=xlvs-tests/bench".to_owned());
    features
}

/// Builds these of all targets as the caller, never as root.
pub(crate) fn build(
    workspace: &Workspace,
    object: &Path,
    all: &[Target],
    wanted: &[&Target],
) -> Result<Vec<Suite>> {
    let mut cargo = cargo_test(workspace, all, Some(object));
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    cargo.args(wanted.iter().map(|target| format!("--test={}", target.name)));
    cargo.stderr(Stdio::inherit());
    let output = cargo.output().with_context(|| format!("starting {}", step::shown(&cargo)))?;
    if !output.status.success() {
        bail!("building the suites that need root: {} ended with {}", step::shown(&cargo), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let programs: Vec<(String, PathBuf)> = text.lines().filter_map(program).collect();
    let built = wanted.iter().map(|target| {
        let (_, program) = programs
            .iter()
            .find(|(name, _)| *name == target.name)
            .with_context(|| format!("cargo built no program for the test target {}", target.name))?;
        Ok(Suite { target: (*target).clone(), program: program.clone() })
    });
    built.collect()
}

/// The test program one of cargo's messages announces, if it does.
fn program(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let program = message.get("executable")?.as_str()?;
    is_test(target).then(|| Some((target.get("name")?.as_str()?.to_owned(), program.into())))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_asks_for_the_feature_is_privileged() {
        let metadata = r#"{"packages": [{"name": "p", "manifest_path": "/w/p/Cargo.toml", "targets": [
            {"kind": ["lib"], "name": "p"}, {"kind": ["test"], "name": "plain"},
            {"kind": ["test"], "name": "netns", "required-features": ["privileged"]}]}]}"#;
        let found = targets_in(&serde_json::from_str(metadata).expect("it is JSON")).expect("it is complete");
        let names: Vec<(&str, bool)> =
            found.iter().map(|target| (target.name.as_str(), target.privileged)).collect();
        assert_eq!(names, [("plain", false), ("netns", true)]);
        assert_eq!(found[0].folder, Path::new("/w/p"));
    }

    #[test]
    fn only_test_targets_with_a_program_are_built_suites() {
        let artifact = |kind: &str, program: &str| {
            format!(r#"{{"target":{{"kind":["{kind}"],"name":"netns"}},"executable":{program}}}"#)
        };
        let built = program(&artifact("test", "\"/t/netns-1\""));
        assert_eq!(built, Some(("netns".to_owned(), "/t/netns-1".into())));
        assert_eq!(program(&artifact("lib", "\"/t/x\"")), None);
        assert_eq!(program(&artifact("test", "null")), None);
        assert_eq!(program("not json"), None);
    }
}
