//! What pairs of service and server are called: in the cluster by name, here by hash, on one stream by a small number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{Pair, Target};
use super::refusal::Refusal;

/// Pairs of names that a director keeps, and that one stream may define.
pub const MOST_NAMES: usize = 65_536;

/// All names heard of, and which of them this director is configured with.
#[derive(Default, Debug)]
pub struct Names {
    pairs: BTreeMap<Target, Arc<Pair>>,
    configured: BTreeSet<Target>,
}

impl Names {
    /// These and no others are configured.
    ///
    /// # Errors
    /// [`Refusal::NameClash`] when two of them have one hash; nothing has changed then.
    pub fn configure(&mut self, pairs: impl IntoIterator<Item = Pair>) -> Result<(), Refusal> {
        let mut configured: BTreeMap<Target, Arc<Pair>> = BTreeMap::new();
        for pair in pairs {
            let clash = |here: &Arc<Pair>| **here != pair;
            if self.pairs.get(&pair.target()).is_some_and(clash)
                || configured.get(&pair.target()).is_some_and(clash)
            {
                return Err(Refusal::NameClash);
            }
            configured.insert(pair.target(), Arc::new(pair));
        }
        self.configured = configured.keys().copied().collect();
        self.pairs.append(&mut configured);
        Ok(())
    }

    pub fn is_configured(&self, target: Target) -> bool {
        self.configured.contains(&target)
    }

    pub fn get(&self, target: Target) -> Option<&Arc<Pair>> {
        self.pairs.get(&target)
    }

    fn hear(&mut self, pair: Pair) -> Result<Target, Refusal> {
        let good = |name: &str| (1..=Pair::LONGEST_NAME).contains(&name.len());
        if ![&pair.service, &pair.server, &pair.lane].into_iter().all(|name| good(name)) {
            return Err(Refusal::BadName);
        }
        let target = pair.target();
        match self.pairs.get(&target) {
            Some(here) if **here != pair => return Err(Refusal::NameClash),
            Some(_) => {}
            None if self.pairs.len() >= MOST_NAMES => return Err(Refusal::TooManyNames),
            None => {
                self.pairs.insert(target, Arc::new(pair));
            }
        }
        Ok(target)
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
    pub fn define(&mut self, pairs: Vec<Pair>, names: &mut Names) -> Result<(), Refusal> {
        for pair in pairs {
            if self.targets.len() >= MOST_NAMES {
                return Err(Refusal::TooManyNames);
            }
            self.targets.push(names.hear(pair)?);
        }
        Ok(())
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
