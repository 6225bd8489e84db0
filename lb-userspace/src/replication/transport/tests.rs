//! Two directors over real sockets, and those who only say that they are one.

mod proxy;
mod silence;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::credentials::{Authority, Credentials, server_name};
use super::tls::Tls;
use super::{Desk, run};
use crate::replication::refusal::Refusal;
use crate::replication::replicator::Replicator;
use crate::replication::tests::{connection, flow, pair as target, setup};
use crate::replication::version::NodeId;

const NAMES: [&str; 2] = ["lb1", "lb2"];

struct Director {
    desk: Arc<Desk>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Director {
    /// One that believes this authority and has `other` as its peer.
    fn start(name: &str, life: u64, listener: TcpListener, other: (&str, SocketAddr), folder: &Path) -> Self {
        let address = listener.local_addr().unwrap();
        let (now, mut setup) = (Instant::now(), setup(name, other.0));
        setup.origin.life = life;
        let mut replicator = Replicator::new(setup, 0, now);
        replicator.configure([target("rs1"), target("rs2")]).unwrap();
        replicator.begin(now);
        let desk = Arc::new(Desk::new(replicator));
        let peers = BTreeMap::from([(NodeId::of(other.0), other.1)]);
        let credentials = Credentials::load(folder).unwrap();
        let (shared, node) = (desk.clone(), NodeId::of(name));
        let task =
            tokio::spawn(async move { run(shared, node, listener, peers, credentials).await.unwrap() });
        Self { desk, address, task }
    }

    async fn wait(&self, what: &str, condition: impl Fn(&Replicator) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition(&self.desk.lock()) {
            assert!(Instant::now() < until, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn strangers(&self) -> u64 {
        self.desk.counters.strangers.load(Ordering::Relaxed)
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn papers(folder: &Path, names: &[&str]) {
    let authority = Authority::create(folder).unwrap();
    for name in names {
        std::fs::create_dir(folder.join(name)).unwrap();
        authority.issue(name, &folder.join(name)).unwrap();
    }
}

/// The two, the one that is dialled last.
async fn pair(folder: &Path) -> [Director; 2] {
    let sockets = [socket().await, socket().await];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    pair_at(folder, sockets, addresses)
}

/// The two at these sockets, each of which the other looks for at the address.
fn pair_at(folder: &Path, sockets: [TcpListener; 2], addresses: [SocketAddr; 2]) -> [Director; 2] {
    let [first, second] = sockets;
    let mut pair = [
        Director::start(NAMES[0], 1, first, (NAMES[1], addresses[1]), &folder.join(NAMES[0])),
        Director::start(NAMES[1], 1, second, (NAMES[0], addresses[0]), &folder.join(NAMES[1])),
    ];
    if NodeId::of(NAMES[0]) > NodeId::of(NAMES[1]) {
        pair.swap(0, 1);
    }
    pair
}

fn holds(flow: FlowId) -> impl Fn(&Replicator) -> bool {
    move |replicator| replicator.replica(flow).is_some()
}

#[tokio::test]
async fn what_one_publishes_the_other_holds_and_a_broken_stream_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    papers(folder.path(), &NAMES);
    let [caller, called] = pair(folder.path()).await;
    let publish = |director: &Director, number| {
        let now = Instant::now();
        director.desk.with(|it| it.publish(flow(number), connection("rs1"), now)).unwrap();
    };
    publish(&caller, 1);
    called.wait("the first record", holds(flow(1))).await;
    publish(&called, 2);
    caller.wait("the other way", holds(flow(2))).await;

    // A director dies without a word, and another life of it comes back at its address.
    let (address, other) = (called.address, caller.address);
    let name = NAMES.into_iter().find(|name| NodeId::of(name) == called_node()).unwrap();
    let peer = NAMES.into_iter().find(|other| *other != name).unwrap();
    called.task.abort();
    drop(called);
    caller.wait("the end of the session", |it| it.in_sync(called_node()).is_none()).await;
    publish(&caller, 3);
    let listener = TcpListener::bind(address).await.unwrap();
    let again = Director::start(name, 2, listener, (peer, other), &folder.path().join(name));
    for number in [1, 3] {
        again.wait("what happened meanwhile", holds(flow(number))).await;
    }
    assert_eq!(again.strangers() + caller.strangers(), 0);
}

/// The node that is dialled.
fn called_node() -> NodeId {
    NodeId::of(NAMES[0]).max(NodeId::of(NAMES[1]))
}

#[tokio::test]
async fn strangers_are_counted_and_change_nothing() {
    let (folder, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // lb3 has the cluster's certificate and is nobody's peer; the other lb1 and lb2 are of another authority.
    papers(folder.path(), &["lb1", "lb2", "lb3"]);
    papers(foreign.path(), &NAMES);
    let [_caller, called] = pair(folder.path()).await;
    let peer = NAMES.map(NodeId::of).into_iter().min().unwrap();
    called.wait("the session", |it| it.in_sync(peer) == Some(true)).await;

    let mut plain = TcpStream::connect(called.address).await.unwrap();
    plain.write_all(&[0xff; 64]).await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    for papers in [folder.path().join("lb3"), foreign.path().join("lb1"), foreign.path().join("lb2")] {
        // They believe the cluster, so that it is the cluster that has to tell.
        let authority = Credentials::load(&folder.path().join("lb3")).unwrap().authority;
        let tls = Tls::new(Credentials { authority, ..Credentials::load(&papers).unwrap() }).unwrap();
        let stream = TcpStream::connect(called.address).await.unwrap();
        // TLS 1.3: the client may believe that it is in before its certificate has been looked at.
        if let Ok(mut stream) = tls.connector.connect(server_name(called_node()), stream).await {
            let _ = stream.write_all(&[1, 0, 0, 0, 0]).await;
            assert!(!matches!(stream.read(&mut [0; 16]).await, Ok(1..)), "an answer to a stranger");
        }
    }
    called.wait("four strangers", |_| called.strangers() == 4).await;
    assert_eq!(called.desk.lock().in_sync(peer), Some(true), "the session goes on");
    assert_eq!(called.desk.lock().refusals().iter().count(), 0);
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_loses_its_session_and_may_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    papers(folder.path(), &NAMES);
    let [caller, called] = pair(folder.path()).await;
    let peer = NAMES.map(NodeId::of).into_iter().min().unwrap();
    let name = NAMES.into_iter().find(|name| NodeId::of(name) == peer).unwrap();
    called.wait("the session", |it| it.in_sync(peer) == Some(true)).await;
    drop(caller);
    let forged: [(&[u8], Refusal); 3] = [
        (&[0, 0, 0, 0], Refusal::FrameEmpty),
        (&[0xff; 4], Refusal::FrameTooLong),
        (&[1, 0, 0, 0, 0xff], Refusal::Malformed),
    ];
    for (bytes, refusal) in forged {
        let tls = Tls::new(Credentials::load(&folder.path().join(name)).unwrap()).unwrap();
        let stream = TcpStream::connect(called.address).await.unwrap();
        let mut stream = tls.connector.connect(server_name(called_node()), stream).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        called.wait("the refusal", |it| it.refusals().of(refusal) == 1).await;
        called.wait("the end of the session", |it| it.in_sync(peer).is_none()).await;
    }
    assert_eq!(called.strangers(), 0, "whoever has the certificate is the peer");
}

#[test]
fn credentials_are_private_and_never_replaced() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    papers(folder.path(), &["lb1"]);
    let mode = |file: &str| folder.path().join(file).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca-key.pem"), mode("lb1/node-key.pem")), (0o600, 0o600));
    assert!(Authority::create(folder.path()).is_err());
    let authority = Authority::open(folder.path()).unwrap();
    assert!(authority.issue("lb1", &folder.path().join("lb1")).is_err());
}
