//! What a health check asks, of whom, how often, and how many answers make a verdict.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::state::Thresholds;

/// One active check of one real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Where to connect: the server's own address, not the VIP.
    pub target: SocketAddr,
    /// What to ask once connected.
    pub kind: Kind,
    /// From the start of one probe to the start of the next, before jitter.
    pub interval: Duration,
    /// The whole exchange, connection included, must be over by then.
    pub timeout: Duration,
    /// How many equal answers in a row change the verdict.
    pub thresholds: Thresholds,
}

/// What counts as a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The TCP handshake completes.
    Tcp,
    /// An HTTP/1.1 GET is answered with an expected status.
    Http(HttpCheck),
}

/// An HTTP request and the statuses that pass. Fields are checked on construction, so that nothing can be smuggled
/// into the request line or a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    path: String,
    host: Option<String>,
    expect: Vec<RangeInclusive<u16>>,
}

/// Why an [`HttpCheck`] was refused; says the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHttpCheck(String);

impl HttpCheck {
    /// `path` is an origin-form request target (RFC 9112, section 3.2.1); `host` is the value of the Host header, the
    /// target's address when absent; `expect` are the statuses that pass, at least one range within 100 to 599.
    pub fn new(
        path: impl Into<String>,
        host: Option<String>,
        expect: Vec<RangeInclusive<u16>>,
    ) -> Result<Self, InvalidHttpCheck> {
        let path = path.into();
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !visible(&path) {
            return Err(InvalidHttpCheck(format!(
                "HTTP path {path:?} must begin with '/' and hold no space or control character; percent-encode them"
            )));
        }
        if let Some(host) = host.as_deref().filter(|host| host.is_empty() || !visible(host)) {
            return Err(InvalidHttpCheck(format!(
                "HTTP host {host:?} must be a name or address without spaces; leave it out to send the server's address"
            )));
        }
        let sound =
            |range: &RangeInclusive<u16>| *range.start() >= 100 && *range.end() <= 599 && !range.is_empty();
        if expect.is_empty() || !expect.iter().all(sound) {
            return Err(InvalidHttpCheck(format!(
                "expected HTTP statuses {expect:?} must be ranges within 100 to 599; write for example 200..=399"
            )));
        }
        Ok(Self { path, host, expect })
    }

    /// The request target.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether a response with this status passes.
    pub fn accepts(&self, status: u16) -> bool {
        self.expect.iter().any(|range| range.contains(&status))
    }

    /// The request to send to `target`. It asks the server to close, so that the server's side of the connection is
    /// the one that lingers in TIME_WAIT.
    pub fn request_to(&self, target: SocketAddr) -> String {
        let host = match &self.host {
            Some(host) => host.clone(),
            None if target.port() == 80 && target.is_ipv4() => target.ip().to_string(),
            None => target.to_string(),
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: xlvs/{} (health check)\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            self.path,
            env!("CARGO_PKG_VERSION"),
        )
    }
}

impl fmt::Display for InvalidHttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidHttpCheck {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_path_and_the_host() {
        let target: SocketAddr = "10.77.2.21:8080".parse().expect("address");
        let check = HttpCheck::new("/healthz?deep=1", None, vec![200..=299]).expect("valid");
        let request = check.request_to(target);
        assert!(
            request.starts_with("GET /healthz?deep=1 HTTP/1.1\r\nHost: 10.77.2.21:8080\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\n"));

        let named = HttpCheck::new("/", Some("app.example".into()), vec![200..=299]).expect("valid");
        assert!(named.request_to(target).contains("\r\nHost: app.example\r\n"));
    }

    #[test]
    fn what_would_break_out_of_the_request_is_refused() {
        let expect = || vec![200..=299];
        for path in ["", "healthz", "/a b", "/a\r\nX: y", "/ü"] {
            HttpCheck::new(path, None, expect()).expect_err(path);
        }
        for host in ["", "a b", "a\r\nX: y"] {
            HttpCheck::new("/", Some(host.into()), expect()).expect_err(host);
        }
        for statuses in [vec![], vec![0..=200], vec![200..=600], vec![RangeInclusive::new(300, 200)]] {
            HttpCheck::new("/", None, statuses.clone()).expect_err(&format!("{statuses:?}"));
        }
    }

    #[test]
    fn several_ranges_of_statuses_may_pass() {
        let check = HttpCheck::new("/", None, vec![200..=204, 301..=301]).expect("valid");
        let passing: Vec<u16> = (100..600).filter(|&status| check.accepts(status)).collect();
        assert_eq!(passing, [200, 201, 202, 203, 204, 301]);
    }
}
