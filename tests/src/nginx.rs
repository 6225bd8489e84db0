//! A real nginx on a real server.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemon::Daemon;
use crate::folder::Folder;
use crate::namespace::Namespace;

/// A running nginx; stopped, and its folder removed, when dropped.
///
/// | path | answer |
/// | --- | --- |
/// | `/` | 200, the server's name and a line feed |
/// | `/healthz` | 200, `ok` |
/// | `/big` | the big file, as fast as it goes |
/// | `/slow` | the big file at [`NginxPlan::slow_rate`] bytes a second |
///
/// Every answer has the header `X-Server` with the name.
pub struct Nginx {
    daemon: Daemon,
    // After the daemon, which writes its log there.
    folder: Folder,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct NginxPlan {
    pub name: String,
    pub listen: SocketAddr,
    /// Bytes of `/big` and `/slow`.
    pub big_file: u64,
    pub slow_rate: u64,
}

impl NginxPlan {
    /// On port 80 of every IPv4 address, with 100 MB to download, slowly at 10 MB/s.
    pub fn new(name: &str) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        Self { name: name.to_owned(), listen, big_file: 100_000_000, slow_rate: 10_000_000 }
    }
}

impl Nginx {
    /// Starts nginx inside `namespace` and returns when it accepts connections.
    pub fn start(namespace: &Namespace, plan: &NginxPlan) -> Result<Self> {
        let folder = Folder::create("xlvs-nginx-")?;
        fs::write(folder.path().join("nginx.conf"), configuration(plan, folder.path()))
            .context("cannot write nginx.conf")?;
        write_big_file(&folder.path().join("big"), plan.big_file)?;
        let mut command = namespace.command("nginx")?;
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let what = format!("nginx {}", plan.name);
        let daemon = Daemon::start(&what, &mut command, &folder.path().join("log"))?;
        let address = match plan.listen.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        let listen = SocketAddr::new(address, plan.listen.port());
        daemon.wait_until(Duration::from_secs(10), || {
            namespace.enter(|| TcpStream::connect(listen).is_ok()).unwrap_or(false)
        })?;
        Ok(Self { daemon, folder })
    }

    /// Its pid, what a reader would type after `kill -9`.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The big file, to compare a download with.
    pub fn big_file(&self) -> PathBuf {
        self.folder.path().join("big")
    }

    /// `kill -9`: the kernel resets its connections and refuses new ones from now on.
    pub fn kill(&self) -> Result<()> {
        self.daemon.kill_now()
    }
}

/// One process, so that a kill takes the whole server with it.
fn configuration(plan: &NginxPlan, folder: &Path) -> String {
    let NginxPlan { name, listen, slow_rate, .. } = plan;
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    sendfile on;
    tcp_nodelay on;
    default_type text/plain;
    server {{
        listen {listen} backlog=16384;
        add_header X-Server {name} always;
        location = /healthz {{ return 200 "ok\n"; }}
        location = /big {{ alias {folder}/big; }}
        location = /slow {{ alias {folder}/big; limit_rate {slow_rate}; }}
        location / {{ return 200 "{name}\n"; }}
    }}
}}
"#
    )
}

/// No two words of it alike, so that a checksum of the whole notices any piece in the wrong place.
fn write_big_file(path: &Path, bytes: u64) -> Result<()> {
    let told = || format!("cannot write {}", path.display());
    let file = fs::File::create(path).with_context(told)?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    for word in 0..bytes.div_ceil(8) {
        writer.write_all(&word.to_be_bytes()).with_context(told)?;
    }
    writer.flush().with_context(told)?;
    drop(writer);
    file.set_len(bytes).with_context(told)
}
