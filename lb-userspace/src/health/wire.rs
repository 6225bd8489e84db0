//! Knocks at a server's door by the way that traffic goes: a SYN or a datagram to the VIP, sent to the server's MAC address or
//! through its tunnel, and who answers it.
//!
//! The kernel cannot do that: the VIP is its own, so it would answer itself, and drop an answer that comes from there. So frames are made
//! here and answers read from packet sockets, filtered to a few ports that the kernel gives to nobody by itself. The handshake
//! is not completed: a RST follows the answer. What the kernel does with an answer does no harm: it comes from an address of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::packet_socket::{Sender, listener};
use crate::config::{Encapsulation, Family, Tunnel};
use crate::net::{NextHop, View};
use crate::packet::{self, Datagram, RST, SYN, SYN_ACK, Segment};

/// Where they come from: beyond the ports that Linux gives out by default (`ip_local_port_range` ends at 60999).
const PORTS: RangeInclusive<u16> = 61_000..=64_999;
/// What may have been lost is sent again.
const AGAIN: Duration = Duration::from_millis(300);
const SEQUENCE: u32 = 1;
/// An IP packet is not longer.
const LONGEST: usize = 64 * 1024;

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
    /// Of TCP, and of UDP.
    knocks: Waiting<Reply>,
    questions: Waiting<Vec<u8>>,
    listeners: [JoinHandle<()>; 2],
}

type Waiting<A> = Arc<Mutex<HashMap<Conversation, oneshot::Sender<A>>>>;

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
        let (knocks, questions) = (Waiting::default(), Waiting::default());
        let listening = |family| {
            let socket = UdpSocket::from_std(listener(family, PORTS)?)?;
            io::Result::Ok(tokio::spawn(listen(socket, knocks.clone(), questions.clone())))
        };
        let listeners = [listening(Family::V4)?, listening(Family::V6)?];
        Ok(Self { view, out: Sender::open()?, knocks, questions, listeners })
    }

    /// Sends SYNs to this VIP until the server answers. The caller limits the time.
    ///
    /// # Errors
    /// When this host has no address to ask from, or the kernel does not take the frame.
    pub async fn knock(&self, server: IpAddr, vip: SocketAddr, tunnel: Option<&Tunnel>) -> io::Result<Reply> {
        let way = self.way(server, vip, tunnel).await?;
        let (talk, answer) = begin(&self.knocks, vip, way.from)?;
        let segment = |flags, sequence| {
            packet::segment(talk.conversation.from, vip, flags, sequence).map_err(io::Error::other)
        };
        let reply = self.repeat(&way, &segment(SYN, SEQUENCE)?, answer).await?;
        if reply == Reply::Accepted {
            self.out.send(way.hop.ifindex, &way.frame(&segment(RST, SEQUENCE + 1)?)?)?;
        }
        Ok(reply)
    }

    /// Sends this datagram to this VIP until one comes back, and returns what is in that; of one in several parts, what is in the
    /// first. The caller limits the time.
    ///
    /// # Errors
    /// Likewise.
    pub async fn ask(
        &self,
        server: IpAddr,
        vip: SocketAddr,
        tunnel: Option<&Tunnel>,
        question: &[u8],
    ) -> io::Result<Vec<u8>> {
        let way = self.way(server, vip, tunnel).await?;
        let (talk, answer) = begin(&self.questions, vip, way.from)?;
        let datagram = packet::datagram(talk.conversation.from, vip, question).map_err(io::Error::other)?;
        self.repeat(&way, &datagram, answer).await
    }

    async fn way(&self, server: IpAddr, vip: SocketAddr, tunnel: Option<&Tunnel>) -> io::Result<Way> {
        let mut view = self.view.clone();
        let known = view.wait_for(|view| view.hops.contains_key(&server)).await;
        let view =
            known.map_err(|_| io::Error::other("the watch over routes and neighbours has ended"))?.clone();
        Way::to(server, Family::of(vip.ip()), tunnel, &view)
    }

    async fn repeat<A>(&self, way: &Way, packet: &[u8], mut answer: oneshot::Receiver<A>) -> io::Result<A> {
        let frame = way.frame(packet)?;
        loop {
            self.out.send(way.hop.ifindex, &frame)?;
            if let Ok(answer) = tokio::time::timeout(AGAIN, &mut answer).await {
                return answer.map_err(io::Error::other);
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

/// A conversation, forgotten when dropped.
struct Talk<'a, A> {
    waiting: &'a Waiting<A>,
    conversation: Conversation,
}

/// Takes a port that nobody asks this VIP from.
fn begin<A>(
    waiting: &Waiting<A>,
    vip: SocketAddr,
    from: IpAddr,
) -> io::Result<(Talk<'_, A>, oneshot::Receiver<A>)> {
    let (answered, answer) = oneshot::channel();
    let mut talks = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let conversation = (0..100)
        .map(|_| Conversation { vip, from: SocketAddr::new(from, fastrand::u16(PORTS)) })
        .find(|conversation| !talks.contains_key(conversation))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))?;
    talks.insert(conversation, answered);
    Ok((Talk { waiting, conversation }, answer))
}

impl<A> Drop for Talk<'_, A> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.conversation);
    }
}

/// How a packet to a VIP gets to a server.
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

    fn frame(&self, packet: &[u8]) -> io::Result<Vec<u8>> {
        let (to, from) = (self.hop.mac, self.own_mac);
        match self.tunnel {
            None => Ok(packet::framed(packet, to, from)),
            Some((source, server, gue)) => {
                let outer = packet::wrapped(packet, source, server, gue).map_err(io::Error::other)?;
                Ok(packet::framed(&outer, to, from))
            }
        }
    }
}

/// Tells answers to those who wait for them.
async fn listen(socket: UdpSocket, knocks: Waiting<Reply>, questions: Waiting<Vec<u8>>) {
    let mut bytes = vec![0; LONGEST];
    loop {
        let length = match socket.recv(&mut bytes).await {
            Ok(length) => length,
            // An interface went down; the socket is on all of them.
            Err(_) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let packet = &bytes[..length];
        if let Some(Datagram { source, destination, payload }) = packet::datagram_in(packet) {
            tell(&questions, source, destination, payload.to_vec());
        } else if let Some(segment) = packet::segment_in(packet)
            && let Some(reply) = reply_in(segment)
        {
            tell(&knocks, segment.source, segment.destination, reply);
        }
    }
}

fn reply_in(segment: Segment) -> Option<Reply> {
    let reply = match segment.flags & (SYN_ACK | RST) {
        SYN_ACK => Reply::Accepted,
        answer if answer & RST != 0 => Reply::Refused,
        _ => return None,
    };
    (segment.acknowledges == SEQUENCE + 1).then_some(reply)
}

fn tell<A>(waiting: &Waiting<A>, vip: SocketAddr, from: SocketAddr, answer: A) {
    let asked = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&Conversation { vip, from });
    // Nobody waits for a second answer.
    let _ = asked.map(|asked| asked.send(answer));
}
