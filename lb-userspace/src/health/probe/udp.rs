//! The UDP probe: is a datagram answered, and as expected?
//!
//! An answer is always required: the ICMP error of a closed port may be lost or filtered, so its absence says nothing.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::{Deadline, Outcome};
use crate::config::UdpProbe;

/// The largest answer that is read; what is beyond does not count.
const LARGEST: usize = 64 * 1024;

pub(super) async fn probe(
    target: SocketAddr,
    check: &UdpProbe,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let step = format!("UDP to {target}");
    let answer = deadline.run(&step, exchange(target, &check.send)).await?;
    Ok(judged(&step, check, &answer))
}

/// What an answer says of the server.
pub(super) fn judged(step: &str, check: &UdpProbe, answer: &[u8]) -> Outcome {
    let wanted = &check.receive[..];
    if wanted.is_empty() || answer.windows(wanted.len()).any(|part| part == wanted) {
        Outcome::Passed(format!("{step}: answered with {} bytes", answer.len()))
    } else {
        Outcome::Failed(format!("{step}: the answer is another ({})", excerpt(answer)))
    }
}

/// A connected socket: only the target's answers come in, and its ICMP errors are told.
pub(super) async fn socket(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}

async fn exchange(target: SocketAddr, send: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket(target).await?;
    socket.send(send).await?;
    let mut answer = vec![0; LARGEST];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

/// The beginning of a stranger's bytes, as one may print them.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const ENOUGH: usize = 40;
    let more = if bytes.len() > ENOUGH { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(ENOUGH)].escape_ascii())
}
