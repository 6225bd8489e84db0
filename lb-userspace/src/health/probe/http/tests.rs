//! The HTTP probe against answers of every kind.

use std::time::Instant;

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::config::StatusSet;
use crate::health::probe;
use crate::health::spec::{Ask, Question};

const TIMEOUT: Duration = Duration::from_millis(400);

fn healthz() -> HttpProbe {
    HttpProbe {
        method: "GET".into(),
        path: "/healthz".into(),
        host: None,
        headers: Vec::new(),
        expect: StatusSet::default(),
        body: None,
        tls: None,
    }
}

async fn probe(check: &HttpProbe, target: SocketAddr) -> Outcome {
    let ask = Ask::Health(crate::config::Probe::Http(check.clone()));
    probe::probe(&Question { target, ask, path: None, timeout: TIMEOUT }, &Kit::default()).await
}

/// A server that answers one connection with these pieces, a little apart, and then closes or stays silent.
async fn answer(pieces: Vec<Vec<u8>>, then_closes: bool) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.expect("read"), 0, "the request is complete");
        }
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() {
                return request; // the probe has seen enough
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !then_closes {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        request
    });
    (address, server)
}

async fn outcome_of(pieces: &[&str], then_closes: bool) -> Outcome {
    outcome_with(&healthz(), pieces, then_closes).await
}

async fn outcome_with(check: &HttpProbe, pieces: &[&str], then_closes: bool) -> Outcome {
    let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
    let (target, server) = answer(pieces, then_closes).await;
    let outcome = tokio::time::timeout(Duration::from_secs(2), probe(check, target)).await.expect("bounded");
    server.abort();
    outcome
}

#[test]
fn the_request_is_what_the_configuration_says() {
    let target: SocketAddr = "10.77.2.21:8080".parse().expect("address");
    let text = request(&healthz(), target);
    assert!(text.starts_with("GET /healthz HTTP/1.1\r\nHost: 10.77.2.21:8080\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n") && text.contains("Accept: */*\r\n"));
    let check = HttpProbe {
        method: "POST".into(),
        host: Some("app.example".into()),
        headers: vec![("X-Probe".into(), "yes".into()), ("accept".into(), "text/plain".into())],
        ..healthz()
    };
    let text = request(&check, target);
    for line in ["POST /healthz HTTP/1.1", "Host: app.example", "X-Probe: yes", "Content-Length: 0"] {
        assert!(text.contains(&format!("{line}\r\n")), "{text}");
    }
    assert!(!text.contains("*/*"), "{text}");
}

#[tokio::test]
async fn a_body_is_searched_as_it_comes_however_it_is_framed() {
    let check = HttpProbe { body: Some("all is well".into()), ..healthz() };
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = ["Transfer-Encoding: chunked\r\n\r\n5\r\n>all ", "\r\n7;x=y\r\nis well\r\n0\r\n\r\n"];
    for (pieces, closes) in [
        (vec![head, "\r\nSo: all is", " well."], true),
        (vec![head, "Content-Length: 12\r\n\r\nall is well!"], false),
        (vec![head, chunked[0], chunked[1]], false),
        (vec![head, "\r\nall is well, and more to come"], false), // found before the end
    ] {
        let outcome = outcome_with(&check, &pieces, closes).await;
        let expected = "GET /healthz: status 200, the body holds \"all is well\"";
        assert_eq!(outcome, Outcome::Passed(expected.into()), "{pieces:?}");
    }
}

#[tokio::test]
async fn another_body_fails_with_its_reason() {
    let check = HttpProbe { body: Some("all is well".into()), ..healthz() };
    let long = "x".repeat(100_000);
    for (pieces, closes, why) in [
        (vec!["HTTP/1.1 200 OK\r\n\r\nall is lost"], true, "but no \"all is well\" in the body"),
        (
            vec!["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall is well"],
            false,
            "but no \"all is well\" in the body",
        ),
        (
            vec!["HTTP/1.1 200 OK\r\n\r\n", &long],
            true,
            "but no \"all is well\" in the first 64 KiB of the body",
        ),
        (
            vec!["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
            true,
            "body: not HTTP (a chunk of no size)",
        ),
        (vec!["HTTP/1.1 200 OK\r\n\r\nall is"], false, "body: no answer within 400ms"),
    ] {
        let outcome = outcome_with(&check, &pieces, closes).await;
        assert_eq!(outcome, Outcome::Failed(format!("GET /healthz: status 200, {why}")), "{pieces:?}");
    }
}

#[tokio::test]
async fn an_expected_status_passes() {
    let (target, server) =
        answer(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()], true).await;
    assert_eq!(probe(&healthz(), target).await, Outcome::Passed("GET /healthz: status 200".into()));
    let request = String::from_utf8(server.await.expect("server")).expect("text");
    assert!(request.starts_with(&format!("GET /healthz HTTP/1.1\r\nHost: {target}\r\n")), "{request}");
}

#[tokio::test]
async fn another_status_fails() {
    let outcome = outcome_of(&["HTTP/1.1 503 Service Unavailable\r\n\r\n"], true).await;
    assert_eq!(outcome, Outcome::Failed("GET /healthz: status 503".into()));
}

#[tokio::test]
async fn a_response_in_pieces_and_after_an_interim_one_passes() {
    let pieces =
        ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r", "\nHTTP/1.0 2", "04 No Content\r\nX: y\r\n\r\n"];
    assert_eq!(outcome_of(&pieces, true).await, Outcome::Passed("GET /healthz: status 204".into()));
}

#[tokio::test]
async fn a_server_that_keeps_the_connection_open_is_not_waited_for() {
    let began = Instant::now();
    let outcome = outcome_of(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], false).await;
    assert_eq!(outcome, Outcome::Passed("GET /healthz: status 200".into()));
    assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn silence_fails_at_the_deadline() {
    for pieces in [&[][..], &["HTTP/1.1 200 OK\r\n"]] {
        let began = Instant::now();
        let outcome = outcome_of(pieces, false).await;
        assert_eq!(outcome, Outcome::Failed("GET /healthz: no answer within 400ms".into()));
        assert!(began.elapsed() >= TIMEOUT && began.elapsed() < 2 * TIMEOUT, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn what_is_not_http_fails_with_its_reason() {
    for (answer, reason) in [
        ("", "connection closed without a response"),
        ("HTTP/1.1 200 OK\r\n", "connection closed within the response head"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP (invalid HTTP version)"),
        ("HTTP/1.1 abc\r\n\r\n", "not HTTP (invalid response status)"),
    ] {
        let outcome = outcome_of(&[answer], true).await;
        assert_eq!(outcome, Outcome::Failed(format!("GET /healthz: {reason}")), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endless_head_fails_and_an_endless_body_passes() {
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    let head = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(20));
    let outcome = outcome_of(&[&head], false).await;
    assert_eq!(outcome, Outcome::Failed("GET /healthz: response head over 16384 bytes".into()));

    let body = "x".repeat(2 * BODY_LIMIT);
    let outcome = outcome_of(&["HTTP/1.1 200 OK\r\n\r\n", &body], false).await;
    assert_eq!(outcome, Outcome::Passed("GET /healthz: status 200".into()));
}

proptest! {
    /// However the bytes are cut into reads, the status found is the same.
    #[test]
    fn cuts_do_not_matter(interim in 0usize..3, status in 200u16..600, cut in 0usize..80) {
        let text = format!(
            "{}HTTP/1.1 {status} Reason\r\nServer: x\r\n\r\nbody",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(interim)
        );
        let bytes = text.as_bytes();
        let cut = cut.min(bytes.len());
        let mut head = bytes[..cut].to_vec();
        let early = final_response(&mut head).expect("valid so far");
        if early.is_none() {
            head.extend_from_slice(&bytes[cut..]);
        }
        let found = early.map_or_else(|| final_response(&mut head).expect("valid"), Some);
        prop_assert_eq!(found.map(|head| head.status), Some(status));
    }

    /// No bytes make it panic.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = final_response(&mut bytes.clone());
        let mut after_a_status_line = b"HTTP/1.1 200 OK\r\n".to_vec();
        after_a_status_line.extend(bytes);
        let _ = final_response(&mut after_a_status_line);
    }
}
