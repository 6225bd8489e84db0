//! What servers say of themselves, in HAProxy's words.

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use xlvs_tests::traffic::{HandshakePlan, handshakes};

use super::peers::{Manners, listen};
use super::wait_for;
use crate::run::Run;
use crate::site::{Site, WEB, server};

#[test]
fn servers_say_themselves_how_they_are_in_haproxys_words() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    let said = Arc::new(Mutex::new("up ready 100%\n".to_owned()));
    let sent = Arc::new(Mutex::new(Vec::new()));
    for (index, server) in site.servers().iter().enumerate() {
        let words = if index == 0 { said.clone() } else { Arc::new(Mutex::new("up 100%\n".to_owned())) };
        listen(&server.namespace, 9777, Manners::Agent(words, sent.clone()));
    }
    let asked = "agent_check = { port = 9777, interval = \"150ms\", send = \"web\\n\" }";
    site.configure(site.web(&[(0, 1), (1, 1)]).health("kind = \"tcp\"").lines(asked));
    let run = Run::start(&site);
    assert!(sent.lock().unwrap().starts_with(b"web\n"));
    let says = |words: &str| words.clone_into(&mut said.lock().unwrap());
    let share = || {
        let plan = HandshakePlan::new(WEB, 400);
        let report = handshakes(site.client(), &plan).unwrap();
        assert_eq!(report.opened(), 400, "{report}");
        report.by_server.get("rs1").copied().unwrap_or(0)
    };
    assert!((150..=250).contains(&share()), "half of it");

    says("25%\n");
    wait_for(&run, "rs1", |server| server["agent"]["percent"] == 25);
    let quarter = share();
    assert!((45..=120).contains(&quarter), "a quarter against a whole is a fifth: {quarter} of 400");
    assert_eq!(server(&run.status(), "rs1")["weight"], 1, "the weight is the operator's");

    // A weight set by hand is meant as it is.
    site.installation.ok(&["weight", "web", "rs1", "1"]).unwrap();
    assert!((150..=250).contains(&share()), "by hand");
    site.installation.ok(&["weight", "web", "rs1", "config"]).unwrap();

    for (words, state, field, value) in [
        ("drain\n", "drained", "order", Value::from("drain")),
        ("ready\n", "up", "order", "ready".into()),
        ("maint\r\n", "disabled", "order", "maint".into()),
        ("ready, up\n", "up", "order", "ready".into()),
        ("down # the disk is full\n", "down", "fault", "down: the disk is full".into()),
        ("up\n", "up", "fault", Value::Null),
        ("stopped\n", "down", "fault", "stopped".into()),
        ("UP\tmaxconn:30\n", "up", "max_connections", 30.into()),
        ("0%\n", "drained", "percent", 0.into()),
        ("100%\nnot the first line", "up", "percent", 100.into()),
        (
            "no such word\n",
            "up",
            "trouble",
            "said what is no word of the protocol: \"no\", \"such\", \"word\"".into(),
        ),
    ] {
        says(words);
        let found = wait_for(&run, "rs1", |server| server["agent"][field] == value);
        let drained = state == "drained" && (found["state"] == "draining");
        assert!(found["state"] == state || drained, "{words:?}: {found}");
        if state != "up" {
            assert_eq!(share(), 0, "{words:?}");
        }
    }
    // A limit stands until the agent names another, and counts: who is over it is passed over.
    sleep(Duration::from_millis(1100));
    let limited = share();
    assert!(
        (1..150).contains(&limited),
        "30 at once, however many the walk has not counted yet: {limited} of 400"
    );
    says("ready up 100% maxconn:0\n");
    wait_for(&run, "rs1", |server| server["agent"]["max_connections"] == 0);
    assert!(share() > 100, "no limit");

    // An operator's order and an agent's: whichever allows less.
    site.installation.ok(&["drain", "web", "rs1"]).unwrap();
    sleep(Duration::from_millis(500));
    assert_eq!(share(), 0, "the agent does not undo an operator's order");
    site.installation.ok(&["enable", "web", "rs1"]).unwrap();
    assert!(share() > 100);
}
