//! An HTTP request and what its answer must be like.

use super::Tls;
use crate::config::source::Reported;
use crate::config::status::StatusSet;
use crate::config::table::{Entry, Layered, quoted};

/// A request and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpProbe {
    /// A token of letters (RFC 9110, section 9.1).
    pub method: String,
    /// The request target, visible ASCII that begins with `/`.
    pub path: String,
    /// The `Host` header, visible ASCII; `None`: the server's address and port.
    pub host: Option<String>,
    /// More headers, whose values hold no control characters; never those that frame a message.
    pub headers: Vec<(String, String)>,
    /// The statuses that count as success.
    pub expect: StatusSet,
    /// What the body must contain, within its first 64 KiB; not empty.
    pub body: Option<String>,
    /// `None`: without TLS.
    pub tls: Option<Tls>,
}

/// Headers that a check sets by itself or that would need a body.
const OWN_HEADERS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "user-agent"];

pub(super) fn read(table: &Layered<'_>, tls: Option<Tls>) -> Result<HttpProbe, Reported> {
    let method = table.read_or("method", "GET".to_owned(), read_method);
    let path = table.read_or("path", "/".to_owned(), read_path);
    let host = table.read("host", read_host);
    let headers = table.read_or("headers", Vec::new(), read_headers);
    let expect = table.read_or("expect", StatusSet::default(), StatusSet::read);
    let body = table.read("body", |entry| {
        let text = entry.text("body = \"ok\"")?;
        if text.is_empty() {
            return Err(entry.problem("body is empty", "remove it, or write what the body must contain"));
        }
        Ok(text.to_owned())
    });
    let probe = HttpProbe {
        method: method?,
        path: path?,
        host: host?,
        headers: headers?,
        expect: expect?,
        body: body?,
        tls,
    };
    if let (true, Some(entry)) = (probe.method == "HEAD", table.get("body")) {
        return Err(entry.problem("an answer to HEAD has no body", "remove it, or write method = \"GET\""));
    }
    Ok(probe)
}

impl HttpProbe {
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        let Self { method, path, host, headers, expect, body, tls: _ } = self;
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut told = vec![("health.path", path.clone())];
        told.extend(host.clone().map(|host| ("health.host", host)));
        told.push(("health.method", method.clone()));
        told.extend((!headers.is_empty()).then(|| ("health.headers", headers.join(", "))));
        told.push(("health.expect", expect.to_string()));
        told.extend(body.as_deref().map(|body| ("health.body", quoted(body))));
        told
    }
}

fn read_method(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text("method = \"GET\"")?;
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        true if text == "CONNECT" => {
            Err(entry.problem("CONNECT asks for a tunnel", "write method = \"GET\""))
        }
        true => Ok(text.to_owned()),
        false => {
            let what = format!("{} is not a method of HTTP", quoted(text));
            Err(entry.problem(what, "write method = \"GET\", \"HEAD\" or \"OPTIONS\""))
        }
    }
}

fn read_path(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text("path = \"/healthz\"")?;
    if !text.starts_with('/') {
        let what = format!("the path {} does not begin with /", quoted(text));
        let path = text
            .split_once("://")
            .map_or(text, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        return Err(entry.problem(what, format!("write path = {}", quoted(&format!("/{path}")))));
    }
    visible_ascii(entry, text, "percent-encode all but visible ASCII")
}

fn read_host(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text("host = \"www.example.org\"")?;
    if text.is_empty() {
        return Err(entry.problem("host is empty", "remove it, or write the name the server expects"));
    }
    visible_ascii(entry, text, "write a host name, in Punycode if need be")
}

fn read_headers(entry: &Entry<'_>) -> Result<Vec<(String, String)>, Reported> {
    let example = "headers = { \"X-Probe\" = \"xlvs\" }";
    let header = |(name, entry): (&str, Entry<'_>)| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            let what = format!("{} is not the name of a header", quoted(name));
            return Err(entry.problem(what, format!("write {example}")));
        }
        if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let what = format!("the header {name} is the check's own");
            let remedy = if name.eq_ignore_ascii_case("host") { "write host = \"…\"" } else { "remove it" };
            return Err(entry.problem(what, remedy));
        }
        let value = entry.text(example)?;
        match value.chars().find(|character| character.is_control()) {
            None => Ok((name.to_owned(), value.to_owned())),
            Some(odd) => {
                let what = format!("the header {name} holds the character {odd:?}");
                Err(entry.problem(what, "remove it, a header is one line"))
            }
        }
    };
    let headers: Vec<_> = entry.pairs(example)?.into_iter().map(header).collect();
    headers.into_iter().collect()
}

pub(super) fn visible_ascii(entry: &Entry<'_>, text: &str, remedy: &str) -> Result<String, Reported> {
    match text.chars().find(|character| !character.is_ascii_graphic()) {
        None => Ok(text.to_owned()),
        Some(odd) => {
            let what = format!("{} = {} holds the character {odd:?}", entry.key, quoted(text));
            Err(entry.problem(what, remedy))
        }
    }
}
