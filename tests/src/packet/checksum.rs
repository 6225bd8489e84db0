//! The Internet checksum (RFC 1071), always over all the bytes: an incremental update would be what is under test.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What goes into a checksum field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The one that is right for the bytes.
    #[default]
    Right,
    /// One that is certainly wrong, and not 0.
    Wrong,
    /// This one, whatever the bytes; 0 in UDP over IPv4 means none was computed (RFC 768).
    Value(u16),
}

impl Checksum {
    pub(super) fn resolve(self, right: u16) -> u16 {
        match self {
            Self::Right => right,
            // 0 and 0xffff are the same number in ones' complement; neither comes out of this for the other.
            Self::Wrong => match right ^ 0x1234 {
                0 => 0x4321,
                wrong => wrong,
            },
            Self::Value(value) => value,
        }
    }
}

/// The complement of the ones' complement sum of the 16-bit words in all `parts`, as if they were one; an odd byte at
/// the end of any part is padded with 0, so only the last may be odd in a real packet.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for word in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The pseudo-header of RFC 9293 and RFC 768.
pub(super) fn pseudo_header_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    length: usize,
) -> Vec<u8> {
    let [high, low] = (length as u16).to_be_bytes();
    [&source.octets()[..], &destination.octets(), &[0, protocol, high, low]].concat()
}

/// The pseudo-header of RFC 8200, section 8.1.
pub(super) fn pseudo_header_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    length: usize,
) -> Vec<u8> {
    [&source.octets()[..], &destination.octets(), &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&[&bytes]), !0xddf2);
        assert_eq!(internet_checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_one() {
        assert_eq!(internet_checksum(&[&[0xab]]), !0xab00);
    }

    #[test]
    fn wrong_is_wrong_for_every_right() {
        assert!((0..=u16::MAX).all(|right| {
            let wrong = Checksum::Wrong.resolve(right);
            wrong != right && wrong != 0 && wrong != !right
        }));
    }
}
