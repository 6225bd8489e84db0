//! Katran as a contender: its object, given by path, with one VIP of each family in front of as many servers as xlvs has. Keys
//! and values are laid out as its public headers say (katran/lib/bpf/balancer_structs.h); nothing of it is in this repository.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData};
use aya::{Ebpf, EbpfLoader};
use lb_common::identity::name_hash;
use lb_common::maglev::{Share, table};
use xlvs_tests::datapath::program::xdp;
use xlvs_tests::datapath::world::mac_of;
use xlvs_tests::family::Family;

use super::ours::{BUCKET_BITS, SERVERS, address};
use super::scenario::{Scenario, Sends, VIP, VIP6, client};
use xlvs_tests::datapath::driver::{Buffers, Driver};
use xlvs_tests::datapath::plan::halves;

/// `struct flow_key`: addresses, ports, protocol.
type FlowKey = [u8; 40];
/// `struct real_pos_lru`: the server's number, and a time that matters to UDP alone.
type Seat = [u64; 2];
/// One cache of connections a CPU; here all have the same.
type Connections = HashMap<MapData, FlowKey, Seat>;

const PROGRAM: &str = "balancer_ingress";
/// Places in the table of a VIP, compiled into the program.
const RING: u32 = 65_537;
/// As many connections as xlvs has places for.
const CONNECTIONS: u32 = 1 << (BUCKET_BITS + 3);
/// New connections in a second beyond which it stores none, less what a measurement may be off.
pub const MOST_NEW: u32 = 100_000;
const TCP: u8 = 6;

pub struct Katran {
    /// Its maps live as long as it.
    _ebpf: Ebpf,
    connections: Connections,
    /// What is in the cache now.
    filled_for: Cell<Option<(Family, u32)>>,
}

impl Katran {
    /// Loaded and told of VIPs and servers, with its driver.
    pub fn load(path: &Path, interface: u32) -> Result<(Self, Driver)> {
        let mut loader = EbpfLoader::new();
        // Two VIPs; the whole would take 270 MB.
        loader.map_max_entries("ch_rings", RING * 2).map_max_entries("fallback_cache", CONNECTIONS);
        let mut ebpf = loader.load_file(path).with_context(|| format!("cannot load {}", path.display()))?;
        xdp(&mut ebpf, PROGRAM)?.load().context("the kernel refuses Katran")?;
        configure(&mut ebpf)?;
        let driver = Driver::of(xdp(&mut ebpf, PROGRAM)?.fd()?, Buffers::One, interface)?;
        let connections = take::<Connections>(&mut ebpf, "fallback_cache")?;
        let lists = ebpf.take_map("lru_mapping").context("Katran's object has no map lru_mapping")?;
        let mut lists: ArrayOfMaps<MapData, Connections> = ArrayOfMaps::try_from(lists)?;
        for cpu in 0..lists.len() {
            lists.set(cpu, &connections, 0).context("Katran takes no cache of connections")?;
        }
        Ok((Self { _ebpf: ebpf, connections, filled_for: Cell::new(None) }, driver))
    }

    pub const fn can(scenario: &Scenario) -> bool {
        !matches!(scenario.sends, Sends::Replies(_))
    }

    /// Fills the cache with the connections that the scenario is to find: from outside, because it would not store so many in
    /// so short a time.
    pub fn prepare(&mut self, scenario: &Scenario) -> Result<()> {
        let bits = match scenario.sends {
            Sends::OpensInFlood => BUCKET_BITS + 3,
            Sends::Opens => {
                // Not full: what previous rounds have left goes.
                self.clear();
                Self::rest();
                return Ok(());
            }
            _ => match scenario.stored() {
                Some(bits) => bits,
                None => return Ok(()),
            },
        };
        if self.filled_for.get() != Some((scenario.family, bits)) {
            self.clear();
            for flow in 0..1 << bits {
                let server = 1 + (flow % u64::from(SERVERS));
                self.connections.insert(key(scenario.family, flow), [server, 0], 0)?;
            }
            self.filled_for.set(Some((scenario.family, bits)));
        }
        if scenario.sends == Sends::OpensInFlood {
            Self::rest();
        }
        Ok(())
    }

    /// Whether the connection of this number was stored.
    pub fn has(&self, scenario: &Scenario, flow: u64) -> bool {
        self.connections.get(&key(scenario.family, flow), 0).is_ok()
    }

    /// Until its count of new connections begins anew.
    fn rest() {
        thread::sleep(Duration::from_millis(1100));
    }

    fn clear(&mut self) {
        self.filled_for.set(None);
        let keys: Vec<FlowKey> = self.connections.keys().filter_map(Result::ok).collect();
        for key in keys {
            // The kernel may have thrown it out meanwhile.
            drop(self.connections.remove(&key));
        }
    }
}

fn configure(ebpf: &mut Ebpf) -> Result<()> {
    let mut control: Array<_, [u8; 8]> = take(ebpf, "ctl_array")?;
    let mut mac = [0; 8];
    mac[..6].copy_from_slice(&mac_of(IpAddr::from([10, 77, 1, 1])));
    control.set(0, mac, 0)?;
    let mut vips: HashMap<_, [u8; 20], [u32; 2]> = take(ebpf, "vip_map")?;
    let mut reals: Array<_, [u8; 20]> = take(ebpf, "reals")?;
    let mut rings: Array<_, u32> = take(ebpf, "ch_rings")?;
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let first = 1 + number as u16 * SERVERS;
        let mut vip = [0; 20];
        put(&mut vip, family.choose(VIP, VIP6));
        vip[16..18].copy_from_slice(&80_u16.to_be_bytes());
        vip[18] = TCP;
        vips.insert(vip, [0, number as u32], 0)?;
        for server in 0..SERVERS {
            let mut real = [0; 20];
            put(&mut real, address(family, server));
            real[16] = u8::from(family == Family::V6);
            reals.set(u32::from(first) + u32::from(server), real, 0)?;
        }
        let shares = (0..SERVERS).map(|server| Share {
            name_hash: name_hash(0, &[server as u8]),
            weight: 1,
            id: first + server,
        });
        for (place, id) in (number as u32 * RING..).zip(table(&shares.collect::<Vec<_>>(), RING)) {
            rings.set(place, u32::from(id), 0)?;
        }
    }
    Ok(())
}

fn key(family: Family, flow: u64) -> FlowKey {
    let mut key = [0; 40];
    put(&mut key, client(family, flow));
    put(&mut key[16..], family.choose(VIP, VIP6));
    let (_, port) = halves(flow);
    key[32..34].copy_from_slice(&port.to_be_bytes());
    key[34..36].copy_from_slice(&80_u16.to_be_bytes());
    key[36] = TCP;
    key
}

fn put(into: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => into[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => into[..16].copy_from_slice(&address.octets()),
    }
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let Some(map) = ebpf.take_map(name) else { bail!("Katran's object has no map {name}") };
    M::try_from(map).with_context(|| format!("Katran's map {name} is not as expected"))
}
