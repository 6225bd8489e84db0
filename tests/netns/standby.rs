//! Who takes new connections: backups, the sorry server, quorums, domains, and those that have just come back.

use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::service_text::ServiceText;

use crate::dead_server::{HEALTH, wait_for};
use crate::run::Run;
use crate::site::{Site, server, service};
use crate::survival::newcomers;

/// The service over all servers of the site, the n-th with the n-th lines.
fn web(site: &Site, lines: &[&str]) -> ServiceText {
    let all: Vec<usize> = (0..lines.len()).collect();
    let mut web = site.web_of(&all).health(HEALTH);
    for (server, lines) in web.servers.iter_mut().zip(lines) {
        server.lines = (*lines).to_owned();
    }
    web
}

fn who_is_given(site: &Site) -> Vec<String> {
    newcomers(site).by_server.keys().map(ToString::to_string).collect()
}

#[test]
fn backups_serve_while_nobody_else_can_and_the_sorry_server_last() {
    let site = Site::nat(3);
    let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
    site.configure(web(&site, &["", "backup = true", "backup = \"sorry\""]));
    let run = Run::start(&site);
    assert_eq!(who_is_given(&site), ["rs1"]);
    assert_eq!(server(&run.status(), "rs2")["state"], "standby");
    servers[0] = None;
    wait_for(&run, "rs1", "down");
    assert_eq!(who_is_given(&site), ["rs2"]);
    servers[1] = None;
    wait_for(&run, "rs2", "down");
    assert_eq!(who_is_given(&site), ["rs3"]);
    servers[0] = Some(site.serve(0));
    wait_for(&run, "rs1", "up");
    assert_eq!(who_is_given(&site), ["rs1"]);
    assert_eq!(server(&run.status(), "rs3")["health"], "off", "the sorry server is not checked");
}

#[test]
fn below_its_quorum_a_service_falls_to_its_backup_and_returns_later() {
    let site = Site::nat(4);
    let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
    let quorum = "quorum = { percent = 60, hysteresis = 40 }";
    site.configure(web(&site, &["", "", "", "backup = true"]).lines(quorum));
    let run = Run::start(&site);
    assert_eq!(who_is_given(&site), ["rs1", "rs2", "rs3"]);
    servers[0] = None;
    wait_for(&run, "rs1", "down");
    assert_eq!(who_is_given(&site), ["rs2", "rs3"], "two of three are more than 60 %");
    servers[1] = None;
    wait_for(&run, "rs2", "down");
    assert_eq!(who_is_given(&site), ["rs4"]);
    let told = service(&run.status(), "web")["quorum"].clone();
    assert_eq!((&told["held"], &told["weight_up"]), (&false.into(), &1.into()), "{told}");
    servers[0] = Some(site.serve(0));
    wait_for(&run, "rs1", "standby");
    assert_eq!(who_is_given(&site), ["rs4"], "it takes all three to regain it");
    servers[1] = Some(site.serve(1));
    wait_for(&run, "rs2", "up");
    assert_eq!(who_is_given(&site), ["rs1", "rs2", "rs3"]);
}

#[test]
fn a_vip_without_a_quorum_leaves_the_host_and_comes_back() {
    let plan = xlvs_tests::topology::Plan {
        vip_on_director: false,
        ..xlvs_tests::topology::Plan::new(
            xlvs_tests::topology::Layout::TwoArm,
            xlvs_tests::topology::Delivery::Nat,
            2,
        )
    };
    let site = Site::of_plan(&plan, "vip_owner = \"xlvs\"");
    let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
    site.configure(web(&site, &["", ""]).lines("quorum = { percent = 100, below = \"withdraw\" }"));
    let run = Run::start(&site);
    let is_there = || {
        let shown = site.director().ip_json(&["address", "show", "dev", "eth0"]).unwrap();
        shown.to_string().contains(&xlvs_tests::topology::VIP.to_string())
    };
    assert!(is_there());
    servers[0] = None;
    wait_for(&run, "rs1", "down");
    sleep(Duration::from_millis(300));
    assert!(!is_there(), "withdrawn");
    servers[0] = Some(site.serve(0));
    wait_for(&run, "rs1", "up");
    sleep(Duration::from_millis(300));
    assert!(is_there());
    assert_eq!(who_is_given(&site), ["rs1", "rs2"]);
}

#[test]
fn the_own_domain_serves_first() {
    let site = Site::nat(3);
    let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
    let near = web(&site, &["domain = \"a\"", "domain = \"b\"", "domain = \"a\""]);
    site.configure(format!("[cluster]\ndomain = \"a\"\n{near}"));
    let run = Run::start(&site);
    assert_eq!(who_is_given(&site), ["rs1", "rs3"]);
    (servers[0], servers[2]) = (None, None);
    wait_for(&run, "rs1", "down");
    wait_for(&run, "rs3", "down");
    assert_eq!(who_is_given(&site), ["rs2"]);
}

/// Nobody answers the checks, which ask at a port that nobody serves; the servers themselves are well.
#[test]
fn where_all_get_what_nobody_can_take_the_checks_may_be_wrong() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    let wrong = format!("{HEALTH}\nport = 81");
    site.configure(site.web_of(&[0, 1]).health(&wrong).lines("on_no_server = \"all\""));
    let run = Run::start(&site);
    wait_for(&run, "rs1", "down");
    wait_for(&run, "rs2", "down");
    assert_eq!(who_is_given(&site), ["rs1", "rs2"]);
    // The control.
    site.reload(site.web_of(&[0, 1]).health(&wrong));
    assert_eq!(newcomers_refused(&site), 20);
}

fn newcomers_refused(site: &Site) -> usize {
    let plan = xlvs_tests::traffic::HandshakePlan {
        limit: Duration::from_millis(900),
        ..xlvs_tests::traffic::HandshakePlan::new(site.target(), 20)
    };
    let report = xlvs_tests::traffic::handshakes(site.client(), &plan).unwrap();
    20 - report.opened()
}

#[test]
fn a_server_that_comes_back_grows_into_its_share() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    site.configure(web(&site, &["", ""]).lines("slow_start = \"8s\""));
    let run = Run::start(&site);
    sleep(Duration::from_secs(9));
    site.installation.ok(&["drain", "web", "rs2"]).unwrap();
    site.installation.ok(&["enable", "web", "rs2"]).unwrap();
    assert_eq!(server(&run.status(), "rs2")["state"], "starting");
    let share = |text: &str| {
        let report = newcomers(&site);
        let its = report.by_server.get("rs2").copied().unwrap_or(0) as f64 / report.opened() as f64;
        println!("{text}: {its:.2}");
        its
    };
    assert!(share("at first") < 0.3, "one or two of nine or ten");
    sleep(Duration::from_secs(9));
    assert_eq!(server(&run.status(), "rs2")["state"], "up");
    assert!((0.35..0.65).contains(&share("at last")));
}
