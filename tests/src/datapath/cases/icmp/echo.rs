//! Pings of a VIP.

use super::super::Case;
use super::super::people::*;
use super::{People, V4, from_router};
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Passed};
use crate::packet::{Frame, Icmp, Ipv4};

fn reply(people: &People, body: &[u8]) -> Icmp {
    Icmp { kind: if people.client.is_ipv4() { 0 } else { 129 }, ..people.ping(body) }
}

pub(super) fn cases(people: &People) -> Vec<Case> {
    let &People { client, vip, other_vip, rs1, rs2, router, .. } = people;
    let asked = |hops| client_frame(ip(client, vip, hops, people.ping(b"abcdefgh")));
    let answered = || Back(at_client(ip(vip, client, 64, reply(people, b"abcdefgh"))));
    let silent = |case: Case| case.front(&asked(64), "passed_not_balanced", Passed);

    let mut lengths = people.case("a ping of any length is answered", people.web());
    for length in [0, 1, 7, 56, 57, 1400, 1401] {
        let body = vec![0xa5; length];
        lengths = lengths
            .front(
                &client_frame(ip(client, vip, 64, people.ping(&body))),
                "replied_echo",
                Back(at_client(ip(vip, client, 64, reply(people, &body)))),
            )
            .counting(&[("stored", 0), ("path_learned", 0), ("rs1.packets_in", 0)]);
    }
    let two = people.web().and(Service::tcp("mail", vip, 25), [Server::at("rs2", rs2, 25)]);
    let direct = World::of(Service::tcp("web", vip, 80).direct(), [Server::at("rs1", rs1, 80).in_front()]);
    vec![
        lengths,
        people
            .case("a ping is answered with hops of our own, by the way it came", people.web())
            .front(&asked(1), "replied_echo", answered())
            .front(
                &from_router(ip(client, vip, 60, people.ping(b"abcdefgh"))),
                "replied_echo",
                Back(
                    Frame::new(
                        Side::Front.mac(),
                        super::ROUTER_MAC,
                        ip(vip, client, 64, reply(people, b"abcdefgh")),
                    )
                    .bytes(),
                ),
            ),
        people
            .case("a ping through a VLAN is answered there", people.web().with_vlans(Side::Front, &[vlan(9)]))
            .front(
                &Frame::new(mac_of(router), Side::Front.mac(), ip(router, vip, 64, people.ping(b"x")))
                    .vlan(9)
                    .bytes(),
                "replied_echo",
                Back(
                    Frame::new(Side::Front.mac(), mac_of(router), ip(vip, router, 64, reply(people, b"x")))
                        .vlan(9)
                        .bytes(),
                ),
            ),
        people.case("direct routing answers pings, too", direct).front(
            &asked(64),
            "replied_echo",
            answered(),
        ),
        silent(people.case("without a usable server a ping is the kernel's", {
            people.web().with(|world| world.named("rs1").weight = 0)
        })),
        people
            .case("one service with a usable server is enough, and only while it has one", two)
            .change(|world| world.named("rs1").weight = 0)
            .front(&asked(64), "replied_echo", answered())
            .change(|world| world.named("rs2").weight = 0)
            .front(&asked(64), "passed_not_balanced", Passed),
        people
            .case("a ping from a VIP or from nobody is the kernel's", {
                people.web().and(Service::tcp("other", other_vip, 80), [Server::at("rs2", rs2, 80)])
            })
            .front(&from_router(ip(vip, vip, 64, people.ping(b"x"))), "passed_not_balanced", Passed)
            .front(&from_router(ip(other_vip, vip, 64, people.ping(b"x"))), "passed_not_balanced", Passed),
        people.case("an answer to a ping is the kernel's", people.web()).front(
            &client_frame(ip(client, vip, 64, reply(people, b"x"))),
            "passed_not_balanced",
            Passed,
        ),
        people.case("a ping that is cut short is the kernel's", people.web()).front(
            &client_frame(ip(client, vip, 64, {
                let protocol = if client.is_ipv4() { 1 } else { 58 };
                let kind = if client.is_ipv4() { 8 } else { 128 };
                crate::packet::Transport::Raw { protocol, bytes: vec![kind, 0, 0, 0, 0, 1, 0] }
            })),
            "passed_not_balanced",
            Passed,
        ),
    ]
}

/// What IPv6 does not have.
pub(super) fn cases_of_ipv4() -> Vec<Case> {
    let people = &V4;
    let ping = || people.ping(b"abcdefgh");
    vec![
        people.case("a ping with IP options is the kernel's", people.web()).front(
            &client_frame(Ipv4::new(CLIENT, VIP, ping()).options(vec![1; 4])),
            "passed_not_balanced",
            Passed,
        ),
        people.case("a ping from a loopback address is the kernel's", people.web()).front(
            &client_frame(Ipv4::new([127, 0, 0, 1], VIP, ping())),
            "passed_not_balanced",
            Passed,
        ),
    ]
}
