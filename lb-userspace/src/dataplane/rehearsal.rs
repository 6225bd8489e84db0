//! The data path as a library, over maps of our own: what it would do with a frame, asked where no program runs.
//!
//! The connection table of such a question is empty and stays so: every place in it is vacant, and every exchange seems to
//! succeed. Nothing else is left behind either, as in the explaining copy of the program.

use std::cell::Cell;

use anyhow::{Result, anyhow};
use lb_common::clock::{Clock, Now};
use lb_common::entry::{
    AccessKey, Affinity, Caller, EndpointKey, Incident, Interface, Load, Path, Pool, QuicKey, Server,
    Service, ServiceLimits, Settings, Sharers, Tunnel, member_key,
};
use lb_common::flow_table::{self, BUCKET_SLOTS, Memory, Place};
use lb_common::fragments::SET_NOTES;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::rate;
use lb_common::slot::ServerId;
use lb_common::trail::Trail;
use lb_common::verdict::{Action, Event};
use lb_common::wire::Wire;
use lb_common::word::Word;
use lb_ebpf::director::Director;
use lb_ebpf::followed;
use lb_ebpf::frame::Frame;
use lb_ebpf::tables::{Direction, Tables};

use super::Maps;
use super::explainer::{Course, check_length};

/// The room that drivers leave in front of a frame.
const HEADROOM: usize = 256;

/// A place in the connection table: free, and always won.
struct Vacant;

/// A bucket of the connection table.
const VACANT: [Vacant; BUCKET_SLOTS] = [const { Vacant }; BUCKET_SLOTS];

/// No datagram is on its way in parts.
static NO_NOTES: [Word; SET_NOTES] = [const { Word::new(0) }; SET_NOTES];

/// One frame on its way.
struct Rehearsal<'m> {
    maps: &'m Maps,
    trail: Trail,
    ingress: u32,
    /// The way to addresses of which the maps do not know it.
    elsewhere: NextHop,
    /// Where the frame lies, with room in front of it, and which part of it is left.
    memory: Vec<Cell<u8>>,
    left: Cell<(usize, usize)>,
}

/// What would become of this frame if it came in through the interface with this index, as these maps stand. What they do
/// not know the way to is sent `elsewhere`.
///
/// # Errors
/// For a frame of a length outside [`FRAME_LENGTHS`](super::FRAME_LENGTHS), or if there is no memory.
pub fn rehearse(maps: &Maps, ingress: u32, elsewhere: NextHop, frame: &[u8]) -> Result<Course> {
    check_length(frame)?;
    let memory: Vec<_> = [0; HEADROOM].iter().chain(frame).copied().map(Cell::new).collect();
    let left = Cell::new((HEADROOM, memory.len()));
    let rehearsal = Rehearsal { maps, trail: Trail::new(), ingress, elsewhere, memory, left };
    let mut stage = None;
    let outcome = followed(&rehearsal.frame(), &rehearsal, |handed| stage = Some(handed));
    let (start, end) = rehearsal.left.get();
    let trail = &rehearsal.trail;
    let verdict = outcome.verdict().ok_or_else(|| anyhow!("the data path came to no verdict"))?;
    let bytes = || rehearsal.memory[start..end].iter().map(Cell::get).collect();
    Ok(Course {
        verdict,
        stage,
        events: trail.events().collect(),
        server: trail.server(),
        service: trail.service(),
        back: None,
        frame: (verdict.action() == Action::Send).then(bytes),
    })
}

impl Rehearsal<'_> {
    fn frame(&self) -> Frame<'_> {
        let (start, end) = self.left.get();
        Frame::of_cells(&self.memory[start..end])
    }

    fn director(&self) -> Option<Director<'_, Self>> {
        Director::again(self)
    }
}

impl flow_table::Cell for Vacant {
    fn load(&self) -> u64 {
        0
    }

    fn replace(&self, _: u64, _: u64) -> bool {
        true
    }
}

impl Memory for Rehearsal<'_> {
    type Cell = Vacant;

    fn bucket(&self, number: u32) -> Option<&[Vacant; BUCKET_SLOTS]> {
        self.maps.flows.get(number).map(|_| &VACANT)
    }

    fn leases(&self, number: u32) -> Option<&[Vacant; BUCKET_SLOTS]> {
        self.maps.leases.get(number).map(|_| &VACANT)
    }

    fn seats(&self, number: u32) -> Option<&[Vacant; BUCKET_SLOTS]> {
        self.maps.seats.get(number).map(|_| &VACANT)
    }

    fn replicas(&self, number: u32) -> Option<&[Vacant; BUCKET_SLOTS]> {
        self.maps.replicas.get(number).map(|_| &VACANT)
    }
}

impl Tables for Rehearsal<'_> {
    fn settings(&self) -> Option<&Settings> {
        self.maps.settings.get(0)
    }

    fn clock(&self) -> Option<&Clock> {
        self.maps.clock.get(0)
    }

    fn gate(&self, word: u32) -> u64 {
        self.maps.gate.get(word).map_or(0, Word::load)
    }

    fn listener(&self, key: &EndpointKey) -> Option<u32> {
        self.maps.listeners.get(key)
    }

    fn service(&self, number: u32) -> Option<&Service> {
        self.trail.note_service(number);
        self.maps.services.get(number)
    }

    fn server(&self, id: ServerId) -> Option<&Server> {
        self.maps.servers.get(id.index())
    }

    fn tunnel(&self, id: ServerId) -> Option<&Tunnel> {
        self.maps.tunnels.get(id.index())
    }

    fn ids(&self, word: u32) -> Option<u64> {
        self.maps.tables.get(word).map(Word::load)
    }

    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers> {
        self.maps.backends.own_entry(key)
    }

    fn is_local(&self, addr: Addr) -> bool {
        self.maps.locals.get(&addr).is_some()
    }

    fn rule(&self, client: &AccessKey) -> Option<u32> {
        self.maps.lists.rule(client).map(|rule| rule as u32)
    }

    fn quic_server(&self, key: &QuicKey) -> Option<u32> {
        self.maps.quic_servers.get(key)
    }

    fn load(&self, number: u32) -> Option<&Load> {
        self.maps.loads.get(number)
    }

    /// Everybody's first connection.
    fn next_turn(&self, _: u32) -> u64 {
        0
    }

    fn random(&self) -> u32 {
        0
    }

    fn affinity(&self, service: u32) -> Option<&Affinity> {
        self.maps.affinities.get(service)
    }

    fn member(&self, service: u32, named: ServerId) -> Option<u32> {
        self.maps.members.get(&member_key(service as u16, named))
    }

    fn sitter(&self, place: Place) -> Option<&Caller> {
        self.maps.sitters.get(place.number())
    }

    fn limits(&self, entry: u32) -> Option<&ServiceLimits> {
        self.maps.limits.get(entry)
    }

    fn sources(&self, set: u32) -> Option<&[Word; rate::WAYS]> {
        self.maps.sources.get(set)
    }

    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]> {
        self.maps.paths.get(set)
    }

    fn notes(&self, _: u32) -> Option<&[Word; SET_NOTES]> {
        Some(&NO_NOTES)
    }

    fn interface(&self, port: PortNumber) -> Option<&Interface> {
        self.maps.interfaces.get(port.index())
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn is_time_to_look(&self) -> bool {
        false
    }

    fn may_answer(&self, _: Now) -> bool {
        true
    }

    fn vlan(&self, wire: &Wire) -> Option<u32> {
        self.maps.vlans.get(wire)
    }

    fn route(&self, _: u32, _: &Addr, _: &Addr) -> Option<NextHop> {
        Some(self.elsewhere)
    }

    fn frame_length(&self) -> u64 {
        let (start, end) = self.left.get();
        (end - start) as u64
    }

    fn trim(&self, bytes: usize) {
        let (start, end) = self.left.get();
        self.left.set((start, end - bytes));
    }

    fn moved(&self, bytes: i32) -> Option<Frame<'_>> {
        let (start, end) = self.left.get();
        self.left.set((start.checked_add_signed(-(bytes as isize))?, end));
        Some(self.frame())
    }

    fn locate(&self, flow: FlowId) -> Option<Place> {
        self.director()?.flows().locate(flow)
    }

    fn derives(&self, server: ServerId, flow: FlowId) -> bool {
        self.director().is_some_and(|director| director.derives(server, flow))
    }

    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool {
        self.director().is_some_and(|director| director.store(flow, server, diverged))
    }

    fn pool(&self) -> Option<&Pool> {
        self.maps.pool.get(0)
    }

    fn tenant(&self, place: Place) -> Option<&Caller> {
        self.maps.tenants.get(place.number())
    }

    fn announce(&self, _: FlowId) {}

    fn ask_the_way(&self, _: Addr) {}

    fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        self.director()?.rent(flow, server, ipv6)
    }

    fn caller(&self, place: Place) -> Option<&Caller> {
        self.maps.addresses.get(place.number())
    }

    fn count(&self, event: Event) {
        self.trail.note_event(event);
    }

    fn count_incident(&self, service: u32, _: Incident) {
        self.trail.note_service(service);
    }

    fn count_connection(&self, server: ServerId) {
        self.trail.note_server(server);
    }

    fn count_packet(&self, server: ServerId, _: Direction, _: u16) {
        self.trail.note_server(server);
    }

    fn fell_short(&self, server: ServerId) {
        self.trail.note_server(server);
    }

    fn leaves_traces(&self) -> bool {
        false
    }
}
