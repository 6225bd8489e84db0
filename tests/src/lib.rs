//! The rig: everything the tests and the demo need around xlvs. Only [`datapath`] knows anything of xlvs itself.
//!
//! | to | use |
//! | --- | --- |
//! | build a client, a director and real servers out of namespaces | [`topology`], [`namespace`] |
//! | hold connections through the VIP and say what became of each | [`traffic`] |
//! | flood the VIP with frames from random sources, or send single ones | [`flood`], [`packet_socket`] |
//! | write, read and compare frames without the code under test | [`packet`], [`fixture`] |
//! | run frames through the data path, as a library and as the kernel runs it | [`datapath`] |
//! | judge a spread over weighted servers | [`chi_square`] |
//! | count what the program received, from outside its own counters | [`accounting`] |
//! | run the agent, its command line, nginx, wrk and curl | [`agent`], [`nginx`], [`wrk`], [`curl`] |
//!
//! Everything a module creates is removed when its guard is dropped, on a panic too, and by
//! [`cleanup::on_signals`] on SIGINT and SIGTERM.

pub mod accounting;
pub mod agent;
pub mod chi_square;
pub mod cleanup;
pub mod curl;
pub mod daemon;
pub mod datapath;
pub mod decapsulator;
pub mod family;
pub mod fixture;
pub mod flood;
pub mod folder;
pub mod namespace;
pub mod nginx;
pub mod offload;
pub mod packet;
pub mod packet_socket;
pub mod random;
pub mod service_text;
pub mod stub;
pub mod tools;
pub mod topology;
pub mod traffic;
pub mod wrk;
