//! The same object loaded again, to explain packets or to capture them: one constant makes another program of it.
//!
//! The loader sets the constant before it loads; `.rodata` is frozen, so the verifier knows its value, follows only the
//! branches that are left, and removes the others. What serves carries no branch of the copies, but the loads of the
//! constant.
#![expect(unsafe_code, reason = "the loader finds the constant by its name; a register is moved to itself")]

use aya_ebpf::{Global, btf_maps::Array, helpers::bpf_get_smp_processor_id, macros::btf_map};
use lb_common::{purpose::Purpose, trail::Trail};

use crate::maps::MMAPABLE;

/// A [`Purpose`]. The name is the loader's.
#[unsafe(no_mangle)]
static PURPOSE: Global<u8> = Global::new(Purpose::Serve as u8);

/// One for each CPU; what serves has none. Each loading of the object has its own.
#[btf_map]
static TRAIL: Array<Trail, 1, MMAPABLE> = Array::new();

/// What else this program does than serve, as a number; `None`: nothing.
///
/// The verifier removes instructions that no way leads to, not comparisons: one whose both ends are reached by other ways
/// stays. So whatever a copy does begins with an instruction that nothing else leads to, and with it the branch goes.
#[inline(always)]
fn apart() -> Option<u64> {
    let mut purpose = u64::from(PURPOSE.load());
    if purpose == Purpose::Serve as u64 {
        return None;
    }
    // SAFETY: moves a register to itself; not pure, so that it stays behind the branch.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) purpose, options(nomem, nostack, preserves_flags)) };
    Some(purpose)
}

#[inline(always)]
pub(crate) fn is_explaining() -> bool {
    apart() == Some(Purpose::Explain as u64)
}

#[inline(always)]
pub(crate) fn is_capturing() -> bool {
    apart() == Some(Purpose::Capture as u64)
}

/// Notes something about the frame at hand, unless this program only serves. Says whether it is to be counted, too.
#[inline(always)]
pub(crate) fn counts(note: impl FnOnce(&Trail)) -> bool {
    let Some(purpose) = apart() else { return true };
    if let Some(trail) = trail() {
        note(trail);
    }
    purpose != Purpose::Explain as u64
}

/// This CPU's.
#[inline(always)]
pub(crate) fn trail() -> Option<&'static Trail> {
    // SAFETY: a helper without arguments.
    TRAIL.get(unsafe { bpf_get_smp_processor_id() })
}
