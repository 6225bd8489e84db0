//! The bench behind `cargo xtask bench`: what the data path costs, beside floors and, where they are given, peers, in one
//! interleaved run; what a whole system does; and what directors tell each other costs. See docs/benchmarks.md.

mod growth;
mod live;
mod packet;
mod plot;
mod progress;
mod reload;
mod replication;
mod report;
mod scan;
mod series;
mod system;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use xlvs_tests::cleanup;
use xlvs_tests::topology::Wiring;

/// Measures xlvs on this machine.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Output,
    /// A tenth of the work: for a look, not for the record
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum Bench {
    /// Nanoseconds a packet, by BPF_PROG_TEST_RUN: floors, xlvs in all modes, and peers
    Packet(Packet),
    /// Nanoseconds a packet as services and connections become more
    Growth,
    /// Packets a second through a driver (veth): a floor and xlvs, on one processor and on all
    Live,
    /// How long Maglev tables take to build
    Tables,
    /// Many services: how long they take to load, to reload with something changed, to be asked about
    Reload,
    /// Ten million connections: how many find no place, and how long a walk over all takes
    Scan,
    /// Requests through namespaces: direct, a floor, xlvs, IPVS, HAProxy, nginx and nftables
    System(System),
    /// How far directors are behind each other: under load, when one joins, when one takes over
    Replication,
    /// Draws the curves of a report
    Plot(Plot),
}

#[derive(Args)]
struct Plot {
    /// What a bench printed with -o json
    report: PathBuf,
    /// Where the drawings go
    #[arg(long, default_value = "docs")]
    into: PathBuf,
}

#[derive(Args)]
struct System {
    /// Over network cards (virtio) of this machine, three a wire, instead of veths: for `cargo xtask kernels bench`
    #[arg(long)]
    cards: bool,
}

#[derive(Args)]
struct Packet {
    /// Rounds over all contenders [default: 11; quick: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Only scenarios and contenders whose names have this in them; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// A peer's object, as in katran=/somewhere/balancer.o; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    peer: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cleanup::on_signals();
    match run(&arguments) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What to print in the end.
fn run(arguments: &Arguments) -> Result<String> {
    let report = match &arguments.bench {
        Bench::Plot(Plot { report, into }) => {
            let drawn = plot::run(report, into)?;
            let paths: Vec<String> = drawn.iter().map(|path| path.display().to_string()).collect();
            return Ok(paths.join("\n"));
        }
        Bench::Packet(packet) => packet::run(&packet::Wish {
            rounds: packet.rounds.unwrap_or(if arguments.quick { 5 } else { 11 }),
            packets: if arguments.quick { 50_000 } else { 300_000 },
            only: &packet.only,
            peers: &packet.peer,
        })?,
        Bench::Growth => growth::run(arguments.quick)?,
        Bench::Live => {
            let (rounds, frames) = if arguments.quick { (3, 300_000) } else { (11, 1_000_000) };
            live::run(rounds, frames)?
        }
        Bench::System(System { cards }) => {
            let (rounds, seconds) = if arguments.quick { (3, 1) } else { (11, 2) };
            system::run(rounds, seconds, if *cards { Wiring::Cards } else { Wiring::Plain })?
        }
        Bench::Tables => tables::run(arguments.quick)?,
        Bench::Reload => reload::run(arguments.quick)?,
        Bench::Scan => scan::run(arguments.quick)?,
        Bench::Replication => replication::run(arguments.quick)?,
    };
    Ok(if arguments.output == Output::Json { report.json() } else { report.table() })
}
