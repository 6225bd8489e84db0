//! `xlvs explain` without an agent: the data path as a library, over maps that the agent's own steps fill from the file.
//!
//! What only an agent knows is taken to be so, and said: health, orders, connections, routes and neighbours. Without the key
//! of the flow hash the server of a connection is not known, but who it may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use lb_common::entry::HealthMemo;
use lb_common::identity::{HashKey, mix};
use lb_common::net::PortNumber;
use lb_common::slot::Geometry;
use lb_common::stage::Stage;
use lb_common::verdict::Verdict;
use lb_common::wire::Tags;

use super::actor::refused;
use super::course::{Books, is_reply};
use super::desired::{self, DesiredService};
use super::eligible::Circumstances;
use super::explain::of_ends;
use super::install::Installation;
use super::standing::{self, Standings};
use super::{key, pool, ports, sizes};
use crate::api::{Candidate, ExplainReport, Failure, FailureKind};
use crate::config::{self, Model};
use crate::control::{FrameQuery, PacketQuery};
use crate::dataplane::{Course, Maps, rehearse};
use crate::net::{Link, Mac, NextHop, Route, View};
use crate::packet::{self, Ends};

/// The only interface. Its frames have no tags.
const INTERFACE: u32 = 2;
/// Whoever is next on any way.
const NEIGHBOUR: Mac = [0x02, 0, 0, 0, 0, 3];
/// Keys that are tried for one under which a connection is at a certain server: enough for a share of a hundredth.
const KEYS_TRIED: u64 = 2048;

/// A data path of this process alone.
pub struct FromFile {
    installation: Installation,
    wanted: Vec<DesiredService>,
    model: Model,
    interfaces: Vec<String>,
    geometry: Geometry,
    /// Why the key is not known.
    without_key: Option<String>,
}

impl FromFile {
    /// As the file would have it.
    ///
    /// # Errors
    /// What there is no room for, as `xlvs up` would say it.
    pub fn new(model: &Model) -> Result<Self, Failure> {
        let place = key::place(model);
        let (known, without_key) = match key::read(&place) {
            Ok(Some(key)) => (key, None),
            Ok(None) => {
                let folder = place.parent().unwrap_or(&place);
                (some_key(0), Some(format!("there is none in {}", folder.display())))
            }
            Err(error) => (some_key(0), Some(format!("{error:#}"))),
        };
        let sizes = sizes::of(model);
        let maps = Maps::own(&sizes)
            .map_err(|error| refused(anyhow::anyhow!("getting memory for the tables: {error}")))?;
        maps.settings.only().found(&known, sizes.geometry);
        pool::found(maps.pool.only(), &model.fullnat);
        let installation = Installation::of(maps, Instant::now());
        installation.write_settings(desired::limits(&model.datapath.timeouts), &model.datapath);
        let mut it = Self {
            installation,
            wanted: desired::services(model, &all_up(model), &Circumstances::default()),
            model: model.clone(),
            interfaces: model.agent.interfaces.iter().map(|name| name.as_str().to_owned()).collect(),
            geometry: sizes.geometry,
            without_key,
        };
        it.install(&surroundings(model)).map_err(refused)?;
        Ok(it)
    }

    fn install(&mut self, view: &View) -> anyhow::Result<()> {
        let ports = ports::known(&view.links, &[INTERFACE].into(), [].into_iter());
        self.installation.write_ports(&ports, &view.links)?;
        self.installation.reconcile(&self.wanted, view, Instant::now())?;
        self.installation.write_locals(&view.addresses)
    }

    /// # Errors
    /// For a packet that cannot be, or an interface that the file does not name.
    pub fn explain(&self, query: &PacketQuery) -> Result<ExplainReport, Failure> {
        of_ends(query, Tags::NONE, |frame| self.report(frame, query.interface.as_deref()))
    }

    /// # Errors
    /// For a frame that is too short or too long, or an interface that the file does not name.
    pub fn explain_frame(&self, query: &FrameQuery) -> Result<ExplainReport, Failure> {
        self.report(query.frame.0.clone(), query.interface.as_deref())
    }

    fn report(&self, frame: Vec<u8>, interface: Option<&str>) -> Result<ExplainReport, Failure> {
        let interface = self.interface(interface)?;
        let mut course = self.course_of(&frame)?;
        let presumed = self.without_key.is_some() && course.server.is_some() && is_to_client(&course);
        let books = Books { installation: &self.installation, wanted: &self.wanted, model: &self.model };
        let open = self.open(&books, &course);
        let candidates = if open.is_some() { self.candidates(&books, &frame, &course) } else { Vec::new() };
        let is_certain = self.without_key.is_none() || self.is_certain(&frame, &course)?;
        if !candidates.is_empty() || !is_certain {
            course.frame = None;
        }
        let is_sent = course.frame.is_some();
        let mut report = books.report(interface, frame, course, candidates);
        report.assumed = self.assumed(is_sent, presumed, open.filter(|_| !report.candidates.is_empty()));
        Ok(report)
    }

    /// The interface's name, which is all that is known of it.
    fn interface(&self, wanted: Option<&str>) -> Result<String, Failure> {
        let names = &self.interfaces;
        let found = match wanted {
            Some(wanted) if names.is_empty() => Some(wanted.to_owned()),
            Some(wanted) => names.iter().find(|name| *name == wanted).cloned(),
            None => names.first().cloned(),
        };
        found.ok_or_else(|| {
            let what = match wanted {
                Some(wanted) => {
                    format!("the file attaches nothing to {wanted}; name one of {}", names.join(", "))
                }
                None => "the file names no interface; add --iface with the one the packet comes in through"
                    .to_owned(),
            };
            Failure::new(FailureKind::Usage, what)
        })
    }

    /// What becomes of the frame. A reply is one: under a key by which its connection is at its sender, if there is any.
    fn course_of(&self, frame: &[u8]) -> Result<Course, Failure> {
        let course = self.run(frame)?;
        let may_be_reply = matches!(course.stage, Some(Stage::Reply | Stage::Icmp));
        if self.without_key.is_none() || course.server.is_some() || !may_be_reply {
            return Ok(course);
        }
        for number in 1..KEYS_TRIED {
            let other = self.run_under(number, frame)?;
            if other.server.is_some() {
                return Ok(other);
            }
        }
        Ok(course)
    }

    /// Whether the same leaves whatever the key.
    fn is_certain(&self, frame: &[u8], course: &Course) -> Result<bool, Failure> {
        Ok(is_to_client(course) || self.run_under(1, frame)?.frame == course.frame)
    }

    fn run_under(&self, number: u64, frame: &[u8]) -> Result<Course, Failure> {
        let settings = self.installation.maps.settings.only();
        settings.found(&some_key(number), self.geometry);
        let course = self.run(frame);
        settings.found(&some_key(0), self.geometry);
        course
    }

    fn run(&self, frame: &[u8]) -> Result<Course, Failure> {
        let elsewhere = lb_common::net::NextHop { mac: NEIGHBOUR, port: PortNumber::of_interface(INTERFACE) };
        rehearse(&self.installation.maps, INTERFACE, elsewhere, frame).map_err(refused)
    }

    /// Why it is not known which of several servers is picked, if one is.
    fn open(&self, books: &Books<'_>, course: &Course) -> Option<String> {
        let id = course.server.filter(|_| !is_to_client(course) && !course.is_named())?;
        if let Some(why) = &self.without_key {
            return Some(format!("the key of the flow hash: {why}"));
        }
        let (service, _) = books.names_of(id)?;
        let named = |it: &&config::Service| it.name.as_str() == service;
        let scheduler = self.model.services.iter().find(named)?.scheduler;
        let depends_on = match scheduler {
            config::Scheduler::Maglev | config::Scheduler::Source => return None,
            config::Scheduler::Least => "the connections that the servers have",
            config::Scheduler::Wrr | config::Scheduler::Rr => "whose turn it is on the CPU it comes to",
            config::Scheduler::Random => "chance",
        };
        Some(format!("{depends_on} (scheduler {scheduler})"))
    }

    /// The servers of which one is picked, if there are several.
    fn candidates(&self, books: &Books<'_>, frame: &[u8], course: &Course) -> Vec<Candidate> {
        let Some(id) = course.server else { return Vec::new() };
        let ends: Option<Ends> = packet::ends(frame);
        let candidate = |(id, share)| {
            let (address, port) = books.end_of(id, ends, course);
            Some(Candidate { server: books.names_of(id)?.1, address: address?, port, share })
        };
        let shares = self.installation.shares(id);
        if shares.len() > 1 { shares.into_iter().filter_map(candidate).collect() } else { Vec::new() }
    }

    fn assumed(&self, is_sent: bool, presumed: bool, open: Option<String>) -> Vec<String> {
        let mut assumed = vec![
            "no agent was asked: every server is taken to be up, with the weight of the file, and the connection table to be \
             empty"
                .to_owned(),
        ];
        if is_sent {
            assumed.push("the ways are not known: MAC addresses and interfaces are made up".to_owned());
        }
        if presumed {
            assumed.push("the connection is taken to be at the server that the packet is from".to_owned());
        }
        if let Some(what) = open {
            assumed.push(format!("which of the candidates it is depends on {what}"));
        }
        assumed
    }
}

/// Whether it goes from a server to a client, so that the server is the sender.
fn is_to_client(course: &Course) -> bool {
    let replies = [Verdict::ForwardedNatReply, Verdict::ForwardedFullNatReply, Verdict::ForwardedIcmpReply];
    is_reply(course) || replies.contains(&course.verdict)
}

/// A key of no director.
fn some_key(number: u64) -> HashKey {
    HashKey(std::array::from_fn(|word| mix(number << 8 | word as u64) | 1))
}

fn all_up(model: &Model) -> Standings {
    let mut standings = standing::prepared(model, &Standings::new());
    standings.values_mut().for_each(|standing| standing.health = HealthMemo::Up);
    standings
}

/// One interface, on which everybody is.
fn surroundings(model: &Model) -> View {
    let addresses = standing::configured(model).map(|configured| configured.address.ip());
    let ways: BTreeMap<IpAddr, (NextHop, Route)> = addresses
        .map(|ip| {
            // Addresses of nobody (RFC 7600, RFC 6666): what tunnels begin at where the file does not say.
            let source =
                if ip.is_ipv4() { [192, 0, 0, 8].into() } else { [0x100, 0, 0, 0, 0, 0, 0, 1].into() };
            let hop = NextHop { mac: NEIGHBOUR, ifindex: INTERFACE, via: ip };
            (ip, (hop, Route { ifindex: INTERFACE, via: ip, source: Some(source), mtu: None }))
        })
        .collect();
    View {
        hops: ways.iter().map(|(ip, (hop, _))| (*ip, *hop)).collect(),
        routes: ways.iter().map(|(ip, (_, route))| (*ip, *route)).collect(),
        links: [(INTERFACE, Link::ethernet(INTERFACE, "interface"))].into(),
        ..View::default()
    }
}
