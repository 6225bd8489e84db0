//! The stage: one client, one director with xlvs, real servers with nginx, and how a reader gets at each of them.

use std::env;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use xlvs_tests::agent::{self, Agent, Installation};
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::tools;
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, VIP, server_address, server_name};
use xlvs_tests::traffic::Runner;

use crate::http::Session;
use crate::telling::Telling;

/// Bytes of the file that is downloaded.
pub const FILE: u64 = 48_000_000;
/// The health check's rhythm.
pub const INTERVAL: Duration = Duration::from_millis(200);
pub const TIMEOUT: Duration = Duration::from_millis(200);
/// Answers in a row that take a server out, or back in.
pub const FALL: u32 = 2;
pub const RISE: u32 = 2;

/// What the claims play on. The fields are dropped in this order.
pub struct Scene {
    /// Connections that are kept open from one claim to another.
    pub sessions: Vec<Session>,
    /// Connections that failed because their server had been killed.
    pub refused: u64,
    /// Set while no agent lives.
    pub orphaned: Option<Orphaned>,
    /// In the client's namespace.
    pub client: Runner,
    agent: Option<Agent>,
    installation: Installation,
    servers: Vec<RealServer>,
    topology: Topology,
    took: Duration,
}

/// What was known of the data path when its agent died, and what happened since.
pub struct Orphaned {
    /// `data_path.since` of `xlvs status`.
    pub since: Value,
    pub connections_counted: u64,
    /// Through the VIP, with nobody there to see.
    pub connections_made: u64,
}

struct RealServer {
    weight: u32,
    nginx: Option<Nginx>,
}

/// Where the service is.
pub const SERVICE: SocketAddrV4 = SocketAddrV4::new(VIP, 80);

impl Scene {
    /// Builds everything and starts xlvs: three servers with weights 3, 2 and 1.
    pub fn build() -> Result<Self> {
        let begun = Instant::now();
        let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 3))?;
        let installation = Installation::new(topology.director(), topology.director_interfaces(), "")?;
        let client = Runner::start(topology.client())?;
        let mut scene = Self {
            sessions: Vec::new(),
            refused: 0,
            orphaned: None,
            client,
            agent: None,
            installation,
            servers: Vec::new(),
            topology,
            took: Duration::ZERO,
        };
        for weight in [3, 2, 1] {
            scene.servers.push(RealServer { weight, nginx: None });
            scene.start_nginx(scene.servers.len() - 1)?;
        }
        scene.configure()?;
        scene.up()?;
        scene.took = begun.elapsed();
        Ok(scene)
    }

    /// The picture, and that xlvs is where it should be.
    pub fn introduce(&self, telling: &Telling) {
        let count = self.servers.len();
        telling.line(format_args!(
            "\n  client {} ── eth0 [ director, VIP {SERVICE} ] eth1 ── {count} real servers {}–{}",
            xlvs_tests::topology::client_address(0),
            server_address(0),
            server_address(count - 1),
        ));
        telling.line(format_args!(
            "  a network namespace each; nginx on the servers; the director does not forward, xlvs does (NAT); {:.1} s",
            self.took.as_secs_f64()
        ));
    }

    // ---- real servers

    pub fn weights(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.weight).collect()
    }

    pub fn names(&self) -> Vec<String> {
        (0..self.servers.len()).map(server_name).collect()
    }

    /// The nginx of a server that runs.
    pub fn nginx(&self, server: usize) -> Result<&Nginx> {
        let nginx = self.servers.get(server).and_then(|server| server.nginx.as_ref());
        nginx.with_context(|| format!("{} runs no nginx", server_name(server)))
    }

    /// Starts a server's nginx, or starts it again.
    pub fn start_nginx(&mut self, server: usize) -> Result<()> {
        self.servers[server].nginx = None;
        let machine = &self.topology.servers()[server];
        let plan = NginxPlan { big_file: FILE, ..NginxPlan::new(&machine.name) };
        self.servers[server].nginx = Some(Nginx::start(&machine.namespace, &plan)?);
        Ok(())
    }

    /// One more machine with a running nginx, which no configuration names yet.
    pub fn add_server(&mut self, weight: u32) -> Result<usize> {
        let server = self.topology.add_server(Delivery::Nat)?;
        self.servers.push(RealServer { weight, nginx: None });
        self.start_nginx(server)?;
        Ok(server)
    }

    // ---- xlvs

    /// Writes the configuration file: all servers there are now.
    pub fn configure(&self) -> Result<()> {
        let mut service = ServiceText::new("web", SERVICE.port(), Delivery::Nat).health(&format!(
            "kind = \"http\"\npath = \"/healthz\"\ninterval = \"{}ms\"\ntimeout = \"{}ms\"\nrise = {RISE}\nfall = {FALL}",
            INTERVAL.as_millis(),
            TIMEOUT.as_millis()
        ));
        for (machine, server) in self.topology.servers().iter().zip(&self.servers) {
            service = service.server(machine, server.weight);
        }
        self.installation.configure(service)
    }

    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Starts an agent and returns when it is ready.
    pub fn up(&mut self) -> Result<()> {
        self.agent = Some(self.installation.up()?);
        Ok(())
    }

    /// `kill -9` of the agent; its pid.
    pub fn kill_agent(&mut self) -> Result<u32> {
        let agent = self.agent.take().context("no agent runs")?;
        let pid = agent.pid();
        agent.kill()?;
        Ok(pid)
    }

    /// Connections ever given to the service, by `xlvs status`.
    pub fn connections_total(&self) -> Result<u64> {
        let status = self.installation.status()?;
        status["services"][0]["connections_total"].as_u64().context("the service has no connections_total")
    }

    /// Connections ever given to each server, by `xlvs status`.
    pub fn connections_by_server(&self) -> Result<Vec<u64>> {
        let status = self.installation.status()?;
        let servers = status["services"][0]["servers"].as_array().context("status shows no servers")?;
        let total = |server: &Value| {
            server["connections_total"].as_u64().context("a server has no connections_total")
        };
        servers.iter().map(total).collect()
    }

    // ---- what a reader types

    /// `xlvs VERB`, for this installation.
    pub fn xlvs(&self, verb: &str) -> String {
        let binary = agent::binary().map_or_else(|_| "xlvs".to_owned(), |path| short(&path));
        format!("{}{binary} -c {} {verb}", sudo(), self.installation.config().display())
    }

    /// `curl ARGUMENTS` at the client.
    pub fn curl(&self, arguments: &str) -> String {
        let namespace = self.topology.client().path();
        let known =
            env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join("curl").is_file());
        let curl = if known { Ok("curl".to_owned()) } else { tools::find("curl").map(|path| short(&path)) };
        let curl = curl.unwrap_or_else(|_| "curl".to_owned());
        format!("{}nsenter --net={} {curl} -s {arguments}", sudo(), namespace.display())
    }

    /// What is worth a try while everything is up.
    pub fn commands(&self) -> Vec<String> {
        let verbs = ["status", "servers", "connections", "drops", "drain web rs1"];
        let mut commands: Vec<String> = verbs.iter().map(|verb| self.xlvs(verb)).collect();
        commands.push(self.curl(&format!("http://{VIP}/")));
        commands
    }

    /// Every file or folder of ours outside the processes' memory: none may be there in the end.
    pub fn traces(&self) -> Vec<PathBuf> {
        let machines = [self.topology.client(), self.topology.director(), self.topology.switch()];
        let servers = self.topology.servers().iter().map(|server| &server.namespace);
        let namespaces = machines.into_iter().chain(servers).map(xlvs_tests::namespace::Namespace::path);
        let files = self.servers.iter().filter_map(|server| server.nginx.as_ref()).map(Nginx::big_file);
        let own = [self.installation.pins().to_owned(), self.installation.folder().to_owned()];
        namespaces.chain(files).chain(own).collect()
    }
}

/// Relative to where the reader is, when that is above it.
fn short(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(&path).display().to_string()
}

/// A reader who is not root needs it in front.
fn sudo() -> &'static str {
    if env::var_os("SUDO_USER").is_some() { "sudo " } else { "" }
}
