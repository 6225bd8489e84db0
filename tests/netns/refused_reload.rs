//! A reload that is refused has changed nothing: all maps hold what they held, bit for bit.

use xlvs_tests::traffic::{Activity, Swarm, SwarmPlan};

use crate::pinned::{Dump, dump};
use crate::run::Run;
use crate::site::{Site, WEB};

/// The maps that differ.
fn differing(before: &Dump, after: &Dump) -> Vec<String> {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let differing = before.iter().filter(|(name, content)| after[*name] != **content);
    differing.map(|(name, _)| name.clone()).collect()
}

/// Whether dumps before and after `act` are equal. Frames nobody sent (ARP) are counted in VERDICTS: if that is all, once
/// more.
fn changes_nothing(site: &Site, mut act: impl FnMut()) {
    for _ in 0..5 {
        let before = dump(&site.installation);
        assert!(before["FLOWS"].len() >= 50 && before["TABLES"].len() > 100, "there is something to change");
        act();
        let differing = differing(&before, &dump(&site.installation));
        if differing.is_empty() {
            return;
        }
        assert_eq!(differing, ["VERDICTS"]);
    }
    panic!("the network does not come to rest");
}

#[test]
fn a_refused_reload_leaves_every_map_as_it_was() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let run = Run::start(&site);
    let idle = Swarm::open(site.client(), &SwarmPlan::new(WEB, 50, Activity::Idle)).unwrap();
    let good = site.web_of(&[0, 1]).to_string();
    let refusals = [
        ("no_such_key = 1\n", "no_such_key"),
        ("[[service]]\nname = \"web\"\nvip = \"10.77.1.101\"\nport = 80\nmode = \"nat\"\n", "web"),
        ("[datapath]\nmaglev_table_size = 1000\n", "1000"),
        ("[[service]]\nname = \"half\nvip =", "xlvs.toml"),
    ];
    for (wrong, word) in refusals {
        site.configure(format!("{wrong}{good}{wrong}"));
        changes_nothing(&site, || {
            // Out of a file that is no TOML at all, the socket cannot be read either.
            let socket = site.installation.socket();
            let said = site.installation.run(&["reload", "--socket", socket.to_str().unwrap()]).unwrap();
            assert_eq!(said.code, 1, "{said:?}");
            assert!(said.stderr.contains(word), "{said:?}");
        });
    }
    site.configure(&good);
    let status = run.status();
    assert_eq!(status["config"]["generation"], 1, "{status}");
    assert_eq!(status["config"]["last_reload"]["ok"], false, "{status}");

    // The control: one that is in force changes maps, and this notices.
    let before = dump(&site.installation);
    site.reload(good);
    let differing = differing(&before, &dump(&site.installation));
    for map in ["ABOUT", "SERVERS", "SERVICES", "TABLES"] {
        assert!(differing.iter().any(|name| name == map), "{map} is the same after a reload");
    }
    let report = idle.verify_all(std::time::Duration::from_secs(5));
    assert!(report.all_alive(), "{report}");
}
