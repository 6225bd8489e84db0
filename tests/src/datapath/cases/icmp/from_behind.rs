//! Errors about what a client sent to a NAT server, from there or from a router on the way.

use super::super::Case;
use super::super::people::*;
use super::{People, V4, V6, about, cut_off, from_router_behind, ip, quoted};
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Dropped, Passed, Through};
use crate::packet::{Icmp, Ipv4, Udp};

pub(super) fn cases(people: &People) -> Vec<Case> {
    let &People { client, vip, other_vip, rs1, rs2, router, director, .. } = people;
    let (syn_in, syn_out) = people.opening();
    let query = |port| Udp::new(PORT, port, *b"who are you?");
    let carried = quoted(client, rs1, data(8080));
    let meant = quoted(client, vip, data(80));
    let error = |packet: &[u8]| people.unreachable(packet);
    let from_rs1 = |icmp: Icmp| from_server(ip(rs1, client, 64, icmp));
    let from_vip = |icmp: Icmp| at_client(ip(vip, client, 63, icmp));
    let opened =
        |name| people.case(name, people.web()).front(&syn_in, "forwarded_nat", Through(syn_out.clone()));
    let routed = |world: World| {
        world.with(|world| world.route(client, Hop { side: Side::Front, mac: mac_of(client) }))
    };

    let mut each =
        opened("each error of a server reaches the client as the VIP's, translated also in the quote");
    let mut routers = opened("an error of a router behind reaches the client from the router, about the VIP");
    for kind in people.errors() {
        let (bad, good) = (about(&kind, &carried), about(&kind, &meant));
        each = each
            .back(&from_rs1(bad.clone()), "forwarded_icmp_reply", Through(from_vip(good.clone())))
            .counting(&[("stored", 0), ("derived_reply", 0), ("rs1.packets_out", 1), ("rs1.packets_in", 0)]);
        routers = routers.back(
            &from_router_behind(ip(router, client, 64, bad)),
            "forwarded_icmp_reply",
            Through(at_client(ip(router, client, 63, good))),
        );
    }

    let mut cut = opened("of a server's quote only the ports are needed");
    for length in 0..carried.len() {
        cut = if length < people.header() + 8 {
            cut.back(&from_rs1(error(&carried[..length])), "passed_unexplained", Passed)
        } else {
            let expected = Through(from_vip(error(&cut_off(people, &meant, &carried, length))));
            cut.back(&from_rs1(error(&carried[..length])), "forwarded_icmp_reply", expected)
        };
    }

    let mut forged = opened("an error that no client's packet caused is the server's own");
    for packet in [
        // To another server, from another client, turned round, and to another port.
        quoted(client, rs2, data(8080)),
        quoted(router, rs1, data(8080)),
        quoted(rs1, client, answer(8080)),
        quoted(client, rs1, data(22)),
        quoted(client, rs1, query(8080)),
        quoted(client, rs1, people.ping(b"abcdefgh")),
        vec![0; 60],
    ] {
        forged = forged.back(&from_rs1(error(&packet)), "passed_unexplained", Passed).back(
            &from_router_behind(ip(router, client, 64, error(&packet))),
            "passed_not_ours",
            Passed,
        );
    }
    let local = routed(people.web()).with(|world| world.local(director));
    let twins = people.web().and(Service::tcp("twin", other_vip, 443), [Server::at("twin1", rs1, 8080)]);

    vec![
        each,
        routers,
        cut,
        forged,
        people
            .case("a server without a listener tells the client of a datagram", people.dns())
            .front(
                &client_frame(ip(client, vip, 64, query(53))),
                "forwarded_nat",
                Through(at_server(rs1, ip(client, rs1, 63, query(5353)))),
            )
            .back(
                &from_rs1(error(&quoted(client, rs1, query(5353)))),
                "forwarded_icmp_reply",
                Through(from_vip(error(&quoted(client, vip, query(53))))),
            ),
        people
            .case("without an entry, a quoted segment is explained by the tables", routed(people.web()))
            .back(&from_rs1(error(&carried)), "forwarded_icmp_reply", Through(from_vip(error(&meant))))
            .counting(&[("derived_reply", 1), ("stored", 0)]),
        people
            .case("without an entry, a quoted datagram is not, unless replies are", routed(people.dns()))
            .back(&from_rs1(error(&quoted(client, rs1, query(5353)))), "passed_unexplained", Passed)
            .change(|world| world.derive_udp = true)
            .back(
                &from_rs1(error(&quoted(client, rs1, query(5353)))),
                "forwarded_icmp_reply",
                Through(from_vip(error(&quoted(client, vip, query(53))))),
            ),
        people
            .case("of two services that share a server, the entry says whose packet it was", twins)
            .front(
                &client_frame(ip(client, other_vip, 64, syn(443))),
                "forwarded_nat",
                Through(syn_out.clone()),
            )
            .back(
                &from_rs1(error(&carried)),
                "forwarded_icmp_reply",
                Through(at_client(ip(other_vip, client, 63, error(&quoted(client, other_vip, data(443)))))),
            ),
        people.case("an error about a health check is the director's", local).back(
            &from_server(ip(rs1, director, 64, error(&quoted(director, rs1, data(8080))))),
            "passed_unexplained",
            Passed,
        ),
        people.case("without a way to the client the error is dropped by name", people.web()).back(
            &from_rs1(error(&carried)),
            "dropped_no_next_hop",
            Dropped,
        ),
        opened("an error with its last hop is dropped by name").back(
            &from_server(ip(rs1, client, 1, error(&carried))),
            "dropped_ttl",
            Dropped,
        ),
    ]
}

/// What IPv6 does not have.
pub(super) fn cases_of_ipv4() -> Vec<Case> {
    let people = &V4;
    let (syn_in, syn_out) = people.opening();
    let fragment = Ipv4::new(RS1, CLIENT, people.unreachable(&quoted(people.client, people.rs1, data(8080))));
    vec![
        people
            .case("a fragment of an error is the server's own", people.web())
            .front(&syn_in, "forwarded_nat", Through(syn_out))
            .back(&from_server(fragment.fragment(0, true)), "passed_unexplained", Passed),
    ]
}

/// What IPv4 does not have: addresses of the other family.
pub(super) fn cases_of_ipv6() -> Vec<Case> {
    let people = &V6;
    let world = V4.web().with(|world| {
        world.route(people.client, Hop { side: Side::Front, mac: mac_of(people.client) });
    });
    let quote = quoted(people.client, RS1.to_ipv6_mapped().into(), data(8080));
    vec![people.case("a quoted mapped IPv4 address is not that of a server", world).back(
        &from_router_behind(ip(people.router, people.client, 64, people.unreachable(&quote))),
        "passed_not_ours",
        Passed,
    )]
}
