//! Who may come to a service: `allow` and `deny`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::entry::Rule;
use lb_common::identity::{mix, name_hash};

use super::listed;
use super::listener::joined;
use super::prefix::Prefix;
use super::source::{Placed, Reported};
use super::table::{Entry, Layered};

/// Whom a service admits: the longest prefix that a client is in decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    rules: BTreeMap<Prefix, Rule>,
    /// The lengths of the prefixes, the longest first.
    lengths: Vec<u8>,
    number: u64,
}

impl Access {
    fn new(allow: &[Prefix], deny: &[Prefix]) -> Self {
        if allow.is_empty() && deny.is_empty() {
            return Self::default();
        }
        // Whoever says who may come means that the others may not.
        let otherwise = if allow.is_empty() { Rule::Allow } else { Rule::Deny };
        let roots = [IpAddr::from([0u8; 4]), IpAddr::from([0u8; 16])];
        let mut rules: BTreeMap<Prefix, Rule> =
            roots.into_iter().filter_map(|root| Prefix::of(root, 0)).map(|root| (root, otherwise)).collect();
        rules.extend(allow.iter().map(|prefix| (*prefix, Rule::Allow)));
        rules.extend(deny.iter().map(|prefix| (*prefix, Rule::Deny)));
        let lengths: BTreeSet<u8> = rules.keys().map(|prefix| prefix.length()).collect();
        let number = rules.iter().fold(1, |hash, (prefix, rule)| {
            mix(name_hash(hash, prefix.to_string().as_bytes()) ^ *rule as u64)
        });
        Self { rules, lengths: lengths.into_iter().rev().collect(), number: number.max(1) }
    }

    /// A number that another content does not have (a hash of 64 bits); 0 for no lists.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Every prefix with what it says, the roots of both families included; none if everybody may come.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = (Prefix, Rule)> {
        self.rules.iter().map(|(prefix, rule)| (*prefix, *rule))
    }

    /// The longest prefix that this client is in, with what it says; `None` if everybody may come.
    pub fn rule(&self, client: IpAddr) -> Option<(Prefix, Rule)> {
        let found = |length: &u8| {
            let prefix = Prefix::of(client, *length)?;
            Some((prefix, *self.rules.get(&prefix)?))
        };
        self.lengths.iter().find_map(found)
    }

    /// Whether this client may come.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.rule(client).is_none_or(|(_, rule)| rule == Rule::Allow)
    }

    /// The prefixes with this rule that the file names, as it writes them.
    pub(super) fn told(&self, rule: Rule) -> String {
        let of_file =
            |(prefix, held): (&Prefix, &Rule)| (*held == rule && prefix.length() > 0).then_some(*prefix);
        let prefixes: Vec<Prefix> = self.rules.iter().filter_map(of_file).collect();
        if prefixes.is_empty() { "-".to_owned() } else { joined(&prefixes) }
    }
}

/// Reads both lists. A prefix that is in both says nothing.
pub(super) fn read(table: &Layered<'_>) -> Result<Access, Reported> {
    let list = |key, example: &'static str| {
        table.read(key, |entry: &Entry<'_>| {
            let prefixes = listed::read(entry, example, |item| Prefix::read(item, example))?;
            listed::distinct(prefixes, |prefix: Prefix| format!("{prefix} is given twice"))
        })
    };
    let allow = list("allow", "allow = [\"192.0.2.0/24\"]");
    let deny = list("deny", "deny = [\"192.0.2.0/24\"]");
    let (allow, deny) = (allow?.unwrap_or_default(), deny?.unwrap_or_default());
    let mut outcome = Ok(());
    for Placed { value, spot } in &deny {
        if allow.iter().any(|allowed| allowed.value == *value) {
            let what = format!("{value} is allowed and denied");
            outcome = Err(spot.problem(what, "remove it from one of the lists"));
        }
    }
    outcome.map(|()| Access::new(&listed::values(&allow), &listed::values(&deny)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(allow: &[&str], deny: &[&str]) -> Access {
        let prefix = |text: &&str| {
            let (address, length) = text.split_once('/').expect("a prefix");
            Prefix::of(address.parse().unwrap(), length.parse().unwrap()).expect("a length of its family")
        };
        let prefixes = |texts: &[&str]| texts.iter().map(prefix).collect::<Vec<_>>();
        Access::new(&prefixes(allow), &prefixes(deny))
    }

    fn admits(access: &Access, client: &str) -> bool {
        access.admits(client.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_decides() {
        let access = access(&["10.0.0.0/8", "10.1.2.3/32"], &["10.1.0.0/16"]);
        assert!(admits(&access, "10.2.0.1"));
        assert!(!admits(&access, "10.1.0.1"));
        assert!(admits(&access, "10.1.2.3"));
        assert!(!admits(&access, "192.0.2.1"), "who is in none of the allowed prefixes is denied");
        assert!(!admits(&access, "2001:db8::1"), "in either family");
    }

    #[test]
    fn without_allowed_prefixes_all_but_the_denied_may_come() {
        let denied = access(&[], &["2001:db8::/32"]);
        assert!(!admits(&denied, "2001:db8::1"));
        assert!(admits(&denied, "2001:db9::1") && admits(&denied, "10.0.0.1"));
        assert!(admits(&access(&[], &[]), "10.0.0.1"));
        assert!(admits(&access(&[], &["::/0"]), "10.0.0.1"), "all of IPv6 is not IPv4");
    }

    #[test]
    fn the_number_is_the_contents() {
        let one = access(&["10.0.0.0/8"], &["10.1.0.0/16"]);
        assert_eq!(one.number(), access(&["10.0.0.0/8"], &["10.1.0.0/16"]).number());
        assert_ne!(one.number(), access(&["10.1.0.0/16"], &["10.0.0.0/8"]).number());
        assert_ne!(one.number(), access(&["10.0.0.0/8"], &[]).number());
        assert_eq!(access(&[], &[]).number(), 0);
    }
}
