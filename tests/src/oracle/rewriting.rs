//! What a forwarded frame must look like: each byte, and of each checksum that it says neither more nor less than before.
//!
//! Checksums are not predicted but judged, over all the bytes they cover: the sum of a packet must be after rewriting what
//! it was before (RFC 1071: right stays right, and what was wrong stays wrong by as much).

use std::net::IpAddr;
use std::ops::Range;

use super::reading::{Quote, Reading, addresses};
use crate::datapath::world::Protocol;
use crate::packet::{Mac, difference};

/// A frame that must come out.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    bytes: Vec<u8>,
    sums: Vec<Sum>,
    around: Option<Around>,
}

/// The headers of a tunnel around a packet that begins here.
#[derive(Clone, Debug)]
struct Around {
    at: usize,
    headers: Vec<u8>,
}

/// A checksum and everything it is about.
#[derive(Clone, Debug)]
struct Sum {
    field: usize,
    covers: Vec<Range<usize>>,
    /// A zero says that there is none, and must not come into being (RFC 768).
    may_be_absent: bool,
}

/// One end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Source,
    Destination,
}

impl Expected {
    /// The same frame.
    pub fn same(frame: &[u8]) -> Self {
        Self { bytes: frame.to_vec(), sums: Vec::new(), around: None }
    }

    /// The frame of this packet on its next hop: MACs and one hop less.
    pub fn forwarded(frame: &[u8], packet: &Reading, to: Mac, from: Mac) -> Self {
        let mut expected = Self::same(frame);
        expected.bytes[..6].copy_from_slice(&to);
        expected.bytes[6..12].copy_from_slice(&from);
        expected.bytes[packet.ip + if packet.source.is_ipv6() { 7 } else { 8 }] = packet.hops - 1;
        expected.header(packet)
    }

    /// An answer made of the frame itself: everybody's ends change places.
    pub fn turned(frame: &[u8], packet: &Reading) -> Self {
        let mut expected = Self::same(frame);
        expected.bytes[..6].copy_from_slice(&frame[6..12]);
        expected.bytes[6..12].copy_from_slice(&frame[..6]);
        let at = packet.addresses();
        let half = at.len() / 2;
        expected.bytes[at].rotate_left(half);
        expected.bytes[packet.ip + if packet.source.is_ipv6() { 7 } else { 8 }] = 64;
        expected.header(packet)
    }

    /// Something else in one place.
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// An end of the packet has another address.
    pub fn address(self, packet: &Reading, end: End, address: IpAddr) -> Self {
        self.address_at(packet.addresses(), end, address)
    }

    /// An end of the quoted packet has another address and port.
    pub fn quoted(self, quote: &Quote, end: End, address: IpAddr, port: u16) -> Self {
        let v6 = quote.source.is_ipv6();
        let at = addresses(quote.ip, v6);
        let mut expected = self.address_at(at.clone(), end, address).port(quote.at, end, port);
        if !v6 {
            expected.sums.push(Sum::of_header(quote.ip..quote.at));
        }
        if quote.summed {
            let field = quote.at + checksum_offset(quote.protocol);
            // The rest of what it covers may have been cut off; it does not change.
            let covers = vec![at, quote.at..quote.at + 4, field..field + 2];
            expected.sums.push(Sum { field, covers, may_be_absent: quote.protocol == Protocol::Udp });
        }
        expected
    }

    /// A port of the transport header that begins here.
    pub fn port(self, at: usize, end: End, port: u16) -> Self {
        let offset = if end == End::Source { 0 } else { 2 };
        self.with(at + offset, &port.to_be_bytes())
    }

    /// The checksum of the segment that begins here follows.
    pub fn segment_sum(mut self, packet: &Reading, at: usize, protocol: Protocol) -> Self {
        let covers = vec![packet.addresses(), at..packet.end];
        let field = at + checksum_offset(protocol);
        self.sums.push(Sum { field, covers, may_be_absent: protocol == Protocol::Udp });
        self
    }

    /// The checksum of the ICMP message follows.
    pub fn message_sum(mut self, packet: &Reading, message: Range<usize>) -> Self {
        let field = message.start + 2;
        // RFC 792: the message alone. RFC 4443 section 2.3: the addresses, too.
        let about = packet.source.is_ipv6().then(|| packet.addresses());
        let covers = about.into_iter().chain([message]).collect();
        self.sums.push(Sum { field, covers, may_be_absent: false });
        self
    }

    /// In a tunnel, with these headers, of which it is not known what is the flow's.
    pub fn within(self, packet: &Reading, headers: &[u8]) -> Self {
        Self { around: Some(Around { at: packet.ip, headers: headers.to_vec() }), ..self }
    }

    /// What is wrong with a frame that was made of `input`; `None`: nothing.
    pub fn deviation(&self, input: &[u8], output: &[u8]) -> Option<String> {
        let Some(around) = &self.around else { return self.deviation_inside(input, output) };
        match around.taken_off(output, &self.bytes) {
            Ok(inside) => self.deviation_inside(input, &inside),
            Err(told) => Some(told.to_owned()),
        }
    }

    fn deviation_inside(&self, input: &[u8], output: &[u8]) -> Option<String> {
        let mut masked = [self.bytes.clone(), output.to_vec()];
        for frame in &mut masked {
            for sum in &self.sums {
                frame.get_mut(sum.field..sum.field + 2)?.fill(0);
            }
        }
        let [wanted, got] = &masked;
        difference(wanted, got).or_else(|| self.sums.iter().find_map(|sum| sum.deviation(input, output)))
    }

    /// The checksum of the IPv4 header follows.
    fn header(mut self, packet: &Reading) -> Self {
        if packet.source.is_ipv4() {
            self.sums.push(Sum::of_header(packet.ip..packet.ip + packet.header));
        }
        self
    }

    fn address_at(self, at: Range<usize>, end: End, address: IpAddr) -> Self {
        let half = at.len() / 2;
        let at = if end == End::Source { at.start } else { at.start + half };
        match address {
            IpAddr::V4(address) => self.with(at, &address.octets()),
            IpAddr::V6(address) => self.with(at, &address.octets()),
        }
    }
}

impl Around {
    /// The frame without these headers, so that the EtherType is again that of the packet within.
    fn taken_off(&self, output: &[u8], inside: &[u8]) -> Result<Vec<u8>, &'static str> {
        let Self { at, ref headers } = *self;
        let end = at + headers.len();
        let got = output.get(at..end).ok_or("too short for the headers of a tunnel")?;
        let (ether_type, udp) = if headers[0] >> 4 == 6 { ([0x86, 0xdd], 40) } else { ([8, 0], 20) };
        if output[at - 2..at] != ether_type {
            return Err("not the EtherType of the tunnel");
        }
        if got.get(udp).is_some_and(|high| *high < 0xc0) {
            return Err("a UDP source port that is somebody's");
        }
        let masked = |headers: &[u8]| {
            let mut masked = headers.to_vec();
            if udp == 40 {
                masked[1] &= 0xf0;
                masked[2..4].fill(0);
            }
            masked.iter_mut().skip(udp).take(2).for_each(|byte| *byte = 0);
            masked
        };
        if masked(got) != masked(headers) {
            return Err("other headers of the tunnel");
        }
        Ok([&output[..at - 2], &inside[at - 2..at], &output[end..]].concat())
    }
}

impl Sum {
    /// Of an IPv4 header.
    fn of_header(header: Range<usize>) -> Self {
        Self { field: header.start + 10, covers: [header].into(), may_be_absent: false }
    }

    fn deviation(&self, input: &[u8], output: &[u8]) -> Option<String> {
        let absent = |frame: &[u8]| self.may_be_absent && frame[self.field..self.field + 2] == [0, 0];
        let field = self.field;
        match (absent(input), absent(output)) {
            (true, true) => None,
            (true, false) => Some(format!("a checksum was made up at byte {field}")),
            (false, true) => Some(format!("the checksum at byte {field} has vanished")),
            (false, false) => {
                let (before, after) = (self.total(input), self.total(output));
                (before != after).then(|| format!("the checksum at byte {field} does not fit its bytes"))
            }
        }
    }

    /// In ones' complement, where 0 and 0xffff are one number.
    fn total(&self, frame: &[u8]) -> u64 {
        let words = self.covers.iter().flat_map(|range| frame[range.clone()].chunks(2));
        words.map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum::<u64>()
            % 0xffff
    }
}

const fn checksum_offset(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 16,
        Protocol::Udp => 6,
    }
}
