//! Directors as they are, without a data path: each on a thread of its own, over the mesh with its certificates, on loopback.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_common::identity::{FLOW_ID_BITS, FlowId, mix};
use lb_userspace::replication::backup::Scope;
use lb_userspace::replication::join::Patience;
use lb_userspace::replication::record::{ByKind, Class, Connection, Content, Pair};
use lb_userspace::replication::replicator::{Replicator, Setup};
use lb_userspace::replication::store::Bounds;
use lb_userspace::replication::transport::credentials::{Authority, Credentials};
use lb_userspace::replication::transport::{Desk, run};
use lb_userspace::replication::version::{NodeId, Origin};
use tokio::sync::oneshot;
use xlvs_tests::folder::Folder;

/// Servers of the one service.
const SERVERS: u64 = 100;
/// Seconds: longer than any bench, so that nothing lapses.
const IDLE: u32 = 900;
/// Nothing that is waited for takes so long where anything works.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who belongs together, and where each listens.
pub struct Cluster {
    folder: Folder,
    /// The highest first: a director is dialled by all that come after it, so that whoever is started last is not waited for.
    members: Vec<(NodeId, SocketAddr)>,
}

impl Cluster {
    pub fn create(size: usize) -> Result<Self> {
        let folder = Folder::create("xlvs-bench")?;
        let authority = Authority::create(folder.path())?;
        let mut names: Vec<String> = (1..=size).map(|number| format!("lb{number}")).collect();
        names.sort_by_key(|name| std::cmp::Reverse(NodeId::of(name)));
        let mut members = Vec::new();
        let mut sockets = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let own = folder.path().join(index.to_string());
            std::fs::create_dir(&own)?;
            authority.issue(name, &own)?;
            // Held until all have one, so that no two get the same port.
            let socket = TcpListener::bind("127.0.0.1:0")?;
            members.push((NodeId::of(name), socket.local_addr()?));
            sockets.push(socket);
        }
        Ok(Self { folder, members })
    }

    pub fn start(&self, index: usize) -> Result<Director> {
        let (node, address) = self.members[index];
        let peers: BTreeMap<NodeId, SocketAddr> =
            self.members.iter().copied().filter(|(peer, _)| *peer != node).collect();
        let setup = Setup {
            origin: Origin { node, life: 1 },
            recovering: false,
            domain: "bench".to_owned(),
            since_1970: Duration::ZERO,
            peers: peers.keys().copied().collect(),
            scope: Scope::All,
            bounds: Bounds {
                records: ByKind { connections: 1 << 22, seats: 1 << 20, leases: 1 << 20 },
                tombstones: 1 << 20,
                origins: 16,
                longest_idle: Duration::from_secs(u64::from(IDLE)),
            },
            quarantine: 1024,
            dirty: 1 << 18,
            digest_interval: Duration::from_secs(10),
            patience: Patience::default(),
        };
        let now = Instant::now();
        let mut replicator = Replicator::new(setup, 0, now);
        replicator.configure((0..SERVERS).map(pair))?;
        replicator.begin(now);
        let desk = Arc::new(Desk::new(replicator));
        let credentials = Credentials::load(&self.folder.path().join(index.to_string()))?;
        let socket = TcpListener::bind(address).context("the director's port was taken meanwhile")?;
        socket.set_nonblocking(true)?;

        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let shared = desk.clone();
        let thread = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _ = tell.send(nix::unistd::gettid());
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket)?;
                tokio::select! {
                    ended = run(shared, node, listener, peers, credentials) => ended,
                    _ = stopped => Ok(()),
                }
            })
        });
        let thread_id = told.recv().context("the director's thread did not begin")?;
        let clock = PathBuf::from(format!("/proc/self/task/{thread_id}/schedstat"));
        Ok(Director { desk, node, clock, stop: Some(stop), thread: Some(thread) })
    }
}

/// One that runs; dropped, it dies without a word to its peers.
pub struct Director {
    pub desk: Arc<Desk>,
    pub node: NodeId,
    clock: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Director {
    /// Publishes the connections of these numbers, some thousand at a time as an agent's scan does.
    pub fn publish(&self, numbers: std::ops::Range<u64>) -> Result<()> {
        let mut from = numbers.start;
        while from < numbers.end {
            let to = numbers.end.min(from + 4096);
            let now = Instant::now();
            self.desk.with(|it| (from..to).try_for_each(|n| it.publish(flow(n), connection(n), now)))?;
            from = to;
        }
        self.forget_changes();
        Ok(())
    }

    /// The agent would write these to the data path's table.
    pub fn forget_changes(&self) {
        drop(self.desk.with(Replicator::changes));
    }

    pub fn wait(&self, what: &str, condition: impl Fn(&Replicator) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !self.desk.with(|it| condition(it)) {
            ensure!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Both have a session, and this one's peer has acknowledged everything.
    pub fn wait_for(&self, peer: &Self) -> Result<()> {
        self.wait("a peer in sync", |it| it.in_sync(peer.node) == Some(true))
    }

    pub fn bytes_sent(&self) -> u64 {
        self.desk.counters.bytes_sent.load(Ordering::Relaxed)
    }

    /// Time its thread has had a processor.
    pub fn processor_time(&self) -> Result<Duration> {
        let text = std::fs::read_to_string(&self.clock).context("the thread's time")?;
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        Ok(Duration::from_nanos(first.parse()?))
    }

    /// Live records of this origin, each with its version and content.
    fn records(&self, origin: NodeId) -> Vec<(FlowId, u64, Content)> {
        self.desk.with(|it| {
            let theirs = it
                .store()
                .iter()
                .filter(|(_, entry)| entry.version.origin.node == origin && entry.connection().is_some());
            theirs.map(|(flow, entry)| (flow, entry.version.counter, entry.content)).collect()
        })
    }

    /// The peer holds just what this one has published, `count` records.
    pub fn is_copied_by(&self, peer: &Self, count: usize) -> Result<()> {
        let (own, theirs) = (self.records(self.node), peer.records(self.node));
        ensure!(own.len() == count, "{} records were published, {count} should have been", own.len());
        ensure!(
            own == theirs,
            "the peer holds {} records, and not the {} it should",
            theirs.len(),
            own.len()
        );
        Ok(())
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("a director failed: {error:#}");
        }
    }
}

/// The connection of this number.
pub fn flow(number: u64) -> FlowId {
    FlowId::from_bits(mix(number) >> (u64::BITS - FLOW_ID_BITS))
}

pub fn connection(number: u64) -> Connection {
    Connection { target: pair(number % SERVERS).target(), class: Class::Established, idle: IDLE }
}

fn pair(number: u64) -> Pair {
    Pair {
        service: "web".to_owned(),
        lane: "nat tcp 10.77.1.100:80".to_owned(),
        server: format!("rs{number}"),
    }
}

/// Bytes of memory this process has.
pub fn memory() -> Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split_whitespace().nth(1).context("an empty statm")?.parse()?;
    Ok(resident * 4096)
}
