//! How much a service takes in a second: new connections of its own and of each source, and packets of each source.
//!
//! The clock is the machine's, so each case spends what may come at once, and is over long before there is more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Case;
use super::people::*;
use crate::datapath::world::{Limits, Server, Service, World};
use crate::fixture::Output::{self, Dropped, Through};
use crate::packet::{Ipv4, Ipv6, Network, Tcp, Transport, Udp};

const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 11);
const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x11);
/// In another /64.
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 1, 0, 0, 0, 0x11);

/// A family and a mode: who talks to whom, and what comes out.
#[derive(Clone, Copy)]
struct Way {
    v6: bool,
    direct: bool,
}

impl Way {
    const ALL: [Self; 4] = [
        Self { v6: false, direct: false },
        Self { v6: true, direct: false },
        Self { v6: false, direct: true },
        Self { v6: true, direct: true },
    ];

    fn world(self, limits: Limits) -> World {
        let vip: IpAddr = if self.v6 { VIP6.into() } else { VIP.into() };
        let server: IpAddr = if self.v6 { RS1_6.into() } else { RS1.into() };
        let web = Service::tcp("web", vip, 80).limit(limits);
        let (web, port) = if self.direct { (web.direct(), 80) } else { (web, 8080) };
        World::of(web, [Server::at("rs1", server, port)])
    }

    fn packet(self, client: IpAddr, transport: impl Into<Transport>) -> Vec<u8> {
        match client {
            IpAddr::V4(client) => client_frame(Ipv4::new(client, VIP, transport)),
            IpAddr::V6(client) => client_frame(Ipv6::new(client, VIP6, transport)),
        }
    }

    /// The same at the server; `port` is the one it is sent to.
    fn arrived(self, client: IpAddr, at: impl Fn(u16) -> Tcp) -> Output {
        let transport = at(if self.direct { 80 } else { 8080 });
        let packet: Network = match client {
            IpAddr::V4(client) => {
                Ipv4::new(client, if self.direct { VIP } else { RS1 }, transport).ttl(63).into()
            }
            IpAddr::V6(client) => {
                Ipv6::new(client, if self.direct { VIP6 } else { RS1_6 }, transport).hop_limit(63).into()
            }
        };
        let server: IpAddr = if self.v6 { RS1_6.into() } else { RS1.into() };
        Through(at_server(server, packet))
    }

    fn client(self) -> IpAddr {
        if self.v6 { CLIENT6.into() } else { CLIENT.into() }
    }

    fn neighbour(self) -> IpAddr {
        if self.v6 { FAR6.into() } else { NEIGHBOUR.into() }
    }

    /// What this client sends reaches the server.
    fn passes(self, case: Case, client: IpAddr, segment: impl Fn(u16) -> Tcp) -> Case {
        let verdict = if self.direct { "forwarded_dr" } else { "forwarded_nat" };
        case.front(&self.packet(client, segment(80)), verdict, self.arrived(client, &segment))
            .counting(&[("web.rate_source", 0), ("web.rate_service", 0)])
    }

    fn dropped(self, case: Case, client: IpAddr, segment: Tcp, verdict: &str) -> Case {
        let counter = if verdict == "dropped_rate_source" { "web.rate_source" } else { "web.rate_service" };
        let case = case.front(&self.packet(client, segment), verdict, Dropped);
        case.counting(&[(counter, 1), ("stored", 0), ("rs1.packets_in", 0)])
    }
}

/// A SYN from the client's next port.
fn another_syn(port: u16) -> Tcp {
    Tcp::syn(PORT + 1, port, 1000)
}

const ONE_OF_SERVICE: Limits =
    Limits { connections: 1, source_connections: 0, source_packets: 0, prefixes: [0, 64] };
const ONE_OF_SOURCE: Limits = Limits { connections: 0, source_connections: 1, ..ONE_OF_SERVICE };
const TWO_PACKETS: Limits = Limits { connections: 0, source_packets: 2, ..ONE_OF_SERVICE };

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let by_service = [
        "a service takes so many new connections, whoever they are from",
        "IPv6: a service takes so many new connections, whoever they are from",
        "by direct routing, a service takes so many new connections",
        "IPv6: by direct routing, a service takes so many new connections",
    ];
    let by_source = [
        "a source gets so many new connections, and its neighbour as many",
        "IPv6: a source gets so many new connections, and its neighbour as many",
        "by direct routing, a source gets so many new connections, and its neighbour as many",
        "IPv6: by direct routing, a source gets so many new connections, and its neighbour as many",
    ];
    let by_packets = [
        "a source may send so many packets, also on a stored connection",
        "IPv6: a source may send so many packets, also on a stored connection",
        "by direct routing, a source may send so many packets, also on a stored connection",
        "IPv6: by direct routing, a source may send so many packets, also on a stored connection",
    ];
    for (i, way) in Way::ALL.into_iter().enumerate() {
        let (client, neighbour) = (way.client(), way.neighbour());
        let case = way.passes(Case::new(by_service[i], way.world(ONE_OF_SERVICE)), client, syn);
        let case = way.dropped(case, neighbour, syn(80), "dropped_rate_service");
        // What is stored goes on.
        cases.push(way.passes(case, client, data));

        let case = way.passes(Case::new(by_source[i], way.world(ONE_OF_SOURCE)), client, syn);
        let case = way.dropped(case, client, another_syn(80), "dropped_rate_source");
        let case = way.passes(case, client, data);
        cases.push(way.passes(case, neighbour, syn));

        let case = way.passes(Case::new(by_packets[i], way.world(TWO_PACKETS)), client, syn);
        let case = way.passes(case, client, data);
        let case = way.dropped(case, client, data(80), "dropped_rate_source");
        cases.push(way.passes(case, neighbour, syn));
    }
    let v4 = Way::ALL[0];
    let v6 = Way::ALL[1];
    let same_network = Limits { prefixes: [24, 64], ..ONE_OF_SOURCE };
    let case = Case::new("clients of one network may be one source", v4.world(same_network));
    cases.push(v4.dropped(
        v4.passes(case, CLIENT.into(), syn),
        NEIGHBOUR.into(),
        syn(80),
        "dropped_rate_source",
    ));
    let case = Case::new("IPv6: clients of one network may be one source", v6.world(same_network));
    cases.push(v6.dropped(
        v6.passes(case, CLIENT6.into(), syn),
        NEIGHBOUR6.into(),
        syn(80),
        "dropped_rate_source",
    ));
    let both = Limits { connections: 2, source_connections: 1, ..ONE_OF_SERVICE };
    let case = Case::new("what a source is refused does not use up what the service takes", v4.world(both));
    let case = v4.dropped(
        v4.passes(case, CLIENT.into(), syn),
        CLIENT.into(),
        another_syn(80),
        "dropped_rate_source",
    );
    cases.push(v4.passes(case, NEIGHBOUR.into(), syn));
    let case = Case::new("a SYN that is sent again opens no other connection", v4.world(ONE_OF_SERVICE));
    cases.push(v4.passes(v4.passes(case, CLIENT.into(), syn), CLIENT.into(), syn));
    let case = Case::new("a packet amid a connection that nobody knows opens none", v4.world(ONE_OF_SERVICE));
    let case = v4.passes(v4.passes(case, CLIENT.into(), data), NEIGHBOUR.into(), data);
    cases.push(v4.passes(case, CLIENT.into(), another_syn));
    let udp =
        World::of(Service::tcp("web", VIP, 53).udp().limit(ONE_OF_SOURCE), [Server::at("rs1", RS1, 53)]);
    let query = |port| Udp::new(port, 53, *b"query");
    let at_rs1 = Through(at_server(RS1, Ipv4::new(CLIENT, RS1, query(PORT)).ttl(63)));
    cases.push(
        Case::new("a source gets so many new flows of datagrams", udp)
            .front(&from_client(VIP, query(PORT)), "forwarded_nat", at_rs1)
            .front(&from_client(VIP, query(PORT + 1)), "dropped_rate_source", Dropped),
    );
    cases
}
