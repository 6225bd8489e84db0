//! Whether a packet's checksums are right, summed over all the bytes they cover.

use super::reading::{Body, Reading, read};
use crate::datapath::world::Protocol;

/// Whether every checksum in a frame that can be judged is right. A frame that is no well-formed IP has none.
#[must_use]
pub fn is_sound(frame: &[u8]) -> bool {
    let Ok(packet) = read(frame) else { return true };
    header_is_sound(frame, &packet) && body_is_sound(frame, &packet)
}

fn header_is_sound(frame: &[u8], packet: &Reading) -> bool {
    packet.source.is_ipv6() || folds_to_nothing(sum(&frame[packet.ip..packet.ip + packet.header]))
}

fn body_is_sound(frame: &[u8], packet: &Reading) -> bool {
    let addresses = sum(&frame[packet.addresses()]);
    if let Some(message) = packet.icmp() {
        let length = message.len() as u64;
        let pseudo = if packet.source.is_ipv6() { addresses + length + u64::from(packet.next) } else { 0 };
        return folds_to_nothing(pseudo + sum(&frame[message]));
    }
    if matches!(packet.next, 4 | 41) && packet.datagram.is_none() {
        let ether_type: [u8; 2] = if packet.next == 4 { [8, 0] } else { [0x86, 0xdd] };
        let inside = packet.ip + packet.header..packet.end;
        return is_sound(&[&[0; 12], &ether_type[..], &frame[inside]].concat());
    }
    let Body::Segment(segment) = &packet.body else { return true };
    let bytes = &frame[segment.at..packet.end];
    let number = match segment.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp if bytes[6..8] == [0, 0] => return true,
        Protocol::Udp => 17,
    };
    folds_to_nothing(addresses + bytes.len() as u64 + number + sum(bytes))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum()
}

/// Right checksums make every sum a multiple of all ones.
const fn folds_to_nothing(sum: u64) -> bool {
    sum.is_multiple_of(0xffff)
}
