//! curl: single requests and downloads as a user would make them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::daemon::Daemon;
use crate::namespace::Namespace;
use crate::tools;

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The header `X-Server`, empty when absent.
    pub server: String,
    pub body: String,
}

/// GETs `url` on a connection of its own; anything but an HTTP answer within `limit` is an error with curl's words.
pub fn get(namespace: &Namespace, url: &str, limit: Duration) -> Result<Answer> {
    let mut command = namespace.command("curl")?;
    command.args(["-q", "-sS", "-i", "--noproxy", "*", "--max-time", &seconds(limit), url]);
    let text = tools::output(&mut command)?;
    parse(&text).with_context(|| format!("no HTTP answer from {url}: {text}"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-server").then(|| value.trim().to_owned())
    };
    Some(Answer { status, server: lines.find_map(header).unwrap_or_default(), body: body.to_owned() })
}

/// A download in the background, into a file.
pub struct Fetch {
    daemon: Daemon,
    file: PathBuf,
}

impl Fetch {
    /// Begins to fetch `url` into `folder`; ended when dropped. `name` tells several in one folder apart.
    pub fn start(namespace: &Namespace, url: &str, folder: &Path, name: &str) -> Result<Self> {
        let file = folder.join(name);
        let mut command = namespace.command("curl")?;
        command.args(["-q", "-sS", "--fail", "--noproxy", "*", "-o"]).arg(&file).arg(url);
        let daemon =
            Daemon::start(&format!("curl {url}"), &mut command, &folder.join(format!("{name}.log")))?;
        Ok(Self { daemon, file })
    }

    /// Bytes in the file so far.
    pub fn received(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }

    /// Waits for the end; the file if curl is content, else an error with curl's words.
    pub fn finish(self, limit: Duration) -> Result<PathBuf> {
        let status = self.daemon.wait(limit)?;
        if !status.success() {
            bail!("the download broke after {} bytes: {}", self.received(), self.daemon.said().trim());
        }
        Ok(self.file.clone())
    }
}

/// `http://ADDRESS:PORT/PATH`, an IPv6 address in brackets. With the port also where it is 80: wrk looks up the number of
/// "http" in /etc/services otherwise, which a minimal system lacks.
pub fn url(address: impl Into<IpAddr>, port: u16, path: &str) -> String {
    let address = match address.into() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("http://{address}:{port}/{}", path.trim_start_matches('/'))
}

/// Whether two files have the same bytes; an error names the first place where they differ.
pub fn same_bytes(one: &Path, other: &Path) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (first, second) = (read(one)?, read(other)?);
    if first == second {
        return Ok(());
    }
    let place = first.iter().zip(&second).position(|(a, b)| a != b).unwrap_or(first.len().min(second.len()));
    Err(anyhow!("{} and {} differ from byte {place} on", one.display(), other.display()))
}

fn seconds(limit: Duration) -> String {
    format!("{:.3}", limit.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse("HTTP/1.1 200 OK\r\nServer: nginx\r\nx-server: rs2\r\n\r\nrs2\n").unwrap();
        assert_eq!((answer.status, answer.server.as_str(), answer.body.as_str()), (200, "rs2", "rs2\n"));
        assert!(parse("curl: (7) Failed").is_none());
    }

    #[test]
    fn urls_name_the_port() {
        assert_eq!(url([10, 77, 1, 100], 80, "/big"), "http://10.77.1.100:80/big");
        assert_eq!(url([10, 77, 1, 100], 8080, ""), "http://10.77.1.100:8080/");
        assert_eq!(url([0xfd77, 1, 0, 0, 0, 0, 0, 0x100], 8080, "x"), "http://[fd77:1::100]:8080/x");
    }
}
