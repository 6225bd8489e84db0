//! The rows of `docs/reloads.md` with connections that live: each change in turn, none may break any of them, and newcomers
//! go by what is in force.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;

use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{POOL, VIP};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, HandshakeReport, handshakes};

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB, pool, service};
use crate::survival::MISS_TABLE_FOLLOWS;

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 101));
const ANOTHER_PORT: u16 = 8080;
const CONNECTIONS: usize = 100;

fn newcomers(site: &Site, target: SocketAddr) -> HandshakeReport {
    let report = handshakes(site.client(), &HandshakePlan::new(target, 30)).unwrap();
    println!("newcomers at {target}: {report}");
    report
}

/// A service at the VIP and one at the other, the first at three servers of which `rs1` is called as it pleases.
fn two(site: &Site, first: &str, rs1: &str) -> [ServiceText; 2] {
    let mut web = ServiceText { name: first.to_owned(), ..site.web_of(&[0, 1, 2]) };
    rs1.clone_into(&mut web.servers[0].name);
    let api = ServiceText { name: "api".to_owned(), ..site.web_of(&[1, 2]) }.at(&[OTHER], "80");
    [web, api]
}

#[test]
fn each_kind_of_change_keeps_the_connections_that_live() {
    let site = Site::nat(3);
    site.topology.add_vip(OTHER).unwrap();
    site.director().ip(&format!("addr add {POOL}/32 dev eth1")).unwrap();
    let mut servers = site.serve_all();
    servers.extend(site.servers().iter().map(|server| {
        let address = SocketAddr::new(server.address.into(), ANOTHER_PORT);
        EchoServer::start(&server.namespace, &server.name, address, Greeting::OnRequest).unwrap()
    }));
    let pool = pool(1024, 65_535);
    let text = |settings: &str, [web, api]: &[ServiceText; 2]| format!("{settings}{pool}{web}{api}");
    let mut now = two(&site, "web", "rs1");
    site.configure(text("", &now));
    let mut run = Run::start(&site);
    let other = SocketAddr::new(OTHER, WEB.port());
    let mut crowds = vec![Crowd::open(&site, WEB, CONNECTIONS), Crowd::open(&site, other, CONNECTIONS)];
    let mut change = |settings: &str, now: &[ServiceText; 2], what: &str, at: SocketAddr| {
        site.reload(text(settings, now));
        crowds.iter().for_each(|crowd| crowd.survived(what));
        let fresh = newcomers(&site, at);
        assert_eq!(fresh.opened(), 30, "{what}: {fresh}");
        crowds.push(Crowd::open(&site, at, 20));
        fresh
    };
    let web = SocketAddr::from(WEB);

    now[0] = now[0].clone().lines("scheduler = \"least\"");
    change("", &now, "another scheduler", web);
    now[0] = now[0].clone().lines("affinity = { by = \"source\", timeout = \"300s\" }");
    let fresh = change("", &now, "affinity", web);
    assert_eq!(fresh.by_server.len(), 1, "one client, one server: {fresh}");
    now[0] = now[0].clone().lines("");
    change("[datapath]\nmaglev_table_size = 251\n", &now, "another table size", web);
    now[0] = now[0].clone().health("kind = \"tcp\"\ninterval = \"500ms\"");
    change("", &now, "a health check", web);
    now = two(&site, "web", "first");
    let fresh = change("", &now, "a server renamed", web);
    assert_eq!(fresh.by_server.len(), 3, "{fresh}");
    now = two(&site, "shop", "rs1");
    change("", &now, "the service renamed", web);

    let servers_of = |texts: &[ServiceText; 2], index: usize| texts[index].servers.len();
    assert_eq!((servers_of(&now, 0), servers_of(&now, 1)), (3, 2));
    let [shop, api] = two(&site, "shop", "rs1");
    now = [shop.at(&[OTHER], "80"), api.at(&[VIP.into()], "80")];
    let fresh = change("", &now, "two services change their VIPs", web);
    assert_eq!(fresh.by_server.get("rs1"), None, "the VIP is the other service's now: {fresh}");

    now = two(&site, "shop", "rs1");
    now[0] = now[0].clone().at(&[VIP.into()], &ANOTHER_PORT.to_string());
    let moved = SocketAddr::new(VIP.into(), ANOTHER_PORT);
    change("", &now, "another port", moved);
    assert_eq!(newcomers(&site, web).opened(), 0, "nobody listens there any more");

    now = two(&site, "shop", "rs1");
    "fullnat".clone_into(&mut now[0].mode);
    change("", &now, "another mode", web);
    assert!(run.verdict("forwarded_fullnat_reply") > 30);

    sleep(MISS_TABLE_FOLLOWS);
    crowds.iter().for_each(|crowd| crowd.survived("after all of it"));
    assert_eq!(service(&run.status(), "shop")["mode"], "fullnat");
    run.settle();
}

/// Its control: the same changes, where nothing keeps a connection at its server.
#[test]
fn without_a_flow_table_another_owner_of_the_vip_breaks_connections() {
    let site = Site::direct(3);
    site.topology.add_vip(OTHER).unwrap();
    let _servers = site.serve_all();
    let text = |[web, api]: [ServiceText; 2]| format!("[datapath]\nflow_table_size = 0\n{web}{api}");
    site.configure(text(two(&site, "web", "rs1")));
    let _run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    let [web, api] = two(&site, "web", "rs1");
    site.reload(text([web.at(&[OTHER], "80"), api.at(&[VIP.into()], "80")]));
    let [busy, idle] = crowd.broken("no flow table, another owner");
    assert!(busy + idle > CONNECTIONS / 5, "{busy} and {idle} of {CONNECTIONS} broke");
}
