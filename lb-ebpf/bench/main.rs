//! What `cargo xtask bench` measures with and against: a driver that gives the program under test a fresh frame each
//! time, floors, programs that do the least one can do of the kind, and both ends of a cable.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    unsafe_code,
    reason = "program entry, licence and panic handler of a BPF object; frames are raw memory"
)]
#![expect(clippy::needless_pass_by_value, reason = "the entry's signature is aya's")]

mod floors;
mod live;
#[expect(dead_code, reason = "one side needs the names of what the other one uses")]
mod plan;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    btf_maps::{Array, ProgramArray},
    helpers::generated::bpf_xdp_adjust_head,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use plan::{HEAD, Plan, REPLY_V4, V4, V6, VIP_PORT, halves};

#[btf_map]
static PLAN: Array<Plan, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
/// The program under test.
#[btf_map]
static UNDER_TEST: ProgramArray<1> = ProgramArray::new();

/// For programs that take frames of several buffers. The kernel does not let others into the same array.
#[xdp(frags)]
pub fn drive(context: XdpContext) -> u32 {
    once(context.ctx)
}

/// For programs that do not.
#[xdp]
pub fn drive_plain(context: XdpContext) -> u32 {
    once(context.ctx)
}

/// One frame. What the program before has done to the frame is undone first, and not after, so that a single run leaves the
/// frame as the program under test did.
#[inline(always)]
fn once(context: *mut xdp_md) -> u32 {
    let Some(plan) = PLAN.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a map's value; only one bench runs at a time.
    let plan = unsafe { &mut *plan };
    // SAFETY: the context is valid for the whole run.
    let length = unsafe { u64::from((*context).data_end) - u64::from((*context).data) };
    if length != plan.length || plan.always_undoes != 0 {
        // SAFETY: as above; the kernel checks the bounds.
        unsafe { bpf_xdp_adjust_head(context, (length as i64 - plan.length as i64) as i32) };
    }
    if !write::<HEAD>(context, plan) {
        return xdp_action::XDP_ABORTED;
    }
    let action = under_test(context);
    plan.actions[action.min(7) as usize & 7] += 1;
    action
}

/// The number of the next flow.
#[inline(always)]
fn next(plan: &mut Plan) -> u64 {
    if plan.in_order != 0 {
        plan.state += 1;
    } else {
        // Marsaglia's xorshift: three shifts, and an order that no prefetcher follows.
        plan.state ^= plan.state << 13;
        plan.state ^= plan.state >> 7;
        plan.state ^= plan.state << 17;
    }
    plan.state & plan.mask
}

/// The frame of the next flow. Checksums stay right without being computed: what is added at one place is taken from another
/// (the identification of IPv4, the sequence number of TCP). Of a frame that is shorter than a whole head, LENGTH bytes are
/// written, a multiple of eight, and it is a client's over IPv4.
#[inline(always)]
fn write<const LENGTH: usize>(context: *mut xdp_md, plan: &mut Plan) -> bool {
    // SAFETY: the context is valid, and every access lies within the bytes whose end is compared here.
    unsafe {
        let data = (*context).data as usize as *mut u8;
        if data.add(LENGTH) > (*context).data_end as usize as *mut u8 {
            return false;
        }
        for (index, word) in plan.head.iter().take(LENGTH / 8).enumerate() {
            data.cast::<u64>().add(index).write_unaligned(*word);
        }
        let flow = next(plan);
        let (address, port) = halves(flow);
        let put = |at: usize, value: u16| data.add(at).cast::<u16>().write_unaligned(value.to_be());
        let put_flow = |at: [usize; 3]| {
            put(at[0], address);
            put(at[1], port);
            put(at[2], !address);
            put(at[2] + 2, !port);
        };
        if LENGTH < HEAD || plan.shape == V4 {
            put(18, !address);
            put_flow([28, 34, 38]);
            let service = (flow & plan.services) as u16;
            if service != 0 {
                put(36, VIP_PORT + service);
                // One's complement, as everywhere else: what carries comes back in.
                let sum = u32::from(!port) + u32::from(!service);
                put(40, (sum + (sum >> 16)) as u16);
            }
        } else if plan.shape == V6 {
            put_flow([36, 54, 58]);
        } else if plan.shape == REPLY_V4 {
            put(18, !address);
            put_flow([32, 36, 38]);
        } else {
            put_flow([52, 56, 58]);
        }
    }
    true
}

/// A subprogram, so that the tail call comes back: it replaces this frame of the stack alone.
#[inline(never)]
fn under_test(context: *mut xdp_md) -> u32 {
    let none: u32;
    // SAFETY: the calling convention of the helper bpf_tail_call (12): context, array, index. What is left in the register of
    // the result if there is no program is set here, so that the compiler does not take it for a constant.
    unsafe {
        core::arch::asm!(
            "r3 = 0",
            "call 12",
            "r0 = 7",
            inlateout("r1") context => _,
            inlateout("r2") &raw const UNDER_TEST => _,
            lateout("r0") none,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
    none
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
