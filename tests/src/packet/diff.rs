//! Two frames compared by field, so that a failed test says what the data path did wrong and not only that it did.

use super::decode::{Field, decode};

/// What differs, one field a line; None when the frames are the same byte for byte.
pub fn difference(expected: &[u8], got: &[u8]) -> Option<String> {
    if expected == got {
        return None;
    }
    let mut lines = vec![match (expected.len(), got.len()) {
        (same, other) if same == other => format!("frames of {same} bytes differ:"),
        (wanted, had) => format!("expected {wanted} bytes, got {had}:"),
    }];
    let (wanted, had) = (numbered(decode(expected)), numbered(decode(got)));
    for (name, field) in &wanted {
        match had.iter().find(|(other, _)| other == name) {
            Some((_, other)) if other.value == field.value => {
                if let (None, Some(fault)) = (&field.fault, &other.fault) {
                    lines.push(format!("  {name}: {} is unchanged and now {fault}", other.value));
                }
            }
            Some((_, other)) => lines.push(format!("  {name}: {}", changed(field, other))),
            None => lines.push(format!("  {name}: expected {}, got no such field", shortened(&field.value))),
        }
    }
    for (name, field) in had.iter().filter(|(name, _)| !wanted.iter().any(|(other, _)| other == name)) {
        lines.push(format!("  {name}: expected no such field, got {}", told(field)));
    }
    Some(lines.join("\n"))
}

/// Names made unique: a second VLAN tag is `ethernet.vlan.2`.
fn numbered(fields: Vec<Field>) -> Vec<(String, Field)> {
    let mut named: Vec<(String, Field)> = Vec::with_capacity(fields.len());
    for field in fields {
        let same = named.iter().filter(|(_, other)| other.name == field.name).count();
        let name = if same == 0 { field.name.clone() } else { format!("{}.{}", field.name, same + 1) };
        named.push((name, field));
    }
    named
}

fn changed(expected: &Field, got: &Field) -> String {
    if expected.value.len() <= LONG && got.value.len() <= LONG {
        return format!("expected {}, got {}", expected.value, told(got));
    }
    let pairs = || expected.value.bytes().zip(got.value.bytes());
    let first = pairs().position(|(wanted, had)| wanted != had).unwrap_or_else(|| pairs().count()) / 2;
    let from = |value: &str| shortened(value.get(first * 2..).unwrap_or_default());
    format!("from byte {first} on expected {}, got {}", from(&expected.value), from(&got.value))
}

fn told(field: &Field) -> String {
    match &field.fault {
        Some(fault) => format!("{} ({fault})", shortened(&field.value)),
        None => shortened(&field.value),
    }
}

const LONG: usize = 48;

fn shortened(value: &str) -> String {
    match value.get(..LONG) {
        Some(head) if value.len() > LONG => format!("{head}…"),
        _ if value.is_empty() => "nothing".to_owned(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checksum, Extension, Frame, Icmp, Ipv4, Ipv6, Network, Tcp, TcpFlags, Udp, faults};
    use super::*;

    const A: [u8; 4] = [10, 77, 1, 10];
    const B: [u8; 4] = [10, 77, 1, 100];

    const A6: [u16; 8] = [0xfd77, 1, 0, 0, 0, 0, 0, 0x10];
    const B6: [u16; 8] = [0xfd77, 1, 0, 0, 0, 0, 0, 0x100];

    fn frame(packet: impl Into<Network>) -> Vec<u8> {
        Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], packet).bytes()
    }

    #[test]
    fn what_is_built_is_read_without_fault() {
        let tcp = Tcp::ack(1, 2, 3, 4).payload(*b"odd").options([1, 1, 1]);
        let v6 = Ipv6::new(A6, B6, tcp.clone()).extension(Extension::HopByHop(vec![]));
        let frames = [
            frame(Ipv4::new(A, B, tcp.clone()).options([7, 3, 0])),
            frame(Ipv4::new(A, B, Udp::new(1, 2, *b"x"))),
            frame(Ipv4::new(A, B, Udp::new(1, 2, *b"x").without_checksum())),
            frame(Ipv4::new(A, B, Icmp::ping(1, 2, *b"abc"))),
            Frame::new([2; 6], [4; 6], v6).vlan(5).vlan(6).padded().bytes(),
            Frame::new([2; 6], [4; 6], Ipv4::new(A, B, tcp)).padded().bytes(),
        ];
        for frame in frames {
            assert_eq!(faults(&frame), Vec::<String>::new(), "{:#?}", decode(&frame));
        }
    }

    #[test]
    fn a_known_frame_is_built_byte_for_byte() {
        // The IPv4 header of RFC 1071's popular worked example, checksum b861.
        let mut packet = Ipv4::new([192, 168, 0, 1], [192, 168, 0, 199], Udp::new(0, 0, []));
        packet.identification = 0;
        packet.total_length = Some(0x73);
        let bytes = packet.bytes();
        assert_eq!(
            bytes[..20],
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7]
        );
    }

    #[test]
    fn differences_name_the_field_and_say_when_a_checksum_no_longer_fits() {
        let syn = frame(Ipv4::new(A, B, Tcp::syn(1000, 80, 1)));
        let mut rewritten = syn.clone();
        rewritten[30..34].copy_from_slice(&[10, 77, 2, 21]);
        let told = difference(&syn, &rewritten).unwrap();
        assert!(told.contains("ipv4.destination: expected 10.77.1.100, got 10.77.2.21"), "{told}");
        assert!(told.contains("tcp.checksum: ") && told.contains("is unchanged and now wrong"), "{told}");
        assert_eq!(difference(&syn, &syn), None);
    }

    #[test]
    fn faults_are_found() {
        let wrong = frame(Ipv4::new(A, B, Tcp::new(1, 2, TcpFlags::RST).checksum(Checksum::Wrong)));
        assert_eq!(faults(&wrong).len(), 1, "{:?}", faults(&wrong));
        let mut packet = Ipv4::new(A, B, Udp::new(1, 2, *b"x"));
        packet.total_length = Some(2000);
        assert!(faults(&frame(packet)).iter().any(|fault| fault.starts_with("ipv4.total_length 2000")));
    }

    #[test]
    fn any_cut_of_a_frame_can_be_read() {
        let whole =
            Frame::new([2; 6], [4; 6], Ipv4::new(A, B, Tcp::syn(1, 2, 3)).options([7, 7, 0])).vlan(9).bytes();
        for length in 0..whole.len() {
            assert!(difference(&whole, &whole[..length]).is_some());
        }
    }

    #[test]
    fn headers_of_ipv6_are_read_in_any_order() {
        let packet = || Ipv6::new(A6, B6, Udp::new(1, 2, *b"x")).traffic_class(0xb8).flow_label(0x12345);
        let routed = Extension::Routing { segments_left: 0, addresses: vec![B6.into()] };
        let authentication = Extension::Authentication { spi: 1, sequence: 2 };
        let sound = [
            packet(),
            packet().extension(Extension::DestinationOptions(vec![30, 1, 7])).extension(routed.clone()),
            packet().extension(Extension::atomic_fragment()).extension(authentication),
            packet().extension(routed).extension(Extension::HopByHop(vec![5, 2, 0, 0])),
            packet().extension(Extension::Routing { segments_left: 1, addresses: vec![A6.into()] }),
            packet().extension(Extension::fragment(0, true)),
            packet().extension(Extension::fragment(3, true)),
            Ipv6::new(A6, B6, Icmp::ping_v6(1, 2, *b"abc")),
            Ipv6::new(A6, B6, Icmp::solicitation(B6.into(), [2; 6])),
            Ipv6::new(A6, B6, super::super::Transport::nothing()),
        ];
        for packet in sound {
            let frame = frame(packet);
            assert_eq!(faults(&frame), Vec::<String>::new(), "{:#?}", decode(&frame));
            for length in 0..frame.len() {
                assert!(difference(&frame, &frame[..length]).is_some());
            }
        }
    }

    #[test]
    fn differences_name_the_fields_of_ipv6() {
        let sent = frame(Ipv6::new(A6, B6, Tcp::syn(1000, 80, 1)).extension(Extension::HopByHop(vec![])));
        let mut got = sent.clone();
        (got[21], got[37], got[52]) = (63, 0x11, 0x77);
        let told = difference(&sent, &got).unwrap();
        for part in [
            "ipv6.hop_limit: expected 64, got 63",
            "ipv6.source: expected fd77:1::10, got fd77:1::11",
            "ipv6.destination: expected fd77:1::100, got fd77:1::7700",
            "is unchanged and now wrong",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
    }

    /// RFC 8200's pseudo-header by hand: every word of it, and of the datagram, added up.
    #[test]
    fn a_known_datagram_over_ipv6_is_built_byte_for_byte() {
        let bytes = Ipv6::new(A6, B6, Udp::new(1, 2, [0xab])).bytes();
        let sum: u32 = [0xfd77, 1, 0x10, 0xfd77, 1, 0x100, 9, 17, 1, 2, 9, 0xab00].iter().sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        assert_eq!(bytes[46..48], (!(folded as u16)).to_be_bytes());
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 9, 17, 64]);
    }

    #[test]
    fn fragments_put_together_are_the_packet() {
        let packet = Ipv4::new(A, B, Udp::new(1, 2, vec![7; 100]));
        let pieces = packet.split(48);
        assert_eq!(pieces.len(), 3);
        let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes()[20..].to_vec()).collect();
        assert_eq!(joined, packet.bytes()[20..]);
        assert_eq!(pieces.iter().map(|piece| piece.more_fragments).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(pieces[2].fragment_offset, 12);
    }
}
