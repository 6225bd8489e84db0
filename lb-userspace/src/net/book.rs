//! What is known of the ways to all targets, and what to do about it. Pure; the time is an argument.
//!
//! The rule that everything here serves: **a known next hop is replaced only by another valid one.** A route or a
//! neighbour entry that vanishes proves nothing about the server: tables are flushed by hand, by routing daemons, by a
//! link that blinks. Frames sent to the last known address are right until another is known, and whether the server
//! can be reached is for the health check to say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Mac;
use super::next_hop::{NextHop, Route, Seen};

/// A neighbour is asked whether it is still there this often; one that moved to another MAC address without telling is
/// found within two seconds, where the kernel alone takes up to a minute.
const CONFIRM_EVERY: Duration = Duration::from_millis(800);
/// At most so many are asked per call of [`Book::due`], those first that waited longest: 200 ARP requests a second.
const CONFIRM_AT_ONCE: usize = 40;
/// A neighbour that does not answer for this long is looked for elsewhere on the link.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// A neighbour that did not answer is asked for this often.
const SOLICIT_EVERY: Duration = Duration::from_secs(1);
/// One that has no entry is asked for this often: its entry was taken away (`ip neigh flush` goes over the table several
/// times), or the link is down.
const RECREATE_EVERY: Duration = Duration::from_millis(100);

/// Whose next hop is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Target(IpAddr),
    DefaultGatewayV4,
    DefaultGatewayV6,
}

/// Something to ask the kernel for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Solicit { ifindex: u32, ip: IpAddr, absent: bool },
    Confirm { ifindex: u32, ip: IpAddr },
    Rediscover { ifindex: u32, ip: IpAddr },
    Release { ifindex: u32, ip: IpAddr },
}

#[derive(Debug, Default)]
pub(super) struct Book {
    ways: BTreeMap<Subject, Way>,
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    released: Vec<(u32, IpAddr)>,
}

#[derive(Debug, Default)]
struct Way {
    route: Option<Route>,
    hop: Option<NextHop>,
    no_route: Option<String>,
}

#[derive(Debug, Default)]
struct Neighbour {
    seen: Option<Seen>, // None: not looked up yet
    probing_since: Option<Instant>,
    confirmed: Option<Instant>,
    solicited: Option<Instant>,
}

impl Book {
    /// Makes `targets` and the default gateways the whole set of subjects; what is known of those that stay is kept.
    pub(super) fn set_targets(&mut self, targets: &BTreeSet<IpAddr>) {
        let gateways = [Subject::DefaultGatewayV4, Subject::DefaultGatewayV6];
        let wanted: BTreeSet<Subject> =
            targets.iter().copied().map(Subject::Target).chain(gateways).collect();
        self.ways.retain(|subject, _| wanted.contains(subject));
        for subject in wanted {
            self.ways.entry(subject).or_default();
        }
        self.keep_only_neighbours_in_use();
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.ways.keys().copied()
    }

    /// Those whose route has never been looked up.
    pub(super) fn unrouted(&self) -> impl Iterator<Item = Subject> {
        let unrouted = |way: &Way| way.route.is_none() && way.no_route.is_none();
        self.ways.iter().filter(move |(_, way)| unrouted(way)).map(|(subject, _)| *subject)
    }

    /// The outcome of a route look-up. A failure is remembered, and the old route stays.
    pub(super) fn routed(&mut self, subject: Subject, outcome: Result<Route, String>) {
        let Some(way) = self.ways.get_mut(&subject) else { return };
        match outcome {
            Err(why) => way.no_route = Some(why),
            Ok(route) => {
                way.no_route = None;
                way.route = Some(route);
                self.neighbours.entry((route.ifindex, route.via)).or_default();
            }
        }
    }

    /// To be called after a round of [`Self::routed`]: neighbours that no route leads to any more are released.
    pub(super) fn keep_only_neighbours_in_use(&mut self) {
        let in_use: BTreeSet<_> =
            self.ways.values().filter_map(|way| way.route).map(|route| (route.ifindex, route.via)).collect();
        let released = self.neighbours.extract_if(|key, _| !in_use.contains(key)).map(|(key, _)| key);
        self.released.extend(released);
    }

    /// Whether some neighbours have never been looked up.
    pub(super) fn has_unread_neighbours(&self) -> bool {
        self.neighbours.values().any(|neighbour| neighbour.seen.is_none())
    }

    /// One entry of the neighbour table changed. Returns whether it concerns any subject.
    pub(super) fn saw(&mut self, ifindex: u32, ip: IpAddr, seen: Seen, now: Instant) -> bool {
        let Some(neighbour) = self.neighbours.get_mut(&(ifindex, ip)) else { return false };
        neighbour.saw(seen, now);
        true
    }

    /// The whole neighbour table was read.
    pub(super) fn saw_all(&mut self, table: impl IntoIterator<Item = (u32, IpAddr, Seen)>, now: Instant) {
        let table: HashMap<_, _> =
            table.into_iter().map(|(ifindex, ip, seen)| ((ifindex, ip), seen)).collect();
        for (key, neighbour) in &mut self.neighbours {
            neighbour.saw(table.get(key).copied().unwrap_or(Seen::Absent), now);
        }
    }

    /// Takes over each next hop that is completely known now. This is the only place that sets one.
    pub(super) fn settle(&mut self) {
        for way in self.ways.values_mut() {
            let Some(route) = way.route else { continue };
            let mac = self.neighbours.get(&(route.ifindex, route.via)).and_then(Neighbour::mac);
            if let Some(mac) = mac {
                way.hop = Some(NextHop { mac, ifindex: route.ifindex, via: route.via });
            }
        }
    }

    /// What to ask the kernel for now; takes it as done.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Action> {
        let release = |(ifindex, ip)| Action::Release { ifindex, ip };
        let mut actions: Vec<Action> = self.released.drain(..).map(release).collect();
        let mut to_confirm = Vec::new();
        let over = |since: Option<Instant>, wait| since.is_none_or(|since| now.duration_since(since) >= wait);
        for (&(ifindex, ip), neighbour) in &mut self.neighbours {
            match neighbour.seen {
                None | Some(Seen::Resolving | Seen::Valid { foreign: true, .. }) => {}
                Some(missing @ (Seen::Absent | Seen::Failed)) => {
                    let absent = missing == Seen::Absent;
                    if over(neighbour.solicited, if absent { RECREATE_EVERY } else { SOLICIT_EVERY }) {
                        neighbour.solicited = Some(now);
                        actions.push(Action::Solicit { ifindex, ip, absent });
                    }
                }
                Some(Seen::Valid { probing: true, .. }) => {
                    if over(neighbour.probing_since, ANSWER_WITHIN) {
                        neighbour.probing_since = Some(now);
                        neighbour.solicited = Some(now);
                        actions.push(Action::Rediscover { ifindex, ip });
                    }
                }
                Some(Seen::Valid { probing: false, .. }) => {
                    if over(neighbour.confirmed, CONFIRM_EVERY) {
                        to_confirm.push((neighbour.confirmed, ifindex, ip));
                    }
                }
            }
        }
        to_confirm.sort_unstable();
        for (_, ifindex, ip) in to_confirm.into_iter().take(CONFIRM_AT_ONCE) {
            if let Some(neighbour) = self.neighbours.get_mut(&(ifindex, ip)) {
                neighbour.confirmed = Some(now);
            }
            actions.push(Action::Confirm { ifindex, ip });
        }
        actions
    }

    pub(super) fn hops(&self) -> impl Iterator<Item = (Subject, NextHop)> {
        self.ways.iter().filter_map(|(&subject, way)| Some((subject, way.hop?)))
    }

    /// The routes to targets, as they were last found.
    pub(super) fn routes(&self) -> impl Iterator<Item = (IpAddr, Route)> {
        self.ways.iter().filter_map(|(subject, way)| match subject {
            Subject::Target(ip) => Some((*ip, way.route?)),
            Subject::DefaultGatewayV4 | Subject::DefaultGatewayV6 => None,
        })
    }

    /// Targets whose way is in doubt, and why; those whose next hop is known keep it all the same.
    pub(super) fn troubles(&self) -> impl Iterator<Item = (IpAddr, String)> {
        self.ways.iter().filter_map(|(subject, way)| match subject {
            Subject::Target(ip) => Some((*ip, self.trouble(way)?)),
            Subject::DefaultGatewayV4 | Subject::DefaultGatewayV6 => None,
        })
    }

    fn trouble(&self, way: &Way) -> Option<String> {
        if way.no_route.is_some() {
            return way.no_route.clone();
        }
        let via = way.route?.via;
        match self.neighbours.get(&(way.route?.ifindex, via))?.seen? {
            Seen::Failed => Some(format!("neighbour {via} does not answer")),
            Seen::Absent | Seen::Resolving if way.hop.is_none() => {
                Some(format!("neighbour {via} is being asked for"))
            }
            _ => None,
        }
    }
}

impl Neighbour {
    fn saw(&mut self, seen: Seen, now: Instant) {
        match seen {
            Seen::Valid { probing: true, .. } => self.probing_since = self.probing_since.or(Some(now)),
            _ => self.probing_since = None,
        }
        self.seen = Some(seen);
    }

    fn mac(&self) -> Option<Mac> {
        match self.seen? {
            Seen::Valid { mac, .. } => Some(mac),
            Seen::Absent | Seen::Resolving | Seen::Failed => None,
        }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
