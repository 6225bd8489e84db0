//! Knocks at a server's door by the way that traffic goes: a SYN to the VIP, sent to the server's MAC address or through its tunnel,
//! and who answers it.
//!
//! The kernel cannot do that: the VIP is its own, so it would answer itself, and drop an answer that comes from there. So frames are made
//! here and answers read from packet sockets, filtered to a few ports that the kernel gives to nobody by itself. The handshake
//! is not completed: a RST follows the answer. What the kernel does with the answer does no harm: it comes from an address of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::packet_socket::{Sender, tcp_listener};
use crate::config::{Encapsulation, Family, Tunnel};
use crate::net::{NextHop, View};
use crate::packet::{self, RST, SYN, SYN_ACK, Segment};

/// Where SYNs come from: beyond the ports that Linux gives out by default (`ip_local_port_range` ends at 60999).
const PORTS: RangeInclusive<u16> = 61_000..=64_999;
/// A SYN that may have been lost is sent again.
const AGAIN: Duration = Duration::from_millis(300);
const SEQUENCE: u32 = 1;

/// Who answered a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Somebody listens there.
    Accepted,
    /// The server has the VIP, and nobody listens at that port of it.
    Refused,
}

/// The sockets, and who waits for an answer.
pub struct Wire {
    view: watch::Receiver<Arc<View>>,
    out: Sender,
    waiting: Waiting,
    listeners: [JoinHandle<()>; 2],
}

type Waiting = Arc<Mutex<HashMap<Conversation, oneshot::Sender<Reply>>>>;

/// A VIP with its port, and where it was asked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Conversation {
    vip: SocketAddr,
    from: SocketAddr,
}

impl Wire {
    /// Opens the sockets in this thread's network namespace. Needs `CAP_NET_RAW`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(view: watch::Receiver<Arc<View>>) -> io::Result<Self> {
        let waiting = Waiting::default();
        let listener = |version| {
            let socket = UdpSocket::from_std(tcp_listener(version, PORTS)?)?;
            io::Result::Ok(tokio::spawn(listen(socket, waiting.clone())))
        };
        let listeners = [listener(Family::V4)?, listener(Family::V6)?];
        Ok(Self { view, out: Sender::open()?, waiting, listeners })
    }

    /// Sends SYNs to this VIP until the server answers. The caller limits the time.
    ///
    /// # Errors
    /// When this host has no address to ask from, or the kernel does not take the frame.
    pub async fn knock(&self, server: IpAddr, vip: SocketAddr, tunnel: Option<&Tunnel>) -> io::Result<Reply> {
        let mut view = self.view.clone();
        let view = match view.wait_for(|view| view.hops.contains_key(&server)).await {
            Ok(view) => view.clone(),
            Err(_) => return Err(io::Error::other("the watch over routes and neighbours has ended")),
        };
        let way = Way::to(server, Family::of(vip.ip()), tunnel, &view)?;
        let (answered, mut answer) = oneshot::channel();
        let talk = self.begin(vip, way.from, answered)?;
        let Conversation { vip, from } = talk.conversation;
        loop {
            self.out.send(way.hop.ifindex, &way.frame(from, vip, SYN, SEQUENCE)?)?;
            let Ok(reply) = tokio::time::timeout(AGAIN, &mut answer).await else { continue };
            if reply == Ok(Reply::Accepted) {
                self.out.send(way.hop.ifindex, &way.frame(from, vip, RST, SEQUENCE + 1)?)?;
            }
            return reply.map_err(io::Error::other);
        }
    }

    fn begin(&self, vip: SocketAddr, from: IpAddr, answered: oneshot::Sender<Reply>) -> io::Result<Talk<'_>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let conversation = (0..100)
            .map(|_| Conversation { vip, from: SocketAddr::new(from, fastrand::u16(PORTS)) })
            .find(|conversation| !waiting.contains_key(conversation))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))?;
        waiting.insert(conversation, answered);
        Ok(Talk { waiting: &self.waiting, conversation })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

/// A conversation, forgotten when dropped.
struct Talk<'a> {
    waiting: &'a Waiting,
    conversation: Conversation,
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.conversation);
    }
}

/// How a SYN gets to a server.
struct Way {
    hop: NextHop,
    own_mac: [u8; 6],
    /// The director's address that is asked from.
    from: IpAddr,
    /// The outer source, the server, and GUE's port if it is that.
    tunnel: Option<(IpAddr, IpAddr, Option<u16>)>,
}

impl Way {
    fn to(server: IpAddr, family: Family, tunnel: Option<&Tunnel>, view: &View) -> io::Result<Self> {
        let none = || io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
        let hop = *view.hops.get(&server).ok_or_else(none)?;
        let link = view.links.get(&hop.ifindex).ok_or_else(none)?;
        let of_route = view.routes.get(&server).and_then(|route| route.source);
        let ipv6 = family == Family::V6;
        let on_link = || view.addresses.primary(hop.ifindex, ipv6);
        let anywhere = || view.links.keys().find_map(|ifindex| view.addresses.primary(*ifindex, ipv6));
        let from = of_route
            .filter(|source| source.is_ipv6() == ipv6)
            .or_else(|| on_link().or_else(anywhere).map(|address| address.ip))
            .ok_or_else(none)?;
        let tunnel = match tunnel {
            None => None,
            Some(tunnel) => {
                let source = tunnel.source(Family::of(server)).or(of_route).ok_or_else(none)?;
                let gue = match tunnel.encapsulation {
                    Encapsulation::Ipip => None,
                    Encapsulation::Gue(port) => Some(port.get()),
                };
                Some((source, server, gue))
            }
        };
        Ok(Self { hop, own_mac: link.mac.unwrap_or_default(), from, tunnel })
    }

    fn frame(&self, from: SocketAddr, vip: SocketAddr, flags: u8, sequence: u32) -> io::Result<Vec<u8>> {
        let packet = packet::segment(from, vip, flags, sequence).map_err(io::Error::other)?;
        let packet = match self.tunnel {
            None => packet,
            Some((source, server, gue)) => {
                packet::wrapped(&packet, source, server, gue).map_err(io::Error::other)?
            }
        };
        Ok(packet::framed(&packet, self.hop.mac, self.own_mac))
    }
}

/// Tells answers to those who wait for them.
async fn listen(socket: UdpSocket, waiting: Waiting) {
    let mut bytes = [0; 256];
    loop {
        let length = match socket.recv(&mut bytes).await {
            Ok(length) => length,
            // An interface went down; the socket is on all of them.
            Err(_) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let Some(Segment { source, destination, flags, acknowledges }) = packet::segment_in(&bytes[..length])
        else {
            continue;
        };
        let reply = match flags & (SYN_ACK | RST) {
            SYN_ACK => Reply::Accepted,
            answer if answer & RST != 0 => Reply::Refused,
            _ => continue,
        };
        if acknowledges == SEQUENCE + 1 {
            let conversation = Conversation { vip: source, from: destination };
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&conversation);
            // Nobody waits for a second answer.
            let _ = waiting.map(|answered| answered.send(reply));
        }
    }
}
