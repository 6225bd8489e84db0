//! The unit of sharing between program and agent: one aligned 64-bit word that is read and written whole.
#![expect(
    unsafe_code,
    reason = "map memory is shared with the kernel; this file is the one place that says how"
)]

use core::cell::UnsafeCell;

/// A `u64` in map memory that program (on any CPU) and agent (through `mmap`) read and change concurrently.
///
/// Aligned 64-bit loads and stores are single-copy atomic on every machine the kernel JITs for, so a reader sees an
/// old or a new value, never a mixture. Ordering between words is not promised: what belongs together is one word.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Word(UnsafeCell<u64>);

// SAFETY: every access goes through atomic (or, on BPF, volatile single-instruction) operations.
unsafe impl Sync for Word {}

impl Word {
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Word {
    fn atomic(&self) -> &core::sync::atomic::AtomicU64 {
        // SAFETY: the cell is valid and aligned for the life of `self`, and only accessed atomically.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(self.0.get()) }
    }

    #[must_use]
    pub fn load(&self) -> u64 {
        self.atomic().load(core::sync::atomic::Ordering::Acquire)
    }

    pub fn store(&self, value: u64) {
        self.atomic().store(value, core::sync::atomic::Ordering::Release);
    }

    /// Stores `new` if the word still is `seen`; says whether it did.
    #[must_use]
    pub fn replace(&self, seen: u64, new: u64) -> bool {
        use core::sync::atomic::Ordering::{AcqRel, Acquire};
        self.atomic().compare_exchange(seen, new, AcqRel, Acquire).is_ok()
    }

    /// One more, modulo 2^64.
    pub fn increment(&self) {
        self.atomic().fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(target_arch = "bpf")]
impl Word {
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: valid and aligned; one 64-bit load instruction.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }

    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: valid and aligned; one 64-bit store instruction.
        unsafe { core::ptr::write_volatile(self.0.get(), value) }
    }

    /// Stores `new` if the word still is `seen`; says whether it did.
    #[inline(always)]
    pub fn replace(&self, seen: u64, new: u64) -> bool {
        use core::intrinsics::{AtomicOrdering, atomic_cxchg};
        // SAFETY: valid and aligned; BPF_CMPXCHG (kernel commit 5ffa25502b5a, Linux 5.12).
        let (was, _) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                self.0.get(),
                seen,
                new,
            )
        };
        was == seen
    }

    /// One more, modulo 2^64.
    #[inline(always)]
    pub fn increment(&self) {
        use core::intrinsics::{AtomicOrdering, atomic_xadd};
        // SAFETY: valid and aligned; BPF_XADD.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(self.0.get(), 1) };
    }
}

/// The same number, but unknown to the compiler, so that it keeps arithmetic as arithmetic: for BPF it would turn a
/// comparison-like shift into a branch, and each branch doubles the ways the verifier has to follow.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn opaque(mut number: u64) -> u64 {
    // SAFETY: moves a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// The same number.
#[cfg(not(target_arch = "bpf"))]
#[must_use]
pub const fn opaque(number: u64) -> u64 {
    number
}

/// The same number, but unknown to the verifier too, by way of any number that it does not know. For accumulators in
/// loops, of which it would otherwise follow each value apart.
#[must_use]
#[inline(always)]
pub fn veiled(number: u64, by: u64) -> u64 {
    opaque(number ^ by) ^ by
}
