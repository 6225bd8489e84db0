//! A thousand connections, and what they must not notice. The controls are in [`crate::controls`].

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::traffic::{Download, HandshakePlan, HandshakeReport, handshakes};

use crate::crowd::Crowd;
use crate::length::short_or_long;
use crate::run::Run;
use crate::site::{Site, WEB, server};

pub const CONNECTIONS: usize = 1000;

/// The miss table follows a reload after ten seconds, and only then would a connection without an entry be lost. The
/// agent acts once a second.
pub const MISS_TABLE_FOLLOWS: Duration = Duration::from_secs(12);

#[test]
fn reloads_that_add_and_remove_a_server() {
    let site = Site::nat(4);
    let servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let run = Run::start(&site);
    let mut crowd = Crowd::open(&site, WEB, CONNECTIONS);

    site.reload(site.web_of(&[0, 1, 2, 3]));
    let fresh = newcomers(&site);
    assert!(fresh.by_server["rs4"] > 20, "the added server gets its share: {fresh}");
    sleep(MISS_TABLE_FOLLOWS);
    crowd.survived("a server added");

    assert!(crowd.at("rs2") > 200, "there is something to lose");
    site.reload(site.web_of(&[0, 2, 3]));
    let fresh = newcomers(&site);
    assert_eq!(fresh.by_server.get("rs2"), None, "the removed server gets nobody: {fresh}");
    sleep(MISS_TABLE_FOLLOWS);
    crowd.hear_the_servers(&servers);
    crowd.survived("a server removed, with connections on it");
    assert_eq!(run.status()["config"]["generation"], 3);
}

#[test]
fn an_agent_killed_and_a_new_one() {
    let site = Site::nat(3);
    let servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let mut crowd = Crowd::open(&site, WEB, CONNECTIONS);
    let download = Download::start(site.client(), WEB, 20_000_000, 5_000_000).unwrap();

    run.kill();
    newcomers(&site);
    sleep(Duration::from_secs(1));
    crowd.survived("no agent");
    let said = site.installation.run(&["status"]).unwrap();
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("still forward"), "{said:?}");

    run.up();
    let status = run.status();
    assert_eq!(status["data_path"]["adopted"], true, "{status}");
    crowd.hear_the_servers(&servers);
    crowd.survived("a new agent");
    newcomers(&site);
    println!("{}", download.finish(Duration::from_secs(20)).unwrap());
    let counted = server(&run.status(), "rs1")["connections_total"].as_u64().unwrap();
    assert!(counted > 300, "the counters go on where they were: {counted}");
}

#[test]
fn ten_swaps_between_programs() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    swap(&mut run, 10, || {
        newcomers(&site);
    });
    crowd.survived("ten swaps");
    assert_eq!(run.stages().len(), 1, "of those that were exchanged, no stage is left");
}

#[test]
fn all_of_it_with_direct_routing() {
    let site = Site::direct(4);
    let servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let mut crowd = Crowd::open(&site, WEB, CONNECTIONS);
    // A second packet at a later tick: what has only ever been one burst counts as a handshake.
    sleep(Duration::from_secs(2));
    crowd.survived("settled");

    site.reload(site.web_of(&[0, 1, 2, 3]));
    run.kill();
    newcomers(&site);
    run.up();
    swap(&mut run, short_or_long(2, 10), || ());
    crowd.survived("a server added, agents killed and programs swapped");
    site.reload(site.web_of(&[0, 2, 3]));
    sleep(MISS_TABLE_FOLLOWS);
    crowd.hear_the_servers(&servers);
    crowd.survived("a server removed, with connections on it");
}

/// Exchanges the program behind the hooks so many times, by killing the agent and starting one with another object.
fn swap(run: &mut Run<'_>, times: usize, mut meanwhile: impl FnMut()) {
    let variant = variant();
    let tag = |run: &Run<'_>| run.status()["data_path"]["program_tag"].as_str().unwrap().to_owned();
    let mut last = tag(run);
    for time in 0..times {
        run.kill();
        meanwhile();
        if time % 2 == 0 {
            run.up_with_object(&variant);
        } else {
            run.up();
        }
        let now = tag(run);
        assert_ne!(now, last, "swap {time} exchanged nothing");
        last = now;
    }
}

/// The object with another tag.
fn variant() -> PathBuf {
    let path = std::env::var_os("XLVS_EBPF_VARIANT");
    path.expect("$XLVS_EBPF_VARIANT names the other object; 'cargo xtask test' builds it").into()
}

/// Two hundred new connections, each of which must open.
pub fn newcomers(site: &Site) -> HandshakeReport {
    let report = handshakes(site.client(), &HandshakePlan::new(WEB, 200)).unwrap();
    println!("newcomers: {report}");
    assert_eq!(report.opened(), 200);
    report
}
