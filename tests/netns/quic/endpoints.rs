//! Servers that make connection ids as QUIC-LB says, and clients that can move.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, RecvStream,
    SendStream, ServerConfig, TokioRuntime,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;
use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::topology;
use xlvs_tests::traffic::{Runner, numbered_payload};

/// Several datagrams, so that answers are asked for and acknowledged.
const MESSAGE: usize = 20_000;
/// Time enough to be sent again, and less than a connection takes to give up.
const LIMIT: Duration = Duration::from_secs(3);

/// A QUIC server that sends each message back behind its name; gone when dropped.
pub struct Server {
    _runner: Runner,
}

impl Server {
    pub fn start(server: &topology::Server, listen: SocketAddr, config: u8, id: &[u8]) -> Result<Self> {
        let runner = Runner::start(&server.namespace)?;
        let ids = Ids { config, server: id.to_vec() };
        let endpoint = runner.run(async move {
            let mut endpoint = EndpointConfig::default();
            endpoint.cid_generator(move || Box::new(ids.clone()));
            Endpoint::new(endpoint, Some(server_config()?), UdpSocket::bind(listen)?, Arc::new(TokioRuntime))
                .context("cannot serve QUIC")
        })??;
        let name = server.name.clone();
        runner.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let name = name.clone();
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        let _client_gone = echo(send, receive, &name).await;
                    }
                });
            }
        });
        Ok(Self { _runner: runner })
    }
}

async fn echo(mut send: SendStream, mut receive: RecvStream, name: &str) -> Result<()> {
    let message = receive.read_to_end(2 * MESSAGE).await?;
    send.write_all(name.as_bytes()).await?;
    send.write_all(b"\n").await?;
    send.write_all(&message).await?;
    send.finish()?;
    Ok(())
}

/// The plaintext form of draft-ietf-quic-load-balancers: configuration and five bits of anything, the server, a nonce.
#[derive(Clone)]
struct Ids {
    config: u8,
    server: Vec<u8>,
}

impl Ids {
    const NONCE: usize = 6;
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut random = [0; 1 + Self::NONCE];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).unwrap();
        let [first, nonce @ ..] = random;
        ConnectionId::new(&[&[self.config << 5 | first & 0x1f], &self.server[..], &nonce[..]].concat())
    }

    fn cid_len(&self) -> usize {
        1 + self.server.len() + Self::NONCE
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Connections, each from a socket of its own.
pub struct Clients {
    runner: Runner,
    all: Vec<Client>,
    anywhere: SocketAddr,
    round: u64,
}

#[derive(Clone)]
struct Client {
    endpoint: Endpoint,
    connection: Connection,
    /// Who answered first.
    server: Option<String>,
}

impl Clients {
    pub fn connect(from: &Namespace, target: SocketAddr, number: usize) -> Result<Self> {
        let runner = Runner::start(from)?;
        let anywhere = SocketAddr::new(Family::of(target.ip()).unspecified(), 0);
        let all = runner.run(async move {
            let mut all = Vec::new();
            for _ in 0..number {
                let mut endpoint = Endpoint::client(anywhere)?;
                endpoint.set_default_client_config(client_config()?);
                let connection = timeout(LIMIT, endpoint.connect(target, "web")?).await??;
                all.push(Client { endpoint, connection, server: None });
            }
            anyhow::Ok(all)
        })??;
        Ok(Self { runner, all, anywhere, round: 0 })
    }

    /// All of them go on from another port.
    pub fn move_on(&self) -> Result<()> {
        let (anywhere, all) = (self.anywhere, self.all.clone());
        self.runner.run(async move {
            for client in all {
                let before = client.endpoint.local_addr()?;
                client.endpoint.rebind(UdpSocket::bind(anywhere)?)?;
                ensure!(client.endpoint.local_addr()? != before, "the port is another one");
            }
            Ok(())
        })?
    }

    /// How many have their message answered byte by byte, by the server that answered before.
    pub fn answered(&mut self) -> Result<usize> {
        self.round += 1;
        let round = self.round;
        let asked = self.all.iter().cloned().enumerate().map(|(number, client)| async move {
            let message = numbered_payload(number as u64, round, MESSAGE);
            match timeout(LIMIT, ask(&client.connection, message)).await {
                Ok(Ok(server)) => Some(server),
                Ok(Err(error)) => {
                    println!("connection {number}: {error:#}");
                    None
                }
                Err(_) => None,
            }
        });
        let asked: Vec<_> = asked.collect();
        let answers = self.runner.run(async move {
            let tasks: Vec<_> = asked.into_iter().map(tokio::spawn).collect();
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.ok().flatten());
            }
            answers
        })?;
        let mut answered = 0;
        for (client, server) in self.all.iter_mut().zip(answers) {
            let Some(server) = server else { continue };
            answered += usize::from(*client.server.get_or_insert_with(|| server.clone()) == server);
        }
        Ok(answered)
    }

    /// How many servers have answered.
    pub fn servers(&self) -> usize {
        self.all.iter().filter_map(|client| client.server.as_ref()).collect::<BTreeSet<_>>().len()
    }
}

/// Who answered.
async fn ask(connection: &Connection, message: Vec<u8>) -> Result<String> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&message).await?;
    send.finish()?;
    let answer = receive.read_to_end(2 * MESSAGE).await?;
    let end = answer.iter().position(|byte| *byte == b'\n').context("no name")?;
    ensure!(answer[end + 1..] == message, "another message came back");
    Ok(String::from_utf8(answer[..end].to_vec())?)
}

/// A key of its own instead of a certificate (RFC 7250): who the server is, is not the question here.
fn server_config() -> Result<ServerConfig> {
    let random = ring::rand::SystemRandom::new();
    let key = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).ok().context("no key")?;
    let key = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key.as_ref()))?;
    let public = CertificateDer::from(key.public_key().context("no public key")?.as_ref().to_vec());
    let key = Arc::new(CertifiedKey::new(vec![public], key));
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    Ok(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}

fn client_config() -> Result<ClientConfig> {
    let provider = Arc::new(provider::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
        .with_no_client_auth();
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// Takes whoever has the key that he shows.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
