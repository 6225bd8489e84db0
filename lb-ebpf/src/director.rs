//! What every packet of ours is judged by: the settings and the time, read once.

use lb_common::{
    clock::{Clock, Now},
    entry::{Server, ServerState, Settings},
    flow_table::{Admission, FlowTable, Layout, Place},
    identity::FlowId,
    net::Tuple,
    slot::{Class, ServerId, Slot},
    verdict::Event,
};

use crate::tables::Tables;

#[derive(Debug)]
pub struct Director<'t, T> {
    pub tables: &'t T,
    pub settings: &'t Settings,
    pub clock: &'t Clock,
    pub now: Now,
}

/// A server entry that was found to belong to the packet at hand.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'t> {
    pub id: ServerId,
    pub server: &'t Server,
    pub state: ServerState,
}

impl Chosen<'_> {
    /// Whether this is a server of what the tuple asks for.
    #[inline(always)]
    pub fn serves(&self, tuple: &Tuple) -> bool {
        let state = self.state;
        self.server.vip.is(tuple.vip) && state.answers(tuple.vip_port) && state.carries(tuple.protocol)
    }
}

impl<'t, T: Tables> Director<'t, T> {
    /// Once a packet: sees to it that the time moves on, too. `None` if the maps were never set up.
    #[inline(always)]
    pub fn consult(tables: &'t T) -> Option<Self> {
        let clock = tables.clock()?;
        if tables.leaves_traces() && tables.is_time_to_look() {
            clock.advance(tables.monotonic_ns());
        }
        let settings = tables.settings()?;
        Some(Self { tables, settings, clock, now: clock.now() })
    }

    /// The same for a later stage or a subprogram, amid a packet.
    #[inline(always)]
    pub fn again(tables: &'t T) -> Option<Self> {
        let (settings, clock) = (tables.settings()?, tables.clock()?);
        Some(Self { tables, settings, clock, now: clock.now() })
    }

    #[inline(always)]
    pub fn is(&self, flag: u64) -> bool {
        self.settings.flags.load() & flag != 0
    }

    /// Whether the agent's word can be relied on.
    #[inline(always)]
    pub fn agent_lives(&self) -> bool {
        self.clock.agent_lives(self.now)
    }

    #[inline(always)]
    pub fn flows(&self) -> FlowTable<'t, T> {
        FlowTable { memory: self.tables, geometry: self.settings.geometry() }
    }

    /// The server with this id, whatever it serves; `None` for a free entry.
    #[inline(always)]
    pub fn server(&self, id: ServerId) -> Option<Chosen<'t>> {
        let server = self.tables.server(id)?;
        let state = ServerState::from_word(server.state.load());
        if state.has(ServerState::IN_USE) { Some(Chosen { id, server, state }) } else { None }
    }

    /// The server with this id if it serves what the tuple asks for. Two flow ids may collide, and an id may have been
    /// freed: an entry is believed only if VIP, port and protocol agree.
    #[inline(always)]
    pub fn server_for(&self, id: Option<ServerId>, tuple: &Tuple) -> Option<Chosen<'t>> {
        let chosen = self.server(id?)?;
        if chosen.serves(tuple) {
            return Some(chosen);
        }
        self.tables.count(Event::Mismatch);
        None
    }

    /// Sees to it that the time moves on, where that is worth a look at the machine's clock.
    #[inline(always)]
    pub fn keep_time(&self) {
        if self.tables.leaves_traces() {
            self.clock.advance(self.tables.monotonic_ns());
        }
    }

    /// A connection has settled: other directors are to hear of it at once, if they are told of such.
    #[inline(always)]
    pub fn settled(&self, flow: FlowId, slot: Slot, server: Chosen<'_>) {
        if server.state.tells(slot.diverged()) && self.tables.leaves_traces() {
            self.tables.announce(flow);
        }
    }

    /// Stores a connection; says whether there was a place.
    #[inline(always)]
    pub fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool {
        let geometry = self.settings.geometry();
        self.admit(&self.flows(), flow, server, diverged, |victim, bucket| {
            !victim.is_settled()
                || victim
                    .server()
                    .is_none_or(|server| self.tables.derives(server, geometry.flow_of(victim, bucket)))
        })
        .is_some()
    }

    /// Gives a connection a place in this table, if there is one.
    #[inline(always)]
    pub fn admit<L: Layout>(
        &self,
        table: &FlowTable<'t, T, L>,
        flow: FlowId,
        server: ServerId,
        diverged: bool,
        gives_way: impl Fn(Slot, u32) -> bool,
    ) -> Option<Place> {
        self.keep_time();
        let admission = table.admit(flow, server, diverged, self.now, self.settings.limits(), gives_way);
        self.tables.count(match admission {
            Admission::Stored(_) => Event::Stored,
            Admission::Evicted(Class::New | Class::Answered, _) => Event::EvictedNew,
            Admission::Evicted(Class::Closing, _) => Event::EvictedClosing,
            Admission::Evicted(..) => Event::EvictedEstablished,
            Admission::Homeless => Event::Homeless,
        });
        admission.place()
    }
}
