//! What only ethtool's ioctl tells of a device: its driver's own counters, and which of its offloads are on.
#![expect(unsafe_code, reason = "SIOCETHTOOL is an ioctl with structures of variable length")]

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

// linux/ethtool.h
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETH_SS_STATS: u32 = 1;
const ETH_SS_FEATURES: u32 = 4;
const STRING: usize = 32;
/// Words of a `struct ethtool_get_features_block`: available, requested, active, never changed.
const FEATURE_BLOCK: usize = 4;

/// The driver's counters (`ethtool -S`), by its own names for them.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` where the driver has none.
pub(super) fn counters(interface: &str) -> io::Result<Vec<(String, u64)>> {
    let device = Device::open(interface)?;
    let names = device.names(ETH_SS_STATS)?;
    // struct ethtool_stats { cmd, n_stats, data[]: u64 }
    let mut stats = vec![0u32; 2 + names.len() * 2];
    stats[..2].copy_from_slice(&[ETHTOOL_GSTATS, names.len() as u32]);
    device.ask(&mut stats)?;
    let values = stats[2..].chunks_exact(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32);
    Ok(names.into_iter().zip(values).collect())
}

/// The offloads that are on now (`ethtool -k`), by the kernel's names for them.
///
/// # Errors
/// What the kernel says.
pub fn offloads(interface: &str) -> io::Result<Vec<String>> {
    let device = Device::open(interface)?;
    let names = device.names(ETH_SS_FEATURES)?;
    let blocks = names.len().div_ceil(32);
    // struct ethtool_gfeatures { cmd, size, features[] }
    let mut features = vec![0u32; 2 + blocks * FEATURE_BLOCK];
    features[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
    device.ask(&mut features)?;
    let is_on = |bit: usize| features[2 + bit / 32 * FEATURE_BLOCK + 2] >> (bit % 32) & 1 == 1;
    Ok(names.into_iter().enumerate().filter(|(bit, _)| is_on(*bit)).map(|(_, name)| name).collect())
}

/// A device that can be asked.
struct Device {
    socket: Socket,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Device {
    fn open(interface: &str) -> io::Result<Self> {
        if interface.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut name = [0; libc::IFNAMSIZ];
        for (to, from) in name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(Self { socket: Socket::new(Domain::IPV4, Type::DGRAM, None)?, name })
    }

    /// The names of a set of things that ethtool numbers.
    fn names(&self, set: u32) -> io::Result<Vec<String>> {
        // struct ethtool_sset_info { cmd, reserved, sset_mask: u64, data[] }
        let mut count = [ETHTOOL_GSSET_INFO, 0, 1 << set, 0, 0];
        self.ask(&mut count)?;
        let count = if count[2] == 0 { 0 } else { count[4] as usize };
        // struct ethtool_gstrings { cmd, string_set, len, data[] }
        let mut strings = vec![0u32; 3 + count * STRING / 4];
        strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, set, count as u32]);
        self.ask(&mut strings)?;
        let name = |words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0);
            String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
        };
        Ok(strings[3..].chunks_exact(STRING / 4).map(name).collect())
    }

    /// One `SIOCETHTOOL` with a buffer that is as long as the command says.
    fn ask(&self, buffer: &mut [u32]) -> io::Result<()> {
        // SAFETY: an all-zero request is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
        // SAFETY: the request points to a buffer of the length its own header announces, alive for the call.
        let answer = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
