#![expect(
    unsafe_code,
    reason = "sendmmsg on AF_PACKET without copying each frame's address is beyond the safe wrappers"
)]
//! A raw socket on one interface that sends many frames with one system call.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

/// A socket that only sends, past the queueing discipline; bound to the interface of the calling thread's namespace.
pub struct PacketSocket {
    descriptor: OwnedFd,
}

impl PacketSocket {
    pub fn open(interface: &str) -> Result<Self> {
        let index =
            nix::net::if_::if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
        // SAFETY: plain values; protocol 0 receives nothing.
        let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error()).context("cannot open a packet socket; it needs root");
        }
        // SAFETY: just opened, owned by nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int of the given size.
        let set = unsafe {
            libc::setsockopt(
                raw,
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if set < 0 {
            return Err(io::Error::last_os_error()).context("cannot bypass the queueing discipline");
        }
        // SAFETY: sockaddr_ll is plain data, for which all zeros is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: the address is a whole sockaddr_ll of the given size.
        let bound = unsafe {
            libc::bind(raw, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        };
        if bound < 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("cannot bind to {interface}"));
        }
        Ok(Self { descriptor })
    }

    /// Sends `frames` in order; how many of them the device took. An error means that the first one was not taken.
    pub fn send(&self, frames: &[Vec<u8>]) -> io::Result<usize> {
        let mut pieces: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: mmsghdr is plain data, for which all zeros is a value.
                let mut message: libc::mmsghdr = unsafe { zeroed() };
                message.msg_hdr.msg_iov = piece;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let (count, descriptor) = (messages.len() as u32, self.descriptor.as_raw_fd());
        // SAFETY: `count` headers, each with one iovec over a frame; all of them outlive the call, which only reads them.
        let sent = unsafe { libc::sendmmsg(descriptor, messages.as_mut_ptr(), count, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}
