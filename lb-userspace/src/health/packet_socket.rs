//! Packet sockets: one that sends frames, and some that hear what TCP and UDP send to a few ports.
#![expect(unsafe_code, reason = "packet sockets and their filters are beyond the safe wrappers")]

use std::io;
use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::config::Family;

/// Sends Ethernet frames from any interface; hears nothing.
pub(super) struct Sender(OwnedFd);

impl Sender {
    pub(super) fn open() -> io::Result<Self> {
        packet_socket(libc::SOCK_RAW).map(Self)
    }

    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let address = address(0, ifindex);
        // SAFETY: the frame is as long as told, and the address is a whole sockaddr_ll of the given size.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A socket for what TCP and UDP over this family send to these ports of the host, on any interface: packets from the IP header
/// on. It is none of UDP's, but has the same calls. It hears nothing before it has its filter.
pub(super) fn listener(family: Family, ports: RangeInclusive<u16>) -> io::Result<UdpSocket> {
    let socket = packet_socket(libc::SOCK_DGRAM)?;
    let (ethertype, filter) = match family {
        Family::V4 => (libc::ETH_P_IP, filter_v4(&ports).to_vec()),
        Family::V6 => (libc::ETH_P_IPV6, filter_v6(&ports).to_vec()),
    };
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is told, and does not write to it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    let address = address(ethertype as u16, 0);
    // SAFETY: the address is a whole sockaddr_ll of the given size.
    let bound = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket.into()) }
}

fn packet_socket(kind: i32) -> io::Result<OwnedFd> {
    // Of no protocol: it hears nothing until it is bound to one.
    // SAFETY: plain values.
    let raw = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn address(ethertype: u16, ifindex: u32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data, for which all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = ifindex.cast_signed();
    address
}

const TCP: u32 = 6;
const UDP: u32 = 17;
/// No packet is cut off.
const WHOLE: u32 = 0xffff;

/// What has these ports, by classic BPF from the IP header on.
fn filter_v4(ports: &RangeInclusive<u16>) -> [libc::sock_filter; 11] {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_LD, BPF_LDX, BPF_MSH};
    [
        op(BPF_LD | BPF_B | BPF_ABS, 9),
        jump(libc::BPF_JEQ, TCP, 1, 0),
        jump(libc::BPF_JEQ, UDP, 0, 7),
        op(BPF_LD | BPF_H | BPF_ABS, 6),
        jump(libc::BPF_JSET, 0x1fff, 5, 0),
        op(BPF_LDX | BPF_B | BPF_MSH, 0),
        op(BPF_LD | BPF_H | BPF_IND, 2),
        jump(libc::BPF_JGE, u32::from(*ports.start()), 0, 2),
        jump(libc::BPF_JGT, u32::from(*ports.end()), 1, 0),
        op(libc::BPF_RET, WHOLE),
        op(libc::BPF_RET, 0),
    ]
}

/// Likewise; such answers have no extension headers.
fn filter_v6(ports: &RangeInclusive<u16>) -> [libc::sock_filter; 8] {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_LD};
    [
        op(BPF_LD | BPF_B | BPF_ABS, 6),
        jump(libc::BPF_JEQ, TCP, 1, 0),
        jump(libc::BPF_JEQ, UDP, 0, 4),
        op(BPF_LD | BPF_H | BPF_ABS, 42),
        jump(libc::BPF_JGE, u32::from(*ports.start()), 0, 2),
        jump(libc::BPF_JGT, u32::from(*ports.end()), 1, 0),
        op(libc::BPF_RET, WHOLE),
        op(libc::BPF_RET, 0),
    ]
}

fn op(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt, jf, k }
}
