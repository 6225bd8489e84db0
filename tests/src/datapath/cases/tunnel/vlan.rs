//! Tunnels from VLANs and into them: the tunnel's packet wears the tags of the way that it leaves by.

use lb_common::wire::Tags;

use super::super::Case;
use super::super::people::*;
use super::super::tagged::put_on;
use super::{Kind, filling};
use crate::datapath::world::{Server, Side, World};
use crate::fixture::Output::{Back, Through};

/// Which a frame keeps, whatever its VLAN.
const PRIORITY: u16 = 0xb000;

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let (one, two) = (vlan(10), vlan_in(100, 10));
    let ways = [
        ("from no VLAN into one", Tags::NONE, one),
        ("from no VLAN behind two tags", Tags::NONE, two),
        ("out of a VLAN", one, Tags::NONE),
        ("from VLAN to VLAN", one, vlan(20)),
        ("from one tag to two", one, two),
        ("out from behind two tags", two, Tags::NONE),
        ("from two tags to one", two, one),
        ("from two tags to two others", two, vlan_in(200, 20)),
    ];
    let mut cases: Vec<Case> =
        ways.map(|(what, front, back)| between(kind, what, front, back)).into_iter().collect();
    cases.push(within(kind));
    cases
}

fn tags_of(tags: Tags) -> Vec<Tags> {
    if tags == Tags::NONE { Vec::new() } else { vec![tags] }
}

/// A connection with a client before and a server behind such tags; what is too big is answered where it came from.
fn between(kind: Kind, what: &str, front: Tags, back: Tags) -> Case {
    let world = World::of(kind.service(), [Server::at("rs1", kind.server, 80).in_vlan(back)])
        .with_vlans(Side::Front, &tags_of(front))
        .with_vlans(Side::Back, &tags_of(back));
    // Tags that a frame gets have the priority that it had.
    let priority = if front == Tags::NONE { 0 } else { PRIORITY };
    let sent = |frame: &[u8]| put_on(frame, front, priority);
    let opening = kind.packet(64, syn(80));
    let room = 1500 - kind.overhead();
    let (fits, too_big) = (filling(kind, room), filling(kind, room + 1));
    Case::new(kind.name(what), world)
        .front(&sent(&opening.sent()), "forwarded_tunnel", {
            Through(put_on(&opening.arrived(), back, priority))
        })
        .front(&sent(&fits.sent()), "forwarded_tunnel", Through(put_on(&fits.arrived(), back, priority)))
        .front(&sent(&too_big.sent()), "replied_too_big", Back(sent(&too_big.answer(room))))
}

/// Client and server are in one VLAN.
fn within(kind: Kind) -> Case {
    let tags = vlan(10);
    let server = Server::at("rs1", kind.server, 80).in_front().in_vlan(tags);
    let world = World::of(kind.service(), [server]).with_vlans(Side::Front, &[tags]);
    let opening = kind.packet(64, syn(80));
    let mut expected = put_on(&opening.arrived(), tags, PRIORITY);
    expected[6..12].copy_from_slice(&Side::Front.mac());
    Case::new(kind.name("within a VLAN the frame goes back with its tag"), world).front(
        &put_on(&opening.sent(), tags, PRIORITY),
        "forwarded_tunnel",
        Back(expected),
    )
}
