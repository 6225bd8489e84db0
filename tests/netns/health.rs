//! Every kind of health check against a real peer, and against peers that are silent, slow or mad.

mod advice;
mod data_path;
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::family::Family;
use xlvs_tests::folder::Folder;
use xlvs_tests::service_text::ServiceText;

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
    let sleeper = format!("sleep\0{mark}\0");
    let lines = fs::read_dir("/proc").unwrap().flatten().flat_map(|it| fs::read(it.path().join("cmdline")));
    assert_eq!(lines.filter(|line| line == sleeper.as_bytes()).count(), 0, "of what it had started is left");
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
