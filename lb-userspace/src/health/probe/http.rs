//! The HTTP probe: one HTTP/1.1 GET; the status decides.
//!
//! The verdict is given as soon as the response's head is complete. The body is not judged: it is read and thrown away
//! for a moment, so that a server that closes as asked is not reset while it writes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Deadline, Outcome};
use crate::health::spec::HttpCheck;

/// The longest response head that is read, interim (1xx) responses included.
const HEAD_LIMIT: usize = 16 * 1024;
/// How much of the body, and for how long, is read out of politeness.
const BODY_LIMIT: usize = 256 * 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(100);

pub(super) async fn probe(target: SocketAddr, check: &HttpCheck, deadline: Deadline) -> Outcome {
    let mut stream = match deadline.run(&format!("connect {target}"), TcpStream::connect(target)).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    let step = format!("GET {}", check.path());
    let outcome = match deadline.run(&step, exchange(&mut stream, &check.request_to(target))).await {
        Ok(status) if check.accepts(status) => Outcome::Passed(format!("{step}: status {status}")),
        Ok(status) => Outcome::Failed(format!("{step}: status {status}")),
        Err(outcome) => outcome,
    };
    if !server_closes(&mut stream, deadline).await {
        // Refused only on a socket that is already dead, which then needs no reset.
        let _ = stream.set_zero_linger();
    }
    outcome
}

/// Sends the request, returns the final response's status.
async fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(status) = final_status(&mut head)? {
            return Ok(status);
        }
        if head.len() >= HEAD_LIMIT {
            return Err(io::Error::other(format!("response head over {HEAD_LIMIT} bytes")));
        }
        let room = HEAD_LIMIT - head.len();
        if (&mut *stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(io::Error::other(match head.len() {
                0 => "connection closed without a response",
                _ => "connection closed within the response head",
            }));
        }
    }
}

/// The status of the final response, once its head is complete. Interim responses (RFC 9110, section 15.2) are cut off
/// the front of `head`.
fn final_status(head: &mut Vec<u8>) -> io::Result<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head).map_err(|error| io::Error::other(format!("not HTTP ({error})")))?;
        match (parsed, response.code) {
            (httparse::Status::Complete(length), Some(100 | 102..=199)) => drop(head.drain(..length)),
            (httparse::Status::Complete(_), code) => return Ok(code),
            (httparse::Status::Partial, _) => return Ok(None),
        }
    }
}

/// Whether the server closed its side within a short while.
async fn server_closes(stream: &mut TcpStream, deadline: Deadline) -> bool {
    let read_to_end = async {
        let mut scrap = [0; 8192];
        let mut total = 0;
        while total < BODY_LIMIT {
            match stream.read(&mut scrap).await {
                Ok(0) => return true,
                Ok(read) => total += read,
                Err(_) => return false,
            }
        }
        false
    };
    let until = deadline.at.min(tokio::time::Instant::now() + BODY_PATIENCE);
    tokio::time::timeout_at(until, read_to_end).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Instant;

    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::super::probe;
    use super::*;
    use crate::health::spec::{CheckSpec, Kind};
    use crate::health::state::Thresholds;

    const TIMEOUT: Duration = Duration::from_millis(400);

    /// A server that answers one connection with these pieces, a little apart, and then closes or stays silent.
    async fn answer(
        pieces: Vec<Vec<u8>>,
        then_closes: bool,
    ) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
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

    fn check(target: SocketAddr) -> CheckSpec {
        CheckSpec {
            target,
            kind: Kind::Http(HttpCheck::new("/healthz", None, vec![200..=299]).expect("valid")),
            interval: Duration::from_secs(1),
            timeout: TIMEOUT,
            thresholds: Thresholds { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN },
        }
    }

    async fn outcome_of(pieces: &[&str], then_closes: bool) -> Outcome {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let (target, server) = answer(pieces, then_closes).await;
        let outcome =
            tokio::time::timeout(Duration::from_secs(2), probe(&check(target))).await.expect("bounded");
        server.abort();
        outcome
    }

    #[tokio::test]
    async fn an_expected_status_passes() {
        let (target, server) =
            answer(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()], true).await;
        assert_eq!(probe(&check(target)).await, Outcome::Passed("GET /healthz: status 200".into()));
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
            let early = final_status(&mut head).expect("valid so far");
            head.extend_from_slice(&bytes[cut..]);
            prop_assert_eq!(early.map_or_else(|| final_status(&mut head).expect("valid"), Some), Some(status));
        }

        /// No bytes make it panic.
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = final_status(&mut bytes.clone());
            let mut after_a_status_line = b"HTTP/1.1 200 OK\r\n".to_vec();
            after_a_status_line.extend(bytes);
            let _ = final_status(&mut after_a_status_line);
        }
    }
}
