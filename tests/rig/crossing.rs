//! The smallest director there is: a few instructions that send IPv4 frames on to the next hop by MAC address.

use std::net::Ipv4Addr;

use anyhow::Result;
use nix::net::if_::if_nametoindex;
use xlvs_tests::stub::{self, Attached, Instruction};
use xlvs_tests::topology::{Layout, Topology, client_address, server_address};

/// Frames for the /24 of `network` are sent to the MAC `next_hop`.
struct Rule {
    network: Ipv4Addr,
    next_hop: [u8; 6],
}

/// Where a frame leaves that a rule applies to.
enum Exit {
    Tx,
    Redirect(u32),
}

/// Carries TCP between the first client and the first server, which address each other: by XDP_TX on eth0 in one-arm,
/// by XDP_REDIRECT between eth0 and eth1 in two-arm.
pub(crate) fn attach(topology: &Topology, layout: Layout) -> Result<Vec<Attached>> {
    let to_client = || Rule { network: Ipv4Addr::new(10, 77, 1, 0), next_hop: mac_of(client_address(0)) };
    let to_server = || Rule { network: Ipv4Addr::new(10, 77, 2, 0), next_hop: mac_of(server_address(0)) };
    let director = topology.director();
    match layout {
        Layout::OneArm => {
            let program = assemble(&[to_client(), to_server()], topology.director_mac("eth0")?, &Exit::Tx);
            Ok(vec![stub::attach_program(director, "eth0", &program)?])
        }
        Layout::TwoArm => {
            let (eth0, eth1) = director.enter(|| (if_nametoindex("eth0"), if_nametoindex("eth1")))?;
            let inward = assemble(&[to_server()], topology.director_mac("eth1")?, &Exit::Redirect(eth1?));
            let outward = assemble(&[to_client()], topology.director_mac("eth0")?, &Exit::Redirect(eth0?));
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
    let rule = Rule { network: Ipv4Addr::new(10, 77, 1, 0), next_hop: mac_of(server_address(0)) };
    stub::attach_program(director, "eth0", &assemble(&[rule], topology.director_mac(out)?, &exit))
}

/// The MAC that the topology gives to the owner of an address.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [_, _, network, host] = address.octets();
    [2, 0x77, 0, 0, network, host]
}

fn assemble(rules: &[Rule], own_mac: [u8; 6], exit: &Exit) -> Vec<Instruction> {
    let leave = match exit {
        Exit::Tx => vec![mov(0, 3), EXIT],
        Exit::Redirect(index) => vec![mov(1, *index as i32), mov(2, 0), Instruction(0x85, 0, 0, 23), EXIT],
    };
    // Built from the end, so that each jump knows how far it goes.
    let mut code = vec![mov(0, 2), EXIT];
    for rule in rules {
        let mut block = store_mac(0, rule.next_hop);
        block.extend(store_mac(6, own_mac));
        block.extend_from_slice(&leave);
        let [a, b, c, _] = rule.network.octets();
        let mut guarded = vec![
            Instruction(0x61, 0x25, 30, 0),          // r5 = destination address
            Instruction(0x57, 0x05, 0, 0x00ff_ffff), // its /24, in memory order
            Instruction(0x55, 0x05, block.len() as i16, i32::from_le_bytes([a, b, c, 0])),
        ];
        guarded.append(&mut block);
        guarded.append(&mut code);
        code = guarded;
    }
    // The last two instructions pass; a jump counts from the instruction after it.
    let to_pass = code.len() as i16 - 2;
    let mut program = vec![
        Instruction(0x61, 0x12, 0, 0),            // r2 = data
        Instruction(0x61, 0x13, 4, 0),            // r3 = data_end
        Instruction(0xbf, 0x24, 0, 0),            // r4 = r2
        Instruction(0x07, 0x04, 0, 34),           // r4 += Ethernet + IPv4
        Instruction(0x2d, 0x34, to_pass + 2, 0),  // r4 > r3: too short
        Instruction(0x69, 0x25, 12, 0),           // r5 = EtherType
        Instruction(0x55, 0x05, to_pass, 0x0008), // not IPv4
    ];
    program.extend(code);
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
