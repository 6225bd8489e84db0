//! Which lines of the data path the corpus reaches, by LLVM's own counters.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Place, Target, build, make};
use crate::packages::{Extent, Set};
use crate::step;
use crate::toolchain::LLVM_MAJOR;
use crate::workspace::Workspace;

/// What the pipeline is made of: shells around it and what only the agent runs are not.
const PIPELINE: [&str; 2] = ["lb-ebpf/src/", "lb-common/src/"];
const NOT_OF_IT: [&str; 4] = ["main.rs", "maps.rs", "maglev.rs", "verdict.rs"];

/// Replays the corpus and prints a table by file.
pub(super) fn tell(workspace: &Workspace) -> Result<()> {
    let place = Place::of(workspace, Target::Frames)?;
    let tools = tools(workspace)?;
    let programs = build(workspace, "coverage", &["-Cinstrument-coverage", "--cfg=fuzzing"])?;
    let folder = workspace.target().join("coverage/profiles");
    make(&folder)?;
    let (raw, profile) = (folder.join("frames.profraw"), folder.join("frames.profdata"));
    let mut fuzzer = place.fuzzer(&programs);
    fuzzer.arg("-runs=0").arg(&place.corpus).env("LLVM_PROFILE_FILE", &raw);
    let replayed = fuzzer.output().with_context(|| format!("starting {}", step::shown(&fuzzer)))?;
    ensure!(replayed.status.success(), "replaying the corpus: {}", String::from_utf8_lossy(&replayed.stderr));
    let tool = |name: &str| {
        let mut command = Command::new(tools.0.join(name));
        command.env("LD_LIBRARY_PATH", &tools.1);
        command
    };
    step::output(tool("llvm-profdata").args(["merge", "-sparse", "-o"]).arg(&profile).arg(&raw))?;
    let text = step::output(
        tool("llvm-cov")
            .args(["export", "-summary-only"])
            .arg(format!("-instr-profile={}", profile.display()))
            .arg(programs.join("frames")),
    )?;
    let report: Value = serde_json::from_str(&text).context("reading what llvm-cov exported")?;
    table(workspace.root(), &report).context("finding the files in what llvm-cov exported")
}

/// Folder of llvm-cov and llvm-profdata of the compiler's own LLVM, and their library path.
fn tools(workspace: &Workspace) -> Result<(std::path::PathBuf, String)> {
    let _lock = workspace.lock_tools()?;
    let set = Set {
        name: "llvm",
        packages: vec![format!("llvm-{LLVM_MAJOR}"), format!("libllvm{LLVM_MAJOR}")],
        together: &[],
        extent: Extent::Closure,
    };
    let unpacked = set.ensure(workspace)?;
    Ok((unpacked.root().join(format!("usr/lib/llvm-{LLVM_MAJOR}/bin")), unpacked.library_path()))
}

fn table(root: &Path, report: &Value) -> Option<()> {
    let (mut all, mut reached) = (0, 0);
    println!("lines  reached  share  file");
    for file in report.get("data")?.get(0)?.get("files")?.as_array()? {
        let path = Path::new(file.get("filename")?.as_str()?);
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let of_it = PIPELINE.iter().any(|folder| name.starts_with(folder));
        if !of_it || NOT_OF_IT.iter().any(|other| name.ends_with(other)) {
            continue;
        }
        let lines = file.get("summary")?.get("lines")?;
        let (count, covered) = (lines.get("count")?.as_u64()?, lines.get("covered")?.as_u64()?);
        line(count, covered, &name);
        (all, reached) = (all + count, reached + covered);
    }
    line(all, reached, "all");
    Some(())
}

fn line(count: u64, covered: u64, name: &str) {
    let share = if count == 0 { 100.0 } else { covered as f64 * 100.0 / count as f64 };
    println!("{count:>5}  {covered:>7}  {share:>4.1}%  {name}");
}
