//! The IPv6 header and the headers that may follow it.

use std::net::Ipv6Addr;

use super::super::checksum::pseudo_header_v6;
use super::{Reader, Step, hex};

/// What the chain of extension headers leads to.
struct Chain {
    protocol: u8,
    /// A later fragment: its bytes are of the middle of something.
    later: bool,
    /// All of the transport is here, and the destination in the IPv6 header is the one that its checksum covers.
    judged: bool,
}

impl Reader<'_> {
    pub(super) fn ipv6(&mut self) -> Step {
        self.layer = "ipv6";
        let word = u32::from_be_bytes(self.take()?);
        self.field("version", format!("{}", word >> 28));
        self.field("traffic_class", format!("{:#04x}", word >> 20 & 0xff));
        self.field("flow_label", format!("{:#07x}", word & 0x000f_ffff));
        let length = self.take_u16()?;
        let [protocol, hop_limit] = self.take()?;
        // Only now is it known what follows the header.
        let follow = self.rest.len().saturating_sub(32);
        let lies = (usize::from(length) > follow).then(|| format!("{follow} bytes follow"));
        self.judged("payload_length", format!("{length}"), lies);
        self.field("next_header", format!("{protocol}"));
        self.field("hop_limit", format!("{hop_limit}"));
        let source = Ipv6Addr::from(self.take::<16>()?);
        self.field("source", source.to_string());
        let destination = Ipv6Addr::from(self.take::<16>()?);
        self.field("destination", destination.to_string());
        let (body, trailer) = self.rest.split_at(usize::from(length).min(self.rest.len()));
        self.rest = body;
        let chain = self.extensions(protocol)?;
        if chain.later {
            self.payload();
        } else {
            let pseudo = pseudo_header_v6(source, destination, chain.protocol, self.rest.len());
            self.transport(chain.protocol, chain.judged.then_some(pseudo), true);
        }
        self.trailer(trailer)
    }

    fn extensions(&mut self, protocol: u8) -> Option<Chain> {
        let mut chain = Chain { protocol, later: false, judged: true };
        loop {
            let name = match chain.protocol {
                0 => "hop_by_hop",
                43 => "routing",
                44 => "fragment",
                51 => "authentication",
                60 => "destination_options",
                _ => return Some(chain),
            };
            let head = *self.rest.first_chunk::<4>()?;
            let words = usize::from(head[1]);
            let length = match chain.protocol {
                44 => 8,
                51 => 8 + 4 * words,
                _ => 8 + 8 * words,
            };
            let (header, rest) = self.rest.split_at_checked(length)?;
            match chain.protocol {
                44 => {
                    let fragment = u16::from_be_bytes([head[2], head[3]]);
                    let (offset, more) = (fragment >> 3, fragment & 1 == 1);
                    chain.later = offset > 0;
                    chain.judged &= !more;
                    let (more, identification) = (if more { "more" } else { "last" }, hex(&header[4..]));
                    self.field("fragment", format!("offset {offset}, {more}, of {identification}"));
                }
                43 => {
                    // The checksum covers the final destination, which each type of routing has elsewhere.
                    chain.judged &= head[3] == 0;
                    self.field(
                        "routing",
                        format!("type {}, {} left: {}", head[2], head[3], hex(&header[4..])),
                    );
                }
                _ => self.field(name, hex(&header[1..])),
            }
            (self.rest, chain.protocol) = (rest, head[0]);
            self.field("next_header", format!("{}", chain.protocol));
            if chain.later {
                return Some(chain);
            }
        }
    }
}
