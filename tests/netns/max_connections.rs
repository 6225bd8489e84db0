//! How many connections a server takes at once, and what becomes of those beyond.

use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::traffic::{HandshakePlan, handshakes};

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB};

/// With a table that is walked in less than a millisecond: what begins amid a walk may be counted twice until the next.
fn at_most(site: &Site, most: u32) -> String {
    let mut web = site.web(&[(0, 9), (1, 1)]);
    web.servers.iter_mut().for_each(|server| server.lines = format!("max_connections = {most}"));
    format!("[datapath]\nflow_table_size = 65536\n{web}")
}

fn opened(site: &Site) -> usize {
    let plan = HandshakePlan { limit: Duration::from_millis(900), ..HandshakePlan::new(WEB, 20) };
    let report = handshakes(site.client(), &plan).unwrap();
    println!("{report}");
    report.opened()
}

#[test]
fn who_is_full_is_passed_over_and_when_all_are_new_ones_are_refused() {
    for site in [Site::nat(2), Site::full_nat(2, xlvs_tests::family::Family::V4)] {
        let _servers = site.serve_all();
        site.configure(at_most(&site, 30));
        let run = Run::start(&site);
        let crowd = Crowd::open(&site, WEB, 60);
        assert_eq!([crowd.at("rs1"), crowd.at("rs2")], [30, 30], "whatever the weights");
        assert_eq!(opened(&site), 0);
        assert_eq!(run.verdict("replied_reset"), 20);
        // By a walk's count as well, and for a new agent's.
        sleep(Duration::from_secs(3));
        assert_eq!(opened(&site), 0);
        crowd.survived("others were refused");
        // The control: there is room again by a reload, and by those who leave.
        site.reload(at_most(&site, 60));
        assert_eq!(opened(&site), 20);
        site.reload(at_most(&site, 30));
        drop(crowd);
        sleep(Duration::from_secs(3));
        assert_eq!(opened(&site), 20);
    }
}
