//! What the data path would do with a packet: asked of the explaining copy of the program, which stands over the same maps
//! and changes nothing. Here its answer gets the names that people know.

use std::net::IpAddr;

use lb_common::entry::{Rule, ServerState};
use lb_common::net::{PortNumber, Protocol};
use lb_common::slot::ServerId;
use lb_common::stage::Stage;
use lb_common::verdict::{Action, Event, Verdict};
use lb_common::wire::Wire;

use super::actor::{Agent, refused};
use crate::api::{self, Decision, ExplainReport, ExplainedFrame, Failure, FailureKind, Hex, Schema};
use crate::config;
use crate::control::{FrameQuery, PacketQuery};
use crate::dataplane::Course;
use crate::packet::{self, Ends};

impl Agent {
    /// # Errors
    /// For a packet that cannot be, or if the kernel did not take the copy.
    pub(super) fn explain(&mut self, query: &PacketQuery) -> Result<ExplainReport, Failure> {
        let (_, way_in) = self.ingress(query.interface.as_deref())?;
        let frame = |flags| {
            let frame =
                packet::of_query(query, flags).map_err(|what| Failure::new(FailureKind::Usage, what))?;
            Ok::<_, Failure>(packet::dressed(&frame, way_in.tags))
        };
        let report = self.course_of(frame(packet::SYN)?, query.interface.as_deref())?;
        // What a server sends amid a client's connection is no bare SYN, which would be a connection of its own.
        if [Stage::Reply, Stage::FullNatReply].map(|stage| stage_name(Some(stage))).contains(&&*report.stage)
        {
            return self.course_of(frame(packet::SYN_ACK)?, query.interface.as_deref());
        }
        Ok(report)
    }

    /// # Errors
    /// For a frame that is too short or too long, or if the kernel did not take the copy.
    pub(super) fn explain_frame(&mut self, query: &FrameQuery) -> Result<ExplainReport, Failure> {
        self.course_of(query.frame.0.clone(), query.interface.as_deref())
    }

    fn course_of(&mut self, frame: Vec<u8>, interface: Option<&str>) -> Result<ExplainReport, Failure> {
        let (name, way_in) = self.ingress(interface)?;
        let explainer = self.explainer.as_mut().ok_or_else(|| {
            let what = "the kernel did not take the explaining copy of the program; the agent's log says why";
            Failure::new(FailureKind::Refused, what)
        })?;
        let course = explainer.run(way_in.device, &frame).map_err(refused)?;
        Ok(self.report(name, frame, course))
    }

    /// The interface that the packet is to come in through: its name, and where its frames are on the wire.
    fn ingress(&self, wanted: Option<&str>) -> Result<(String, Wire), Failure> {
        let mut attached = self.interfaces.iter();
        let found = match wanted {
            Some(wanted) => attached.find(|interface| interface.name == wanted),
            None => attached.next(),
        };
        let known = found.and_then(|interface| {
            let port = PortNumber::of_interface(interface.index?);
            Some((interface.name.clone(), self.installation.maps.interfaces.get(port.index())?.wire()))
        });
        known.ok_or_else(|| {
            let names: Vec<&str> = self.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            let what = format!(
                "xlvs is not attached to {}; name one of {}",
                wanted.unwrap_or("any interface"),
                names.join(", ")
            );
            Failure::new(FailureKind::Usage, what)
        })
    }

    fn report(&self, interface: String, frame: Vec<u8>, course: Course) -> ExplainReport {
        let ends = packet::ends(&frame);
        let names = course.server.and_then(|id| self.names().into_iter().find(|(held, ..)| *held == id));
        let service = names.as_ref().map(|(_, service, _)| service.clone());
        let server = course.server.and_then(|id| self.installation.maps.servers.get(id.index()));
        let state = server.map(|server| ServerState::from_word(server.state.load()));
        let hit = ends.map(|ends| if is_reply(&course) { ends.source } else { ends.destination }.port());
        ExplainReport {
            schema: Schema,
            protocol: ends.map(|ends| match ends.protocol {
                Protocol::Tcp => api::Protocol::Tcp,
                Protocol::Udp => api::Protocol::Udp,
            }),
            source: ends.map(|ends| ends.source),
            destination: ends.map(|ends| ends.destination),
            interface,
            service: service.or_else(|| course.service.and_then(|number| self.service_name(number))),
            decision: decision(&course),
            server: names.map(|(.., server)| server),
            server_address: server.map(|server| IpAddr::from(server.address.load())),
            server_port: state.and_then(|state| Some(state.port.to_host()).filter(|port| *port != 0).or(hit)),
            verdict: course.verdict.name().to_owned(),
            stage: stage_name(course.stage).to_owned(),
            events: course.events.iter().map(|event| event.name().to_owned()).collect(),
            why: why(ends, &course, self.rule_for(ends, &course), &self.picked_by(&course)),
            after: (course.verdict.action() == Action::Send).then(|| told(course.frame)),
            before: told(frame),
        }
    }

    /// What the lists of the service that was asked say about the client, if it has any.
    fn rule_for(&self, ends: Option<Ends>, course: &Course) -> Option<String> {
        let access = self.installation.access_of(course.service?)?;
        let said = match access.rule(ends?.source.ip()) {
            Some((prefix, Rule::Deny)) => format!("the service's lists deny {prefix}"),
            Some((prefix, Rule::Allow)) => format!("the service's lists allow {prefix}"),
            None => return None,
        };
        Some(said)
    }

    /// How the service that was asked picks.
    fn picked_by(&self, course: &Course) -> String {
        let service = course.service.and_then(|number| self.service_name(number));
        let service = service.and_then(|name| self.model.service(&name));
        let scheduler = service.map_or(config::Scheduler::Maglev, |service| service.scheduler);
        let how = match scheduler {
            _ if course.events.contains(&Event::AffinityFollowed) => "where its client was before",
            config::Scheduler::Maglev => "by the service's table",
            config::Scheduler::Least => "as the one of two candidates with fewer connections for its weight",
            config::Scheduler::Wrr => "because it is its turn, by weight, on this CPU",
            config::Scheduler::Rr => "because it is its turn on this CPU",
            config::Scheduler::Source => "by the client's address",
            config::Scheduler::Random => "at random (another time it may be another one)",
        };
        let limited =
            if course.events.contains(&Event::Overflowed) { ", for the one before it is full" } else { "" };
        format!("{how}{limited}")
    }

    pub(super) fn service_name(&self, number: u32) -> Option<String> {
        let (_, identity) =
            self.installation.ledger.services().find(|(held, _)| u32::from(*held) == number)?;
        self.wanted().into_iter().find(|service| service.identity == *identity).map(|service| service.name)
    }
}

fn told(frame: Vec<u8>) -> ExplainedFrame {
    ExplainedFrame { text: packet::told(&frame), bytes: Hex(frame) }
}

fn is_reply(course: &Course) -> bool {
    matches!(course.stage, Some(Stage::Reply | Stage::FullNatReply))
}

pub(super) fn stage_name(stage: Option<Stage>) -> &'static str {
    match stage {
        None => "entry",
        Some(Stage::Reply) => "reply",
        Some(Stage::Arrival) => "arrival",
        Some(Stage::Icmp) => "icmp",
        Some(Stage::Fragment) => "fragment",
        Some(Stage::Meter) => "meter",
        Some(Stage::Notice) => "notice",
        Some(Stage::Quic) => "quic",
        Some(Stage::FullNat) => "full_nat",
        Some(Stage::Lease) => "lease",
        Some(Stage::FullNatIcmp) => "full_nat_icmp",
        Some(Stage::FullNatReply) => "full_nat_reply",
    }
}

fn decision(course: &Course) -> Decision {
    match (course.server, course.stage) {
        (None, _) => Decision::None,
        (Some(_), None | Some(Stage::Meter | Stage::FullNat)) => Decision::Entry,
        (Some(_), Some(Stage::Quic)) if course.events.contains(&Event::QuicById) => Decision::Named,
        (Some(_), Some(Stage::Quic)) => Decision::Flow,
        (Some(_), Some(Stage::Arrival | Stage::Lease)) => Decision::Pick,
        (Some(_), Some(Stage::Notice)) => Decision::None,
        (Some(_), Some(Stage::Reply | Stage::FullNatReply)) => Decision::Reply,
        (Some(_), Some(Stage::Icmp | Stage::FullNatIcmp)) => Decision::Quoted,
        (Some(_), Some(Stage::Fragment)) => Decision::Fragment,
    }
}

/// How the data path gets there, in order.
fn why(ends: Option<Ends>, course: &Course, rule: Option<String>, picked_by: &str) -> Vec<String> {
    let mut steps = vec![match (course.stage, ends) {
        (None, _) if course.server.is_some() => "the connection table has its entry".to_owned(),
        (None, _) => "the first stage has nothing to ask the tables about it".to_owned(),
        (Some(Stage::Arrival), Some(ends)) if course.verdict != Verdict::PassedNoService => {
            format!(
                "{} is a service's; no entry of the connection table may keep the packet",
                ends.destination
            )
        }
        (Some(Stage::Arrival), _) => "it is to a VIP".to_owned(),
        (Some(Stage::Reply), Some(ends)) => format!("{} may be a real server's", ends.source),
        (Some(Stage::Reply), None) => "it may be from a real server".to_owned(),
        (Some(Stage::Icmp | Stage::FullNatIcmp), _) => "ICMP: judged by the packet it quotes".to_owned(),
        (Some(Stage::Fragment), _) => "part of a datagram: it goes where the first part went".to_owned(),
        (Some(Stage::Quic), _) => "its service lets connection ids name their servers".to_owned(),
        (Some(Stage::Notice), _) => "it goes no further, and its sender may be told".to_owned(),
        (Some(Stage::Meter), _) => {
            "the connection table has its entry, and its service limits the packets of each source".to_owned()
        }
        (Some(Stage::FullNat), _) => "full NAT has lent its connection a port".to_owned(),
        (Some(Stage::Lease), _) => {
            "full NAT has lent its connection no port, or its server is lost".to_owned()
        }
        (Some(Stage::FullNatReply), _) if course.server.is_some() => {
            "it is to a port that full NAT has lent".to_owned()
        }
        (Some(Stage::FullNatReply), _) => {
            "it may be to an address that full NAT sends from, but to no port lent at its sender".to_owned()
        }
    }];
    steps.extend(rule.filter(|_| matches!(course.stage, Some(Stage::Arrival | Stage::Lease))));
    steps.extend(course.server.map(|id| server_step(course, id, picked_by)));
    steps.extend(course.events.iter().map(|event| format!("{}: {}", event.name(), event.meaning())));
    steps.push(format!("{}: {}", course.verdict.name(), course.verdict.meaning()));
    if course.verdict.action() == Action::Send {
        let way =
            if course.back { "by the interface it came in through" } else { "through another interface" };
        steps.push(format!("it leaves {way}"));
    }
    steps
}

fn server_step(course: &Course, id: ServerId, picked_by: &str) -> String {
    let id = id.get();
    match course.stage {
        None | Some(Stage::Meter | Stage::FullNat) => format!("the entry names server id {id}"),
        Some(Stage::Arrival | Stage::Lease) => format!("server id {id} is picked {picked_by}"),
        Some(Stage::Reply | Stage::FullNatReply) => format!("it belongs to a connection of server id {id}"),
        Some(Stage::Quic) => format!("by connection id or flow it goes to server id {id}"),
        Some(Stage::Notice) => format!("it was for server id {id}"),
        Some(Stage::Icmp | Stage::FullNatIcmp) => format!("the quoted connection is at server id {id}"),
        Some(Stage::Fragment) => format!("the datagram is for server id {id}"),
    }
}
