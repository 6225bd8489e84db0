//! VLAN tags that change on the way, and those that are none of ours.

use lb_common::wire::Tags;

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::{self, Back, Passed, Through};
use crate::packet::{Frame, Ipv4, Ipv6, Network, TcpFlags};

/// Priority 5 and "may be dropped", which a frame keeps whatever its VLAN.
const PRIORITY: u16 = 0xb000;

/// One server in this VLAN behind a director with these VLANs in front; none is the untagged network.
fn between(front: Tags, back: Tags) -> World {
    let server = Server::at("rs1", RS1, 8080).in_vlan(back);
    let server6 = Server::at("rs1-6", RS1_6, 8080).in_vlan(back);
    let world = World::of(Service::tcp("web", VIP, 80), [server]);
    let world = world.and(Service::tcp("web6", VIP6, 80), [server6]);
    let vlans = |tags| if tags == Tags::NONE { vec![] } else { vec![tags] };
    world.with_vlans(Side::Front, &vlans(front)).with_vlans(Side::Back, &vlans(back))
}

fn tagged(frame: Frame, tags: Tags, priority: u16) -> Vec<u8> {
    let worn = [tags.outer(), tags.inner()].into_iter().filter(|tag| !tag.is_none());
    let vlans = worn.map(|tag| (u16::from_be(tag.ethertype()), tag.id() | priority)).collect();
    Frame { vlans, ..frame }.bytes()
}

/// The same connection with a client before and a server behind such tags, of both families and both ways.
fn through(name: &'static str, front: Tags, back: Tags) -> Case {
    let from = |side, who, packet: Network| Frame::new(who, Side::mac(side), packet);
    let to = |side, who, packet: Network| Frame::new(Side::mac(side), who, packet);
    // Tags that a frame gets have the priority that it had.
    let (of_client, of_server) = (priority_of(front), priority_of(back));
    let pairs: [(Network, Network, Network, Network, _, _); 2] = [
        (
            Ipv4::new(CLIENT, VIP, syn(80)).into(),
            Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63).into(),
            Ipv4::new(RS1, CLIENT, syn_ack(8080)).into(),
            Ipv4::new(VIP, CLIENT, syn_ack(80)).ttl(63).into(),
            mac_of(CLIENT),
            mac_of(RS1),
        ),
        (
            Ipv6::new(CLIENT6, VIP6, syn(80)).into(),
            Ipv6::new(CLIENT6, RS1_6, syn(8080)).hop_limit(63).into(),
            Ipv6::new(RS1_6, CLIENT6, syn_ack(8080)).into(),
            Ipv6::new(VIP6, CLIENT6, syn_ack(80)).hop_limit(63).into(),
            mac_of(CLIENT6),
            mac_of(RS1_6),
        ),
    ];
    pairs.into_iter().fold(Case::new(name, between(front, back)), |case, it| {
        let (asked, at_server, answered, at_client, client, server) = it;
        case.front(
            &tagged(from(Side::Front, client, asked), front, of_client),
            "forwarded_nat",
            Through(tagged(to(Side::Back, server, at_server), back, of_client)),
        )
        .back(
            &tagged(from(Side::Back, server, answered), back, of_server),
            "forwarded_nat_reply",
            Through(tagged(to(Side::Front, client, at_client), front, of_server)),
        )
    })
}

fn priority_of(tags: Tags) -> u16 {
    if tags == Tags::NONE { 0 } else { PRIORITY }
}

pub(super) fn cases() -> Vec<Case> {
    let client = |packet: Ipv4| Frame::new(mac_of(CLIENT), Side::Front.mac(), packet);
    let from_client_in = |tags, packet| tagged(client(packet), tags, 0);
    let passed = |name, frame: &[u8], verdict: &str| {
        Case::new(name, between(vlan(10), vlan(20))).front(frame, verdict, Passed).counting(&[("stored", 0)])
    };
    let to_vip = || Ipv4::new(CLIENT, VIP, syn(80));
    vec![
        through("from VLAN to VLAN, the identifier changes and the priority does not", vlan(10), vlan(20)),
        through("from a network without tags into a VLAN and back", Tags::NONE, vlan(20)),
        through("from a VLAN into a network without tags and back", vlan(10), Tags::NONE),
        through("from no tag to two and back", Tags::NONE, vlan_in(200, 20)),
        through("from two tags to none and back", vlan_in(100, 10), Tags::NONE),
        through("from one tag to two and back", vlan(10), vlan_in(200, 20)),
        through("from two tags to one and back", vlan_in(100, 10), vlan(20)),
        through(
            "from two tags to two others, both kinds and priorities kept",
            vlan_in(100, 10),
            vlan_in(200, 20),
        ),
        Case::new("within a VLAN, tags stay bit for bit", {
            let server = Server::at("rs1", RS1, 80).in_front().in_vlan(vlan(10));
            World::of(Service::tcp("web", VIP, 80).direct(), [server]).with_vlans(Side::Front, &[vlan(10)])
        })
        .front(
            &tagged(client(to_vip()), vlan(10), PRIORITY),
            "forwarded_dr",
            Back(tagged(Frame::new(Side::Front.mac(), mac_of(RS1), to_vip().ttl(63)), vlan(10), PRIORITY)),
        ),
        Case::new("between VLANs of one device, the frame goes back out of it", {
            let server = Server::at("rs1", RS1, 80).in_front().in_vlan(vlan(20));
            let world = World::of(Service::tcp("web", VIP, 80).direct(), [server]);
            world.with_vlans(Side::Front, &[vlan(10), vlan(20)])
        })
        .front(
            &from_client_in(vlan(10), to_vip()),
            "forwarded_dr",
            Back(tagged(Frame::new(Side::Front.mac(), mac_of(RS1), to_vip().ttl(63)), vlan(20), 0)),
        ),
        Case::new("a client who moves to another VLAN is answered there", {
            between(vlan(10), vlan(20)).with_vlans(Side::Front, &[vlan(11)])
        })
        .front(&from_client_in(vlan(10), to_vip()), "forwarded_nat", to_server(syn(8080)))
        .counting(&[("path_learned", 1)])
        .front(
            &from_client_in(vlan(11), Ipv4::new(CLIENT, VIP, data(80))),
            "forwarded_nat",
            to_server(data(8080)),
        )
        .counting(&[("path_learned", 1)])
        .back(
            &tagged(
                Frame::new(mac_of(RS1), Side::Back.mac(), Ipv4::new(RS1, CLIENT, answer(8080))),
                vlan(20),
                0,
            ),
            "forwarded_nat_reply",
            Through(tagged(
                Frame::new(Side::Front.mac(), mac_of(CLIENT), Ipv4::new(VIP, CLIENT, answer(80)).ttl(63)),
                vlan(11),
                0,
            )),
        ),
        Case::new(
            "a tag that only tells a priority names no VLAN, and stays",
            between(Tags::NONE, Tags::NONE),
        )
        .front(
            &client(to_vip()).vlan(PRIORITY).bytes(),
            "forwarded_nat",
            Through(
                Frame::new(Side::Back.mac(), mac_of(RS1), Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63))
                    .vlan(PRIORITY)
                    .bytes(),
            ),
        ),
        Case::new("a tag that only tells a priority becomes one of a VLAN in place", {
            between(Tags::NONE, vlan(20))
        })
        .front(
            &client(to_vip()).vlan(PRIORITY).bytes(),
            "forwarded_nat",
            Through(tagged(
                Frame::new(Side::Back.mac(), mac_of(RS1), Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63)),
                vlan(20),
                PRIORITY,
            )),
        ),
        Case::new("a SYN that no server takes is refused in its VLAN", {
            between(vlan(10), vlan(20)).with(|world| world.named("rs1").weight = 0)
        })
        .front(
            &tagged(client(to_vip()), vlan(10), PRIORITY),
            "replied_reset",
            Back(tagged(
                Frame::new(Side::Front.mac(), mac_of(CLIENT), {
                    let reset = flagged(80, PORT, TcpFlags::RST | TcpFlags::ACK);
                    let reset = crate::packet::Tcp { sequence: 0, acknowledgement: 1001, window: 0, ..reset };
                    Ipv4 { dont_fragment: true, ..Ipv4::new(VIP, CLIENT, reset) }
                }),
                vlan(10),
                PRIORITY,
            )),
        ),
        passed("a VLAN that no interface has", &from_client_in(vlan(30), to_vip()), "passed_vlan"),
        passed("the servers' VLAN on the clients' side", &from_client_in(vlan(20), to_vip()), "passed_vlan"),
        passed(
            "a service tag is another VLAN than the customer tag of the same number",
            &client(to_vip()).service_vlan(10).bytes(),
            "passed_vlan",
        ),
        passed(
            "a VLAN within one of ours is another VLAN",
            &client(to_vip()).vlan(10).vlan(10).bytes(),
            "passed_vlan",
        ),
        Case::new("a VLAN that no interface has, over IPv6", between(vlan(10), vlan(20))).front(
            &tagged(
                Frame::new(mac_of(CLIENT6), Side::Front.mac(), Ipv6::new(CLIENT6, VIP6, syn(80))),
                vlan_in(100, 10),
                0,
            ),
            "passed_vlan",
            Passed,
        ),
        Case::new("a third tag is nothing that we read", between(vlan_in(100, 10), vlan(20))).front(
            &client(to_vip()).service_vlan(100).vlan(10).vlan(1).bytes(),
            "passed_not_ip",
            Passed,
        ),
        passed(
            "nothing after a first tag's first byte",
            &client(to_vip()).vlan(10).truncated(15).bytes(),
            "passed_malformed",
        ),
        passed(
            "nothing after a second tag's first byte",
            &client(to_vip()).vlan(10).vlan(10).truncated(19).bytes(),
            "passed_malformed",
        ),
    ]
}

fn to_server(segment: crate::packet::Tcp) -> Output {
    let packet = Ipv4::new(CLIENT, RS1, segment).ttl(63);
    Through(tagged(Frame::new(Side::Back.mac(), mac_of(RS1), packet), vlan(20), 0))
}
