//! `xlvs`: the agent and its command line in one binary.

use clap::Parser;
use lb_userspace::cli::{self, Cli};
use std::process::ExitCode;

mod this_machine;

fn main() -> ExitCode {
    cli::run(Cli::parse(), &this_machine::ThisMachine).into()
}
