//! The rig: everything the tests and the demo need around xlvs. Only [`datapath`] and [`fuzzing`] know
//! anything of xlvs itself.
//!
//! | to | use |
//! | --- | --- |
//! | build a client, a director and real servers out of namespaces | [`topology`], [`namespace`] |
//! | unwrap what comes by tunnels, by the kernel's devices or where it has none | [`kernel_tunnel`], [`decapsulator`] |
//! | hold connections through the VIP and say what became of each | [`traffic`] |
//! | flood the VIP with frames from random sources, or send single ones | [`flood`], [`packet_socket`] |
//! | write, read and compare frames without the code under test | [`packet`], [`fixture`] |
//! | run frames through the data path, as a library and as the kernel runs it | [`datapath`] |
//! | say of each frame what may be done with it | [`oracle`] |
//! | put any bytes at all through the data path | [`fuzzing`] |
//! | judge a spread over weighted servers | [`chi_square`] |
//! | count what the program received, from outside its own counters | [`accounting`] |
//! | run the agent, its command line, nginx, wrk and curl | [`agent`], [`nginx`], [`wrk`], [`curl`] |
//!
//! Everything a module creates is removed when its guard is dropped, on a panic too, and by
//! [`cleanup::on_signals`] on SIGINT and SIGTERM.

#[cfg(feature = "rig")]
pub mod accounting;
#[cfg(feature = "rig")]
pub mod agent;
pub mod chi_square;
#[cfg(feature = "rig")]
pub mod cleanup;
#[cfg(feature = "rig")]
pub mod curl;
#[cfg(feature = "rig")]
pub mod daemon;
pub mod datapath;
#[cfg(feature = "rig")]
pub mod decapsulator;
pub mod family;
pub mod fixture;
#[cfg(feature = "rig")]
pub mod flood;
#[cfg(feature = "rig")]
pub mod folder;
pub mod fuzzing;
#[cfg(feature = "rig")]
pub mod kernel_tunnel;
#[cfg(feature = "rig")]
pub mod namespace;
#[cfg(feature = "rig")]
pub mod nginx;
#[cfg(feature = "rig")]
pub mod offload;
pub mod oracle;
pub mod packet;
#[cfg(feature = "rig")]
pub mod packet_socket;
pub mod random;
#[cfg(feature = "rig")]
pub mod service_text;
#[cfg(feature = "rig")]
pub mod stopwatch;
#[cfg(feature = "rig")]
pub mod stub;
#[cfg(feature = "rig")]
pub mod tools;
#[cfg(feature = "rig")]
pub mod topology;
#[cfg(feature = "rig")]
pub mod traffic;
#[cfg(feature = "rig")]
pub mod wrk;
