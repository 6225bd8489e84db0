//! TLS of a probe: clients made of the files that the configuration names.
//!
//! A file that has changed is read anew, so that a certificate that was renewed needs no reload.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Deadline, Outcome};
use crate::config::{Identity, Tls, Trust};

/// Where distributions keep the authorities that they trust, as one file.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The protocol that is spoken within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Within {
    Http1,
    Http2,
}

/// Clients by what they are made of.
#[derive(Default)]
pub(super) struct Clients {
    known: Mutex<HashMap<(Tls, Within), Client>>,
}

struct Client {
    config: Arc<ClientConfig>,
    /// The files it was made of, and when they had changed.
    files: Vec<(PathBuf, Option<SystemTime>)>,
}

/// Why these files are of no use, if they are not: what a reload is refused for.
///
/// # Errors
/// The first file that cannot be read or does not hold what it should.
pub fn unusable(tls: &Tls) -> Result<(), String> {
    config(tls, Within::Http1).map(drop)
}

/// Speaks TLS on a connection. `host` is the name that the question gives to the server, if it does.
pub(super) async fn wrap(
    stream: TcpStream,
    tls: &Tls,
    host: Option<&str>,
    within: Within,
    clients: &Clients,
    deadline: Deadline,
) -> Result<TlsStream<TcpStream>, Outcome> {
    let target = stream.peer_addr().map_err(|error| Outcome::Failed(error.to_string()))?;
    let config = clients.get(tls, within).map_err(|why| Outcome::Untested(format!("{why}, on this host")))?;
    let name = server_name(tls, host, target.ip()).map_err(Outcome::Untested)?;
    let connector = TlsConnector::from(config);
    deadline.run(&format!("TLS with {target}"), connector.connect(name, stream)).await
}

impl Clients {
    fn get(&self, tls: &Tls, within: Within) -> Result<Arc<ClientConfig>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tls.clone(), within);
        if let Some(client) = known.get(&key)
            && client.files.iter().all(|(path, changed)| changed_at(path) == *changed)
        {
            return Ok(client.config.clone());
        }
        let files: Vec<_> = files(tls).map(|path| (path.to_owned(), changed_at(path))).collect();
        let config = Arc::new(config(tls, within)?);
        known.insert(key, Client { config: config.clone(), files });
        Ok(config)
    }
}

fn files(tls: &Tls) -> impl Iterator<Item = &Path> {
    let authorities = match &tls.trust {
        Trust::Any => None,
        Trust::System => system_file(),
        Trust::File(file) => Some(file.as_path()),
    };
    let identity = tls.identity.iter().flat_map(|its| [its.certificate.as_path(), its.key.as_path()]);
    authorities.into_iter().chain(identity)
}

fn system_file() -> Option<&'static Path> {
    SYSTEM.iter().map(Path::new).find(|path| path.exists())
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

fn server_name(tls: &Tls, host: Option<&str>, target: IpAddr) -> Result<ServerName<'static>, String> {
    let without_port = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name.to_owned(),
        _ => host.to_owned(),
    };
    match tls.server_name.clone().or_else(|| host.map(without_port)) {
        Some(name) => {
            ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))
        }
        None => Ok(ServerName::IpAddress(target.into())),
    }
}

fn config(tls: &Tls, within: Within) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &tls.trust {
        Trust::Any => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Trust::System => builder
            .with_root_certificates(authorities(system_file().ok_or_else(|| {
                format!("ca_file is not given and there is none of {}", SYSTEM.join(", "))
            })?)?),
        Trust::File(file) => builder.with_root_certificates(authorities(file)?),
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let told = |error| format!("key_file {}: {}", key.display(), pem_problem(&error));
            let secret = PrivateKeyDer::from_pem_file(key).map_err(told)?;
            let told = |error| {
                format!("cert_file {} with key_file {}: {error}", certificate.display(), key.display())
            };
            builder.with_client_auth_cert(certificates("cert_file", certificate)?, secret).map_err(told)?
        }
    };
    config.alpn_protocols = vec![match within {
        Within::Http1 => b"http/1.1".to_vec(),
        Within::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates("ca_file", file)?);
    if added == 0 {
        Err(format!("ca_file {}: none of its certificates is usable", file.display()))
    } else {
        Ok(store)
    }
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told =
        |error: &rustls::pki_types::pem::Error| format!("{key} {}: {}", file.display(), pem_problem(error));
    let certificates =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| told(&error));
    let certificates: Vec<_> = certificates?;
    if certificates.is_empty() {
        return Err(format!("{key} {}: no certificate in it (PEM is wanted)", file.display()));
    }
    Ok(certificates)
}

fn pem_problem(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => super::describe(error),
        Error::NoItemsFound => "no key in it (PEM is wanted)".to_owned(),
        other => other.to_string(),
    }
}

/// Believes anybody, as long as they hold the key of what they show.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_of_no_use_are_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (empty, garbled) = (
            path("empty.pem", ""),
            path("garbled.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        );
        let absent = folder.path().join("absent.pem");
        let trusting = |trust| Tls { server_name: None, trust, identity: None };
        unusable(&trusting(Trust::Any)).expect("nothing is needed");
        for (file, why) in [
            (&absent, "absent.pem: no such file or directory"),
            (&empty, "empty.pem: no certificate in it (PEM is wanted)"),
            (&garbled, "garbled.pem: "),
        ] {
            let told = unusable(&trusting(Trust::File(file.clone()))).expect_err("of no use");
            assert!(told.starts_with("ca_file ") && told.contains(why), "{told}");
        }
        let identity = Some(Identity { certificate: empty.clone(), key: empty });
        let told = unusable(&Tls { identity, ..trusting(Trust::Any) }).expect_err("of no use");
        assert!(told.starts_with("key_file ") && told.ends_with("no key in it (PEM is wanted)"), "{told}");
    }

    #[test]
    fn the_name_asked_for_is_the_one_given_or_the_hosts() {
        let tls = |name: Option<&str>| Tls {
            server_name: name.map(ToOwned::to_owned),
            trust: Trust::Any,
            identity: None,
        };
        let target = "192.0.2.1".parse().expect("address");
        let named = |tls: &Tls, host| server_name(tls, host, target).map(|name| name.to_str().into_owned());
        assert_eq!(named(&tls(Some("a.example")), Some("b.example")), Ok("a.example".into()));
        assert_eq!(named(&tls(None), Some("b.example:8443")), Ok("b.example".into()));
        assert_eq!(named(&tls(None), Some("192.0.2.7")), Ok("192.0.2.7".into()));
        assert_eq!(named(&tls(None), None), Ok("192.0.2.1".into()));
        assert!(named(&tls(Some("-")), None).is_err());
    }
}
