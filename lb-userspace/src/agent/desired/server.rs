//! A server as a lane ought to have it: what its entry in the maps says, and when the time alone will change that. Pure.

use std::sync::Arc;
use std::time::Duration;

use lb_common::entry::{Admin, Memo, ServerState, Then};
use lb_common::net::{Addr, Port, Protocol};

use super::ServiceIdentity;
use crate::agent::standing::Standing;
use crate::agent::{eligible, parting};
use crate::config::{Mode, Parting, QuicId, Tier};

/// A server as it ought to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredServer {
    pub name: Arc<str>,
    pub name_hash: u64,
    pub address: Addr,
    pub port: Port,
    /// In force: the override's or the file's.
    pub weight: u16,
    /// 0: any number.
    pub max_connections: u32,
    /// Of new connections, among those of its service; 0: none.
    pub share: u32,
    /// How fast its share grows after its return.
    pub slow_start: Duration,
    pub tier: Tier,
    /// What becomes of its connections if it leaves the configuration.
    pub removal: Parting,
    /// What becomes of them by what has happened to it; `None`: nothing has.
    pub parting: Option<Parting>,
    /// The time for which all this is said, in Unix seconds.
    pub now: u64,
    /// What connection ids call it.
    pub quic_id: Option<QuicId>,
    pub standing: Standing,
}

impl DesiredServer {
    /// Whether new connections may be given to it.
    #[must_use]
    pub fn takes_new(&self) -> bool {
        self.share > 0
    }

    /// Whether it would get nothing new even if it were well: by an order, or because others come before it.
    fn is_unwanted(&self) -> bool {
        let ordered = self.standing.ordered() != Admin::Enabled || self.standing.share(self.weight) == 0;
        let is_well = !self.standing.is_down() && !self.standing.is_unknown();
        ordered || is_well && !self.takes_new()
    }

    /// Whether its share has yet to grow.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        eligible::step(self.standing.risen, self.slow_start, self.now) < eligible::WHOLE
    }

    /// When its connections will be ended or let go, in Unix seconds; `None`: never, or they are already.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        parting::deadline(self.parting?, self.standing.since).filter(|at| *at > self.now)
    }

    /// When the time alone will change something about it, in Unix seconds.
    #[must_use]
    pub fn next_change(&self) -> Option<u64> {
        let grows = eligible::next_step(self.standing.risen, self.slow_start, self.now);
        let grows = grows.filter(|_| self.takes_new());
        grows.into_iter().chain(self.deadline()).min()
    }

    /// The flags of its entry, apart from what depends on other entries.
    #[must_use]
    pub fn flags(&self, service: &ServiceIdentity) -> u16 {
        let mut flags = ServerState::IN_USE;
        let mut set = |flag, on| flags |= if on { flag } else { 0 };
        let down = self.standing.is_down();
        // Where all get what nobody can take, nobody counts as down.
        set(ServerState::DOWN, down && !self.takes_new());
        set(ServerState::DRAINED, self.is_unwanted());
        set(ServerState::NAT, service.mode == Mode::Nat);
        set(ServerState::TUNNEL, service.mode == Mode::Tunnel);
        set(ServerState::FULL_NAT, service.mode == Mode::FullNat);
        set(ServerState::UDP, service.protocol == Protocol::Udp);
        let parting = self.parting.filter(|_| !self.takes_new());
        flags | parting.map_or(0, |parting| parting::flag(parting, self.standing.since, self.now))
    }

    /// One of weight 1 about which nothing is known.
    #[cfg(test)]
    pub fn plain(name: &str, name_hash: u64, address: Addr, port: Port) -> Self {
        Self {
            name: name.into(),
            name_hash,
            address,
            port,
            weight: 1,
            max_connections: 0,
            share: 0,
            slow_start: Duration::ZERO,
            tier: Tier::Primary,
            removal: Parting::default(),
            parting: None,
            now: 0,
            quic_id: None,
            standing: Standing::default(),
        }
    }

    #[must_use]
    pub fn memo(&self) -> Memo {
        let Standing { admin, health, weight, since, .. } = self.standing;
        Memo { admin, health, weight, since, farewell: Then::Keep }
    }
}
