//! `[cluster]`: where this director stands among others.
//!
//! The list of peers may name this director too, so that it can be the same on all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::choice;
use super::duration;
use super::endpoint;
use super::name::{DomainName, NodeName};
use super::path;
use super::replicate::{self, Said};
use super::source::{Placed, Reported, Spot};
use super::table::{Entry, Layered, Table};
use super::vocabulary::PEER;
use crate::replication::backup::Scope;
use crate::replication::join::{OnTimeout, Patience};
use crate::replication::version::NodeId;

/// Where the credentials lie if the file does not say otherwise.
pub const CREDENTIALS: &str = "/etc/xlvs/cluster";

const READY_FILE: &str = "/run/xlvs/ready";
const LISTEN: &str = "listen = \"192.0.2.2:7467\"";
const ADDRESS: &str = "address = \"192.0.2.3:7467\"";
const JOIN_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The directors together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Where this director is: servers of the same domain are preferred.
    pub domain: Option<DomainName>,
    /// This director and the others; `None`: it is alone.
    pub mesh: Option<Mesh>,
}

/// A director that has peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// What it is called among them.
    pub node: NodeName,
    /// Where it listens; the address may be the unspecified one.
    pub listen: SocketAddr,
    /// The others; never empty. Their names, the hashes of these, and their addresses differ from each other, the names and
    /// hashes also from this node's.
    pub peers: Vec<Peer>,
    /// The folder of what it shows of itself and believes of others; absolute.
    pub credentials: PathBuf,
    /// Whom records are told.
    pub scope: Scope,
    /// What is made of who does not acknowledge them.
    pub send: Sending,
    /// How long it waits to be in sync, and what then.
    pub patience: Patience,
    /// Where it says whether it may have the VIPs; absolute.
    pub ready_file: Option<PathBuf>,
}

/// Another director.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is called.
    pub name: NodeName,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Cluster {
    /// Whether there are other directors.
    pub fn has_peers(&self) -> bool {
        self.mesh.is_some()
    }
}

/// What is made of a director that is slow to acknowledge what it was told. No packet waits for it either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Nothing: it shows as a lag.
    Async,
    /// It is late, which is logged and shown, once the oldest has not been acknowledged for a second.
    Ack,
}

/// The table as far as it could be read.
pub(super) struct Draft<'a> {
    cluster: Result<Cluster, Reported>,
    /// What services inherit.
    pub(super) replication: Result<Said, Reported>,
    /// Where this director and its peers are reached.
    pub(super) endpoints: Vec<Placed<'a, SocketAddr>>,
}

impl Draft<'_> {
    pub(super) fn finish(self) -> Result<Cluster, Reported> {
        self.replication?;
        self.cluster
    }
}

/// Reads the table; `of_agent` is the director's name in `[agent]`.
pub(super) fn read<'a>(table: Layered<'a>, of_agent: Result<Option<NodeName>, Reported>) -> Draft<'a> {
    let listen = table.read("listen", |entry| endpoint::read_listen(entry, LISTEN));
    let peers = read_peers(&table);
    let listed = peers.iter().flatten().filter_map(|peer| peer.address.as_ref().ok().copied());
    let own = listen.ok().flatten().map(|value| Placed { value, spot: table.spot_of("listen") });
    Draft {
        endpoints: listed.chain(own).collect(),
        replication: replicate::read(&table),
        cluster: read_cluster(&table, of_agent, listen, peers),
    }
}

fn read_cluster(
    table: &Layered<'_>,
    of_agent: Result<Option<NodeName>, Reported>,
    listen: Result<Option<SocketAddr>, Reported>,
    peers: Result<Vec<PeerDraft<'_>>, Reported>,
) -> Result<Cluster, Reported> {
    let domain = table.read("domain", DomainName::read);
    let node = table.read("node", NodeName::read);
    let credentials =
        table.read_or("credentials", CREDENTIALS.into(), |entry| path::absolute(entry, CREDENTIALS));
    let ready_file = table.read("ready_file", |entry| path::absolute(entry, READY_FILE));
    let scope = table.read_or("scope", Scope::All, choice::read);
    let send = table.read_or("send", Sending::Async, choice::read);
    let patience = read_patience(table);
    let directors = peers.and_then(told_apart);
    let (scope, send) = (scope?, send?);
    let (credentials, patience, listen, ready_file) = (credentials?, patience?, listen?, ready_file?);
    let (node, directors) = (node?.or(of_agent?), directors?);

    let (own, others): (Vec<_>, Vec<_>) =
        directors.into_iter().partition(|director| Some(&director.value.name) == node.as_ref());
    if others.is_empty() {
        return Ok(Cluster { domain: domain?, mesh: None });
    }
    let Some(node) = node else {
        return Err(table.spot.missing("this director has peers and no name", "add node = \"lb1\""));
    };
    for other in &others {
        if NodeId::of(other.value.name.as_str()) == NodeId::of(node.as_str()) {
            return Err(one_hash(other, &node));
        }
    }
    let Some(listen) = listen.or(own.first().map(|own| own.value.address)) else {
        let remedy = format!("add {LISTEN}, or this director to the peers");
        return Err(table.spot.missing("this director has peers and does not listen", remedy));
    };
    let mut peers: Vec<_> = others.into_iter().map(|peer| peer.value).collect();
    // Whatever their order in the file.
    peers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Cluster {
        domain: domain?,
        mesh: Some(Mesh { node, listen, peers, credentials, scope, send, patience, ready_file }),
    })
}

fn read_patience(table: &Layered<'_>) -> Result<Patience, Reported> {
    let default = Patience::default();
    let whole = table.read_or("join_timeout", default.whole, |entry| duration::read(entry, JOIN_TIMEOUT));
    let on_timeout = table.read_or("on_timeout", default.on_timeout, choice::read::<OnTimeout>);
    Ok(Patience { whole: whole?, on_timeout: on_timeout?, ..default })
}

/// A peer as far as it could be read.
struct PeerDraft<'a> {
    name: Result<NodeName, Reported>,
    address: Result<Placed<'a, SocketAddr>, Reported>,
    spot: Spot<'a>,
}

fn read_peers<'a>(table: &Layered<'a>) -> Result<Vec<PeerDraft<'a>>, Reported> {
    let read = |table: Table<'a>| {
        let table = Layered::new(table.spot, Some(table), None);
        let placed =
            |entry: &Entry<'a>| Ok(Placed { value: endpoint::read(entry, ADDRESS)?, spot: entry.spot });
        PeerDraft {
            name: table.require("name", "name = \"lb2\"", NodeName::read),
            address: table.require("address", ADDRESS, placed),
            spot: table.spot_of("name"),
        }
    };
    let mut peers = Vec::new();
    for key in ["peers", "peer"] {
        let tables = table.read(key, |entry| entry.tables(&PEER))?;
        peers.extend(tables.into_iter().flatten().map(read));
    }
    Ok(peers)
}

/// The directors of the list, none of which may be taken for another one.
fn told_apart(peers: Vec<PeerDraft<'_>>) -> Result<Vec<Placed<'_, Peer>>, Reported> {
    let mut directors: Vec<Placed<'_, Peer>> = Vec::new();
    let mut outcome = Ok(());
    for PeerDraft { name, address, spot } in peers {
        let (name, address) = match (name, address) {
            (Ok(name), Ok(address)) => (name, address),
            (Err(reported), _) | (_, Err(reported)) => {
                outcome = Err(reported);
                continue;
            }
        };
        let director = Placed { value: Peer { name, address: address.value }, spot };
        let known = |same: fn(&Peer, &Peer) -> bool| {
            directors.iter().find(|known| same(&known.value, &director.value)).map(|known| &known.value.name)
        };
        if known(|one, other| one.name == other.name).is_some() {
            let what = format!("the peer {} is given twice", director.value.name);
            outcome = Err(spot.problem(what, "remove one of the two"));
        } else if let Some(first) = known(|one, other| one.address == other.address) {
            let what = format!("{} is already the address of the peer {first}", director.value.address);
            outcome = Err(address.spot.problem(what, "give each director an address of its own"));
        } else if let Some(first) = known(|one, other| id(one) == id(other)) {
            outcome = Err(one_hash(&director, first));
        }
        directors.push(director);
    }
    outcome.map(|()| directors)
}

fn id(peer: &Peer) -> NodeId {
    NodeId::of(peer.name.as_str())
}

fn one_hash(peer: &Placed<'_, Peer>, other: &NodeName) -> Reported {
    let what = format!(
        "the names {} and {other} have one hash, by which directors know each other",
        peer.value.name
    );
    peer.spot.problem(what, "rename one of the two")
}
