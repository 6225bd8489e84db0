//! What the program that drives a bench is told, in a map that both sides see. Compiled into both.

/// Bytes of a frame that the driver writes anew each time: enough for Ethernet, IPv6 and TCP.
pub const HEAD: usize = 80;

/// What is sent.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How every frame begins, before the flow is written into it.
    pub head: [u64; HEAD / 8],
    /// Of the whole frame, bytes.
    pub length: u64,
    /// Where the flow is written: one of [`V4`] and the next ones.
    pub shape: u64,
    /// Number of the flow: the counter or a random number, and so many of its bits.
    pub mask: u64,
    /// Not 0: flows come one after the other; else in random order.
    pub in_order: u64,
    /// Of the random order, never 0; or the counter.
    pub state: u64,
    /// One less than how many services the flows are of, a power of two: so many bits of a flow's number are added to the VIP's
    /// port. 0 but for clients over IPv4.
    pub services: u64,
    /// Not 0: `bpf_xdp_adjust_head` is called also where there is nothing to undo, so that what it costs can be subtracted.
    pub always_undoes: u64,
    /// Verdicts of the program under test, by action; what is none of the kernel's counts as the last.
    pub actions: [u64; 8],
}

impl Plan {
    /// Its size.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// As the map has it.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let Self { length, shape, mask, in_order, state, services, always_undoes, .. } = self;
        let rest = [length, shape, mask, in_order, state, services, always_undoes];
        let parts = self.head.iter().chain(&rest).chain(&self.actions);
        let mut words = [0; Self::WORDS];
        for (word, part) in words.iter_mut().zip(parts) {
            *word = *part;
        }
        words
    }

    /// How every frame begins: as this one, which is at least so long.
    pub fn head_of(frame: &[u8]) -> [u64; HEAD / 8] {
        let mut head = [0; HEAD / 8];
        for (word, eight) in head.iter_mut().zip(frame.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(eight);
            *word = u64::from_ne_bytes(bytes);
        }
        head
    }

    /// The verdicts in what the map has.
    pub fn actions_in(words: &[u64; Self::WORDS]) -> [u64; 8] {
        core::array::from_fn(|i| words[Self::WORDS - 8 + i])
    }
}

/// From a client, IPv4.
pub const V4: u64 = 0;
/// From a client, IPv6.
pub const V6: u64 = 1;
/// To a client, IPv4.
pub const REPLY_V4: u64 = 2;
/// To a client, IPv6.
pub const REPLY_V6: u64 = 3;

/// Of the first service; the others' follow.
pub const VIP_PORT: u16 = 80;

/// The two halves of a flow's number: the last 16 bits of the client's address, and its port.
pub const fn halves(flow: u64) -> (u16, u16) {
    ((flow >> 15) as u16, (flow as u16) | 0x8000)
}
