//! Ways to clients who were not heard: the data path asks, the kernel's routes and neighbours answer, and what they say is
//! written where the data path writes what it hears.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_common::entry::Path;
use lb_common::net::{Addr, NextHop, PortNumber};
use tokio::sync::mpsc;

use super::install::Installation;
use crate::dataplane::Unreached;
use crate::net::{self, Netlink, Search};

/// How often neighbours are looked for, of all clients together, while some are missing. TCP sends again after 200 ms at the
/// earliest.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pause before a socket that broke is opened anew.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Ways that were found, until the agent has written them.
pub(super) type Found = mpsc::UnboundedReceiver<Vec<(IpAddr, net::NextHop)>>;

/// Answers the data path from now on, in a task of the current runtime, until nobody wants to know any more.
///
/// # Errors
/// If the socket cannot be opened, or the data path not be listened to.
pub(super) fn find(asked: Unreached) -> Result<Found> {
    let mut asked = asked.listen().context("listening for clients that are not reached")?;
    let mut netlink = Netlink::open()?;
    let (outbox, found) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut search = Search::default();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                () = outbox.closed() => return,
                clients = asked.next() => match clients {
                    Ok(clients) => search.want(&netlink, clients).await,
                    Err(error) => {
                        tracing::error!("listening for clients that are not reached ended: {error}");
                        return;
                    }
                },
                _ = look.tick(), if !search.is_over() => search.look(&netlink).await.map(|ways| {
                    if !ways.is_empty() {
                        let _ = outbox.send(ways);
                    }
                }),
            };
            if let Err(error) = outcome {
                tracing::warn!("looking for the ways to clients: {error}; will try again");
                tokio::time::sleep(REOPEN_AFTER).await;
                netlink = Netlink::open().unwrap_or(netlink);
            }
        }
    });
    Ok(found)
}

impl Installation {
    /// Writes ways to clients. Who has spoken meanwhile is known better by its own packets; and none leads by an interface that
    /// the data path does not know.
    pub(super) fn write_ways_back(&self, ways: &[(IpAddr, net::NextHop)]) {
        for (client, hop) in ways {
            let (client, port) = (Addr::from(*client), PortNumber::of_interface(hop.ifindex));
            let interface = self.maps.interfaces.get(port.index());
            let Some(set) = self.maps.paths.get(Path::set_of(client)) else { continue };
            let is_known = interface.is_some_and(|it| it.index.load() == u64::from(hop.ifindex));
            if is_known && Path::find(set, client).is_none() {
                Path::learn(set, client, NextHop { mac: hop.mac, port }.to_word());
            }
        }
    }
}
