//! IPv6 extension headers (RFC 8200 section 4, RFC 4302), in any order and number.

use std::net::Ipv6Addr;

/// One header between the IPv6 header and what the packet carries.
#[derive(Clone, Debug)]
pub enum Extension {
    /// The options' bytes, filled up with padding options to a multiple of 8 with the header's first two.
    HopByHop(Vec<u8>),
    /// Likewise.
    DestinationOptions(Vec<u8>),
    /// Type 0: the simplest there is. While segments are left, the last address is where the packet goes in the end,
    /// and so the one in the pseudo-header.
    Routing { segments_left: u8, addresses: Vec<Ipv6Addr> },
    /// `offset` in units of 8 bytes. The transport's bytes are taken as they are, also by a later fragment.
    Fragment { offset: u16, more: bool, identification: u32 },
    /// Of an integrity check value of 12 bytes, which nobody here could verify.
    Authentication { spi: u32, sequence: u32 },
    /// Any number and the bytes after the next-header byte, however wrong.
    Raw { protocol: u8, bytes: Vec<u8> },
}

impl Extension {
    pub fn fragment(offset: u16, more: bool) -> Self {
        Self::Fragment { offset, more, identification: 0x0bad_cafe }
    }

    /// A fragment header on a packet that is whole (RFC 6946).
    pub fn atomic_fragment() -> Self {
        Self::fragment(0, false)
    }

    pub(super) fn protocol(&self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing { .. } => 43,
            Self::Fragment { .. } => 44,
            Self::Authentication { .. } => 51,
            Self::DestinationOptions(_) => 60,
            Self::Raw { protocol, .. } => *protocol,
        }
    }

    /// Where the packet goes in the end, if that is not where it goes first.
    pub(super) fn final_destination(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Routing { segments_left: 1.., addresses } => addresses.last().copied(),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, next: u8) -> Vec<u8> {
        let mut bytes = vec![next];
        match self {
            Self::HopByHop(options) | Self::DestinationOptions(options) => {
                bytes.push((options.len() + 2).div_ceil(8) as u8 - 1);
                bytes.extend_from_slice(options);
                pad(&mut bytes);
            }
            Self::Routing { segments_left, addresses } => {
                bytes.extend_from_slice(&[2 * addresses.len() as u8, 0, *segments_left, 0, 0, 0, 0]);
                bytes.extend(addresses.iter().flat_map(Ipv6Addr::octets));
            }
            Self::Fragment { offset, more, identification } => {
                bytes.push(0);
                bytes.extend_from_slice(&(offset << 3 | u16::from(*more)).to_be_bytes());
                bytes.extend_from_slice(&identification.to_be_bytes());
            }
            Self::Authentication { spi, sequence } => {
                // The length of this one header counts words of 4 bytes, less two.
                bytes.extend_from_slice(&[4, 0, 0]);
                bytes.extend_from_slice(&spi.to_be_bytes());
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(&[0xa5; 12]);
            }
            Self::Raw { bytes: rest, .. } => bytes.extend_from_slice(rest),
        }
        bytes
    }
}

/// Pad1 for a single byte, PadN for more (RFC 8200 section 4.2).
fn pad(header: &mut Vec<u8>) {
    match header.len().next_multiple_of(8) - header.len() {
        0 => {}
        1 => header.push(0),
        more => {
            header.extend_from_slice(&[1, more as u8 - 2]);
            header.resize(header.len() + more - 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_filled_up_to_eight_bytes() {
        assert_eq!(Extension::HopByHop(vec![]).bytes(6), [6, 0, 1, 4, 0, 0, 0, 0]);
        // A router alert for MLD.
        assert_eq!(Extension::HopByHop(vec![5, 2, 0, 0]).bytes(58), [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!(Extension::DestinationOptions(vec![30, 3, 1, 2, 3]).bytes(17), [17, 0, 30, 3, 1, 2, 3, 0]);
        assert_eq!(Extension::DestinationOptions(vec![0; 6]).bytes(17), [17, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Extension::DestinationOptions(vec![0; 7]).bytes(17).len(), 16);
    }

    #[test]
    fn lengths_are_counted_as_each_header_wants_it() {
        let routing = Extension::Routing { segments_left: 1, addresses: vec![Ipv6Addr::LOCALHOST; 2] };
        assert_eq!(routing.bytes(6).len(), 8 + 8 * usize::from(routing.bytes(6)[1]));
        let authentication = Extension::Authentication { spi: 1, sequence: 2 };
        assert_eq!(authentication.bytes(6).len(), 4 * (usize::from(authentication.bytes(6)[1]) + 2));
        assert_eq!(Extension::fragment(3, true).bytes(6), [6, 0, 0, 25, 0x0b, 0xad, 0xca, 0xfe]);
    }
}
