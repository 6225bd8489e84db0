//! Who may speak in a cluster: its authority, and what each director shows of itself.
//!
//! The authority signs one certificate for each director and is needed for nothing else, so its key can be kept elsewhere. A
//! certificate names its director by [`NodeId`], because the names of directors need not be names of hosts. It does not lapse:
//! a director is shut out by taking it from the others' peers.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::replication::version::NodeId;

/// The authority's certificate: whom a director believes.
pub const AUTHORITY: &str = "ca.pem";
/// The authority's key.
pub const AUTHORITY_KEY: &str = "ca-key.pem";
/// The director's certificate.
pub const NODE: &str = "node.pem";
/// The director's key.
pub const NODE_KEY: &str = "node-key.pem";

/// The authority of a cluster, with its key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one, and writes it to this folder.
    ///
    /// # Errors
    /// What the file system says, and that there is one already: replacing it would shut every director out.
    pub fn create(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate().context("making the authority's key")?;
        let private = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(authority_params(), key).context("making the authority")?;
        // The key comes first: a certificate without one would look like an authority and sign nothing.
        write_new(&folder.join(AUTHORITY_KEY), private.as_bytes())?;
        write_new(&folder.join(AUTHORITY), issuer.pem().as_bytes())?;
        Self::open(folder)
    }

    /// The authority in this folder.
    ///
    /// # Errors
    /// What the file system says; a file that holds no key.
    pub fn open(folder: &Path) -> Result<Self> {
        let certificate = read(&folder.join(AUTHORITY))?;
        let path = folder.join(AUTHORITY_KEY);
        let key = KeyPair::from_pem(&read(&path)?)
            .with_context(|| format!("{} is not the key of an authority", path.display()))?;
        Ok(Self { certificate, issuer: Issuer::new(authority_params(), key) })
    }

    /// Writes to this folder what the director of this name shows of itself, and whom it believes.
    ///
    /// # Errors
    /// What the file system says, and that the folder holds a director's certificate already.
    pub fn issue(&self, name: &str, folder: &Path) -> Result<()> {
        let key = KeyPair::generate().context("making the director's key")?;
        let mut params =
            CertificateParams::new(vec![written(NodeId::of(name))]).context("naming the director")?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate =
            params.signed_by(&key, &self.issuer).context("signing the director's certificate")?;
        write_new(&folder.join(NODE_KEY), key.serialize_pem().as_bytes())?;
        write_new(&folder.join(NODE), certificate.pem().as_bytes())?;
        // The first director's folder may be the authority's own.
        let authority = folder.join(AUTHORITY);
        match fs::read_to_string(&authority) {
            Ok(there) if there == self.certificate => Ok(()),
            _ => write_new(&authority, self.certificate.as_bytes()),
        }
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "xlvs cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// What a director shows of itself, and whom it believes.
pub struct Credentials {
    pub(super) authority: CertificateDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Those in this folder.
    ///
    /// # Errors
    /// The first file that cannot be read or does not hold what it should.
    pub fn load(folder: &Path) -> Result<Self> {
        let certificate = |name: &str| {
            let path = folder.join(name);
            CertificateDer::from_pem_slice(read(&path)?.as_bytes())
                .with_context(|| format!("{} holds no certificate", path.display()))
        };
        let path = folder.join(NODE_KEY);
        let key = PrivateKeyDer::from_pem_slice(read(&path)?.as_bytes())
            .with_context(|| format!("{} holds no key", path.display()))?;
        Ok(Self { authority: certificate(AUTHORITY)?, certificate: certificate(NODE)?, key })
    }

    /// Whether they are of use to this director.
    ///
    /// # Errors
    /// The first file that does not belong to the others, or is not this director's.
    pub fn fit(&self, node: NodeId) -> Result<(), Unfit> {
        let unfit = |file, why| move |_| Unfit { file, why };
        let provider = ring::default_provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).map_err(unfit(AUTHORITY, "is not an authority"))?;
        let certificate =
            ParsedCertificate::try_from(&self.certificate).map_err(unfit(NODE, "is damaged"))?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], UnixTime::now(), algorithms)
            .map_err(unfit(NODE, "is not of the authority that ca.pem is"))?;
        verify_server_name(&certificate, &server_name(node))
            .map_err(unfit(NODE, "is the certificate of another director"))?;
        CertifiedKey::from_der(vec![self.certificate.clone()], self.key.clone_key(), &provider)
            .map_err(unfit(NODE_KEY, "is not the key of node.pem"))?;
        Ok(())
    }
}

/// A file of the folder that is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    pub file: &'static str,
    /// Goes on where the file's name ends.
    pub why: &'static str,
}

/// The director as its certificate names it.
pub(super) fn server_name(node: NodeId) -> ServerName<'static> {
    ServerName::try_from(written(node)).expect("hexadecimal digits are the name of a host")
}

fn written(node: NodeId) -> String {
    format!("n{:016x}.xlvs.internal", node.0)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file for its owner alone. Never replaces: what was given to directors before would be worth nothing.
///
/// # Errors
/// What the file system says, and that there is one already.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}
