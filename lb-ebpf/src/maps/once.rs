//! What the verifier is to see once, not on each way that leads to it: global functions, which take and return numbers.
#![expect(unsafe_code, reason = "the kernel hands over raw pointers; the functions keep their names")]

use aya_ebpf::{
    bindings::{BPF_RB_NO_WAKEUP, xdp_md},
    helpers::bpf_ktime_get_ns,
};
use lb_common::{
    flow_table::Place,
    identity::FlowId,
    net::{Port, PortNumber, Tuple},
    rate,
    settled::Settled,
    slot::{ServerId, Slot},
    verdict::{Event, Verdict},
};
use lb_ebpf::{
    Outcome,
    director::Director,
    extensions,
    parse::Shape,
    schedule::Choice,
    sharing::Tie,
    tables::Tables as _,
    tags,
    tunnel::{self, Parcel},
};

use super::{
    KernelTables,
    declared::{SETTLED, SOURCES},
};

/// No place in the flow table.
pub(super) const NOWHERE: u64 = u64::MAX;

/// A global function (kernel commit 51c39bb1d5d1, Linux 5.6): takes and returns numbers, so it is verified once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_locate(flow: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    let Some(director) = Director::again(&tables) else { return NOWHERE };
    director.flows().locate(FlowId::from_bits(flow)).map_or(NOWHERE, Place::to_word)
}

/// Likewise: the word of a slot, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_told(flow: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    let Some(director) = Director::again(&tables) else { return 0 };
    director.told(FlowId::from_bits(flow)).map_or(0, Slot::word)
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_derives(server: u32, flow: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => u64::from(director.derives(id, FlowId::from_bits(flow))),
        _ => 0,
    }
}

/// Likewise; memory of fixed size may be handed over, too (kernel commit e5069b9c23b3, Linux 5.13).
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_tie(server: u32, client: *const Tuple, hit: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: the verifier has seen that the caller hands over a whole tuple, or null.
    match (Director::again(&tables), ServerId::new(server as u16), unsafe { client.as_ref() }) {
        (Some(director), Some(id), Some(client)) => {
            director.tie(id, client, Port::from_raw(hit as u16)).word()
        }
        _ => Tie::NONE.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_collides(server: u32, tuple: *const Tuple) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), ServerId::new(server as u16), unsafe { tuple.as_ref() }) {
        (Some(director), Some(id), Some(tuple)) => u64::from(director.collides(id, tuple)),
        _ => 0,
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_store(flow: u64, server: u32, diverged: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => u64::from(director.store(FlowId::from_bits(flow), id, diverged != 0)),
        _ => 0,
    }
}

/// Likewise. Wakes nobody, which would cost an interrupt (`irq_work`): the agent looks by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_announce(flow: u64) -> u64 {
    // SAFETY: a helper without arguments.
    let at = unsafe { bpf_ktime_get_ns() };
    let settled = Settled { flow: FlowId::from_bits(flow), at };
    if SETTLED.output(settled.to_words(), u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        KernelTables::new(core::ptr::null_mut()).count(Event::Unannounced);
    }
    0
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_rent(flow: u64, server: u32, ipv6: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    match (Director::again(&tables), ServerId::new(server as u16)) {
        (Some(director), Some(id)) => {
            director.rent(FlowId::from_bits(flow), id, ipv6 != 0).map_or(NOWHERE, Place::to_word)
        }
        _ => NOWHERE,
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_choose(service: u32, tuple: *const Tuple, seated: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), unsafe { tuple.as_ref() }) {
        (Some(director), Some(tuple)) => director.choose(service, tuple, Choice::from_word(seated)).word(),
        _ => Choice::OPEN.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_merit(service: u32, server: u32, attempt: u64) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    Director::again(&tables).map_or(u64::MAX, |director| director.merit(service, server, attempt))
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_seated(service: u32, tuple: *const Tuple) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    match (Director::again(&tables), unsafe { tuple.as_ref() }) {
        (Some(director), Some(tuple)) => director.seated(service, tuple).word(),
        _ => Choice::OPEN.word(),
    }
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_seat(service: u32, tuple: *const Tuple, server: u32) -> u64 {
    let tables = KernelTables::new(core::ptr::null_mut());
    // SAFETY: as above.
    let tuple = unsafe { tuple.as_ref() };
    if let (Some(director), Some(tuple), Some(id)) =
        (Director::again(&tables), tuple, ServerId::new(server as u16))
    {
        director.seat(service, tuple, id);
    }
    0
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_take(set: u32, tag: u64, interval: u64, now: u64) -> u64 {
    let Some(set) = SOURCES.get(set) else { return 1 };
    let cell = &set[rate::place(set, tag, now) % rate::WAYS];
    u64::from(KernelTables::new(core::ptr::null_mut()).draw(cell, tag, interval, now))
}

/// Likewise; the context may be handed over, too, and gives the frame anew.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_behind_extensions(context: *mut xdp_md, at: u32, number: u32) -> u64 {
    let tables = KernelTables::new(context);
    extensions::skip(&tables.frame(), u64::from(at), number as u8).word()
}

/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_head(context: *mut xdp_md) -> u64 {
    let tables = KernelTables::new(context);
    tags::read(&tables.frame(), &tables).word()
}

/// Likewise. Moves the frame's start, so the kernel forgets what it knew of the frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_dress(context: *mut xdp_md, port: u32) -> u64 {
    u64::from(tags::dress(&KernelTables::new(context), PortNumber::of_interface(port)))
}

/// Likewise. Moves the frame's start, so the kernel forgets what it knew of the frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn xlvs_encapsulate(
    context: *mut xdp_md,
    server: u32,
    shape: u64,
    entropy: u32,
) -> u64 {
    let Some(server) = ServerId::new(server as u16) else { return Outcome::from(Verdict::Aborted).word() };
    let parcel = Parcel { server, shape: Shape::from_word(shape), entropy };
    let tables = KernelTables::new(context);
    tunnel::encapsulate(&tables.frame(), &tables, parcel).word()
}
