//! `xlvs peers` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{UNKNOWN, age, byte_rate, count, or_unknown, plural};
use crate::api::{ClusterStatus, LossWindow, PeerStatus, PeersReport, ServiceRecords, Time};

impl Render for PeersReport {
    fn table(&self) -> String {
        let Some(cluster) = &self.cluster else { return "this director has no peers\n".to_owned() };
        let columns = [
            Column::Text("DIRECTOR"),
            Column::Text("ADDRESS"),
            Column::Text("SESSION"),
            Column::Text("STANDING"),
            Column::Text("IN SYNC"),
            Column::Text("IN STEP"),
            Column::Number("HELD"),
            Column::Number("UNTOLD"),
            Column::Number("LAG"),
            Column::Number("WINDOW"),
            Column::Number("DIVERGENT"),
            Column::Number("OUT"),
            Column::Number("IN"),
        ];
        let mut text = format!("{}\n\n", summary(cluster));
        text += &table(&columns, self.peers.iter().map(|peer| row(peer, self.at)));
        if !self.services.is_empty() {
            let columns = [
                Column::Text("SERVICE"),
                Column::Number("TOLD"),
                Column::Number("DERIVED"),
                Column::Number("HELD"),
                Column::Number("REPLICAS"),
            ];
            text += "\n";
            text += &table(&columns, self.services.iter().map(of_service));
        }
        let refused: Vec<String> =
            self.refusals.iter().map(|(reason, times)| format!("{reason} {}", count(*times))).collect();
        if !refused.is_empty() {
            text += &format!("\nrefused: {}\n", refused.join(", "));
        }
        if self.strangers_total > 0 {
            text += &format!("\n{} turned away\n", plural(self.strangers_total, "stranger"));
        }
        text
    }
}

/// One line.
pub(super) fn summary(cluster: &ClusterStatus) -> String {
    let mut text = format!(
        "{} is {}, {}, {} of {} connected; {} connections told, {} derived, {} held, {} replicas in the data path",
        cluster.node,
        cluster.standing,
        match &cluster.leader {
            Some(leader) if *leader == cluster.node => "leads".to_owned(),
            Some(leader) => format!("led by {leader}"),
            None => "without a leader".to_owned(),
        },
        cluster.peers_connected,
        plural(cluster.peers, "peer"),
        count(cluster.records_told),
        count(cluster.records_spared),
        count(cluster.records_held),
        count(cluster.replicas)
    );
    if cluster.peers_late > 0 {
        text += &format!(", {} LATE", plural(cluster.peers_late, "peer"));
    }
    if cluster.records_waiting > 0 {
        text += &format!(", {} wait for the configuration", count(cluster.records_waiting));
    }
    if cluster.ports_of_other_pools > 0 {
        text += &format!(", ANOTHER POOL for {}", count(cluster.ports_of_other_pools));
    }
    if cluster.ports_lent_otherwise > 0 {
        text += &format!(", {} LENT OTHERWISE", plural(cluster.ports_lent_otherwise, "port"));
    }
    if cluster.replicas_without_room_total > 0 {
        text += &format!(", NO ROOM for {}", count(cluster.replicas_without_room_total));
    }
    text
}

/// How long it has stood, or what is there instead.
fn session(peer: &PeerStatus, at: Time) -> String {
    match (&peer.absence, peer.absent_since) {
        _ if peer.connected => or_unknown(peer.since, |since| age(since, at)),
        (Some(absence), Some(since)) => format!("LOST, {absence} {}", age(since, at)),
        _ => "LOST".to_owned(),
    }
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn in_sync(peer: &PeerStatus) -> String {
    match (peer.told, peer.late) {
        (Some(false), _) => "not told".to_owned(),
        (_, Some(true)) => "LATE".to_owned(),
        _ => or_unknown(peer.in_sync, yes_or_no),
    }
}

fn of_service(service: &ServiceRecords) -> Vec<String> {
    let ServiceRecords { name, records_told, records_spared, records_held, replicas } = service;
    let numbers = [records_told, records_spared, records_held, replicas];
    [name.clone()].into_iter().chain(numbers.map(|number| count(*number))).collect()
}

/// How long half of the connections, and nearly all, were unknown to it.
fn window(window: &LossWindow) -> String {
    let milliseconds =
        |seconds: Option<f64>| or_unknown(seconds, |seconds| format!("{:.0}", seconds * 1000.0));
    match window.p50_seconds {
        Some(_) => format!("{}/{} ms", milliseconds(window.p50_seconds), milliseconds(window.p99_seconds)),
        None => UNKNOWN.to_owned(),
    }
}

fn row(peer: &PeerStatus, at: Time) -> Vec<String> {
    vec![
        peer.name.clone(),
        peer.address.to_string(),
        session(peer, at),
        peer.standing.as_ref().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string),
        in_sync(peer),
        or_unknown(peer.in_step, yes_or_no),
        count(peer.records_held),
        match peer.stale {
            Some(true) => "stale".to_owned(),
            _ => or_unknown(peer.untold, count),
        },
        or_unknown(peer.oldest_unacknowledged_seconds, |seconds| format!("{seconds:.3} s")),
        window(&peer.loss_window),
        or_unknown(peer.divergent_buckets, count),
        or_unknown(peer.sent.bytes_per_second, byte_rate),
        or_unknown(peer.received.bytes_per_second, byte_rate),
    ]
}
