//! The questions the data path may ask. Answered by maps in the kernel, by ordinary memory in tests.

use lb_common::{
    clock::Clock,
    entry::{Caller, EndpointKey, Interface, Path, Server, Service, Settings, Sharers},
    flow_table::{Memory, Place},
    identity::FlowId,
    net::{Addr, NextHop, Port, PortNumber, Tuple},
    slot::ServerId,
    verdict::Event,
};

use crate::{
    director::Director,
    extensions::{self, Upper},
    frame::Frame,
    sharing::Tie,
};

/// Which way a packet went, seen from the VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    In,
    Out,
}

pub trait Tables: Memory {
    fn settings(&self) -> Option<&Settings>;
    fn clock(&self) -> Option<&Clock>;
    /// A word of the gate; 0 beyond its end.
    fn gate(&self, word: u32) -> u64;
    /// The number of the service that listens here.
    fn listener(&self, key: &EndpointKey) -> Option<u32>;
    fn service(&self, number: u32) -> Option<&Service>;
    fn server(&self, id: ServerId) -> Option<&Server>;
    /// A word of the table arena.
    fn ids(&self, word: u32) -> Option<u64>;
    /// Who shares this real server's address and port.
    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers>;
    /// Whether this is an address of the director itself.
    fn is_local(&self, addr: Addr) -> bool;
    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]>;
    fn interface(&self, port: PortNumber) -> Option<&Interface>;
    /// The index of the interface this frame came in through.
    fn ingress(&self) -> u32;
    /// The machine's monotonic clock, ns. Costs a helper call.
    fn monotonic_ns(&self) -> u64;
    /// Whether this packet is one of those that look at the machine's clock although they need not.
    fn is_time_to_look(&self) -> bool;
    /// The kernel's routing for a packet to this address.
    fn route(&self, from: Addr, to: Addr) -> Option<NextHop>;
    /// Cuts so many bytes off the frame's end; views into it are void afterwards.
    fn trim(&self, bytes: usize);
    /// Where the flow's entry stands, for ways that ask about several flows: in the kernel a subprogram that is verified
    /// once, not once for each way that leads to it.
    fn locate(&self, flow: FlowId) -> Option<Place>;
    /// Whether the miss table gives this flow to this server; likewise.
    fn derives(&self, server: ServerId, flow: FlowId) -> bool;
    /// [`Director::store`](crate::director::Director::store); likewise.
    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool;
    /// [`Director::tie`](crate::director::Director::tie); likewise.
    fn tie(&self, server: ServerId, client: &Tuple, hit: Port) -> Tie
    where
        Self: Sized,
    {
        Director::again(self).map_or(Tie::NONE, |director| director.tie(server, client, hit))
    }
    /// [`Director::collides`](crate::director::Director::collides); likewise.
    fn collides(&self, server: ServerId, tuple: &Tuple) -> bool
    where
        Self: Sized,
    {
        Director::again(self).is_some_and(|director| director.collides(server, tuple))
    }
    /// Where the caller of the connection at this place is noted.
    fn caller(&self, place: Place) -> Option<&Caller>;
    /// [`extensions::skip`]; likewise.
    fn behind_extensions(&self, frame: &Frame<'_>, at: u64, number: u8) -> Upper {
        extensions::skip(frame, at, number)
    }
    fn count(&self, event: Event);
    fn count_connection(&self, server: ServerId);
    fn count_packet(&self, server: ServerId, direction: Direction, bytes: u16);
    /// A packet was for this server, but could not be sent to it.
    fn fell_short(&self, _: ServerId) {}
    /// Whether this run may leave anything behind: not where a packet is only explained.
    fn leaves_traces(&self) -> bool {
        true
    }
}
