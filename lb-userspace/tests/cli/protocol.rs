//! The control protocol over a real socket, with callers that behave badly.

use crate::agent::{Agent, BRISK};
use crate::sample;
use lb_userspace::api::FailureKind;
use lb_userspace::control::{Client, ClientError, Limits, Report, Request, Response};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

fn status_teller() -> Agent {
    telling_status(BRISK)
}

fn telling_status(limits: Limits) -> Agent {
    Agent::limited(limits, |_| Some(Response::Ok(Report::Status(Box::new(sample::status())))))
}

/// A caller that writes what it likes.
struct RawCaller {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl RawCaller {
    fn new(agent: &Agent) -> Self {
        let stream = UnixStream::connect(agent.socket()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let answers = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, answers }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it listens");
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn error_kind(&mut self) -> String {
        self.answer()["error"]["kind"].as_str().expect("an error").to_owned()
    }

    fn is_hung_up_on(&mut self) {
        let mut rest = Vec::new();
        match self.answers.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

#[test]
fn an_answer_comes_back_whole() {
    let agent = status_teller();
    let report = Client::new(agent.socket(), PATIENCE).call(&Request::Status).expect("an answer");
    assert_eq!(report, Report::Status(Box::new(sample::status())));
}

#[test]
fn one_caller_may_ask_several_times() {
    let agent = status_teller();
    let mut caller = RawCaller::new(&agent);
    for _ in 0..3 {
        caller.say(b"{\"verb\":\"status\"}\n");
        assert_eq!(caller.answer()["ok"]["status"]["pid"], 4711);
    }
    // Also when the requests come in one piece.
    caller.say(b"{\"verb\":\"status\"}\n{\"verb\":\"drops\"}\n");
    caller.answer();
    caller.answer();
    assert_eq!(agent.requests().len(), 5);
}

#[test]
fn garbage_is_answered_and_the_caller_may_go_on() {
    let agent = status_teller();
    let mut caller = RawCaller::new(&agent);
    for garbage in ["hello", "", "{}", "[]", "{\"verb\":\"top\"}", "{\"verb\":\"explain\"}", "\u{0}"] {
        caller.say(garbage.as_bytes());
        caller.say(b"\n");
        assert_eq!(caller.error_kind(), "bad_request", "{garbage:?}");
    }
    caller.say(b"\xff\xfe\n");
    assert_eq!(caller.error_kind(), "bad_request");
    caller.say(b"{\"verb\":\"status\"}\n");
    assert_eq!(caller.answer()["ok"]["status"]["pid"], 4711);
    assert_eq!(agent.requests().len(), 1, "garbage must not reach the agent");
}

#[test]
fn an_oversized_request_is_refused_and_hung_up_on() {
    let agent = telling_status(Limits { request_bytes: 1000, ..BRISK });
    let mut caller = RawCaller::new(&agent);
    caller.say(&[b' '; 1001]);
    assert_eq!(caller.error_kind(), "bad_request");
    caller.is_hung_up_on();

    let mut padded = b"{\"verb\":\"status\"}".to_vec();
    padded.resize(1000, b' ');
    padded.push(b'\n');
    let mut caller = RawCaller::new(&agent);
    caller.say(&padded);
    assert_eq!(caller.answer()["ok"]["status"]["pid"], 4711, "a request of the limit fits");
}

#[test]
fn a_slow_caller_is_hung_up_on_and_hinders_nobody() {
    let agent = telling_status(Limits { caller_patience: Duration::from_millis(1500), ..BRISK });
    let mut slow = RawCaller::new(&agent);
    let started = Instant::now();
    slow.say(b"{\"verb\"");
    Client::new(agent.socket(), PATIENCE).call(&Request::Status).expect("the other one is served");
    assert!(started.elapsed() < Duration::from_secs(1), "it waited for the slow one");
    // A byte now and then does not buy time: the whole request has the limit.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(400));
        slow.say(b" ");
    }
    assert_eq!(slow.error_kind(), "timed_out");
    slow.is_hung_up_on();
}

#[test]
fn a_caller_that_does_not_read_its_answers_is_hung_up_on() {
    let agent = telling_status(Limits { caller_patience: Duration::from_millis(300), ..BRISK });
    let mut deaf = RawCaller::new(&agent);
    deaf.stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    // Its requests go through until the server waits for it to take an answer, and then until it has gone.
    let (started, mut waited) = (Instant::now(), false);
    loop {
        match deaf.stream.write_all(b"{\"verb\":\"status\"}\n").map_err(|error| error.kind()) {
            Ok(()) => {}
            Err(std::io::ErrorKind::WouldBlock) => waited = true,
            Err(std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it was never hung up on");
    }
    assert!(waited, "the server never waited");
    Client::new(agent.socket(), PATIENCE).call(&Request::Status).expect("others are served");
}

#[test]
fn callers_are_served_side_by_side() {
    let agent = status_teller();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    Client::new(agent.socket(), PATIENCE).call(&Request::Status).expect("an answer");
                }
            });
        }
    });
    assert_eq!(agent.requests().len(), 160);
}

#[test]
fn one_caller_too_many_is_told_so_and_has_its_turn_later() {
    let agent = telling_status(Limits { callers: 2, ..BRISK });
    let mut callers = [RawCaller::new(&agent), RawCaller::new(&agent)];
    for caller in &mut callers {
        caller.say(b"{\"verb\":\"status\"}\n");
        caller.answer();
    }
    match Client::new(agent.socket(), PATIENCE).call(&Request::Status) {
        Err(ClientError::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Busy),
        other => panic!("{other:?}"),
    }
    drop(callers);
    let deadline = Instant::now() + PATIENCE;
    while Client::new(agent.socket(), PATIENCE).call(&Request::Status).is_err() {
        assert!(Instant::now() < deadline, "the places never became free");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_agent_that_does_not_answer_is_a_time_out() {
    let agent = Agent::limited(Limits { agent_patience: Duration::from_millis(200), ..BRISK }, |_| None);
    match Client::new(agent.socket(), PATIENCE).call(&Request::Status) {
        Err(ClientError::Failed(failure)) => assert_eq!(failure.kind, FailureKind::TimedOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frozen_agent_is_a_time_out_and_not_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let _frozen = UnixListener::bind(&path).expect("a socket");
    let started = Instant::now();
    let outcome = Client::new(&path, Duration::from_millis(200)).call(&Request::Status);
    assert!(matches!(outcome, Err(ClientError::TimedOut { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_agent_that_goes_away_amid_a_request_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    let dying = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().expect("a caller");
        let mut first = [0];
        caller.read_exact(&mut first).expect("a request");
    });
    let outcome = Client::new(&path, PATIENCE).call(&Request::Status);
    assert!(matches!(outcome, Err(ClientError::HungUp { .. })), "{outcome:?}");
    dying.join().expect("no panic");
}

#[test]
fn what_is_not_an_agent_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    let stranger = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().expect("a caller");
        caller.write_all(b"220 ready\r\n").expect("it listens");
        // Until the caller has gone, lest it sees a reset instead.
        let _ = caller.read_to_end(&mut Vec::new());
    });
    let outcome = Client::new(&path, PATIENCE).call(&Request::Status);
    assert!(matches!(outcome, Err(ClientError::Garbled { .. })), "{outcome:?}");
    stranger.join().expect("no panic");
}

#[test]
fn the_socket_goes_with_the_agent() {
    let agent = status_teller();
    let (path, folder) = (agent.socket(), agent.folder().to_owned());
    assert!(path.exists());
    drop(agent);
    assert!(!path.exists() && !folder.exists());
    let outcome = Client::new(&path, PATIENCE).call(&Request::Status);
    assert!(matches!(outcome, Err(ClientError::NoAgent { .. })), "{outcome:?}");
}
