//! Every kind of health check against a real peer, and against peers that are silent, slow or mad.

mod peers;

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::decapsulator::{Decapsulator, Wrapping};
use xlvs_tests::family::Family;
use xlvs_tests::folder::Folder;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{self, Delivery, Layout, vip};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, UdpEchoServer, handshakes, udp_flows};

use crate::run::Run;
use crate::site::{Site, server};
use peers::{Dnsmasq, Grpc, Manners, Papers, TlsNginx, answer, listen};

/// Quick enough for a test; one answer decides.
const QUICK: &str = "interval = \"150ms\"\ntimeout = \"140ms\"\nrise = 1\nfall = 1\n";

/// Puts a check in force and waits until it has come to this: a state, and a reason with these words.
fn finds(site: &Site, run: &Run<'_>, check: &str, health: &str, reason: &str) {
    site.reload(site.web_of(&[0]).health(&format!("{QUICK}{check}")));
    let found = wait_for(run, "rs1", |server| {
        server["health"] == health && server["reason"].as_str().is_some_and(|found| found.contains(reason))
    });
    println!("{}: {} ({})", check.replace('\n', "; "), found["health"], found["reason"]);
}

fn wait_for(run: &Run<'_>, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let found = server(&run.status(), name).clone();
        if is_so(&found) {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{name} is {found}");
        sleep(Duration::from_millis(20));
    }
}

/// A server on which everything is refused, and a director at work.
fn one_server() -> Site {
    let site = Site::nat(1);
    site.configure(site.web_of(&[0]).health(&format!("{QUICK}kind = \"tcp\"\nport = 9")));
    site
}

#[test]
fn https_asks_as_it_is_told_and_believes_whom_it_is_told() {
    let (site, papers) = (one_server(), Papers::write());
    let _nginx = TlsNginx::start(&site.servers()[0].namespace, &papers);
    let run = Run::start(&site);
    let file = |key: &str, name: &str| format!("{key} = \"{}\"\n", papers.path(name).display());
    let https = "kind = \"https\"\nport = 443\npath = \"/healthz\"\n";
    let ca = file("ca_file", "ca");
    let named = "server_name = \"www.example.org\"\n";
    let up = "GET /healthz: status 200";

    // Unlike a reason while up, one while down is told anew each time: so each success stands between two failures.
    finds(&site, &run, "kind = \"tcp\"\nport = 9", "down", "refused");
    finds(&site, &run, https, "up", up);
    finds(&site, &run, &format!("{https}verify = true\n{named}"), "down", "UnknownIssuer");
    finds(&site, &run, &format!("{https}{ca}{named}"), "up", up);
    finds(&site, &run, &format!("{https}{}{named}", file("ca_file", "stranger")), "down", "UnknownIssuer");
    finds(&site, &run, &format!("{https}{ca}host = \"www.example.org\"\n"), "up", up);
    finds(
        &site,
        &run,
        &format!("{https}{ca}server_name = \"other.example.org\"\n"),
        "down",
        "not valid for name",
    );
    finds(&site, &run, &format!("{https}body = \"all is well\"\n"), "up", "the body holds");
    finds(&site, &run, &format!("{https}body = \"all is lost\"\n"), "down", "no \"all is lost\" in the body");
    let teapot = "kind = \"https\"\nport = 443\npath = \"/teapot\"\n";
    finds(&site, &run, &format!("{teapot}expect = [200, \"410-420\"]\n"), "up", "status 418");
    finds(&site, &run, teapot, "down", "status 418");
    let probe = "kind = \"https\"\nport = 443\npath = \"/probe\"\n";
    finds(&site, &run, &format!("{probe}headers = {{ X-Probe = \"xlvs\" }}\n"), "up", "status 204");
    finds(&site, &run, probe, "down", "status 403");
    let name =
        "kind = \"https\"\nport = 443\npath = \"/name\"\nmethod = \"OPTIONS\"\nhost = \"a.example:443\"\n";
    finds(&site, &run, &format!("{name}body = \"a.example a.example OPTIONS\"\n"), "up", "the body holds");

    // Who must show a certificate.
    let private = https.replace("443", "444");
    finds(&site, &run, &private, "down", "status 400");
    let identity = file("cert_file", "client") + &file("key_file", "client-key");
    finds(&site, &run, &format!("{private}{ca}{named}{identity}"), "up", up);
    finds(&site, &run, "kind = \"https\"\nport = 9", "down", "refused");

    // A file that is not there refuses the reload, and nothing has changed.
    site.configure(site.web_of(&[0]).health(&format!("{QUICK}{https}ca_file = \"/nowhere/ca.pem\"\n")));
    let said = site.installation.run(&["reload"]).unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("/nowhere/ca.pem: no such file or directory"), "{said:?}");
    assert!(server(&run.status(), "rs1")["reason"].as_str().unwrap().contains("refused"));
}

#[test]
fn a_dns_server_is_asked_for_a_name() {
    let site = one_server();
    let _dnsmasq = Dnsmasq::start(&site.servers()[0].namespace);
    answer(&site.servers()[0].namespace, 5301, None);
    answer(&site.servers()[0].namespace, 5302, Some(b"what?"));
    let run = Run::start(&site);
    let dns = |port: u16, query: &str| format!("kind = \"dns\"\nport = {port}\nquery = {query}\n");
    finds(&site, &run, &dns(53, "\"up.example\""), "up", "1 records");
    finds(&site, &run, &dns(53, "\"down.example\""), "down", "NXDOMAIN");
    finds(&site, &run, &dns(53, "\"text.example\"\nrecord = \"TXT\""), "up", "1 records");
    finds(&site, &run, &dns(53, "\"up.example\"\nrecord = \"AAAA\""), "down", "no record of that type");
    finds(&site, &run, &dns(9, "\"up.example\""), "down", "refused");
    finds(&site, &run, &dns(5301, "\"up.example\""), "down", "no answer within 140ms");
    finds(&site, &run, &dns(5302, "\"up.example\""), "down", "the answer is cut off");
}

#[test]
fn a_datagram_is_answered_as_expected_or_not() {
    let site = one_server();
    let namespace = &site.servers()[0].namespace;
    answer(namespace, 5303, Some(b"pong\x01"));
    answer(namespace, 5304, None);
    let run = Run::start(&site);
    let udp = |port: u16, more: &str| format!("kind = \"udp\"\nport = {port}\nsend = \"ping\"\n{more}");
    finds(&site, &run, &udp(5303, "receive = \"pipong\""), "up", "answered with 7 bytes");
    finds(&site, &run, &udp(5303, "receive = \"gnop\""), "down", "the answer is another (\"pipong\\x01\")");
    finds(&site, &run, &udp(5303, "receive_hex = \"67 01\""), "up", "answered with 7 bytes");
    finds(&site, &run, &udp(5304, ""), "down", "no answer within 140ms");
    finds(&site, &run, &udp(5303, ""), "up", "answered");
    finds(&site, &run, &udp(9, ""), "down", "refused");
}

#[test]
fn a_grpc_server_says_whether_it_serves() {
    let site = one_server();
    let grpc = Grpc::start(&site.servers()[0].namespace, "0.0.0.0:50051".parse().unwrap());
    let run = Run::start(&site);
    let of = |more: &str| format!("kind = \"grpc\"\nport = 50051\n{more}");
    finds(&site, &run, &of(""), "up", "SERVING");
    let greeter = of("grpc_service = \"helloworld.Greeter\"");
    finds(&site, &run, &greeter, "down", "NOT_FOUND");
    grpc.says("helloworld.Greeter", true);
    wait_for(&run, "rs1", |server| server["health"] == "up");
    grpc.says("helloworld.Greeter", false);
    wait_for(&run, "rs1", |server| {
        server["health"] == "down" && server["reason"] == "gRPC health of helloworld.Greeter: NOT_SERVING"
    });
}

#[test]
fn pings_are_answered_by_both_families_or_by_nobody() {
    for family in Family::BOTH {
        let site = Site { family, ..Site::nat(1) };
        site.configure(site.web_of(&[0]).health(&format!("{QUICK}kind = \"ping\"")));
        let run = Run::start(&site);
        wait_for(&run, "rs1", |server| server["health"] == "up");
        let unplugged = site.topology.unplug(0).unwrap();
        wait_for(&run, "rs1", |server| {
            let reason = server["reason"].as_str().unwrap_or_default();
            server["health"] == "down" && (reason.contains("no answer") || reason.contains("no route"))
        });
        drop(unplugged);
        let back = wait_for(&run, "rs1", |server| server["health"] == "up");
        let history: Vec<_> =
            back["history"].as_array().unwrap().iter().map(|change| change["to"].clone()).collect();
        assert_eq!(history, ["up", "down", "up"], "{back}");
        assert!(back["history"][1]["reason"].as_str().unwrap().starts_with("ping "), "{back}");
    }
}

#[test]
fn a_program_decides_without_privileges_and_dies_with_all_its_children() {
    let site = one_server();
    let folder = Folder::create("xlvs-check-").unwrap();
    let script = folder.path().join("check");
    let mark = format!("3{}", std::process::id());
    let text = format!(
        "#!/bin/sh\ngrep -q '^CapPrm:.*[1-9a-f]' /proc/self/status && exit 9\n\
         test \"$XLVS_SERVICE/$XLVS_SERVER/$XLVS_ADDRESS/$XLVS_PORT\" = web/rs1/10.77.2.21/80 || exit 8\n\
         test \"$1\" = well && echo 'I am well' && exit 0\n\
         test \"$1\" = ill && echo 'I am ill' && exit 3\n\
         sleep {mark} & sleep {mark}\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let run = Run::start(&site);
    let exec = |how: &str| format!("kind = \"exec\"\ncommand = [\"{}\", \"{how}\"]", script.display());
    finds(&site, &run, &exec("well"), "up", "exit status 0: \"I am well\"");
    finds(&site, &run, &exec("ill"), "down", "exit status 3: \"I am ill\"");
    finds(&site, &run, &exec("dead"), "down", "no answer within 140ms");
    finds(&site, &run, &exec("well"), "up", "exit status 0");
    sleep(Duration::from_millis(300));
    let left = Command::new("pgrep").args(["-f", &format!("^sleep {mark}$")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "nothing that it had started is left");
    site.configure(site.web_of(&[0]).health("kind = \"exec\"\ncommand = [\"/nowhere/check\"]"));
    let said = site.installation.run(&["reload"]).unwrap();
    assert!(said.code == 1 && said.stderr.contains("/nowhere/check cannot be found"), "{said:?}");
}

#[test]
fn peers_that_are_silent_slow_or_mad_fail_with_their_reason_and_in_time() {
    let (site, papers) = (one_server(), Papers::write());
    let namespace = &site.servers()[0].namespace;
    listen(namespace, 7001, Manners::Silent);
    listen(
        namespace,
        7002,
        Manners::Drips(b"HTTP/1.1 200 OK\r\nX-Filler: on and on and on and on and on\r\n"),
    );
    listen(namespace, 7003, Manners::Garbage);
    listen(namespace, 7004, Manners::Drips(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01"));
    listen(namespace, 7005, Manners::Drips(b"\x16\x03\x03\x40\0\x02\0\x3f\xfc\x03\x03"));
    let run = Run::start(&site);
    finds(&site, &run, "kind = \"tcp\"\nport = 7001", "up", "accepted");
    let silent = "no answer within 140ms";
    for (kind, port, reason) in [
        ("http", 7001, silent),
        ("http", 7002, silent),
        ("http", 7003, "not HTTP"),
        ("https", 7001, silent),
        ("https", 7005, silent),
        ("https", 7003, "TLS with"),
        ("grpc", 7001, silent),
        ("grpc", 7004, silent),
        ("grpc", 7003, "not HTTP/2"),
    ] {
        let ca = if kind == "https" {
            format!("ca_file = \"{}\"\n", papers.path("ca").display())
        } else {
            String::new()
        };
        finds(&site, &run, &format!("kind = \"{kind}\"\nport = {port}\n{ca}"), "down", reason);
        finds(&site, &run, "kind = \"tcp\"\nport = 7001", "up", "accepted");
    }
}

#[test]
fn servers_say_themselves_how_they_are_in_haproxys_words() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    let said = Arc::new(Mutex::new("up ready 100%\n".to_owned()));
    let sent = Arc::new(Mutex::new(Vec::new()));
    for (index, server) in site.servers().iter().enumerate() {
        let words = if index == 0 { said.clone() } else { Arc::new(Mutex::new("up 100%\n".to_owned())) };
        listen(&server.namespace, 9777, Manners::Agent(words, sent.clone()));
    }
    let asked = "agent_check = { port = 9777, interval = \"150ms\", send = \"web\\n\" }";
    site.configure(site.web(&[(0, 1), (1, 1)]).health("kind = \"tcp\"").lines(asked));
    let run = Run::start(&site);
    assert!(sent.lock().unwrap().starts_with(b"web\n"));
    let says = |words: &str| words.clone_into(&mut said.lock().unwrap());
    let share = || {
        let plan = HandshakePlan::new(crate::site::WEB, 400);
        let report = handshakes(site.client(), &plan).unwrap();
        assert_eq!(report.opened(), 400, "{report}");
        report.by_server.get("rs1").copied().unwrap_or(0)
    };
    assert!((150..=250).contains(&share()), "half of it");

    says("25%\n");
    wait_for(&run, "rs1", |server| server["agent"]["percent"] == 25);
    let quarter = share();
    assert!((45..=120).contains(&quarter), "a quarter against a whole is a fifth: {quarter} of 400");
    assert_eq!(server(&run.status(), "rs1")["weight"], 1, "the weight is the operator's");

    // A weight set by hand is meant as it is.
    site.installation.ok(&["weight", "web", "rs1", "1"]).unwrap();
    assert!((150..=250).contains(&share()), "by hand");
    site.installation.ok(&["weight", "web", "rs1", "config"]).unwrap();

    for (words, state, field, value) in [
        ("drain\n", "drained", "order", Value::from("drain")),
        ("ready\n", "up", "order", "ready".into()),
        ("maint\r\n", "disabled", "order", "maint".into()),
        ("ready, up\n", "up", "order", "ready".into()),
        ("down # the disk is full\n", "down", "fault", "down: the disk is full".into()),
        ("up\n", "up", "fault", Value::Null),
        ("stopped\n", "down", "fault", "stopped".into()),
        ("UP\tmaxconn:30\n", "up", "max_connections", 30.into()),
        ("0%\n", "drained", "percent", 0.into()),
        ("100%\nnot the first line", "up", "percent", 100.into()),
        (
            "no such word\n",
            "up",
            "trouble",
            "said what is no word of the protocol: \"no\", \"such\", \"word\"".into(),
        ),
    ] {
        says(words);
        let found = wait_for(&run, "rs1", |server| server["agent"][field] == value);
        let drained = state == "drained" && (found["state"] == "draining");
        assert!(found["state"] == state || drained, "{words:?}: {found}");
        if state != "up" {
            assert_eq!(share(), 0, "{words:?}");
        }
    }
    // A limit stands until the agent names another, and counts: who is over it is passed over.
    sleep(Duration::from_millis(1100));
    let limited = share();
    assert!(
        (1..150).contains(&limited),
        "30 at once, however many the walk has not counted yet: {limited} of 400"
    );
    says("ready up 100% maxconn:0\n");
    wait_for(&run, "rs1", |server| server["agent"]["max_connections"] == 0);
    assert!(share() > 100, "no limit");

    // An operator's order and an agent's: whichever allows less.
    site.installation.ok(&["drain", "web", "rs1"]).unwrap();
    sleep(Duration::from_millis(500));
    assert_eq!(share(), 0, "the agent does not undo an operator's order");
    site.installation.ok(&["enable", "web", "rs1"]).unwrap();
    assert!(share() > 100);
}

#[test]
fn services_that_ask_a_server_the_same_share_one_probe() {
    let site = Site::nat(1);
    let counted = Arc::new(Mutex::new(Vec::new()));
    listen(&site.servers()[0].namespace, 9777, Manners::Agent(Arc::default(), counted.clone()));
    let one = |name: &str, port: &str| {
        let health =
            "kind = \"http\"\nport = 9777\ninterval = \"500ms\"\ntimeout = \"200ms\"\nmethod = \"HEAD\"";
        let service = site.web_of(&[0]).health(health);
        ServiceText { name: name.into(), ports: port.into(), ..service }
    };
    let services: Vec<_> =
        (0..10).map(|number| one(&format!("s{number}"), &(8000 + number).to_string())).collect();
    site.configure(services.iter().map(ToString::to_string).collect::<String>());
    let run = Run::start(&site);
    let asked = || String::from_utf8_lossy(&counted.lock().unwrap()).matches("HEAD / ").count();
    let before = asked();
    sleep(Duration::from_secs(3));
    let probes = asked() - before;
    assert!((5..=8).contains(&probes), "{probes} probes in three seconds, ten services");
    let status = run.status();
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["servers"][0]["health"], "down", "{service}");
    }
}

/// What is served, and how a check asks for it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    fn serve(self, server: &topology::Server, listen: SocketAddr) -> Box<dyn Any> {
        let topology::Server { namespace, name, .. } = server;
        match self {
            Self::Tcp => Box::new(EchoServer::start(namespace, name, listen, Greeting::OnRequest).unwrap()),
            Self::Udp => Box::new(UdpEchoServer::start(namespace, name, listen).unwrap()),
        }
    }

    fn check(self) -> String {
        let asked = match self {
            Self::Tcp => "kind = \"tcp\"\n",
            Self::Udp => "kind = \"udp\"\nsend = \"ping\"\nreceive = \"ping\"\n",
        };
        format!("{QUICK}{asked}")
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "SYN to ",
            Self::Udp => "UDP to ",
        }
    }

    /// How many of 60 clients are served, and by how many servers.
    fn served(self, site: &Site) -> (usize, usize) {
        let limit = Duration::from_millis(200);
        match self {
            Self::Tcp => {
                let plan = HandshakePlan { limit, ..HandshakePlan::new(site.target(), 60) };
                let report = handshakes(site.client(), &plan).unwrap();
                println!("{report}");
                (report.opened(), report.by_server.len())
            }
            Self::Udp => {
                let report = udp_flows(site.client(), site.target(), 60, 1, 100, limit).unwrap();
                println!("{report}");
                (report.answered, report.by_server.len())
            }
        }
    }
}

/// Two servers of which the second, once `broken`, does not take what is sent to the VIP, though it answers at its own address.
/// It is found out, and found well again once `mended`.
fn found_out(
    (site, kind): (&Site, Kind),
    own: Family,
    service: &ServiceText,
    lacks: &str,
    broken: impl FnOnce(),
    mended: impl FnOnce(),
) {
    let port = site.target().port();
    let _at_the_vip: Vec<_> = site.servers().iter().map(|server| kind.serve(server, site.target())).collect();
    let at_its_own =
        |server: &topology::Server| kind.serve(server, SocketAddr::new(server.address_in(own), port));
    let _at_their_own: Vec<_> = site.servers().iter().map(at_its_own).collect();
    broken();
    site.configure(service.clone().health(&kind.check()));
    let run = Run::start(site);
    let bad = wait_for(&run, "rs2", |server| server["health"] == "down");
    assert!(bad["reason"].as_str().unwrap().contains(lacks), "{bad}");
    let good = wait_for(&run, "rs1", |server| server["health"] == "up");
    assert!(good["reason"].as_str().unwrap().starts_with(kind.word()), "{good}");
    assert!(good["reason"].as_str().unwrap().contains(&site.target().to_string()), "{good}");
    assert_eq!(kind.served(site), (60, 1));

    // The control: asked at its own address it seems well, and swallows its share.
    site.reload(service.clone().health(&format!("{}via = \"address\"", kind.check())));
    wait_for(&run, "rs2", |server| server["health"] == "up");
    if kind == Kind::Tcp {
        let swallowed = 60 - kind.served(site).0;
        assert!((10..=50).contains(&swallowed), "{swallowed} of 60");
    }

    site.reload(service.clone().health(&kind.check()));
    wait_for(&run, "rs2", |server| server["health"] == "down");
    mended();
    wait_for(&run, "rs2", |server| server["health"] == "up");
    // Datagrams go by the table that follows ten seconds later.
    if kind == Kind::Tcp {
        assert_eq!(kind.served(site), (60, 2));
    }
}

#[test]
fn a_server_without_the_vip_is_found_out_by_direct_routing() {
    for (kind, family) in
        [(Kind::Tcp, Family::V4), (Kind::Tcp, Family::V6), (Kind::Udp, Family::V4), (Kind::Udp, Family::V6)]
    {
        let site = Site { family, ..Site::direct(2) };
        let second = &site.servers()[1].namespace;
        let vip = vip(family);
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let state = if vip.is_ipv4() { "" } else { " nodad preferred_lft 0" };
        let on_loopback = |verb: &str, state: &str| {
            second.ip_of(family, &format!("address {verb} {vip}/{length} dev lo{state}")).unwrap();
        };
        let lacks = "lacks the VIP on its loopback device";
        let (broken, mended) = (|| on_loopback("del", ""), || on_loopback("add", state));
        let service = ServiceText { protocol: kind.protocol().to_owned(), ..site.web_of(&[0, 1]) };
        found_out((&site, kind), family, &service, lacks, broken, mended);
    }
}

#[test]
fn a_udp_server_that_answers_from_its_own_address_is_found_out() {
    let site = Site::direct(1);
    let port = site.target().port();
    let everywhere = SocketAddr::new(Family::V4.unspecified(), port);
    let _server = Kind::Udp.serve(&site.servers()[0], everywhere);
    let service = ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0]) };
    site.configure(service.health(&Kind::Udp.check()));
    let run = Run::start(&site);
    let found = wait_for(&run, "rs1", |server| server["health"] == "down");
    assert!(found["reason"].as_str().unwrap().ends_with("or answers from another address"), "{found}");
    assert_eq!(Kind::Udp.served(&site), (0, 0), "no client takes such answers either");
}

#[test]
fn a_dns_server_is_asked_through_the_vip() {
    let site = Site::direct(1);
    let _dnsmasq = Dnsmasq::start(&site.servers()[0].namespace);
    let dns = |name: &str| {
        let service = ServiceText { protocol: "udp".to_owned(), ports: "53".to_owned(), ..site.web_of(&[0]) };
        service.health(&format!("{QUICK}kind = \"dns\"\nquery = \"{name}\"\n"))
    };
    site.configure(dns("up.example"));
    let run = Run::start(&site);
    let reason = format!("DNS A up.example at {}:53 by direct routing: 1 records", vip(Family::V4));
    wait_for(&run, "rs1", |server| server["health"] == "up" && server["reason"] == *reason);
    site.reload(dns("down.example"));
    let found = wait_for(&run, "rs1", |server| server["health"] == "down");
    assert!(found["reason"].as_str().unwrap().ends_with("answered with NXDOMAIN"), "{found}");
}

#[test]
fn a_server_without_the_tunnel_is_found_out() {
    for (gue, kind) in [(false, Kind::Tcp), (true, Kind::Udp)] {
        for (outer, inner) in [(Family::V4, Family::V4), (Family::V6, Family::V4), (Family::V4, Family::V6)] {
            let wrapping = Wrapping { outer, inner, gue };
            println!("{wrapping:?}");
            let built = Site::build(Layout::TwoArm, Delivery::DirectRouting, 2);
            let site = Site { family: inner, ..built };
            let far_end =
                |index: usize| Decapsulator::start(&site.servers()[index].namespace, wrapping).unwrap();
            let _first = far_end(0);
            let mut second = None;
            let mut web = site.web_of(&[0, 1]);
            "tunnel".clone_into(&mut web.mode);
            kind.protocol().clone_into(&mut web.protocol);
            for server in &mut web.servers {
                server.addresses.retain(|address| Family::of(*address) == outer);
            }
            let tunnel = if gue { "gue" } else { "ipip" };
            let web = web.lines(&format!("tunnel = {{ kind = \"{tunnel}\" }}\n"));
            found_out((&site, kind), outer, &web, "lacks the tunnel", || (), || second = Some(far_end(1)));
        }
    }
}
