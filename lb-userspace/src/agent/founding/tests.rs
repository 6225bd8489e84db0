//! A cluster is founded and joined, and each director is looked at as `xlvs up` would.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::agent::membership::findings;
use crate::config::{self, Model};

/// A host with a state folder, and room for a cluster's.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn founding(&self, node: &str) -> Founding {
        let node = NodeName::parse(node).unwrap();
        Founding { node, folder: self.path("cluster"), hash_key: None, state_dir: self.path("state") }
    }

    fn admission(&self, node: &str, out: &str) -> Admission {
        Admission { node: NodeName::parse(node).unwrap(), folder: self.path("cluster"), out: self.path(out) }
    }

    /// A director with one peer, whose credentials are in this folder.
    fn director(&self, node: &str, folder: &str) -> Model {
        let text = format!(
            "[agent]\nstate_dir = {:?}\npin_dir = {:?}\n[cluster]\nnode = \"{node}\"\nlisten = \"192.0.2.2\"\ncredentials = {:?}\n\
             peers = [{{ name = \"peer\", address = \"192.0.2.3\" }}]\n\
             [[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\n\
             [[service.server]]\nname = \"rs1\"\naddress = \"198.51.100.1\"\n",
            self.path("state"),
            self.path("pins"),
            self.path(folder)
        );
        config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn told(&self, node: &str, folder: &str) -> Vec<String> {
        findings(&self.director(node, folder)).iter().map(ToString::to_string).collect()
    }

    /// The names in a folder, in order.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(&self, path: &str) -> u32 {
        self.path(path).metadata().unwrap().permissions().mode() & 0o777
    }
}

fn key_of(path: &Path) -> lb_common::identity::HashKey {
    key::read(path).unwrap().unwrap_or_else(|| panic!("no key in {}", path.display()))
}

#[test]
fn the_first_directors_key_becomes_the_clusters_and_that_of_all_who_join() {
    let host = Host::new();
    fs::create_dir(host.path("state")).unwrap();
    let own = key::load_or_make(&host.path("state")).unwrap();
    let report = found(&host.founding("lb1")).unwrap();
    assert_eq!(report.hash_key, Some(host.path("state/flow-hash.key")));
    admit(&host.admission("lb2", "lb2")).unwrap();
    for folder in ["cluster", "lb2"] {
        assert_eq!(key_of(&host.path(folder).join(key::OF_CLUSTER)), own, "{folder}");
    }
    assert_eq!(
        key_of(&key::place(&host.director("lb1", "cluster"))),
        own,
        "a director with peers has the cluster's"
    );
}

#[test]
fn without_a_key_of_its_own_a_cluster_gets_a_new_one_and_a_named_one_must_be_there() {
    let (host, other) = (Host::new(), Host::new());
    for host in [&host, &other] {
        assert_eq!(found(&host.founding("lb1")).unwrap().hash_key, None);
    }
    let [one, another] = [&host, &other].map(|host| key_of(&host.path("cluster/hash-key")));
    assert_ne!(one, another);

    let third = Host::new();
    let named = |path: PathBuf| found(&Founding { hash_key: Some(path), ..third.founding("lb1") });
    let refused = named(third.path("nowhere")).unwrap_err();
    assert!(refused.message.contains("nowhere"), "{refused}");
    assert!(!third.path("cluster").exists(), "nothing is left of what was refused");
    named(host.path("cluster/hash-key")).unwrap();
    assert_eq!(key_of(&third.path("cluster/hash-key")), one);
}

#[test]
fn each_folder_is_complete_for_its_director_and_private() {
    let host = Host::new();
    found(&host.founding("lb1")).unwrap();
    let report = admit(&host.admission("lb2", "for lb2")).unwrap();
    assert_eq!(
        host.files("cluster"),
        ["ca-key.pem", "ca.pem", "hash-key", "node-key.pem", "node.pem", "nodes"]
    );
    assert_eq!(host.files("for lb2"), ["ca.pem", "hash-key", "node-key.pem", "node.pem"]);
    for folder in ["cluster", "for lb2"] {
        assert_eq!(host.mode(folder), 0o700, "{folder}");
        for file in host.files(folder) {
            assert_eq!(host.mode(&format!("{folder}/{file}")), 0o600, "{folder}/{file}");
        }
    }
    assert_eq!((host.told("lb1", "cluster"), host.told("lb2", "for lb2")), (vec![], vec![]));
    let copy = report.copy.unwrap();
    assert!(
        copy.starts_with("scp -rp '/") && copy.ends_with("for lb2' root@lb2:/etc/xlvs/cluster"),
        "{copy}"
    );
    assert!(report.configuration.contains("\"lb1\"") && report.configuration.contains("node = \"lb2\""));
}

#[test]
fn nothing_is_replaced() {
    let host = Host::new();
    found(&host.founding("lb1")).unwrap();
    admit(&host.admission("lb2", "lb2")).unwrap();
    let contents = |folder: &str| -> Vec<_> {
        host.files(folder).into_iter().map(|file| fs::read(host.path(folder).join(file)).unwrap()).collect()
    };
    let before = (contents("cluster"), contents("lb2"));
    let refused =
        [found(&host.founding("lb1")).unwrap_err(), admit(&host.admission("lb3", "lb2")).unwrap_err()];
    for (refused, file) in refused.iter().zip(["cluster/ca.pem", "lb2/ca.pem"]) {
        assert!(refused.message.contains(file), "{refused}");
    }
    assert_eq!((contents("cluster"), contents("lb2")), before, "nor is a name admitted that got nothing");
}

#[test]
fn two_names_with_one_hash_are_not_both_admitted() {
    let host = Host::new();
    found(&host.founding("8yn0iYCKYHlIj4-BwPqk")).unwrap();
    let refused = admit(&host.admission("GReLUrM4wMqfg9yzV3KQ", "out")).unwrap_err();
    assert!(refused.message.contains("one hash"), "{refused}");
    assert!(!host.path("out").exists());
    admit(&host.admission("lb2", "first")).unwrap();
    admit(&host.admission("lb2", "again")).unwrap();
    assert_eq!(fs::read_to_string(host.path("cluster/nodes")).unwrap(), "8yn0iYCKYHlIj4-BwPqk\nlb2\n");
}

#[test]
fn only_where_a_cluster_was_founded_others_are_admitted() {
    let host = Host::new();
    found(&host.founding("lb1")).unwrap();
    admit(&host.admission("lb2", "lb2")).unwrap();
    let from = |folder: &str| Admission { folder: host.path(folder), ..host.admission("lb3", "lb3") };
    for folder in ["lb2", "nowhere"] {
        let refused = admit(&from(folder)).unwrap_err();
        assert!(refused.message.contains("--dir"), "{refused}");
    }
    fs::remove_file(host.path("cluster/ca-key.pem")).unwrap();
    let refused = admit(&from("cluster")).unwrap_err();
    assert!(refused.message.contains("ca-key.pem"), "{refused}");
    assert!(!host.path("lb3").exists());
}

#[test]
fn every_fault_of_a_folder_is_told_with_what_mends_it() {
    let host = Host::new();
    let one = |told: Vec<String>, words: &[&str]| {
        assert_eq!(told.len(), 1, "{told:?}");
        for word in words {
            assert!(told[0].contains(word), "{word} is missing in {told:?}");
        }
    };
    one(host.told("lb1", "cluster"), &["no folder", "xlvs cluster init --node lb1 --dir", "add-node lb1"]);
    found(&host.founding("lb1")).unwrap();
    admit(&host.admission("lb2", "lb2")).unwrap();
    one(host.told("lb2", "cluster"), &["node.pem", "another director", "lb2"]);

    let loosen =
        |path: &str, mode| fs::set_permissions(host.path(path), fs::Permissions::from_mode(mode)).unwrap();
    for file in ["node-key.pem", "hash-key", "ca-key.pem"] {
        let path = format!("cluster/{file}");
        loosen(&path, 0o640);
        one(host.told("lb1", "cluster"), &[file, "0640", "chmod 600"]);
        loosen(&path, 0o600);
    }
    loosen("cluster/node.pem", 0o644);
    assert_eq!(host.told("lb1", "cluster"), Vec::<String>::new(), "a certificate is no secret");

    fs::write(host.path("cluster/hash-key"), b"short").unwrap();
    one(host.told("lb1", "cluster"), &["hash-key", "is not a key"]);
    fs::copy(host.path("lb2/hash-key"), host.path("cluster/hash-key")).unwrap();
    fs::copy(host.path("lb2/node-key.pem"), host.path("cluster/node-key.pem")).unwrap();
    one(host.told("lb1", "cluster"), &["node-key.pem", "not the key of node.pem"]);
    fs::write(host.path("cluster/node.pem"), b"").unwrap();
    one(host.told("lb1", "cluster"), &["node.pem", "holds no certificate"]);
    fs::remove_file(host.path("cluster/node.pem")).unwrap();
    fs::remove_file(host.path("cluster/hash-key")).unwrap();
    assert_eq!(host.told("lb1", "cluster").len(), 2, "both are told");
}

#[test]
fn another_authoritys_certificate_is_found_out() {
    let (host, foreign) = (Host::new(), Host::new());
    found(&host.founding("lb1")).unwrap();
    found(&foreign.founding("lb1")).unwrap();
    fs::copy(foreign.path("cluster/ca.pem"), host.path("cluster/ca.pem")).unwrap();
    let told = host.told("lb1", "cluster");
    assert!(told.len() == 1 && told[0].contains("not of the authority"), "{told:?}");
}
