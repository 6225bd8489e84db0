//! The maps, and the answers they give to [`Tables`].
//!
//! Those that program and agent share word by word are mmapable arrays: the JIT inlines their look-ups, and the agent
//! reads and writes them without a system call. Sizes that depend on the configuration are set by the loader.
#![expect(unsafe_code, reason = "kernel helpers and map memory are raw pointers")]

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_fib_lookup as FibParams, xdp_md},
    btf_maps::{Array, DevMap, HashMap, LpmTrie, PerCpuArray, ProgramArray, lpm_trie::Key},
    helpers::{
        bpf_fib_lookup, bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_xdp_adjust_head,
        bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    },
    macros::btf_map,
};
use lb_common::{
    clock::{Clock, Now},
    entry::{
        About, AccessKey, Affinity, Caller, Counters, EndpointKey, Interface, Load, Path, Pool, Pulse,
        QuicKey, Refusal, Refusals, Server, Service, ServiceLimits, Settings, Sharers, Tally, Tunnel,
        member_key,
    },
    flow_table::{BUCKET_SLOTS, Cell, Memory, Place},
    fragments::{self, SET_NOTES},
    gate,
    identity::FlowId,
    net::{Addr, NextHop, Port, PortNumber, Tuple},
    rate,
    slot::ServerId,
    stage::{STAGE_LIMIT, Stage},
    verdict::{EVENT_LIMIT, Event, VERDICT_LIMIT, Verdict},
    wire::Wire,
    word::{Word, opaque},
};
use lb_ebpf::{
    Outcome,
    director::Director,
    extensions::{self, Upper},
    frame::Frame,
    parse::Shape,
    schedule::Choice,
    sharing::Tie,
    tables::{Direction, Tables},
    tags::{self, Head},
    tunnel::{self, Parcel},
};

use crate::purpose::{counts, is_explaining};

/// No driver has smaller first buffers of frames that go on in others; no frame of the ordinary MTU is so long.
const LEAST_FULL_BUFFER: u64 = 1_536;

pub(crate) const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Of a map that most never use: takes memory for what is in it alone.
const WHEN_NEEDED: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static ABOUT: Array<About, 1, MMAPABLE> = Array::new();
#[btf_map]
static SETTINGS: Array<Settings, 1, MMAPABLE> = Array::new();
#[btf_map]
static CLOCK: Array<Clock, 1, MMAPABLE> = Array::new();
#[btf_map]
static GATE: Array<Word, { gate::WORDS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static FLOWS: Array<[SlotCell; BUCKET_SLOTS], 16384, MMAPABLE> = Array::new();
#[btf_map]
static ADDRESSES: Array<Caller, 1, MMAPABLE> = Array::new();
#[btf_map]
static POOL: Array<Pool, 1, MMAPABLE> = Array::new();
#[btf_map]
static LEASES: Array<[SlotCell; BUCKET_SLOTS], 1, MMAPABLE> = Array::new();
#[btf_map]
static TENANTS: Array<Caller, 1, MMAPABLE> = Array::new();
#[btf_map]
static LISTENERS: HashMap<EndpointKey, u32, 4096> = HashMap::new();
#[btf_map]
static BACKENDS: HashMap<EndpointKey, Sharers, 16384> = HashMap::new();
#[btf_map]
static LOCALS: HashMap<Addr, u32, 1024> = HashMap::new();
#[btf_map]
static LISTS: LpmTrie<[u32; AccessKey::DATA_WORDS], u32, 65536> = LpmTrie::new();
#[btf_map]
static QUIC_SERVERS: HashMap<QuicKey, u32, 16384, WHEN_NEEDED> = HashMap::new();
#[btf_map]
static SERVICES: Array<Service, 1024, MMAPABLE> = Array::new();
#[btf_map]
static LIMITS: Array<ServiceLimits, 1024, MMAPABLE> = Array::new();
#[btf_map]
static SOURCES: Array<[Word; rate::WAYS], 16384, MMAPABLE> = Array::new();
#[btf_map]
static SERVERS: Array<Server, 16384, MMAPABLE> = Array::new();
#[btf_map]
static LOADS: Array<Load, 16384, MMAPABLE> = Array::new();
#[btf_map]
static TURNS: PerCpuArray<u64, 1024> = PerCpuArray::new();
#[btf_map]
static AFFINITIES: Array<Affinity, 1024, MMAPABLE> = Array::new();
#[btf_map]
static MEMBERS: HashMap<u64, u32, 16384, WHEN_NEEDED> = HashMap::new();
#[btf_map]
static SEATS: Array<[SlotCell; BUCKET_SLOTS], 16384, MMAPABLE> = Array::new();
#[btf_map]
static SITTERS: Array<Caller, 131072, MMAPABLE> = Array::new();
#[btf_map]
static TUNNELS: Array<Tunnel, 16384, MMAPABLE> = Array::new();
#[btf_map]
static TABLES: Array<Word, 1048576, MMAPABLE> = Array::new();
#[btf_map]
static PATHS: Array<[Path; Path::WAYS], { Path::SETS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static FRAGMENTS: Array<[Word; SET_NOTES], { fragments::SETS as usize }, MMAPABLE> = Array::new();
#[btf_map]
static INTERFACES: Array<Interface, { PortNumber::LIMIT as usize }, MMAPABLE> = Array::new();
#[btf_map]
static VLANS: HashMap<Wire, u32, { PortNumber::LIMIT as usize }> = HashMap::new();
#[btf_map]
pub(crate) static DEVICES: DevMap<{ PortNumber::LIMIT as usize }> = DevMap::new();
/// The programs that this one hands over to: each loading of the object has its own.
#[btf_map]
static STAGES: ProgramArray<{ STAGE_LIMIT as usize }> = ProgramArray::new();
#[btf_map]
static PULSE: PerCpuArray<Pulse, 1> = PerCpuArray::new();
#[btf_map]
static VERDICTS: PerCpuArray<Tally, { VERDICT_LIMIT as usize }> = PerCpuArray::new();
#[btf_map]
static EVENTS: PerCpuArray<u64, { EVENT_LIMIT as usize }> = PerCpuArray::new();
#[btf_map]
static SERVER_COUNTERS: PerCpuArray<Counters, 16384> = PerCpuArray::new();
#[btf_map]
static REFUSALS: PerCpuArray<Refusals, 1024> = PerCpuArray::new();

/// A word of the connection table, or of full NAT's. Explaining goes through all the motions, and every exchange seems to
/// succeed.
#[repr(transparent)]
pub(crate) struct SlotCell(Word);

impl Cell for SlotCell {
    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load()
    }

    #[inline(always)]
    fn replace(&self, seen: u64, new: u64) -> bool {
        is_explaining() || self.0.replace(seen, new)
    }
}

/// The kernel's maps, seen from one run of the program on one frame.
pub(crate) struct KernelTables {
    context: *mut xdp_md,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }

    /// The frame as it is now.
    #[inline(always)]
    pub(crate) fn frame(&self) -> Frame<'_> {
        // SAFETY: the context is valid for the whole run, and the kernel gives its frame to this run alone.
        unsafe {
            Frame::of_range(
                (*self.context).data as usize as *mut u8,
                (*self.context).data_end as usize as *mut u8,
            )
        }
    }

    /// What the books are given. The kernel is asked only of frames that may have more than one buffer, because asking costs
    /// as much as a look-up. (Of a driver that splits payload from headers, the headers alone are counted.)
    #[inline(always)]
    pub(crate) fn bytes_of(&self, frame: &Frame<'_>) -> u64 {
        let first = frame.len() as u64;
        if first < LEAST_FULL_BUFFER { first } else { self.frame_length() }
    }

    /// Counts the frame's verdict: the only place that does. `stage` came to it, or the entry.
    #[inline(always)]
    pub(crate) fn conclude(&self, verdict: u32, bytes: u64, stage: Option<Stage>) {
        if !counts(|trail| trail.end(verdict, stage)) {
            return;
        }
        if let Some(tally) = VERDICTS.get_ptr_mut(verdict) {
            // SAFETY: this CPU's own entry, and XDP is not preempted by itself.
            unsafe {
                (*tally).packets += 1;
                (*tally).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn may_log(&self) -> bool {
        !is_explaining() && CLOCK.get(0).is_some_and(Clock::may_log)
    }
}

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
        NextHop::from_word(fib_lookup(self.context, by, from, to))
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
    fn count_refusal(&self, service: u32, why: Refusal) {
        if !counts(|trail| trail.note_service(service)) {
            return;
        }
        if let Some(refusals) = REFUSALS.get_ptr_mut(service) {
            // SAFETY: this CPU's own entry.
            unsafe { (*refusals).add(why) }
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

/// Goes on in another program, and returns if there is none. Written out for each, because the kernel makes a direct jump
/// of a call only if it always leads to the same place (commit d2e4c1e6c294, Linux 5.5), and the compiler would merge them.
#[inline(always)]
pub(crate) fn jump<const STAGE: u32>(context: *mut xdp_md) {
    // SAFETY: the calling convention of the helper bpf_tail_call (12): context, array, index.
    unsafe {
        core::arch::asm!(
            "r3 = {stage}",
            "call 12",
            stage = const STAGE,
            inlateout("r1") context => _,
            inlateout("r2") &raw const STAGES => _,
            lateout("r0") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}

/// The kernel's next hop from one address to another, as a word; 0 if it knows none.
#[inline(always)]
fn fib_lookup(context: *mut xdp_md, by: u32, from: &Addr, to: &Addr) -> u64 {
    const AF_INET: u64 = 2;
    const AF_INET6: u64 = 10;
    // `struct bpf_fib_lookup` as eight words, because the verifier wants the stack accessed aligned: family; ifindex;
    // source (16 bytes); destination (16 bytes); VLAN and the start of the source MAC; its end and the other MAC.
    // The zero is unknown to the compiler, which would call a function to write so many: that takes stack.
    let zero = opaque(0);
    let params: [Word; 8] = [zero; 8].map(Word::new);
    let in_ipv4 = to.as_v4().is_some();
    params[0].store(if in_ipv4 { AF_INET } else { AF_INET6 });
    params[1].store(u64::from(by));
    for (place, addr) in [(2, from), (4, to)] {
        let [a, b, c, d] = addr.words().map(u64::from);
        params[place].store(if in_ipv4 { d } else { a | b << 32 });
        params[place + 1].store(if in_ipv4 { 0 } else { c | d << 32 });
    }
    params[6].store(zero);
    params[7].store(zero);
    // SAFETY: valid context; the words are as large and laid out as the structure.
    let answer = unsafe {
        let at = (&raw const params).cast_mut().cast::<FibParams>();
        bpf_fib_lookup(context.cast(), at, size_of::<FibParams>() as i32, 0)
    };
    // 0: found, with a neighbour (BPF_FIB_LKUP_RET_SUCCESS).
    if answer != 0 {
        return 0;
    }
    let m = params[7].load().to_ne_bytes();
    let mac = [m[2], m[3], m[4], m[5], m[6], m[7]];
    NextHop { mac, port: PortNumber::of_interface(params[1].load() as u32) }.to_word()
}

/// No place in the flow table.
const NOWHERE: u64 = u64::MAX;

/// A global function (kernel commit 51c39bb1d5d1, Linux 5.6): takes and returns numbers, so it is verified once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_locate(flow: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    let Some(director) = Director::again(&tables) else { return NOWHERE };
    director.flows().locate(FlowId::from_bits(flow)).map_or(NOWHERE, Place::to_word)
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_derives(server: u32, flow: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => u64::from(director.derives(id, FlowId::from_bits(flow))),
        _ => 0,
    }
}

/// Likewise; memory of fixed size may be handed over, too (kernel commit e5069b9c23b3, Linux 5.13).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_tie(server: u32, client: *const Tuple, hit: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: the verifier has seen that the caller hands over a whole tuple, or null.
    match (Director::again(&tables), ServerId::new(server as u16), unsafe { client.as_ref() }) {
        (Some(director), Some(id), Some(client)) => {
            director.tie(id, client, Port::from_raw(hit as u16)).word()
        }
        _ => Tie::NONE.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_collides(server: u32, tuple: *const Tuple) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), ServerId::new(server as u16), unsafe { tuple.as_ref() }) {
        (Some(director), Some(id), Some(tuple)) => u64::from(director.collides(id, tuple)),
        _ => 0,
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_store(flow: u64, server: u32, diverged: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => u64::from(director.store(FlowId::from_bits(flow), id, diverged != 0)),
        _ => 0,
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_rent(flow: u64, server: u32, ipv6: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => {
            director.rent(FlowId::from_bits(flow), id, ipv6 != 0).map_or(NOWHERE, Place::to_word)
        }
        _ => NOWHERE,
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_choose(service: u32, tuple: *const Tuple, seated: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), unsafe { tuple.as_ref() }) {
        (Some(director), Some(tuple)) => director.choose(service, tuple, Choice::from_word(seated)).word(),
        _ => Choice::OPEN.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_merit(service: u32, server: u32, attempt: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    Director::again(&tables).map_or(u64::MAX, |director| director.merit(service, server, attempt))
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_seated(service: u32, tuple: *const Tuple) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), unsafe { tuple.as_ref() }) {
        (Some(director), Some(tuple)) => director.seated(service, tuple).word(),
        _ => Choice::OPEN.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_seat(service: u32, tuple: *const Tuple, server: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    let tuple = unsafe { tuple.as_ref() };
    if let (Some(director), Some(tuple), Some(id)) =
        (Director::again(&tables), tuple, ServerId::new(server as u16))
    {
        director.seat(service, tuple, id);
    }
    0
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_take(set: u32, tag: u64, interval: u64, now: u64) -> u64 {
    let Some(set) = SOURCES.get(set) else { return 1 };
    let cell = &set[rate::place(set, tag, now) % rate::WAYS];
    u64::from(KernelTables::new(core::ptr::null_mut()).draw(cell, tag, interval, now))
}

/// Likewise; the context may be handed over, too, and gives the frame anew.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_behind_extensions(context: *mut xdp_md, at: u32, number: u32) -> u64 {
    let tables = KernelTables::new(context);
    extensions::skip(&tables.frame(), u64::from(at), number as u8).word()
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_head(context: *mut xdp_md) -> u64 {
    let tables = KernelTables::new(context);
    tags::read(&tables.frame(), &tables).word()
}

/// Likewise. Moves the frame's start, so the kernel forgets what it knew of the frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_dress(context: *mut xdp_md, port: u32) -> u64 {
    u64::from(tags::dress(&KernelTables::new(context), PortNumber::of_interface(port)))
}

/// Likewise. Moves the frame's start, so the kernel forgets what it knew of the frame.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_encapsulate(context: *mut xdp_md, server: u32, shape: u64, entropy: u32) -> u64 {
    let Some(server) = ServerId::new(server as u16) else { return Outcome::from(Verdict::Aborted).word() };
    let parcel = Parcel { server, shape: Shape::from_word(shape), entropy };
    let tables = KernelTables::new(context);
    tunnel::encapsulate(&tables.frame(), &tables, parcel).word()
}
