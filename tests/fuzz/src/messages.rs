//! Anything at all as what other directors say: see `replication/hostile.rs` of the agent. Without the transport the protocol
//! needs nothing else of the agent, so nothing else is compiled.

#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../../lb-userspace/src/replication/mod.rs"]
mod replication;

fuzz_target!(|input: &[u8]| replication::hostile::run(input));
