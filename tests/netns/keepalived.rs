//! Debian's keepalived gives the VIPs, as `config/examples/keepalived.conf` has it: by what two directors say of themselves.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xlvs_tests::daemon::Daemon;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Director, Layout, vip};

use crate::crowd::Crowd;
use crate::pair::{CONNECTIONS, Pair};
use crate::survival::MISS_TABLE_FOLLOWS;

const SOON: Duration = Duration::from_secs(10);

/// keepalived on one of the two.
struct Engine<'a> {
    pair: &'a Pair,
    which: Director,
    daemon: Daemon,
}

impl<'a> Engine<'a> {
    fn start(pair: &'a Pair, which: Director) -> Self {
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
    fn has_vip(&self) -> bool {
        owns(self.pair, self.which)
    }

    /// Waits until it has, and says since when.
    fn wait_for_vip(&self) -> Instant {
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

    /// As with its machine: nothing takes the addresses away any more. It is of two processes, each of which would go in order
    /// without the other.
    fn kill(self) {
        let group = nix::unistd::Pid::from_raw(self.daemon.pid() as i32);
        nix::sys::signal::killpg(group, Signal::SIGKILL).unwrap();
    }
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

#[test]
fn keepalived_moves_the_vip_to_a_director_that_goes_on_with_all_connections() {
    let [a, b] = Director::BOTH;
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 4);
    let servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2, 3]));

    // Who is not ready gets nothing, whatever its priority.
    let (engine_a, engine_b) = (Engine::start(&pair, a), Engine::start(&pair, b));
    sleep(Duration::from_secs(1));
    assert!(!engine_a.has_vip() && !engine_b.has_vip(), "nobody is ready");
    let agent_a = pair.up(a);
    engine_a.wait_for_vip();
    let agent_b = pair.up(b);

    let mut crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    pair.wait_held(b, CONNECTIONS);
    pair.reload("", &pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]));
    sleep(MISS_TABLE_FOLLOWS);
    crowd.survived("other weights");
    assert!(!engine_b.has_vip());

    // The machine dies.
    let died = Instant::now();
    engine_a.kill();
    pair.die(a, agent_a);
    let moved = engine_b.wait_for_vip();
    println!("the VIP is at the other one after {} ms", moved.duration_since(died).as_millis());
    crowd.hear_the_servers(&servers);
    crowd.unbroken("the other director");

    // It boots: its addresses are gone, it gets what there is, and waits for its turn.
    let gone = "address del 10.77.1.100/32 dev eth0\naddress del 10.77.2.1/24 dev eth1";
    pair.site.topology.director_of(a).ip(gone).unwrap();
    pair.installation(a).ok(&["down"]).unwrap();
    pair.site.topology.plug_in_again(a).unwrap();
    let engine_a = Engine::start(&pair, a);
    let agent_a = pair.up(a);
    pair.wait(a, "it is in sync", |_| pair.readiness(a) == "0\n");
    pair.wait_held(a, CONNECTIONS);
    sleep(Duration::from_secs(1));
    assert!(!engine_a.has_vip() && engine_b.has_vip(), "who came back does not take the VIP");

    // The one that has it leaves in order, and the connections go back.
    agent_b.daemon().signal(Signal::SIGTERM).unwrap();
    engine_a.wait_for_vip();
    assert!(!engine_b.has_vip());
    crowd.hear_the_servers(&servers);
    crowd.unbroken("back again");

    // A new agent on the same maps keeps the VIP all the while.
    agent_a.kill().unwrap();
    let agent_a = pair.up(a);
    for _ in 0..200 {
        assert!(engine_a.has_vip(), "a new agent; keepalived:\n{}", engine_a.daemon.said());
        sleep(Duration::from_millis(10));
    }
    crowd.unbroken("a new agent");
    drop((agent_a, agent_b));
}
