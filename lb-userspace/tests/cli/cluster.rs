//! `xlvs cluster`: without an agent and without privilege.

use crate::xlvs::{Run, xlvs};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A director with its file, and room for a cluster.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a folder"));
        let text = format!(
            "[agent]\nstate_dir = {:?}\npin_dir = {:?}\n[cluster]\nnode = \"lb1\"\ncredentials = {:?}\n\
             [[cluster.peer]]\nname = \"lb1\"\naddress = \"10.77.3.1\"\n\
             [[cluster.peer]]\nname = \"lb2\"\naddress = \"10.77.3.2\"\n\
             [[service]]\nname = \"web\"\nvip = \"10.77.1.100\"\nport = 80\n\
             [[service.server]]\nname = \"rs1\"\naddress = \"10.77.2.21\"\n",
            site.path("state"),
            site.path("pins"),
            site.path("cluster"),
        );
        fs::write(site.path("xlvs.toml"), text).expect("a file");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a verb with the file; the folder is written as `SITE` in what it says.
    fn run(&self, args: &[&str]) -> Run {
        let config = self.path("xlvs.toml").display().to_string();
        let mut run = xlvs(&[args, &["-c", &config]].concat());
        let folder = self.0.path().display().to_string();
        for text in [&mut run.stdout, &mut run.stderr] {
            *text = text.replace(&folder, "SITE");
        }
        run
    }
}

#[test]
fn a_cluster_is_founded_and_joined_by_the_folders_of_the_file() {
    let site = Site::new();
    let run = site.run(&["cluster", "init", "--node", "lb1"]);
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""));
    assert_eq!(
        run.stdout,
        "SITE/cluster: a cluster with a new hash key, and the credentials of lb1\n\n\
         write in its file:\n  [cluster]\n  node = \"lb1\"\n"
    );
    let out = site.path("lb2").display().to_string();
    let run = site.run(&["cluster", "add-node", "lb2", "--out", &out]);
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""));
    assert_eq!(
        run.stdout,
        "SITE/lb2: the credentials of lb2\n\ncopy them:\n  scp -rp SITE/lb2 root@lb2:/etc/xlvs/cluster\n\n\
         write in its file:\n  [cluster]\n  node = \"lb2\"\n\
         \x20 [[cluster.peer]]\n  name = \"lb1\"\n  address = \"ADDRESS OF lb1\"\n\
         \x20 [[cluster.peer]]\n  name = \"lb2\"\n  address = \"ADDRESS OF lb2\"\n"
    );
}

#[test]
fn programs_are_told_the_same() {
    let site = Site::new();
    fs::create_dir(site.path("state")).expect("a folder");
    fs::write(site.path("state/flow-hash.key"), [7; 8 * KEY_WORDS]).expect("a key");
    let report = |args: &[&str]| -> Value {
        let run = site.run(&[args, &["-o", "json"]].concat());
        assert_eq!(run.exit, 0, "{}", run.stderr);
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    let init = report(&["cluster", "init", "--node", "lb1"]);
    assert_eq!((&init["schema"], &init["action"], &init["node"]), (&1.into(), &"init".into(), &"lb1".into()));
    assert_eq!((&init["hash_key"], &init["copy"]), (&"SITE/state/flow-hash.key".into(), &Value::Null));
    let out = site.path("lb2").display().to_string();
    let added = report(&["cluster", "add-node", "lb2", "--out", &out]);
    assert_eq!((&added["action"], &added["folder"]), (&"add_node".into(), &"SITE/lb2".into()));
    assert_eq!(added["copy"], "scp -rp SITE/lb2 root@lb2:/etc/xlvs/cluster");
    assert_eq!(added["files"].as_array().map(Vec::len), Some(4));
    assert_eq!(fs::read(site.path("lb2/hash-key")).expect("a key"), [7; 8 * KEY_WORDS]);
}

/// Of the key of the flow hash.
const KEY_WORDS: usize = lb_common::identity::KEY_WORDS;

#[test]
fn nothing_is_replaced_and_the_file_that_is_in_the_way_is_named() {
    let site = Site::new();
    let init = ["cluster", "init", "--node", "lb1"];
    assert_eq!(site.run(&init).exit, 0);
    let run = site.run(&init);
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert_eq!(
        run.stderr,
        "xlvs: SITE/cluster/ca.pem is there already and is not replaced; name another folder\n"
    );
    let missing = xlvs(&["cluster", "init", "--node", "lb1", "-c", "/nowhere/xlvs.toml"]);
    assert_eq!(missing.exit, 1, "whose key would it be? {}", missing.stdout);
}

#[test]
fn a_file_with_peers_is_right_and_its_host_is_told_what_it_lacks() {
    let site = Site::new();
    let check = site.run(&["check"]);
    assert_eq!((check.exit, check.stdout.as_str()), (0, "SITE/xlvs.toml: ok, 1 service, 1 server\n"));
    let lacks = || site.run(&["check", "--host"]).stdout.contains("SITE/cluster");
    assert!(lacks(), "there is no folder");
    assert_eq!(site.run(&["cluster", "init", "--node", "lb1"]).exit, 0);
    assert!(!lacks());
    fs::remove_file(site.path("cluster/hash-key")).expect("a key");
    assert!(lacks(), "there is no key");
}
