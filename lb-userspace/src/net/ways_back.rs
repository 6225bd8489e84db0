//! Finds ways to clients whom the data path could not reach.
//!
//! A director that has just taken over, or started, has heard no client yet. A server that speaks first would speak in vain
//! until the client does: the data path knows no way, and makes no kernel ask for a neighbour.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::netlink::{NetError, Netlink};
use super::next_hop::{NextHop, Seen};

/// A neighbour that does not answer for so long is given up; the next packet to one of its clients has it asked again.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

/// The clients that are looked for, by the neighbour on whose way they are: most are behind one router.
#[derive(Default)]
pub struct Search {
    neighbours: BTreeMap<(u32, IpAddr), Sought>,
}

struct Sought {
    clients: BTreeSet<IpAddr>,
    since: Instant,
    asked: bool,
}

impl Search {
    /// Has these looked for as well.
    ///
    /// # Errors
    /// If the socket broke; a client to whom the kernel knows no route is nobody's.
    pub async fn want(&mut self, netlink: &Netlink, clients: BTreeSet<IpAddr>) -> Result<(), NetError> {
        for client in clients {
            match netlink.route_to(client).await {
                Ok(route) => self.seek((route.ifindex, route.via), client, Instant::now()),
                Err(error) if error.is_broken_socket() => return Err(error),
                Err(error) => tracing::debug!("no way to client {client}: {error}"),
            }
        }
        Ok(())
    }

    fn seek(&mut self, neighbour: (u32, IpAddr), client: IpAddr, now: Instant) {
        let fresh = || Sought { clients: BTreeSet::new(), since: now, asked: false };
        self.neighbours.entry(neighbour).or_insert_with(fresh).clients.insert(client);
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.neighbours.is_empty()
    }

    /// Looks whose neighbours are known by now, and has the kernel ask for those that are not.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn look(&mut self, netlink: &Netlink) -> Result<Vec<(IpAddr, NextHop)>, NetError> {
        let found = self.found(netlink.neighbours().await?, Instant::now());
        for (&(ifindex, ip), sought) in &mut self.neighbours {
            if !std::mem::replace(&mut sought.asked, true) {
                netlink.ask(ifindex, ip).await?;
            }
        }
        Ok(found)
    }

    /// The clients behind neighbours that are in this table; they are looked for no longer, nor are those who wait in vain.
    fn found(&mut self, table: Vec<(u32, IpAddr, Seen)>, now: Instant) -> Vec<(IpAddr, NextHop)> {
        let mut found = Vec::new();
        for (ifindex, via, seen) in table {
            let Seen::Valid { mac, .. } = seen else { continue };
            let Some(sought) = self.neighbours.remove(&(ifindex, via)) else { continue };
            found.extend(sought.clients.into_iter().map(|client| (client, NextHop { mac, ifindex, via })));
        }
        self.neighbours.retain(|_, sought| now.duration_since(sought.since) < ANSWER_WITHIN);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn all_behind_a_router_are_found_with_it_and_others_wait_until_it_is_in_vain() {
        let (router, lone) = ((2, ip("10.77.1.1")), (2, ip("10.77.1.10")));
        let (now, mac) = (Instant::now(), [2, 0, 0, 0, 0, 1]);
        let mut search = Search::default();
        for client in ["192.0.2.1", "192.0.2.2"] {
            search.seek(router, ip(client), now);
        }
        search.seek(lone, lone.1, now);
        let valid = Seen::Valid { mac, probing: false, foreign: false };
        let table = vec![(2, router.1, valid), (3, lone.1, valid), (2, lone.1, Seen::Resolving)];
        let hop = NextHop { mac, ifindex: 2, via: router.1 };
        assert_eq!(search.found(table.clone(), now), [(ip("192.0.2.1"), hop), (ip("192.0.2.2"), hop)]);
        assert!(!search.is_over(), "one waits");
        assert_eq!(search.found(table, now + ANSWER_WITHIN), []);
        assert!(search.is_over(), "in vain");
    }
}
