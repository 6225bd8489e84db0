//! One client port at two VIPs whose services lead to one server and port would be one tuple at the server.

use std::net::Ipv4Addr;

use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Ipv4, Tcp};

use super::seen::{field, run, server};

/// Two services on two VIPs, and the same four servers behind both.
fn twins(port: u16, server_port: u16) -> World {
    let servers = |names: [&'static str; 4]| {
        let at = move |i: usize| Server::at(names[i], [10, 77, 2, 21 + i as u8], server_port);
        (0..4).map(at)
    };
    World::of(Service::tcp("web", VIP, port), servers(["a1", "a2", "a3", "a4"]))
        .and(Service::tcp("twin", OTHER_VIP, port), servers(["b1", "b2", "b3", "b4"]))
}

fn syn_from(port: u16, to: u16) -> Tcp {
    Tcp::syn(port, to, 1)
}

/// Each client port connects to both VIPs, and each connection's reply must come from its own VIP. Only so many candidates
/// are tried: of those that collide at first, one in sixteen finds no other among four servers.
fn both_get_their_replies(world: &World, hit: u16, at_server: u16) {
    let mut native = Native::with(world).unwrap();
    let (mut next_candidates, mut unresolved) = (0, 0);
    for port in 1000..1500 {
        let first = server(&mut native, &from_client(VIP, syn_from(port, hit)));
        let seen = native.run(Side::Front, &from_client(OTHER_VIP, syn_from(port, hit))).unwrap();
        let second: Ipv4Addr = field(&seen.output, "ipv4.destination").parse().unwrap();
        if first == second {
            unresolved += 1;
            continue;
        }
        next_candidates += seen.counters["next_candidate"];
        for (vip, server) in [(VIP, first), (OTHER_VIP, second)] {
            let reply = from_server(Ipv4::new(server, CLIENT, Tcp::ack(at_server, port, 1, 1)));
            let (verdict, output) = run(&mut native, Side::Back, &reply);
            assert_eq!(verdict, "forwarded_nat_reply");
            assert_eq!(field(&output, "ipv4.source"), vip.to_string());
            assert_eq!(field(&output, "tcp.source_port"), hit.to_string());
        }
        // The next candidate keeps the connection, although the tables say otherwise.
        assert_eq!(server(&mut native, &from_client(OTHER_VIP, Tcp::ack(port, hit, 2, 2))), second);
    }
    assert!(
        (80..180).contains(&next_candidates) && unresolved < 20,
        "of 500, a quarter collide: {next_candidates} took the next candidate, {unresolved} are one tuple at their server"
    );
}

#[test]
fn the_second_takes_the_next_candidate() {
    both_get_their_replies(&twins(80, 8080), 80, 8080);
}

#[test]
fn also_where_the_servers_have_no_port_of_their_own() {
    both_get_their_replies(&twins(80, 0), 80, 80);
}

#[test]
fn also_where_the_services_listen_on_any_port() {
    both_get_their_replies(&twins(0, 0), 443, 443);
}

/// A fixed service beside one on any port.
#[test]
fn also_between_a_fixed_port_and_any_port() {
    let servers = |names: [&'static str; 4], port| {
        (0..4).map(move |i: usize| Server::at(names[i], [10, 77, 2, 21 + i as u8], port))
    };
    let fixed = Service::tcp("web", VIP, 80);
    let any = Service::tcp("all", OTHER_VIP, 0);
    let one_way = World::of(fixed.clone(), servers(["a1", "a2", "a3", "a4"], 80))
        .and(any.clone(), servers(["b1", "b2", "b3", "b4"], 0));
    both_get_their_replies(&one_way, 80, 80);
    // And with the VIPs' roles exchanged, so that the fixed one comes second.
    let other_way = World::of(Service { vip: VIP.into(), ..any }, servers(["a1", "a2", "a3", "a4"], 0))
        .and(Service { vip: OTHER_VIP.into(), ..fixed }, servers(["b1", "b2", "b3", "b4"], 80));
    both_get_their_replies(&other_way, 80, 80);
}

/// With one server alone there is no other candidate: the connection is not refused for it.
#[test]
fn without_another_candidate_the_first_is_taken() {
    let world = one_server().and(Service::tcp("twin", OTHER_VIP, 80), [Server::at("twin1", RS1, 8080)]);
    let mut native = Native::with(&world).unwrap();
    assert_eq!(server(&mut native, &from_client(VIP, syn(80))), RS1);
    assert_eq!(server(&mut native, &from_client(OTHER_VIP, syn(80))), RS1);
}

/// Two ports of one VIP, servers without a port of their own: at the server these are two tuples, and no collision.
#[test]
fn two_ports_of_one_vip_do_not_collide() {
    for ports_known in [true, false] {
        let server = |name| Server::at(name, RS1, 0);
        let world = World::of(Service::tcp("web", VIP, 80), [server("web1")])
            .and(Service::tcp("tls", VIP, 443), [server("tls1")])
            .with(|world| world.ports_known = ports_known);
        let mut native = Native::with(&world).unwrap();
        for port in [80, 443] {
            let seen = native.run(Side::Front, &from_client(VIP, syn(port))).unwrap();
            assert_eq!(seen.counters["next_candidate"], 0);
        }
        for port in [80, 443] {
            let reply = from_server(Ipv4::new(RS1, CLIENT, syn_ack(port)));
            let (verdict, output) = run(&mut native, Side::Back, &reply);
            assert_eq!(verdict, "forwarded_nat_reply");
            assert_eq!(field(&output, "tcp.source_port"), port.to_string());
        }
        // Nor is either guessed at after everything was forgotten.
        native.arrays.flows.clear();
        for port in [80, 443] {
            let reply = from_server(Ipv4::new(RS1, CLIENT, answer(port)));
            let (verdict, output) = run(&mut native, Side::Back, &reply);
            assert_eq!(verdict, "forwarded_nat_reply");
            assert_eq!(field(&output, "tcp.source_port"), port.to_string());
        }
    }
}

/// What a server says from a port that no service leads to is its own: SSH to it through the director, for example.
#[test]
fn a_server_speaks_for_its_service_from_no_other_port() {
    for ports_known in [true, false] {
        let world = World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 0)])
            .with(|world| world.ports_known = ports_known);
        let mut native = Native::with(&world).unwrap();
        let (verdict, _) = run(&mut native, Side::Front, &from_client(VIP, syn(80)));
        assert_eq!(verdict, "forwarded_nat");
        let ssh = from_server(Ipv4::new(RS1, CLIENT, answer(22)));
        let (verdict, output) = run(&mut native, Side::Back, &ssh);
        assert!(verdict.starts_with("passed_"), "{verdict}");
        assert_eq!(output, ssh);
    }
}
