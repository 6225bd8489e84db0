//! What people balance connections with otherwise, each in front of the one server: set up to do nothing else.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xlvs_tests::daemon::Daemon;
use xlvs_tests::folder::Folder;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::tools;
use xlvs_tests::topology::{VIP, server_address};

/// A proxy in the director; stopped when dropped.
pub struct Proxy {
    _daemon: Daemon,
    // After the daemon, which writes its log there.
    _folder: Folder,
}

impl Proxy {
    /// HAProxy in its mode `tcp`, with a thread a processor, which is its default.
    pub fn haproxy(director: &Namespace) -> Result<Self> {
        let configuration = format!(
            "global\n    maxconn 4000\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m\n    \
             timeout server 1m\nlisten web\n    bind {VIP}:80 backlog 16384\n    server rs1 {}:80\n",
            server_address(0)
        );
        Self::start(director, "haproxy", &configuration, |path| vec!["-db".into(), "-f".into(), path.into()])
    }

    /// nginx as a proxy of connections, with a worker a processor.
    pub fn nginx(director: &Namespace) -> Result<Self> {
        let configuration = format!(
            "load_module {};\ndaemon off;\nuser root;\nworker_processes auto;\npid nginx.pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 16384; }}\n\
             stream {{ server {{ listen {VIP}:80 backlog=16384 reuseport; proxy_pass {}:80; }} }}\n",
            stream_module()?.display(),
            server_address(0)
        );
        Self::start(director, "nginx", &configuration, |path| {
            let folder = path.parent().unwrap_or(Path::new("/"));
            vec!["-p".into(), folder.into(), "-c".into(), path.into(), "-e".into(), "stderr".into()]
        })
    }

    fn start(
        director: &Namespace,
        program: &str,
        configuration: &str,
        arguments: impl FnOnce(&Path) -> Vec<PathBuf>,
    ) -> Result<Self> {
        let folder = Folder::create("xlvs-proxy-")?;
        let path = folder.path().join("configuration");
        fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = director.command(program)?;
        command.args(arguments(&path));
        let daemon = Daemon::start(program, &mut command, &folder.path().join("log"))?;
        daemon.wait_until(Duration::from_secs(10), || {
            director.enter(|| TcpStream::connect((VIP, 80)).is_ok()).unwrap_or(false)
        })?;
        Ok(Self { _daemon: daemon, _folder: folder })
    }
}

/// Debian's nginx has it in a file of its own.
fn stream_module() -> Result<PathBuf> {
    let brought = std::env::var_os(tools::TOOLS_VARIABLE)
        .map(|folder| PathBuf::from(folder).join("modules/ngx_stream_module.so"));
    match brought {
        Some(path) if path.is_file() => Ok(path),
        _ => bail!(
            "no module of nginx for streams: install libnginx-mod-stream, or the whole nginx by `cargo xtask`"
        ),
    }
}

/// The kernel's own virtual server, with its simplest scheduler; how a server is reached as ipvsadm says it.
pub fn ipvs(director: &Namespace, reached: &str) -> Result<()> {
    let (service, server) = (format!("{VIP}:80"), format!("{}:80", server_address(0)));
    for words in [&["-A", "-t", &service, "-s", "rr"][..], &["-a", "-t", &service, "-r", &server, reached]] {
        tools::output(director.command("ipvsadm")?.args(words))?;
    }
    Ok(())
}

/// The kernel's own translation of destinations: a rule, and a tracked connection each.
pub fn nftables(director: &Namespace) -> Result<()> {
    let rules = format!(
        "add table ip web\n\
         add chain ip web prerouting {{ type nat hook prerouting priority dstnat; }}\n\
         add rule ip web prerouting ip daddr {VIP} tcp dport 80 dnat to {}:80\n",
        server_address(0)
    );
    let folder = Folder::create("xlvs-nft-")?;
    let path = folder.path().join("rules");
    fs::write(&path, rules).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = director.command("nft")?;
    tools::output(command.arg("-f").arg(&path)).map(drop)
}
