//! The same object loaded again, to explain packets or to capture them: one constant makes another program of it.
//!
//! The loader sets the constant before it loads; `.rodata` is frozen, so the verifier knows its value, follows only the
//! branches that are left, and removes the others. What serves carries no branch of the copies.
#![expect(unsafe_code, reason = "the loader finds the constant by its name")]

use aya_ebpf::{Global, btf_maps::Array, helpers::bpf_get_smp_processor_id, macros::btf_map};
use lb_common::{purpose::Purpose, trail::Trail};

use crate::maps::MMAPABLE;

/// A [`Purpose`]. The name is the loader's.
#[unsafe(no_mangle)]
static PURPOSE: Global<u8> = Global::new(Purpose::Serve as u8);

/// One for each CPU; what serves has none. Each loading of the object has its own.
#[btf_map]
static TRAIL: Array<Trail, 1, MMAPABLE> = Array::new();

#[inline(always)]
pub(crate) fn is_explaining() -> bool {
    PURPOSE.load() == Purpose::Explain as u8
}

#[inline(always)]
pub(crate) fn is_capturing() -> bool {
    PURPOSE.load() == Purpose::Capture as u8
}

/// Notes something about the frame at hand, unless this program only serves. Says whether it is to be counted, too.
#[inline(always)]
pub(crate) fn counts(note: impl FnOnce(&Trail)) -> bool {
    let purpose = PURPOSE.load();
    if purpose != Purpose::Serve as u8
        && let Some(trail) = trail()
    {
        note(trail);
    }
    purpose != Purpose::Explain as u8
}

/// This CPU's.
#[inline(always)]
pub(crate) fn trail() -> Option<&'static Trail> {
    // SAFETY: a helper without arguments.
    TRAIL.get(unsafe { bpf_get_smp_processor_id() })
}
