//! What a loading of the object is for: one constant of it, which the loader sets before the verifier sees it.

use crate::stage::ENTRY;

/// The value of the object's constant.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To forward.
    Serve = 0,
    /// To say what would happen to a frame, and change nothing.
    Explain = 1,
    /// To forward, and copy the frames that a filter lets through.
    Capture = 2,
}

impl Purpose {
    /// The constant's name in the object.
    pub const CONSTANT: &str = "PURPOSE";

    /// The program at an interface's hook, or the one that is run first.
    #[must_use]
    pub const fn first(self) -> &'static str {
        match self {
            Self::Serve | Self::Explain => ENTRY,
            Self::Capture => WATCH,
        }
    }
}

/// The program in front of the entry while frames are captured: it keeps the frame as it came.
pub const WATCH: &str = "xlvs_watch";

/// The program behind all stages while frames are captured: it tells what became of the frame.
pub const SEEN: &str = "xlvs_seen";

/// Where the entry stands in the array of programs, for the one in front of it.
pub const ENTRY_INDEX: u32 = 14;

/// Where the last program stands there.
pub const SEEN_INDEX: u32 = 15;

const _: () = assert!(SEEN_INDEX < crate::stage::STAGE_LIMIT);
