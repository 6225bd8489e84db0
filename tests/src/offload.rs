#![expect(
    unsafe_code,
    reason = "ethtool's ioctl is the only way in that needs no program and no netlink family"
)]
//! Switches a device's offloads off, as `ethtool -K DEVICE tx off` does.

use std::ffi::c_char;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::namespace::Namespace;
use crate::tools;

/// An offload that can be switched by an ethtool command of its own (linux/ethtool.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Leave checksums to the device: on veth they then stay partial in the frame.
    TxChecksum,
    /// Leave TCP segmentation to the device.
    TcpSegmentation,
    /// Leave all segmentation to the layer below.
    Segmentation,
    /// Merge received segments.
    Receive,
}

impl Offload {
    /// ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO.
    fn set_command(self) -> u32 {
        match self {
            Self::TxChecksum => 0x17,
            Self::TcpSegmentation => 0x1f,
            Self::Segmentation => 0x24,
            Self::Receive => 0x2c,
        }
    }

    /// ETHTOOL_GTXCSUM, ETHTOOL_GTSO, ETHTOOL_GGSO, ETHTOOL_GGRO: each the number below its setter.
    fn get_command(self) -> u32 {
        self.set_command() - 1
    }
}

/// Switches one offload of `interface` in `namespace` on or off.
pub fn set(namespace: &Namespace, interface: &str, offload: Offload, on: bool) -> Result<()> {
    namespace
        .enter(|| ethtool(interface, offload.set_command(), u32::from(on)))?
        .with_context(|| format!("cannot set {offload:?} = {on} on {interface} of {}", namespace.name()))
        .map(drop)
}

/// Whether the offload is on now; the kernel itself switches some off when a program is attached.
pub fn get(namespace: &Namespace, interface: &str, offload: Offload) -> Result<bool> {
    namespace
        .enter(|| ethtool(interface, offload.get_command(), 0))?
        .with_context(|| format!("cannot read {offload:?} of {interface} of {}", namespace.name()))
        .map(|value| value != 0)
}

/// Makes a veth write VLAN tags into the frames it hands to its peer, where they otherwise lie beside the frame and no XDP
/// program sees them.
pub fn write_tags_into_frames(namespace: &Namespace, interface: &str) -> Result<()> {
    let mut ethtool = namespace.command("ethtool")?;
    ethtool.args(["-K", interface, "tx-vlan-hw-insert", "off", "tx-vlan-stag-hw-insert", "off"]);
    tools::output(&mut ethtool).map(drop)
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ifreq` with its union as the pointer that SIOCETHTOOL reads, padded to the union's full size.
#[repr(C)]
struct Request {
    name: [c_char; libc::IFNAMSIZ],
    value: *mut Value,
    padding: [u8; 16],
}

fn ethtool(interface: &str, command: u32, data: u32) -> Result<u32> {
    if interface.len() >= libc::IFNAMSIZ {
        bail!("{interface} is longer than an interface name can be");
    }
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot open a socket for ethtool")?;
    let mut value = Value { command, data };
    let mut request = Request { name: [0; libc::IFNAMSIZ], value: &raw mut value, padding: [0; 16] };
    for (slot, byte) in request.name.iter_mut().zip(interface.bytes()) {
        *slot = byte as c_char;
    }
    // SAFETY: the request is as large as `struct ifreq`, its name is NUL-terminated, and its pointer leads to a live
    // `ethtool_value`, which is all that the commands above read or write.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).context("SIOCETHTOOL");
    }
    Ok(value.data)
}
