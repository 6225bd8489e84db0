//! Frames written, read and compared without a line of the data path: a second opinion on every byte.
//!
//! ```
//! use xlvs_tests::packet::{Frame, Ipv4, Tcp, difference};
//! let packet = |ttl| Ipv4::new([10, 77, 1, 10], [10, 77, 1, 100], Tcp::syn(40_000, 80, 1)).ttl(ttl);
//! let sent = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], packet(64)).bytes();
//! let got = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], packet(63)).bytes();
//! let told = difference(&sent, &got).unwrap();
//! assert!(told.contains("ipv4.ttl: expected 64, got 63"), "{told}");
//! ```

mod checksum;
mod decode;
mod diff;
mod extension;
mod ipv4;
mod ipv6;
mod link;
pub mod quic;
mod transport;

pub use checksum::{Checksum, internet_checksum};
pub use decode::{Field, decode, faults};
pub use diff::difference;
pub use extension::Extension;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use link::{Arp, Frame, Mac, Network};
pub use transport::{Icmp, Tcp, TcpFlags, Transport, Udp};
