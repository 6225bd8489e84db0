//! What the contract and the configuration call by the same names.

use super::{ForwardMode, Listener, ListenerPort, Protocol};
use crate::config;

impl From<config::Mode> for ForwardMode {
    fn from(mode: config::Mode) -> Self {
        match mode {
            config::Mode::Nat => Self::Nat,
            config::Mode::Dr => Self::Dr,
        }
    }
}

impl From<config::Protocol> for Protocol {
    fn from(protocol: config::Protocol) -> Self {
        match protocol {
            config::Protocol::Tcp => Self::Tcp,
            config::Protocol::Udp => Self::Udp,
        }
    }
}

impl From<config::Listener> for Listener {
    fn from(listener: config::Listener) -> Self {
        let port = listener.port.fixed().map_or(ListenerPort::Any, |port| ListenerPort::Number(port.get()));
        Self { vip: listener.vip.ip(), port, protocol: listener.protocol.into() }
    }
}
