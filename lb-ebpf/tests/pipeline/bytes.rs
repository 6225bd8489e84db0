//! Any bytes at all: nothing panics, and nothing changes but what the verdict says.

use lb_common::verdict::Verdict;
use proptest::prelude::*;
use xlvs_tests::datapath::script::{Act, busy_world, random};
use xlvs_tests::datapath::world::Side;
use xlvs_tests::datapath::{Engine as _, Native};

/// Bytes of the link header that forwarding changes: both MACs.
const MACS: usize = 12;

/// IPv4 and ICMP headers.
const NOTICE: usize = 28;

fn ip_of(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 }
}

/// Offsets that a verdict may change, or `None` if the frame is built anew.
fn may_change(verdict: &str, frame: &[u8]) -> Option<Vec<usize>> {
    let ip = ip_of(frame);
    let transport = || ip + usize::from(frame[ip] & 15) * 4;
    let checksum = || transport() + if frame[ip + 9] == 17 { 6 } else { 16 };
    // MACs, TTL and header checksum.
    let forwarding = || (0..MACS).chain([ip + 8, ip + 10, ip + 11]);
    // A later fragment has no ports and no checksum.
    let later = || u16::from_be_bytes([frame[ip + 6], frame[ip + 7]]) & 0x1fff != 0;
    match verdict {
        "forwarded_nat" if later() => Some(forwarding().chain(ip + 16..ip + 20).collect()),
        "forwarded_nat_reply" if later() => Some(forwarding().chain(ip + 12..ip + 16).collect()),
        "forwarded_dr" => Some(forwarding().collect()),
        // And what the EtherType was before.
        "forwarded_tunnel" => Some(forwarding().chain(ip - 2..ip).collect()),
        "forwarded_nat" => {
            let ends = (ip + 16..ip + 20).chain(transport() + 2..transport() + 4);
            Some(forwarding().chain(ends).chain(checksum()..checksum() + 2).collect())
        }
        "forwarded_nat_reply" => {
            let ends = (ip + 12..ip + 16).chain(transport()..transport() + 2);
            Some(forwarding().chain(ends).chain(checksum()..checksum() + 2).collect())
        }
        "forwarded_fullnat" | "forwarded_fullnat_reply" => {
            let ends = (ip + 12..ip + 20).chain(transport()..transport() + 4);
            Some(forwarding().chain(ends).chain(checksum()..checksum() + 2).collect())
        }
        "forwarded_icmp" | "forwarded_icmp_reply" => {
            // An end of the packet, the message's checksum, and in the quote the same end's opposite, its port, and checksums.
            let (outer, inner) = if verdict == "forwarded_icmp" { (16, 12) } else { (12, 16) };
            let (icmp, quote) = (transport(), transport() + 8);
            let quoted = quote + usize::from(frame[quote] & 15) * 4;
            let port = quoted + if inner == 12 { 0 } else { 2 };
            // By full NAT, both ends.
            let by_full_nat = frame[ip + 16..ip + 19] == [10, 77, 2] && verdict == "forwarded_icmp_reply"
                || matches!((frame[quote + 15], &frame[quoted..quoted + 2]), (101, [1, 0xbe]) | (103, _));
            let others = if by_full_nat {
                [ip + 12..ip + 20, quote + 12..quote + 20, quoted..quoted + 4]
            } else {
                [0..0, 0..0, 0..0]
            };
            let sum = quoted + if frame[quote + 9] == 17 { 6 } else { 16 };
            let ends =
                (ip + outer..ip + outer + 4).chain(quote + inner..quote + inner + 4).chain(port..port + 2);
            let sums = (icmp + 2..icmp + 4).chain(quote + 10..quote + 12).chain(sum..sum + 2);
            let ends = ends.chain(others.into_iter().flatten());
            Some(forwarding().chain(ends).chain(sums).chain(ip - 2..ip).collect())
        }
        "replied_echo" => {
            let (ends, icmp) = (ip + 12..ip + 20, transport());
            Some(forwarding().chain(ends).chain([icmp, icmp + 2, icmp + 3]).collect())
        }
        "replied_reset" | "replied_too_big" | "replied_time_exceeded" | "replied_unreachable" => None,
        _ => Some(Vec::new()),
    }
}

fn check(native: &mut Native, side: Side, frame: &[u8]) -> Result<(), String> {
    let (verdict, _, output) = native.push(side, frame);
    let Some(allowed) = may_change(verdict.name(), frame) else {
        let most = if verdict == Verdict::RepliedReset { frame.len() } else { frame.len() + NOTICE };
        return (output.len() <= most).then_some(()).ok_or_else(|| format!("{verdict:?} grew"));
    };
    let output = match output.len().wrapping_sub(frame.len()) {
        // By IP in IP or by GUE over IPv6: without the headers around it.
        added @ (20 | 48) if matches!(verdict.name(), "forwarded_tunnel" | "forwarded_icmp") => {
            [&output[..ip_of(frame)], &output[ip_of(frame) + added..]].concat()
        }
        _ => output,
    };
    if output.len() != frame.len() {
        return Err(format!("{}: {} bytes became {}", verdict.name(), frame.len(), output.len()));
    }
    let changed = (0..frame.len()).filter(|i| frame[*i] != output[*i]);
    match changed.into_iter().find(|i| !allowed.contains(i)) {
        Some(at) => Err(format!("{} changed byte {at}: {frame:02x?} became {output:02x?}", verdict.name())),
        None => Ok(()),
    }
}

/// Frames that look as if they were meant for us, but are anything.
fn nearly_ours() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(vec![0x08, 0x00]),
        Just(vec![0x81, 0x00, 0x00, 0x01, 0x08, 0x00]),
        proptest::collection::vec(any::<u8>(), 2)
    ];
    let ip =
        (any::<u8>(), 0_u16..200, any::<u16>(), any::<u8>(), prop_oneof![Just(6_u8), Just(17), any::<u8>()]);
    let ends = prop_oneof![
        Just([10, 77, 1, 1, 10, 77, 1, 100]),
        Just([10, 77, 2, 21, 10, 77, 1, 1]),
        any::<[u8; 8]>()
    ];
    (start, ip, ends, proptest::collection::vec(any::<u8>(), 0..150), any::<bool>()).prop_map(
        |(start, (ihl, length, fragment, ttl, protocol), ends, rest, sane)| {
            let mut frame = [&[2; 12][..], &start].concat();
            let first = if sane { 0x45 | ihl & 7 } else { ihl };
            // Of datagrams in pieces: whole, first, later.
            let fragment =
                if sane { [0x4000, 0x2000, 0x2001, 0x0001][usize::from(fragment) % 4] } else { fragment };
            let length = if sane { 20 + rest.len() as u16 } else { length };
            frame.extend([first, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([0, 0]);
            frame.extend(fragment.to_be_bytes());
            frame.extend([ttl, protocol, 0, 0]);
            frame.extend(ends);
            frame.extend(rest);
            frame
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..50)) {
        let mut native = Native::with(&busy_world()).unwrap();
        for frame in frames {
            for side in Side::BOTH {
                prop_assert_eq!(check(&mut native, side, &frame), Ok(()));
            }
        }
    }

    #[test]
    fn bytes_that_are_nearly_ours(frames in proptest::collection::vec(nearly_ours(), 1..200)) {
        let mut native = Native::with(&busy_world()).unwrap();
        for frame in frames {
            for side in Side::BOTH {
                prop_assert_eq!(check(&mut native, side, &frame), Ok(()));
            }
        }
    }

    #[test]
    fn random_traffic_and_every_truncation_of_it(seed: u64) {
        let mut native = Native::with(&busy_world()).unwrap();
        for act in random(seed, 60) {
            match act {
                Act::Pass(ticks) => native.pass(ticks).unwrap(),
                Act::Change(world) => native.install(&world).unwrap(),
                Act::Frame(side, frame) => {
                    for length in (0..=frame.len()).rev() {
                        prop_assert_eq!(check(&mut native, side, &frame[..length]), Ok(()));
                    }
                }
            }
        }
    }
}
