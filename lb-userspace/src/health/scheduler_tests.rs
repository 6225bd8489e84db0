//! The scheduler against real sockets on the loopback interface.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{HttpProbe, Probe, StatusSet};
use crate::health::advice::{Advice, Order};
use crate::health::spec::{AgentSpec, Ask, CheckSpec, Question, Rhythm};
use crate::health::state::Thresholds;
use crate::health::state::Verdict;

const INTERVAL: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(500); // generous: only a silent server reaches it

type Events = UnboundedReceiver<Event<&'static str>>;

fn scheduler() -> (Scheduler<&'static str>, Events) {
    Scheduler::start(Limits::default(), None)
}

fn tcp(target: SocketAddr) -> Wanted {
    let thresholds = Thresholds::new(2, 3).expect("not zero");
    let question = Question { target, ask: Ask::Health(Probe::Tcp), path: None, timeout: TIMEOUT };
    let check = CheckSpec { question, rhythm: every(INTERVAL), thresholds };
    Wanted { check: Some(check), agent: None, paused: false, restored: None }
}

fn off() -> Wanted {
    Wanted { check: None, agent: None, paused: false, restored: None }
}

fn every(interval: Duration) -> Rhythm {
    Rhythm { up: interval, down: interval }
}

fn get(path: &str) -> Ask {
    Ask::Health(Probe::Http(HttpProbe {
        method: "GET".into(),
        path: path.into(),
        host: None,
        headers: Vec::new(),
        expect: StatusSet::default(),
        body: None,
        tls: None,
    }))
}

fn changed(wanted: &Wanted, change: impl FnOnce(&mut CheckSpec)) -> Wanted {
    let mut wanted = wanted.clone();
    change(wanted.check.as_mut().expect("a check"));
    wanted
}

async fn next(events: &mut Events) -> Event<&'static str> {
    tokio::time::timeout(Duration::from_secs(3), events.recv())
        .await
        .expect("an event in time")
        .expect("alive")
}

async fn no_news(events: &mut Events, during: Duration) {
    if let Ok(event) = tokio::time::timeout(during, events.recv()).await {
        panic!("unexpected {event:?}");
    }
}

/// A listener that counts the connections it accepted.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        // An address of its own, so that no other test is given its port while it is stopped.
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) as u8 + 1;
        Self::start_at(SocketAddr::from(([127, 0, 77, number], 0))).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("listen");
        let address = listener.local_addr().expect("address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, accepted, task }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

#[tokio::test]
async fn first_answers_come_at_once_and_once() {
    let (scheduler, mut events) = scheduler();
    let server = Server::start().await;
    let closed = Server::start().await.stop().await;
    let began = Instant::now();
    scheduler.apply([("up", tcp(server.address)), ("down", tcp(closed)), ("off", off())].into());
    let mut first = HashMap::new();
    for _ in 0..3 {
        let event = next(&mut events).await;
        assert!(event.first, "{event:?}");
        first.insert(event.key, (event.before, event.health, event.reason));
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let up = format!("connect {}: accepted", server.address);
    assert_eq!(first["up"], (Health::Unknown, Health::Up, up));
    assert_eq!(
        first["down"],
        (Health::Unknown, Health::Down, format!("connect {closed}: connection refused"))
    );
    assert_eq!(first["off"], (Health::Off, Health::Off, "no health check".into()));
    no_news(&mut events, INTERVAL * 5).await;
}

#[tokio::test]
async fn a_server_falls_after_three_failures_and_rises_after_two_passes() {
    let (scheduler, mut events) = scheduler();
    let server = Server::start().await;
    scheduler.apply([("rs", tcp(server.address))].into());
    assert_eq!(next(&mut events).await.health, Health::Up);

    let address = server.stop().await;
    let died = Instant::now();
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health, event.first), (Health::Up, Health::Down, false));
    assert!(died.elapsed() >= INTERVAL * 2 * 9 / 10 - INTERVAL, "three probes: {:?}", died.elapsed());
    assert_eq!(event.reason, format!("connect {address}: connection refused"));

    let server = Server::start_at(address).await;
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health), (Health::Down, Health::Up));
    assert!(server.accepted() >= 2, "rise = 2");
}

#[tokio::test]
async fn an_unchanged_check_keeps_its_row_while_others_come_and_go() {
    let (scheduler, mut events) = scheduler();
    let closed = Server::start().await.stop().await;
    let patient = changed(&tcp(closed), |check| check.thresholds = Thresholds::new(1, 15).expect("not zero"));
    let patient = Wanted { restored: Some(Verdict::Up), ..patient };
    scheduler.apply([("patient", patient.clone())].into());
    let event = next(&mut events).await;
    assert_eq!(
        (event.health, event.first),
        (Health::Up, true),
        "its first answer is told, the verdict stands"
    );
    for round in 0..10 {
        let mut wanted = HashMap::from([("patient", patient.clone())]);
        if round % 2 == 0 {
            wanted.insert("other", off());
        }
        scheduler.apply(wanted);
        tokio::time::sleep(INTERVAL / 2).await;
    }
    let standing = scheduler.standings().await.remove("patient").expect("known");
    assert!(standing.against >= 3, "the row went on through ten changes: {standing:?}");
    let fell = loop {
        let event = next(&mut events).await;
        if event.key == "patient" {
            break event;
        }
    };
    assert_eq!((fell.before, fell.health), (Health::Up, Health::Down));
}

#[tokio::test]
async fn another_question_keeps_the_verdict_and_another_address_does_not() {
    let (scheduler, mut events) = scheduler();
    let (server, other) = (Server::start().await, Server::start().await);
    let wanted = tcp(server.address);
    scheduler.apply([("rs", wanted.clone())].into());
    assert_eq!(next(&mut events).await.health, Health::Up);

    // This server never speaks HTTP, so the new check fails from the start; yet it takes three failures.
    let asked = Instant::now();
    scheduler.apply([("rs", changed(&wanted, |check| check.question.ask = get("/")))].into());
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health), (Health::Up, Health::Down));
    // Two waits, each of which jitter may shorten by a tenth.
    assert!(asked.elapsed() >= INTERVAL * 9 / 5, "{:?}", asked.elapsed());

    scheduler.apply([("rs", tcp(other.address))].into());
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health, event.first), (Health::Down, Health::Unknown, false));
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health, event.first), (Health::Unknown, Health::Up, true));
}

#[tokio::test]
async fn paused_and_removed_servers_are_left_alone() {
    let (scheduler, mut events) = scheduler();
    let (paused, removed) = (Server::start().await, Server::start().await);
    scheduler.apply([("paused", tcp(paused.address)), ("removed", tcp(removed.address))].into());
    next(&mut events).await;
    next(&mut events).await;

    scheduler.apply([("paused", Wanted { paused: true, ..tcp(paused.address) })].into());
    tokio::time::sleep(INTERVAL).await; // what was under way ends
    let before = (paused.accepted(), removed.accepted());
    tokio::time::sleep(INTERVAL * 5).await;
    assert_eq!((paused.accepted(), removed.accepted()), before);
    let standings = scheduler.standings().await;
    assert_eq!(standings.len(), 1);
    assert_eq!(
        (standings["paused"].health, standings["paused"].paused),
        (Health::Up, true),
        "the verdict stands"
    );

    scheduler.apply([("paused", tcp(paused.address))].into());
    tokio::time::sleep(INTERVAL * 3).await;
    assert!(paused.accepted() > before.0, "resumed");
    no_news(&mut events, INTERVAL).await;
}

#[tokio::test]
async fn a_new_reason_while_down_is_told() {
    let (scheduler, mut events) = scheduler();
    let closed = Server::start().await.stop().await;
    scheduler.apply([("rs", changed(&tcp(closed), |check| check.question.ask = get("/")))].into());
    assert_eq!(next(&mut events).await.reason, format!("connect {closed}: connection refused"));
    let _silent = TcpListener::bind(closed).await.expect("listen");
    let event = next(&mut events).await;
    assert_eq!((event.before, event.health), (Health::Down, Health::Down));
    assert_eq!(event.reason, "GET /: no answer within 500ms");
}

#[tokio::test]
async fn no_more_probes_run_at_once_than_allowed() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let silent = tcp(silent.local_addr().expect("address"));
    let wanted = |number: usize| {
        changed(&silent, |check| {
            check.question.ask = get(&format!("/{number}"));
            check.question.timeout = Duration::from_millis(100);
            check.rhythm = every(Duration::from_secs(10));
        })
    };
    let (scheduler, mut events) =
        Scheduler::start(Limits { concurrent: NonZeroUsize::new(5).expect("not zero") }, None);
    let began = Instant::now();
    scheduler.apply((0..20).map(|number| (number, wanted(number))).collect());
    for _ in 0..20 {
        let event = tokio::time::timeout(Duration::from_secs(3), events.recv())
            .await
            .expect("in time")
            .expect("alive");
        assert!(event.first && event.health == Health::Down, "{event:?}");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400), "20 probes of 100 ms, 5 at once, took only {took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[tokio::test]
async fn a_thousand_checks_leave_no_time_wait_behind() {
    let server = Server::start().await;
    let wanted = |number: u64| {
        changed(&tcp(server.address), |check| {
            // A SYN lost to a full backlog is sent again after a second. No two alike: they would be one.
            check.question.timeout = Duration::from_secs(5) + Duration::from_nanos(number);
            check.rhythm = every(Duration::from_secs(10));
        })
    };
    let (scheduler, mut events) = Scheduler::start(Limits::default(), None);
    scheduler.apply((0..1000).map(|number| (number, wanted(number))).collect());
    for _ in 0..1000 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv())
            .await
            .expect("in time")
            .expect("alive");
        assert_eq!(event.health, Health::Up, "{event:?}");
    }
    let (IpAddr::V4(ip), port) = (server.address.ip(), server.address.port()) else { panic!("IPv4") };
    let server = format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets()));
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("socket table");
    let waiting = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|columns| {
        (columns[1] == server || columns[2] == server) && columns[3] == TIME_WAIT // local, remote, state
    });
    assert_eq!(waiting.count(), 0);
}

#[tokio::test]
async fn who_asks_the_same_shares_the_probe_and_counts_for_itself() {
    let (scheduler, mut events) = scheduler();
    let server = Server::start().await;
    let patient = changed(&tcp(server.address), |check| {
        check.thresholds = Thresholds::new(2, 10).expect("not zero");
        check.rhythm = every(INTERVAL * 50);
    });
    let both = HashMap::from([("hasty", tcp(server.address)), ("patient", patient)]);
    scheduler.apply(both.clone());
    for _ in 0..2 {
        assert_eq!(next(&mut events).await.health, Health::Up);
    }
    let (before, began) = (server.accepted(), Instant::now());
    tokio::time::sleep(INTERVAL * 10).await;
    let probes = server.accepted() - before;
    let most = began.elapsed().as_millis() / (INTERVAL * 9 / 10).as_millis() + 1;
    assert!((2..=most as usize).contains(&probes), "{probes} probes, one in each {INTERVAL:?}, not two");

    let address = server.stop().await;
    let fell = next(&mut events).await;
    assert_eq!((fell.key, fell.health), ("hasty", Health::Down), "three failures");
    let standing = scheduler.standings().await.remove("patient").expect("known");
    assert!(standing.health == Health::Up && standing.against >= 3, "{standing:?}");
    // One of them may leave without the other.
    let patient_alone = both.into_iter().filter(|(key, _)| *key == "patient").collect();
    scheduler.apply(patient_alone);
    let _server = Server::start_at(address).await;
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(scheduler.standings().await.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_in_another_rhythm() {
    let (scheduler, mut events) = scheduler();
    let closed = Server::start().await.stop().await;
    let wanted = changed(&tcp(closed), |check| check.rhythm.down = INTERVAL * 15);
    scheduler.apply([("rs", wanted)].into());
    assert_eq!(next(&mut events).await.health, Health::Down);
    let down = Instant::now();
    let _server = Server::start_at(closed).await;
    assert_eq!(next(&mut events).await.health, Health::Up);
    assert!(down.elapsed() >= INTERVAL * 15 * 2 * 9 / 10, "two waits: {:?}", down.elapsed());
}

#[tokio::test]
async fn what_a_server_says_itself_is_told_and_stands_when_it_falls_silent() {
    let (scheduler, mut events) = scheduler();
    let agent = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = agent.local_addr().expect("address");
    let (speak, mut words) = tokio::sync::mpsc::channel::<&str>(1);
    let speaking = tokio::spawn(async move {
        let mut said = "up 50%\n";
        while let Ok((mut stream, _)) = agent.accept().await {
            said = words.try_recv().unwrap_or(said);
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, said.as_bytes()).await;
        }
    });
    let question = Question { target: address, ask: Ask::Agent(String::new()), path: None, timeout: TIMEOUT };
    let asked = Wanted { agent: Some(AgentSpec { question, interval: INTERVAL }), ..off() };
    scheduler.apply([("rs", asked)].into());
    assert_eq!(next(&mut events).await.said, None, "the check is off, which is told at once");
    let said = next(&mut events).await.said.expect("heard");
    assert_eq!((said.advice.share.percent(), said.trouble), (50, None));

    speak.send("drain # so it is\n").await.expect("speaks");
    let said = next(&mut events).await.said.expect("heard");
    assert_eq!(
        (said.advice.order, said.advice.share.percent()),
        (Order::Drain, 50),
        "what is not said stays"
    );

    speak.send("what\n").await.expect("speaks");
    let said = next(&mut events).await.said.expect("heard");
    assert_eq!(said.trouble.as_deref(), Some("said what is no word of the protocol: \"what\""));
    assert_eq!(said.advice.order, Order::Drain);

    speaking.abort();
    let said = loop {
        let said = next(&mut events).await.said.expect("heard");
        if said.trouble.as_ref().is_some_and(|trouble| trouble.contains("refused")) {
            break said;
        }
    };
    assert_eq!(Advice { order: Order::Drain, ..Advice::default() }.order, said.advice.order);
}
