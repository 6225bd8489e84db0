//! Clients of real QUIC that change their port amid a connection, as a phone does that leaves a network.

mod endpoints;

use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout};

use crate::run::Run;
use crate::site::{Site, server};
use endpoints::{Clients, Server};

const SERVERS: usize = 4;
const CONNECTIONS: usize = 20;
const CONFIG: u8 = 2;

/// What connection ids call each server.
fn id(index: usize) -> [u8; 2] {
    [0xa0 + index as u8, 0x1b]
}

fn build(delivery: Delivery, family: Family) -> Site {
    let layout = match delivery {
        Delivery::Nat | Delivery::FullNat => Layout::TwoArm,
        Delivery::DirectRouting => Layout::OneArm,
    };
    Site { family, ..Site::build(layout, delivery, SERVERS) }
}

fn serve(site: &Site) -> Vec<Server> {
    let start = |index: usize| Server::start(&site.servers()[index], site.listen(index), CONFIG, &id(index));
    (0..SERVERS).map(|index| start(index).unwrap()).collect()
}

/// The service by its flows alone.
fn by_flow(site: &Site) -> ServiceText {
    ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0, 1, 2, 3]) }
}

fn by_id(site: &Site) -> ServiceText {
    let mut service =
        by_flow(site).lines(&format!("quic_lb = {{ config_id = {CONFIG}, server_id_length = 2 }}"));
    for (index, server) in service.servers.iter_mut().enumerate() {
        let digits: String = id(index).iter().map(|octet| format!("{octet:02x}")).collect();
        server.lines = format!("server_id = \"{digits}\"");
    }
    service
}

/// Opens connections, lets all clients move, and tells how many go on at their server.
fn surviving(site: &Site, run: &mut Run<'_>, between: impl FnOnce(&Site, &mut Run<'_>)) -> usize {
    let mut clients = Clients::connect(site.client(), site.target(), CONNECTIONS).unwrap();
    assert_eq!(clients.answered().unwrap(), CONNECTIONS, "nobody has moved yet");
    assert!(clients.servers() > 1, "more than one server is used");
    between(site, run);
    clients.move_on().unwrap();
    let answered = clients.answered().unwrap();
    println!("{answered} of {CONNECTIONS} go on after they moved");
    answered
}

/// Without an agent, and at a server that is drained.
fn who_moves_goes_on(site: &Site) {
    let _servers = serve(site);
    site.configure(by_id(site));
    let mut run = Run::start(site);
    let answered = surviving(site, &mut run, |site, run| {
        site.installation.ok(&["drain", "web", "rs1"]).unwrap();
        run.kill();
    });
    assert_eq!(answered, CONNECTIONS);
    run.up();
    let status = run.status();
    println!("events {}", status["events"]);
    assert!(status["events"]["quic_by_id"].as_u64().unwrap() >= CONNECTIONS as u64);
    assert_eq!(server(&status, "rs1")["server_id"], "a01b");
}

#[test]
fn who_moves_goes_on_by_nat() {
    who_moves_goes_on(&build(Delivery::Nat, Family::V4));
}

#[test]
fn who_moves_goes_on_by_nat_over_ipv6() {
    who_moves_goes_on(&build(Delivery::Nat, Family::V6));
}

#[test]
fn who_moves_goes_on_by_direct_routing() {
    who_moves_goes_on(&build(Delivery::DirectRouting, Family::V4));
}

#[test]
fn who_moves_goes_on_by_direct_routing_over_ipv6() {
    who_moves_goes_on(&build(Delivery::DirectRouting, Family::V6));
}

/// The control: the same servers make the same ids, and nobody reads them. Of four servers, one in four finds its own again.
fn who_moves_is_lost(site: &Site) {
    let _servers = serve(site);
    site.configure(by_flow(site));
    let mut run = Run::start(site);
    let answered = surviving(site, &mut run, |_, _| ());
    assert!(answered < CONNECTIONS * 3 / 4, "{answered}");
    assert_eq!(run.status()["events"]["quic_by_id"], 0);
}

#[test]
fn by_the_flow_alone_who_moves_is_lost_by_nat() {
    who_moves_is_lost(&build(Delivery::Nat, Family::V4));
}

#[test]
fn by_the_flow_alone_who_moves_is_lost_by_direct_routing() {
    who_moves_is_lost(&build(Delivery::DirectRouting, Family::V4));
}

/// A reload begins to read the ids, gives a server another one, and stops: who stays where he is notices nothing.
#[test]
fn ids_come_and_go_by_reload() {
    let site = build(Delivery::Nat, Family::V4);
    let _servers = serve(&site);
    site.configure(by_flow(&site));
    let mut run = Run::start(&site);
    let answered = surviving(&site, &mut run, |site, _| site.reload(by_id(site)));
    assert_eq!(answered, CONNECTIONS, "ids are read from now on");

    let mut clients = Clients::connect(site.client(), site.target(), CONNECTIONS).unwrap();
    let mut renamed = by_id(&site);
    renamed.servers[0].lines = "server_id = \"ffff\"".to_owned();
    site.reload(&renamed);
    assert_eq!(clients.answered().unwrap(), CONNECTIONS, "an id that names nobody goes by its flow");
    assert_eq!(server(&run.status(), "rs1")["server_id"], "ffff");
    site.reload(by_flow(&site));
    assert_eq!(clients.answered().unwrap(), CONNECTIONS);

    // Who is removed keeps his connections, and what names him.
    site.reload(by_id(&site));
    let mut without = by_id(&site);
    without.servers.remove(0);
    site.reload(&without);
    clients.move_on().unwrap();
    assert_eq!(clients.answered().unwrap(), CONNECTIONS, "at a server that is no longer configured");
}
