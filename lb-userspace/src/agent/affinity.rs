//! Who comes back to which server, in the maps: by whose terms, what services of a group call each other's servers, and the
//! seats themselves, of which the data path takes care and the agent clears what is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail};
use lb_common::clock::Now;
use lb_common::entry::{Affinity, Service, Terms, member_key};
use lb_common::flow_table::Place;
use lb_common::net::Tuple;
use lb_common::slot::{Class, Geometry, ServerId, Slot};
use lb_common::word::Word;

use super::desired::{DesiredAffinity, DesiredService};
use super::install::Installation;
use super::ledger::{Ledger, Numbered};
use super::limits::mask;
use crate::dataplane::Maps;

/// A seat that is taken.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'m> {
    pub cell: &'m Word,
    pub slot: Slot,
    /// A service of its group, by its number; `None`: none goes by it any more, or its source was not noted.
    pub service: Option<u16>,
    pub source: Tuple,
}

impl Installation {
    /// Whether there is room for what services of a group call each other's servers.
    ///
    /// # Errors
    /// If not, with the remedy.
    pub(super) fn plan_members(
        &self,
        wanted: &[DesiredService],
        numbered: &[Numbered],
        ledger: &Ledger,
    ) -> Result<()> {
        let (needed, room) = (members(wanted, numbered, ledger).len(), self.maps.members.room() as usize);
        if needed > room {
            bail!(
                "affinity needs {needed} pairs of listeners and servers of one group, the maps have room for {room}; raise \
                 [datapath] server_slots, then 'xlvs down' and 'xlvs up'"
            );
        }
        Ok(())
    }

    /// Before services go by it.
    pub(super) fn write_affinities(
        &mut self,
        wanted: &[DesiredService],
        numbered: &[Numbered],
    ) -> Result<()> {
        let bits = Geometry::nearest(self.maps.seats.all().len().ilog2()).bucket_bits();
        let all = || wanted.iter().filter_map(|lane| lane.affinity.as_ref());
        let longest = |coarse: bool| {
            all()
                .filter(|one| one.terms.coarse == coarse)
                .map(|one| u64::from(one.terms.ticks))
                .max()
                .unwrap_or(127)
        };
        let longest = longest(false) | longest(true) << 8;
        for (lane, numbers) in wanted.iter().zip(numbered) {
            let (Some(affinity), Some(entry)) =
                (&lane.affinity, self.maps.affinities.get(u32::from(numbers.service)))
            else {
                continue;
            };
            write(entry, affinity, bits, longest);
        }
        self.write_members(wanted, numbered)
    }

    fn write_members(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) -> Result<()> {
        let members = members(wanted, numbered, &self.ledger);
        let held: BTreeMap<u64, u32> = self.maps.members.entries().into_iter().collect();
        for key in held.keys().filter(|key| !members.contains_key(key)) {
            self.maps.members.remove(key).context("removing what a service called a server")?;
        }
        for (key, id) in members.iter().filter(|(key, id)| held.get(key) != Some(id)) {
            self.maps.members.insert(key, *id).context("entering what a service calls a server")?;
        }
        Ok(())
    }

    /// Nobody calls these servers anything any more.
    pub(super) fn forget_members(&mut self, is_gone: impl Fn(ServerId) -> bool) -> Result<()> {
        let held: Vec<(u64, u32)> = self.maps.members.entries().into_iter().collect();
        let gone = |number: u64| ServerId::new(number as u16).is_some_and(&is_gone);
        for (key, _) in held.iter().filter(|(key, id)| gone(*key) || gone(u64::from(*id))) {
            self.maps.members.remove(key).context("removing what a service called a server")?;
        }
        Ok(())
    }
}

fn write(entry: &Affinity, affinity: &DesiredAffinity, bucket_bits: u32, longest: u64) {
    entry.mask_v4.store(mask(96 + affinity.prefix_v4));
    entry.mask_v6.store(mask(affinity.prefix_v6));
    entry.group.store(affinity.group_hash);
    entry.bucket_bits.store(u64::from(bucket_bits));
    entry.longest.store(longest);
    entry.terms.store(affinity.terms.to_word());
}

/// What each lane of a group calls a server that another lane of the group, or one that it had, calls otherwise.
fn members(wanted: &[DesiredService], numbered: &[Numbered], ledger: &Ledger) -> HashMap<u64, u32> {
    let earlier = ledger.earlier();
    // A server of a group is its name, and has addresses of one or both families.
    let mut called: HashMap<(u64, &str), BTreeSet<ServerId>> = HashMap::new();
    let each = || {
        wanted
            .iter()
            .zip(numbered)
            .filter_map(|(lane, numbers)| Some((lane, numbers, lane.affinity.as_ref()?.group_hash)))
    };
    for (lane, numbers, group) in each() {
        for (server, id) in lane.servers.iter().zip(&numbers.servers) {
            let ids = called.entry((group, &server.name)).or_default();
            ids.insert(*id);
            ids.extend(earlier.of(server));
        }
    }
    let mut members = HashMap::new();
    for (lane, numbers, group) in each() {
        for (server, id) in lane.servers.iter().zip(&numbers.servers) {
            let others =
                called.get(&(group, &*server.name)).into_iter().flatten().filter(|other| *other != id);
            members.extend(others.map(|other| (member_key(numbers.service, *other), id.index())));
        }
    }
    members
}

/// Every seat that is taken.
pub fn seats(maps: &Maps) -> impl Iterator<Item = Seat<'_>> {
    let groups = groups(maps);
    let settings = maps.settings.only();
    let geometry = Geometry::nearest(maps.seats.all().len().ilog2());
    (0..)
        .zip(maps.seats.all())
        .flat_map(|(bucket, cells)| {
            (0..).zip(cells).map(move |(index, cell)| (Place { bucket, index }, cell))
        })
        .filter_map(move |(place, cell)| {
            let slot = Slot::from_word(cell.load())?;
            let noted = maps
                .sitters
                .get(place.number())?
                .tuple(lb_common::net::Addr::v4([0; 4]), lb_common::net::Protocol::Udp);
            let low = u32::from(noted.client_port.raw()) | u32::from(noted.vip_port.raw()) << 16;
            let of_group = |(group, _): &&(u64, u16)| {
                *group as u32 == low
                    && settings.flow_id(&Affinity::key(noted.client, *group))
                        == geometry.flow_of(slot, place.bucket)
            };
            let service = groups.iter().find(of_group).map(|(_, number)| *number);
            Some(Seat { cell, slot, service, source: noted })
        })
}

/// The groups that services go by, and one service of each.
fn groups(maps: &Maps) -> Vec<(u64, u16)> {
    let mut groups = BTreeMap::new();
    for (number, service) in (0..).zip(maps.services.all()) {
        let goes_by_it = service.flags.load() & Service::IN_USE != 0
            && service.scheduling().has(lb_common::entry::Scheduling::AFFINITY);
        if let Some(affinity) = maps.affinities.get(u32::from(number)).filter(|_| goes_by_it) {
            groups.entry(affinity.group.load()).or_insert(number);
        }
    }
    groups.into_iter().collect()
}

impl Seat<'_> {
    /// The terms of its group.
    #[must_use]
    pub fn terms(&self, maps: &Maps) -> Option<Terms> {
        Some(Terms::from_word(maps.affinities.get(u32::from(self.service?))?.terms.load()))
    }

    /// Whether nobody can come back to it any more. One that is being taken at this moment may not have been noted yet.
    #[must_use]
    pub fn is_over(&self, maps: &Maps, now: Now) -> bool {
        match self.terms(maps) {
            Some(terms) => terms.are_over(self.slot, now),
            None => self.slot.class() == Class::New && self.slot.idle(now) > 2 || self.slot.idle(now) > 0,
        }
    }

    /// Takes it from its source.
    #[must_use]
    pub fn clear(&self) -> bool {
        self.cell.replace(self.slot.word(), 0)
    }
}

/// Clears the seats that are over; says which servers the others name.
pub fn sweep(maps: &Maps) -> BTreeSet<ServerId> {
    let now = maps.clock.only().now();
    seats(maps)
        .filter(|seat| !seat.is_over(maps, now) || !seat.clear())
        .filter_map(|seat| seat.slot.server())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::desired;
    use crate::agent::eligible::Circumstances;
    use crate::agent::standing::Standings;
    use crate::config;

    const TEXT: &str = r#"
        [[service]]
        name = "http"
        vip = ["192.0.2.1", "2001:db8::1"]
        port = 80
        affinity = { by = "source", group = "shop", timeout = "60s" }
        health = { kind = "none" }
        [[service.server]]
        name = "rs1"
        address = ["198.51.100.1", "2001:db8:2::1"]
        [[service.server]]
        name = "rs2"
        address = "198.51.100.2"
        [[service]]
        name = "https"
        vip = ["192.0.2.1", "2001:db8::1"]
        port = 443
        affinity = { by = "source", group = "shop", timeout = "60s" }
        health = { kind = "none" }
        [[service.server]]
        name = "rs1"
        address = ["198.51.100.1", "2001:db8:2::1"]
        [[service.server]]
        name = "rs2"
        address = "198.51.100.2"
        [[service]]
        name = "alone"
        vip = "192.0.2.1"
        port = 22
        affinity = { by = "source", timeout = "30m" }
        health = { kind = "none" }
        [[service.server]]
        name = "rs1"
        address = "198.51.100.1"
    "#;

    fn wanted(text: &str) -> Vec<DesiredService> {
        let model = config::load_str("t.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        desired::services(&model, &Standings::new(), &Circumstances::default())
    }

    #[test]
    fn each_lane_of_a_group_knows_what_the_others_call_its_servers() {
        let wanted = wanted(TEXT);
        let mut ledger = Ledger::empty(8, 16);
        let numbered = ledger.assign(&wanted).unwrap();
        let members = members(&wanted, &numbered, &ledger);
        let id = |lane: usize, server: usize| numbered[lane].servers[server];
        let lane = |name: &str, ipv4: bool| {
            wanted
                .iter()
                .position(|it| &*it.name == name && it.identity.vip.as_v4().is_some() == ipv4)
                .unwrap()
        };
        let (http, https, https6) = (lane("http", true), lane("https", true), lane("https", false));
        let called =
            |by: usize, named: ServerId| members.get(&member_key(numbered[by].service, named)).copied();
        assert_eq!(called(https, id(http, 1)), Some(id(https, 1).index()));
        assert_eq!(called(https6, id(http, 0)), Some(id(https6, 0).index()));
        assert_eq!(called(https6, id(http, 1)), None, "rs2 has no IPv6 address");
        assert_eq!(called(lane("alone", true), id(http, 0)), None, "a group to itself");
        // rs1 in four lanes and rs2 in two, each for each other one.
        assert_eq!(members.len(), 4 * 3 + 2);
    }

    #[test]
    fn a_server_of_a_lane_that_is_gone_is_still_called_by_its_number() {
        let before = wanted(TEXT);
        let mut ledger = Ledger::empty(8, 16);
        let old = ledger.assign(&before).unwrap();
        let after = wanted(&TEXT.replace("port = 443", "port = 8443"));
        let numbered = ledger.assign(&after).unwrap();
        let members = members(&after, &numbered, &ledger);
        let gone = before
            .iter()
            .position(|lane| &*lane.name == "https" && lane.identity.vip.as_v4().is_some())
            .unwrap();
        let new = after
            .iter()
            .position(|lane| &*lane.name == "https" && lane.identity.vip.as_v4().is_some())
            .unwrap();
        assert_eq!(
            members.get(&member_key(numbered[new].service, old[gone].servers[0])),
            Some(&numbered[new].servers[0].index())
        );
    }

    #[test]
    fn times_are_in_fine_ticks_as_long_as_an_age_can_tell_them() {
        let terms = |lane: &DesiredService| lane.affinity.as_ref().unwrap().terms;
        let all = wanted(TEXT);
        let (short, long) = (terms(&all[0]), terms(all.last().unwrap()));
        assert_eq!((short.coarse, short.ticks), (false, 56), "60 s of 1.07 s");
        assert_eq!((long.coarse, long.ticks), (true, 27), "30 min of 68.7 s");
        let group = |lane: &DesiredService| lane.affinity.as_ref().unwrap().group_hash;
        assert!(all.iter().filter(|lane| &*lane.name != "alone").all(|lane| group(lane) == group(&all[0])));
        assert_ne!(group(&all[0]), group(all.last().unwrap()));
    }
}
