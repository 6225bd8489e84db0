//! One service at several VIPs and ports, of both families, whose lists change under its connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{VIP, VIP6};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, HandshakeReport, handshakes};

use crate::crowd::Crowd;
use crate::dead_server::HEALTH;
use crate::run::Run;
use crate::site::{Site, service};
use crate::survival::MISS_TABLE_FOLLOWS;

const V4: IpAddr = IpAddr::V4(VIP);
const V6: IpAddr = IpAddr::V6(VIP6);
/// The VIP that goes.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 101));
/// Where the servers listen.
const PORTS: [u16; 6] = [80, 8000, 8001, 8002, 8003, 9000];
const CONNECTIONS: usize = 30;

/// Two servers that listen on every port in both families, behind a director with three VIPs.
fn build() -> (Site, Vec<EchoServer>) {
    let site = Site::nat(2);
    site.topology.add_vip(OTHER).unwrap();
    let places = Family::BOTH.into_iter().flat_map(|family| PORTS.map(|port| (family, port)));
    let echoes = places.flat_map(|(family, port)| [0, 1].map(|index| echo(&site, index, family, port)));
    let echoes = echoes.collect();
    (site, echoes)
}

fn echo(site: &Site, index: usize, family: Family, port: u16) -> EchoServer {
    let server = &site.servers()[index];
    let address = SocketAddr::new(server.address_in(family), port);
    EchoServer::start(&server.namespace, &server.name, address, Greeting::OnRequest).unwrap()
}

fn web(site: &Site, vips: &[IpAddr], ports: &str) -> ServiceText {
    site.web_of(&[0, 1]).at(vips, ports)
}

/// A crowd at each of these.
fn crowds<const N: usize>(site: &Site, targets: [(IpAddr, u16); N]) -> Vec<Crowd> {
    targets.map(|(vip, port)| Crowd::open(site, SocketAddr::new(vip, port), CONNECTIONS)).into()
}

fn survived(crowds: &[Crowd], what: &str) {
    crowds.iter().for_each(|crowd| crowd.survived(what));
}

/// Fifty new connections.
fn newcomers(site: &Site, vip: IpAddr, port: u16) -> HandshakeReport {
    let report = handshakes(site.client(), &HandshakePlan::new(SocketAddr::new(vip, port), 50)).unwrap();
    println!("newcomers at {vip} {port}: {report}");
    report
}

/// All counters of the service and of the data path, which must never go back.
struct Books(BTreeMap<String, u64>);

impl Books {
    fn of(status: &Value) -> Self {
        let web = service(status, "web");
        let of_service = ["connections_total", "packets", "bytes", "reply_packets", "reply_bytes"]
            .map(|name| (name.to_owned(), web[name].as_u64().unwrap()));
        let verdicts = status["verdicts"].as_object().unwrap();
        let verdicts = verdicts.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
        Self(of_service.into_iter().chain(verdicts).collect())
    }

    /// Whatever has happened, nothing was forgotten, and every frame has its verdict.
    fn only_grew(&mut self, run: &mut Run<'_>, what: &str) {
        let now = Self::of(&run.status());
        for (name, before) in &self.0 {
            assert!(now.0[name] >= *before, "{what}: {name} went from {before} back to {}", now.0[name]);
        }
        *self = now;
        run.settle();
    }
}

fn active(run: &Run<'_>) -> (u64, u64) {
    let status = run.status();
    let web = service(&status, "web");
    let of = |value: &Value| value["connections_active"].as_u64().unwrap();
    (of(web), web["servers"].as_array().unwrap().iter().map(of).sum())
}

#[test]
fn connections_outlive_every_change_of_the_lists() {
    let (site, _echoes) = build();
    let datapath = "[datapath]\ntimeouts = { closing = \"1s\" }\n";
    let reload = |vips: &[IpAddr], ports: &str| site.reload(format!("{datapath}{}", web(&site, vips, ports)));
    site.configure(format!("{datapath}{}", web(&site, &[V4, OTHER, V6], "[80, \"8000-8002\"]")));
    let mut run = Run::start(&site);
    let mut books = Books::of(&run.status());
    let at = [(V4, 80), (V4, 8001), (OTHER, 80), (OTHER, 8002), (V6, 80), (V6, 8002)];
    let mut held = crowds(&site, at);
    let each = CONNECTIONS as u64;
    assert_eq!(active(&run), (6 * each, 6 * each));
    let status = run.status();
    let web = service(&status, "web");
    assert_eq!(web["listeners"].as_array().unwrap().len(), 6, "{web}");
    assert_eq!(web["servers"].as_array().unwrap().len(), 4, "a line for each address: {web}");
    assert_eq!(newcomers(&site, V6, 8003).opened(), 0, "nobody listens there yet");
    books.only_grew(&mut run, "opened");

    reload(&[V4, OTHER, V6], "[80, \"8000-8003\"]");
    held.extend(crowds(&site, [(V6, 8003), (OTHER, 8003)]));
    assert_eq!(active(&run), (8 * each, 8 * each), "a range that grows keeps its connections");
    survived(&held, "the range grown");
    books.only_grew(&mut run, "the range grown");

    reload(&[V4, V6], "[80, \"8000-8003\"]");
    sleep(MISS_TABLE_FOLLOWS);
    survived(&held, "a VIP removed, with connections on it");
    assert_eq!(newcomers(&site, OTHER, 80).opened(), 0, "the removed VIP takes nobody");
    books.only_grew(&mut run, "a VIP removed");

    reload(&[V4, V6], "\"any\"");
    sleep(MISS_TABLE_FOLLOWS);
    survived(&held, "the ports made any");
    assert_eq!([V4, V6].map(|vip| newcomers(&site, vip, 9000).opened()), [50, 50]);
    books.only_grew(&mut run, "the ports made any");

    run.kill();
    survived(&held, "no agent");
    assert_eq!(newcomers(&site, V6, 8000).opened(), 50);
    run.up();
    survived(&held, "a new agent");
    books.only_grew(&mut run, "a new agent");

    site.installation.ok(&["drain", "web", "rs1"]).unwrap();
    for (vip, port) in [(V4, 80), (V6, 8003)] {
        let fresh = newcomers(&site, vip, port);
        assert_eq!((fresh.opened(), fresh.by_server.get("rs1")), (50, None), "rs1 is drained");
    }
    sleep(MISS_TABLE_FOLLOWS);
    survived(&held, "a server drained");
    books.only_grew(&mut run, "a server drained");

    drop(held);
    let deadline = Instant::now() + Duration::from_secs(30);
    while active(&run) != (0, 0) {
        assert!(Instant::now() < deadline, "so many are still held: {:?}", active(&run));
        sleep(Duration::from_millis(500));
    }
    // Time for the walk that frees what the removed lanes had, whose counts go to those that are left.
    sleep(MISS_TABLE_FOLLOWS);
    books.only_grew(&mut run, "everybody gone");
    assert_eq!(books.0["connections_total"], 8 * each + 2 * 50 + 50 + 2 * 50);
}

/// The control: what a removed VIP takes along without the mechanism, and nothing of the other. One listener for each server's
/// address, since without a flow table replies by NAT cannot be told apart otherwise.
#[test]
fn without_a_flow_table_a_removed_vip_breaks_its_connections() {
    let (site, _echoes) = build();
    let off = "[datapath]\nflow_table_size = 0\n";
    site.configure(format!("{off}{}", web(&site, &[V4, V6], "80")));
    let _run = Run::start(&site);
    let held = crowds(&site, [(V4, 80), (V6, 80)]);
    site.reload(format!("{off}{}", web(&site, &[V4], "80")));
    sleep(MISS_TABLE_FOLLOWS);
    let broken: Vec<usize> =
        held.iter().map(|crowd| crowd.broken("no flow table, a VIP removed").into_iter().sum()).collect();
    assert_eq!(broken, [0, CONNECTIONS]);
}

#[test]
fn each_family_of_a_server_is_checked_by_itself() {
    let (site, mut echoes) = build();
    site.configure(web(&site, &[V4, V6], "80").health(HEALTH));
    let run = Run::start(&site);
    let wait_for = |address: IpAddr, state: &str| {
        let deadline = Instant::now() + Duration::from_secs(5);
        let is = |server: &Value| server["address"] == address.to_string() && server["state"] == state;
        while !service(&run.status(), "web")["servers"].as_array().unwrap().iter().any(is) {
            assert!(Instant::now() < deadline, "{address} is still not {state}: {}", run.status());
            sleep(Duration::from_millis(20));
        }
    };
    let at = |vip: IpAddr| newcomers(&site, vip, 80).by_server.into_keys().collect::<Vec<_>>();
    let [v4, v6] = Family::BOTH.map(|family| site.servers()[1].address_in(family));
    for address in [v4, v6] {
        wait_for(address, "up");
    }
    assert_eq!([at(V4), at(V6)], [["rs1", "rs2"], ["rs1", "rs2"]]);
    let held = [V4, V6].map(|vip| Crowd::open(&site, SocketAddr::new(vip, 80), CONNECTIONS));

    // Of the second server the IPv6 listener ends, and the connections to it.
    let place = PORTS.len() * 2 + 1;
    drop(echoes.remove(place));
    wait_for(v6, "down");
    assert_eq!([at(V4), at(V6)], [&["rs1", "rs2"][..], &["rs1"]]);
    wait_for(v4, "up");
    held[0].survived("the other family down");

    echoes.push(echo(&site, 1, Family::V6, 80));
    wait_for(v6, "up");
    assert_eq!([at(V4), at(V6)], [["rs1", "rs2"], ["rs1", "rs2"]]);
    held[0].survived("both families up");
}
