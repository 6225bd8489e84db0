//! How connection ids of QUIC name servers, in the plaintext form of QUIC-LB (draft-ietf-quic-load-balancers-21, section 5):
//!
//! ```text
//!   3 bits    5 bits     1 to 15 octets     4 octets or more
//! +--------+----------+------------------+------------------+
//! | config |   any    |    server's id   |   nonce          |
//! +--------+----------+------------------+------------------+
//! ```

use core::num::NonZeroU64;

/// Of which configuration a service's connection ids are, and how long the servers' ids in them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QuicFormat(NonZeroU64);

impl QuicFormat {
    /// The greatest number of a configuration; the one above it says that an id names nobody.
    pub const LAST_CONFIG: u8 = 6;
    /// Octets, so that a nonce of four has room in an id of 20, the longest of QUIC version 1.
    pub const LONGEST: u8 = 15;

    /// `None`: there is no such configuration, or no id of this length in octets.
    #[must_use]
    pub const fn new(config: u8, length: u8) -> Option<Self> {
        if config > Self::LAST_CONFIG || length == 0 || length > Self::LONGEST {
            return None;
        }
        Self::from_word((config as u64) << 8 | length as u64)
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0.get()
    }

    /// A zero word: ids name nobody.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        match NonZeroU64::new(word) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The number of the configuration.
    #[must_use]
    pub const fn config(self) -> u8 {
        (self.to_word() >> 8) as u8
    }

    /// Of a server's id, octets.
    #[must_use]
    #[inline(always)]
    pub const fn length(self) -> u64 {
        self.to_word() & 0xff
    }

    /// Whether a connection id that begins with this octet is of this configuration.
    #[must_use]
    #[inline(always)]
    pub const fn is_of(self, first_octet: u8) -> bool {
        (first_octet >> 5) as u64 == self.to_word() >> 8
    }
}

/// Key of `quic_servers`: what a connection id calls a server of a service. With the format, so that the ids of an old one
/// and of a new one can stand beside each other.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QuicKey {
    /// The service's number, and above it the format.
    scope: u64,
    /// The id as a number.
    high: u64,
    low: u64,
}

impl QuicKey {
    /// The id is the end of these sixteen octets, read as numbers; what stands before it does not matter.
    #[must_use]
    #[inline(always)]
    pub const fn ending(service: u16, format: QuicFormat, high: u64, low: u64) -> Self {
        let bits = format.length() * 8;
        let (high_mask, low_mask) =
            if bits < 64 { (0, (1 << bits) - 1) } else { ((1 << (bits - 64)) - 1, u64::MAX) };
        let scope = service as u64 | format.to_word() << 16;
        Self { scope, high: high & high_mask, low: low & low_mask }
    }

    /// The id by its octets, as many as the format says.
    #[must_use]
    pub fn new(service: u16, format: QuicFormat, id: &[u8]) -> Self {
        let number = id.iter().fold(0_u128, |number, octet| number << 8 | u128::from(*octet));
        Self::ending(service, format, (number >> 64) as u64, number as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_has_the_id_alone_and_tells_any_two_apart(
            before: [u8; 16], id in prop::collection::vec(any::<u8>(), 1..=15), at: usize, bit in 0_u32..8,
        ) {
            let format = QuicFormat::new(3, id.len() as u8).unwrap();
            let ending = |id: &[u8]| {
                let mut all = before;
                all[16 - id.len()..].copy_from_slice(id);
                let number = u128::from_be_bytes(all);
                QuicKey::ending(7, format, (number >> 64) as u64, number as u64)
            };
            prop_assert_eq!(ending(&id), QuicKey::new(7, format, &id));
            let mut other = id.clone();
            other[at % id.len()] ^= 1 << bit;
            prop_assert_ne!(ending(&other), QuicKey::new(7, format, &id));
        }
    }

    #[test]
    fn formats_are_those_of_the_draft() {
        assert_eq!(QuicFormat::new(7, 1), None, "0b111 names nobody");
        assert_eq!(QuicFormat::new(0, 0), None);
        assert_eq!(QuicFormat::new(0, 16), None);
        let format = QuicFormat::new(1, 5).unwrap();
        assert_eq!((format.length(), format.is_of(0x20), format.is_of(0x3f)), (5, true, true));
        assert!(!format.is_of(0x1f) && !format.is_of(0x40) && !format.is_of(0xff));
        assert_eq!(QuicFormat::from_word(format.to_word()), Some(format));
        // A format of no configuration, of its shortest id, is not nothing.
        assert_ne!(QuicFormat::new(0, 1).unwrap().to_word(), 0);
    }

    #[test]
    fn ids_of_another_length_configuration_or_service_are_others() {
        let (short, long) = (QuicFormat::new(0, 1).unwrap(), QuicFormat::new(0, 2).unwrap());
        assert_ne!(QuicKey::new(1, short, &[1]), QuicKey::new(1, long, &[0, 1]));
        assert_ne!(QuicKey::new(1, short, &[1]), QuicKey::new(2, short, &[1]));
        assert_ne!(QuicKey::new(1, short, &[1]), QuicKey::new(1, QuicFormat::new(1, 1).unwrap(), &[1]));
    }
}
