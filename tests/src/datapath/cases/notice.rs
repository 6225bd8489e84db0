//! What a client is told when its packet goes no further.

use std::net::IpAddr;

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Dropped, Through};
use crate::packet::{Extension, Ipv4, Ipv6, Tcp, Transport, Udp};

pub(super) fn cases() -> Vec<Case> {
    let v4 = [CLIENT.into(), VIP.into(), RS1.into()];
    let v6 = [CLIENT6.into(), VIP6.into(), RS1_6.into()];
    let mut cases = [of("IPv4", v4), of("IPv6", v6)].concat();
    let dropped = |name, frame: Vec<u8>, world: World| {
        Case::new(name, world).front(&frame, "dropped_ttl", Dropped).counting(&[("rs1.packets_in", 0)])
    };
    let extended = Ipv6::new(CLIENT6, VIP6, syn(80)).hop_limit(1).extension(Extension::HopByHop(vec![0; 6]));
    cases.extend([
        dropped(
            "the last hop of a short packet with IP options is spent in silence: its quote would lack the ports",
            client_frame(Ipv4::new(CLIENT, VIP, syn(80)).ttl(1).options([1, 1, 1, 0])),
            one_server(),
        ),
        dropped(
            "the last hop of a short packet with extension headers is spent in silence",
            client_frame(extended),
            one_server6(),
        ),
        dropped(
            "the last hop of a first fragment is spent in silence",
            client_frame(Ipv4::new(CLIENT, VIP, data(80)).ttl(1).fragment(0, true)),
            one_server(),
        ),
    ]);
    cases
}

/// What the family makes no difference to.
fn of(family: &str, [client, vip, rs1]: [IpAddr; 3]) -> Vec<Case> {
    let case = |name: &str, world: World| Case::new(format!("{family}: {name}").leak(), world);
    let sent = |hops, transport: Transport| ip(client, vip, hops, transport);
    let web = World::of(Service::tcp("web", vip, 80), [Server::at("rs1", rs1, 8080)]);
    let direct = World::of(Service::tcp("web", vip, 80).direct(), [Server::at("rs1", rs1, 80)]);
    let dns = Service::tcp("dns", vip, 53).udp();
    let dead = |service: Service| {
        World::of(service, [Server { down: true, weight: 0, ..Server::at("rs1", rs1, 5353) }])
    };
    let one = Transport::from(Udp::new(PORT, 53, *b"x"));
    let large = Transport::from(Udp::new(PORT, 53, vec![7; 1200]));
    let at_rs1 = |transport: Transport| Through(at_server(rs1, ip(client, rs1, 63, transport)));
    let exceeded = |transport: &Transport| Notice::TIME_EXCEEDED.about(sent(1, transport.clone()));
    let unreachable = |transport: &Transport| Notice::PORT_UNREACHABLE.about(sent(64, transport.clone()));
    let tcp = |segment: Tcp| Transport::from(segment);
    let told_of = |case: Case, transport: Transport| {
        let answer = exceeded(&transport);
        case.front(&client_frame(sent(1, transport)), "replied_time_exceeded", answer)
            .counting(&[("rs1.packets_in", 0), ("rs1.bytes_in", 0)])
    };
    vec![
        told_of(
            case("the last hop of a SYN ends at the director, and the client is told", web.clone()),
            tcp(syn(80)),
        ),
        told_of(case("by direct routing, too", direct), tcp(syn(80))),
        told_of(
            case("the last hop amid a connection, too", web.clone()).front(
                &client_frame(sent(64, tcp(syn(80)))),
                "forwarded_nat",
                at_rs1(tcp(syn(8080))),
            ),
            tcp(data(80)),
        ),
        case("a packet without any hop left should never have been sent", web).front(
            &client_frame(sent(0, tcp(syn(80)))),
            "replied_time_exceeded",
            Notice::TIME_EXCEEDED.about(sent(0, tcp(syn(80)))),
        ),
        told_of(
            case("the last hop of a datagram", World::of(dns.clone(), [Server::at("rs1", rs1, 5353)])),
            large.clone(),
        ),
        case("a datagram without a server is answered: port unreachable", dead(dns.clone()))
            .front(&client_frame(sent(64, one.clone())), "replied_unreachable", unreachable(&one))
            .front(&client_frame(sent(64, large.clone())), "replied_unreachable", unreachable(&large))
            .counting(&[("stored", 0), ("rs1.connections", 0)]),
        case(
            "a datagram that loses its only server is answered",
            World::of(dns.clone(), [Server::at("rs1", rs1, 5353)]),
        )
        .front(
            &client_frame(sent(64, one.clone())),
            "forwarded_nat",
            at_rs1(Udp::new(PORT, 5353, *b"x").into()),
        )
        .change(|world| (world.named("rs1").down, world.named("rs1").weight) = (true, 0))
        .front(&client_frame(sent(64, one.clone())), "replied_unreachable", unreachable(&one)),
        case(
            "a datagram for whom only a drained server is left is answered",
            World::of(
                dns.clone(),
                [Server { drained: true, weight: 0, miss_weight: Some(1), ..Server::at("rs1", rs1, 5353) }],
            ),
        )
        .front(&client_frame(sent(64, one.clone())), "replied_unreachable", unreachable(&one)),
        case("a datagram without a server is dropped where the policy says so", dead(dns.clone().silent()))
            .front(&client_frame(sent(64, one.clone())), "dropped_no_server", Dropped),
        case("the last hop of a datagram without a server is spent on saying that", dead(dns)).front(
            &client_frame(sent(1, one.clone())),
            "replied_time_exceeded",
            exceeded(&one),
        ),
    ]
}
