//! The gate: a small filter over addresses, read right after parsing, that turns away what is not ours.
//!
//! One word answers for 16 positions with four bits each (a VIP hashes here; a NAT server; an address that full NAT is
//! about) and may say yes wrongly, never no wrongly: exact look-ups follow.

use crate::net::Addr;

/// Words of the gate map: 32,768 positions, 16 KiB.
pub const WORDS: u32 = 2048;

const VIP: u64 = 1;
const SERVER: u64 = 2;
const FULL_NAT: u64 = 4;
const MULTIPLIER: u32 = 0x9e37_79b1;

/// What an address may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Vip,
    NatServer,
    /// A VIP with a service by full NAT, or an address that full NAT sends from.
    FullNat,
}

/// Where the gate's answer about an address stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    word: u32,
    shift: u32,
}

impl Position {
    #[must_use]
    #[inline(always)]
    pub const fn of(addr: Addr) -> Self {
        let w = addr.words();
        // The filter costs a false alarm at worst, so a cheap unkeyed fold will do.
        let mixed = (w[3] ^ w[2].rotate_left(7) ^ w[1].rotate_left(13) ^ w[0].rotate_left(19))
            .wrapping_mul(MULTIPLIER);
        Self { word: mixed >> 21, shift: ((mixed >> 17) & 0xf) * 4 }
    }

    /// As one number, for a subprogram.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.word as u64 | (self.shift as u64) << 32
    }

    /// What [`number`](Self::number) gave.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u64) -> Self {
        Self { word: number as u32, shift: (number >> 32) as u32 & 0x3c }
    }

    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.word % WORDS
    }

    #[must_use]
    #[inline(always)]
    pub const fn may_be(self, word: u64, role: Role) -> bool {
        (word >> self.shift) & Self::bit(role) != 0
    }

    /// The word with this address let through in this role.
    #[must_use]
    pub const fn admit(self, word: u64, role: Role) -> u64 {
        word | (Self::bit(role) << self.shift)
    }

    const fn bit(role: Role) -> u64 {
        match role {
            Role::Vip => VIP,
            Role::NatServer => SERVER,
            Role::FullNat => FULL_NAT,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = Addr> {
        any::<[u32; 4]>().prop_map(Addr::from_words)
    }

    /// A false alarm costs time, so there must be few: of 4096 servers in one network a gate with room for 32,768 may take few
    /// for one another.
    #[test]
    fn the_addresses_of_a_network_have_positions_of_their_own() {
        let networks: [fn(u32) -> Addr; 3] = [
            |i| Addr::v4([10, 77, (i >> 8) as u8, i as u8]),
            |i| Addr::v4([192, (i >> 8) as u8, i as u8, 1]),
            |i| Addr::from_words([0x0db8_fd20_u32.to_be(), 0, 0, i.to_be()]),
        ];
        for network in networks {
            let positions: std::collections::HashSet<(u32, u32)> =
                (0..4096).map(|i| Position::of(network(i))).map(|it| (it.word(), it.shift)).collect();
            // At random, 3,850 would be expected.
            assert!(positions.len() > 3600, "{} positions of {}", positions.len(), 4096);
            let words: std::collections::HashSet<u32> = positions.iter().map(|(word, _)| *word).collect();
            assert!(words.len() > 1500, "{} words", words.len());
        }
    }

    proptest! {
        #[test]
        fn who_was_admitted_is_let_through_in_that_role_alone(one in address(), other in address(), word: u64) {
            const ROLES: [Role; 3] = [Role::Vip, Role::NatServer, Role::FullNat];
            for role in ROLES {
                let admitted = Position::of(one).admit(0, role);
                prop_assert!(Position::of(one).may_be(admitted | word, role));
                for not in ROLES.into_iter().filter(|not| *not != role) {
                    prop_assert!(!Position::of(other).may_be(admitted, not));
                }
                prop_assert_eq!(admitted.count_ones(), 1);
            }
            prop_assert!(Position::of(one).word() < WORDS);
        }
    }
}
