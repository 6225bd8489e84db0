//! What directors say to each other: the bodies of frames, in postcard's encoding.

use serde::{Deserialize, Serialize};

use super::board::Note;
use super::join::Standing;
use super::record::{Class, Pair};
use super::refusal::Refusal;
use super::version::{NodeId, Origin};

/// The protocol versions this agent speaks.
pub const SPOKEN: std::ops::RangeInclusive<u16> = 2..=2;

/// A message with its place in the session: what is repeated, left out or swapped ends the session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub sequence: u64,
    pub message: Message,
}

/// New kinds go to the end, and behind a higher protocol version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    Hello(Hello),
    /// Everything up to this sequence number has been applied.
    Ack(u64),
    /// Changes of what the sender owns.
    Changes(Parcel),
    /// What the sender holds of an origin, one sum a bucket that is not empty. Answered by [`Message::Want`], always.
    Digest {
        origin: Origin,
        sums: Vec<(u16, u64)>,
    },
    /// The buckets in which the receiver of a digest differs; none, if it agrees.
    Want {
        origin: Origin,
        buckets: Vec<u16>,
    },
    /// What the sender holds in a range of flow ids.
    Listing(Listing),
    /// How far the sender has come with telling what it held when the session began.
    Told(Told),
    /// The sender's own state.
    Standing(Standing),
    /// Nothing, so that the receiver hears something.
    Pulse,
    /// Orders, and what the leader has found.
    Note(Note),
    /// The sender tells another director instead of the receiver, which forgets the sender's records.
    Released,
}

impl Message {
    /// How many records it carries.
    pub fn records(&self) -> usize {
        match self {
            Self::Changes(parcel) | Self::Listing(Listing { parcel, .. }) => parcel.records.len(),
            _ => 0,
        }
    }
}

/// The first message of each side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub lowest: u16,
    pub highest: u16,
    pub domain: String,
    pub node: NodeId,
    /// Of the node's flow table; see [`Origin`].
    pub life: u64,
    /// The agent restarted on a flow table that lives, and asks for what it exported.
    pub recovering: bool,
}

impl Hello {
    /// Whether the two can talk, and in which version.
    ///
    /// # Errors
    /// What is wrong with the other side.
    pub fn agree(&self, authenticated: NodeId, domain: &str) -> Result<u16, Refusal> {
        if self.node != authenticated {
            return Err(Refusal::OtherNode);
        }
        if self.domain != domain {
            return Err(Refusal::OtherDomain);
        }
        let version = self.highest.min(*SPOKEN.end());
        if version < self.lowest.max(*SPOKEN.start()) {
            return Err(Refusal::NoCommonVersion);
        }
        Ok(version)
    }
}

/// How far a session's beginning has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Told {
    #[default]
    Nothing,
    /// All that differed has been sent.
    Snapshot,
    /// And all that changed meanwhile.
    Everything,
}

/// Records, and names that they use for the first time in the session.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub names: Vec<Pair>,
    pub records: Vec<Item>,
}

/// All records of `origin` from flow id `first` to `last`, and the tombstones there, whoever wrote them. If the sender *is*
/// the origin, what is not listed and not newer than `as_of` has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    pub origin: Origin,
    pub first: u64,
    pub last: u64,
    pub as_of: u64,
    pub parcel: Parcel,
}

/// One record on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub flow: u64,
    pub counter: u64,
    /// `None`: the origin of the listing, or the sender.
    pub author: Option<Origin>,
    /// Seconds since its origin vouched for it.
    pub age: u32,
    pub content: Words,
}

/// A record's content, its server by the number in the session's dictionary.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Words {
    Live { name: u32, class: Class, idle: u32 },
    Ended,
}

pub(super) fn encode(envelope: &Envelope) -> Vec<u8> {
    postcard::to_stdvec(envelope).expect("these messages have nothing that postcard cannot write")
}

pub(super) fn decode(body: &[u8]) -> Result<Envelope, Refusal> {
    match postcard::take_from_bytes(body) {
        Ok((envelope, [])) => Ok(envelope),
        _ => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(lowest: u16, highest: u16) -> Hello {
        let node = NodeId::of("lb2");
        Hello { lowest, highest, domain: "edge".into(), node, life: 1, recovering: false }
    }

    #[test]
    fn versions_are_agreed_or_refused() {
        let agree = |lowest, highest| hello(lowest, highest).agree(NodeId::of("lb2"), "edge");
        assert_eq!(agree(2, 2), Ok(2));
        assert_eq!(agree(1, 9), Ok(2));
        assert_eq!(agree(3, 9), Err(Refusal::NoCommonVersion));
        assert_eq!(agree(1, 1), Err(Refusal::NoCommonVersion));
        assert_eq!(hello(2, 2).agree(NodeId::of("lb3"), "edge"), Err(Refusal::OtherNode));
        assert_eq!(hello(2, 2).agree(NodeId::of("lb2"), "core"), Err(Refusal::OtherDomain));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_message_cut_short_or_with_more_behind_it_is_malformed(cut in 0usize..30, more in any::<u8>()) {
            let mut body = encode(&Envelope { sequence: 1, message: Message::Hello(hello(2, 2)) });
            prop_assert!(decode(&body).is_ok());
            let short = cut.min(body.len() - 1);
            prop_assert_eq!(decode(&body[..short]).unwrap_err(), Refusal::Malformed);
            body.push(more);
            prop_assert_eq!(decode(&body).unwrap_err(), Refusal::Malformed);
        }
    }
}
