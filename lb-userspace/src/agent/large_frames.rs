//! Frames in several buffers, which older kernels do not redirect from one interface to another.

use super::preflight::Finding;
use crate::net::Link;

/// The first Linux that redirects them: before, `xdp_do_redirect` refuses a frame with fragments.
const REDIRECTED_SINCE: (u32, u32) = (6, 3);

/// The largest MTU whose frames, with two tags, are in one buffer: a page without headroom (256 bytes) and what the kernel keeps at
/// its end (320 bytes), and without the frame's header.
const ONE_BUFFER: u32 = 4096 - 256 - 320 - 22;

/// Major and minor number of the kernel that runs; `None` if it says something else.
pub fn kernel() -> Option<(u32, u32)> {
    numbers(rustix::system::uname().release().to_str().ok()?)
}

fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Interfaces that take frames which this kernel would lose on their way to another one.
pub fn findings(interfaces: &[Link], kernel: Option<(u32, u32)>) -> Vec<Finding> {
    let Some((major, minor)) = kernel.filter(|kernel| *kernel < REDIRECTED_SINCE) else { return Vec::new() };
    if interfaces.len() < 2 {
        return Vec::new();
    }
    let told = |link: &Link| {
        Finding::new(
            format!(
                "{} has an MTU of {}, and Linux {major}.{minor} redirects no frame of more than one buffer to another interface: they are lost",
                link.name, link.mtu
            ),
            format!(
                "'ip link set {} mtu {ONE_BUFFER}', likewise at its neighbours; or use Linux 6.3 or later",
                link.name
            ),
        )
    };
    interfaces.iter().filter(|link| link.mtu > ONE_BUFFER).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        assert_eq!(numbers("6.1.0-56-cloud-amd64"), Some((6, 1)));
        assert_eq!(numbers("6.18.2"), Some((6, 18)));
        assert_eq!(numbers("next"), None);
    }

    #[test]
    fn large_frames_between_interfaces_of_an_older_kernel_are_told_of() {
        let link = |mtu| Link { mtu, ..Link::ethernet(1, "eth0") };
        let count = |links: &[Link], kernel| findings(links, kernel).len();
        assert_eq!(count(&[link(9000), link(1500)], Some((6, 1))), 1);
        assert_eq!(count(&[link(1500), link(1500)], Some((6, 1))), 0);
        assert_eq!(count(&[link(9000)], Some((6, 1))), 0, "it leaves by where it came from");
        assert_eq!(count(&[link(9000), link(9000)], Some((6, 3))), 0);
        assert_eq!(count(&[link(9000), link(9000)], None), 0);
    }
}
