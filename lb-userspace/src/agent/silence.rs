//! Passive evidence, where answers come back through the director (NAT and full NAT): clients' SYNs that a server leaves
//! unanswered, while nothing else comes back from it either.
//!
//! A server whose way to the clients does not lead through the director answers its checks, which the director itself makes,
//! and no client. Only the traffic shows that.

use std::collections::HashMap;

use lb_common::entry::ServerState;
use lb_common::net::Protocol;
use lb_common::slot::ServerId;

use super::actor::Agent;
use super::sweep::Census;

/// Connections that must wait, so that it is not one client's fault.
const WAITING: u64 = 3;

/// Seconds in which nothing may come back from it.
const LISTENED: u8 = 3;

/// Who is watched since a walk over the table found clients waiting.
#[derive(Debug, Clone, Default)]
pub struct Silences(HashMap<ServerId, Silence>);

#[derive(Debug, Clone, Copy)]
struct Silence {
    waiting: u64,
    /// Packets that had come back from it, and for how many seconds there have been no more.
    replies: u64,
    seconds: u8,
}

impl Silences {
    /// Takes in what a complete walk has found.
    pub fn suspect(&mut self, census: &Census) {
        let before = std::mem::take(&mut self.0);
        for (id, waiting) in census.unanswered().filter(|(_, waiting)| *waiting >= WAITING) {
            let known = before.get(&id).copied();
            let known = known.unwrap_or(Silence { waiting, replies: u64::MAX, seconds: 0 });
            self.0.insert(id, Silence { waiting, ..known });
        }
    }

    /// Each second. `replies`: packets that ever came back from this server; `None` if they do not pass here. Names those who
    /// have fallen silent, with the connections that wait.
    pub fn listen(&mut self, replies: impl Fn(ServerId) -> Option<u64>) -> Vec<(ServerId, u64)> {
        let mut fallen = Vec::new();
        self.0.retain(|id, silence| {
            let Some(replies) = replies(*id) else { return false };
            let seconds = if replies == silence.replies { silence.seconds.saturating_add(1) } else { 0 };
            *silence = Silence { replies, seconds, ..*silence };
            if seconds == LISTENED {
                fallen.push((*id, silence.waiting));
            }
            true
        });
        fallen
    }

    /// Connections that wait for this server, if it is silent.
    #[must_use]
    pub fn of(&self, id: ServerId) -> Option<u64> {
        self.0.get(&id).filter(|silence| silence.seconds >= LISTENED).map(|silence| silence.waiting)
    }
}

impl Agent {
    /// Each second.
    pub(super) fn hear_silences(&mut self) {
        let maps = &self.installation.maps;
        let replies = |id: ServerId| {
            let state = ServerState::from_word(maps.servers.get(id.index())?.state.load());
            let is_seen = state.has(ServerState::NAT) || state.has(ServerState::FULL_NAT);
            let is_seen = is_seen && state.protocol() == Protocol::Tcp;
            if is_seen { Some(maps.counts.server(id).ok()?.packets_out) } else { None }
        };
        let fallen = self.silences.listen(replies);
        if fallen.is_empty() {
            return;
        }
        let names = self.installation.names(&self.wanted());
        for (id, waiting) in fallen {
            if let Some((_, service, server)) = names.iter().find(|(held, ..)| *held == id) {
                tracing::warn!("{}", told(service, server, waiting));
            }
        }
    }
}

/// In words, of a server and the service it is one of.
#[must_use]
pub fn told(service: &str, server: &str, waiting: u64) -> String {
    format!(
        "{service}/{server} leaves {waiting} clients without an answer, and nothing else comes back from it; does its way to them \
         lead through this director?"
    )
}

#[cfg(test)]
mod tests {
    use lb_common::clock::Now;
    use lb_common::flow_table::Place;
    use lb_common::slot::Slot;

    use super::*;
    use crate::dataplane::Site;

    const ID: ServerId = ServerId::new(1).unwrap();
    const NOW: Now = Now::at_tick(1000);

    /// So many that asked ten ticks ago, and one that asked just now.
    fn census(unanswered: usize) -> Census {
        let mut census = Census::of_pairs(4);
        let ages = std::iter::repeat_n(Now::at_tick(990), unanswered).chain([NOW]);
        for asked in ages {
            census.add(Site::Flow(Place::of_number(0)), Slot::fresh(ID, 0, false, false, asked), NOW);
        }
        census
    }

    #[test]
    fn who_leaves_clients_waiting_and_says_nothing_is_silent_until_it_speaks() {
        let mut silences = Silences::default();
        silences.suspect(&census(5));
        for _ in 0..LISTENED {
            assert_eq!(
                (silences.listen(|_| Some(7)), silences.of(ID)),
                (vec![], None),
                "it may be about to speak"
            );
        }
        assert_eq!(silences.listen(|_| Some(7)), [(ID, 5)]);
        silences.suspect(&census(8));
        assert_eq!(silences.listen(|_| Some(7)), [], "that is known");
        assert_eq!(silences.of(ID), Some(8));
        assert_eq!((silences.listen(|_| Some(8)), silences.of(ID)), (vec![], None), "something came back");
        silences.suspect(&census(2));
        assert_eq!((0..9).flat_map(|_| silences.listen(|_| Some(8))).count(), 0, "nobody waits any more");
    }

    #[test]
    fn few_clients_or_answers_that_go_elsewhere_are_no_evidence() {
        for (waiting, replies) in [(2, Some(7)), (50, None)] {
            let mut silences = Silences::default();
            silences.suspect(&census(waiting));
            assert_eq!((0..9).flat_map(|_| silences.listen(|_| replies)).count(), 0);
        }
    }
}
