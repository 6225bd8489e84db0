//! What the driver lost after the verdict: its own counters of failed XDP transmissions and redirects.
#![expect(unsafe_code, reason = "ETHTOOL_GSTATS is an ioctl with a variable-length structure")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;
const STRING: usize = 32;

/// The driver's counters (`ethtool -S`) that tell of XDP frames it could not send or redirect, by name; only grows.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` where the driver has no counters.
pub fn driver_losses(interface: &str) -> io::Result<BTreeMap<String, u64>> {
    let losses = counters(interface)?.into_iter().filter(|(name, _)| tells_of_loss(name));
    Ok(losses.collect())
}

/// Drivers name these freely: `rx_queue_0_xdp_tx_errors` (veth), `rx_xdp_tx_full` (mlx5), `xdp_tx_err`, `..._redirect_fail`.
fn tells_of_loss(name: &str) -> bool {
    let failed = ["err", "drop", "fail", "full"].iter().any(|word| name.contains(word));
    // "xdp_drops" is our own verdict, not a loss.
    (name.contains("xdp") && failed && !name.ends_with("xdp_drops") && !name.ends_with("xdp_drop"))
        || (name.starts_with("rx_queue_") && name.ends_with("_drops") && !name.contains("xdp"))
}

fn counters(interface: &str) -> io::Result<Vec<(String, u64)>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // struct ethtool_sset_info { cmd, reserved, sset_mask: u64, data[] }
    let mut count = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_STATS, 0, 0];
    ask(&socket, interface, &mut count)?;
    let count_of = if count[2] == 0 { 0 } else { count[4] as usize };
    // struct ethtool_gstrings { cmd, string_set, len, data[] }
    let mut strings = vec![0u32; 3 + count_of * STRING / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_STATS, count_of as u32]);
    ask(&socket, interface, &mut strings)?;
    // struct ethtool_stats { cmd, n_stats, data[]: u64 }
    let mut stats = vec![0u32; 2 + count_of * 2];
    stats[..2].copy_from_slice(&[ETHTOOL_GSTATS, count_of as u32]);
    ask(&socket, interface, &mut stats)?;
    let names = strings[3..].chunks_exact(STRING / 4).map(|words| {
        let bytes: Vec<u8> =
            words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let values = stats[2..].chunks_exact(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32);
    Ok(names.zip(values).collect())
}

/// One `SIOCETHTOOL` with a buffer that is as long as the command says.
fn ask(socket: &Socket, interface: &str, buffer: &mut [u32]) -> io::Result<()> {
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: an all-zero request is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
    // SAFETY: the request points to a buffer of the length its own header announces, alive for the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
