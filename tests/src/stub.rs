#![expect(
    unsafe_code,
    reason = "a few instructions are loaded by bpf(2) itself: the rig must not need an eBPF toolchain"
)]
//! XDP programs of a few instructions: one that passes everything, for the peers of the balancer's veths, and a shield.
//!
//! veth delivers XDP_TX and XDP_REDIRECT frames only to a peer whose NAPI runs, and its transmit path for XDP_TX needs
//! a program there (`veth_xdp_xmit`, drivers/net/veth.c). Without one the frames count as sent and never arrive.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// One BPF instruction, `struct bpf_insn`: opcode, registers (source in the high four bits), offset, immediate.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Instruction(pub u8, pub u8, pub i16, pub i32);

/// `r0 = XDP_PASS; exit`
static PASS: [Instruction; 2] = [Instruction(0xb7, 0, 0, 2), Instruction(0x95, 0, 0, 0)];

/// Drops IPv4 frames from outside 10/8 and IPv6 ones from outside fd77::/16, where no topology has a machine, and passes
/// the rest; link-local addresses are of machines, too.
static SHIELD: [Instruction; 18] = [
    Instruction(0x61, 0x12, 0, 0),      // r2 = data
    Instruction(0x61, 0x13, 4, 0),      // r3 = data_end
    Instruction(0xbf, 0x24, 0, 0),      // r4 = r2
    Instruction(0x07, 0x04, 0, 34),     // r4 += Ethernet + IPv4
    Instruction(0x2d, 0x34, 11, 0),     // too short: pass
    Instruction(0x69, 0x25, 12, 0),     // r5 = EtherType
    Instruction(0x15, 0x05, 5, 0x0008), // IPv4: there
    Instruction(0x55, 0x05, 8, 0xdd86), // not IPv6: pass
    Instruction(0x69, 0x25, 22, 0),     // r5 = first two bytes of the source
    Instruction(0x15, 0x05, 6, 0x77fd), // ours: pass
    Instruction(0x15, 0x05, 5, 0x80fe), // link-local: pass
    Instruction(0x05, 0, 2, 0),         // drop
    Instruction(0x71, 0x25, 26, 0),     // r5 = first byte of the source
    Instruction(0x15, 0x05, 2, 10),     // ours: pass
    Instruction(0xb7, 0, 0, 1),         // r0 = XDP_DROP
    Instruction(0x95, 0, 0, 0),
    Instruction(0xb7, 0, 0, 2), // r0 = XDP_PASS
    Instruction(0x95, 0, 0, 0),
];

/// An XDP program behind one interface in driver mode; detached when dropped.
pub struct Attached {
    _link: OwnedFd,
    _program: OwnedFd,
}

/// Attaches the passing program to `interface` of `namespace`. Fails when another XDP program is there or the driver
/// has no XDP.
pub fn attach(namespace: &Namespace, interface: &str) -> Result<Attached> {
    attach_program(namespace, interface, &PASS)
}

/// Attaches a program that drops what a flood invents, so that a machine behind the balancer need not answer it.
pub fn attach_shield(namespace: &Namespace, interface: &str) -> Result<Attached> {
    attach_program(namespace, interface, &SHIELD)
}

/// Attaches any program, given as instructions; its calls are limited to what the GPL allows.
pub fn attach_program(
    namespace: &Namespace,
    interface: &str,
    instructions: &[Instruction],
) -> Result<Attached> {
    let attach = || -> Result<Attached> {
        let index = nix::net::if_::if_nametoindex(interface).context("no such interface")?;
        let program = load(instructions)?;
        let link = link(&program, index)?;
        Ok(Attached { _link: link, _program: program })
    };
    namespace
        .enter(attach)?
        .with_context(|| format!("cannot attach an XDP program to {interface} of {}", namespace.name()))
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads; the kernel takes what follows as zero.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE reads.
#[repr(C)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// Without it, a veth with jumbo frames takes no program (Linux 5.18).
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

fn load(instructions: &[Instruction]) -> Result<OwnedFd> {
    let license = CString::new("GPL").context("a literal without NUL")?;
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: BPF_F_XDP_HAS_FRAGS,
        name: *b"xlvs_test_pass\0\0",
        interface: 0,
        expected_attach_type: BPF_XDP,
    };
    bpf(BPF_PROG_LOAD, &attributes)
        .context("the kernel refused the two-instruction program; loading it needs root")
}

fn link(program: &OwnedFd, interface: u32) -> Result<OwnedFd> {
    let attributes = LinkAttributes {
        program: program.as_raw_fd() as u32,
        interface,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    bpf(BPF_LINK_CREATE, &attributes).context("the kernel refused the XDP link")
}

/// bpf(2) for the two commands above, both of which return a new descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> Result<OwnedFd> {
    let size = size_of::<T>();
    // SAFETY: `attributes` points to `size` initialised bytes laid out as the command's part of `union bpf_attr`, the
    // buffers it names outlive the call, and the kernel copies everything before returning.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).context("bpf(2)");
    }
    // SAFETY: both commands return a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
