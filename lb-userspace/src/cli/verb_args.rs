//! The arguments of each verb. The doc comments are their help text.

use super::values::{Patience, ServiceChoice, end, endpoint, frame_number};
use crate::api::{Hex, Protocol};
use crate::control::{EndQuery, WeightOrder};
use clap::{Args, ValueEnum};
use clap_complete::Shell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

const EXPLAIN_USAGE: &str = "\
xlvs explain [OPTIONS] <PROTO> <SRC:PORT> <DST:PORT>
       xlvs explain [OPTIONS] --pcap <FILE> [-n <N>]
       xlvs explain [OPTIONS] --frame <HEX>";

/// The form of a report.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Form of the report
    #[arg(short, long, value_enum, default_value_t = OutputWord::Table, value_name = "FORM")]
    pub output: OutputWord,
}

/// The forms of a report, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputWord {
    /// Aligned columns, for people
    Table,
    /// One object with "schema": 1, for programs
    Json,
}

/// `xlvs up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Attach to this interface instead of the file's; may be repeated
    #[arg(long = "iface", value_name = "IF")]
    pub ifaces: Vec<String>,

    /// Network namespace to work in, by name or path; pins stay with the host
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,

    /// Return once the agent is ready; exit 4 and leave nothing attached if it is not within 60 s
    #[arg(long)]
    pub detach: bool,
}

/// `xlvs check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Also say what a reload would change (asks the agent)
    #[arg(long)]
    pub diff: bool,

    /// Also compare the file with this host: its interfaces, addresses, routes
    #[arg(long)]
    pub host: bool,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Exit 1 unless it is ready
    #[arg(long)]
    pub ready: bool,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs connections`.
#[derive(Debug, Args)]
pub struct Connections {
    /// Only connections of this service
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,

    /// Only connections on servers of this name
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,

    /// Only connections of this client; needs the clients to be noted (client_addresses)
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,

    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: u64,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs affinity`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").multiple(true))]
pub struct Affinity {
    /// Forget those that match; at least one of the options that say which, or --all, must be given
    #[arg(value_enum, value_name = "clear", requires = "which")]
    pub action: Option<AffinityAction>,

    /// Only sources that this service knows
    #[arg(long, value_name = "SERVICE", group = "which")]
    pub service: Option<String>,

    /// Only sources that come back to servers of this name
    #[arg(long, value_name = "SERVER", group = "which")]
    pub server: Option<String>,

    /// Only the source that this client is of
    #[arg(long, value_name = "ADDRESS", group = "which")]
    pub client: Option<IpAddr>,

    /// Every source
    #[arg(long, group = "which")]
    pub all: bool,

    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: u64,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// What is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AffinityAction {
    /// Forget them.
    Clear,
}

/// `xlvs stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// Measure for so long
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub interval: Patience,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs explain`.
#[derive(Debug, Args)]
#[command(override_usage = EXPLAIN_USAGE)]
pub struct Explain {
    /// Protocol of the packet
    #[arg(
        value_name = "PROTO",
        value_parser = clap::builder::PossibleValuesParser::new(["tcp", "udp"]),
        required_unless_present_any = ["pcap", "frame"],
        requires = "destination"
    )]
    pub protocol: Option<String>,

    /// Where it comes from; an IPv6 address stands in brackets
    #[arg(value_name = "SRC:PORT", value_parser = endpoint, required_unless_present_any = ["pcap", "frame"])]
    pub source: Option<SocketAddr>,

    /// Where it goes
    #[arg(value_name = "DST:PORT", value_parser = endpoint, required_unless_present_any = ["pcap", "frame"])]
    pub destination: Option<SocketAddr>,

    /// A frame of this capture file instead (pcap or pcapng, of an Ethernet interface)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["protocol", "frame"])]
    pub pcap: Option<PathBuf>,

    /// Which frame of the file, from 1
    #[arg(short = 'n', value_name = "N", default_value_t = 1, value_parser = frame_number, requires = "pcap")]
    pub number: usize,

    /// This frame instead, in hexadecimal digits from the Ethernet header on
    #[arg(long, value_name = "HEX", conflicts_with = "protocol")]
    pub frame: Option<Hex>,

    /// The interface it comes in through [default: the first that is attached]
    #[arg(long, value_name = "IF")]
    pub iface: Option<String>,

    /// Ask no agent: answer from the file alone, as if every server were up and nothing connected
    #[arg(long)]
    pub offline: bool,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// Only frames of this service
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,

    /// Only frames from or to this client
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub client: Option<EndQuery>,

    /// Only frames from or to this VIP
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub vip: Option<EndQuery>,

    /// Only frames with this verdict, such as dropped_no_server
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Option<String>,

    /// End after so many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// End after so long
    #[arg(long = "for", value_name = "DURATION")]
    pub time: Option<Patience>,

    /// Write a pcapng file instead of lines
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,

    /// Form of what is printed: with json, an object a line.
    #[command(flatten)]
    pub output: Output,
}

/// A server, by its service's name and its own.
#[derive(Debug, Args)]
pub struct Target {
    /// Service of the server, or '-' for every service that has one of that name
    #[arg(value_name = "SERVICE")]
    pub service: ServiceChoice,

    /// Name of the server
    #[arg(value_name = "SERVER")]
    pub server: String,
}

/// `xlvs drain`, `enable` and `disable`.
#[derive(Debug, Args)]
pub struct OrderFor {
    /// The server.
    #[command(flatten)]
    pub target: Target,

    /// Return once it is so (no connection left, or the server is up), or exit 4 after DURATION
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Patience>,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs weight`.
#[derive(Debug, Args)]
pub struct Weight {
    /// The server.
    #[command(flatten)]
    pub target: Target,

    /// The weight; 0 drains, 'config' drops the override
    #[arg(value_name = "N|config", value_parser = super::values::weight, allow_negative_numbers = true)]
    pub weight: WeightOrder,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs overrides`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").multiple(true).requires("action"))]
pub struct Overrides {
    /// Undo those that match; at least one of the options that say whose, or --all, must be given
    #[arg(value_enum, value_name = "clear", requires = "whose")]
    pub action: Option<OverridesAction>,

    /// Undo what was ordered for servers of this service
    #[arg(long, value_name = "SERVICE", group = "whose")]
    pub service: Option<String>,

    /// Undo what was ordered for servers of this name
    #[arg(long, value_name = "SERVER", group = "whose")]
    pub server: Option<String>,

    /// Undo every one
    #[arg(long, group = "whose")]
    pub all: bool,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// What is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OverridesAction {
    /// Undo them.
    Clear,
}

/// `xlvs completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `xlvs man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The verb to describe; without it, xlvs as a whole
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
}

impl Explain {
    pub(super) fn protocol(&self) -> Protocol {
        Protocol::from(self.protocol.as_deref().unwrap_or("tcp"))
    }
}
