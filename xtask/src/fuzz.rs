//! `cargo xtask fuzz`: the data path as a library, or what directors tell each other, under libFuzzer and the address sanitizer,
//! and what the corpus covers.
//!
//! No cargo subcommand and no nightly is needed: the flags are given to the compiler that is there, and `RUSTC_BOOTSTRAP`
//! lets it have them, as for the eBPF program.

mod coverage;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::step;
use crate::workspace::Workspace;

/// What libFuzzer wants compiled in, and the sanitizer.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "--cfg=fuzzing",
];
/// The corpus is grown by frames in their full length, and by whole sessions.
const GROWN: &str = "-max_len=2048";

/// What is fuzzed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// Any frames in any order, through the data path
    Frames,
    /// Anything as what other directors say
    Messages,
}

impl Target {
    /// All there are.
    pub(crate) const ALL: [Self; 2] = [Self::Frames, Self::Messages];

    /// The fuzzer, and where its findings go.
    fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Messages => "messages",
        }
    }

    /// What writes the inputs that it begins with.
    fn seeds(self) -> &'static str {
        match self {
            Self::Frames => "seeds",
            Self::Messages => "message_seeds",
        }
    }

    /// Inputs that are kept for everybody, under tests/fuzz.
    fn corpus(self) -> &'static str {
        match self {
            Self::Frames => "corpus",
            Self::Messages => "messages",
        }
    }

    /// Bytes of an input: a handful of frames or messages. Longer ones only cost time.
    fn longest(self) -> &'static str {
        match self {
            Self::Frames => "-max_len=256",
            Self::Messages => "-max_len=400",
        }
    }

    /// Executions in the short run, which is a part of `ci`: some seconds.
    fn short_runs(self) -> u64 {
        match self {
            Self::Frames => 200_000,
            Self::Messages => 2_000,
        }
    }
}

/// How long, and what becomes of what is found.
#[derive(clap::Args)]
pub(crate) struct Wish {
    /// What is fuzzed
    #[arg(long, value_enum, default_value = "frames")]
    target: Target,
    /// Stop after so many executions [default: 200,000 of frames, 2,000 of messages]
    #[arg(long, conflicts_with = "time")]
    runs: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Write what reaches something new, minimised, into tests/fuzz/corpus or tests/fuzz/messages
    #[arg(long)]
    keep: bool,
    /// Instead of fuzzing, tell which lines of the data path the corpus reaches
    #[arg(long, conflicts_with_all = ["runs", "time", "keep"])]
    coverage: bool,
}

impl Wish {
    /// The run that every change has to pass.
    pub(crate) fn short(target: Target) -> Self {
        Self { target, runs: None, time: None, keep: false, coverage: false }
    }

    fn limit(&self) -> String {
        match (self.time, self.runs) {
            (Some(seconds), _) => format!("-max_total_time={seconds}"),
            (None, runs) => format!("-runs={}", runs.unwrap_or(self.target.short_runs())),
        }
    }
}

/// Fuzzes, or measures coverage; an error if anything was found.
pub(crate) fn run(workspace: &Workspace, wish: &Wish) -> Result<()> {
    if wish.coverage {
        return coverage::tell(workspace);
    }
    let place = Place::of(workspace, wish.target)?;
    let programs = build(workspace, "fuzz", &FLAGS)?;
    let grown = place.home.join(wish.target.corpus());
    make(&grown)?;
    let begun = Instant::now();
    let mut fuzzer = place.fuzzer(&programs);
    fuzzer.args([wish.target.longest(), &wish.limit()]).arg(&grown).arg(&place.corpus);
    let told = watch(&mut fuzzer, &place.home.join(format!("{}.log", wish.target.name())))?;
    step::note("fuzz", &format!("{told} in {:.0} s", begun.elapsed().as_secs_f64()));
    if wish.keep { keep(&place, &programs, &grown) } else { Ok(()) }
}

/// Folders of the fuzzer.
struct Place {
    target: Target,
    /// What is found, and what is only of use here.
    home: PathBuf,
    /// What is kept for everybody.
    corpus: PathBuf,
}

impl Place {
    fn of(workspace: &Workspace, target: Target) -> Result<Self> {
        let home = workspace.target().join("fuzz");
        make(&home.join("artifacts"))?;
        Ok(Self { target, home, corpus: workspace.root().join("tests/fuzz").join(target.corpus()) })
    }

    fn fuzzer(&self, programs: &Path) -> Command {
        let mut fuzzer = Command::new(programs.join(self.target.name()));
        // Stacks on the heap would double the price of an execution, and nothing here returns its stack.
        fuzzer.env("ASAN_OPTIONS", "detect_stack_use_after_return=0");
        fuzzer.arg(format!("-artifact_prefix={}/artifacts/", self.home.display()));
        fuzzer.args(["-print_final_stats=1", "-timeout=5", "-rss_limit_mb=1024"]);
        fuzzer
    }
}

/// Builds the fuzzer with these flags; the folder with its programs.
fn build(workspace: &Workspace, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let target = workspace.target().join(name);
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root().join("tests/fuzz"));
    cargo.args(["build", "--release", "--locked", "--target", &host, "--target-dir"]).arg(&target);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags.join(" "));
    let what = "the fuzzer (the first time some minutes)";
    step::run("build", what, &mut cargo, &workspace.log(name), None)?;
    Ok(target.join(host).join("release"))
}

/// Runs libFuzzer; what it says at the end in a few words.
fn watch(fuzzer: &mut Command, log: &Path) -> Result<String> {
    let shown = step::shown(fuzzer);
    step::note("fuzz", &shown);
    let output = fuzzer.output().with_context(|| format!("starting {shown}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    std::fs::write(log, text.as_bytes()).with_context(|| format!("writing {}", log.display()))?;
    if !output.status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        bail!("the fuzzer ended with {}; the end of {}:\n{tail}", output.status, log.display());
    }
    let stat = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let runs = stat("stat::number_of_executed_units:").context("libFuzzer told no number of executions")?;
    let rate = stat("stat::average_exec_per_sec:").unwrap_or("?");
    Ok(format!("{runs} executions without a finding, {rate}/s"))
}

/// Adds what was found to what is kept: as few inputs as reach the same.
fn keep(place: &Place, programs: &Path, grown: &Path) -> Result<()> {
    let (merged, seeds) = (place.home.join("merged"), place.home.join("seeds"));
    for folder in [&merged, &seeds] {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        make(folder)?;
    }
    step::run_openly("writing seeds", Command::new(programs.join(place.target.seeds())).arg(&seeds))?;
    let mut merge = place.fuzzer(programs);
    merge.args(["-set_cover_merge=1", "-use_counters=0", GROWN]).args([
        &merged,
        &place.corpus,
        grown,
        &seeds,
    ]);
    let output = merge.output().with_context(|| format!("starting {}", step::shown(&merge)))?;
    ensure!(output.status.success(), "merging failed:\n{}", String::from_utf8_lossy(&output.stderr));
    make(&place.corpus)?;
    std::fs::remove_dir_all(&place.corpus).context("removing the old corpus")?;
    std::fs::rename(&merged, &place.corpus).context("putting the new corpus in its place")?;
    let count = std::fs::read_dir(&place.corpus).context("listing the corpus")?.count();
    step::note("corpus", &format!("{count} inputs in {}", place.corpus.display()));
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))
}
