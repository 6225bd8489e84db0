//! A peer that is not there any more, and how that shows.

use super::proxy::{Passage, Proxy};
use super::*;
use crate::replication::frame::framed;
use crate::replication::message::{Envelope, Hello, Message, encode};
use crate::replication::transport::contact::Contact;
use crate::replication::transport::link::SILENCE;

/// How long it takes to be seen at most: the silence, and time for a busy machine.
const SEEN: Duration = Duration::from_secs(5);

struct Linked {
    caller: Director,
    called: Director,
    link: Proxy,
    folder: tempfile::TempDir,
}

impl Linked {
    /// Two directors in a session, with a link between them that is ours.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        papers(folder.path(), &NAMES);
        let sockets = [socket().await, socket().await];
        let mut addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let dialled = NAMES.iter().position(|name| NodeId::of(name) == called_node()).unwrap();
        let link = Proxy::to(addresses[dialled]).await;
        addresses[dialled] = link.address;
        let [caller, called] = pair_at(folder.path(), sockets, addresses);
        called.wait("the session", |it| it.in_sync(calling_node()) == Some(true)).await;
        Self { caller, called, link, folder }
    }

    /// What each of the two makes of the other.
    fn contacts(&self) -> [Option<Contact>; 2] {
        let of = |director: &Director, peer| director.desk.contact(peer).map(|(contact, _)| contact);
        [of(&self.caller, called_node()), of(&self.called, calling_node())]
    }

    fn ended(&self) -> u64 {
        [&self.caller, &self.called]
            .map(|director| director.desk.counters.ended.load(Ordering::Relaxed))
            .iter()
            .sum()
    }
}

fn calling_node() -> NodeId {
    NodeId::of(NAMES[0]).min(NodeId::of(NAMES[1]))
}

/// How long it takes until this holds.
async fn until(what: &str, most: Duration, condition: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < most, "{what}: not within {most:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn two_that_have_nothing_to_say_hear_of_each_other() {
    let linked = Linked::start().await;
    let frames = || linked.caller.desk.counters.frames_received.load(Ordering::Relaxed);
    let before = frames();
    tokio::time::sleep(2 * SILENCE).await;
    let heard = frames() - before;
    // Twelve pulses are due, and a tick is 100 ms; no digest is.
    assert!((8..=14).contains(&heard), "{heard} frames in {:?}", 2 * SILENCE);
    assert_eq!((linked.ended(), linked.contacts()), (0, [Some(Contact::Session); 2]));
}

/// The same link without the pulses: the sessions of two that are well and have nothing to say would end.
#[tokio::test]
async fn without_pulses_silence_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    papers(folder.path(), &NAMES);
    let [caller, called] = pair(folder.path()).await;
    drop(caller);
    called.wait("the end of the caller's session", |it| it.in_sync(calling_node()).is_none()).await;
    // A peer that reads everything and never says a word.
    let mut stream = forged_caller(&folder, called.address).await;
    called.wait("the new session", |it| it.in_sync(calling_node()).is_some()).await;
    let read = tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
    let took = until("the end of the silent one", SEEN, || {
        called.desk.contact(calling_node()).is_some_and(|(contact, _)| contact == Contact::Silent)
    })
    .await;
    assert!(took > SILENCE - Duration::from_millis(500), "given up after {took:?}");
    assert_eq!(called.desk.counters.silent.load(Ordering::Relaxed), 1);
    read.abort();
}

#[tokio::test]
async fn a_cut_link_is_noticed_by_both_and_mended() {
    let linked = Linked::start().await;
    linked.link.set(Passage::Shut);
    let took = until("silence", SEEN, || linked.contacts() == [Some(Contact::Silent); 2]).await;
    assert!(took > SILENCE - Duration::from_secs(1), "noticed after {took:?}: not by silence");
    let silent = |director: &Director| director.desk.counters.silent.load(Ordering::Relaxed);
    assert_eq!((silent(&linked.caller), silent(&linked.called)), (1, 1));
    // Connections are taken where nothing is carried, so each attempt ends by time.
    let unreached = || linked.caller.desk.counters.unreached.load(Ordering::Relaxed);
    until("an attempt", 2 * SEEN, || unreached() > 0).await;
    assert_eq!(linked.contacts()[0], Some(Contact::Silent));
    linked.link.set(Passage::Open);
    until("the new session", 3 * SEEN, || linked.contacts() == [Some(Contact::Session); 2]).await;
}

#[tokio::test]
async fn a_dead_agent_on_a_living_host_is_told_from_silence_at_once() {
    let Linked { caller, called, link, folder } = Linked::start().await;
    drop((link, called));
    let contact = || caller.desk.contact(called_node()).map(|(contact, _)| contact);
    until("the end", Duration::from_secs(1), || contact() == Some(Contact::Closed)).await;
    // Nobody listens at that address any more: refused, and that is no silence either.
    let unreached = || caller.desk.counters.unreached.load(Ordering::Relaxed);
    until("attempts", SEEN, || unreached() >= 2).await;
    assert_eq!(contact(), Some(Contact::Closed));
    assert_eq!(caller.desk.counters.silent.load(Ordering::Relaxed), 0);
    drop(folder);
}

/// Its stream is full from the first second to the last, and its pulses wait behind the records.
#[tokio::test]
async fn a_slow_peer_that_takes_bytes_is_not_given_up() {
    let linked = Linked::start().await;
    linked.link.set(Passage::Slow);
    for number in 0..4000 {
        let now = Instant::now();
        linked.caller.desk.with(|it| it.publish(flow(number), connection("rs1"), now)).unwrap();
    }
    let begun = Instant::now();
    let all = || linked.called.desk.lock().store().live() == 4000;
    until("all records", Duration::from_secs(60), all).await;
    assert!(begun.elapsed() > 2 * SILENCE, "{:?} is no slow link", begun.elapsed());
    assert_eq!((linked.ended(), linked.contacts()), (0, [Some(Contact::Session); 2]));
}

/// It says that it lives and does not read: that costs the bounds, and shows as a lag.
#[tokio::test]
async fn a_peer_that_talks_and_takes_nothing_is_behind_and_not_silent() {
    let folder = tempfile::tempdir().unwrap();
    papers(folder.path(), &NAMES);
    let [caller, called] = pair(folder.path()).await;
    drop(caller);
    called.wait("the end of the caller's session", |it| it.in_sync(calling_node()).is_none()).await;
    let mut stream = forged_caller(&folder, called.address).await;
    let (node, domain) = (calling_node(), "edge".to_owned());
    let hello = Hello { lowest: 2, highest: 2, domain, node, life: 9, recovering: false };
    let talk = tokio::spawn(async move {
        let mut message = Message::Hello(hello);
        for sequence in 1.. {
            let body = encode(&Envelope { sequence, message });
            stream.write_all(&framed(&body)).await.unwrap();
            stream.flush().await.unwrap();
            message = Message::Pulse;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let lag = || called.desk.lock().lag(calling_node(), Instant::now());
    let begun = Instant::now();
    for number in (0..).take_while(|_| begun.elapsed() < SILENCE + Duration::from_secs(1)) {
        let now = Instant::now();
        called.desk.with(|it| it.publish(flow(number), connection("rs1"), now)).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let lag = lag().expect("the session goes on");
    assert!(lag.oldest.is_some_and(|oldest| oldest > SILENCE), "{lag:?}");
    assert!(lag.stale || lag.dirty > 0, "{lag:?}: everything was sent");
    talk.abort();
}

/// Somebody with the caller's certificate.
async fn forged_caller(
    folder: &tempfile::TempDir,
    address: SocketAddr,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let name = NAMES.into_iter().find(|name| NodeId::of(name) == calling_node()).unwrap();
    let tls = Tls::new(Credentials::load(&folder.path().join(name)).unwrap()).unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(address).await.unwrap();
    tls.connector.connect(server_name(called_node()), stream).await.unwrap()
}
