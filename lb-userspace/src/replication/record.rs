//! What a record says of a connection, of the port that full NAT has lent it, or of who comes back to which server.
//!
//! All are alike to versions, digests and messages: a flow id that leads to a server for a time. Which [`Kind`] it is says its
//! [`Class`]; each kind has a limit of its own. A seat's key is the flow id of source and group
//! ([`lb_common::entry::Affinity::key`]), which meets a connection's no more often than two connections' meet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::{identity::name_hash, slot};
use serde::{Deserialize, Serialize};

use super::version::Version;

/// A service, one of its servers, and the lane of the service, as all directors call them. Never where packets go: a peer can
/// only name what is configured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Pair {
    pub service: String,
    pub server: String,
    /// What distinguishes the listeners of a service that are balanced apart from each other: how, protocol, VIP and port.
    pub lane: String,
}

impl Pair {
    /// Longest name of each, in bytes.
    pub const LONGEST_NAME: usize = 128;

    /// The pair's number, the same on every director.
    pub fn target(&self) -> Target {
        let pair = name_hash(name_hash(0, self.service.as_bytes()), self.server.as_bytes());
        Target(name_hash(pair, self.lane.as_bytes()))
    }
}

/// A [`Pair`] in 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target(pub u64);

/// How far a connection's life has come, new ones not being replicated; or that it is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Class {
    Established,
    HalfClosed,
    Closing,
    /// Where clients of this source come back to (affinity): the bits of their address that make a source, the others zero.
    Seat(IpAddr),
    /// A connection by full NAT, how far its life has come, and its port.
    Lease(Stage, Lease),
}

/// The same of a connection that has a port of full NAT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    Established,
    HalfClosed,
    Closing,
}

/// A port that full NAT has lent, and whom: all that a packet of client or server is rewritten by which its service and server
/// do not say. By address, so that a director with another pool sees that the port is none of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Where the server sees the connection come from.
    pub source: IpAddr,
    pub source_port: u16,
    pub client: IpAddr,
    pub client_port: u16,
    /// Of the VIP; a lane may have many.
    pub vip_port: u16,
}

/// What a record is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Connection,
    Seat,
    Lease,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Connection, Self::Seat, Self::Lease];
}

/// How many there are of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ByKind {
    /// By the other modes than full NAT.
    pub connections: usize,
    pub seats: usize,
    pub leases: usize,
}

impl ByKind {
    pub const NONE: Self = Self { connections: 0, seats: 0, leases: 0 };

    pub fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Connection => self.connections,
            Kind::Seat => self.seats,
            Kind::Lease => self.leases,
        }
    }

    pub fn of_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Connection => &mut self.connections,
            Kind::Seat => &mut self.seats,
            Kind::Lease => &mut self.leases,
        }
    }

    pub fn all(&self) -> usize {
        self.connections + self.seats + self.leases
    }
}

impl Stage {
    /// `None` for what is not replicated.
    pub fn of(class: slot::Class) -> Option<Self> {
        match class {
            slot::Class::New | slot::Class::Answered => None,
            slot::Class::Established => Some(Self::Established),
            slot::Class::HalfClosed => Some(Self::HalfClosed),
            slot::Class::Closing => Some(Self::Closing),
        }
    }
}

impl From<Stage> for slot::Class {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Established => Self::Established,
            Stage::HalfClosed => Self::HalfClosed,
            Stage::Closing => Self::Closing,
        }
    }
}

impl Class {
    pub fn kind(self) -> Kind {
        match self {
            Self::Established | Self::HalfClosed | Self::Closing => Kind::Connection,
            Self::Seat(_) => Kind::Seat,
            Self::Lease(..) => Kind::Lease,
        }
    }

    /// Whether it is a connection that seems over.
    pub fn is_closing(self) -> bool {
        matches!(self, Self::Closing | Self::Lease(Stage::Closing, _))
    }

    /// `None` for what is not replicated.
    pub fn of(class: slot::Class) -> Option<Self> {
        match class {
            slot::Class::New | slot::Class::Answered => None,
            slot::Class::Established => Some(Self::Established),
            slot::Class::HalfClosed => Some(Self::HalfClosed),
            slot::Class::Closing => Some(Self::Closing),
        }
    }

    /// The same in the connection table; `None`: it has no entry there.
    pub fn in_table(self) -> Option<slot::Class> {
        match self {
            Self::Established => Some(slot::Class::Established),
            Self::HalfClosed => Some(slot::Class::HalfClosed),
            Self::Closing => Some(slot::Class::Closing),
            Self::Seat(_) | Self::Lease(..) => None,
        }
    }
}

/// Where a connection is, and how long a director that hears nothing more keeps believing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    pub target: Target,
    pub class: Class,
    /// Seconds.
    pub idle: u32,
}

/// What a flow id's record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Live(Connection),
    /// A tombstone: the connection ended, or became derivable.
    Ended,
}

/// A record as a director holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub version: Version,
    pub content: Content,
    /// When its origin last vouched for it, by this director's clock.
    pub since: Instant,
}

impl Entry {
    /// The connection, unless it has ended.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.content {
            Content::Live(connection) => Some(connection),
            Content::Ended => None,
        }
    }

    /// Whole seconds since its origin vouched for it, rounded up, so that no copy outlives its original by travelling.
    pub(super) fn age(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.since) + Duration::from_nanos(999_999_999);
        u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
    }
}
