//! The gRPC probe: one call of `grpc.health.v1.Health/Check`, whose answer must be `SERVING`.

use std::io::{self, Cursor};
use std::net::SocketAddr;

use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::{self, Within};
use super::{Deadline, Kit, Outcome, tcp};
use crate::config::GrpcProbe;

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// The longest answer that is read; the real one has seven bytes.
const ANSWER_LIMIT: usize = 4096;
/// The largest headers that are taken.
const HEADER_LIMIT: u32 = 16 * 1024;

pub(super) async fn probe(
    target: SocketAddr,
    check: &GrpcProbe,
    kit: &Kit,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let step = match check.service.as_str() {
        "" => "gRPC health".to_owned(),
        service => format!("gRPC health of {service}"),
    };
    let stream = tcp::connect(target, deadline).await?;
    let status = match &check.tls {
        None => deadline.run(&step, call(stream, "http", target, &check.service)).await?,
        Some(its) => {
            let stream = tls::wrap(stream, its, None, Within::Http2, &kit.tls, deadline).await?;
            deadline.run(&step, call(stream, "https", target, &check.service)).await?
        }
    };
    Ok(match status {
        1 => Outcome::Passed(format!("{step}: SERVING")),
        0 => Outcome::Failed(format!("{step}: UNKNOWN")),
        2 => Outcome::Failed(format!("{step}: NOT_SERVING")),
        3 => Outcome::Failed(format!("{step}: SERVICE_UNKNOWN")),
        other => Outcome::Failed(format!("{step}: status {other}")),
    })
}

/// Calls, and returns the status in the answer.
async fn call<S>(stream: S, scheme: &str, target: SocketAddr, service: &str) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, connection) = h2::client::Builder::new()
        .max_header_list_size(HEADER_LIMIT)
        .enable_push(false)
        .handshake::<_, Cursor<Vec<u8>>>(stream)
        .await
        .map_err(told)?;
    let mut exchange = std::pin::pin!(exchange(sender, scheme, target, service));
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(told(error)),
        },
    }
}

async fn exchange(
    sender: h2::client::SendRequest<Cursor<Vec<u8>>>,
    scheme: &str,
    target: SocketAddr,
    service: &str,
) -> io::Result<u64> {
    let request = Request::post(format!("{scheme}://{target}{METHOD}"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("xlvs/", env!("CARGO_PKG_VERSION"), " (health check)"))
        .body(())
        .map_err(io::Error::other)?;
    let mut sender = sender.ready().await.map_err(told)?;
    let (response, mut body) = sender.send_request(request, false).map_err(told)?;
    body.send_data(Cursor::new(message(service)), true).map_err(told)?;
    let response = response.await.map_err(told)?;
    accept(&response)?;
    // What failed may be told without a body ("trailers-only").
    status_of(response.headers())?;
    let mut body = response.into_body();
    let mut answer = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(told)?;
        body.flow_control().release_capacity(piece.len()).map_err(told)?;
        answer.extend_from_slice(&piece);
        if answer.len() > ANSWER_LIMIT {
            return Err(io::Error::other(format!("an answer of more than {ANSWER_LIMIT} bytes")));
        }
    }
    let trailers = body.trailers().await.map_err(told)?.unwrap_or_default();
    status_of(&trailers)?;
    serving_status(&answer).ok_or_else(|| io::Error::other("the answer is no HealthCheckResponse"))
}

fn accept<T>(response: &Response<T>) -> io::Result<()> {
    if response.status() != http::StatusCode::OK {
        return Err(io::Error::other(format!("HTTP status {}", response.status().as_u16())));
    }
    let kind = response.headers().get("content-type").map(http::HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/grpc") {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not gRPC"))
    }
}

/// The status of the call, where it is told here (PROTOCOL-HTTP2 of gRPC): anything but 0 is an error.
fn status_of(headers: &HeaderMap) -> io::Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => {
            let name = match code {
                "5" => "NOT_FOUND, it knows no such service".to_owned(),
                "12" => "UNIMPLEMENTED, it has no health service".to_owned(),
                "14" => "UNAVAILABLE".to_owned(),
                code => format!("status {}", code.escape_default()),
            };
            Err(io::Error::other(format!("refused with {name}")))
        }
    }
}

/// A `HealthCheckRequest` (field 1: the service) with its frame: not compressed, length.
fn message(service: &str) -> Vec<u8> {
    let mut request = Vec::new();
    if !service.is_empty() {
        request.push(0x0a);
        varint(service.len() as u64, &mut request);
        request.extend(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend((request.len() as u32).to_be_bytes());
    message.extend(request);
    message
}

/// Field 1 of the `HealthCheckResponse` in a frame; its default is 0.
fn serving_status(answer: &[u8]) -> Option<u64> {
    let (frame, message) = answer.split_at_checked(5)?;
    let length = u32::from_be_bytes(frame[1..].try_into().ok()?) as usize;
    if frame[0] != 0 || length != message.len() {
        return None;
    }
    let mut rest = message;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = read_varint(&mut rest)?;
        // Wire types: 0 is a varint, 1 eight bytes, 2 a length and as many, 5 four bytes. Unknown fields are passed over.
        let skip = match tag & 7 {
            0 => {
                let value = read_varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skip..)?;
    }
    Some(status)
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn told(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(format!("not HTTP/2 ({error})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_and_responses_are_as_the_proto_file_says() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("a.B"), b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0), "a default is not written");
        assert_eq!(serving_status(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1]), Some(1), "an unknown field");
        for broken in [&b""[..], b"\0\0\0\0\x02\x08", b"\x01\0\0\0\x02\x08\x01", b"\0\0\0\0\x01\x08"] {
            assert_eq!(serving_status(broken), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = serving_status(&bytes);
            let framed: Vec<u8> = [&[0, 0, 0, 0, bytes.len() as u8][..], &bytes].concat();
            let _ = serving_status(&framed);
        }
    }
}
