//! Who is at the other end: TLS 1.3 with certificates on both sides, of one authority, and of a director that is a peer.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::ring;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::credentials::{Credentials, server_name};
use crate::replication::version::NodeId;

/// Told apart from anything else that an authority could be used for.
const PROTOCOL: &[u8] = b"xlvs-replication";

/// Both ends of what this director speaks.
pub(super) struct Tls {
    pub connector: TlsConnector,
    pub acceptor: TlsAcceptor,
}

impl Tls {
    /// # Errors
    /// When certificate and key do not belong together, or are of no use.
    pub fn new(credentials: Credentials) -> anyhow::Result<Self> {
        let Credentials { authority, certificate, key } = credentials;
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let roots = Arc::new(roots);
        let chain = vec![certificate];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        // A session taken up again would not show who is there now.
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }
}

/// Which of the peers a connection's authenticated certificate names.
pub(super) fn peer(connection: &rustls::ServerConnection, peers: &BTreeSet<NodeId>) -> Option<NodeId> {
    // A client that does not name the protocol passes the negotiation.
    if connection.alpn_protocol() != Some(PROTOCOL) {
        return None;
    }
    let certificate = ParsedCertificate::try_from(connection.peer_certificates()?.first()?).ok()?;
    peers.iter().copied().find(|node| verify_server_name(&certificate, &server_name(*node)).is_ok())
}
