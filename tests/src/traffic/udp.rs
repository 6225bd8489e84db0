//! UDP: a server that sends each datagram back with its name, and flows that check it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::runner::Runner;
use super::wire::numbered_payload;
use crate::family::Family;
use crate::namespace::Namespace;

/// No datagram is larger, whatever it is cut into on its way.
const LARGEST: usize = 65_535;

/// A UDP echo server; gone when dropped.
pub struct UdpEchoServer {
    _runner: Runner,
}

impl UdpEchoServer {
    /// Answers on `address` inside `namespace`: one byte of name length, the name, the datagram as it came.
    pub fn start(namespace: &Namespace, name: &str, address: impl Into<SocketAddr>) -> Result<Self> {
        let address = address.into();
        let runner = Runner::start(namespace)?;
        let socket = runner
            .run(UdpSocket::bind(address))?
            .with_context(|| format!("{name} cannot listen on UDP {address}"))?;
        let name = name.to_owned();
        runner.spawn(async move {
            let mut datagram = vec![0; LARGEST];
            // A receive error is an ICMP error to an earlier answer: the next datagram is as good as ever.
            loop {
                let Ok((length, peer)) = socket.recv_from(&mut datagram).await else { continue };
                let mut answer = vec![name.len() as u8];
                answer.extend_from_slice(name.as_bytes());
                answer.extend_from_slice(&datagram[..length]);
                let _peer_gone = socket.send_to(&answer, peer).await;
            }
        });
        Ok(Self { _runner: runner })
    }
}

/// What came of UDP flows.
#[derive(Clone, Debug, Default)]
pub struct UdpReport {
    pub flows: usize,
    /// Flows by the server that gave their first answer.
    pub by_server: BTreeMap<String, usize>,
    pub sent: usize,
    pub answered: usize,
    /// Answers by another server than the flow's first.
    pub misrouted: usize,
    /// Answers whose bytes were not the ones sent.
    pub garbled: usize,
}

impl fmt::Display for UdpReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flows, by_server, sent, answered, misrouted, garbled } = self;
        write!(
            formatter,
            "{flows} UDP flows, {answered} of {sent} datagrams answered, {misrouted} misrouted, {garbled} garbled, {by_server:?}"
        )
    }
}

/// Opens `flows` sockets in `namespace` and sends `datagrams` of `payload` bytes on each, awaiting each answer for at
/// most `limit`.
pub fn udp_flows(
    namespace: &Namespace,
    target: impl Into<SocketAddr>,
    flows: usize,
    datagrams: usize,
    payload: usize,
    limit: Duration,
) -> Result<UdpReport> {
    let target = target.into();
    let anywhere = SocketAddr::new(Family::of(target.ip()).unspecified(), 0);
    let runner = Runner::start(namespace)?;
    runner.run(async move {
        let mut report = UdpReport { flows, ..UdpReport::default() };
        for flow in 0..flows {
            let socket = UdpSocket::bind(anywhere).await?;
            // Connected, so that an answer from any address but the VIP does not reach us.
            socket.connect(target).await?;
            let mut first: Option<String> = None;
            for number in 0..datagrams {
                let sent = numbered_payload(flow as u64, number as u64, payload);
                report.sent += 1;
                // A refusal by ICMP surfaces here or at the receive: either way this datagram has no answer.
                if socket.send(&sent).await.is_err() {
                    continue;
                }
                let mut answer = vec![0; LARGEST];
                let Ok(Ok(length)) = timeout(limit, socket.recv(&mut answer)).await else { continue };
                report.answered += 1;
                let Some((server, echoed)) = split(&answer[..length]) else {
                    report.garbled += 1;
                    continue;
                };
                report.garbled += usize::from(echoed != sent);
                match &first {
                    Some(first) => report.misrouted += usize::from(*first != server),
                    None => {
                        *report.by_server.entry(server.clone()).or_default() += 1;
                        first = Some(server);
                    }
                }
            }
        }
        Ok(report)
    })?
}

fn split(answer: &[u8]) -> Option<(String, &[u8])> {
    let (&length, rest) = answer.split_first()?;
    let (name, echoed) = rest.split_at_checked(usize::from(length))?;
    Some((String::from_utf8(name.to_vec()).ok()?, echoed))
}
