//! The same object loaded a second time to explain packets: one constant takes every write to the shared maps away, and a
//! trail is noted instead.
//!
//! The loader sets the constant before it loads; `.rodata` is frozen, so the verifier knows its value, follows only the
//! branches that are left, and removes the others. What serves carries no branch of this.
#![expect(unsafe_code, reason = "the loader finds the constant by its name")]

use aya_ebpf::{Global, btf_maps::Array, macros::btf_map};
use lb_common::trail::Trail;

use crate::maps::MMAPABLE;

/// Not 0: explains. The name is the loader's.
#[unsafe(no_mangle)]
static EXPLAINING: Global<u8> = Global::new(0);

/// Each loading of the object has its own.
#[btf_map]
static TRAIL: Array<Trail, 1, MMAPABLE> = Array::new();

#[inline(always)]
pub(crate) fn is_explaining() -> bool {
    EXPLAINING.load() != 0
}

#[inline(always)]
pub(crate) fn trail(note: impl FnOnce(&Trail)) {
    if let Some(trail) = TRAIL.get(0) {
        note(trail);
    }
}
