//! Everything over IPv6. Where nothing of the family itself is at stake, the cases over IPv4 speak for both.

mod chains;
mod headers;
mod nat;
mod refusals;
mod replies;
mod strangers;

use super::Case;
use super::people::*;
use crate::packet::{Ipv6, Transport};

/// All cases over IPv6. Their names differ from all others.
#[must_use]
pub fn cases() -> Vec<Case> {
    [nat::cases(), replies::cases(), headers::cases(), chains::cases(), refusals::cases(), strangers::cases()]
        .concat()
}

/// From the client by the director to the first server.
fn at_rs1(transport: impl Into<Transport>) -> Vec<u8> {
    at_server(RS1_6, Ipv6::new(CLIENT6, RS1_6, transport).hop_limit(63))
}

/// From the first server, about to be translated.
fn from_rs1(transport: impl Into<Transport>) -> Vec<u8> {
    from_server(Ipv6::new(RS1_6, CLIENT6, transport))
}

/// From the VIP by the director to the client.
fn replied(transport: impl Into<Transport>) -> Vec<u8> {
    at_client(Ipv6::new(VIP6, CLIENT6, transport).hop_limit(63))
}
