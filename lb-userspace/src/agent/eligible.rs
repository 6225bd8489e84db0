//! Who takes new connections, and how large a share of them: tiers, domains, quorum, slow start. Pure.
//!
//! Of the servers that can be used, those of the first tier are; within it, those of the director's own domain. A server
//! that has come back grows into its share.

use std::collections::BTreeSet;
use std::time::Duration;

use lb_common::entry::Admin;

use super::standing::{AddressName, PairName, Standing, Standings};
use crate::config::{Below, DomainName, Model, OnNoServer, Quorum, Service, Tier};

/// A whole share, so that a growing one has steps. All shares of a service have this factor, and another like it by which
/// servers say themselves how much they take: the tables depend on their ratios alone.
pub const WHOLE: u32 = 8;

/// What eligibility depends on besides the configuration and what is known of each server.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// Unix seconds.
    pub now: u64,
    /// The services that have no quorum.
    pub without_quorum: BTreeSet<String>,
}

/// A server that might take connections.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub tier: Tier,
    pub domain: Option<&'a DomainName>,
    /// Of its service's new connections, by weight and its own word ([`Standing::share`]).
    pub part: u32,
    pub standing: Standing,
}

impl Candidate<'_> {
    /// Whether it is healthy, and wanted by its operator.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.standing.is_unknown() && !self.standing.is_down() && self.is_wanted()
    }

    fn is_wanted(&self) -> bool {
        self.standing.ordered() == Admin::Enabled && self.part > 0
    }
}

/// Each candidate's share of new connections, in the order given; 0: none.
#[must_use]
pub fn shares(
    service: &Service,
    own: Option<&DomainName>,
    candidates: &[Candidate<'_>],
    circumstances: &Circumstances,
) -> Vec<u32> {
    let rank = |it: &Candidate<'_>| (it.tier, own.is_some() && it.domain != own);
    let has_quorum = !circumstances.without_quorum.contains(service.name.as_str());
    let stands_in = |it: &Candidate<'_>| it.is_usable() && it.tier != Tier::Primary;
    let below = service.quorum.filter(|_| !has_quorum).map(|quorum| quorum.below);
    let is_admitted = |it: &Candidate<'_>| match below {
        Some(Below::Withdraw) => false,
        Some(Below::Backup) if candidates.iter().any(stands_in) => it.tier != Tier::Primary,
        Some(Below::Backup) | None => true,
    };
    let first = candidates.iter().filter(|it| it.is_usable() && is_admitted(it)).map(rank).min();
    let desperate =
        first.is_none() && below != Some(Below::Withdraw) && service.on_no_server == OnNoServer::All;
    let takes = |it: &Candidate<'_>| match first {
        Some(first) => it.is_usable() && rank(it) == first,
        None => desperate && it.is_wanted() && it.tier == Tier::Primary,
    };
    let share = |it: &Candidate<'_>| {
        let step = step(it.standing.risen, service.slow_start, circumstances.now);
        if takes(it) { it.part * step } else { 0 }
    };
    candidates.iter().map(share).collect()
}

/// How far a server is that came back at `risen` (Unix seconds, 0: long ago): 1 to [`WHOLE`].
#[must_use]
pub fn step(risen: u32, slow_start: Duration, now: u64) -> u32 {
    let (whole, passed) = (slow_start.as_secs(), now.saturating_sub(risen.into()));
    if risen == 0 || passed >= whole {
        return WHOLE;
    }
    1 + (passed * u64::from(WHOLE - 1) / whole) as u32
}

/// When a server that came back at `risen` gets more than now, in Unix seconds.
#[must_use]
pub fn next_step(risen: u32, slow_start: Duration, now: u64) -> Option<u64> {
    let at = step(risen, slow_start, now);
    let reached = u64::from(at) * slow_start.as_secs();
    (at < WHOLE).then(|| u64::from(risen) + reached.div_ceil(u64::from(WHOLE - 1)).min(slow_start.as_secs()))
}

/// The services that have no quorum now, given those that had none.
#[must_use]
pub fn without_quorum(model: &Model, standings: &Standings, before: &BTreeSet<String>) -> BTreeSet<String> {
    let lost = |service: &&Service| lacks_quorum(service, standings, before);
    model.services.iter().filter(lost).map(|service| service.name.as_str().to_owned()).collect()
}

/// Whether this service has no quorum now, given those that had none.
#[must_use]
pub fn lacks_quorum(service: &Service, standings: &Standings, before: &BTreeSet<String>) -> bool {
    service.quorum.is_some_and(|quorum| {
        let (up, of) = weights(service, standings);
        let lacked = before.contains(service.name.as_str());
        let needed = if lacked { quorum.percent + quorum.hysteresis } else { quorum.percent };
        up * 100 < of * u64::from(needed)
    })
}

/// The configured weight of a service's primary servers: of those that are usable, and of all.
#[must_use]
pub fn weights(service: &Service, standings: &Standings) -> (u64, u64) {
    let primaries = service.servers.iter().filter(|server| server.tier == Tier::Primary);
    primaries.fold((0, 0), |(up, of), server| {
        let weight = u64::from(server.weight.get());
        let pair = PairName::of(service, server);
        let mut names = server
            .addresses
            .iter()
            .map(|address| AddressName { pair: pair.clone(), family: address.family() });
        // One that is well at one of its addresses only is not well.
        let usable = names.all(|name| is_usable(standings, &name, server.weight.get()));
        (up + if usable { weight } else { 0 }, of + weight)
    })
}

fn is_usable(standings: &Standings, name: &AddressName, configured: u16) -> bool {
    let standing = standings.get(name).copied().unwrap_or_default();
    let part = standing.share(configured);
    Candidate { tier: Tier::Primary, domain: None, part, standing }.is_usable()
}

/// Whether a quorum asks for this service's VIP to leave the host.
#[must_use]
pub fn is_withdrawn(service: &Service, circumstances: &Circumstances) -> bool {
    let withdraws = |quorum: Quorum| quorum.below == Below::Withdraw;
    service.quorum.is_some_and(withdraws) && circumstances.without_quorum.contains(service.name.as_str())
}

#[cfg(test)]
mod tests {
    use lb_common::entry::HealthMemo;

    use super::*;
    use crate::agent::standing::configured;
    use crate::config::{self, Family};

    fn up() -> Standing {
        Standing { health: HealthMemo::Up, ..Standing::default() }
    }

    fn model(service: &str, servers: &[&str]) -> Model {
        let servers: String = servers
            .iter()
            .enumerate()
            .map(|(i, keys)| {
                format!("[[service.server]]\nname = \"s{i}\"\naddress = \"198.51.100.{}\"\n{keys}\n", i + 1)
            })
            .collect();
        let text = format!(
            "[[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\n{service}\n{servers}\n[cluster]\ndomain = \"here\"\n"
        );
        config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn standings(model: &Model, up: &[bool]) -> Standings {
        let standing = |i: usize| {
            if up[i] { self::up() } else { Standing { health: HealthMemo::Down, ..Standing::default() } }
        };
        let name = |i: usize| AddressName {
            pair: PairName { service: "web".into(), server: format!("s{i}").into() },
            family: Family::V4,
        };
        (0..model.services[0].servers.len()).map(|i| (name(i), standing(i))).collect()
    }

    /// Who gets what, as whole shares.
    fn told(service: &str, servers: &[&str], up: &[bool]) -> Vec<u32> {
        let model = model(service, servers);
        let standings = standings(&model, up);
        let circumstances =
            Circumstances { now: 0, without_quorum: without_quorum(&model, &standings, &BTreeSet::new()) };
        let its = &model.services[0];
        let candidates: Vec<Candidate<'_>> = configured(&model)
            .map(|it| Candidate {
                tier: it.server.tier,
                domain: it.server.domain.as_ref(),
                part: standings[&it.name].share(it.server.weight.get()),
                standing: standings[&it.name],
            })
            .collect();
        let shares = shares(its, model.cluster.domain.as_ref(), &candidates, &circumstances);
        let whole = WHOLE * self::up().share(1);
        shares.iter().map(|share| share / whole).collect()
    }

    #[test]
    fn backups_serve_tier_by_tier_and_the_sorry_server_last() {
        let servers = ["", "weight = 2", "backup = true", "backup = 2", "backup = \"sorry\""];
        for (up, expected) in [
            ([true, true, true, true, true], [1, 2, 0, 0, 0]),
            ([false, true, true, true, true], [0, 2, 0, 0, 0]),
            ([false, false, true, true, true], [0, 0, 1, 0, 0]),
            ([false, false, false, true, true], [0, 0, 0, 1, 0]),
            ([false, false, false, false, true], [0, 0, 0, 0, 1]),
        ] {
            assert_eq!(told("", &servers, &up), expected, "{up:?}");
        }
    }

    #[test]
    fn the_own_domain_comes_before_others_and_before_backups() {
        let servers = ["domain = \"here\"", "domain = \"there\"", "", "domain = \"here\"\nbackup = true"];
        assert_eq!(told("", &servers, &[true; 4]), [1, 0, 0, 0]);
        assert_eq!(told("", &servers, &[false, true, true, true]), [0, 1, 1, 0]);
        assert_eq!(told("", &servers, &[false, false, false, true]), [0, 0, 0, 1]);
    }

    #[test]
    fn when_nobody_is_up_all_may_get_it() {
        let servers = ["", "weight = 0", "", "backup = true"];
        assert_eq!(told("", &servers, &[false; 4]), [0, 0, 0, 0]);
        assert_eq!(told("on_no_server = \"all\"", &servers, &[false; 4]), [1, 0, 1, 0]);
        assert_eq!(told("on_no_server = \"all\"", &servers, &[true, false, false, false]), [1, 0, 0, 0]);
    }

    #[test]
    fn without_a_quorum_the_backup_serves_or_nobody() {
        let servers = ["", "", "", "backup = true"];
        let two_left = [true, true, false, true];
        let quorum = |keys: &str| format!("quorum = {{ percent = 70{keys} }}");
        assert_eq!(told(&quorum(""), &servers, &[true; 4]), [1, 1, 1, 0]);
        assert_eq!(told(&quorum(""), &servers, &two_left), [0, 0, 0, 1]);
        assert_eq!(
            told(&quorum(""), &servers, &[true, true, false, false]),
            [1, 1, 0, 0],
            "no backup either"
        );
        assert_eq!(told(&quorum(", below = \"withdraw\""), &servers, &two_left), [0, 0, 0, 0]);
    }

    #[test]
    fn a_quorum_is_regained_later_than_it_is_lost() {
        let model = model("quorum = { percent = 50, hysteresis = 25 }", &[""; 4]);
        let lost =
            |up: &[bool], before: &BTreeSet<String>| without_quorum(&model, &standings(&model, up), before);
        let nobody = BTreeSet::new();
        assert!(lost(&[true, true, false, false], &nobody).is_empty());
        let without = lost(&[true, false, false, false], &nobody);
        assert_eq!(without.len(), 1);
        assert_eq!(lost(&[true, true, false, false], &without).len(), 1);
        assert!(lost(&[true, true, true, false], &without).is_empty());
    }

    #[test]
    fn a_server_that_has_come_back_grows_into_its_share() {
        let slow = Duration::from_secs(70);
        let steps: Vec<u32> = (0..=8).map(|tens| step(1000, slow, 1000 + tens * 10)).collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7, 8, 8]);
        assert_eq!(step(0, slow, 5), WHOLE);
        assert_eq!(step(1000, Duration::ZERO, 1000), WHOLE);
        let mut now = 1000;
        for expected in 2..=WHOLE {
            now = next_step(1000, slow, now).unwrap();
            assert_eq!(step(1000, slow, now), expected);
        }
        assert_eq!(next_step(1000, slow, now), None);
    }
}
