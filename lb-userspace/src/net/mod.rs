//! The host's network as the kernel sees it: links, addresses, routes and neighbours, over rtnetlink.
//!
//! [`Netlink`] asks and changes; [`tracker`] keeps the next hop of every real server up to date. Both act in the network
//! namespace of the thread that opens them, and both must be opened within a tokio runtime.
//!
//! The data path writes the next hop's MAC address into each frame itself. Its traffic neither creates nor refreshes the
//! kernel's neighbour entries, so without the tracker they would grow old and vanish.

pub mod addresses;
mod book;
pub mod links;
mod netlink;
pub mod next_hop;
mod notices;
pub mod tracker;
mod ways_back;
pub mod wires;

pub use addresses::{Addresses, LocalAddress};
pub use links::{AttachedXdp, Link, XdpMode};
pub use netlink::{NetError, Netlink};
pub use next_hop::{NextHop, Route};
pub use tracker::{Tracker, View};
pub use ways_back::Search;
pub use wires::{NoWire, wire};

/// An Ethernet address.
pub type Mac = [u8; 6];
