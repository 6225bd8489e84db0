//! The answers that ordinary memory gives to [`Tables`].

use lb_common::clock::{Clock, Now};
use lb_common::entry::{
    AccessKey, Affinity, Caller, EndpointKey, Incident, Interface, Load, Path, Pool, QuicKey, Server,
    Service, ServiceLimits, Settings, Sharers, Tunnel, member_key,
};
use lb_common::flow_table::{BUCKET_SLOTS, Memory, Place};
use lb_common::fragments::SET_NOTES;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::rate;
use lb_common::slot::ServerId;
use lb_common::verdict::Event;
use lb_common::wire::Wire;
use lb_common::word::Word;
use lb_ebpf::director::Director;
use lb_ebpf::frame::Frame;
use lb_ebpf::tables::{Direction, Tables};

use super::asked::Question;
use super::{INDICES, Native};
use crate::datapath::maps::next_hop;

impl Memory for Native {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.asked.note(Question::Bucket);
        self.touched.flows.note(number);
        self.arrays.flows.get(number)
    }
    fn leases(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.asked.note(Question::Leases);
        self.touched.leases.note(number);
        self.arrays.leases.get(number)
    }
    fn seats(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.asked.note(Question::Seats);
        self.touched.seats.note(number);
        self.arrays.seats.get(number)
    }
    fn replicas(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.asked.note(Question::Replicas);
        self.arrays.replicas.get(number)
    }
}

/// The director as one packet sees it. The questions that the kernel answers by a subprogram are answered by the same
/// functions here.
fn director(tables: &Native) -> Option<Director<'_, Native>> {
    Director::again(tables)
}

impl Tables for Native {
    fn settings(&self) -> Option<&Settings> {
        self.asked.note(Question::Settings);
        self.arrays.settings.get(0)
    }

    fn clock(&self) -> Option<&Clock> {
        self.asked.note(Question::Clock);
        self.arrays.clock.get(0)
    }

    fn gate(&self, word: u32) -> u64 {
        self.asked.note(Question::Gate);
        self.arrays.gate.get(word).map_or(0, Word::load)
    }

    fn listener(&self, key: &EndpointKey) -> Option<u32> {
        self.asked.note(Question::Listener);
        self.keyed.listeners.get(key).copied()
    }

    fn service(&self, number: u32) -> Option<&Service> {
        self.asked.note(Question::Service);
        self.arrays.services.get(number)
    }

    fn server(&self, id: ServerId) -> Option<&Server> {
        self.asked.note(Question::Server);
        self.arrays.servers.get(id.index())
    }

    fn tunnel(&self, id: ServerId) -> Option<&Tunnel> {
        self.asked.note(Question::Tunnel);
        self.arrays.tunnels.get(id.index())
    }

    fn ids(&self, word: u32) -> Option<u64> {
        self.asked.note(Question::Ids);
        self.arrays.tables.get(word).map(Word::load)
    }

    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers> {
        self.asked.note(Question::Sharers);
        self.keyed.backends.get(key)
    }

    fn is_local(&self, addr: Addr) -> bool {
        self.asked.note(Question::IsLocal);
        self.keyed.locals.contains(&addr)
    }

    fn rule(&self, client: &AccessKey) -> Option<u32> {
        self.asked.note(Question::Rule);
        let matching = self.keyed.rules.iter().filter(|(prefix, _)| prefix.covers(client));
        matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, rule)| *rule as u32)
    }

    fn quic_server(&self, key: &QuicKey) -> Option<u32> {
        self.asked.note(Question::QuicServer);
        self.keyed.quic_servers.get(key).map(|id| id.index())
    }

    fn load(&self, number: u32) -> Option<&Load> {
        self.asked.note(Question::Load);
        self.arrays.loads.get(number)
    }

    fn next_turn(&self, service: u32) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }

    fn random(&self) -> u32 {
        self.asked.note(Question::Random);
        self.random.borrow_mut().next() as u32
    }

    fn affinity(&self, service: u32) -> Option<&Affinity> {
        self.asked.note(Question::Affinity);
        self.arrays.affinities.get(service)
    }

    fn member(&self, service: u32, named: ServerId) -> Option<u32> {
        self.asked.note(Question::Member);
        self.keyed.members.get(&member_key(service as u16, named)).map(|id| id.index())
    }

    fn sitter(&self, place: Place) -> Option<&Caller> {
        self.asked.note(Question::Sitter);
        self.arrays.sitters.get(place.number())
    }

    fn limits(&self, entry: u32) -> Option<&ServiceLimits> {
        self.asked.note(Question::Limits);
        self.arrays.limits.get(entry)
    }

    fn sources(&self, set: u32) -> Option<&[Word; rate::WAYS]> {
        self.asked.note(Question::Sources);
        self.touched.sources.note(set);
        self.arrays.sources.get(set)
    }

    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]> {
        self.asked.note(Question::Paths);
        self.touched.paths.note(set);
        self.arrays.paths.get(set)
    }

    fn notes(&self, set: u32) -> Option<&[Word; SET_NOTES]> {
        self.asked.note(Question::Notes);
        self.touched.notes.note(set);
        self.arrays.fragments.get(set)
    }

    fn interface(&self, port: PortNumber) -> Option<&Interface> {
        self.asked.note(Question::Interface);
        self.arrays.interfaces.get(port.index())
    }

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn monotonic_ns(&self) -> u64 {
        self.asked.note(Question::MonotonicNs);
        self.machine_ns
    }

    fn is_time_to_look(&self) -> bool {
        let mut pulse = self.pulse.get();
        let looks = pulse.is_time_to_look();
        self.pulse.set(pulse);
        looks
    }

    fn may_answer(&self, now: Now) -> bool {
        let mut pulse = self.pulse.get();
        let may = pulse.may_answer(now);
        self.pulse.set(pulse);
        may
    }

    fn vlan(&self, wire: &Wire) -> Option<u32> {
        self.asked.note(Question::Vlan);
        self.keyed.vlans.get(wire).copied()
    }

    /// As the kernel does, for packets alone that came by an interface that there is.
    fn route(&self, by: u32, _: &Addr, to: &Addr) -> Option<NextHop> {
        self.asked.note(Question::Route);
        let mut interfaces = self.arrays.interfaces.all().iter();
        let is_here = by != 0 && interfaces.any(|it| it.index.load() == u64::from(by));
        self.routes.get(to).filter(|_| is_here).map(|hop| next_hop(*hop, INDICES))
    }

    fn frame_length(&self) -> u64 {
        self.asked.note(Question::FrameLength);
        let (start, end) = self.left.get();
        (end - start) as u64
    }

    fn trim(&self, bytes: usize) {
        self.asked.note(Question::Trim);
        let (start, end) = self.left.get();
        self.left.set((start, end - bytes));
    }

    fn moved(&self, bytes: i32) -> Option<Frame<'_>> {
        // Where nothing moves, nobody is called: the frame is looked at once more.
        if bytes != 0 {
            self.asked.note(Question::Moved);
        }
        let (start, end) = self.left.get();
        let start = start.checked_add_signed(-(bytes as isize))?;
        self.left.set((start, end));
        Some(self.frame())
    }

    fn locate(&self, flow: FlowId) -> Option<Place> {
        director(self)?.flows().locate(flow)
    }

    fn derives(&self, server: ServerId, flow: FlowId) -> bool {
        director(self).is_some_and(|director| director.derives(server, flow))
    }

    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool {
        director(self).is_some_and(|director| director.store(flow, server, diverged))
    }

    fn announce(&self, flow: FlowId) {
        self.asked.note(Question::Announce);
        self.announced.borrow_mut().push(flow);
    }

    fn ask_the_way(&self, client: Addr) {
        self.asked.note(Question::Way);
        self.unreached.borrow_mut().push(client);
    }

    fn pool(&self) -> Option<&Pool> {
        self.asked.note(Question::Pool);
        self.arrays.pool.get(0)
    }

    fn tenant(&self, place: Place) -> Option<&Caller> {
        self.asked.note(Question::Tenant);
        self.arrays.tenants.get(place.number())
    }

    fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        director(self)?.rent(flow, server, ipv6)
    }

    fn caller(&self, place: Place) -> Option<&Caller> {
        self.asked.note(Question::Caller);
        self.arrays.addresses.get(place.number())
    }

    fn count(&self, event: Event) {
        self.asked.note(Question::Count);
        let mut events = self.events.get();
        events[event as usize] += 1;
        self.events.set(events);
    }

    fn count_incident(&self, service: u32, what: Incident) {
        self.asked.note(Question::CountIncident);
        self.incidents.borrow_mut().entry(service).or_default().add(what);
    }

    fn count_connection(&self, server: ServerId) {
        self.asked.note(Question::CountConnection);
        self.servers.borrow_mut().entry(server).or_default().connections += 1;
    }

    fn count_packet(&self, server: ServerId, direction: Direction, bytes: u16) {
        self.asked.note(Question::CountPacket);
        let mut servers = self.servers.borrow_mut();
        let counters = servers.entry(server).or_default();
        match direction {
            Direction::In => {
                counters.packets_in += 1;
                counters.bytes_in += u64::from(bytes);
            }
            Direction::Out => {
                counters.packets_out += 1;
                counters.bytes_out += u64::from(bytes);
            }
        }
    }
}
