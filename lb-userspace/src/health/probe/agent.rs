//! Asks a server's own agent: a TCP connection, perhaps a line sent, and one line back.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Deadline, Outcome, tcp};
use crate::health::advice::LONGEST_LINE;

pub(super) async fn probe(target: SocketAddr, send: &str, deadline: Deadline) -> Result<Outcome, Outcome> {
    let mut stream = tcp::connect(target, deadline).await?;
    deadline.run(&format!("agent at {target}"), exchange(&mut stream, send)).await.map(Outcome::Passed)
}

/// Sends what is to be sent, returns the first line. The end of the connection ends a line, too.
async fn exchange(stream: &mut TcpStream, send: &str) -> io::Result<String> {
    stream.write_all(send.as_bytes()).await?;
    let mut said = Vec::with_capacity(LONGEST_LINE);
    while !said.contains(&b'\n') && said.len() < LONGEST_LINE {
        if stream.take((LONGEST_LINE - said.len()) as u64).read_buf(&mut said).await? == 0 {
            break;
        }
    }
    if said.is_empty() {
        return Err(io::Error::other("connection closed without a word"));
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
