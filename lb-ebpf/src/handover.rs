//! From one program to the next, with the frame as it came.
#![expect(unsafe_code, reason = "a tail call is written as the kernel wants it")]

use aya_ebpf::bindings::xdp_md;

use crate::maps::STAGES;

/// Goes on in another program, and returns if there is none. Written out for each, because the kernel makes a direct jump
/// of a call only if it always leads to the same place (commit d2e4c1e6c294, Linux 5.5), and the compiler would merge them.
#[inline(always)]
pub(crate) fn jump<const STAGE: u32>(context: *mut xdp_md) {
    // SAFETY: the calling convention of the helper bpf_tail_call (12): context, array, index.
    unsafe {
        core::arch::asm!(
            "r3 = {stage}",
            "call 12",
            stage = const STAGE,
            inlateout("r1") context => _,
            inlateout("r2") &raw const STAGES => _,
            lateout("r0") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}
