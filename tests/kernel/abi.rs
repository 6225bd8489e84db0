//! What the loaded object's maps hold is what agent and tests believe they hold.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapType};
use lb_common::clock::Clock;
use lb_common::entry::{
    About, AccessKey, Affinity, Caller, Counters, EndpointKey, Incidents, Interface, Load, Path, Pool, Pulse,
    QuicKey, Server, Service, ServiceLimits, Settings, Sharers, Tally, Tunnel,
};
use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::fragments::{self, SET_NOTES};
use lb_common::gate;
use lb_common::net::{Addr, PortNumber};
use lb_common::rate;
use lb_common::settled::Settled;
use lb_common::unreached::Unreached;
use lb_common::verdict::{EVENT_LIMIT, VERDICT_LIMIT};
use lb_common::word::Word;
use xlvs_tests::datapath::program::open;

const INDEX: usize = size_of::<u32>();
/// `BPF_F_MMAPABLE` (linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

/// Type, key and value size.
fn expected() -> BTreeMap<&'static str, (MapType, usize, usize)> {
    use MapType::{Array, DevMap, Hash, LpmTrie, PerCpuArray, RingBuf};
    BTreeMap::from([
        ("ABOUT", (Array, INDEX, size_of::<About>())),
        ("SETTINGS", (Array, INDEX, size_of::<Settings>())),
        ("CLOCK", (Array, INDEX, size_of::<Clock>())),
        ("GATE", (Array, INDEX, size_of::<Word>())),
        ("FLOWS", (Array, INDEX, size_of::<[Word; BUCKET_SLOTS]>())),
        ("ADDRESSES", (Array, INDEX, size_of::<Caller>())),
        ("SERVICES", (Array, INDEX, size_of::<Service>())),
        ("SERVERS", (Array, INDEX, size_of::<Server>())),
        ("LOADS", (Array, INDEX, size_of::<Load>())),
        ("MEMBERS", (Hash, size_of::<u64>(), size_of::<u32>())),
        ("TURNS", (PerCpuArray, INDEX, size_of::<u64>())),
        ("AFFINITIES", (Array, INDEX, size_of::<Affinity>())),
        ("REPLICAS", (Array, INDEX, size_of::<[Word; BUCKET_SLOTS]>())),
        // What travels in it has no type to the kernel.
        ("SETTLED", (RingBuf, 0, 0)),
        ("UNREACHED", (RingBuf, 0, 0)),
        ("SEATS", (Array, INDEX, size_of::<[Word; BUCKET_SLOTS]>())),
        ("SITTERS", (Array, INDEX, size_of::<Caller>())),
        ("TUNNELS", (Array, INDEX, size_of::<Tunnel>())),
        ("LIMITS", (Array, INDEX, size_of::<ServiceLimits>())),
        ("SOURCES", (Array, INDEX, size_of::<[Word; rate::WAYS]>())),
        ("POOL", (Array, INDEX, size_of::<Pool>())),
        ("LEASES", (Array, INDEX, size_of::<[Word; BUCKET_SLOTS]>())),
        ("TENANTS", (Array, INDEX, size_of::<Caller>())),
        ("TABLES", (Array, INDEX, size_of::<Word>())),
        ("PATHS", (Array, INDEX, size_of::<[Path; Path::WAYS]>())),
        ("FRAGMENTS", (Array, INDEX, size_of::<[Word; SET_NOTES]>())),
        ("INTERFACES", (Array, INDEX, size_of::<Interface>())),
        ("LISTS", (LpmTrie, size_of::<AccessKey>(), size_of::<u32>())),
        ("LISTENERS", (Hash, size_of::<EndpointKey>(), size_of::<u32>())),
        ("BACKENDS", (Hash, size_of::<EndpointKey>(), size_of::<Sharers>())),
        ("QUIC_SERVERS", (Hash, size_of::<QuicKey>(), size_of::<u32>())),
        ("LOCALS", (Hash, size_of::<Addr>(), size_of::<u32>())),
        // `struct bpf_devmap_val`: interface index and program.
        ("DEVICES", (DevMap, INDEX, 8)),
        ("PULSE", (PerCpuArray, INDEX, size_of::<Pulse>())),
        ("VERDICTS", (PerCpuArray, INDEX, size_of::<Tally>())),
        ("EVENTS", (PerCpuArray, INDEX, size_of::<u64>())),
        ("INCIDENTS", (PerCpuArray, INDEX, size_of::<Incidents>())),
        ("SERVER_COUNTERS", (PerCpuArray, INDEX, size_of::<Counters>())),
    ])
}

#[test]
fn maps_have_the_shape_of_their_types() -> Result<()> {
    let ebpf = open()?;
    let mut missing = expected();
    for (name, map) in ebpf.maps() {
        let (Map::Array(data)
        | Map::HashMap(data)
        | Map::PerCpuArray(data)
        | Map::DevMap(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data)) = map
        else {
            continue;
        };
        let info = data.info().with_context(|| format!("map {name}"))?;
        let Some((kind, key, value)) = missing.remove(name) else {
            // Of the log, or of constants: nothing that the agent reads by layout.
            continue;
        };
        let shape = (info.map_type()?, info.key_size() as usize, info.value_size() as usize);
        ensure!(
            shape == (kind, key, value),
            "map {name} is {shape:?}, its types say {:?}",
            (kind, key, value)
        );
        if kind == MapType::Array {
            ensure!(info.map_flags() & MMAPABLE != 0, "map {name} cannot be mapped into the agent's memory");
        }
    }
    ensure!(missing.is_empty(), "the object lacks {:?}", missing.keys());
    Ok(())
}

#[test]
fn maps_of_fixed_size_have_it() -> Result<()> {
    let ebpf = open()?;
    let fixed = [
        ("ABOUT", 1),
        ("SETTINGS", 1),
        ("CLOCK", 1),
        ("POOL", 1),
        ("GATE", gate::WORDS),
        ("PATHS", Path::SETS),
        ("FRAGMENTS", fragments::SETS),
        ("INTERFACES", PortNumber::LIMIT),
        ("DEVICES", PortNumber::LIMIT),
        ("PULSE", 1),
        ("VERDICTS", VERDICT_LIMIT),
        ("EVENTS", EVENT_LIMIT),
        ("SETTLED", Settled::RING_BYTES as u32),
        ("UNREACHED", Unreached::RING_BYTES as u32),
    ];
    for (name, entries) in fixed {
        let map = ebpf.map(name).with_context(|| format!("the object has no map {name}"))?;
        let (Map::Array(data) | Map::PerCpuArray(data) | Map::DevMap(data) | Map::RingBuf(data)) = map else {
            continue;
        };
        let got = data.info()?.max_entries();
        ensure!(got == entries, "map {name} has {got} entries, not {entries}");
    }
    Ok(())
}
