//! Whose connection stands in a slot, for people.

use super::SharedAddr;
use crate::{
    net::{Addr, Port, Protocol, Tuple},
    word::Word,
};

/// Entry of `addresses`, one for each slot of `flows`: whose connection stands there. Written when a connection is stored
/// and read by people alone. Several words, so it is believed only if its tuple hashes to the slot's identity.
#[repr(C)]
#[derive(Debug)]
pub struct Caller {
    client: SharedAddr,
    ports: Word,
}

impl Caller {
    #[inline(always)]
    pub fn note(&self, tuple: &Tuple) {
        self.client.store(tuple.client);
        self.ports.store(u64::from(tuple.client_port.raw()) | u64::from(tuple.vip_port.raw()) << 16);
    }

    /// The tuple of a connection to this VIP, if the caller noted last is the slot's.
    #[must_use]
    #[inline(always)]
    pub fn tuple(&self, vip: Addr, protocol: Protocol) -> Tuple {
        let ports = self.ports.load();
        Tuple {
            client: self.client.load(),
            vip,
            client_port: Port::from_raw(ports as u16),
            vip_port: Port::from_raw((ports >> 16) as u16),
            protocol,
        }
    }
}
