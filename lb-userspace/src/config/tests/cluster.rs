//! A director among others: one list for all of them, and what services inherit.

use std::time::Duration;

use super::super::{Cluster, Mesh, Model, Replicate, Replication, diff};
use super::{bare_service, model};
use crate::replication::join::OnTimeout;

const DIRECTORS: &str = "[[cluster.peer]]\nname = \"lb1\"\naddress = \"192.0.2.2\"\n\
     [[cluster.peer]]\nname = \"lb2\"\naddress = \"192.0.2.3:7000\"\n";

fn with(cluster: &str, service: &str) -> Model {
    model(&format!("{cluster}\n{}", bare_service(service, "")))
}

fn mesh(cluster: &str) -> Mesh {
    with(cluster, "").cluster.mesh.unwrap_or_else(|| panic!("no mesh by:\n{cluster}"))
}

#[test]
fn one_list_serves_all_directors() {
    let of = |node: &str| mesh(&format!("[cluster]\nnode = \"{node}\"\n{DIRECTORS}"));
    let told = |mesh: &Mesh| -> Vec<String> {
        mesh.peers.iter().map(|peer| format!("{} {}", peer.name, peer.address)).collect()
    };
    let (one, other) = (of("lb1"), of("lb2"));
    assert_eq!(
        (told(&one), one.listen.to_string()),
        (vec!["lb2 192.0.2.3:7000".into()], "192.0.2.2:7467".into())
    );
    assert_eq!(
        (told(&other), other.listen.to_string()),
        (vec!["lb1 192.0.2.2:7467".into()], "192.0.2.3:7000".into())
    );
    let third = of("lb3\"\nlisten = \"0.0.0.0");
    assert_eq!((told(&third).len(), third.listen.to_string()), (2, "0.0.0.0:7467".into()));
    assert_eq!(third.credentials.to_str(), Some("/etc/xlvs/cluster"));
}

#[test]
fn a_director_is_called_as_its_agent_is_unless_it_says_otherwise() {
    let agent = format!("[agent]\nnode = \"lb1\"\n{DIRECTORS}");
    assert_eq!(mesh(&agent).node.as_str(), "lb1");
    assert_eq!(mesh(&agent.replace("[agent]", "[cluster]\nnode = \"lb2\"\n[agent]")).node.as_str(), "lb2");
}

#[test]
fn who_has_no_peers_but_itself_is_alone() {
    let alone = "[cluster]\nnode = \"lb1\"\ndomain = \"a\"\njoin_timeout = \"5s\"\n\
         peers = [{ name = \"lb1\", address = \"192.0.2.2\" }]\n";
    let Cluster { domain, mesh } = with(alone, "").cluster;
    assert_eq!((domain.map(|domain| domain.to_string()), mesh), (Some("a".into()), None));
}

#[test]
fn a_service_inherits_what_the_cluster_says_of_replication() {
    let of = |cluster: &str, service: &str| with(cluster, service).services[0].replication;
    let replication = |which, seconds| Replication { which, after: Duration::from_secs(seconds) };
    assert_eq!(of("", ""), replication(Replicate::All, 0));
    let cluster = "[cluster]\nreplicate = \"none\"\nreplicate_after = \"3s\"";
    assert_eq!(of(cluster, ""), replication(Replicate::None, 3));
    assert_eq!(of(cluster, "replicate = \"all\""), replication(Replicate::All, 3));
    let defaults = format!("{cluster}\n[defaults]\nreplicate_after = \"10s\"");
    assert_eq!(of(&defaults, ""), replication(Replicate::None, 10));
    assert_eq!(of(&defaults, "replicate_after = \"0s\""), replication(Replicate::None, 0));
}

#[test]
fn who_is_there_is_settled_at_the_start_and_what_is_told_by_a_reload() {
    let old = with(&format!("[cluster]\nnode = \"lb1\"\n{DIRECTORS}"), "");
    let more = format!(
        "[cluster]\nnode = \"lb1\"\non_timeout = \"serve\"\njoin_timeout = \"10s\"\nreplicate = \"none\"\n{DIRECTORS}\
         [[cluster.peer]]\nname = \"a\"\naddress = \"2001:db8::3\"\n"
    );
    let new = with(&more, "");
    assert_eq!(new.cluster.mesh.as_ref().map(|mesh| mesh.patience.on_timeout), Some(OnTimeout::Serve));
    let lines: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    let later = "(takes effect when the agent is started anew)";
    assert_eq!(
        lines,
        [
            format!(
                "~ [cluster] peers lb2 192.0.2.3:7000 -> a [2001:db8::3]:7467, lb2 192.0.2.3:7000 {later}"
            ),
            format!("~ [cluster] join_timeout 1m -> 10s {later}"),
            format!("~ [cluster] on_timeout stay_backup -> serve {later}"),
            "~ service web replicate all -> none".to_owned(),
        ]
    );
}
