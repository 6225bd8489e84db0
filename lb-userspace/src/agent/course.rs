//! What the data path would do with a frame, in the names and words that people know.

use std::net::IpAddr;

use lb_common::entry::{Rule, ServerState};
use lb_common::net::Protocol;
use lb_common::slot::ServerId;
use lb_common::stage::Stage;
use lb_common::verdict::{Action, Event, Verdict};

use super::desired::DesiredService;
use super::install::Installation;
use crate::api::{self, Candidate, Decision, ExplainReport, ExplainedFrame, Hex, Schema};
use crate::config::{Model, Scheduler};
use crate::dataplane::Course;
use crate::packet::{self, Ends};

/// What the numbers of a course are looked up in.
pub(super) struct Books<'a> {
    pub(super) installation: &'a Installation,
    pub(super) wanted: &'a [DesiredService],
    pub(super) model: &'a Model,
}

impl Books<'_> {
    /// The course of a frame that comes in through this interface. With `candidates`, which server it goes to is not known,
    /// but that it is one of them.
    pub(super) fn report(
        &self,
        interface: String,
        frame: Vec<u8>,
        course: Course,
        candidates: Vec<Candidate>,
    ) -> ExplainReport {
        let ends = packet::ends(&frame);
        let names = course.server.and_then(|id| self.names_of(id));
        let service = names.as_ref().map(|(service, _)| service.clone());
        let known = course.server.filter(|_| candidates.is_empty());
        let (server_address, server_port) = known.map_or((None, None), |id| self.end_of(id, ends, &course));
        ExplainReport {
            schema: Schema,
            protocol: ends.map(|ends| match ends.protocol {
                Protocol::Tcp => api::Protocol::Tcp,
                Protocol::Udp => api::Protocol::Udp,
            }),
            source: ends.map(|ends| ends.source),
            destination: ends.map(|ends| ends.destination),
            interface,
            service: service.or_else(|| self.installation.service_name(self.wanted, course.service?)),
            decision: decision(&course),
            server: known.and(names).map(|(_, server)| server),
            server_address,
            server_port,
            verdict: course.verdict.name().to_owned(),
            stage: stage_name(course.stage).to_owned(),
            events: course.events.iter().map(|event| event.name().to_owned()).collect(),
            why: why(ends, &course, self.rule_for(ends, &course), &self.picked_by(&course), candidates.len()),
            candidates,
            assumed: Vec::new(),
            after: course.frame.map(told),
            before: told(frame),
        }
    }

    /// Service and server of a pair.
    pub(super) fn names_of(&self, id: ServerId) -> Option<(String, String)> {
        let names = self.installation.names(self.wanted).into_iter();
        names.filter(|(held, ..)| *held == id).map(|(_, service, server)| (service, server)).next()
    }

    /// The address of a server, and the port that the packet has there.
    pub(super) fn end_of(
        &self,
        id: ServerId,
        ends: Option<Ends>,
        course: &Course,
    ) -> (Option<IpAddr>, Option<u16>) {
        let Some(server) = self.installation.maps.servers.get(id.index()) else { return (None, None) };
        let hit = ends.map(|ends| if is_reply(course) { ends.source } else { ends.destination }.port());
        let port = ServerState::from_word(server.state.load()).port.to_host();
        (Some(server.address.load().into()), Some(port).filter(|port| *port != 0).or(hit))
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
        let service = course.service.and_then(|number| self.installation.service_name(self.wanted, number));
        let service = service.and_then(|name| self.model.service(&name));
        let scheduler = service.map_or(Scheduler::Maglev, |service| service.scheduler);
        let how = match scheduler {
            _ if course.events.contains(&Event::AffinityFollowed) => "where its client was before",
            Scheduler::Maglev => "by the service's table",
            Scheduler::Least => "as the one of two candidates with fewer connections for its weight",
            Scheduler::Wrr => "because it is its turn, by weight, on this CPU",
            Scheduler::Rr => "because it is its turn on this CPU",
            Scheduler::Source => "by the client's address",
            Scheduler::Random => "at random (another time it may be another one)",
        };
        let limited =
            if course.events.contains(&Event::Overflowed) { ", for the one before it is full" } else { "" };
        format!("{how}{limited}")
    }
}

fn told(frame: Vec<u8>) -> ExplainedFrame {
    ExplainedFrame { text: packet::told(&frame), bytes: Hex(frame) }
}

pub(super) fn is_reply(course: &Course) -> bool {
    match course.stage {
        Some(Stage::Reply | Stage::FullNatReply) => true,
        Some(Stage::Heir) => course.verdict == Verdict::ForwardedNatReply,
        _ => false,
    }
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
        Some(Stage::Heir) => "heir",
    }
}

pub(super) fn decision(course: &Course) -> Decision {
    match (course.server, course.stage) {
        (None, _) => Decision::None,
        (Some(_), None | Some(Stage::Meter | Stage::FullNat)) => Decision::Entry,
        (Some(_), Some(Stage::Quic)) if course.is_named() => Decision::Named,
        (Some(_), Some(Stage::Quic)) => Decision::Flow,
        (Some(_), Some(Stage::Arrival | Stage::Lease)) => Decision::Pick,
        (Some(_), Some(Stage::Heir)) => Decision::Replica,
        (Some(_), Some(Stage::Notice)) => Decision::None,
        (Some(_), Some(Stage::Reply | Stage::FullNatReply)) => Decision::Reply,
        (Some(_), Some(Stage::Icmp | Stage::FullNatIcmp)) => Decision::Quoted,
        (Some(_), Some(Stage::Fragment)) => Decision::Fragment,
    }
}

/// How the data path gets there, in order.
fn why(
    ends: Option<Ends>,
    course: &Course,
    rule: Option<String>,
    picked_by: &str,
    candidates: usize,
) -> Vec<String> {
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
        (Some(Stage::Heir), _) => {
            "the connection table has no entry, and another director held its connection".to_owned()
        }
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
    steps.extend(course.server.map(|id| match candidates {
        0 => server_step(course, id, picked_by),
        _ => format!("one of {candidates} servers is picked {picked_by}"),
    }));
    steps.extend(course.events.iter().map(|event| format!("{}: {}", event.name(), event.meaning())));
    steps.push(format!("{}: {}", course.verdict.name(), course.verdict.meaning()));
    if course.verdict.action() == Action::Send {
        steps.extend(course.back.map(|back| {
            let way = if back { "by the interface it came in through" } else { "through another interface" };
            format!("it leaves {way}")
        }));
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
        Some(Stage::Heir) => format!("its replica names server id {id}"),
        Some(Stage::Notice) => format!("it was for server id {id}"),
        Some(Stage::Icmp | Stage::FullNatIcmp) => format!("the quoted connection is at server id {id}"),
        Some(Stage::Fragment) => format!("the datagram is for server id {id}"),
    }
}
