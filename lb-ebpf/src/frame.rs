//! A frame's bytes, behind bounds checks: the only file that touches packet memory.
#![expect(
    unsafe_code,
    reason = "packet memory is two raw pointers; every access here is checked against the end"
)]

use core::{cell::Cell, marker::PhantomData};

use lb_common::{
    net::{Addr, Mac},
    word::veiled,
};

/// One frame, as far as it can be looked at: what does not fit the driver's first buffer lies elsewhere (multi-buffer). Views into it may overlap, so their fields are cells.
#[derive(Debug)]
pub struct Frame<'a> {
    start: *mut u8,
    end: *mut u8,
    _bytes: PhantomData<&'a Cell<[u8]>>,
}

/// Where a header begins, in bytes from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offset {
    /// In a [plain](crate::plain) packet.
    Constant(usize),
    Computed(u64),
}

/// A header that can be viewed in place.
///
/// # Safety
/// `repr(C)`, alignment 1, every bit pattern valid, every field a `Cell`.
pub unsafe trait Header {}

impl<'a> Frame<'a> {
    /// A frame in ordinary memory, for tests and fuzzing.
    #[must_use]
    pub fn of_cells(bytes: &'a [Cell<u8>]) -> Self {
        let range = bytes.as_ptr_range();
        let (start, end) = (range.start.cast_mut().cast(), range.end.cast_mut().cast());
        Self { start, end, _bytes: PhantomData }
    }

    /// # Safety
    /// `start..end` must be readable and writable for `'a` and accessed through this frame alone.
    #[must_use]
    #[inline(always)]
    pub unsafe fn of_range(start: *mut u8, end: *mut u8) -> Self {
        Self { start, end, _bytes: PhantomData }
    }

    /// Of the part that can be looked at, bytes.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end as usize - self.start as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header at this offset, a constant, if it lies wholly within the frame.
    #[must_use]
    #[inline(always)]
    pub fn view<H: Header>(&self, offset: usize) -> Option<&'a H> {
        self.checked(self.start.wrapping_add(offset))
    }

    #[inline(always)]
    fn checked<H: Header>(&self, at: *mut u8) -> Option<&'a H> {
        // The sum first, then one comparison with the end: the form the verifier follows.
        if at.wrapping_add(size_of::<H>()) as usize > self.end as usize {
            return None;
        }
        // SAFETY: within bounds as just checked (an offset is at most a few hundred bytes, so nothing wraps), hence not
        // null; `Header` promises alignment 1, validity and interior mutability.
        Some(unsafe {
            core::hint::assert_unchecked(!at.is_null());
            &*at.cast::<H>()
        })
    }

    /// The same for an offset that was computed from the packet: bounded where the verifier sees it, and otherwise unknown
    /// to it, so that it goes on the same way with a VLAN tag and without, with TCP and with UDP.
    #[must_use]
    #[inline(always)]
    pub fn view_at<H: Header>(&self, offset: u64) -> Option<&'a H> {
        if offset > MAX_OFFSET {
            return None;
        }
        let offset = veiled(offset, self.len() as u64) & MAX_OFFSET;
        self.checked(settled(self.start.wrapping_add(offset as usize)))
    }

    /// Whichever it is.
    #[must_use]
    #[inline(always)]
    pub fn view_from<H: Header>(&self, start: Offset) -> Option<&'a H> {
        match start {
            Offset::Constant(offset) => self.view(offset),
            Offset::Computed(offset) => self.view_at(offset),
        }
    }
}

/// Keeps the compiler from working the address out anew after the check: the verifier knows only the register (or its
/// spilled copy) that was compared.
#[cfg(target_arch = "bpf")]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "the pointer is moved, not followed")]
#[inline(always)]
fn settled(mut at: *mut u8) -> *mut u8 {
    // SAFETY: moves a register to itself. (An empty sequence would leave line info that the kernel refuses.)
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) at, options(nomem, nostack, preserves_flags)) };
    at
}

#[cfg(not(target_arch = "bpf"))]
const fn settled(at: *mut u8) -> *mut u8 {
    at
}

/// Farthest header that is ever looked at. In IPv4 14 + 4 + 60 would do; the rest is for IPv6 extension headers, one of
/// which may alone take 2,048 bytes.
const MAX_OFFSET: u64 = 2047;

/// A field of `N` bytes, in network order, at any alignment.
#[repr(transparent)]
#[derive(Debug)]
pub struct Field<const N: usize>(Cell<[u8; N]>);

impl<const N: usize> Field<N> {
    #[inline(always)]
    pub fn get(&self) -> [u8; N] {
        self.0.get()
    }

    #[inline(always)]
    pub fn set(&self, bytes: [u8; N]) {
        self.0.set(bytes);
    }
}

impl Field<1> {
    #[inline(always)]
    pub fn byte(&self) -> u8 {
        self.0.get()[0]
    }
}

impl Field<2> {
    /// The number, in host order.
    #[inline(always)]
    pub fn number(&self) -> u16 {
        u16::from_be_bytes(self.0.get())
    }

    /// The bytes as they lie in memory, for checksums.
    #[inline(always)]
    pub fn raw(&self) -> u16 {
        u16::from_ne_bytes(self.0.get())
    }

    #[inline(always)]
    pub fn set_raw(&self, raw: u16) {
        self.0.set(raw.to_ne_bytes());
    }
}

impl Field<4> {
    #[inline(always)]
    pub fn raw(&self) -> u32 {
        u32::from_ne_bytes(self.0.get())
    }

    #[inline(always)]
    pub fn set_raw(&self, raw: u32) {
        self.0.set(raw.to_ne_bytes());
    }
}

impl Field<6> {
    /// A MAC address: in two loads, where a copy of six bytes of alignment 1 would be made byte by byte.
    #[inline(always)]
    pub fn mac(&self) -> Mac {
        let at = self.0.as_ptr();
        // SAFETY: six bytes, as the type says.
        let (a, b) = unsafe { (at.cast::<u32>().read_unaligned(), at.cast::<u16>().add(2).read_unaligned()) };
        Mac::of_halves(a, b)
    }

    #[inline(always)]
    pub fn set_mac(&self, mac: Mac) {
        let at = self.0.as_ptr();
        let (a, b) = mac.halves();
        // SAFETY: as above; a cell may be written through a shared reference.
        unsafe {
            at.cast::<u32>().write_unaligned(a);
            at.cast::<u16>().add(2).write_unaligned(b);
        }
    }
}

impl Field<8> {
    /// The number, in host order.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.0.get())
    }
}

impl Field<16> {
    /// An IPv6 address.
    #[inline(always)]
    pub fn addr(&self) -> Addr {
        let at = self.0.as_ptr().cast::<[u8; 4]>();
        // SAFETY: sixteen bytes, as the type says. Word by word, where one copy would become a call of memcpy.
        let word = |i| u32::from_ne_bytes(unsafe { at.add(i).read_unaligned() });
        Addr::from_words([word(0), word(1), word(2), word(3)])
    }

    #[inline(always)]
    pub fn set_addr(&self, addr: Addr) {
        let at = self.0.as_ptr().cast::<u32>();
        let [a, b, c, d] = addr.words();
        // SAFETY: as above; a cell may be written through a shared reference.
        unsafe {
            at.write_unaligned(a);
            at.add(1).write_unaligned(b);
            at.add(2).write_unaligned(c);
            at.add(3).write_unaligned(d);
        }
    }
}

// SAFETY: `repr(C)`, made of `Field`s, which are cells of byte arrays.
unsafe impl Header for crate::headers::Ethernet {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Macs {}
// SAFETY: as above.
unsafe impl Header for crate::headers::VlanTag {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Vlan {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Ipv4 {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Ipv6 {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Extension {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Tcp {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Udp {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Icmp {}
// SAFETY: as above.
unsafe impl<const WORDS: usize> Header for crate::headers::Start<WORDS> {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Ports {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Checksum {}
// SAFETY: as above.
unsafe impl Header for crate::headers::QuicLong {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Sixteen {}
// SAFETY: as above.
unsafe impl Header for crate::headers::Octet {}
