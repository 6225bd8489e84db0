//! The ping: is an ICMP echo answered (RFC 792, RFC 4443)? By a raw socket, which the agent keeps the privilege for.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Deadline, Outcome};

/// Echo request and reply of both families.
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const PAYLOAD: usize = 16;

pub(super) async fn probe(target: IpAddr, deadline: Deadline) -> Result<Outcome, Outcome> {
    let step = format!("ping {target}");
    match deadline.run(&step, exchange(target)).await {
        Ok(()) => Ok(Outcome::Passed(format!("{step}: answered"))),
        Err(Outcome::Failed(why)) if why.ends_with("operation not permitted") => {
            Err(Outcome::Untested(format!("{why}: the agent lacks CAP_NET_RAW")))
        }
        Err(outcome) => Err(outcome),
    }
}

/// The socket is connected, so the kernel gives it what comes from the target, and nothing else.
async fn exchange(target: IpAddr) -> io::Result<()> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    socket.connect(&SocketAddr::new(target, 0).into())?;
    // Not UDP, but the same calls.
    let socket = UdpSocket::from_std(socket.into())?;
    let nonce: [u8; 4 + PAYLOAD] = std::array::from_fn(|_| fastrand::u8(..));
    let request = request(target.is_ipv4(), &nonce);
    socket.send(&request).await?;
    let mut packet = [0; 2048];
    loop {
        let read = socket.recv(&mut packet).await?;
        if answers(&packet[..read], target.is_ipv4(), &nonce) {
            return Ok(());
        }
    }
}

/// An echo request; identifier, sequence number and payload are `nonce`.
fn request(v4: bool, nonce: &[u8; 4 + PAYLOAD]) -> Vec<u8> {
    let mut request = vec![if v4 { REQUEST_V4 } else { REQUEST_V6 }, 0, 0, 0];
    request.extend(nonce);
    if v4 {
        // The kernel fills in ICMPv6's, which takes the addresses in.
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    request
}

/// Whether this is the reply. IPv4 gives the IP header as well.
fn answers(packet: &[u8], v4: bool, nonce: &[u8; 4 + PAYLOAD]) -> bool {
    let header = if v4 { packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4) } else { 0 };
    let Some([kind, code, _, _, echoed @ ..]) = packet.get(header..) else { return false };
    (*kind, *code) == (if v4 { REPLY_V4 } else { REPLY_V6 }, 0) && echoed == nonce
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_zero_and_only_its_own_reply_answers_it() {
        let nonce = [7; 4 + PAYLOAD];
        let request = request(true, &nonce);
        assert_eq!(checksum(&request), 0);
        let ip = [&[0x46][..], &[0; 23]].concat(); // with an option
        let reply = |kind: u8, nonce: &[u8]| [&ip[..], &[kind, 0, 0, 0], nonce].concat();
        assert!(answers(&reply(REPLY_V4, &nonce), true, &nonce));
        assert!(!answers(&reply(REQUEST_V4, &nonce), true, &nonce), "our own request, looped back");
        assert!(!answers(&reply(REPLY_V4, &[8; 4 + PAYLOAD]), true, &nonce));
        assert!(!answers(&reply(REPLY_V4, &nonce[1..]), true, &nonce));
        assert!(!answers(&[], true, &nonce) && !answers(&[0x4f, 0], true, &nonce));
        assert!(answers(&[&[REPLY_V6, 0, 9, 9], &nonce[..]].concat(), false, &nonce));
    }
}
