//! `cargo xtask`: everything a contributor runs, from a bare machine on.
//!
//! It fetches what the machine lacks into `target/tools`, and changes nothing outside `target/`: no package is
//! installed, no apt source touched, no rustup default moved.

mod apt;
mod bench;
mod build;
mod deb822;
mod demo;
mod fuzz;
mod guest;
mod lint;
mod mutants;
mod outcome;
mod packages;
mod privilege;
mod programs;
mod step;
mod test;
mod toolchain;
mod workspace;
mod wrapper;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use toolchain::Route;
use workspace::Workspace;

/// Builds, tests and shows xlvs; sets up what the machine lacks under target/.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build target/release/xlvs, the eBPF object inside it
    Build {
        /// Where the eBPF compiler comes from [default: the first that works]
        #[arg(long)]
        route: Option<Route>,
    },
    /// Show what xlvs does, in namespaces of its own: five claims, each put to the test
    Demo {
        /// Leave everything up at the end, until Enter or Ctrl-C
        #[arg(long)]
        hold: bool,
    },
    /// Measure the data path: packet, tables, scan, replication; what is passed on is explained by `cargo xtask bench -- --help`
    Bench {
        /// What to measure, and how; `packet --quick`, for example
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all tests: native ones, then those that need root
    Test {
        /// native, or a test target (kernel, netns, cli, …); may be repeated
        #[arg(long, value_name = "SUITE")]
        only: Vec<String>,
        /// Passed to the test programs, as in `-- name --nocapture`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run suites on the oldest supported kernel, Debian's 6.1, under qemu: kernel and rounds of netns, or one suite; or `bench`,
    /// where a nanosecond is an instruction
    Kernels {
        /// Of netns all but floods and loads, which takes hours
        #[arg(long, conflicts_with = "suite")]
        all: bool,
        suite: Option<String>,
        /// Passed to the test program, or to the bench as in `bench -- system --cards --quick`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Put arbitrary frames through the data path, guided by coverage, under the address sanitizer
    Fuzz(fuzz::Wish),
    /// Change one thing at a time in the data path and see whether the native tests notice
    Mutants(mutants::Wish),
    /// Check format, lints and documentation
    Lint,
    /// All a change must pass: lint, a short fuzz, then test
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Build { route } => build::everything(&workspace, route).map(|_| ()),
        Task::Demo { hold } => demo::run(&workspace, hold),
        Task::Bench { arguments } => bench::run(&workspace, &arguments),
        Task::Test { only, arguments } => {
            test::run(&workspace, &test::Selection { only: &only, arguments: &arguments })
        }
        Task::Kernels { all, suite, arguments } => {
            let wish = match &suite {
                Some(bench) if bench == "bench" => guest::Wish::Bench(&arguments),
                Some(suite) => guest::Wish::Suite(suite, &arguments),
                None if all => guest::Wish::All,
                None => guest::Wish::Rounds,
            };
            guest::run(&workspace, &wish)
        }
        Task::Fuzz(wish) => fuzz::run(&workspace, &wish),
        Task::Mutants(wish) => mutants::run(&workspace, &wish),
        Task::Lint => lint::run(&workspace),
        Task::Ci => lint::ci(&workspace),
    }
}
