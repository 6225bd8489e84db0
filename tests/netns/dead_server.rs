//! Servers die, come back, and all die.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::Delivery;
use xlvs_tests::traffic::{
    Activity, Fate, HandshakePlan, HandshakeReport, Swarm, SwarmPlan, UdpEchoServer, handshakes,
};

use crate::run::Run;
use crate::site::{Site, WEB, server};

pub const HEALTH: &str = "kind = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"100ms\"\nrise = 2\nfall = 2";

fn attempts(site: &Site, number: usize) -> HandshakeReport {
    let plan = HandshakePlan { limit: Duration::from_millis(900), ..HandshakePlan::new(WEB, number) };
    let report = handshakes(site.client(), &plan).unwrap();
    println!("{report}");
    report
}

/// Waits for a server's state and says how long it took.
pub fn wait_for(run: &Run<'_>, name: &str, state: &str) -> Duration {
    let began = Instant::now();
    while server(&run.status(), name)["state"] != state {
        assert!(began.elapsed() < Duration::from_secs(5), "{name} is still not {state}: {}", run.status());
        sleep(Duration::from_millis(20));
    }
    println!("{name} {state} after {} ms", began.elapsed().as_millis());
    began.elapsed()
}

#[test]
fn after_detection_no_new_connection_fails() {
    let site = Site::nat(3);
    let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
    site.configure(site.web_of(&[0, 1, 2]).health(HEALTH));
    let run = Run::start(&site);
    assert_eq!(attempts(&site, 300).by_server.len(), 3);

    // Its process ends: the kernel refuses.
    servers[1] = None;
    let failing = attempts(&site, 100);
    assert!(failing.opened() < 100, "before the detection some fail, or this test proves nothing");
    assert!(wait_for(&run, "rs2", "down") < Duration::from_secs(1));
    assert_eq!(attempts(&site, 500).opened(), 500);

    // It comes back.
    servers[1] = Some(site.serve(1));
    wait_for(&run, "rs2", "up");
    assert!(attempts(&site, 300).by_server["rs2"] > 50);

    // Its cable is pulled: silence.
    let unplugged = site.topology.unplug(2).unwrap();
    assert!(wait_for(&run, "rs3", "down") < Duration::from_secs(2));
    assert_eq!(attempts(&site, 500).opened(), 500);
    drop(unplugged);
    wait_for(&run, "rs3", "up");
}

#[test]
fn without_any_server_the_client_is_told_at_once_or_not_at_all_as_configured() {
    let site = Site::nat(2);
    let servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]).health(HEALTH));
    let run = Run::start(&site);
    drop(servers);
    wait_for(&run, "rs1", "down");
    wait_for(&run, "rs2", "down");
    let began = Instant::now();
    let refused = attempts(&site, 20);
    assert!(began.elapsed() < Duration::from_millis(500), "at once, not by time-out");
    assert_eq!(refused.failures.keys().collect::<Vec<_>>(), ["Connection refused (os error 111)"]);
    assert_eq!(run.verdict("replied_reset"), 20);

    site.reload(site.web_of(&[0, 1]).health(HEALTH).lines("on_no_server = \"drop\""));
    let silent = attempts(&site, 3);
    assert_eq!(silent.failures.keys().collect::<Vec<_>>(), ["nothing within 900ms"]);
    assert_eq!(run.verdict("replied_reset"), 20);
    assert!(run.verdict("dropped_no_server") >= 3);

    let _servers = site.serve_all();
    wait_for(&run, "rs1", "up");
    wait_for(&run, "rs2", "up");
    assert_eq!(attempts(&site, 100).opened(), 100);
}

/// So many clients, each of which sends datagrams from one port.
struct Speakers(Vec<UdpSocket>);

impl Speakers {
    fn of(site: &Site, number: usize) -> Self {
        let speaker = |_| {
            let socket =
                site.client().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
            socket.connect(site.target()).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        Self((0..number).map(speaker).collect())
    }

    /// Who answers each of them, in a moment.
    fn ask(&self) -> Vec<Option<String>> {
        // Refused is as good as unanswered.
        self.0.iter().for_each(|socket| drop(socket.send(b"ping")));
        sleep(Duration::from_millis(100));
        let answer = |socket: &UdpSocket| {
            let mut bytes = [0; 100];
            let length = socket.recv(&mut bytes).ok()?;
            let name = bytes[1..length].get(..usize::from(bytes[0]))?;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        self.0.iter().map(answer).collect()
    }
}

#[test]
fn who_speaks_udp_to_a_dead_server_has_another_within_a_second() {
    for site in [Site::nat(3), Site::direct(3)] {
        let serve = |index: usize| {
            let server = &site.servers()[index];
            UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
        };
        let _servers: Vec<_> = (0..3).map(serve).collect();
        let udp = HEALTH.replace("tcp", "udp") + "\nsend = \"ping\"";
        let service = ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0, 1, 2]) };
        site.configure(service.health(&udp));
        let run = Run::start(&site);
        let speakers = Speakers::of(&site, 60);
        let before = speakers.ask();
        assert!(before.iter().all(Option::is_some), "{before:?}");

        let _unplugged = site.topology.unplug(2).unwrap();
        let silent = speakers.ask().iter().filter(|answer| answer.is_none()).count();
        assert!((5..=40).contains(&silent), "those it had, as long as nobody knows: {silent}");
        wait_for(&run, "rs3", "down");
        let after = speakers.ask();
        println!("{silent} of 60 were silent");
        for (before, after) in before.iter().zip(&after) {
            assert!(after.is_some(), "{before:?} -> {after:?}");
            assert!(before == after || before.as_deref() == Some("rs3"), "{before:?} -> {after:?}");
        }
    }
}

/// Echoing connections to two servers, one of which loses its cable; what became of those it had, a second after the director
/// found out, with this line in the service's table.
fn lost_with(site: &Site, policy: &str) -> [usize; 3] {
    let _servers = site.serve_all();
    let _checked = if site.delivery == Delivery::DirectRouting { site.serve_checks() } else { Vec::new() };
    site.configure(site.web_of(&[0, 1]).health(HEALTH).lines(policy));
    let run = Run::start(site);
    let every = Duration::from_millis(50);
    let swarm =
        Swarm::open(site.client(), &SwarmPlan::new(site.target(), 40, Activity::Echo { every })).unwrap();
    sleep(Duration::from_millis(500));
    let at_first = swarm.report().by_server().get("rs1").copied().unwrap_or(0);
    assert!((5..36).contains(&at_first), "both servers have some: {}", swarm.report());
    let _unplugged = site.topology.unplug(0).unwrap();
    wait_for(&run, "rs1", "down");
    sleep(Duration::from_secs(1));
    let report = swarm.report();
    println!("{policy}: {report}; verdicts {}", run.status()["verdicts"]);
    let others = report.connections.iter().filter(|one| one.server != "rs1" && one.fate != Fate::Alive);
    assert_eq!(others.count(), 0, "those of the other server go on: {report}");
    let told = run.verdict("replied_reset");
    assert!(told >= report.count("reset") as u64, "it was the director who told them: {told}");
    [at_first, report.count("reset"), report.count("alive") + report.count("stalled")]
}

#[test]
fn whose_server_is_lost_is_reset_at_once_where_the_policy_says_so() {
    for site in [Site::nat(2), Site::direct(2), Site { family: Family::V6, ..Site::nat(2) }] {
        let [at_first, reset, _] = lost_with(&site, "on_server_down = \"reset\"");
        assert_eq!(reset, at_first);
    }
}

/// The control: by default nobody is told.
#[test]
fn whose_server_is_lost_waits_by_default() {
    let [_, reset, open] = lost_with(&Site::nat(2), "");
    assert_eq!((reset, open), (0, 40));
}

/// Its checks succeed, since the director itself asks them; only the clients' waiting tells.
#[test]
fn a_server_whose_answers_go_elsewhere_is_told() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    // A small table, which is walked over each second.
    site.configure(format!("[datapath]\nflow_table_size = 65536\n{}", site.web_of(&[0, 1]).health(HEALTH)));
    let run = Run::start(&site);
    assert_eq!(attempts(&site, 40).opened(), 40);
    let silent = |name: &str| server(&run.status(), name)["unanswered"].as_u64().unwrap();
    let warnings = || run.status()["warnings"].to_string();
    assert_eq!((silent("rs1"), silent("rs2")), (0, 0));

    site.servers()[0].namespace.ip("route del default").unwrap();
    let lost = attempts(&site, 40);
    assert!((5..35).contains(&lost.opened()), "those of rs1 hear nothing: {lost}");
    let began = Instant::now();
    while silent("rs1") == 0 {
        assert!(began.elapsed() < Duration::from_secs(15), "{}", run.status());
        sleep(Duration::from_millis(200));
    }
    println!("told after {} ms: {}", began.elapsed().as_millis(), warnings());
    assert!(warnings().contains("web/rs1 leaves "), "{}", warnings());
    assert_eq!(silent("rs2"), 0, "{}", run.status());
    assert_eq!(server(&run.status(), "rs1")["health"], "up");
}
