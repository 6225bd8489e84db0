//! What is not accepted from a peer, by name and number.

use std::collections::BTreeMap;
use std::fmt;

/// Why something that came in changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    // These end the session.
    FrameTooLong,
    FrameEmpty,
    Malformed,
    OutOfOrder,
    StaleSession,
    HelloExpected,
    HelloRepeated,
    UnknownNode,
    OtherNode,
    OtherDomain,
    NoCommonVersion,
    NotItsOwn,
    NotAsked,
    BadName,
    TooManyNames,
    TooManyBuckets,
    TooManyDigests,
    NameClash,
    // These cost the record alone.
    FlowOutOfRange,
    CounterOutOfRange,
    ExpiryTooLong,
    UndefinedName,
    ForgedSelf,
    UnknownOrigin,
    StoreFull,
    QuarantineFull,
    TooManyOrders,
}

impl Refusal {
    /// Whether one record is refused, and not the whole message with its session.
    pub fn of_a_record(self) -> bool {
        self >= Self::FlowOutOfRange
    }

    /// The name in metrics.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl std::error::Error for Refusal {}

/// How often each happened.
#[derive(Clone, Default, Debug)]
pub struct Refusals(BTreeMap<Refusal, u64>);

impl Refusals {
    pub(super) fn count(&mut self, refusal: Refusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    /// So many of this kind.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0.get(&refusal).copied().unwrap_or_default()
    }

    /// Those that happened.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        self.0.iter().map(|(refusal, count)| (*refusal, *count))
    }
}
