//! Floods, counted at the other end by the kernel.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use xlvs_tests::accounting::{Meter, Mode, attachment};
use xlvs_tests::family::Family;
use xlvs_tests::flood::{Barrage, Flood, FloodPlan};
use xlvs_tests::random::fresh_seed;
use xlvs_tests::stub;
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, VIP, server_address, vip};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, handshakes};

use crate::crossing;

fn plan(topology: &Topology, barrage: Barrage, clients: usize, rate: Option<f64>) -> FloodPlan {
    let destination = topology.director_mac("eth0").unwrap();
    FloodPlan {
        barrage,
        clients,
        target: SocketAddr::new(VIP.into(), 80),
        destination,
        rate,
        seed: fresh_seed(),
    }
}

fn from_the_client(topology: &Topology, plan: FloodPlan) -> Flood {
    Flood::start(topology.client(), "eth0", plan).unwrap()
}

/// One hop before the director.
fn from_the_switch(topology: &Topology, plan: FloodPlan) -> Flood {
    Flood::start(topology.switch(), "dir0", plan).unwrap()
}

/// Frames come to rest when the count stays the same for a while.
fn settled(meter: &Meter<'_>) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut last = meter.received().unwrap();
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        let now = meter.received().unwrap();
        if now == last {
            break;
        }
        last = now;
    }
    last
}

#[test]
fn a_core_sends_more_than_a_hundred_thousand_frames_a_second_and_all_arrive() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::Nat, 1)).unwrap();
        let _shield = stub::attach_shield(topology.director(), "eth0").unwrap();
        for barrage in [Barrage::Syns, Barrage::Acks, Barrage::Pairs] {
            for (start, floor, place) in [
                (from_the_switch as fn(&Topology, FloodPlan) -> Flood, 150_000.0, "switch"),
                (from_the_client, 70_000.0, "client"),
            ] {
                let meter = Meter::start(topology.director(), &["eth0"]).unwrap();
                let report = start(&topology, plan(&topology, barrage, 100_000, None)).finish().unwrap();
                let received = settled(&meter);
                println!("{layout:?} {barrage:?} from the {place}: {report}; {received} received");
                // Of processor time, for other tests may run beside this one.
                assert!(report.rate_per_core() >= floor, "{report}");
                assert!(received >= report.sent, "{received} of {report}");
            }
        }
    }
}

#[test]
fn shielded_servers_are_spared_and_still_serve() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::Nat, 1)).unwrap();
        let director = crossing::attach(&topology, layout).unwrap();
        let address = SocketAddr::new(server_address(0).into(), 80);
        let server = &topology.servers()[0].namespace;
        let _server = EchoServer::start(server, "rs1", address, Greeting::OnRequest).unwrap();
        let attempts = HandshakePlan { rate: Some(100.0), ..HandshakePlan::new(address, 100) };
        for shielded in [true, false] {
            let _shields = shielded.then(|| topology.shield_servers().unwrap());
            let before = server.counter("Tcp", "InSegs").unwrap();
            let clients = if shielded { 200_000 } else { 20_000 };
            let plan = FloodPlan { target: address, ..plan(&topology, Barrage::Syns, clients, None) };
            let flood = from_the_switch(&topology, plan);
            let report = handshakes(topology.client(), &attempts).unwrap();
            let sent = flood.finish().unwrap();
            let segments = server.counter("Tcp", "InSegs").unwrap() - before;
            println!("{layout:?}, shielded {shielded}: {sent}; {report}; {segments} segments at the server");
            assert!(report.opened() >= 99, "{report}");
            // The handshakes' own, and hardly any others; or a good part of the flood, whatever a busy machine loses of it.
            assert_eq!(segments < sent.sent / 20, shielded, "{segments} segments of {sent}");
        }
        drop(director);
    }
}

#[test]
fn a_rated_flood_keeps_its_rate_and_every_frame_is_counted() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 1)).unwrap();
    assert_eq!(attachment(topology.director(), "eth0").unwrap(), None);
    let _stub = stub::attach_shield(topology.director(), "eth0").unwrap();
    assert_eq!(attachment(topology.director(), "eth0").unwrap().unwrap().mode, Mode::Native);
    for family in Family::BOTH {
        let meter = Meter::start(topology.director(), &["eth0", "eth1"]).unwrap();
        let plan = FloodPlan {
            target: SocketAddr::new(vip(family), 80),
            ..plan(&topology, Barrage::Syns, 20_000, Some(20_000.0))
        };
        let report = from_the_client(&topology, plan).finish().unwrap();
        println!("{family:?}: {report}");
        assert!((18_000.0..21_000.0).contains(&report.rate()), "{report}");
        // A few frames more: who looks for neighbours and announces groups.
        let received = settled(&meter);
        assert!((20_000..20_010).contains(&received), "{family:?}: {received}");
        // The shield took them: nothing is left for the kernel to answer.
        assert!(topology.director().counter("Tcp", "OutRsts").unwrap() == 0, "{family:?}");
    }
}
