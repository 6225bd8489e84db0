//! A packet to a server that is reached through a tunnel: put whole into a packet of the director's own.
//!
//! | the outer header's | is |
//! | --- | --- |
//! | source, destination | the tunnel's, the server's |
//! | TTL or hop limit | its own; the inner one is spent as by any router (RFC 2003 section 3.1) |
//! | DSCP and ECN | the inner packet's (RFC 2983 section 4.1, RFC 6040 section 4.1, normal mode) |
//! | don't fragment, id | the inner packet's; around IPv6, which no router fragments: set, and 0 (RFC 6864 section 4.1) |
//! | flow label, UDP source port | of the flow (RFC 6438, draft-ietf-intarea-gue section 5.11) |
//! | UDP checksum | none: what is inside has its own (RFC 6935, RFC 6936) |

use lb_common::{
    checksum::{fold, four},
    entry::{Encapsulation, Server, ServerState, Tunnel, TunnelWay},
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
/// RFC 791.
const DONT_FRAGMENT: u16 = 0x4000;
/// RFC 6335 section 6: ports that are nobody's.
const DYNAMIC_PORTS: u16 = 0xc000;

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
        Ok(outcome) | Err(outcome) => outcome,
    }
}

#[inline(always)]
fn try_to<T: Tables>(frame: &Frame<'_>, tables: &T, parcel: Parcel) -> Result<Outcome, Outcome> {
    let Parcel { server: id, shape, entropy } = parcel;
    let director = Director::again(tables).ok_or(Verdict::Aborted)?;
    let server = director.server(id).ok_or(Verdict::Aborted)?;
    let tunnel = tables.tunnel(id).ok_or(Verdict::Aborted)?;
    rewrite::has_hops_left(frame, shape)?;
    let through = TunnelWay::from_word(tunnel.way.load()).ok_or(Verdict::DroppedNoNextHop)?;
    if shape.length() > tunnel.room(through, director.now) {
        return Err(Outcome::TO_TOO_BIG);
    }
    let way = egress::to_server(tunnel.source.load(), server.server, &director)?;
    address(frame, way).ok_or(Verdict::Aborted)?;
    let verdict = if icmp::is_carried_by(shape) { Verdict::ForwardedIcmp } else { Verdict::ForwardedTunnel };
    let sent = Outcome::sent(verdict, way.exit);
    let inner = Inner::spend_hop(frame, shape).ok_or(Verdict::Aborted)?;
    let outer = Outer { tunnel, server: server.server, through, shape, inner, entropy };
    outer.put_around(frame, tables).ok_or(Verdict::Aborted)?;
    tables.count_packet(id, Direction::In, shape.length());
    Ok(sent)
}

/// Before the frame grows, so that less lies on the stack then.
#[inline(always)]
fn address(frame: &Frame<'_>, way: Way) -> Option<()> {
    let link: &Ethernet = frame.view(0)?;
    link.destination.set_mac(way.next_hop.mac);
    link.source.set_mac(way.own_mac);
    Some(())
}

/// What the outer header takes over from the inner one: the traffic class in the lowest byte, then id, flags and offset as
/// IPv4 has them.
#[derive(Clone, Copy)]
struct Inner(u64);

impl Inner {
    /// Reads it, and spends a hop of the packet as forwarding does.
    #[inline(always)]
    fn spend_hop(frame: &Frame<'_>, shape: Shape) -> Option<Self> {
        ip::forward(frame, shape, None)?;
        Some(match shape.family() {
            Family::V4 => {
                let ip: &Ipv4 = frame.view_at(shape.link_length())?;
                Self::new(ip.tos.byte(), ip.id.number(), ip.fragment.number() & DONT_FRAGMENT)
            }
            Family::V6 => {
                let ip: &Ipv6 = frame.view_at(shape.link_length())?;
                let [a, b, ..] = ip.version_class_flow.get();
                Self::new(a << 4 | b >> 4, 0, DONT_FRAGMENT)
            }
        })
    }

    #[inline(always)]
    const fn new(traffic_class: u8, id: u16, fragment: u16) -> Self {
        Self(traffic_class as u64 | (fragment as u64) << 16 | (id as u64) << 32)
    }

    #[inline(always)]
    const fn traffic_class(self) -> u8 {
        self.0 as u8
    }

    /// Id, flags and offset, as they lie in the header.
    #[inline(always)]
    const fn fragment(self) -> [u8; 4] {
        ((self.0 >> 16) as u32).to_be_bytes()
    }
}

/// The headers to be put around a packet.
#[derive(Clone, Copy)]
struct Outer<'t> {
    tunnel: &'t Tunnel,
    server: &'t Server,
    through: TunnelWay,
    shape: Shape,
    inner: Inner,
    entropy: u32,
}

impl Outer<'_> {
    #[inline(always)]
    fn put_around<T: Tables>(&self, frame: &Frame<'_>, tables: &T) -> Option<()> {
        let overhead = self.through.overhead();
        let frame = tables.grow(frame, usize::from(overhead))?;
        let ethertype = if self.through.over_ipv6 { EtherType::Ipv6 } else { EtherType::Ipv4 } as u16;
        link::advance(&frame, self.shape, u64::from(overhead), ethertype)?;
        let at = self.shape.link_length();
        let size = if self.through.over_ipv6 {
            self.put_ipv6(frame.view_at(at)?)
        } else {
            self.put_ipv4(frame.view_at(at)?)
        };
        match self.through.encapsulation {
            Encapsulation::Ip => {}
            Encapsulation::Gue(port) => self.put_udp(frame.view_at(at + size)?, port),
        }
        Some(())
    }

    /// The size of the header.
    #[inline(always)]
    fn put_ipv4(&self, ip: &Ipv4) -> u64 {
        let [high, low] = self.shape.length().wrapping_add(self.through.overhead()).to_be_bytes();
        let first = [0x45, self.inner.traffic_class(), high, low];
        let second = self.inner.fragment();
        let third = [HOPS, self.next_header(), 0, 0];
        let (from, to) = (self.tunnel.source.load().low_word(), self.server.address.load().low_word());
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
    fn put_ipv6(&self, ip: &Ipv6) -> u64 {
        let class = u32::from(self.inner.traffic_class()) << 20;
        let payload = self.shape.length().wrapping_add(self.udp_length());
        ip.version_class_flow.set((6 << 28 | class | self.entropy & 0xf_ffff).to_be_bytes());
        ip.payload_length.set(payload.to_be_bytes());
        ip.next_header.set([self.next_header()]);
        ip.hop_limit.set([HOPS]);
        ip.source.set_addr(self.tunnel.source.load());
        ip.destination.set_addr(self.server.address.load());
        size_of::<Ipv6>() as u64
    }

    #[inline(always)]
    fn put_udp(&self, udp: &Udp, port: Port) {
        let length = self.shape.length().wrapping_add(self.udp_length());
        udp.source.set((DYNAMIC_PORTS | self.entropy as u16).to_be_bytes());
        udp.destination.set(port.to_wire());
        udp.length.set(length.to_be_bytes());
        udp.checksum.set([0; 2]);
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
