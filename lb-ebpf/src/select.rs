//! Which server takes a connection that has no entry, by the service's two tables.
//!
//! The *select* table picks for a SYN and follows every change at once; the *miss* table picks for a packet amid a
//! connection, and moves rarely. A connection whose server differs from what the miss table would say is *diverged*.

use lb_common::{
    entry::{EndpointKey, ServerState, Service},
    identity::FlowId,
    lifecycle::Segment,
    net::{Port, Tuple},
    pick::{Extent, id_in_word},
    slot::ServerId,
    verdict::Event,
};

use crate::{director::Director, tables::Tables};

/// Tries before two VIPs that would become one tuple at the server are let be.
const CANDIDATES: u32 = 3;

/// A pick for a flow.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    pub server: ServerId,
    /// The miss table would say otherwise.
    pub diverged: bool,
    /// What the miss table says, if usable: what the flow's next packets get if this one finds no place. 0: nothing.
    pub fallback: u32,
}

/// Whom a table names: always a number and a state, both 0 for nobody, because an `Option` of several words leaves some
/// undefined, which the verifier refuses.
#[derive(Clone, Copy)]
struct Named {
    number: u32,
    state: u64,
}

impl Named {
    const NOBODY: Self = Self { number: 0, state: 0 };

    #[inline(always)]
    const fn state(self) -> ServerState {
        ServerState::from_word(self.state)
    }
}

impl<'t, T: Tables> Director<'t, T> {
    /// The server for a flow without an entry: `chosen` by number, or if that is 0, by the tables. `None` if the service has none
    /// to offer.
    #[inline(always)]
    pub fn pick(
        &self,
        service: &Service,
        tuple: &Tuple,
        flow: FlowId,
        segment: Segment,
        chosen: u32,
    ) -> Option<Pick> {
        let select = service.select.load();
        let miss = service.miss.load();
        let by_miss = self.named(miss, flow, 0);
        // UDP has no handshake to protect: who takes no new work loses it.
        let usable = match segment {
            Segment::Datagram => by_miss.state().takes_new(),
            _ => by_miss.state().alive(),
        };
        let mut picked = by_miss;
        if chosen != 0 {
            picked = self.numbered(ServerId::new(chosen as u16));
        } else if if segment.is_syn() { select != miss } else { !usable } {
            picked = self.named(select, flow, 0);
            if !segment.is_syn() {
                self.tables.count(Event::MissTableDead);
            }
        }
        if picked.state().has(ServerState::SHARED) && matches!(segment, Segment::Syn | Segment::Datagram) {
            picked = self.without_collision(picked, select, tuple, flow);
        }
        let server = ServerId::new(picked.number as u16)?;
        let fallback = if usable { by_miss.number } else { 0 };
        Some(Pick { server, diverged: by_miss.number != picked.number, fallback })
    }

    /// The server that the packet itself names. The flow's next packets will do so, too.
    #[inline(always)]
    pub fn pick_of(&self, service: &Service, flow: FlowId, server: ServerId) -> Pick {
        let diverged = self.named(service.miss.load(), flow, 0).number != server.index();
        Pick { server, diverged, fallback: 0 }
    }

    /// Who serves a flow without an entry, by the miss table alone: for what must leave no trace.
    #[inline(always)]
    pub fn derived(&self, service: &Service, flow: FlowId) -> Option<ServerId> {
        let named = self.named(service.miss.load(), flow, 0);
        if named.state().alive() { ServerId::new(named.number as u16) } else { None }
    }

    /// Whether the miss table of the server's service gives it this flow: if so, nothing is lost by forgetting it.
    #[inline(always)]
    pub fn derives(&self, id: ServerId, flow: FlowId) -> bool {
        let Some(held) = self.tables.server(id) else { return true };
        let state = ServerState::from_word(held.state.load());
        let Some(service) = self.tables.service(u32::from(state.service)) else { return false };
        !state.has(ServerState::IN_USE) || self.named(service.miss.load(), flow, 0).number == id.index()
    }

    /// Whom the table at this extent names as the flow's `attempt`-th candidate.
    #[inline(always)]
    fn named(&self, extent: u64, flow: FlowId, attempt: u32) -> Named {
        let Some(extent) = Extent::from_word(extent) else { return Named::NOBODY };
        let (word, position) = extent.place(flow, attempt);
        self.numbered(self.tables.ids(word).and_then(|word| id_in_word(word, position)))
    }

    #[inline(always)]
    fn numbered(&self, id: Option<ServerId>) -> Named {
        let Some(id) = id else { return Named::NOBODY };
        let Some(server) = self.tables.server(id) else { return Named::NOBODY };
        let state = server.state.load();
        if ServerState::from_word(state).has(ServerState::IN_USE) {
            Named { number: id.index(), state }
        } else {
            Named::NOBODY
        }
    }

    /// NAT: one client port at two VIPs that lead to one server and port would be one tuple there. The first connection
    /// keeps it; this one takes the next candidate that is free of such a collision.
    #[inline(always)]
    fn without_collision(&self, first: Named, select: u64, tuple: &Tuple, flow: FlowId) -> Named {
        if !self.is_taken(first, tuple) {
            return first;
        }
        for attempt in 1..CANDIDATES {
            let next = self.named(select, flow, attempt);
            if next.number != 0 && next.number != first.number && !self.is_taken(next, tuple) {
                self.tables.count(Event::NextCandidate);
                return next;
            }
        }
        first
    }

    #[inline(always)]
    fn is_taken(&self, candidate: Named, tuple: &Tuple) -> bool {
        ServerId::new(candidate.number as u16).is_some_and(|id| self.tables.collides(id, tuple))
    }

    /// Whether this connection of the server would be one tuple with another's there.
    #[inline(always)]
    pub fn collides(&self, id: ServerId, tuple: &Tuple) -> bool {
        let Some(chosen) = self.server(id) else { return false };
        let address = chosen.server.address.load();
        // Who has no port of its own is hit on the VIP's.
        let hit = if chosen.state.port.is_any() { tuple.vip_port } else { chosen.state.port };
        let at = |port| self.tables.sharers(&EndpointKey::new(address, port, tuple.protocol));
        let Some(sharers) = at(hit).or_else(|| at(Port::ANY)) else { return false };
        for number in sharers.ids {
            let Some(other) = ServerId::new(number) else { break };
            if other != id && self.tables.tie(other, tuple, hit).is_known() {
                return true;
            }
        }
        false
    }
}
