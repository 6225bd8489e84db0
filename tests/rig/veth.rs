//! What veth needs for XDP in driver mode, each fact with its counter-example.

use std::net::SocketAddr;
use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::offload::{self, Offload};
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, server_address, server_address6};
use xlvs_tests::traffic::{Download, EchoServer, Greeting};

use crate::crossing;

const BYTES: u64 = 100_000_000;

fn served(family: Family) -> SocketAddr {
    SocketAddr::new(family.choose(server_address(0), server_address6(0)), 80)
}

fn serve(topology: &Topology, family: Family) -> EchoServer {
    EchoServer::start(&topology.servers()[0].namespace, "rs1", served(family), Greeting::OnRequest).unwrap()
}

#[test]
fn bulk_tcp_crosses_a_prepared_director() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::Nat, 1)).unwrap();
        let _director = crossing::attach(&topology, layout).unwrap();
        for family in Family::BOTH {
            let _server = serve(&topology, family);
            let download = Download::start(topology.client(), served(family), BYTES, 0).unwrap();
            let report = download.finish(Duration::from_secs(60)).unwrap();
            println!("{layout:?}, {family:?}: {report}");
            assert_eq!(report.bytes, BYTES);
        }
        assert_eq!(topology.client().counter("Tcp", "InCsumErrors").unwrap(), 0);
        assert_eq!(topology.servers()[0].namespace.counter("Tcp", "InCsumErrors").unwrap(), 0);
    }
}

#[test]
fn partial_checksums_arrive_wrong() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 1)).unwrap();
    let _director = crossing::attach(&topology, Layout::TwoArm).unwrap();
    let wrong = || topology.servers()[0].namespace.counter("Tcp", "InCsumErrors").unwrap();
    offload::set(topology.switch(), "dir0", Offload::TxChecksum, true).unwrap();
    for family in Family::BOTH {
        let _server = serve(&topology, family);
        let before = wrong();
        let download = Download::start(topology.client(), served(family), 1000, 0).unwrap();
        assert!(download.finish(Duration::from_secs(2)).is_err());
        assert!(wrong() > before, "{family:?}");
    }
}

#[test]
fn without_a_program_on_the_peer_frames_vanish() {
    let plan = Plan { ready_for_xdp: false, ..Plan::new(Layout::OneArm, Delivery::Nat, 1) };
    let topology = Topology::build(&plan).unwrap();
    offload::set(topology.switch(), "dir0", Offload::TxChecksum, false).unwrap();
    let _director = crossing::attach(&topology, Layout::OneArm).unwrap();
    let server = serve(&topology, Family::V4);
    let download = Download::start(topology.client(), served(Family::V4), 1000, 0)
        .unwrap()
        .finish(Duration::from_secs(2));
    assert!(download.is_err());
    assert_eq!(server.accepted(), 0);
}

#[test]
fn attaching_clears_the_peers_segmentation_offload() {
    let plan = Plan { ready_for_xdp: false, ..Plan::new(Layout::TwoArm, Delivery::Nat, 1) };
    let topology = Topology::build(&plan).unwrap();
    let segments = || offload::get(topology.switch(), "dir0", Offload::TcpSegmentation).unwrap();
    assert!(segments());
    let _director = crossing::attach(&topology, Layout::TwoArm).unwrap();
    assert!(!segments());
}
