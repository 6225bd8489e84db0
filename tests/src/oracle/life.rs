//! How a stored connection lives: what the balancer may think of it after each packet, and for how long.

use super::reading::Word;
use crate::datapath::world::Protocol;

/// Silence after which a connection is over: handshakes, open ones (in ticks of 64), closed ones.
const HANDSHAKE: u64 = 28;
const OPEN: u64 = 13;
const CLOSED: u64 = 56;
/// A tick of open connections.
const COARSE: u64 = 64;

/// One that may be in the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Connection {
    /// The number of its server in the world.
    pub server: usize,
    pub stage: Stage,
    /// The tick of its last packet.
    pub seen: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// Somebody said something; nobody answered.
    Asked,
    /// The server took the handshake up.
    Answered,
    Open,
    /// One end has closed.
    HalfClosed,
    /// Both have, or somebody said so.
    Closed,
}

/// Whose packets the balancer sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    Both,
    ClientOnly,
}

impl Connection {
    pub const fn new(server: usize, now: u64) -> Self {
        Self { server, stage: Stage::Asked, seen: now }
    }

    /// Whether it has been silent for too long. Both may be said of one that has been silent for longer than its stamp can
    /// count: the agent's sweep, of which nothing is seen here, comes first.
    pub fn is_over(&self, now: u64) -> Vec<bool> {
        let (silence, limit, countable) = match self.stage {
            Stage::Asked | Stage::Answered => (now - self.seen, HANDSHAKE, 120),
            Stage::Open | Stage::HalfClosed => (now / COARSE - self.seen / COARSE, OPEN, 248),
            Stage::Closed => (now - self.seen, CLOSED, 248),
        };
        if silence >= countable { vec![false, true] } else { vec![silence > limit] }
    }

    /// After the client's packet that was sent to its server. Several answers where the stamp has wrapped.
    pub fn client_spoke(&self, word: Word, protocol: Protocol, sight: Sight, now: u64) -> Vec<Self> {
        // UDP has no handshake: who is heard twice is there.
        let one_sided = sight == Sight::ClientOnly || protocol == Protocol::Udp;
        self.later(now)
            .into_iter()
            .map(|later| match (word, self.stage) {
                (Word::Syn, Stage::Closed) => Stage::Asked,
                (Word::Syn | Word::SynAck, stage) => stage,
                (Word::Rst, stage @ (Stage::Asked | Stage::Answered)) => stage,
                (Word::Rst, _) => Stage::Closed,
                (Word::Fin, Stage::Asked) if one_sided && later => Stage::Closed,
                (Word::Speech, Stage::Asked) if one_sided && later => Stage::Open,
                (Word::Fin | Word::Speech, Stage::Asked) => Stage::Asked,
                (Word::Fin, Stage::Open) if one_sided => Stage::Closed,
                (Word::Fin, Stage::Answered | Stage::Open) => Stage::HalfClosed,
                (Word::Fin, Stage::HalfClosed | Stage::Closed) => Stage::Closed,
                (Word::Speech, Stage::Answered) => Stage::Open,
                (Word::Speech, Stage::Closed) if later => Stage::HalfClosed,
                (Word::Speech, stage) => stage,
            })
            .map(|stage| Self { stage, seen: now, ..*self })
            .collect()
    }

    /// After the server's packet that was sent to the client.
    pub fn server_spoke(&self, word: Word, now: u64) -> Vec<Self> {
        self.later(now)
            .into_iter()
            .map(|later| match (word, self.stage) {
                (Word::SynAck, Stage::Asked) => Stage::Answered,
                (Word::Syn | Word::SynAck, stage) => stage,
                (Word::Rst, stage @ (Stage::Asked | Stage::Answered)) => stage,
                (Word::Rst, _) => Stage::Closed,
                (Word::Fin, Stage::HalfClosed | Stage::Closed) => Stage::Closed,
                (Word::Fin, _) => Stage::HalfClosed,
                (Word::Speech, Stage::Asked | Stage::Answered) => Stage::Open,
                (Word::Speech, Stage::Closed) if later => Stage::HalfClosed,
                (Word::Speech, stage) => stage,
            })
            .map(|stage| Self { stage, seen: now, ..*self })
            .collect()
    }

    /// Whether a tick has passed since it was last heard.
    fn later(&self, now: u64) -> Vec<bool> {
        let (ticks, countable) = match self.stage {
            Stage::Closed => (now - self.seen, 248),
            _ => (now - self.seen, 120),
        };
        if ticks >= countable { vec![false, true] } else { vec![ticks > 0] }
    }
}
