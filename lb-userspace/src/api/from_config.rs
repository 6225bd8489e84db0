//! What the contract and the configuration call by the same names.

use super::{ForwardMode, Listener, ListenerPort, Protocol};
use crate::config;

impl From<config::Mode> for ForwardMode {
    fn from(mode: config::Mode) -> Self {
        match mode {
            config::Mode::Nat => Self::Nat,
            config::Mode::Dr => Self::Dr,
            config::Mode::Tunnel => Self::Tunnel,
            config::Mode::FullNat => Self::Fullnat,
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
        let (first, last) = listener.port.bounds();
        let port = match listener.port {
            config::ListenPort::Any => ListenerPort::Any,
            config::ListenPort::Fixed(_) | config::ListenPort::Range(_) => ListenerPort::Number(first),
        };
        let port_end = (last > first).then_some(last);
        Self { vip: listener.vip.ip(), port, port_end, protocol: listener.protocol.into() }
    }
}
