//! Many connections held open from one client, idle or echoing, and the judgement over them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

use super::connection::{Connection, Order, Record, SharedRecord, lock};
use super::outcome::SwarmReport;
use super::runner::Runner;
use super::wire::{Garbled, Kind, Reply, Request};
use crate::namespace::Namespace;

/// What the connections do once they are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing, until [`Swarm::verify_all`].
    Idle,
    /// Send numbered bytes this often and check that they come back.
    Echo { every: Duration },
    /// Send one word, and from then on listen: the server speaks this often, and no word of it may be missing.
    Hear { every: Duration },
}

/// What to open.
#[derive(Clone, Debug)]
pub struct SwarmPlan {
    pub target: SocketAddr,
    pub connections: usize,
    pub activity: Activity,
    /// Bytes in each echo.
    pub payload: usize,
    /// Source addresses, taken in turn; empty lets the kernel choose.
    pub sources: Vec<IpAddr>,
    /// An answer missing for so long counts as a stall.
    pub stall_after: Duration,
    /// How long each connection may take to open and to learn its server's name.
    pub open_within: Duration,
}

impl SwarmPlan {
    /// Connections that echo 64 bytes as `activity` says, must open within 5 s, and stall after 1 s.
    pub fn new(target: impl Into<SocketAddr>, connections: usize, activity: Activity) -> Self {
        Self {
            target: target.into(),
            connections,
            activity,
            payload: 64,
            sources: Vec::new(),
            stall_after: Duration::from_secs(1),
            open_within: Duration::from_secs(5),
        }
    }
}

/// Open connections; dropping it closes them.
pub struct Swarm {
    members: Vec<Member>,
    stall_after: Duration,
    _runner: Runner,
}

struct Member {
    record: SharedRecord,
    orders: UnboundedSender<Order>,
}

/// Half-open at the same time: enough to be quick, few enough for any backlog.
const OPENING_AT_ONCE: usize = 128;

impl Swarm {
    /// Opens all connections from `namespace`, each asking its server's name; fails when any of them does not open.
    pub fn open(namespace: &Namespace, plan: &SwarmPlan) -> Result<Self> {
        let runner = Runner::start(namespace)?;
        let permits = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let opened = Arc::new(Mutex::new(Vec::with_capacity(plan.connections)));
        let mut pending = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let (done, wait_done) = oneshot::channel();
            pending.push(wait_done);
            let (permits, opened, plan) = (Arc::clone(&permits), Arc::clone(&opened), plan.clone());
            runner.spawn(async move {
                let Ok(_permit) = permits.acquire().await else { return };
                let result = open_member(&plan, index).await;
                let result = result.map(|member| {
                    opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(member);
                });
                let _opener_gone = done.send(result);
            });
        }
        let mut failures = Vec::new();
        for wait_done in pending {
            match wait_done.blocking_recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(anyhow!("a connection's task panicked")),
            }
        }
        if let Some(first) = failures.first() {
            bail!(
                "{} of {} connections to {} did not open, the first: {first:#}",
                failures.len(),
                plan.connections,
                plan.target
            );
        }
        let members = std::mem::take(&mut *opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(Self { members, stall_after: plan.stall_after, _runner: runner })
    }

    /// What became of each connection so far.
    pub fn report(&self) -> SwarmReport {
        let now = Instant::now();
        let report = |member: &Member| lock(&member.record).report(now, self.stall_after);
        SwarmReport { connections: self.members.iter().map(report).collect() }
    }

    /// Sends numbered bytes on every connection, the idle ones too, and waits up to `limit` for the right echo of each.
    /// One that has none by then is reported as stalled, whatever the plan's own limit.
    pub fn verify_all(&self, limit: Duration) -> SwarmReport {
        let wanted: Vec<u64> = self.members.iter().map(|member| lock(&member.record).proofs + 1).collect();
        for member in &self.members {
            // A task that has ended left its fate in the record.
            let _ended = member.orders.send(Order::Prove);
        }
        let proved = |(member, wanted): (&Member, &u64)| lock(&member.record).proofs >= *wanted;
        self.wait(limit, || {
            self.members.iter().zip(&wanted).all(|pair| lock(&pair.0.record).decided() || proved(pair))
        });
        let mut report = self.report();
        for ((connection, member), wanted) in report.connections.iter_mut().zip(&self.members).zip(&wanted) {
            if !lock(&member.record).decided() && !proved((member, wanted)) {
                connection.fate = super::outcome::Fate::Stalled(limit);
            }
        }
        report
    }

    /// Waits until every connection that still lives has received `pushes` unasked words; how many lack one.
    pub fn await_pushes(&self, pushes: u64, limit: Duration) -> usize {
        let lacks = |member: &&Member| lock(&member.record).pushes < pushes;
        self.wait(limit, || {
            self.members.iter().all(|member| lock(&member.record).decided() || !lacks(&member))
        });
        self.members.iter().filter(lacks).count()
    }

    /// The longest gap of each is measured from here on.
    pub fn forget_gaps(&self) {
        self.members.iter().for_each(|member| lock(&member.record).forget_gaps());
    }

    /// Closes every connection in good order (FIN) and returns the last report.
    pub fn close(self) -> SwarmReport {
        let report = self.report();
        for member in &self.members {
            let _ended = member.orders.send(Order::Close);
        }
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && self.members.iter().any(|member| !member.orders.is_closed()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        report
    }

    fn wait(&self, limit: Duration, done: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        while !done() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

async fn open_member(plan: &SwarmPlan, index: usize) -> Result<Member> {
    let source = (!plan.sources.is_empty()).then(|| plan.sources[index % plan.sources.len()]);
    let opening = async {
        let mut stream = connect(plan.target, source.map(|address| SocketAddr::new(address, 0))).await?;
        let mut buffer = Vec::new();
        let server = ask_name(&mut stream, &mut buffer).await?;
        anyhow::Ok((stream, buffer, server))
    };
    let (stream, buffer, server) =
        tokio::time::timeout(plan.open_within, opening).await.context("no answer in time")??;
    let record = Arc::new(Mutex::new(Record::new(stream.local_addr()?.port(), server)));
    let (orders, receiver) = unbounded_channel();
    let phase = match plan.activity {
        Activity::Idle => Duration::ZERO,
        // Spread over the period, so that the load is even.
        Activity::Echo { every } | Activity::Hear { every } => {
            every * index as u32 / plan.connections.max(1) as u32
        }
    };
    let connection = Connection {
        stream,
        record: Arc::clone(&record),
        nonce: index as u64,
        payload: plan.payload,
        buffer,
        activity: plan.activity,
    };
    tokio::spawn(connection.live(phase, receiver));
    Ok(Member { record, orders })
}

/// Connects from `source`, or from where the kernel likes.
pub(super) async fn connect(target: SocketAddr, source: Option<SocketAddr>) -> Result<TcpStream> {
    let socket = socket_for(target).context("no socket")?;
    if let Some(source) = source {
        socket.set_reuseaddr(true)?;
        socket.bind(source).with_context(|| format!("cannot bind {source}"))?;
    }
    let stream = socket.connect(target).await.with_context(|| format!("cannot connect to {target}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A socket of the address's family.
pub(super) fn socket_for(address: SocketAddr) -> std::io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Asks who is there; a banner that came unasked is skipped after a look at whose it is.
pub(super) async fn ask_name(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<String> {
    let question = Request { kind: Kind::Name, number: 0, payload: Vec::new() };
    stream.write_all(&question.encode()).await.context("cannot ask the server's name")?;
    let mut greeted_by = None;
    loop {
        while let Some(reply) =
            Reply::take(buffer).map_err(|Garbled(what)| anyhow!("instead of a name, {what}"))?
        {
            match (reply.request.kind, &greeted_by) {
                (Kind::Banner, _) => greeted_by = Some(reply.name),
                (Kind::Name, Some(first)) if *first != reply.name => {
                    bail!("{first} greeted and {} answered", reply.name)
                }
                (Kind::Name, _) => return Ok(reply.name),
                (kind, _) => bail!("instead of a name, {kind:?}"),
            }
        }
        if stream.read_buf(buffer).await.context("no name")? == 0 {
            bail!("closed before the server gave its name");
        }
    }
}
