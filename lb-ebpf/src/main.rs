//! The XDP programs, one for each stage: a frame and the maps go in, one verdict comes out and is counted, or the next
//! stage goes on.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unsafe_code, reason = "program entry, licence and panic handler of a BPF object")]
#![expect(clippy::needless_pass_by_value, reason = "the entry's signature is aya's")]

mod capturing;
mod handover;
mod maps;
mod purpose;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use aya_log_ebpf::warn;
use handover::jump;
use lb_common::{
    stage::Stage,
    verdict::{Action, Verdict},
};
use lb_ebpf::{Exit, Outcome, stages, tags};
use maps::{DEVICES, KernelTables};
use purpose::is_capturing;

/// One stage of a frame's way as a program; `None`: the entry. Not a function that takes the stage, which the compiler would
/// call instead of unfolding it.
macro_rules! program {
    ($name:ident, $stage:expr, $way:path) => {
        #[xdp(frags)]
        #[inline(always)]
        pub fn $name(context: XdpContext) -> u32 {
            let tables = KernelTables::new(context.ctx);
            let frame = tables.frame();
            let bytes = tables.bytes_of(&frame);
            // No frame is empty: the comparison alone makes another program of it.
            if cfg!(feature = "variant") && bytes == 0 {
                return xdp_action::XDP_ABORTED;
            }
            end(&context, &tables, bytes, $stage, $way(&frame, &tables))
        }
    };
}

program!(xlvs, None, stages::entry);
program!(xlvs_reply, Some(Stage::Reply), stages::reply);
program!(xlvs_arrival, Some(Stage::Arrival), stages::arrival);
program!(xlvs_icmp, Some(Stage::Icmp), stages::icmp);
program!(xlvs_fragment, Some(Stage::Fragment), stages::fragment);
program!(xlvs_meter, Some(Stage::Meter), stages::meter);
program!(xlvs_notice, Some(Stage::Notice), stages::notice);
program!(xlvs_quic, Some(Stage::Quic), stages::quic);
program!(xlvs_full_nat, Some(Stage::FullNat), stages::full_nat);
program!(xlvs_full_nat_reply, Some(Stage::FullNatReply), stages::full_nat_reply);
program!(xlvs_lease, Some(Stage::Lease), stages::lease);
program!(xlvs_full_nat_icmp, Some(Stage::FullNatIcmp), stages::full_nat_icmp);
program!(xlvs_heir, Some(Stage::Heir), stages::heir);

/// Carries out what a stage came to.
#[inline(always)]
fn end(
    context: &XdpContext,
    tables: &KernelTables,
    bytes: u64,
    stage: Option<Stage>,
    outcome: Outcome,
) -> u32 {
    let outcome = hand_over(context, outcome);
    let (action, verdict) = execute(tags::finish(outcome, tables));
    tables.conclude(verdict, bytes, stage);
    if is_capturing() {
        capturing::pass_on(context, action);
    }
    if verdict == Verdict::Aborted as u32 && tables.may_log() {
        complain(context);
    }
    action
}

/// Does not return if another stage goes on and is there.
#[inline(always)]
fn hand_over(context: &XdpContext, outcome: Outcome) -> Outcome {
    if !outcome.goes_on() {
        return outcome;
    }
    match outcome {
        Outcome::TO_REPLY => jump::<{ Stage::Reply as u32 }>(context.ctx),
        Outcome::TO_ARRIVAL => jump::<{ Stage::Arrival as u32 }>(context.ctx),
        Outcome::TO_ICMP => jump::<{ Stage::Icmp as u32 }>(context.ctx),
        Outcome::TO_FRAGMENT => jump::<{ Stage::Fragment as u32 }>(context.ctx),
        Outcome::TO_METER => jump::<{ Stage::Meter as u32 }>(context.ctx),
        Outcome::TO_NOTICE => jump::<{ Stage::Notice as u32 }>(context.ctx),
        Outcome::TO_QUIC => jump::<{ Stage::Quic as u32 }>(context.ctx),
        Outcome::TO_FULL_NAT => jump::<{ Stage::FullNat as u32 }>(context.ctx),
        Outcome::TO_FULL_NAT_REPLY => jump::<{ Stage::FullNatReply as u32 }>(context.ctx),
        Outcome::TO_HEIR => jump::<{ Stage::Heir as u32 }>(context.ctx),
        Outcome::TO_LEASE => jump::<{ Stage::Lease as u32 }>(context.ctx),
        Outcome::TO_FULL_NAT_ICMP => jump::<{ Stage::FullNatIcmp as u32 }>(context.ctx),
        _ => (),
    }
    Verdict::Aborted.into()
}

/// A subprogram, so that the log record does not lie on the stack of every packet.
#[inline(never)]
fn complain(context: &XdpContext) {
    warn!(context, "a map of the data path lacks an entry; 'xlvs reload' writes them all anew");
}

/// Carries the outcome out: the kernel's action, and the number of the verdict to count. A redirect to an interface that
/// is not there changes the verdict.
#[inline(always)]
fn execute(outcome: Outcome) -> (u32, u32) {
    let number = outcome.number();
    match outcome.action() {
        Action::Send => match outcome.exit() {
            Exit::Back => (xdp_action::XDP_TX, number),
            Exit::Through(port) => match DEVICES.redirect(port.index(), 0) {
                Ok(action) => (action, number),
                Err(_) => (xdp_action::XDP_DROP, Verdict::DroppedNoNextHop as u32),
            },
        },
        Action::Drop => (xdp_action::XDP_DROP, number),
        Action::Pass => (xdp_action::XDP_PASS, number),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
