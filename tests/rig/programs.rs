//! nginx, wrk and curl, with a forwarding kernel in between.

use std::time::Duration;

use xlvs_tests::curl::{self, Fetch};
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, server_address};
use xlvs_tests::wrk::{WrkPlan, wrk};

const LIMIT: Duration = Duration::from_secs(3);

fn routed() -> Topology {
    let plan =
        Plan { kernel_forwards: true, ready_for_xdp: false, ..Plan::new(Layout::TwoArm, Delivery::Nat, 1) };
    Topology::build(&plan).unwrap()
}

fn start(topology: &Topology) -> Nginx {
    let plan = NginxPlan { big_file: 5_000_003, slow_rate: 1_000_000, ..NginxPlan::new("rs1") };
    Nginx::start(&topology.servers()[0].namespace, &plan).unwrap()
}

#[test]
fn nginx_says_who_it_is_and_falls_silent_when_killed() {
    let topology = routed();
    let nginx = start(&topology);
    let url = curl::url(server_address(0), 80, "/");
    let answer = curl::get(topology.client(), &url, LIMIT).unwrap();
    assert_eq!((answer.status, answer.server.as_str(), answer.body.as_str()), (200, "rs1", "rs1\n"));
    let health = curl::get(topology.client(), &curl::url(server_address(0), 80, "/healthz"), LIMIT).unwrap();
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    nginx.kill().unwrap();
    let error = curl::get(topology.client(), &url, LIMIT).unwrap_err();
    assert!(format!("{error:#}").contains("connect"), "{error:#}");
}

#[test]
fn downloads_are_compared_byte_for_byte_and_break_visibly() {
    let topology = routed();
    let nginx = start(&topology);
    let folder = tempfile::tempdir().unwrap();
    let fetch = |path: &str| {
        let url = curl::url(server_address(0), 80, path);
        Fetch::start(topology.client(), &url, folder.path(), path).unwrap()
    };
    let file = fetch("big").finish(Duration::from_secs(20)).unwrap();
    curl::same_bytes(&file, &nginx.big_file()).unwrap();
    let slow = fetch("slow");
    while slow.received() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    nginx.kill().unwrap();
    let error = slow.finish(Duration::from_secs(10)).unwrap_err();
    assert!(error.to_string().contains("broke after"), "{error:#}");
}

#[test]
fn wrk_counts_requests_and_errors() {
    let topology = routed();
    let nginx = start(&topology);
    for keep_alive in [true, false] {
        let url = curl::url(server_address(0), 80, "/");
        let plan = WrkPlan { url, connections: 16, duration: Duration::from_secs(1), keep_alive };
        let report = wrk(topology.client(), &plan).unwrap();
        println!("keep-alive {keep_alive}: {report}");
        assert!(report.requests > 500, "{report}");
        assert_eq!(report.errors(), 0, "{report}");
    }
    let url = curl::url(server_address(0), 80, "/big/no/such");
    let plan = WrkPlan { url, connections: 4, duration: Duration::from_secs(2), keep_alive: true };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| wrk(topology.client(), &plan).unwrap());
        std::thread::sleep(Duration::from_millis(700));
        nginx.kill().unwrap();
        let report = running.join().unwrap();
        println!("killed: {report}");
        assert!(report.errors() > 0, "{report}");
    });
}
