//! From bytes to one small description of the packet; later stages never look at ethertypes or lengths again.
//!
//! Two steps, because most of what a NIC sees may not be ours: [`network`] gives the addresses the gate asks about,
//! [`transport`] the rest. Every error is the verdict it ends in.

use core::mem::offset_of;

use lb_common::{
    lifecycle::Segment,
    net::{Addr, Port, Protocol},
    verdict::Verdict,
    word::veiled,
};
use network_types::eth::EtherType;

use crate::{
    frame::Frame,
    headers::{Checksum, Ethernet, Ipv4, Ports, Tcp, Udp, Vlan},
};

/// The outer half: links and addresses.
#[derive(Debug)]
pub struct Packet<'a> {
    pub link: &'a Ethernet,
    pub ip: &'a Ipv4,
    /// From the start of the frame to the IP header: 14, or 18 with a VLAN tag.
    pub link_length: u16,
    /// IP header with options, bytes.
    pub header_length: u16,
    /// IP packet, bytes, as its own header says: what is counted.
    pub length: u16,
}

impl Packet<'_> {
    #[inline(always)]
    pub fn source(&self) -> Addr {
        Addr::v4(self.ip.source.get())
    }

    #[inline(always)]
    pub fn destination(&self) -> Addr {
        Addr::v4(self.ip.destination.get())
    }
}

/// The inner half: ports, checksum and what the packet says about its connection. The same for TCP and UDP, because the
/// verifier cannot be told that a pointer and a protocol belong together, and need not go on twice.
#[derive(Debug)]
pub struct Transport<'a> {
    pub ports: &'a Ports,
    pub checksum: &'a Checksum,
    pub protocol: Protocol,
    pub source: Port,
    pub destination: Port,
    pub signal: Signal,
}

/// What a packet says about its connection, as it lies on the wire: decoded where it matters, because the verifier would
/// follow each kind of segment apart through everything in between.
#[derive(Clone, Copy, Debug)]
pub struct Signal(u64);

impl Signal {
    /// Above the eight flags of TCP.
    const DATAGRAM: u64 = 1 << 8;

    #[inline(always)]
    pub const fn is_datagram(self) -> bool {
        self.0 & Self::DATAGRAM != 0
    }

    #[inline(always)]
    pub const fn segment(self) -> Segment {
        if self.is_datagram() { Segment::Datagram } else { Segment::of_tcp_flags(self.0 as u8) }
    }
}

/// Why there is no [`Transport`]; what follows from it depends on whose packet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoTransport {
    /// Part of a datagram (RFC 791: more fragments, or an offset): ports are missing or of no use.
    Fragment,
    /// Neither TCP nor UDP.
    Other,
    /// Cut short.
    Malformed,
}

/// RFC 791: the flag "more fragments" and the offset.
const FRAGMENT_MASK: u16 = 0x3fff;

/// # Errors
/// The verdict for what is not well-formed IPv4: it is the kernel's.
#[inline(always)]
pub fn network<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Verdict> {
    let link: &Ethernet = frame.view(0).ok_or(Verdict::PassedMalformed)?;
    let mut ethertype = link.ethertype.raw();
    let mut link_length = size_of::<Ethernet>() as u64;
    if ethertype == EtherType::Ieee8021q as u16 {
        let tag: &Vlan = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
        ethertype = tag.ethertype.raw();
        link_length += size_of::<Vlan>() as u64;
    }
    if ethertype != EtherType::Ipv4 as u16 {
        let v6 = ethertype == EtherType::Ipv6 as u16;
        return Err(if v6 { Verdict::PassedIpv6 } else { Verdict::PassedNotIp });
    }

    let ip: &Ipv4 = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
    let version_ihl = ip.version_ihl.byte();
    let header_length = u16::from(version_ihl & 0x0f) * 4;
    let length = ip.total_length.number();
    let fits = length >= header_length && link_length + u64::from(length) <= frame.len() as u64;
    if version_ihl >> 4 != 4 || usize::from(header_length) < size_of::<Ipv4>() || !fits {
        return Err(Verdict::PassedMalformed);
    }
    Ok(Packet { link, ip, link_length: link_length as u16, header_length, length })
}

/// # Errors
/// Why the packet has no ports.
#[inline(always)]
pub fn transport<'a>(frame: &Frame<'a>, packet: &Packet<'a>) -> Result<Transport<'a>, NoTransport> {
    if packet.ip.fragment.number() & FRAGMENT_MASK != 0 {
        return Err(NoTransport::Fragment);
    }
    let at = u64::from(packet.link_length + packet.header_length);
    let room = usize::from(packet.length - packet.header_length);
    let protocol = Protocol::from_number(packet.ip.protocol.byte()).ok_or(NoTransport::Other)?;
    let (signal, checksum_at) = match protocol {
        Protocol::Tcp => {
            let tcp: &Tcp = frame.view_at(at).ok_or(NoTransport::Malformed)?;
            if room < size_of::<Tcp>() {
                return Err(NoTransport::Malformed);
            }
            (u64::from(tcp.flags.byte()), offset_of!(Tcp, checksum))
        }
        Protocol::Udp => {
            if room < size_of::<Udp>() {
                return Err(NoTransport::Malformed);
            }
            (Signal::DATAGRAM, offset_of!(Udp, checksum))
        }
    };
    let signal = Signal(veiled(signal, frame.len() as u64));
    let ports: &Ports = frame.view_at(at).ok_or(NoTransport::Malformed)?;
    let checksum: &Checksum = frame.view_at(at + checksum_at as u64).ok_or(NoTransport::Malformed)?;
    let source = Port::from_wire(ports.source.get());
    let destination = Port::from_wire(ports.destination.get());
    Ok(Transport { ports, checksum, protocol, source, destination, signal })
}
