//! What health checks are put to: real servers, and peers that are no servers at all.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use xlvs_tests::daemon::Daemon;
use xlvs_tests::folder::Folder;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::traffic::Runner;

/// Files of an authority, of a server that it vouches for (www.example.org), of a client, and of an authority nobody asked.
pub struct Papers {
    folder: Folder,
}

impl Papers {
    pub fn write() -> Self {
        let folder = Folder::create("xlvs-papers-").unwrap();
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (authority, stranger) = (authority("authority"), authority("stranger"));
        let papers = Self { folder };
        papers.put("ca", &authority.pem());
        papers.put("stranger", &stranger.pem());
        for (who, name) in [("server", "www.example.org"), ("client", "director.example.org")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            papers.put(who, &params.signed_by(&key, &authority).unwrap().pem());
            papers.put(&format!("{who}-key"), &key.serialize_pem());
        }
        papers
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }
}

/// nginx with TLS: on 443 for everybody, on 444 for those whom the authority knows.
pub struct TlsNginx {
    _daemon: Daemon,
    _folder: Folder,
}

impl TlsNginx {
    pub fn start(namespace: &Namespace, papers: &Papers) -> Self {
        let folder = Folder::create("xlvs-nginx-tls-").unwrap();
        let home = folder.path().display();
        let paths = ["body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let name = |name: &str| if name == "body" { "client_body".to_owned() } else { name.to_owned() };
        let temporary: String =
            paths.iter().map(|path| format!("{}_temp_path {home}/{path};\n", name(path))).collect();
        let server = |port: u16, more: &str| {
            format!(
                "server {{\nlisten {port} ssl;\nlisten [::]:{port} ssl;\nssl_certificate {};\nssl_certificate_key {};\n{more}\n\
                 location = /healthz {{ return 200 \"all is well\\n\"; }}\n\
                 location = /teapot {{ return 418 \"short and stout\\n\"; }}\n\
                 location = /probe {{ if ($http_x_probe != \"xlvs\") {{ return 403; }} return 204; }}\n\
                 location = /name {{ return 200 \"$ssl_server_name $host $request_method\\n\"; }}\n}}\n",
                papers.path("server").display(),
                papers.path("server-key").display()
            )
        };
        let client =
            format!("ssl_client_certificate {};\nssl_verify_client on;", papers.path("ca").display());
        let text = format!(
            "daemon off;\nmaster_process off;\npid {home}/pid;\nerror_log stderr warn;\nevents {{ }}\n\
             http {{\naccess_log off;\n{temporary}{}{}}}\n",
            server(443, ""),
            server(444, &client)
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let mut command = namespace.command("nginx").unwrap();
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let daemon = Daemon::start("nginx with TLS", &mut command, &folder.path().join("log")).unwrap();
        let there = || namespace.enter(|| TcpStream::connect("127.0.0.1:443").is_ok()).unwrap_or(false);
        daemon.wait_until(Duration::from_secs(10), there).unwrap();
        Self { _daemon: daemon, _folder: folder }
    }
}

/// dnsmasq: it knows up.example, refuses to know anything else.
pub struct Dnsmasq {
    _daemon: Daemon,
    _folder: Folder,
}

impl Dnsmasq {
    pub fn start(namespace: &Namespace) -> Self {
        let folder = Folder::create("xlvs-dnsmasq-").unwrap();
        let mut command = namespace.command("dnsmasq").unwrap();
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--user=root", "--group=root", "--local=/example/", "--log-facility=-"]);
        command.args(["--host-record=up.example,192.0.2.9", "--txt-record=text.example,some text"]);
        let daemon = Daemon::start("dnsmasq", &mut command, &folder.path().join("log")).unwrap();
        let there = || namespace.enter(|| TcpStream::connect("127.0.0.1:53").is_ok()).unwrap_or(false);
        daemon.wait_until(Duration::from_secs(10), there).unwrap();
        Self { _daemon: daemon, _folder: folder }
    }
}

/// A gRPC server with the health service, by a library that is not ours.
pub struct Grpc {
    reporter: HealthReporter,
    runner: Runner,
}

impl Grpc {
    pub fn start(namespace: &Namespace, listen: SocketAddr) -> Self {
        let runner = Runner::start(namespace).unwrap();
        let (reporter, service) = runner.run(async { tonic_health::server::health_reporter() }).unwrap();
        let listener =
            runner.run(async move { tokio::net::TcpListener::bind(listen).await }).unwrap().unwrap();
        runner.spawn(async move {
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let _ =
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Self { reporter, runner }
    }

    pub fn says(&self, service: &'static str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        let reporter = self.reporter.clone();
        self.runner.run(async move { reporter.set_service_status(service, status).await }).unwrap();
    }
}

/// How a peer treats a connection.
#[derive(Clone)]
pub enum Manners {
    /// Takes it and says nothing.
    Silent,
    /// Says these bytes over and over, one at a time.
    Drips(&'static [u8]),
    /// Says bytes without meaning, and goes.
    Garbage,
    /// Says a line that may change, and goes: an agent as HAProxy wants it. What was sent to it is kept.
    Agent(Arc<Mutex<String>>, Arc<Mutex<Vec<u8>>>),
}

/// Listens on a port of a namespace until the test ends.
pub fn listen(namespace: &Namespace, port: u16, manners: Manners) {
    let listener = namespace.enter(|| TcpListener::bind(("0.0.0.0", port))).unwrap().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), manners) = (stream, manners.clone()) else { return };
            thread::spawn(move || treat(stream, &manners));
        }
    });
}

fn treat(mut stream: TcpStream, manners: &Manners) {
    match manners {
        // Until the other side gives up.
        Manners::Silent => drop(stream.read_to_end(&mut Vec::new())),
        Manners::Drips(bytes) => {
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        Manners::Garbage => {
            let mut state = 0x2545_f491_u32;
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            })
            .take(100_000)
            .collect();
            let _ = stream.write_all(&bytes);
        }
        Manners::Agent(said, sent) => {
            stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
            let mut question = [0; 100];
            let length = stream.read(&mut question).unwrap_or(0);
            sent.lock().unwrap().extend(&question[..length]);
            let said = said.lock().unwrap().clone();
            let _ = stream.write_all(said.as_bytes());
        }
    }
}

/// Answers each datagram with this, or not at all.
pub fn answer(namespace: &Namespace, port: u16, with: Option<&'static [u8]>) {
    let socket = namespace.enter(|| UdpSocket::bind(("0.0.0.0", port))).unwrap().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            if let Some(with) = with {
                let _ = socket.send_to(&[&datagram[..length.min(2)], with].concat(), from);
            }
        }
    });
}
