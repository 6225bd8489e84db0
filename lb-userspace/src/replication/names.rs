//! What pairs of service and server are called: in the cluster by name, here by hash, on one stream by a small number.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{Pair, Target};
use super::refusal::Refusal;

/// Pairs of names that one stream may define.
pub const MOST_NAMES: usize = 65_536;

/// All names heard of, and which of them this director is configured with.
#[derive(Default, Debug)]
pub struct Names {
    pairs: BTreeMap<Target, Arc<Pair>>,
    configured: BTreeSet<Target>,
    /// Never configured, only heard.
    strange: BTreeSet<Target>,
}

impl Names {
    /// These and no others are configured.
    ///
    /// # Errors
    /// [`Refusal::NameClash`] when two of them have one hash; nothing has changed then.
    pub fn configure(&mut self, pairs: impl IntoIterator<Item = Pair>) -> Result<(), Refusal> {
        let mut configured: BTreeMap<Target, Arc<Pair>> = BTreeMap::new();
        for pair in pairs {
            // What was only heard gives way.
            if configured.get(&pair.target()).is_some_and(|here| **here != pair) {
                return Err(Refusal::NameClash);
            }
            configured.insert(pair.target(), Arc::new(pair));
        }
        self.configured = configured.keys().copied().collect();
        self.strange.retain(|target| !configured.contains_key(target));
        self.pairs.append(&mut configured);
        Ok(())
    }

    pub fn is_configured(&self, target: Target) -> bool {
        self.configured.contains(&target)
    }

    pub fn get(&self, target: Target) -> Option<&Arc<Pair>> {
        self.pairs.get(&target)
    }

    /// How many are heard of or configured.
    #[cfg(any(test, fuzzing))]
    pub(super) fn known(&self) -> usize {
        self.pairs.len()
    }

    /// Of what was never configured only this is kept: what a peer made up leaves with it.
    pub fn keep(&mut self, is_used: impl Fn(Target) -> bool) {
        let Self { pairs, strange, .. } = self;
        pairs.retain(|target, _| !strange.contains(target) || is_used(*target));
        strange.retain(|target| pairs.contains_key(target));
    }

    /// Whether something is heard of that was never configured.
    pub fn has_strange(&self) -> bool {
        !self.strange.is_empty()
    }

    /// Whether it could be heard.
    fn judge(&self, pair: &Pair) -> Result<(), Refusal> {
        let good = |name: &str| (1..=Pair::LONGEST_NAME).contains(&name.len());
        if ![&pair.service, &pair.server, &pair.lane].into_iter().all(|name| good(name)) {
            return Err(Refusal::BadName);
        }
        match self.pairs.get(&pair.target()) {
            Some(here) if **here != *pair => Err(Refusal::NameClash),
            _ => Ok(()),
        }
    }

    fn hear(&mut self, pair: Pair) -> Target {
        let target = pair.target();
        if let Entry::Vacant(free) = self.pairs.entry(target) {
            free.insert(Arc::new(pair));
            self.strange.insert(target);
        }
        target
    }
}

/// The dictionary of a stream as its sender knows it: names are numbered in the order of their first use.
#[derive(Default, Debug)]
pub(super) struct Spoken {
    numbers: BTreeMap<Target, u32>,
}

impl Spoken {
    /// The number of this name; `news` takes what the other side has to be told before.
    pub fn number(&mut self, target: Target, names: &Names, news: &mut Vec<Pair>) -> Option<u32> {
        if let Some(number) = self.numbers.get(&target) {
            return Some(*number);
        }
        let pair = names.get(target)?;
        if self.numbers.len() >= MOST_NAMES {
            return None;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(target, number);
        news.push(Pair::clone(pair));
        Some(number)
    }
}

/// The dictionary of a stream as its receiver knows it.
#[derive(Default, Debug)]
pub(super) struct Heard {
    targets: Vec<Target>,
}

impl Heard {
    /// All of them, or none.
    ///
    /// # Errors
    /// What is wrong with one of them, or that there are too many.
    pub fn define(&mut self, pairs: Vec<Pair>, names: &mut Names) -> Result<(), Refusal> {
        if self.targets.len() + pairs.len() > MOST_NAMES {
            return Err(Refusal::TooManyNames);
        }
        pairs.iter().try_for_each(|pair| names.judge(pair))?;
        self.targets.extend(pairs.into_iter().map(|pair| names.hear(pair)));
        Ok(())
    }

    /// All that the stream has named.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.targets.iter().copied()
    }

    #[cfg(any(test, fuzzing))]
    pub fn known(&self) -> usize {
        self.targets.len()
    }

    pub fn target(&self, number: u32) -> Option<Target> {
        self.targets.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(server: &str) -> Pair {
        Pair { service: "web".into(), server: server.into(), lane: "80".into() }
    }

    #[test]
    fn a_name_is_said_once_a_stream_and_understood_by_its_number() {
        let (mut mine, mut theirs) = (Names::default(), Names::default());
        mine.configure([pair("rs1"), pair("rs2")]).unwrap();
        let (mut spoken, mut heard) = (Spoken::default(), Heard::default());
        for round in 0..2 {
            for server in ["rs2", "rs1"] {
                let mut news = Vec::new();
                let number = spoken.number(pair(server).target(), &mine, &mut news).unwrap();
                assert_eq!(news.len(), usize::from(round == 0));
                heard.define(news, &mut theirs).unwrap();
                assert_eq!(heard.target(number), Some(pair(server).target()));
            }
        }
        assert_eq!(heard.target(2), None);
        assert!(!theirs.is_configured(pair("rs1").target()), "heard is not configured");
    }

    #[test]
    fn empty_and_endless_names_are_refused() {
        let (mut names, mut heard) = (Names::default(), Heard::default());
        assert_eq!(heard.define(vec![pair("")], &mut names), Err(Refusal::BadName));
        assert_eq!(heard.define(vec![pair(&"x".repeat(129))], &mut names), Err(Refusal::BadName));
        let many = (0..=MOST_NAMES).map(|n| pair(&n.to_string())).collect();
        assert_eq!(heard.define(many, &mut names), Err(Refusal::TooManyNames));
    }
}
