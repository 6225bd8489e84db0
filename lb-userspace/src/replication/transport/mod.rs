//! The mesh: one authenticated and encrypted stream between each two directors.
//!
//! Of two directors the one with the lower [`NodeId`] dials, so that there is one stream and no argument which of two to keep.
//! Nothing is queued here: what a peer has yet to be told is the [`Replicator`]'s dirty set, asked when the stream can take a
//! frame. Read [`credentials`] (who may speak), `tls` (who is there), `link` (one stream), [`contact`] (whether there is one), then
//! this.

pub mod contact;
pub mod credentials;
mod link;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::replicator::Replicator;
use super::version::NodeId;
use contact::Contact;
use credentials::{Credentials, server_name};
use tls::Tls;

/// For a connection to stand with both sides authenticated.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that have not shown yet who they are. Further ones wait in the kernel's queue.
const MOST_STRANGERS: usize = 32;
/// How often the replicator hears of the time.
const TICK: Duration = Duration::from_millis(100);
/// Between two attempts to reach a peer, at first and at most. A peer that restarts is back within the second.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// What has happened on the mesh since it began.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that did not become a peer's: no or another authority's certificate, no peer, no TLS, too slow.
    pub strangers: AtomicU64,
    /// Attempts to reach a peer that failed.
    pub unreached: AtomicU64,
    /// Sessions that stood, and ended.
    pub ended: AtomicU64,
    /// Of these, those whose peer was given up because nothing came.
    pub silent: AtomicU64,
    pub frames_sent: AtomicU64,
    pub frames_received: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub bytes_received: AtomicU64,
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// The replicator, shared between the streams and the agent.
#[derive(Debug)]
pub struct Desk {
    replicator: Mutex<Replicator>,
    contacts: Mutex<BTreeMap<NodeId, (Contact, Instant)>>,
    /// Says that there may be something new to tell.
    news: watch::Sender<()>,
    pub counters: Counters,
}

impl Desk {
    pub fn new(replicator: Replicator) -> Self {
        let (news, _) = watch::channel(());
        let (replicator, contacts) = (Mutex::new(replicator), Mutex::default());
        Self { replicator, contacts, news, counters: Counters::default() }
    }

    /// Does something with the replicator, after which peers are told what is new. Never waits for a peer.
    pub fn with<T>(&self, work: impl FnOnce(&mut Replicator) -> T) -> T {
        let done = work(&mut self.lock());
        self.news.send_replace(());
        done
    }

    /// What was last found of this peer, and since when it has been so. `None` as long as it was neither reached nor tried;
    /// a peer that is not there is tried by the one of the two who dials.
    pub fn contact(&self, peer: NodeId) -> Option<(Contact, Instant)> {
        self.contacts().get(&peer).copied()
    }

    fn found(&self, peer: NodeId, contact: Contact) {
        let mut contacts = self.contacts();
        if contacts.get(&peer).is_none_or(|(before, _)| *before != contact) {
            contacts.insert(peer, (contact, Instant::now()));
        }
    }

    fn unreached(&self, peer: NodeId, contact: Contact) {
        count(&self.counters.unreached, 1);
        self.found(peer, contact);
    }

    fn contacts(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Contact, Instant)>> {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Replicator> {
        self.replicator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session with each of these peers for as long as it is polled; dropped, it closes all of them.
///
/// `peers` are the replicator's own, with the addresses they listen at.
///
/// # Errors
/// When the credentials are of no use; a peer's failure is never one.
pub async fn run(
    desk: Arc<Desk>,
    node: NodeId,
    listener: TcpListener,
    peers: BTreeMap<NodeId, SocketAddr>,
    credentials: Credentials,
) -> anyhow::Result<()> {
    let tls = Arc::new(Tls::new(credentials)?);
    let mut tasks = JoinSet::new();
    for (peer, address) in peers.iter().filter(|(peer, _)| **peer > node) {
        tasks.spawn(dial(desk.clone(), tls.clone(), *peer, *address));
    }
    let callers = peers.into_keys().filter(|peer| *peer < node).collect();
    tasks.spawn(accept(desk.clone(), tls, listener, Arc::new(callers)));
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        desk.with(|replicator| replicator.tick(Instant::now()));
    }
}

async fn dial(desk: Arc<Desk>, tls: Arc<Tls>, peer: NodeId, address: SocketAddr) {
    let mut pause = *PAUSE.start();
    loop {
        let reach = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            tls.connector.connect(server_name(peer), stream).await
        };
        match timeout(HANDSHAKE, reach).await {
            Ok(Ok(stream)) => {
                // Only a session in which something was understood is a reason to hurry back.
                if link::converse(&desk, peer, stream).await {
                    pause = *PAUSE.start();
                }
            }
            Ok(Err(error)) => desk.unreached(peer, Contact::of(&error)),
            Err(_) => desk.unreached(peer, Contact::Silent),
        }
        // Not all at once, after a failure that all have seen.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(*PAUSE.end());
    }
}

async fn accept(desk: Arc<Desk>, tls: Arc<Tls>, listener: TcpListener, callers: Arc<BTreeSet<NodeId>>) {
    let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        let Ok(place) = strangers.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the next attempt would fail at once.
            tokio::time::sleep(*PAUSE.start()).await;
            continue;
        };
        // A stream that does not take it is broken, which the handshake finds.
        let _ = stream.set_nodelay(true);
        let (desk, tls, callers) = (desk.clone(), tls.clone(), callers.clone());
        conversations.spawn(async move {
            let known = match timeout(HANDSHAKE, tls.acceptor.accept(stream)).await {
                Ok(Ok(stream)) => tls::peer(stream.get_ref().1, &callers).map(|peer| (peer, stream)),
                Ok(Err(_)) | Err(_) => None,
            };
            drop(place);
            match known {
                Some((peer, stream)) => {
                    link::converse(&desk, peer, stream).await;
                }
                None => count(&desk.counters.strangers, 1),
            }
        });
    }
}
