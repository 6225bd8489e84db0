//! The verbs against an agent whose answers are known: what they ask, print and exit with.

use crate::agent::Agent;
use crate::golden::assert_golden;
use crate::sample;
use crate::xlvs::{Run, command, finish, xlvs_at};
use lb_userspace::api::*;
use lb_userspace::control::{
    AffinityQuery, ConnectionFilter, FrameQuery, Order, OverrideRequest, PacketQuery, Report, Request,
    Response, WeightOrder,
};

/// Answers everything from the sample; after an order, each status shows fewer connections on `web/rs4`.
fn agent() -> Agent {
    let mut remaining = 7;
    let mut leaving = 0;
    let mut looks = 0;
    Agent::answering(move |request| {
        let report = match request {
            Request::Status => {
                looks += 1;
                let mut status =
                    if looks % 2 == 1 { sample::status() } else { sample::status_two_seconds_later() };
                status.services[0].servers[3].connections_active = remaining;
                remaining = remaining.saturating_sub(leaving);
                Report::Status(Box::new(status))
            }
            Request::Connections(_) => Report::Connections(sample::connections()),
            Request::Affinity(query) => Report::Affinity(sample::affinity(query.clear)),
            Request::Peers => Report::Peers(Box::new(sample::peers())),
            Request::Drops => Report::Drops(sample::drops()),
            Request::Explain(_) | Request::ExplainFrame(_) => Report::Explain(Box::new(sample::explain())),
            Request::BeginCapture(_) | Request::GoOnCapturing { .. } => Report::Capture(sample::capture()),
            Request::EndCapture { .. } => {
                Report::Capture(CaptureReport { frames: Vec::new(), ..sample::capture() })
            }
            Request::Reload { .. } => Report::Reload(sample::reload()),
            Request::Diff { path } => Report::Diff(DiffReport {
                schema: Schema,
                path: path.clone().expect("a path"),
                generation: 8,
                changes: sample::changes(),
            }),
            Request::Override(order) if order.server.as_deref() == Some("rs4") => {
                leaving = 4;
                let (action, state) = match order.order {
                    Order::Drain => (OverrideAction::Drain, ServerState::Draining),
                    Order::Enable => (OverrideAction::Enable, ServerState::Unknown),
                    Order::Disable => (OverrideAction::Disable, ServerState::Disabled),
                    Order::Weight(_) => (OverrideAction::Weight, ServerState::Up),
                    Order::Clear => (OverrideAction::Clear, ServerState::Up),
                };
                Report::Override(sample::overridden(action, state, 7))
            }
            Request::Down => Report::Down { pid: 4711, kept: Some(1234) },
            Request::Override(order) => {
                let what = format!("no service has a server {}", order.server.as_deref().unwrap_or("-"));
                return Some(Response::Error(Failure::new(FailureKind::NotFound, what)));
            }
        };
        Some(Response::Ok(report))
    })
}

fn done(run: Run) -> String {
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    run.stdout
}

#[test]
fn reading_verbs_print_what_the_agent_reports() {
    let agent = agent();
    for (golden, args) in [
        ("connections", &["connections"][..]),
        ("affinity", &["affinity"]),
        ("affinity-clear", &["affinity", "clear", "--server", "rs1"]),
        ("drops", &["drops"]),
        ("peers", &["peers"]),
        ("explain", &["explain", "tcp", "10.77.1.7:40001", "10.77.1.100:80"]),
        ("capture", &["capture", "--count", "1"]),
        ("reload", &["reload"]),
        ("drain", &["drain", "web", "rs4"]),
        ("weight", &["weight", "web", "rs4", "5"]),
        ("overrides-clear", &["overrides", "clear", "--server", "rs4"]),
    ] {
        let table = done(xlvs_at(&agent.socket(), args));
        assert_golden(&format!("{golden}.txt"), &table);
        let json = done(xlvs_at(&agent.socket(), &[args, &["-o", "json"]].concat()));
        assert_golden(&format!("{golden}.json"), &json);
    }
}

#[test]
fn views_of_the_status_are_taken_from_it() {
    for (golden, args) in [
        ("status", &["status"][..]),
        ("services", &["services"]),
        ("servers", &["servers"]),
        ("overrides", &["overrides"]),
        ("stats", &["stats", "--interval", "1ms"]),
    ] {
        // A fresh agent each time: its answers change from one status to the next.
        assert_golden(&format!("{golden}.txt"), &done(xlvs_at(&agent().socket(), args)));
        let json = [args, &["--output", "json"]].concat();
        assert_golden(&format!("{golden}.json"), &done(xlvs_at(&agent().socket(), &json)));
    }
}

#[test]
fn arguments_reach_the_agent() {
    let agent = agent();
    let ask = |args: &[&str]| done(xlvs_at(&agent.socket(), args));
    ask(&["connections", "--service", "web", "--server", "rs1", "--client", "192.0.2.7", "--limit", "5"]);
    ask(&["affinity", "clear", "--service", "web", "--client", "192.0.2.7"]);
    ask(&["explain", "udp", "[2001:db8::7]:40001", "[2001:db8::100]:53"]);
    ask(&["explain", "--frame", "02:00:00:00:00:01", "--iface", "eth1"]);
    ask(&["drain", "-", "rs4"]);
    ask(&["weight", "web", "rs4", "config"]);
    ask(&["overrides", "clear", "--server", "rs4"]);
    ask(&["reload"]);
    ask(&["reload", "-c", "/etc/other.toml"]);
    let order = |service: Option<&str>, order| {
        let service = service.map(str::to_owned);
        Request::Override(OverrideRequest { service, server: Some("rs4".to_owned()), order })
    };
    let expected = [
        Request::Connections(ConnectionFilter {
            service: Some("web".to_owned()),
            server: Some("rs1".to_owned()),
            client: Some("192.0.2.7".parse().expect("an address")),
            limit: 5,
        }),
        Request::Affinity(AffinityQuery {
            service: Some("web".to_owned()),
            server: None,
            client: Some("192.0.2.7".parse().expect("an address")),
            limit: 1000,
            clear: true,
        }),
        Request::Explain(PacketQuery {
            protocol: Protocol::Udp,
            source: "[2001:db8::7]:40001".parse().expect("an endpoint"),
            destination: "[2001:db8::100]:53".parse().expect("an endpoint"),
            interface: None,
        }),
        Request::ExplainFrame(FrameQuery {
            frame: "0200 0000 0001".parse().expect("digits"),
            interface: Some("eth1".to_owned()),
        }),
        order(None, Order::Drain),
        order(Some("web"), Order::Weight(WeightOrder::Config)),
        order(None, Order::Clear),
        Request::Reload { path: None },
        Request::Reload { path: Some("/etc/other.toml".into()) },
    ];
    assert_eq!(agent.requests(), expected);
}

/// The agent works in another folder.
#[test]
fn a_relative_file_reaches_the_agent_as_an_absolute_one() {
    let agent = agent();
    let mut reload = command(&["reload", "-c", "site.toml", "--socket"]);
    reload.arg(agent.socket()).current_dir("/usr");
    done(finish(reload));
    assert_eq!(agent.requests(), [Request::Reload { path: Some("/usr/site.toml".into()) }]);
}

#[test]
fn status_ready_is_an_exit_code() {
    assert_eq!(xlvs_at(&agent().socket(), &["status", "--ready"]).exit, 0);
    let unready = Agent::answering(|_| {
        let mut status = sample::status();
        status.ready = false;
        status.not_ready = vec!["no health result yet for web/rs1".to_owned()];
        Some(Response::Ok(Report::Status(Box::new(status))))
    });
    let run = xlvs_at(&unready.socket(), &["status", "--ready"]);
    assert_eq!(run.exit, 1);
    assert!(run.stdout.starts_with("NOT READY: no health result yet for web/rs1"), "{}", run.stdout);
    assert_eq!(xlvs_at(&unready.socket(), &["status"]).exit, 0, "only --ready asks for that");
}

#[test]
fn a_drain_waits_until_no_connection_is_left() {
    let agent = agent();
    let out = done(xlvs_at(&agent.socket(), &["drain", "web", "rs4", "--wait", "10s"]));
    assert_eq!(out, "web/rs4: draining, 0 connections\n");
    let looks = agent.requests().iter().filter(|request| **request == Request::Status).count();
    assert_eq!(looks, 3, "7, then 3, then 0 connections");
}

#[test]
fn a_wait_that_is_too_short_exits_four_and_says_what_is_left() {
    let busy = Agent::answering(|request| {
        Some(Response::Ok(match request {
            Request::Status => Report::Status(Box::new(sample::status())),
            _ => Report::Override(sample::overridden(OverrideAction::Drain, ServerState::Draining, 7)),
        }))
    });
    let run = xlvs_at(&busy.socket(), &["drain", "web", "rs4", "--wait", "300ms"]);
    assert_eq!(run.exit, 4, "{}", run.stderr);
    assert_eq!(run.stdout, "web/rs4: draining, 7 connections\n");
    assert_eq!(
        run.stderr,
        "xlvs: after 300ms, web/rs4 still holds 7 connections; the order stays in force\n"
    );
}

#[test]
fn enable_waits_for_the_server_to_be_up() {
    let mut looks = 0;
    let recovering = Agent::answering(move |request| {
        Some(Response::Ok(match request {
            Request::Status => {
                looks += 1;
                let mut status = sample::status();
                status.services[0].servers[3].state =
                    if looks < 2 { ServerState::Unknown } else { ServerState::Up };
                Report::Status(Box::new(status))
            }
            _ => Report::Override(sample::overridden(OverrideAction::Enable, ServerState::Unknown, 0)),
        }))
    });
    let out = done(xlvs_at(&recovering.socket(), &["enable", "web", "rs4", "--wait", "10s"]));
    assert_eq!(out, "web/rs4: up, 7 connections\n");
}

#[test]
fn a_server_that_is_removed_while_one_waits_for_it_is_a_failure() {
    let vanishing = Agent::answering(|request| {
        Some(Response::Ok(match request {
            Request::Status => {
                let mut status = sample::status();
                status.services[0].servers.truncate(3);
                Report::Status(Box::new(status))
            }
            _ => Report::Override(sample::overridden(OverrideAction::Drain, ServerState::Draining, 7)),
        }))
    });
    let run = xlvs_at(&vanishing.socket(), &["drain", "web", "rs4", "--wait", "10s"]);
    assert_eq!(run.exit, 1);
    assert!(run.stderr.contains("web/rs4 was removed"), "{}", run.stderr);
}

#[test]
fn what_the_agent_refuses_is_told_and_exits_one() {
    let run = xlvs_at(&agent().socket(), &["drain", "web", "rs9"]);
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert_eq!(run.stderr, "xlvs: no service has a server rs9\n");
}

#[test]
fn a_refused_reload_tells_every_problem() {
    let strict = Agent::answering(|_| {
        let problem = |line| Problem {
            file: "/etc/xlvs/xlvs.toml".into(),
            line: Some(line),
            column: Some(8),
            what: "port 70000 does not exist".to_owned(),
            remedy: "write 1 to 65535".to_owned(),
        };
        let what = "the reload was refused, generation 8 stays in force";
        Some(Response::Error(Failure::invalid_config(what, vec![problem(3), problem(9)])))
    });
    let run = xlvs_at(&strict.socket(), &["reload"]);
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert_eq!(
        run.stderr,
        "/etc/xlvs/xlvs.toml:3:8: port 70000 does not exist; write 1 to 65535\n\
         /etc/xlvs/xlvs.toml:9:8: port 70000 does not exist; write 1 to 65535\n\
         xlvs: the reload was refused, generation 8 stays in force\n"
    );
    let run = xlvs_at(&strict.socket(), &["reload", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["error"]["problems"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_agent_without_an_answer_exits_four() {
    let limits = lb_userspace::control::Limits {
        agent_patience: std::time::Duration::from_millis(100),
        ..crate::agent::BRISK
    };
    let run = xlvs_at(&Agent::limited(limits, |_| None).socket(), &["status"]);
    assert_eq!(run.exit, 4, "{}", run.stderr);
}

#[test]
fn check_diff_asks_the_agent_about_the_file_that_was_checked() {
    let agent = agent();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("site.toml");
    let text = "[[service]]\nname = \"web\"\nvip = \"10.77.1.100\"\nport = 80\nprotocol = \"tcp\"\nmode = \"nat\"\n\
                [[service.server]]\nname = \"rs1\"\naddress = \"10.77.2.21\"\n";
    std::fs::write(&file, text).expect("a file");
    let mut check = command(&["check", "--diff", "-c", "site.toml", "--socket"]);
    check.arg(agent.socket()).current_dir(folder.path());
    let out = done(finish(check));
    assert_eq!(
        out,
        "site.toml: ok, 1 service, 1 server\n\
         a reload would make 3 changes:\n  \
         ~ [agent] xdp_mode auto -> native (takes effect when the agent is started anew)\n  \
         + server web/rs4 10.77.2.24:80 weight 1\n  \
         - service old 10.77.1.99:80 tcp\n"
    );
    assert_eq!(agent.requests(), [Request::Diff { path: Some(file) }]);
}

#[test]
fn a_capture_is_written_with_what_was_decided() {
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::{Block, PcapNgReader};
    let agent = agent();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcapng");
    let run = xlvs_at(&agent.socket(), &["capture", "--count", "3", "-w", path.to_str().unwrap()]);
    assert_eq!((run.exit, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    assert!(run.stderr.contains("3 frames captured in"), "{}", run.stderr);
    let mut reader = PcapNgReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            let comment = packet.options.iter().find_map(|option| match option {
                EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
                _ => None,
            });
            found.push((
                packet.interface_id,
                packet.data[0],
                packet.timestamp.subsec_nanos(),
                comment.unwrap(),
            ));
        }
    }
    // The third frame is the first once more; each one that is sent stands there twice.
    let came = (1, 1, 123_456_789, "in: forwarded_nat (stage arrival) web/rs1 [stored]".to_owned());
    let left = (0, 2, 123_456_789, "out: forwarded_nat (stage arrival) web/rs1 [stored]".to_owned());
    let dropped = (1, 1, 123_456_789, "in: dropped_ttl (stage entry)".to_owned());
    assert_eq!(found, [came.clone(), left.clone(), dropped, came, left]);
}

/// The agent may first have to load what captures.
#[test]
fn a_capture_lasts_from_when_it_has_begun() {
    let agent = Agent::answering(|request| {
        if matches!(request, Request::BeginCapture(_)) {
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
        let frames = Vec::new();
        Some(Response::Ok(Report::Capture(CaptureReport { frames, ..sample::capture() })))
    });
    let run = xlvs_at(&agent.socket(), &["capture", "--for", "500ms"]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
    let asked = agent.requests();
    assert!(asked.iter().any(|request| matches!(request, Request::GoOnCapturing { .. })), "{asked:?}");
}
