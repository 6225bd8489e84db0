//! Cases as they are where both sides are VLANs of one or two tags: what is true of a packet is true of it behind tags.

use std::collections::BTreeSet;

use lb_common::wire::Tags;

use super::people::{vlan, vlan_in};
use super::{Case, Step};
use crate::datapath::world::{Side, World};
use crate::fixture::{Fixture, Output};

/// The priority of each frame's tags, which it keeps.
const PRIORITY: u16 = 0x7000;

/// The first of these cases for each verdict and EtherType, behind one tag and behind two.
pub(super) fn representatives(cases: &[Case]) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    let new = |case: &&Case| {
        let kinds =
            frames(case).map(|(_, fixture)| (fixture.verdict.clone(), ether_type(&fixture.input).to_vec()));
        // Of all its frames, not only up to the first that is new.
        kinds.filter(|kind| seen.insert(kind.clone())).count() > 0
    };
    cases.iter().filter(|case| can_be(case)).filter(new).flat_map(both).collect()
}

/// All of them, behind one tag and behind two, apart from those that cannot be.
#[must_use]
pub fn every(cases: &[Case]) -> Vec<Case> {
    cases.iter().filter(|case| can_be(case)).flat_map(both).collect()
}

/// Not what has tags already, nor what goes by the kernel's routing, which knows the VLANs of real devices alone.
fn can_be(case: &Case) -> bool {
    let routed = |step: &Step| matches!(step, Step::Change(world) if !world.routes.is_empty());
    let tagged = |(_, fixture): (_, &Fixture)| matches!(ether_type(&fixture.input), [0x81, 0] | [0x88, 0xa8]);
    case.world.vlans.is_empty()
        && case.world.routes.is_empty()
        && !case.steps.iter().any(routed)
        && !frames(case).any(tagged)
}

fn frames(case: &Case) -> impl Iterator<Item = (Side, &Fixture)> {
    case.steps.iter().filter_map(|step| match step {
        Step::Frame(side, fixture) => Some((*side, fixture)),
        _ => None,
    })
}

fn ether_type(frame: &[u8]) -> &[u8] {
    &frame[12..14]
}

fn both(case: &Case) -> [Case; 2] {
    [
        behind(case, "behind one VLAN tag", |side| vlan(10 + side as u16)),
        behind(case, "behind two VLAN tags", |side| vlan_in(100 + side as u16, 10 + side as u16)),
    ]
}

fn behind(case: &Case, what: &str, tags: fn(Side) -> Tags) -> Case {
    let world = |world: &World| {
        let vlans = Side::BOTH.map(|side| (side, tags(side))).to_vec();
        World { vlans, ..world.clone() }.with(|world| {
            for (_, server) in &mut world.servers {
                server.tags = server.next_hop.map_or(Tags::NONE, |hop| tags(hop.side));
            }
        })
    };
    let step = |step: &Step| match step {
        Step::Frame(side, fixture) => {
            let other = if *side == Side::Front { Side::Back } else { Side::Front };
            let output = match &fixture.output {
                Output::Back(frame) => Output::Back(put_on(frame, tags(*side), PRIORITY)),
                Output::Through(frame) => Output::Through(put_on(frame, tags(other), PRIORITY)),
                rest => rest.clone(),
            };
            Step::Frame(
                *side,
                Fixture { input: put_on(&fixture.input, tags(*side), PRIORITY), output, ..fixture.clone() },
            )
        }
        Step::Change(changed) => Step::Change(world(changed)),
        Step::Pass(ticks) => Step::Pass(*ticks),
    };
    // Made once, for names of cases live for ever.
    let name = format!("{}, {what}", case.name).leak();
    Case { name, world: world(&case.world), steps: case.steps.iter().map(step).collect() }
}

/// The frame with these tags of this priority before its EtherType.
pub(super) fn put_on(frame: &[u8], tags: Tags, priority: u16) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for tag in [tags.outer(), tags.inner()].into_iter().filter(|tag| !tag.is_none()) {
        tagged.extend(tag.ethertype().to_ne_bytes());
        tagged.extend((tag.id() | priority).to_be_bytes());
    }
    tagged.extend(&frame[12..]);
    tagged
}
