//! As much of HTTP/1.1 as a client of our nginx needs: GET, the server's name, the body's length.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// No head of ours is near that.
const LONGEST_HEAD: usize = 4096;

/// An open connection, kept alive between requests.
pub struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    server: String,
}

struct Head {
    server: String,
    body: u64,
}

impl Session {
    /// Connects and asks once, so that it knows its server.
    pub async fn open(target: SocketAddrV4) -> Result<Self> {
        let mut session = Self::connect(target).await?;
        session.server = session.ask().await?;
        Ok(session)
    }

    async fn connect(target: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect(target).await.context("cannot connect")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        Ok(Self { stream, buffer: Vec::new(), server: String::new() })
    }

    /// The server that answered first.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// `GET /`: the server that answers now.
    pub async fn ask(&mut self) -> Result<String> {
        let head = self.get("/").await?;
        while (self.buffer.len() as u64) < head.body {
            self.read().await?;
        }
        self.buffer.drain(..head.body as usize);
        Ok(head.server)
    }

    async fn get(&mut self, path: &str) -> Result<Head> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.context("cannot send")?;
        loop {
            if let Some((head, length)) = Head::take(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await.context("no answer")? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// One request on a connection of its own, all of it within `limit`: the server's name.
pub async fn request(target: SocketAddrV4, limit: Duration) -> Result<String> {
    let session = tokio::time::timeout(limit, Session::open(target)).await.context("no answer in time")??;
    Ok(session.server)
}

/// Begins `GET path`; the server, the bytes to come, those that came already, and the stream with the rest.
pub async fn begin(target: SocketAddrV4, path: &str) -> Result<(String, u64, Vec<u8>, TcpStream)> {
    let mut session = Session::connect(target).await?;
    let head = session.get(path).await?;
    Ok((head.server, head.body, session.buffer, session.stream))
}

impl Head {
    /// The head at the front of `bytes` and its length, once it is complete; anything but 200 is an error.
    fn take(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if bytes.len() > LONGEST_HEAD {
                bail!("what came is not HTTP");
            }
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("the head is not text")?;
        let status = text.split("\r\n").next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            bail!("answered {status}");
        }
        let value = |name: &str| {
            let mut fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let server = value("x-server").context("no X-Server in the answer")?.to_owned();
        let body = value("content-length").context("no Content-Length in the answer")?;
        Ok(Some((Self { server, body: body.parse().context("Content-Length is no number")? }, end + 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_only_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx-server: rs2\r\n\r\nrs2\n";
        let (head, length) = Head::take(answer).unwrap().unwrap();
        assert_eq!((head.server.as_str(), head.body, length), ("rs2", 4, answer.len() - 4));
        assert!(Head::take(&answer[..30]).unwrap().is_none());
    }

    #[test]
    fn an_error_of_the_server_is_an_error() {
        assert!(Head::take(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").is_err());
        assert!(Head::take(&[b'x'; LONGEST_HEAD + 1]).is_err());
    }
}
