//! What a set of pins is, and since when.

use crate::word::Word;

/// The only entry of `about`: what these pins are. Read before anything else in them.
#[repr(C)]
#[derive(Debug)]
pub struct About {
    pub magic: Word,
    pub abi: Word,
    /// Raised by each reload that came into force.
    pub generation: Word,
    /// Unix seconds of the first `up` on these pins.
    pub since: Word,
    /// Unix seconds of the last reload that came into force.
    pub reloaded: Word,
    /// Inode number of the network namespace whose interfaces are attached to.
    pub netns: Word,
    reserved: [Word; 2],
}

impl About {
    /// "xlvs-dp1" in memory order.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"xlvs-dp1");
}
