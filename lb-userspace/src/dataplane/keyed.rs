//! The maps that are looked up by a key: the kernel's, or the same in memory of our own.

use std::collections::HashMap as OwnMap;
use std::hash::Hash;

use anyhow::{Context, Result, anyhow};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError};
use aya::{Ebpf, Pod};
use lb_common::entry::{AccessKey, Rule};

use super::maps::take;

/// A hash map.
pub struct Keyed<K, V> {
    held: Held<K, V>,
    room: u32,
}

enum Held<K, V> {
    Kernel(HashMap<MapData, K, V>),
    Own(OwnMap<K, V>),
}

impl<K: Pod + Eq + Hash, V: Pod> Keyed<K, V> {
    pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        let map = take(ebpf, name)?;
        let Map::HashMap(data) = &map else { return Err(anyhow!("map {name} is not a hash map")) };
        let room = data.info().with_context(|| format!("map {name}"))?.max_entries();
        let held = Held::Kernel(HashMap::try_from(map).with_context(|| format!("map {name}"))?);
        Ok(Self { held, room })
    }

    pub(super) fn own(room: u32) -> Self {
        Self { held: Held::Own(OwnMap::new()), room }
    }

    /// Entries for which there is room.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.room
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<V> {
        match &self.held {
            Held::Kernel(map) => map.get(key, 0).ok(),
            Held::Own(map) => map.get(key).copied(),
        }
    }

    /// Where the value lies, in memory of our own; `None` also of the kernel's.
    #[must_use]
    pub fn own_entry(&self, key: &K) -> Option<&V> {
        match &self.held {
            Held::Kernel(_) => None,
            Held::Own(map) => map.get(key),
        }
    }

    /// Enters this value, also in the place of another.
    ///
    /// # Errors
    /// What the kernel says, such as that the map is full.
    pub fn insert(&mut self, key: &K, value: V) -> Result<(), MapError> {
        match &mut self.held {
            Held::Kernel(map) => map.insert(key, value, 0)?,
            Held::Own(map) => drop(map.insert(*key, value)),
        }
        Ok(())
    }

    /// # Errors
    /// What the kernel says, such as that there is no such key.
    pub fn remove(&mut self, key: &K) -> Result<(), MapError> {
        match &mut self.held {
            Held::Kernel(map) => map.remove(key)?,
            Held::Own(map) => drop(map.remove(key)),
        }
        Ok(())
    }

    /// Every entry that can be read.
    #[must_use]
    pub fn entries(&self) -> Vec<(K, V)> {
        match &self.held {
            Held::Kernel(map) => map.iter().filter_map(Result::ok).collect(),
            Held::Own(map) => map.iter().map(|(key, value)| (*key, *value)).collect(),
        }
    }

    /// Every key that can be read.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        match &self.held {
            Held::Kernel(map) => map.keys().filter_map(Result::ok).collect(),
            Held::Own(map) => map.keys().copied().collect(),
        }
    }
}

/// The prefixes of all lists, of which the longest that a client is in decides.
pub struct Prefixes {
    held: HeldPrefixes,
    room: u32,
}

enum HeldPrefixes {
    Kernel(LpmTrie<MapData, [u32; AccessKey::DATA_WORDS], u32>),
    Own(OwnMap<AccessKey, Rule>),
}

impl Prefixes {
    pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        let map = take(ebpf, name)?;
        let Map::LpmTrie(data) = &map else { return Err(anyhow!("map {name} is not a trie")) };
        let room = data.info().with_context(|| format!("map {name}"))?.max_entries();
        let held = HeldPrefixes::Kernel(LpmTrie::try_from(map).with_context(|| format!("map {name}"))?);
        Ok(Self { held, room })
    }

    pub(super) fn own(room: u32) -> Self {
        Self { held: HeldPrefixes::Own(OwnMap::new()), room }
    }

    /// Prefixes for which there is room.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.room
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.held {
            HeldPrefixes::Kernel(trie) => trie.keys().count(),
            HeldPrefixes::Own(prefixes) => prefixes.len(),
        }
    }

    /// # Errors
    /// What the kernel says, such as that the map is full.
    pub fn insert(&mut self, prefix: AccessKey, rule: Rule) -> Result<(), MapError> {
        match &mut self.held {
            HeldPrefixes::Kernel(trie) => {
                trie.insert(&Key::new(prefix.prefix_len(), prefix.data()), rule as u32, 0)?;
            }
            HeldPrefixes::Own(prefixes) => drop(prefixes.insert(prefix, rule)),
        }
        Ok(())
    }

    /// Removes the prefixes of other lists than these.
    pub fn retain(&mut self, keeps: impl Fn(u64) -> bool) {
        match &mut self.held {
            HeldPrefixes::Kernel(trie) => {
                let all: Vec<_> = trie.keys().filter_map(Result::ok).collect();
                for key in all.iter().filter(|key| !keeps(AccessKey::list_of(&key.data()))) {
                    let _ = trie.remove(key);
                }
            }
            HeldPrefixes::Own(prefixes) => {
                prefixes.retain(|prefix, _| keeps(AccessKey::list_of(&prefix.data())));
            }
        }
    }

    /// What the longest prefix says that this client is in. Answered in memory of our own alone: of the kernel's, the
    /// program asks.
    #[must_use]
    pub fn rule(&self, client: &AccessKey) -> Option<Rule> {
        let HeldPrefixes::Own(prefixes) = &self.held else { return None };
        let matching = prefixes.iter().filter(|(prefix, _)| prefix.covers(client));
        matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, rule)| *rule)
    }
}
