//! What `xlvs explain` says of a frame is, byte for byte, what `xlvs capture` then sees happen to it; and a capture holds
//! exactly the frames it was asked for, and leaves nothing behind, however it ends.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::accounting::attachment;
use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::pace;
use xlvs_tests::packet::{Extension, Frame, Icmp, Ipv4, Ipv6, Tcp, TcpFlags, Transport, Udp};
use xlvs_tests::packet_socket::PacketSocket;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout};
use xlvs_tests::traffic::{HandshakePlan, handshakes};

use crate::run::Run;
use crate::site::Site;

/// Nobody's: what is sent to it is lost, so that no kernel adds packets of its own.
const SENDER: [u8; 6] = [2, 0, 0, 0, 9, 9];
const WEB: u16 = 80;
const CLOSED: u16 = 81;
const SLOW: u16 = 82;
const DNS: u16 = 53;

/// A capture under way, in a process of its own.
struct Capture {
    process: Child,
}

impl Capture {
    /// Once the capturing program is behind the hook.
    fn start(run: &mut Run<'_>, site: &Site, args: &[&str]) -> Self {
        let serving = program(site);
        let mut command = site.installation.command(&[&["capture", "-o", "json"], args].concat()).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        wait_until("the capturing program is attached", || program(site) != serving);
        run.look();
        Self { process }
    }

    /// The frames, once it has ended by itself.
    fn frames(mut self) -> Vec<Value> {
        let mut text = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.process.wait().unwrap().success());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn program(site: &Site) -> u32 {
    let interface = site.topology.director_devices()[0];
    attachment(site.director(), interface).unwrap().expect("a program").program
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let limit = pace::limit(Duration::from_secs(10));
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn inject(client: &Namespace, frame: &[u8]) {
    let frames = [frame.to_vec()];
    let sent = client.enter(move || PacketSocket::open("eth0").and_then(|socket| Ok(socket.send(&frames)?)));
    assert_eq!(sent.unwrap().unwrap(), 1);
}

/// Makes frames of a client who does not exist.
struct Stranger {
    director: [u8; 6],
    source: IpAddr,
    vip: IpAddr,
}

impl Stranger {
    fn of(site: &Site, host: u8) -> Self {
        let director = site.topology.director_mac(site.topology.director_interfaces()[0]).unwrap();
        let source: IpAddr = match site.family {
            Family::V4 => Ipv4Addr::new(10, 77, 1, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0x99, host.into()).into(),
        };
        Self { director, source, vip: site.target().ip() }
    }

    /// `shape`: what else is to be said of the packet, by family.
    fn packet(
        &self,
        transport: impl Into<Transport>,
        v4: impl FnOnce(Ipv4) -> Ipv4,
        v6: impl FnOnce(Ipv6) -> Ipv6,
    ) -> Vec<u8> {
        match (self.source, self.vip) {
            (IpAddr::V4(source), IpAddr::V4(vip)) => {
                Frame::new(SENDER, self.director, v4(Ipv4::new(source, vip, transport))).bytes()
            }
            (IpAddr::V6(source), IpAddr::V6(vip)) => {
                Frame::new(SENDER, self.director, v6(Ipv6::new(source, vip, transport))).bytes()
            }
            _ => unreachable!("both are of the site's family"),
        }
    }

    fn plain(&self, transport: impl Into<Transport>) -> Vec<u8> {
        self.packet(transport, |packet| packet, |packet| packet)
    }

    fn fragment(&self, transport: impl Into<Transport>, offset: u16, more: bool) -> Vec<u8> {
        // In units of eight bytes, as the field has them.
        self.packet(
            transport,
            |packet| packet.fragment(offset, more),
            |packet| packet.extension(Extension::fragment(offset, more)),
        )
    }
}

/// What is sent, in order, and the verdict it ends in (of several, one; by the family or the mode).
fn situations(site: &Site) -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    const FORWARDED: &[&str] = &["forwarded_nat", "forwarded_dr"];
    let stranger = Stranger::of(site, 201);
    let denied = Stranger::of(site, 202);
    let data = |port| Tcp::new(40_000, port, TcpFlags::ACK | TcpFlags::PSH).payload(*b"hello");
    let ping = match site.family {
        Family::V4 => Icmp::ping(7, 1, *b"ping"),
        Family::V6 => Icmp::ping_v6(7, 1, *b"ping"),
    };
    let error = {
        // About a packet of no connection.
        let about = stranger.plain(Tcp::syn(WEB, 39_999, 1))[14..].to_vec();
        let kind = if site.family == Family::V4 { 3 } else { 1 };
        let icmp = Icmp::new(kind, 1, [0; 4], about);
        Icmp { version_6: site.family == Family::V6, ..icmp }
    };
    let datagram = || Udp::new(40_000, DNS, vec![7; 64]);
    vec![
        ("a new connection", stranger.plain(Tcp::syn(40_000, WEB, 1)), FORWARDED),
        ("its SYN once more", stranger.plain(Tcp::syn(40_000, WEB, 1)), FORWARDED),
        ("its data", stranger.plain(data(WEB)), FORWARDED),
        ("amid a connection nobody knows", stranger.plain(Tcp::ack(40_001, WEB, 5, 6)), FORWARDED),
        ("nobody listens there", stranger.plain(Tcp::syn(40_000, 9, 1)), &["passed_no_service"]),
        (
            "its hops are used up",
            stranger.packet(data(WEB), |p| p.ttl(1), |p| p.hop_limit(1)),
            &["replied_time_exceeded"],
        ),
        ("who is denied", denied.plain(Tcp::syn(40_000, CLOSED, 1)), &["dropped_denied"]),
        ("who is not", stranger.plain(Tcp::syn(40_000, CLOSED, 1)), FORWARDED),
        ("within the limit", stranger.plain(Tcp::syn(40_000, SLOW, 1)), FORWARDED),
        ("beyond it", stranger.plain(Tcp::syn(40_001, SLOW, 1)), &["dropped_rate_source"]),
        ("a datagram", stranger.plain(datagram()), FORWARDED),
        ("a datagram's first part", stranger.fragment(datagram(), 0, true), FORWARDED),
        ("its second", stranger.fragment(datagram(), 9, false), FORWARDED),
        ("a part of another", denied.fragment(datagram(), 9, false), &["dropped_fragment"]),
        ("a ping", stranger.plain(ping), &["replied_echo"]),
        ("an error about nothing", stranger.plain(error), &["passed_icmp_unmatched"]),
        (
            "what is none of ours",
            stranger.plain(Transport::nothing()),
            &["passed_not_balanced", "passed_malformed"],
        ),
    ]
}

fn services(site: &Site) -> String {
    let of = |name: &str, port: u16, lines: &str| {
        let service = ServiceText::over(site.family, name, port, site.delivery).lines(lines);
        let servers = site.servers().iter();
        servers.fold(service, |service, server| service.server(server, 1))
    };
    let denied = Stranger::of(site, 202).source;
    let closed = of("closed", CLOSED, &format!("deny = \"{denied}\""));
    let slow = of("slow", SLOW, "limits = { source_connections_per_second = 1 }");
    let dns = ServiceText { protocol: "udp".to_owned(), ..of("dns", DNS, "") };
    format!("{}{closed}{slow}{dns}", site.web_of(&[0, 1]))
}

/// Explained, sent, seen: verdict, server and the frame that leaves are the same.
fn explained_and_seen(site: &Site) {
    site.configure(services(site));
    let mut run = Run::start(site);
    let capture = Capture::start(&mut run, site, &["--for", "12s"]);
    let mut said = Vec::new();
    for (what, frame, verdicts) in situations(site) {
        let explained = site.installation.json(&["explain", "--frame", &hex(&frame)]).unwrap();
        let verdict = explained["verdict"].as_str().unwrap().to_owned();
        assert!(verdicts.contains(&verdict.as_str()), "{what}: {explained}");
        let before = run.verdict(&verdict);
        inject(site.client(), &frame);
        wait_until(what, || run.verdict(&verdict) > before);
        said.push((what, hex(&frame), explained));
    }
    let seen = capture.frames();
    let mut rest = seen.iter();
    for (what, frame, explained) in said {
        // In the order in which they were sent, whatever else came between.
        let seen = rest.find(|seen| seen["before"]["bytes"] == *frame);
        let seen = seen.unwrap_or_else(|| panic!("{what}: not captured"));
        println!("{what}: {} {}", seen["verdict"], seen["server"]);
        for key in ["verdict", "stage", "service", "server", "interface"] {
            assert_eq!(seen[key], explained[key], "{what}: {key} of {seen} and {explained}");
        }
        // Explaining learns no way back, so it does not tell whether one was new.
        let events = |report: &Value| {
            let events = report["events"].as_array().unwrap().iter();
            events.filter(|event| **event != "path_learned").cloned().collect::<Vec<_>>()
        };
        assert_eq!(events(seen), events(&explained), "{what}");
        assert_eq!(seen["after"]["bytes"], explained["after"]["bytes"], "{what}");
    }
    serves_again(&run);
}

/// The serving program is back, and alone.
fn serves_again(run: &Run<'_>) {
    wait_until("one array of programs is left", || run.stages().len() == 1);
}

#[test]
fn explained_and_seen_by_nat() {
    explained_and_seen(&Site::nat(2));
}

#[test]
fn explained_and_seen_by_nat_over_ipv6() {
    explained_and_seen(&Site { family: Family::V6, ..Site::nat(2) });
}

#[test]
fn explained_and_seen_by_direct_routing() {
    explained_and_seen(&Site::build(Layout::OneArm, Delivery::DirectRouting, 2));
}

#[test]
fn explained_and_seen_by_direct_routing_over_ipv6() {
    let site = Site::build(Layout::OneArm, Delivery::DirectRouting, 2);
    explained_and_seen(&Site { family: Family::V6, ..site });
}

/// Two strangers send the same; a capture of one holds his frames and the answers to him, in order, and no other.
#[test]
fn a_capture_holds_exactly_what_it_was_asked_for() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let mut run = Run::start(&site);
    let (wanted, other) = (Stranger::of(&site, 201), Stranger::of(&site, 202));
    let end = format!("{}:40007", wanted.source);
    let capture = Capture::start(&mut run, &site, &["--for", "4s", "--client", &end]);
    let mut sent = Vec::new();
    for port in 40_000..40_020 {
        for stranger in [&wanted, &other] {
            let frame = stranger.plain(Tcp::syn(port, WEB, 1));
            inject(site.client(), &frame);
            if port == 40_007 && stranger.source == wanted.source {
                sent.push(hex(&frame));
            }
        }
    }
    let frames = capture.frames();
    let by = |verdict: &str| frames.iter().filter(|frame| frame["verdict"] == verdict).collect::<Vec<_>>();
    let came: Vec<_> = by("forwarded_nat").iter().map(|frame| frame["before"]["bytes"].clone()).collect();
    assert_eq!(came, sent);
    let answers = by("forwarded_nat_reply");
    assert!(!answers.is_empty(), "the server's SYN-ACK is captured, too");
    assert_eq!(frames.len(), came.len() + answers.len());
    for answer in answers {
        let text = answer["after"]["text"].as_str().unwrap();
        assert!(text.contains(&format!("{} > {end} SYN ACK", site.target())), "{text}");
    }

    // The control: of somebody who sends nothing there is nothing; and a filter by service and verdict.
    let capture = Capture::start(&mut run, &site, &["--for", "2s", "--client", "192.0.2.1"]);
    inject(site.client(), &wanted.plain(Tcp::syn(40_000, WEB, 1)));
    assert_eq!(capture.frames(), Vec::<Value>::new());
    let args = ["--count", "1", "--service", "web", "--verdict", "forwarded_nat"];
    let capture = Capture::start(&mut run, &site, &args);
    inject(site.client(), &wanted.plain(Tcp::syn(40_000, 9, 1)));
    inject(site.client(), &wanted.plain(Tcp::syn(40_000, WEB, 1)));
    let frames = capture.frames();
    assert_eq!((frames.len(), &frames[0]["service"]), (1, &"web".into()), "{frames:?}");
    serves_again(&run);
    assert_eq!(handshakes(site.client(), &HandshakePlan::new(site.target(), 10)).unwrap().opened(), 10);
}

/// Whoever captures is killed: the serving program is back soon. The agent is killed, too: the copy forwards on without
/// capturing, and the next agent replaces it.
#[test]
fn nothing_is_left_of_a_capture_that_is_killed() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let mut run = Run::start(&site);
    let serving = program(&site);
    let opened = || handshakes(site.client(), &HandshakePlan::new(site.target(), 10)).unwrap().opened();

    // Into files: nobody reads its output.
    let file = |name: &str| site.installation.folder().join(name).to_str().unwrap().to_owned();
    let mut capture = Capture::start(&mut run, &site, &["-w", &file("killed.pcapng")]);
    assert_eq!(opened(), 10);
    // The control: as long as somebody asks, it goes on.
    std::thread::sleep(Duration::from_secs(4));
    assert_ne!(program(&site), serving);
    capture.process.kill().unwrap();
    capture.process.wait().unwrap();
    assert!(std::fs::metadata(file("killed.pcapng")).unwrap().len() > 1_000, "what came until then is there");
    wait_until("the serving program is back", || program(&site) == serving && run.stages().len() == 1);
    assert_eq!(opened(), 10);

    let mut capture = Capture::start(&mut run, &site, &["-w", &file("orphaned.pcapng")]);
    let capturing = program(&site);
    run.kill();
    capture.process.wait().unwrap();
    assert_eq!((opened(), program(&site)), (10, capturing), "it forwards without an agent");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(opened(), 10, "and when its time is over");
    run.up();
    assert_ne!(program(&site), capturing);
    assert_eq!((opened(), run.stages().len()), (10, 1));
}
