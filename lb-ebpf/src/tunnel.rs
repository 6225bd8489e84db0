//! A packet to a server that is reached through a tunnel: put whole into a packet of the director's own.
//!
//! | the outer header's | is |
//! | --- | --- |
//! | source, destination | the tunnel's, the server's |
//! | TTL or hop limit | its own; the inner one is spent as by any router (RFC 2003 section 3.1) |
//! | DSCP and ECN | the inner packet's (RFC 2983 section 4.1, RFC 6040 section 4.1, normal mode) |
//! | don't fragment | set, so that packets of many clients need no ids of their own (RFC 2003 section 5.1, RFC 6864 section 4.1) |
//! | flow label, UDP source port | of the flow (RFC 6438, draft-ietf-intarea-gue section 5.11) |
//! | UDP checksum | none: what is inside has its own (RFC 6935, RFC 6936) |

use lb_common::{
    checksum::{fold, four},
    entry::{Encapsulation, Server, ServerState, Tunnel, TunnelWay},
    identity::FlowId,
    net::Port,
    slot::ServerId,
    verdict::Verdict,
};
use network_types::eth::EtherType;

use crate::{
    Outcome,
    director::Director,
    egress::{self, Way},
    frame::Frame,
    headers::{Ethernet, Ipv4, Ipv6, Udp},
    icmp, ip, link,
    parse::{Family, Shape},
    rewrite,
    tables::{Direction, Tables},
};

/// What goes through which tunnel: so few words that a global function takes them.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    pub server: ServerId,
    pub shape: Shape,
    /// The same for all packets of a connection, for those who spread packets over equal ways and queues.
    pub entropy: u32,
}

pub(crate) const IPV4_INSIDE: u8 = 4;
pub(crate) const IPV6_INSIDE: u8 = 41;
const UDP: u8 = 17;
const HOPS: u8 = 64;
/// Id, flags and offset of RFC 791.
const DONT_FRAGMENT: [u8; 4] = [0, 0, 0x40, 0];
/// RFC 6335 section 6: ports that are nobody's.
const DYNAMIC_PORTS: u16 = 0xc000;

/// [`Parcel::entropy`] of a flow.
#[inline(always)]
pub const fn entropy(flow: FlowId) -> u32 {
    flow.bits() as u32
}

/// Whether this server is reached through a tunnel.
#[inline(always)]
pub fn leads_to<T: Tables>(tables: &T, id: ServerId) -> bool {
    tables
        .server(id)
        .is_some_and(|server| ServerState::from_word(server.state.load()).has(ServerState::TUNNEL))
}

/// Puts a packet into its tunnel, and counts it. The frame is another afterwards.
#[inline(always)]
pub fn encapsulate<T: Tables>(frame: &Frame<'_>, tables: &T, parcel: Parcel) -> Outcome {
    match try_to(frame, tables, parcel) {
        Ok(outcome) => outcome,
        Err(outcome) => {
            tables.fell_short(parcel.server);
            outcome
        }
    }
}

#[inline(always)]
fn try_to<T: Tables>(frame: &Frame<'_>, tables: &T, parcel: Parcel) -> Result<Outcome, Outcome> {
    let Parcel { server: id, shape, entropy } = parcel;
    let director = Director::again(tables).ok_or(Verdict::Aborted)?;
    let server = director.server(id).ok_or(Verdict::Aborted)?;
    let tunnel = tables.tunnel(id).ok_or(Verdict::Aborted)?;
    rewrite::has_hops_to_server(frame, shape.network())?;
    let word = tunnel.way.load();
    let through = TunnelWay::from_word(word).ok_or(Verdict::DroppedNoNextHop)?;
    if shape.length() > tunnel.room(through, director.now) {
        return Err(Outcome::TO_NOTICE);
    }
    let way = egress::through_tunnel(shape, tunnel, server.server, &director)?;
    // Where it lies, is asked once more, for the stack has no room to remember it.
    let frame = &tables.moved(0).ok_or(Verdict::Aborted)?;
    address(frame, way).ok_or(Verdict::Aborted)?;
    let verdict = if icmp::is_carried_by(shape) { Verdict::ForwardedIcmp } else { Verdict::ForwardedTunnel };
    let sent = Outcome::sent_by(verdict, way.door);
    ip::forward(frame, shape.network(), None).ok_or(Verdict::Aborted)?;
    if !wrap(tables, id, shape, word, entropy) {
        return Err(Verdict::DroppedNoHeadroom.into());
    }
    Ok(sent)
}

/// Puts the headers of the way that is this word around a packet, and counts it. What asks is not what acts, for the sake of
/// the stack.
#[inline(never)]
fn wrap<T: Tables>(tables: &T, id: ServerId, shape: Shape, word: u64, entropy: u32) -> bool {
    let Some(through) = TunnelWay::from_word(word) else { return false };
    let is_around = Outer { server: id, through, shape, entropy }.put_around(tables).is_some();
    if is_around {
        tables.count_packet(id, Direction::In, shape.length());
    }
    is_around
}

/// Before the frame grows, so that less lies on the stack then.
#[inline(always)]
fn address(frame: &Frame<'_>, way: Way) -> Option<()> {
    let link: &Ethernet = frame.view(0)?;
    link.destination.set_mac(way.next_mac);
    link.source.set_mac(way.own_mac);
    Some(())
}

/// DSCP and ECN of the packet that begins here, as one byte.
#[inline(always)]
fn traffic_class(frame: &Frame<'_>, at: u64, family: Family) -> Option<u8> {
    match family {
        Family::V4 => frame.view_at::<Ipv4>(at).map(|ip| ip.tos.byte()),
        Family::V6 => {
            let [a, b, ..] = frame.view_at::<Ipv6>(at)?.version_class_flow.get();
            Some(a << 4 | b >> 4)
        }
    }
}

/// The headers to be put around a packet.
#[derive(Clone, Copy)]
struct Outer {
    server: ServerId,
    through: TunnelWay,
    shape: Shape,
    entropy: u32,
}

impl Outer {
    #[inline(always)]
    fn put_around<T: Tables>(&self, tables: &T) -> Option<()> {
        let overhead = self.through.overhead();
        let frame = tables.moved(i32::from(overhead))?;
        let ethertype = if self.through.over_ipv6 { EtherType::Ipv6 } else { EtherType::Ipv4 } as u16;
        link::advance(&frame, self.shape, overhead.into(), ethertype)?;
        let at = self.shape.link_length();
        let class = traffic_class(&frame, at + u64::from(overhead), self.shape.family())?;
        // Looked up only now: there was no room to remember them.
        let (tunnel, server) = (tables.tunnel(self.server)?, tables.server(self.server)?);
        let size = if self.through.over_ipv6 {
            self.put_ipv6(frame.view_at(at)?, class, tunnel, server)
        } else {
            self.put_ipv4(frame.view_at(at)?, class, tunnel, server)
        };
        match self.through.encapsulation {
            Encapsulation::Ip => {}
            Encapsulation::Gue(port) => self.put_udp(frame.view_at(at + size)?, port),
        }
        Some(())
    }

    /// The size of the header.
    #[inline(always)]
    fn put_ipv4(&self, ip: &Ipv4, class: u8, tunnel: &Tunnel, server: &Server) -> u64 {
        let [high, low] = self.shape.length().wrapping_add(self.through.overhead()).to_be_bytes();
        let first = [0x45, class, high, low];
        let second = DONT_FRAGMENT;
        let third = [HOPS, self.next_header(), 0, 0];
        let (from, to) = (tunnel.source.load().low_word(), server.address.load().low_word());
        let sum = four(first) + four(second) + four(third) + u64::from(from) + u64::from(to);
        ip.version_ihl.set([first[0]]);
        ip.tos.set([first[1]]);
        ip.total_length.set([high, low]);
        ip.id.set([second[0], second[1]]);
        ip.fragment.set([second[2], second[3]]);
        ip.ttl.set([HOPS]);
        ip.protocol.set([third[1]]);
        ip.checksum.set_raw(!fold(sum));
        ip.source.set_raw(from);
        ip.destination.set_raw(to);
        size_of::<Ipv4>() as u64
    }

    /// The size of the header.
    #[inline(always)]
    fn put_ipv6(&self, ip: &Ipv6, class: u8, tunnel: &Tunnel, server: &Server) -> u64 {
        let class = u32::from(class) << 20;
        let payload = self.shape.length().wrapping_add(self.udp_length());
        ip.version_class_flow.set((6 << 28 | class | self.entropy & 0xf_ffff).to_be_bytes());
        ip.payload_length.set(payload.to_be_bytes());
        ip.next_header.set([self.next_header()]);
        ip.hop_limit.set([HOPS]);
        ip.source.set_addr(tunnel.source.load());
        ip.destination.set_addr(server.address.load());
        size_of::<Ipv6>() as u64
    }

    #[inline(always)]
    fn put_udp(&self, udp: &Udp, port: Port) {
        let length = self.shape.length().wrapping_add(self.udp_length());
        udp.ports.source.set((DYNAMIC_PORTS | self.entropy as u16).to_be_bytes());
        udp.ports.destination.set(port.to_wire());
        udp.length.set(length.to_be_bytes());
        udp.checksum.value.set([0; 2]);
    }

    #[inline(always)]
    const fn udp_length(&self) -> u16 {
        match self.through.encapsulation {
            Encapsulation::Ip => 0,
            Encapsulation::Gue(_) => size_of::<Udp>() as u16,
        }
    }

    #[inline(always)]
    const fn next_header(&self) -> u8 {
        match (self.through.encapsulation, self.shape.family()) {
            (Encapsulation::Gue(_), _) => UDP,
            (Encapsulation::Ip, Family::V4) => IPV4_INSIDE,
            (Encapsulation::Ip, Family::V6) => IPV6_INSIDE,
        }
    }
}
