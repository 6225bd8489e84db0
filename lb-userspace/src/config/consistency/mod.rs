//! What is wrong between services or servers, though each is right by itself.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::model::Datapath;
use super::service::Draft;
use super::source::{Placed, Reported, Spot};
use super::table::quoted;

mod affinity;
mod cluster;
mod families;
mod fullnat;
mod listeners;
mod quic;
mod room;
mod stateless;

pub(super) use cluster::check as check_cluster;

/// Compares all services with each other and with the sizes of the data path.
pub(super) fn check(services: &[Draft<'_>], pool: &super::fullnat::Draft<'_>, datapath: Option<&Datapath>) {
    let names = services.iter().map(|service| &service.name);
    check_names("service", names, "give each service a name of its own");
    listeners::check(services);
    for service in services {
        let names = service.servers.iter().map(|server| &server.name);
        check_names("server", names, "give each server of the service a name of its own");
        check_targets(service);
        families::check(service);
        quic::check(service);
    }
    check_servers_against_vips(services);
    check_tunnels_against_vips(services);
    affinity::check(services, datapath);
    fullnat::check(services, pool, datapath);
    room::check(services, datapath);
    if datapath.is_some_and(|datapath| datapath.flow_table_size == 0) {
        stateless::check(services);
    }
}

/// No two things of a kind share a name; `apart` is what to do if they do.
fn check_names<'a, N: Display + Hash + Eq + 'a>(
    kind: &str,
    names: impl Iterator<Item = &'a Result<Placed<'a, N>, Reported>>,
    apart: &str,
) {
    let mut seen = HashMap::new();
    for Placed { value, spot } in names.flatten() {
        match seen.entry(value) {
            Entry::Vacant(place) => {
                place.insert(*spot);
            }
            Entry::Occupied(first) => {
                let (name, place) = (quoted(&value.to_string()), near(*first.get(), *spot));
                spot.problem(format!("a {kind} named {name} is already at {place}"), apart);
            }
        }
    }
}

/// Two servers at one address are one server, unless they differ in the port at which some listener finds them.
fn check_targets(service: &Draft<'_>) {
    let Ok(listen) = &service.ports else { return };
    let mut targets: HashMap<(IpAddr, Option<NonZeroU16>), Spot<'_>> = HashMap::new();
    for server in &service.servers {
        let (Ok(addresses), Ok(port)) = (&server.addresses, server.port) else { continue };
        let ports: BTreeSet<_> = listen.iter().map(|listen| port.or(listen.value.fixed())).collect();
        for address in addresses {
            let its = || ports.iter().map(|port| (address.value.ip(), *port));
            if let Some((target, first)) = its().find_map(|target| Some((target, *targets.get(&target)?))) {
                let port = target.1.map(|port| format!(":{port}")).unwrap_or_default();
                let what =
                    format!("the server {}{port} is already at {}", address.value, near(first, address.spot));
                address.spot.problem(what, "remove one of the two, a weight gives it a larger share");
            }
            for target in its() {
                targets.entry(target).or_insert(address.spot);
            }
        }
    }
}

fn check_servers_against_vips(services: &[Draft<'_>]) {
    let mut vips = HashMap::new();
    for service in services {
        for vip in service.vips.iter().flatten() {
            vips.entry(vip.value.ip()).or_insert(service.name.as_ref().ok().map(|name| &name.value));
        }
    }
    let servers = services.iter().flat_map(|service| &service.servers);
    for address in servers.filter_map(|server| server.addresses.as_ref().ok()).flatten() {
        if let Some(service) = vips.get(&address.value.ip()) {
            let of = service.map(|name| format!(" of service {}", quoted(name.as_str()))).unwrap_or_default();
            let what = format!("the server's address {} is the VIP{of}", address.value);
            address.spot.problem(what, "write the address the server has to itself");
        }
    }
}

/// An error about an outer packet goes to its source, which must not be taken for a client's packet to a service.
fn check_tunnels_against_vips(services: &[Draft<'_>]) {
    let vips: BTreeSet<IpAddr> =
        services.iter().flat_map(|service| service.vips.iter().flatten()).map(|vip| vip.value.ip()).collect();
    for service in services {
        let sources = service.tunnel.iter().flatten().flat_map(|tunnel| &tunnel.sources);
        for source in sources.filter(|source| vips.contains(source)) {
            let what = format!("the tunnel's source {source} is a VIP");
            service.spot.problem(what, "write an address the director has to itself");
        }
    }
}

/// A place as seen from another one: the line is enough within a file.
fn near(place: Spot<'_>, from: Spot<'_>) -> String {
    let (place, from) = (place.place(), from.place());
    if place.file == from.file {
        format!("line {}", place.line)
    } else {
        format!("{}:{}", place.file, place.line)
    }
}
