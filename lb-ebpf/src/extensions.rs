//! IPv6 extension headers: where the transport header is behind them (RFC 8200 section 4).

use lb_common::word::veiled;

use crate::{frame::Frame, headers::Extension, parse::NoTransport, travelling::travels_as_word};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// More than any host has a reason to send; what has more is left to the kernel.
const MOST: usize = 4;

/// Offset and flag "more fragments"; two reserved bits lie between (RFC 8200 section 4.5).
const FRAGMENT_MASK: u16 = 0xfff9;
/// The offset alone.
const OFFSET_MASK: u16 = 0xfff8;

/// Where the upper-layer header is and what it is, in one word, as a subprogram may return it.
///
/// ```text
///  63      48 47      40 39      32 31             8 7          0
/// +----------+----------+----------+----------------+------------+
/// | fragment |  later   |   why    |       at       |   number   |
/// +----------+----------+----------+----------------+------------+
/// ```
#[derive(Clone, Copy)]
pub struct Upper(u64);

travels_as_word!(Upper);

impl Upper {
    const IS_FRAGMENT: Self = Self(1 << 32);
    const IS_LATER: Self = Self(1 << 40 | 1 << 32);
    const IS_OTHER: Self = Self(2 << 32);
    const IS_CUT_SHORT: Self = Self(3 << 32);

    /// From the start of the frame.
    ///
    /// # Errors
    /// Why there is none that could be read.
    #[inline(always)]
    pub const fn at(self) -> Result<u64, NoTransport> {
        match self.0 >> 32 & 0xff {
            0 => Ok(self.place()),
            1 => Err(NoTransport::Fragment),
            2 => Err(NoTransport::Other),
            _ => Err(NoTransport::Malformed),
        }
    }

    /// The same of a first fragment.
    #[inline(always)]
    pub const fn place(self) -> u64 {
        self.0 >> 8 & 0xff_ffff
    }

    /// The same of a whole packet or of a first fragment.
    #[inline(always)]
    pub const fn of_first(self) -> Option<u64> {
        match self.at() {
            Ok(at) => Some(at),
            Err(NoTransport::Fragment) if self.fragment() != 0 && !self.is_later() => Some(self.place()),
            Err(_) => None,
        }
    }

    /// Where the header of a fragment is, from the start of the frame; 0 if there is none, or nothing behind it could be
    /// read.
    #[inline(always)]
    pub const fn fragment(self) -> u64 {
        self.0 >> 48
    }

    /// Whether it is a fragment with an offset; what its upper header's number is, its first one says.
    #[inline(always)]
    pub const fn is_later(self) -> bool {
        self.0 >> 40 & 1 != 0
    }

    /// The protocol's number.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0 as u8
    }
}

/// Whether this number is that of an extension header we read. ESP, AH and the rest hide or protect what we would rewrite.
#[inline(always)]
pub const fn is_one(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// The header behind the extension headers that begin here.
#[inline(always)]
pub fn skip(frame: &Frame<'_>, at: u64, number: u8) -> Upper {
    let (mut at, mut number) = (at, u64::from(number));
    // Where the header of a first fragment is.
    let mut first = veiled(0, frame.len() as u64);
    for _ in 0..MOST {
        let kind = number as u8;
        if !is_one(kind) {
            break;
        }
        let Some(header) = frame.view_at::<Extension>(at) else {
            // All headers belong into the first fragment (RFC 7112): without them it is nobody's.
            return if first == 0 { Upper::IS_CUT_SHORT } else { Upper::IS_FRAGMENT };
        };
        let control = header.control.number();
        let mut length = (u64::from(header.length.byte()) + 1) * 8;
        if kind == FRAGMENT {
            // One that is whole by itself is no fragment (RFC 6946).
            if control & OFFSET_MASK != 0 {
                return Upper(Upper::IS_LATER.0 | at << 48 | u64::from(header.next_header.byte()));
            }
            if control & FRAGMENT_MASK != 0 {
                first = veiled(at, frame.len() as u64);
            }
            length = 8;
        }
        // With segments left, the packet is on its way to somebody else, and only its addresses look like ours.
        if kind == ROUTING && control & 0xff != 0 {
            return Upper::IS_OTHER;
        }
        at = veiled(at + length, frame.len() as u64);
        number = veiled(u64::from(header.next_header.byte()), frame.len() as u64);
    }
    if is_one(number as u8) {
        return Upper::IS_OTHER;
    }
    let why = if first == 0 { 0 } else { Upper::IS_FRAGMENT.0 };
    Upper(first << 48 | why | (at & 0xff_ffff) << 8 | number & 0xff)
}
