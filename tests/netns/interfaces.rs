//! What a director may be attached to: VLANs of one wire, bonds, jumbo frames.
//!
//! VLANs and bonds are devices that not every kernel has; `cargo xtask kernels netns -- interfaces --include-ignored` runs those tests
//! on one that does.

use std::time::Duration;

use xlvs_tests::accounting::attachment;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Layout, Plan, Wiring};
use xlvs_tests::traffic::{Activity, Download, Swarm, SwarmPlan};

use crate::run::Run;
use crate::site::{Site, server};
use crate::smoke::{tcp, udp};

const NAT: [&str; 2] = ["forwarded_nat", "forwarded_nat_reply"];

fn wired(wiring: Wiring, family: Family) -> Site {
    let plan = Plan { wiring, ..Plan::new(Layout::TwoArm, Delivery::Nat, 2) };
    Site { family, ..Site::of_plan(&plan, "") }
}

#[test]
#[ignore = "needs 802.1Q devices"]
fn tcp_from_vlan_to_vlan_of_one_wire() {
    for family in Family::BOTH {
        tcp(&wired(Wiring::Vlan, family), &NAT);
    }
}

#[test]
#[ignore = "needs 802.1Q devices"]
fn udp_from_vlan_to_vlan_of_one_wire() {
    udp(&wired(Wiring::Vlan, Family::V4), ["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
#[ignore = "needs 802.1Q devices"]
fn tcp_behind_two_tags() {
    for family in Family::BOTH {
        tcp(&wired(Wiring::VlanInVlan, family), &NAT);
    }
}

/// The control: a VLAN that is not named is the kernel's, which does not forward.
#[test]
#[ignore = "needs 802.1Q devices"]
fn a_vlan_that_is_not_named_is_passed() {
    let site = wired(Wiring::Vlan, Family::V4);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0]));
    let mut up = site.installation.up_command().unwrap();
    up.args(["--iface", "eth1", "--detach"]);
    xlvs_tests::tools::output(&mut up).unwrap();
    let download = Download::start(site.client(), site.target(), 1000, 0).unwrap();
    assert!(download.finish(Duration::from_secs(2)).is_err());
    let status = site.installation.status().unwrap();
    println!("{}", status["verdicts"]);
    assert!(status["verdicts"]["passed_vlan"].as_u64() > Some(0), "{status}");
    assert_eq!(status["verdicts"]["forwarded_nat"], 0, "{status}");
    assert_eq!(status["interfaces"][0]["device"], "wire", "{status}");
}

/// Under load, each side's bond loses the member that carries; the connections do not notice, nor does the program, which
/// sees what either member brings.
#[test]
#[ignore = "needs bonds"]
fn bonds_lose_their_active_members() {
    for family in Family::BOTH {
        let site = wired(Wiring::Bond, family);
        let _servers = site.serve_all();
        site.configure(site.web_of(&[0, 1]));
        let run = Run::start(&site);
        let every = Activity::Echo { every: Duration::from_millis(50) };
        let swarm = Swarm::open(site.client(), &SwarmPlan::new(site.target(), 40, every)).unwrap();
        for side in [0, 1] {
            let before = run.verdict("forwarded_nat");
            site.topology.cut_active_cable(side).unwrap();
            let report = swarm.verify_all(Duration::from_secs(10));
            println!("{family:?} after cut {side}: {report}");
            assert!(report.all_alive());
            assert!(run.verdict("forwarded_nat") > before + 40);
        }
    }
}

/// A member has no traffic of its own: its bond is what is named.
#[test]
#[ignore = "needs bonds"]
fn a_member_of_a_bond_is_refused_by_name() {
    let site = wired(Wiring::Bond, Family::V4);
    site.configure(site.web_of(&[0]));
    let mut up = site.installation.up_command().unwrap();
    up.args(["--iface", "eth0a", "--detach"]);
    let told = xlvs_tests::tools::output(&mut up).unwrap_err().to_string();
    assert!(told.contains("eth0a is enslaved to eth0") && told.contains("name eth0 instead"), "{told}");
}

/// Frames of 9,000 bytes, which do not fit one page with what veth adds.
fn jumbo(layout: Layout, family: Family) {
    const BYTES: u64 = 20_000_000;
    let plan = Plan { mtu: 9000, ..Plan::new(layout, Delivery::Nat, 1) };
    let site = Site { family, ..Site::of_plan(&plan, "") };
    let _server = site.serve(0);
    site.configure(site.web_of(&[0]));
    let run = Run::start(&site);
    let download = Download::start(site.client(), site.target(), BYTES, 0).unwrap();
    println!("{}", download.finish(Duration::from_secs(30)).unwrap());
    let status = run.status();
    let rs1 = server(&status, "rs1");
    let (packets, bytes) = (rs1["reply_packets"].as_u64().unwrap(), rs1["reply_bytes"].as_u64().unwrap());
    println!("{packets} packets of {} bytes", bytes / packets);
    assert!(bytes > BYTES && bytes / packets > 6000, "{rs1}");
    for machine in [site.client(), &site.servers()[0].namespace] {
        assert_eq!(machine.counter("Tcp", "InCsumErrors").unwrap(), 0, "{}", machine.name());
    }
}

#[test]
fn jumbo_frames_through_two_interfaces() {
    for family in Family::BOTH {
        jumbo(Layout::TwoArm, family);
    }
}

#[test]
fn jumbo_frames_through_one_interface() {
    jumbo(Layout::OneArm, Family::V4);
}

/// With an agent and without: whoever starts the next one at once finds the interfaces free.
#[test]
fn when_down_returns_nothing_is_attached() {
    let site = Site::nat(1);
    site.configure(site.web_of(&[0]));
    for round in 0..10 {
        let agent = site.installation.up().unwrap();
        if round % 2 == 0 {
            agent.kill().unwrap();
        }
        site.installation.ok(&["down"]).unwrap();
        for device in site.topology.director_devices() {
            let left = attachment(site.director(), device).unwrap();
            assert_eq!(left, None, "round {round}: {device} has its program yet");
        }
    }
}
