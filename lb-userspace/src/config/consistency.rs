//! What is wrong between services or servers, though each is right by itself.

use std::collections::HashMap;
use std::hash::Hash;

use super::model::{Datapath, MaglevTableSize};
use super::service::Draft;
use super::source::Spot;
use super::table::quoted;

/// Slot ids have 16 bits and one of them means none.
const MOST_PAIRS: usize = 65_535;

/// Compares all services with each other and with the sizes of the data path.
pub(super) fn check(services: &[Draft<'_>], datapath: Option<&Datapath>) {
    check_service_names(services);
    check_listeners(services);
    for service in services {
        check_servers(service);
    }
    check_servers_against_vips(services);
    if let Some(datapath) = datapath {
        check_server_slots(services, datapath.server_slots);
        check_maglev_size(services, datapath.maglev_table_size);
    }
}

fn check_service_names(services: &[Draft<'_>]) {
    let mut names = Seen::default();
    for name in services.iter().filter_map(|service| service.name.as_ref().ok()) {
        if let Some(first) = names.insert(&name.value, name.spot) {
            let what = format!(
                "a service named {} is already at {}",
                quoted(name.value.as_str()),
                near(first, name.spot)
            );
            name.spot.problem(what, "give each service a name of its own");
        }
    }
}

/// A fixed port beside "any" of the same VIP is no conflict: the fixed one wins.
fn check_listeners(services: &[Draft<'_>]) {
    let mut listeners = Seen::default();
    for listener in services.iter().filter_map(|service| service.listener.as_ref().ok()) {
        if let Some(first) = listeners.insert(listener.value, listener.spot) {
            let what = format!("{} is already a service at {}", listener.value, near(first, listener.spot));
            listener.spot.problem(what, "put all servers into one service, or change vip, port or protocol");
        }
    }
}

fn check_servers(service: &Draft<'_>) {
    let mut names = Seen::default();
    let mut targets = Seen::default();
    for server in &service.servers {
        if let Ok(name) = &server.name
            && let Some(first) = names.insert(&name.value, name.spot)
        {
            let what = format!(
                "a server named {} is already at {}",
                quoted(name.value.as_str()),
                near(first, name.spot)
            );
            name.spot.problem(what, "give each server of the service a name of its own");
        }
        if let (Ok(address), Ok(port), Ok(listener)) = (&server.address, &server.port, &service.listener)
            && let Some(first) =
                targets.insert((address.value, port.or(listener.value.port.fixed())), address.spot)
        {
            let port =
                port.or(listener.value.port.fixed()).map(|port| format!(":{port}")).unwrap_or_default();
            let what =
                format!("the server {}{port} is already at {}", address.value, near(first, address.spot));
            address.spot.problem(what, "remove one of the two, a weight gives it a larger share");
        }
    }
}

fn check_servers_against_vips(services: &[Draft<'_>]) {
    let vips: HashMap<_, _> = services
        .iter()
        .rev()
        .filter_map(|service| {
            Some((service.vip.ok()?.ip(), service.name.as_ref().ok().map(|name| &name.value)))
        })
        .collect();
    for address in
        services.iter().flat_map(|service| &service.servers).filter_map(|server| server.address.as_ref().ok())
    {
        if let Some(service) = vips.get(&address.value.ip()) {
            let of = service.map(|name| format!(" of service {}", quoted(name.as_str()))).unwrap_or_default();
            let what = format!("the server's address {} is the VIP{of}", address.value);
            address.spot.problem(what, "write the address the server has to itself");
        }
    }
}

fn check_server_slots(services: &[Draft<'_>], slots: u32) {
    let room = MOST_PAIRS.min(slots as usize);
    let mut pairs = 0;
    for service in services {
        let before = pairs;
        pairs += service.servers.len();
        if before <= room && pairs > room {
            let total: usize = services.iter().map(|service| service.servers.len()).sum();
            let what = format!(
                "{total} pairs of service and server do not fit server_slots = {slots}, from here on"
            );
            let remedy = match total <= MOST_PAIRS {
                true => format!("write server_slots = {total} or more in [datapath]"),
                false => format!("no more than {MOST_PAIRS} can be had, use fewer"),
            };
            service.spot.problem(what, remedy);
        }
    }
}

fn check_maglev_size(services: &[Draft<'_>], size: MaglevTableSize) {
    let MaglevTableSize::Prime(size) = size else { return };
    for service in services.iter().filter(|service| service.servers.len() > size as usize) {
        let servers = service.servers.len();
        let what = format!("the service has {servers} servers, but maglev_table_size is {size}");
        service.spot.problem(what, "write maglev_table_size = \"auto\" in [datapath]");
    }
}

/// Where each of several things that should be unique was met first.
struct Seen<'a, K>(HashMap<K, Spot<'a>>);

impl<K> Default for Seen<'_, K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, K: Hash + Eq> Seen<'a, K> {
    /// The first place, if this is not it.
    fn insert(&mut self, key: K, spot: Spot<'a>) -> Option<Spot<'a>> {
        let mut first = None;
        self.0.entry(key).and_modify(|spot| first = Some(*spot)).or_insert(spot);
        first
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
