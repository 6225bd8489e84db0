//! What veth needs for XDP in driver mode, each fact with its counter-example.

use std::net::SocketAddrV4;
use std::time::Duration;

use xlvs_tests::offload::{self, Offload};
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, server_address};
use xlvs_tests::traffic::{Download, EchoServer, Greeting};

use crate::crossing;

const BYTES: u64 = 100_000_000;

fn served() -> SocketAddrV4 {
    SocketAddrV4::new(server_address(0), 80)
}

fn serve(topology: &Topology) -> EchoServer {
    EchoServer::start(&topology.servers()[0].namespace, "rs1", served(), Greeting::OnRequest).unwrap()
}

#[test]
fn bulk_tcp_crosses_a_prepared_director() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::Nat, 1)).unwrap();
        let _director = crossing::attach(&topology, layout).unwrap();
        let _server = serve(&topology);
        let report =
            Download::start(topology.client(), served(), BYTES, 0).unwrap().finish(Duration::from_secs(60));
        let report = report.unwrap();
        println!("{layout:?}: {report}");
        assert_eq!(report.bytes, BYTES);
        assert_eq!(topology.client().counter("Tcp", "InCsumErrors").unwrap(), 0);
        assert_eq!(topology.servers()[0].namespace.counter("Tcp", "InCsumErrors").unwrap(), 0);
    }
}

#[test]
fn partial_checksums_arrive_wrong() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 1)).unwrap();
    let _director = crossing::attach(&topology, Layout::TwoArm).unwrap();
    let _server = serve(&topology);
    offload::set(topology.switch(), "dir0", Offload::TxChecksum, true).unwrap();
    let download =
        Download::start(topology.client(), served(), 1000, 0).unwrap().finish(Duration::from_secs(2));
    assert!(download.is_err());
    assert!(topology.servers()[0].namespace.counter("Tcp", "InCsumErrors").unwrap() > 0);
}

#[test]
fn without_a_program_on_the_peer_frames_vanish() {
    let plan = Plan { ready_for_xdp: false, ..Plan::new(Layout::OneArm, Delivery::Nat, 1) };
    let topology = Topology::build(&plan).unwrap();
    offload::set(topology.switch(), "dir0", Offload::TxChecksum, false).unwrap();
    let _director = crossing::attach(&topology, Layout::OneArm).unwrap();
    let server = serve(&topology);
    let download =
        Download::start(topology.client(), served(), 1000, 0).unwrap().finish(Duration::from_secs(2));
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
