//! A plain model of the balancer: for each packet, everything that may be done with it.
//!
//! It shares no code with the data path: its own reading of frames, its own rewriting with checksums summed over all the
//! bytes, and hash maps where the data path has tables. It does not know where a flow hashes to. What it cannot know it
//! keeps open: a packet has [`Alternative`]s, the engine's deed must be one of them, and what all that fit have in
//! common is known from then on. So the first packet of a connection may go to any server that the table holds, and
//! each later one to that server alone; a flow that once went by a table must go there whenever that table is back.
//!
//! Not modelled: a flow table that is full (nobody is evicted there, from the ports of full NAT alone), counters, and who shares
//! a hash with whom.

mod full_nat;
mod heirs;
mod inbound;
mod leases;
mod life;
mod notices;
mod outbound;
mod parts;
mod quic;
mod reading;
mod rewriting;
pub mod soundness;
mod tables;
pub mod trial;
mod tunnels;

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::datapath::FIRST_TICK;
use crate::datapath::world::{Hop, Mode, Protocol, Server, Service, Side, World};
use crate::fixture::Observation;
use leases::{Leases, Lent};
use life::Connection;
use parts::{Datagram, Trail};
use reading::Reading;
use rewriting::Expected;
use tables::{Fact, Known};
use tunnels::Told;

/// Who talks to which VIP, by which ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Flow {
    client: IpAddr,
    client_port: u16,
    vip: IpAddr,
    vip_port: u16,
    protocol: Protocol,
}

/// What may stand in the flow table for a flow.
type Belief = Option<Connection>;

/// One thing that may be done with a packet, and what is true afterwards.
#[derive(Clone, Debug)]
struct Alternative {
    verdict: &'static str,
    fate: Fate,
    /// What stands in the flow table for this flow then.
    stored: Option<(Flow, Belief)>,
    /// What stands among the ports of full NAT for this flow then.
    lent: Option<(Flow, Lent)>,
    /// What the tables must say for it to be done.
    facts: Vec<Fact>,
    /// The neighbour by whom this client's packets come.
    heard: Option<(IpAddr, Hop)>,
    /// Where the other parts of its datagram must go.
    trail: Option<(Datagram, Trail)>,
    /// What a router says of a tunnel, and is believed.
    told: Option<Told>,
}

#[derive(Clone, Debug)]
enum Fate {
    Passed,
    Dropped,
    Sent(Side, Expected),
}

impl Alternative {
    const fn of(verdict: &'static str, fate: Fate) -> Self {
        Self {
            verdict,
            fate,
            stored: None,
            lent: None,
            facts: Vec::new(),
            heard: None,
            trail: None,
            told: None,
        }
    }

    const fn passed(verdict: &'static str) -> Self {
        Self::of(verdict, Fate::Passed)
    }

    const fn dropped(verdict: &'static str) -> Self {
        Self::of(verdict, Fate::Dropped)
    }

    fn storing(self, flow: Flow, belief: Belief) -> Self {
        Self { stored: Some((flow, belief)), ..self }
    }

    fn lending(self, flow: Flow, lent: Lent) -> Self {
        Self { lent: Some((flow, lent)), ..self }
    }

    fn given(self, facts: Vec<Fact>) -> Self {
        Self { facts, ..self }
    }

    /// Why this is not what was seen; `None`: it is.
    fn deviation(&self, from: Side, input: &[u8], seen: &Observation) -> Option<String> {
        let moved: Vec<(&str, i64)> =
            seen.verdicts.iter().filter(|(_, n)| **n != 0).map(|(name, n)| (name.as_str(), *n)).collect();
        if moved != [(self.verdict, 1)] {
            return Some(format!("not {}", self.verdict));
        }
        let (action, expected) = match &self.fate {
            Fate::Dropped => (1, None),
            Fate::Passed => (2, Some(Expected::same(input))),
            Fate::Sent(side, expected) => (if *side == from { 3 } else { 4 }, Some(expected.clone())),
        };
        if seen.action != action {
            return Some(format!("{}: action {} instead of {action}", self.verdict, seen.action));
        }
        let told = expected?.deviation(input, &seen.output)?;
        Some(format!("{}: {told}", self.verdict))
    }
}

/// The balancer as it should be.
#[derive(Debug)]
pub struct Oracle {
    world: World,
    now: u64,
    /// Flows of which nothing is known are not stored.
    beliefs: HashMap<Flow, Vec<Belief>>,
    leases: Leases,
    tables: Known,
    /// By whom clients were heard.
    paths: HashMap<IpAddr, Hop>,
    /// Where first parts of datagrams may have gone.
    trails: HashMap<Datagram, Vec<Option<Trail>>>,
    /// What routers have said of the ways to servers.
    told: HashMap<usize, Told>,
}

impl Oracle {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            world,
            now: u64::from(FIRST_TICK),
            beliefs: HashMap::new(),
            leases: Leases::default(),
            tables: Known::default(),
            paths: HashMap::new(),
            trails: HashMap::new(),
            told: HashMap::new(),
        }
    }

    /// The agent has changed the world.
    pub fn install(&mut self, world: World) {
        self.world = world;
    }

    /// So many ticks have passed.
    pub fn pass(&mut self, ticks: u32) {
        self.now += u64::from(ticks);
    }

    /// Looks at what was done with a frame, and learns from it.
    ///
    /// # Errors
    /// It should not have been done; the text says what might have been.
    pub fn judge(&mut self, from: Side, frame: &[u8], seen: &Observation) -> Result<()> {
        let (mut fitting, mut others) = (Vec::new(), Vec::new());
        for alternative in self.alternatives(from, frame) {
            match alternative.deviation(from, frame, seen) {
                None => fitting.push(alternative),
                Some(told) => others.push(told),
            }
        }
        if fitting.is_empty() {
            let did: Vec<&String> =
                seen.verdicts.iter().filter(|(_, n)| **n != 0).map(|(name, _)| name).collect();
            others.dedup();
            bail!("action {} under {did:?} is none of what may be done: {}", seen.action, others.join("; "));
        }
        self.learn(&fitting);
        Ok(())
    }

    /// How many connections are certainly stored.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.beliefs.values().filter(|beliefs| beliefs.iter().all(Option::is_some)).count()
    }

    /// Everything that may be done with a frame.
    fn alternatives(&self, from: Side, frame: &[u8]) -> Vec<Alternative> {
        let packet = match reading::read(frame) {
            Ok(packet) => packet,
            Err(verdict) => return vec![Alternative::passed(verdict)],
        };
        if !self.is_vip(packet.destination) {
            let all = self.not_to_vip(frame, &packet);
            return self.error_about_tunnel(frame, &packet, all);
        }
        let mut all = self.to_vip(from, frame, &packet);
        // Without a flow table it may be forgotten at once to whom it was to go.
        if !self.world.flows && all.iter().any(|one| one.verdict == "replied_too_big") {
            all.push(Alternative::dropped("dropped_too_big"));
        }
        all
    }

    /// What all alternatives have in common that fit is true.
    fn learn(&mut self, fitting: &[Alternative]) {
        let common = |fact: &&Fact| fitting.iter().all(|other| other.facts.contains(fact));
        for fact in fitting[0].facts.iter().filter(common) {
            self.tables.learn(fact);
        }
        let mut touched: HashMap<Flow, Vec<Belief>> = HashMap::new();
        for (flow, belief) in fitting.iter().filter_map(|alternative| alternative.stored) {
            let beliefs = touched.entry(flow).or_default();
            if !beliefs.contains(&belief) {
                beliefs.push(belief);
            }
        }
        // Switched off, the table keeps what it has for the time it is switched on again.
        if !self.world.flows {
            touched.clear();
        }
        for (flow, mut beliefs) in touched {
            if !fitting.iter().all(|one| one.stored.is_some_and(|(other, _)| other == flow)) {
                beliefs.extend(self.beliefs(&flow));
            }
            self.beliefs.insert(flow, beliefs);
        }
        self.learn_leases(fitting);
        if let Some((datagram, _)) = fitting.iter().find_map(|one| one.trail) {
            let before = self.trails.get(&datagram).cloned().unwrap_or_else(|| vec![None]);
            let after = fitting.iter().flat_map(|one| match one.trail {
                Some((_, trail)) => vec![Some(trail)],
                None => before.clone(),
            });
            self.trails.insert(datagram, after.collect());
        }
        if let Some(told) = fitting[0].told {
            self.told.insert(told.server, told);
        }
        if let Some((client, hop)) = fitting[0].heard {
            self.paths.insert(client, hop);
        }
    }

    /// What may be stored for a flow. Without a flow table nothing is looked at.
    fn beliefs(&self, flow: &Flow) -> Vec<Belief> {
        self.beliefs.get(flow).cloned().unwrap_or_else(|| vec![None])
    }

    fn server(&self, number: usize) -> &Server {
        &self.world.servers[number].1
    }

    /// The service that this server is one of.
    fn service_of(&self, server: usize) -> &Service {
        &self.world.services[self.world.servers[server].0.0]
    }

    /// The service that listens there, by its number: on this port, or else on any.
    fn listener(&self, vip: IpAddr, port: u16, protocol: Protocol) -> Option<usize> {
        let at = |port| {
            let mut services = self.world.services.iter();
            services.position(|one| (one.vip, one.port, one.protocol) == (vip, port, protocol))
        };
        at(port).or_else(|| at(0))
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        self.world.services.iter().any(|service| service.vip == address)
    }

    /// The port on which a server is reached; 0: the one that was hit.
    fn port_of(&self, server: usize) -> u16 {
        let known = if self.world.ports_known { self.service_of(server).port } else { 0 };
        match self.server(server).port {
            0 => known,
            port => port,
        }
    }

    /// The NAT servers that are reached at this address and port.
    fn reached_at(&self, address: IpAddr, port: u16, protocol: Protocol) -> Vec<usize> {
        let numbers = 0..self.world.servers.len();
        numbers
            .filter(|number| {
                let (server, service) = (self.server(*number), self.service_of(*number));
                let reached = self.port_of(*number);
                service.mode == Mode::Nat
                    && service.protocol == protocol
                    && server.address == address
                    && !server.freed
                    && (reached == port || reached == 0)
            })
            .collect()
    }

    /// The flow of a client's connection that reaches this server on this port, if there can be one.
    fn flow_at(&self, server: usize, client: (IpAddr, u16), hit: u16) -> Option<Flow> {
        let service = self.service_of(server);
        let vip_port = if service.port == 0 { hit } else { service.port };
        // Whoever is reached on the VIP's port is reached on no other.
        if self.port_of(server) == 0 && vip_port != hit {
            return None;
        }
        let (client, client_port) = client;
        Some(Flow { client, client_port, vip: service.vip, vip_port, protocol: service.protocol })
    }

    /// The way to a server; while the agent is silent, the kernel's routing knows better.
    fn way_to_server(&self, server: usize) -> Option<Hop> {
        let told = self.server(server).next_hop;
        let routed = || self.route(self.server(server).address);
        if told.is_some() && self.world.agent_lives { told } else { routed().or(told) }
    }

    /// The way to a client: where it was heard from, or else by the kernel's routing.
    fn way_to_client(&self, client: IpAddr) -> Option<Hop> {
        self.paths.get(&client).copied().or_else(|| self.route(client))
    }

    fn route(&self, to: IpAddr) -> Option<Hop> {
        self.world.routes.iter().find(|(address, _)| *address == to).map(|(_, hop)| *hop)
    }

    /// A packet of no more than one hop ends here; without a way so does any other.
    fn way_out(packet: &Reading, way: Option<Hop>) -> Result<Hop, &'static str> {
        if packet.hops <= 1 {
            return Err("dropped_ttl");
        }
        way.ok_or("dropped_no_next_hop")
    }
}
