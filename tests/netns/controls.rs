//! What happens to connections when the mechanism that saves them is off. If the measuring code of the survival tests
//! did not report this, it would report nothing.

use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::topology::{Delivery, Layout, Plan};
use xlvs_tests::traffic::{HandshakePlan, handshakes};

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB};
use crate::survival::{MISS_TABLE_FOLLOWS, newcomers};

const CONNECTIONS: usize = 200;

/// Of a hundred connections, what rs2 had (a third) and what rs4 takes from the others (two ninths) is lost; all but one
/// in a million draws lie within.
const LOST: std::ops::Range<usize> = 30..80;

#[test]
fn without_a_flow_table_a_reload_breaks_connections() {
    for site in [Site::nat(4), Site::direct(4)] {
        let _servers = site.serve_all();
        let off = "[datapath]\nflow_table_size = 0\n";
        site.configure(format!("{off}{}", site.web_of(&[0, 1, 2])));
        let _run = Run::start(&site);
        let crowd = Crowd::open(&site, WEB, CONNECTIONS);
        site.reload(format!("{off}{}", site.web_of(&[0, 2, 3])));
        sleep(MISS_TABLE_FOLLOWS);
        let [busy, idle] = crowd.broken("no flow table, another server");
        assert!(LOST.contains(&busy) && LOST.contains(&idle), "{busy} and {idle} of {CONNECTIONS} broke");
    }
}

#[test]
fn with_new_pins_connections_break_whose_pick_changed() {
    let plan = Plan::new(Layout::TwoArm, Delivery::Nat, 4);
    // A snapshot would bring back all but those of the server that goes.
    let site = Site::of_plan(&plan, "snapshot = false");
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    run.down();
    site.configure(site.web_of(&[0, 2, 3]));
    run.up();
    assert_eq!(run.status()["data_path"]["adopted"], false);
    let [busy, idle] = crowd.broken("new pins, another server");
    // The echoing ones also spoke while nothing was attached, and the director's own kernel answered.
    assert!(LOST.contains(&idle) && busy >= LOST.start, "{busy} and {idle} of {CONNECTIONS} broke");
}

#[test]
fn without_the_pinned_stages_nobody_new_gets_in_while_the_agent_is_dead() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    run.kill();
    for array in run.stages() {
        std::fs::remove_file(array).unwrap();
    }
    // The kernel empties the array a little later.
    sleep(Duration::from_secs(1));
    let report = handshakes(site.client(), &HandshakePlan::new(WEB, 20)).unwrap();
    println!("without stages: {report}");
    assert_eq!(report.opened(), 0);
    run.up();
    crowd.unbroken("stages lost, and a new agent");
    newcomers(&site);
}
