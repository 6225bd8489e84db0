//! What services that share their clients' affinity must have in common, and what affinity and schedulers need.

use std::collections::{BTreeMap, BTreeSet};

use super::near;
use crate::config::model::{Affinity, Datapath, GroupName, Mode, Scheduler};
use crate::config::service::Draft;
use crate::config::source::Placed;
use crate::config::table::quoted;

pub(super) fn check(services: &[Draft<'_>], datapath: Option<&Datapath>) {
    let mut groups: BTreeMap<&GroupName, (&Draft<'_>, &Placed<'_, Affinity>)> = BTreeMap::new();
    for service in services {
        let Ok(Some(affinity)) = &service.affinity else { continue };
        let Some(group) = &affinity.value.group else { continue };
        match groups.get(group) {
            None => {
                groups.insert(group, (service, affinity));
            }
            Some((first, its)) => compare((first, its), (service, affinity), group),
        }
    }
    if datapath.is_some_and(|datapath| datapath.flow_table_size == 0) {
        services.iter().for_each(check_stateless);
    }
}

fn compare(
    first: (&Draft<'_>, &Placed<'_, Affinity>),
    other: (&Draft<'_>, &Placed<'_, Affinity>),
    group: &GroupName,
) {
    let place = near(first.1.spot, other.1.spot);
    let group = quoted(group.as_str());
    if first.1.value != other.1.value {
        let what = format!("the affinity of group {group} is not that at {place}");
        other.1.spot.problem(what, "write the same affinity for all services of a group");
        return;
    }
    let (Some(its), Some(own)) = (servers(first.0), servers(other.0)) else { return };
    if its != own {
        let differs =
            its.symmetric_difference(&own).next().map(|(name, _)| name.as_str()).unwrap_or_default();
        let what = format!(
            "the services of affinity group {group} must have the same servers; {} is not alike here and at {place}",
            quoted(differs)
        );
        other.1.spot.problem(what, "give both the same names and addresses, or a group each");
    }
}

/// Names and addresses, if they could be read.
fn servers(service: &Draft<'_>) -> Option<BTreeSet<(String, Vec<std::net::IpAddr>)>> {
    let read = |server: &crate::config::server::Draft<'_>| {
        let addresses = server.addresses.as_ref().ok()?.iter().map(|address| address.value.ip());
        Some((server.name.as_ref().ok()?.value.to_string(), addresses.collect()))
    };
    service.servers.iter().map(read).collect()
}

/// Without a flow table each packet must find its server by the tables alone. (Full NAT has a table of its own.)
fn check_stateless(service: &Draft<'_>) {
    if !matches!(service.mode, Ok(mode) if mode != Mode::FullNat) {
        return;
    }
    let remedy = super::stateless::REMEDY;
    if let Ok(Some(affinity)) = &service.affinity {
        affinity.spot.problem("without a flow table, affinity would break connections", remedy);
    }
    if let Ok(scheduler) = service.scheduler
        && scheduler != Scheduler::Maglev
    {
        let what = format!("without a flow table, scheduler = \"{scheduler}\" would break connections");
        service.spot.problem(what, format!("write scheduler = \"maglev\", or {remedy}"));
    }
    if service.servers.iter().any(|server| matches!(server.max_connections, Ok(Some(_)))) {
        service.spot.problem(
            "without a flow table nobody counts connections, so max_connections has no effect",
            remedy,
        );
    }
}
