//! What the pinned maps hold, read from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use lb_common::entry::{
    AccessKey, Counters, EndpointKey, Incidents, QuicKey, Server, ServerState, Service, Sharers, Tally,
};
use lb_common::net::Addr;
use lb_common::pick::{Extent, IDS_PER_WORD, id_in_word};
use lb_common::wire::Wire;
use lb_common::word::Word;
use xlvs_tests::agent::Installation;
use xlvs_tests::datapath::region::{Region, Value};

/// By map, what it holds, in an order of its own.
pub type Dump = BTreeMap<String, Vec<String>>;

/// Every pinned map but the clock, into which the agent writes its sign of life, the device map, whose content is that of
/// INTERFACES, PULSE, which counts the packets of each CPU, and SETTLED and UNREACHED, which the agent empties.
pub fn dump(installation: &Installation) -> Dump {
    let folder = installation.pins().join("maps");
    let mut dump = Dump::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !matches!(name.as_str(), "CLOCK" | "DEVICES" | "PULSE" | "SETTLED" | "UNREACHED") {
            let content = content(&folder.join(&name), &name);
            dump.insert(name, content);
        }
    }
    dump
}

fn content(path: &Path, name: &str) -> Vec<String> {
    match name {
        "LISTENERS" => keyed::<EndpointKey, u32>(path),
        "BACKENDS" => keyed::<EndpointKey, Sharers>(path),
        "LOCALS" => keyed::<Addr, u32>(path),
        "VLANS" => keyed::<Wire, u32>(path),
        "QUIC_SERVERS" => keyed::<QuicKey, u32>(path),
        "MEMBERS" => keyed::<u64, u32>(path),
        "TURNS" => counted::<u64>(path),
        "VERDICTS" => counted::<Tally>(path),
        "EVENTS" => counted::<u64>(path),
        "SERVER_COUNTERS" => counted::<Counters>(path),
        "INCIDENTS" => counted::<Incidents>(path),
        "LISTS" => prefixes(path),
        _ => {
            let words = array::<Word>(path);
            let held = words.all().iter().enumerate().filter(|(_, word)| word.load() != 0);
            held.map(|(index, word)| format!("{index}: {:016x}", word.load())).collect()
        }
    }
}

fn keyed<K: Pod + std::fmt::Debug, V: Pod + std::fmt::Debug>(path: &Path) -> Vec<String> {
    let map: HashMap<MapData, K, V> = Map::HashMap(MapData::from_pin(path).unwrap()).try_into().unwrap();
    let mut pairs: Vec<String> = map.iter().map(|pair| format!("{:?}", pair.unwrap())).collect();
    pairs.sort();
    pairs
}

fn prefixes(path: &Path) -> Vec<String> {
    let data = MapData::from_pin(path).unwrap();
    let map: LpmTrie<_, [u32; AccessKey::DATA_WORDS], u32> = Map::LpmTrie(data).try_into().unwrap();
    let told = |(key, rule): (Key<[u32; AccessKey::DATA_WORDS]>, u32)| {
        format!("{} bits of {:?}: {rule}", key.prefix_len(), key.data())
    };
    let mut prefixes: Vec<String> = map.iter().map(|pair| told(pair.unwrap())).collect();
    prefixes.sort();
    prefixes
}

fn counted<T: Pod + std::fmt::Debug>(path: &Path) -> Vec<String> {
    let map: PerCpuArray<MapData, T> = Map::PerCpuArray(MapData::from_pin(path).unwrap()).try_into().unwrap();
    map.iter().map(|values| format!("{:?}", &**values.as_ref().unwrap())).collect()
}

fn array<T: Value>(path: &Path) -> Region<T> {
    let data = MapData::from_pin(path).unwrap();
    let info = data.info().unwrap();
    let bytes = u64::from(info.value_size()) * u64::from(info.max_entries());
    Region::of_map(data.fd(), (bytes / size_of::<T>() as u64) as u32).unwrap()
}

/// The table by which the only service picks for a SYN: a server's id for each slot.
pub fn select_table(installation: &Installation) -> Vec<u16> {
    let maps = installation.pins().join("maps");
    let services = array::<Service>(&maps.join("SERVICES"));
    let service = services.all().iter().find(|service| service.flags.load() & Service::IN_USE != 0).unwrap();
    let extent = Extent::from_word(service.select.load()).unwrap();
    let words = array::<Word>(&maps.join("TABLES"));
    let id = |slot: u32| {
        let word = words.get(extent.offset() + slot / IDS_PER_WORD).unwrap().load();
        id_in_word(word, slot % IDS_PER_WORD).unwrap().get()
    };
    (0..extent.size()).map(id).collect()
}

/// Has the data path announce no connection, until the agent writes its servers anew: of those that settle, only the walk tells.
pub fn silence(installation: &Installation) {
    let servers = array::<Server>(&installation.pins().join("maps").join("SERVERS"));
    let mut silenced = 0;
    for server in servers.all() {
        let state = ServerState::from_word(server.state.load());
        if state.tells(true) {
            let flags = state.flags & !(ServerState::TOLD | ServerState::TOLD_WHOLE);
            server.state.store(ServerState { flags, ..state }.to_word());
            silenced += 1;
        }
    }
    assert!(silenced > 0, "nobody would have been announced");
}
