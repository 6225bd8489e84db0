//! The command line: what it offers (`args`), and one file for each verb or group of verbs.
//!
//! Data goes to stdout, talk to stderr. The exit code is part of the interface: see [`Exit`].

mod args;
mod capture;
mod capture_file;
mod check;
mod cluster;
mod documents;
mod exit;
mod explain;
mod locate;
mod machine;
mod no_agent;
mod order;
mod pcapng;
mod read;
mod reload;
mod session;
mod streams;
mod values;
mod verb_args;

pub use args::{Cli, Verb};
pub use exit::Exit;
pub use machine::{Machine, PinnedSummary};

use exit::report_failure;
use session::Session;

/// Does what the command line says, and says how it went.
///
/// Everything that concerns this machine rather than a running agent is asked of `machine`.
pub fn run(cli: Cli, machine: &dyn Machine) -> Exit {
    let Cli { common, verb } = cli;
    let format = verb.format();
    let session = Session::new(common, format, machine);
    let outcome = match verb {
        Verb::Up(up) => machine.up(up.options(&session)).map(|()| Exit::Done),
        Verb::Down => machine.down(session.down_options()).map(|()| Exit::Done),
        Verb::Check(check) => check::run(&check, &session),
        Verb::Reload(_) => reload::run(&session),
        Verb::Status(status) => read::status(&status, &session),
        Verb::Services(_) => read::services(&session),
        Verb::Servers(_) => read::servers(&session),
        Verb::Connections(connections) => read::connections(connections, &session),
        Verb::Affinity(affinity) => read::affinity(affinity, &session),
        Verb::Stats(stats) => read::stats(&stats, &session),
        Verb::Drops(_) => read::drops(&session),
        Verb::Peers(_) => read::peers(&session),
        Verb::Explain(explain) => explain::run(&explain, &session),
        Verb::Capture(verb) => capture::run(&verb, &session),
        Verb::Drain(order) => order::drain(order, &session),
        Verb::Enable(order) => order::enable(order, &session),
        Verb::Disable(order) => order::disable(order, &session),
        Verb::Weight(weight) => order::weight(weight, &session),
        Verb::Overrides(overrides) => order::overrides(overrides, &session),
        Verb::Cluster(cluster) => cluster::run(cluster, &session),
        Verb::Completions(completions) => documents::completions(&completions),
        Verb::Man(man) => documents::manual(&man),
    };
    outcome.unwrap_or_else(|failure| report_failure(&failure, format))
}
