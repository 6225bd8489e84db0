//! Two directors behind keepalived, both ready, the first with the VIP; live connections through it, and a probe.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xlvs_tests::agent::Agent;
use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Director, Layout, Network, vip};
use xlvs_tests::traffic::{EchoServer, Probe, UdpEchoServer};

use super::live::{Live, add_addresses};
use crate::engine::{Engine, remove_addresses};
use crate::pair::Pair;

const SERVERS: usize = 6;
const PROBE_PORT: u16 = 53;
/// A director has joined, and got ten thousand connections.
const SOON: Duration = Duration::from_secs(20);

/// How connections get their servers, and what has changed of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Plain,
    /// By the source address.
    Affinity,
    /// By how many they have.
    Least,
    /// Half the servers have just been exchanged.
    Reloaded,
    /// They have been for a while: the table that knows nothing of those that left has followed.
    Followed,
}

/// What a scene is of.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub delivery: Delivery,
    pub variant: Variant,
    /// What the directors tell each other.
    pub replicate: &'static str,
}

impl Setting {
    pub fn build(&self) -> Pair {
        let pair = Pair::build(Layout::TwoArm, self.delivery, SERVERS);
        add_addresses(&pair.site.topology);
        pair
    }

    pub fn lines(&self) -> String {
        format!("replicate = \"{}\"", self.replicate)
    }

    /// The service over these servers, and the probe's.
    pub fn services(&self, pair: &Pair, servers: &[usize]) -> String {
        let lines = match self.variant {
            Variant::Plain | Variant::Reloaded | Variant::Followed => "",
            Variant::Affinity => "affinity = { by = \"source\", timeout = \"300s\" }",
            Variant::Least => "scheduler = \"least\"",
        };
        format!("{}{}", self.probe(pair), pair.site.web_of(servers).lines(lines))
    }

    /// The service that the probe asks.
    pub fn probe(&self, pair: &Pair) -> ServiceText {
        let probe = ServiceText::over(Family::V4, "probe", PROBE_PORT, self.delivery);
        let probe = ServiceText { protocol: "udp".to_owned(), ..probe };
        probe.server(&pair.site.servers()[0], 1)
    }
}

/// See the module. What is `None` is dead.
pub struct Scene<'a> {
    pub pair: &'a Pair,
    agents: [Option<Agent>; 2],
    engines: [Option<Engine<'a>>; 2],
    pub probe: Probe,
    _servers: (Vec<EchoServer>, UdpEchoServer),
}

impl<'a> Scene<'a> {
    pub fn set(pair: &'a Pair, setting: &Setting) -> Self {
        let servers = pair.site.serve_all();
        let target = SocketAddr::new(vip(Family::V4), PROBE_PORT);
        let first = &pair.site.servers()[0];
        let listen = match setting.delivery {
            Delivery::DirectRouting => target,
            Delivery::Nat | Delivery::FullNat => SocketAddr::new(first.address.into(), PROBE_PORT),
        };
        let probed = UdpEchoServer::start(&first.namespace, &first.name, listen).unwrap();
        pair.configure(&setting.lines(), &setting.services(pair, &[0, 1, 2, 3]));
        let [a, b] = Director::BOTH;
        let engine_a = Engine::start(pair, a);
        let agent_a = pair.up(a);
        engine_a.wait_for_vip();
        let engine_b = Engine::start(pair, b);
        let agent_b = pair.up(b);
        let probe = Probe::start(pair.site.client(), target).unwrap();
        Self {
            pair,
            agents: [Some(agent_a), Some(agent_b)],
            engines: [Some(engine_a), Some(engine_b)],
            probe,
            _servers: (servers, probed),
        }
    }

    pub fn agent(&self, which: Director) -> &Agent {
        self.agents[place(which)].as_ref().expect("it lives")
    }

    pub fn engine(&self, which: Director) -> &Engine<'a> {
        self.engines[place(which)].as_ref().expect("it lives")
    }

    /// Who has the VIP on its host and lives.
    pub fn owners(&self) -> Vec<Director> {
        let alive = Director::BOTH.into_iter().filter(|which| self.engines[place(*which)].is_some());
        alive.filter(|which| self.engine(*which).has_vip()).collect()
    }

    /// Waits until this one holds as many connections of the other as that.
    pub fn wait_held(&self, which: Director, connections: usize) {
        self.pair.wait_for(SOON, which, &format!("{connections} connections are held"), |peers| {
            peers["cluster"]["records_held"].as_u64() >= Some(connections as u64)
        });
    }

    /// `kill -9` of agent and keepalived; the addresses go as its unit has to see to.
    pub fn kill(&mut self, which: Director) {
        self.kill_all(which);
        remove_addresses(self.pair, which);
    }

    fn kill_all(&mut self, which: Director) {
        self.engines[place(which)].take().expect("it lives").kill();
        self.agents[place(which)].take().expect("it lives").kill().unwrap();
    }

    /// The machine is gone, with its cables.
    pub fn remove(&mut self, which: Director) {
        self.kill_all(which);
        self.pair.site.topology.remove(which).unwrap();
    }

    pub fn pull(&self, which: Director, networks: &[Network], is_up: bool) {
        self.pair.site.topology.pull(which, networks, is_up).unwrap();
    }

    /// Its agent does nothing any more, or goes on.
    pub fn freeze(&self, which: Director, is_frozen: bool) {
        let signal = if is_frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.agent(which).daemon().signal(signal).unwrap();
    }

    /// A machine that was killed boots: keepalived first, which may not have the VIP before the agent is in sync.
    pub fn boot(&mut self, which: Director) {
        self.pair.installation(which).ok(&["down"]).unwrap();
        // It was in the memory of the machine.
        std::fs::remove_file(self.pair.installation(which).folder().join("ready")).unwrap();
        self.engines[place(which)] = Some(Engine::start(self.pair, which));
        self.agents[place(which)] = Some(self.pair.installation(which).up_unready().unwrap());
    }

    /// Watches one that has returned until it says that it is ready: before, it does not have the VIP, and then, it holds all of
    /// these connections.
    pub fn watch_return(&self, which: Director, connections: usize) {
        let until = Instant::now() + SOON;
        loop {
            let has_vip = self.engine(which).has_vip();
            if self.pair.installation(which).folder().join("ready").exists()
                && self.pair.readiness(which) == "0\n"
            {
                break;
            }
            assert!(!has_vip, "{which:?} has the VIP and is not in sync");
            let said = || self.agent(which).daemon().said();
            assert!(Instant::now() < until, "{which:?} is not ready; its agent:\n{}", said());
            sleep(Duration::from_millis(2));
        }
        self.wait_in_step(which);
        let [told, held] = self.pair.known(which);
        assert!(told + held >= connections as u64, "{which:?} is ready with {told} told and {held} held");
    }

    /// Waits until this one is connected to the other, and no bucket of connections differs.
    pub fn wait_in_step(&self, which: Director) {
        self.pair.wait_for(SOON, which, "they are in step", |peers| {
            let other = &peers["peers"][0];
            other["in_sync"] == true && other["divergent_buckets"] == 0 && other["stale"] == false
        });
    }

    /// Opens live connections, which the second director knows of when this returns.
    pub fn open(&self, setting: &Setting, connections: usize) -> Live {
        let live = Live::open(&self.pair.site, connections);
        // By direct routing a connection is established by a packet at a later tick.
        sleep(Duration::from_secs(2));
        let all = live.verify();
        assert_eq!(all.broken(), 0, "they have begun: {all}");
        if setting.replicate == "all" {
            self.wait_held(Director::Second, connections);
        }
        live
    }
}

fn place(which: Director) -> usize {
    usize::from(which == Director::Second)
}
