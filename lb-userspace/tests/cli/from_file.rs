//! `xlvs explain` where no agent answers: what the configuration file alone says.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::golden::assert_golden;
use crate::xlvs::{Run, xlvs};

const SITE: &str = r#"
[agent]
interfaces = ["eth0", "eth1"]
socket = "SOCKET"
state_dir = "STATE"
pin_dir = "/nowhere/pins"
[[service]]
name = "web"
vip = ["10.77.1.100", "2001:db8:1::100"]
port = 80
mode = "nat"
deny = ["192.0.2.64/28"]
[[service.server]]
name = "rs1"
address = ["10.77.2.21", "2001:db8:2::21"]
port = 8080
[[service.server]]
name = "rs2"
address = ["10.77.2.22", "2001:db8:2::22"]
port = 8080
weight = 3
[[service.server]]
name = "spare"
address = "10.77.2.23"
weight = 0
[[service]]
name = "dns"
vip = "10.77.1.100"
port = 53
protocol = "udp"
mode = "dr"
[service.health]
kind = "none"
[[service.server]]
name = "rs1"
address = "10.77.2.21"
"#;

const NO_STATE: &str = "/nowhere/state";

/// A folder with the file in it.
struct Site(TempDir);

impl Site {
    fn new(text: &str) -> Self {
        Self::with_state(text, NO_STATE)
    }

    fn with_state(text: &str, state: &str) -> Self {
        let site = Self(tempfile::tempdir().expect("a folder"));
        let socket = site.0.path().join("socket").display().to_string();
        let text = text.replace("SOCKET", &socket).replace("STATE", state);
        fs::write(site.config(), text).expect("a file");
        site
    }

    fn config(&self) -> String {
        self.0.path().join("xlvs.toml").display().to_string()
    }

    fn run(&self, args: &[&str]) -> Run {
        xlvs(&[&["explain", "-c", &self.config()], args].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let run = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        serde_json::from_str(&run.stdout).expect("JSON")
    }
}

const NEW: [&str; 3] = ["tcp", "192.0.2.7:40000", "10.77.1.100:80"];

#[test]
fn what_the_file_alone_says_is_told_with_what_was_assumed() {
    let site = Site::new(SITE);
    for (golden, args) in [
        ("offline-pick", &NEW[..]),
        ("offline-ipv6", &["tcp", "[2001:db8::7]:40000", "[2001:db8:1::100]:80"]),
        ("offline-denied", &["tcp", "192.0.2.70:40000", "10.77.1.100:80"]),
        ("offline-only", &["udp", "192.0.2.7:40000", "10.77.1.100:53"]),
        ("offline-reply", &["tcp", "10.77.2.22:8080", "192.0.2.7:40000"]),
        ("offline-nobodys", &["tcp", "192.0.2.7:40000", "10.77.1.100:81"]),
    ] {
        let run = site.run(args);
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        assert_golden(&format!("explain-{golden}.txt"), &run.stdout);
    }
    assert_golden("explain-offline-pick.json", &site.run(&[&NEW[..], &["-o", "json"]].concat()).stdout);
}

#[test]
fn a_frame_is_answered_as_the_question_that_it_was_made_of() {
    let site = Site::new(SITE);
    let asked = site.json(&NEW);
    let bytes = asked["before"]["bytes"].as_str().expect("bytes").to_owned();
    assert_eq!(site.json(&["--frame", &bytes]), asked);
}

/// Whose turn it is, how many connections there are, what chance says: only the running data path knows.
#[test]
fn with_the_hash_key_one_server_is_named_only_if_the_hash_decides() {
    let state = tempfile::tempdir().expect("a folder");
    fs::write(state.path().join("flow-hash.key"), [0x5b; 13 * 8]).expect("a key");
    for (scheduler, is_named) in [
        ("maglev", true),
        ("source", true),
        ("least", false),
        ("wrr", false),
        ("rr", false),
        ("random", false),
    ] {
        let scheduled =
            SITE.replacen("mode = \"nat\"", &format!("mode = \"nat\"\nscheduler = \"{scheduler}\""), 1);
        let said = Site::with_state(&scheduled, &state.path().display().to_string()).json(&NEW);
        let candidates = said["candidates"].as_array().expect("a list").len();
        assert_eq!(
            (said["server"].is_string(), candidates),
            (is_named, if is_named { 0 } else { 2 }),
            "{said}"
        );
        let reason = format!("scheduler {scheduler}");
        let assumed = said["assumed"].as_array().expect("a list");
        let is_said = assumed.iter().any(|it| it.as_str().is_some_and(|it| it.contains(&reason)));
        assert_eq!(is_said, !is_named, "{said}");
    }
}

/// Any key: which server it is differs, not who may be.
#[test]
fn with_the_hash_key_one_candidate_is_picked() {
    let candidates = Site::new(SITE).json(&NEW)["candidates"].clone();
    let mut picked = std::collections::BTreeMap::new();
    for key in 0..24_u8 {
        let state = tempfile::tempdir().expect("a folder");
        let bytes: Vec<u8> =
            (0..13 * 8).map(|at| key.wrapping_mul(31).wrapping_add((at as u8).wrapping_mul(7)) | 1).collect();
        fs::write(state.path().join("flow-hash.key"), bytes).expect("a key");
        let said = Site::with_state(SITE, &state.path().display().to_string()).json(&NEW);
        assert_eq!((&said["candidates"], said["decision"].as_str()), (&Value::Array(vec![]), Some("pick")));
        assert_eq!(said["server_port"], 8080);
        let sent = said["after"]["text"].as_str().expect("it is sent");
        assert!(
            sent.contains(&format!("> {}:8080 SYN", said["server_address"].as_str().expect("a server"))),
            "{sent}"
        );
        *picked.entry(said["server"].as_str().expect("a server").to_owned()).or_insert(0) += 1;
    }
    let named: Vec<&str> = candidates
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["server"].as_str().expect("a name"))
        .collect();
    assert_eq!(named, ["rs1", "rs2"], "a server of weight 0 is none");
    assert_eq!(picked.keys().collect::<Vec<_>>(), named, "{picked:?}");
    assert!(picked["rs2"] > picked["rs1"], "three times the weight: {picked:?}");
}

#[test]
fn a_key_that_may_not_be_read_is_said() {
    // A folder where the file should be cannot be read by anybody, root included.
    let state = tempfile::tempdir().expect("a folder");
    fs::create_dir(state.path().join("flow-hash.key")).expect("a folder");
    let said = Site::with_state(SITE, &state.path().display().to_string()).json(&NEW);
    let assumed = said["assumed"].as_array().expect("a list");
    assert!(assumed.iter().any(|it| it.as_str().is_some_and(|it| it.contains("flow-hash.key"))), "{said}");
}

#[test]
fn an_agent_is_asked_before_the_file_unless_told_otherwise() {
    let agent = Agent::answering(|request| {
        use lb_userspace::control::{Report, Request, Response};
        let Request::Explain(_) = request else { return None };
        Some(Response::Ok(Report::Explain(Box::new(crate::sample::explain()))))
    });
    let site = Site::new(SITE);
    let socket = agent.socket().display().to_string();
    let asked = site.json(&[&NEW[..], &["--socket", &socket]].concat());
    assert_eq!((agent.requests().len(), asked["decision"].as_str()), (1, Some("entry")));
    let alone = site.json(&[&NEW[..], &["--socket", &socket, "--offline"]].concat());
    assert_eq!((agent.requests().len(), alone["decision"].as_str()), (1, Some("pick")));
}

#[test]
fn what_cannot_be_answered_names_the_place_and_the_remedy() {
    let site = Site::new(SITE);
    let told = |run: Run, exit: i32, words: &[&str]| {
        assert_eq!((run.exit, run.stdout.as_str()), (exit, ""), "{}", run.stderr);
        words.iter().for_each(|word| assert!(run.stderr.contains(word), "{word}: {}", run.stderr));
    };
    told(site.run(&[&NEW[..], &["--iface", "eth7"]].concat()), 2, &["eth7", "name one of eth0, eth1"]);
    told(site.run(&["tcp", "192.0.2.7:1", "[2001:db8::1]:80"]), 2, &["one family"]);
    told(site.run(&["--frame", "0102"]), 1, &["14 to 3400"]);
    let nowhere = Site::new(&SITE.replace("interfaces = [\"eth0\", \"eth1\"]", ""));
    told(nowhere.run(&NEW), 2, &["names no interface", "--iface"]);
    assert_eq!(nowhere.run(&[&NEW[..], &["--iface", "eth7"]].concat()).exit, 0);
    let wrong = Site::new(&SITE.replace("port = 53", "port = 70000"));
    told(wrong.run(&NEW), 1, &[&format!("{}:29:", wrong.config()), "mend it first"]);
    let missing = xlvs(&[&["explain", "-c", "/nowhere/xlvs.toml"], &NEW[..]].concat());
    assert_eq!(missing.exit, 1, "{}", missing.stderr);
}

#[test]
fn without_a_file_an_agent_is_needed() {
    let run = crate::xlvs::xlvs_at("/nowhere/socket".as_ref(), &[&["explain"], &NEW[..]].concat());
    assert_eq!((run.exit, run.stdout.as_str()), (3, ""), "{}", run.stderr);
}
