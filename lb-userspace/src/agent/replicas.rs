//! What the data path is told of connections that other directors hold.
//!
//! The table lies in the maps, and the data path only reads it: a packet that has no entry of its own goes to the server that
//! stands here, and its connection is adopted. Nothing ages here; whoever told of a connection withdraws it.

use std::collections::BTreeSet;

use lb_common::clock::Now;
use lb_common::flow_table::{FlowTable, Replicas};
use lb_common::identity::FlowId;
use lb_common::slot::{Class, Geometry, ServerId, Slot};

use crate::dataplane::Maps;

/// The only writer of the table of replicas. The maps are those it was found with, always.
#[derive(Debug)]
pub struct Told {
    shape: Replicas,
    held: u64,
    no_room: u64,
}

impl Told {
    /// Takes over the table as it lies in these maps: what stands there counts as held.
    #[must_use]
    pub fn found(maps: &Maps) -> Self {
        let buckets = maps.replicas.all();
        let held = buckets.iter().flatten().filter(|word| word.load() != 0).count() as u64;
        let told = Self { shape: Replicas(Geometry::nearest(buckets.len().ilog2())), held, no_room: 0 };
        told.say_whether_any(maps);
        told
    }

    /// From now on the data path sends packets of this flow that it has not stored to this server, whatever was said before.
    /// False: no room, and nothing has changed.
    pub fn put(&mut self, maps: &Maps, flow: FlowId, server: ServerId, class: Class) -> bool {
        let table = self.table(maps);
        let is_new = table.told(flow, Now::at_tick(0)).is_none();
        if !table.put(flow, server, class, Now::at_tick(0)) {
            self.no_room += 1;
            return false;
        }
        self.held += u64::from(is_new);
        self.say_whether_any(maps);
        true
    }

    /// The data path knows nothing of this flow any more, unless it has stored it itself.
    pub fn take(&mut self, maps: &Maps, flow: FlowId) {
        self.held -= u64::from(self.table(maps).take(flow));
        self.say_whether_any(maps);
    }

    /// Whom those name that stand there.
    #[must_use]
    pub fn servers(maps: &Maps) -> BTreeSet<ServerId> {
        Self::all(maps).collect()
    }

    /// The server of each that stands there.
    pub fn all(maps: &Maps) -> impl Iterator<Item = ServerId> + '_ {
        let words = maps.replicas.all().iter().flatten().map(lb_common::word::Word::load);
        words.filter_map(|word| Slot::from_word(word)?.server())
    }

    /// Forgets those for which it does not hold.
    pub fn retain(&mut self, maps: &Maps, holds: impl Fn(FlowId) -> bool) {
        for (number, bucket) in (0..).zip(maps.replicas.all()) {
            for word in bucket {
                let flow = Slot::from_word(word.load()).map(|slot| self.shape.0.flow_of(slot, number));
                if flow.is_some_and(|flow| !holds(flow)) {
                    word.store(0);
                    self.held -= 1;
                }
            }
        }
        self.say_whether_any(maps);
    }

    /// Forgets all.
    pub fn clear(&mut self, maps: &Maps) {
        maps.settings.only().set_replicas(None);
        for word in maps.replicas.all().iter().flatten() {
            word.store(0);
        }
        self.held = 0;
    }

    /// Entries.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// How often there was no room, since this was made.
    #[must_use]
    pub const fn no_room(&self) -> u64 {
        self.no_room
    }

    const fn table<'m>(&self, maps: &'m Maps) -> FlowTable<'m, Maps, Replicas> {
        FlowTable { memory: maps, geometry: self.shape }
    }

    /// While there is nothing, nobody looks.
    fn say_whether_any(&self, maps: &Maps) {
        let settings = maps.settings.only();
        if settings.replicas().is_some() != (self.held > 0) {
            settings.set_replicas((self.held > 0).then_some(self.shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sizes;
    use crate::config;

    fn maps() -> Maps {
        let text = "[[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\nhealth = { kind = \"none\" }\n\
                    [[service.server]]\nname = \"rs1\"\naddress = \"198.51.100.1\"\n";
        let model = config::load_str("t.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        Maps::own(&sizes::of(&model)).expect("memory")
    }

    fn flow(number: u64) -> FlowId {
        FlowId::from_bits(lb_common::identity::mix(number))
    }

    fn server(number: u16) -> ServerId {
        ServerId::new(number).expect("not 0")
    }

    /// What the data path finds.
    fn seen(maps: &Maps, flow: FlowId) -> Option<(ServerId, Class)> {
        let table = FlowTable { memory: maps, geometry: maps.settings.only().replicas()? };
        let slot = table.told(flow, Now::at_tick(5_000))?;
        Some((slot.server()?, slot.class()))
    }

    #[test]
    fn the_data_path_sees_the_last_that_was_said() {
        let maps = maps();
        let mut told = Told::found(&maps);
        assert_eq!((told.held(), maps.settings.only().replicas().is_some()), (0, false));
        assert!(told.put(&maps, flow(1), server(3), Class::Established));
        assert!(told.put(&maps, flow(1), server(4), Class::Closing));
        assert!(told.put(&maps, flow(2), server(5), Class::HalfClosed));
        assert_eq!(told.held(), 2);
        assert_eq!(seen(&maps, flow(1)), Some((server(4), Class::Closing)));
        assert_eq!(seen(&maps, flow(2)), Some((server(5), Class::HalfClosed)));
        assert_eq!(seen(&maps, flow(3)), None);

        // The next agent finds it so, also if the last one died before it could say that there is something.
        maps.settings.only().set_replicas(None);
        let mut told = Told::found(&maps);
        assert_eq!((told.held(), seen(&maps, flow(1))), (2, Some((server(4), Class::Closing))));

        told.take(&maps, flow(1));
        told.take(&maps, flow(1));
        assert_eq!((told.held(), seen(&maps, flow(1))), (1, None));
        assert!(maps.settings.only().replicas().is_some());
        told.take(&maps, flow(2));
        assert_eq!((told.held(), maps.settings.only().replicas().is_some()), (0, false));
    }

    #[test]
    fn beyond_its_room_it_refuses_and_counts() {
        let maps = maps();
        let mut told = Told::found(&maps);
        let more = maps.replicas.all().len() as u64 * 10;
        let put =
            (0..more).filter(|number| told.put(&maps, flow(*number), server(1), Class::Established)).count();
        assert_eq!((told.held(), told.no_room()), (put as u64, more - put as u64));
        assert!(told.no_room() > 0);
        told.clear(&maps);
        assert_eq!((told.held(), maps.settings.only().replicas().is_some()), (0, false));
        assert!(maps.replicas.all().iter().flatten().all(|word| word.load() == 0));
    }
}
