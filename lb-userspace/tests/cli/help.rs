//! Help is part of the interface.

use crate::golden::assert_golden;
use crate::xlvs::xlvs;

const VERBS: [&str; 22] = [
    "up",
    "down",
    "check",
    "reload",
    "status",
    "services",
    "servers",
    "connections",
    "affinity",
    "stats",
    "drops",
    "peers",
    "explain",
    "capture",
    "drain",
    "enable",
    "disable",
    "weight",
    "overrides",
    "cluster",
    "completions",
    "man",
];

#[test]
fn the_overview() {
    let run = xlvs(&["--help"]);
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""));
    assert_golden("help.txt", &run.stdout);
}

#[test]
fn each_verb() {
    for verb in VERBS {
        let run = xlvs(&[verb, "--help"]);
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{verb}");
        assert_golden(&format!("help-{verb}.txt"), &run.stdout);
    }
}

#[test]
fn what_can_be_done_for_a_cluster() {
    for action in ["init", "add-node"] {
        let run = xlvs(&["cluster", action, "--help"]);
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{action}");
        assert_golden(&format!("help-cluster-{action}.txt"), &run.stdout);
    }
}

#[test]
fn the_overview_lists_every_verb_of_this_version_and_no_other() {
    let help = xlvs(&["--help"]).stdout;
    let verbs = help.split_once("Verbs:\n").expect("a list of verbs").1;
    let listed: Vec<&str> = verbs
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, VERBS);
    for later in ["top", "doctor", "events", "import", "schema"] {
        assert_eq!(xlvs(&[later]).exit, 2, "{later}");
    }
}

#[test]
fn without_a_verb_the_help_comes_and_the_exit_code_is_two() {
    let run = xlvs(&[]);
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("Usage: xlvs"), "{}", run.stderr);
}

#[test]
fn the_version() {
    let run = xlvs(&["--version"]);
    assert_eq!((run.exit, run.stdout), (0, format!("xlvs {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_command_line_exits_two_and_says_what_is_wrong() {
    for (args, word) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["status", "--frobnicate"], "--frobnicate"),
        (&["status", "-o", "yaml"], "yaml"),
        (&["status", "superfluous"], "superfluous"),
        (&["connections", "--limit", "many"], "many"),
        (&["affinity", "clear"], "--all"),
        (&["overrides", "clear"], "--all"),
        (&["overrides", "--all"], "clear"),
        (&["stats", "--interval", "5"], "could mean 5s or 5ms"),
        (&["drain", "web"], "<SERVER>"),
        (&["drain", "web", "rs1", "--wait", "30"], "could mean 30s or 30ms"),
        (&["drain", "web", "rs1", "--wait", "soon"], "is not a duration"),
        (&["weight", "web", "rs1"], "<N|config>"),
        (&["weight", "web", "rs1", "-1"], "whole number from 0 to 1000"),
        (&["weight", "web", "rs1", "1001"], "whole number from 0 to 1000"),
        (&["explain", "icmp", "1.2.3.4:1", "1.2.3.4:2"], "tcp"),
        (&["explain", "tcp", "1.2.3.4", "1.2.3.4:2"], "write 1.2.3.4:PORT"),
        (&["explain", "tcp"], "<SRC:PORT>"),
        (&["explain"], "--pcap"),
        (&["explain", "--pcap", "x.pcap", "-n", "0"], "numbered from 1"),
        (&["explain", "--frame", "0g"], "no hexadecimal digit"),
        (&["explain", "--pcap", "x.pcap", "tcp", "1.2.3.4:1", "1.2.3.4:2"], "cannot be used with"),
        (&["capture", "--client", "web"], "write 192.0.2.7"),
        (&["capture", "--for", "5"], "5s"),
        (&["explain", "tcp", "::1", "1.2.3.4:2"], "write [::1]:PORT"),
        (&["explain", "tcp", "1.2.3.4:70000", "1.2.3.4:2"], "ADDRESS:PORT"),
        (&["cluster"], "init"),
        (&["cluster", "init"], "--node"),
        (&["cluster", "init", "--node", "lb 1"], "cannot be a name"),
        (&["cluster", "add-node", "lb2"], "--out"),
        (&["completions", "dos"], "dos"),
        (&["man", "top"], "top"),
    ] {
        let run = xlvs(args);
        assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{args:?} should say {word}: {}", run.stderr);
    }
}

#[test]
fn completions_and_manual_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let run = xlvs(&["completions", shell]);
        assert_eq!(run.exit, 0, "{shell}: {}", run.stderr);
        for verb in VERBS {
            assert!(run.stdout.contains(verb), "{shell} does not complete {verb}");
        }
    }
    let manual = xlvs(&["man"]);
    assert_eq!(manual.exit, 0);
    assert!(manual.stdout.contains(".TH xlvs 1"), "{}", manual.stdout);
    let page = xlvs(&["man", "drain"]);
    assert_eq!(page.exit, 0);
    assert!(page.stdout.contains(".TH xlvs-drain 1"), "{}", page.stdout);
}
