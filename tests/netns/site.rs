//! Where a test takes place: a client, a director with an installation of xlvs, and real servers.

use std::fmt::Display;
use std::net::{SocketAddr, SocketAddrV4};

use xlvs_tests::agent::Installation;
use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout, Plan, Server, Topology, VIP, vip};
use xlvs_tests::traffic::{EchoServer, Greeting};

/// Where clients find the service `web` over IPv4.
pub const WEB: SocketAddrV4 = SocketAddrV4::new(VIP, 80);

/// Machines and an installation; nothing is attached yet.
pub struct Site {
    // Before the machines: dropping it detaches.
    pub installation: Installation,
    pub topology: Topology,
    pub delivery: Delivery,
    /// Of VIP and servers in the configuration.
    pub family: Family,
}

impl Site {
    /// So many servers behind a director, all of them reached the same way.
    pub fn build(layout: Layout, delivery: Delivery, servers: usize) -> Self {
        Self::of_plan(&Plan::new(layout, delivery, servers), "")
    }

    /// Servers behind a director with an interface each way, by NAT.
    pub fn nat(servers: usize) -> Self {
        Self::build(Layout::TwoArm, Delivery::Nat, servers)
    }

    /// Clients, director and servers on one wire, by direct routing.
    pub fn direct(servers: usize) -> Self {
        Self::build(Layout::OneArm, Delivery::DirectRouting, servers)
    }

    /// A site of a plan's own; `settings` are more lines of `[agent]`.
    pub fn of_plan(plan: &Plan, settings: &str) -> Self {
        let topology = Topology::build(plan).unwrap();
        let interfaces = topology.director_interfaces();
        let installation = Installation::new(topology.director(), interfaces, settings).unwrap();
        Self { installation, topology, delivery: plan.delivery, family: Family::V4 }
    }

    pub fn client(&self) -> &Namespace {
        self.topology.client()
    }

    pub fn director(&self) -> &Namespace {
        self.topology.director()
    }

    pub fn servers(&self) -> &[Server] {
        self.topology.servers()
    }

    /// Where clients find the service `web`.
    pub fn target(&self) -> SocketAddr {
        SocketAddr::new(vip(self.family), WEB.port())
    }

    /// The address that server `index` listens on: its own, or the VIP in direct routing.
    pub fn listen(&self, index: usize) -> SocketAddr {
        match self.delivery {
            Delivery::Nat => SocketAddr::new(self.servers()[index].address_in(self.family), WEB.port()),
            Delivery::DirectRouting => self.target(),
        }
    }

    /// An echo server on server `index`; gone when dropped, as with the end of its process.
    pub fn serve(&self, index: usize) -> EchoServer {
        self.serve_at(index, self.listen(index))
    }

    /// Likewise on each server's own address: there, checks are answered by direct routing.
    pub fn serve_checks(&self) -> Vec<EchoServer> {
        let own = |index: usize| {
            SocketAddr::new(self.servers()[index].address_in(self.family), self.target().port())
        };
        (0..self.servers().len()).map(|index| self.serve_at(index, own(index))).collect()
    }

    fn serve_at(&self, index: usize, listen: SocketAddr) -> EchoServer {
        let server = &self.servers()[index];
        EchoServer::start(&server.namespace, &server.name, listen, Greeting::OnRequest).unwrap()
    }

    /// An echo server on each server.
    pub fn serve_all(&self) -> Vec<EchoServer> {
        (0..self.servers().len()).map(|index| self.serve(index)).collect()
    }

    /// The service `web` over these servers, by index and weight.
    pub fn web(&self, servers: &[(usize, u32)]) -> ServiceText {
        let web = ServiceText::over(self.family, "web", WEB.port(), self.delivery);
        servers.iter().fold(web, |web, &(index, weight)| web.server(&self.servers()[index], weight))
    }

    /// The service `web` over these servers, all of weight 1.
    pub fn web_of(&self, servers: &[usize]) -> ServiceText {
        self.web(&servers.iter().map(|&index| (index, 1)).collect::<Vec<_>>())
    }

    /// Makes this the configuration file.
    pub fn configure(&self, text: impl Display) {
        self.installation.configure(text).unwrap();
    }

    /// Makes this the configuration file and reloads.
    pub fn reload(&self, text: impl Display) {
        self.configure(text);
        self.installation.reload().unwrap();
    }
}

/// The service of this name in a status document.
pub fn service<'a>(status: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap()
}

/// The server of this name of the service `web` in a status document.
pub fn server<'a>(status: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let servers = service(status, "web")["servers"].as_array().unwrap();
    servers.iter().find(|server| server["name"] == name).unwrap()
}
