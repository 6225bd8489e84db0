//! What the command line offers. The doc comments are its help text: a line a verb, then the details.

use super::cluster::Cluster;
use super::verb_args::{
    Affinity, Capture, Check, Completions, Connections, Explain, Man, OrderFor, Output, OutputWord,
    Overrides, Stats, Status, Up, Weight,
};
use crate::output::Format;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  xlvs check -c xlvs.toml               is the file right? (no root, no agent needed)
  xlvs up -c xlvs.toml                  balance, in the foreground
  xlvs status                           is it well?
  xlvs reload                           put the edited file in force, or change nothing
  xlvs drain web rs1 --wait 10m         take a server out once its connections have ended
  xlvs weight web rs2 5                 more for rs2, until 'xlvs weight web rs2 config'
  xlvs explain tcp 192.0.2.7:40000 10.77.1.100:80
                                        which server would this packet reach, and why?
  xlvs connections --service web -o json | jq '.connections[].server'

Exit codes:
  0  done
  1  refused or failed; nothing changed
  2  the command line is at fault
  3  no agent answers (the line says whether a data path still forwards)
  4  timed out";

/// Layer-4 load balancer at the XDP hook
///
/// Clients see one virtual address; an XDP program on the network card picks a real server for each connection and
/// forwards its packets. The agent (xlvs up) keeps the program's tables in step with the configuration, the
/// servers' health and your orders. The program forwards on while no agent runs.
#[derive(Debug, Parser)]
#[command(
    name = "xlvs",
    version,
    after_help = EXAMPLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file [default: /etc/xlvs/xlvs.toml]
    #[arg(
        short = 'c',
        long = "config",
        global = true,
        env = "XLVS_CONFIG",
        value_name = "FILE",
        value_parser = any_path(),
        hide_env_values = true,
        help_heading = "Options of every verb"
    )]
    pub config: Option<PathBuf>,

    /// Control socket of the agent [default: the file's, else /run/xlvs/xlvs.sock]
    #[arg(
        long,
        global = true,
        env = "XLVS_SOCKET",
        value_name = "PATH",
        value_parser = any_path(),
        hide_env_values = true,
        help_heading = "Options of every verb"
    )]
    pub socket: Option<PathBuf>,
}

/// The verbs of this version.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load the data path, attach it, and serve as its agent
    ///
    /// Adopts a data path that an earlier agent left pinned, without losing a packet. Runs in the foreground until
    /// SIGTERM or SIGINT, which leave the data path forwarding unless the file says on_stop = "detach". SIGHUP reloads.
    Up(Up),

    /// Detach and remove the data path, also when no agent lives
    ///
    /// Connections are kept for the next 'xlvs up', unless the file says snapshot = false. Doing it twice is no error.
    Down,

    /// Validate the configuration file; every problem, with its place and remedy
    ///
    /// Needs neither root nor an agent; only --diff asks the agent, and only --host looks at this host.
    Check(Check),

    /// Put the edited file in force, or refuse it and change nothing
    ///
    /// Returns when it is in force. Without -c or XLVS_CONFIG, the agent reads again the file it was started with.
    Reload(Output),

    /// Is it well? The whole picture on one screen
    Status(Status),

    /// Services: where they listen, how many servers are up, their rates
    Services(Output),

    /// Real servers: state, weight, connections, rates
    Servers(Output),

    /// Connections the table stores
    Connections(Connections),

    /// Which clients come back to which servers; 'clear' forgets them
    ///
    /// Of services with affinity. Whoever is forgotten keeps the connections there are; the next one goes to any server.
    Affinity(Affinity),

    /// Rates of services and servers over an interval
    Stats(Stats),

    /// Packets that were not forwarded, by reason
    Drops(Output),

    /// The other directors of the cluster, and whether they have what they were told
    ///
    /// Whether a session with each stands, what it has told of, what it has yet to be told, and what was refused.
    Peers(Output),

    /// What the data path would do with a packet, and why
    ///
    /// Sends nothing and changes nothing: a second copy of the program, from which every write is removed, answers over the
    /// same tables. The packet is named by its ends (a SYN, or a datagram), or is a frame of a capture file. Where no agent can be
    /// asked, a file named by -c answers by itself, without privileges; --offline asks it in any case.
    Explain(Explain),

    /// Capture frames as they came and as they left, with what was decided about them
    ///
    /// While it runs, a capturing copy of the program forwards in the serving one's place; afterwards nothing is left of it. Ends
    /// by --count, --for or Ctrl-C. The file is for tcpdump, tshark and wireshark; the decision is each frame's comment.
    Capture(Capture),

    /// Give a server no new connections
    ///
    /// Its connections stay until they end. Outlives reloads and restarts; 'xlvs enable' undoes it.
    Drain(OrderFor),

    /// Undo drain and disable
    Enable(OrderFor),

    /// Give a server no new connections and do not check it (maintenance)
    ///
    /// Its connections stay until they end. Outlives reloads and restarts; 'xlvs enable' undoes it.
    Disable(OrderFor),

    /// Override a server's weight, or return to the file's
    ///
    /// Outlives reloads and restarts, until it is ordered otherwise. Stored connections stay where they are.
    Weight(Weight),

    /// What is ordered by hand and still in force; 'clear' undoes it
    ///
    /// Drains, disabled servers and weights that are not the file's. Cleared, a server is as the file has it.
    Overrides(Overrides),

    /// Credentials by which directors know each other
    ///
    /// Asks no agent.
    Cluster(Cluster),

    /// Print completions for a shell
    Completions(Completions),

    /// Print a manual page (man -l <(xlvs man))
    Man(Man),
}

/// Also the empty one: an empty variable is as good as none, and no mistake.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl Verb {
    /// The form its report is wanted in; verbs without a report talk to people.
    pub(super) fn format(&self) -> Format {
        let output = match self {
            Self::Check(Check { output, .. })
            | Self::Status(Status { output, .. })
            | Self::Connections(Connections { output, .. })
            | Self::Affinity(Affinity { output, .. })
            | Self::Stats(Stats { output, .. })
            | Self::Explain(Explain { output, .. })
            | Self::Capture(Capture { output, .. })
            | Self::Drain(OrderFor { output, .. })
            | Self::Enable(OrderFor { output, .. })
            | Self::Disable(OrderFor { output, .. })
            | Self::Weight(Weight { output, .. })
            | Self::Overrides(Overrides { output, .. })
            | Self::Reload(output)
            | Self::Services(output)
            | Self::Servers(output)
            | Self::Drops(output)
            | Self::Peers(output) => output,
            Self::Cluster(cluster) => cluster.output(),
            Self::Up(_) | Self::Down | Self::Completions(_) | Self::Man(_) => return Format::Table,
        };
        match output.output {
            OutputWord::Table => Format::Table,
            OutputWord::Json => Format::Json,
        }
    }
}
