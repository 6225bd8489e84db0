//! Everything that lies in the maps, to be compared.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::Result;
use lb_common::entry::Sharers;
use lb_common::verdict::{EVENT_LIMIT, VERDICT_LIMIT};
use lb_common::word::Word;

use super::Program;
use super::keyed::HashMaps;
use crate::datapath::maps::{SERVERS, SERVICES};

impl Program {
    /// Everything that lies in the maps, by name. What was announced is taken out by it: how many there were is here.
    pub fn dump(&self) -> Result<BTreeMap<&'static str, Vec<u64>>> {
        let words = |words: &[Word]| words.iter().map(Word::load).collect::<Vec<u64>>();
        let arrays = &self.arrays;
        let mut dump = BTreeMap::from([
            ("SETTINGS", words(arrays.settings.words())),
            ("CLOCK", words(arrays.clock.words())),
            ("GATE", words(arrays.gate.words())),
            ("FLOWS", words(arrays.flows.words())),
            ("ADDRESSES", words(arrays.addresses.words())),
            ("SERVICES", words(arrays.services.words())),
            ("SERVERS", words(arrays.servers.words())),
            ("TUNNELS", words(arrays.tunnels.words())),
            ("POOL", words(arrays.pool.words())),
            ("LEASES", words(arrays.leases.words())),
            ("TENANTS", words(arrays.tenants.words())),
            ("LOADS", words(arrays.loads.words())),
            ("AFFINITIES", words(arrays.affinities.words())),
            ("SEATS", words(arrays.seats.words())),
            ("REPLICAS", words(arrays.replicas.words())),
            ("SITTERS", words(arrays.sitters.words())),
            ("TABLES", words(arrays.tables.words())),
            ("LIMITS", words(arrays.limits.words())),
            ("SOURCES", words(arrays.sources.words())),
            ("PATHS", words(arrays.paths.words())),
            ("FRAGMENTS", words(arrays.fragments.words())),
            ("INTERFACES", words(arrays.interfaces.words())),
        ]);
        // Of every CPU, with the numbers that nothing has yet.
        let mut verdicts = Vec::new();
        for number in 0..VERDICT_LIMIT {
            let cpus = self.verdicts.get(&number, 0)?;
            verdicts.extend(cpus.iter().flat_map(|tally| [tally.packets, tally.bytes]));
        }
        let mut events = Vec::new();
        for number in 0..EVENT_LIMIT {
            events.extend(self.events.get(&number, 0)?.iter());
        }
        let mut counters = Vec::new();
        for id in 0..SERVERS {
            counters.extend(self.counters.get(&id, 0)?.iter().flat_map(|counters| counters.to_array()));
        }
        let mut incidents = Vec::new();
        for number in 0..SERVICES {
            incidents
                .extend(self.incidents.get(&number, 0)?.iter().flat_map(|incidents| incidents.to_array()));
        }
        let mut turns = Vec::new();
        for number in 0..SERVICES {
            turns.extend(self.turns.get(&number, 0)?.iter());
        }
        dump.extend([
            ("TURNS", turns),
            ("VERDICTS", verdicts),
            ("EVENTS", events),
            ("SERVER_COUNTERS", counters),
            ("INCIDENTS", incidents),
            ("SETTLED", vec![self.settled()?.len() as u64]),
            ("UNREACHED", vec![self.unreached()?.len() as u64]),
            ("PULSE", self.pulse.get(&0, 0)?.iter().flatten().copied().collect()),
        ]);
        dump.extend(self.keyed.dump()?);
        Ok(dump)
    }
}

impl HashMaps {
    /// What lies in them, by name and in the order of the keys.
    fn dump(&self) -> Result<BTreeMap<&'static str, Vec<u64>>> {
        fn sorted<K: Debug, V>(
            entries: impl Iterator<Item = Result<(K, V), aya::maps::MapError>>,
            words: impl Fn(V) -> Vec<u64>,
        ) -> Result<Vec<u64>> {
            let entries = entries.map(|entry| entry.map(|(key, value)| (format!("{key:?}"), words(value))));
            let entries = entries.collect::<Result<BTreeMap<_, _>, _>>()?;
            Ok(entries.into_values().flatten().collect())
        }
        let one = |value: u32| vec![u64::from(value)];
        let lists =
            self.lists.iter().map(|entry| entry.map(|(key, rule)| ((key.prefix_len(), key.data()), rule)));
        let ids = |sharers: Sharers| sharers.ids.map(u64::from).to_vec();
        Ok(BTreeMap::from([
            ("LISTENERS", sorted(self.listeners.iter(), one)?),
            ("BACKENDS", sorted(self.backends.iter(), ids)?),
            ("LOCALS", sorted(self.locals.iter(), one)?),
            ("VLANS", sorted(self.vlans.iter(), one)?),
            ("LISTS", sorted(lists, one)?),
        ]))
    }
}
