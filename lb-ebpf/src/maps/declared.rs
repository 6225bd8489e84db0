//! Which maps there are. Sizes that depend on the configuration are set by the loader.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, DevMap, HashMap, LpmTrie, PerCpuArray, ProgramArray, RingBuf},
    macros::btf_map,
};
use lb_common::{
    clock::Clock,
    entry::{
        About, AccessKey, Affinity, Caller, Counters, EndpointKey, Incidents, Interface, Load, Path, Pool,
        Pulse, QuicKey, Server, Service, ServiceLimits, Settings, Sharers, Tally, Tunnel,
    },
    flow_table::BUCKET_SLOTS,
    fragments::{self, SET_NOTES},
    gate,
    net::{Addr, PortNumber},
    rate,
    settled::Settled,
    stage::STAGE_LIMIT,
    unreached::Unreached,
    verdict::{EVENT_LIMIT, VERDICT_LIMIT},
    wire::Wire,
    word::Word,
};

use super::SlotCell;

pub(crate) const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Of a map that most never use: takes memory for what is in it alone.
const WHEN_NEEDED: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub(super) static ABOUT: Array<About, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static SETTINGS: Array<Settings, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static CLOCK: Array<Clock, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static GATE: Array<Word, { gate::WORDS as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static FLOWS: Array<[SlotCell; BUCKET_SLOTS], 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static ADDRESSES: Array<Caller, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static REPLICAS: Array<[SlotCell; BUCKET_SLOTS], 16384, MMAPABLE> = Array::new();
/// Connections that others are to hear of.
#[btf_map]
pub(super) static SETTLED: RingBuf<[u64; 2], { Settled::RING_BYTES }> = RingBuf::new();
/// Clients to whom no way is known.
#[btf_map]
pub(super) static UNREACHED: RingBuf<[u64; 2], { Unreached::RING_BYTES }> = RingBuf::new();
#[btf_map]
pub(super) static POOL: Array<Pool, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static LEASES: Array<[SlotCell; BUCKET_SLOTS], 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static TENANTS: Array<Caller, 1, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static LISTENERS: HashMap<EndpointKey, u32, 4096> = HashMap::new();
#[btf_map]
pub(super) static BACKENDS: HashMap<EndpointKey, Sharers, 16384> = HashMap::new();
#[btf_map]
pub(super) static LOCALS: HashMap<Addr, u32, 1024> = HashMap::new();
#[btf_map]
pub(super) static LISTS: LpmTrie<[u32; AccessKey::DATA_WORDS], u32, 65536> = LpmTrie::new();
#[btf_map]
pub(super) static QUIC_SERVERS: HashMap<QuicKey, u32, 16384, WHEN_NEEDED> = HashMap::new();
#[btf_map]
pub(super) static SERVICES: Array<Service, 1024, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static LIMITS: Array<ServiceLimits, 1024, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static SOURCES: Array<[Word; rate::WAYS], 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static SERVERS: Array<Server, 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static LOADS: Array<Load, 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static TURNS: PerCpuArray<u64, 1024> = PerCpuArray::new();
#[btf_map]
pub(super) static AFFINITIES: Array<Affinity, 1024, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static MEMBERS: HashMap<u64, u32, 16384, WHEN_NEEDED> = HashMap::new();
#[btf_map]
pub(super) static SEATS: Array<[SlotCell; BUCKET_SLOTS], 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static SITTERS: Array<Caller, 131072, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static TUNNELS: Array<Tunnel, 16384, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static TABLES: Array<Word, 1048576, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static PATHS: Array<[Path; Path::WAYS], { Path::SETS as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static FRAGMENTS: Array<[Word; SET_NOTES], { fragments::SETS as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static INTERFACES: Array<Interface, { PortNumber::LIMIT as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(super) static VLANS: HashMap<Wire, u32, { PortNumber::LIMIT as usize }> = HashMap::new();
#[btf_map]
pub(crate) static DEVICES: DevMap<{ PortNumber::LIMIT as usize }> = DevMap::new();
/// The programs that this one hands over to: each loading of the object has its own.
#[btf_map]
pub(crate) static STAGES: ProgramArray<{ STAGE_LIMIT as usize }> = ProgramArray::new();
#[btf_map]
pub(super) static PULSE: PerCpuArray<Pulse, 1> = PerCpuArray::new();
#[btf_map]
pub(super) static VERDICTS: PerCpuArray<Tally, { VERDICT_LIMIT as usize }> = PerCpuArray::new();
#[btf_map]
pub(super) static EVENTS: PerCpuArray<u64, { EVENT_LIMIT as usize }> = PerCpuArray::new();
#[btf_map]
pub(super) static SERVER_COUNTERS: PerCpuArray<Counters, 16384> = PerCpuArray::new();
#[btf_map]
pub(super) static INCIDENTS: PerCpuArray<Incidents, 1024> = PerCpuArray::new();
