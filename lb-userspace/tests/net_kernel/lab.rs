//! Where a test takes place: a director's namespace with two veth pairs to a server's.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_userspace::net::Mac;
use nix::sched::{CloneFlags, setns};

/// Two namespaces that are deleted when this is dropped, also when a test fails.
pub struct Lab {
    director: String,
    server: String,
}

impl Lab {
    pub fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let suffix = format!("{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let lab = Self { director: format!("nk-d-{suffix}"), server: format!("nk-s-{suffix}") };
        let Self { director, server } = &lab;
        for namespace in [director, server] {
            output("ip", &["netns", "add", namespace]);
            ip_in(namespace, &["link", "set", "lo", "up"]);
        }
        for pair in 0..2 {
            let subnet = 91 + pair;
            lab.director(&format!("link add d{pair} type veth peer name s{pair} netns {server}"));
            lab.director(&format!("addr add 10.{subnet}.0.1/24 dev d{pair}"));
            lab.server(&format!("addr add 10.{subnet}.0.2/24 dev s{pair}"));
            lab.director(&format!("addr add fd{subnet}::1/64 dev d{pair} nodad"));
            lab.server(&format!("addr add fd{subnet}::2/64 dev s{pair} nodad"));
            lab.director(&format!("link set d{pair} up"));
            lab.server(&format!("link set s{pair} up"));
        }
        lab
    }

    /// `ip` in the director's namespace.
    pub fn director(&self, line: &str) {
        ip_in(&self.director, &line.split_whitespace().collect::<Vec<_>>());
    }

    /// `ip` in the server's namespace.
    pub fn server(&self, line: &str) {
        ip_in(&self.server, &line.split_whitespace().collect::<Vec<_>>());
    }

    /// The director's neighbour table.
    pub fn neighbours(&self) -> String {
        ip_in(&self.director, &["neigh", "show"])
    }

    /// The MAC address of one of the server's interfaces.
    pub fn server_mac(&self, interface: &str) -> Mac {
        let text = ip_in(&self.server, &["-brief", "link", "show", interface]);
        let mac = text.split_whitespace().nth(2).expect("name, state, address");
        let bytes: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16).expect("hex")).collect();
        bytes.try_into().expect("six bytes")
    }

    /// Runs a test in the director's namespace, on a runtime of its own.
    pub fn run<T: Send>(&self, test: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.director)).expect("namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test()).await })
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).expect("within a minute")
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.director, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// By nsenter: `ip -n` cannot enter where / is no mount point, as in a plain chroot.
fn ip_in(namespace: &str, arguments: &[&str]) -> String {
    let enter = format!("--net=/run/netns/{namespace}");
    output("nsenter", &[&[enter.as_str(), "--", "ip"], arguments].concat())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}
