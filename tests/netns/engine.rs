//! Debian's keepalived on one of two directors, as `config/examples/keepalived.conf` has it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xlvs_tests::daemon::Daemon;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Director, vip};

use crate::pair::Pair;

const SOON: Duration = Duration::from_secs(10);

/// keepalived on one of the two.
pub struct Engine<'a> {
    pair: &'a Pair,
    which: Director,
    pub daemon: Daemon,
}

impl<'a> Engine<'a> {
    pub fn start(pair: &'a Pair, which: Director) -> Self {
        let folder = pair.installation(which).folder();
        let file = folder.join("keepalived.conf");
        fs::write(&file, example(&folder.join("ready"), which)).unwrap();
        let mut command = pair.site.topology.director_of(which).command("keepalived").unwrap();
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(&file);
        for (option, name) in [("--pid", "keepalived.pid"), ("--vrrp_pid", "vrrp.pid")] {
            command.arg(option).arg(folder.join(name));
            // No machine boots with the old ones.
            let _ = fs::remove_file(folder.join(name));
        }
        let daemon = Daemon::start("keepalived", &mut command, &folder.join("keepalived.log")).unwrap();
        Self { pair, which, daemon }
    }

    /// Whether it has put the VIP on its director.
    pub fn has_vip(&self) -> bool {
        owns(self.pair, self.which)
    }

    /// Waits until it has, and says since when.
    pub fn wait_for_vip(&self) -> Instant {
        let begun = Instant::now();
        while !self.has_vip() {
            assert!(
                begun.elapsed() < SOON,
                "{:?} has no VIP; keepalived:\n{}",
                self.which,
                self.daemon.said()
            );
            sleep(Duration::from_millis(5));
        }
        Instant::now()
    }

    /// How often it has said that it owns the VIP now.
    pub fn promotions(&self) -> usize {
        self.daemon.said().matches("(clients) Entering MASTER STATE").count()
    }

    /// Waits until it says so once more than `before`, and says when it did: its log is looked at each millisecond, since its own
    /// times are in seconds.
    pub fn wait_for_promotion(&self, before: usize) -> Instant {
        let begun = Instant::now();
        while self.promotions() <= before {
            assert!(begun.elapsed() < SOON, "{:?} is not promoted:\n{}", self.which, self.daemon.said());
            sleep(Duration::from_millis(1));
        }
        Instant::now()
    }

    /// As with its machine: nothing takes the addresses away any more. It is of two processes, each of which would go in order
    /// without the other.
    pub fn kill(self) {
        let group = nix::unistd::Pid::from_raw(self.daemon.pid() as i32);
        nix::sys::signal::killpg(group, Signal::SIGKILL).unwrap();
    }
}

/// As its unit does when it has been killed, and a boot: keepalived leaves them on the host.
pub fn remove_addresses(pair: &Pair, which: Director) {
    let gone = "address del 10.77.1.100/32 dev eth0\naddress del 10.77.2.1/24 dev eth1";
    pair.site.topology.director_of(which).ip(gone).unwrap();
}

/// The example, for the directors of this rig.
fn example(ready: &Path, which: Director) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/keepalived.conf");
    let text = fs::read_to_string(&example).unwrap();
    let put = |text: String, old: &str, new: &str| {
        assert!(text.contains(old), "the example says {old}");
        text.replace(old, new)
    };
    let text = put(text, "/run/xlvs/ready", &ready.display().to_string());
    match which {
        Director::First => text,
        Director::Second => put(put(text, "router_id lb1", "router_id lb2"), "priority 150", "priority 100"),
    }
}

fn owns(pair: &Pair, which: Director) -> bool {
    let IpAddr::V4(vip) = vip(Family::V4) else { unreachable!("it was asked for") };
    let director = pair.site.topology.director_of(which);
    let bound = director.enter(|| std::net::UdpSocket::bind((vip, 9)).is_ok());
    bound.unwrap()
}
