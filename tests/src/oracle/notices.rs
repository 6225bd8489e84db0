//! What the director itself says to a client: in a frame back to where the client's came from, written from nothing.

use std::net::IpAddr;

use super::reading::{Body, Reading, number};
use super::rewriting::Expected;
use super::{Alternative, Fate};
use crate::datapath::world::Side;
use crate::packet::{Frame, Icmp, Ipv4, Ipv6, Network};

/// How much of a long packet is quoted to its sender.
const QUOTED: usize = 512;

/// What a client is told: ICMP's type and code, ICMPv6's, what follows the checksum, and by which verdicts it is or is not.
pub(super) struct Notice {
    v4: [u8; 2],
    v6: [u8; 2],
    rest: [u8; 4],
    told: &'static str,
    untold: &'static str,
}

impl Notice {
    /// The packet's last hop was the one to the director.
    pub const EXPIRED: Self =
        Self { v4: [11, 0], v6: [3, 0], rest: [0; 4], told: "replied_time_exceeded", untold: "dropped_ttl" };
    /// Nobody is there to take a datagram.
    pub const UNREACHABLE: Self = Self {
        v4: [3, 3],
        v6: [1, 4],
        rest: [0; 4],
        told: "replied_unreachable",
        untold: "dropped_no_server",
    };

    /// No more than `room` bytes fit.
    pub fn too_big(room: usize, packet: &Reading) -> Self {
        // RFC 8200 section 5: no IPv6 link carries less.
        let mtu = if packet.source.is_ipv6() { room.max(1280) } else { room } as u32;
        let (told, untold) = ("replied_too_big", "dropped_too_big");
        Self { v4: [3, 4], v6: [2, 0], rest: mtu.to_be_bytes(), told, untold }
    }

    /// What becomes of the packet that this is about.
    pub fn about(&self, from: Side, frame: &[u8], packet: &Reading) -> Alternative {
        match self.message(frame, packet) {
            Some(message) => Alternative::of(self.told, Fate::Sent(from, message)),
            None => Alternative::dropped(self.untold),
        }
    }

    /// With 512 bytes of the packet, or with the bare IP header and 8 bytes.
    fn message(&self, frame: &[u8], packet: &Reading) -> Option<Expected> {
        let Body::Segment(segment) = &packet.body else { return None };
        let bare = if packet.source.is_ipv6() { 40 } else { 20 };
        let about = &frame[packet.ip..packet.end];
        let quote = match about.get(..QUOTED) {
            Some(long) => long,
            None if segment.at == packet.ip + bare => &about[..bare + 8],
            None => return None,
        };
        let network: Network = match (packet.destination, packet.source) {
            (IpAddr::V4(vip), IpAddr::V4(client)) => {
                let icmp = Icmp::new(self.v4[0], self.v4[1], self.rest, quote);
                Ipv4 { identification: 0, ..Ipv4::new(vip, client, icmp) }.into()
            }
            (IpAddr::V6(vip), IpAddr::V6(client)) => {
                let icmp = Icmp::new(self.v6[0], self.v6[1], self.rest, quote).version_6();
                Ipv6::new(vip, client, icmp).into()
            }
            _ => return None,
        };
        Some(back(frame, packet, network))
    }
}

/// The frame that carries this back to the sender of another, in the same VLAN.
pub(super) fn back(frame: &[u8], packet: &Reading, answer: Network) -> Expected {
    let mac = |at: usize| std::array::from_fn(|i| frame[at + i]);
    let mut answer = Frame::new(mac(0), mac(6), answer);
    for tag in (12..packet.ip - 2).step_by(4) {
        answer.vlans.extend(number(frame, tag).zip(number(frame, tag + 2)));
    }
    Expected::same(&answer.bytes())
}
