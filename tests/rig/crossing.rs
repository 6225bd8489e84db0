//! The smallest director there is: a few instructions that send IP frames on to the next hop by MAC address.

use anyhow::Result;
use nix::net::if_::if_nametoindex;
use xlvs_tests::stub::{self, Attached, Instruction};
use xlvs_tests::topology::{Layout, Topology};

/// Frames to a network are sent to the MAC `next_hop`.
struct Rule {
    /// As it is read from the frame, like the network.
    ether_type: i32,
    /// Ethernet and IP.
    headers: i32,
    protocol_at: i16,
    /// ICMP of either family is the kernel's: neighbour discovery is part of it.
    icmp: i32,
    destination_at: i16,
    mask: i32,
    network: i32,
    next_hop: [u8; 6],
}

impl Rule {
    /// To 10.77.`network`.0/24 and to fd77:`network`::/32: the clients' network is 1, the servers' 2.
    fn to(network: u8, next_hop: [u8; 6]) -> [Self; 2] {
        let v4 = Self {
            ether_type: 0x0008,
            headers: 34,
            protocol_at: 23,
            icmp: 1,
            destination_at: 30,
            mask: 0x00ff_ffff,
            network: i32::from_le_bytes([10, 77, network, 0]),
            next_hop,
        };
        let v6 = Self {
            ether_type: 0xdd86,
            headers: 54,
            protocol_at: 20,
            icmp: 58,
            destination_at: 38,
            mask: -1,
            network: i32::from_le_bytes([0xfd, 0x77, 0, network]),
            next_hop,
        };
        [v4, v6]
    }

    /// To the first client and its network.
    fn to_client() -> [Self; 2] {
        Self::to(1, [2, 0x77, 0, 0, 1, 10])
    }

    fn to_server() -> [Self; 2] {
        Self::to(2, SERVER)
    }
}

/// The first server, as the topology has it.
const SERVER: [u8; 6] = [2, 0x77, 0, 0, 2, 21];

/// Where a frame leaves that a rule applies to.
enum Exit {
    Tx,
    Redirect(u32),
}

/// Carries TCP and UDP of either family between the first client and the first server, which address each other: by XDP_TX on eth0 in one-arm,
/// by XDP_REDIRECT between eth0 and eth1 in two-arm.
pub(crate) fn attach(topology: &Topology, layout: Layout) -> Result<Vec<Attached>> {
    let director = topology.director();
    match layout {
        Layout::OneArm => {
            let [both, more] = [Rule::to_client(), Rule::to_server()];
            let rules: Vec<Rule> = both.into_iter().chain(more).collect();
            let program = assemble(&rules, topology.director_mac("eth0")?, &Exit::Tx);
            Ok(vec![stub::attach_program(director, "eth0", &program)?])
        }
        Layout::TwoArm => {
            let (eth0, eth1) = director.enter(|| (if_nametoindex("eth0"), if_nametoindex("eth1")))?;
            let inward = assemble(&Rule::to_server(), topology.director_mac("eth1")?, &Exit::Redirect(eth1?));
            let outward =
                assemble(&Rule::to_client(), topology.director_mac("eth0")?, &Exit::Redirect(eth0?));
            Ok(vec![
                stub::attach_program(director, "eth0", &inward)?,
                stub::attach_program(director, "eth1", &outward)?,
            ])
        }
    }
}

/// Sends whatever clients send to the VIP's network on to the first server as it is: direct routing to one server.
pub(crate) fn attach_direct_routing(topology: &Topology, layout: Layout) -> Result<Attached> {
    let director = topology.director();
    let (out, exit) = match layout {
        Layout::OneArm => ("eth0", Exit::Tx),
        Layout::TwoArm => ("eth1", Exit::Redirect(director.enter(|| if_nametoindex("eth1"))??)),
    };
    let rules = Rule::to(1, SERVER);
    stub::attach_program(director, "eth0", &assemble(&rules, topology.director_mac(out)?, &exit))
}

fn assemble(rules: &[Rule], own_mac: [u8; 6], exit: &Exit) -> Vec<Instruction> {
    let leave = match exit {
        Exit::Tx => vec![mov(0, 3), EXIT],
        Exit::Redirect(index) => vec![mov(1, *index as i32), mov(2, 0), Instruction(0x85, 0, 0, 23), EXIT],
    };
    let mut code = Vec::new();
    for rule in rules {
        let mut block = store_mac(0, rule.next_hop);
        block.extend(store_mac(6, own_mac));
        block.extend_from_slice(&leave);
        // Each jump goes behind the block; it counts from the instruction after it.
        let past = |guards: i16| guards + block.len() as i16;
        code.extend([
            Instruction(0x69, 0x25, 12, 0),                    // r5 = EtherType
            Instruction(0x55, 0x05, past(8), rule.ether_type), // another
            Instruction(0xbf, 0x24, 0, 0),                     // r4 = r2
            Instruction(0x07, 0x04, 0, rule.headers),          // r4 += Ethernet + IP
            Instruction(0x2d, 0x34, past(5), 0),               // r4 > r3: too short
            Instruction(0x71, 0x25, rule.protocol_at, 0),      // r5 = protocol
            Instruction(0x15, 0x05, past(3), rule.icmp),       // ICMP
            Instruction(0x61, 0x25, rule.destination_at, 0),   // r5 = destination, its first 4 bytes
            Instruction(0x57, 0x05, 0, rule.mask),             // its network, in memory order
            Instruction(0x55, 0x05, past(0), rule.network),    // another
        ]);
        code.append(&mut block);
    }
    let mut program = vec![
        Instruction(0x61, 0x12, 0, 0),                 // r2 = data
        Instruction(0x61, 0x13, 4, 0),                 // r3 = data_end
        Instruction(0xbf, 0x24, 0, 0),                 // r4 = r2
        Instruction(0x07, 0x04, 0, 14),                // r4 += Ethernet
        Instruction(0x2d, 0x34, code.len() as i16, 0), // r4 > r3: too short
    ];
    program.append(&mut code);
    program.extend([mov(0, 2), EXIT]);
    program
}

fn store_mac(offset: i16, mac: [u8; 6]) -> Vec<Instruction> {
    let [a, b, c, d, e, f] = mac;
    vec![
        Instruction(0x62, 0x02, offset, i32::from_le_bytes([a, b, c, d])),
        Instruction(0x6a, 0x02, offset + 4, i32::from(u16::from_le_bytes([e, f]))),
    ]
}

const EXIT: Instruction = Instruction(0x95, 0, 0, 0);

fn mov(register: u8, value: i32) -> Instruction {
    Instruction(0xb7, register, 0, value)
}
