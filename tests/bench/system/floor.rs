//! The least a director can do: it writes the server's MAC into the frame and sends it back, without a table, a check or a count.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::XdpMode;
use xlvs_tests::topology::{Topology, VIP};

use xlvs_tests::datapath::floors;

/// Attached until it is dropped.
pub struct Floor {
    _ebpf: Ebpf,
}

const PROGRAM: &str = "floor_forward";

impl Floor {
    /// On the director's eth0, for the first server.
    pub fn attach(topology: &Topology) -> Result<Self> {
        let (server, own) = (topology.server_mac(0)?, topology.director_mac("eth0")?);
        let hop: Vec<u8> = VIP.octets().into_iter().chain(server).chain(own).collect();
        let mut ebpf = floors::open(1)?;
        let map = ebpf.map_mut("HOP").context("the bench's object has no map HOP")?;
        let hop = <[u8; 16]>::try_from(hop.as_slice())?;
        Array::<_, [u8; 16]>::try_from(map)?.set(0, hop, 0)?;
        let program = floors::program(&mut ebpf, PROGRAM)?;
        topology
            .director()
            .enter(|| program.attach("eth0", XdpMode::Driver).map(drop))?
            .with_context(|| format!("cannot attach {PROGRAM}"))?;
        Ok(Self { _ebpf: ebpf })
    }
}
