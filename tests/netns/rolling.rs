//! A restart of all servers, one after another, under load: drain, wait, restart, enable. And what happens without the drain.

use std::thread;
use std::time::Duration;

use xlvs_tests::curl;
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::topology::VIP;
use xlvs_tests::wrk::{WrkPlan, WrkReport, wrk};

use crate::run::Run;
use crate::site::Site;

const SERVERS: usize = 5;

fn start(site: &Site, index: usize) -> Nginx {
    let server = &site.servers()[index];
    Nginx::start(&server.namespace, &NginxPlan { big_file: 1 << 20, ..NginxPlan::new(&server.name) }).unwrap()
}

/// Restarts every server while wrk asks, a request a connection; all that wrk counted.
fn roll(site: &Site, with_drain: bool) -> Vec<WrkReport> {
    let mut servers: Vec<Nginx> = (0..SERVERS).map(|index| start(site, index)).collect();
    let all: Vec<usize> = (0..SERVERS).collect();
    let health = "kind = \"http\"\npath = \"/healthz\"\ninterval = \"500ms\"";
    // By direct routing a handshake that is over in a moment counts as one under way for that long: the director sees the
    // client alone.
    let timeouts = "[datapath]\ntimeouts = { new = \"3s\" }\n";
    site.configure(format!("{timeouts}{}", site.web_of(&all).health(health)));
    let run = Run::start(site);
    let plan = WrkPlan {
        url: curl::url(VIP, 80, ""),
        connections: 16,
        duration: Duration::from_secs(2),
        keep_alive: false,
    };
    let reports = thread::scope(|scope| {
        let rolling = scope.spawn(move || {
            for (index, server) in servers.iter_mut().enumerate() {
                let name = &site.servers()[index].name;
                if with_drain {
                    drain(site, name);
                }
                server.kill().unwrap();
                *server = start(site, index);
                if with_drain {
                    site.installation.ok(&["enable", "web", name, "--wait", "10s"]).unwrap();
                } else {
                    thread::sleep(Duration::from_millis(500));
                }
            }
            servers
        });
        let mut reports = Vec::new();
        while !rolling.is_finished() {
            match wrk(site.client(), &plan) {
                Ok(report) => reports.push(report),
                // It gives up if its very first connection is refused.
                Err(error) if !with_drain => {
                    println!("{error:#}");
                    reports.push(WrkReport { connect_errors: 1, ..WrkReport::default() });
                }
                Err(error) => panic!("{error:#}"),
            }
        }
        drop(rolling.join().unwrap());
        reports
    });
    println!("{}", run.status()["verdicts"]);
    for report in &reports {
        println!("{report}");
    }
    assert!(reports.iter().map(|report| report.requests).sum::<u64>() > 1000);
    reports
}

/// A connection may seem to be open that is not: a packet that comes a second or more after its end says as much as that of a
/// download. So what is left after a while is told, and not waited for.
fn drain(site: &Site, name: &str) {
    let said = site.installation.run(&["drain", "web", name, "--wait", "10s"]).unwrap();
    println!("{}", said.stdout.trim());
    assert!([0, 4].contains(&said.code), "{said:?}");
}

fn failed(reports: &[WrkReport]) -> u64 {
    reports.iter().map(WrkReport::errors).sum()
}

#[test]
fn five_servers_restart_one_after_another_and_no_request_fails_by_nat() {
    assert_eq!(failed(&roll(&Site::nat(SERVERS), true)), 0);
}

#[test]
fn five_servers_restart_one_after_another_and_no_request_fails_by_direct_routing() {
    assert_eq!(failed(&roll(&Site::direct(SERVERS), true)), 0);
}

/// The control.
#[test]
fn without_a_drain_some_requests_fail() {
    assert!(failed(&roll(&Site::nat(SERVERS), false)) > 0);
}
