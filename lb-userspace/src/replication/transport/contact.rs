//! Whether a peer is there, and what shows that it is not.

use std::io::{Error, ErrorKind};

/// What was last found of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contact {
    /// A session stands.
    Session,
    /// The peer's host answers, its agent does not: it ended or reset the stream, or refuses connections.
    Closed,
    /// Nothing comes: the agent is frozen, the link cut or the host dead. Which of them cannot be known from here.
    Silent,
    /// Whoever answers is not the peer, or breaks the rules.
    Improper,
}

impl Contact {
    /// What the failure of a stream or of an attempt to have one shows.
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::InvalidData => Self::Improper,
            // Timed out, no route, nobody resolves the address; and what this host lacks says nothing of the peer.
            _ => Self::Silent,
        }
    }
}
