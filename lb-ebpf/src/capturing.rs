//! The two programs around the others in the capturing copy: one keeps the frame as it came, the other tells what became of
//! it. In what serves nobody calls them.
#![expect(unsafe_code, reason = "kernel helpers and map memory are raw pointers")]

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action},
    btf_maps::{Array, PerCpuArray, RingBuf},
    helpers::{bpf_ktime_get_ns, bpf_ringbuf_output, bpf_xdp_load_bytes},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use lb_common::{
    capture::{Filter, Head, NOBODYS, Record, SNAP},
    entry::ServerState,
    purpose::{ENTRY_INDEX, SEEN_INDEX},
};
use lb_ebpf::{ends, headers::Ethernet, tables::Tables as _};

use crate::{handover::jump, maps::KernelTables, purpose::trail};

#[btf_map]
static FILTER: Array<Filter, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
/// This CPU's frame. XDP is not preempted by itself.
#[btf_map]
static HELD: PerCpuArray<Record, 1> = PerCpuArray::new();
/// What was captured. The loader makes it larger where there is any.
#[btf_map]
static RING: RingBuf<u64, 4096> = RingBuf::new();

/// In front of the entry.
#[xdp(frags)]
pub fn xlvs_watch(context: XdpContext) -> u32 {
    hold(&context);
    jump::<ENTRY_INDEX>(context.ctx);
    xdp_action::XDP_ABORTED
}

/// Behind all stages: the frame is as it leaves.
#[xdp(frags)]
pub fn xlvs_seen(context: XdpContext) -> u32 {
    tell(&context)
}

/// Goes on with the one behind all stages, which returns this action. Returns if it is not there.
#[inline(always)]
pub(crate) fn pass_on(context: &XdpContext, action: u32) {
    if let Some(held) = HELD.get_ptr_mut(0) {
        // SAFETY: this CPU's own entry.
        unsafe { (*held).head.action = u64::from(action) };
        jump::<SEEN_INDEX>(context.ctx);
    }
}

#[inline(always)]
fn hold(context: &XdpContext) {
    let (Some(filter), Some(held)) = (FILTER.get(0), HELD.get_ptr_mut(0)) else { return };
    // SAFETY: this CPU's own entry, which nobody else has a reference to.
    let Record { head, bytes } = unsafe { &mut *held };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    head.at = 0;
    if now >= filter.until.load() {
        return;
    }
    if let Some(trail) = trail() {
        trail.clear();
    }
    let tables = KernelTables::new(context.ctx);
    let length = tables.frame_length();
    let kept = kept_of(length);
    // SAFETY: valid context; there is room for as much as is kept.
    if unsafe { bpf_xdp_load_bytes(context.ctx, 0, bytes.as_mut_ptr().cast(), kept as u32) } != 0 {
        return;
    }
    head.at = now;
    head.ingress = u64::from(tables.ingress());
    head.length = length;
    head.kept = kept;
    head.ends = xlvs_ends(context.ctx);
}

#[inline(always)]
fn tell(context: &XdpContext) -> u32 {
    let (Some(filter), Some(held)) = (FILTER.get(0), HELD.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this CPU's own entry, which nobody else has a reference to.
    let Record { head, bytes } = unsafe { &mut *held };
    let action = head.action as u32;
    let Some(trail) = trail() else { return action };
    if head.at == 0 {
        return action;
    }
    let tables = KernelTables::new(context.ctx);
    let is_sent = action == xdp_action::XDP_TX || action == xdp_action::XDP_REDIRECT;
    head.length_after = if is_sent { tables.frame_length() } else { 0 };
    head.kept_after = 0;
    head.trail = trail.words();
    let service = match trail.server().and_then(|id| tables.server(id)) {
        Some(server) => u64::from(ServerState::from_word(server.state.load()).service),
        None => trail.service().map_or(NOBODYS, u64::from),
    };
    let ends = if is_sent { head.ends | xlvs_ends(context.ctx) } else { head.ends };
    if !filter.wants(trail.verdict_number(), ends, service) {
        return action;
    }
    let before = head.kept.min(SNAP as u64);
    let mut size = Head::SIZE as u64 + before;
    if is_sent {
        let after = kept_of(head.length_after);
        // SAFETY: behind what was kept before there is room for as much again.
        let place = unsafe { bytes.as_mut_ptr().add(before as usize) };
        // SAFETY: valid context; see above.
        if unsafe { bpf_xdp_load_bytes(context.ctx, 0, place.cast(), after as u32) } == 0 {
            head.kept_after = after;
            size += after;
        }
    }
    // SAFETY: so much of the entry is initialized, as map memory always is.
    if unsafe { bpf_ringbuf_output((&raw const RING).cast_mut().cast(), held.cast(), size, 0) } != 0 {
        let lost = filter.lost.load();
        // Whom another CPU comes before is not counted.
        let _ = filter.lost.replace(lost, lost + 1);
    }
    action
}

/// How much is kept of a frame of this length. None is shorter than its link header, and the verifier of 6.1 would not learn
/// from a comparison with zero that there is anything to copy.
#[inline(always)]
fn kept_of(length: u64) -> u64 {
    length.clamp(size_of::<Ethernet>() as u64, SNAP as u64)
}

/// A global function, which gives the frame anew and is verified once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xlvs_ends(context: *mut aya_ebpf::bindings::xdp_md) -> u64 {
    let tables = KernelTables::new(context);
    FILTER.get(0).map_or(0, |filter| ends::found(&tables.frame(), &tables, filter))
}
