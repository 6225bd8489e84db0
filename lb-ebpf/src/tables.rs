//! The questions the data path may ask. Answered by maps in the kernel, by ordinary memory in tests.

use lb_common::{
    clock::{Clock, Now},
    entry::{
        AccessKey, Affinity, Caller, EndpointKey, Incident, Interface, Load, Path, Pool, QuicKey, Server,
        Service, ServiceLimits, Settings, Sharers, Tunnel,
    },
    flow_table::{Memory, Place},
    fragments::SET_NOTES,
    identity::FlowId,
    net::{Addr, NextHop, Port, PortNumber, Tuple},
    rate,
    slot::{ServerId, Slot},
    verdict::Event,
    wire::Wire,
    word::Word,
};

use crate::{
    Outcome,
    director::Director,
    extensions::{self, Upper},
    frame::Frame,
    schedule::Choice,
    sharing::Tie,
    tags::{self, Head},
    tunnel::{self, Parcel},
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
    /// How packets get to the server with this id, if through a tunnel.
    fn tunnel(&self, id: ServerId) -> Option<&Tunnel>;
    /// A word of the table arena.
    fn ids(&self, word: u32) -> Option<u64>;
    /// Who shares this real server's address and port.
    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers>;
    /// Whether this is an address of the director itself.
    fn is_local(&self, addr: Addr) -> bool;
    /// The [`Rule`](lb_common::entry::Rule) of the longest prefix that the client is in, as a number.
    fn rule(&self, client: &AccessKey) -> Option<u32>;
    /// The number of the server that connection ids call so.
    fn quic_server(&self, key: &QuicKey) -> Option<u32>;
    /// How many connections the server with this number has, as far as it is itself counted.
    fn load(&self, number: u32) -> Option<&Load>;
    /// The next turn of this service on this CPU.
    fn next_turn(&self, service: u32) -> u64;
    /// Any number.
    fn random(&self) -> u32;
    fn affinity(&self, service: u32) -> Option<&Affinity>;
    /// What this service calls the server that another one of its group calls so.
    fn member(&self, service: u32, named: ServerId) -> Option<u32>;
    /// Whose seat is at this place.
    fn sitter(&self, place: Place) -> Option<&Caller>;
    /// [`Director::choose`](crate::director::Director::choose); likewise in a subprogram, as are those that follow.
    fn choose(&self, service: u32, tuple: &Tuple, seated: Choice) -> Choice
    where
        Self: Sized,
    {
        Director::again(self).map_or(Choice::OPEN, |director| director.choose(service, tuple, seated))
    }
    /// [`Director::merit`](crate::director::Director::merit).
    fn merit(&self, service: u32, server: u32, attempt: u64) -> u64
    where
        Self: Sized,
    {
        Director::again(self).map_or(u64::MAX, |director| director.merit(service, server, attempt))
    }
    /// [`Director::seated`](crate::director::Director::seated).
    fn seated(&self, service: u32, tuple: &Tuple) -> Choice
    where
        Self: Sized,
    {
        Director::again(self).map_or(Choice::OPEN, |director| director.seated(service, tuple))
    }
    /// [`Director::seat`](crate::director::Director::seat).
    fn seat(&self, service: u32, tuple: &Tuple, server: u32)
    where
        Self: Sized,
    {
        if let (Some(director), Some(id)) = (Director::again(self), ServerId::new(server as u16)) {
            director.seat(service, tuple, id);
        }
    }
    fn limits(&self, entry: u32) -> Option<&ServiceLimits>;
    fn sources(&self, set: u32) -> Option<&[Word; rate::WAYS]>;
    /// Takes one of a source's share, by its seat, interval and the machine's clock; likewise in a subprogram.
    fn take(&self, set: u32, tag: u64, interval: u64, now: u64) -> bool {
        self.sources(set).is_none_or(|set| self.draw(&set[rate::place(set, tag, now)], tag, interval, now))
    }
    /// [`rate::take`], or only whether it would be given.
    #[inline(always)]
    fn draw(&self, cell: &Word, tag: u64, interval: u64, now: u64) -> bool {
        if self.leaves_traces() {
            rate::take(cell, tag, interval, now)
        } else {
            rate::has_left(cell, tag, interval, now)
        }
    }
    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]>;
    /// A set of notes about datagrams under way.
    fn notes(&self, set: u32) -> Option<&[Word; SET_NOTES]>;
    fn interface(&self, port: PortNumber) -> Option<&Interface>;
    /// The index of the interface this frame came in through.
    fn ingress(&self) -> u32;
    /// The machine's monotonic clock, ns. Costs a helper call.
    fn monotonic_ns(&self) -> u64;
    /// Whether this packet is one of those that look at the machine's clock although they need not.
    fn is_time_to_look(&self) -> bool;
    /// Whether one more message of our own making may be sent now.
    fn may_answer(&self, now: Now) -> bool;
    /// The index of the interface with these tags on this device.
    fn vlan(&self, wire: &Wire) -> Option<u32>;
    /// The kernel's routing for a packet to this address that came by the interface with this index.
    fn route(&self, by: u32, from: &Addr, to: &Addr) -> Option<NextHop>;
    /// Of the frame at hand, bytes, with what lies beyond its first buffer. Costs a helper call.
    fn frame_length(&self) -> u64;
    /// Cuts so many bytes off the frame's end; views into it are void afterwards.
    fn trim(&self, bytes: usize);
    /// The frame with so many bytes more in front, of any content, or fewer; `None` if there is no room. Views into the
    /// frame as it was are void afterwards.
    fn moved(&self, bytes: i32) -> Option<Frame<'_>>;
    /// Where the flow's entry stands, for ways that ask about several flows: in the kernel a subprogram that is verified
    /// once, not once for each way that leads to it.
    fn locate(&self, flow: FlowId) -> Option<Place>;
    /// Whether the miss table gives this flow to this server; likewise.
    fn derives(&self, server: ServerId, flow: FlowId) -> bool;
    /// [`Director::store`](crate::director::Director::store); likewise.
    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool;
    /// [`Director::told`](crate::director::Director::told); likewise.
    fn told(&self, flow: FlowId) -> Option<Slot>
    where
        Self: Sized,
    {
        Director::again(self)?.told(flow)
    }
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
    /// Tells the agent at once that this connection has settled. The agent would find it by itself, later.
    fn announce(&self, flow: FlowId);
    /// Tells the agent that nobody here knows a way to this client.
    fn ask_the_way(&self, client: Addr);
    /// What full NAT sends from.
    fn pool(&self) -> Option<&Pool>;
    /// Whose connection is sent from the port at this place.
    fn tenant(&self, place: Place) -> Option<&Caller>;
    /// [`Director::rent`](crate::director::Director::rent); likewise in a subprogram.
    fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place>;
    /// [`tunnel::encapsulate`]; likewise.
    fn encapsulate(&self, frame: &Frame<'_>, parcel: Parcel) -> Outcome
    where
        Self: Sized,
    {
        tunnel::encapsulate(frame, self, parcel)
    }
    /// Where the caller of the connection at this place is noted.
    fn caller(&self, place: Place) -> Option<&Caller>;
    /// [`tags::read`]; likewise.
    fn head(&self, frame: &Frame<'_>) -> Head
    where
        Self: Sized,
    {
        tags::read(frame, self)
    }
    /// [`tags::dress`]; likewise.
    fn dress(&self, port: PortNumber) -> bool
    where
        Self: Sized,
    {
        tags::dress(self, port)
    }
    /// [`extensions::skip`]; likewise.
    fn behind_extensions(&self, frame: &Frame<'_>, at: u64, number: u8) -> Upper {
        extensions::skip(frame, at, number)
    }
    fn count(&self, event: Event);
    /// Something befell a service.
    fn count_incident(&self, service: u32, what: Incident);
    fn count_connection(&self, server: ServerId);
    fn count_packet(&self, server: ServerId, direction: Direction, bytes: u16);
    /// A packet was for this server, but could not be sent to it.
    fn fell_short(&self, _: ServerId) {}
    /// A packet of this server's, of so many bytes: counted if it is sent.
    #[inline(always)]
    fn book(
        &self,
        server: ServerId,
        direction: Direction,
        length: u16,
        sent: Result<Outcome, Outcome>,
    ) -> Outcome {
        match sent {
            Ok(outcome) => {
                self.count_packet(server, direction, length);
                outcome
            }
            Err(outcome) => {
                self.fell_short(server);
                outcome
            }
        }
    }
    /// Whether this run may leave anything behind: not where a packet is only explained.
    fn leaves_traces(&self) -> bool {
        true
    }
}
