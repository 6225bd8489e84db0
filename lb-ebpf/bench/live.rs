//! Both ends of a cable in whose middle a program is measured: who sends frames into it, and who counts what comes back.

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::PerCpuArray,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

use super::{PLAN, write};

/// Ethernet, IPv4 and TCP, and the beginning of the data.
const SMALL: usize = 56;

#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Sends the frame of the next flow. What was left of the buffer's last use is written over.
#[xdp]
pub fn live_send(context: XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a map's value; each sender has a map of its own.
    if write::<SMALL>(context.ctx, unsafe { &mut *plan }) {
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_ABORTED
    }
}

/// The end of every frame.
#[xdp(frags)]
pub fn live_count(_: XdpContext) -> u32 {
    if let Some(count) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: a map's value of this processor.
        unsafe { *count += 1 };
    }
    xdp_action::XDP_DROP
}
