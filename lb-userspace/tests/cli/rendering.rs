//! Every report in both forms, against its golden file.

use crate::golden::assert_golden;
use crate::sample;
use lb_userspace::api::*;
use lb_userspace::output::{Format, Render, text};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Both forms; and the JSON must read back as the same report, or clients would lose something.
fn check<R: Render + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, report: &R) {
    let json = text(report, Format::Json).expect("JSON");
    assert_eq!(&serde_json::from_str::<R>(&json).expect("the same type"), report);
    assert_golden(&format!("{name}.txt"), &text(report, Format::Table).expect("a table"));
    assert_golden(&format!("{name}.json"), &json);
}

#[test]
fn status() {
    check("status", &sample::status());
}

#[test]
fn services() {
    check("services", &ServicesReport::from(&sample::status()));
}

#[test]
fn servers() {
    check("servers", &ServersReport::from(&sample::status()));
}

#[test]
fn stats() {
    check("stats", &StatsReport::between(&sample::status(), &sample::status_two_seconds_later()));
}

#[test]
fn connections() {
    check("connections", &sample::connections());
}

#[test]
fn affinity() {
    check("affinity", &sample::affinity(false));
    check("affinity-clear", &sample::affinity(true));
    let none = AffinityReport { matching: 0, sources: Vec::new(), ..sample::affinity(false) };
    assert_eq!(none.table(), "no source matches\n");
}

#[test]
fn drops() {
    check("drops", &sample::drops());
}

#[test]
fn peers() {
    check("peers", &sample::peers());
    let alone = PeersReport { cluster: None, peers: Vec::new(), ..sample::peers() };
    assert_eq!(alone.table(), "this director has no peers\n");
    let unwell = ClusterStatus { replicas_without_room_total: 7, ..sample::cluster() };
    let stale = PeerStatus { stale: Some(true), ..sample::peers().peers[0].clone() };
    let report = PeersReport { cluster: Some(unwell), peers: vec![stale], ..sample::peers() };
    let text = report.table();
    assert!(text.contains("NO ROOM for 7") && text.contains(" stale "), "{text}");
}

#[test]
fn explain() {
    check("explain", &sample::explain());
}

#[test]
fn reload() {
    check("reload", &sample::reload());
}

#[test]
fn diff() {
    let report = DiffReport {
        schema: Schema,
        path: "/etc/xlvs/xlvs.toml".into(),
        generation: 8,
        changes: sample::changes(),
    };
    check("diff", &report);
}

#[test]
fn drain() {
    check("drain", &sample::overridden(OverrideAction::Drain, ServerState::Draining, 7));
}

#[test]
fn overrides() {
    check("overrides", &OverrideReport::in_force(&sample::status()));
    check("overrides-clear", &sample::overridden(OverrideAction::Clear, ServerState::Up, 7));
    let none = OverrideReport {
        servers: Vec::new(),
        ..sample::overridden(OverrideAction::Clear, ServerState::Up, 7)
    };
    assert_eq!(none.table(), "nothing is set by hand\n");
}

#[test]
fn cluster() {
    let folder = |name: &str| std::path::PathBuf::from(format!("/etc/xlvs/{name}"));
    let init = ClusterReport {
        schema: Schema,
        action: ClusterAction::Init,
        node: "lb1".to_owned(),
        folder: folder("cluster"),
        files: vec![folder("cluster/ca.pem"), folder("cluster/hash-key")],
        hash_key: Some("/var/lib/xlvs/flow-hash.key".into()),
        copy: None,
        configuration: "[cluster]\nnode = \"lb1\"\n".to_owned(),
    };
    check("cluster-init", &init);
    let add_node = ClusterReport {
        action: ClusterAction::AddNode,
        node: "lb2".to_owned(),
        folder: folder("lb2"),
        files: vec![folder("lb2/ca.pem"), folder("lb2/hash-key")],
        hash_key: Some(folder("cluster/hash-key")),
        copy: Some("scp -rp /etc/xlvs/lb2 root@lb2:/etc/xlvs/cluster".to_owned()),
        configuration: "[cluster]\nnode = \"lb2\"\n".to_owned(),
        ..init
    };
    check("cluster-add-node", &add_node);
}

#[test]
fn weight() {
    check("weight", &sample::overridden(OverrideAction::Weight, ServerState::Up, 7));
}

/// The first line alone tells whether it is well, so each of its forms is pinned.
#[test]
fn headlines() {
    let first_line = |status: &StatusReport| status.table().lines().next().expect("a line").to_owned();

    let mut well = sample::status();
    well.warnings.clear();
    well.services[0].servers[2].state = ServerState::Up;
    assert_eq!(first_line(&well), "well: 2 services on eth0 (native), 4 of 5 servers up");

    let mut reload_refused = well.clone();
    reload_refused.config.last_reload =
        Some(LastReload { at: well.at, ok: false, error: Some("3 problems".to_owned()) });
    assert_eq!(
        first_line(&reload_refused),
        "degraded: the last reload was refused; 2 services on eth0 (native), 4 of 5 servers up"
    );

    let mut generic = well.clone();
    generic.interfaces[0].mode = Some(XdpMode::Generic);
    generic.interfaces[0].reason = Some("the driver has no native XDP".to_owned());
    assert_eq!(
        first_line(&generic),
        "ATTENTION: GENERIC MODE on eth0, several times slower than native (the driver has no native XDP); \
         2 services on eth0 (generic), 4 of 5 servers up"
    );

    let mut serverless = well.clone();
    serverless.services[1].servers[0].state = ServerState::Down;
    assert_eq!(
        first_line(&serverless),
        "ATTENTION: NO SERVER UP for service dns by IPv4; 2 services on eth0 (native), 3 of 5 servers up"
    );
    serverless.services[1].servers[1].state = ServerState::Down;
    assert_eq!(
        first_line(&serverless),
        "ATTENTION: NO SERVER UP for service dns; 2 services on eth0 (native), 3 of 5 servers up"
    );

    let mut detached = well.clone();
    detached.ready = false;
    detached.not_ready = vec!["eth0 is gone".to_owned()];
    detached.interfaces[0].mode = None;
    assert_eq!(
        first_line(&detached),
        "NOT READY: eth0 is gone; NOT ATTACHED to eth0; 2 services on no interface, 4 of 5 servers up"
    );
}

#[test]
fn nothing_is_said_in_words_too() {
    let mut status = sample::status();
    status.services.clear();
    assert_eq!(ServicesReport::from(&status).table(), "no service is configured\n");
    assert_eq!(ServersReport::from(&status).table(), "no server is configured\n");
    let mut connections = sample::connections();
    connections.connections.clear();
    connections.matching = 0;
    assert_eq!(connections.table(), "no connection matches\n");
}

/// A usual terminal shows whole rows of the views people look at most.
#[test]
fn the_usual_views_fit_eighty_columns() {
    let mut status = sample::status();
    status.services[1].listeners.truncate(1);
    for text in [ServicesReport::from(&status).table(), StatsReport::between(&status, &status).table()] {
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }
}
