//! What the agent wants to find again about a server after a restart.

use super::Then;

/// What outlives the agent about a server: the operator's overrides and the last health.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memo {
    pub admin: Admin,
    pub health: HealthMemo,
    /// Weight set by hand.
    pub weight: Option<u16>,
    /// Unix seconds of the last change of state, 0 if never. Of one that is leaving: of its farewell.
    pub since: u32,
    /// What becomes of the connections of one that is leaving, when its time has come.
    pub farewell: Then,
}

/// What the operator has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admin {
    #[default]
    Enabled,
    Draining,
    Disabled,
}

/// What the last check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HealthMemo {
    #[default]
    Unknown,
    Up,
    Down,
}

impl Memo {
    const NO_WEIGHT: u64 = 0xffff;

    #[must_use]
    pub fn to_word(self) -> u64 {
        let weight = self.weight.map_or(Self::NO_WEIGHT, u64::from);
        let orders = (self.admin as u64) << 48 | (self.health as u64) << 52;
        u64::from(self.since) | weight << 32 | orders | self.farewell.bits() << 56
    }

    #[must_use]
    pub fn from_word(word: u64) -> Self {
        if word == 0 {
            return Self::default();
        }
        Self {
            admin: match word >> 48 & 0xf {
                1 => Admin::Draining,
                2 => Admin::Disabled,
                _ => Admin::Enabled,
            },
            health: match word >> 52 & 0xf {
                1 => HealthMemo::Up,
                2 => HealthMemo::Down,
                _ => HealthMemo::Unknown,
            },
            weight: Some(word >> 32 & 0xffff).filter(|w| *w != Self::NO_WEIGHT).map(|w| w as u16),
            since: word as u32,
            farewell: Then::from_bits(word >> 56),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_memo_is_its_word(
            admin in 0u8..3, health in 0u8..3, weight: Option<u16>, since in 1u32.., farewell in 0u8..3,
        ) {
            let memo = Memo {
                admin: [Admin::Enabled, Admin::Draining, Admin::Disabled][admin as usize],
                health: [HealthMemo::Unknown, HealthMemo::Up, HealthMemo::Down][health as usize],
                weight: weight.filter(|w| *w != 0xffff),
                since,
                farewell: [Then::Keep, Then::Reset, Then::Rehash][farewell as usize],
            };
            prop_assert_eq!(Memo::from_word(memo.to_word()), memo);
        }
    }
}
