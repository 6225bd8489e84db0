//! The HTTP probe: one HTTP/1.1 request, within TLS or not; the status decides, and the body if something is wanted of it.
//!
//! Without such a wish the verdict is given as soon as the response's head is complete. The body is then read and thrown
//! away for a moment, so that a server that closes as asked is not reset while it writes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::tls::{self, Within};
use super::{Deadline, Kit, Outcome, tcp};
use crate::config::HttpProbe;

mod body;
#[cfg(test)]
mod tests;

use body::{Body, Framing};

/// The longest response head that is read, interim (1xx) responses included.
const HEAD_LIMIT: usize = 16 * 1024;
/// How much of the body, and for how long, is read out of politeness.
const BODY_LIMIT: usize = 256 * 1024;
const BODY_PATIENCE: Duration = Duration::from_millis(100);

pub(super) async fn probe(
    target: SocketAddr,
    check: &HttpProbe,
    kit: &Kit,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let stream = tcp::connect(target, deadline).await?;
    match &check.tls {
        None => {
            let mut stream = stream;
            let outcome = ask(&mut stream, target, check, deadline).await;
            if server_closes(&mut stream, deadline).await {
                // Refused only on a socket that is already dead, which then needs no reset.
                let _ = socket2::SockRef::from(&stream).set_linger(None);
            }
            outcome
        }
        Some(its) => {
            let host = check.host.as_deref();
            let mut stream = tls::wrap(stream, its, host, Within::Http1, &kit.tls, deadline).await?;
            let outcome = ask(&mut stream, target, check, deadline).await;
            if server_closes(&mut stream, deadline).await {
                let _ = socket2::SockRef::from(stream.get_ref().0).set_linger(None);
            }
            outcome
        }
    }
}

/// The request to send to `target`. It asks the server to close, so that the server's side of the connection is the one that
/// lingers in TIME_WAIT. The configuration has seen to it that nothing breaks out of a line.
fn request(check: &HttpProbe, target: SocketAddr) -> String {
    let ordinary = if check.tls.is_some() { 443 } else { 80 };
    let host = match &check.host {
        Some(host) => host.clone(),
        None if target.port() == ordinary && target.is_ipv4() => target.ip().to_string(),
        None => target.to_string(),
    };
    let more: String = check.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let accept = if check.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
        ""
    } else {
        "Accept: */*\r\n"
    };
    // A request of these methods without a body says so (RFC 9110, section 8.6).
    let length =
        if matches!(check.method.as_str(), "POST" | "PUT" | "PATCH") { "Content-Length: 0\r\n" } else { "" };
    format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: xlvs/{} (health check)\r\n{accept}{more}{length}\
         Connection: close\r\n\r\n",
        check.method,
        check.path,
        env!("CARGO_PKG_VERSION"),
    )
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: SocketAddr,
    check: &HttpProbe,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let step = format!("{} {}", check.method, check.path);
    let response = deadline.run(&step, exchange(stream, &request(check, target))).await?;
    let status = response.status;
    if !check.expect.contains(status) {
        return Ok(Outcome::Failed(format!("{step}: status {status}")));
    }
    let Some(wanted) = &check.body else { return Ok(Outcome::Passed(format!("{step}: status {status}"))) };
    let mut body = Body::new(response.framing, wanted.as_bytes());
    deadline.run(&format!("{step}: status {status}, body"), body.read(stream, response.rest)).await?;
    if body.holds_it() {
        Ok(Outcome::Passed(format!("{step}: status {status}, the body holds {wanted:?}")))
    } else {
        let where_to = if body.is_cut() { " in the first 64 KiB of the body" } else { " in the body" };
        Ok(Outcome::Failed(format!("{step}: status {status}, but no {wanted:?}{where_to}")))
    }
}

/// A response as far as it has been read.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    framing: Framing,
    /// What has been read beyond the head.
    rest: Vec<u8>,
}

/// Sends the request, returns the final response.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> io::Result<Head> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(response) = final_response(&mut head)? {
            return Ok(response);
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

/// The final response, once its head is complete. Interim responses (RFC 9110, section 15.2) are cut off the front of `head`.
fn final_response(head: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head).map_err(|error| io::Error::other(format!("not HTTP ({error})")))?;
        match (parsed, response.code) {
            (httparse::Status::Complete(length), Some(100 | 102..=199)) => drop(head.drain(..length)),
            (httparse::Status::Complete(length), Some(status)) => {
                let framing = Framing::of(response.headers);
                return Ok(Some(Head { status, framing, rest: head.split_off(length) }));
            }
            _ => return Ok(None),
        }
    }
}

/// Whether the server closed its side within a short while.
async fn server_closes<S: AsyncRead + Unpin>(stream: &mut S, deadline: Deadline) -> bool {
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
