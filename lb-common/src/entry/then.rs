//! What becomes of a server's connections, or of the clients that come back to it, when it is no longer meant for them: as the
//! maps have it.

/// What becomes of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Then {
    /// Connections stay until they end by themselves; a client that comes back goes there all the same.
    #[default]
    Keep = 0,
    /// Whoever speaks on a connection gets a RST from the VIP, and connects anew; its datagrams go to another server. A client that
    /// comes back is refused, until its server is up again or its time is over.
    Reset = 1,
    /// The next packet of a connection goes to another server: which takes a datagram, and refuses a segment. A client that comes
    /// back gets another server, and stays there.
    Rehash = 2,
}

impl Then {
    /// What [`bits`](Self::bits) gave.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            1 => Self::Reset,
            2 => Self::Rehash,
            _ => Self::Keep,
        }
    }

    /// Two bits.
    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self as u64
    }
}
