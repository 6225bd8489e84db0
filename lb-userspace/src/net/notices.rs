//! What the kernel tells by itself: changes of links, addresses, routes and neighbours.
//!
//! Only neighbour notices are read in full, for they come often and say all there is to say. Of the others it is enough
//! to know that something changed: routes are asked for by target anyway.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkBuffer, Parseable};
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};

use super::netlink::NetError;
use super::next_hop::{Seen, neighbour};

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Room for the notices of some thousand neighbours flushed at once; beyond it the kernel reports a loss.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel's largest notice is a page or two; a link with many virtual functions may need more.
const LARGEST_DATAGRAM: usize = 64 << 10;
const ENOBUFS: i32 = 105;

// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Neighbour(u32, IpAddr, Seen),
    /// Routes, rules or next-hop objects.
    Routes,
    Links,
    Addresses,
    /// Some notices were lost: everything must be read again.
    Lost,
}

/// The subscription, in the network namespace of the thread that opened it.
pub(super) struct Notices {
    socket: TokioSocket,
    datagram: Vec<u8>,
}

impl Notices {
    pub(super) fn subscribe() -> Result<Self, NetError> {
        let failed = |cause| NetError::new("subscribe to network changes", cause);
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(failed)?;
        let inner = socket.socket_mut();
        // Above net.core.rmem_max this is cut to it; a loss is noticed and mended anyway.
        inner.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX)).map_err(failed)?;
        inner.bind(&SocketAddr::new(0, 0)).map_err(failed)?;
        for group in GROUPS {
            inner.add_membership(group as u32).map_err(failed)?;
        }
        // Next-hop objects came with kernel 5.3; without them there is nothing to hear.
        let _ = inner.add_membership(MulticastGroup::Nexthop as u32);
        Ok(Self { socket, datagram: Vec::with_capacity(LARGEST_DATAGRAM) })
    }

    /// Waits for the next datagram and hands each of its notices on. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Notice>> {
        self.datagram.clear();
        let Self { socket, datagram } = self;
        match poll_fn(|context| socket.poll_recv_from(context, datagram)).await {
            Ok(_) => Ok(read(datagram)),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => Ok(vec![Notice::Lost]),
            Err(error) => Err(error),
        }
    }
}

fn read(mut datagram: &[u8]) -> Vec<Notice> {
    let mut notices = Vec::new();
    while !datagram.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(datagram) else {
            notices.push(Notice::Lost); // cut off
            break;
        };
        notices.extend(notice(message.message_type(), message.payload()));
        let aligned = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(aligned..).unwrap_or_default();
    }
    notices
}

fn notice(kind: u16, payload: &[u8]) -> Option<Notice> {
    match kind {
        RTM_NEWNEIGH | RTM_DELNEIGH => {
            let Ok(message) = NeighbourMessage::parse(payload) else { return Some(Notice::Lost) };
            let (ifindex, ip, seen) = neighbour(&message)?;
            Some(Notice::Neighbour(ifindex, ip, if kind == RTM_DELNEIGH { Seen::Absent } else { seen }))
        }
        RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
            Some(Notice::Routes)
        }
        RTM_NEWLINK | RTM_DELLINK => Some(Notice::Links),
        RTM_NEWADDR | RTM_DELADDR => Some(Notice::Addresses),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((16 + payload.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn several_messages_in_one_datagram_are_all_read() {
        let datagram =
            [message(RTM_NEWLINK, &[0; 16]), message(4711, &[]), message(RTM_DELNEXTHOP, &[0; 8])].concat();
        assert_eq!(read(&datagram), [Notice::Links, Notice::Routes]);
    }

    #[test]
    fn a_datagram_that_was_cut_off_counts_as_a_loss() {
        let datagram = [message(RTM_NEWADDR, &[0; 8]), message(RTM_NEWLINK, &[0; 16])].concat();
        assert_eq!(read(&datagram[..datagram.len() - 4]), [Notice::Addresses, Notice::Lost]);
    }
}
