//! The answers that the maps give to [`Tables`]. What several ways ask, and is large, is a subprogram ([`super::once`]).
#![expect(unsafe_code, reason = "kernel helpers and map memory are raw pointers")]

use aya_ebpf::{
    btf_maps::lpm_trie::Key,
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
        bpf_xdp_get_buff_len,
    },
};
use lb_common::{
    clock::{Clock, Now},
    entry::{
        AccessKey, Affinity, Caller, EndpointKey, Incident, Interface, Load, Path, Pool, QuicKey, Server,
        Service, ServiceLimits, Settings, Sharers, Tunnel, member_key,
    },
    flow_table::{BUCKET_SLOTS, Memory, Place},
    fragments::SET_NOTES,
    identity::FlowId,
    net::{Addr, NextHop, Port, PortNumber, Tuple},
    rate,
    slot::{ServerId, Slot},
    unreached::Unreached,
    verdict::Event,
    wire::Wire,
    word::Word,
};
use lb_ebpf::{
    Outcome,
    extensions::Upper,
    frame::Frame,
    schedule::Choice,
    sharing::Tie,
    tables::{Direction, Tables},
    tags::Head,
    tunnel::Parcel,
};

use super::{
    KernelTables, SlotCell,
    declared::{
        ADDRESSES, AFFINITIES, BACKENDS, CLOCK, EVENTS, FLOWS, FRAGMENTS, GATE, INCIDENTS, INTERFACES,
        LEASES, LIMITS, LISTENERS, LISTS, LOADS, LOCALS, MEMBERS, PATHS, POOL, PULSE, QUIC_SERVERS, REPLICAS,
        SEATS, SERVER_COUNTERS, SERVERS, SERVICES, SETTINGS, SITTERS, SOURCES, TABLES, TENANTS, TUNNELS,
        TURNS, UNREACHED, VLANS,
    },
    once::{
        NOWHERE, xlvs_announce, xlvs_behind_extensions, xlvs_choose, xlvs_collides, xlvs_derives, xlvs_dress,
        xlvs_encapsulate, xlvs_head, xlvs_locate, xlvs_merit, xlvs_rent, xlvs_seat, xlvs_seated, xlvs_store,
        xlvs_take, xlvs_tie, xlvs_told,
    },
    route,
};
use crate::purpose::{counts, is_explaining};

impl Memory for KernelTables {
    type Cell = SlotCell;
    #[inline(always)]
    fn bucket(&self, number: u32) -> Option<&[SlotCell; BUCKET_SLOTS]> {
        FLOWS.get(number)
    }
    #[inline(always)]
    fn leases(&self, number: u32) -> Option<&[SlotCell; BUCKET_SLOTS]> {
        LEASES.get(number)
    }
    #[inline(always)]
    fn seats(&self, number: u32) -> Option<&[SlotCell; BUCKET_SLOTS]> {
        SEATS.get(number)
    }
    #[inline(always)]
    fn replicas(&self, number: u32) -> Option<&[SlotCell; BUCKET_SLOTS]> {
        REPLICAS.get(number)
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn clock(&self) -> Option<&Clock> {
        CLOCK.get(0)
    }

    #[inline(always)]
    fn gate(&self, word: u32) -> u64 {
        GATE.get(word).map_or(0, Word::load)
    }

    #[inline(always)]
    fn listener(&self, key: &EndpointKey) -> Option<u32> {
        // SAFETY: the value is copied out at once.
        unsafe { LISTENERS.get(key) }.copied()
    }

    #[inline(always)]
    fn service(&self, number: u32) -> Option<&Service> {
        counts(|trail| trail.note_service(number));
        SERVICES.get(number)
    }

    #[inline(always)]
    fn server(&self, id: ServerId) -> Option<&Server> {
        SERVERS.get(id.index())
    }

    #[inline(always)]
    fn tunnel(&self, id: ServerId) -> Option<&Tunnel> {
        TUNNELS.get(id.index())
    }

    #[inline(always)]
    fn ids(&self, word: u32) -> Option<u64> {
        TABLES.get(word).map(Word::load)
    }

    #[inline(always)]
    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers> {
        // SAFETY: the agent replaces values whole; a reader sees an old or a new list until the run ends (RCU).
        unsafe { BACKENDS.get(key) }
    }

    #[inline(always)]
    fn is_local(&self, addr: Addr) -> bool {
        // SAFETY: only presence is asked.
        unsafe { LOCALS.get(addr) }.is_some()
    }

    #[inline(always)]
    fn rule(&self, client: &AccessKey) -> Option<u32> {
        // SAFETY: the same bytes; aya's type is packed, and a packed key would be written to the stack misaligned.
        let key = unsafe { &*(&raw const *client).cast::<Key<[u32; AccessKey::DATA_WORDS]>>() };
        LISTS.get(key).copied()
    }

    #[inline(always)]
    fn quic_server(&self, key: &QuicKey) -> Option<u32> {
        // SAFETY: the value is copied out at once.
        unsafe { QUIC_SERVERS.get(key) }.copied()
    }

    #[inline(always)]
    fn load(&self, number: u32) -> Option<&Load> {
        LOADS.get(number)
    }

    #[inline(always)]
    fn next_turn(&self, service: u32) -> u64 {
        let Some(turn) = TURNS.get_ptr_mut(service) else { return 0 };
        // SAFETY: this CPU's own entry.
        unsafe {
            let its = *turn;
            if !is_explaining() {
                *turn = its.wrapping_add(1);
            }
            its
        }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn affinity(&self, service: u32) -> Option<&Affinity> {
        AFFINITIES.get(service)
    }

    #[inline(always)]
    fn member(&self, service: u32, named: ServerId) -> Option<u32> {
        let key = member_key(service as u16, named);
        // SAFETY: the value is copied out at once.
        unsafe { MEMBERS.get(key) }.copied()
    }

    #[inline(always)]
    fn sitter(&self, place: Place) -> Option<&Caller> {
        SITTERS.get(place.number())
    }

    #[inline(always)]
    fn choose(&self, service: u32, tuple: &Tuple, seated: Choice) -> Choice {
        Choice::from_word(xlvs_choose(service, tuple, seated.word()))
    }

    #[inline(always)]
    fn merit(&self, service: u32, server: u32, attempt: u64) -> u64 {
        xlvs_merit(service, server, attempt)
    }

    #[inline(always)]
    fn seated(&self, service: u32, tuple: &Tuple) -> Choice {
        Choice::from_word(xlvs_seated(service, tuple))
    }

    #[inline(always)]
    fn seat(&self, service: u32, tuple: &Tuple, server: u32) {
        xlvs_seat(service, tuple, server);
    }

    #[inline(always)]
    fn limits(&self, entry: u32) -> Option<&ServiceLimits> {
        LIMITS.get(entry)
    }

    #[inline(always)]
    fn sources(&self, set: u32) -> Option<&[Word; rate::WAYS]> {
        SOURCES.get(set)
    }

    #[inline(always)]
    fn take(&self, set: u32, tag: u64, interval: u64, now: u64) -> bool {
        xlvs_take(set, tag, interval, now) != 0
    }

    #[inline(always)]
    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]> {
        PATHS.get(set)
    }

    #[inline(always)]
    fn notes(&self, set: u32) -> Option<&[Word; SET_NOTES]> {
        FRAGMENTS.get(set)
    }

    #[inline(always)]
    fn interface(&self, port: PortNumber) -> Option<&Interface> {
        INTERFACES.get(port.index())
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is valid for the whole run.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn monotonic_ns(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn is_time_to_look(&self) -> bool {
        // SAFETY: this CPU's own entry.
        PULSE.get_ptr_mut(0).is_some_and(|pulse| unsafe { (*pulse).is_time_to_look() })
    }

    #[inline(always)]
    fn may_answer(&self, now: Now) -> bool {
        // SAFETY: this CPU's own entry.
        is_explaining() || PULSE.get_ptr_mut(0).is_some_and(|pulse| unsafe { (*pulse).may_answer(now) })
    }

    #[inline(always)]
    fn vlan(&self, wire: &Wire) -> Option<u32> {
        // SAFETY: the value is copied out at once.
        unsafe { VLANS.get(wire) }.copied()
    }

    #[inline(always)]
    fn route(&self, by: u32, from: &Addr, to: &Addr) -> Option<NextHop> {
        NextHop::from_word(route::fib_lookup(self.context, by, from, to))
    }

    #[inline(always)]
    fn frame_length(&self) -> u64 {
        // SAFETY: the context is valid for the whole run.
        unsafe { bpf_xdp_get_buff_len(self.context) }
    }

    #[inline(always)]
    fn trim(&self, bytes: usize) {
        // SAFETY: the context is valid; no view into the frame is used afterwards.
        unsafe { bpf_xdp_adjust_tail(self.context, -(bytes as i32)) };
    }

    #[inline(always)]
    fn moved(&self, bytes: i32) -> Option<Frame<'_>> {
        // SAFETY: the context is valid; no view into the frame is used afterwards.
        if bytes != 0 && unsafe { bpf_xdp_adjust_head(self.context, -bytes) } != 0 {
            return None;
        }
        Some(self.frame())
    }

    #[inline(always)]
    fn locate(&self, flow: FlowId) -> Option<Place> {
        let found = xlvs_locate(flow.bits());
        if found == NOWHERE { None } else { Some(Place::from_word(found)) }
    }

    #[inline(always)]
    fn derives(&self, server: ServerId, flow: FlowId) -> bool {
        xlvs_derives(server.index(), flow.bits()) != 0
    }

    #[inline(always)]
    fn told(&self, flow: FlowId) -> Option<Slot> {
        Slot::from_word(xlvs_told(flow.bits()))
    }

    #[inline(always)]
    fn tie(&self, server: ServerId, client: &Tuple, hit: Port) -> Tie {
        Tie::from_word(xlvs_tie(server.index(), client, u32::from(hit.raw())))
    }

    #[inline(always)]
    fn collides(&self, server: ServerId, tuple: &Tuple) -> bool {
        xlvs_collides(server.index(), tuple) != 0
    }

    #[inline(always)]
    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool {
        xlvs_store(flow.bits(), server.index(), u32::from(diverged)) != 0
    }

    #[inline(always)]
    fn announce(&self, flow: FlowId) {
        xlvs_announce(flow.bits());
    }

    /// Wakes the agent, which is rare enough: it has found a way by when TCP sends again.
    #[inline(always)]
    fn ask_the_way(&self, client: Addr) {
        let _ = UNREACHED.output(Unreached(client).to_words(), 0);
    }

    #[inline(always)]
    fn behind_extensions(&self, _: &Frame<'_>, at: u64, number: u8) -> Upper {
        Upper::from_word(xlvs_behind_extensions(self.context, at as u32, u32::from(number)))
    }

    #[inline(always)]
    fn encapsulate(&self, _: &Frame<'_>, parcel: Parcel) -> Outcome {
        let Parcel { server, shape, entropy } = parcel;
        Outcome::from_word(xlvs_encapsulate(self.context, server.index(), shape.word(), entropy))
    }

    #[inline(always)]
    fn head(&self, _: &Frame<'_>) -> Head {
        Head::from_word(xlvs_head(self.context))
    }

    #[inline(always)]
    fn dress(&self, port: PortNumber) -> bool {
        xlvs_dress(self.context, port.index()) != 0
    }

    #[inline(always)]
    fn pool(&self) -> Option<&Pool> {
        POOL.get(0)
    }

    #[inline(always)]
    fn tenant(&self, place: Place) -> Option<&Caller> {
        TENANTS.get(place.number())
    }

    #[inline(always)]
    fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        let found = xlvs_rent(flow.bits(), server.index(), u32::from(ipv6));
        if found == NOWHERE { None } else { Some(Place::from_word(found)) }
    }

    #[inline(always)]
    fn caller(&self, place: Place) -> Option<&Caller> {
        ADDRESSES.get(place.number())
    }

    #[inline(always)]
    fn count(&self, event: Event) {
        if !counts(|trail| trail.note_event(event)) {
            return;
        }
        if let Some(count) = EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: this CPU's own entry.
            unsafe { *count += 1 }
        }
    }

    #[inline(always)]
    fn count_incident(&self, service: u32, what: Incident) {
        if !counts(|trail| trail.note_service(service)) {
            return;
        }
        if let Some(incidents) = INCIDENTS.get_ptr_mut(service) {
            // SAFETY: this CPU's own entry.
            unsafe { (*incidents).add(what) }
        }
    }

    #[inline(always)]
    fn count_connection(&self, server: ServerId) {
        if !counts(|trail| trail.note_server(server)) {
            return;
        }
        if let Some(counters) = SERVER_COUNTERS.get_ptr_mut(server.index()) {
            // SAFETY: this CPU's own entry.
            unsafe { (*counters).connections += 1 }
        }
    }

    #[inline(always)]
    fn count_packet(&self, server: ServerId, direction: Direction, bytes: u16) {
        if !counts(|trail| trail.note_server(server)) {
            return;
        }
        let Some(counters) = SERVER_COUNTERS.get_ptr_mut(server.index()) else { return };
        // SAFETY: this CPU's own entry.
        unsafe {
            match direction {
                Direction::In => {
                    (*counters).packets_in += 1;
                    (*counters).bytes_in += u64::from(bytes);
                }
                Direction::Out => {
                    (*counters).packets_out += 1;
                    (*counters).bytes_out += u64::from(bytes);
                }
            }
        }
    }

    #[inline(always)]
    fn fell_short(&self, server: ServerId) {
        counts(|trail| trail.note_server(server));
    }

    #[inline(always)]
    fn leaves_traces(&self) -> bool {
        !is_explaining()
    }
}
