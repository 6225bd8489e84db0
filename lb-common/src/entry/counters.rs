//! What is counted, by pair and by verdict.

/// Per-CPU entry of `server_counters`: only grows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub connections: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    /// NAT alone: from the real server.
    pub packets_out: u64,
    pub bytes_out: u64,
}

impl Counters {
    pub const FIELDS: usize = 5;

    #[must_use]
    pub const fn to_array(self) -> [u64; Self::FIELDS] {
        [self.connections, self.packets_in, self.bytes_in, self.packets_out, self.bytes_out]
    }

    #[must_use]
    pub const fn from_array(a: [u64; Self::FIELDS]) -> Self {
        Self { connections: a[0], packets_in: a[1], bytes_in: a[2], packets_out: a[3], bytes_out: a[4] }
    }
}

impl core::ops::Add for Counters {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.to_array(), other.to_array());
        Self::from_array(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
}

/// Per-CPU entry of `verdicts`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub packets: u64,
    /// Frame bytes as they came in.
    pub bytes: u64,
}

impl core::ops::Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}
