//! Reads a frame back into named fields, as far as its bytes go, and says what is wrong with it.

mod ipv6;

use std::net::Ipv4Addr;

use super::checksum::{internet_checksum, pseudo_header_v4};
use super::transport::TcpFlags;

/// One field of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Such as `ipv4.ttl`.
    pub name: String,
    /// Readable, and different for different bytes.
    pub value: String,
    /// What makes the field wrong by itself: a checksum that does not fit, a length that lies.
    pub fault: Option<String>,
}

/// The fields of `frame` from the outside in; what cannot be read ends up in a field of raw bytes.
pub fn decode(frame: &[u8]) -> Vec<Field> {
    let mut reader = Reader { rest: frame, layer: "ethernet", fields: Vec::new() };
    if reader.ethernet().is_none() {
        reader.field("short", hex(reader.rest));
    }
    reader.fields
}

/// Every fault of a frame, one a line; empty when all lengths and checksums agree.
pub fn faults(frame: &[u8]) -> Vec<String> {
    let told = |field: Field| field.fault.map(|fault| format!("{} {}: {fault}", field.name, field.value));
    decode(frame).into_iter().filter_map(told).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
    layer: &'static str,
    fields: Vec<Field>,
}

/// The port of Generic UDP Encapsulation, assigned by IANA.
const GUE: u16 = 6080;

/// None ends the reading: the bytes have run out.
type Step = Option<()>;

impl<'a> Reader<'a> {
    fn ethernet(&mut self) -> Step {
        let destination: [u8; 6] = self.take()?;
        self.field("destination", mac(destination));
        let source: [u8; 6] = self.take()?;
        self.field("source", mac(source));
        loop {
            let ether_type = self.take_u16()?;
            match ether_type {
                0x8100 | 0x88a8 => {
                    let control = self.take_u16()?;
                    self.field(
                        "vlan",
                        format!("{ether_type:#06x} id {} priority {}", control & 0xfff, control >> 12),
                    );
                }
                _ => {
                    self.field("type", format!("{ether_type:#06x}"));
                    return match ether_type {
                        0x0800 => self.ipv4(),
                        0x86dd => self.ipv6(),
                        _ => self.payload(),
                    };
                }
            }
        }
    }

    fn ipv4(&mut self) -> Step {
        self.layer = "ipv4";
        let packet = self.rest;
        let [first, class, length @ ..] = self.take::<4>()?;
        let header_length = usize::from(first & 15) * 4;
        self.field("version", format!("{}", first >> 4));
        self.field("header_length", format!("{header_length}"));
        self.field("traffic_class", format!("{class:#04x}"));
        let total = usize::from(u16::from_be_bytes(length));
        let lies =
            (total > packet.len() || total < header_length).then(|| format!("{} bytes follow", packet.len()));
        self.judged("total_length", format!("{total}"), lies);
        let identification = self.take_u16()?;
        self.field("identification", format!("{identification:#06x}"));
        let fragment = self.take_u16()?;
        let offset = fragment & 0x1fff;
        let flags = match fragment >> 14 {
            1 | 3 => "don't fragment, ",
            _ => "",
        };
        let more = if fragment & 0x2000 == 0 { "last" } else { "more" };
        self.field("fragment", format!("{flags}offset {offset}, {more}"));
        let [ttl, protocol] = self.take()?;
        self.field("ttl", format!("{ttl}"));
        self.field("protocol", format!("{protocol}"));
        let checksum = self.take_u16()?;
        let right = packet.get(..header_length).map(|header| internet_checksum(&[header]) == 0);
        self.judged(
            "checksum",
            format!("{checksum:#06x}"),
            (right == Some(false)).then(|| "wrong".to_owned()),
        );
        let source = Ipv4Addr::from(self.take::<4>()?);
        self.field("source", source.to_string());
        let destination = Ipv4Addr::from(self.take::<4>()?);
        self.field("destination", destination.to_string());
        let options = packet.get(20..header_length.max(20))?;
        if !options.is_empty() {
            self.field("options", hex(options));
        }
        let end = total.clamp(header_length, packet.len().max(header_length)).min(packet.len());
        let trailer = &packet[end..];
        self.rest = packet.get(header_length.max(20)..end).unwrap_or_default();
        if offset == 0 {
            // The checksum covers all fragments: in the first alone it cannot be judged.
            let whole = fragment & 0x2000 == 0;
            let length = self.rest.len();
            self.transport(
                protocol,
                whole.then(|| pseudo_header_v4(source, destination, protocol, length)),
                false,
            );
        } else {
            self.payload();
        }
        self.trailer(trailer)
    }

    /// `pseudo` is None when the checksum cannot be judged.
    fn transport(&mut self, protocol: u8, pseudo: Option<Vec<u8>>, version_6: bool) {
        let segment = self.rest;
        let wrong = |covered: &[u8]| internet_checksum(&[covered, segment]) != 0;
        let read = match protocol {
            4 => self.ipv4(),
            41 => self.ipv6(),
            6 => self.tcp(pseudo.is_some_and(|pseudo| wrong(&pseudo))),
            17 => self.udp(version_6, pseudo.is_some(), pseudo.is_some_and(|pseudo| wrong(&pseudo))),
            1 => self.icmp(pseudo.is_some_and(|_| wrong(&[]))),
            58 => self.icmp(pseudo.is_some_and(|pseudo| wrong(&pseudo))),
            _ => self.payload(),
        };
        if read.is_none() {
            self.field("short", hex(segment));
        }
    }

    fn tcp(&mut self, wrong: bool) -> Step {
        self.layer = "tcp";
        let segment = self.rest;
        self.ports()?;
        let [sequence, acknowledgement] =
            [u32::from_be_bytes(self.take()?), u32::from_be_bytes(self.take()?)];
        self.field("sequence", format!("{sequence}"));
        self.field("acknowledgement", format!("{acknowledgement}"));
        let [offset, flags] = self.take()?;
        let header_length = usize::from(offset >> 4) * 4;
        let lies = (!(20..=segment.len()).contains(&header_length))
            .then(|| format!("{} bytes follow", segment.len()));
        self.judged("header_length", format!("{header_length}"), lies);
        self.field("flags", TcpFlags(flags).to_string());
        let window = self.take_u16()?;
        self.field("window", format!("{window}"));
        self.checksum(wrong)?;
        let urgent = self.take_u16()?;
        self.field("urgent", format!("{urgent}"));
        let (options, rest) = self.rest.split_at_checked(header_length.saturating_sub(20))?;
        if !options.is_empty() {
            self.field("options", hex(options));
        }
        self.rest = rest;
        self.payload()
    }

    /// Not `whole`: the first part of a datagram, whose length tells of the others too.
    fn udp(&mut self, version_6: bool, whole: bool, wrong: bool) -> Step {
        self.layer = "udp";
        let follow = self.rest.len();
        let tunnel = self.ports()? == GUE;
        let length = self.take_u16()?;
        let fits = if whole { usize::from(length) == follow } else { usize::from(length) >= follow };
        let lies = (!fits).then(|| format!("{follow} bytes follow"));
        self.judged("length", format!("{length}"), lies);
        // RFC 6935 section 5: over IPv6 only tunnels may leave it out.
        let absent = self.rest.first_chunk() == Some(&[0, 0]) && (!version_6 || tunnel);
        self.checksum(wrong && !absent)?;
        match self.rest.first().map(|byte| byte >> 4) {
            Some(4) if tunnel => self.ipv4(),
            Some(6) if tunnel => self.ipv6(),
            _ => self.payload(),
        }
    }

    fn icmp(&mut self, wrong: bool) -> Step {
        self.layer = "icmp";
        let [kind, code] = self.take()?;
        self.field("type", format!("{kind}"));
        self.field("code", format!("{code}"));
        self.checksum(wrong)?;
        let rest: [u8; 4] = self.take()?;
        self.field("rest", hex(&rest));
        self.payload()
    }

    /// Answers the destination.
    fn ports(&mut self) -> Option<u16> {
        let [source, destination] = [self.take_u16()?, self.take_u16()?];
        self.field("source_port", format!("{source}"));
        self.field("destination_port", format!("{destination}"));
        Some(destination)
    }

    fn checksum(&mut self, wrong: bool) -> Step {
        let checksum = self.take_u16()?;
        self.judged("checksum", format!("{checksum:#06x}"), wrong.then(|| "wrong".to_owned()));
        Some(())
    }

    fn payload(&mut self) -> Step {
        let payload = std::mem::take(&mut self.rest);
        if !payload.is_empty() {
            self.field("payload", hex(payload));
        }
        Some(())
    }

    fn trailer(&mut self, trailer: &[u8]) -> Step {
        self.layer = "ethernet";
        if !trailer.is_empty() {
            self.field("trailer", hex(trailer));
        }
        Some(())
    }

    fn field(&mut self, name: &str, value: String) {
        self.judged(name, value, None);
    }

    fn judged(&mut self, name: &str, value: String, fault: Option<String>) {
        self.fields.push(Field { name: format!("{}.{name}", self.layer), value, fault });
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn take_u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
