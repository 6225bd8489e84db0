#![expect(unsafe_code, reason = "raw sockets and the TUN device are plain system calls")]
//! The far end of tunnels, for a kernel without tunnel devices: what arrives as IP in IP or GUE is unwrapped and given to
//! the machine's own kernel through a TUN device.
//!
//! The sockets are the kernel's raw and UDP ones, so the kernel has judged the outer headers (addresses, lengths,
//! checksums) before a packet comes here, and judges the inner ones afterwards.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::family::Family;
use crate::namespace::Namespace;

/// The port of GUE, assigned by IANA.
pub const GUE: u16 = 6080;

/// How packets come wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    /// Of the outer header.
    pub outer: Family,
    /// Of the packet inside.
    pub inner: Family,
    pub gue: bool,
}

/// Unwraps until it is dropped.
pub struct Decapsulator {
    stop: Arc<AtomicBool>,
    unwrapped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

impl Decapsulator {
    /// Starts in a machine, and gives what comes wrapped like this to its kernel.
    pub fn start(namespace: &Namespace, wrapping: Wrapping) -> Result<Self> {
        let opened = || -> Result<(File, File)> { Ok((socket(wrapping)?, device()?)) };
        let (mut wrapped, mut tun) = namespace.enter(opened)??;
        namespace.sysctl(&[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/untun/rp_filter", "0")])?;
        namespace.ip("link set untun up")?;
        let (stop, unwrapped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&unwrapped));
        let work = move || {
            let mut bytes = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                // After a while without packets, a look at the flag.
                let Ok(length) = wrapped.read(&mut bytes) else { continue };
                let packet = match bytes[..length] {
                    // A raw socket of IPv4 gives the header, too.
                    [first, ..] if !wrapping.gue && wrapping.outer == Family::V4 => {
                        bytes[..length].get(usize::from(first & 15) * 4..).unwrap_or_default()
                    }
                    _ => &bytes[..length],
                };
                // What the kernel does not take was no packet: the sender's tests tell.
                if tun.write_all(packet).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let thread = thread::Builder::new().name("decapsulator".to_owned()).spawn(work)?;
        Ok(Self { stop, unwrapped, thread: Some(thread) })
    }

    /// How many packets came out of the tunnel so far.
    pub fn unwrapped(&self) -> u64 {
        self.unwrapped.load(Ordering::Relaxed)
    }
}

impl Drop for Decapsulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(50);

fn socket(wrapping: Wrapping) -> Result<File> {
    let file = if wrapping.gue { gue(wrapping.outer)? } else { raw(wrapping)? };
    let time = libc::timeval { tv_sec: 0, tv_usec: LOOK_EVERY.as_micros() as libc::suseconds_t };
    set(&file, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)?;
    set(&file, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(4 << 20))?;
    Ok(file)
}

fn raw(wrapping: Wrapping) -> Result<File> {
    let domain = match wrapping.outer {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let protocol = match wrapping.inner {
        Family::V4 => libc::IPPROTO_IPIP,
        Family::V6 => libc::IPPROTO_IPV6,
    };
    // SAFETY: plain values.
    let raw = unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if raw < 0 {
        return Err(Error::last_os_error()).context("cannot open a raw socket; it needs root");
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(raw) })
}

/// Over IPv6 without checksums, too (RFC 6935), as the kernel's own GUE takes them.
fn gue(outer: Family) -> Result<File> {
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let socket = match outer {
        Family::V4 => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GUE)),
        Family::V6 => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, GUE)),
    };
    let file = File::from(std::os::fd::OwnedFd::from(socket.context("cannot listen for GUE")?));
    if outer == Family::V6 {
        set(&file, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, &1)?;
    }
    Ok(file)
}

/// A TUN device of the calling thread's namespace.
fn device() -> Result<File> {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("no TUN devices")?;
    let mut request =
        Request { name: [0; 16], flags: (libc::IFF_TUN | libc::IFF_NO_PI) as i16, rest: [0; 22] };
    request.name[..5].copy_from_slice(b"untun");
    // SAFETY: the request is a whole `struct ifreq`.
    let made = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if made < 0 { Err(Error::last_os_error()).context("cannot make a TUN device") } else { Ok(tun) }
}

fn set<T>(file: &File, level: libc::c_int, option: libc::c_int, value: &T) -> Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is as large as said, and of the option's type.
    let outcome =
        unsafe { libc::setsockopt(file.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size) };
    if outcome < 0 { Err(Error::last_os_error()).context("cannot set a socket option") } else { Ok(()) }
}
