//! How picks and connections are spread, and what a change moves.

use std::collections::BTreeMap;

use xlvs_tests::random::fresh_seed;
use xlvs_tests::traffic::{HandshakePlan, handshakes};

use crate::crowd::Crowd;
use crate::pinned::select_table;
use crate::run::Run;
use crate::site::{Site, WEB};

/// The upper 0.1 % of the chi-squared distribution with two degrees of freedom.
const CHI_SQUARED_LIMIT: f64 = 13.816;

fn by_id(table: &[u16]) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for id in table {
        *shares.entry(*id).or_default() += 1;
    }
    shares
}

#[test]
fn connections_follow_the_weights() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web(&[(0, 3), (1, 2), (2, 1)]));
    let _run = Run::start(&site);
    let table = select_table(&site.installation);
    let shares: Vec<f64> = by_id(&table).values().map(|slots| *slots as f64 / table.len() as f64).collect();
    println!("of {} slots: {shares:.4?}", table.len());
    assert_eq!(shares.len(), 3);
    for (share, weight) in shares.iter().zip([3.0, 2.0, 1.0]) {
        assert!((share / (weight / 6.0) - 1.0).abs() < 0.01, "within one per cent: {shares:?}");
    }

    let seed = fresh_seed();
    let plan = HandshakePlan { port_seed: Some(seed), ..HandshakePlan::new(WEB, 10_000) };
    let report = handshakes(site.client(), &plan).unwrap();
    let expected = [("rs1", 5000.0), ("rs2", 10_000.0 / 3.0), ("rs3", 10_000.0 / 6.0)];
    let deviation = |(server, expected): (&str, f64)| {
        let seen = report.by_server.get(server).copied().unwrap_or(0) as f64;
        (seen - expected).powi(2) / expected
    };
    let chi_squared: f64 = expected.into_iter().map(deviation).sum();
    println!("seed {seed}: {report}; chi-squared {chi_squared:.2}");
    assert_eq!(report.opened(), 10_000);
    assert!(chi_squared < CHI_SQUARED_LIMIT, "p < 0.001, seed {seed}");
}

#[test]
fn removing_one_of_five_moves_hardly_anything() {
    let site = Site::nat(5);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2, 3, 4]));
    let _run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, 500);
    let before = select_table(&site.installation);
    site.reload(site.web_of(&[0, 1, 3, 4]));
    let after = select_table(&site.installation);
    assert_eq!(before.len(), after.len());
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
    let share = moved as f64 / before.len() as f64;
    println!("{:.2} % of the picks moved", share * 100.0);
    assert_eq!(by_id(&after).len(), 4);
    assert!((0.19..0.22).contains(&share), "a fifth, and at most two points more: {share}");
    // Each connection still answers from the server it began with.
    crowd.survived("one of five removed");
}
