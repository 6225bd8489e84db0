//! Keeps the next hop of every real server up to date, and what the agent needs to know of links and addresses.
//!
//! One actor listens to the kernel's notices, gathers those of a few milliseconds, asks anew what they touch, and
//! publishes a [`View`] when something is different. Besides, it asks by itself: neighbours are confirmed about once
//! a second, and neighbours and routes are read again every two seconds, so that a notice that never came is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::addresses::Addresses;
use super::book::{Action, Book, Subject};
use super::links::Link;
use super::netlink::{NetError, Netlink};
use super::next_hop::{NextHop, Route};
use super::notices::{Notice, Notices};

/// Notices that follow each other within this time are answered together.
const GATHER: Duration = Duration::from_millis(30);
/// After a round of reading, this many times its length passes before the next, so that a routing daemon that never
/// rests costs a sixth of a core at most.
const REST: u32 = 5;
/// How often neighbours that are due are asked; see the book for how often each is.
const TICK: Duration = Duration::from_millis(200);
/// How often neighbours and some routes are read without a notice, and how many routes.
const REREAD_EVERY: Duration = Duration::from_secs(2);
const REREAD_ROUTES: usize = 500;
/// How often all is read again without a notice.
const REREAD_ALL_EVERY: Duration = Duration::from_secs(30);
/// Pause before sockets that broke are opened anew.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Addresses reserved for documentation (RFC 5737, RFC 3849) stand for "somewhere outside": their route is the default
/// route, unless a host filters one of them.
const OUTSIDE_V4: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
];
const OUTSIDE_V6: [IpAddr; 1] = [IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// The network around this host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The next hop of each target that ever had one since the target was named. An entry changes, but does not go
    /// away while the target is wanted: a target without an entry is *not known*, and what an earlier agent stored for
    /// it should stay.
    pub hops: BTreeMap<IpAddr, NextHop>,
    /// The route to each target, kept in the same way.
    pub routes: BTreeMap<IpAddr, Route>,
    /// Targets whose way is in doubt (no route, neighbour silent) and why, whether they have a next hop or not.
    pub troubles: BTreeMap<IpAddr, String>,
    /// The next hop of the default route; kept in the same way.
    pub gateway_v4: Option<NextHop>,
    pub gateway_v6: Option<NextHop>,
    /// This host's addresses.
    pub addresses: Addresses,
    /// This namespace's interfaces by index, with their XDP programs. One that is gone is missing here.
    pub links: BTreeMap<u32, Link>,
}

/// The handle of the running tracker, which ends when the handle is dropped. Managed neighbour entries stay in the
/// kernel then, so that they are still fresh while no agent runs.
#[derive(Debug)]
pub struct Tracker {
    targets: watch::Sender<BTreeSet<IpAddr>>,
}

impl Tracker {
    /// Opens its sockets in this thread's network namespace, reads everything once, and goes on in a task of the
    /// current runtime. The first view holds links and addresses, and the next hops that the kernel knew already.
    /// Needs CAP_NET_ADMIN to have neighbours resolved; without, it says so in the log and goes on watching.
    pub async fn start(targets: BTreeSet<IpAddr>) -> Result<(Self, watch::Receiver<Arc<View>>), NetError> {
        let (wanted, inbox) = watch::channel(targets);
        let (outbox, views) = watch::channel(Arc::new(View::default()));
        let mut actor = Actor {
            notices: Notices::subscribe()?,
            netlink: Netlink::open()?,
            book: Book::default(),
            stale: Stale::everything(),
            view: View::default(),
            outbox,
            route_cursor: 0,
            complained: false,
        };
        actor.book.set_targets(&inbox.borrow());
        actor.catch_up().await?;
        tokio::spawn(actor.run(inbox));
        Ok((Self { targets: wanted }, views))
    }

    /// Makes `targets` the whole set: real servers, and whoever else a next hop is wanted for.
    pub fn set_targets(&self, targets: BTreeSet<IpAddr>) {
        self.targets.send_if_modified(|current| {
            let differs = *current != targets;
            *current = targets;
            differs
        });
    }
}

struct Actor {
    notices: Notices,
    netlink: Netlink,
    book: Book,
    stale: Stale,
    view: View,
    outbox: watch::Sender<Arc<View>>,
    route_cursor: usize,
    complained: bool,
}

/// What must be read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stale {
    links: bool,
    addresses: bool,
    routes: bool,
    some_routes: bool,
    neighbours: bool,
    /// Notices brought news that need no reading, only answering.
    book: bool,
}

impl Stale {
    fn everything() -> Self {
        Self { links: true, addresses: true, routes: true, some_routes: false, neighbours: true, book: true }
    }

    fn anything(self) -> bool {
        self != Self::default()
    }
}

impl Actor {
    async fn run(mut self, mut inbox: watch::Receiver<BTreeSet<IpAddr>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reread = interval(REREAD_EVERY);
        let mut reread_all = interval(REREAD_ALL_EVERY);
        let mut catch_up_at = None;
        let mut not_before = Instant::now();
        loop {
            if self.stale.anything() && catch_up_at.is_none() {
                catch_up_at = Some((Instant::now() + GATHER).max(not_before));
            }
            tokio::select! {
                changed = inbox.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.book.set_targets(&inbox.borrow_and_update());
                    let outcome = self.meet_new_targets().await;
                    self.mend(outcome).await;
                }
                heard = self.notices.next() => match heard {
                    Ok(notices) => notices.into_iter().for_each(|notice| self.note(notice)),
                    Err(error) => {
                        tracing::warn!("the subscription to network changes broke ({error}); subscribing anew");
                        self.reopen().await;
                    }
                },
                () = sleep_until(catch_up_at.unwrap_or_else(Instant::now)), if catch_up_at.is_some() => {
                    let began = Instant::now();
                    let outcome = self.catch_up().await;
                    self.mend(outcome).await;
                    not_before = Instant::now() + began.elapsed() * REST;
                    catch_up_at = None;
                }
                _ = tick.tick() => self.act().await,
                _ = reread.tick() => {
                    self.stale.neighbours = true;
                    self.stale.some_routes = true;
                }
                _ = reread_all.tick() => self.stale = Stale::everything(),
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Neighbour(ifindex, ip, seen) => {
                self.stale.book |= self.book.saw(ifindex, ip, seen, Instant::now().into_std());
            }
            Notice::Routes => self.stale.routes = true,
            // A link that goes or comes takes routes and neighbours along, not always with notices of their own.
            Notice::Links => {
                self.stale.links = true;
                self.stale.routes = true;
                self.stale.neighbours = true;
            }
            Notice::Addresses => {
                self.stale.addresses = true;
                self.stale.routes = true;
            }
            Notice::Lost => self.stale = Stale::everything(),
        }
    }

    async fn mend(&mut self, outcome: Result<(), NetError>) {
        if let Err(error) = outcome {
            tracing::warn!("{error}; will try again");
            if error.is_broken_socket() {
                self.reopen().await;
            }
        }
    }

    /// Looks for the ways of targets that nobody has looked for yet: a reload waits for them, and among thousands that are
    /// known they are few.
    async fn meet_new_targets(&mut self) -> Result<(), NetError> {
        let new = self.book.unrouted().collect();
        self.look_up_routes(new).await.inspect_err(|_| self.stale.routes = true)?;
        self.read_neighbours().await?;
        self.publish();
        self.act().await;
        Ok(())
    }

    /// Reads what is stale, takes over what is known now, publishes it if it is new, and asks for what is missing.
    async fn catch_up(&mut self) -> Result<(), NetError> {
        // Marked as read only after it was, so that a failure is tried again.
        if self.stale.links {
            self.view.links =
                self.netlink.links().await?.into_iter().map(|link| (link.index, link)).collect();
            self.stale.links = false;
        }
        if self.stale.addresses {
            self.view.addresses = self.netlink.addresses().await?;
            self.stale.addresses = false;
        }
        if self.stale.routes || self.stale.some_routes {
            let due = self.routes_due();
            self.look_up_routes(due).await?;
            (self.stale.routes, self.stale.some_routes) = (false, false);
        }
        self.read_neighbours().await?;
        self.stale.book = false;
        self.publish();
        self.act().await;
        Ok(())
    }

    async fn read_neighbours(&mut self) -> Result<(), NetError> {
        if self.stale.neighbours || self.book.has_unread_neighbours() {
            let table = self.netlink.neighbours().await?;
            self.book.saw_all(table, Instant::now().into_std());
            self.stale.neighbours = false;
        }
        Ok(())
    }

    /// All, if something was heard; else, a few in turns.
    fn routes_due(&mut self) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = self.book.subjects().collect();
        if !self.stale.routes && subjects.len() > REREAD_ROUTES {
            let start = self.route_cursor % subjects.len();
            subjects.rotate_left(start);
            subjects.truncate(REREAD_ROUTES);
            self.route_cursor = start + REREAD_ROUTES;
        }
        subjects
    }

    async fn look_up_routes(&mut self, subjects: Vec<Subject>) -> Result<(), NetError> {
        for subject in subjects {
            let outcome = match subject {
                Subject::Target(ip) => self.netlink.route_to(ip).await,
                Subject::DefaultGatewayV4 => self.gateway(&OUTSIDE_V4).await,
                Subject::DefaultGatewayV6 => self.gateway(&OUTSIDE_V6).await,
            };
            match outcome {
                Err(error) if error.is_broken_socket() => return Err(error),
                outcome => self.book.routed(subject, outcome.map_err(|error| error.to_string())),
            }
        }
        self.book.keep_only_neighbours_in_use();
        Ok(())
    }

    async fn gateway(&self, outside: &[IpAddr]) -> Result<Route, NetError> {
        let mut outcome = Err(NetError::new("find the default gateway", std::io::ErrorKind::NotFound.into()));
        for &address in outside {
            outcome = match self.netlink.route_to(address).await {
                Ok(route) if route.via != address => return Ok(route),
                Ok(_) => outcome, // on the link: no gateway
                Err(error) => Err(error),
            };
        }
        outcome
    }

    fn publish(&mut self) {
        self.book.settle();
        let view = &mut self.view;
        (view.gateway_v4, view.gateway_v6) = (None, None);
        view.hops.clear();
        for (subject, hop) in self.book.hops() {
            match subject {
                Subject::Target(ip) => drop(view.hops.insert(ip, hop)),
                Subject::DefaultGatewayV4 => view.gateway_v4 = Some(hop),
                Subject::DefaultGatewayV6 => view.gateway_v6 = Some(hop),
            }
        }
        view.routes = self.book.routes().collect();
        view.troubles = self.book.troubles().collect();
        self.outbox.send_if_modified(|published| {
            let differs = **published != *view;
            if differs {
                *published = Arc::new(view.clone());
            }
            differs
        });
    }

    /// Asks the kernel for what is due.
    async fn act(&mut self) {
        for action in self.book.due(Instant::now().into_std()) {
            let outcome = match action {
                Action::Solicit { ifindex, ip, absent } => self.netlink.solicit(ifindex, ip, absent).await,
                Action::Confirm { ifindex, ip } => self.netlink.confirm(ifindex, ip).await,
                Action::Rediscover { ifindex, ip } => self.netlink.rediscover(ifindex, ip).await,
                Action::Release { ifindex, ip } => self.netlink.release(ifindex, ip).await,
            };
            let Err(error) = outcome else { continue };
            if error.is_broken_socket() {
                self.stale = Stale::everything();
                return;
            }
            if error.is_lack_of_privilege() {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!("{error}; next hops may grow old");
                }
                return;
            }
            tracing::debug!("{error}"); // the link may be down or gone just now; the next round tries again
        }
    }

    async fn reopen(&mut self) {
        sleep(REOPEN_AFTER).await;
        match (Notices::subscribe(), Netlink::open()) {
            (Ok(notices), Ok(netlink)) => (self.notices, self.netlink) = (notices, netlink),
            (Err(error), _) | (_, Err(error)) => tracing::warn!("{error}; will try again"),
        }
        self.stale = Stale::everything();
    }
}
