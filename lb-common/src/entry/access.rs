//! Who may come to a service: prefixes in a trie, the longest of which decides.

use crate::net::Addr;

/// Key of `lists`: a prefix of clients' addresses in the list with this number, laid out as the kernel's trie wants it
/// (`struct bpf_lpm_trie_key`: the length in bits, then what it counts in).
///
/// A list's number comes from what it says, so a list never changes: another one is written beside it, and one word of the
/// service says which of them counts. Each list holds both families' roots, so that a look-up always finds something.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessKey {
    prefix_len: u32,
    zero: u32,
    list: u64,
    addr: Addr,
}

/// Value of `lists`: what becomes of the clients in the prefix.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Rule {
    Deny = 0,
    Allow = 1,
}

impl AccessKey {
    /// Words behind the length.
    pub const DATA_WORDS: usize = 7;
    const BITS_BEFORE_ADDR: u32 = 96;
    /// Where the IPv4 addresses begin among the mapped ones.
    pub const V4_BITS: u32 = 96;

    /// The clients that have the first `bits` of the address; IPv4 begins at [`V4_BITS`](Self::V4_BITS).
    #[must_use]
    #[inline(always)]
    pub const fn new(list: u64, addr: Addr, bits: u32) -> Self {
        Self { prefix_len: Self::BITS_BEFORE_ADDR + bits, zero: 0, list, addr }
    }

    /// A client, as a look-up names it.
    #[must_use]
    #[inline(always)]
    pub const fn client(list: u64, addr: Addr) -> Self {
        Self::new(list, addr, 128)
    }

    /// Whether a client of the same list is in this prefix: the first bits are alike.
    #[must_use]
    pub fn covers(&self, client: &Self) -> bool {
        let bits = |key: &Self| key.data().map(u32::to_be);
        let left = |at: usize| self.prefix_len.saturating_sub(at as u32 * u32::BITS).min(u32::BITS);
        let pairs = bits(self).into_iter().zip(bits(client)).enumerate();
        pairs
            .into_iter()
            .all(|(at, (own, its))| (own ^ its).checked_shr(u32::BITS - left(at)).unwrap_or(0) == 0)
    }

    /// The length in bits, of which [`data`](Self::data) has so many.
    #[must_use]
    pub const fn prefix_len(&self) -> u32 {
        self.prefix_len
    }

    /// What stands behind the length.
    #[must_use]
    pub const fn data(&self) -> [u32; Self::DATA_WORDS] {
        let list = self.list.to_ne_bytes();
        let [a, b, c, d] = self.addr.words();
        [
            self.zero,
            u32::from_ne_bytes([list[0], list[1], list[2], list[3]]),
            u32::from_ne_bytes([list[4], list[5], list[6], list[7]]),
            a,
            b,
            c,
            d,
        ]
    }

    /// The number of the list, from what stands behind the length.
    #[must_use]
    pub const fn list_of(data: &[u32; Self::DATA_WORDS]) -> u64 {
        let (a, b) = (data[1].to_ne_bytes(), data[2].to_ne_bytes());
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
    }
}
