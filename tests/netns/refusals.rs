//! What `xlvs up` refuses, with what words, and that it then has done nothing.

use std::process::{Command, Stdio};

use lb_common::identity::KEY_WORDS;
use xlvs_tests::accounting::attachment;
use xlvs_tests::agent::Said;
use xlvs_tests::stub;
use xlvs_tests::topology::{DIRECTOR_OUTSIDE, VIP};

use crate::run::Run;
use crate::site::Site;

/// Runs the command to its end.
fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Said { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// `xlvs up`, which must refuse, saying each of these.
fn refused(command: &mut Command, words: &[&str]) {
    let said = said(command);
    println!("{}", said.stderr.trim());
    assert_eq!(said.code, 1, "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "'{word}' is missing in {said:?}");
    }
}

/// Nothing is attached to these interfaces, nothing pinned.
fn untouched(site: &Site, interfaces: &[&str]) {
    for interface in interfaces {
        assert_eq!(attachment(site.director(), interface).unwrap(), None, "{interface}");
    }
    let left = std::fs::read_dir(site.installation.pins()).map_or(0, |entries| {
        entries.flatten().map(|part| std::fs::read_dir(part.path()).map_or(1, Iterator::count)).sum()
    });
    assert_eq!(left, 0, "pins are left in {}", site.installation.pins().display());
}

#[test]
fn an_interface_with_another_xdp_program() {
    let site = Site::nat(1);
    site.configure(site.web_of(&[0]));
    let other = stub::attach(site.director(), "eth1").unwrap();
    let before = attachment(site.director(), "eth1").unwrap();
    let id = before.unwrap().program.to_string();
    let mut up = site.installation.up_command().unwrap();
    refused(&mut up, &["eth1", "xlvs_test_pass", &id, "xdp off"]);
    assert_eq!(attachment(site.director(), "eth1").unwrap(), before);
    untouched(&site, &["eth0"]);
    drop(other);
    let _run = Run::start(&site);
}

#[test]
fn a_mount_namespace_that_would_take_the_pins_with_it() {
    let site = Site::nat(1);
    site.configure(site.web_of(&[0]));
    let up = site.installation.up_command().unwrap();
    let words = |command: &Command| -> Vec<_> {
        [command.get_program()].into_iter().chain(command.get_args()).map(ToOwned::to_owned).collect()
    };
    let with_environment = |command: &mut Command| {
        command.env("XLVS_CONFIG", site.installation.config()).env_remove("XLVS_SOCKET");
    };
    let mend = ["--netns", "nsenter --net="];
    for preparation in [
        // What `ip netns exec` does, which everybody tries first. (It itself cannot where / is no mount point.)
        "mount -t sysfs sysfs /sys",
        // And with a BPF file system mounted there, as the error of a bare mount would suggest.
        "mount -t bpf bpf /sys/fs/bpf",
    ] {
        let mut mounted = site.director().command("unshare").unwrap();
        mounted.args(["--mount", "--propagation", "unchanged", "sh", "-ec"]);
        mounted
            .arg(format!("mount --make-rprivate /sys; {preparation}; exec \"$0\" \"$@\""))
            .args(words(&up));
        with_environment(&mut mounted);
        refused(&mut mounted, &mend);
    }
    untouched(&site, &["eth0", "eth1"]);
}

#[test]
fn a_second_agent_on_the_same_pins() {
    let site = Site::nat(1);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0]));
    let run = Run::start(&site);
    let pid = run.agent().pid();
    let programs = || ["eth0", "eth1"].map(|interface| attachment(site.director(), interface).unwrap());
    let before = programs();
    refused(&mut site.installation.up_command().unwrap(), &["agent"]);
    let mut elsewhere = site.installation.up_command().unwrap();
    elsewhere.arg("--socket").arg(site.installation.folder().join("other"));
    refused(&mut elsewhere, &["another agent holds the pins", "pin_dir"]);
    assert_eq!(programs(), before);
    assert_eq!(run.status()["pid"], pid);
}

#[test]
fn every_port_of_the_hosts_own_address() {
    let site = Site::nat(1);
    let any = |vip| {
        let web = site.web_of(&[0]).to_string();
        web.replace("port = 80\n", "port = \"any\"\n").replace(&VIP.to_string(), vip)
    };
    let own = DIRECTOR_OUTSIDE.to_string();
    site.configure(any(&own));
    refused(&mut site.installation.up_command().unwrap(), &["web", &own, "eth0", "cut off"]);
    untouched(&site, &["eth0", "eth1"]);

    // A reload is not a way round it.
    site.configure(site.web_of(&[0]));
    let run = Run::start(&site);
    site.configure(any(&own));
    let said = site.installation.run(&["reload"]).unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("cut off"), "{said:?}");
    assert_eq!(run.status()["config"]["generation"], 1);
    // Of a VIP, every port may be balanced.
    site.reload(any(&VIP.to_string()));
}

#[test]
fn interfaces_that_will_not_do() {
    let site = Site::nat(1);
    site.configure(site.web_of(&[0]));
    let up = |interface: &str| {
        let mut up = site.installation.up_command().unwrap();
        up.args(["--iface", interface]);
        up
    };
    refused(&mut up("eth7"), &["eth7 does not exist", "eth0, eth1"]);
    site.director().ip("link add spare type veth peer name eraps").unwrap();
    refused(&mut up("spare"), &["spare is down", "ip link set spare up"]);
    untouched(&site, &["eth0", "eth1", "spare"]);
}

/// `[cluster]` with a peer, and its credentials in this folder of the installation.
fn cluster(site: &Site, folder: &str) -> String {
    let folder = site.installation.folder().join(folder);
    format!(
        "[cluster]\nnode = \"lb1\"\nlisten = \"{DIRECTOR_OUTSIDE}\"\ncredentials = {folder:?}\n\
         peers = [{{ name = \"lb2\", address = \"10.77.1.253\" }}]\n{}",
        site.web_of(&[0])
    )
}

#[test]
fn a_cluster_without_credentials_and_one_with_them() {
    let site = Site::nat(1);
    site.configure(cluster(&site, "cluster"));
    refused(
        &mut site.installation.up_command().unwrap(),
        &["there is no folder", "xlvs cluster init --node lb1"],
    );
    untouched(&site, &["eth0", "eth1"]);
    site.installation.ok(&["cluster", "init", "--node", "lb1"]).unwrap();
    let run = Run::start(&site);
    assert_eq!(run.status()["cluster"]["peers_connected"], 0, "nobody else is there, and it serves");
}

#[test]
fn a_cluster_that_would_not_find_the_pinned_connections() {
    let site = Site::nat(1);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0]));
    let mut run = Run::start(&site);
    let path = |name: &str| site.installation.folder().join(name).display().to_string();
    std::fs::write(path("other-key"), [7; 8 * KEY_WORDS]).unwrap();
    let found = |folder: &str, key: &[&str]| {
        let init = ["cluster", "init", "--node", "lb1", "--dir", &path(folder)];
        site.installation.ok(&[&init, key].concat()).unwrap();
    };
    found("foreign", &["--hash-key", &path("other-key")]);
    // With the key that the pins have been made with.
    found("own", &[]);

    let reload = |words: &str| {
        let said = site.installation.run(&["reload"]).unwrap();
        assert!(said.code == 1 && said.stderr.contains(words), "{said:?}");
    };
    site.configure(cluster(&site, "foreign"));
    reload("another key");
    // Who is there is settled at the start; the connections stay.
    site.configure(cluster(&site, "own"));
    let said = site.installation.ok(&["reload"]).unwrap();
    assert!(said.contains("restart xlvs"), "{said}");
    run.kill();
    run.up();
    run.kill();
    site.configure(cluster(&site, "foreign"));
    refused(
        &mut site.installation.up_command().unwrap(),
        &["another key than the cluster's", "'xlvs down' first"],
    );
    site.configure(site.web_of(&[0]));
    run.up();
}
