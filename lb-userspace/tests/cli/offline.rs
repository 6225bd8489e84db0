//! What the command line does without an agent and without privilege.

use crate::xlvs::{command, finish, xlvs, xlvs_at};
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

const GOOD: &str = r#"
[agent]
interfaces = ["eth0"]
socket = "SOCKET"
pin_dir = "PINS"
[[service]]
name = "web"
vip = "10.77.1.100"
port = 80
protocol = "tcp"
mode = "nat"
[[service.server]]
name = "rs1"
address = "10.77.2.21"
[[service.server]]
name = "rs2"
address = "10.77.2.22"
"#;

/// A folder with a configuration whose socket and pins lie in it too.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(config: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        let at = |name| site.path(name).display().to_string();
        let text = config.replace("SOCKET", &at("socket")).replace("PINS", &at("pins"));
        fs::write(site.path("xlvs.toml"), text).expect("a file");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        self.path("xlvs.toml").display().to_string()
    }
}

#[test]
fn a_valid_file_is_counted() {
    let site = Site::new(GOOD);
    let run = xlvs(&["check", "-c", &site.config()]);
    assert_eq!(run.stdout, format!("{}: ok, 1 service, 2 servers\n", site.config()));
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""));
}

#[test]
fn every_problem_of_a_wrong_file_is_told_with_its_place() {
    let site = Site::new(&GOOD.replace("port = 80", "port = 70000").replace("\"10.77.2.22\"", "\"10.77.2\""));
    let run = xlvs(&["check", "-c", &site.config()]);
    assert_eq!((run.exit, run.stderr.as_str()), (1, ""));
    let problems: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(problems.len(), 2, "{}", run.stdout);
    for (problem, line) in problems.iter().zip([9, 17]) {
        assert!(problem.starts_with(&format!("{}:{line}:", site.config())), "{problem}");
        assert!(problem.contains("; "), "no remedy: {problem}");
    }
}

#[test]
fn check_speaks_json_too() {
    let good = Site::new(GOOD);
    let run = xlvs(&["check", "-o", "json", "-c", &good.config()]);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(
        (report["schema"].as_u64(), report["ok"].as_bool(), report["servers"].as_u64()),
        (Some(1), Some(true), Some(2))
    );

    let bad = Site::new(&GOOD.replace("port = 80", "port = 70000"));
    let run = xlvs(&["check", "-o", "json", "-c", &bad.config()]);
    assert_eq!(run.exit, 1);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["ok"].as_bool(), Some(false));
    assert_eq!((report["problems"][0]["line"].as_u64(), report["services"].as_u64()), (Some(9), None));
}

#[test]
fn a_missing_file_is_a_problem_of_its_own() {
    let site = Site::new(GOOD);
    let missing = site.path("missing.toml").display().to_string();
    let run = xlvs(&["check", "-c", &missing]);
    assert_eq!(run.exit, 1);
    assert!(run.stdout.starts_with(&missing), "{}", run.stdout);
}

#[test]
fn the_environment_names_the_file_unless_the_command_line_does() {
    let (one, other) = (Site::new(GOOD), Site::new(GOOD));
    let checked = |flag: &[&str]| {
        let mut command = command(&["check"]);
        finish({
            command.args(flag).env("XLVS_CONFIG", one.config());
            command
        })
        .stdout
    };
    assert!(checked(&[]).starts_with(&one.config()));
    assert!(checked(&["-c", &other.config()]).starts_with(&other.config()));
}

fn exits_three(args: &[&str], socket: &Path) {
    let run = xlvs(args);
    assert_eq!((run.exit, run.stdout.as_str()), (3, ""), "{args:?}: {}", run.stderr);
    let expected = format!("xlvs: no agent answers on {}; ", socket.display());
    assert!(run.stderr.starts_with(&expected), "{args:?}: {}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn every_verb_that_needs_an_agent_exits_three_without_one() {
    let site = Site::new(GOOD);
    let config = site.config();
    for verb in [
        &["status"][..],
        &["status", "--ready"],
        &["services"],
        &["servers"],
        &["connections"],
        &["stats"],
        &["drops"],
        &["reload"],
        &["drain", "web", "rs1"],
        &["enable", "-", "rs1"],
        &["disable", "web", "rs1", "--wait", "1s"],
        &["weight", "web", "rs1", "config"],
    ] {
        exits_three(&[verb, &["-c", &config]].concat(), &site.path("socket"));
    }
    // A file under check is valid with or without an agent, but what a reload would change is not known.
    let run = xlvs(&["check", "--diff", "-c", &config]);
    assert_eq!(run.exit, 3, "{}", run.stderr);
}

#[test]
fn the_socket_of_a_dead_agent_is_no_agent() {
    let site = Site::new(GOOD);
    drop(UnixListener::bind(site.path("socket")).expect("a socket"));
    exits_three(&["status", "-c", &site.config()], &site.path("socket"));
}

#[test]
fn the_line_says_that_nothing_is_pinned() {
    let site = Site::new(GOOD);
    let run = xlvs(&["status", "-c", &site.config()]);
    let expected = format!("no data path is pinned in {}", site.path("pins").display());
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
}

#[test]
fn the_socket_is_looked_for_in_the_order_of_the_contract() {
    let site = Site::new(GOOD);
    let (flag, variable) = (site.path("flag"), site.path("variable"));
    let told = |args: &[&str], variable: Option<&Path>| {
        let mut command = command(args);
        command.arg("-c").arg(site.config());
        if let Some(variable) = variable {
            command.env("XLVS_SOCKET", variable);
        }
        finish(command).stderr
    };
    let flag_args = ["status", "--socket", flag.to_str().expect("UTF-8")];
    assert!(told(&flag_args, Some(&variable)).contains(&format!("on {};", flag.display())));
    assert!(told(&["status"], Some(&variable)).contains(&format!("on {};", variable.display())));
    assert!(told(&["status"], None).contains(&format!("on {};", site.path("socket").display())));
    // An empty variable is as good as none.
    assert!(
        told(&["status"], Some(Path::new(""))).contains(&format!("on {};", site.path("socket").display()))
    );
}

#[test]
fn a_file_full_of_mistakes_still_leads_to_the_socket() {
    let site = Site::new(&GOOD.replace("port = 80", "port = 70000\nfrobnicate = true"));
    exits_three(&["status", "-c", &site.config()], &site.path("socket"));
}

#[test]
fn a_failure_is_an_object_where_json_was_asked_for() {
    let site = Site::new(GOOD);
    let run = xlvs_at(&site.path("nobody"), &["servers", "-o", "json"]);
    assert_eq!(run.exit, 3);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((report["schema"].as_u64(), report["error"]["kind"].as_str()), (Some(1), Some("no_agent")));
    assert!(!run.stderr.is_empty());
}

#[test]
fn a_socket_one_may_not_open_is_not_taken_for_no_agent() {
    let site = Site::new(GOOD);
    // A path through a file cannot be opened by anybody, root included.
    let run = xlvs_at(&site.path("xlvs.toml").join("s"), &["status"]);
    assert_eq!(run.exit, 1, "{}", run.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut command = command(&["completions", "bash"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    let mut command = command(&["completions", "bash"]);
    command.stdout(full);
    let run = finish(command);
    assert_eq!(run.exit, 1);
    assert!(run.stderr.contains("could not write the report to stdout"), "{}", run.stderr);
}

#[test]
fn talk_that_nobody_hears_changes_no_exit_code() {
    let site = Site::new(GOOD);
    let mut command = command(&["status", "-c", &site.config()]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
}
