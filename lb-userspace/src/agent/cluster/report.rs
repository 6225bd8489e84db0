//! The reports behind `xlvs peers` and the cluster's line of `xlvs status`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use lb_common::slot::ServerId;

use super::Cluster;
use super::events::is_late;
use super::leases::Lack;
use super::pace::Span;
use crate::agent::replicas::Told;
use crate::api::{
    ClusterStanding, ClusterStatus, LossBucket, LossWindow, PeerAbsence, PeerStatus, PeerTraffic,
    PeersReport, Schema, ServiceRecords, rate_of, time_of,
};
use crate::config::Sending;
use crate::dataplane::Maps;
use crate::replication::join::Standing;
use crate::replication::record::{Kind, Target};
use crate::replication::refusal::Refusals;
use crate::replication::traffic::{Tally, Traffic};
use crate::replication::transport::contact::Contact;
use crate::replication::version::NodeId;
use crate::replication::window::Window;

impl Cluster {
    /// Everything there is to know of the other directors. Looks at each record once.
    pub fn peers(&self, maps: &Maps) -> PeersReport {
        PeersReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            cluster: Some(self.status()),
            peers: self.mesh.peers.iter().map(|peer| self.peer(peer.name.as_str(), peer.address)).collect(),
            services: self.services(maps),
            refusals: self.desk.with(|replicator| by_name(replicator.refusals())),
            strangers_total: self.desk.counters.strangers.load(Ordering::Relaxed),
        }
    }

    /// In short.
    pub fn status(&self) -> ClusterStatus {
        self.desk.with(|replicator| {
            let store = replicator.store();
            let (all, own) = (store.live_by_kind(), store.live_of(replicator.origin()));
            ClusterStatus {
                node: self.mesh.node.as_str().to_owned(),
                standing: word(replicator.standing()),
                peers: self.mesh.peers.len() as u64,
                peers_connected: self
                    .mesh
                    .peers
                    .iter()
                    .filter(|peer| replicator.heard_of(NodeId::of(peer.name.as_str())).is_some())
                    .count() as u64,
                peers_late: self.observed.late() as u64,
                records_told: (own.connections + own.leases) as u64,
                records_spared: self.exports.spared() as u64,
                records_held: (all.connections + all.leases - own.connections - own.leases) as u64,
                ports_told: own.leases as u64,
                ports_held: (all.leases - own.leases) as u64,
                ports_lent_otherwise: self.leases.without(Lack::Lent) as u64,
                ports_of_other_pools: self.leases.without(Lack::OtherPool) as u64,
                seats_told: own.seats as u64,
                seats_held: (all.seats - own.seats) as u64,
                records_waiting: replicator.waiting() as u64,
                leader: self.leader().map(str::to_owned),
                replicas: self.told.held() + self.leases.kept() as u64,
                replicas_without_room_total: self.told.no_room(),
            }
        })
    }

    /// What is told, spared and held of each service.
    fn services(&self, maps: &Maps) -> Vec<ServiceRecords> {
        let mut of_targets: HashMap<Target, [u64; 2]> = HashMap::new();
        self.desk.with(|replicator| {
            let own = replicator.origin();
            for (_, entry) in replicator.store().iter() {
                if let Some(connection) = entry.connection().filter(|it| it.class.kind() != Kind::Seat) {
                    let is_held = usize::from(entry.version.origin != own);
                    of_targets.entry(connection.target).or_default()[is_held] += 1;
                }
            }
        });
        let mut services: BTreeMap<&str, ServiceRecords> = BTreeMap::new();
        let mut add = |id: ServerId, add: &dyn Fn(&mut ServiceRecords)| {
            if let Some(name) = self.naming.service(id) {
                add(services.entry(name).or_insert_with(|| ServiceRecords::none_of(name)));
            }
        };
        self.naming.ids().for_each(|id| add(id, &|_| {}));
        for (target, [told, held]) in of_targets {
            if let Some(id) = self.naming.server(target) {
                add(id, &|it| {
                    it.records_told += told;
                    it.records_held += held;
                });
            }
        }
        self.exports.spared_servers().for_each(|id| add(id, &|it| it.records_spared += 1));
        Told::all(maps).chain(self.leases.kept_servers()).for_each(|id| add(id, &|it| it.replicas += 1));
        services.into_values().collect()
    }

    fn peer(&self, name: &str, address: std::net::SocketAddr) -> PeerStatus {
        let (node, now) = (NodeId::of(name), Instant::now());
        self.desk.with(|replicator| {
            let heard = replicator.heard_of(node);
            let lag = heard.and_then(|_| replicator.lag(node, now));
            let session = self.observed.sessions.get(&node).filter(|_| heard.is_some());
            let held = replicator.store().origins().filter(|origin| origin.node == node);
            let (traffic, span) = (replicator.traffic(node), self.pace.of(node));
            let found = self.desk.contact(node).filter(|_| heard.is_none());
            let absence = found.and_then(|(contact, since)| Some((absence(contact)?, since)));
            PeerStatus {
                name: name.to_owned(),
                address,
                connected: heard.is_some(),
                since: session.map(|session| time_of(session.since)),
                absence: absence.as_ref().map(|(absence, _)| absence.clone()),
                absent_since: absence.map(|(_, since)| time_of(SystemTime::now() - (now - since))),
                standing: heard.map(|(_, standing)| word(standing)),
                told: heard.and_then(|_| replicator.tells(node)),
                in_sync: heard.and_then(|_| replicator.in_sync(node)),
                late: lag.filter(|_| self.mesh.send == Sending::Ack).map(|lag| is_late(&lag)),
                in_step: heard.map(|_| replicator.step().is_in_step(node)),
                records_held: held
                    .map(|origin| replicator.store().live_of(origin))
                    .map(|live| (live.connections + live.leases) as u64)
                    .sum(),
                untold: lag.map(|lag| lag.dirty as u64),
                stale: lag.map(|lag| lag.stale),
                oldest_unacknowledged_seconds: lag.map(|lag| {
                    lag.oldest.map_or(0.0, |oldest| (oldest.as_secs_f64() * 1000.0).round() / 1000.0)
                }),
                divergent_buckets: lag.map(|lag| lag.divergent as u64),
                loss_window: loss_window(&traffic.window),
                sent: tally(traffic.sent, span.as_ref(), |traffic| traffic.sent),
                received: tally(traffic.received, span.as_ref(), |traffic| traffic.received),
                refusals: by_name(&replicator.refusals_of(node)),
            }
        })
    }
}

fn by_name(refusals: &Refusals) -> BTreeMap<String, u64> {
    refusals.iter().map(|(refusal, count)| (refusal.name(), count)).collect()
}

/// One direction, which `way` picks.
fn tally(tally: Tally, span: Option<&Span>, way: impl Fn(&Traffic) -> Tally) -> PeerTraffic {
    let rate = |counter: fn(Tally) -> u64| {
        let span = span?;
        rate_of(counter(way(&span.earlier)), counter(way(&span.later)), span.seconds)
    };
    PeerTraffic {
        records_total: tally.records,
        bytes_total: tally.bytes,
        snapshots_total: tally.snapshots,
        records_per_second: rate(|tally| tally.records),
        bytes_per_second: rate(|tally| tally.bytes),
    }
}

fn loss_window(window: &Window) -> LossWindow {
    let seconds = |time: Duration| time.as_secs_f64();
    let bucket = |(bound, connections_total): (Option<Duration>, u64)| LossBucket {
        up_to_seconds: bound.map(seconds),
        connections_total,
    };
    LossWindow {
        p50_seconds: window.percentile(50).map(seconds),
        p99_seconds: window.percentile(99).map(seconds),
        buckets: window.buckets().map(bucket).collect(),
    }
}

fn absence(contact: Contact) -> Option<PeerAbsence> {
    match contact {
        Contact::Session => None,
        Contact::Closed => Some(PeerAbsence::Closed),
        Contact::Silent => Some(PeerAbsence::Silent),
        Contact::Improper => Some(PeerAbsence::Improper),
    }
}

pub(super) fn word(standing: Standing) -> ClusterStanding {
    match standing {
        Standing::Init => ClusterStanding::Init,
        Standing::Connect => ClusterStanding::Connect,
        Standing::Snapshot => ClusterStanding::Snapshot,
        Standing::CatchUp => ClusterStanding::CatchUp,
        Standing::Ready => ClusterStanding::Ready,
        Standing::Serving => ClusterStanding::Serving,
        Standing::Draining => ClusterStanding::Draining,
    }
}
