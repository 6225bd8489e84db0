//! A way from the client to the server: a network of its own, with whatever forwards in it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xlvs_tests::agent::{Agent, Installation};
use xlvs_tests::curl;
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, VIP, Wiring, server_address};
use xlvs_tests::wrk::{WrkPlan, WrkReport, wrk};

use super::floor::Floor;
use super::proxies::{self, Proxy};

/// What forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing: the client asks the server.
    Direct,
    /// A program that writes the server's MAC.
    Floor,
    XlvsDr,
    XlvsNat,
    IpvsDr,
    IpvsNat,
    Haproxy,
    NginxStream,
    Nftables,
}

/// Connections that wrk holds, or opens again and again.
const CONNECTIONS: usize = 64;

/// Everything that a way takes, idle until it is used.
pub struct Way {
    pub kind: Kind,
    // In this order: what forwards, then servers, then the network.
    forwards: Forwards,
    _server: Nginx,
    topology: Topology,
}

enum Forwards {
    Kernel,
    Floor(#[expect(dead_code, reason = "attached as long as it lives")] Floor),
    Proxy(#[expect(dead_code, reason = "runs as long as it lives")] Proxy),
    Xlvs(#[expect(dead_code, reason = "runs as long as it lives")] Agent, Installation),
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Floor,
        Self::XlvsDr,
        Self::XlvsNat,
        Self::IpvsDr,
        Self::IpvsNat,
        Self::Haproxy,
        Self::NginxStream,
        Self::Nftables,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct connection",
            Self::Floor => "floor: the server's MAC",
            Self::XlvsDr => "xlvs DR",
            Self::XlvsNat => "xlvs NAT",
            Self::IpvsDr => "IPVS DR",
            Self::IpvsNat => "IPVS NAT",
            Self::Haproxy => "HAProxy (TCP)",
            Self::NginxStream => "nginx stream",
            Self::Nftables => "nftables DNAT",
        }
    }

    /// Whether a machine need not have it.
    pub const fn is_a_peer(self) -> bool {
        matches!(self, Self::IpvsDr | Self::IpvsNat | Self::Haproxy | Self::NginxStream | Self::Nftables)
    }

    /// One wire for all; what runs in the kernel or above gets veths as the kernel has them, since stubs and checksums in
    /// software are what XDP alone needs.
    fn plan(self, wiring: Wiring) -> Plan {
        let delivery = match self {
            Self::Direct | Self::Floor | Self::XlvsDr | Self::IpvsDr => Delivery::DirectRouting,
            _ => Delivery::Nat,
        };
        Plan {
            wiring,
            kernel_forwards: matches!(self, Self::IpvsNat | Self::Nftables),
            ready_for_xdp: matches!(self, Self::Floor | Self::XlvsDr | Self::XlvsNat),
            ..Plan::new(Layout::OneArm, delivery, 1)
        }
    }

    /// The verdict of packets to the server.
    const fn verdict(self) -> Option<&'static str> {
        match self {
            Self::XlvsDr => Some("forwarded_dr"),
            Self::XlvsNat => Some("forwarded_nat"),
            _ => None,
        }
    }

    fn target(self) -> Ipv4Addr {
        if self == Self::Direct { server_address(0) } else { VIP }
    }
}

impl Way {
    /// Built, and forwarding.
    pub fn build(kind: Kind, wiring: Wiring) -> Result<Self> {
        let topology = Topology::build(&kind.plan(wiring))?;
        let server = &topology.servers()[0];
        let plan = NginxPlan { big_file: 1, ..NginxPlan::new(&server.name) };
        let nginx = Nginx::start(&server.namespace, &plan)?;
        let forwards = forwards(kind, &topology).with_context(|| kind.name())?;
        Ok(Self { kind, forwards, _server: nginx, topology })
    }

    /// Requests for so long. An error if one of them failed, or if xlvs says of itself that it was not asked.
    pub fn load(&self, duration: Duration, keep_alive: bool) -> Result<WrkReport> {
        let url = curl::url(self.kind.target(), 80, "");
        let plan = WrkPlan { url, connections: CONNECTIONS, duration, keep_alive };
        let before = self.forwarded()?;
        let report = wrk(self.topology.client(), &plan)?;
        ensure!(report.errors() == 0 && report.requests > 0, "{}: {report}", self.kind.name());
        if let (Some(before), Some(after)) = (before, self.forwarded()?) {
            // A packet a request at least; SYN, ACK, request and FIN where each has a connection.
            let least = if keep_alive { report.requests } else { 4 * report.requests };
            ensure!(
                after - before >= least,
                "{}: {} packets carry {report}",
                self.kind.name(),
                after - before
            );
        }
        Ok(report)
    }

    /// Packets that xlvs handed to the server so far.
    fn forwarded(&self) -> Result<Option<u64>> {
        let (Forwards::Xlvs(_, installation), Some(verdict)) = (&self.forwards, self.kind.verdict()) else {
            return Ok(None);
        };
        let status = installation.status()?;
        status["verdicts"][verdict]
            .as_u64()
            .with_context(|| format!("no verdict {verdict} in {status}"))
            .map(Some)
    }
}

fn forwards(kind: Kind, topology: &Topology) -> Result<Forwards> {
    let director = topology.director();
    Ok(match kind {
        Kind::Direct => {
            // Past the router, which does not forward.
            topology.client().ip("route add 10.77.2.0/24 dev eth0")?;
            Forwards::Kernel
        }
        Kind::Floor => Forwards::Floor(Floor::attach(topology)?),
        Kind::XlvsDr => xlvs(topology, Delivery::DirectRouting)?,
        Kind::XlvsNat => xlvs(topology, Delivery::Nat)?,
        Kind::IpvsDr | Kind::IpvsNat => {
            proxies::ipvs(director, if kind == Kind::IpvsDr { "-g" } else { "-m" })?;
            Forwards::Kernel
        }
        Kind::Haproxy => Forwards::Proxy(Proxy::haproxy(director)?),
        Kind::NginxStream => Forwards::Proxy(Proxy::nginx(director)?),
        Kind::Nftables => {
            proxies::nftables(director)?;
            Forwards::Kernel
        }
    })
}

fn xlvs(topology: &Topology, delivery: Delivery) -> Result<Forwards> {
    let installation = Installation::new(topology.director(), topology.director_interfaces(), "")?;
    installation.configure(ServiceText::new("web", 80, delivery).server(&topology.servers()[0], 1))?;
    let agent = installation.up()?;
    Ok(Forwards::Xlvs(agent, installation))
}
