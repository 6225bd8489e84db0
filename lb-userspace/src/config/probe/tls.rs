//! TLS of a check: whom it trusts, and who it says it is.

use std::path::PathBuf;

use super::http::visible_ascii;
use crate::config::source::Reported;
use crate::config::table::{Entry, Layered, quoted};

/// How a server is spoken to within TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The name that is asked for (SNI) and that the certificate must be for; `None`: the `Host` without its port if that
    /// is a name, else none is asked for and the certificate must be for the server's address.
    pub server_name: Option<String>,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// What the check shows of itself, if anything.
    pub identity: Option<Identity>,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Anybody's: a check asks whether a server works, not who it is.
    Any,
    /// Those of the authorities that this host trusts.
    System,
    /// Those of the authorities in this file (PEM).
    File(PathBuf),
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate, then those between it and its authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

pub(super) fn read(table: &Layered<'_>) -> Result<Tls, Reported> {
    let server_name = table.read("server_name", |entry| {
        let text = entry.text("server_name = \"www.example.org\"")?;
        if text.is_empty() {
            return Err(entry.problem("server_name is empty", "remove it, or write the certificate's name"));
        }
        visible_ascii(entry, text, "write a host name, in Punycode if need be")
    });
    let verify = table.read("verify", Entry::boolean);
    let authorities = table.read("ca_file", read_path);
    let certificate = table.read("cert_file", read_path);
    let key = table.read("key_file", read_path);
    let trust = match (verify?, authorities?, table.get("ca_file")) {
        (Some(false), Some(_), Some(entry)) => {
            return Err(entry.problem(
                "verify = false believes anybody, so authorities have no meaning",
                "remove it, or write verify = true",
            ));
        }
        (_, Some(file), _) => Trust::File(file),
        (Some(true), None, _) => Trust::System,
        (_, None, _) => Trust::Any,
    };
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let what = "cert_file has no key_file";
            return Err(table.spot_of("cert_file").problem(what, "add key_file = \"/etc/xlvs/check.key\""));
        }
        (None, Some(_)) => {
            let what = "key_file has no cert_file";
            return Err(table.spot_of("key_file").problem(what, "add cert_file = \"/etc/xlvs/check.pem\""));
        }
    };
    Ok(Tls { server_name: server_name?, trust, identity })
}

/// Without TLS its keys have no meaning.
pub(super) fn refuse_without(table: &Layered<'_>) -> Result<(), Reported> {
    let mut result = Ok(());
    for key in ["server_name", "verify", "ca_file", "cert_file", "key_file"] {
        if let Some(entry) = table.get_own(key) {
            let what = format!("{key} has no meaning without TLS");
            result = Err(entry.problem(what, "remove it, or write tls = true"));
        }
    }
    result
}

impl Tls {
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        let Self { server_name, trust, identity } = self;
        let mut told: Vec<_> = server_name.iter().map(|name| ("health.server_name", name.clone())).collect();
        told.push(("health.verify", (*trust != Trust::Any).to_string()));
        if let Trust::File(file) = trust {
            told.push(("health.ca_file", file.display().to_string()));
        }
        if let Some(Identity { certificate, key }) = identity {
            told.push(("health.cert_file", certificate.display().to_string()));
            told.push(("health.key_file", key.display().to_string()));
        }
        told
    }
}

fn read_path(entry: &Entry<'_>) -> Result<PathBuf, Reported> {
    let text = entry.text(&format!("{} = \"/etc/xlvs/check.pem\"", entry.key))?;
    match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => {
            let what = format!("{} = {} is not an absolute path", entry.key, quoted(text));
            Err(entry.problem(what, "write a path that begins with /"))
        }
    }
}
