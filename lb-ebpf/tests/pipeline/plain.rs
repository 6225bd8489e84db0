//! The shortcut for plain packets says what parsing says, whatever comes, and takes what it is for.

use core::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

use lb_ebpf::frame::{Frame, Offset};
use lb_ebpf::parse::{self, Network, Packet, Transport};
use lb_ebpf::plain;
use proptest::prelude::*;
use xlvs_tests::datapath::Native;
use xlvs_tests::packet::{self, Ipv4, Ipv6, Tcp, TcpFlags, Udp};

/// TCP or UDP over either family, with so much payload.
fn whole(ipv6: bool, udp: bool, flags: u8, payload: usize) -> Vec<u8> {
    let payload = vec![0x5a; payload];
    let transport: packet::Transport = if udp {
        Udp::new(4000, 80, payload).into()
    } else {
        Tcp::new(4000, 80, TcpFlags(flags)).payload(payload).into()
    };
    let network: packet::Network = if ipv6 {
        let [client, vip] =
            ["2001:db8::7", "2001:db8::1"].map(|address| address.parse::<Ipv6Addr>().unwrap());
        Ipv6::new(client, vip, transport).into()
    } else {
        Ipv4::new(Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(10, 0, 0, 1), transport).into()
    };
    packet::Frame::new([2; 6], [4; 6], network).bytes()
}

fn described(packet: &Packet<'_>, network: Network, transport: &Transport<'_>) -> String {
    let views = (std::ptr::from_ref(transport.ports), std::ptr::from_ref(transport.checksum));
    let Transport { at, protocol, source, destination, signal, .. } = transport;
    let Packet { link, source: from, destination: to, shape, .. } = packet;
    let shape = shape.word();
    let start = match network.begins {
        Offset::Constant(offset) => offset as u64,
        Offset::Computed(offset) => offset,
    };
    format!(
        "{link:p} {from:?} {to:?} {shape:x} {start} {:?} {at} {protocol:?} {source:?} {destination:?} {signal:?} {views:?}",
        network.family
    )
}

/// What the shortcut makes of a frame, if it takes it, and what parsing does.
fn both(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let cells: Vec<Cell<u8>> = bytes.iter().copied().map(Cell::new).collect();
    let (frame, tables) = (Frame::of_cells(&cells), Native::new().unwrap());
    let short = plain::ipv4(&frame).map(|(packet, transport)| described(&packet, plain::IPV4, &transport));
    let short = short.or_else(|| {
        plain::ipv6(&frame).map(|(packet, transport)| described(&packet, plain::IPV6, &transport))
    });
    let long = parse::network(&frame, &tables).ok().and_then(|packet| {
        let transport = parse::transport(&frame, &packet, &tables).ok()?;
        Some(described(&packet, packet.shape.network(), &transport))
    });
    (short, long)
}

proptest! {
    #[test]
    fn whole_packets_are_taken(ipv6: bool, udp: bool, flags: u8, payload in 0_usize..200) {
        let (short, long) = both(&whole(ipv6, udp, flags, payload));
        prop_assert!(short.is_some());
        prop_assert_eq!(short, long);
    }

    #[test]
    fn of_any_bytes_only_what_parsing_says(
        ipv6: bool, udp: bool, flags: u8, payload in 0_usize..40,
        changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..4),
        length in prop::option::of(0_usize..100),
    ) {
        let mut bytes = whole(ipv6, udp, flags, payload);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        let (short, long) = both(&bytes);
        prop_assert!(short.is_none() || short == long, "{:?} is not {:?}", short, long);
    }
}
